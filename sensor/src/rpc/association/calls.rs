//! The calls of a connection: fragments joined, each request with its answer.

use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{CommonHeader, Fault, PfcFlags, Request, Response, SecTrailer};
use dcom_parsers::security::Claims;

use super::super::contexts::Context;
use super::super::fragments::{Condition, Fragment, Joined};
use super::super::{AuthState, Exchange, Handling, IsRead, Named, Refusal, Reply, RpcBody, RpcBounds, logins};
use super::Association;
use crate::capture::At;
use crate::flow::Side;
use crate::time::Timestamp;

/// Calls of one connection that are answered and of whose requests more may come.
const MAX_CUT_SHORT: usize = 16;

/// A call on its way.
#[derive(Debug)]
pub(super) struct Call {
    opnum: u16,
    context_id: u16,
    interface: Named,
    encoding: Option<Encoding>,
    object: Option<Guid>,
    is_read: bool,
    pub(super) request: Joined,
    pub(super) reply: Option<Joined>,
    auth: Option<AuthState>,
    claims: Arc<Claims>,
}

impl Call {
    /// Bytes that it takes, about: the map leaves as much room between calls.
    pub(super) fn kept(&self) -> usize {
        2 * size_of::<Self>()
            + logins::weight(&self.claims)
            + self.request.kept()
            + self.reply.as_ref().map_or(0, Joined::kept)
    }
}

impl Association {
    /// Takes a call out of those that wait.
    pub(super) fn take_call(&mut self, call_id: u32, bounds: &mut RpcBounds) -> Option<Call> {
        let call = self.calls.remove(&call_id)?;
        self.account(call.kept(), 0, bounds);
        Some(call)
    }

    pub(super) fn request(
        &mut self,
        fragment: &Fragment<'_>,
        request: &Request<'_>,
        verifier: Option<SecTrailer<'_>>,
        handling: &mut Handling<'_>,
    ) {
        handling.bounds.counters.sealed += u64::from(fragment.condition == Condition::Sealed);
        let call_id = fragment.header.call_id;
        // After the last fragment comes another request, though its first fragment was not seen.
        let over = |call: &Call| call.request.ended;
        let again = fragment.header.flags.contains(PfcFlags::FIRST_FRAG) || self.calls.get(&call_id).is_some_and(over);
        if again && let Some(call) = self.take_call(call_id, handling.bounds) {
            // The id is used again: the earlier call will not be answered any more.
            self.give_up(call_id, call, handling);
        }
        if self.is_cut_short(fragment.header) {
            return;
        }
        if !self.calls.contains_key(&call_id) {
            let full = handling.bounds.held > handling.bounds.limits.rpc_total;
            if (full || self.calls.len() >= handling.bounds.limits.calls)
                && let Some((&oldest, _)) = self.calls.iter().min_by_key(|(_, call)| call.request.message.at.frame)
                && let Some(call) = self.take_call(oldest, handling.bounds)
            {
                handling.bounds.counters.over_limit += 1;
                if !call.request.ended {
                    // Nobody has so many calls on their way that he is still asking.
                    let detail = format!("call {oldest}");
                    self.odd(fragment.at, "unfinished_call_pushed_out", detail, handling);
                }
                self.give_up(oldest, call, handling);
            }
            let mut call = self.open_call(fragment, request, verifier, handling.bounds.is_read);
            call.is_read |= handling.bounds.keeps_opened && fragment.key.is_some();
            self.account(0, call.kept(), handling.bounds);
            self.calls.insert(call_id, call);
            let time = fragment.at.steady();
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        }
        self.join(fragment, Side::Client, handling.bounds);
    }

    /// Is it more of a request that was answered already? That is over with its last fragment, and with another request.
    fn is_cut_short(&mut self, header: CommonHeader) -> bool {
        let Some(place) = self.cut_short.iter().position(|&call_id| call_id == header.call_id) else {
            return false;
        };
        let begins = header.flags.contains(PfcFlags::FIRST_FRAG);
        if begins || header.flags.contains(PfcFlags::LAST_FRAG) {
            self.cut_short.remove(place);
        }
        !begins
    }

    fn open_call(
        &self,
        fragment: &Fragment<'_>,
        request: &Request<'_>,
        verifier: Option<SecTrailer<'_>>,
        is_read: IsRead,
    ) -> Call {
        // The nil UUID stands for no object: C706 3.1.2 Call Handles and Objects.
        let object = request.object.filter(|object| *object != Guid::NULL);
        let (interface, encoding) = match self.contexts.resolve(request.context_id) {
            Some(Context::Offered(interface, encoding) | Context::Accepted(interface, encoding)) => {
                (Named::Interface(interface), encoding)
            }
            Some(Context::Refused) => (Named::Refused, None),
            None => (Named::Unseen, None),
        };
        let (auth, claims) = match fragment.condition {
            Condition::Damaged if fragment.header.auth_length > 0 => self.logins.latest(),
            _ => self.logins.vouch(verifier, self.bind_seen),
        };
        Call {
            opnum: request.opnum,
            context_id: request.context_id,
            interface,
            encoding,
            object,
            is_read: is_read(interface, request.opnum, object),
            request: Joined::default(),
            reply: None,
            auth,
            claims,
        }
    }

    pub(super) fn response(
        &mut self,
        fragment: &Fragment<'_>,
        response: &Response<'_>,
        verifier: Option<SecTrailer<'_>>,
        handling: &mut Handling<'_>,
    ) {
        handling.bounds.counters.sealed += u64::from(fragment.condition == Condition::Sealed);
        let call_id = fragment.header.call_id;
        if !self.calls.contains_key(&call_id) {
            self.unasked(fragment, response.context_id, verifier, handling);
        } else if self.join(fragment, Side::Server, handling.bounds)
            && let Some(mut call) = self.take_call(call_id, handling.bounds)
        {
            let reply = call.reply.take().unwrap_or_default();
            self.answered(call_id, &call);
            self.close_call(call_id, call, Reply::Response(reply.finish()), handling);
        }
    }

    /// Joins a fragment to its call. True when it was the last one of that side.
    fn join(&mut self, fragment: &Fragment<'_>, side: Side, bounds: &mut RpcBounds) -> bool {
        let room = bounds.limits.stubs_per_connection.saturating_sub(self.kept);
        let room = room.min(bounds.limits.rpc_total.saturating_sub(bounds.held));
        let Some(call) = self.calls.get_mut(&fragment.header.call_id) else {
            return false;
        };
        let before = call.kept();
        let is_read = call.is_read;
        let joined = match side {
            Side::Client => &mut call.request,
            Side::Server => call.reply.get_or_insert_default(),
        };
        let room = room.min(bounds.limits.stub.saturating_sub(joined.kept()));
        joined.add(fragment, is_read, room, &mut bounds.counters);
        let ended = joined.ended;
        let after = call.kept();
        self.account(before, after, bounds);
        ended
    }

    /// An answer to a request that was not seen. Told once, at its last fragment.
    fn unasked(
        &mut self,
        fragment: &Fragment<'_>,
        context_id: u16,
        verifier: Option<SecTrailer<'_>>,
        handling: &mut Handling<'_>,
    ) {
        if !fragment.header.flags.contains(PfcFlags::LAST_FRAG) {
            return;
        }
        handling.bounds.counters.unasked += 1;
        let mut joined = Joined::default();
        // Its content may tell what it answers, where it is in one piece: nothing is held for it.
        let limits = &handling.bounds.limits;
        let room = limits.stub.min(limits.stubs_per_connection);
        joined.add(fragment, true, room, &mut handling.bounds.counters);
        let mut exchange = self.exchange(fragment.header.call_id, Reply::Response(joined.finish()), verifier);
        exchange.context_id = context_id;
        if verifier.is_none() && fragment.header.auth_length > 0 {
            exchange.auth = None; // it has one that was cut off
        }
        handling.say(RpcBody::Exchange(Box::new(exchange)));
    }

    pub(super) fn fault(
        &mut self,
        at: At,
        call_id: u32,
        fault: &Fault<'_>,
        verifier: Option<SecTrailer<'_>>,
        handling: &mut Handling<'_>,
    ) {
        handling.bounds.counters.faults += 1;
        let reply = Reply::Fault {
            at,
            status: fault.status,
        };
        if let Some(call) = self.take_call(call_id, handling.bounds) {
            self.answered(call_id, &call);
            self.close_call(call_id, call, reply, handling);
        } else if self.offers.contains_key(&call_id) {
            self.refuse(Some(at), call_id, Some(Refusal::Fault(fault.status)), handling);
        } else {
            handling.bounds.counters.unasked += 1;
            let mut exchange = self.exchange(call_id, reply, verifier);
            exchange.context_id = fault.context_id;
            handling.say(RpcBody::Exchange(Box::new(exchange)));
        }
    }

    /// A call is answered, which a server may do before the request ended.
    fn answered(&mut self, call_id: u32, call: &Call) {
        if !call.request.ended {
            self.cut_short.push_back(call_id);
            if self.cut_short.len() > MAX_CUT_SHORT {
                self.cut_short.pop_front();
            }
        }
    }

    /// An exchange without a request, by the verifier of its answer.
    fn exchange(&self, call_id: u32, reply: Reply, verifier: Option<SecTrailer<'_>>) -> Exchange {
        let (auth, claims) = self.logins.vouch(verifier, self.bind_seen);
        Exchange {
            call_id,
            activity: None,
            opnum: None,
            context_id: 0,
            interface: Named::Unseen,
            encoding: None,
            object: None,
            request: None,
            reply,
            auth,
            claims,
            shape: Arc::clone(&self.shape),
            secondary_address: self.secondary_address.clone(),
            named_pipe: self.named_pipe(),
            bytes_missing: self.bytes_missing,
        }
    }

    pub(super) fn give_up(&mut self, call_id: u32, mut call: Call, handling: &mut Handling<'_>) {
        // An answer that began is an answer, though not a whole one.
        let reply = call.reply.take();
        let reply = match reply {
            Some(reply) if reply.message.fragments > 0 => Reply::Response(reply.finish()),
            _ => {
                handling.bounds.counters.unanswered += 1;
                Reply::Unanswered
            }
        };
        self.close_call(call_id, call, reply, handling);
    }

    fn close_call(&mut self, call_id: u32, call: Call, reply: Reply, handling: &mut Handling<'_>) {
        handling.bounds.counters.calls += 1;
        let login = self.logins.used(call.auth, &reply);
        let exchange = Exchange {
            opnum: Some(call.opnum),
            context_id: call.context_id,
            interface: call.interface,
            encoding: call.encoding,
            object: call.object,
            request: Some(call.request.finish()),
            auth: call.auth,
            claims: call.claims,
            ..self.exchange(call_id, reply, None)
        };
        handling.say(RpcBody::Exchange(Box::new(exchange)));
        if let Some(login) = login {
            handling.say(RpcBody::Login(Box::new(login)));
        }
    }

    /// Time has come this far: calls that wait too long are given up, and it is said when the next one will.
    pub(in crate::rpc) fn advance(&mut self, now: Timestamp, handling: &mut Handling<'_>) {
        let answer = handling.bounds.limits.answer;
        let too_old = |asked: Timestamp| now.since(asked) > answer;
        if self.oldest.is_some_and(too_old) {
            let asked = |call: &Call| call.request.message.at;
            let waiting = self.calls.iter().filter(|(_, call)| too_old(asked(call).steady()));
            let mut old: Vec<_> = waiting.map(|(&id, call)| (asked(call), id)).collect();
            old.sort_unstable_by_key(|&(at, _)| (at.input, at.frame));
            for (_, call_id) in old {
                if let Some(call) = self.take_call(call_id, handling.bounds) {
                    self.give_up(call_id, call, handling);
                }
            }
            self.oldest = self.calls.values().map(|call| asked(call).steady()).min();
        }
        if let Some(oldest) = self.oldest {
            let due = Timestamp(oldest.0.saturating_add(answer).saturating_add(1));
            handling.bounds.due = handling.bounds.due.min(due);
        }
    }
}
