//! What hosts log beside what the wire shows: verdicts on activations, calls and attempts.
//!
//! ```text
//!  host events ──▶ names.rs, store.rs ─┐
//!                                      ├─▶ join.rs ──▶ HostRecord
//!  the wire ─────▶ names.rs, wire.rs ──┘      case.rs: what is looked for
//! ```
//! In a replay all host events are there before the first frame, and a record is judged when it is told. Live they come
//! later: an alert goes out at once, and waits for what hosts say (`waiting.rs`).

mod case;
mod claims;
mod join;
pub mod names;
pub mod skew;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
mod waiting;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use dcom_parsers::guid::Clsid;

use case::Case;
use claims::Claims;
use join::{Judged, Known, brief};
use names::{By, HostId, Names};
use skew::{FARTHEST, Skews};
use store::{Coverage, Kind, Store, learn, own_end};
use waiting::Pending;
use wire::{Seen, Wire};

use crate::catalog::Catalog;
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::detect::{UNANSWERED_CONNECTION_ID, is_sealed_activation};
use crate::event::dcom::{self, Evidence};
use crate::event::host::{HostRecord, Role, Verdict};
use crate::event::{Alert, Dcom, Meta, Shared};
use crate::flow::Opener;
use crate::hash::{HashMap, HashSet};
use crate::host_log::event::Direction;
use crate::host_log::{HostBody, HostEvent};
use crate::hunt::unreached;
use crate::limits::Limits;
use crate::path::file_name;
use crate::severity::Severity;
use crate::time::Timestamp;

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Host events that were handed over.
    pub events: u64,
    /// Of these, those of a kind and a time that can be joined.
    pub kept: u64,
    /// Kept ones that were forgotten to make room.
    pub forgotten: u64,
    /// Names and addresses that found no room.
    pub names_over_limit: u64,
    /// Connections and sealed activations of the wire that were forgotten to make room.
    pub connections_forgotten: u64,
    /// Connections that the wire and a host saw, each a measurement of that host's clock.
    pub shared_connections: u64,
    /// Alerts that host logs confirm.
    pub confirmed: u64,
    /// Alerts that they contradict.
    pub contradicted: u64,
    /// Alerts that they do not show.
    pub not_seen: u64,
    /// Alerts that waited for hosts' logs, and were let go to make room.
    pub pending_over_limit: u64,
    /// Live: what was read of host logs.
    pub feed: Option<FeedCounters>,
}

/// What was read of host logs as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounters {
    /// Lines of files and of senders.
    pub lines: u64,
    /// Lines that were too long, and passed over.
    pub too_long: u64,
    /// Files that were found.
    pub files: u64,
    /// Times that a file was put away and another took its name.
    pub rotated: u64,
    /// Times that a file became shorter.
    pub truncated: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Senders that were heard.
    pub senders: u64,
    /// Senders that were turned away, because there were too many.
    pub senders_refused: u64,
    /// Times that a sender was made to wait, because it sent too much.
    pub slowed: u64,
}

/// When verdicts are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At once: all that hosts say is known.
    Replay,
    /// When hosts have said enough, or the window is over.
    Live,
}

/// Host logs and the wire, side by side.
pub struct Correlator {
    mode: Mode,
    names: Names,
    store: Store,
    wire: Wire,
    skews: Skews,
    claims: Claims,
    window: i64,
    /// Where there is traffic: events of other times are counted, not kept. None: everywhere.
    spans: Option<Vec<RangeInclusive<Timestamp>>>,
    /// Events of other times in the log that is being read.
    outside: HashMap<(HostId, Kind), Coverage>,
    /// Whose logs were refused.
    refused: HashSet<HostId>,
    pending: VecDeque<Pending>,
    most_pending: usize,
    now: Timestamp,
    counters: Counters,
}

impl Correlator {
    /// Traces of what was seen may come within `window` nanoseconds.
    pub fn new(mode: Mode, limits: &Limits, window: i64, names: Names) -> Self {
        Self {
            mode,
            names,
            store: Store::new(limits.host_events),
            wire: Wire::new(limits.host_connections),
            skews: Skews::default(),
            claims: Claims::default(),
            window,
            spans: None,
            outside: HashMap::default(),
            refused: HashSet::default(),
            pending: VecDeque::new(),
            most_pending: limits.host_pending,
            now: Timestamp::default(),
            counters: Counters::default(),
        }
    }

    /// There is traffic of these times alone.
    pub fn set_spans(&mut self, spans: &[RangeInclusive<Timestamp>]) {
        let margin = self.margin();
        let mut wide: Vec<(i64, i64)> = spans
            .iter()
            .map(|span| {
                (
                    span.start().0.saturating_sub(margin),
                    span.end().0.saturating_add(margin),
                )
            })
            .collect();
        wide.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (from, to) in wide {
            match joined.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => joined.push((from, to)),
            }
        }
        let span = |(from, to)| Timestamp(from)..=Timestamp(to);
        self.spans = Some(joined.into_iter().map(span).collect());
    }

    /// How far from traffic an event may be: clocks differ, and traces come later.
    fn margin(&self) -> i64 {
        self.window.saturating_add(FARTHEST)
    }

    /// Does something of these times belong to the traffic?
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.spans.as_ref().is_none_or(|spans| {
            let next = spans.partition_point(|span| *span.end() < first);
            spans.get(next).is_some_and(|span| *span.start() <= last)
        })
    }

    /// A host logged something.
    pub fn push(&mut self, event: HostEvent) {
        self.counters.events += 1;
        let Some(kind) = Kind::of(&event) else { return };
        let Some(host) = self.names.host(&event.host) else {
            return;
        };
        let one = Coverage::of(event.time);
        if !self.overlaps(event.time, event.time) {
            let known = self.outside.entry((host, kind));
            known.and_modify(|known| known.add(one)).or_insert(one);
            return;
        }
        self.store.cover(host, kind, one);
        // Addresses are given to others in time: those of another day say nothing.
        let distance = self.now.since(event.time).saturating_abs();
        let is_far = self.mode == Mode::Live && self.now.0 != 0 && distance > self.margin().saturating_mul(2);
        if is_far {
            return;
        }
        self.counters.kept += 1;
        learn(&mut self.names, &event);
        if let HostBody::NetworkConnect(connect) = &event.body
            && let [source, destination] = [connect.source, connect.destination].map(|end| Endpoint {
                address: end.ip.to_canonical(),
                port: end.port,
            })
            && let Some(seen) = self.wire.between(source, destination)
        {
            self.share(host, &event, seen);
        }
        self.store.push(host, kind, event);
    }

    /// A log was read to its end. One that is refused, since it is of another time than the traffic, has no say.
    pub fn end_log(&mut self, refused: bool) {
        for ((host, kind), coverage) in self.outside.drain() {
            if refused {
                self.refused.insert(host);
            } else {
                self.store.cover(host, kind, coverage);
            }
        }
    }

    /// Live: so much was read.
    pub fn set_feed(&mut self, feed: FeedCounters) {
        self.counters.feed = Some(feed);
    }

    /// A connection was seen here and there.
    fn share(&mut self, host: HostId, event: &HostEvent, seen: Seen) {
        let HostBody::NetworkConnect(connect) = &event.body else {
            return;
        };
        let delta = event.time.since(seen.at);
        if delta.abs() > FARTHEST {
            return;
        }
        let own = match (own_end(&self.names, host, connect), connect.direction) {
            (_, Some(Direction::Outbound)) => Some(seen.client),
            (_, Some(Direction::Inbound)) => Some(seen.server),
            (own, None) => own.map(|[own, _]| own),
        };
        if let Some(own) = own {
            self.names.learn(&event.host, own.address, By::Log);
        }
        if seen.opened {
            self.skews.learn(host, event, delta);
        }
    }

    /// A connection was answered on the wire, or carries data.
    pub fn heard(&mut self, [client, server]: [Endpoint; 2], opener: Opener, at: Timestamp) {
        let opened = opener == Opener::First;
        self.seen(Seen {
            client,
            server,
            at,
            opened,
        });
    }

    fn seen(&mut self, seen: Seen) {
        self.wire.push(seen);
        let logged: Vec<_> = self
            .store
            .of_connection(seen.client, seen.server)
            .map(|(host, event)| (host, std::sync::Arc::clone(event)))
            .collect();
        for (host, event) in logged {
            self.share(host, &event, seen);
        }
    }

    /// A record was read: what it says of names is learned, and in a replay it is judged.
    pub fn record(&mut self, record: &mut Record, catalog: &Catalog) {
        self.learn(&record.meta, &record.dcom);
        if let (Some(client), Some(server)) = (record.meta.client, record.meta.server)
            && is_sealed_activation(&record.dcom)
        {
            let at = record.meta.timestamp;
            self.wire.push_sealed(client.address, server.address, at);
        }
        if Case::is_of_note(&record.dcom) && self.mode == Mode::Replay {
            record.dcom.host = self.judge(&record.meta, &record.dcom, catalog).map(Shared::new);
        }
    }

    fn judge(&mut self, meta: &Meta, dcom: &Dcom, catalog: &Catalog) -> Option<HostRecord> {
        let case = Case::of(meta, dcom, catalog, &self.wire)?;
        let Judged { record, claims } = self.known().judge(&case);
        for claim in claims {
            self.claims.take(claim, case.key());
        }
        Some(record)
    }

    fn known(&self) -> Known<'_> {
        Known {
            names: &self.names,
            store: &self.store,
            wire: &self.wire,
            skews: &self.skews,
            claims: &self.claims,
            refused: &self.refused,
            window: self.window,
        }
    }

    /// Names that a record tells, by who says them.
    fn learn(&mut self, meta: &Meta, dcom: &Dcom) {
        let (Some(client), Some(server)) = (meta.client, meta.server) else {
            return;
        };
        let names = &mut self.names;
        // The name with its domain says which of two namesakes it is.
        if let Some(name) = dcom.server.dns.as_ref().or(dcom.server.netbios.as_ref()) {
            names.learn(name, server.address, By::Server);
        }
        if let Some(name) = &dcom.client.workstation {
            names.learn(name.trim_start_matches('\\'), client.address, By::Client);
        }
        if let Some(name) = &dcom.target_name {
            names.learn(name.trim_start_matches('\\'), server.address, By::Client);
        }
        // `RPCSS/WORKSTATION6`, `host/workstation6.corp.example@CORP.EXAMPLE`
        if let Some((_, name)) = dcom.auth.service_name.as_deref().and_then(|name| name.split_once('/')) {
            let name = name.split(['@', '/', ':']).next().unwrap_or(name);
            names.learn(name, server.address, By::Client);
        }
        // Bindings are the server's names and addresses, several of each.
        if dcom.kind == dcom::Kind::Activation || dcom.kind == dcom::Kind::OxidResolution {
            let hosts: Vec<&str> = dcom.bindings.iter().filter_map(|it| it.split('[').next()).collect();
            let is_own = hosts.iter().any(|host| host.parse() == Ok(server.address)) || hosts.len() == 1;
            for name in hosts.iter().filter(|_| is_own) {
                // That of a named pipe is spelled `\\SRV1[\pipe\epmapper]`.
                names.learn(name.trim_start_matches('\\'), server.address, By::Server);
            }
        }
    }

    /// A name and an address stand together in an answer on the wire.
    pub fn named(&mut self, name: &str, address: IpAddr, by: By) {
        self.names.learn(name, address, by);
    }

    /// An alert is about to be told: it says what hosts say, or waits for that.
    pub fn alert(&mut self, meta: &Meta, alert: &mut Alert, catalog: &Catalog) {
        // Of several records the last says little.
        if !alert.metadata.count.is_empty() {
            return;
        }
        let is_case = match alert.dcom.as_ref() {
            Some(dcom) => Case::of(meta, dcom, catalog, &self.wire).is_some(),
            None => alert.signature_id == UNANSWERED_CONNECTION_ID,
        };
        if !is_case {
            return;
        }
        if self.mode == Mode::Live {
            self.wait(meta, alert);
            return;
        }
        let is_judged = alert.dcom.as_ref().is_some_and(|dcom| dcom.host.is_some());
        let judged = if is_judged {
            None
        } else {
            self.judge_alert(meta, alert.dcom.as_deref(), catalog)
        };
        if let Some(dcom) = judged {
            alert.dcom = Some(Shared::new(dcom));
        }
        let Some(host) = alert.dcom.as_ref().and_then(|dcom| dcom.host.as_deref()) else {
            return;
        };
        self.counters.count(host);
        if host.verdict == Verdict::NotSeen {
            return;
        }
        let class = alert.dcom.as_ref().and_then(|dcom| dcom.class_name());
        alert.message.push_str(&sentence(host, class.as_deref()));
        if host.verdict == Verdict::Confirmed {
            if may_rise(alert) {
                let clsid = alert.dcom.as_ref().and_then(|dcom| dcom.clsid);
                alert.severity = confirmed(alert.severity, host, clsid, catalog);
            }
            alert.metadata.confidence = vec!["high".into()];
        }
    }

    /// The alert's record with what hosts say; of an attempt, a record of what they say was attempted.
    fn judge_alert(&mut self, meta: &Meta, dcom: Option<&Dcom>, catalog: &Catalog) -> Option<Dcom> {
        let Some(dcom) = dcom else {
            return self.attempt(meta, catalog);
        };
        let mut dcom = dcom.clone();
        let record = self.judge(meta, &dcom, catalog)?;
        let case = Case::of(meta, &dcom, catalog, &self.wire)?;
        let known = self.known();
        let class = (dcom.clsid.is_none() && dcom.outcome == Some(dcom::Outcome::Failed))
            .then(|| known.refused_class(&case))
            .flatten();
        if let Some((source, error)) = class
            && let Some(clsid) = error.clsid
        {
            let told = format!("the host log's {source} names the class that was refused to this client");
            dcom.clsid = Some(clsid);
            dcom.class = catalog.class(clsid).map(|class| class.name.clone());
            dcom.evidence = Evidence::Inferred;
            dcom.because.push(told.into());
        }
        dcom.host = Some(Shared::new(record));
        Some(dcom)
    }

    fn attempt(&mut self, meta: &Meta, catalog: &Catalog) -> Option<Dcom> {
        let (client, server) = (meta.client?, meta.server?);
        if self.wire.between(client, server).is_none() {
            self.seen(Seen {
                client,
                server,
                at: meta.timestamp,
                opened: true,
            });
        }
        let attempt = self.known().attempt(client, server, meta.timestamp)?;
        let mut dcom = Dcom {
            kind: dcom::Kind::Activation,
            operation: "unknown".into(),
            evidence: Evidence::Inferred,
            outcome: Some(dcom::Outcome::Unanswered),
            ..Dcom::default()
        };
        if let Some((source, error)) = attempt.error {
            let name = attempt.record.name.as_deref().unwrap_or("?");
            dcom.clsid = error.clsid;
            dcom.class = error
                .clsid
                .and_then(|clsid| catalog.class(clsid))
                .map(|class| class.name.clone());
            dcom.because
                .push(format!("host log: {source} of {name} says what was asked for").into());
        } else {
            dcom.because
                .push("host log: the connection alone, which may be for anything behind port 135".into());
        }
        dcom.host = Some(Shared::new(attempt.record));
        Some(dcom)
    }

    /// What the user has to know: names in conflict.
    pub fn take_news(&mut self) -> Vec<String> {
        self.names.take_news()
    }

    /// One line for each clock that could be measured.
    pub fn clocks(&self) -> Vec<String> {
        self.skews.report(&self.names)
    }

    /// Hosts that there are logs of.
    pub fn hosts(&self) -> usize {
        self.store.hosts()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            forgotten: self.store.forgotten,
            names_over_limit: self.names.over_limit,
            connections_forgotten: self.wire.forgotten,
            shared_connections: self.skews.samples,
            ..self.counters
        }
    }
}

impl Counters {
    fn count(&mut self, host: &HostRecord) {
        match host.verdict {
            Verdict::Confirmed => self.confirmed += 1,
            Verdict::Contradicted => self.contradicted += 1,
            // Of a host without a log nothing was looked for.
            Verdict::NotSeen => self.not_seen += u64::from(host.coverage.is_some()),
        }
    }
}

/// From this score on, what is confirmed is graver than what was seen alone.
const ENOUGH: u8 = 50;

/// An alert about how things are set up stays what it is when it is confirmed.
fn may_rise(alert: &Alert) -> bool {
    alert.category != "Policy"
}

/// How severe an alert is that is confirmed, about that class.
fn confirmed(severity: Severity, host: &HostRecord, clsid: Option<Clsid>, catalog: &Catalog) -> Severity {
    let severity = if host.score >= ENOUGH {
        raised(severity)
    } else {
        severity
    };
    match host.role {
        Role::Server => severity,
        // Beside an attempt that nobody answered, what the client's log says is no less than by itself.
        Role::Client => severity.max(unreached(clsid.and_then(|clsid| catalog.class(clsid)))),
    }
}

/// One step up.
fn raised(severity: Severity) -> Severity {
    match severity {
        Severity::Informational => Severity::Low,
        Severity::Low => Severity::Medium,
        Severity::Medium => Severity::High,
        Severity::High | Severity::Critical => Severity::Critical,
    }
}

/// What hosts say, of that class, as the end of an alert's message.
fn sentence(host: &HostRecord, class: Option<&str>) -> String {
    let name = host.name.as_deref().unwrap_or("the host");
    let says = match host.verdict {
        Verdict::Confirmed => "confirms it",
        Verdict::Contradicted => "contradicts it",
        Verdict::NotSeen => "does not show it",
    };
    let process = host.process.as_ref().map(|it| brief(it.image.as_deref(), it.pid));
    let parent = host.parent.as_ref().map(|it| brief(it.image.as_deref(), it.pid));
    let class = class.filter(|_| host.role == Role::Client);
    let what = match process.filter(|_| host.verdict == Verdict::Confirmed) {
        None => String::new(),
        Some(process) => match (&host.loaded, parent, class) {
            (Some(library), ..) => format!(": {process} loaded {}", file_name(library)),
            (None, Some(parent), _) => format!(": {parent} started {process}"),
            (None, None, Some(class)) => format!(": {process} was to activate {class}"),
            (None, None, None) => format!(": {process}"),
        },
    };
    format!("; the log of {name} {says}{what}")
}
