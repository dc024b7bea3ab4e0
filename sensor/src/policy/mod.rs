//! Which alerts are told: not those that an allow-list knows, not those that are suppressed, not more than a threshold
//! lets through, and none twice. What is not told is counted, by entry.

mod allow;
mod facts;
mod pattern;
mod report;
mod seen;
mod suppress;
mod threshold;

pub use allow::Allow;
pub use pattern::{AnyOf, Day, Expiry, Host, Hours, Network, Words};
pub use report::report;
pub use suppress::{End, Suppress};
pub use threshold::{Kind, Threshold, Track};

use facts::Facts;
use seen::Seen;
use threshold::Windows;

use crate::event::{Alert, Meta};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Whether an alert is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Suppressed(Reason),
}

/// Why an alert is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The same was told of the same record.
    Duplicate,
    /// An allow-list's entry, by its number.
    Allowed(usize),
    /// A suppression, by its number.
    Suppress(usize),
    /// A threshold, by its number.
    Threshold(usize),
}

/// What was not told, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All of it.
    pub suppressed: u64,
    /// As allow-lists say.
    pub allowed: u64,
    /// As suppressions say.
    pub by_suppress: u64,
    /// Beyond a threshold.
    pub by_threshold: u64,
    /// Told before.
    pub duplicates: u64,
    /// Counts of thresholds that were forgotten because there were too many.
    pub thresholds_forgotten: u64,
}

/// What one entry kept back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub count: u64,
    /// The first of them, in a sentence.
    pub example: String,
}

/// The entries, and what they did.
#[derive(Debug)]
pub struct Policy {
    allow: Vec<Rule<Allow>>,
    suppress: Vec<Rule<Suppress>>,
    threshold: Vec<Rule<Threshold>>,
    windows: Windows,
    seen: Seen,
    duplicates: Kept,
    counters: Counters,
    /// Expired entries that nobody was told of yet.
    news: Vec<usize>,
}

#[derive(Debug)]
struct Rule<T> {
    entry: T,
    kept: Kept,
    expired: bool,
}

fn rules<T>(entries: Vec<T>) -> Vec<Rule<T>> {
    let rule = |entry| Rule {
        entry,
        kept: Kept::default(),
        expired: false,
    };
    entries.into_iter().map(rule).collect()
}

impl Policy {
    /// With these entries, in the order in which they are asked.
    pub fn new(allow: Vec<Allow>, suppress: Vec<Suppress>, threshold: Vec<Threshold>, limits: &Limits) -> Self {
        Self {
            allow: rules(allow),
            suppress: rules(suppress),
            threshold: rules(threshold),
            windows: Windows::new(limits.thresholds),
            seen: Seen::new(limits.alerts),
            duplicates: Kept::default(),
            counters: Counters::default(),
            news: Vec::new(),
        }
    }

    /// Its entries are those of `next` from now on. What was told and counted before goes on: alerts that were told, all
    /// counters, and what a threshold has counted that is there as before.
    pub(crate) fn replace(&mut self, next: Self) {
        let place = |threshold: &Threshold| {
            let mut later = next.threshold.iter();
            later.position(|rule| rule.entry.counts_like(threshold))
        };
        let places: Vec<_> = self.threshold.iter().map(|rule| place(&rule.entry)).collect();
        self.windows.renumber(|index| places.get(index).copied().flatten());
        self.allow = next.allow;
        self.suppress = next.suppress;
        self.threshold = next.threshold;
        // Of the entries that are there now it is told anew.
        self.news.clear();
    }

    /// Is the alert told? To be asked once of each, just before it is.
    pub fn judge(&mut self, meta: &Meta, alert: &Alert) -> Verdict {
        self.advance(meta.timestamp);
        let facts = Facts::of(meta, alert);
        let Some(reason) = self.reason(meta, &facts) else {
            return Verdict::Pass;
        };
        let counters = &mut self.counters;
        let (kept, counter) = match reason {
            Reason::Duplicate => (&mut self.duplicates, &mut counters.duplicates),
            Reason::Allowed(index) => (&mut self.allow[index].kept, &mut counters.allowed),
            Reason::Suppress(index) => (&mut self.suppress[index].kept, &mut counters.by_suppress),
            Reason::Threshold(index) => (&mut self.threshold[index].kept, &mut counters.by_threshold),
        };
        *counter += 1;
        counters.suppressed += 1;
        if kept.count == 0 {
            kept.example = format!("{} {}", meta.timestamp, alert.message);
        }
        kept.count += 1;
        Verdict::Suppressed(reason)
    }

    fn reason(&mut self, meta: &Meta, facts: &Facts<'_>) -> Option<Reason> {
        if self.seen.again(meta, facts.alert) {
            return Some(Reason::Duplicate);
        }
        let is_over = |entry: &Allow| entry.expires.as_ref().is_some_and(|expiry| expiry.is_over(facts.at));
        let holds = |rule: &Rule<Allow>| !is_over(&rule.entry) && rule.entry.fits(facts);
        if let Some(index) = self.allow.iter().position(holds) {
            return Some(Reason::Allowed(index));
        }
        if let Some(index) = self.suppress.iter().position(|rule| rule.entry.fits(facts)) {
            return Some(Reason::Suppress(index));
        }
        // A signature's own threshold goes before one for all.
        let closest = self
            .threshold
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Some((rule.entry.closeness(facts.alert)?, index)))
            .max_by_key(|&(closeness, index)| (closeness, std::cmp::Reverse(index)));
        let (_, index) = closest?;
        let told = self.windows.tells(index, &self.threshold[index].entry, facts);
        (!told).then_some(Reason::Threshold(index))
    }

    /// It is that time: entries may have expired.
    pub fn advance(&mut self, now: Timestamp) {
        for (index, rule) in self.allow.iter_mut().enumerate() {
            let over = rule.entry.expires.as_ref().is_some_and(|expiry| expiry.is_over(now));
            if over && !rule.expired {
                rule.expired = true;
                self.news.push(index);
            }
        }
    }

    /// What the user has to know and was not told yet: entries that have expired.
    pub fn take_news(&mut self) -> Vec<String> {
        let told = |index: usize| {
            let entry = &self.allow[index].entry;
            let expiry = entry.expires.as_ref().map(ToString::to_string).unwrap_or_default();
            format!(
                "[[allow]] in line {} expired on {expiry} by the traffic's time and allows nothing any more: {}",
                entry.line(),
                entry.comment
            )
        };
        let news = self.news.iter().map(|&index| told(index)).collect();
        self.news.clear();
        news
    }

    /// What was not told so far.
    pub fn counters(&self) -> Counters {
        Counters {
            thresholds_forgotten: self.windows.forgotten,
            ..self.counters
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new(), Vec::new(), &Limits::default())
    }
}

#[cfg(test)]
mod tests;
