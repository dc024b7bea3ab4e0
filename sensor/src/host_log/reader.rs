//! What stands between the records of one input and its events: what it has learned so far, what it holds back until it
//! knows more, and what it tells of itself.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::{Order, Written};
use super::event::{Clock, HostEvent, Place};
use super::fields::{Field, Fields};
use super::interpret::{self, Times};
use super::keep::Texts;
use super::processes::{self, Processes};
use super::report::{Kind, Reason, Report};
use super::zone::{self, Zones};
use crate::limits::host_log as limits;
use crate::time::Timestamp;

/// Where events go.
pub(super) type Sink<'s> = &'s mut dyn FnMut(HostEvent);

/// How long an event is held back for the record that tells its process id, in the time of the log.
const WAIT: i64 = 5_000_000_000;

/// The state of one input.
#[derive(Debug)]
pub(super) struct Reader {
    input: Arc<str>,
    texts: Texts,
    zones: Zones,
    processes: Processes,
    /// Events in their order, the first of which lacks something.
    held: VecDeque<Held>,
    /// What these take.
    held_bytes: usize,
    /// There were so many local times before anything told their zone that it is not waited for any more.
    zone_given_up: bool,
    /// Local times of records that came before the zone was known: the first and the last.
    early: Option<(Timestamp, Timestamp)>,
    /// The latest time in the log.
    latest: Timestamp,
    /// Which of day and month comes first in its times, as far as they have told.
    pub(super) order: Option<Order>,
    /// The computer of records that name none.
    pub(super) unnamed: Option<Arc<str>>,
    pub(super) report: Report,
}

#[derive(Debug)]
struct Held {
    event: HostEvent,
    /// The time it was logged, whose zone is not known yet.
    local: Option<Written>,
    /// It lacks a process id.
    lacks: bool,
    /// What it takes.
    size: usize,
}

impl Reader {
    pub(super) fn new(input: Arc<str>, kind: Kind) -> Self {
        Self {
            input,
            texts: Texts::default(),
            zones: Zones::default(),
            processes: Processes::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            zone_given_up: false,
            early: None,
            latest: Timestamp(i64::MIN),
            order: None,
            unnamed: None,
            report: Report {
                kind,
                ..Report::default()
            },
        }
    }

    /// A record that is none, or cannot be read.
    pub(super) fn skip(&mut self, reason: Reason) {
        self.report.records += 1;
        self.report.skip(reason);
    }

    /// A record that is not of interest, of which no more than this was read. It shows all the same that the log covers its time.
    pub(super) fn passed_over(&mut self, host: &str, time: Option<Timestamp>, reason: Reason) {
        self.skip(reason);
        let host = self.texts.host(host);
        self.report.of_host(&host);
        if let Some(time) = time {
            self.report.saw(time);
            self.latest = self.latest.max(time);
        }
    }

    /// A record, as far as its form could be read.
    pub(super) fn record(&mut self, fields: &Fields<'_>, number: u64, sink: Sink<'_>) {
        self.report.records += 1;
        if let Err(reason) = self.event(fields, number, sink) {
            self.report.skip(reason);
        }
    }

    fn event(&mut self, fields: &Fields<'_>, number: u64, sink: Sink<'_>) -> Result<(), Reason> {
        // What is not of interest still shows that the log covers its time.
        let source = interpret::source(fields);
        if source == Err(Reason::NotAnEvent) {
            return Err(Reason::NotAnEvent);
        }
        let host = interpret::host(fields).or(self.unnamed.as_deref());
        let host = host.map(|host| self.texts.host(host));
        let mut times = interpret::times(fields, self.order);
        self.order = times.order.or(self.order);
        times.local = times.local.map(|local| local.in_order(self.order));
        if let Some(host) = &host {
            self.report.of_host(host);
            self.vote(host, &times, sink);
        }
        let name = host.as_deref().unwrap_or_default();
        let dated = self.dated(name, &times).ok_or(Reason::NoTime)?;
        self.cover(&dated);
        let source = source?;
        let event = HostEvent {
            time: dated.time,
            clock: dated.clock,
            logged: dated.logged,
            host: host.ok_or(Reason::NoHost)?,
            source,
            place: Place {
                input: self.input.clone(),
                record: match self.report.kind {
                    Kind::Evtx => fields.number(Field::Record).unwrap_or(number),
                    _ => number,
                },
            },
            body: interpret::body(source, fields, &mut self.texts).ok_or(Reason::Incomplete)?,
        };
        if event.clock == Clock::Assumed && dated.local.is_none() {
            self.report.undecided += u64::from(times.local.is_some_and(Written::is_doubtful));
        }
        self.report.events += 1;
        *self.report.sources.entry(source).or_default() += 1;
        self.hold(event, dated.local, sink);
        Ok(())
    }

    fn vote(&mut self, host: &Arc<str>, times: &Times, sink: Sink<'_>) {
        let Some(local) = times.local else { return };
        match (times.own, times.collected) {
            (Some(own), _) => {
                let before = self.zones.settled("").is_some();
                self.zones.vote(host, local.digits, own);
                if !before && self.zones.settled("").is_some() {
                    self.settle(sink);
                }
            }
            // NXLog's `EventReceivedTime` is as local as the event's.
            (None, Some(collected)) if local.zone.is_none() && collected.zone.is_some() => {
                self.zones.vote_collected(local.digits, collected.utc());
            }
            _ => {}
        }
    }

    fn dated(&self, host: &str, times: &Times) -> Option<Dated> {
        let mut local = None;
        let logged = times.logged.or_else(|| {
            let written = times.local?;
            if self.zones.settled(host).is_none() && !self.zone_given_up {
                local = Some(written);
            }
            Some(self.logged(host, written))
        });
        let (time, clock, logged) = match (times.own, logged) {
            (Some(own), logged) => {
                let logged = logged
                    .filter(|(_, clock)| *clock != Clock::Assumed)
                    .map(|(time, _)| time);
                (own, Clock::Utc, logged)
            }
            (None, Some((time, clock))) => (time, clock, None),
            (None, None) => {
                let collected = times.collected?;
                let clock = collected.zone.map_or(Clock::Assumed, |_| Clock::Collected);
                (collected.utc(), clock, None)
            }
        };
        Some(Dated {
            time,
            clock,
            logged,
            local,
        })
    }

    /// A local time, by what is known of its zone by now.
    fn logged(&self, host: &str, written: Written) -> (Timestamp, Clock) {
        let written = written.in_order(self.order);
        let (time, clock) = match (self.zones.best(host, written.zone.is_some()), written.zone) {
            // A `Z` that is true, so far as anybody knows.
            (Some(0) | None, Some(_)) => (written.utc(), Clock::Zoned),
            (Some(minutes), _) => (zone::utc(written.digits, minutes), Clock::Inferred(minutes)),
            (None, None) => (written.digits, Clock::Assumed),
        };
        (time, if written.is_doubtful() { Clock::Assumed } else { clock })
    }

    /// What the log covers, also by records that become no event.
    fn cover(&mut self, dated: &Dated) {
        match dated.local {
            Some(local) if dated.clock != Clock::Utc => {
                let time = local.digits;
                self.early = Some(match self.early {
                    Some((first, last)) => (first.min(time), last.max(time)),
                    None => (time, time),
                });
            }
            _ => {
                self.report.saw(dated.time);
                self.latest = self.latest.max(dated.time);
            }
        }
    }

    /// Gives an event out, or puts it behind those that wait.
    fn hold(&mut self, mut event: HostEvent, local: Option<Written>, sink: Sink<'_>) {
        let waits = local.is_some() && event.clock != Clock::Utc;
        if !waits {
            self.processes.pass(&mut event, &mut self.texts);
        }
        let lacks = processes::lacks(&event);
        if self.held.is_empty() && local.is_none() && !lacks {
            return sink(event);
        }
        let size = event.size();
        self.held_bytes += size;
        self.held.push_back(Held {
            event,
            local,
            lacks,
            size,
        });
        while self.held.len() > limits::HELD || self.held_bytes > limits::HELD_BYTES {
            if !self.zone_given_up && self.zones.settled("").is_none() {
                self.zone_given_up = true;
                self.date_held();
            }
            self.release(sink);
        }
        self.advance(sink);
    }

    /// Gives out those at the front that lack nothing, or have waited long enough.
    fn advance(&mut self, sink: Sink<'_>) {
        while let Some(first) = self.held.front() {
            let late = self.latest.since(first.event.time) > WAIT;
            if first.local.is_some() || (first.lacks && !late) {
                return;
            }
            self.release(sink);
        }
    }

    fn release(&mut self, sink: Sink<'_>) {
        if let Some(held) = self.held.pop_front() {
            let Held {
                mut event, lacks, size, ..
            } = held;
            self.held_bytes -= size;
            if lacks {
                self.processes.fill(&mut event, &mut self.texts);
            }
            sink(event);
        }
    }

    /// The zone is known: those that waited for it get their time.
    fn settle(&mut self, sink: Sink<'_>) {
        self.date_held();
        self.advance(sink);
    }

    fn date_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        for Held {
            event, local, lacks, ..
        } in &mut held
        {
            let Some(written) = local.take() else { continue };
            let (time, clock) = self.logged(&event.host, written);
            if event.clock == Clock::Utc {
                event.logged = (clock != Clock::Assumed).then_some(time);
            } else {
                (event.time, event.clock) = (time, clock);
                self.report.undecided += u64::from(written.in_order(self.order).is_doubtful());
                self.processes.pass(event, &mut self.texts);
                *lacks = processes::lacks(event);
            }
        }
        self.held = held;
        if let Some((first, last)) = self.early.take() {
            for digits in [first, last] {
                let (time, _) = self.logged("", Written::new(digits, None));
                self.report.saw(time);
                self.latest = self.latest.max(time);
            }
        }
    }

    /// No more is waited for: everything that is held goes out.
    pub(super) fn finish(&mut self, sink: Sink<'_>) {
        self.date_held();
        while !self.held.is_empty() {
            self.release(sink);
        }
        self.tell();
    }

    /// Brings the report up to date.
    pub(super) fn tell(&mut self) {
        self.report.zones.clone_from(self.zones.votes());
        self.report.inferred = self.processes.inferred;
        self.report.cut = self.texts.cut;
    }
}

struct Dated {
    time: Timestamp,
    clock: Clock,
    logged: Option<Timestamp>,
    /// What is to be dated again when the zone is known.
    local: Option<Written>,
}
