//! Calls without a connection: C706 10 Connectionless RPC Protocol Machines, one PDU a datagram.
//!
//! A call is known by its activity and its number in that. Nothing is bound: each PDU names interface and operation. A
//! datagram that is no such PDU leaves no trace.

mod conversation;
mod joining;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dcom_parsers::rpce::{DgHeader, DgPtype, recognise_cut_datagram};

use super::{RpcBody, RpcBounds, RpcEvent};
use crate::decode::{Datagram, Endpoint};
use crate::flow::{Connection, Reason, Side, Sides};
use crate::time::Timestamp;
use conversation::Conversation;

/// What was counted here; PDUs, calls and faults are counted with those of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounters {
    /// Pairs of ends between which calls were made.
    pub conversations: u64,
    /// Those let go because there were too many, or too many calls on all of them.
    pub evicted: u64,
    /// PDUs of calls that were told already, and fragments that were there already.
    pub repeated: u64,
    /// Fragments that came before an earlier one.
    pub out_of_order: u64,
    /// Bytes that the snap length cut off, and of fragments that were not seen.
    pub missing: u64,
}

/// Client and server. Whoever calls is the client: each of two hosts may be.
type Pair = (Endpoint, Endpoint);

/// All conversations.
#[derive(Debug, Default)]
pub struct Datagrams {
    conversations: BTreeMap<Pair, Conversation>,
    /// The same by when they were last of use: the longest idle comes first.
    idle: BTreeSet<(Timestamp, Pair)>,
    /// Those in which an answer waits for its request, by since when the first does.
    doubted: BTreeSet<(Timestamp, Pair)>,
    /// Calls on all of them that wait for their answer.
    calls: usize,
    counters: DatagramCounters,
}

/// What a PDU is handled with.
struct Handling<'a> {
    bounds: &'a mut RpcBounds,
    counters: &'a mut DatagramCounters,
    out: &'a mut dyn FnMut(RpcEvent),
}

impl Handling<'_> {
    fn say(&mut self, connection: &Arc<Connection>, body: RpcBody) {
        (self.out)(RpcEvent {
            connection: Arc::clone(connection),
            body,
        });
    }
}

/// The header of a datagram that carries connectionless DCE/RPC; None for all others.
#[inline]
pub(crate) fn recognise(datagram: &Datagram<'_>) -> Option<DgHeader> {
    recognise_cut_datagram(datagram.payload, datagram.cut as usize)
}

impl Datagrams {
    /// What was counted so far.
    pub fn counters(&self) -> &DatagramCounters {
        &self.counters
    }

    /// Takes in a datagram that was recognised by this header.
    pub fn push(
        &mut self,
        datagram: &Datagram<'_>,
        header: DgHeader,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
    ) {
        bounds.counters.pdus += 1;
        let ends = (datagram.source, datagram.destination);
        let (pair, side) = match header.ptype {
            DgPtype::REQUEST | DgPtype::ACK => (ends, Side::Client),
            DgPtype::RESPONSE | DgPtype::FAULT | DgPtype::REJECT => ((ends.1, ends.0), Side::Server),
            // How the two are getting on with a call says nothing about the call.
            _ => return self.count(ends, &header, datagram),
        };
        self.advance(datagram.at.steady(), bounds, out);
        let pair = self.whose(pair, &header);
        if !self.conversations.contains_key(&pair) {
            if header.ptype == DgPtype::ACK {
                return;
            }
            self.open(pair, datagram, bounds, out);
        }
        let Some(conversation) = self.conversations.get_mut(&pair) else {
            return;
        };
        let last = conversation.last.max(datagram.at.steady());
        self.idle.remove(&(conversation.last, pair));
        self.idle.insert((last, pair));
        conversation.last = last;
        self.handle(pair, bounds, out, |conversation, handling| {
            conversation.count(side, datagram, handling.counters);
            conversation.push(datagram, header, handling);
        });
        while self.calls > bounds.limits.conversation_calls && self.evict(bounds, out) {}
    }

    /// The conversation that a PDU between these two belongs to. A server may answer from another port than it was asked at, as
    /// where the endpoint mapper passed the request on: then it is the one that has the call.
    fn whose(&self, pair: Pair, header: &DgHeader) -> Pair {
        let key = (header.activity, header.sequence);
        if self
            .conversations
            .get(&pair)
            .is_some_and(|own| own.waits(key) || own.has_told(key))
        {
            return pair;
        }
        let beside = || self.beside(pair);
        let found = if header.ptype == DgPtype::REQUEST {
            // What a client asks at another port by the same number is another call, unless the answer came before it.
            beside().find(|(_, other)| other.lacks_request(key))
        } else {
            let told = || beside().find(|(_, other)| other.has_told(key));
            beside().find(|(_, other)| other.waits(key)).or_else(told)
        };
        found.map_or(pair, |(&found, _)| found)
    }

    /// Does something with a conversation, and keeps what is known of all of them true.
    fn handle(
        &mut self,
        pair: Pair,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
        handle: impl FnOnce(&mut Conversation, &mut Handling<'_>),
    ) {
        let Some(conversation) = self.conversations.get_mut(&pair) else {
            return;
        };
        let (waiting, doubted) = (conversation.waiting(), conversation.doubted());
        let counted = bounds.counters;
        let mut handling = Handling {
            bounds,
            counters: &mut self.counters,
            out,
        };
        handle(conversation, &mut handling);
        conversation.carried.add(&counted, &bounds.counters);
        self.calls = self.calls + conversation.waiting() - waiting;
        if let Some(since) = doubted {
            self.doubted.remove(&(since, pair));
        }
        self.doubted.extend(conversation.doubted().map(|since| (since, pair)));
    }

    /// Conversations of a client with a server at all its ports.
    fn beside(&self, (client, server): Pair) -> impl Iterator<Item = (&Pair, &Conversation)> {
        let at = |port| (client, Endpoint { port, ..server });
        self.conversations.range(at(0)..=at(u16::MAX))
    }

    /// A datagram that changes nothing about a call.
    fn count(&mut self, (source, destination): Pair, header: &DgHeader, datagram: &Datagram<'_>) {
        for (pair, side) in [
            ((source, destination), Side::Client),
            ((destination, source), Side::Server),
        ] {
            let pair = self.whose(pair, header);
            if let Some(conversation) = self.conversations.get_mut(&pair) {
                return conversation.count(side, datagram, &mut self.counters);
            }
        }
    }

    /// Time has come this far: answers have waited long enough for their requests, and conversations that are long silent
    /// are over.
    #[inline]
    pub fn advance(&mut self, now: Timestamp, bounds: &mut RpcBounds, out: &mut dyn FnMut(RpcEvent)) {
        while let Some(&(since, pair)) = self.doubted.first()
            && now.since(since) > bounds.limits.doubt
        {
            self.doubted.pop_first();
            self.handle(pair, bounds, out, Conversation::decide);
        }
        while let Some(&(last, pair)) = self.idle.first()
            && now.since(last) > bounds.limits.answer
        {
            self.end(pair, Reason::Timeout, bounds, out);
        }
    }

    /// What two ends say is given up, whatever state it is in: no more is said of it than that.
    pub(crate) fn abandon(&mut self, a: Endpoint, b: Endpoint, out: &mut dyn FnMut(RpcEvent)) {
        let pairs = [(a, b), (b, a)];
        let given_up: Vec<Pair> = pairs
            .into_iter()
            .flat_map(|pair| self.beside(pair).map(|(&pair, _)| pair))
            .collect();
        for pair in given_up {
            if let Some(conversation) = self.forget(pair) {
                conversation.over(Reason::Forced).into_iter().for_each(&mut *out);
            }
        }
        self.calls = self.conversations.values().map(Conversation::waiting).sum();
    }

    /// Bytes of stubs that wait for their answer.
    pub(crate) fn held(&self) -> usize {
        self.conversations.values().map(Conversation::kept).sum()
    }

    /// The capture is over: what waits will not be answered.
    pub fn finish(&mut self, bounds: &mut RpcBounds, out: &mut dyn FnMut(RpcEvent)) {
        while let Some(&(_, pair)) = self.idle.first() {
            self.end(pair, Reason::Shutdown, bounds, out);
        }
    }

    fn open(
        &mut self,
        (client, server): Pair,
        datagram: &Datagram<'_>,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
    ) {
        while self.conversations.len() >= bounds.limits.conversations.max(1) && self.evict(bounds, out) {}
        self.counters.conversations += 1;
        let ends = Sides { client, server };
        let connection = Arc::new(Connection::datagrams(
            ends,
            (datagram.vlan, datagram.tunnel.copied()),
            datagram.at,
            bounds.limits.community_id_seed,
        ));
        let opened = RpcEvent {
            connection: Arc::clone(&connection),
            body: RpcBody::Opened,
        };
        let mut conversation = Conversation::new(connection, datagram.at);
        conversation.carried.hear(&opened);
        out(opened);
        self.idle.insert((datagram.at.steady(), (client, server)));
        self.conversations.insert((client, server), conversation);
    }

    /// Lets go of the longest idle. False when there is none.
    fn evict(&mut self, bounds: &mut RpcBounds, out: &mut dyn FnMut(RpcEvent)) -> bool {
        let Some(&(_, pair)) = self.idle.first() else {
            return false;
        };
        self.counters.evicted += 1;
        self.end(pair, Reason::Forced, bounds, out);
        true
    }

    fn forget(&mut self, pair: Pair) -> Option<Conversation> {
        let conversation = self.conversations.remove(&pair)?;
        self.idle.remove(&(conversation.last, pair));
        if let Some(since) = conversation.doubted() {
            self.doubted.remove(&(since, pair));
        }
        Some(conversation)
    }

    fn end(&mut self, pair: Pair, reason: Reason, bounds: &mut RpcBounds, out: &mut dyn FnMut(RpcEvent)) {
        let Some(mut conversation) = self.forget(pair) else {
            return;
        };
        self.calls -= conversation.waiting();
        let counted = bounds.counters;
        conversation.close(&mut Handling {
            bounds,
            counters: &mut self.counters,
            out,
        });
        conversation.carried.add(&counted, &bounds.counters);
        conversation.over(reason).into_iter().for_each(out);
    }
}

#[cfg(test)]
mod tests;
