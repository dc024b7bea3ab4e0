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
    /// A connection to the endpoint mapper's port that nobody answered, or that was refused. Said once for each.
    Unanswered(Arc<Connection>, Silence),
    /// Something on a connection that carries DCE/RPC or may, with what the next stage keeps for it.
    Stream(&'a Arc<Connection>, &'a mut C, StreamEvent<'a>),
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
        flow.await_answer(segment, end, &self.shared, out);
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

#[cfg(test)]
mod tests;
