//! What host logs show of a case: gathered here, judged in `join/verdict.rs`.

mod attempt;
mod told;
mod verdict;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::case::{Case, Expected};
use super::names::{HostId, Names};
use super::skew::{FARTHEST, Signed, Skews};
use super::store::{Kind, Store, own_end};
use super::wire::{Seen, Wire};
use crate::event::dcom::Outcome;
use crate::event::host::{HostRecord, Matched, Role, SkewRecord};
use crate::host_log::command_line::{self, Asked, Likeness};
use crate::host_log::event::{Direction, Logon, LogonKind, NetworkConnect, ProcessCreate, image_name};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;
use told::{account, client_side, precision, process};

const SECOND: i64 = 1_000_000_000;
/// A host may log so much before the wire shows it: whole seconds are cut.
const EARLIER: i64 = 2 * SECOND;
/// What is as close as this, is close in time.
const CLOSE: i64 = 5 * SECOND;
/// A child without a known command line is no more than a coincidence after this.
const CHILD: i64 = 60 * SECOND;

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
        let asked = case.asked().map(Asked::of);
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
            Some(Started {
                event,
                create,
                likeness: asked
                    .as_ref()
                    .zip(logged)
                    .and_then(|(asked, logged)| asked.compare(logged)),
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
