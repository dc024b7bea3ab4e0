//! What is remembered for a while of each source, target, or pair of them: bounded, the oldest forgotten first.

use std::collections::VecDeque;
use std::hash::Hash;

use crate::hash::HashMap;
use crate::time::Timestamp;

/// Keys with what is known of each. Beyond the bound, and after their time, the oldest is forgotten.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    entries: HashMap<K, Entry<V>>,
    order: VecDeque<(Timestamp, u64, K)>,
    next: u64,
    /// The number of the place at the front of the queue, where it was found not to be stale: that is asked with each
    /// record, several times.
    fresh: Option<u64>,
    most: usize,
    /// Nanoseconds that each is kept.
    keep: i64,
    /// How many were forgotten to make room.
    forgotten: u64,
}

/// What is known of a key.
#[derive(Debug)]
struct Entry<V> {
    /// The number of its place in the queue, and since when it is kept.
    number: u64,
    since: Timestamp,
    value: V,
}

impl<K: Clone + Eq + Hash, V> Remembered<K, V> {
    /// Room for so many, each kept for so many nanoseconds after it was last put in.
    pub(super) fn new(most: usize, keep: i64) -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            next: 0,
            fresh: None,
            most,
            keep,
            forgotten: 0,
        }
    }

    /// What is known of `key`, new where nothing is; it is kept from `now` on.
    pub(super) fn entry(&mut self, key: K, now: Timestamp, new: impl FnOnce() -> V) -> &mut V {
        self.keep_on(key, now, 0, new)
    }

    /// The same, for what is touched with each record: that it is kept on is noted once an eighth of its time is over, so that
    /// its places in the queue are few.
    pub(super) fn often(&mut self, key: K, now: Timestamp, new: impl FnOnce() -> V) -> &mut V {
        self.keep_on(key, now, self.keep / 8, new)
    }

    fn keep_on(&mut self, key: K, now: Timestamp, patience: i64, new: impl FnOnce() -> V) -> &mut V {
        self.expire(now);
        let known = self.entries.get(&key);
        let young = known.filter(|entry| (0..patience).contains(&now.since(entry.since)));
        let (number, since) = match young {
            Some(entry) => (entry.number, entry.since),
            None => (self.queue(&key, now), now),
        };
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            number,
            since,
            value: new(),
        });
        if entry.number != number && self.fresh == Some(entry.number) {
            self.fresh = None;
        }
        (entry.number, entry.since) = (number, since);
        &mut entry.value
    }

    /// Gives it a place at the end of the queue, and room.
    fn queue(&mut self, key: &K, now: Timestamp) -> u64 {
        let number = self.next;
        self.next += 1;
        self.order.push_back((now, number, key.clone()));
        if self.entries.len() >= self.most && !self.entries.contains_key(key) {
            self.make_room();
        }
        // The queue holds one place for every touch: when these are many more than keys, the stale ones go.
        if self.order.len() > self.most.saturating_mul(4).max(64) {
            let entries = &self.entries;
            self.order
                .retain(|(_, number, key)| entries.get(key).is_some_and(|entry| entry.number == *number));
            self.order.push_back((now, number, key.clone()));
        }
        number
    }

    /// What is known of `key`, if its time is not over.
    pub(super) fn get(&mut self, key: &K, now: Timestamp) -> Option<&mut V> {
        self.expire(now);
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Takes what is known of `key`.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        if self.fresh == Some(entry.number) {
            self.fresh = None;
        }
        Some(entry.value)
    }

    /// Takes one whose time is over, the oldest first.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<(K, V)> {
        while let Some((at, number, key)) = self.order.front() {
            let (at, number) = (*at, *number);
            let is_current = |entry: &Entry<V>| entry.number == number;
            let current = self.fresh == Some(number) || self.entries.get(key).is_some_and(is_current);
            if current && now.since(at) < self.keep {
                self.fresh = Some(number);
                return None;
            }
            let Some((_, _, key)) = self.order.pop_front() else {
                break;
            };
            if current && let Some(entry) = self.entries.remove(&key) {
                return Some((key, entry.value));
            }
        }
        None
    }

    /// Each is kept for so many nanoseconds from now on, also those that are known already.
    pub(super) fn keep_for(&mut self, keep: i64) {
        self.keep = keep;
    }

    /// How many were forgotten to make room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Nothing is known any more.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    fn expire(&mut self, now: Timestamp) {
        while self.overdue(now).is_some() {}
    }

    fn make_room(&mut self) {
        while let Some((_, number, key)) = self.order.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.number == number) {
                self.entries.remove(&key);
                self.forgotten += 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(most: usize) -> Remembered<u8, u32> {
        Remembered::new(most, 100)
    }

    #[test]
    fn time_and_room_end() {
        let mut known = remembered(2);
        *known.entry(1, Timestamp(0), || 0) += 5;
        *known.entry(2, Timestamp(10), || 0) += 6;
        assert_eq!(known.get(&1, Timestamp(99)), Some(&mut 5));
        assert_eq!(known.get(&1, Timestamp(100)), None, "its time is over");
        known.entry(3, Timestamp(100), || 7);
        known.entry(4, Timestamp(101), || 8);
        assert_eq!(known.get(&2, Timestamp(101)), None, "no room");
        assert_eq!(known.forgotten(), 1);
        assert_eq!(known.get(&3, Timestamp(101)), Some(&mut 7));
    }

    #[test]
    fn a_touch_keeps_it() {
        let mut known = remembered(9);
        known.entry(1, Timestamp(0), || 1);
        known.entry(1, Timestamp(90), || 2);
        assert_eq!(known.get(&1, Timestamp(150)), Some(&mut 1));
        assert_eq!(known.overdue(Timestamp(189)), None);
        assert_eq!(known.overdue(Timestamp(190)), Some((1, 1)));
        assert_eq!(known.remove(&1), None);
    }

    #[test]
    fn what_is_touched_often_has_few_places() {
        let mut known = remembered(9);
        for now in 0..=90 {
            known.often(1, Timestamp(now), || 1);
        }
        assert!(known.order.len() <= 8, "{}", known.order.len());
        assert_eq!(
            known.get(&1, Timestamp(177)),
            Some(&mut 1),
            "seven eighths of its time, and more, after the last touch"
        );
        assert_eq!(known.get(&1, Timestamp(190)), None);
    }

    #[test]
    fn touching_one_key_for_ever_takes_no_room() {
        let mut known = remembered(4);
        for now in 0..10_000 {
            known.entry(1, Timestamp(0), || now);
        }
        assert!(known.order.len() <= 65);
        known.clear();
        assert_eq!(known.get(&1, Timestamp(0)), None);
    }
}
