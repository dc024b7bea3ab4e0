//! One connection's entry: what it turned out to be, and how it comes to that.

use std::sync::Arc;

use super::assembler::{Assembler, Piece};
use super::copies::Copies;
use super::recognise::{ENOUGH, Prefix, Protocol, recognise};
use super::reopening::Reopening;
use super::suspect::{is_padding, urgent};
use super::table::{End, Entry, Key, Worth};
use super::tracked::Tracked;
use super::traffic::{Reason, Seen, TcpState};
use super::{Abandoned, Connection, Consumer, Opener, Output, Shared, Side, Sides, Silence, behind, start};
use crate::capture::At;
use crate::decode::{Segment, Sum, Tunnel, VlanTags};
use crate::limits::Limits;
use crate::time::Timestamp;

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

/// The start of both directions, until the first bytes of one tell what it is.
struct Probe {
    seen: Seen,
    reopening: Option<Reopening>,
    streams: [Option<Assembler>; 2],
    heads: [Vec<(At, Vec<u8>)>; 2],
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

/// While probing, more than this is not held back on one side: a first flight, out of order.
const PROBE_LIMIT: usize = 64 << 10;

/// Of the endpoint mapper and of the activator ([MS-RPCE] 2.1.1.1 `NCACN_IP_TCP`): to ask for an object means to
/// come here first.
const MAPPER: u16 = 135;

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

    /// A SYN in the middle, if there was one.
    fn reopening(&mut self) -> Option<&mut Option<Reopening>> {
        match &mut self.state {
            State::Tracked(tracked) => Some(&mut tracked.reopening),
            State::Probing(probe) => Some(&mut probe.reopening),
            State::Fresh(_) | State::Foreign(_) => None,
        }
    }

    /// Another connection may begin here. One that was thought to begin before did not.
    fn may_reopen(&mut self, syn: Reopening) {
        let is_new =
            |before: &Option<Reopening>| !before.is_some_and(|before| (before.end, before.next) == (syn.end, syn.next));
        match &mut self.state {
            State::Tracked(tracked) if is_new(&tracked.reopening) => {
                tracked.take_back();
                tracked.reopening = Some(syn);
            }
            State::Probing(probe) if is_new(&probe.reopening) => probe.reopening = Some(syn),
            _ => {}
        }
    }

    /// SYN and SYN-ACK: who opens, and where each stream starts.
    pub(super) fn shake_hands(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if !segment.syn || segment.rst {
            return;
        }
        let start = segment.sequence.wrapping_add(1);
        let opening = segment.acknowledgement.is_none();
        if self.next[end] == Some(start) && (opening || !matches!(self.state, State::Fresh(_))) {
            return; // sent again, or seen twice
        }
        let (closing, spoke) = (self.closing, self.spoke);
        let mut begun = None;
        if let Some(reopening) = self.reopening() {
            // Where only one direction is seen, there is nobody to acknowledge it.
            let alone = !spoke[1 - end];
            if opening && !closing && !alone {
                self.may_reopen(Reopening::new(segment, end));
                return;
            }
            begun = reopening.take_if(|syn| segment.acknowledgement == Some(syn.next));
            if !opening && !alone && begun.is_none() {
                return;
            }
        } else if !opening && self.next[end].is_some_and(|next| next != start) {
            return; // a second answer that does not fit the first
        }
        if !matches!(self.state, State::Fresh(_)) || (opening && self.next[end].is_some()) {
            let (opened, seen) = begun.map_or_else(
                || (segment.at, Seen::default()),
                |syn| (syn.at, Seen::of(syn.end, syn.packets)),
            );
            let new = Self {
                last: self.last,
                spoke: self.spoke,
                sound: self.sound,
                state: State::Fresh(seen),
                ..Self::new(self.key, opened)
            };
            std::mem::replace(self, new).end(Reason::Reused, shared, out);
            shared.counters.connections += 1;
        }
        self.next[end] = Some(start);
        let opener = if opening { end } else { 1 - end };
        self.opener = Some(opener == 1);
        self.awaiting = opening && self.key.ends[1 - end].port == MAPPER;
        if let Some(acknowledgement) = segment.acknowledgement {
            self.next[1 - end].get_or_insert(acknowledgement);
        }
    }

    /// Says once that there is a connection: its opener was answered, or data flows.
    pub(super) fn announce(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let answered = segment.syn && segment.acknowledgement.is_some();
        if self.heard || segment.rst || (!answered && segment.payload.is_empty()) {
            return;
        }
        self.heard = true;
        shared.counters.heard += 1;
        shared.counters.heard_both_ways += u64::from(self.spoke == [true; 2]);
        let (first, opener_known) = match self.opener {
            Some(opener) => (usize::from(opener), Opener::First),
            None => (end, Opener::Unknown),
        };
        let ends = [self.key.ends[first], self.key.ends[1 - first]];
        out(Output::Heard {
            at: segment.at,
            ends,
            opener_known,
        });
    }

    /// A connection to the mapper's port may stay without an answer; whatever else is acknowledged is one.
    pub(super) fn await_answer(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if !self.awaiting {
            return;
        }
        let by_opener = self.opener.map(usize::from) == Some(end);
        let lasted = segment.at.steady().since(self.opened.steady());
        let silence = match (segment.rst, segment.acknowledgement.is_some()) {
            (true, _) if !by_opener => Silence::Refused,
            (false, false) if segment.syn && lasted >= shared.bounds.limits.connect => Silence::Ignored,
            (false, true) => {
                self.awaiting = false;
                return;
            }
            _ => return,
        };
        let seed = shared.bounds.limits.community_id_seed;
        self.tell_unanswered(silence, (segment.vlan, segment.tunnel.copied()), seed, out);
    }

    fn tell_unanswered(
        &mut self,
        silence: Silence,
        around: (VlanTags, Option<Tunnel>),
        seed: u16,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        self.awaiting = false;
        let Some(opener) = self.opener.map(usize::from) else {
            return;
        };
        let ends = Sides {
            client: self.key.ends[opener],
            server: self.key.ends[1 - opener],
        };
        let connection = Connection::new(ends, around, self.opened, true, Protocol::Rpc, seed);
        out(Output::Unanswered(Arc::new(connection), silence));
    }

    /// Does this segment settle whether acknowledged bytes are lost?
    pub(super) fn resolve(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        damaged: bool,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        if let State::Tracked(tracked) = &mut self.state {
            tracked.resolve(segment, end, damaged, shared, out);
            if !damaged {
                tracked.settle_padding(segment, end, shared, out);
            }
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
                let Probe { streams, heads, .. } = probe.as_mut();
                if let Some(stream) = &mut streams[1 - end] {
                    stream.heard(acknowledgement);
                    // What lies behind all that was seen may come yet.
                    let believed = stream.at_most_seen(acknowledgement);
                    stream.acknowledged(believed, &mut shared.bounds, |piece| {
                        keep(&mut heads[1 - end], piece);
                    });
                }
                self.decide(segment, shared, out);
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
                    self.promote(segment, end, protocol, sender, shared);
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
                        self.promote(segment, end, protocol, sender, shared);
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
                        self.state = State::Probing(Box::new(Probe {
                            seen,
                            reopening: None,
                            streams: self.next.map(|next| next.map(Assembler::new)),
                            heads: [Vec::new(), Vec::new()],
                        }));
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

    fn probe(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let State::Probing(probe) = &mut self.state else { return };
        let Probe { streams, heads, .. } = probe.as_mut();
        if let Some(acknowledgement) = segment.acknowledgement {
            streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        let stream = streams[end].get_or_insert_with(|| Assembler::new(start(segment)));
        stream.urge(urgent(segment));
        // A first flight is short: less is held for a connection that may be anything.
        let limit = std::mem::replace(&mut shared.bounds.limits.reassembly_per_side, PROBE_LIMIT);
        stream.push(
            segment.at,
            start(segment),
            segment.payload,
            &mut shared.bounds,
            |piece| {
                keep(&mut heads[end], piece);
            },
        );
        shared.bounds.limits.reassembly_per_side = limit;
        self.decide(segment, shared, out);
    }

    /// Looks at the first bytes that are there, in order, and makes up its mind when they are enough.
    fn decide(&mut self, segment: &Segment<'_>, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let State::Probing(probe) = &self.state else { return };
        let verdicts = [0, 1].map(|end| {
            let head = probe.heads[end].iter().flat_map(|(_, bytes)| bytes).take(ENOUGH);
            recognise(&head.copied().collect::<Vec<_>>())
        });
        let known = verdicts.iter().enumerate().find_map(|(end, verdict)| match verdict {
            Prefix::Known(protocol, sender) => Some((end, *protocol, *sender)),
            _ => None,
        });
        let foreign = State::Foreign(probe.seen);
        if let Some((end, protocol, sender)) = known {
            let State::Probing(probe) = std::mem::replace(&mut self.state, foreign) else {
                return;
            };
            self.promote(segment, end, protocol, sender, shared);
            let State::Tracked(tracked) = &mut self.state else {
                return;
            };
            tracked.streams = probe.streams;
            tracked.reopening = probe.reopening;
            tracked.tell_urgent(segment.at, out);
            for (end, head) in probe.heads.into_iter().enumerate() {
                tracked.deliver(end, &head, out);
            }
        } else if verdicts.contains(&Prefix::Foreign) {
            let State::Probing(mut probe) = std::mem::replace(&mut self.state, foreign) else {
                return;
            };
            probe.release(shared);
        }
    }

    /// This is a connection to follow, as bytes sent by `end` show.
    fn promote(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        protocol: Protocol,
        sender: Option<Side>,
        shared: &mut Shared,
    ) {
        let client = match (self.opener, sender) {
            // Whoever sent the first SYN: both may have, or the answer to it was one too.
            (_, Some(Side::Client)) => end,
            (Some(opener), _) => usize::from(opener),
            (None, Some(Side::Server)) => 1 - end,
            // Either may have sent it: the server is more likely to have the lesser port.
            (None, None) => usize::from(self.key.ends[0].port < self.key.ends[1].port),
        };
        shared.tracked += 1;
        shared.counters.followed += 1;
        let ends = Sides {
            client: self.key.ends[client],
            server: self.key.ends[1 - client],
        };
        let connection = Arc::new(Connection::new(
            ends,
            (segment.vlan, segment.tunnel.copied()),
            self.opened,
            self.opener.is_some(),
            protocol,
            shared.bounds.limits.community_id_seed,
        ));
        // What was recognised stands at the start of this segment; without a SYN, the other end goes on where this one acknowledges.
        let mut starts = self.next;
        starts[end] = Some(start(segment));
        starts[1 - end] = starts[1 - end].or(segment.acknowledgement);
        let mut copies = Copies::default();
        copies.is_copy(segment, 0, shared.bounds.limits.copy);
        self.state = State::Tracked(Box::new(Tracked {
            connection,
            client,
            packets: self.seen().by_sides(client),
            last: segment.at,
            tcp: TcpState::default(),
            reopening: None,
            streams: starts.map(|start| start.map(Assembler::new)),
            fins: [None; 2],
            doubts: [None, None],
            due: None,
            wanted: None,
            copies,
            suspects: Default::default(),
            stamps: Default::default(),
            full: [false; 2],
            anomalies: 0,
            consumer: C::default(),
        }));
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
        match self.state {
            State::Tracked(tracked) => tracked.end(reason, shared, out),
            State::Probing(mut probe) => probe.release(shared),
            State::Fresh(_) | State::Foreign(_) => {}
        }
    }
}

impl Probe {
    /// Lets go of what is held, which nobody wants.
    fn release(&mut self, shared: &mut Shared) {
        for stream in self.streams.iter_mut().flatten() {
            // Gaps in what nobody reads are no loss.
            let counters = shared.bounds.counters;
            stream.finish(&mut shared.bounds, |_| {});
            shared.bounds.counters = counters;
        }
    }
}

/// Keeps the start of a stream until it is long enough to tell what it is. A gap means a new start.
fn keep(head: &mut Vec<(At, Vec<u8>)>, piece: Piece<'_>) {
    match piece {
        Piece::Data(at, bytes) => head.push((at, bytes.to_vec())),
        Piece::Gap(_) => head.clear(),
    }
}
