//! Who logged on from another computer, and what that has to do with a finding.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::finding::{CLOSE, Finding, NEAR, SAME, as_whom, caller, seconds};
use super::memory::{Inbound, Table, short};
use crate::event::host_alert::RelatedEvent;
use crate::host_log::event::{Account, HostEvent, Logon, Place, Source};
use crate::time::Timestamp;

/// Over the network, as whoever calls an object does.
const NETWORK: u32 = 3;
/// Logons of one number that are remembered: numbers begin anew when a computer does.
const OF_ONE_NUMBER: usize = 8;
/// Accounts that are told because they logged on shortly before.
const BESIDE: usize = 4;

/// Someone logged on from another computer.
#[derive(Debug)]
pub(super) struct Logged {
    at: Timestamp,
    source: Source,
    place: Place,
    kind: u32,
    account: Account,
    address: IpAddr,
    port: Option<u16>,
}

impl Logged {
    pub(super) fn of(event: &HostEvent, logon: &Logon, address: IpAddr) -> Self {
        Self {
            at: event.time,
            source: event.source,
            place: event.place.clone(),
            kind: logon.logon_type.unwrap_or_default(),
            account: logon.account.clone(),
            address: address.to_canonical(),
            port: logon.port.filter(|&port| port > 0),
        }
    }

    /// What it takes.
    fn size(&self) -> usize {
        size_of::<Self>() + self.account.size()
    }

    /// Where it stands: of two records of one logon the first speaks.
    fn place(&self) -> (Timestamp, &str, u64) {
        (self.at, &self.place.input, self.place.record)
    }

    fn who(&self) -> String {
        as_whom(&self.account).trim_start_matches(" as ").to_owned()
    }

    fn from(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        }
    }

    fn related(&self) -> RelatedEvent {
        RelatedEvent {
            timestamp: self.at,
            source: self.source.to_string(),
            input: Arc::clone(&self.place.input),
            record: self.place.record,
            what: format!("logon of type {} of {} from {}", self.kind, self.who(), self.from()),
        }
    }
}

/// Logons from other computers.
#[derive(Debug)]
pub(super) struct Logons {
    /// By host and session, in the order of their times.
    of_session: Table<(String, u64), Vec<Arc<Logged>>>,
    /// By host, time and session.
    by_time: Table<(String, Timestamp, u64), Arc<Logged>>,
}

impl Logons {
    pub(super) fn new() -> Self {
        Self {
            of_session: Table::new(),
            by_time: Table::new(),
        }
    }

    /// How many were forgotten to make room for others.
    pub(super) fn forgotten(&self) -> u64 {
        self.of_session.forgotten.max(self.by_time.forgotten)
    }

    /// Someone logged on.
    pub(super) fn add(&mut self, host: &str, logged: Logged) {
        let (host, id) = (short(host), logged.account.logon_id);
        let logged = Arc::new(logged);
        if logged.kind == NETWORK {
            let key = (host.clone(), logged.at, id.unwrap_or_default());
            let known = self.by_time.get(&key);
            if known.is_none_or(|known| logged.place() < known.place()) {
                self.by_time.insert(key, Arc::clone(&logged), logged.size());
            }
        }
        let Some(session) = id.map(|id| (host, id)) else { return };
        if self.of_session.get(&session).is_none() {
            let size = logged.size();
            self.of_session.insert(session, vec![logged], size);
            return;
        }
        self.of_session.change(&session, |known| {
            let at = known.partition_point(|former| former.place() < logged.place());
            if known.get(at).is_some_and(|next| next.at == logged.at) {
                known[at] = logged;
            } else if at == 0 || known[at - 1].at != logged.at {
                known.insert(at, logged);
            }
            if known.len() > OF_ONE_NUMBER {
                known.remove(0);
            }
            known.iter().map(|logged| logged.size()).sum()
        });
    }

    /// Tells a finding who logged on: with the session that it belongs to, over the connection that it rests on, or merely
    /// shortly before.
    pub(super) fn tell_of(&self, finding: &mut Finding) {
        let (own, over) = (self.own(finding), self.over_the_connection(finding));
        if let Some(logged) = own {
            finding.tell_of(logged.related());
            finding.because(format!("its logon session came from {}", logged.address));
            if finding.inbound.is_none() {
                finding.event.source_ip = finding.event.source_ip.or(Some(logged.address));
            }
        }
        if let Some(logged) = over {
            finding.tell_of(logged.related());
            finding.because(format!("{} logged on from {}", logged.who(), logged.from()));
        }
        // Whoever sits at a remote desktop called nobody.
        let caller_is = over.or(own.filter(|logged| logged.kind == NETWORK));
        finding.event.caller = finding
            .event
            .caller
            .take()
            .or(caller_is.and_then(|it| caller(&it.account)));
        if over.or(own).is_none() && finding.was_called() {
            self.tell_of_those_before(finding);
        }
    }

    /// With the session of the process. The last one before: numbers of sessions begin anew when a computer does.
    fn own(&self, finding: &Finding) -> Option<&Arc<Logged>> {
        let session = (short(&finding.host), finding.account.logon_id?);
        let before = |logged: &&Arc<Logged>| logged.at.since(finding.at) <= SAME;
        self.of_session.get(&session)?.iter().rev().find(before)
    }

    /// Over the network between those times.
    fn between(&self, host: &str, from: i64, to: i64) -> impl DoubleEndedIterator<Item = &Arc<Logged>> {
        let host = short(host);
        self.by_time
            .range((host.clone(), Timestamp(from), 0)..=(host, Timestamp(to), u64::MAX))
    }

    /// From the very address and port of the connection: whoever opened it is who logged on over it.
    fn over_the_connection(&self, finding: &Finding) -> Option<&Arc<Logged>> {
        let Inbound { at, remote, .. } = finding.inbound.as_ref()?;
        let (from, to) = (at.0.saturating_sub(NEAR), at.0.saturating_add(NEAR));
        let address = remote.ip.to_canonical();
        self.between(&finding.host, from, to)
            .filter(|logged| logged.address == address && logged.port == Some(remote.port))
            .min_by_key(|logged| logged.at.since(*at).saturating_abs())
    }

    /// Who had it started is not known: whoever logged on over the network just before may have.
    fn tell_of_those_before(&self, finding: &mut Finding) {
        let (from, to) = (
            finding.at.0.saturating_sub(CLOSE),
            finding.at.0.saturating_add(finding.cut() - 1),
        );
        let mut known = BTreeSet::new();
        let last = self.between(&finding.host, from, to).rev();
        let last = last.filter(|logged| known.insert((logged.who(), logged.address)));
        let last: Vec<&Arc<Logged>> = last.take(BESIDE).collect();
        if last.is_empty() {
            return;
        }
        let told = last.iter().map(|logged| {
            let before = finding.at.since(logged.at).max(0);
            format!("{} from {} ({} before)", logged.who(), logged.address, seconds(before))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        finding.because(format!(
            "at whose bidding is not known; over the network had logged on {told}"
        ));
        for logged in last {
            let mut related = logged.related();
            related.what.push_str(", not proven to belong to it");
            finding.tell_of(related);
        }
    }
}
