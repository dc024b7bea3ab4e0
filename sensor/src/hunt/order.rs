//! Events of several logs brought into the order of their times, as far as memory allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host_log::event::{HostEvent, Source};
use crate::time::Timestamp;

/// Bytes of events that are held to be put in order. They are those that a detection takes an interest in, and as a rule
/// all of them find room; beyond it the earliest is looked at.
const HELD: usize = 128 << 20;

/// What decides the order, whichever log was read first. A record stands in it once.
type Key = (Timestamp, Arc<str>, Source, Arc<str>, u64);

/// Events that wait for earlier ones.
#[derive(Debug)]
pub(super) struct Order {
    events: BTreeMap<Key, HostEvent>,
    bytes: usize,
    limit: usize,
    /// As far as was looked.
    looked: Option<Key>,
    /// Events that came when later ones had been looked at.
    pub(super) late: u64,
}

impl Order {
    pub(super) fn new() -> Self {
        Self::holding(HELD)
    }

    fn holding(limit: usize) -> Self {
        Self {
            events: BTreeMap::new(),
            bytes: 0,
            limit,
            looked: None,
            late: 0,
        }
    }

    /// Takes an event in; the earliest one, for which there is no room any more.
    pub(super) fn push(&mut self, event: HostEvent) -> Option<HostEvent> {
        let key = (
            event.time,
            Arc::clone(&event.host),
            event.source,
            Arc::clone(&event.place.input),
            event.place.record,
        );
        self.late += u64::from(self.looked.as_ref().is_some_and(|looked| key < *looked));
        self.bytes += event.size();
        if let Some(same) = self.events.insert(key, event) {
            self.bytes -= same.size();
        }
        if self.bytes > self.limit { self.pop() } else { None }
    }

    /// The earliest event.
    pub(super) fn pop(&mut self) -> Option<HostEvent> {
        let (key, event) = self.events.pop_first()?;
        self.bytes -= event.size();
        if self.looked.as_ref().is_none_or(|looked| *looked < key) {
            self.looked = Some(key);
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::testing;

    fn event(second: i64, record: u64) -> HostEvent {
        testing::created(second, record, ("explorer.exe", 1), ("cmd.exe", 2), "cmd.exe")
    }

    #[test]
    fn events_come_out_in_the_order_of_their_times() {
        let mut order = Order::new();
        for (second, record) in [(3, 1), (1, 2), (2, 3), (1, 2)] {
            assert!(order.push(event(second, record)).is_none());
        }
        let out: Vec<u64> = std::iter::from_fn(|| order.pop())
            .map(|event| event.place.record)
            .collect();
        assert_eq!((out, order.bytes, order.late), (vec![2, 3, 1], 0, 0));
    }

    #[test]
    fn beyond_the_limit_the_earliest_is_looked_at_and_what_is_late_is_counted() {
        let mut order = Order::holding(2 * event(0, 0).size());
        assert!(order.push(event(1, 1)).is_none());
        assert!(order.push(event(3, 2)).is_none());
        assert_eq!(order.push(event(2, 3)).unwrap().place.record, 1);
        assert_eq!(order.push(event(0, 4)).unwrap().place.record, 4);
        assert_eq!(order.late, 1);
    }
}
