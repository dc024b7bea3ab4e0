//! Samples played twice, or with something missing.

use dcom_sensor::event::Body;
use dcom_sensor::event::dcom::{Dcom, Evidence, Kind};
use dcom_sensor::limits::Limits;

use crate::properties::sense;
use crate::traffic::{Conversation, Journey, RAW_IP};

const NO_CALL: u32 = 1_021_310;
const EXECUTION: u32 = 1_021_303;

fn play(limits: &Limits, conversation: &Conversation, is_lost: impl Fn(usize, &[u8]) -> bool) -> Vec<Body> {
    let packets = conversation.travel(&Journey::smooth(1_400));
    let packets = packets.into_iter().enumerate();
    let packets: Vec<_> = packets
        .filter(|(number, bytes)| !is_lost(*number, bytes))
        .map(|(_, bytes)| bytes)
        .collect();
    let events = sense(limits, RAW_IP, &packets);
    events.into_iter().map(|event| event.body).collect()
}

fn all(_: usize, _: &[u8]) -> bool {
    false
}

fn alerts(bodies: &[Body], signature_id: u32) -> Vec<&Dcom> {
    let alerts = bodies.iter().filter_map(|body| match body {
        Body::Alert(alert) if alert.signature_id == signature_id => alert.dcom.as_deref(),
        _ => None,
    });
    alerts.collect()
}

#[test]
fn what_a_second_activation_hands_out_again_is_its_own() {
    for sample in ["shellwindows-connect.pcap", "excel-registerxll.pcap"] {
        let mut conversation = Conversation::of(sample);
        let mut again = Conversation::of(sample);
        for [client, _] in &mut again.connections {
            client.port += 1_000;
        }
        for turn in &mut again.turns {
            turn.connection += conversation.connections.len();
        }
        conversation.connections.extend(again.connections);
        conversation.turns.extend(again.turns);
        let bodies = play(&Limits::default(), &conversation, all);
        let activations: Vec<_> = bodies
            .iter()
            .filter_map(|body| match body {
                Body::Dcom(dcom) if dcom.kind == Kind::Call => dcom.activation.as_ref().map(|it| it.timestamp),
                _ => None,
            })
            .collect();
        let first = activations.iter().filter(|at| Some(*at) == activations.first()).count();
        assert_eq!(
            first * 2,
            activations.len(),
            "{sample}: half of them are the second one's"
        );
        assert!(alerts(&bodies, NO_CALL).is_empty(), "{sample}");
        assert_eq!(alerts(&bodies, EXECUTION).len(), 2, "{sample}");
    }
}

#[test]
fn a_class_is_not_told_by_members_where_those_before_may_be_lost() {
    let mut conversation = Conversation::of("shellwindows-connect.pcap");
    // Nothing is known of the activation, as where it is sealed.
    conversation.turns.retain(|turn| turn.connection != 0);
    let classes = |lost: Option<usize>| {
        let bodies = play(&Limits::default(), &conversation, |number, _| Some(number) == lost);
        let told = alerts(&bodies, EXECUTION).into_iter().map(|dcom| dcom.class.clone());
        told.collect::<Vec<_>>()
    };
    assert_eq!(classes(None), [Some("ShellWindows".to_owned())]);
    let packets = conversation.travel(&Journey::smooth(1_400)).len();
    let mut ambiguous = 0;
    for lost in 0..packets {
        for class in classes(Some(lost)) {
            assert_ne!(class.as_deref(), Some("ShellBrowserWindow"), "without packet {lost}");
            ambiguous += usize::from(class.is_none());
        }
    }
    assert!(ambiguous > 1);
}

/// The conversation without some of its requests and without what answers them.
fn without(conversation: &mut Conversation, mut is_left_out: impl FnMut(&[u8]) -> bool) {
    let mut left_out = Vec::new();
    for turn in &mut conversation.turns {
        let (mut kept, mut rest) = (Vec::new(), turn.bytes.as_slice());
        while let [_, _, kind, _, _, _, _, _, low, high, ..] = *rest {
            let length = usize::from(u16::from_le_bytes([low, high]));
            let (pdu, behind) = rest.split_at(length);
            let call = (turn.connection, pdu[12..16].to_vec());
            if kind == 0 && is_left_out(pdu) {
                left_out.push(call);
            } else if kind != 2 || !left_out.contains(&call) {
                kept.extend(pdu);
            }
            rest = behind;
        }
        turn.bytes = kept;
    }
    conversation.turns.retain(|turn| !turn.bytes.is_empty());
}

#[test]
fn which_of_two_classes_an_object_is_of_is_not_told_by_members_that_both_have() {
    const GET_IDS_OF_NAMES: u8 = 5;
    let window: Vec<_> = "Document".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for numbers_alone in [false, true] {
        let mut conversation = Conversation::of("shellwindows-connect.pcap");
        // The window was handed out before, over another connection: this one is seen from its start.
        conversation.turns.retain(|turn| turn.connection != 0);
        let mut is_before = true;
        without(&mut conversation, |request| {
            is_before &= !request.windows(window.len()).any(|text| text == window);
            is_before || (numbers_alone && request[22] == GET_IDS_OF_NAMES)
        });
        let bodies = play(&Limits::default(), &conversation, all);
        let [alert] = alerts(&bodies, EXECUTION)[..] else {
            panic!("the sample runs something once");
        };
        assert_eq!((&alert.class, alert.bind_seen), (&None, Some(true)));
        assert_eq!(alert.method.as_deref(), Some("ShellExecute"));
        assert_eq!(alert.command_line.as_deref(), Some("cmd.exe /Q /c whoami"));
        let evidence = if numbers_alone {
            Evidence::Inferred
        } else {
            Evidence::Arguments
        };
        assert_eq!(alert.evidence, evidence);
    }
}

#[test]
fn of_a_call_beyond_the_limit_the_beginning_is_read() {
    let conversation = Conversation::of("mmc20-connect.pcap");
    let whole = play(&Limits::default(), &conversation, all);
    let [whole] = alerts(&whole, EXECUTION)[..] else {
        panic!("the sample runs something once");
    };
    let mut inferred = 0;
    for stub in (0..600).step_by(8) {
        let limits = Limits {
            stub,
            ..Limits::default()
        };
        let bodies = play(&limits, &conversation, all);
        for dcom in alerts(&bodies, EXECUTION) {
            assert_eq!(dcom.method, whole.method, "{stub}");
            let is_cut = dcom
                .because
                .iter()
                .any(|why| why.contains("bytes of the stub were kept"));
            if dcom.evidence == Evidence::Arguments {
                assert_eq!(dcom.arguments, whole.arguments, "{stub}");
            } else {
                assert_eq!((dcom.evidence, is_cut), (Evidence::Inferred, true), "{stub}");
                inferred += 1;
            }
            let is_told = |body: &Body| matches!(body, Body::Anomaly(anomaly) if anomaly.event == "oversized_stub");
            assert!(
                dcom.evidence == Evidence::Arguments || bodies.iter().any(is_told),
                "{stub}"
            );
        }
    }
    assert!(inferred > 0);
}
