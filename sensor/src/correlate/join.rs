//! What host logs show of a case, and the verdict that this comes to.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::case::{Case, Expected};
use super::names::{HostId, Names};
use super::skew::{FARTHEST, Signed, Skews};
use super::store::{Kind, Store, own_end};
use super::wire::{Seen, Wire};
use crate::decode::Endpoint;
use crate::event::dcom::Outcome;
use crate::event::host::{
    ClientProcessRecord, CoverageRecord, HostRecord, LogonRecord, Matched, ParentRecord, PlaceRecord, ProcessRecord,
    Role, SkewRecord, Verdict,
};
use crate::event::record::{Interval, Port};
use crate::host_log::command_line::{self, Likeness};
use crate::host_log::event::{
    Account, DcomError, Direction, Logon, LogonKind, NetworkConnect, Process, ProcessCreate, Source, image_name,
};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

const SECOND: i64 = 1_000_000_000;
/// A host may log so much before the wire shows it: whole seconds are cut.
const EARLIER: i64 = 2 * SECOND;
/// What is as close as this, is close in time.
const CLOSE: i64 = 5 * SECOND;
/// A child without a known command line is no more than a coincidence after this.
const CHILD: i64 = 60 * SECOND;
/// A log that has nothing for so long on one side has no say.
const SILENCE: i64 = 3600 * SECOND;

/// What there is to ask.
pub(super) struct Known<'k> {
    pub(super) names: &'k Names,
    pub(super) store: &'k Store,
    pub(super) wire: &'k Wire,
    pub(super) skews: &'k Skews,
    /// How long after a case its traces may come.
    pub(super) window: i64,
}

/// A connection as a host logged it.
#[derive(Clone, Copy)]
struct Sighting<'k> {
    host: HostId,
    event: &'k HostEvent,
    connect: &'k NetworkConnect,
    role: Role,
    /// Is it that to the object's own port?
    dynamic: bool,
    seen: Seen,
}

/// A process that was started on the target.
#[allow(clippy::struct_excessive_bools, reason = "each is one thing in common, on its own")]
struct Started<'k> {
    event: &'k HostEvent,
    create: &'k ProcessCreate,
    likeness: Option<Likeness>,
    named: bool,
    by_owner: bool,
    by_expected: bool,
    /// Since the case, by both clocks as they are; was the skew needed to find it?
    delta: i64,
    skewed: bool,
    /// What else wrote of the same process.
    again: Option<(&'k HostEvent, &'k ProcessCreate)>,
}

impl Started<'_> {
    /// Its id: Sysmon's records lose it on their way through some collectors, and Security has it.
    fn pid(&self) -> Option<u32> {
        let again = self.again.and_then(|(_, create)| create.process.pid);
        self.create.process.pid.or(again)
    }
}

/// The evidence of one case, as it is gathered.
struct Gathered<'k> {
    host: HostId,
    skew: Option<SkewRecord>,
    owner: Option<Sighting<'k>>,
    server: Option<Started<'k>>,
    child: Option<Started<'k>>,
    error: Option<&'k HostEvent>,
    load: Option<&'k HostEvent>,
    logon: Option<(&'k HostEvent, &'k Logon)>,
    record: HostRecord,
}

impl<'k> Known<'k> {
    /// What the logs say of a case.
    pub(super) fn judge(&self, case: &Case<'_>) -> HostRecord {
        let sightings = self.sightings(case);
        let Some(host) = self.target(case, &sightings) else {
            return self.unknown_target(case, &sightings);
        };
        let nearest = |it: &&Sighting<'_>| {
            let distance = it.event.time.since(it.seen.at).abs();
            (it.connect.process.pid.is_none(), distance)
        };
        let owners = sightings.iter().filter(|it| it.role == Role::Server && it.dynamic);
        let owner = owners.min_by_key(nearest).copied();
        let mut gathered = Gathered {
            host,
            skew: self.skews.of(host),
            owner,
            server: None,
            child: None,
            error: None,
            load: None,
            logon: None,
            record: HostRecord {
                name: Some(self.names.name(host)),
                ..HostRecord::default()
            },
        };
        self.connections(&sightings, &mut gathered);
        self.server(case, &mut gathered);
        self.child(case, &mut gathered);
        self.load(case, &mut gathered);
        self.refusal(case, &mut gathered);
        self.logon(case, &sightings, &mut gathered);
        self.conclude(case, gathered)
    }

    /// Events of the case's connections, on both hosts.
    fn sightings(&self, case: &Case<'_>) -> Vec<Sighting<'k>> {
        let dynamic = case.dynamic();
        let own = self.wire.between(case.client, case.server).unwrap_or(Seen {
            client: case.client,
            server: case.server,
            at: case.at,
            opened: false,
        });
        let mut connections = vec![own];
        if let Some(port) = dynamic.filter(|_| !case.is_call()) {
            let soon = |seen: &Seen| seen.at.since(case.since) <= self.window;
            connections.extend(self.wire.to(case.client.address, port).filter(soon));
        }
        let mut found = Vec::new();
        for seen in connections {
            for (host, event) in self.store.of_connection(seen.client, seen.server) {
                let HostBody::NetworkConnect(connect) = &event.body else {
                    continue;
                };
                let delta = event.time.since(seen.at);
                // What was not seen to be opened may be older than all that was seen.
                if delta > FARTHEST || (seen.opened && delta < -FARTHEST) {
                    continue;
                }
                let role = match own_end(self.names, host, connect) {
                    Some([own, _]) if own == seen.server => Role::Server,
                    Some([own, _]) if own == seen.client => Role::Client,
                    _ if connect.direction == Some(Direction::Inbound) => Role::Server,
                    _ => Role::Client,
                };
                found.push(Sighting {
                    host,
                    event,
                    connect,
                    role,
                    dynamic: dynamic == Some(seen.server),
                    seen,
                });
            }
        }
        found
    }

    /// The host that was called: whoever logged the connection's far end, else whoever has the address and a log.
    fn target(&self, case: &Case<'_>, sightings: &[Sighting<'_>]) -> Option<HostId> {
        let logged = sightings.iter().find(|it| it.role == Role::Server);
        logged.map(|it| it.host).or_else(|| self.logged(case.server.address))
    }

    /// A host of that address that there is a log of.
    pub(super) fn logged(&self, address: IpAddr) -> Option<HostId> {
        let mut hosts = self.names.of(address).map(|(_, host)| host);
        hosts.find(|&host| self.store.has(host))
    }

    fn unknown_target(&self, case: &Case<'_>, sightings: &[Sighting<'_>]) -> HostRecord {
        let address = case.server.address;
        let name = self.names.of(address).next().map(|(_, host)| self.names.name(host));
        let named = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let mut record = HostRecord {
            name,
            because: vec![format!("there is no log of {address}{named}")],
            ..HostRecord::default()
        };
        if let Some(told) = self.names.conflict(address) {
            record.because.push(told.to_owned());
        }
        client_side(sightings, &mut record);
        if record.client_process.is_some() {
            record.matched_on.push(Matched::FourTuple);
            record.score = 20;
        }
        record
    }

    fn connections(&self, sightings: &[Sighting<'k>], gathered: &mut Gathered<'k>) {
        let record = &mut gathered.record;
        let on_target = |it: &&Sighting<'_>| it.role == Role::Server && it.host == gathered.host;
        if sightings.iter().any(|it| on_target(&it)) {
            record.matched_on.push(Matched::FourTuple);
        }
        let mut told: Vec<[u16; 2]> = Vec::new();
        for sighting in sightings.iter().filter(on_target) {
            let Seen { client, server, .. } = sighting.seen;
            let ports = [client.port, server.port];
            if told.contains(&ports) || told.len() >= 4 {
                continue;
            }
            told.push(ports);
            record.because.push(format!(
                "{}: {}:{} → {}:{} came in to {}",
                sighting.event.source,
                client.address,
                client.port,
                server.address,
                server.port,
                process(&sighting.connect.process),
            ));
        }
        if gathered.owner.is_some() {
            record.matched_on.push(Matched::DynamicPortOwner);
        }
        if let Some(told) = sightings
            .first()
            .and_then(|it| self.names.conflict(it.seen.server.address))
        {
            record.because.push(told.to_owned());
        }
        client_side(sightings, record);
    }

    /// Times of the host's clock at which something may be logged that comes so much before or after.
    fn around(at: Timestamp, skew: Option<&SkewRecord>, before: i64, after: i64) -> RangeInclusive<Timestamp> {
        let skew = skew.map_or(0, |skew| skew.median.0);
        let from = at.0.saturating_sub(before).saturating_add(skew.min(0));
        let to = at.0.saturating_add(after).saturating_add(skew.max(0));
        Timestamp(from)..=Timestamp(to)
    }

    /// Process creations of the target from a time on, each with what it has in common with the case.
    fn started(&self, case: &Case<'_>, from: Timestamp, gathered: &Gathered<'k>) -> Vec<Started<'k>> {
        let skew = gathered.skew.as_ref();
        let range = Self::around(from, skew, EARLIER, self.window);
        let owner = owner_pid(gathered);
        let started = |event: &'k Arc<HostEvent>| {
            let HostBody::ProcessCreate(create) = &event.body else {
                return None;
            };
            let delta = event.time.since(from);
            let fits = |delta: i64| (-EARLIER..=self.window).contains(&delta);
            let corrected = skew.is_some_and(|skew| fits(delta - skew.median.0));
            if !fits(delta) && !corrected {
                return None;
            }
            let image = create.process.image.as_deref();
            let logged = create.process.command_line.as_deref();
            let asked = case.asked();
            Some(Started {
                event,
                create,
                likeness: asked
                    .zip(logged)
                    .and_then(|(asked, logged)| command_line::compare(asked, logged)),
                named: image.is_some_and(|image| case.names(image)),
                by_owner: owner.is_some() && create.parent.pid == owner,
                by_expected: create
                    .parent
                    .image
                    .as_deref()
                    .is_some_and(|it| case.is_expected_parent(it)),
                delta,
                skewed: !fits(delta),
                again: None,
            })
        };
        self.store
            .within(gathered.host, Kind::Process, range)
            .filter_map(started)
            .collect()
    }

    /// The start of the process that holds the object.
    fn server(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        if !case.knows_parents() || case.is_wmi() {
            return;
        }
        let owner = owner_pid(gathered);
        let is_server = |it: &Started<'_>| {
            let process = &it.create.process;
            let image = process.image.as_deref().unwrap_or_default();
            let line = process.command_line.as_deref().unwrap_or_default().to_lowercase();
            // DcomLaunch starts servers so; the same program started by hand is none.
            let for_com = line.contains("-embedding") || line.contains("/automation") || line.contains("/embedding");
            let by_com = it.create.parent.image.as_deref().map(image_name).as_deref() == Some("svchost.exe");
            case.is_expected_parent(image)
                && match (owner, process.pid) {
                    (Some(owner), Some(pid)) => owner == pid,
                    _ => for_com || by_com,
                }
        };
        let found = self.started(case, case.since, gathered).into_iter().filter(is_server);
        gathered.server = found.min_by_key(|it| (precision(it.event), it.delta.abs()));
        if let Some(server) = &gathered.server {
            gathered.record.matched_on.push(Matched::ServerProcess);
            gathered.record.because.push(format!(
                "{}: {} was started by {} {} after the activation",
                server.event.source,
                process(&server.create.process),
                process(&server.create.parent),
                Signed(server.delta),
            ));
        }
    }

    /// What was run.
    fn child(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        let expected = case.expected();
        if expected == Expected::Library {
            return;
        }
        let wmi = case.is_wmi();
        let fits = |it: &Started<'_>| {
            let image = it.create.process.image.as_deref().unwrap_or_default();
            let known_child = case.is_expected_child(image);
            match (expected, it.likeness) {
                (_, Some(Likeness::Equal | Likeness::Wrapped | Likeness::Beginning)) => true,
                (Expected::Child, _) if case.asked().is_none() => wmi && it.by_expected && it.delta.abs() <= CLOSE,
                (Expected::Child, _) => {
                    (it.named && (it.by_owner || it.by_expected)) || (it.by_owner && known_child && it.delta <= CHILD)
                }
                // Of a process that runs all day children come and go.
                _ => it.by_owner && known_child && (0..=CHILD).contains(&it.delta.max(0)),
            }
        };
        let from = if case.is_call() { case.at } else { case.since };
        let all = self.started(case, from, gathered);
        let mut found: Vec<Started<'k>> = all.into_iter().filter(fits).collect();
        let best = |it: &Started<'_>| {
            (
                it.likeness.is_none_or(|likeness| likeness == Likeness::Program),
                it.likeness,
                !it.by_owner,
                !it.by_expected,
                !it.named,
                it.skewed,
                precision(it.event),
                it.delta.abs(),
            )
        };
        found.sort_by_key(best);
        let mut found = found.into_iter();
        let Some(mut child) = found.next() else { return };
        child.again = found
            .find(|it| it.event.source != child.event.source && is_same(it, &child))
            .map(|it| (it.event, it.create));
        Self::tell_child(case, &child, gathered);
        gathered.child = Some(child);
    }

    fn tell_child(case: &Case<'_>, child: &Started<'k>, gathered: &mut Gathered<'k>) {
        let record = &mut gathered.record;
        let (matched, how) = match child.likeness {
            Some(Likeness::Equal) => (Some(Matched::CommandLine), "the command lines are equal"),
            Some(Likeness::Wrapped) => (
                Some(Matched::CommandLine),
                "the command lines are equal but for a shell around one",
            ),
            Some(Likeness::Beginning) => (
                Some(Matched::CommandLine),
                "its command line is the beginning of the one asked for",
            ),
            _ if child.named && child.create.process.command_line.is_some() => (
                Some(Matched::Program),
                "it is the program asked for, with other parameters",
            ),
            _ if child.named => (
                Some(Matched::Program),
                "it is the program asked for; the log has no command line",
            ),
            _ => (
                None,
                "what it was to run is not known from the wire, or is another program",
            ),
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
        if let (true, Some(skew)) = (child.skewed, &mut gathered.skew) {
            skew.used = true;
            record.because.push(format!(
                "its time fits if the host's clock is {} from the wire's, as {} {} of {} say",
                Signed(skew.median.0),
                skew.connections,
                if skew.connections == 1 {
                    "connection"
                } else {
                    "connections"
                },
                skew.source,
            ));
        }
    }

    /// The library that was loaded.
    fn load(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        let (Expected::Library, Some(asked)) = (case.expected(), case.asked()) else {
            return;
        };
        let wanted = command_line::program(asked);
        let range = Self::around(case.at, gathered.skew.as_ref(), EARLIER, self.window);
        let owner = owner_pid(gathered);
        let is_it = |event: &&'k Arc<HostEvent>| {
            let HostBody::ImageLoad(load) = &event.body else {
                return false;
            };
            let same = load.path.as_deref().map(image_name).as_deref() == Some(wanted.as_str());
            let image = load.process.image.as_deref().unwrap_or_default();
            same && ((owner.is_some() && load.process.pid == owner) || case.is_expected_parent(image))
        };
        let Some(event) = self.store.within(gathered.host, Kind::Image, range).find(is_it) else {
            return;
        };
        gathered.load = Some(event);
        gathered.record.matched_on.push(Matched::ImageLoad);
        let told = format!(
            "{}: it loaded {wanted} {} after the call",
            event.source,
            Signed(event.time.since(case.at))
        );
        gathered.record.because.push(told);
    }

    /// The COM service's own word that it refused.
    fn refusal(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        if case.is_call() || case.dcom.outcome != Some(Outcome::Failed) {
            return;
        }
        let range = Self::around(case.at, gathered.skew.as_ref(), EARLIER, self.window);
        let found = self.store.within(gathered.host, Kind::Dcom, range).find(|event| {
            let HostBody::DcomError(error) = &event.body else {
                return false;
            };
            let class = case.dcom.clsid.is_none() || error.clsid.is_none() || error.clsid == case.dcom.clsid;
            !error.local && error.address == Some(case.client.address) && class
        });
        let Some(event) = found else { return };
        let HostBody::DcomError(error) = &event.body else {
            return;
        };
        gathered.error = Some(event);
        let record = &mut gathered.record;
        record.matched_on.push(Matched::DcomEvent);
        if error.clsid.is_some() && error.clsid == case.dcom.clsid {
            record.matched_on.push(Matched::Class);
        }
        record.because.push(format!(
            "{}: {} was refused to {} {} after the request",
            event.source,
            error
                .clsid
                .map_or_else(|| "an activation".to_owned(), |clsid| clsid.to_string()),
            case.client.address,
            Signed(event.time.since(case.at)),
        ));
    }

    /// The logon that came with it: from the same port, else from the same address as the same user.
    fn logon(&self, case: &Case<'_>, sightings: &[Sighting<'k>], gathered: &mut Gathered<'k>) {
        let mut ports: Vec<u16> = sightings.iter().map(|it| it.seen.client.port).collect();
        ports.push(case.client.port);
        let wanted = case.dcom.client.user.as_deref();
        let rank = |logon: &Logon| {
            let address = logon.kind == LogonKind::Succeeded
                && logon.logon_type.is_none_or(|kind| kind == 3)
                && logon.address.map(|address| address.to_canonical()) == Some(case.client.address);
            let user = logon.account.user.as_deref();
            let same_user = user
                .zip(wanted)
                .is_some_and(|(one, other)| one.eq_ignore_ascii_case(other));
            match (address, logon.port.is_some_and(|port| ports.contains(&port))) {
                (true, true) => Some(0),
                (true, false) if same_user => Some(1),
                _ => None,
            }
        };
        let from = Self::around(case.since, gathered.skew.as_ref(), EARLIER, 0);
        let to = Self::around(case.at, gathered.skew.as_ref(), 0, CLOSE.max(EARLIER));
        let found = self
            .store
            .within(gathered.host, Kind::Logon, *from.start()..=*to.end())
            .filter_map(|event| match &event.body {
                HostBody::Logon(logon) => Some((rank(logon)?, event, logon)),
                _ => None,
            });
        let best = found.min_by_key(|(rank, event, _)| (*rank, event.time.since(case.since).abs()));
        let Some((rank, event, logon)) = best else { return };
        gathered.record.matched_on.push(Matched::Logon);
        gathered.record.because.push(format!(
            "{}: {} logged on from {}{}",
            event.source,
            account(&logon.account).unwrap_or_else(|| "someone".to_owned()),
            case.client.address,
            logon
                .port
                .filter(|_| rank == 0)
                .map_or_else(|| ", by address and name".to_owned(), |port| format!(":{port}")),
        ));
        gathered.logon = Some((event, logon));
    }

    fn conclude(&self, case: &Case<'_>, gathered: Gathered<'k>) -> HostRecord {
        let Gathered {
            host,
            skew,
            owner,
            server,
            child,
            error,
            load,
            logon,
            mut record,
        } = gathered;
        let owner_fits = owner.and_then(|it| it.connect.process.image.as_deref());
        let owner_fits = owner_fits.map(|image| !case.knows_parents() || case.is_expected_parent(image));
        if owner_fits == Some(true) && case.knows_parents() && !record.matched_on.contains(&Matched::ParentImage) {
            record.matched_on.push(Matched::ParentImage);
        }
        if owner_fits == Some(false) {
            let told = "that is not a process that the catalogue expects to hold such objects";
            record.because.push(told.to_owned());
        }
        record.logon = logon.map(|(_, logon)| logon_record(logon));
        let source = match (&child, &server, owner, error, load) {
            (Some(child), ..) => Some(child.event),
            (_, Some(server), ..) => Some(server.event),
            (_, _, Some(owner), ..) => Some(owner.event),
            (.., Some(error), _) => Some(error),
            (.., load) => load,
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
        record.score = score(&record.matched_on);
        record.verdict = if is_confirmed(case, &record, owner_fits) {
            Verdict::Confirmed
        } else if self.is_contradicted(case, host, skew.as_ref(), &record, child.is_some()) {
            Verdict::Contradicted
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
        let inbound = |time: RangeInclusive<Timestamp>| {
            self.store.within(host, Kind::Network, time).any(|event| {
                let HostBody::NetworkConnect(connect) = &event.body else {
                    return false;
                };
                event.source == Source::Security(5156) && connect.direction == Some(Direction::Inbound)
            })
        };
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

    /// What was looked for and not found, and what the log has.
    fn tell_missing(&self, case: &Case<'_>, host: HostId, child: bool, record: &mut HostRecord) {
        let window = self.window / SECOND;
        match case.expected() {
            Expected::Library => record.because.push(
                "no child process: none is expected, a library stays inside of the process that loads it".to_owned(),
            ),
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
        let all: Vec<_> = self.store.coverage(host).collect();
        let kinds = all.iter().map(|(kind, it)| format!("{} {}", it.count, kind.name()));
        record.coverage = Some(CoverageRecord {
            first: all.iter().map(|(_, it)| it.first).min(),
            last: all.iter().map(|(_, it)| it.last).max(),
            kinds: kinds.collect(),
        });
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

    /// What the log of a host says of its attempt to reach another's activator: the event that names the class, or at least
    /// the connection.
    pub(super) fn attempt(&self, client: Endpoint, server: Endpoint, at: Timestamp) -> Option<Attempt<'k>> {
        let seen = Seen {
            client,
            server,
            at,
            opened: true,
        };
        let mut record = HostRecord {
            role: Role::Client,
            ..HostRecord::default()
        };
        let near = |event: &HostEvent| event.time.since(seen.at).abs() <= FARTHEST;
        let connection = self
            .store
            .of_connection(client, server)
            .filter(|(_, event)| near(event))
            .min_by_key(|(_, event)| (precision(event), event.time.since(at).abs()));
        let host = connection
            .map(|(host, _)| host)
            .or_else(|| self.logged(client.address))?;
        record.name = Some(self.names.name(host));
        if let Some((_, event)) = connection
            && let HostBody::NetworkConnect(connect) = &event.body
        {
            record.matched_on.push(Matched::FourTuple);
            record.because.push(format!(
                "{}: {} opened {}:{} → {}:{}",
                event.source,
                process(&connect.process),
                client.address,
                client.port,
                server.address,
                server.port
            ));
            tell_source(event, at, &mut record);
            record.process = Some(process_record(&connect.process, account(&connect.account)));
        }
        let skew = self.skews.of(host);
        let range = Self::around(at, skew.as_ref(), self.window, self.window);
        let errors = self
            .store
            .within(host, Kind::Dcom, range)
            .filter_map(|event| match &event.body {
                HostBody::DcomError(error) if self.is_about(error, server.address) => Some((event, &**error)),
                _ => None,
            });
        let error = errors.min_by_key(|(event, _)| event.time.since(at).abs());
        if let Some((event, error)) = error {
            record.matched_on.push(Matched::DcomEvent);
            record.because.push(format!(
                "{}: {} could not reach {}, {} after the attempt{}",
                event.source,
                process(&error.process),
                error.target.as_deref().unwrap_or("?"),
                Signed(event.time.since(at)),
                error
                    .clsid
                    .map(|clsid| format!(", and names the class {clsid}"))
                    .unwrap_or_default(),
            ));
            tell_source(event, at, &mut record);
            record.process = Some(process_record(&error.process, account(&error.account)));
            record.verdict = Verdict::Confirmed;
        }
        record.clock_skew = skew;
        record.score = score(&record.matched_on);
        record.matched_on.sort_unstable();
        let error = error.map(|(event, error)| (event.source, error));
        Some(Attempt { record, error })
    }

    fn is_about(&self, error: &DcomError, server: IpAddr) -> bool {
        let Some(target) = error.target.as_deref() else {
            return false;
        };
        match target.parse::<IpAddr>() {
            Ok(address) => address.to_canonical() == server,
            Err(_) => self
                .names
                .find(target)
                .is_some_and(|host| self.names.of(server).any(|(_, known)| known == host)),
        }
    }

    /// What a target's log says of a class that was asked for under seal, and refused.
    pub(super) fn refused_class(&self, case: &Case<'_>) -> Option<(Source, &'k DcomError)> {
        let host = self.logged(case.server.address)?;
        let skew = self.skews.of(host);
        let range = Self::around(case.at, skew.as_ref(), EARLIER, self.window);
        self.store
            .within(host, Kind::Dcom, range)
            .find_map(|event| match &event.body {
                HostBody::DcomError(error) if !error.local && error.address == Some(case.client.address) => {
                    error.clsid.map(|_| (event.source, &**error))
                }
                _ => None,
            })
    }
}

/// What a host's log says of an attempt.
pub(super) struct Attempt<'k> {
    pub(super) record: HostRecord,
    /// The event that names what was asked for.
    pub(super) error: Option<(Source, &'k DcomError)>,
}

/// The process at the server's end of the object's port: by the connection, else as it was started.
fn owner_pid(gathered: &Gathered<'_>) -> Option<u32> {
    let owner = gathered.owner.and_then(|it| it.connect.process.pid);
    owner.or_else(|| gathered.server.as_ref()?.create.process.pid)
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

fn client_side(sightings: &[Sighting<'_>], record: &mut HostRecord) {
    let clients = sightings.iter().filter(|it| it.role == Role::Client);
    let best = clients.min_by_key(|it| (!it.dynamic, it.connect.process.pid.is_none()));
    record.client_process = best.map(|it| ClientProcessRecord {
        pid: it.connect.process.pid,
        image: it.connect.process.image.clone(),
        user: account(&it.connect.account),
    });
}

fn processes(
    child: Option<&Started<'_>>,
    server: Option<&Started<'_>>,
    owner: Option<Sighting<'_>>,
    record: &mut HostRecord,
) {
    if let Some(started) = child.or(server) {
        let create = started.create;
        record.process = Some(ProcessRecord {
            pid: started.pid(),
            ..process_record(&create.process, account(&create.account))
        });
        record.parent = Some(ParentRecord {
            pid: create.parent.pid,
            image: create.parent.image.clone(),
            command_line: create.parent.command_line.clone(),
        });
        // A pid that the record lacks, the connection may tell.
        if child.is_none()
            && let (Some(record), Some(owner)) = (&mut record.process, owner)
        {
            record.pid = record.pid.or(owner.connect.process.pid);
        }
    } else if let Some(owner) = owner {
        record.process = Some(process_record(&owner.connect.process, account(&owner.connect.account)));
    }
}

/// Is what was matched enough? See docs/JOIN.md.
fn is_confirmed(case: &Case<'_>, record: &HostRecord, owner_fits: Option<bool>) -> bool {
    let has = |wanted: Matched| record.matched_on.contains(&wanted);
    if has(Matched::DcomEvent) {
        return true;
    }
    let of_the_pair = has(Matched::FourTuple) || has(Matched::Logon);
    let server = owner_fits == Some(true) || has(Matched::ServerProcess);
    match case.expected() {
        Expected::Child if case.asked().is_none() => {
            of_the_pair && has(Matched::ParentImage) && record.parent.is_some()
        }
        Expected::Child => {
            has(Matched::CommandLine)
                || (has(Matched::Program) && has(Matched::ParentPid))
                || (has(Matched::Program) && has(Matched::ParentImage) && of_the_pair && !knows_better(record))
        }
        Expected::Library => has(Matched::ImageLoad) || server,
        Expected::Server => server,
    }
}

/// The log has the command line, and it is another.
fn knows_better(record: &HostRecord) -> bool {
    record
        .process
        .as_ref()
        .is_some_and(|process| process.command_line.is_some())
}

fn score(matched: &[Matched]) -> u8 {
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

/// Sysmon and Defender know times to the millisecond, and parents by name.
fn precision(event: &HostEvent) -> u8 {
    match event.source {
        Source::Sysmon(_) | Source::DeviceProcessEvents | Source::DeviceNetworkEvents => 0,
        _ => 1,
    }
}

fn tell_source(event: &HostEvent, at: Timestamp, record: &mut HostRecord) {
    let delta = event.time.since(at);
    record.time_delta = Some(Interval(delta));
    record.source = Some(event.source.to_string());
    record.place = Some(place(event));
    if delta.abs() <= CLOSE && !record.matched_on.contains(&Matched::Time) {
        record.matched_on.push(Matched::Time);
    }
}

fn place(event: &HostEvent) -> PlaceRecord {
    PlaceRecord {
        input: Some(Arc::clone(&event.place.input)),
        record: event.place.record,
        timestamp: event.time,
    }
}

fn process_record(process: &Process, user: Option<String>) -> ProcessRecord {
    ProcessRecord {
        pid: process.pid,
        image: process.image.clone(),
        command_line: process.command_line.clone(),
        user,
    }
}

fn logon_record(logon: &Logon) -> LogonRecord {
    LogonRecord {
        user: account(&logon.account),
        id: logon.account.logon_id.map(|id| format!("{id:#x}")),
        package: logon.package.clone(),
        port: logon.port.map(Port),
    }
}

pub(super) fn account(account: &Account) -> Option<String> {
    let user = account.user.as_deref().filter(|user| !user.is_empty())?;
    Some(match account.domain.as_deref().filter(|domain| !domain.is_empty()) {
        Some(domain) if !user.contains('\\') => format!("{domain}\\{user}"),
        _ => user.to_owned(),
    })
}

/// `cmd.exe (pid 6108)`.
pub(super) fn process(process: &Process) -> String {
    let name = process
        .image
        .as_deref()
        .map_or("a process", |image| image.rsplit(['\\', '/']).next().unwrap_or(image));
    match process.pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name.to_owned(),
    }
}
