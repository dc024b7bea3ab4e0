//! What a connection turns out to be, by the first bytes of both directions.

use std::mem;
use std::sync::Arc;

use super::{Flow, State};
use crate::capture::At;
use crate::decode::Segment;
use crate::flow::assembler::{Assembler, AssemblerCounters, Bounds, Piece};
use crate::flow::connection::Wrapped;
use crate::flow::copies::Copies;
use crate::flow::doubt::Kept;
use crate::flow::recognise::{ENOUGH, Prefix, Protocol, recognise};
use crate::flow::reopening::Reopening;
use crate::flow::suspect::urgent;
use crate::flow::table::End;
use crate::flow::tracked::Tracked;
use crate::flow::traffic::{Seen, TcpState};
use crate::flow::{Connection, Consumer, Output, Shared, Side, Sides, start};
use crate::time::Timestamp;

/// While probing, more than this is not held back on one side: a first flight, out of order.
pub(super) const PROBE_LIMIT: usize = 64 << 10;

/// The start of both directions, until the first bytes of one tell what it is.
pub(super) struct Probe {
    pub(super) seen: Seen,
    /// Its last packet, and what it came in.
    pub(super) last: At,
    wrapped: Wrapped,
    pub(super) reopening: Option<Reopening>,
    pub(super) streams: [Option<Assembler>; 2],
    heads: [Vec<(At, Kept)>; 2],
    /// What putting its streams in order met with. It counts once it is followed: gaps in what nobody reads are no loss.
    counters: AssemblerCounters,
}

impl Probe {
    /// Of a connection of which so much was seen, and whose streams start here, as far as that is known.
    pub(super) fn new(seen: Seen, next: [Option<u32>; 2], segment: &Segment<'_>) -> Self {
        Self {
            seen,
            last: segment.at,
            wrapped: wrapped(segment),
            reopening: None,
            streams: next.map(|next| next.map(Assembler::new)),
            heads: [Vec::new(), Vec::new()],
            counters: AssemblerCounters::default(),
        }
    }

    /// Runs one of an end's assembler's operations and keeps what it delivers.
    fn run(
        &mut self,
        end: End,
        bounds: &mut Bounds,
        operation: impl FnOnce(&mut Assembler, &mut Bounds, &mut dyn FnMut(Piece<'_>)),
    ) {
        let Some(stream) = &mut self.streams[end] else { return };
        let before = bounds.counters;
        operation(stream, bounds, &mut |piece| {
            keep(&mut self.heads[end], self.last, piece);
        });
        // Taken out behind it, not put aside before: a panic in it may cost this connection, and no count.
        let after = mem::replace(&mut bounds.counters, before);
        self.counters.add(&after.since(&before));
    }

    /// What `end` sent is acknowledged: it will not be sent again.
    pub(super) fn acknowledged(&mut self, end: End, acknowledgement: u32, shared: &mut Shared) {
        self.run(end, &mut shared.bounds, |stream, bounds, out| {
            stream.heard(acknowledgement);
            // What lies behind all that was seen may come yet.
            stream.acknowledged(stream.at_most_seen(acknowledgement), bounds, out);
        });
    }

    /// Since when what came waits for what `end` sent before it.
    fn waits_since(&self, end: End) -> Option<Timestamp> {
        let stream = self.streams[end].as_ref()?;
        stream.waits_since().map(|at| at.steady())
    }

    /// What `end` sent before what came is lost.
    fn give_up(&mut self, end: End, shared: &mut Shared) {
        self.run(end, &mut shared.bounds, |stream, bounds, mut out| {
            stream.skip_hole(bounds, &mut out);
        });
    }

    /// Lets go of what is held, which nobody wants.
    pub(super) fn release(&mut self, shared: &mut Shared) {
        for end in [0, 1] {
            self.run(end, &mut shared.bounds, |stream, bounds, out| {
                stream.finish(bounds, out);
            });
        }
    }
}

impl<C: Consumer> Flow<C> {
    /// Takes in a segment with payload of one that nobody can tell yet.
    pub(super) fn probe(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let State::Probing(probe) = &mut self.state else { return };
        if let Some(acknowledgement) = segment.acknowledgement {
            probe.streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        let stream = probe.streams[end].get_or_insert_with(|| Assembler::new(start(segment)));
        stream.urge(urgent(segment));
        // A first flight is short: less is held for a connection that may be anything.
        let limit = mem::replace(&mut shared.bounds.limits.reassembly_per_side, PROBE_LIMIT);
        probe.run(end, &mut shared.bounds, |stream, bounds, out| {
            stream.push(segment.at, start(segment), segment.payload, bounds, out);
        });
        shared.bounds.limits.reassembly_per_side = limit;
        self.decide(Some(segment), shared, out);
    }

    /// Where only one end is heard, nobody acknowledges anything. What it went on behind for a while, or until its end, is lost.
    pub(super) fn wait_no_more(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let State::Probing(probe) = &mut self.state else { return };
        let waited = |since| segment.fin || segment.at.steady().since(since) > shared.bounds.limits.doubt;
        if !self.spoke[1 - end] && probe.waits_since(end).is_some_and(waited) {
            probe.give_up(end, shared);
            self.decide(Some(segment), shared, out);
        }
    }

    /// The connection is over: what is missing at the beginning does not come any more.
    pub(super) fn decide_at_end(&mut self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let State::Probing(probe) = &mut self.state else { return };
        for end in [0, 1] {
            if probe.heads[end].iter().all(|(_, kept)| kept.bytes().is_empty()) {
                probe.give_up(end, shared);
            }
        }
        self.decide(None, shared, out);
    }

    /// Looks at the first bytes that are there, in order, and makes up its mind when they are enough.
    pub(super) fn decide(
        &mut self,
        segment: Option<&Segment<'_>>,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let State::Probing(probe) = &self.state else { return };
        let verdicts = [0, 1].map(|end| {
            let head = probe.heads[end].iter().flat_map(|(_, kept)| kept.bytes()).take(ENOUGH);
            recognise(&head.copied().collect::<Vec<_>>())
        });
        let known = verdicts.iter().enumerate().find_map(|(end, verdict)| match verdict {
            Prefix::Known(protocol, sender) => Some((end, *protocol, *sender)),
            _ => None,
        });
        let foreign = State::Foreign(probe.seen);
        if let Some((end, protocol, sender)) = known {
            let State::Probing(probe) = mem::replace(&mut self.state, foreign) else {
                return;
            };
            shared.bounds.counters.add(&probe.counters);
            self.promote(
                (probe.last, probe.wrapped),
                end,
                protocol,
                sender,
                probe.streams,
                shared,
            );
            let State::Tracked(tracked) = &mut self.state else {
                return;
            };
            if let Some(segment) = segment {
                tracked.copies.is_copy(segment, 0, shared.bounds.limits.copy);
            }
            tracked.reopening = probe.reopening;
            tracked.tell_urgent(probe.last, out);
            for (end, head) in probe.heads.into_iter().enumerate() {
                for (at, kept) in head {
                    tracked.hand_on(end, at, &kept, out);
                }
            }
        } else if verdicts.contains(&Prefix::Foreign) {
            let State::Probing(mut probe) = mem::replace(&mut self.state, foreign) else {
                return;
            };
            probe.release(shared);
        }
    }

    /// This is a connection to follow, as what `end` sends here shows.
    pub(super) fn follow(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        protocol: Protocol,
        sender: Option<Side>,
        shared: &mut Shared,
    ) {
        // What was recognised stands at the start of this segment; without a SYN, the other end goes on where this one acknowledges.
        let mut starts = self.next;
        starts[end] = Some(start(segment));
        starts[1 - end] = starts[1 - end].or(segment.acknowledgement);
        let streams = starts.map(|start| start.map(Assembler::new));
        self.promote((segment.at, wrapped(segment)), end, protocol, sender, streams, shared);
        if let State::Tracked(tracked) = &mut self.state {
            tracked.copies.is_copy(segment, 0, shared.bounds.limits.copy);
        }
    }

    /// The same, of one whose last packet is this, and whose streams were put in order so far.
    fn promote(
        &mut self,
        (last, wrapped): (At, Wrapped),
        end: End,
        protocol: Protocol,
        sender: Option<Side>,
        streams: [Option<Assembler>; 2],
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
            wrapped,
            self.opened,
            self.opener.is_some(),
            protocol,
            shared.bounds.limits.community_id_seed,
        ));
        self.state = State::Tracked(Box::new(Tracked {
            connection,
            client,
            packets: self.seen().by_sides(client),
            last,
            tcp: TcpState::default(),
            reopening: None,
            streams,
            fins: [None; 2],
            doubts: [None, None],
            due: None,
            wanted: None,
            copies: Copies::default(),
            suspects: Default::default(),
            stamps: Default::default(),
            full: [false; 2],
            anomalies: 0,
            consumer: C::default(),
        }));
    }
}

fn wrapped(segment: &Segment<'_>) -> Wrapped {
    (segment.vlan, segment.tunnel.copied())
}

/// Keeps the start of a stream until it is long enough to tell what it is. A gap means a new start.
fn keep(head: &mut Vec<(At, Kept)>, last: At, piece: Piece<'_>) {
    let kept = match piece {
        Piece::Data(at, bytes) => (at, Kept::Bytes(bytes.to_vec())),
        Piece::Gap(bytes) => {
            let before = head.first().map_or(0, |(_, kept)| kept.missing());
            head.clear();
            (last, Kept::Gap(before + bytes))
        }
    };
    head.push(kept);
}
