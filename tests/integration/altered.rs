//! Samples in which a reply says something that no sample does.

use std::cell::Cell;

use dcom_sensor::event::Body;
use dcom_sensor::event::dcom::{Evidence, Kind};
use dcom_sensor::flow::Side;
use dcom_sensor::limits::Limits;
use dcom_sensor::severity::Severity;

use crate::properties::sense;
use crate::traffic::{Conversation, Journey, RAW_IP, Turn};

const OPNUM: usize = 22;
const GET_IDS_OF_NAMES: u8 = 5;
const INVOKE: u8 = 6;
/// C706 12.6.4.3: the type of a `bind`.
const BIND: u8 = 11;
/// Of a request of `Invoke`: behind header, object and ORPCTHIS.
const DISPID: usize = 72;
const DISP_E_UNKNOWNNAME: u32 = 0x8002_0006;
/// [MS-DCOM] 1.9 Standards Assignments: `CLSID_ErrorExtension`, and `CLSID_ErrorObject` within.
const ERROR_EXTENSION: [u8; 16] = com(0x1c);
const ERROR_OBJECT: [u8; 16] = com(0x1b);

/// `0000xxxx-0000-0000-c000-000000000046` as it is sent.
const fn com(number: u8) -> [u8; 16] {
    [number, 0x03, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// [MS-DCOM] 2.2.21.3 `ErrorInfoString`, with the signature before it.
fn text(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
    let count = u32::try_from(units.len()).expect("texts are short");
    let mut bytes = words(&[u32::MAX, count, 0, count]);
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes
}

/// A reply to `GetIDsOfNames` that says no, and why in an extension.
fn refusal(call_id: &[u8]) -> Vec<u8> {
    let mut error = words(&[0, 0]);
    error.extend([0; 16]);
    error.extend(text("MMC"));
    error.extend(text("No such member"));
    error.extend(words(&[0]));
    let mut objref = b"MEOW".to_vec();
    objref.extend(words(&[4]));
    objref.extend(com(0));
    objref.extend(ERROR_OBJECT);
    objref.extend(words(&[0, u32::try_from(error.len()).expect("short")]));
    objref.extend(error);
    let length = u32::try_from(objref.len()).expect("short");
    objref.resize(objref.len().next_multiple_of(8), 0);

    let mut stub = words(&[0, 0x2_0000, 1, 0, 0x2_0004, 2, 0x2_0008, 0]);
    stub.extend(words(&[length.next_multiple_of(8)]));
    stub.extend(ERROR_EXTENSION);
    stub.extend(words(&[length]));
    stub.extend(objref);
    stub.extend(words(&[1, u32::MAX, DISP_E_UNKNOWNNAME]));

    let mut pdu = vec![5, 0, 2, 3, 0x10, 0, 0, 0];
    let whole = u16::try_from(24 + stub.len()).expect("short");
    pdu.extend(whole.to_le_bytes());
    pdu.extend([0, 0]);
    pdu.extend(call_id);
    pdu.extend(words(&[u32::try_from(stub.len()).expect("short"), 0]));
    pdu.extend(stub);
    pdu
}

#[test]
fn what_an_object_says_of_its_failure_is_the_result() {
    let mut conversation = Conversation::of("mmc20-connect.pcap");
    let asks = |bytes: &[u8]| bytes.get(2) == Some(&0) && bytes.get(OPNUM) == Some(&GET_IDS_OF_NAMES);
    let question = conversation
        .turns
        .iter()
        .position(|turn| turn.side == Side::Client && asks(&turn.bytes));
    let question = question.expect("the sample asks for a name");
    let answer = refusal(&conversation.turns[question].bytes[12..16]);
    conversation.turns[question + 1].bytes = answer;
    let events = sense(
        &Limits::default(),
        RAW_IP,
        &conversation.travel(&Journey::smooth(1_400)),
    );
    let failed: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Dcom(dcom) if dcom.hresult_name.as_deref() == Some("DISP_E_UNKNOWNNAME") => Some(dcom),
            _ => None,
        })
        .collect();
    let [failed] = failed[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(failed.operation, "GetIDsOfNames");
    assert_eq!(failed.result.as_deref(), Some("MMC: No such member"));
}

/// MMC20 called by its numbers alone, and without the call that gave the document: method, evidence and severity of what was run.
fn run_by_numbers(sample: &str, document_was_asked_for: bool) -> Vec<(String, Evidence, Severity)> {
    let mut conversation = Conversation::of(sample);
    let is_left_out = |bytes: &[u8]| match (bytes.get(2), bytes.get(OPNUM)) {
        (Some(0), Some(&GET_IDS_OF_NAMES)) => true,
        (Some(0), Some(&INVOKE)) => !document_was_asked_for && bytes.get(DISPID) == Some(&4),
        _ => false,
    };
    let mut left_out = false;
    conversation.turns.retain(|turn| {
        left_out = if turn.side == Side::Client {
            is_left_out(&turn.bytes)
        } else {
            left_out
        };
        !left_out
    });
    let events = sense(
        &Limits::default(),
        RAW_IP,
        &conversation.travel(&Journey::smooth(1_400)),
    );
    let executions = events.into_iter().filter_map(|event| match event.body {
        Body::Alert(alert) if alert.signature_id == 1_021_303 => Some(alert),
        _ => None,
    });
    executions
        .map(|alert| {
            let dcom = alert.dcom.as_ref().expect("a call's");
            let command_line = dcom.command_line.as_deref().unwrap_or_default();
            assert!(command_line.starts_with("cmd.exe /"), "{command_line}");
            // Of the class that the object is tied to, or of the only one that has such members.
            let because = dcom.because.iter().any(|reason| {
                reason.contains("number and arguments are those of")
                    || reason.contains("concluded from the members called")
            });
            assert_eq!(because, dcom.evidence == Evidence::Inferred);
            (
                dcom.method.as_deref().unwrap_or_default().to_owned(),
                dcom.evidence,
                alert.severity,
            )
        })
        .collect()
}

#[test]
fn a_number_is_named_on_its_object_and_concluded_where_the_object_is_not_known() {
    let run = |evidence, severity| vec![("ExecuteShellCommand".to_owned(), evidence, severity)];
    let sample = "mmc20-windows-contexts.pcap";
    assert_eq!(
        run_by_numbers(sample, true),
        run(Evidence::Arguments, Severity::Critical)
    );
    assert_eq!(run_by_numbers(sample, false), run(Evidence::Inferred, Severity::High));
    assert_eq!(run_by_numbers("mmc20-snap-in.pcap", true), []);
}

/// All that is told of a conversation.
fn told(conversation: &Conversation) -> Vec<Body> {
    let packets = conversation.travel(&Journey::smooth(1_400));
    let events = sense(&Limits::default(), RAW_IP, &packets);
    events.into_iter().map(|event| event.body).collect()
}

/// An activation as it goes through a proxy, or straight to the server's port for HTTP.
fn over_http(said_first: &[(Side, &str)]) -> Vec<Body> {
    let mut conversation = Conversation::of("mmc20-connect.pcap");
    conversation.connections[0][1].port = 593;
    let first = said_first.iter().map(|&(side, text)| Turn {
        connection: 0,
        side,
        bytes: text.as_bytes().to_vec(),
    });
    conversation.turns.splice(0..0, first);
    told(&conversation)
}

#[test]
fn an_activation_over_http_is_found() {
    let banner = (Side::Server, "ncacn_http/1.0");
    let connect = (
        Side::Client,
        "RPC_CONNECT srv.example.test:593 HTTP/1.1\r\nHost: srv\r\n\r\n",
    );
    let connected = (Side::Server, "HTTP/1.1 200 Success\r\n\r\nncacn_http/1.0");
    for said_first in [vec![banner], vec![connect, connected]] {
        let found = over_http(&said_first);
        let activations: Vec<_> = found
            .iter()
            .filter(|body| matches!(body, Body::Dcom(dcom) if dcom.kind == Kind::Activation))
            .collect();
        let activated = |body: &&Body| matches!(body, Body::Alert(alert) if alert.signature_id == 1_021_301);
        let alerts = found.iter().filter(activated).count();
        assert_eq!((activations.len(), alerts), (1, 1), "{said_first:?}");
    }
}

/// What is told of a sample of which only some turns were seen.
fn seen_in_part(sample: &str, is_seen: impl Fn(&Turn) -> bool) -> Vec<Body> {
    let mut conversation = Conversation::of(sample);
    conversation.turns.retain(is_seen);
    told(&conversation)
}

#[test]
fn a_number_with_fewer_arguments_than_the_method_takes_is_not_taken_for_it() {
    let told = seen_in_part("mmc20-snap-in.pcap", |turn| turn.side == Side::Client);
    let ran = |body: &&Body| matches!(body, Body::Alert(alert) if alert.signature_id == 1_021_303);
    assert_eq!(told.iter().find(ran), None);
    let told = seen_in_part("mmc20-connect.pcap", |turn| turn.side == Side::Client);
    assert!(told.iter().any(|body| ran(&body)), "all four were given");
    // The caller names three, and leaves the second out: its place counts. Neither the activation was seen, nor the bind, nor
    // which number the method has.
    let (asked, lost) = (Cell::new(0), Cell::new(false));
    let told = seen_in_part("mmc20-named-arguments.pcap", |turn| {
        if turn.side == Side::Client {
            let asks = turn.bytes.get(2) == Some(&0) && turn.bytes.get(OPNUM) == Some(&GET_IDS_OF_NAMES);
            asked.set(asked.get() + usize::from(asks));
            lost.set(asks && asked.get() == 2);
        }
        turn.connection > 0 && !lost.get() && turn.bytes.get(2) != Some(&BIND)
    });
    assert_eq!(asked.get(), 2);
    assert!(told.iter().any(|body| ran(&body)), "{told:#?}");
}

#[test]
fn an_answer_alone_is_of_the_level_that_its_verifier_has() {
    let told = seen_in_part("mmc20-signed.pcap", |turn| turn.side == Side::Server);
    let levels: Vec<_> = told
        .iter()
        .filter_map(|body| match body {
            Body::Dcom(dcom) if dcom.kind == Kind::Activation => dcom.auth.level.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(levels, ["pkt_integrity"]);
    let weak = |body: &Body| matches!(body, Body::Alert(alert) if alert.signature_id == 1_021_340);
    assert!(!told.iter().any(weak));
}
