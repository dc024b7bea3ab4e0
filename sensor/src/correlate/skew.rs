//! How far hosts' clocks are from the sensor's, by connections that both saw. Nothing is corrected by it unseen.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::names::{HostId, Names};
use crate::event::host::SkewRecord;
use crate::event::record::Interval;
use crate::host_log::HostEvent;
use crate::host_log::event::{Clock, Source};
use crate::time::SECOND;

/// A host's clock and the sensor's are not further apart than this: what is, is another connection of the same ports.
pub const FARTHEST: i64 = 600 * SECOND;
/// Measurements of one clock that are kept.
const KEPT: usize = 101;
/// Clocks known.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
struct Measured {
    /// The last of them, as in a ring.
    deltas: Vec<i64>,
    next: usize,
    count: u32,
    /// Is there a time with a fraction of a second?
    fine: bool,
}

impl Measured {
    fn median(&self) -> i64 {
        let mut sorted = self.deltas.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// What is known of clocks.
#[derive(Debug, Default)]
pub struct Skews {
    /// By host and what wrote the time: Sysmon 3 has a clock of its own.
    measured: HashMap<HostId, BTreeMap<Source, Measured>>,
    pub(super) samples: u64,
}

impl Skews {
    /// The host logged a connection so much later than the wire showed it.
    pub fn learn(&mut self, host: HostId, event: &HostEvent, delta: i64) {
        // When a connection was over says nothing of when it began.
        if event.clock == Clock::Collected {
            return;
        }
        if delta.abs() > FARTHEST || (self.measured.len() >= MOST && !self.measured.contains_key(&host)) {
            return;
        }
        let measured = self.measured.entry(host).or_default().entry(event.source).or_default();
        if measured.deltas.len() < KEPT {
            measured.deltas.push(delta);
        } else if let Some(oldest) = measured.deltas.get_mut(measured.next) {
            *oldest = delta;
        }
        measured.next = (measured.next + 1) % KEPT;
        measured.count += 1;
        measured.fine |= event.time.0 % SECOND != 0;
        self.samples += 1;
    }

    /// The best of what is known of a host's clock. Security's time is the log's own; Sysmon 3 may be off by itself.
    fn best(&self, host: HostId) -> Option<(&Source, &Measured)> {
        let rank = |source: &Source| match source {
            Source::Security(_) => 0,
            Source::DeviceNetworkEvents | Source::EndpointNetwork => 1,
            _ => 2,
        };
        let all = self.measured.get(&host)?;
        all.iter().min_by_key(|(source, _)| rank(source))
    }

    /// Is the host's clock known to a part of a second?
    pub fn is_fine(&self, host: HostId) -> bool {
        self.best(host).is_some_and(|(_, measured)| measured.fine)
    }

    /// How far ahead the host's clock is.
    pub fn of(&self, host: HostId) -> Option<SkewRecord> {
        let (source, measured) = self.best(host)?;
        Some(SkewRecord {
            median: Interval(measured.median()),
            connections: measured.count,
            source: source.to_string(),
            used: false,
        })
    }

    /// One line for each clock, in order of the hosts' names.
    pub fn report(&self, names: &Names) -> Vec<String> {
        let mut hosts: Vec<(Arc<str>, HostId)> = self.measured.keys().map(|&host| (names.name(host), host)).collect();
        hosts.sort();
        let clock = |(name, host): (Arc<str>, HostId)| {
            let all: Vec<String> = self.measured.get(&host)?.iter().map(told).collect();
            Some(format!("{name}'s clock against the wire: {}", all.join(", ")))
        };
        hosts.into_iter().filter_map(clock).collect()
    }
}

fn told((source, measured): (&Source, &Measured)) -> String {
    let count = measured.count;
    let connections = if count == 1 { "connection" } else { "connections" };
    let whole = if measured.fine { "" } else { ", whole seconds" };
    format!(
        "{} by {source} ({count} {connections}{whole})",
        Signed(measured.median())
    )
}

/// Nanoseconds as seconds with a sign.
pub struct Signed(pub i64);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = (self.0.unsigned_abs() + 500_000) / 1_000_000;
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}.{:03} s", milliseconds / 1_000, milliseconds % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::connect;
    use super::*;

    #[test]
    fn the_median_of_each_clock_is_told_and_security_goes_first() {
        let mut names = Names::default();
        let host = names.host("WS6").unwrap();
        let mut skews = Skews::default();
        let mut event = connect("WS6", 1_500_000_000, "10.0.0.5:1", "10.0.0.6:135");
        event.source = Source::Sysmon(3);
        for delta in [61 * SECOND, 60 * SECOND, -FARTHEST - 1, 59 * SECOND] {
            skews.learn(host, &event, delta);
        }
        let merged = HostEvent {
            clock: Clock::Collected,
            ..event.clone()
        };
        for _ in 0..4 {
            skews.learn(host, &merged, 90 * SECOND);
        }
        assert_eq!(skews.of(host).unwrap().median, Interval(60 * SECOND));
        event.source = Source::Security(5156);
        event.time.0 = 2_000_000_000;
        skews.learn(host, &event, -736_000_000);
        let skew = skews.of(host).unwrap();
        assert_eq!((skew.median, skew.connections), (Interval(-736_000_000), 1));
        assert_eq!(
            skews.report(&names),
            ["WS6's clock against the wire: +60.000 s by Sysmon 3 (3 connections), \
              -0.736 s by Security 5156 (1 connection, whole seconds)"]
        );
    }

    #[test]
    fn measurements_are_bounded() {
        let mut skews = Skews::default();
        let event = connect("WS6", 0, "10.0.0.5:1", "10.0.0.6:135");
        for delta in 0..10_000 {
            skews.learn(HostId(0), &event, delta);
        }
        assert_eq!(skews.measured[&HostId(0)][&event.source].deltas.len(), KEPT);
        assert!(skews.of(HostId(0)).unwrap().median.0 > 9_800, "the last ones count");
    }
}
