//! What host logs show of a case: gathered here, judged in `join/verdict.rs`.

mod attempt;
mod child;
mod told;
mod verdict;

use std::cmp::Reverse;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::case::{Case, Expected};
use super::claims::{Claim, Claims};
use super::names::{By, HostId, Names};
use super::skew::{FARTHEST, Signed, Skews};
use super::store::{Lookup, Store, own_end};
use super::wire::{Seen, Wire};
use crate::event::dcom::Outcome;
use crate::event::host::{HostRecord, Matched, Role, SkewRecord, Verdict};
use crate::hash::HashSet;
use crate::host_log::command_line::{self, is_same_file};
use crate::host_log::event::{DcomError, Direction, Logon, LogonKind, NetworkConnect, text_hash};
use crate::host_log::{HostBody, HostEvent};
use crate::time::{SECOND, Timestamp};
use child::{Started, is_same_process, owner};
pub(super) use told::brief;
use told::{account, client_side, process, tell_skew};

/// A host may log so much before the wire shows it: whole seconds are cut.
const EARLIER: i64 = 2 * SECOND;
/// What is as close as this, is close in time.
const CLOSE: i64 = 5 * SECOND;
/// A child without a known command line is no more than a coincidence after this.
const CHILD: i64 = 60 * SECOND;
/// Of events that are found by one thing, so many are looked at, from the request on: a host may log any number of alike
/// ones.
const LOOKED_AT: usize = 256;

/// What there is to ask.
pub(super) struct Known<'k> {
    pub(super) names: &'k Names,
    pub(super) store: &'k Store,
    pub(super) wire: &'k Wire,
    pub(super) skews: &'k Skews,
    pub(super) claims: &'k Claims,
    /// Whose logs were refused.
    pub(super) refused: &'k HashSet<HostId>,
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

/// What hosts say of a case, and the processes that stand for it.
pub(super) struct Judged {
    pub(super) record: HostRecord,
    pub(super) claims: Vec<Claim>,
}

/// The evidence of one case, as it is gathered.
struct Gathered<'k> {
    host: HostId,
    skew: Option<SkewRecord>,
    owner: Option<Sighting<'k>>,
    server: Option<Started<'k>>,
    /// Whether that is one alone: 0, 1 or 2 for more.
    servers: usize,
    child: Option<Started<'k>>,
    /// Was there something like the child, that cannot be taken for it?
    lead: bool,
    error: Option<&'k HostEvent>,
    load: Option<&'k HostEvent>,
    logon: Option<(&'k HostEvent, &'k Logon)>,
    record: HostRecord,
}

impl<'k> Known<'k> {
    /// What the logs say of a case.
    pub(super) fn judge(&self, case: &Case<'_>) -> Judged {
        let sightings = self.sightings(case);
        let hosts = self.targets(case, &sightings);
        let mut judged: Vec<Judged> = hosts
            .iter()
            .map(|&host| self.judge_host(case, host, &sightings))
            .collect();
        // Where several may have been called, what one of them does not show proves nothing.
        if let [_, _, ..] = judged[..] {
            let names: Vec<_> = hosts.iter().map(|&host| self.names.name(host).to_string()).collect();
            let told = format!("{} may be any of {}", case.server.address, names.join(", "));
            for Judged { record, .. } in &mut judged {
                record.because.push(told.clone());
                if record.verdict == Verdict::Contradicted {
                    record.verdict = Verdict::NotSeen;
                }
            }
            judged.sort_by_key(|it| (it.record.verdict != Verdict::Confirmed, Reverse(it.record.score)));
        }
        judged.into_iter().next().unwrap_or_else(|| Judged {
            record: self.unknown_target(case, &sightings),
            claims: Vec::new(),
        })
    }

    fn judge_host(&self, case: &Case<'_>, host: HostId, sightings: &[Sighting<'k>]) -> Judged {
        let nearest = |it: &&Sighting<'_>| {
            let distance = it.event.time.since(it.seen.at).abs();
            (it.connect.process.pid.is_none(), distance)
        };
        let owners = sightings
            .iter()
            .filter(|it| it.role == Role::Server && it.dynamic && it.host == host);
        let owner = owners.min_by_key(nearest).copied();
        let mut gathered = Gathered {
            host,
            skew: self.skews.of(host),
            owner,
            server: None,
            servers: 0,
            child: None,
            lead: false,
            error: None,
            load: None,
            logon: None,
            record: HostRecord {
                name: Some(self.names.name(host)),
                ..HostRecord::default()
            },
        };
        self.connections(sightings, &mut gathered);
        self.logon(case, sightings, &mut gathered);
        self.server(case, &mut gathered);
        self.child(case, &mut gathered);
        self.load(case, &mut gathered);
        self.refusal(case, &mut gathered);
        let child = gathered.child.as_ref().filter(|it| it.proves && case.is_call());
        let events = child.map(|it| [Some(it.event), it.again.map(|(event, _)| event)]);
        let claims: Vec<Claim> = events
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|event| Claim::of(host, event))
            .collect();
        let record = self.conclude(case, gathered);
        Judged { record, claims }
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

    /// The hosts that may have been called: whoever logged the connection's far end, else whoever has the address and a
    /// log, by the word of the most trusted; several where those differ.
    fn targets(&self, case: &Case<'_>, sightings: &[Sighting<'_>]) -> Vec<HostId> {
        let logged = sightings.iter().filter(|it| it.role == Role::Server);
        let mut hosts: Vec<HostId> = logged.map(|it| it.host).collect();
        if hosts.is_empty() {
            let known = self.names.of(case.server.address);
            let known: Vec<_> = known.filter(|&(_, host)| self.store.has(host)).collect();
            let best = known.first().map(|&(by, _)| by);
            let as_good = |by: By| Some(by) == best || (best != Some(By::Map) && by <= By::Server);
            hosts.extend(known.iter().filter(|&&(by, _)| as_good(by)).map(|&(_, host)| host));
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
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
        let refused = self.names.of(address).any(|(_, host)| self.refused.contains(&host));
        let why = if refused {
            format!("the log of {address}{named} was refused: it is of another time")
        } else {
            format!("there is no log of {address}{named}")
        };
        let mut record = HostRecord {
            name,
            because: vec![why],
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

    /// The library that was loaded.
    fn load(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        let (Expected::Library, Some(asked)) = (case.expected(), case.asked()) else {
            return;
        };
        let wanted = command_line::program(asked);
        let called = owner(gathered);
        let is_it = |event: &&'k Arc<HostEvent>| {
            let HostBody::ImageLoad(load) = &event.body else {
                return false;
            };
            let by_called = called.and_then(|called| is_same_process(&load.process, called));
            let image = load.process.image.as_deref().unwrap_or_default();
            load.path.as_deref().is_some_and(|path| is_same_file(asked, path))
                && by_called.unwrap_or_else(|| case.is_expected_parent(image))
        };
        let lookup = Lookup::Library(text_hash(&wanted));
        let mut times = Self::times(case.at, gathered, self.window).into_iter();
        let found = times.find_map(|time| {
            self.store
                .found(gathered.host, lookup, time)
                .take(LOOKED_AT)
                .find(is_it)
        });
        let Some(event) = found else {
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
        if !(-EARLIER..=self.window).contains(&event.time.since(case.at)) {
            tell_skew(&mut gathered.skew, &mut gathered.record);
        }
    }

    /// The COM service's own word that it refused.
    fn refusal(&self, case: &Case<'_>, gathered: &mut Gathered<'k>) {
        if case.is_call() || case.dcom.outcome != Some(Outcome::Failed) {
            return;
        }
        let found = |before: i64| {
            let range = Self::around(case.at, gathered.skew.as_ref(), before, self.window);
            let refused = Lookup::Refused(case.client.address);
            let mut found = self.store.found(gathered.host, refused, range).take(LOOKED_AT);
            found.find_map(|event| match &event.body {
                HostBody::DcomError(error) => {
                    let class = case.dcom.clsid.is_none() || error.clsid.is_none() || error.clsid == case.dcom.clsid;
                    let is_it = !error.local && error.address == Some(case.client.address) && class;
                    is_it.then_some((event, error))
                }
                _ => None,
            })
        };
        let told = |event: &HostEvent, error: &DcomError| {
            format!(
                "{}: {} was refused to {} {} after the request",
                event.source,
                error
                    .clsid
                    .map_or_else(|| "an activation".to_owned(), |clsid| clsid.to_string()),
                case.client.address,
                Signed(event.time.since(case.at)),
            )
        };
        let Some((event, error)) = found(EARLIER) else {
            if let Some((event, error)) = found(self.window) {
                let told = told(event, error);
                gathered
                    .record
                    .because
                    .push(format!("not counted: {told}, which is too early"));
            }
            return;
        };
        gathered.error = Some(event);
        let record = &mut gathered.record;
        record.matched_on.push(Matched::DcomEvent);
        if error.clsid.is_some() && error.clsid == case.dcom.clsid {
            record.matched_on.push(Matched::Class);
        }
        record.because.push(told(event, error));
        if !(-EARLIER..=self.window).contains(&event.time.since(case.at)) {
            tell_skew(&mut gathered.skew, record);
        }
    }

    /// The logon that came with it: from the same port, else from the same address as the same user.
    fn logon(&self, case: &Case<'_>, sightings: &[Sighting<'k>], gathered: &mut Gathered<'k>) {
        let address = case.client.address;
        let mut ports: Vec<u16> = sightings.iter().map(|it| it.seen.client.port).collect();
        ports.push(case.client.port);
        ports.sort_unstable();
        ports.dedup();
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
        let from = Self::around(case.activated, gathered.skew.as_ref(), EARLIER, 0);
        let to = Self::around(case.at, gathered.skew.as_ref(), 0, CLOSE.max(EARLIER));
        let time = *from.start()..=*to.end();
        let by_user = wanted.map(|user| Lookup::logon_user(address, user));
        let by_port = ports.iter().map(|&port| Lookup::LogonPort(address, port));
        let found = by_port.chain(by_user).flat_map(|lookup| {
            let found = self.store.found(gathered.host, lookup, time.clone());
            found.take(LOOKED_AT)
        });
        let found = found.filter_map(|event| match &event.body {
            HostBody::Logon(logon) => Some((rank(logon)?, event, logon)),
            _ => None,
        });
        let best = found.min_by_key(|(rank, event, _)| (*rank, event.time.since(case.activated).abs()));
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
        let as_it_is = Self::around(case.activated, None, EARLIER, case.at.since(case.activated) + CLOSE);
        if !as_it_is.contains(&event.time) {
            tell_skew(&mut gathered.skew, &mut gathered.record);
        }
        gathered.logon = Some((event, logon));
    }
}
