//! In which zone a log's local times are: what its records that have both tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hash::HashMap;
use crate::limits::host_log as limits;
use crate::time::Timestamp;

const MINUTE: i64 = 60_000_000_000;
/// Zones are multiples of it.
const QUARTER: i64 = 15 * MINUTE;
/// An event is written soon after it happens, but a Sysmon connection's own time is off by a minute or two after some boots.
const SLACK: i64 = 4 * MINUTE;
/// So many in a row say that the zone has changed: summer time ends.
const CHANGE: u32 = 8;
/// So many that agree are believed while others may still come.
const ENOUGH: u32 = 3;

/// The votes of one input.
#[derive(Debug, Default)]
pub(super) struct Zones {
    hosts: HashMap<Arc<str>, Zone>,
    all: Zone,
    /// By when records were collected: known to be later, not by how much.
    collected: Zone,
    /// All votes, by minutes east of UTC.
    votes: BTreeMap<i16, u64>,
    collected_votes: BTreeMap<i16, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Zone {
    minutes: Option<i16>,
    agreed: u32,
    other: i16,
    streak: u32,
}

impl Zone {
    fn vote(&mut self, minutes: i16) {
        match self.minutes {
            Some(known) if known == minutes => {
                self.agreed = self.agreed.saturating_add(1);
                self.streak = 0;
            }
            None => {
                self.minutes = Some(minutes);
                self.agreed = 1;
            }
            Some(_) => {
                self.streak = if self.other == minutes { self.streak + 1 } else { 1 };
                self.other = minutes;
                if self.streak >= CHANGE.min(self.agreed + 1) {
                    *self = Self {
                        minutes: Some(minutes),
                        agreed: self.streak,
                        ..Self::default()
                    };
                }
            }
        }
    }
}

/// Fourteen hours is the most there is.
fn minutes(quarters: i64) -> Option<i16> {
    i16::try_from(quarters * 15)
        .ok()
        .filter(|minutes| minutes.abs() <= 14 * 60)
}

impl Zones {
    /// A record has both: a local time, and when that was in UTC.
    pub(super) fn vote(&mut self, host: &Arc<str>, local: Timestamp, utc: Timestamp) {
        let apart = local.since(utc);
        let quarters = apart.saturating_add(QUARTER / 2).div_euclid(QUARTER);
        if (apart - quarters * QUARTER).abs() > SLACK {
            return;
        }
        let Some(minutes) = minutes(quarters) else { return };
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

    /// A record has a local time and when it was collected, in UTC: less than a quarter of an hour later, one hopes.
    pub(super) fn vote_collected(&mut self, local: Timestamp, collected: Timestamp) {
        let quarters = local.since(collected).saturating_add(QUARTER - 1).div_euclid(QUARTER);
        if let Some(minutes) = minutes(quarters) {
            *self.collected_votes.entry(minutes).or_default() += 1;
            self.collected.vote(minutes);
        }
    }

    /// Minutes east of UTC in which this host's times are written, if that is settled; as the log's others where it has
    /// no votes of its own.
    pub(super) fn settled(&self, host: &str) -> Option<i16> {
        if self.all.agreed < ENOUGH {
            return None;
        }
        self.hosts.get(host).unwrap_or(&self.all).minutes
    }

    /// The same, when no more can be waited for. A time that claims to be UTC is only doubted for a vote of its own kind.
    pub(super) fn best(&self, host: &str, claims_utc: bool) -> Option<i16> {
        let own = self.hosts.get(host).unwrap_or(&self.all).minutes.or(self.all.minutes);
        if claims_utc {
            own
        } else {
            own.or(self.collected.minutes)
        }
    }

    /// Votes, by minutes east of UTC; with those of collection where there are no better ones.
    pub(super) fn votes(&self) -> &BTreeMap<i16, u64> {
        if self.votes.is_empty() {
            &self.collected_votes
        } else {
            &self.votes
        }
    }
}

/// A local time in UTC.
pub(super) fn utc(local: Timestamp, minutes: i16) -> Timestamp {
    Timestamp(local.0.saturating_sub(i64::from(minutes) * MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;

    fn zones(votes: &[i64]) -> Zones {
        let mut zones = Zones::default();
        let host: Arc<str> = "a".into();
        for apart in votes {
            zones.vote(&host, Timestamp(*apart), Timestamp(0));
        }
        zones
    }

    #[test]
    fn a_zone_is_settled_by_three_that_agree_and_not_moved_by_a_few() {
        assert_eq!(zones(&[-4 * HOUR, -4 * HOUR]).settled("a"), None);
        assert_eq!(
            zones(&[-4 * HOUR - MINUTE, -4 * HOUR, -4 * HOUR + 3 * MINUTE]).settled("b"),
            Some(-240)
        );
        assert_eq!(zones(&[HOUR, HOUR, HOUR, 0, 0, 0, HOUR]).settled("a"), Some(60));
        let mut change = vec![2 * HOUR; 100];
        change.extend([HOUR; 8]);
        assert_eq!(zones(&change).settled("a"), Some(60));
    }

    #[test]
    fn what_is_no_multiple_of_a_quarter_and_what_is_beyond_the_globe_does_not_vote() {
        assert!(zones(&[7 * MINUTE, 15 * HOUR, -90 * HOUR, i64::MAX]).votes().is_empty());
    }

    #[test]
    fn the_time_of_collection_tells_a_zone_where_nothing_else_does() {
        let mut zones = Zones::default();
        zones.vote_collected(Timestamp(-4 * HOUR), Timestamp(2 * MINUTE));
        assert_eq!(zones.best("a", false), Some(-240));
        assert_eq!(zones.best("a", true), None);
        assert_eq!(zones.settled("a"), None);
    }
}
