//! Connections by address pair: one look-up a packet, bounded memory.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::decode::Endpoint;
use crate::time::Timestamp;

/// The two ends of a connection, the lesser first, so that both directions have the same key.
#[derive(Clone, Copy, Debug, Eq)]
pub(super) struct Key {
    pub(super) ends: [Endpoint; 2],
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self.words(), other.words()) {
            (Some(own), Some(others)) => own == others,
            (None, None) => self.ends == other.ends,
            _ => false,
        }
    }
}

/// Address and port of an IPv4 end, in the order in which ends are compared.
#[inline]
fn word(end: &Endpoint) -> Option<u64> {
    match end.address {
        IpAddr::V4(address) => Some(packed(address, end.port)),
        IpAddr::V6(_) => None,
    }
}

#[inline]
fn packed(address: Ipv4Addr, port: u16) -> u64 {
    u64::from(address.to_bits()) << 16 | u64::from(port)
}

/// Which of a key's ends: 0 or 1.
pub(super) type End = usize;

impl Key {
    /// The key of a packet and the end that sent it.
    #[inline]
    pub(super) fn new(source: Endpoint, destination: Endpoint) -> (Self, End) {
        let in_order = match (word(&source), word(&destination)) {
            (Some(source), Some(destination)) => source <= destination,
            _ => source <= destination,
        };
        if in_order {
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

    /// Both ends, if they are of IPv4.
    #[inline]
    fn words(&self) -> Option<[u64; 2]> {
        Some([word(&self.ends[0])?, word(&self.ends[1])?])
    }

    #[inline]
    fn hash(&self, state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        for end in &self.ends {
            match end.address {
                IpAddr::V4(address) => hasher.write_u64(packed(address, end.port)),
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
    /// How much is lost with it.
    fn worth(&self) -> Worth;
}

/// How much is lost with a connection that is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Half open, or closed: a flood is of these.
    Nothing,
    /// It carries something else, and is told again by its next segment.
    Little,
    /// What it carries is about to be told.
    Some,
    /// It is followed.
    All,
}

/// A hash of slots into a slab. Nothing is ever found by walking the hash, so nothing depends on its order.
pub(super) struct Table<E> {
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hash: RandomState,
    capacity: usize,
    /// Where the search for something to forget goes on.
    hand: usize,
    /// Where the search for what is over goes on.
    swept: usize,
}

/// How many slots are compared to find one that can be forgotten.
const SAMPLE: usize = 16;

/// How many slots are looked at for each new entry: more than one, so that what is over goes faster than anything comes.
const SWEPT: usize = 2;

impl<E: Entry> Table<E> {
    /// An empty table for so many entries.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        // Another one on each run: nobody can know which addresses collide.
        let hash = RandomState::default();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hash,
            capacity,
            hand: 0,
            swept: 0,
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

    /// Puts an entry in. When the table is full, one of a few others is taken out and handed back: the one of least
    /// worth, and of these the longest idle.
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
        (self.hand, self.swept) = (0, 0);
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    fn oldest_of_a_few(&mut self) -> Option<u32> {
        let count = self.slots.len();
        let mut least: Option<(Worth, Timestamp, usize)> = None;
        // Those that are followed may lie side by side: go on until there is one that is not. They are few, and the
        // next search begins behind them.
        for step in 0..count {
            if step >= SAMPLE && least.is_some_and(|(worth, ..)| worth < Worth::All) {
                break;
            }
            let slot = self.hand;
            self.hand = (self.hand + 1) % count;
            if let Some(entry) = &self.slots[slot] {
                let found = (entry.worth(), entry.last(), slot);
                least = Some(least.map_or(found, |least| least.min(found)));
            }
        }
        least.and_then(|(.., slot)| u32::try_from(slot).ok())
    }

    /// Takes out those among the next few entries that are over, so that the table shrinks while it is in use.
    pub(super) fn sweep(&mut self, mut is_over: impl FnMut(&E) -> bool, mut out: impl FnMut(E)) {
        for _ in 0..SWEPT.min(self.slots.len()) {
            self.swept = (self.swept + 1) % self.slots.len();
            if self.slots[self.swept].as_ref().is_some_and(&mut is_over)
                && let Some(entry) = u32::try_from(self.swept).ok().and_then(|slot| self.remove(slot))
            {
                out(entry);
            }
        }
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
        fn worth(&self) -> Worth {
            if self.0.ends[1].port > 1_000 {
                Worth::All
            } else {
                Worth::Little
            }
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
    fn what_is_of_worth_stays_however_long_idle_and_wherever_it_lies() {
        let mut table = Table::new(100);
        for port in 0..100 {
            // Fifty side by side that must stay, the longest idle of all.
            let port = if port < 50 { 2_000 + port } else { port };
            table.insert(Seen(key(port), Timestamp(i64::from(port < 1_000))));
        }
        for port in 100..400 {
            let forgotten = table.insert(Seen(key(port), Timestamp(i64::from(port)))).1.unwrap();
            assert_eq!(forgotten.worth(), Worth::Little);
        }
        assert!((2_000..2_050).all(|port| table.find(&key(port)).is_some()));
        // When there is nothing else, one of them goes.
        let mut table = Table::new(3);
        for port in 2_000..2_003 {
            table.insert(Seen(key(port), Timestamp(i64::from(port))));
        }
        assert_eq!(table.insert(Seen(key(1), Timestamp(0))).1.unwrap().0, key(2_000));
    }

    #[test]
    fn what_is_over_is_swept_out() {
        let mut table = Table::new(1_000);
        for port in 1..=500 {
            table.insert(Seen(key(port), Timestamp(i64::from(port))));
        }
        let mut gone = 0;
        for _ in 0..250 {
            table.sweep(|entry| entry.last() <= Timestamp(400), |_| gone += 1);
        }
        assert_eq!((gone, table.len()), (400, 100));
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
