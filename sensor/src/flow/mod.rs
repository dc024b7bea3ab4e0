//! From segments to streams: connections told apart, put in order, and asked whether they carry DCE/RPC at all.
//!
//! A connection that is not costs one look-up a packet and a small entry: its bytes are neither ordered nor kept. It is
//! asked again at the start of each segment, since an RPC connection may be picked up late.

mod assembler;
mod connection;
mod entry;
mod recognise;
mod side;
mod table;
mod tracked;

use std::collections::VecDeque;
use std::sync::Arc;

pub use assembler::{Assembler, AssemblerCounters, Bounds, Piece};
pub use connection::Connection;
pub(crate) use recognise::BANNER;
pub use recognise::Protocol;
pub use side::{Side, Sides};

use crate::capture::At;
use crate::decode::{Endpoint, Segment};
use crate::limits::Limits;
use crate::time::Timestamp;
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
    /// Something on a connection that carries DCE/RPC or may, with what the next stage keeps for it.
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
    /// Those recognised as DCE/RPC, or as what may carry it.
    pub followed: u64,
    /// Those not followed because there were too many.
    pub rpc_over_limit: u64,
    /// Connections forgotten because there were too many.
    pub evicted: u64,
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
        self.advance(segment.at.time, out);
        let (key, end) = Key::new(segment.source, segment.destination);
        let slot = match self.table.find(&key) {
            Some(slot) => slot,
            None => self.open(key, segment.at, out),
        };
        let Some(flow) = self.table.get_mut(slot) else { return };
        flow.last = segment.at.time;
        flow.shake_hands(segment, end, &mut self.shared, out);
        flow.announce(segment, end, out);
        flow.resolve(segment, end, &mut self.shared, out);
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

    /// A connection is given up, whatever state it is in: nothing is said of it any more. Bytes held are counted anew.
    pub fn abandon(&mut self, source: Endpoint, destination: Endpoint) -> Option<Arc<Connection>> {
        let (key, _) = Key::new(source, destination);
        let flow = self.table.find(&key).and_then(|slot| self.table.remove(slot))?;
        let flows = self.table.iter();
        self.shared.bounds.held = flows.clone().map(Flow::held).sum();
        self.shared.tracked = flows.filter(|flow| flow.consumer().is_some()).count();
        flow.connection()
    }

    /// What the next stage keeps, for each connection that is followed.
    pub fn consumers(&self) -> impl Iterator<Item = &C> {
        self.table.iter().filter_map(Flow::consumer)
    }

    /// Time has come this far: connections that were closed a while ago are let go.
    pub fn advance(&mut self, now: Timestamp, out: &mut impl FnMut(Output<'_, C>)) {
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

#[cfg(test)]
mod tests;
