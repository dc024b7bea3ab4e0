//! One connection's entry: what it turned out to be, and how it comes to that.

mod opening;
mod probe;

use super::assembler::Assembler;
use super::recognise::{Prefix, recognise};
use super::suspect::{is_padding, urgent};
use super::table::{End, Entry, Key, Worth};
use super::tracked::Tracked;
use super::traffic::{Reason, Seen, TcpState};
use super::{Abandoned, Consumer, Output, Shared, Silence, behind, start};
use crate::capture::At;
use crate::decode::{Segment, Sum};
use crate::limits::Limits;
use crate::time::Timestamp;
use probe::{PROBE_LIMIT, Probe};

/// Entry in the table: at most 128 bytes, which a test holds it to.
pub(super) struct Flow<C> {
    key: Key,
    pub(super) opened: At,
    pub(super) last: Timestamp,
    /// Next sequence number of each end, once its SYN was seen.
    next: [Option<u32>; 2],
    /// Who opened it: the second end?
    opener: Option<bool>,
    /// Which ends sent anything.
    spoke: [bool; 2],
    /// Which checksums of each end's were right: `SEGMENT` and `HEADER`.
    sound: [u8; 2],
    heard: bool,
    /// Is an answer awaited that would be missed?
    awaiting: bool,
    pub(super) closing: bool,
    state: State<C>,
}

/// The checksum of a segment was right.
const SEGMENT: u8 = 1;
/// That of an IP header was.
const HEADER: u8 = 2;

enum State<C> {
    /// No payload yet.
    Fresh(Seen),
    /// The first bytes are late, or too few to tell.
    Probing(Box<Probe>),
    /// Nothing that carries DCE/RPC so far.
    Foreign(Seen),
    /// DCE/RPC, or what may carry it.
    Tracked(Box<Tracked<C>>),
}

impl<C> Entry for Flow<C> {
    fn key(&self) -> &Key {
        &self.key
    }
    fn last(&self) -> Timestamp {
        self.last
    }
    fn worth(&self) -> Worth {
        match self.state {
            State::Tracked(_) => Worth::All,
            State::Fresh(_) if !self.heard => Worth::Nothing,
            _ if self.closing => Worth::Nothing,
            State::Foreign(_) => Worth::Little,
            State::Fresh(_) | State::Probing(_) => Worth::Some,
        }
    }
}

impl<C: Consumer> Flow<C> {
    pub(super) fn new(key: Key, at: At) -> Self {
        let state = State::Fresh(Seen::default());
        Self {
            key,
            opened: at,
            last: at.steady(),
            next: [None; 2],
            opener: None,
            spoke: [false; 2],
            sound: [0; 2],
            heard: false,
            awaiting: false,
            closing: false,
            state,
        }
    }

    pub(super) fn is_followed(&self) -> bool {
        matches!(self.state, State::Tracked(_))
    }

    /// Was it silent for too long? Never of one that is followed.
    #[inline]
    pub(super) fn is_over(&self, now: Timestamp, limits: &Limits) -> bool {
        let silent = now.since(self.last);
        silent > limits.idle_unanswered && silent > self.patience(limits)
    }

    fn patience(&self, limits: &Limits) -> i64 {
        match self.state {
            State::Fresh(_) => limits.idle_unanswered,
            State::Probing(_) | State::Foreign(_) => limits.idle_foreign,
            State::Tracked(_) => i64::MAX,
        }
    }

    /// Is it the connection that was opened then, and closed?
    pub(super) fn is_closing(&self, opened: At) -> bool {
        self.closing && self.opened == opened
    }

    /// When it is over, if it is followed and nothing more comes.
    pub(super) fn due(&self, limits: &Limits) -> Timestamp {
        Timestamp(self.last.0.saturating_add(limits.idle_followed))
    }

    /// Takes its place among those that are followed, when it has become one.
    pub(super) fn schedule(&mut self, slot: u32, shared: &mut Shared) {
        if let State::Tracked(tracked) = &self.state
            && tracked.due.is_none()
        {
            let due = self.due(&shared.bounds.limits);
            self.reschedule(slot, due, shared);
        }
        if let State::Tracked(tracked) = &mut self.state {
            tracked.want(slot, Timestamp(i64::MIN), shared);
        }
    }

    /// The next stage wanted to look at it now, when it was given this place.
    pub(super) fn look(
        &mut self,
        place: (Timestamp, u32),
        now: Timestamp,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if let State::Tracked(tracked) = &mut self.state
            && tracked.wanted == Some(place)
        {
            tracked.wanted = None;
            out(Output::Due(&tracked.connection, &mut tracked.consumer, now));
            // Who wants the same time again has it later: what is due now must come to an end.
            tracked.want(place.1, Timestamp(now.0.saturating_add(1)), shared);
        }
    }

    pub(super) fn reschedule(&mut self, slot: u32, due: Timestamp, shared: &mut Shared) {
        if let State::Tracked(tracked) = &mut self.state {
            tracked.due = Some((due, slot));
            shared.due.insert((due, slot));
            shared.next_due = shared.next_due.min(due);
        }
    }

    /// Does it carry something else, of which this segment tells nothing new? Nearly all traffic is of this kind.
    #[inline]
    pub(super) fn is_passed_by(&self, segment: &Segment<'_>, end: End) -> bool {
        matches!(self.state, State::Foreign(_))
            && self.heard
            && self.spoke[end]
            && !self.awaiting
            && !(segment.syn || segment.fin || segment.rst)
            && !matches!(recognise(segment.payload), Prefix::Known(..))
    }

    /// Takes note of who is there, and whose checksums are right. Of a connection that carries something else, the first
    /// segment of each end is enough: to look at all their bytes is dear.
    #[inline]
    pub(super) fn heed(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared) -> Sum {
        let first = !self.spoke[end];
        if first {
            self.spoke[end] = true;
            shared.counters.heard_both_ways += u64::from(self.heard);
        }
        if first || !matches!(self.state, State::Foreign(_)) {
            self.weigh(segment, end, shared)
        } else {
            Sum::Unchecked
        }
    }

    /// What its checksums say.
    fn weigh(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared) -> Sum {
        let (sum, header) = (segment.sum(), segment.header_sum());
        shared.counters.checksums += u64::from(sum != Sum::Unchecked);
        shared.counters.wrong_checksums += u64::from(matches!(sum, Sum::Wrong | Sum::Offloaded));
        let mut damaged = false;
        for (sum, bit) in [(sum, SEGMENT), (header, HEADER)] {
            self.sound[end] |= if sum == Sum::Right { bit } else { 0 };
            damaged |= sum == Sum::Wrong && self.sound[end] & bit != 0;
        }
        if damaged { Sum::Damaged } else { sum }
    }

    /// What was seen of it, if it is not followed.
    fn seen(&self) -> Seen {
        match &self.state {
            State::Fresh(seen) | State::Foreign(seen) => *seen,
            State::Probing(probe) => probe.seen,
            State::Tracked(_) => Seen::default(),
        }
    }

    /// Counts a packet.
    #[inline]
    pub(super) fn count(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared) {
        match &mut self.state {
            State::Fresh(_)
                if shared
                    .copies
                    .is_copy(segment, self.opened.frame, shared.bounds.limits.copy) => {}
            State::Fresh(seen) | State::Foreign(seen) => seen.count(segment, end),
            State::Probing(probe) => {
                probe.last = segment.at;
                probe.seen.count(segment, end);
                if let Some(syn) = probe.reopening.as_mut().filter(|syn| syn.is(segment, end)) {
                    syn.count(segment);
                }
            }
            State::Tracked(tracked) => {
                // The first packets may come again only now.
                let again = shared
                    .copies
                    .knows(segment, self.opened.frame, shared.bounds.limits.copy);
                tracked.count(segment, end, again, shared);
            }
        }
    }

    /// Does this segment settle whether bytes that are waited for are lost?
    pub(super) fn resolve(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        damaged: bool,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        match &mut self.state {
            State::Tracked(tracked) => {
                tracked.resolve(segment, end, damaged, shared, out);
                if !damaged {
                    tracked.settle_padding(segment, end, shared, out);
                }
            }
            State::Probing(_) if !damaged => self.wait_no_more(segment, end, shared, out),
            _ => {}
        }
    }

    /// What this end acknowledges, the other will not send again.
    pub(super) fn acknowledge(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let Some(acknowledgement) = segment.acknowledgement else {
            return;
        };
        if segment.rst || segment.syn {
            return;
        }
        match &mut self.state {
            State::Tracked(tracked) => {
                tracked.acknowledged(1 - end, acknowledgement, segment, shared, out);
            }
            State::Probing(probe) => {
                probe.acknowledged(1 - end, acknowledgement, shared);
                self.decide(Some(segment), shared, out);
            }
            // Who opened it, and has sent nothing since, acknowledges no more than the other's SYN.
            State::Fresh(_) if self.opener == Some(end == 1) && self.next[end] == Some(segment.sequence) => {
                self.next[1 - end].get_or_insert(acknowledgement);
            }
            State::Fresh(_) | State::Foreign(_) => {}
        }
    }

    /// Takes in a segment with payload, whose checksum says this.
    pub(super) fn payload(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        sum: Sum,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let damaged = sum == Sum::Damaged;
        // RFC 9293 3.10.7.4, fifth: without an ACK flag it is taken by nobody.
        // Six zeros begin nothing that is followed; two may be the length of an SMB message. Padding stands where the stream goes on.
        let refused = damaged
            || (segment.acknowledgement.is_none() && !segment.syn)
            || (is_padding(segment) && segment.payload.len() > 2 && self.is_next(segment, end));
        match &mut self.state {
            State::Tracked(tracked) => {
                tracked.receive(segment, end, damaged, shared, out);
            }
            State::Foreign(_) => {
                if let Prefix::Known(protocol, sender) = recognise(segment.payload) {
                    // What both ends sent before is past: their streams start here.
                    self.next = [None; 2];
                    self.follow(segment, end, protocol, sender, shared);
                    let sum = match sum {
                        Sum::Unchecked => self.weigh(segment, end, shared),
                        known => known,
                    };
                    self.payload(segment, end, sum, shared, out);
                }
            }
            &mut State::Fresh(seen) => {
                let distance = self.next[end].map_or(0, |next| start(segment).wrapping_sub(next));
                match recognise(segment.payload) {
                    Prefix::Known(protocol, sender) if distance == 0 => {
                        self.follow(segment, end, protocol, sender, shared);
                        self.payload(segment, end, sum, shared, out);
                    }
                    // What was not taken tells nothing. What comes beside a SYN may be, but seldom is.
                    _ if refused => {}
                    Prefix::Foreign if segment.syn => {}
                    Prefix::Foreign if distance == 0 && urgent(segment).is_none() => {
                        self.state = State::Foreign(seen);
                    }
                    // Late first bytes, or too few: hold what comes until they tell.
                    _ if (distance as usize) < PROBE_LIMIT => {
                        self.state = State::Probing(Box::new(Probe::new(seen, self.next, segment)));
                        self.probe(segment, end, shared, out);
                    }
                    _ => {
                        self.state = State::Foreign(seen);
                        self.payload(segment, end, sum, shared, out);
                    }
                }
            }
            State::Probing(_) if refused => {}
            State::Probing(_) => self.probe(segment, end, shared, out),
        }
    }

    /// Does it begin where this end's stream goes on, as far as that is known of one that is not followed yet?
    fn is_next(&self, segment: &Segment<'_>, end: End) -> bool {
        let next = match &self.state {
            State::Probing(probe) => probe.streams[end].as_ref().map(Assembler::sequence),
            _ => self.next[end],
        };
        next.is_none_or(|next| next == start(segment))
    }

    /// Does this RST end it? RFC 9293 3.10.7.4: its number has to be the one that is expected.
    fn is_reset(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) -> bool {
        let expected = match &mut self.state {
            State::Tracked(tracked) => {
                let over = tracked.is_reset(segment, end, shared, out);
                if over {
                    tracked.tcp = TcpState::Closed;
                }
                return over;
            }
            State::Probing(probe) => probe.streams[end].as_ref().map(Assembler::sequence),
            State::Fresh(_) => self.next[end],
            State::Foreign(_) => None,
        };
        let over = expected.is_none_or(|expected| expected == segment.sequence);
        shared.counters.stray_resets += u64::from(!over);
        over
    }

    /// Takes note of FIN and RST. True when the connection has just become one to be let go of.
    pub(super) fn close(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) -> bool {
        let mut over = segment.rst && self.is_reset(segment, end, shared, out);
        if segment.fin {
            let stop = if is_padding(segment) {
                start(segment)
            } else {
                behind(segment)
            };
            match &mut self.state {
                State::Tracked(tracked) => {
                    tracked.stop(end, stop, segment.at.steady(), out);
                    tracked.tcp = tracked.tcp.fin(tracked.side(end));
                    over |= tracked.fins[1 - end].is_some() || !self.spoke[1 - end];
                }
                _ => over = true,
            }
        }
        let newly = over && !self.closing;
        self.closing |= over;
        newly
    }

    /// What the next stage keeps for it, if it is followed.
    pub(super) fn consumer(&self) -> Option<&C> {
        match &self.state {
            State::Tracked(tracked) => Some(&tracked.consumer),
            State::Fresh(_) | State::Probing(_) | State::Foreign(_) => None,
        }
    }

    /// Gives it up, if it is followed: nothing held is delivered.
    pub(super) fn abandoned(self) -> Option<Abandoned<C>> {
        match self.state {
            State::Tracked(mut tracked) => Some(Abandoned {
                ended: tracked.ended(Reason::Forced),
                connection: tracked.connection,
                consumer: tracked.consumer,
            }),
            State::Fresh(_) | State::Probing(_) | State::Foreign(_) => None,
        }
    }

    /// Leaves its places among those that are followed.
    pub(super) fn leave(&self, shared: &mut Shared) {
        if let State::Tracked(tracked) = &self.state {
            tracked.leave(shared);
        }
    }

    /// Room for what was delivered and is remembered.
    pub(super) fn remembered(&self) -> usize {
        let streams = match &self.state {
            State::Tracked(tracked) => &tracked.streams,
            State::Probing(probe) => &probe.streams,
            State::Fresh(_) | State::Foreign(_) => return 0,
        };
        streams.iter().flatten().map(Assembler::remembered).sum()
    }

    /// Bytes held back because earlier ones are missing.
    pub(super) fn held(&self) -> usize {
        let (streams, aside) = match &self.state {
            State::Tracked(tracked) => (&tracked.streams, tracked.aside()),
            State::Probing(probe) => (&probe.streams, 0),
            State::Fresh(_) | State::Foreign(_) => return 0,
        };
        streams.iter().flatten().map(Assembler::held).sum::<usize>() + aside
    }

    /// The connection is over: what is held is delivered.
    pub(super) fn end(mut self, reason: Reason, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        if self.awaiting {
            let seed = shared.bounds.limits.community_id_seed;
            self.tell_unanswered(Silence::SoFar, Default::default(), seed, out);
        }
        self.decide_at_end(shared, out);
        match self.state {
            State::Tracked(tracked) => tracked.end(reason, shared, out),
            State::Probing(mut probe) => probe.release(shared),
            State::Fresh(_) | State::Foreign(_) => {}
        }
    }
}
