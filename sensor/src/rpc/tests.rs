//! The association, fed with PDUs as they stand on the wire.

use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;

use super::rig::Rig;
use super::*;
use crate::flow::{Consumer, NEVER, Protocol, Side, StreamEvent};

const ECHO: Guid = Guid::com(0x7777);

/// Little-endian PDUs, put together by hand.
struct Pdu(Vec<u8>);

impl Pdu {
    fn new(ptype: u8, flags: u8, call_id: u32) -> Self {
        let mut bytes = vec![5, 0, ptype, flags, 0x10, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(call_id.to_le_bytes());
        Self(bytes)
    }

    fn with(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }

    fn guid(self, guid: Guid, version: u32) -> Self {
        self.with(guid.data1.to_le_bytes())
            .with(guid.data2.to_le_bytes())
            .with(guid.data3.to_le_bytes())
            .with(guid.data4)
            .with(version.to_le_bytes())
    }

    /// Padding and a verifier of eight bytes.
    fn verified(mut self, pad: u8, level: u8) -> Self {
        self = self
            .with(vec![0xbb; pad.into()])
            .with([10, level, pad, 0, 1, 0, 0, 0])
            .with([0xee; 8]);
        self.0[10] = 8;
        self
    }

    fn done(mut self) -> Vec<u8> {
        let length = u16::try_from(self.0.len()).unwrap().to_le_bytes();
        self.0[8..10].copy_from_slice(&length);
        self.0
    }

    /// A bind (11) or `alter_context` (14) that offers one interface in NDR20.
    fn offer(ptype: u8, call_id: u32, context: u16, interface: Guid) -> Vec<u8> {
        Self::new(ptype, 3, call_id)
            .with([0; 8])
            .with([1, 0, 0, 0])
            .with(context.to_le_bytes())
            .with([1, 0])
            .guid(interface, 0)
            .guid(known::NDR20, 2)
            .done()
    }

    /// A `bind_ack` (12) or `alter_context_resp` (15).
    fn answer(ptype: u8, call_id: u32, result: u8) -> Vec<u8> {
        Self::new(ptype, 3, call_id)
            .with([0; 8])
            .with([4, 0])
            .with(b"135\0")
            .with([0; 2])
            .with([1, 0, 0, 0])
            .with([result, 0, 0, 0])
            .guid(known::NDR20, 2)
            .done()
    }

    fn request(flags: u8, call_id: u32, context: u16, opnum: u16) -> Self {
        Self::new(0, flags, call_id)
            .with([0; 4])
            .with(context.to_le_bytes())
            .with(opnum.to_le_bytes())
    }

    fn response(flags: u8, call_id: u32) -> Self {
        Self::new(2, flags, call_id).with([0; 8])
    }
}

impl Rig {
    fn over_tcp() -> Self {
        Self::new(Protocol::Rpc, 135)
    }

    fn bind(&mut self) {
        self.send(Side::Client, &Pdu::offer(11, 1, 0, known::EPMAPPER));
        self.send(Side::Server, &Pdu::answer(12, 1, 0));
    }

    fn close(mut self) -> Vec<Exchange> {
        self.push(StreamEvent::Closed);
        assert_eq!(self.bounds.held, 0, "bytes are still held");
        assert!(matches!(
            self.events.first(),
            Some(RpcEvent {
                body: RpcBody::Opened,
                ..
            })
        ));
        assert!(matches!(
            self.events.last(),
            Some(RpcEvent {
                body: RpcBody::Closed,
                ..
            })
        ));
        let exchanges = self.events.into_iter().filter_map(|event| match event.body {
            RpcBody::Exchange(exchange) => Some(*exchange),
            _ => None,
        });
        exchanges.collect()
    }
}

fn stub(message: Option<&Message>) -> Stub {
    message.map(|message| message.stub.clone()).unwrap_or_default()
}

fn response(exchange: &Exchange) -> Option<&Message> {
    match &exchange.reply {
        Reply::Response(message) => Some(message),
        _ => None,
    }
}

#[test]
fn a_connection_joins_an_association_group_when_both_sides_say_so() {
    // The group asked for, the group given.
    for (asked, given, joined) in [(0, 0x53f0, 0), (0x53f0, 0x53f0, 1), (0x53f0, 0x53f1, 0)] {
        let mut rig = Rig::over_tcp();
        let grouped = |mut pdu: Vec<u8>, group: u32| {
            pdu[20..24].copy_from_slice(&group.to_le_bytes());
            pdu
        };
        rig.send(Side::Client, &grouped(Pdu::offer(11, 1, 0, known::EPMAPPER), asked));
        rig.send(Side::Server, &grouped(Pdu::answer(12, 1, 0), given));
        let counters = rig.bounds.counters;
        assert_eq!(
            (counters.associations, counters.joined),
            (1, joined),
            "{asked:#x} {given:#x}"
        );
    }
}

#[test]
fn fragments_are_joined_over_padding_and_verifier_of_each() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(
        Side::Client,
        &Pdu::request(1, 2, 0, 3).with(b"one").verified(1, 5).done(),
    );
    rig.send(
        Side::Client,
        &Pdu::request(0, 2, 0, 3).with(b"two").verified(5, 5).done(),
    );
    rig.send(
        Side::Client,
        &Pdu::request(2, 2, 0, 3).with(b"three").verified(3, 5).done(),
    );
    rig.send(Side::Server, &Pdu::response(1, 2).with(b"fo").verified(2, 5).done());
    rig.send(Side::Server, &Pdu::response(2, 2).with(b"ur").verified(2, 5).done());
    let [exchange] = rig.close().try_into().unwrap();
    assert_eq!(stub(exchange.request.as_ref()), Stub::Whole(b"onetwothree".to_vec()));
    assert_eq!(stub(response(&exchange)), Stub::Whole(b"four".to_vec()));
    let request = exchange.request.unwrap();
    assert_eq!((request.fragments, request.stub_length, request.at.frame), (3, 11, 5));
    assert_eq!(exchange.auth.unwrap().level, AuthLevel::PKT_INTEGRITY);
    assert_eq!(exchange.secondary_address.as_deref(), Some("135"));
}

#[test]
fn fragments_of_several_calls_may_alternate() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    for (flags, call_id, text) in [(1, 2, "a"), (1, 3, "x"), (2, 2, "b"), (2, 3, "y")] {
        rig.send(Side::Client, &Pdu::request(flags, call_id, 0, 3).with(text).done());
    }
    rig.send(Side::Server, &Pdu::response(3, 3).done());
    rig.send(Side::Server, &Pdu::response(3, 2).done());
    let exchanges = rig.close();
    let stubs: Vec<_> = exchanges
        .iter()
        .map(|exchange| stub(exchange.request.as_ref()))
        .collect();
    assert_eq!(stubs, [Stub::Whole(b"xy".to_vec()), Stub::Whole(b"ab".to_vec())]);
}

#[test]
fn a_sealed_stub_is_measured_and_not_kept() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(
        Side::Client,
        &Pdu::request(3, 2, 0, 3).with([0x55; 40]).verified(8, 6).done(),
    );
    rig.send(
        Side::Server,
        &Pdu::response(3, 2).with([0x66; 24]).verified(4, 6).done(),
    );
    let [exchange] = rig.close().try_into().unwrap();
    let request = exchange.request.as_ref().unwrap();
    assert_eq!((&request.stub, request.stub_length), (&Stub::Sealed, 40));
    assert_eq!(response(&exchange).unwrap().stub_length, 24);
}

#[test]
fn a_context_id_means_what_the_last_accepted_offer_says() {
    let mut rig = Rig::over_tcp();
    rig.send(Side::Client, &Pdu::offer(11, 1, 7, ECHO));
    rig.send(Side::Server, &Pdu::answer(12, 1, 2));
    rig.send(Side::Client, &Pdu::request(3, 2, 7, 3).done());
    rig.send(Side::Client, &Pdu::offer(14, 3, 7, known::EPMAPPER));
    rig.send(Side::Server, &Pdu::answer(15, 3, 0));
    rig.send(Side::Client, &Pdu::request(3, 4, 7, 3).done());
    let [refused, accepted] = rig.close().try_into().unwrap();
    assert_eq!(refused.interface, Named::Refused);
    assert!(matches!(accepted.interface, Named::Interface(interface) if interface.uuid == known::EPMAPPER));
}

#[test]
fn faults_missing_answers_and_missing_requests_are_told_apart() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(3, 2, 0, 3).done());
    rig.send(
        Side::Server,
        &Pdu::new(3, 3, 2)
            .with([0; 8])
            .with(5_u32.to_le_bytes())
            .with([0; 4])
            .done(),
    );
    rig.send(Side::Client, &Pdu::request(3, 3, 0, 3).done());
    rig.send(Side::Server, &Pdu::response(3, 99).done());
    let exchanges = rig.close();
    let told: Vec<_> = exchanges
        .iter()
        .map(|exchange| (exchange.call_id, exchange.request.is_some()))
        .collect();
    assert_eq!(told, [(2, true), (99, false), (3, true)]);
    assert!(matches!(exchanges[0].reply, Reply::Fault { status: 5, .. }));
    assert_eq!(exchanges[2].reply, Reply::Unanswered);
}

/// [MS-RPCE] 2.2.2.2 `PFC_MAYBE` Flag: servers ignore it.
#[test]
fn a_call_that_wants_no_answer_has_one_all_the_same() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(0x43, 2, 0, 3).done());
    rig.send(Side::Server, &Pdu::response(3, 2).done());
    let exchanges = rig.close();
    assert_eq!(exchanges.len(), 1);
    assert!(response(&exchanges[0]).is_some());
}

/// C706 3.1.2: the nil UUID stands for no object.
#[test]
fn a_nil_object_is_none() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(0x83, 2, 0, 3).with([0; 16]).done());
    assert_eq!(rig.close()[0].object, None);
}

#[test]
fn a_lost_fragment_leaves_a_call_without_a_stub_and_the_next_call_whole() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    let second = Pdu::request(0, 2, 0, 3).with([2; 40]).done();
    rig.send(Side::Client, &Pdu::request(1, 2, 0, 3).with([1; 40]).done());
    rig.send(Side::Client, &second[..30]);
    rig.push(StreamEvent::Gap {
        side: Side::Client,
        bytes: second.len() as u64 - 30,
    });
    rig.send(Side::Client, &Pdu::request(2, 2, 0, 3).with([3; 40]).done());
    rig.send(Side::Server, &Pdu::response(3, 2).done());
    rig.send(Side::Client, &Pdu::request(3, 3, 0, 3).with(b"whole").done());
    let [damaged, whole] = rig.close().try_into().unwrap();
    assert_eq!(stub(damaged.request.as_ref()), Stub::Incomplete);
    assert_eq!(
        (stub(whole.request.as_ref()), whole.bytes_missing),
        (Stub::Whole(b"whole".to_vec()), 34)
    );
}

/// What there is of the first request and of its answer, of which three fragments each come, after this gets lost of each side.
fn spliced(lost: &[u8], fragments: [[&[u8]; 3]; 2]) -> [Stub; 2] {
    let mut rig = Rig::over_tcp();
    rig.bind();
    for (side, fragments) in [Side::Client, Side::Server].into_iter().zip(fragments) {
        for (place, fragment) in fragments.into_iter().enumerate() {
            if place == 1 {
                rig.send(side, &fragment[..fragment.len() - lost.len().min(fragment.len())]);
                let bytes = lost.len() as u64;
                rig.push(StreamEvent::Gap { side, bytes });
            } else {
                rig.send(side, fragment);
            }
        }
    }
    let exchange = rig.close().into_iter().find(|exchange| exchange.call_id == 2).unwrap();
    [stub(exchange.request.as_ref()), stub(response(&exchange))]
}

#[test]
fn what_comes_behind_a_gap_does_not_go_on_where_a_message_ended_before_it() {
    let request = |flags, call_id| Pdu::request(flags, call_id, 0, 3).with([7; 40]).done();
    let response = |flags, call_id| Pdu::response(flags, call_id).with([8; 40]).done();
    let [first, middle, last] = [1, 0, 2].map(|flags| request(flags, 2));
    let [answer, more, end] = [1, 0, 2].map(|flags| response(flags, 2));
    let both = [[&first[..], &middle, &last], [&answer, &more, &end]];
    // All of the fragment; all of it but its header, or the first bytes of that, or more; two fragments.
    for lost in [64, 48, 44, 60, 10, 128] {
        let told = spliced(&vec![0; lost], both);
        assert_eq!(told, [Stub::Incomplete, Stub::Incomplete], "{lost} bytes lost");
    }
    // Within another call's fragment: this one has lost nothing.
    let (other, its_answer) = (request(1, 3), response(1, 3));
    let others = [[&first[..], &other, &last], [&answer, &its_answer, &end]];
    assert_eq!(
        spliced(&[0; 20], others),
        [Stub::Whole(vec![7; 80]), Stub::Whole(vec![8; 80])]
    );
}

#[test]
fn a_message_that_was_whole_before_a_gap_stays_whole() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    let gap = |side| StreamEvent::Gap { side, bytes: 1000 };
    rig.send(Side::Client, &Pdu::request(1, 2, 0, 3).with(b"who").done());
    rig.push(gap(Side::Server));
    rig.send(Side::Client, &Pdu::request(2, 2, 0, 3).with(b"le").done());
    rig.push(gap(Side::Client));
    // More of a request whose beginning is lost, by the same number.
    rig.send(Side::Client, &Pdu::request(2, 2, 0, 3).with(b"other").done());
    let [whole, other] = rig.close().try_into().unwrap();
    assert_eq!(stub(whole.request.as_ref()), Stub::Whole(b"whole".to_vec()));
    assert_eq!(stub(other.request.as_ref()), Stub::Incomplete);
}

#[test]
fn where_no_pdu_starts_a_fragment_may_be_lost() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(1, 2, 0, 3).with(b"one").done());
    rig.send(Side::Client, b"no PDU at all, nor anything like it");
    rig.send(Side::Client, &Pdu::request(2, 2, 0, 3).with(b"three").done());
    let [exchange] = rig.close().try_into().unwrap();
    assert_eq!(stub(exchange.request.as_ref()), Stub::Incomplete);
}

#[test]
fn the_length_of_a_sealed_message_with_a_hole_says_nothing() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    let fragment = |flags| Pdu::request(flags, 2, 0, 3).with([0x55; 40]).verified(8, 6).done();
    rig.send(Side::Client, &fragment(1));
    rig.push(StreamEvent::Gap {
        side: Side::Client,
        bytes: fragment(0).len() as u64,
    });
    rig.send(Side::Client, &fragment(2));
    let [exchange] = rig.close().try_into().unwrap();
    assert_eq!(stub(exchange.request.as_ref()), Stub::Incomplete);
}

#[test]
fn of_a_request_cut_short_interface_operation_and_level_are_known() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    let request = Pdu::request(3, 2, 0, 3).with([7; 400]).verified(0, 5).done();
    rig.send(Side::Client, &request[..100]);
    rig.push(StreamEvent::Gap {
        side: Side::Client,
        bytes: request.len() as u64 - 100,
    });
    rig.send(Side::Server, &Pdu::response(3, 2).with(b"answer").done());
    let [exchange] = rig.close().try_into().unwrap();
    assert_eq!(
        (exchange.opnum, stub(exchange.request.as_ref())),
        (Some(3), Stub::Incomplete)
    );
    assert!(matches!(exchange.interface, Named::Interface(interface) if interface.uuid == known::EPMAPPER));
    assert_eq!(stub(response(&exchange)), Stub::Whole(b"answer".to_vec()));
    assert_eq!(exchange.request.unwrap().at.frame, 3);
}

#[test]
fn calls_without_an_end_are_bounded() {
    let mut rig = Rig::over_tcp();
    rig.bounds.limits.stub = 1000;
    rig.bounds.limits.calls = 10;
    rig.bind();
    // Each call takes some bytes itself.
    let most = rig.bounds.held + (rig.bounds.limits.stub + 1000) * rig.bounds.limits.calls;
    for call_id in 0..50 {
        for flags in [1, 0, 0, 0] {
            rig.send(Side::Client, &Pdu::request(flags, call_id, 0, 3).with([7; 400]).done());
            assert!(rig.bounds.held <= most, "{} bytes are held", rig.bounds.held);
        }
    }
    assert_eq!(rig.bounds.counters.over_limit, 50 + 40, "stubs and calls given up");
    assert_eq!(rig.close().len(), 50);
}

#[test]
fn of_a_stub_beyond_the_limit_the_beginning_is_kept() {
    let mut rig = Rig::over_tcp();
    rig.bounds.limits.stub = 1000;
    rig.bind();
    for (flags, byte) in [(1, 1), (0, 2), (0, 3), (2, 4)] {
        rig.send(Side::Client, &Pdu::request(flags, 2, 0, 3).with([byte; 400]).done());
    }
    rig.send(Side::Server, &Pdu::response(3, 2).with(b"answer").done());
    assert_eq!(rig.bounds.counters.over_limit, 1);
    let [exchange] = rig.close().try_into().unwrap();
    let beginning = [[1; 400].as_slice(), &[2; 400], &[3; 200]].concat();
    let request = exchange.request.unwrap();
    assert_eq!((request.cut(), request.stub_length), (Some(1000), 1600));
    assert_eq!(request.stub, Stub::Beginning(beginning));
}

#[test]
fn an_unfinished_pdu_is_given_up_when_all_connections_hold_too_much() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    // Room for the two calls themselves.
    rig.bounds.limits.rpc_total = rig.bounds.held + 2000;
    let request = Pdu::request(3, 2, 0, 3).with([7; 4000]).done();
    rig.send(Side::Client, &request[..3000]);
    assert_eq!(rig.bounds.counters.over_limit, 1);
    rig.send(Side::Client, &request[3000..]);
    rig.send(Side::Client, &Pdu::request(3, 3, 0, 3).with(b"next").done());
    let [given_up, next] = rig.close().try_into().unwrap();
    assert_eq!(stub(given_up.request.as_ref()), Stub::Incomplete);
    assert_eq!(stub(next.request.as_ref()), Stub::Whole(b"next".to_vec()));
}

#[test]
fn an_old_call_is_given_up_while_the_connection_goes_on() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(3, 2, 0, 3).done());
    let time = Timestamp(rig.bounds.limits.answer + 1);
    let ping = Pdu::request(3, 3, 0, 3).done();
    rig.push(StreamEvent::Data {
        at: At {
            frame: 9,
            time,
            ..At::default()
        },
        side: Side::Client,
        bytes: &ping,
    });
    assert_eq!(rig.bounds.counters.unanswered, 1);
    assert_eq!(rig.close().len(), 2);
}

#[test]
fn the_rest_of_a_request_that_is_answered_early_is_no_call() {
    let fault = |call_id| {
        Pdu::new(3, 3, call_id)
            .with([0; 8])
            .with([5, 0, 0, 0, 0, 0, 0, 0])
            .done()
    };
    let fragment = |flags, call_id| Pdu::request(flags, call_id, 0, 3).with([7; 8]).done();
    let mut rig = Rig::over_tcp();
    rig.bind();
    for answer in [fault(2), Pdu::response(3, 2).done()] {
        // Three fragments, of which the server wants one; then another request of the same number.
        rig.send(Side::Client, &fragment(1, 2));
        rig.send(Side::Server, &answer);
        rig.send(Side::Client, &fragment(0, 2));
        rig.send(Side::Client, &fragment(2, 2));
        rig.send(Side::Client, &fragment(3, 2));
        rig.send(Side::Server, &Pdu::response(3, 2).done());
    }
    // The number is used again before the rest has come.
    rig.send(Side::Client, &fragment(1, 2));
    rig.send(Side::Server, &fault(2));
    rig.send(Side::Client, &fragment(1, 2));
    rig.send(Side::Client, &fragment(2, 2));
    rig.send(Side::Server, &Pdu::response(3, 2).done());
    // Behind a gap nobody knows whose rest it is.
    rig.send(Side::Client, &fragment(1, 9));
    rig.send(Side::Server, &fault(9));
    rig.push(StreamEvent::Gap {
        side: Side::Client,
        bytes: 100,
    });
    rig.send(Side::Client, &fragment(2, 9));
    for call_id in 100..200 {
        rig.send(Side::Client, &fragment(1, call_id));
        rig.send(Side::Server, &fault(call_id));
    }
    let told: Vec<String> = rig
        .close()
        .iter()
        .take(8)
        .map(|call| {
            let fragments = call.request.as_ref().map_or(0, |request| request.fragments);
            let answer = match &call.reply {
                Reply::Response(_) => "response",
                Reply::Fault { .. } => "fault",
                _ => "none",
            };
            format!("{} {fragments} {answer}", call.call_id)
        })
        .collect();
    let expected = [
        "2 1 fault",
        "2 1 response",
        "2 1 response",
        "2 1 response",
        "2 1 fault",
        "2 2 response",
        "9 1 fault",
        "100 1 fault",
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_old_call_is_given_up_though_nobody_speaks() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    let answer = rig.bounds.limits.answer;
    let ask = |rig: &mut Rig, frame, seconds: i64, call_id| {
        let time = Timestamp(seconds * 1_000_000_000);
        rig.push(StreamEvent::Data {
            at: At {
                frame,
                time,
                ..At::default()
            },
            side: Side::Client,
            bytes: &Pdu::request(3, call_id, 0, 3).done(),
        });
    };
    ask(&mut rig, 3, 0, 9);
    ask(&mut rig, 4, 1, 2);
    ask(&mut rig, 5, 1, 1);
    let told = |rig: &Rig| {
        let calls = rig.events.iter().filter_map(|event| match &event.body {
            RpcBody::Exchange(exchange) => Some((exchange.call_id, exchange.request.is_some())),
            _ => None,
        });
        calls.collect::<Vec<_>>()
    };
    // Each at its time, in the order of their frames; then there is nothing to wait for.
    assert_eq!(rig.carriage.due(), Timestamp(answer + 1));
    rig.advance(answer + 1);
    assert_eq!(told(&rig), [(9, true)]);
    assert_eq!(rig.carriage.due(), Timestamp(answer + 1_000_000_001));
    rig.advance(answer + 1_000_000_000);
    rig.advance(answer + 1_000_000_001);
    assert_eq!(told(&rig), [(9, true), (2, true), (1, true)]);
    assert_eq!(rig.carriage.due(), NEVER);
    // The answer that comes after all is one to nothing.
    rig.send(Side::Server, &Pdu::response(3, 9).done());
    assert_eq!(told(&rig)[3..], [(9, false)]);
    assert_eq!((rig.bounds.counters.unanswered, rig.bounds.counters.unasked), (3, 1));
    assert_eq!(rig.close().len(), 4);
}

#[test]
fn what_a_client_says_in_the_servers_name_is_no_answer() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(3, 2, 0, 3).done());
    let fault = Pdu::new(3, 3, 2).with([0; 8]).with([5, 0, 0, 0]).with([0; 4]).done();
    rig.send(Side::Client, &fault);
    rig.send(Side::Server, &Pdu::response(3, 2).done());
    let odd = |event: &RpcEvent| matches!(&event.body, RpcBody::Odd(odd) if odd.name == "pdu_of_the_other_side");
    assert_eq!(rig.events.iter().filter(|event| odd(event)).count(), 1);
    let exchanges = rig.close();
    assert_eq!(exchanges.len(), 1);
    assert!(response(&exchanges[0]).is_some());
}

/// A PDU with a verifier at level connect, that holds an NTLM token.
fn with_token(pdu: &[u8], token: &[u8]) -> Vec<u8> {
    let mut pdu = Pdu(pdu.to_vec()).with([10, 2, 0, 0, 1, 0, 0, 0]).with(token);
    pdu.0[10] = u8::try_from(token.len()).unwrap();
    pdu.done()
}

/// [MS-NLMP] 2.2.1.3 `AUTHENTICATE_MESSAGE`.
fn authenticate(user: [u8; 5]) -> Vec<u8> {
    let mut token = b"NTLMSSP\0\x03\0\0\0".to_vec();
    for length in [0, 0, 0, 5, 0, 0] {
        token.extend([length, 0, length, 0, 64, 0, 0, 0]);
    }
    token.extend([0x02, 0x02, 0, 0]);
    token.extend(user);
    token
}

/// [MS-NLMP] 2.2.1.1 `NEGOTIATE_MESSAGE`.
const NEGOTIATE: [u8; 32] = *b"NTLMSSP\0\x01\0\0\0\x02\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn only_legs_of_a_login_that_goes_on_say_who_logs_in() {
    let token = authenticate;
    let mut rig = Rig::over_tcp();
    rig.send(
        Side::Client,
        &with_token(&Pdu::offer(11, 1, 0, known::EPMAPPER), &NEGOTIATE),
    );
    rig.send(Side::Server, &Pdu::answer(12, 1, 0));
    let auth3 = Pdu::new(16, 3, 1).with([0; 4]).0;
    rig.send(Side::Client, &with_token(&auth3, &token(*b"alice")));
    // A `co_cancel`, an `orphaned`, and once more an `rpc_auth_3`, that nobody asked for.
    for forged in [Pdu::new(18, 3, 9).0, Pdu::new(19, 3, 9).0, auth3] {
        rig.send(Side::Client, &with_token(&forged, &token(*b"admin")));
        rig.send(Side::Client, &Pdu::request(3, 2, 0, 3).done());
        rig.send(Side::Server, &Pdu::response(3, 2).done());
    }
    let exchanges = rig.close();
    assert_eq!(exchanges.len(), 3);
    for exchange in exchanges {
        assert_eq!(exchange.claims.user.as_deref(), Some("alice"));
    }
}

#[test]
fn a_login_of_which_the_server_says_nothing_names_no_call_on_a_connection_that_began_without_one() {
    let user = |begin: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::over_tcp();
        begin(&mut rig);
        rig.send(
            Side::Client,
            &with_token(&Pdu::offer(14, 2, 0, known::EPMAPPER), &NEGOTIATE),
        );
        rig.send(Side::Server, &Pdu::answer(15, 2, 0));
        let auth3 = Pdu::new(16, 3, 2).with([0; 4]).0;
        rig.send(Side::Client, &with_token(&auth3, &authenticate(*b"admin")));
        rig.send(Side::Client, &Pdu::request(3, 3, 0, 3).done());
        rig.send(Side::Server, &Pdu::response(3, 3).done());
        let exchange = rig.close().remove(0);
        (exchange.claims.user.clone(), exchange.auth.map(|auth| auth.level))
    };
    assert_eq!(user(&|rig| rig.bind()), (None, Some(AuthLevel::NONE)));
    // Of a connection whose beginning was not seen the login is the only one that is known.
    assert_eq!(user(&|_| {}), (Some("admin".to_owned()), Some(AuthLevel::CONNECT)));
}

#[test]
fn calls_under_one_id_are_answered_in_their_order() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    for opnum in [2, 3] {
        rig.send(Side::Client, &Pdu::request(3, 7, 0, opnum).done());
    }
    for answer in [b"two", b"and"] {
        rig.send(Side::Server, &Pdu::response(3, 7).with(answer).done());
    }
    let odd = |events: &[RpcEvent]| {
        let names = events.iter().filter_map(|event| match &event.body {
            RpcBody::Odd(anomaly) => Some(anomaly.name),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(odd(&rig.events), ["call_id_used_again"]);
    let exchanges = rig.close();
    let told = exchanges
        .iter()
        .map(|exchange| (exchange.opnum, stub(response(exchange))));
    let answer = |text: &[u8]| Stub::Whole(text.to_vec());
    assert!(told.eq([(Some(2), answer(b"two")), (Some(3), answer(b"and"))]));
}

#[test]
fn where_an_answer_may_be_lost_the_next_one_is_the_next_calls() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(3, 7, 0, 2).done());
    rig.push(StreamEvent::Gap {
        side: Side::Server,
        bytes: 24,
    });
    rig.send(Side::Client, &Pdu::request(3, 7, 0, 3).done());
    rig.send(Side::Server, &Pdu::response(3, 7).with(b"answer").done());
    let [lost, answered] = rig.close().try_into().unwrap();
    assert_eq!((lost.opnum, &lost.reply), (Some(2), &Reply::Unanswered));
    assert_eq!(
        (answered.opnum, stub(response(&answered))),
        (Some(3), Stub::Whole(b"answer".to_vec()))
    );
}

/// What a call is taken for that was made behind two offers, which the server answers so.
fn behind_offers(ids: [u32; 2], answers: &[(u32, u8)]) -> Exchange {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::offer(14, ids[0], 1, ECHO));
    rig.send(Side::Client, &Pdu::offer(14, ids[1], 1, known::IREMOTE_SCM_ACTIVATOR));
    rig.send(Side::Client, &Pdu::request(3, 9, 1, 4).with(b"asks").done());
    for &(id, result) in answers {
        rig.send(Side::Server, &Pdu::answer(15, id, result));
    }
    rig.close().pop().unwrap()
}

#[test]
fn a_call_behind_offers_is_what_their_answers_make_of_it() {
    let interface = |exchange: &Exchange| match exchange.interface {
        Named::Interface(interface) => Some(interface.uuid),
        Named::Refused | Named::Unseen => None,
    };
    for ids in [[2, 2], [2, 3]] {
        let [first, second] = ids;
        for (results, expected) in [
            ([2, 0], Some(known::IREMOTE_SCM_ACTIVATOR)),
            ([0, 2], Some(ECHO)),
            ([0, 0], Some(known::IREMOTE_SCM_ACTIVATOR)),
            ([2, 2], None),
        ] {
            let call = behind_offers(ids, &[(first, results[0]), (second, results[1])]);
            assert_eq!((interface(&call), call.is_offered), (expected, false), "{results:?}");
            assert_eq!(stub(call.request.as_ref()), Stub::Whole(b"asks".to_vec()));
        }
        let call = behind_offers(ids, &[(first, 2)]);
        assert_eq!(
            (interface(&call), call.is_offered),
            (Some(known::IREMOTE_SCM_ACTIVATOR), true)
        );
    }
}

#[test]
fn what_answers_in_another_protocol_takes_no_offer() {
    let mut rig = Rig::over_tcp();
    rig.send(Side::Client, &Pdu::offer(11, 1, 0, ECHO));
    rig.send(Side::Client, &Pdu::request(3, 2, 0, 3).done());
    rig.send(Side::Server, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let [call] = rig.close().try_into().unwrap();
    assert_eq!((call.interface, call.is_offered), (Named::Refused, false));
}

#[test]
fn a_stub_is_read_in_the_byte_order_of_its_first_fragment() {
    let mut rig = Rig::over_tcp();
    rig.bind();
    rig.send(Side::Client, &Pdu::request(1, 2, 0, 3).with(b"one").done());
    let mut last = Pdu::request(2, 2, 0, 3).with(b"two").done();
    // Its header says big-endian and is so.
    last[4] = 0;
    for field in [8..10, 12..16, 16..20, 20..22, 22..24] {
        last[field].reverse();
    }
    rig.send(Side::Client, &last);
    let is_told = |event: &RpcEvent| matches!(&event.body, RpcBody::Odd(odd) if odd.name == "mixed_byte_order");
    assert!(rig.events.iter().any(is_told));
    let request = rig.close().pop().unwrap().request.unwrap();
    assert_eq!(
        (request.order, request.stub),
        (ByteOrder::Little, Stub::Whole(b"onetwo".to_vec()))
    );
}
