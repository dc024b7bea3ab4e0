//! From segments to streams: connections told apart, put in order, and asked whether they are DCE/RPC at all.
//!
//! A connection that is not costs one look-up a packet and a small entry: its bytes are neither ordered nor kept. It is
//! asked again at the start of each segment, since an RPC connection may be picked up late.

mod assembler;
mod connection;
mod side;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

use dcom_parsers::rpce::{CommonHeader, Prefix, recognise};

pub use assembler::{Assembler, AssemblerCounters, Bounds, Piece};
pub use connection::Connection;
pub use side::{Side, Sides};

use crate::capture::At;
use crate::decode::{Endpoint, Segment};
use crate::limits::Limits;
use crate::time::Timestamp;
use table::{End, Entry, Key, Table};

/// What a stream brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// Bytes, in order.
    Data {
        /// The frame that brought them.
        at: At,
        /// Who sent them.
        side: Side,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes that will never come.
    Gap {
        /// Who sent them.
        side: Side,
        /// How many.
        bytes: u64,
    },
    /// The connection is over, or the capture is.
    Closed,
}

/// What this stage says.
#[derive(Debug)]
pub enum Output<'a, C> {
    /// A TCP connection of whatever protocol was answered, or carries data. Said once for each.
    Heard {
        /// The frame that showed it.
        at: At,
        /// Its ends: the one that opened it first, when that is known.
        ends: [Endpoint; 2],
        /// Is it known who opened it?
        opener_known: Opener,
    },
    /// Something on a connection that carries DCE/RPC, with what the next stage keeps for it.
    Stream(&'a Arc<Connection>, &'a mut C, StreamEvent<'a>),
}

/// Is it known who opened a connection?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// Yes: a SYN was seen.
    First,
    /// No: picked up in mid-stream.
    Unknown,
}

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// TCP connections seen.
    pub connections: u64,
    /// Those recognised as DCE/RPC.
    pub rpc: u64,
    /// Of these, those whose beginning was not seen.
    pub midstream: u64,
    /// Those not followed because there were too many.
    pub rpc_over_limit: u64,
    /// Connections forgotten because there were too many.
    pub evicted: u64,
}

/// Entry in the table: at most 128 bytes, which a test holds it to.
struct Flow<C> {
    key: Key,
    opened: At,
    last: Timestamp,
    /// Next sequence number of each end, once its SYN was seen.
    next: [Option<u32>; 2],
    opener: Option<u8>,
    heard: bool,
    closing: bool,
    state: State<C>,
}

enum State<C> {
    /// No payload yet.
    Fresh,
    /// The first bytes are late, or too few to tell.
    Probing(Box<Probe>),
    /// Not DCE/RPC so far.
    Foreign,
    /// DCE/RPC.
    Tracked(Box<Tracked<C>>),
}

/// The start of both directions, until sixteen bytes of one tell what it is.
struct Probe {
    streams: [Option<Assembler>; 2],
    heads: [Vec<(At, Vec<u8>)>; 2],
}

struct Tracked<C> {
    connection: Arc<Connection>,
    client: End,
    streams: [Option<Assembler>; 2],
    /// Where each end's stream stops, once its FIN was seen.
    fins: [Option<u32>; 2],
    /// A SYN was seen in the middle: the sequence number after it. Believed when the other end acknowledges it.
    reopening: Option<u32>,
    consumer: C,
}

impl<C> Entry for Flow<C> {
    fn key(&self) -> &Key {
        &self.key
    }
    fn last(&self) -> Timestamp {
        self.last
    }
}

/// All connections. `C` is what the next stage keeps for each that carries DCE/RPC.
pub struct Flows<C> {
    table: Table<Flow<C>>,
    /// Closed connections, by the time at which they are let go.
    closing: VecDeque<(Timestamp, u32, At)>,
    shared: Shared,
}

/// What every connection needs beside its own state.
struct Shared {
    /// Connections followed now.
    tracked: usize,
    bounds: Bounds,
    counters: FlowCounters,
}

/// While probing, more than this is not held back on one side: a first flight, out of order.
const PROBE_LIMIT: usize = 64 << 10;

impl<C: Default> Flows<C> {
    /// No connection yet.
    pub fn new(limits: Limits) -> Self {
        let bounds = Bounds {
            limits,
            ..Bounds::default()
        };
        let shared = Shared {
            tracked: 0,
            bounds,
            counters: FlowCounters::default(),
        };
        Self {
            table: Table::new(limits.flows),
            closing: VecDeque::new(),
            shared,
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &FlowCounters {
        &self.shared.counters
    }

    /// What putting in order met with.
    pub fn assembler_counters(&self) -> &AssemblerCounters {
        &self.shared.bounds.counters
    }

    /// Takes a segment in.
    pub fn push(&mut self, segment: &Segment<'_>, out: &mut impl FnMut(Output<'_, C>)) {
        self.let_go(segment.at.time, out);
        let (key, end) = Key::new(segment.source, segment.destination);
        let slot = match self.table.find(&key) {
            Some(slot) => slot,
            None => self.open(key, segment.at, out),
        };
        let Some(flow) = self.table.get_mut(slot) else { return };
        flow.last = segment.at.time;
        flow.shake_hands(segment, end, &mut self.shared, out);
        flow.announce(segment, end, out);
        flow.acknowledge(segment, end, &mut self.shared, out);
        if !segment.payload.is_empty() {
            flow.payload(segment, end, &mut self.shared, out);
        }
        if flow.close(segment, end) {
            self.closing.push_back((
                Timestamp(segment.at.time.0 + self.shared.bounds.limits.linger),
                slot,
                flow.opened,
            ));
        }
    }

    /// The capture is over: everything held is delivered and every connection closed.
    pub fn finish(&mut self, out: &mut impl FnMut(Output<'_, C>)) {
        self.closing.clear();
        for flow in self.table.drain() {
            flow.end(&mut self.shared, out);
        }
    }

    fn open(&mut self, key: Key, at: At, out: &mut impl FnMut(Output<'_, C>)) -> u32 {
        self.shared.counters.connections += 1;
        let (slot, forgotten) = self.table.insert(Flow::new(key, at));
        if let Some(forgotten) = forgotten {
            self.shared.counters.evicted += 1;
            forgotten.end(&mut self.shared, out);
        }
        slot
    }

    /// Lets go of connections that were closed a while ago.
    fn let_go(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        while let Some(&(deadline, slot, opened)) = self.closing.front() {
            if deadline > now {
                break;
            }
            self.closing.pop_front();
            // The slot may have a new tenant, or its connection may have been opened anew.
            if self
                .table
                .get(slot)
                .is_some_and(|flow| flow.closing && flow.opened == opened)
                && let Some(flow) = self.table.remove(slot)
            {
                flow.end(&mut self.shared, out);
            }
        }
    }
}

impl<C: Default> Flow<C> {
    fn new(key: Key, at: At) -> Self {
        let state = State::Fresh;
        Self {
            key,
            opened: at,
            last: at.time,
            next: [None; 2],
            opener: None,
            heard: false,
            closing: false,
            state,
        }
    }

    /// SYN and SYN-ACK: who opens, and where each stream starts.
    fn shake_hands(
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
        if opening && self.next[end] == Some(start) {
            return; // sent again
        }
        if let State::Tracked(tracked) = &mut self.state {
            let believed = tracked.reopening.is_some() && segment.acknowledgement == tracked.reopening;
            if opening && !self.closing {
                tracked.reopening = Some(start);
                return;
            }
            if !opening && !believed {
                return;
            }
        } else if !opening && self.next[end].is_some_and(|next| next != start) {
            return; // a second answer that does not fit the first
        }
        if !matches!(self.state, State::Fresh) || (opening && self.next[end].is_some()) {
            let new = Self {
                last: self.last,
                ..Self::new(self.key, segment.at)
            };
            std::mem::replace(self, new).end(shared, out);
            shared.counters.connections += 1;
        }
        self.next[end] = Some(start);
        let opener = if opening { end } else { 1 - end };
        self.opener = u8::try_from(opener).ok();
        if let Some(acknowledgement) = segment.acknowledgement {
            self.next[1 - end].get_or_insert(acknowledgement);
        }
    }

    /// Says once that there is a connection: its opener was answered, or data flows.
    fn announce(&mut self, segment: &Segment<'_>, end: End, out: &mut impl FnMut(Output<'_, C>)) {
        let answered = segment.syn && segment.acknowledgement.is_some();
        if self.heard || segment.rst || (!answered && segment.payload.is_empty()) {
            return;
        }
        self.heard = true;
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

    /// What this end acknowledges, the other will not send again.
    fn acknowledge(
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
            State::Tracked(tracked) => tracked.acknowledged(1 - end, acknowledgement, shared, out),
            State::Probing(probe) => {
                let Probe { streams, heads } = probe.as_mut();
                if let Some(stream) = &mut streams[1 - end] {
                    stream.acknowledged(acknowledgement, &mut shared.bounds, |piece| {
                        keep(&mut heads[1 - end], piece);
                    });
                }
                self.decide(segment, shared, out);
            }
            State::Fresh | State::Foreign => {}
        }
    }

    fn payload(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        match &mut self.state {
            State::Tracked(tracked) => tracked.push(segment, end, shared, out),
            State::Foreign => {
                if let Prefix::Header(header) = recognise(segment.payload) {
                    // What both ends sent before is past: their streams start here.
                    self.next = [None; 2];
                    if self.promote(segment, end, header, shared) {
                        self.payload(segment, end, shared, out);
                    }
                }
            }
            State::Fresh => {
                let distance = self.next[end].map_or(0, |next| segment.sequence.wrapping_sub(next));
                match recognise(segment.payload) {
                    Prefix::Header(header) if distance == 0 => {
                        if self.promote(segment, end, header, shared) {
                            self.payload(segment, end, shared, out);
                        }
                    }
                    Prefix::Foreign if distance == 0 => self.state = State::Foreign,
                    // Late first bytes, or too few: hold what comes until they tell.
                    _ if (distance as usize) < PROBE_LIMIT => {
                        self.state = State::Probing(Box::new(Probe {
                            streams: self.next.map(|next| next.map(Assembler::new)),
                            heads: [Vec::new(), Vec::new()],
                        }));
                        self.probe(segment, end, shared, out);
                    }
                    _ => {
                        self.state = State::Foreign;
                        self.payload(segment, end, shared, out);
                    }
                }
            }
            State::Probing(_) => self.probe(segment, end, shared, out),
        }
    }

    fn probe(&mut self, segment: &Segment<'_>, end: End, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let State::Probing(probe) = &mut self.state else { return };
        let Probe { streams, heads } = probe.as_mut();
        if let Some(acknowledgement) = segment.acknowledgement {
            streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        let stream = streams[end].get_or_insert_with(|| Assembler::new(segment.sequence));
        // A first flight is short: less is held for a connection that may be anything.
        let limits = shared.bounds.limits;
        shared.bounds.limits.reassembly_per_side = PROBE_LIMIT;
        stream.push(
            segment.at,
            segment.sequence,
            segment.payload,
            &mut shared.bounds,
            |piece| {
                keep(&mut heads[end], piece);
            },
        );
        shared.bounds.limits = limits;
        self.decide(segment, shared, out);
    }

    /// Looks at the first bytes that are there, in order, and makes up its mind when they are enough.
    fn decide(&mut self, segment: &Segment<'_>, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let State::Probing(probe) = &self.state else { return };
        let verdicts = [0, 1].map(|end| {
            let head = probe.heads[end]
                .iter()
                .flat_map(|(_, bytes)| bytes)
                .take(CommonHeader::LENGTH);
            recognise(&head.copied().collect::<Vec<_>>())
        });
        let header = verdicts.iter().enumerate().find_map(|(end, verdict)| match verdict {
            Prefix::Header(header) => Some((end, *header)),
            _ => None,
        });
        if let Some((end, header)) = header {
            let State::Probing(mut probe) = std::mem::replace(&mut self.state, State::Foreign) else {
                return;
            };
            self.promote(segment, end, header, shared);
            let State::Tracked(tracked) = &mut self.state else {
                return probe.release(shared);
            };
            tracked.streams = probe.streams;
            for (end, head) in probe.heads.into_iter().enumerate() {
                let side = tracked.side(end);
                for (at, bytes) in head {
                    let event = StreamEvent::Data {
                        at,
                        side,
                        bytes: &bytes,
                    };
                    out(Output::Stream(&tracked.connection, &mut tracked.consumer, event));
                }
            }
        } else if verdicts.contains(&Prefix::Foreign) {
            let State::Probing(mut probe) = std::mem::replace(&mut self.state, State::Foreign) else {
                return;
            };
            probe.release(shared);
        }
    }

    /// This is DCE/RPC, as a header sent by `end` shows. False when there is no room for one more to follow.
    fn promote(&mut self, segment: &Segment<'_>, end: End, header: CommonHeader, shared: &mut Shared) -> bool {
        let client = match (self.opener, header.ptype.sent_by_client()) {
            (Some(opener), _) => usize::from(opener),
            (None, Some(true)) => end,
            (None, Some(false)) => 1 - end,
            // Either may have sent it: the server is more likely to have the lesser port.
            (None, None) => usize::from(self.key.ends[0].port < self.key.ends[1].port),
        };
        if shared.tracked >= shared.bounds.limits.rpc_connections {
            shared.counters.rpc_over_limit += 1;
            self.state = State::Foreign;
            return false;
        }
        shared.tracked += 1;
        shared.counters.rpc += 1;
        shared.counters.midstream += u64::from(self.opener.is_none());
        let ends = Sides {
            client: self.key.ends[client],
            server: self.key.ends[1 - client],
        };
        let connection = Arc::new(Connection::new(ends, segment.vlan, self.opened, self.opener.is_some()));
        // The header stands at the start of this segment; without a SYN, the other end goes on where this one acknowledges.
        let mut starts = self.next;
        starts[end] = Some(segment.sequence);
        starts[1 - end] = starts[1 - end].or(segment.acknowledgement);
        self.state = State::Tracked(Box::new(Tracked {
            connection,
            client,
            streams: starts.map(|start| start.map(Assembler::new)),
            fins: [None; 2],
            reopening: None,
            consumer: C::default(),
        }));
        true
    }

    /// Takes note of FIN and RST. True when the connection has just become one to be let go of.
    fn close(&mut self, segment: &Segment<'_>, end: End) -> bool {
        let mut over = segment.rst;
        if segment.fin {
            let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
            let stop = segment.sequence.wrapping_add(length).wrapping_add(segment.cut);
            match &mut self.state {
                State::Tracked(tracked) => {
                    tracked.fins[end] = Some(stop);
                    over |= tracked.fins[1 - end].is_some();
                }
                _ => over = true,
            }
        }
        let newly = over && !self.closing;
        self.closing |= over;
        newly
    }

    /// The connection is over: what is held is delivered.
    fn end(self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        match self.state {
            State::Tracked(tracked) => tracked.end(shared, out),
            State::Probing(mut probe) => probe.release(shared),
            State::Fresh | State::Foreign => {}
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

impl<C> Tracked<C> {
    fn side(&self, end: End) -> Side {
        if end == self.client { Side::Client } else { Side::Server }
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
            ..
        } = self;
        let Some(stream) = &mut streams[end] else { return };
        operation(stream, &mut shared.bounds, &mut |piece| {
            let event = match piece {
                Piece::Data(at, bytes) => StreamEvent::Data { at, side, bytes },
                Piece::Gap(bytes) => StreamEvent::Gap { side, bytes },
            };
            out(Output::Stream(connection, consumer, event));
        });
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
    }

    fn acknowledged(
        &mut self,
        end: End,
        acknowledgement: u32,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        // A FIN takes a sequence number and brings no byte.
        let until = match self.fins[end] {
            Some(stop) if acknowledgement.wrapping_sub(stop).cast_signed() > 0 => stop,
            _ => acknowledgement,
        };
        self.run(end, shared, out, |stream, bounds, out| {
            stream.acknowledged(until, bounds, out);
        });
    }

    fn end(mut self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        shared.tracked -= 1;
        for end in [self.client, 1 - self.client] {
            self.run(end, shared, out, |stream, bounds, out| stream.finish(bounds, out));
        }
        out(Output::Stream(
            &self.connection,
            &mut self.consumer,
            StreamEvent::Closed,
        ));
    }
}

#[cfg(test)]
mod tests;
