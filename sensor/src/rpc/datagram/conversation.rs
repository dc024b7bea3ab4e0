//! The calls that one end makes to another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{DgBody, DgFlags, DgHeader, DgPdu, DgPtype, SyntaxId};
use dcom_parsers::security::{AuthLevel, AuthService, Claims};

use super::joining::{Added, Fragment, Joining, Place, Room};
use super::{DatagramCounters, Handling};
use crate::capture::At;
use crate::decode::Datagram;
use crate::flow::{Connection, Ended, Packets, Reason, Side, Sides};
use crate::rpc::fragments::Condition;
use crate::rpc::{AuthState, Carried, Exchange, Named, Reply, RpcBody, RpcEvent};
use crate::time::Timestamp;

/// Calls remembered after they were told, so that a PDU sent again is no new call.
const MAX_TOLD: usize = 64;

/// Activity and number in it.
type CallKey = (Guid, u32);

/// Two ends, of which one calls.
#[derive(Debug)]
pub(super) struct Conversation {
    connection: Arc<Connection>,
    /// Of the latest datagram that is about a call.
    pub(super) last: Timestamp,
    packets: Sides<Packets>,
    last_packet: At,
    pub(super) carried: Carried,
    calls: BTreeMap<CallKey, Call>,
    /// Those of them whose answer is there before all of the request, by when it was: a mirror may swap the two directions.
    doubted: BTreeSet<(Timestamp, CallKey)>,
    told: VecDeque<CallKey>,
    /// Bytes of stubs in `calls`.
    kept: usize,
    claims: Arc<Claims>,
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    began: At,
    opnum: u16,
    interface: Named,
    object: Option<Guid>,
    flags: DgFlags,
    request: Joining,
    reply: Joining,
    answered: Option<Answered>,
    auth: Option<AuthState>,
}

/// The server has said all it had to say.
#[derive(Clone, Copy, Debug)]
struct Answered {
    at: At,
    /// The call failed, or was refused.
    fault: Option<u32>,
}

impl Call {
    /// As its first PDU tells, whichever that is: all of them name interface and operation.
    fn new(at: At, pdu: &Pdu<'_>, handling: &Handling<'_>) -> Self {
        let header = &pdu.header;
        let interface = if header.interface.is_null() {
            Named::Unseen
        } else {
            Named::Interface(SyntaxId {
                uuid: header.interface,
                version: header.interface_version,
            })
        };
        let message = || {
            if (handling.bounds.is_read)(interface, header.opnum, header.object) {
                Joining::kept_for_reading()
            } else {
                Joining::default()
            }
        };
        Self {
            began: at,
            opnum: header.opnum,
            interface,
            object: header.object,
            flags: header.flags,
            request: message(),
            reply: message(),
            answered: None,
            auth: pdu.auth,
        }
    }

    /// Bytes of stubs in it.
    fn kept(&self) -> usize {
        self.request.kept() + self.reply.kept()
    }

    fn wants_no_answer(&self) -> bool {
        self.flags.intersects(DgFlags::MAYBE | DgFlags::BROADCAST)
    }
}

/// What is made of a datagram before it is handled.
struct Pdu<'a> {
    header: DgHeader,
    stub: &'a [u8],
    status: Option<u32>,
    condition: Condition,
    auth: Option<AuthState>,
}

impl<'a> Pdu<'a> {
    fn read(datagram: &Datagram<'a>, header: DgHeader) -> Self {
        let damaged = Self {
            header,
            stub: &[],
            status: None,
            condition: Condition::Damaged,
            auth: auth(&header, &[]),
        };
        let Ok(pdu) = DgPdu::parse(datagram.payload) else {
            return damaged;
        };
        let auth = auth(&header, pdu.verifier);
        let (stub, status) = match pdu.body {
            DgBody::Request(stub) | DgBody::Response(stub) => (stub, None),
            DgBody::Fault(status) | DgBody::Reject(status) => (&[][..], Some(status)),
            _ => (&[][..], None),
        };
        let condition = match auth {
            Some(auth) if auth.level == AuthLevel::PKT_PRIVACY => Condition::Sealed,
            // Its verifier is what says whether it is sealed.
            None => Condition::Damaged,
            Some(_) => Condition::Clear,
        };
        Self {
            header,
            stub,
            status,
            condition,
            auth,
        }
    }
}

/// [MS-RPCE] 2.2.3.4 `sec_trailer_cl` Structure: the level stands behind the stub, padded to eight bytes. None when that
/// was cut off.
fn auth(header: &DgHeader, verifier: &[u8]) -> Option<AuthState> {
    if header.auth_service == 0 {
        return Some(AuthState {
            service: AuthService::NONE,
            level: AuthLevel::NONE,
            context: None,
        });
    }
    let padding = usize::from(header.length.wrapping_neg() % 8);
    let level = verifier.get(padding)?;
    Some(AuthState {
        service: AuthService(header.auth_service),
        level: AuthLevel(*level),
        context: None,
    })
}

impl Conversation {
    pub(super) fn new(connection: Arc<Connection>, first: At) -> Self {
        Self {
            connection,
            last: first.steady(),
            packets: Sides::default(),
            last_packet: first,
            carried: Carried::default(),
            calls: BTreeMap::new(),
            doubted: BTreeSet::new(),
            told: VecDeque::new(),
            kept: 0,
            claims: Arc::default(),
        }
    }

    /// Bytes of stubs in them.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Calls that wait for their answer.
    pub(super) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// Does this call wait for its end?
    pub(super) fn waits(&self, key: CallKey) -> bool {
        self.calls.contains_key(&key)
    }

    /// Was it told?
    pub(super) fn has_told(&self, key: CallKey) -> bool {
        self.told.contains(&key)
    }

    /// Does it wait, and nothing of its request was seen?
    pub(super) fn lacks_request(&self, key: CallKey) -> bool {
        self.calls.get(&key).is_some_and(|call| call.request.is_empty())
    }

    /// Since when the first of the answers waits that came before their requests.
    pub(super) fn doubted(&self) -> Option<Timestamp> {
        self.doubted.first().map(|&(since, _)| since)
    }

    /// The first of them has waited long enough.
    pub(super) fn decide(&mut self, handling: &mut Handling<'_>) {
        if let Some(&(_, key)) = self.doubted.first() {
            self.give_up(key, handling);
        }
    }

    /// Counts a datagram.
    pub(super) fn count(&mut self, side: Side, datagram: &Datagram<'_>, counters: &mut DatagramCounters) {
        self.packets[side].count(datagram.length, 0);
        self.last_packet = datagram.at;
        self.carried.pdus += 1;
        if datagram.cut > 0 {
            self.lose(side, datagram.cut.into(), counters);
        }
    }

    fn lose(&mut self, side: Side, bytes: u64, counters: &mut DatagramCounters) {
        self.carried.lost(side, bytes);
        counters.missing += bytes;
    }

    /// What there is to say at its end.
    pub(super) fn over(&self, reason: Reason) -> Option<RpcEvent> {
        let ended = Ended {
            packets: self.packets,
            last: self.last_packet,
            state: None,
            reason,
        };
        Some(RpcEvent {
            connection: Arc::clone(&self.connection),
            body: self.carried.over(ended)?,
        })
    }

    /// Takes a PDU in.
    pub(super) fn push(&mut self, datagram: &Datagram<'_>, header: DgHeader, handling: &mut Handling<'_>) {
        let at = datagram.at;
        self.give_up_old_calls(at, handling);
        let key = (header.activity, header.sequence);
        if header.ptype == DgPtype::ACK {
            return self.acknowledged(key, handling);
        }
        // Of a refusal it cannot be told whether it is a second one: a refused call may be tried again.
        let unasked_reject = header.ptype == DgPtype::REJECT && !self.waits(key);
        if unasked_reject || self.has_told(key) {
            handling.counters.repeated += 1;
            return;
        }
        let pdu = Pdu::read(datagram, header);
        handling.bounds.counters.damaged += u64::from(pdu.condition == Condition::Damaged);
        handling.bounds.counters.sealed += u64::from(pdu.condition == Condition::Sealed);
        let says_nothing = header.ptype == DgPtype::FAULT && pdu.status.is_none();
        if !self.waits(key) && !says_nothing {
            self.make_room(handling);
            self.calls.insert(key, Call::new(at, &pdu, handling));
        }
        match header.ptype {
            DgPtype::REQUEST => self.request(at, key, &pdu, handling),
            DgPtype::RESPONSE => self.response(at, key, &pdu, handling),
            _ => self.fault(at, key, &pdu, handling),
        }
    }

    fn request(&mut self, at: At, key: CallKey, pdu: &Pdu<'_>, handling: &mut Handling<'_>) {
        self.join(at, key, Side::Client, pdu, handling);
        let over = |call: &Call| call.wants_no_answer() || call.answered.is_some();
        if self
            .calls
            .get(&key)
            .is_some_and(|call| over(call) && call.request.has_ended())
        {
            self.give_up(key, handling);
        }
    }

    fn response(&mut self, at: At, key: CallKey, pdu: &Pdu<'_>, handling: &mut Handling<'_>) {
        self.join(at, key, Side::Server, pdu, handling);
        if let Some(call) = self.calls.get_mut(&key) {
            call.request.taken();
        }
        if self.calls.get(&key).is_some_and(|call| call.reply.has_ended()) {
            self.answered(key, Answered { at, fault: None }, handling);
        }
    }

    /// The call failed, or was refused. Without its status, which a snap length may have cut off, it says nothing.
    fn fault(&mut self, at: At, key: CallKey, pdu: &Pdu<'_>, handling: &mut Handling<'_>) {
        if pdu.status.is_none() || !self.waits(key) {
            return;
        }
        let fault = pdu.status;
        self.answered(key, Answered { at, fault }, handling);
        if pdu.header.ptype == DgPtype::REJECT {
            // It may be tried again at once, by the same number.
            self.give_up(key, handling);
            self.told.pop_back();
        }
    }

    /// That is the answer. The call is told with its request, if that is on its way.
    fn answered(&mut self, key: CallKey, answered: Answered, handling: &mut Handling<'_>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.answered.is_some() {
            handling.counters.repeated += u64::from(answered.fault.is_some());
            return;
        }
        call.answered = Some(answered);
        self.doubted.insert((answered.at.steady(), key));
        if call.request.has_ended() {
            self.give_up(key, handling);
        }
    }

    /// The client has the answer: what was not seen of it will not come again, nor what was not seen of the request, which
    /// the client sent before.
    fn acknowledged(&mut self, key: CallKey, handling: &mut Handling<'_>) {
        let over = |call: &&mut Call| call.answered.is_some() || !call.reply.is_empty();
        if let Some(call) = self.calls.get_mut(&key).filter(over) {
            call.reply.taken();
            self.give_up(key, handling);
        }
    }

    fn join(&mut self, at: At, key: CallKey, side: Side, pdu: &Pdu<'_>, handling: &mut Handling<'_>) {
        let limits = &handling.bounds.limits;
        let bytes = limits
            .stubs_per_connection
            .saturating_sub(self.kept)
            .min(limits.rpc_total.saturating_sub(handling.bounds.held));
        let Some(call) = self.calls.get_mut(&key) else { return };
        let before = call.kept();
        let joining = match side {
            Side::Client => &mut call.request,
            Side::Server => &mut call.reply,
        };
        let (number, place) = Place::of(&pdu.header);
        let fragment = Fragment {
            at,
            number,
            place,
            order: pdu.header.order,
            stub: pdu.stub,
            condition: pdu.condition,
        };
        let room = Room {
            bytes: bytes.min(limits.stub.saturating_sub(joining.kept())),
            fragments: limits.fragments,
        };
        match joining.add(&fragment, room, &mut handling.bounds.counters) {
            Added::InTurn => {}
            Added::Early => handling.counters.out_of_order += 1,
            Added::Repeated => handling.counters.repeated += 1,
        }
        call.auth = call.auth.or(pdu.auth);
        let after = call.kept();
        self.account(before, after, handling);
    }

    /// Bytes of stubs are kept, or let go.
    fn account(&mut self, before: usize, after: usize, handling: &mut Handling<'_>) {
        self.kept = self.kept + after - before;
        handling.bounds.held = handling.bounds.held + after - before;
    }

    /// Takes a call out of those that wait, and remembers it.
    fn take(&mut self, key: CallKey, handling: &mut Handling<'_>) -> Option<Call> {
        let call = self.calls.remove(&key)?;
        self.account(call.kept(), 0, handling);
        if let Some(Answered { at, .. }) = call.answered {
            self.doubted.remove(&(at.steady(), key));
        }
        if self.told.len() >= MAX_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(key);
        Some(call)
    }

    /// Tells a call with what there is of its answer.
    fn give_up(&mut self, key: CallKey, handling: &mut Handling<'_>) {
        let Some(mut call) = self.take(key, handling) else {
            return;
        };
        for (side, lost) in [(Side::Client, call.request.lost()), (Side::Server, call.reply.lost())] {
            if let Some(lost) = lost {
                handling.bounds.counters.damaged += lost.fragments;
                self.lose(side, lost.bytes, handling.counters);
            }
        }
        let counters = &mut handling.bounds.counters;
        let reply = match call.answered {
            Some(Answered {
                at,
                fault: Some(status),
            }) => {
                counters.faults += 1;
                Reply::Fault { at, status }
            }
            _ => match std::mem::take(&mut call.reply).finish() {
                Some(message) => Reply::Response(message),
                None if call.wants_no_answer() && call.request.has_ended() => Reply::NotWanted,
                None => {
                    counters.unanswered += 1;
                    Reply::Unanswered
                }
            },
        };
        self.tell(key, call, reply, handling);
    }

    fn tell(&mut self, (activity, sequence): CallKey, call: Call, reply: Reply, handling: &mut Handling<'_>) {
        let request = call.request.finish();
        if request.is_some() {
            handling.bounds.counters.calls += 1;
        } else {
            handling.bounds.counters.unasked += 1;
        }
        let exchange = Exchange {
            call_id: sequence,
            activity: Some(activity),
            opnum: Some(call.opnum),
            context_id: 0,
            is_offered: false,
            interface: call.interface,
            // Nothing is negotiated: it is always this one.
            encoding: Some(Encoding::Ndr20),
            object: call.object,
            request,
            reply,
            auth: call.auth,
            claims: Arc::clone(&self.claims),
            shape: Arc::default(),
            secondary_address: None,
            named_pipe: None,
            bytes_missing: self.carried.bytes_missing,
        };
        handling.say(&self.connection, RpcBody::Exchange(Box::new(exchange)));
    }

    /// Makes room for one more call.
    fn make_room(&mut self, handling: &mut Handling<'_>) {
        if self.calls.len() < handling.bounds.limits.calls.max(1) {
            return;
        }
        let oldest = self.calls.iter().min_by_key(|(_, call)| call.began.frame);
        if let Some((&key, _)) = oldest {
            handling.bounds.counters.over_limit += 1;
            self.give_up(key, handling);
        }
    }

    fn give_up_old_calls(&mut self, at: At, handling: &mut Handling<'_>) {
        let latest = |call: &Call| {
            let ats = [call.began, call.request.at(), call.reply.at()];
            ats.map(|at| at.steady()).into_iter().max().unwrap_or_default()
        };
        let answer = handling.bounds.limits.answer;
        let too_old = |call: &Call| at.steady().since(latest(call)) > answer;
        let old: Vec<CallKey> = self
            .calls
            .iter()
            .filter(|(_, call)| too_old(call))
            .map(|(&key, _)| key)
            .collect();
        for key in old {
            self.give_up(key, handling);
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&mut self, handling: &mut Handling<'_>) {
        let mut calls: Vec<_> = self.calls.iter().map(|(&key, call)| (call.began, key)).collect();
        calls.sort_by_key(|(at, _)| (at.input, at.frame));
        for (_, key) in calls {
            self.give_up(key, handling);
        }
        handling.say(&self.connection, RpcBody::Closed);
    }
}
