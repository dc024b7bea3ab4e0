//! Which alerts belong together: those of one source and one target, with no long silence between them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A longer silence between two alerts of a pair makes them two incidents, in microseconds.
pub(crate) const SILENCE: i64 = 30 * 60 * 1_000_000;
/// What a pair did so long before its first alert, or after its last, is shown with them, in microseconds.
pub(crate) const AROUND: i64 = 2 * 60 * 1_000_000;
/// So many alerts of each severity are grouped. A flood of mild ones takes no room from grave ones.
const MAX_OF_SEVERITY: usize = 40_000;
/// So many incidents are told, the gravest first.
const MAX_INCIDENTS: usize = 20_000;

/// How grave, as in EVE: 1 critical, 5 informational.
pub(crate) type Grade = u8;

/// Source and target: addresses, or a host's name; empty when the event names none.
pub(crate) type Pair = (String, String);

/// Alerts of one pair, close in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) pair: Pair,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) worst: Grade,
}

/// So many names of hosts are remembered with their addresses.
const MAX_NAMES: usize = 65_536;

/// Which address a host has that logs its events by its name, as far as alerts say both: none, where they say several.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Option<String>>);

impl Names {
    /// The host of this name has that address.
    pub(crate) fn learn(&mut self, name: &str, address: &str) {
        let name = name.to_lowercase();
        if let Some(known) = self.0.get_mut(&name) {
            if known.as_deref() != Some(address) {
                *known = None;
            }
        } else if self.0.len() < MAX_NAMES {
            self.0.insert(name, Some(address.to_owned()));
        }
    }

    /// The same pair, by addresses.
    fn by_address(&self, (source, target): Pair) -> Pair {
        let address = |host: String| match self.0.get(&host.to_lowercase()) {
            Some(Some(address)) => address.clone(),
            _ => host,
        };
        (address(source), address(target))
    }
}

/// The first reading: when who alerted about whom.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    pub(crate) names: Names,
    pairs: BTreeMap<Pair, Vec<(i64, Grade)>>,
    /// By grade, from 1.
    counts: [usize; 5],
}

impl Sightings {
    /// What is one too many is in no incident: the second reading counts it.
    pub(crate) fn add(&mut self, pair: Pair, at: i64, grade: Grade) {
        let count = &mut self.counts[usize::from(grade.clamp(1, 5)) - 1];
        if *count >= MAX_OF_SEVERITY {
            return;
        }
        *count += 1;
        self.pairs.entry(pair).or_default().push((at, grade));
    }

    /// The incidents, the gravest first, of these the earliest.
    pub(crate) fn group(self) -> Incidents {
        let mut pairs: BTreeMap<Pair, Vec<(i64, Grade)>> = BTreeMap::new();
        for (pair, mut alerts) in self.pairs {
            pairs
                .entry(self.names.by_address(pair))
                .or_default()
                .append(&mut alerts);
        }
        let mut spans = Vec::new();
        for (pair, mut alerts) in pairs {
            alerts.sort_unstable();
            let mut open: Option<Span> = None;
            for (at, grade) in alerts {
                match &mut open {
                    Some(span) if at.saturating_sub(span.to) <= SILENCE => {
                        span.to = at;
                        span.worst = span.worst.min(grade);
                    }
                    _ => spans.extend(open.replace(Span {
                        pair: pair.clone(),
                        from: at,
                        to: at,
                        worst: grade,
                    })),
                }
            }
            spans.extend(open);
        }
        // The pairs come in order: equal ones stay in it.
        spans.sort_by_key(|span| (span.worst, span.from));
        spans.truncate(MAX_INCIDENTS);
        let mut of_pair: BTreeMap<Pair, Vec<usize>> = BTreeMap::new();
        for (index, span) in spans.iter().enumerate() {
            of_pair.entry(span.pair.clone()).or_default().push(index);
        }
        Incidents {
            spans,
            of_pair,
            names: self.names,
        }
    }
}

/// The incidents, and where an event belongs.
#[derive(Debug)]
pub(crate) struct Incidents {
    pub(crate) spans: Vec<Span>,
    of_pair: BTreeMap<Pair, Vec<usize>>,
    names: Names,
}

impl Incidents {
    /// The pair as incidents know it.
    pub(crate) fn known_as(&self, pair: Pair) -> Pair {
        self.names.by_address(pair)
    }

    /// Has this pair any?
    pub(crate) fn has(&self, pair: &Pair) -> bool {
        self.of_pair.contains_key(pair)
    }

    /// The incidents of this pair in or around which something lasted from one time to another, in microseconds.
    pub(crate) fn during(&self, pair: &Pair, from: i64, to: i64) -> impl Iterator<Item = usize> {
        let meets = move |span: &Span| span.from.saturating_sub(AROUND) <= to && from <= span.to.saturating_add(AROUND);
        let of_pair = self.of_pair.get(pair).map(Vec::as_slice).unwrap_or_default();
        of_pair.iter().copied().filter(move |&index| meets(&self.spans[index]))
    }

    /// The incident of this pair in which, or around which, that happened.
    pub(crate) fn find(&self, pair: &Pair, at: i64) -> Option<usize> {
        let distance = |index: usize| {
            let span = &self.spans[index];
            span.from.saturating_sub(at).max(at.saturating_sub(span.to)).max(0)
        };
        let nearest = self.of_pair.get(pair)?.iter().copied();
        let nearest = nearest.min_by_key(|&index| (distance(index), Reverse(self.spans[index].from)))?;
        (distance(nearest) <= AROUND).then_some(nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(source: &str, target: &str) -> Pair {
        (source.to_owned(), target.to_owned())
    }

    #[test]
    fn alerts_group_by_source_target_and_time_in_any_order() {
        let minute = 60_000_000;
        let alerts = [
            (pair("a", "b"), 0, 3),
            (pair("a", "b"), 20 * minute, 1),
            (pair("a", "b"), 45 * minute, 4),
            (pair("a", "b"), 90 * minute, 5),
            (pair("b", "a"), minute, 2),
            (pair("a", "c"), minute, 1),
        ];
        let group = |alerts: &mut dyn Iterator<Item = &(Pair, i64, Grade)>| {
            let mut sightings = Sightings::default();
            for (pair, at, grade) in alerts {
                sightings.add(pair.clone(), *at, *grade);
            }
            sightings.group()
        };
        let incidents = group(&mut alerts.iter());
        assert_eq!(incidents.spans, group(&mut alerts.iter().rev()).spans);
        let told: Vec<_> = incidents
            .spans
            .iter()
            .map(|span| (span.pair.1.as_str(), span.from / minute, span.to / minute, span.worst))
            .collect();
        assert_eq!(
            told,
            [("b", 0, 45, 1), ("c", 1, 1, 1), ("a", 1, 1, 2), ("b", 90, 90, 5)]
        );
        // What stands beside: within the span, a little before or after, the nearer of two; not far from both.
        let find = |at| incidents.find(&pair("a", "b"), at);
        assert_eq!(find(30 * minute), Some(0));
        assert_eq!(find(-minute), Some(0));
        assert_eq!(find(89 * minute), Some(3));
        assert_eq!(find(60 * minute), None);
        assert_eq!(incidents.find(&pair("c", "b"), 0), None);
    }

    #[test]
    fn a_host_is_one_by_its_name_and_by_its_address() {
        let mut sightings = Sightings::default();
        sightings.add(pair("WS5.lab", "192.0.2.10"), 1, 3);
        sightings.add(pair("192.0.2.20", "192.0.2.10"), 0, 3);
        sightings.add(pair("WS6.lab", "192.0.2.10"), 0, 3);
        sightings.names.learn("ws5.lab", "192.0.2.20");
        // Which of two it is, nobody can tell.
        sightings.names.learn("WS6.lab", "192.0.2.21");
        sightings.names.learn("WS6.lab", "192.0.2.22");
        let incidents = sightings.group();
        let sources: Vec<&str> = incidents.spans.iter().map(|span| span.pair.0.as_str()).collect();
        assert_eq!(sources, ["192.0.2.20", "WS6.lab"]);
        assert_eq!(incidents.known_as(pair("WS5.lab", "x")), pair("192.0.2.20", "x"));
    }

    #[test]
    fn a_flood_of_mild_alerts_leaves_room_for_grave_ones() {
        let mut sightings = Sightings::default();
        for number in 0..50_000 {
            sightings.add(pair(&format!("s{number}"), "t"), 0, 5);
        }
        sightings.add(pair("attacker", "t"), 0, 1);
        let incidents = sightings.group();
        assert_eq!(incidents.spans.len(), MAX_INCIDENTS);
        assert_eq!(incidents.spans[0].pair.0, "attacker");
        assert_eq!(incidents.find(&pair("attacker", "t"), 0), Some(0));
        assert_eq!(incidents.find(&pair("s49999", "t"), 0), None);
    }
}
