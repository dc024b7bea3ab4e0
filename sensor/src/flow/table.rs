//! Connections by address pair: one look-up a packet, bounded memory.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::decode::Endpoint;
use crate::time::Timestamp;

/// The two ends of a connection, the lesser first, so that both directions have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) ends: [Endpoint; 2],
}

/// Which of a key's ends: 0 or 1.
pub(super) type End = usize;

impl Key {
    /// The key of a packet and the end that sent it.
    pub(super) fn new(source: Endpoint, destination: Endpoint) -> (Self, End) {
        if source <= destination {
            (
                Self {
                    ends: [source, destination],
                },
                0,
            )
        } else {
            (
                Self {
                    ends: [destination, source],
                },
                1,
            )
        }
    }

    fn hash(&self, state: &FixedState) -> u64 {
        let mut hasher = state.build_hasher();
        for end in &self.ends {
            match end.address {
                IpAddr::V4(address) => hasher.write_u64(u64::from(address.to_bits()) << 16 | u64::from(end.port)),
                IpAddr::V6(address) => {
                    hasher.write_u128(address.to_bits());
                    hasher.write_u16(end.port);
                }
            }
        }
        hasher.finish()
    }
}

/// Something kept per connection.
pub(super) trait Entry {
    /// Its key.
    fn key(&self) -> &Key;
    /// When it was last of use.
    fn last(&self) -> Timestamp;
}

/// A hash of slots into a slab. Nothing is ever found by walking the hash, so nothing depends on its order.
pub(super) struct Table<E> {
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hash: FixedState,
    capacity: usize,
    /// Where the search for something to forget goes on.
    hand: usize,
}

/// How many slots are compared to find one that can be forgotten.
const SAMPLE: usize = 16;

impl<E: Entry> Table<E> {
    /// An empty table for so many entries.
    pub(super) fn new(capacity: usize) -> Self {
        // The seed is fixed: a capture gives the same logs on every run, and memory is bounded whatever collides.
        let capacity = capacity.clamp(1, u32::MAX as usize);
        let hash = FixedState::with_seed(0x000D_C035);
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hash,
            capacity,
            hand: 0,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slot of `key`.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let same = |&slot: &u32| self.get(slot).is_some_and(|entry| entry.key() == key);
        self.index.find(key.hash(&self.hash), same).copied()
    }

    /// What is in a slot.
    pub(super) fn get(&self, slot: u32) -> Option<&E> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// What is in a slot.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut E> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Puts an entry in. When the table is full, the longest idle of a few others is taken out and handed back.
    pub(super) fn insert(&mut self, entry: E) -> (u32, Option<E>) {
        let forgotten = if self.len() >= self.capacity {
            self.oldest_of_a_few()
        } else {
            None
        };
        let forgotten = forgotten.and_then(|slot| self.remove(slot));
        let hash = entry.key().hash(&self.hash);
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(entry);
            slot
        } else {
            self.slots.push(Some(entry));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        };
        let Self {
            index,
            slots,
            hash: state,
            ..
        } = self;
        let rehash = |&slot: &u32| slots[slot as usize].as_ref().map_or(0, |entry| entry.key().hash(state));
        index.insert_unique(hash, slot, rehash);
        (slot, forgotten)
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<E> {
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        if let Ok(found) = self
            .index
            .find_entry(entry.key().hash(&self.hash), |&other| other == slot)
        {
            found.remove();
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Every entry, in the order of the slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> + Clone {
        self.slots.iter().flatten()
    }

    /// Takes every entry out, in the order of the slots.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = E> + use<E> {
        self.index.clear();
        self.free.clear();
        self.hand = 0;
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    fn oldest_of_a_few(&mut self) -> Option<u32> {
        let count = self.slots.len();
        let sample = (0..SAMPLE.min(count)).map(|step| (self.hand + step) % count);
        let oldest = sample
            .filter_map(|slot| Some((self.slots[slot].as_ref()?.last(), slot)))
            .min()
            .and_then(|(_, slot)| u32::try_from(slot).ok());
        self.hand = (self.hand + SAMPLE) % count.max(1);
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Seen(Key, Timestamp);

    impl Entry for Seen {
        fn key(&self) -> &Key {
            &self.0
        }
        fn last(&self) -> Timestamp {
            self.1
        }
    }

    fn key(port: u16) -> Key {
        let end = |last, port| Endpoint {
            address: IpAddr::from([10, 0, 0, last]),
            port,
        };
        Key::new(end(2, port), end(1, 135)).0
    }

    #[test]
    fn both_directions_have_one_key() {
        let (a, b) = (key(5).ends[0], key(5).ends[1]);
        assert_eq!(
            (Key::new(a, b).0, Key::new(a, b).1),
            (Key::new(b, a).0, 1 - Key::new(b, a).1)
        );
    }

    #[test]
    fn a_full_table_forgets_the_longest_idle() {
        let mut table = Table::new(3);
        for port in 1..=3 {
            assert!(
                table
                    .insert(Seen(key(port), Timestamp(i64::from(10 - port))))
                    .1
                    .is_none()
            );
        }
        let forgotten = table.insert(Seen(key(4), Timestamp(20))).1.unwrap();
        assert_eq!((forgotten.0, table.len()), (key(3), 3));
        assert!(table.find(&key(3)).is_none());
        assert!([1, 2, 4].iter().all(|&port| table.find(&key(port)).is_some()));
    }

    #[test]
    fn a_slot_is_used_again() {
        let mut table = Table::new(10);
        let (slot, _) = table.insert(Seen(key(1), Timestamp(0)));
        assert!(table.remove(slot).is_some() && table.remove(slot).is_none());
        assert_eq!(table.insert(Seen(key(2), Timestamp(0))).0, slot);
        assert_eq!(table.drain().count(), 1);
    }
}
