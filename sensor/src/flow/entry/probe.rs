//! What a connection turns out to be, by the first bytes of both directions.

use std::sync::Arc;

use super::{Flow, State};
use crate::capture::At;
use crate::decode::Segment;
use crate::flow::assembler::{Assembler, Piece};
use crate::flow::copies::Copies;
use crate::flow::recognise::{ENOUGH, Prefix, Protocol, recognise};
use crate::flow::reopening::Reopening;
use crate::flow::suspect::urgent;
use crate::flow::table::End;
use crate::flow::tracked::Tracked;
use crate::flow::traffic::{Seen, TcpState};
use crate::flow::{Connection, Consumer, Output, Shared, Side, Sides, start};

/// While probing, more than this is not held back on one side: a first flight, out of order.
pub(super) const PROBE_LIMIT: usize = 64 << 10;

/// The start of both directions, until the first bytes of one tell what it is.
pub(super) struct Probe {
    pub(super) seen: Seen,
    pub(super) reopening: Option<Reopening>,
    pub(super) streams: [Option<Assembler>; 2],
    heads: [Vec<(At, Vec<u8>)>; 2],
}

impl Probe {
    /// Of a connection of which so much was seen, and whose streams start here, as far as that is known.
    pub(super) fn new(seen: Seen, next: [Option<u32>; 2]) -> Self {
        Self {
            seen,
            reopening: None,
            streams: next.map(|next| next.map(Assembler::new)),
            heads: [Vec::new(), Vec::new()],
        }
    }

    /// What `end` sent is acknowledged: it will not be sent again.
    pub(super) fn acknowledged(&mut self, end: End, acknowledgement: u32, shared: &mut Shared) {
        let Some(stream) = &mut self.streams[end] else { return };
        stream.heard(acknowledgement);
        // What lies behind all that was seen may come yet.
        let believed = stream.at_most_seen(acknowledgement);
        stream.acknowledged(believed, &mut shared.bounds, |piece| keep(&mut self.heads[end], piece));
    }

    /// Lets go of what is held, which nobody wants.
    pub(super) fn release(&mut self, shared: &mut Shared) {
        for stream in self.streams.iter_mut().flatten() {
            // Gaps in what nobody reads are no loss.
            let counters = shared.bounds.counters;
            stream.finish(&mut shared.bounds, |_| {});
            shared.bounds.counters = counters;
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
    pub(super) fn decide(&mut self, segment: &Segment<'_>, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
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
    pub(super) fn promote(
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
}

/// Keeps the start of a stream until it is long enough to tell what it is. A gap means a new start.
fn keep(head: &mut Vec<(At, Vec<u8>)>, piece: Piece<'_>) {
    match piece {
        Piece::Data(at, bytes) => head.push((at, bytes.to_vec())),
        Piece::Gap(_) => head.clear(),
    }
}
