//! What stands between the records of one input and its events: what it has learned so far, and what it tells of itself.

use std::sync::Arc;

use super::event::{Clock, HostEvent, Place, Source};
use super::fields::Fields;
use super::interpret::{self, Times};
use super::keep::Texts;
use super::report::{Kind, Reason, Report};
use super::zone::{self, Zones};
use crate::time::Timestamp;

/// Where events go.
pub(super) type Sink<'s> = &'s mut dyn FnMut(HostEvent);

/// The state of one input.
#[derive(Debug)]
pub(super) struct Reader {
    input: Arc<str>,
    texts: Texts,
    zones: Zones,
    pub(super) report: Report,
}

impl Reader {
    pub(super) fn new(input: Arc<str>, kind: Kind) -> Self {
        Self {
            input,
            texts: Texts::default(),
            zones: Zones::default(),
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

    /// A record, as far as its form could be read.
    pub(super) fn record(&mut self, fields: &Fields<'_>, number: u64, sink: Sink<'_>) {
        self.report.records += 1;
        let source = interpret::source(fields);
        match self.event(source, fields, number) {
            Ok(event) => {
                self.report.events += 1;
                *self.report.sources.entry(event.source).or_default() += 1;
                sink(event);
            }
            Err(reason) => self.report.skip(reason),
        }
    }

    fn event(&mut self, source: Result<Source, Reason>, fields: &Fields<'_>, number: u64) -> Result<HostEvent, Reason> {
        // What is not of interest still shows that the log covers its time.
        let host = interpret::host(fields).map(|host| self.texts.name(host));
        let times = interpret::times(fields);
        if let Some(host) = &host {
            self.report.of_host(host);
            if let (Some(own), Some(local)) = (times.own, times.local) {
                self.zones.vote(host, local.digits, own);
            }
        }
        let (time, clock, logged) = self
            .when(host.as_deref().unwrap_or_default(), &times)
            .ok_or(Reason::NoTime)?;
        if clock != Clock::Assumed {
            self.report.saw(time);
        }
        let source = source?;
        Ok(HostEvent {
            time,
            clock,
            logged,
            host: host.ok_or(Reason::NoHost)?,
            source,
            place: Place {
                input: self.input.clone(),
                record: number,
            },
            body: interpret::body(source, fields, &mut self.texts).ok_or(Reason::Incomplete)?,
        })
    }

    fn when(&self, host: &str, times: &Times) -> Option<(Timestamp, Clock, Option<Timestamp>)> {
        let zone = self.zones.of(host);
        let logged = times.logged.or_else(|| {
            let local = times.local?;
            Some(match (zone, local.zone) {
                // Its `Z` is true, so far as anybody knows.
                (Some(0), _) => (local.digits, Clock::Utc),
                (None, Some(_)) => (local.utc(), Clock::Zoned),
                (Some(minutes), _) => (zone::utc(local.digits, minutes), Clock::Inferred(minutes)),
                (None, None) => (local.digits, Clock::Assumed),
            })
        });
        match (times.own, logged, times.collected) {
            (Some(own), logged, _) => Some((
                own,
                Clock::Utc,
                logged
                    .filter(|(_, clock)| *clock != Clock::Assumed)
                    .map(|(time, _)| time),
            )),
            (None, Some((time, clock)), _) => Some((time, clock, None)),
            (None, None, Some(time)) => Some((time, Clock::Collected, None)),
            (None, None, None) => None,
        }
    }

    /// The input is over.
    pub(super) fn finish(&mut self, _sink: Sink<'_>) {
        self.report.zones.clone_from(self.zones.votes());
        self.report.zones.remove(&0);
        self.report.cut = self.texts.cut;
    }
}
