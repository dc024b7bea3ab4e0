//! A connection that carries DCE/RPC: both directions in order, handed on as they come.
//!
//! An acknowledgement of bytes never seen means that they are lost: a hole before bytes that were seen is declared at once.
//! At the end of what was seen there may be no hole but two packets that changed places, a request and its answer. Then
//! the answer is held back until the request comes, or for a while. Whoever likes can send an acknowledgement of what
//! nobody sent, so this alone never moves the stream on: their sender has to go on behind the bytes, or to end, or not to
//! be heard at all.

use std::sync::Arc;

use super::assembler::{Assembler, AssemblerCounters, Bounds, Piece};
use super::copies::Copies;
use super::doubt::{Again, Doubt, Held, Kept};
use super::reopening::Reopening;
use super::suspect::{Flaw, Stamps, Suspect, has_no_room, is_padding, urgent};
use super::table::End;
use super::traffic::{Ended, Packets, Reason, TcpState};
use super::{Connection, Consumer, NEVER, Output, Shared, Side, Sides, StreamEvent, start};
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
    /// A SYN was seen in the middle.
    pub(super) reopening: Option<Reopening>,
    pub(super) streams: [Option<Assembler>; 2],
    /// Where each end's stream stops, once its FIN was seen.
    pub(super) fins: [Option<u32>; 2],
    /// Of each end, what the other one acknowledged and nobody saw. One of them at most waits.
    pub(super) doubts: [Option<Doubt>; 2],
    /// Where it stands among all that are followed: when it is over unless something comes, and its slot.
    pub(super) due: Option<(Timestamp, u32)>,
    /// The same where the next stage wants to look at it.
    pub(super) wanted: Option<(Timestamp, u32)>,
    pub(super) copies: Copies,
    /// Of each end, segments that were put aside.
    pub(super) suspects: [Vec<Suspect>; 2],
    pub(super) stamps: [Stamps; 2],
    /// Which ends said last that they have no room.
    pub(super) full: [bool; 2],
    /// Anomalies told.
    pub(super) anomalies: u8,
    pub(super) consumer: C,
}

/// An acknowledgement cannot lie further ahead of all that was seen: more than any window that is in use, as packets may be
/// lost.
const PLAUSIBLE: i32 = 1 << 20;

/// So many anomalies are told of one connection.
const MAX_ANOMALIES: u8 = 32;

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

    /// Counts a packet once, however often the mirror delivers it. `again` says that it was counted before.
    #[inline]
    pub(super) fn count(&mut self, segment: &Segment<'_>, end: End, again: bool, shared: &mut Shared) {
        let reopening = self.reopening.as_mut().filter(|syn| syn.is(segment, end));
        if reopening.is_none() {
            self.last = segment.at;
        }
        if again || self.copies.is_copy(segment, 0, shared.bounds.limits.copy) {
            shared.counters.copies += 1;
            return;
        }
        if let Some(syn) = reopening {
            return syn.count(segment);
        }
        let side = self.side(end);
        self.packets[side].count(segment.length, segment.flags);
    }

    /// A SYN in the middle opened no other connection: it is one of this one's packets.
    pub(super) fn take_back(&mut self) {
        if let Some(syn) = self.reopening.take() {
            let side = self.side(syn.end);
            self.packets[side].add(&syn.packets);
            if self.last.steady() < syn.last.steady() {
                self.last = syn.last;
            }
        }
    }

    /// Leaves its places among those that are followed.
    pub(super) fn leave(&self, shared: &mut Shared) {
        if let Some(due) = self.due {
            shared.due.remove(&due);
        }
        if let Some(wanted) = self.wanted {
            shared.wanted.remove(&wanted);
        }
    }

    /// What there is to say at its end.
    pub(super) fn ended(&mut self, reason: Reason) -> Ended {
        self.take_back();
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
            doubts,
            last,
            ..
        } = self;
        let Some(stream) = &mut streams[end] else { return };
        let mut doubt = doubts[1 - end].as_mut().filter(|doubt| doubt.waits);
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
        damaged: bool,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let now = segment.at.steady();
        let limits = shared.bounds.limits;
        let tells = !(damaged || segment.rst || segment.syn);
        for missing in [end, 1 - end] {
            while let Some(doubt) = &mut self.doubts[missing] {
                // The two directions may have clocks of their own: times go back a little wherever they change places.
                if doubt.since.since(now) > limits.doubt {
                    doubt.since = now;
                }
                let behind = segment.sequence.wrapping_sub(doubt.first());
                if missing == end && tells && behind <= limits.window {
                    self.believe(missing, now, shared, out);
                } else if doubt.waits && (now.since(doubt.since) > limits.doubt || doubt.room() > limits.doubted) {
                    self.wait_no_more(missing, now, shared, out);
                } else {
                    break;
                }
            }
        }
    }

    /// Bytes of an end that are in doubt may have come: what waited for no more than these goes on.
    fn reassure(&mut self, missing: End, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        if let (Some(_), Some(stream)) = (&self.doubts[missing], &self.streams[missing]) {
            self.release(missing, stream.sequence(), now, out);
        }
    }

    /// What was held back goes on without the bytes that it waited for. They are lost where their sender is never heard;
    /// else they may come yet, or are told as lost when it goes on behind them.
    fn wait_no_more(&mut self, missing: End, now: Timestamp, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        if self.packets[self.side(missing)].count == 0 {
            return self.believe(missing, now, shared, out);
        }
        let Some(doubt) = &mut self.doubts[missing] else { return };
        let until = doubt.until;
        // A hole before bytes that were seen is one all the same.
        self.run(missing, shared, out, |stream, bounds, out| {
            stream.acknowledged(stream.at_most_seen(until), bounds, out);
        });
        self.reassure(missing, now, out);
        self.let_go(missing, out);
    }

    /// Hands on all that was held back.
    fn let_go(&mut self, missing: End, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &mut self.doubts[missing] else { return };
        doubt.waits = false;
        doubt.bytes = 0;
        for Held { at, what, .. } in std::mem::take(&mut doubt.held) {
            self.hand_on(1 - missing, at, &what, out);
        }
    }

    /// The bytes that what is held first waits for are lost.
    fn believe(&mut self, missing: End, now: Timestamp, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &self.doubts[missing] else { return };
        let until = doubt.first();
        self.run(missing, shared, out, |stream, bounds, out| {
            stream.acknowledged(until, bounds, out);
        });
        self.release(missing, until, now, out);
    }

    /// Hands on what waited for bytes before this sequence number, and ends the doubt when that is all.
    fn release(&mut self, missing: End, sequence: u32, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        let is_there = |until: u32| sequence.wrapping_sub(until).cast_signed() >= 0;
        let mut went_on = false;
        while let Some(doubt) = &mut self.doubts[missing] {
            if !is_there(doubt.first()) {
                if went_on {
                    doubt.since = doubt.held.front().map_or(now, |held| held.at.steady());
                }
                return;
            }
            went_on = true;
            let Some(Held { at, what, .. }) = doubt.held.pop_front() else {
                self.doubts[missing] = None;
                return;
            };
            if let Kept::Bytes(bytes) = &what {
                doubt.bytes -= bytes.len();
            }
            self.hand_on(1 - missing, at, &what, out);
        }
    }

    /// Hands on what was held back of an end.
    pub(super) fn hand_on(&mut self, end: End, at: At, what: &Kept, out: &mut impl FnMut(Output<'_, C>)) {
        let side = self.side(end);
        let event = match what {
            Kept::Bytes(bytes) => StreamEvent::Data { at, side, bytes },
            &Kept::Gap(bytes) => StreamEvent::Gap { side, bytes },
        };
        out(Output::Stream(&self.connection, &mut self.consumer, event));
    }

    /// An end's stream stops here, as its FIN says.
    pub(super) fn stop(&mut self, end: End, stop: u32, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        self.fins[end] = Some(stop);
        if let Some(doubt) = &mut self.doubts[end] {
            doubt.stop(stop);
            self.reassure(end, now, out);
        }
    }

    /// Takes a segment with payload in. `damaged` says that its checksum is wrong, and right otherwise on this side.
    pub(super) fn receive(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        damaged: bool,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if segment.marks.overlap == Overlap::Differing {
            let detail = "IP fragments of this packet overlap and differ: the bytes that came first stand";
            self.odd(segment.at, "ip_fragment_overlap_different_data", detail, out);
        }
        if let Some(flaw) = self.flaw(segment, end, damaged, shared.bounds.limits.window) {
            shared.counters.suspects += 1;
            if let Some((name, detail)) = flaw.told() {
                self.odd(segment.at, name, detail, out);
            }
            return self.put_aside(segment, end, flaw, shared);
        }
        let before = shared.bounds.counters;
        self.push(segment, end, shared, out);
        if urgent(segment).is_some() {
            self.tell_urgent(segment.at, out);
        }
        self.tell(segment.at, before, shared, out);
    }

    /// Why no host takes this segment. What does not depend on its bytes is asked only where there is somebody to say that it
    /// was taken all the same.
    fn flaw(&mut self, segment: &Segment<'_>, end: End, damaged: bool, window: u32) -> Option<Flaw> {
        if damaged {
            return Some(Flaw::Checksum);
        }
        if segment.syn {
            return Some(Flaw::Syn);
        }
        if is_padding(segment) && self.is_next(segment, end) {
            return Some(Flaw::Padding);
        }
        if self.packets[self.side(1 - end)].count == 0 {
            return None;
        }
        let Some(acknowledgement) = segment.acknowledgement else {
            return Some(Flaw::Unacknowledging);
        };
        if let Some(other) = &self.streams[1 - end] {
            let ahead = acknowledgement.wrapping_sub(other.seen_until()).cast_signed();
            if ahead > PLAUSIBLE || (ahead < 0 && ahead.unsigned_abs() > window) {
                return Some(Flaw::Acknowledgement);
            }
        }
        if self.stamps[end].is_old(segment) {
            return Some(Flaw::Stamp);
        }
        let room = self.streams[end].as_ref().and_then(Assembler::receiver);
        let beyond = room.is_some_and(|room| segment.sequence.wrapping_sub(room).cast_signed() >= 0);
        (self.full[1 - end] && beyond).then_some(Flaw::NoRoom)
    }

    /// Does it begin where its sender's stream goes on, and is nothing known of what stands behind that?
    fn is_next(&self, segment: &Segment<'_>, end: End) -> bool {
        let stream = self.streams[end].as_ref();
        stream.is_none_or(|stream| stream.sequence() == start(segment) && stream.seen_until() == start(segment))
    }

    /// Bytes of what was put aside.
    pub(super) fn aside(&self) -> usize {
        self.suspects.iter().flatten().map(|suspect| suspect.bytes.len()).sum()
    }

    /// Tells that bytes were marked as urgent.
    pub(super) fn tell_urgent(&mut self, at: At, out: &mut impl FnMut(Output<'_, C>)) {
        if self.streams.iter().flatten().any(Assembler::was_urged) {
            let detail = "a byte is marked as urgent: left out, as hosts take it out of the stream";
            self.odd(at, "tcp_urgent_byte", detail, out);
        }
    }

    /// Where there are too many, that which lies furthest ahead is let go of.
    fn put_aside(&mut self, segment: &Segment<'_>, end: End, flaw: Flaw, shared: &mut Shared) {
        let first = start(segment);
        let expected = self.streams[end]
            .get_or_insert_with(|| Assembler::new(first))
            .sequence();
        let suspects = &mut self.suspects[end];
        suspects.push(Suspect {
            at: segment.at,
            sequence: first,
            bytes: segment.payload.to_vec(),
            flaw,
        });
        let bounds = &mut shared.bounds;
        bounds.held += segment.payload.len();
        let limits = bounds.limits;
        while suspects.len() > limits.suspects
            || suspects.iter().map(|suspect| suspect.bytes.len()).sum::<usize>() > limits.reassembly_per_side
            || bounds.held > limits.reassembly_total
        {
            let ahead = |suspect: &Suspect| suspect.sequence.wrapping_sub(expected).cast_signed();
            let Some((furthest, _)) = suspects.iter().enumerate().max_by_key(|(_, suspect)| ahead(suspect)) else {
                break;
            };
            bounds.held -= suspects.swap_remove(furthest).bytes.len();
            bounds.counters.over_limit += 1;
        }
    }

    /// Tells what the assemblers met with since.
    fn tell(&mut self, at: At, before: AssemblerCounters, shared: &Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let now = &shared.bounds.counters;
        if now.conflicting > before.conflicting {
            let detail = "bytes were sent again and differ: those that came first stand";
            self.odd(at, "tcp_overlap_different_data", detail, out);
        }
        if now.late > before.late {
            let detail =
                "bytes came that had been taken for lost, as the other side had acknowledged them: passed over";
            self.odd(at, "tcp_late_data", detail, out);
        }
        if now.let_go > before.let_go {
            let detail = "more lies ahead of what the other side waits for than it has room for: what lies furthest ahead \
                          is let go of";
            self.odd(at, "tcp_far_ahead", detail, out);
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

    /// Does this RST end the connection? RFC 9293 3.10.7.4: its number has to be the very one that is expected. What that is
    /// depends on what was lost here, so that there is more than one.
    pub(super) fn is_reset(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) -> bool {
        let Some(stream) = &self.streams[end] else { return true };
        let expected = [
            Some(stream.sequence()),
            Some(stream.seen_until()),
            stream.receiver(),
            self.fins[end],
            self.fins[end].map(|stop| stop.wrapping_add(1)),
        ];
        let fits = expected.contains(&Some(segment.sequence));
        if !fits {
            shared.counters.stray_resets += 1;
            let detail = "the RST's sequence number is not the one that is expected: passed over";
            self.odd(segment.at, "tcp_reset_out_of_window", detail, out);
        }
        fits
    }

    /// Reads what was put aside of an end and lies before this sequence number, where nothing else came.
    fn readmit(&mut self, end: End, until: u32, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let taken = |suspect: &Suspect| until.wrapping_sub(suspect.sequence).cast_signed();
        let mut suspects: Vec<_> = self.suspects[end]
            .extract_if(.., |suspect| taken(suspect) > 0)
            .collect();
        suspects.sort_by_key(|suspect| (suspect.flaw == Flaw::Padding, suspect.at.frame));
        for suspect in suspects {
            shared.bounds.held -= suspect.bytes.len();
            let stands = self.streams[end].as_ref().map(Assembler::sequence);
            if suspect.flaw == Flaw::Padding && stands != Some(suspect.sequence) {
                continue; // the bytes that stand there came, or wait behind others
            }
            let before = shared.bounds.counters;
            let length = usize::try_from(taken(&suspect)).unwrap_or_default();
            let bytes = &suspect.bytes[..suspect.bytes.len().min(length)];
            self.run(end, shared, out, |stream, bounds, out| {
                stream.push(suspect.at, suspect.sequence, bytes, bounds, out);
            });
            self.tell(suspect.at, before, shared, out);
        }
    }

    /// Whether zeros are padding is told by their sender's next segment: it goes on behind them, or begins where they do.
    pub(super) fn settle_padding(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let next = start(segment);
        let ahead = |suspect: &Suspect| next.wrapping_sub(suspect.sequence);
        let tells = |suspect: &Suspect| suspect.flaw == Flaw::Padding && ahead(suspect) as usize <= suspect.bytes.len();
        let Some(at) = self.suspects[end].iter().position(tells) else {
            return;
        };
        let suspect = &self.suspects[end][at];
        if ahead(suspect) == 0 {
            shared.bounds.held -= self.suspects[end].remove(at).bytes.len();
        } else {
            let behind = suspect.behind();
            self.readmit(end, behind, shared, out);
        }
    }

    /// The connection is over: what was put aside was not taken, or there was nobody to say so.
    fn readmit_unheard(&mut self, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        if self.packets[self.side(1 - end)].count > 0 {
            for suspect in std::mem::take(&mut self.suspects[end]) {
                shared.bounds.held -= suspect.bytes.len();
            }
        }
        while let Some(until) = self.suspects[end].first().map(Suspect::behind) {
            self.readmit(end, until, shared, out);
        }
    }

    fn push(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        self.streams[end].get_or_insert_with(|| Assembler::new(start(segment)));
        if let Some(acknowledgement) = segment.acknowledgement {
            self.streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        self.run(end, shared, out, |stream, bounds, out| {
            stream.urge(urgent(segment));
            stream.push(segment.at, start(segment), segment.payload, bounds, &mut *out);
            if segment.cut > 0 {
                // What the snap length cut off will not come: known now, not when the peer acknowledges it.
                let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
                let end = start(segment).wrapping_add(length);
                stream.cut(end, end.wrapping_add(segment.cut), bounds, out);
            }
        });
        self.reassure(end, segment.at.steady(), out);
    }

    /// The other end acknowledges, by this segment, what `end` sent before this sequence number.
    pub(super) fn acknowledged(
        &mut self,
        end: End,
        acknowledgement: u32,
        segment: &Segment<'_>,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let (now, window) = (segment.at.steady(), shared.bounds.limits.window);
        if let Some(stream) = &mut self.streams[end] {
            stream.heard(acknowledgement);
        }
        // RFC 9293 3.10.7.4: what a segment says that lies outside the window is passed over.
        let sender = self.streams[1 - end].as_ref().map(Assembler::sequence);
        let aside = sender.map_or(0, |expected| segment.sequence.wrapping_sub(expected).cast_signed());
        if aside.unsigned_abs() > window {
            return;
        }
        self.full[1 - end] = has_no_room(segment);
        // A FIN takes a sequence number and brings no byte.
        let until = match self.fins[end] {
            Some(stop) if acknowledgement.wrapping_sub(stop).cast_signed() > 0 => {
                self.tcp = self.tcp.acknowledged(self.side(end));
                stop
            }
            _ => acknowledgement,
        };
        if !self.suspects[end].is_empty() {
            self.readmit(end, until, shared, out);
        }
        let Some(stream) = &self.streams[end] else { return };
        let believed = stream.at_most_seen(until);
        let unread = stream.sequence().wrapping_sub(acknowledgement).cast_signed();
        // Who has got what is held back sends this after it, whatever it seemed to wait for.
        let waits =
            |doubt: &Doubt| doubt.waits && usize::try_from(unread.max(0)).is_ok_and(|unread| unread < doubt.bytes);
        if self.doubts[1 - end].as_ref().is_some_and(waits) {
            self.wait_no_more(1 - end, now, shared, out);
        }
        self.run(end, shared, out, |stream, bounds, out| {
            stream.acknowledged(believed, bounds, out);
        });
        self.reassure(end, now, out);
        let unseen = until.wrapping_sub(believed);
        let again = self.doubts[end].as_mut().map(|doubt| doubt.again(until, segment));
        if again == Some(Again::Less) {
            if self.doubts[end].as_ref().is_some_and(|doubt| !doubt.waits) {
                let detail = "bytes were acknowledged that nobody had sent, as later acknowledgements show";
                self.odd(segment.at, "tcp_acknowledged_unsent", detail, out);
            }
            if unseen == 0 {
                self.let_go(end, out);
                self.doubts[end] = None;
            }
        }
        if unseen == 0 || unseen > window {
            return;
        }
        if again.is_none() || again == Some(Again::More) {
            // Nothing is gained when each end waits for the other.
            if self.doubts[1 - end].as_ref().is_some_and(|doubt| doubt.waits) {
                self.wait_no_more(1 - end, now, shared, out);
            }
            match &mut self.doubts[end] {
                Some(doubt) if !doubt.waits => (doubt.waits, doubt.since) = (true, now),
                Some(_) => {}
                none => *none = Some(Doubt::new(until, segment)),
            }
        }
    }

    pub(super) fn end(mut self, reason: Reason, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        shared.tracked -= 1;
        self.leave(shared);
        for end in [self.client, 1 - self.client] {
            self.readmit_unheard(end, shared, out);
        }
        for end in [self.client, 1 - self.client] {
            while self.doubts[end].is_some() {
                self.believe(end, self.last.steady(), shared, out);
            }
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
