//! The calls of a connection: fragments joined, each request with its answer.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{CommonHeader, ContextResult, Fault, PfcFlags, Request, Response, SecTrailer};
use dcom_parsers::security::Claims;

use super::super::contexts::{Answered, Context};
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
#[allow(clippy::struct_field_names, reason = "the specification's name")]
pub(super) struct Call {
    pub(super) call_id: u32,
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
    /// How many offers were made before it.
    offers: u64,
    /// The one of these that would give its context its meaning, and that was not answered.
    offered: Option<u64>,
    /// How often something of the server's had not been seen.
    answers_lost: u64,
}

impl Call {
    /// Bytes that it takes, about: the lists may have room for as many calls more.
    pub(super) fn kept(&self) -> usize {
        size_of::<Self>()
            + 2 * size_of::<(Box<Self>, u32)>()
            + logins::weight(&self.claims)
            + self.request.kept()
            + self.reply.as_ref().map_or(0, Joined::kept)
    }
}

/// The calls on their way, in the order in which they were made: one or two as a rule. A server reads one request after the
/// other and answers each under its id: that ids differ is the client's concern (C706 12.6.3.1 Declarations, `call_id`), so
/// that of those of one id the first is answered first.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: VecDeque<Box<Call>>,
    /// The id of each, beside one another: however many wait, they are looked through in a microsecond.
    ids: VecDeque<u32>,
}

impl Calls {
    fn len(&self) -> usize {
        self.calls.len()
    }

    fn push(&mut self, call: Box<Call>) {
        self.ids.push_back(call.call_id);
        self.calls.push_back(call);
    }

    /// The one whose request is on its way, or the last one that was.
    fn asking(&mut self, call_id: u32) -> Option<&mut Call> {
        let place = self.ids.iter().rposition(|&id| id == call_id)?;
        self.calls.get_mut(place).map(Box::as_mut)
    }

    /// The one whose answer comes first.
    fn answering(&mut self, call_id: u32) -> Option<&mut Call> {
        let place = self.ids.iter().position(|&id| id == call_id)?;
        self.calls.get_mut(place).map(Box::as_mut)
    }

    fn take_answering(&mut self, call_id: u32) -> Option<Box<Call>> {
        let place = self.ids.iter().position(|&id| id == call_id)?;
        self.ids.remove(place);
        self.calls.remove(place)
    }

    pub(super) fn take_oldest(&mut self) -> Option<Box<Call>> {
        self.ids.pop_front();
        self.calls.pop_front()
    }

    /// Takes all of which this is true.
    #[allow(clippy::vec_box, reason = "they stay in the boxes that they come in")]
    fn take_those(&mut self, wanted: impl Fn(&Call) -> bool) -> Vec<Box<Call>> {
        let (taken, left) = mem::take(&mut self.calls)
            .into_iter()
            .partition::<Vec<_>, _>(|call| wanted(call));
        self.ids = left.iter().map(|call| call.call_id).collect();
        self.calls = left.into();
        taken
    }

    /// In the order in which they were made.
    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Call> {
        self.calls.iter_mut().map(Box::as_mut)
    }
}

impl Association {
    /// Takes a call out of those that wait.
    pub(super) fn take_call(
        &mut self,
        take: impl FnOnce(&mut Calls) -> Option<Box<Call>>,
        bounds: &mut RpcBounds,
    ) -> Option<Box<Call>> {
        let call = take(&mut self.calls)?;
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
        let lost = self.answers_lost;
        let earlier = self
            .calls
            .asking(call_id)
            .map(|call| (call.request.ended, call.answers_lost < lost));
        // After the last fragment comes another request, though its first fragment was not seen.
        let again = fragment.header.flags.contains(PfcFlags::FIRST_FRAG) || earlier.is_some_and(|(over, _)| over);
        match earlier {
            // The server takes them for one call, or its answer was lost.
            Some((false, _) | (_, true)) if again => self.give_up_all(call_id, handling),
            Some(_) if again => self.odd(fragment.at, "call_id_used_again", format!("call {call_id}"), handling),
            _ => {}
        }
        if self.is_cut_short(fragment.header) {
            return;
        }
        if again || earlier.is_none() {
            let full = handling.bounds.held > handling.bounds.limits.rpc_total;
            if (full || self.calls.len() >= handling.bounds.limits.calls)
                && let Some(call) = self.take_call(Calls::take_oldest, handling.bounds)
            {
                handling.bounds.counters.over_limit += 1;
                // Nobody has so many calls on their way, and less so when he is still asking.
                let name = if call.request.ended {
                    "call_pushed_out"
                } else {
                    "unfinished_call_pushed_out"
                };
                self.odd(fragment.at, name, format!("call {}", call.call_id), handling);
                self.give_up(call, handling);
            }
            let mut call = self.open_call(fragment, request, verifier, handling.bounds.is_read);
            call.is_read |= handling.bounds.keeps_opened && fragment.key.is_some();
            self.account(0, call.kept(), handling.bounds);
            self.calls.push(call);
            let time = fragment.at.steady();
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        }
        self.join(fragment, Side::Client, handling);
    }

    /// No call of this id will be answered any more.
    fn give_up_all(&mut self, call_id: u32, handling: &mut Handling<'_>) {
        while let Some(call) = self.take_call(|calls| calls.take_answering(call_id), handling.bounds) {
            self.give_up(call, handling);
        }
    }

    /// An offer is answered: the calls know by now what was made of their context when the server came to them.
    pub(super) fn settle(&mut self, offer: u64, answered: &Answered) {
        // Of a context that stands there twice the last acceptance counts.
        let accepted = answered.iter().filter_map(|(element, result)| {
            let result = result.filter(|result| result.result == ContextResult::ACCEPTANCE)?;
            Some((element.context_id, (element.abstract_syntax, result.transfer_syntax)))
        });
        let accepted: BTreeMap<_, _> = accepted.collect();
        for call in self.calls.iter_mut().rev().take_while(|call| call.offers > offer) {
            if let Some(&(interface, encoding)) = accepted.get(&call.context_id) {
                (call.interface, call.encoding) = (Named::Interface(interface), Encoding::of(encoding));
                call.offered = None;
            } else if call.offered == Some(offer) {
                (call.interface, call.encoding) = (Named::Refused, None);
                call.offered = None;
            }
        }
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
    ) -> Box<Call> {
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
        let is_read = |interface| is_read(interface, request.opnum, object);
        let mut may_become = self.contexts.may_become(request.context_id).map(Named::Interface);
        Box::new(Call {
            call_id: fragment.header.call_id,
            opnum: request.opnum,
            context_id: request.context_id,
            interface,
            encoding,
            object,
            is_read: is_read(interface) || may_become.any(is_read),
            request: Joined::default(),
            reply: None,
            auth,
            claims,
            offers: self.contexts.made(),
            offered: self.contexts.offered(request.context_id),
            answers_lost: self.answers_lost,
        })
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
        if self.calls.answering(call_id).is_none() {
            self.unasked(fragment, response.context_id, verifier, handling);
        } else if self.join(fragment, Side::Server, handling)
            && let Some(mut call) = self.take_answered(call_id, handling.bounds)
        {
            let reply = call.reply.take().unwrap_or_default();
            self.close_call(call, Reply::Response(reply.finish()), handling);
        }
    }

    /// Takes a call that is answered, which a server may do before the request ended.
    fn take_answered(&mut self, call_id: u32, bounds: &mut RpcBounds) -> Option<Box<Call>> {
        let call = self.take_call(|calls| calls.take_answering(call_id), bounds)?;
        if !call.request.ended {
            self.cut_short.push_back(call_id);
            if self.cut_short.len() > MAX_CUT_SHORT {
                self.cut_short.pop_front();
            }
        }
        Some(call)
    }

    /// Joins a fragment to its call. True when it was the last one of that side.
    fn join(&mut self, fragment: &Fragment<'_>, side: Side, handling: &mut Handling<'_>) -> bool {
        let bounds = &mut *handling.bounds;
        let room = bounds.limits.stubs_per_connection.saturating_sub(self.kept);
        let room = room.min(bounds.limits.rpc_total.saturating_sub(bounds.held));
        let call_id = fragment.header.call_id;
        let call = match side {
            Side::Client => self.calls.asking(call_id),
            Side::Server => self.calls.answering(call_id),
        };
        let Some(call) = call else {
            return false;
        };
        let before = call.kept();
        let is_read = call.is_read;
        let joined = match side {
            Side::Client => &mut call.request,
            Side::Server => call.reply.get_or_insert_default(),
        };
        let room = room.min(bounds.limits.stub.saturating_sub(joined.kept()));
        let is_mixed = joined.message.fragments > 0 && joined.message.order != fragment.header.order;
        joined.add(fragment, is_read, room, &mut bounds.counters);
        let ended = joined.ended;
        let after = call.kept();
        self.account(before, after, bounds);
        if is_mixed {
            self.odd(fragment.at, "mixed_byte_order", format!("call {call_id}"), handling);
        }
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
        if let Some(call) = self.take_answered(call_id, handling.bounds) {
            self.close_call(call, reply, handling);
        } else if self.contexts.waits(call_id) {
            self.refuse(Some(at), call_id, Some(Refusal::Fault(fault.status)), handling);
        } else {
            handling.bounds.counters.unasked += 1;
            let mut exchange = self.exchange(call_id, reply, verifier);
            exchange.context_id = fault.context_id;
            handling.say(RpcBody::Exchange(Box::new(exchange)));
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
            is_offered: false,
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

    pub(super) fn give_up(&mut self, mut call: Box<Call>, handling: &mut Handling<'_>) {
        // An answer that began is an answer, though not a whole one.
        let reply = call.reply.take();
        let reply = match reply {
            Some(reply) if reply.message.fragments > 0 => Reply::Response(reply.finish()),
            _ => {
                handling.bounds.counters.unanswered += 1;
                Reply::Unanswered
            }
        };
        self.close_call(call, reply, handling);
    }

    fn close_call(&mut self, call: Box<Call>, reply: Reply, handling: &mut Handling<'_>) {
        handling.bounds.counters.calls += 1;
        let login = self.logins.used(call.auth, &reply);
        let exchange = Exchange {
            opnum: Some(call.opnum),
            context_id: call.context_id,
            interface: call.interface,
            encoding: call.encoding,
            object: call.object,
            is_offered: call.offered.is_some() && reply == Reply::Unanswered,
            request: Some(call.request.finish()),
            auth: call.auth,
            claims: call.claims,
            ..self.exchange(call.call_id, reply, None)
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
            let mut old = self.calls.take_those(|call| too_old(asked(call).steady()));
            old.sort_unstable_by_key(|call| (asked(call).input, asked(call).frame));
            for call in old {
                self.account(call.kept(), 0, handling.bounds);
                self.give_up(call, handling);
            }
            self.oldest = self.calls.iter_mut().map(|call| asked(call).steady()).min();
        }
        if let Some(oldest) = self.oldest {
            let due = Timestamp(oldest.0.saturating_add(answer).saturating_add(1));
            handling.bounds.due = handling.bounds.due.min(due);
        }
    }
}
