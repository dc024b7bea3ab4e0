//! One direction of one connection, put back in order.
//!
//! INVARIANT: every byte of the stream is delivered exactly once, as data or as part of a gap, in order. Where segments
//! overlap, the bytes that came first stand. A byte that is marked as urgent is no part of it: hosts hand it out beside the
//! stream (RFC 6093 2.2), unless they are told not to, which RPC does not.

use std::collections::BTreeMap;
use std::ops::Range;

use super::past::{Again, Past};
use crate::capture::At;
use crate::limits::Limits;

/// What comes out, in stream order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes, with the frame that brought them.
    Data(At, &'a [u8]),
    /// So many bytes will never come.
    Gap(u64),
}

/// What happened on the way; each counted once per segment or gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblerCounters {
    /// Segments held back because earlier ones were missing.
    pub out_of_order: u64,
    /// Segments, or parts of them, that were there already.
    pub retransmitted: u64,
    /// Overlaps in which the two copies differ.
    pub conflicting: u64,
    /// Bytes that came again and were not remembered: whether they differ is not known.
    pub unchecked: u64,
    /// Segments that brought what had been taken for lost.
    pub late: u64,
    /// Segments too far from what was expected.
    pub out_of_window: u64,
    /// Times that a limit on held bytes, or on what was put aside, was reached: a gap was declared, or what lies furthest
    /// ahead was let go of.
    pub over_limit: u64,
    /// The second of these.
    pub let_go: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Bytes in them.
    pub missing: u64,
    /// Acknowledgements of something new.
    pub acknowledgements: u64,
    /// Those of them that acknowledge what was never seen.
    pub acknowledged_unseen: u64,
}

impl AssemblerCounters {
    /// Counts these as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_add);
    }

    /// What was counted since then.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.combine(before, u64::wrapping_sub);
        self
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        let Self {
            out_of_order,
            retransmitted,
            conflicting,
            unchecked,
            late,
            out_of_window,
            over_limit,
            let_go,
            gaps,
            missing,
            acknowledgements,
            acknowledged_unseen,
        } = self;
        let pairs = [
            (out_of_order, other.out_of_order),
            (retransmitted, other.retransmitted),
            (conflicting, other.conflicting),
            (unchecked, other.unchecked),
            (late, other.late),
            (out_of_window, other.out_of_window),
            (over_limit, other.over_limit),
            (let_go, other.let_go),
            (gaps, other.gaps),
            (missing, other.missing),
            (acknowledgements, other.acknowledgements),
            (acknowledged_unseen, other.acknowledged_unseen),
        ];
        for (count, more) in pairs {
            *count = with(*count, more);
        }
    }
}

/// A segment's payload, or what of it was not there yet.
#[derive(Debug)]
struct Chunk {
    at: At,
    bytes: Vec<u8>,
    /// It is taken out of the stream.
    urgent: bool,
}

/// The room that a chunk takes beside its bytes: nodes of the tree may be half empty, and memory is handed out in steps.
const BESIDE: usize = 2 * size_of::<(u64, Chunk)>();

impl Chunk {
    fn room(&self) -> usize {
        BESIDE + self.bytes.len()
    }
}

/// What all assemblers share: the caps, how much is held, and what was met with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// The caps.
    pub limits: Limits,
    /// The room that what is held takes on all connections together.
    pub held: usize,
    /// Delivered bytes that are remembered on all connections together.
    pub remembered: usize,
    /// What happened on the way.
    pub counters: AssemblerCounters,
}

/// One direction of a stream. Positions are 64-bit: they count from the first byte wanted and never wrap.
#[derive(Debug)]
pub struct Assembler {
    /// The sequence number of the byte at `position`.
    sequence: u32,
    /// How many bytes were delivered or declared missing.
    position: u64,
    /// What came early, by position; chunks do not overlap.
    early: BTreeMap<u64, Chunk>,
    /// The room that they take.
    held: usize,
    /// Where the last gap lay that was declared because its bytes seemed lost.
    lost: Range<u64>,
    /// Segments in a row that lay outside the window.
    strays: u8,
    /// Everything before this sequence number was acknowledged.
    acknowledged: u32,
    /// What the receiver acknowledged last, believed or not, where it is heard.
    receiver: Option<u32>,
    /// Bytes let go of since, as they lay further ahead than the hole that it waits for.
    let_go: u64,
    /// The sequence number of the last byte that was marked as urgent.
    urgent: Option<u32>,
    past: Past,
}

/// So many stray segments in a row mean that it is we who lost the thread.
const MAX_STRAYS: u8 = 16;

impl Assembler {
    /// A stream whose next byte has this sequence number.
    pub fn new(sequence: u32) -> Self {
        Self {
            sequence,
            position: 0,
            early: BTreeMap::new(),
            held: 0,
            lost: 0..0,
            strays: 0,
            acknowledged: sequence,
            receiver: None,
            let_go: 0,
            urgent: None,
            past: Past::default(),
        }
    }

    /// The sender marks the byte with this sequence number as urgent. What goes over the wire later does not take that back.
    pub fn urge(&mut self, urgent: Option<u32>) {
        if let Some(urgent) = urgent
            && self
                .urgent
                .is_none_or(|known| urgent.wrapping_sub(known).cast_signed() > 0)
        {
            self.urgent = Some(urgent);
        }
    }

    /// Was a byte marked as urgent?
    pub fn was_urged(&self) -> bool {
        self.urgent.is_some()
    }

    /// Takes a segment's payload in.
    pub fn push(&mut self, at: At, sequence: u32, payload: &[u8], bounds: &mut Bounds, mut out: impl FnMut(Piece<'_>)) {
        let urgent = self.urgent.map(|urgent| urgent.wrapping_sub(sequence) as usize);
        let Some(urgent) = urgent.filter(|&urgent| urgent < payload.len()) else {
            return self.take(at, sequence, payload, false, bounds, &mut out);
        };
        let parts = [
            (0, urgent, false),
            (urgent, urgent + 1, true),
            (urgent + 1, payload.len(), false),
        ];
        for (from, to, urgent) in parts {
            if from < to {
                let sequence = sequence.wrapping_add(u32::try_from(from).unwrap_or(u32::MAX));
                self.take(at, sequence, &payload[from..to], urgent, bounds, &mut out);
            }
        }
    }

    fn take(
        &mut self,
        at: At,
        sequence: u32,
        payload: &[u8],
        urgent: bool,
        bounds: &mut Bounds,
        out: &mut impl FnMut(Piece<'_>),
    ) {
        let distance = sequence.wrapping_sub(self.sequence).cast_signed();
        if distance > 0 && distance.unsigned_abs() > bounds.limits.window {
            bounds.counters.out_of_window += 1;
            self.strays = self.strays.saturating_add(1);
            // Where the receiver is heard, it has to be there too.
            let elsewhere = self.receiver.is_some_and(|receiver| {
                sequence.wrapping_sub(receiver).cast_signed().unsigned_abs() > bounds.limits.window
            });
            if self.strays < MAX_STRAYS || elsewhere {
                return;
            }
            self.give_up_to(self.position + u64::from(distance.unsigned_abs()), bounds, out);
        }
        self.strays = 0;
        let distance = sequence.wrapping_sub(self.sequence).cast_signed();
        let (start, payload) = if distance < 0 {
            bounds.counters.retransmitted += 1;
            let known = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
            let from = self.position.saturating_sub(known as u64);
            let late = from.max(self.lost.start) < (from + payload.len() as u64).min(self.lost.end);
            bounds.counters.late += u64::from(late);
            match self.past.compare(known, payload) {
                // RFC 9293 3.8.4: a keep-alive may carry one byte of garbage.
                _ if (known, payload.len()) == (1, 1) => {}
                Again::Same => {}
                Again::Differing => bounds.counters.conflicting += 1,
                Again::Unknown => bounds.counters.unchecked += 1,
            }
            (self.position, payload.get(known..).unwrap_or_default())
        } else {
            (self.position + u64::from(distance.unsigned_abs()), payload)
        };
        if payload.is_empty() {
            return;
        }
        if start == self.position && self.early.is_empty() {
            self.deliver(at, payload, urgent, bounds, out);
            return;
        }
        if start > self.position {
            bounds.counters.out_of_order += 1;
        }
        self.store(at, start, payload, urgent, bounds);
        self.drain(bounds, out);
        while self.held > bounds.limits.reassembly_per_side
            || (bounds.held > bounds.limits.reassembly_total && self.held > 0)
        {
            bounds.counters.over_limit += 1;
            if self.receiver_waits(bounds) {
                self.let_go_furthest(bounds);
            } else {
                self.skip_hole(bounds, out);
            }
        }
    }

    /// The receiver acknowledges everything before this sequence number, or says so.
    pub fn heard(&mut self, acknowledgement: u32) {
        self.receiver = Some(acknowledgement);
        self.let_go = 0;
    }

    /// Does the receiver, too, wait for what is missing? It may have fallen silent since.
    fn receiver_waits(&self, bounds: &Bounds) -> bool {
        self.let_go <= u64::from(bounds.limits.window)
            && self
                .receiver
                .is_some_and(|receiver| self.sequence.wrapping_sub(receiver).cast_signed() >= 0)
    }

    /// Forgets what lies furthest ahead: more than a receiver has room for.
    fn let_go_furthest(&mut self, bounds: &mut Bounds) {
        if let Some((_, chunk)) = self.early.pop_last() {
            self.held -= chunk.room();
            bounds.held -= chunk.room();
            self.let_go += chunk.bytes.len() as u64;
            bounds.counters.let_go += 1;
        }
    }

    /// The peer acknowledges everything before this sequence number: what of it was not seen will not come.
    pub fn acknowledged(&mut self, acknowledgement: u32, bounds: &mut Bounds, mut out: impl FnMut(Piece<'_>)) {
        let gaps = bounds.counters.gaps;
        self.give_up_before(acknowledgement, bounds, &mut out);
        if acknowledgement.wrapping_sub(self.acknowledged).cast_signed() > 0 {
            self.acknowledged = acknowledgement;
            bounds.counters.acknowledgements += 1;
            bounds.counters.acknowledged_unseen += u64::from(bounds.counters.gaps > gaps);
        }
    }

    /// The bytes from `from` to `until` were never captured. Declared when their turn has come.
    pub fn cut(&mut self, from: u32, until: u32, bounds: &mut Bounds, mut out: impl FnMut(Piece<'_>)) {
        if from == self.sequence {
            self.give_up_before(until, bounds, &mut out);
            // When it is sent again, that is no surprise.
            self.lost = 0..0;
        }
    }

    /// Nothing more will come: deliver what is held, declaring the holes before it.
    pub fn finish(&mut self, bounds: &mut Bounds, mut out: impl FnMut(Piece<'_>)) {
        while !self.early.is_empty() {
            self.skip_hole(bounds, &mut out);
        }
        self.past.forget(bounds);
    }

    /// Declares what is missing before a sequence number, if that lies within the window.
    fn give_up_before(&mut self, until: u32, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        let ahead = until.wrapping_sub(self.sequence).cast_signed();
        if ahead > 0 && ahead.unsigned_abs() <= bounds.limits.window {
            self.give_up_to(self.position + u64::from(ahead.unsigned_abs()), bounds, out);
        }
    }

    /// Declares every hole before `until` missing and delivers what stands between them.
    fn give_up_to(&mut self, until: u64, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        while self.position < until {
            let next = self
                .early
                .first_key_value()
                .map_or(until, |(&start, _)| start.min(until));
            self.gap(next - self.position, bounds, out);
            self.drain(bounds, out);
        }
    }

    /// Since when something waits for what is missing before it.
    pub fn waits_since(&self) -> Option<At> {
        self.early.first_key_value().map(|(_, chunk)| chunk.at)
    }

    /// Declares the first hole missing and delivers what stands behind it.
    pub fn skip_hole(&mut self, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        if let Some((&start, _)) = self.early.first_key_value() {
            self.gap(start - self.position, bounds, out);
            self.drain(bounds, out);
        }
    }

    fn gap(&mut self, bytes: u64, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        if bytes > 0 {
            bounds.counters.gaps += 1;
            bounds.counters.missing += bytes;
            self.past.forget(bounds);
            self.lost = self.position..self.position + bytes;
            self.advance(bytes);
            out(Piece::Gap(bytes));
        }
    }

    fn deliver(&mut self, at: At, bytes: &[u8], urgent: bool, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        self.past.remember(bytes, bounds);
        self.advance(bytes.len() as u64);
        if !urgent {
            out(Piece::Data(at, bytes));
        }
    }

    /// Sequence numbers wrap: the low half of the distance is what moves them.
    fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        self.sequence = self
            .sequence
            .wrapping_add(u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or_default());
    }

    /// Delivers the held chunks that have become due.
    fn drain(&mut self, bounds: &mut Bounds, out: &mut impl FnMut(Piece<'_>)) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() != self.position {
                break;
            }
            let chunk = entry.remove();
            self.held -= chunk.room();
            bounds.held -= chunk.room();
            self.deliver(chunk.at, &chunk.bytes, chunk.urgent, bounds, out);
        }
    }

    /// Keeps those parts of `payload` that are not held yet.
    fn store(&mut self, at: At, start: u64, payload: &[u8], urgent: bool, bounds: &mut Bounds) {
        let end = start + payload.len() as u64;
        let mut cursor = start;
        let mut fresh = Vec::new();
        let before = self.early.range(..start).next_back().map(|(&position, _)| position);
        for (&position, chunk) in self.early.range(before.unwrap_or(start)..end) {
            let chunk_end = position + chunk.bytes.len() as u64;
            if chunk_end <= start {
                continue;
            }
            bounds.counters.retransmitted += 1;
            let (from, to) = (position.max(start), chunk_end.min(end));
            if slice(payload, start, from, to) != slice(&chunk.bytes, position, from, to) {
                bounds.counters.conflicting += 1;
            }
            fresh.push((cursor, position.max(cursor)));
            cursor = cursor.max(chunk_end);
        }
        fresh.push((cursor, end.max(cursor)));
        for (from, to) in fresh.into_iter().filter(|(from, to)| from < to) {
            let bytes = slice(payload, start, from, to).to_vec();
            let chunk = Chunk { at, bytes, urgent };
            self.held += chunk.room();
            bounds.held += chunk.room();
            self.early.insert(from, chunk);
        }
    }

    /// The sequence number of the next byte to be delivered.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The sequence number after the last byte that was seen, holes before it or not.
    pub fn seen_until(&self) -> u32 {
        let ahead = self.early.last_key_value();
        let ahead = ahead.map_or(0, |(&start, chunk)| start + chunk.bytes.len() as u64 - self.position);
        self.sequence.wrapping_add(u32::try_from(ahead).unwrap_or(u32::MAX))
    }

    /// That sequence number, or the one after the last byte that was seen where it lies behind it.
    pub fn at_most_seen(&self, sequence: u32) -> u32 {
        let seen_until = self.seen_until();
        if sequence.wrapping_sub(seen_until).cast_signed() > 0 {
            seen_until
        } else {
            sequence
        }
    }

    /// What the receiver acknowledged last, where it is heard.
    pub fn receiver(&self) -> Option<u32> {
        self.receiver
    }

    /// Room for what was delivered and is remembered.
    pub(super) fn remembered(&self) -> usize {
        self.past.room()
    }

    /// The room that what is held here takes.
    pub fn held(&self) -> usize {
        self.held
    }
}

/// The part of `bytes`, which begin at position `base`, from `from` to `to`.
fn slice(bytes: &[u8], base: u64, from: u64, to: u64) -> &[u8] {
    let index = |position: u64| usize::try_from(position - base).unwrap_or(usize::MAX);
    bytes.get(index(from)..index(to)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What came out: Some(byte) or None for a missing one.
    type Stream = Vec<Option<u8>>;

    struct Rig {
        assembler: Assembler,
        bounds: Bounds,
        out: Stream,
    }

    impl Rig {
        fn new(sequence: u32) -> Self {
            Self {
                assembler: Assembler::new(sequence),
                bounds: Bounds {
                    limits: Limits {
                        reassembly_per_side: 1 << 16,
                        ..Limits::default()
                    },
                    ..Bounds::default()
                },
                out: Vec::new(),
            }
        }

        fn push(&mut self, sequence: u32, payload: &[u8]) {
            let Self {
                assembler, bounds, out, ..
            } = self;
            assembler.push(At::default(), sequence, payload, bounds, |piece| collect(out, piece));
        }

        fn acknowledged(&mut self, acknowledgement: u32) {
            let Self {
                assembler, bounds, out, ..
            } = self;
            assembler.acknowledged(acknowledgement, bounds, |piece| collect(out, piece));
        }

        fn finish(&mut self) {
            let Self {
                assembler, bounds, out, ..
            } = self;
            assembler.finish(bounds, |piece| collect(out, piece));
        }
    }

    fn collect(out: &mut Stream, piece: Piece<'_>) {
        match piece {
            Piece::Data(_, bytes) => out.extend(bytes.iter().copied().map(Some)),
            Piece::Gap(bytes) => out.extend((0..bytes).map(|_| None)),
        }
    }

    fn text(stream: &Stream) -> String {
        stream.iter().map(|byte| byte.map_or('_', char::from)).collect()
    }

    #[test]
    fn order_is_restored_across_the_wrap_of_sequence_numbers() {
        let mut rig = Rig::new(u32::MAX - 2);
        rig.push(u32::MAX.wrapping_add(4), b"hi");
        rig.push(u32::MAX - 2, b"abc");
        rig.push(0, b"def");
        assert_eq!(text(&rig.out), "abcdefhi");
        assert_eq!((rig.bounds.counters.out_of_order, rig.bounds.held), (1, 0));
    }

    #[test]
    fn the_bytes_that_came_first_stand_and_a_conflict_is_counted() {
        let mut rig = Rig::new(0);
        rig.push(2, b"cd");
        rig.push(1, b"XYZ");
        rig.push(0, b"abcdef");
        assert_eq!(text(&rig.out), "aXcdef");
        assert_eq!(rig.bounds.counters.conflicting, 2);
        // What was delivered is compared too.
        rig.push(3, b"def");
        assert_eq!(rig.bounds.counters.conflicting, 2);
        rig.push(3, b"dEfgh");
        assert_eq!(
            (text(&rig.out).as_str(), rig.bounds.counters.conflicting),
            ("aXcdefgh", 3)
        );
    }

    #[test]
    fn an_acknowledgement_of_bytes_never_seen_declares_the_gap_at_once() {
        let mut rig = Rig::new(100);
        rig.push(104, b"efgh");
        assert_eq!(text(&rig.out), "");
        rig.acknowledged(108);
        assert_eq!(text(&rig.out), "____efgh");
        rig.push(100, b"abcd");
        assert_eq!((text(&rig.out).as_str(), rig.bounds.counters.missing), ("____efgh", 4));
    }

    #[test]
    fn an_acknowledgement_between_holes_leaves_the_later_one_open() {
        let mut rig = Rig::new(0);
        rig.push(2, b"c");
        rig.push(5, b"f");
        rig.acknowledged(3);
        assert_eq!(text(&rig.out), "__c");
        rig.push(3, b"de");
        assert_eq!(text(&rig.out), "__cdef");
    }

    #[test]
    fn a_byte_marked_as_urgent_is_taken_out_wherever_it_lies() {
        let mut rig = Rig::new(u32::MAX - 2);
        rig.assembler.urge(Some(2));
        rig.push(2, b"!fg");
        rig.push(1, b"e!");
        assert_eq!(text(&rig.out), "");
        rig.push(u32::MAX - 2, b"abcd");
        assert_eq!(text(&rig.out), "abcdefg");
        rig.assembler.urge(Some(5));
        rig.push(5, b"!");
        rig.push(4, b"g!h");
        assert_eq!(text(&rig.out), "abcdefgh");
        assert_eq!((rig.bounds.counters.missing, rig.bounds.counters.conflicting), (0, 0));
        rig.finish();
        assert_eq!(rig.bounds.held, 0);
    }

    #[test]
    fn held_bytes_are_bounded() {
        let mut rig = Rig::new(0);
        for index in 0..100_u32 {
            rig.push(1000 + index * 2000, &[7; 1000]);
            assert!(rig.bounds.held <= rig.bounds.limits.reassembly_per_side);
        }
        assert!(rig.bounds.counters.over_limit > 0);
        rig.finish();
        assert_eq!((rig.bounds.held, rig.bounds.counters.missing), (0, 100_000));
    }

    #[test]
    fn what_is_held_in_single_bytes_counts_by_its_room() {
        let mut rig = Rig::new(0);
        for index in 0..10_000_u32 {
            rig.push(1000 + index * 2, b"x");
            assert!(rig.assembler.early.len() * BESIDE <= rig.bounds.limits.reassembly_per_side);
        }
        rig.finish();
        assert_eq!(rig.bounds.held, 0);
    }

    #[test]
    fn what_lies_furthest_ahead_is_let_go_of_while_the_receiver_waits_for_what_is_missing() {
        let mut rig = Rig::new(0);
        rig.assembler.heard(0);
        for index in 0..200_u32 {
            rig.push(10 + index * 1000, &[7; 1000]);
            assert!(rig.bounds.held <= rig.bounds.limits.reassembly_per_side);
        }
        let held = rig.bounds.limits.reassembly_per_side / (1000 + BESIDE);
        let let_go = 200 - u64::try_from(held).unwrap();
        assert_eq!((rig.out.len(), rig.bounds.counters.let_go), (0, let_go));
        rig.push(0, &[1; 10]);
        assert_eq!((rig.out.len(), rig.bounds.counters.missing), (10 + held * 1000, 0));
        // It falls silent: there is nobody to say what is lost.
        let mut rig = Rig::new(0);
        rig.bounds.limits.window = 100_000;
        rig.assembler.heard(0);
        for index in 0..200_u32 {
            rig.push(10 + index * 400, &[7; 400]);
        }
        assert!(rig.out.is_empty());
        for _ in 0..300 {
            rig.push(90_000, &[7; 400]);
        }
        assert_eq!(rig.bounds.counters.gaps, 1);
    }

    #[test]
    fn a_far_jump_is_not_believed_while_the_receiver_is_elsewhere() {
        let mut rig = Rig::new(0);
        rig.bounds.limits.window = 1 << 10;
        rig.assembler.heard(0);
        for index in 0..300 {
            rig.push((1 << 16) + index, b"x");
        }
        rig.push(0, b"real");
        assert_eq!(text(&rig.out), "real");
        for index in 0..20 {
            rig.assembler.heard((1 << 16) + index);
            rig.push((1 << 16) + index, b"y");
        }
        assert_eq!(rig.out.last(), Some(&Some(b'y')));
    }

    #[test]
    fn a_far_jump_is_believed_only_when_it_persists() {
        let mut rig = Rig::new(0);
        rig.bounds.limits.window = 1 << 10;
        rig.push(1 << 16, b"stray");
        assert_eq!((rig.out.len(), rig.bounds.counters.out_of_window), (0, 1));
        for index in 0..16 {
            rig.push((1 << 16) + index, b"x");
        }
        assert!(rig.bounds.counters.gaps == 1 && rig.out.last() == Some(&Some(b'x')));
    }

    proptest! {
        /// The obviously right model: a map of bytes in which the first writer wins.
        #[test]
        fn the_assembler_equals_a_bitmap(
            start: u32,
            segments in proptest::collection::vec((0..60_u32, proptest::collection::vec(any::<u8>(), 1..20)), 0..40),
            acknowledgement in proptest::option::of(0..80_u32),
        ) {
            let mut rig = Rig::new(start);
            let mut model: Vec<Option<u8>> = vec![None; 100];
            let mut highest = 0;
            for (offset, payload) in &segments {
                rig.push(start.wrapping_add(*offset), payload);
                let base = *offset as usize;
                for (index, &byte) in payload.iter().enumerate() {
                    model[base + index].get_or_insert(byte);
                }
                highest = highest.max(base + payload.len());
            }
            if let Some(acknowledgement) = acknowledgement {
                rig.acknowledged(start.wrapping_add(acknowledgement));
                highest = highest.max(acknowledgement as usize);
            }
            rig.finish();
            prop_assert_eq!(&rig.out[..], &model[..highest]);
            prop_assert_eq!(rig.bounds.held, 0);
            prop_assert_eq!(rig.assembler.held(), 0);
            prop_assert_eq!(rig.bounds.remembered, 0);
            prop_assert_eq!(usize::try_from(rig.bounds.counters.missing).unwrap(), model[..highest].iter().filter(|b| b.is_none()).count());
        }
    }
}
