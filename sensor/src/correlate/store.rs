//! What host logs say, by host and time, as far as it can be joined with traffic; bounded, the first to come forgotten first.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::names::{self, By, HostId, Names};
use crate::decode::Endpoint;
use crate::host_log::command_line;
use crate::host_log::event::{Direction, HostEnd, NetworkConnect, Process, Source, image_name, text_hash};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

/// The kinds of events that are of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Process creations.
    Process,
    /// Connections.
    Network,
    /// Network logons.
    Logon,
    /// The COM service's complaints.
    Dcom,
    /// Libraries loaded.
    Image,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Process, Self::Network, Self::Logon, Self::Dcom, Self::Image];

    /// Of this event, if it is of use.
    pub fn of(event: &HostEvent) -> Option<Self> {
        Some(match &event.body {
            HostBody::ProcessCreate(_) => Self::Process,
            HostBody::NetworkConnect(_) => Self::Network,
            HostBody::Logon(logon) if logon.logon_type != Some(2) => Self::Logon,
            HostBody::DcomError(_) => Self::Dcom,
            HostBody::ImageLoad(load) if is_loaded_by_hand(load.path.as_deref()) => Self::Image,
            _ => return None,
        })
    }

    /// What it is called in a list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process creations",
            Self::Network => "connections",
            Self::Logon => "logons",
            Self::Dcom => "DCOM errors",
            Self::Image => "image loads",
        }
    }
}

/// A library that a call may have named: Windows' own are loaded by everybody.
fn is_loaded_by_hand(path: Option<&str>) -> bool {
    path.is_some_and(|path| {
        let path = path.to_lowercase();
        !path.contains(r"\windows\system32\")
            && !path.contains(r"\windows\syswow64\")
            && !path.contains(r"\windows\winsxs\")
            && !path.contains(r"\windows\assembly\")
    })
}

/// Orders events of a host: by time, then as they came.
type Key = (Timestamp, u64);

/// By what events are found among all of their time: a host logs thousands of processes a minute, of which one is looked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// Processes by the hash of a command line that they run, themselves or inside of a shell.
    Line(u64),
    /// Those of which no command line is known, by the hash of their image's name.
    Bare(u64),
    /// Processes by the hash of their image's name.
    Image(u64),
    /// Processes by their id.
    Pid(u32),
    /// By the id of the process that started them.
    ParentPid(u32),
    /// By the hash of the name of that one's image.
    ParentImage(u64),
    /// Loads of a library, by the hash of its file's name.
    Library(u64),
    /// Refusals to a computer on the network.
    Refused(IpAddr),
    /// What a computer could not reach, by the hash of its address or of its name without the domain.
    Unreached(u64),
    /// Logons from an address and port.
    LogonPort(IpAddr, u16),
    /// Logons from an address, by the hash of the account's name.
    LogonUser(IpAddr, u64),
    /// Connections from outside by the Windows Filtering Platform, which logs all of them or none.
    Inbound,
}

impl Lookup {
    /// Of what kind the events are that are found so.
    fn kind(self) -> Kind {
        match self {
            Self::Library(_) => Kind::Image,
            Self::Refused(_) | Self::Unreached(_) => Kind::Dcom,
            Self::LogonPort(..) | Self::LogonUser(..) => Kind::Logon,
            Self::Inbound => Kind::Network,
            _ => Kind::Process,
        }
    }

    /// A computer of that name or address could not be reached.
    pub(super) fn unreached(target: &str) -> Self {
        Self::Unreached(match target.parse::<IpAddr>() {
            Ok(address) => text_hash(&address.to_canonical().to_string()),
            Err(_) => text_hash(&names::short(target)),
        })
    }

    /// Logons of that account.
    pub(super) fn logon_user(address: IpAddr, user: &str) -> Self {
        Self::LogonUser(address, text_hash(&user.to_ascii_lowercase()))
    }

    /// By what an event is found.
    fn of(event: &HostEvent) -> Vec<Self> {
        let name = |process: &Process| process.name().map(|name| text_hash(&name));
        match &event.body {
            HostBody::ProcessCreate(create) => {
                let (process, parent) = (&create.process, &create.parent);
                let mut all = Vec::new();
                match process.command_line.as_deref() {
                    Some(line) => {
                        let keys = command_line::keys(line);
                        all.extend(keys.iter().map(|key| Self::Line(text_hash(key))));
                    }
                    None => all.extend(name(process).map(Self::Bare)),
                }
                all.extend(name(process).map(Self::Image));
                all.extend(process.pid.map(Self::Pid));
                all.extend(parent.pid.map(Self::ParentPid));
                all.extend(name(parent).map(Self::ParentImage));
                all
            }
            HostBody::ImageLoad(load) => {
                let name = load.path.as_deref().map(image_name);
                name.map(|name| Self::Library(text_hash(&name))).into_iter().collect()
            }
            HostBody::DcomError(error) => {
                let refused = error.address.filter(|_| !error.local).map(Self::Refused);
                let unreached = error.target.as_deref().map(Self::unreached);
                refused.into_iter().chain(unreached).collect()
            }
            HostBody::Logon(logon) => {
                let address = logon.address.map(|address| address.to_canonical());
                let port = address
                    .zip(logon.port)
                    .map(|(address, port)| Self::LogonPort(address, port));
                let user = address.zip(logon.account.user.as_deref());
                let user = user.map(|(address, user)| Self::logon_user(address, user));
                port.into_iter().chain(user).collect()
            }
            HostBody::NetworkConnect(connect)
                if event.source == Source::Security(5156) && connect.direction == Some(Direction::Inbound) =>
            {
                vec![Self::Inbound]
            }
            _ => Vec::new(),
        }
    }
}

/// First and last of a kind, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The time of the first.
    pub first: Timestamp,
    /// The time of the last.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
}

impl Coverage {
    /// Of one event.
    pub(super) fn of(time: Timestamp) -> Self {
        Self {
            first: time,
            last: time,
            count: 1,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
        self.count += more.count;
    }
}

/// What one host logged.
#[derive(Debug, Default)]
struct Logged {
    kinds: BTreeMap<Kind, BTreeMap<Key, Arc<HostEvent>>>,
    index: BTreeSet<(Lookup, Key)>,
    coverage: BTreeMap<Kind, Coverage>,
    /// How often something came.
    changes: u64,
}

/// What hosts logged.
#[derive(Debug)]
pub struct Store {
    hosts: HashMap<HostId, Logged>,
    /// Connections by both ends, the lesser first.
    by_ends: HashMap<[Endpoint; 2], Vec<(HostId, Key)>>,
    order: VecDeque<(HostId, Kind, Key, usize)>,
    next: u64,
    bytes: usize,
    most: usize,
    /// Events that were forgotten to make room.
    pub(super) forgotten: u64,
    /// Events kept, ever.
    pub(super) kept: u64,
}

/// One of many events of the same connection is enough.
const SAME_CONNECTION: usize = 16;

impl Store {
    /// Room for so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            hosts: HashMap::new(),
            by_ends: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            bytes: 0,
            most,
            forgotten: 0,
            kept: 0,
        }
    }

    /// The log of a host has such events, whether they are kept or not.
    pub fn cover(&mut self, host: HostId, kind: Kind, more: Coverage) {
        let coverage = &mut self.hosts.entry(host).or_default().coverage;
        let known = coverage.entry(kind);
        known.and_modify(|known| known.add(more)).or_insert(more);
    }

    /// Keeps an event.
    pub fn push(&mut self, host: HostId, kind: Kind, event: HostEvent) {
        let lookups = Lookup::of(&event);
        let size = event.size() + lookups.len() * size_of::<(Lookup, Key)>() * 2;
        let key = (event.time, self.next);
        self.next += 1;
        self.kept += 1;
        if let HostBody::NetworkConnect(connect) = &event.body {
            let known = self.by_ends.entry(ends(connect)).or_default();
            if known.len() >= SAME_CONNECTION {
                known.remove(0);
            }
            known.push((host, key));
        }
        let logged = self.hosts.entry(host).or_default();
        logged.changes += 1;
        logged.index.extend(lookups.into_iter().map(|lookup| (lookup, key)));
        logged.kinds.entry(kind).or_default().insert(key, Arc::new(event));
        self.order.push_back((host, kind, key, size));
        self.bytes += size;
        while self.bytes > self.most {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let Some((host, kind, key, size)) = self.order.pop_front() else {
            self.bytes = 0;
            return;
        };
        self.bytes = self.bytes.saturating_sub(size);
        self.forgotten += 1;
        let Some(logged) = self.hosts.get_mut(&host) else {
            return;
        };
        let Some(event) = logged.kinds.get_mut(&kind).and_then(|events| events.remove(&key)) else {
            return;
        };
        for lookup in Lookup::of(&event) {
            logged.index.remove(&(lookup, key));
        }
        if let HostBody::NetworkConnect(connect) = &event.body {
            let ends = ends(connect);
            if let Some(known) = self.by_ends.get_mut(&ends) {
                known.retain(|&(_, other)| other != key);
                if known.is_empty() {
                    self.by_ends.remove(&ends);
                }
            }
        }
    }

    /// What has come before this time is not needed any more.
    pub fn forget_before(&mut self, time: Timestamp) {
        // In the order in which they came: late lines stay a little longer.
        while self.order.front().is_some_and(|(_, _, (at, _), _)| *at < time) {
            self.forget_one();
            self.forgotten -= 1;
        }
    }

    /// Is there a log of that host?
    pub fn has(&self, host: HostId) -> bool {
        self.hosts.contains_key(&host)
    }

    /// How often something came of that host.
    pub fn changes(&self, host: HostId) -> u64 {
        self.hosts.get(&host).map_or(0, |logged| logged.changes)
    }

    /// Events of a kind within a time, in order.
    pub fn within(
        &self,
        host: HostId,
        kind: Kind,
        time: RangeInclusive<Timestamp>,
    ) -> impl DoubleEndedIterator<Item = &Arc<HostEvent>> {
        let events = self.hosts.get(&host).and_then(|logged| logged.kinds.get(&kind));
        let (from, to) = ((*time.start(), 0), (*time.end(), u64::MAX));
        events
            .filter(|_| from <= to)
            .into_iter()
            .flat_map(move |events| events.range(from..=to))
            .map(|(_, event)| event)
    }

    /// Events within a time that are found so, in order.
    pub fn found(
        &self,
        host: HostId,
        lookup: Lookup,
        time: RangeInclusive<Timestamp>,
    ) -> impl DoubleEndedIterator<Item = &Arc<HostEvent>> {
        let kind = lookup.kind();
        let (from, to) = ((lookup, (*time.start(), 0)), (lookup, (*time.end(), u64::MAX)));
        let logged = self.hosts.get(&host).filter(|_| from <= to);
        logged.into_iter().flat_map(move |logged| {
            let events = logged.kinds.get(&kind);
            let keys = logged.index.range(from..=to);
            keys.filter_map(move |(_, key)| events?.get(key))
        })
    }

    /// Events of a connection, on whatever host.
    pub fn of_connection(&self, one: Endpoint, other: Endpoint) -> impl Iterator<Item = (HostId, &Arc<HostEvent>)> {
        let known = self.by_ends.get(&ordered(one, other)).into_iter().flatten();
        known.filter_map(|&(host, key)| {
            let events = self.hosts.get(&host)?.kinds.get(&Kind::Network)?;
            Some((host, events.get(&key)?))
        })
    }

    /// What the log of a host covers, by kind.
    pub fn coverage(&self, host: HostId) -> impl Iterator<Item = (Kind, Coverage)> {
        let logged = self.hosts.get(&host);
        Kind::ALL.into_iter().filter_map(move |kind| {
            let coverage = logged?.coverage.get(&kind)?;
            Some((kind, *coverage))
        })
    }

    /// Does the log have events of that kind on both sides of a time, none of them farther away than that?
    pub fn encloses(&self, host: HostId, kind: Kind, time: RangeInclusive<Timestamp>, at_most: i64) -> bool {
        let (start, end) = (*time.start(), *time.end());
        let before = Timestamp(start.0.saturating_sub(at_most))..=start;
        let after = end..=Timestamp(end.0.saturating_add(at_most));
        self.within(host, kind, before).next().is_some() && self.within(host, kind, after).next().is_some()
    }

    /// Hosts that there are logs of.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }
}

/// What a connection tells of whose addresses its ends are.
pub fn learn(names: &mut Names, event: &HostEvent) {
    match &event.body {
        HostBody::NetworkConnect(connect) => {
            let name = |name: &Option<Arc<str>>| name.as_deref().filter(|name| !name.is_empty()).map(str::to_owned);
            match connect.direction {
                // In every version the source is the own end of what a host opens.
                Some(Direction::Outbound) => names.learn(&event.host, connect.source.ip, By::Log),
                _ => names.learn(&event.host, connect.destination.ip, By::LogGuess),
            }
            for (name, end) in [
                (name(&connect.source_name), connect.source),
                (name(&connect.destination_name), connect.destination),
            ] {
                if let Some(name) = name {
                    names.learn(&name, end.ip, By::LogGuess);
                }
            }
        }
        HostBody::Logon(logon) => {
            if let (Some(workstation), Some(address)) = (&logon.workstation, logon.address) {
                names.learn(workstation, address, By::LogGuess);
            }
        }
        _ => {}
    }
}

fn endpoint(end: HostEnd) -> Endpoint {
    Endpoint {
        address: end.ip.to_canonical(),
        port: end.port,
    }
}

fn ends(connect: &NetworkConnect) -> [Endpoint; 2] {
    ordered(endpoint(connect.source), endpoint(connect.destination))
}

/// A connection, whoever opened it.
pub fn ordered(one: Endpoint, other: Endpoint) -> [Endpoint; 2] {
    let key = |end: &Endpoint| (end.address, end.port);
    if key(&one) <= key(&other) {
        [one, other]
    } else {
        [other, one]
    }
}

/// The ends of a connection, as the host that logged it sees them: its own first. None where that cannot be told.
pub fn own_end(names: &Names, host: HostId, connect: &NetworkConnect) -> Option<[Endpoint; 2]> {
    let (source, destination) = (endpoint(connect.source), endpoint(connect.destination));
    let own = |address: IpAddr| names.of(address).any(|(by, known)| known == host && by <= By::Log);
    match (own(source.address), own(destination.address), connect.direction) {
        (true, false, _) | (_, _, Some(Direction::Outbound)) => Some([source, destination]),
        (false, true, _) | (_, _, Some(Direction::Inbound)) => Some([destination, source]),
        _ => None,
    }
}
