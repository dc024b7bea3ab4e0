//! A connection for tests, fed with what its stream brings.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Carriage, RpcBounds, RpcEvent};
use crate::capture::At;
use crate::decode::{Endpoint, VlanTags};
use crate::flow::{Connection, Protocol, Side, Sides, StreamEvent};
use crate::limits::Limits;
use crate::time::Timestamp;

pub(super) struct Rig {
    pub(super) carriage: Carriage,
    pub(super) bounds: RpcBounds,
    pub(super) connection: Arc<Connection>,
    /// The number of the last frame.
    pub(super) frame: u64,
    pub(super) events: Vec<RpcEvent>,
}

impl Rig {
    pub(super) fn new(protocol: Protocol, port: u16) -> Self {
        let end = |last, port| Endpoint {
            address: IpAddr::from([10, 0, 0, last]),
            port,
        };
        let ends = Sides {
            client: end(1, 50_000),
            server: end(2, port),
        };
        let connection = Connection::new(ends, (VlanTags::default(), None), At::default(), true, protocol, 0);
        Self {
            carriage: Carriage::default(),
            bounds: RpcBounds::new(Limits::default(), |_, _, _| true),
            connection: Arc::new(connection),
            frame: 0,
            events: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, event: StreamEvent<'_>) {
        let Self {
            carriage,
            bounds,
            connection,
            events,
            ..
        } = self;
        carriage.push(connection, event, bounds, &mut |event| events.push(event));
    }

    /// Time has come this far without a frame.
    pub(super) fn advance(&mut self, now: i64) {
        let Self {
            carriage,
            bounds,
            connection,
            events,
            ..
        } = self;
        carriage.advance(connection, Timestamp(now), bounds, &mut |event| events.push(event));
    }

    /// The next frame.
    pub(super) fn send(&mut self, side: Side, bytes: &[u8]) {
        self.frame += 1;
        let at = At {
            frame: self.frame,
            ..At::default()
        };
        self.push(StreamEvent::Data { at, side, bytes });
    }
}
