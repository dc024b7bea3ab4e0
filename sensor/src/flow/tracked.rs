//! A connection that carries DCE/RPC: both directions in order, handed on as they come.
//!
//! An acknowledgement of bytes never seen means that they are lost: a hole before bytes that were seen is declared at once.
//! At the end of what was seen there may be no hole but two packets that changed places, a request and its answer. Then
//! the answer is held back until the request comes, or until it is plain that it will not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::assembler::{Assembler, AssemblerCounters, Bounds, Piece};
use super::copies::Copies;
use super::table::End;
use super::traffic::{Ended, Packets, Reason, TcpState};
use super::{Connection, Consumer, NEVER, Output, Shared, Side, Sides, StreamEvent};
use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::decode::{Overlap, Segment};
use crate::time::Timestamp;

/// What is kept for it.
pub(super) struct Tracked<C> {
    pub(super) connection: Arc<Connection>,
    pub(super) client: End,
    /// Every packet, also those that came before it was followed.
    pub(super) packets: Sides<Packets>,
    /// The last of them.
    pub(super) last: At,
    pub(super) tcp: TcpState,
    /// A SYN was seen in the middle: the sequence number after it.
    pub(super) reopening: Option<u32>,
    pub(super) streams: [Option<Assembler>; 2],
    /// Where each end's stream stops, once its FIN was seen.
    pub(super) fins: [Option<u32>; 2],
    pub(super) doubt: Option<Doubt>,
    /// Where it stands among all that are followed: when it is over unless something comes, and its slot.
    pub(super) due: Option<(Timestamp, u32)>,
    /// The same where the next stage wants to look at it.
    pub(super) wanted: Option<(Timestamp, u32)>,
    pub(super) copies: Copies,
    /// Of each end, segments whose checksum is wrong: read when the other end acknowledges them and nothing else came.
    pub(super) suspects: [Vec<Suspect>; 2],
    /// Anomalies told.
    pub(super) anomalies: u8,
    pub(super) consumer: C,
}

/// A segment put aside.
pub(super) struct Suspect {
    at: At,
    sequence: u32,
    bytes: Vec<u8>,
}

/// So many anomalies are told of one connection.
const MAX_ANOMALIES: u8 = 32;

/// How far ahead of what is expected a RST may lie: more than any window that is in use, as packets may be lost.
const RESET_WINDOW: i32 = 1 << 20;

/// An end acknowledged bytes behind all that was seen of the other.
pub(super) struct Doubt {
    /// The end whose bytes are missing.
    missing: End,
    /// The sequence number up to which they are acknowledged.
    until: u32,
    /// Since when what is held first waits.
    since: Timestamp,
    /// What the acknowledging end sent meanwhile.
    held: VecDeque<Held>,
    bytes: usize,
}

/// A piece that waits for the bytes that its sender had got.
struct Held {
    at: At,
    what: Kept,
    /// The sequence number up to which that was.
    until: u32,
}

enum Kept {
    Bytes(Vec<u8>),
    /// So many bytes will never come.
    Gap(u64),
}

impl Doubt {
    /// The sequence number that what is held first waits for.
    fn first(&self) -> u32 {
        self.held.front().map_or(self.until, |held| held.until)
    }
}

impl<C: Consumer> Tracked<C> {
    /// Takes the place that the next stage wants, not before `least`; one that comes earlier stands until then.
    #[inline]
    pub(super) fn want(&mut self, slot: u32, least: Timestamp, shared: &mut Shared) {
        let due = self.consumer.due().max(least);
        if due < self.wanted.map_or(NEVER, |(at, _)| at) {
            if let Some(later) = self.wanted.replace((due, slot)) {
                shared.wanted.remove(&later);
            }
            shared.wanted.insert((due, slot));
            shared.next_due = shared.next_due.min(due);
        }
    }
}

impl<C> Tracked<C> {
    pub(super) fn side(&self, end: End) -> Side {
        if end == self.client { Side::Client } else { Side::Server }
    }

    /// Counts a packet.
    #[inline]
    pub(super) fn count(&mut self, segment: &Segment<'_>, end: End) {
        self.last = segment.at;
        let side = self.side(end);
        self.packets[side].count(segment.length, segment.flags);
    }

    /// What there is to say at its end.
    pub(super) fn ended(&self, reason: Reason) -> Ended {
        Ended {
            packets: self.packets,
            last: self.last,
            state: Some(self.tcp),
            reason,
        }
    }

    /// Runs one of an end's assembler's operations and hands on what it delivers.
    fn run(
        &mut self,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
        operation: impl FnOnce(&mut Assembler, &mut Bounds, &mut dyn FnMut(Piece<'_>)),
    ) {
        let side = self.side(end);
        let Self {
            connection,
            streams,
            consumer,
            doubt,
            last,
            ..
        } = self;
        let Some(stream) = &mut streams[end] else { return };
        let mut doubt = doubt.as_mut().filter(|doubt| doubt.missing != end);
        operation(stream, &mut shared.bounds, &mut |piece| {
            if let Some(doubt) = &mut doubt {
                let (at, what) = match piece {
                    Piece::Data(at, bytes) => {
                        doubt.bytes += bytes.len();
                        (at, Kept::Bytes(bytes.to_vec()))
                    }
                    Piece::Gap(bytes) => (*last, Kept::Gap(bytes)),
                };
                let until = doubt.until;
                return doubt.held.push_back(Held { at, what, until });
            }
            let event = match piece {
                Piece::Data(at, bytes) => StreamEvent::Data { at, side, bytes },
                Piece::Gap(bytes) => StreamEvent::Gap { side, bytes },
            };
            out(Output::Stream(connection, consumer, event));
        });
    }

    /// Ends a doubt that this segment resolves: the bytes came, later ones did, or it has lasted long enough.
    pub(super) fn resolve(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        while let Some(doubt) = &mut self.doubt {
            let limits = &shared.bounds.limits;
            let now = segment.at.time;
            // The two directions may have clocks of their own: times go back a little wherever they change places.
            if doubt.since.since(now) > limits.doubt {
                doubt.since = now;
            }
            let later = end == doubt.missing && segment.sequence.wrapping_sub(doubt.first()).cast_signed() >= 0;
            if !later && now.since(doubt.since) <= limits.doubt && doubt.bytes <= limits.doubted {
                return;
            }
            self.believe(segment.at.time, shared, out);
        }
    }

    /// Bytes in doubt may have come: what waited for no more than these goes on.
    fn reassure(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &self.doubt else { return };
        if let Some(stream) = &self.streams[doubt.missing] {
            self.release(stream.sequence(), now, out);
        }
    }

    /// The bytes that what is held first waits for are lost.
    fn believe(&mut self, now: Timestamp, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &self.doubt else { return };
        let (missing, until) = (doubt.missing, doubt.first());
        self.run(missing, shared, out, |stream, bounds, out| {
            stream.acknowledged(until, bounds, out);
        });
        self.release(until, now, out);
    }

    /// Hands on what waited for bytes before this sequence number, and ends the doubt when that is all.
    fn release(&mut self, sequence: u32, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        let is_there = |until: u32| sequence.wrapping_sub(until).cast_signed() >= 0;
        while let Some(doubt) = &mut self.doubt {
            let end = 1 - doubt.missing;
            match doubt.held.front() {
                Some(held) if !is_there(held.until) => {
                    doubt.since = held.at.time;
                    return;
                }
                None if !is_there(doubt.until) => {
                    doubt.since = now;
                    return;
                }
                _ => {}
            }
            let Some(Held { at, what, .. }) = doubt.held.pop_front() else {
                self.doubt = None;
                return;
            };
            match what {
                Kept::Bytes(bytes) => {
                    doubt.bytes -= bytes.len();
                    self.deliver(end, &[(at, bytes)], out);
                }
                Kept::Gap(bytes) => {
                    let side = self.side(end);
                    let event = StreamEvent::Gap { side, bytes };
                    out(Output::Stream(&self.connection, &mut self.consumer, event));
                }
            }
        }
    }

    /// Hands on what was held back of an end, in order.
    pub(super) fn deliver(&mut self, end: End, held: &[(At, Vec<u8>)], out: &mut impl FnMut(Output<'_, C>)) {
        let side = self.side(end);
        for &(at, ref bytes) in held {
            let event = StreamEvent::Data { at, side, bytes };
            out(Output::Stream(&self.connection, &mut self.consumer, event));
        }
    }

    /// Takes a segment with payload in. `doubtful` says that its checksum is wrong, and right otherwise on this side.
    pub(super) fn receive(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        doubtful: bool,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if self.copies.is_copy(segment, shared.bounds.limits.copy) {
            shared.counters.copies += 1;
        }
        if segment.marks.overlap == Overlap::Differing {
            let detail = "IP fragments of this packet overlap and differ: the bytes that came first stand";
            self.odd(segment.at, "ip_fragment_overlap_different_data", detail, out);
        }
        if doubtful && self.suspects[end].len() < shared.bounds.limits.suspects {
            shared.counters.suspects += 1;
            let detail = "the checksum is wrong, and right otherwise on this side: read only if the other side \
                          acknowledges these bytes and no others came";
            self.odd(segment.at, "tcp_checksum_wrong", detail, out);
            self.streams[end].get_or_insert_with(|| Assembler::new(segment.sequence));
            self.suspects[end].push(Suspect {
                at: segment.at,
                sequence: segment.sequence,
                bytes: segment.payload.to_vec(),
            });
            return;
        }
        let before = shared.bounds.counters;
        self.push(segment, end, shared, out);
        self.tell(segment.at, before, shared, out);
    }

    /// Tells what the assemblers met with since.
    fn tell(&mut self, at: At, before: AssemblerCounters, shared: &Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let now = &shared.bounds.counters;
        if now.conflicting > before.conflicting {
            let detail = "bytes were sent again and differ: those that came first stand";
            self.odd(at, "tcp_overlap_different_data", detail, out);
        }
        if now.out_of_window > before.out_of_window {
            let detail = "the sequence number is too far from what was expected: passed over";
            self.odd(at, "tcp_out_of_window", detail, out);
        }
    }

    fn odd(&mut self, at: At, name: &'static str, detail: &str, out: &mut impl FnMut(Output<'_, C>)) {
        if self.anomalies < MAX_ANOMALIES {
            self.anomalies += 1;
            let detail = detail.to_owned();
            out(Output::Odd(&self.connection, Anomaly { at, name, detail }));
        }
    }

    /// Does this RST end the connection? One that is far from the stream does not: RFC 9293 3.10.7.4.
    pub(super) fn is_reset(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) -> bool {
        let Some(stream) = &self.streams[end] else { return true };
        let ahead = segment.sequence.wrapping_sub(stream.sequence()).cast_signed();
        // An end that has sent FIN counts one more; one that sends again what was acknowledged, some less.
        let fits = (-RESET_WINDOW..=RESET_WINDOW).contains(&ahead);
        if !fits {
            shared.counters.stray_resets += 1;
            let detail = "the RST's sequence number is far from the stream: passed over";
            self.odd(segment.at, "tcp_reset_out_of_window", detail, out);
        }
        fits
    }

    /// Reads what was put aside of an end and lies before this sequence number, where nothing else came.
    fn readmit(&mut self, end: End, until: Option<u32>, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let due =
            |suspect: &mut Suspect| until.is_none_or(|until| until.wrapping_sub(suspect.sequence).cast_signed() > 0);
        let suspects: Vec<_> = self.suspects[end].extract_if(.., due).collect();
        for suspect in suspects {
            let before = shared.bounds.counters;
            self.run(end, shared, out, |stream, bounds, out| {
                stream.push(suspect.at, suspect.sequence, &suspect.bytes, bounds, out);
            });
            self.tell(suspect.at, before, shared, out);
        }
    }

    fn push(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        self.streams[end].get_or_insert_with(|| Assembler::new(segment.sequence));
        if let Some(acknowledgement) = segment.acknowledgement {
            self.streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        self.run(end, shared, out, |stream, bounds, out| {
            stream.push(segment.at, segment.sequence, segment.payload, bounds, &mut *out);
            if segment.cut > 0 {
                // What the snap length cut off will not come: known now, not when the peer acknowledges it.
                let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
                let end = segment.sequence.wrapping_add(length).wrapping_add(segment.cut);
                stream.cut(segment.sequence.wrapping_add(length), end, bounds, out);
            }
        });
        self.reassure(segment.at.time, out);
    }

    /// The other end acknowledges what `end` sent before this sequence number.
    pub(super) fn acknowledged(
        &mut self,
        end: End,
        acknowledgement: u32,
        now: Timestamp,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if !self.suspects[end].is_empty() {
            self.readmit(end, Some(acknowledgement), shared, out);
        }
        let Some(stream) = &self.streams[end] else { return };
        // A FIN takes a sequence number and brings no byte.
        let until = match self.fins[end] {
            Some(stop) if acknowledgement.wrapping_sub(stop).cast_signed() > 0 => {
                self.tcp = self.tcp.acknowledged(self.side(end));
                stop
            }
            _ => acknowledgement,
        };
        let seen_until = stream.seen_until();
        let unseen = until.wrapping_sub(seen_until).cast_signed();
        let believed = if unseen > 0 { seen_until } else { until };
        self.run(end, shared, out, |stream, bounds, out| {
            stream.acknowledged(believed, bounds, out);
        });
        if unseen <= 0 || unseen.unsigned_abs() > shared.bounds.limits.window {
            return;
        }
        match &mut self.doubt {
            Some(doubt) if doubt.missing == end => doubt.until = until,
            Some(_) => {
                while self.doubt.is_some() {
                    self.believe(now, shared, out);
                }
            }
            None => {
                self.doubt = Some(Doubt {
                    missing: end,
                    until,
                    since: now,
                    held: VecDeque::new(),
                    bytes: 0,
                });
            }
        }
    }

    pub(super) fn end(mut self, reason: Reason, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        shared.tracked -= 1;
        if let Some(due) = self.due {
            shared.due.remove(&due);
        }
        if let Some(wanted) = self.wanted {
            shared.wanted.remove(&wanted);
        }
        for end in [self.client, 1 - self.client] {
            self.readmit(end, None, shared, out);
        }
        while self.doubt.is_some() {
            self.believe(self.last.time, shared, out);
        }
        for end in [self.client, 1 - self.client] {
            self.run(end, shared, out, |stream, bounds, out| stream.finish(bounds, out));
        }
        out(Output::Stream(
            &self.connection,
            &mut self.consumer,
            StreamEvent::Closed,
        ));
        let ended = self.ended(reason);
        out(Output::Ended(&self.connection, &mut self.consumer, ended));
    }
}
