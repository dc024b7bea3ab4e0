//! Which process was started by a case. One is taken only where it can be the one: started after the request, by the
//! process that was called. What is merely alike is told, and proves nothing.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::case::{Case, Expected};
use super::super::claims::Claim;
use super::super::skew::{FARTHEST, Signed};
use super::super::store::Lookup;
use super::told::{precision, process, tell_skew};
use super::{CHILD, CLOSE, EARLIER, Gathered, Known, LOOKED_AT, SECOND};
use crate::event::dcom::Outcome;
use crate::event::host::Matched;
use crate::host_log::command_line::{self, Asked, Likeness};
use crate::host_log::event::{Process, ProcessCreate, image_name, text_hash};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

/// A clock that was measured is known so well.
const FINE: i64 = SECOND / 4;

/// A process that was started on the target.
#[allow(clippy::struct_excessive_bools, reason = "each is one thing in common, on its own")]
pub(super) struct Started<'k> {
    pub(super) event: &'k HostEvent,
    pub(super) create: &'k ProcessCreate,
    likeness: Option<Likeness>,
    /// Is it the program that was asked for, or one that is named where no program stands first?
    named: bool,
    /// Does its line open the file that was asked for, with the same arguments?
    opens: bool,
    /// Was it started by the very process that was called?
    by_owner: bool,
    /// Was it started by a program that the catalogue expects?
    pub(super) by_expected: bool,
    /// As far as both are known, was it the one that was called that started it?
    can_be: bool,
    /// Since the case, by both clocks as they are, and by the host's as it was measured; was that needed?
    pub(super) delta: i64,
    measured: Option<i64>,
    skewed: bool,
    /// What else wrote of the same process.
    pub(super) again: Option<(&'k HostEvent, &'k ProcessCreate)>,
    /// Is it enough to confirm the case?
    pub(super) proves: bool,
}

impl Started<'_> {
    /// Its id: Sysmon's records lose it on their way through some collectors, and Security has it.
    pub(super) fn pid(&self) -> Option<u32> {
        let again = self.again.and_then(|(_, create)| create.process.pid);
        self.create.process.pid.or(again)
    }

    /// Is it so close in time: by the clocks as they are, else by the host's as it was measured?
    fn is_within(&mut self, range: &RangeInclusive<i64>) -> bool {
        if range.contains(&self.delta) {
            return true;
        }
        let fits = self.measured.is_some_and(|delta| range.contains(&delta));
        self.skewed |= fits;
        fits
    }

    /// The same command line, as far as it was logged.
    fn is_asked_for(&self) -> bool {
        matches!(
            self.likeness,
            Some(Likeness::Equal | Likeness::Wrapped | Likeness::Beginning)
        )
    }
}

/// What a process is to a case.
enum Fit {
    /// The one that was asked for.
    Proof,
    /// One that may come of it; nothing was asked for that it could be compared with.
    Shown,
    /// Something like it, and why it is not taken for it.
    Lead(&'static str),
}

impl<'k> Known<'k> {
    /// The times at which something may be logged that comes so much before or after: by the clocks as they are, and by the
    /// host's as it was measured.
    pub(super) fn times(at: Timestamp, gathered: &Gathered<'_>, after: i64) -> Vec<RangeInclusive<Timestamp>> {
        let range = |skew: i64| {
            let at = at.0.saturating_add(skew);
            at.saturating_sub(EARLIER)..=at.saturating_add(after)
        };
        let raw = range(0);
        let skew = gathered.skew.as_ref().map_or(0, |skew| skew.median.0);
        let measured = range(skew);
        let time = |range: &RangeInclusive<i64>| Timestamp(*range.start())..=Timestamp(*range.end());
        if skew == 0 {
            return vec![time(&raw)];
        }
        if measured.start() <= raw.end() && raw.start() <= measured.end() {
            let (from, to) = (raw.start().min(measured.start()), raw.end().max(measured.end()));
            return vec![Timestamp(*from)..=Timestamp(*to)];
        }
        vec![time(&raw), time(&measured)]
    }

    /// Process creations of the target that are found by one of these, and that fit in time.
    pub(super) fn started(
        &self,
        case: &Case<'_>,
        lookups: &[Lookup],
        from: Timestamp,
        after: i64,
        gathered: &Gathered<'k>,
    ) -> Vec<Started<'k>> {
        let asked = case.asked().map(Asked::of);
        let mut found: Vec<&'k Arc<HostEvent>> = Vec::new();
        for lookup in lookups {
            for time in Self::times(from, gathered, after) {
                found.extend(self.store.found(gathered.host, *lookup, time).take(LOOKED_AT));
            }
        }
        found.sort_by_key(|event| (event.time, Arc::as_ptr(event)));
        found.dedup_by_key(|event| Arc::as_ptr(event));
        let fits = |event: &'k Arc<HostEvent>| self.compared(case, asked.as_ref(), event, from, after, gathered);
        found.into_iter().filter_map(fits).collect()
    }

    fn compared(
        &self,
        case: &Case<'_>,
        asked: Option<&Asked>,
        event: &'k HostEvent,
        from: Timestamp,
        after: i64,
        gathered: &Gathered<'k>,
    ) -> Option<Started<'k>> {
        let HostBody::ProcessCreate(create) = &event.body else {
            return None;
        };
        let delta = event.time.since(from);
        // Whole seconds are cut; and clocks that nobody compared differ by parts of one at least.
        let known = event.time.0 % SECOND != 0 && self.skews.is_fine(gathered.host);
        let early = if known { FINE } else { SECOND };
        let fits = |delta: i64| (-early..=after).contains(&delta);
        let skew = gathered.skew.as_ref().map(|skew| skew.median.0);
        let measured = skew.map(|skew| delta.saturating_sub(skew));
        if !fits(delta) && !measured.is_some_and(fits) {
            return None;
        }
        let image = create.process.image.as_deref();
        let logged = create.process.command_line.as_deref();
        let owner = owner(gathered);
        let by_owner = owner.and_then(|owner| is_same_process(&create.parent, owner));
        let by_owner = by_owner.map(|is| is && !self.is_later(case, create, event.time, gathered));
        let parent = create.parent.name();
        let by_expected = parent
            .as_deref()
            .is_some_and(|name| case.is_expected_parent(name) || (!case.knows_parents() && is_image(owner, name)));
        Some(Started {
            event,
            create,
            likeness: asked.zip(logged).and_then(|(asked, logged)| asked.compare(logged)),
            named: image.is_some_and(|image| case.names(image)),
            opens: case
                .asked()
                .zip(logged)
                .is_some_and(|(asked, logged)| command_line::opens(asked, logged)),
            by_owner: by_owner == Some(true),
            by_expected,
            can_be: match by_owner.filter(|_| case.runs_in_the_called_process()) {
                Some(by_owner) => by_owner,
                None => by_expected,
            },
            delta,
            measured,
            skewed: !fits(delta),
            again: None,
            proves: false,
        })
    }

    /// Was the parent itself started when the call had long been made? Then its id is that of another process before.
    fn is_later(&self, case: &Case<'_>, create: &ProcessCreate, until: Timestamp, gathered: &Gathered<'k>) -> bool {
        let Some(pid) = create.parent.pid else { return false };
        let skew = gathered.skew.as_ref().map_or(0, |skew| skew.median.0.max(0));
        let from = Timestamp(case.at.0.saturating_add(skew).saturating_add(CLOSE));
        let starts = self.store.found(gathered.host, Lookup::Pid(pid), from..=until);
        let mut starts = starts.take(LOOKED_AT);
        starts.any(|event| match &event.body {
            HostBody::ProcessCreate(it) => it.process.name() == create.parent.name(),
            _ => false,
        })
    }

    /// The start of the process that holds the object.
    pub(super) fn server(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        if !case.knows_parents() || case.is_wmi() {
            return;
        }
        let called = gathered.owner.map(|it| &it.connect.process);
        let is_server = |it: &Started<'_>| {
            let process = &it.create.process;
            let image = process.image.as_deref().unwrap_or_default();
            let line = process.command_line.as_deref().unwrap_or_default().to_lowercase();
            // DcomLaunch starts servers so; the same program started by hand is none.
            let for_com = line.contains("-embedding") || line.contains("/automation") || line.contains("/embedding");
            let by_com = it.create.parent.image.as_deref().map(image_name).as_deref() == Some("svchost.exe");
            case.is_expected_parent(image)
                && called
                    .and_then(|called| is_same_process(process, called))
                    .unwrap_or(for_com || by_com)
        };
        // It has to be there before it can answer.
        let after = case
            .ready()
            .map_or(CHILD, |ready| ready.saturating_add(CLOSE))
            .min(self.window);
        let lookups: Vec<Lookup> = case.parents().map(|name| Lookup::Image(text_hash(&name))).collect();
        let found = self.started(case, &lookups, case.activated, after, gathered);
        let found: Vec<Started<'k>> = found.into_iter().filter(is_server).collect();
        let first = found.iter().find_map(|it| it.create.process.pid);
        gathered.servers = usize::from(!found.is_empty());
        if found
            .iter()
            .any(|it| it.create.process.pid.is_some_and(|pid| Some(pid) != first))
        {
            gathered.servers = 2;
        }
        gathered.server = found.into_iter().min_by_key(|it| (precision(it.event), it.delta.abs()));
        if let Some(server) = &gathered.server {
            gathered.record.matched_on.push(Matched::ServerProcess);
            gathered.record.because.push(format!(
                "{}: {} was started by {} {} after {}",
                server.event.source,
                process(&server.create.process),
                process(&server.create.parent),
                Signed(server.delta),
                if case.activated == case.since {
                    "the activation"
                } else {
                    "the sealed activation before that connection"
                },
            ));
            if server.skewed {
                tell_skew(&mut gathered.skew, &mut gathered.record);
            }
        }
    }

    /// What was run.
    pub(super) fn child(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        let expected = case.expected();
        if expected == Expected::Library {
            return;
        }
        let from = if case.is_call() { case.at } else { case.since };
        let lookups = child_lookups(case, gathered);
        let (mut found, mut leads) = (Vec::new(), Vec::new());
        for mut it in self.started(case, &lookups, from, self.window, gathered) {
            match fit(case, &mut it, gathered) {
                Some(Fit::Proof) if case.was_refused() => {
                    leads.push((it, "but the call was refused"));
                }
                Some(Fit::Proof) if self.is_anothers(case, &it, gathered) => {
                    leads.push((it, "which stands for another call that asked for the same"));
                }
                Some(Fit::Proof) => {
                    it.proves = true;
                    found.push(it);
                }
                Some(Fit::Shown) => found.push(it),
                Some(Fit::Lead(why)) => leads.push((it, why)),
                None => {}
            }
        }
        let best = |it: &Started<'_>| {
            (
                !it.proves,
                it.likeness,
                !it.by_owner,
                it.skewed,
                precision(it.event),
                it.delta.abs(),
            )
        };
        found.sort_by_key(best);
        let mut found = found.into_iter();
        let Some(mut child) = found.next() else {
            leads.sort_by_key(|(it, _)| (!it.is_asked_for(), !it.by_owner, precision(it.event), it.delta.abs()));
            if let Some((lead, why)) = leads.first() {
                tell_lead(case, lead, why, gathered);
            } else if case.asked().is_some() {
                self.lead_by_another_clock(case, from, &lookups, gathered);
            }
            return;
        };
        child.again = found
            .find(|it| it.event.source != child.event.source && is_same(it, &child))
            .map(|it| (it.event, it.create));
        tell_child(case, &child, gathered);
        gathered.child = Some(child);
    }

    fn is_anothers(&self, case: &Case<'_>, it: &Started<'_>, gathered: &Gathered<'_>) -> bool {
        let claim = Claim::of(gathered.host, it.event);
        claim.is_some_and(|claim| self.claims.is_anothers(&claim, case.key()))
    }

    /// Nobody compared the clocks: would another time of the host's fit?
    fn lead_by_another_clock(&self, case: &Case<'_>, from: Timestamp, lookups: &[Lookup], gathered: &mut Gathered<'k>) {
        if gathered.skew.is_some() {
            return;
        }
        let earlier = Timestamp(from.0.saturating_sub(FARTHEST));
        let after = self.window.saturating_add(2 * FARTHEST);
        let found = self.started(case, lookups, earlier, after, gathered);
        let mut found: Vec<_> = found.into_iter().filter(Started::is_asked_for).collect();
        for it in &mut found {
            it.delta = it.event.time.since(from);
        }
        found.sort_by_key(|it| (!it.can_be, it.delta.abs()));
        if let Some(lead) = found.first() {
            let why =
                "with the command line asked for: no connection tells how far the host's clock is from the wire's";
            tell_lead(case, lead, why, gathered);
        }
    }
}

/// By what the process would be found.
fn child_lookups(case: &Case<'_>, gathered: &Gathered<'_>) -> Vec<Lookup> {
    let mut lookups = Vec::new();
    if let Some(line) = case.asked() {
        lookups.extend(Asked::of(line).keys().map(|key| Lookup::Line(text_hash(&key))));
        let program = format!("{}.exe", command_line::program(line));
        lookups.push(Lookup::Bare(text_hash(&program)));
    } else if case.is_wmi() {
        lookups.extend(case.parents().map(|name| Lookup::ParentImage(text_hash(&name))));
    }
    let called = owner(gathered).and_then(|owner| owner.pid);
    if called.is_none() && case.asked().is_some_and(|line| !command_line::names_a_program(line)) {
        // Which program opens it, nobody knows beforehand.
        lookups.extend(case.parents().map(|name| Lookup::ParentImage(text_hash(&name))));
    }
    lookups.extend(called.map(Lookup::ParentPid));
    lookups
}

/// What a process is to a case; none where it has nothing to do with it.
fn fit(case: &Case<'_>, it: &mut Started<'_>, gathered: &Gathered<'_>) -> Option<Fit> {
    let image = it.create.process.image.as_deref().unwrap_or_default();
    let known_child = case.is_expected_child(image);
    let matched = &gathered.record.matched_on;
    let of_the_pair = matched.contains(&Matched::FourTuple) || matched.contains(&Matched::Logon);
    let line = it.create.process.command_line.as_deref();
    // Of a call that did not succeed something may have come nevertheless: DDE starts a program and then fails.
    let failed = case.dcom.outcome == Some(Outcome::Failed);
    let Some(asked) = case.asked() else {
        if case.expected() == Expected::Child {
            let fits = it.by_expected && !failed && it.is_within(&(-CLOSE..=CLOSE));
            return fits.then_some(if of_the_pair { Fit::Proof } else { Fit::Shown });
        }
        // Of a process that runs all day children come and go. One that was started for it has none of others'.
        let own = case.is_concluded() && gathered.servers == 1;
        let fits = it.by_owner && (known_child || own) && it.is_within(&(-SECOND..=CHILD));
        return fits.then_some(Fit::Shown);
    };
    if it.is_asked_for() {
        return Some(if it.can_be && (it.by_owner || !failed) {
            Fit::Proof
        } else {
            Fit::Lead("with the command line asked for, but not shown to be the process that was called")
        });
    }
    if it.opens {
        return Some(if it.can_be && (it.by_owner || !failed) {
            Fit::Proof
        } else {
            Fit::Lead("to open the file asked for, but not shown to be the process that was called")
        });
    }
    if it.likeness == Some(Likeness::Inside) {
        return Some(Fit::Lead("which is what the shell that was asked for would run"));
    }
    // What no program stands first in, e.g. a formula, is not the command line itself.
    let says = match line {
        None => true,
        Some(line) => !command_line::names_a_program(asked) && case.says(line),
    };
    let may_be = it.named && says && it.can_be && (it.by_owner || (of_the_pair && line.is_none() && !failed));
    if may_be && ((line.is_some() && it.by_owner) || it.is_within(&(i64::MIN..=CHILD))) {
        return Some(Fit::Proof);
    }
    match line {
        None if it.named => Some(Fit::Lead(
            "the program asked for, by a log without command lines: that proves too little",
        )),
        _ if it.by_owner && (it.named || known_child) => {
            Some(Fit::Lead("which is not the command line that was asked for"))
        }
        Some(_) if it.by_owner && !command_line::names_a_program(asked) && it.is_within(&(-SECOND..=CHILD)) => {
            Some(Fit::Lead("which does not name the file that was asked for"))
        }
        // A debugger or a wrapper in its place has another image.
        _ if it.by_owner && it.is_within(&(-SECOND..=CLOSE)) => {
            Some(Fit::Lead("which is not the program that was asked for"))
        }
        _ => None,
    }
}

fn tell_lead(case: &Case<'_>, lead: &Started<'_>, why: &str, gathered: &mut Gathered<'_>) {
    gathered.lead = true;
    gathered.record.because.push(format!(
        "not counted: {}: {} started {} {} after the {}, {why}",
        lead.event.source,
        process(&lead.create.parent),
        process(&lead.create.process),
        Signed(lead.delta),
        if case.is_call() { "call" } else { "activation" },
    ));
    if lead.skewed {
        tell_skew(&mut gathered.skew, &mut gathered.record);
    }
}

fn tell_child(case: &Case<'_>, child: &Started<'_>, gathered: &mut Gathered<'_>) {
    let record = &mut gathered.record;
    let (matched, how) = match child.likeness {
        Some(Likeness::Equal) => (Some(Matched::CommandLine), "the command lines are equal"),
        Some(Likeness::Wrapped) => (
            Some(Matched::CommandLine),
            "the command lines are equal but for a shell around the logged one",
        ),
        Some(Likeness::Beginning) => (
            Some(Matched::CommandLine),
            "one command line is the beginning of the other, and was cut",
        ),
        _ if child.opens => (
            Some(Matched::Program),
            "it opens the file that was asked for, with the same arguments",
        ),
        _ if child.named && child.create.process.command_line.is_some() => (
            Some(Matched::Program),
            "it is the program that is named in what was asked for",
        ),
        _ if child.named => (
            Some(Matched::Program),
            "it is the program asked for; the log has no command line",
        ),
        _ => (None, "what it was to run is not known from the wire"),
    };
    record.matched_on.extend(matched);
    if child.by_owner {
        record.matched_on.push(Matched::ParentPid);
    }
    if child.by_expected {
        record.matched_on.push(Matched::ParentImage);
    }
    let since = if case.is_call() { "call" } else { "activation" };
    record.because.push(format!(
        "{}: {} started {} {} after the {since}, {how}",
        child.event.source,
        process(&child.create.parent),
        process(&child.create.process),
        Signed(child.delta),
    ));
    if let Some((again, create)) = child.again {
        let pid = create.process.pid.filter(|_| child.create.process.pid.is_none());
        let pid = pid.map_or_else(String::new, |pid| format!(", with its id {pid}"));
        record
            .because
            .push(format!("{} logs the same process{pid}", again.source));
    }
    if child.skewed {
        tell_skew(&mut gathered.skew, record);
    }
}

/// The process at the server's end of the object's port: by the connection, else as it was started, if that is one alone.
pub(super) fn owner<'k>(gathered: &Gathered<'k>) -> Option<&'k Process> {
    let called = gathered.owner.map(|it| &it.connect.process);
    let started = gathered.server.as_ref().filter(|_| gathered.servers == 1);
    let started = started.map(|it| &it.create.process);
    match called {
        Some(called) if called.pid.is_none() => started.filter(|it| it.pid.is_some()).or(Some(called)),
        _ => called.or(started),
    }
}

fn is_image(process: Option<&Process>, name: &str) -> bool {
    process.and_then(Process::name).as_deref() == Some(name)
}

/// Are they one process? Ids are used again, and images say so; Sysmon's GUIDs are not. None where nothing tells.
pub(super) fn is_same_process(one: &Process, other: &Process) -> Option<bool> {
    if let (Some(one), Some(other)) = (one.name(), other.name())
        && one != other
    {
        return Some(false);
    }
    match (one.guid, other.guid, one.pid, other.pid) {
        (Some(one), Some(other), ..) => Some(one == other),
        (.., Some(one), Some(other)) => Some(one == other),
        _ => None,
    }
}

/// Do two records tell of one process? By its id, else by image, parent and time.
fn is_same(one: &Started<'_>, other: &Started<'_>) -> bool {
    let [a, b] = [one.create, other.create];
    match (a.process.pid, b.process.pid) {
        (Some(one), Some(other)) => one == other,
        _ => {
            a.process.name() == b.process.name()
                && a.parent.pid == b.parent.pid
                && a.parent.pid.is_some()
                && (one.delta - other.delta).abs() <= EARLIER
        }
    }
}
