//! One connection's state: what was bound, who logged in, which calls wait for their answer.

mod binds;
mod calls;

use std::collections::VecDeque;
use std::sync::Arc;

use dcom_parsers::rpce::{Body, CommonHeader, Pdu};
use dcom_parsers::security::{self, AuthLevel};

use super::contexts::Contexts;
use super::fragments::{Condition, Fragment};
use super::framing::{Framed, Framer};
use super::logins::Logins;
use super::opening::{self, Opening, Openings};
use super::shape::Shape;
use super::{BindKind, Handling, Refusal, RpcBody, RpcBounds};
use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::flow::{Side, Sides, StreamEvent};
use crate::keys::{Loss, Who};
use crate::time::Timestamp;
use calls::Calls;

/// Oddities of one connection that are told in words; the rest is counted.
const MAX_ANOMALIES: u32 = 32;

/// What is kept for one DCE/RPC connection.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub struct Association {
    begun: bool,
    framers: Sides<Framer>,
    contexts: Contexts,
    bind_seen: bool,
    /// Has the server said anything that is DCE/RPC?
    is_answered: bool,
    secondary_address: Option<Arc<str>>,
    /// Is it in a named pipe, so that the secondary address is one?
    in_pipe: bool,
    logins: Logins,
    /// What the user's keys open. Nothing without keys.
    openings: Option<Box<Openings>>,
    shape: Arc<Shape>,
    calls: Calls,
    /// Calls that were answered before their request ended: what is on its way of that is no call of its own.
    cut_short: VecDeque<u32>,
    /// None of them was asked before this.
    oldest: Option<Timestamp>,
    /// Bytes of `calls`.
    kept: usize,
    bytes_missing: u64,
    /// How often something of the server's was not seen, answers perhaps.
    answers_lost: u64,
    anomalies: u32,
}

impl Association {
    /// One in a pipe of this name, if it is known: what the secondary address will say in full.
    pub(super) fn on_pipe(name: Option<Arc<str>>) -> Self {
        Self {
            secondary_address: name,
            in_pipe: true,
            ..Self::default()
        }
    }

    /// Bytes of unfinished PDUs and of stubs.
    pub(super) fn held(&self) -> usize {
        let framers = self.framers.client.held() + self.framers.server.held();
        framers + self.contexts.kept() + self.logins.kept() + self.opened() + self.kept
    }

    /// Bytes of what opens sealed PDUs.
    fn opened(&self) -> usize {
        self.openings.as_ref().map_or(0, |openings| openings.kept())
    }

    /// Takes in what the stream brings.
    pub fn push(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        if !self.begun {
            self.begun = true;
            handling.say(RpcBody::Opened);
        }
        match event {
            StreamEvent::Data { at, side, bytes } => {
                self.frame(side, handling, |framer, out| framer.data(at, bytes, out));
                self.advance(at.steady(), handling);
            }
            StreamEvent::Gap { side, bytes } => {
                self.bytes_missing += bytes;
                // A PDU that begins in it goes on behind it, where nobody sees that it is one.
                let unknown = bytes.saturating_add(u16::MAX.into());
                self.lose(side, Loss::of(unknown));
                if side == Side::Client {
                    self.cut_short.clear();
                    self.on_contexts(handling.bounds, Contexts::doubt);
                }
                self.frame(side, handling, |framer, out| framer.gap(bytes, out));
                // As long as it lies within one PDU, only that one's message has lost something.
                if self.framers[side].is_lost() {
                    self.doubt(side, None, handling.bounds);
                }
            }
            StreamEvent::Closed => self.close(handling),
        }
    }

    /// Runs one of a side's framer's operations and handles what comes out.
    fn frame(
        &mut self,
        side: Side,
        handling: &mut Handling<'_>,
        operation: impl FnOnce(&mut Framer, &mut dyn FnMut(Framed<'_>)),
    ) {
        let mut framer = std::mem::take(&mut self.framers[side]);
        handling.bounds.held -= framer.held();
        operation(&mut framer, &mut |framed| self.framed(side, framed, handling));
        handling.bounds.held += framer.held();
        if handling.bounds.held > handling.bounds.limits.rpc_total && framer.held() > 0 {
            handling.bounds.counters.over_limit += 1;
            handling.bounds.held -= framer.held();
            framer.give_up(&mut |framed| self.framed(side, framed, handling));
            if framer.is_lost() {
                self.doubt(side, None, handling.bounds);
            }
        }
        self.framers[side] = framer;
    }

    /// Fragments of this side were not seen: of one call, or of any. What is being joined there is not whole.
    fn doubt(&mut self, side: Side, call_id: Option<u32>, bounds: &mut RpcBounds) {
        let (mut before, mut after) = (0, 0);
        for call in self
            .calls
            .iter_mut()
            .filter(|call| call_id.is_none_or(|id| id == call.call_id))
        {
            before += call.kept();
            match (side, &mut call.reply) {
                (Side::Client, _) => call.request.doubt(),
                (Side::Server, Some(reply)) => reply.doubt(),
                (Side::Server, None) => {}
            }
            after += call.kept();
        }
        self.account(before, after, bounds);
    }

    fn framed(&mut self, side: Side, framed: Framed<'_>, handling: &mut Handling<'_>) {
        match framed {
            Framed::Pdu(at, header, bytes) => {
                handling.bounds.counters.pdus += 1;
                self.is_answered |= side == Side::Server;
                if handling.bounds.tells_pdus {
                    handling.say(RpcBody::Pdu(at, bytes.to_vec()));
                }
                if !self.is_of(side, at, header, handling) {
                    return;
                }
                match Pdu::parse(bytes) {
                    Ok(pdu) => {
                        Shape::learn(&mut self.shape, at.frame, &pdu, bytes);
                        self.pdu(side, at, &pdu, bytes, handling);
                    }
                    Err(error) => {
                        handling.bounds.counters.malformed += 1;
                        self.damaged(side, at, header, bytes, handling);
                        self.odd(at, "malformed_pdu", error.to_string(), handling);
                    }
                }
            }
            Framed::Damaged(at, header, start) => {
                handling.bounds.counters.damaged += 1;
                if self.is_of(side, at, header, handling) {
                    self.damaged(side, at, header, start, handling);
                }
            }
            Framed::Junk(at) => {
                handling.bounds.counters.junk += 1;
                if side == Side::Server && !self.is_answered && self.bytes_missing == 0 {
                    // It speaks something else, and takes none of what was offered.
                    for call_id in self.contexts.waiting() {
                        self.refuse(Some(at), call_id, None, handling);
                    }
                }
                self.lose(
                    side,
                    Loss {
                        stubs: 0,
                        bytes: u16::MAX.into(),
                    },
                );
                self.doubt(side, None, handling.bounds);
                self.odd(
                    at,
                    "no_pdu_where_one_starts",
                    format!("{side:?}").to_lowercase(),
                    handling,
                );
            }
        }
    }

    /// May this side send such a PDU? What a client says in the server's name is no answer of the server, which does not
    /// take such a PDU for anything.
    fn is_of(&mut self, side: Side, at: At, header: CommonHeader, handling: &mut Handling<'_>) -> bool {
        let by_client = side == Side::Client;
        let of_the_other = header.ptype.sent_by_client().is_some_and(|client| client != by_client);
        if of_the_other {
            let detail = format!("{:?} of the {side:?}", header.ptype).to_lowercase();
            self.odd(at, "pdu_of_the_other_side", detail, handling);
        }
        !of_the_other
    }

    /// Part of a fragment is lost: the call is there all the same, and its stub cannot be whole.
    fn damaged(&mut self, side: Side, at: At, header: CommonHeader, start: &[u8], handling: &mut Handling<'_>) {
        let stub = &[][..];
        self.lose(side, opening::loss(header));
        let fragment = Fragment {
            at,
            header,
            stub,
            condition: Condition::Damaged,
            key: None,
        };
        match Body::parse(header, start) {
            Ok(Body::Request(request)) => self.request(&fragment, &request, None, handling),
            Ok(Body::Response(response)) => self.response(&fragment, &response, None, handling),
            // Cut before it says more than whose fragment it is.
            _ => self.doubt(side, Some(header.call_id), handling.bounds),
        }
    }

    /// Does something to the contexts, of which some may be kept or let go.
    fn on_contexts<T>(&mut self, bounds: &mut RpcBounds, act: impl FnOnce(&mut Contexts) -> T) -> T {
        bounds.held -= self.contexts.kept();
        let done = act(&mut self.contexts);
        bounds.held += self.contexts.kept();
        done
    }

    /// Bytes of calls are kept, or let go.
    fn account(&mut self, before: usize, after: usize, bounds: &mut RpcBounds) {
        self.kept = self.kept + after - before;
        bounds.held = bounds.held + after - before;
    }

    fn odd(&mut self, at: At, name: &'static str, detail: String, handling: &mut Handling<'_>) {
        self.anomalies += 1;
        if self.anomalies <= MAX_ANOMALIES {
            handling.say(RpcBody::Odd(Anomaly { at, name, detail }));
        }
    }

    /// Something of this side was not seen.
    fn lose(&mut self, side: Side, loss: Loss) {
        self.answers_lost += u64::from(side == Side::Server);
        if let Some(openings) = &mut self.openings {
            openings.lose(side, loss);
        }
    }

    /// `bytes` is all of it.
    fn pdu(&mut self, side: Side, at: At, pdu: &Pdu<'_>, bytes: &[u8], handling: &mut Handling<'_>) {
        let header = pdu.header;
        let is_leg = self.login(side, at, pdu, handling);
        let opening = self.open((side, at), (pdu, is_leg), bytes, handling);
        let condition = match pdu.verifier {
            Some(verifier) if AuthLevel(verifier.auth_level) == AuthLevel::PKT_PRIVACY => match opening {
                Some(_) => Condition::Clear,
                None => Condition::Sealed,
            },
            _ => Condition::Clear,
        };
        let fragment = |stub| Fragment {
            at,
            header,
            stub: opening.as_ref().map_or(stub, |opening| opening.stub(stub)),
            condition,
            key: opening.as_ref().map(|opening| opening.key.clone()),
        };
        match &pdu.body {
            Body::Bind(bind) => self.offer(at, (pdu, is_leg), BindKind::Bind, bind, handling),
            Body::AlterContext(bind) => self.offer(at, (pdu, is_leg), BindKind::AlterContext, bind, handling),
            Body::BindAck(ack) => self.answer(at, header, BindKind::Bind, ack, handling),
            Body::AlterContextResp(ack) => self.answer(at, header, BindKind::AlterContext, ack, handling),
            Body::BindNak(nak) => self.refuse(Some(at), header.call_id, Some(Refusal::Nak(nak.reason)), handling),
            Body::Request(request) => self.request(&fragment(request.stub), request, pdu.verifier, handling),
            Body::Response(response) => self.response(&fragment(response.stub), response, pdu.verifier, handling),
            Body::Fault(fault) => self.fault(at, header.call_id, fault, pdu.verifier, handling),
            Body::Auth3 | Body::Shutdown | Body::Cancel | Body::Orphaned | Body::Other(_) => {}
        }
    }

    /// Opens a sealed PDU, or checks a signed one, if there are keys, and takes from a leg of a login what they tell of it.
    fn open(
        &mut self,
        (side, at): (Side, At),
        (pdu, is_leg): (&Pdu<'_>, bool),
        bytes: &[u8],
        handling: &mut Handling<'_>,
    ) -> Option<Opening> {
        let keys = handling.bounds.keys.clone()?;
        let header = pdu.header;
        let verifier = pdu.verifier.as_ref()?;
        let openings = self.openings.get_or_insert_default();
        let RpcBounds {
            tickets,
            key_credit,
            key_counters,
            ..
        } = &mut *handling.bounds;
        let before = openings.kept();
        let mut taken = if is_leg {
            openings.login((&keys, key_credit), tickets, verifier, key_counters)
        } else {
            openings.call(side, pdu, verifier, bytes, key_counters)
        };
        if taken.is_strangers && self.bind_seen && self.bytes_missing == 0 && !self.logins.knows(verifier) {
            let detail = format!(
                "{:?} of call {}, by a login that there is not",
                header.ptype, header.call_id
            );
            taken.odd = Some(("bad_signature", detail));
        }
        let after = openings.kept();
        handling.bounds.held = handling.bounds.held + after - before;
        if after > before && handling.bounds.held > handling.bounds.limits.rpc_total {
            handling.bounds.counters.over_limit += 1;
            handling.bounds.held -= after;
            self.openings = None;
        }
        if let Some((name, detail)) = taken.odd {
            self.odd(at, name, detail, handling);
        }
        if let Some(who) = taken.who {
            self.name(verifier.auth_context_id, who, handling.bounds);
        }
        taken.opening
    }

    /// What is known of a login's client, which the login itself hides.
    fn name(&mut self, id: u32, who: Who, bounds: &mut RpcBounds) {
        bounds.held -= self.logins.kept();
        self.logins.name(id, who);
        bounds.held += self.logins.kept();
    }

    /// Takes note of who logs in. True if it is a leg of a login, and of one that is going on.
    ///
    /// Only these five kinds of PDUs are legs: of a verifier on any other, as on an `orphaned`, a server takes no notice.
    fn login(&mut self, side: Side, at: At, pdu: &Pdu<'_>, handling: &mut Handling<'_>) -> bool {
        let (
            Some(verifier),
            Body::Bind(_) | Body::BindAck(_) | Body::AlterContext(_) | Body::AlterContextResp(_) | Body::Auth3,
        ) = (&pdu.verifier, &pdu.body)
        else {
            return false;
        };
        if side == Side::Client && self.logins.is_over(verifier.auth_context_id) {
            // In three legs of Kerberos the last one answers the server's, and names nobody.
            return security::is_kerberos_answer(verifier.auth_value);
        }
        let room = handling.bounds.limits.rpc_total.saturating_sub(handling.bounds.held);
        handling.bounds.held -= self.logins.kept();
        let learnt = self.logins.learn(side, at, verifier, room);
        handling.bounds.held += self.logins.kept();
        match learnt {
            Ok(kept) => handling.bounds.counters.over_limit += u64::from(!kept),
            Err(error) => self.odd(at, "malformed_token", error.to_string(), handling),
        }
        if let Some(login) = self.logins.forgotten() {
            handling.say(RpcBody::Login(Box::new(login)));
        }
        let client = handling.connection.client.address;
        if let Some(who) = handling.bounds.tickets.client(client, verifier.auth_value) {
            self.name(verifier.auth_context_id, who, handling.bounds);
        }
        true
    }

    /// The name of the pipe it is in.
    fn named_pipe(&self) -> Option<Arc<str>> {
        self.secondary_address.clone().filter(|_| self.in_pipe)
    }

    /// The connection is over: what waits will not be answered.
    fn close(&mut self, handling: &mut Handling<'_>) {
        for call_id in self.contexts.waiting() {
            self.refuse(None, call_id, None, handling);
        }
        while let Some(call) = self.take_call(Calls::take_oldest, handling.bounds) {
            self.give_up(call, handling);
        }
        for side in [Side::Client, Side::Server] {
            handling.bounds.held -= std::mem::take(&mut self.framers[side]).held();
        }
        self.on_contexts(handling.bounds, std::mem::take);
        let mut logins = std::mem::take(&mut self.logins);
        for login in logins.untold() {
            handling.say(RpcBody::Login(Box::new(login)));
        }
        handling.bounds.held -= logins.kept();
        handling.bounds.held -= self.opened();
        self.openings = None;
        handling.say(RpcBody::Closed);
    }
}
