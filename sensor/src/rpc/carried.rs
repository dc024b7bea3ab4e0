//! What was counted of one connection, to be told at its end.

use super::{RpcBody, RpcCounters, RpcEvent};
use crate::flow::{Ended, Side, Sides};

/// What RPC was seen on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How often it was recognised as RPC: once, but for what stands on two connections of HTTP.
    pub opened: u64,
    /// PDUs read.
    pub pdus: u64,
    /// Of these, those whose stub is sealed.
    pub sealed: u64,
    /// Calls, answered or not.
    pub calls: u64,
    /// Calls answered by a fault.
    pub faults: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// Holes in what each side sent.
    pub gaps: Sides<u64>,
    /// Bytes in them; of datagrams what the snap length cut off, and fragments that were not seen.
    pub bytes_missing: u64,
}

/// A connection that carried RPC, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// What went by.
    pub ended: Ended,
    /// What of it was RPC.
    pub carried: Carried,
}

impl Carried {
    /// What was counted of all connections while one of them was looked at.
    #[inline]
    pub(super) fn add(&mut self, before: &RpcCounters, now: &RpcCounters) {
        self.pdus += now.pdus - before.pdus;
        self.sealed += now.sealed - before.sealed;
        self.calls += now.calls - before.calls;
        self.faults += now.faults - before.faults;
        self.unanswered += now.unanswered - before.unanswered;
    }

    pub(super) fn lost(&mut self, side: Side, bytes: u64) {
        self.gaps[side] += 1;
        self.bytes_missing += bytes;
    }

    /// What there is to say at the connection's end, if there was any RPC on it.
    pub(super) fn over(self, ended: Ended) -> Option<RpcBody> {
        let carried = self;
        (carried.opened > 0 || carried.pdus > 0).then(|| RpcBody::Over(Box::new(Over { ended, carried })))
    }

    pub(super) fn hear(&mut self, event: &RpcEvent) {
        self.opened += u64::from(matches!(event.body, RpcBody::Opened));
    }
}
