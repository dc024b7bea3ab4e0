//! What is remembered of a host: processes that were started, connections to them, logons. All of it bounded.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use crate::host_log::event::{HostEnd, Place, Process, Source, same_host};
use crate::time::Timestamp;

/// Entries of each kind that are remembered. Beyond it the one that came first is forgotten.
const REMEMBERED: usize = 65_536;
/// Bytes that they take. Beyond it, too.
const BYTES: usize = 32 << 20;
/// What an entry takes beside what it holds elsewhere: in the table and in the order, with its key.
const ENTRY: usize = 128;

/// A table that forgets what came first.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    /// Each with what it takes, and the number of its place in the order.
    entries: BTreeMap<K, (V, usize, u64)>,
    order: VecDeque<(u64, K)>,
    next: u64,
    bytes: usize,
    limit: usize,
    /// Entries that were forgotten to make room for others.
    pub(super) forgotten: u64,
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(super) fn new() -> Self {
        Self::of(REMEMBERED)
    }

    pub(super) fn of(limit: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            next: 0,
            bytes: 0,
            limit,
            forgotten: 0,
        }
    }

    /// Takes it in; it holds so many bytes elsewhere.
    pub(super) fn insert(&mut self, key: K, value: V, size: usize) {
        let size = size + size_of::<V>() + ENTRY;
        self.bytes += size;
        if let Some((known, former, _)) = self.entries.get_mut(&key) {
            self.bytes -= std::mem::replace(former, size);
            *known = value;
        } else {
            self.order.push_back((self.next, key.clone()));
            self.entries.insert(key, (value, size, self.next));
            self.next += 1;
        }
        self.make_room();
    }

    /// Changes what is there, and takes in how many bytes it holds elsewhere from then on. Is it there?
    pub(super) fn change(&mut self, key: &K, change: impl FnOnce(&mut V) -> usize) -> bool {
        let Some((value, size, _)) = self.entries.get_mut(key) else {
            return false;
        };
        self.bytes -= *size;
        *size = change(value) + size_of::<V>() + ENTRY;
        self.bytes += *size;
        self.make_room();
        true
    }

    fn make_room(&mut self) {
        // Those that were removed have left their places behind: when these are many, they go.
        if self.order.len() > self.limit.saturating_mul(2) {
            let entries = &self.entries;
            self.order.retain(|(number, key)| has_place(entries, *number, key));
        }
        while self.entries.len() > self.limit || self.bytes > BYTES {
            let Some((number, oldest)) = self.order.pop_front() else {
                break;
            };
            if has_place(&self.entries, number, &oldest) {
                self.remove(&oldest);
                self.forgotten += 1;
            }
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, ..)| value)
    }

    /// What is there by these keys, in their order.
    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = &V> {
        self.entries.range(keys).map(|(_, (value, ..))| value)
    }

    pub(super) fn remove(&mut self, key: &K) {
        let removed = self.entries.remove(key);
        self.bytes -= removed.map_or(0, |(_, size, _)| size);
    }
}

/// Is that the place of what is there by this key, and not of what was there before it?
fn has_place<K: Ord, V>(entries: &BTreeMap<K, (V, usize, u64)>, number: u64, key: &K) -> bool {
    entries.get(key).is_some_and(|(.., place)| *place == number)
}

/// A computer's name as tables have it: in lower case, without its domain.
pub(super) fn short(host: &str) -> String {
    let short = host.split_once('.').map_or(host, |(short, _)| short);
    short.to_lowercase()
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) at: Timestamp,
    pub(super) host: Arc<str>,
    pub(super) source: Source,
    pub(super) place: Place,
    pub(super) process: Process,
    /// Did COM's own service start it?
    pub(super) by_com: bool,
}

/// A connection to a process.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    pub(super) at: Timestamp,
    pub(super) host: Arc<str>,
    pub(super) source: Source,
    pub(super) place: Place,
    pub(super) remote: HostEnd,
    pub(super) local: HostEnd,
    pub(super) protocol: Option<u8>,
    pub(super) name: String,
}

impl Inbound {
    /// Did the computer call itself?
    pub(super) fn is_own(&self) -> bool {
        self.remote.ip.to_canonical().is_loopback() || self.remote.ip == self.local.ip
    }
}

/// Something that is told of processes: found by the process's GUID, or else by its id.
#[derive(Debug)]
pub(super) struct ByProcess<V> {
    by_guid: Table<Guid, Arc<V>>,
    by_pid: Table<(String, u32), Arc<V>>,
}

impl<V> ByProcess<V> {
    pub(super) fn new() -> Self {
        Self {
            by_guid: Table::new(),
            by_pid: Table::new(),
        }
    }

    pub(super) fn insert(&mut self, host: &str, process: &Process, value: V, size: usize) {
        let value = Arc::new(value);
        let size = size + size_of::<V>();
        if let Some(guid) = process.guid {
            self.by_guid.insert(guid, Arc::clone(&value), size);
        }
        if let Some(pid) = process.pid {
            self.by_pid.insert((short(host), pid), value, size);
        }
    }

    /// What is told of that process; its id alone is believed where `fits` does not know better.
    pub(super) fn get(&self, host: &str, process: &Process, fits: impl Fn(&V) -> bool) -> Option<&Arc<V>> {
        let by_guid = process.guid.and_then(|guid| self.by_guid.get(&guid));
        let by_pid = || process.pid.and_then(|pid| self.by_pid.get(&(short(host), pid)));
        by_guid.or_else(by_pid).filter(|value| fits(value))
    }

    /// The process has ended: its id may be used again.
    pub(super) fn end(&mut self, host: &str, process: &Process) {
        if let Some(pid) = process.pid {
            self.by_pid.remove(&(short(host), pid));
        }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.by_guid.forgotten + self.by_pid.forgotten
    }
}

/// Is it the process with that name on that computer, as far as names are known?
pub(super) fn is_same(host: &str, name: Option<&str>, other_host: &str, other_name: Option<&str>) -> bool {
    same_host(host, other_host) && (name.is_none() || other_name.is_none() || name == other_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_what_came_first() {
        let mut table = Table::of(2);
        for number in 1..=3 {
            table.insert(number, number * 10, 0);
        }
        assert_eq!((table.get(&1), table.get(&3), table.forgotten), (None, Some(&30), 1));
        table.remove(&3);
        assert_eq!(table.get(&3), None);
    }

    #[test]
    fn what_came_again_after_it_was_removed_is_the_youngest() {
        let mut table = Table::of(3);
        table.insert(1, "old", 0);
        table.insert(2, "other", 0);
        table.remove(&1);
        table.insert(1, "new", 0);
        table.insert(3, "third", 0);
        table.insert(4, "fourth", 0);
        assert_eq!((table.get(&2), table.get(&1), table.forgotten), (None, Some(&"new"), 1));
        for number in 0..1_000 {
            table.insert(7, "again", 0);
            table.remove(&7);
            table.insert(number + 10, "many", 0);
            assert!(table.entries.len() <= 3 && table.order.len() <= 7);
        }
    }

    #[test]
    fn what_takes_much_finds_less_room() {
        let mut table = Table::new();
        for number in 0..100 {
            table.insert(number, (), BYTES / 10);
            table.insert(number, (), BYTES / 8);
        }
        assert_eq!((table.entries.len(), table.forgotten), (7, 93));
        assert!(table.bytes <= BYTES);
        for number in 0..100 {
            table.remove(&number);
        }
        assert_eq!(table.bytes, 0);
    }

    #[test]
    fn a_process_is_found_by_guid_or_by_id_until_it_ends() {
        let mut table = ByProcess::new();
        let guid = Guid::parse("365ABB72-B17F-5CC8-0000-001082A51E00");
        let process = Process {
            pid: Some(8),
            guid,
            ..Process::default()
        };
        table.insert("WS6.lab.example", &process, "mmc", 0);
        let by_pid = Process {
            pid: Some(8),
            ..Process::default()
        };
        let by_guid = Process {
            guid,
            ..Process::default()
        };
        for wanted in [&by_pid, &by_guid] {
            assert_eq!(table.get("ws6", wanted, |_| true).map(|found| **found), Some("mmc"));
        }
        assert!(table.get("ws7", &by_pid, |_| true).is_none());
        assert!(table.get("ws6", &by_pid, |_| false).is_none());
        table.end("ws6", &by_pid);
        assert!(table.get("ws6", &by_pid, |_| true).is_none());
        assert!(table.get("ws6", &by_guid, |_| true).is_some());
    }
}
