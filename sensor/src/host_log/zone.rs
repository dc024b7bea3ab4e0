//! In which zone a log's local times are: what its records that have both tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::limits::host_log as limits;
use crate::time::Timestamp;

const MINUTE: i64 = 60_000_000_000;
/// Zones are multiples of it.
const QUARTER: i64 = 15 * MINUTE;
/// An event is written soon after it happens, but a Sysmon connection's own time is off by a minute or two per boot.
const SLACK: i64 = 4 * MINUTE;
/// So many in a row say that the zone has changed: summer time ends.
const CHANGE: u32 = 8;

/// The votes of one input.
#[derive(Debug, Default)]
pub(super) struct Zones {
    hosts: HashMap<Arc<str>, Zone, FixedState>,
    all: Zone,
    /// All votes, by minutes east of UTC.
    votes: BTreeMap<i16, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Zone {
    minutes: Option<i16>,
    other: i16,
    streak: u32,
}

impl Zone {
    fn vote(&mut self, minutes: i16) {
        match self.minutes {
            None => self.minutes = Some(minutes),
            Some(known) if known == minutes => self.streak = 0,
            Some(_) => {
                self.streak = if self.other == minutes { self.streak + 1 } else { 1 };
                self.other = minutes;
                if self.streak >= CHANGE {
                    *self = Self {
                        minutes: Some(minutes),
                        ..Self::default()
                    };
                }
            }
        }
    }
}

impl Zones {
    /// A record has both: a local time, and when that was in UTC.
    pub(super) fn vote(&mut self, host: &Arc<str>, local: Timestamp, utc: Timestamp) {
        let apart = local.since(utc);
        let quarters = (apart + QUARTER / 2).div_euclid(QUARTER);
        if (apart - quarters * QUARTER).abs() > SLACK {
            return;
        }
        // 14 hours is the most there is.
        let Some(minutes) = i16::try_from(quarters * 15)
            .ok()
            .filter(|minutes| minutes.abs() <= 14 * 60)
        else {
            return;
        };
        *self.votes.entry(minutes).or_default() += 1;
        self.all.vote(minutes);
        if let Some(zone) = self.hosts.get_mut(host) {
            zone.vote(minutes);
        } else if self.hosts.len() < limits::HOSTS {
            let mut zone = Zone::default();
            zone.vote(minutes);
            self.hosts.insert(host.clone(), zone);
        }
    }

    /// Minutes east of UTC in which this host's times are written; of the log's others where it has none of its own.
    pub(super) fn of(&self, host: &str) -> Option<i16> {
        self.hosts.get(host).unwrap_or(&self.all).minutes
    }

    pub(super) fn votes(&self) -> &BTreeMap<i16, u64> {
        &self.votes
    }
}

/// A local time in UTC.
pub(super) fn utc(local: Timestamp, minutes: i16) -> Timestamp {
    Timestamp(local.0.saturating_sub(i64::from(minutes) * MINUTE))
}
