//! Suricata's thresholds: how often a signature is told.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::event::Alert;
use crate::time::Timestamp;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Why it is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Who numbers the signature; any when it is 0.
    #[serde(default = "any")]
    pub gen_id: u32,
    /// The signature; each that has no threshold of its own when it is 0.
    #[serde(default = "any")]
    pub sig_id: u32,
    /// Which of them are told.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What is counted together.
    pub track: Track,
    /// How many.
    pub count: u32,
    /// In how many seconds.
    pub seconds: u32,
    #[serde(skip)]
    line: usize,
}

/// Any signature.
pub(super) fn any() -> u32 {
    0
}

/// Which alerts of a window are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The first `count`.
    Limit,
    /// Each `count`th.
    Threshold,
    /// The `count`th alone.
    Both,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// Alerts of one source.
    BySrc,
    /// Alerts of one target.
    ByDst,
    /// Alerts between the same two, whichever of them called.
    ByBoth,
    /// All alerts of the signature.
    ByRule,
}

impl Threshold {
    /// The same, with its place in the file.
    #[must_use]
    pub fn in_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The line of the file that it stands in.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Does it count as that one does, wherever it stands and whyever it is there?
    pub(super) fn counts_like(&self, other: &Self) -> bool {
        let counts = |it: &Self| (it.gen_id, it.sig_id, it.kind, it.track, it.count, it.seconds);
        counts(self) == counts(other)
    }

    /// How closely it is about that alert: not at all, in general, or by number.
    pub(super) fn closeness(&self, alert: &Alert) -> Option<(bool, bool)> {
        let wanted = |asked: u32, number: u32| asked == 0 || asked == number;
        let fits = wanted(self.gen_id, alert.gid) && wanted(self.sig_id, alert.signature_id);
        fits.then_some((self.sig_id != 0, self.gen_id != 0))
    }

    /// The ends that are counted apart, and the host whose log it rests on: there the target has a name only.
    fn tracked(&self, facts: &Facts<'_>) -> ([Option<IpAddr>; 2], Option<String>) {
        let host = match self.track {
            Track::ByDst | Track::ByBoth => facts.host().map(str::to_lowercase),
            Track::BySrc | Track::ByRule => None,
        };
        (self.ends(facts), host)
    }

    fn ends(&self, facts: &Facts<'_>) -> [Option<IpAddr>; 2] {
        match self.track {
            Track::BySrc => [facts.source, None],
            Track::ByDst => [None, facts.target],
            Track::ByBoth => {
                let mut pair = [facts.source, facts.target];
                pair.sort();
                pair
            }
            Track::ByRule => [None, None],
        }
    }
}

/// What is counted together: entry, signature, ends.
type Key = (usize, u32, u32, ([Option<IpAddr>; 2], Option<String>));

/// What has been counted so far.
#[derive(Debug)]
pub(super) struct Windows {
    counts: BTreeMap<Key, Window>,
    /// In the order in which they came.
    order: VecDeque<Key>,
    limit: usize,
    /// Counts that were forgotten because there were too many.
    pub(super) forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Timestamp,
    count: u32,
}

impl Windows {
    /// Remembers so many counts at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            counts: BTreeMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
            forgotten: 0,
        }
    }

    /// Is this alert one of those that are told?
    pub(super) fn tells(&mut self, index: usize, threshold: &Threshold, facts: &Facts<'_>) -> bool {
        let alert = facts.alert;
        let key = (index, alert.gid, alert.signature_id, threshold.tracked(facts));
        let length = u64::from(threshold.seconds) * 1_000_000_000;
        let begun = Window {
            since: facts.at,
            count: 0,
        };
        if !self.counts.contains_key(&key) {
            self.make_room();
            self.order.push_back(key.clone());
        }
        let window = self.counts.entry(key).or_insert(begun);
        // Alerts come a little out of order: those that wait for a connection are told later than they happened.
        if facts.at.since(window.since).unsigned_abs() > length {
            *window = begun;
        }
        window.count = window.count.saturating_add(1);
        match threshold.kind {
            Kind::Limit => window.count <= threshold.count,
            Kind::Both => window.count == threshold.count,
            Kind::Threshold => {
                let reached = window.count >= threshold.count;
                if reached {
                    window.count = 0;
                }
                reached
            }
        }
    }

    /// Entries have other numbers from now on; what those have counted that are there no more is let go.
    pub(super) fn renumber(&mut self, place: impl Fn(usize) -> Option<usize>) {
        let renumbered = |(index, gid, sid, tracked): Key| Some((place(index)?, gid, sid, tracked));
        let counts = std::mem::take(&mut self.counts);
        self.counts = counts
            .into_iter()
            .filter_map(|(key, window)| Some((renumbered(key)?, window)))
            .collect();
        self.order = std::mem::take(&mut self.order)
            .into_iter()
            .filter_map(renumbered)
            .collect();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.order.is_empty()
    }

    fn make_room(&mut self) {
        if self.order.len() < self.limit {
            return;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.counts.remove(&oldest);
            self.forgotten += 1;
        }
    }
}
