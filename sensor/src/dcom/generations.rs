//! A table of two generations: what is remembered for a while, and how long only about.

use std::hash::Hash;

use crate::hash::HashMap;
use crate::time::Timestamp;

/// A table that is bounded in number and time, without a clock of its own: half of it is the young ones, and when those
/// are too many or too old, the others are forgotten and these become the others.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    since: Timestamp,
    most: usize,
    lifetime: i64,
    /// How many were forgotten to make room.
    pub(super) forgotten: u64,
}

impl<K: Copy + Eq + Hash, V: Default> Generations<K, V> {
    pub(super) fn new(most: usize, lifetime: i64) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            since: Timestamp::default(),
            most: (most / 2).max(1),
            lifetime,
            forgotten: 0,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The value of a key, no younger for that.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.young.values_mut().chain(self.old.values_mut())
    }

    /// The value of a key, made if it is new; it is young from now on.
    pub(super) fn touch(&mut self, key: K, now: Timestamp) -> &mut V {
        let full = self.young.len() >= self.most && !self.young.contains_key(&key);
        if full || now.since(self.since) > self.lifetime {
            let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.forgotten += if full { forgotten.len() as u64 } else { 0 };
            self.since = now;
        }
        let Self { young, old, .. } = self;
        young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    /// Takes a key's value out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0)
    }

    #[test]
    fn the_table_is_bounded_and_what_is_used_stays() {
        let mut table: Generations<u32, u32> = Generations::new(8, i64::MAX);
        for key in 0..1000 {
            *table.touch(0, at(1)) += 1;
            table.touch(key, at(1));
            assert!(table.young.len() + table.old.len() <= 8);
        }
        assert!(table.get(&0).is_some_and(|times| *times == 1000));
        assert_eq!(table.get(&1), None);
        assert!(table.forgotten > 900);
        assert_eq!((table.remove(&0), table.remove(&0)), (Some(1000), None));
    }

    #[test]
    fn what_is_not_used_is_forgotten_with_time() {
        let mut table: Generations<u32, u32> = Generations::new(8, 10_000_000_000);
        *table.touch(1, at(100)) = 5;
        table.touch(2, at(111));
        assert_eq!(table.get(&1), Some(&5), "half of the table is kept");
        table.touch(2, at(122));
        assert_eq!((table.get(&1), table.forgotten), (None, 0));
        table.clear();
        assert_eq!(table.get(&2), None);
    }
}
