//! One connection's state: what was bound, who logged in, which calls wait for their answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{Bind, BindAck, Body, CommonHeader, Fault, Pdu, PfcFlags, Request, Response, SecTrailer};
use dcom_parsers::security::{self, AuthLevel, Claims};

use super::contexts::{Context, Contexts};
use super::fragments::{Condition, Fragment, Joined};
use super::framing::{Framed, Framer};
use super::logins::{self, Logins};
use super::opening;
use super::opening::{Opening, Openings};
use super::shape::Shape;
use super::{AuthState, BindKind, Bound, Exchange, Handling, IsRead, Named, Refusal, Reply, RpcBody, RpcBounds, name};
use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::flow::{Side, Sides, StreamEvent};
use crate::keys::{Loss, Who};
use crate::time::Timestamp;

/// Oddities of one connection that are told in words; the rest is counted.
const MAX_ANOMALIES: u32 = 32;
/// Calls of one connection that are answered and of whose requests more may come.
const MAX_CUT_SHORT: usize = 16;

/// What is kept for one DCE/RPC connection.
#[derive(Debug, Default)]
pub struct Association {
    begun: bool,
    framers: Sides<Framer>,
    contexts: Contexts,
    /// The offers that wait for their answer.
    offers: BTreeMap<u32, Offer>,
    bind_seen: bool,
    secondary_address: Option<Arc<str>>,
    /// Is it in a named pipe, so that the secondary address is one?
    in_pipe: bool,
    logins: Logins,
    /// What the user's keys open. Nothing without keys.
    openings: Option<Box<Openings>>,
    shape: Arc<Shape>,
    calls: BTreeMap<u32, Call>,
    /// Calls that were answered before their request ended: what is on its way of that is no call of its own.
    cut_short: VecDeque<u32>,
    /// None of them was asked before this.
    oldest: Option<Timestamp>,
    /// Bytes of `calls`.
    kept: usize,
    bytes_missing: u64,
    anomalies: u32,
}

/// An offer on its way.
#[derive(Debug)]
struct Offer {
    at: At,
    kind: BindKind,
    /// The association group to join, or 0.
    group: u32,
    signs_headers: bool,
    auth: Option<AuthState>,
    /// Is it a leg of a login that goes on with it?
    is_leg: bool,
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    opnum: u16,
    context_id: u16,
    interface: Named,
    encoding: Option<Encoding>,
    object: Option<Guid>,
    is_read: bool,
    request: Joined,
    reply: Option<Joined>,
    auth: Option<AuthState>,
    claims: Arc<Claims>,
}

impl Call {
    /// Bytes that it takes, about: the map leaves as much room between calls.
    fn kept(&self) -> usize {
        2 * size_of::<Self>()
            + logins::weight(&self.claims)
            + self.request.kept()
            + self.reply.as_ref().map_or(0, Joined::kept)
    }
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
        let calls = self.calls.iter_mut();
        let (mut before, mut after) = (0, 0);
        for (_, call) in calls.filter(|(id, _)| call_id.is_none_or(|call_id| call_id == **id)) {
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

    /// Takes a call out of those that wait.
    fn take_call(&mut self, call_id: u32, bounds: &mut RpcBounds) -> Option<Call> {
        let call = self.calls.remove(&call_id)?;
        self.account(call.kept(), 0, bounds);
        Some(call)
    }

    fn odd(&mut self, at: At, name: &'static str, detail: String, handling: &mut Handling<'_>) {
        self.anomalies += 1;
        if self.anomalies <= MAX_ANOMALIES {
            handling.say(RpcBody::Odd(Anomaly { at, name, detail }));
        }
    }

    /// Something of this side was not seen.
    fn lose(&mut self, side: Side, loss: Loss) {
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
        let key = opening.as_ref().map(|opening| opening.key.clone());
        match &pdu.body {
            Body::Bind(bind) => self.offer(at, (pdu, is_leg), BindKind::Bind, bind, handling),
            Body::AlterContext(bind) => self.offer(at, (pdu, is_leg), BindKind::AlterContext, bind, handling),
            Body::BindAck(ack) => self.answer(at, header, BindKind::Bind, ack, handling),
            Body::AlterContextResp(ack) => self.answer(at, header, BindKind::AlterContext, ack, handling),
            Body::BindNak(nak) => self.refuse(Some(at), header.call_id, Some(Refusal::Nak(nak.reason)), handling),
            Body::Request(request) => {
                let fragment = Fragment {
                    at,
                    header,
                    stub: opening
                        .as_ref()
                        .map_or(request.stub, |opening| opening.stub(request.stub)),
                    condition,
                    key,
                };
                self.request(&fragment, request, pdu.verifier, handling);
            }
            Body::Response(response) => {
                let fragment = Fragment {
                    at,
                    header,
                    stub: opening
                        .as_ref()
                        .map_or(response.stub, |opening| opening.stub(response.stub)),
                    condition,
                    key,
                };
                self.response(&fragment, response, pdu.verifier, handling);
            }
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

    fn offer(
        &mut self,
        at: At,
        (pdu, is_leg): (&Pdu<'_>, bool),
        kind: BindKind,
        bind: &Bind,
        handling: &mut Handling<'_>,
    ) {
        let header = pdu.header;
        if kind == BindKind::Bind && !self.bind_seen {
            self.bind_seen = true;
            self.logins.begin(pdu.verifier.is_some());
        }
        let limits = handling.bounds.limits;
        let room = limits.rpc_total.saturating_sub(handling.bounds.held);
        let offer = |contexts: &mut Contexts| contexts.offer(header.call_id, bind, limits.contexts, room);
        let refused = self.on_contexts(handling.bounds, offer);
        handling.bounds.counters.over_limit += refused;
        let offer = Offer {
            at,
            kind,
            group: bind.assoc_group_id,
            signs_headers: header.supports_header_signing() == Some(true),
            auth: pdu.verifier.as_ref().map(logins::state),
            is_leg,
        };
        self.offers.insert(header.call_id, offer);
        let waiting = self.contexts.waiting();
        self.offers.retain(|call_id, _| waiting.contains(call_id));
    }

    fn answer(&mut self, at: At, header: CommonHeader, kind: BindKind, ack: &BindAck, handling: &mut Handling<'_>) {
        if !ack.secondary_address.is_empty() {
            self.secondary_address = Some(name(&ack.secondary_address));
        }
        let offer = self.offers.remove(&header.call_id);
        let signs = |offer: &Offer| offer.signs_headers && header.supports_header_signing() == Some(true);
        let signing = offer.as_ref().filter(|offer| offer.auth.is_some()).map(signs);
        // An `alter_context` without the flag takes nothing back.
        let header_signing = signing.filter(|&signing| signing || kind == BindKind::Bind);
        let auth = offer.as_ref().and_then(|offer| offer.auth);
        let offered = offer.as_ref().map(|offer| offer.at);
        if let Some(offer) = offer.as_ref().filter(|offer| offer.is_leg)
            && header.auth_length == 0
        {
            self.logins.accept(offer.auth);
        }
        if kind == BindKind::Bind {
            self.logins
                .begin(offer.as_ref().is_none_or(|offer| offer.auth.is_some()));
            handling.bounds.counters.associations += 1;
            let joined = offer.is_some_and(|offer| offer.group != 0 && offer.group == ack.assoc_group_id);
            handling.bounds.counters.joined += u64::from(joined);
        }
        let contexts = self.on_contexts(handling.bounds, |contexts| contexts.answer(header.call_id, ack));
        let (answered, call_id) = (Some(at), header.call_id);
        let claims = self.logins.claims(auth);
        handling.say(RpcBody::Bound(Box::new(Bound {
            kind,
            offered,
            answered,
            call_id,
            contexts,
            refused: None,
            claims,
            group: Some(ack.assoc_group_id),
            header_signing,
            auth,
            named_pipe: self.named_pipe(),
        })));
    }

    fn refuse(&mut self, at: Option<At>, call_id: u32, refused: Option<Refusal>, handling: &mut Handling<'_>) {
        let offer = self.offers.remove(&call_id);
        let withdrawn = self.on_contexts(handling.bounds, |contexts| contexts.withdraw(call_id));
        let contexts = withdrawn.into_iter().map(|element| (element, None)).collect();
        let kind = offer.as_ref().map_or(BindKind::Bind, |offer| offer.kind);
        let auth = offer.as_ref().and_then(|offer| offer.auth);
        let claims = self.logins.claims(auth);
        if offer.as_ref().is_some_and(|offer| offer.is_leg) {
            self.logins.refuse(auth);
        }
        let offered = offer.map(|offer| offer.at);
        handling.say(RpcBody::Bound(Box::new(Bound {
            kind,
            offered,
            answered: at,
            call_id,
            contexts,
            refused,
            claims,
            group: None,
            header_signing: None,
            auth,
            named_pipe: self.named_pipe(),
        })));
    }

    /// The name of the pipe it is in.
    fn named_pipe(&self) -> Option<Arc<str>> {
        self.secondary_address.clone().filter(|_| self.in_pipe)
    }

    fn request(
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

    fn response(
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

    fn fault(
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

    fn give_up(&mut self, call_id: u32, mut call: Call, handling: &mut Handling<'_>) {
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
    pub(super) fn advance(&mut self, now: Timestamp, handling: &mut Handling<'_>) {
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

    /// The connection is over: what waits will not be answered.
    fn close(&mut self, handling: &mut Handling<'_>) {
        for call_id in self.contexts.waiting() {
            self.refuse(None, call_id, None, handling);
        }
        let mut calls: Vec<_> = self
            .calls
            .iter()
            .map(|(&id, call)| (call.request.message.at, id))
            .collect();
        calls.sort_by_key(|(at, _)| (at.input, at.frame));
        for (_, call_id) in calls {
            if let Some(call) = self.take_call(call_id, handling.bounds) {
                self.give_up(call_id, call, handling);
            }
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
