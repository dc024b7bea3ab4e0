//! IP packets put together again from their fragments.
//!
//! INVARIANT: where fragments overlap, the bytes that came first stand; `overlap.differing` counts where the others
//! said something else. What is held is bounded in bytes, packets and time, whoever sends it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};

use super::ip::Fragment;
use super::{JOINED, Unread};
use crate::limits::Limits;
use crate::time::Timestamp;

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Fragments of IPv4 packets.
    pub ipv4: u64,
    /// Fragments of IPv6 packets.
    pub ipv6: u64,
    /// Packets put together.
    pub joined: u64,
    /// Fragments, or parts of them, that were there already.
    pub overlapping: u64,
    /// Of these, those that said something else.
    pub differing: u64,
    /// Packets let go because fragments of them did not come in time, or before the end.
    pub incomplete: u64,
    /// Packets let go because too much was held.
    pub over_limit: u64,
}

/// Which packet a fragment is of: RFC 791 3.2 Fragmentation and Reassembly, RFC 8200 4.5 Fragment Header (there what the
/// packet carries is no part of it, and zero). VLAN and tunnel are none, so that one packet seen in two places is one.
type Key = (IpAddr, IpAddr, u8, u32);

/// All packets of which something is missing.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: BTreeMap<Key, Parts>,
    /// The same by their age.
    ages: BTreeMap<u64, Key>,
    next_age: u64,
    /// Bytes in all of them, and what keeping them takes.
    held: usize,
    counters: FragmentCounters,
    /// How many fragments were put to a packet, and which packets the last of them are of.
    put: u64,
    latest: [u64; JOINED],
}

#[derive(Debug)]
struct Parts {
    since: Timestamp,
    age: u64,
    /// By offset; they do not overlap.
    pieces: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
    total: Option<usize>,
    /// What its first fragment says that it carries. RFC 8200 4.5: the others may say something else.
    number: Option<IpNumber>,
    overlap: Overlap,
}

/// Did fragments of a packet contradict each other?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// No, or there were none.
    #[default]
    None,
    /// Yes: the bytes that came first stand.
    Differing,
}

/// What keeping a piece takes beside its bytes.
const OVERHEAD: usize = 96;
/// What keeping a packet takes beside its pieces.
const OVERHEAD_PACKET: usize = 256;
/// The longest payload: more has no place in a packet.
const LONGEST: usize = 65_535;

impl Parts {
    fn cost(&self) -> usize {
        OVERHEAD_PACKET + self.bytes + self.pieces.len() * OVERHEAD
    }

    fn is_whole(&self) -> bool {
        self.total == Some(self.bytes)
    }
}

impl Fragments {
    pub(super) fn counters(&self) -> FragmentCounters {
        FragmentCounters {
            incomplete: self.counters.incomplete + self.packets.len() as u64,
            ..self.counters
        }
    }

    /// How many fragments were put to a packet so far.
    pub(super) fn put(&self) -> u64 {
        self.put
    }

    /// The packets that were given fragments since so many were, each by a number of its own; of the last few only.
    pub(super) fn put_since(&self, before: u64) -> impl Iterator<Item = u64> {
        let slots = self.latest.len() as u64;
        let oldest = before.max(self.put.saturating_sub(slots));
        (oldest..self.put).map(move |number| self.latest[usize::try_from(number % slots).unwrap_or_default()])
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes a fragment in. When it is the last one missing, the packet is written to `whole`, without the options and
    /// extensions that stood before the fragmented part.
    #[cold]
    pub(super) fn push(
        &mut self,
        fragment: &Fragment<'_>,
        now: Timestamp,
        limits: &Limits,
        whole: &mut Vec<u8>,
    ) -> Result<Overlap, Unread> {
        match fragment.source {
            IpAddr::V4(_) => self.counters.ipv4 += 1,
            IpAddr::V6(_) => self.counters.ipv6 += 1,
        }
        // Only a last fragment may end anywhere: what is behind the last eighth byte has no place.
        let length = fragment.payload.len();
        let length = if fragment.more { length & !7 } else { length };
        let payload = &fragment.payload[..length];
        if fragment.offset + length > LONGEST || (fragment.more && payload.is_empty()) {
            return Err(Unread::Malformed);
        }
        self.expire(now, limits);
        let number = match fragment.source {
            IpAddr::V4(_) => fragment.number.0,
            IpAddr::V6(_) => 0,
        };
        let key = (fragment.source, fragment.destination, number, fragment.identification);
        if !self.packets.contains_key(&key) {
            while self.packets.len() >= limits.fragmented_packets.max(1) && self.evict() {}
            self.open(key, now);
        }
        if let Some(parts) = self.packets.get(&key) {
            let slots = self.latest.len() as u64;
            self.latest[usize::try_from(self.put % slots).unwrap_or_default()] = parts.age;
            self.put += 1;
        }
        self.store(key, fragment, payload);
        if self.packets.get(&key).is_some_and(Parts::is_whole)
            && let Some(parts) = self.remove(key)
        {
            self.counters.joined += 1;
            write(fragment, &parts, whole).ok_or(Unread::Malformed)?;
            return Ok(parts.overlap);
        }
        while self.held > limits.fragments_total && self.evict() {}
        Err(Unread::Fragment)
    }

    fn open(&mut self, key: Key, since: Timestamp) {
        let age = self.next_age;
        self.next_age += 1;
        self.ages.insert(age, key);
        self.held += OVERHEAD_PACKET;
        self.packets.insert(
            key,
            Parts {
                since,
                age,
                pieces: BTreeMap::new(),
                bytes: 0,
                total: None,
                number: None,
                overlap: Overlap::None,
            },
        );
    }

    fn store(&mut self, key: Key, fragment: &Fragment<'_>, payload: &[u8]) {
        let Some(parts) = self.packets.get_mut(&key) else {
            return;
        };
        let before = parts.cost();
        let mut met = parts.store(fragment.offset, payload, fragment.more);
        if fragment.offset == 0 {
            met.differing |= *parts.number.get_or_insert(fragment.number) != fragment.number;
        }
        self.held = self.held - before + parts.cost();
        self.counters.overlapping += u64::from(met.overlapping);
        if met.differing {
            self.counters.differing += 1;
            parts.overlap = Overlap::Differing;
        }
    }

    fn remove(&mut self, key: Key) -> Option<Parts> {
        let parts = self.packets.remove(&key)?;
        self.ages.remove(&parts.age);
        self.held -= parts.cost();
        Some(parts)
    }

    /// Lets the oldest go. False when there is none.
    fn evict(&mut self) -> bool {
        let Some((_, &key)) = self.ages.first_key_value() else {
            return false;
        };
        self.counters.over_limit += 1;
        self.remove(key).is_some()
    }

    fn expire(&mut self, now: Timestamp, limits: &Limits) {
        while let Some((_, &key)) = self.ages.first_key_value()
            && let Some(parts) = self.packets.get(&key)
            && now.since(parts.since) > limits.fragment_wait
        {
            self.counters.incomplete += 1;
            self.remove(key);
        }
    }
}

/// What a fragment met with.
#[derive(Default)]
struct Met {
    overlapping: bool,
    differing: bool,
}

impl Parts {
    /// Keeps those parts of a fragment that are not there yet.
    fn store(&mut self, offset: usize, payload: &[u8], more: bool) -> Met {
        let mut met = Met::default();
        let mut end = offset + payload.len();
        match (self.total, more) {
            (None, false) => met.differing |= self.end_at(end),
            // It says that the packet goes on where it was said to end, or ends elsewhere.
            (Some(total), _) if end > total || (!more && end < total) => {
                met.differing = true;
                end = end.min(total);
            }
            _ => {}
        }
        let mut cursor = offset;
        let mut fresh = Vec::new();
        let before = self.pieces.range(..offset).next_back().map(|(&start, _)| start);
        for (&start, piece) in self.pieces.range(before.unwrap_or(offset)..end.max(offset)) {
            let stop = start + piece.len();
            let (from, to) = (start.max(offset), stop.min(end));
            if from >= to {
                continue;
            }
            met.overlapping = true;
            met.differing |= payload[from - offset..to - offset] != piece[from - start..to - start];
            fresh.push(cursor..start);
            cursor = stop;
        }
        fresh.push(cursor..end);
        for part in fresh.into_iter().filter(|part| part.start < part.end) {
            let bytes = &payload[part.start - offset..part.end - offset];
            self.bytes += bytes.len();
            // Those that come in order make one piece.
            match self.pieces.range_mut(..part.start).next_back() {
                Some((&start, piece)) if start + piece.len() == part.start => piece.extend(bytes),
                _ => {
                    self.pieces.insert(part.start, bytes.to_vec());
                }
            }
        }
        met
    }

    /// The packet ends here: what was said to lie behind it is no part of it. True when there was something.
    fn end_at(&mut self, total: usize) -> bool {
        self.total = Some(total);
        let beyond = self.pieces.split_off(&total);
        self.bytes -= beyond.values().map(Vec::len).sum::<usize>();
        let mut differing = !beyond.is_empty();
        if let Some((&start, piece)) = self.pieces.iter_mut().next_back()
            && start + piece.len() > total
        {
            self.bytes -= start + piece.len() - total;
            piece.truncate(total - start);
            differing = true;
        }
        differing
    }
}

/// Writes the whole packet under a header of its own.
fn write(fragment: &Fragment<'_>, parts: &Parts, whole: &mut Vec<u8>) -> Option<()> {
    whole.clear();
    let length = u16::try_from(parts.bytes).ok()?;
    let number = parts.number?;
    match (fragment.source, fragment.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header::new(length, 64, number, source.octets(), destination.octets()).ok()?;
            header.identification = u16::try_from(fragment.identification).ok()?;
            header.header_checksum = header.calc_header_checksum();
            whole.extend(header.to_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: length,
                next_header: number,
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
            };
            whole.extend(header.to_bytes());
        }
        _ => return None,
    }
    parts.pieces.values().for_each(|piece| whole.extend(piece));
    Some(())
}
