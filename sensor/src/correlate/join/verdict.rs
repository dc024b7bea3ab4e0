//! What was gathered comes to a verdict, a score, and what was missed: docs/JOIN.md says by which rules.

use std::ops::RangeInclusive;

use super::super::case::{Case, Expected};
use super::super::names::HostId;
use super::super::store::{Kind, Lookup};
use super::told::{logon_record, place, process_record, processes};
use super::{CHILD, CLOSE, EARLIER, Gathered, Known, SECOND};
use crate::event::dcom::Outcome;
use crate::event::host::{CoverageRecord, HostRecord, Matched, SkewRecord, Verdict};
use crate::event::record::Interval;
use crate::host_log::HostBody;
use crate::time::Timestamp;

/// A log that has nothing for so long on one side has no say.
const SILENCE: i64 = 3600 * SECOND;

impl<'k> Known<'k> {
    pub(super) fn conclude(&self, case: &Case<'_>, gathered: Gathered<'k>) -> HostRecord {
        let Gathered {
            host,
            skew,
            owner,
            server,
            servers,
            child,
            lead,
            error,
            load,
            logon,
            mut record,
        } = gathered;
        let owner_fits = owner.and_then(|it| it.connect.process.image.as_deref());
        let owner_fits = owner_fits.and_then(|image| case.fits(image));
        if owner_fits == Some(true) && case.knows_parents() && !record.matched_on.contains(&Matched::ParentImage) {
            record.matched_on.push(Matched::ParentImage);
        }
        if owner_fits == Some(false) {
            let told = "that is not a process that the catalogue expects to hold such objects";
            record.because.push(told.to_owned());
        }
        record.logon = logon.map(|(_, logon)| logon_record(logon));
        let loaded = load.and_then(|event| match &event.body {
            HostBody::ImageLoad(load) => Some(load),
            _ => None,
        });
        record.loaded = loaded.and_then(|load| load.path.clone());
        // What a call did goes before what held the object.
        let source = match (load, &child, &server, owner, error) {
            (Some(load), ..) => Some(load),
            (_, Some(child), ..) => Some(child.event),
            (_, _, Some(server), ..) => Some(server.event),
            (.., Some(owner), _) => Some(owner.event),
            (.., error) => error,
        };
        if let Some(event) = source {
            let delta = event.time.since(case.since);
            record.time_delta = Some(Interval(delta));
            record.call_delta = case.is_call().then(|| Interval(event.time.since(case.at)));
            record.source = Some(event.source.to_string());
            record.place = Some(place(event));
            let by_call = record.call_delta.map_or(delta, |delta| delta.0);
            if by_call.abs() <= CLOSE || delta.abs() <= CLOSE {
                record.matched_on.push(Matched::Time);
            }
        }
        processes(child.as_ref(), server.as_ref(), owner, &mut record);
        if let (Some(load), None) = (loaded, &record.process) {
            record.process = Some(process_record(&load.process, None));
        }
        record.score = score(&record.matched_on);
        let proven = child.as_ref().is_some_and(|child| child.proves);
        // Of a class that is concluded, one of several starts may be anybody's.
        let started = record.matched_on.contains(&Matched::ServerProcess) && (servers == 1 || !case.is_concluded());
        let logs_libraries = self.store.coverage(host).any(|(kind, _)| kind == Kind::Image);
        record.verdict = if is_confirmed(
            case,
            &record,
            owner_fits == Some(true) || started,
            proven,
            logs_libraries,
        ) {
            Verdict::Confirmed
        } else if self.is_contradicted(case, host, skew.as_ref(), &record, child.is_some() || lead) {
            if skew.is_some() {
                Verdict::Contradicted
            } else {
                let told =
                    "the log would contradict it, if its clock were the wire's: no connection tells how far it is off";
                record.because.push(told.to_owned());
                Verdict::NotSeen
            }
        } else {
            Verdict::NotSeen
        };
        record.clock_skew = skew;
        self.tell_missing(case, host, child.is_some(), &mut record);
        // Deals with what was matched twice: once is enough.
        record.matched_on.sort_unstable();
        record.matched_on.dedup();
        record
    }

    /// Does the log cover the time and show otherwise?
    fn is_contradicted(
        &self,
        case: &Case<'_>,
        host: HostId,
        skew: Option<&SkewRecord>,
        record: &HostRecord,
        child: bool,
    ) -> bool {
        if child {
            return false;
        }
        let range = Self::around(case.at, skew, EARLIER, CHILD.min(self.window));
        if case.is_call() {
            return case.is_sure_to_have_a_child() && self.store.encloses(host, Kind::Process, range, SILENCE);
        }
        // The Windows Filtering Platform logs each connection that comes in, or none.
        let inbound = |time: RangeInclusive<Timestamp>| self.store.found(host, Lookup::Inbound, time).next().is_some();
        let (start, end) = (*range.start(), *range.end());
        record.matched_on.is_empty()
            && case.dcom.outcome == Some(Outcome::Succeeded)
            && self
                .wire
                .between(case.client, case.server)
                .is_some_and(|seen| seen.opened)
            && inbound(Timestamp(start.0.saturating_sub(SILENCE))..=start)
            && inbound(end..=Timestamp(end.0.saturating_add(SILENCE)))
    }

    /// What the log of a host has.
    pub(super) fn coverage(&self, host: HostId) -> CoverageRecord {
        let all: Vec<_> = self.store.coverage(host).collect();
        let kinds = all.iter().map(|(kind, it)| format!("{} {}", it.count, kind.name()));
        CoverageRecord {
            first: all.iter().map(|(_, it)| it.first).min(),
            last: all.iter().map(|(_, it)| it.last).max(),
            kinds: kinds.collect(),
        }
    }

    /// What was looked for and not found, and what the log has.
    fn tell_missing(&self, case: &Case<'_>, host: HostId, child: bool, record: &mut HostRecord) {
        let window = self.window / SECOND;
        match case.expected() {
            Expected::Library => record.because.push(
                "no child process: none is expected, a library stays inside of the process that loads it".to_owned(),
            ),
            Expected::Child if case.was_refused() => record
                .because
                .push("the call was refused: a process like it is not of its making".to_owned()),
            Expected::Child if !child => record
                .because
                .push(format!("no process creation that fits was logged within {window} s")),
            Expected::Server if !child && record.verdict == Verdict::Confirmed => {
                record
                    .because
                    .push("no child process of it that is known from abuse".to_owned());
            }
            _ => {}
        }
        if record.verdict == Verdict::Confirmed {
            return;
        }
        record.coverage = Some(self.coverage(host));
        let all: Vec<_> = self.store.coverage(host).collect();
        for wanted in [Kind::Process, Kind::Network] {
            match all.iter().find(|(kind, _)| *kind == wanted) {
                None => record.because.push(format!("the log has no {}", wanted.name())),
                Some((_, it)) if case.at < it.first || case.at > it.last => record.because.push(format!(
                    "the log has {} from {} to {} alone",
                    wanted.name(),
                    it.first,
                    it.last
                )),
                Some(_) => {}
            }
        }
    }
}

/// Is what was matched enough? See docs/JOIN.md.
fn is_confirmed(case: &Case<'_>, record: &HostRecord, server: bool, proven: bool, logs_libraries: bool) -> bool {
    let has = |wanted: Matched| record.matched_on.contains(&wanted);
    if has(Matched::DcomEvent) || proven {
        return true;
    }
    if case.dcom.outcome == Some(Outcome::Failed) {
        return false;
    }
    match case.expected() {
        Expected::Child => false,
        // Where the log has libraries, one that it does not have was not loaded.
        Expected::Library => has(Matched::ImageLoad) || (server && !logs_libraries),
        Expected::Server => server,
    }
}

pub(super) fn score(matched: &[Matched]) -> u8 {
    let weight = |matched: &Matched| match matched {
        Matched::CommandLine | Matched::DcomEvent => 40,
        Matched::ImageLoad => 30,
        Matched::FourTuple | Matched::DynamicPortOwner | Matched::ServerProcess | Matched::Class => 20,
        Matched::Program | Matched::ParentPid => 15,
        Matched::Logon | Matched::ParentImage => 10,
        Matched::Time => 5,
    };
    let mut known = matched.to_vec();
    known.sort_unstable();
    known.dedup();
    known.iter().map(weight).sum::<u8>().min(100)
}
