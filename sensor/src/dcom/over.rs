//! Connections at their end: what was counted of them, and what they were seen to do.

use std::sync::Arc;

use super::generations::Generations;
use super::{Analyst, DcomCounters, rpc_log};
use crate::decode::Transport;
use crate::event::flow::{EndReason, Flow, FlowState, RpcOnFlow, SeenOnFlow, Tcp, Traffic};
use crate::event::{Body, Event, Meta};
use crate::flow::{Connection, Ended, Protocol};
use crate::limits::Limits;
use crate::rpc::{Carried, Over};
use crate::time::Timestamp;

/// What is known of connections that are open, and those that are over and not told yet: an alert may still come of what they
/// brought last.
#[derive(Debug)]
pub struct OpenFlows {
    known: Generations<u64, Known>,
    over: Vec<(u64, Event)>,
}

/// What one was seen to do.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    did: DcomCounters,
    alerts: u64,
}

impl OpenFlows {
    pub(crate) fn new(limits: &Limits) -> Self {
        // Half of the table has room for all that can be open.
        let most = limits.rpc_connections.saturating_add(limits.conversations);
        Self {
            known: Generations::new(most.saturating_mul(2), i64::MAX),
            over: Vec::new(),
        }
    }

    /// Something was heard on one: from now on alerts of it are counted.
    pub(crate) fn heard(&mut self, connection: &Connection, time: Timestamp) {
        self.known.touch(connection.flow_id, time);
    }

    /// What was counted of all connections while something on this one was looked at.
    pub(crate) fn did(&mut self, connection: &Connection, time: Timestamp, before: &DcomCounters, now: &DcomCounters) {
        if before == now {
            return;
        }
        let Known { did, .. } = self.known.touch(connection.flow_id, time);
        did.activations += now.activations - before.activations;
        did.oxid_resolutions += now.oxid_resolutions - before.oxid_resolutions;
        did.endpoint_mappings += now.endpoint_mappings - before.endpoint_mappings;
        did.calls += now.calls - before.calls;
    }

    /// An alert is told of one.
    pub(crate) fn alerted(&mut self, meta: &Meta) {
        if let Some(known) = meta.flow_id.and_then(|flow| self.known.get_mut(&flow)) {
            known.alerts += 1;
        }
    }

    /// It is over.
    pub(crate) fn over(&mut self, connection: &Connection, event: Event) {
        self.over.push((connection.flow_id, event));
    }

    /// Tells those that are over.
    pub(crate) fn tell(&mut self, out: &mut Vec<Event>) {
        for (flow, mut event) in self.over.drain(..) {
            if let (Some(Known { did, alerts }), Body::Flow(told)) = (self.known.remove(&flow), &mut event.body) {
                told.traffic.alerted = alerts > 0;
                let seen = &mut told.seen;
                seen.alerts = some(alerts);
                seen.activations = some(did.activations);
                seen.oxid_resolutions = some(did.oxid_resolutions);
                seen.endpoint_mappings = some(did.endpoint_mappings);
                seen.calls = some(did.calls);
            }
            out.push(event);
        }
    }

    /// The same, and nothing is open any more.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.tell(out);
        self.known.clear();
    }
}

/// A counter, unless it is 0.
fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

/// Whole seconds, as a clock shows them.
fn second(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000_000)
}

impl Analyst {
    /// A connection that carried RPC is over, as was found at this time.
    pub(crate) fn over(&self, connection: &Arc<Connection>, over: &Over, now: Timestamp) -> Event {
        let Over { ended, carried } = over;
        let Ended { packets, last, .. } = ended;
        let meta = Meta {
            timestamp: now,
            ..self.meta(connection, *last, None)
        };
        let flow = Flow {
            app_proto: match connection.protocol {
                Protocol::Rpc => "dcerpc",
                Protocol::Smb => "smb",
                Protocol::Http => "http",
            },
            traffic: Traffic {
                packets_to_server: packets.client.count,
                packets_to_client: packets.server.count,
                bytes_to_server: packets.client.bytes,
                bytes_to_client: packets.server.bytes,
                start: connection.opened.time,
                end: last.time,
                age: second(last.time) - second(connection.opened.time),
                state: FlowState::of(ended.state, packets),
                reason: EndReason::from(ended.reason),
                alerted: false,
            },
            tcp: ended.state.map(|state| Tcp::of(state, packets, &carried.gaps)),
            seen: seen(connection, carried),
        };
        Event {
            meta,
            body: Body::Flow(Box::new(flow)),
        }
    }
}

fn seen(connection: &Connection, carried: &Carried) -> SeenOnFlow {
    SeenOnFlow {
        protocol_sequence: rpc_log::protocol_sequence(connection),
        syn_seen: (connection.transport == Transport::Tcp).then_some(connection.syn_seen),
        rpc: RpcOnFlow {
            pdus: carried.pdus,
            calls: carried.calls,
            faults: some(carried.faults),
            unanswered: some(carried.unanswered),
            sealed: some(carried.sealed),
        },
        gaps: some(carried.gaps.client + carried.gaps.server),
        bytes_missing: some(carried.bytes_missing),
        ..SeenOnFlow::default()
    }
}
