//! Conversations, fed with datagrams as they stand on the wire.

use std::net::IpAddr;

use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;
use dcom_parsers::security::{AuthLevel, AuthService};
use proptest::prelude::*;

use super::*;
use crate::capture::At;
use crate::decode::{Transport, VlanTags};
use crate::flow::Side;
use crate::limits::Limits;
use crate::rpc::{Exchange, Message, Named, Reply, Stub};

const ACTIVITY: Guid = Guid::new(1, 2, 3, [4; 8]);
const SECOND: i64 = 1_000_000_000;

/// A little-endian PDU, put together by hand.
#[derive(Clone, Debug)]
struct Pdu {
    ptype: DgPtype,
    flags: u8,
    activity: Guid,
    sequence: u32,
    fragment: u16,
    body: Vec<u8>,
    auth: Vec<u8>,
}

const FRAG: u8 = 0x04;
const LAST: u8 = 0x06;
const MAYBE: u8 = 0x10;
const BROADCAST: u8 = 0x40;

fn pdu(ptype: DgPtype, sequence: u32, body: impl AsRef<[u8]>) -> Pdu {
    Pdu {
        ptype,
        flags: 0,
        activity: ACTIVITY,
        sequence,
        fragment: 0,
        body: body.as_ref().to_vec(),
        auth: Vec::new(),
    }
}

fn request(sequence: u32, body: impl AsRef<[u8]>) -> Pdu {
    pdu(DgPtype::REQUEST, sequence, body)
}

fn response(sequence: u32, body: impl AsRef<[u8]>) -> Pdu {
    pdu(DgPtype::RESPONSE, sequence, body)
}

impl Pdu {
    fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    fn part(self, fragment: u16, flags: u8) -> Self {
        Self {
            flags,
            fragment,
            ..self
        }
    }

    /// A verifier of NTLM behind the stub, which it pads.
    fn verified(mut self, level: u8) -> Self {
        self.auth = vec![0; self.body.len().wrapping_neg() % 8];
        self.auth.extend([level, 0, 0, 0]);
        self.auth.extend([0xee; 16]);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![4, self.ptype.0, self.flags, 0, 0x10, 0, 0, 0];
        for guid in [Guid::NULL, known::EPMAPPER, self.activity] {
            bytes.extend(guid.data1.to_le_bytes());
            bytes.extend(guid.data2.to_le_bytes());
            bytes.extend(guid.data3.to_le_bytes());
            bytes.extend(guid.data4);
        }
        for number in [0, 3, self.sequence] {
            bytes.extend(number.to_le_bytes());
        }
        let length = u16::try_from(self.body.len()).unwrap();
        for number in [3, 0xffff, 0xffff, length, self.fragment] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([if self.auth.is_empty() { 0 } else { 10 }, 0]);
        [&bytes[..], &self.body, &self.auth].concat()
    }
}

fn end(last: u8, port: u16) -> Endpoint {
    Endpoint {
        address: IpAddr::from([10, 0, 0, last]),
        port,
    }
}

struct Rig {
    datagrams: Datagrams,
    bounds: RpcBounds,
    frame: u64,
    events: Vec<RpcEvent>,
}

impl Rig {
    fn new() -> Self {
        Self {
            datagrams: Datagrams::default(),
            bounds: RpcBounds::new(Limits::default(), |_, _, _| true),
            frame: 0,
            events: Vec::new(),
        }
    }

    /// Pushes a datagram between these two, at a time of as many seconds. False when it is not recognised.
    fn push(&mut self, ends: [Endpoint; 2], seconds: i64, payload: &[u8], cut: u32) -> bool {
        self.frame += 1;
        let at = At {
            frame: self.frame,
            time: Timestamp(seconds * SECOND),
            ..At::default()
        };
        let datagram = Datagram {
            at,
            vlan: VlanTags::default(),
            tunnel: None,
            source: ends[0],
            destination: ends[1],
            payload,
            cut,
            length: 42 + u32::try_from(payload.len()).unwrap(),
        };
        let events = &mut self.events;
        let Some(header) = recognise(&datagram) else {
            return false;
        };
        self.datagrams
            .push(&datagram, header, &mut self.bounds, &mut |event| events.push(event));
        true
    }

    fn send(&mut self, side: Side, pdu: &Pdu) {
        let mut ends = [end(1, 50_000), end(2, 135)];
        if side == Side::Server {
            ends.reverse();
        }
        assert!(self.push(ends, 0, &pdu.bytes(), 0), "recognised");
    }

    fn ask(&mut self, pdu: &Pdu) {
        self.send(Side::Client, pdu);
    }

    fn answer(&mut self, pdu: &Pdu) {
        self.send(Side::Server, pdu);
    }

    /// Nothing more comes until then.
    fn wait(&mut self, until: Timestamp) {
        let (datagrams, events) = (&mut self.datagrams, &mut self.events);
        datagrams.advance(until, &mut self.bounds, &mut |event| events.push(event));
    }

    fn told(&self) -> Vec<Exchange> {
        let exchanges = self.events.iter().filter_map(|event| match &event.body {
            RpcBody::Exchange(exchange) => Some(exchange.as_ref().clone()),
            _ => None,
        });
        exchanges.collect()
    }

    fn finish(mut self) -> Vec<Exchange> {
        let events = &mut self.events;
        self.datagrams.finish(&mut self.bounds, &mut |event| events.push(event));
        let Datagrams {
            calls, idle, doubted, ..
        } = &self.datagrams;
        let left = (self.bounds.held, *calls, idle.len(), doubted.len());
        assert_eq!(left, (0, 0, 0, 0), "all is let go");
        let count = |body| self.events.iter().filter(|event| event.body == body).count();
        assert_eq!(count(RpcBody::Opened), count(RpcBody::Closed));
        self.told()
    }
}

fn stub(message: Option<&Message>) -> Option<Stub> {
    message.map(|message| message.stub.clone())
}

fn reply(exchange: &Exchange) -> Option<&Message> {
    match &exchange.reply {
        Reply::Response(message) => Some(message),
        _ => None,
    }
}

fn whole(text: &str) -> Stub {
    Stub::Whole(text.as_bytes().to_vec())
}

#[test]
fn a_call_in_two_datagrams_is_an_exchange() {
    let mut rig = Rig::new();
    rig.ask(&request(7, "question"));
    rig.answer(&response(7, "answer"));
    let connection = Arc::clone(&rig.events[0].connection);
    assert_eq!(
        (connection.transport, connection.client, connection.server),
        (Transport::Udp, end(1, 50_000), end(2, 135))
    );
    let [exchange] = rig.finish().try_into().unwrap();
    assert_eq!(
        (exchange.call_id, exchange.activity, exchange.opnum),
        (7, Some(ACTIVITY), Some(3))
    );
    assert!(
        matches!(exchange.interface, Named::Interface(named) if named.uuid == known::EPMAPPER && named.version == 3)
    );
    assert_eq!(exchange.auth.unwrap().service, AuthService::NONE);
    assert_eq!(
        (stub(exchange.request.as_ref()), stub(reply(&exchange))),
        (Some(whole("question")), Some(whole("answer")))
    );
    assert_eq!((exchange.request.unwrap().at.frame, exchange.object), (1, None));
}

#[test]
fn fragments_are_joined_by_number_whatever_their_order() {
    let mut rig = Rig::new();
    rig.ask(&request(7, "c").part(2, LAST));
    rig.ask(&request(7, "a").part(0, FRAG));
    rig.ask(&request(7, "a").part(0, FRAG));
    rig.ask(&request(7, "b").part(1, FRAG));
    rig.answer(&pdu(DgPtype::FACK, 7, ""));
    rig.answer(&response(7, "y").part(1, LAST));
    rig.answer(&response(7, "y").part(1, LAST));
    assert!(rig.told().is_empty());
    rig.answer(&response(7, "x").part(0, FRAG));
    let counters = *rig.datagrams.counters();
    assert_eq!((counters.repeated, counters.out_of_order), (2, 2));
    let [exchange] = rig.finish().try_into().unwrap();
    assert_eq!(
        (stub(exchange.request.as_ref()), stub(reply(&exchange))),
        (Some(whole("abc")), Some(whole("xy")))
    );
    let request = exchange.request.unwrap();
    assert_eq!((request.fragments, request.stub_length, request.at.frame), (3, 3, 4));
}

#[test]
fn what_is_sent_again_after_the_answer_is_no_new_call() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.ask(&request(7, "question"));
    }
    for _ in 0..3 {
        rig.answer(&response(7, "answer"));
    }
    rig.ask(&request(7, "question"));
    rig.ask(&pdu(DgPtype::ACK, 7, ""));
    rig.ask(&request(8, "next"));
    assert_eq!(rig.datagrams.counters().repeated, 5);
    let told: Vec<u32> = rig.finish().iter().map(|exchange| exchange.call_id).collect();
    assert_eq!(told, [7, 8]);
}

#[test]
fn faults_refusals_and_calls_that_want_no_answer_are_told_apart() {
    let mut rig = Rig::new();
    rig.ask(&request(1, ""));
    rig.answer(&pdu(DgPtype::FAULT, 1, 5_u32.to_le_bytes()));
    rig.ask(&request(2, ""));
    rig.answer(&pdu(DgPtype::REJECT, 2, 0x1c01_0003_u32.to_le_bytes()));
    rig.answer(&pdu(DgPtype::REJECT, 2, 0x1c01_0003_u32.to_le_bytes()));
    rig.ask(&request(3, "").flags(MAYBE));
    rig.ask(&request(4, "").flags(BROADCAST));
    // Refused as of another boot time, then tried again.
    rig.ask(&request(2, "again"));
    rig.answer(&response(2, "done"));
    rig.ask(&request(5, ""));
    for sign in [DgPtype::PING, DgPtype::WORKING, DgPtype::NOCALL] {
        rig.send(
            if sign == DgPtype::PING {
                Side::Client
            } else {
                Side::Server
            },
            &pdu(sign, 5, ""),
        );
    }
    let counters = rig.bounds.counters;
    let told: Vec<_> = rig
        .finish()
        .into_iter()
        .map(|told| (told.call_id, told.reply))
        .collect();
    let status = |reply: &Reply| match reply {
        Reply::Fault { status, .. } => *status,
        other => panic!("no fault: {other:?}"),
    };
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3, 4, 2, 5]);
    assert_eq!((status(&told[0].1), status(&told[1].1)), (5, 0x1c01_0003));
    assert_eq!((&told[2].1, &told[3].1), (&Reply::NotWanted, &Reply::NotWanted));
    assert!(matches!(told[4].1, Reply::Response(_)));
    assert_eq!(told[5].1, Reply::Unanswered);
    assert_eq!((counters.faults, counters.calls, counters.pdus), (2, 5, 13));
}

#[test]
fn an_answer_alone_still_names_interface_and_operation() {
    let mut rig = Rig::new();
    rig.answer(&response(7, "answer"));
    rig.wait(Timestamp(SECOND / 20));
    assert!(rig.told().is_empty());
    rig.wait(Timestamp(SECOND / 20 + 1));
    assert_eq!((rig.bounds.counters.unasked, rig.told().len()), (1, 1));
    let [exchange] = rig.finish().try_into().unwrap();
    assert_eq!((&exchange.request, exchange.opnum), (&None, Some(3)));
    assert_eq!(stub(reply(&exchange)), Some(whole("answer")));
}

#[test]
fn an_answer_that_stands_before_its_request_waits_for_it() {
    let mut rig = Rig::new();
    rig.answer(&response(7, "answer"));
    rig.answer(&response(7, "answer"));
    rig.ask(&request(7, "a").part(0, FRAG));
    assert!(rig.told().is_empty());
    rig.ask(&request(7, "b").part(1, LAST));
    rig.ask(&pdu(DgPtype::ACK, 7, ""));
    rig.answer(&pdu(DgPtype::FAULT, 8, 5_u32.to_le_bytes()));
    rig.answer(&pdu(DgPtype::FAULT, 8, 5_u32.to_le_bytes()));
    assert_eq!(rig.told().len(), 1);
    rig.ask(&request(8, "denied"));
    let counters = (rig.bounds.counters.unasked, rig.datagrams.counters().repeated);
    assert_eq!((counters, rig.bounds.counters.faults), ((0, 2), 1));
    let [answered, failed] = rig.finish().try_into().unwrap();
    assert_eq!(
        (stub(answered.request.as_ref()), stub(reply(&answered))),
        (Some(whole("ab")), Some(whole("answer")))
    );
    assert_eq!(stub(failed.request.as_ref()), Some(whole("denied")));
    assert!(matches!(failed.reply, Reply::Fault { status: 5, at } if at.frame == 6));
}

#[test]
fn a_client_that_has_the_answer_sends_no_more_of_its_request() {
    let mut rig = Rig::new();
    for sequence in [7, 8] {
        rig.answer(&response(sequence, "answer"));
        rig.ask(&pdu(DgPtype::ACK, sequence, ""));
        rig.ask(&request(sequence, "late"));
    }
    assert_eq!((rig.told().len(), rig.bounds.counters.unasked), (2, 2));
    assert_eq!(rig.datagrams.counters().repeated, 2);
}

/// What a client's and a server's ports say to one another.
fn between(client: u16, server: u16) -> [Endpoint; 2] {
    [end(1, client), end(2, server)]
}

#[test]
fn an_answer_from_another_port_belongs_to_the_call() {
    let mut rig = Rig::new();
    let mut say = |ends: [Endpoint; 2], pdu: Pdu| assert!(rig.push(ends, 0, &pdu.bytes(), 0));
    let back = |[client, server]: [Endpoint; 2]| [server, client];
    say(between(50_000, 135), request(1, "question"));
    say(back(between(50_000, 1032)), pdu(DgPtype::FACK, 1, ""));
    say(back(between(50_000, 1032)), response(1, "an").part(0, FRAG));
    say(back(between(50_000, 1033)), response(1, "swer").part(1, LAST));
    say(back(between(50_000, 1032)), response(1, "swer").part(1, LAST));
    say(between(50_000, 1032), pdu(DgPtype::ACK, 1, ""));
    // The answer stands before the request.
    say(back(between(50_000, 1034)), response(2, "answer"));
    say(between(50_000, 135), request(2, "question"));
    // By the same number at another port it is another call.
    say(between(50_000, 1035), request(1, "other"));
    say(back(between(50_000, 1035)), response(1, "answer"));
    let counters = rig.datagrams.counters();
    assert_eq!((counters.conversations, counters.repeated), (3, 1));
    let told = rig.told();
    assert_eq!(told.len(), 3);
    for (exchange, asked) in told.iter().zip(["question", "question", "other"]) {
        let answer = Some(whole("answer"));
        assert_eq!(
            (stub(exchange.request.as_ref()), stub(reply(exchange))),
            (Some(whole(asked)), answer)
        );
    }
    let ends = |event: &RpcEvent| match &event.body {
        RpcBody::Exchange(_) => Some(event.connection.server.port),
        _ => None,
    };
    assert_eq!(
        rig.events.iter().filter_map(ends).collect::<Vec<_>>(),
        [135, 1034, 1035]
    );
    rig.finish();
}

#[test]
fn an_answer_to_another_client_or_from_another_address_stays_apart() {
    let mut rig = Rig::new();
    rig.ask(&request(1, "question"));
    rig.push([end(2, 1032), end(1, 50_001)], 0, &response(1, "x").bytes(), 0);
    rig.push([end(3, 135), end(1, 50_000)], 0, &response(1, "y").bytes(), 0);
    assert_eq!(rig.finish().len(), 3);
}

#[test]
fn a_verifier_tells_the_level_and_whether_the_stub_is_sealed() {
    let mut rig = Rig::new();
    rig.ask(&request(1, "signed").verified(5));
    rig.answer(&response(1, "sealed").verified(6));
    let [exchange] = rig.finish().try_into().unwrap();
    let auth = exchange.auth.unwrap();
    assert_eq!(
        (auth.service, auth.level),
        (AuthService::NTLM, AuthLevel::PKT_INTEGRITY)
    );
    assert_eq!(stub(exchange.request.as_ref()), Some(whole("signed")));
    let sealed = reply(&exchange).unwrap();
    assert_eq!((&sealed.stub, sealed.stub_length), (&Stub::Sealed, 6));
}

#[test]
fn a_datagram_cut_short_leaves_a_call_without_a_stub() {
    let mut rig = Rig::new();
    let bytes = request(7, [7; 400]).bytes();
    let ends = [end(1, 50_000), end(2, 135)];
    assert!(rig.push(ends, 0, &bytes[..128], u32::try_from(bytes.len() - 128).unwrap()));
    rig.answer(&response(7, "answer"));
    let [exchange] = rig.finish().try_into().unwrap();
    assert_eq!(
        (stub(exchange.request.as_ref()), exchange.opnum, exchange.bytes_missing),
        (Some(Stub::Incomplete), Some(3), 352)
    );
}

#[test]
fn a_message_that_lacks_a_fragment_is_incomplete() {
    let mut rig = Rig::new();
    rig.ask(&request(7, "a").part(0, FRAG));
    rig.ask(&request(7, "c").part(2, LAST));
    rig.answer(&response(7, "x").part(0, FRAG));
    rig.ask(&pdu(DgPtype::ACK, 7, ""));
    let [exchange] = rig.told().try_into().unwrap();
    assert_eq!(
        (stub(exchange.request.as_ref()), stub(reply(&exchange))),
        (Some(Stub::Incomplete), Some(Stub::Incomplete))
    );
}

#[test]
fn fragments_that_were_not_seen_are_counted() {
    let mut rig = Rig::new();
    rig.ask(&request(7, "first").part(0, FRAG));
    rig.ask(&request(7, "1").part(3, LAST));
    rig.answer(&response(7, "answer").part(0, FRAG));
    // Of what is on its way nothing is missing, and of what was never seen nobody knows how much it was.
    rig.ask(&request(8, "on its way").part(0, FRAG));
    rig.answer(&response(9, "answer"));
    assert_eq!((rig.datagrams.counters().missing, rig.bounds.counters.damaged), (0, 0));
    rig.ask(&pdu(DgPtype::ACK, 7, ""));
    let missing = |rig: &Rig| (rig.datagrams.counters().missing, rig.bounds.counters.damaged);
    assert_eq!((missing(&rig), rig.told()[0].bytes_missing), ((5 + 5 + 6, 3), 16));
    // The server answers what it has all of.
    rig.ask(&request(10, "the rest is lost").part(0, FRAG));
    rig.answer(&response(10, "answer"));
    rig.wait(Timestamp(SECOND));
    assert_eq!(missing(&rig), (16 + 16, 4));
    let (datagrams, events) = (&mut rig.datagrams, &mut rig.events);
    datagrams.finish(&mut rig.bounds, &mut |event| events.push(event));
    assert_eq!(missing(&rig), (32, 4));
    let over = rig.events.iter().find_map(|event| match &event.body {
        RpcBody::Over(over) => Some(over.carried),
        _ => None,
    });
    let carried = over.unwrap();
    assert_eq!(
        (carried.bytes_missing, carried.gaps.client, carried.gaps.server),
        (32, 2, 1)
    );
}

#[test]
fn foreign_datagrams_leave_nothing() {
    let mut rig = Rig::new();
    let whole = request(7, "question").bytes();
    let dns = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01";
    let mut wrong_length = whole.clone();
    wrong_length.push(0);
    for payload in [&dns[..], &[], &[4; 90], &[0xc3; 1200], &whole[..79], &wrong_length] {
        assert!(!rig.push([end(1, 50_000), end(2, 135)], 0, payload, 0));
    }
    // These are recognised, and of no call that is known.
    rig.ask(&pdu(DgPtype::PING, 1, ""));
    rig.ask(&pdu(DgPtype::ACK, 1, ""));
    rig.answer(&pdu(DgPtype::REJECT, 1, [0; 4]));
    rig.answer(&pdu(DgPtype::WORKING, 1, ""));
    assert_eq!(rig.datagrams.calls, 0);
    assert!(rig.finish().is_empty());
}

#[test]
fn a_server_that_calls_back_is_a_client() {
    let mut rig = Rig::new();
    rig.ask(&request(7, "question"));
    // Who are you? It asks before it answers.
    let mut back = request(0, "who");
    back.activity = Guid::new(9, 9, 9, [9; 8]);
    rig.answer(&back);
    rig.ask(&Pdu {
        ptype: DgPtype::RESPONSE,
        ..back
    });
    rig.answer(&response(7, "answer"));
    let clients: Vec<u16> = rig.events.iter().map(|event| event.connection.client.port).collect();
    assert_eq!(clients, [50_000, 135, 135, 50_000]);
    assert!(rig.finish().iter().all(|exchange| reply(exchange).is_some()));
}

#[test]
fn silence_ends_a_conversation_and_old_calls() {
    let mut rig = Rig::new();
    let (busy, silent) = ([end(1, 50_000), end(2, 135)], [end(3, 50_000), end(2, 135)]);
    rig.push(silent, 0, &request(1, "").bytes(), 0);
    rig.push(busy, 0, &request(1, "").bytes(), 0);
    rig.push(busy, 100, &request(2, "").bytes(), 0);
    assert!(rig.told().is_empty());
    rig.push(busy, 121, &request(3, "").bytes(), 0);
    assert_eq!(rig.told().len(), 2);
    assert_eq!((rig.datagrams.conversations.len(), rig.datagrams.calls), (1, 2));
    rig.wait(Timestamp(300 * SECOND));
    assert_eq!(rig.told().len(), 4);
    assert!(rig.finish().iter().all(|exchange| exchange.reply == Reply::Unanswered));
}

#[test]
fn nothing_grows_without_bound() {
    let mut rig = Rig::new();
    let limits = &mut rig.bounds.limits;
    (limits.conversations, limits.conversation_calls, limits.calls) = (10, 20, 5);
    (limits.fragments, limits.stub, limits.stubs_per_connection) = (4, 1000, 3000);
    for client in 0..30 {
        for sequence in 0..20 {
            for number in (0..12).step_by(2) {
                let bytes = request(sequence, [7; 300]).part(number, FRAG).bytes();
                rig.push([end(client, 50_000), end(200, 135)], 0, &bytes, 0);
                let datagrams = &rig.datagrams;
                assert!(datagrams.conversations.len() <= 10 && datagrams.calls <= 20);
                assert!(rig.bounds.held <= 10 * 3000, "{} bytes are held", rig.bounds.held);
            }
        }
    }
    assert!(rig.bounds.counters.over_limit > 0 && rig.datagrams.counters().evicted >= 20);
    assert_eq!(rig.finish().len(), 30 * 20);
}

#[test]
fn the_total_of_stubs_is_shared_with_connections() {
    let mut rig = Rig::new();
    rig.bounds.limits.rpc_total = 10;
    rig.ask(&request(7, "more than ten bytes"));
    assert_eq!((rig.bounds.held, rig.bounds.counters.over_limit), (0, 1));
    let [exchange] = rig.finish().try_into().unwrap();
    assert_eq!(stub(exchange.request.as_ref()), Some(Stub::NotKept));
}

/// Any PDU of a few calls between two ends, either of which may have sent it.
fn any_pdu() -> impl Strategy<Value = (Side, Pdu, u32)> {
    let side = prop::sample::select(vec![Side::Client, Side::Server]);
    let kind = (0..11_u8, prop::sample::select(vec![0, FRAG, LAST, MAYBE, 0x02]));
    let call = (0..3_u32, 0..6_u16, 0..40_usize);
    (side, kind, call, 0..3_u8, 0..50_u32).prop_map(|(side, (kind, flags), (sequence, number, length), level, cut)| {
        let made = pdu(DgPtype(kind), sequence, vec![7; length.max(12)]).part(number, flags);
        let made = if level > 0 { made.verified(4 + level) } else { made };
        (side, made, if cut > 40 { cut } else { 0 })
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_let_go_again(pdus in prop::collection::vec(any_pdu(), 0..60), small in any::<bool>()) {
        let mut rig = Rig::new();
        if small {
            let limits = &mut rig.bounds.limits;
            (limits.calls, limits.conversations, limits.conversation_calls) = (1, 1, 1);
            (limits.fragments, limits.stub, limits.stubs_per_connection, limits.rpc_total) = (1, 50, 60, 70);
        }
        let count = pdus.len();
        for (seconds, (side, pdu, cut)) in (0..).zip(pdus) {
            let mut ends = [end(1, 50_000), end(2, 135)];
            if side == Side::Server {
                ends.reverse();
            }
            let bytes = pdu.bytes();
            let at_hand = bytes.len().saturating_sub(cut as usize).max(DgHeader::LENGTH);
            let cut = u32::try_from(bytes.len() - at_hand).unwrap();
            prop_assert!(rig.push(ends, seconds * 7, &bytes[..at_hand], cut));
        }
        prop_assert!(rig.finish().len() <= count);
    }
}
