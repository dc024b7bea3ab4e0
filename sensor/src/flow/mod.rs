//! From segments to streams: connections told apart, put in order, and asked whether they carry DCE/RPC at all.
//!
//! A connection that is not costs one look-up a packet and a small entry: its bytes are neither ordered nor kept. It is
//! asked again at the start of each segment, since an RPC connection may be picked up late.

mod assembler;
mod connection;
mod copies;
mod doubt;
mod entry;
mod past;
mod recognise;
mod reopening;
mod side;
mod suspect;
mod table;
mod tracked;
mod traffic;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use assembler::{Assembler, AssemblerCounters, Bounds, Piece};
pub(crate) use connection::flow_id;
pub use connection::{CommunityId, Connection, Name, Uid};
pub(crate) use recognise::BANNER;
pub use recognise::Protocol;
pub use side::{Side, Sides};
pub use traffic::{Ended, Packets, Reason, TcpState};

use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::decode::{Endpoint, Segment, Sum};
use crate::limits::Limits;
use crate::time::Timestamp;
use copies::Copies;
use entry::Flow;
use table::{Key, Table};

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
    /// A connection to the endpoint mapper's port that nobody answered, or that was refused. Said once for each.
    Unanswered(Arc<Connection>, Silence),
    /// Something on a connection that carries DCE/RPC or may, with what the next stage keeps for it.
    Stream(&'a Arc<Connection>, &'a mut C, StreamEvent<'a>),
    /// Time has come to where the next stage wants to look at one of these.
    Due(&'a Arc<Connection>, &'a mut C, Timestamp),
    /// Something odd about the segments of one of these.
    Odd(&'a Arc<Connection>, Anomaly),
    /// One of these is over. Said last of it.
    Ended(&'a Arc<Connection>, &'a mut C, Ended),
}

/// What the next stage keeps for a connection.
pub trait Consumer: Default {
    /// When it wants to look at it, though nothing may have come: after it was asked to, that is later, or never.
    fn due(&self) -> Timestamp {
        NEVER
    }
}

/// A connection that was given up, with what the next stage kept for it.
#[derive(Debug)]
pub struct Abandoned<C> {
    /// What it was known as.
    pub connection: Arc<Connection>,
    /// What was counted of it.
    pub ended: Ended,
    /// What was kept, in whatever state that is.
    pub consumer: C,
}

/// How a connection was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// With a reset.
    Refused,
    /// By nobody, after the SYN was sent again.
    Ignored,
    /// By nobody, up to the end of the capture or to the time at which the connection was forgotten.
    SoFar,
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
    /// Those that were answered, or carry data.
    pub heard: u64,
    /// Of these, those of which both ends were heard.
    pub heard_both_ways: u64,
    /// Those recognised as DCE/RPC, or as what may carry it.
    pub followed: u64,
    /// Of these, those let go because there were too many.
    pub rpc_over_limit: u64,
    /// Connections forgotten because there were too many.
    pub evicted: u64,
    /// Of these, those that were followed.
    pub evicted_followed: u64,
    /// Connections that were silent for too long.
    pub idle: u64,
    /// Segments of followed connections that a mirror delivered twice.
    pub copies: u64,
    /// Segments put aside because no host takes them: their checksum is wrong on a side where it is right otherwise, or what
    /// their header says cannot be.
    pub suspects: u64,
    /// Segments captured whole whose checksum was looked at: those of connections that are followed or not told yet, and
    /// the first of each end of all others.
    pub checksums: u64,
    /// Of these, those where it is wrong.
    pub wrong_checksums: u64,
    /// RST segments passed over because they do not fit the stream.
    pub stray_resets: u64,
}

/// All connections. `C` is what the next stage keeps for each that carries DCE/RPC.
pub struct Flows<C> {
    table: Table<Flow<C>>,
    /// Closed connections, by the time at which they are let go.
    closing: VecDeque<(Timestamp, u32, At)>,
    shared: Shared,
}

/// The sequence number of its first payload byte: RFC 9293 3.4 Sequence Numbers, a SYN takes one.
fn start(segment: &Segment<'_>) -> u32 {
    segment.sequence.wrapping_add(u32::from(segment.syn))
}

/// The sequence number behind what a segment carries, with what the snap length cut off.
fn behind(segment: &Segment<'_>) -> u32 {
    let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
    start(segment).wrapping_add(length).wrapping_add(segment.cut)
}

/// Places of closed connections that are not worth looking through.
const FEW_CLOSING: usize = 1_024;

/// No time at all.
pub(crate) const NEVER: Timestamp = Timestamp(i64::MAX);

/// What every connection needs beside its own state.
struct Shared {
    /// Connections followed now.
    tracked: usize,
    /// The same by the time at which they are over unless something comes.
    due: BTreeSet<(Timestamp, u32)>,
    /// Those of them that the next stage wants to look at, by the time at which: one place each, however many are silent.
    wanted: BTreeSet<(Timestamp, u32)>,
    /// Nothing of these two is due before this: each packet asks.
    next_due: Timestamp,
    bounds: Bounds,
    counters: FlowCounters,
    /// Packets of late of connections on which nothing was said yet.
    copies: Copies,
}

impl Shared {
    fn is_something_due(&self) -> bool {
        !(self.due.is_empty() && self.wanted.is_empty())
    }
}

impl<C: Consumer> Flows<C> {
    /// No connection yet.
    pub fn new(limits: Limits) -> Self {
        let bounds = Bounds {
            limits,
            ..Bounds::default()
        };
        let shared = Shared {
            tracked: 0,
            due: BTreeSet::new(),
            wanted: BTreeSet::new(),
            next_due: NEVER,
            bounds,
            counters: FlowCounters::default(),
            copies: Copies::default(),
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
        let now = segment.at.steady();
        self.advance(now, out);
        let (key, end) = Key::new(segment.source, segment.destination);
        let slot = match self.table.find(&key) {
            Some(slot) => slot,
            None => self.open(key, segment.at, out),
        };
        let Some(flow) = self.table.get_mut(slot) else { return };
        if flow.is_over(now, &self.shared.bounds.limits) {
            // Of those that are not followed nothing is told at their end: it is soon enough when they are met.
            self.drop_idle(slot, out);
            return self.push(segment, out);
        }
        flow.last = now;
        if flow.is_passed_by(segment, end) {
            flow.count(segment, end, &mut self.shared);
            return;
        }
        let sum = flow.heed(segment, end, &mut self.shared);
        // No host takes anything from a segment that was damaged on its way.
        let damaged = sum == Sum::Damaged;
        if !damaged {
            flow.shake_hands(segment, end, &mut self.shared, out);
        }
        flow.count(segment, end, &mut self.shared);
        flow.announce(segment, end, &mut self.shared, out);
        flow.await_answer(segment, end, &self.shared, out);
        flow.resolve(segment, end, damaged, &mut self.shared, out);
        if !damaged {
            flow.acknowledge(segment, end, &mut self.shared, out);
        }
        // RFC 9293 3.5.3 Reset Processing: what a RST carries is no part of the stream.
        if !segment.payload.is_empty() && !segment.rst {
            flow.payload(segment, end, sum, &mut self.shared, out);
        }
        flow.schedule(slot, &mut self.shared);
        if (segment.fin || segment.rst) && !damaged && flow.close(segment, end, &mut self.shared, out) {
            let deadline = Timestamp(now.0.saturating_add(self.shared.bounds.limits.linger));
            let place = (deadline, slot, flow.opened);
            self.bound_closing();
            self.closing.push_back(place);
        }
        while self.shared.tracked > self.shared.bounds.limits.rpc_connections.max(1) && self.evict_followed(out) {}
    }

    /// The capture is over: everything held is delivered and every connection closed.
    pub fn finish(&mut self, out: &mut impl FnMut(Output<'_, C>)) {
        self.closing.clear();
        for flow in self.table.drain() {
            flow.end(Reason::Shutdown, &mut self.shared, out);
        }
    }

    fn open(&mut self, key: Key, at: At, out: &mut impl FnMut(Output<'_, C>)) -> u32 {
        let Self { table, shared, .. } = self;
        shared.counters.connections += 1;
        let limits = shared.bounds.limits;
        table.sweep(
            |flow| flow.is_over(at.steady(), &limits),
            |flow| {
                shared.counters.idle += 1;
                flow.end(Reason::Timeout, shared, out);
            },
        );
        let (slot, forgotten) = table.insert(Flow::new(key, at));
        if let Some(forgotten) = forgotten {
            shared.counters.evicted += 1;
            shared.counters.evicted_followed += u64::from(forgotten.is_followed());
            forgotten.end(Reason::Forced, shared, out);
        }
        slot
    }

    #[cold]
    fn drop_idle(&mut self, slot: u32, out: &mut impl FnMut(Output<'_, C>)) {
        if let Some(flow) = self.table.remove(slot) {
            self.shared.counters.idle += 1;
            flow.end(Reason::Timeout, &mut self.shared, out);
        }
    }

    /// A connection is given up, whatever state it is in: nothing is said of it any more. Bytes held are counted anew.
    pub fn abandon(&mut self, source: Endpoint, destination: Endpoint) -> Option<Abandoned<C>> {
        let (key, _) = Key::new(source, destination);
        let flow = self.table.find(&key).and_then(|slot| self.table.remove(slot))?;
        flow.leave(&mut self.shared);
        let flows = self.table.iter();
        self.shared.bounds.held = flows.clone().map(Flow::held).sum();
        self.shared.bounds.remembered = flows.clone().map(Flow::remembered).sum();
        self.shared.tracked = flows.filter(|flow| flow.consumer().is_some()).count();
        flow.abandoned()
    }

    /// What the next stage keeps, for each connection that is followed.
    pub fn consumers(&self) -> impl Iterator<Item = &C> {
        self.table.iter().filter_map(Flow::consumer)
    }

    /// Time has come this far: connections that were closed a while ago are let go, and followed ones that were long
    /// silent; and the next stage looks at those that it wants to look at.
    #[inline]
    pub fn advance(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        while self.closing.front().is_some_and(|&(deadline, ..)| deadline <= now) {
            self.let_go_closed(now, out);
        }
        while self.shared.next_due <= now && self.shared.is_something_due() {
            self.do_what_is_due(now, out);
        }
    }

    /// A connection has one place, and leaves it behind when it is forgotten: before there are more of these than
    /// connections, they go.
    fn bound_closing(&mut self) {
        if self.closing.len() >= FEW_CLOSING.max(2 * self.table.len()) {
            let Self { table, closing, .. } = self;
            closing.retain(|&(_, slot, opened)| table.get(slot).is_some_and(|flow| flow.is_closing(opened)));
        }
    }

    fn let_go_closed(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        let Some((_, slot, opened)) = self.closing.pop_front() else {
            return;
        };
        // The slot may have a new tenant, or its connection may have been opened anew.
        let Some(flow) = self.table.get(slot).filter(|flow| flow.is_closing(opened)) else {
            return;
        };
        // As long as something comes, it may be that who closed it is not who it seemed to be.
        let deadline = Timestamp(flow.last.0.saturating_add(self.shared.bounds.limits.linger));
        if deadline > now {
            self.closing.push_back((deadline, slot, opened));
        } else if let Some(flow) = self.table.remove(slot) {
            flow.end(Reason::Timeout, &mut self.shared, out);
        }
    }

    #[cold]
    fn do_what_is_due(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        self.let_go_silent(now, out);
        if let Some(&place) = self.shared.wanted.first()
            && place.0 <= now
        {
            self.shared.wanted.pop_first();
            if let Some(flow) = self.table.get_mut(place.1) {
                flow.look(place, now, &mut self.shared, out);
            }
        }
        let firsts = [self.shared.due.first(), self.shared.wanted.first()];
        self.shared.next_due = firsts.into_iter().flatten().map(|&(at, _)| at).min().unwrap_or(NEVER);
    }

    fn let_go_silent(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
        if let Some(&(due, slot)) = self.shared.due.first()
            && due <= now
        {
            self.shared.due.pop_first();
            let deadline = self.table.get(slot).map(|flow| flow.due(&self.shared.bounds.limits));
            match (deadline, self.table.get_mut(slot)) {
                (Some(deadline), Some(flow)) if deadline > now => flow.reschedule(slot, deadline, &mut self.shared),
                _ => self.drop_idle(slot, out),
            }
        }
    }

    /// Lets go of the followed connection that is longest silent. False when there is none.
    #[cold]
    fn evict_followed(&mut self, out: &mut impl FnMut(Output<'_, C>)) -> bool {
        // The first one may have been of use since: then it takes its place among the later ones.
        while let Some((due, slot)) = self.shared.due.pop_first() {
            let Some(flow) = self.table.get_mut(slot) else { continue };
            let deadline = flow.due(&self.shared.bounds.limits);
            if deadline > due {
                flow.reschedule(slot, deadline, &mut self.shared);
                continue;
            }
            if let Some(flow) = self.table.remove(slot) {
                self.shared.counters.rpc_over_limit += 1;
                flow.end(Reason::Forced, &mut self.shared, out);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
