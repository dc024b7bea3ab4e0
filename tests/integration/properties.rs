//! However the bytes travel, the same is found; whatever the bytes are, nothing breaks.

use dcom_parsers::guid::Clsid;
use dcom_sensor::Sensor;
use dcom_sensor::capture::{Frame, LinkType};
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::event::dcom::{ActivationRecord, Kind};
use dcom_sensor::event::flow::Traffic;
use dcom_sensor::event::{Body, Event};
use dcom_sensor::flow::Side;
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::traffic::{Conversation, Journey, RAW_IP, Turn, frame, frames, journey};

/// An activation with its calls; the same in many RPC fragments; two activations over one connection.
const CAPTURES: [&str; 3] = [
    "mmc20-connect.pcap",
    "mmc20-tiny-fragments.pcap",
    "two-activations.pcap",
];

/// All that a sensor says of packets that follow one another by a microsecond.
pub(crate) fn sense(limits: &Limits, link_type: LinkType, packets: &[Vec<u8>]) -> Vec<Event> {
    let mut sensor = Sensor::new(Catalog::built_in(), *limits, Calls::All);
    let mut events = Vec::new();
    for (number, bytes) in (1..).zip(packets) {
        let time = Timestamp(1_600_000_000_000_000_000 + i64::try_from(number).expect("few packets") * 1_000);
        sensor.push(&frame(link_type, bytes, number, time), &mut events);
    }
    sensor.finish(&mut events);
    events
}

/// What was found: everything but counters, and without the frames it stood in.
pub(crate) fn found(events: Vec<Event>) -> Vec<Body> {
    let bodies = events.into_iter().map(|event| event.body);
    let mut bodies: Vec<Body> = bodies.filter(|body| !matches!(body, Body::Stats(_))).collect();
    for body in &mut bodies {
        let dcom = match body {
            Body::Dcom(dcom) => Some(&mut **dcom),
            Body::Alert(alert) => alert.dcom.as_deref_mut(),
            Body::Flow(flow) => {
                // How it was cut into packets is not what was found in it.
                flow.traffic = Traffic::default();
                if flow.tcp.take().is_none() {
                    // Over UDP a packet is a PDU.
                    flow.seen.rpc.pdus = 0;
                }
                None
            }
            _ => None,
        };
        let Some(dcom) = dcom else { continue };
        if let Some(activation) = &mut dcom.activation {
            // That there is one stays; where it stood does not.
            *activation = ActivationRecord::default();
        }
        for why in dcom.tool.iter_mut().flat_map(|tool| &mut tool.because) {
            why.truncate(why.rfind(" (frame ").expect("a fact stood somewhere"));
        }
    }
    bodies
}

/// What is found in a sample as it was captured.
pub(crate) fn found_in(name: &str) -> Vec<Body> {
    let frames = frames(name);
    let link_type = frames.first().expect("a sample has frames").0;
    let packets: Vec<Vec<u8>> = frames.into_iter().map(|(_, bytes, _)| bytes).collect();
    let found = found(sense(&Limits::default(), link_type, &packets));
    let activated = |body: &&Body| matches!(body, Body::Alert(alert) if alert.signature_id == 1_021_301);
    let alerts = found.iter().filter(activated).count();
    assert_eq!(alerts, if name.starts_with("two") { 2 } else { 1 }, "{name}");
    found
}

#[test]
fn streams_that_come_byte_by_byte_say_the_same() {
    for name in CAPTURES {
        let conversation = Conversation::of(name);
        for length in [1, 2, 3, 7] {
            let packets = conversation.travel(&Journey::smooth(length));
            let found = found(sense(&Limits::default(), RAW_IP, &packets));
            assert_eq!(found, found_in(name), "{name} in segments of {length}");
        }
    }
}

#[test]
fn two_packets_that_change_places_hide_no_activation() {
    for name in CAPTURES {
        let packets = Conversation::of(name).travel(&Journey::smooth(1_460));
        let whole = classes(&found_in(name));
        for first in 0..packets.len() - 1 {
            let mut packets = packets.clone();
            packets.swap(first, first + 1);
            let swapped = found(sense(&Limits::default(), RAW_IP, &packets));
            assert_eq!(classes(&swapped), whole, "{name}: packets {first} and {}", first + 1);
        }
    }
}

#[test]
fn a_journey_reorders_repeats_and_overlaps() {
    let journey = Journey {
        lengths: vec![10, 20],
        overlaps: vec![0, 5],
        repeats: vec![false, false, true],
        window: 3,
        keys: vec![3, 2, 1],
    };
    let arrived = [(30, 40), (5, 30), (0, 10), (35, 55), (30, 40)];
    assert_eq!(journey.segments(55), arrived);
}

/// The classes that were asked for, as far as they could be read.
fn classes(found: &[Body]) -> Vec<Clsid> {
    let activations = found.iter().filter_map(|body| match body {
        Body::Dcom(dcom) if dcom.kind == Kind::Activation => dcom.clsid,
        _ => None,
    });
    activations.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn streams_say_the_same_however_they_are_cut_reordered_and_repeated(name in select(&CAPTURES[..]), journey in journey()) {
        let packets = Conversation::of(name).travel(&journey);
        prop_assert_eq!(found(sense(&Limits::default(), RAW_IP, &packets)), found_in(name));
    }

    #[test]
    fn damaged_payloads_break_nothing(
        name in select(&CAPTURES[..]),
        journey in journey(),
        damage in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..60),
        limits in limits(),
    ) {
        let mut packets = Conversation::of(name).travel(&journey);
        for (packet, at, value) in damage {
            let packet = packet.get_mut(&mut packets);
            // 20 bytes of IP and 20 of TCP header stand before the payload.
            if let Some(payload) = packet.get_mut(40..).filter(|payload| !payload.is_empty()) {
                *at.get_mut(payload) = value;
            }
        }
        within_reason(&sense(&limits, RAW_IP, &packets), packets.len())?;
    }

    #[test]
    fn what_is_lost_breaks_nothing_and_invents_nothing(
        name in select(&CAPTURES[..]),
        journey in journey(),
        lost in prop::collection::vec(any::<Index>(), 1..30),
        limits in limits(),
    ) {
        let mut packets = Conversation::of(name).travel(&journey);
        for index in lost {
            if packets.len() > 1 {
                packets.remove(index.index(packets.len()));
            }
        }
        let events = sense(&limits, RAW_IP, &packets);
        within_reason(&events, packets.len())?;
        let all = classes(&found_in(name));
        let left = classes(&found(events));
        prop_assert!(left.iter().all(|class| all.contains(class)), "{:?}", left);
        prop_assert!(left.len() <= all.len(), "{:?}", left);
    }

    #[test]
    fn random_frames_break_nothing(frames in prop::collection::vec(random_frame(), 1..60), limits in limits()) {
        let mut sensor = Sensor::new(Catalog::built_in(), limits, Calls::All);
        let mut events = Vec::new();
        for (number, (link_type, bytes, time, original_length)) in (1..).zip(&frames) {
            let frame = Frame { original_length: *original_length, ..frame(LinkType(*link_type), bytes, number, Timestamp(*time)) };
            sensor.push(&frame, &mut events);
        }
        sensor.finish(&mut events);
        within_reason(&events, frames.len())?;
    }

    #[test]
    fn random_pdus_break_nothing(pdus in prop::collection::vec(random_pdu(), 1..60), limits in limits()) {
        let conversation = Conversation {
            connections: Conversation::of(CAPTURES[0]).connections,
            turns: pdus.into_iter().map(|(side, bytes)| Turn { connection: 0, side, bytes }).collect(),
        };
        let packets = conversation.travel(&Journey::smooth(1_400));
        within_reason(&sense(&limits, RAW_IP, &packets), packets.len())?;
    }
}

/// The default, or so little of everything that each cap bites.
fn limits() -> impl Strategy<Value = Limits> {
    let least = Limits {
        conversations: 1,
        conversation_calls: 1,
        encapsulations: 1,
        fragments_total: 100,
        fragmented_packets: 1,
        fragment_wait: 1,
        remembered_per_side: 10,
        remembered_total: 15,
        copy: 1,
        suspects: 1,
        idle_unanswered: 10_000,
        idle_foreign: 10_000,
        idle_followed: 10_000,
        fragments: 1,
        flows: 1,
        interfaces: 2,
        object_idle: 10_000,
        object_unpinged: 10_000,
        object_released: 1_000,
        tool_connections: 1,
        tool_memory: 1,
        alerts: 1,
        thresholds: 1,
        remembered: 1,
        baseline: 1,
        host_events: 1,
        host_connections: 1,
        host_pending: 1,
        doubt: 1,
        doubted: 100,
        reassembly_per_side: 64,
        reassembly_total: 100,
        window: 2_000,
        connect: 1,
        linger: 1,
        rpc_connections: 1,
        rpc_total: 200,
        smb_message: 1,
        pipes: 1,
        smb_requests: 1,
        shares: 1,
        virtual_connections: 1,
        tickets: 1,
        kdc_streams: 1,
        kdc_message: 100,
        kdc_total: 150,
        calls: 1,
        contexts: 1,
        stub: 100,
        stubs_per_connection: 150,
        answer: 10_000,
        pending: 1,
        follow: 10_000,
        told_within: 1_000,
        connections: 1,
        continuation: 1,
        community_id_seed: 0,
    };
    select(vec![Limits::default(), least])
}

/// A run ends with one record of counters, and nobody can make it say more than a few things a packet.
fn within_reason(events: &[Event], packets: usize) -> Result<(), TestCaseError> {
    let stats = events
        .iter()
        .filter(|event| matches!(event.body, Body::Stats(_)))
        .count();
    prop_assert_eq!(stats, 1);
    prop_assert!(
        events.len() <= 1 + 8 * packets,
        "{} events of {} packets",
        events.len(),
        packets
    );
    Ok(())
}

/// Link type, bytes, time, length on the wire: any, or bytes that begin like something that is read further.
fn random_frame() -> impl Strategy<Value = (u16, Vec<u8>, i64, u32)> {
    let starts: Vec<&[u8]> = vec![
        b"",
        b"\x45\x00",
        b"\x45\x00\x00\x00\x00\x00\x00\x00\x40\x06",
        b"\x60\x00\x00\x00\x00\x20\x06\x40",
        b"\x45\x00\x00\x00\x00\x00\x00\x00\x40\x11",
        b"\x60\x00\x00\x00\x00\x20\x11\x40",
        b"\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x08\x00\x45\x00\x00\x00\x00\x00\x00\x00\x40\x06",
        b"\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x81\x00\x00\x01\x88\xa8\x00\x02\x86\xdd\x60",
    ];
    let link_type = prop_oneof![4 => select(vec![0_u16, 1, 12, 101, 108, 113, 228, 229, 276]), 1 => any::<u16>()];
    let bytes =
        (select(starts), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(start, rest)| [start, &rest].concat());
    (link_type, bytes, any::<i64>(), any::<u32>())
}

/// A PDU with a header that holds together more often than not, and anything in it.
fn random_pdu() -> impl Strategy<Value = (Side, Vec<u8>)> {
    let body = prop::collection::vec(any::<u8>(), 0..300);
    let drep = select(vec![[0x10, 0, 0, 0], [0, 0, 0, 0]]);
    (
        select(vec![Side::Client, Side::Server]),
        0..21_u8,
        any::<u8>(),
        drep,
        any::<[u8; 2]>(),
        0..3_u8,
        0..4_u8,
        body,
    )
        .prop_map(|(side, kind, flags, drep, odd, oddness, call, body)| {
            let length = u16::try_from(16 + body.len()).expect("PDUs are short");
            let number = |number: u16| {
                if drep[0] == 0 {
                    number.to_be_bytes()
                } else {
                    number.to_le_bytes()
                }
            };
            let length = if oddness == 1 { odd } else { number(length) };
            let auth = if oddness == 2 { odd } else { [0, 0] };
            let call = if drep[0] == 0 { [0, 0, 0, call] } else { [call, 0, 0, 0] };
            (
                side,
                [&[5, 0, kind, flags], &drep[..], &length, &auth, &call, &body].concat(),
            )
        })
}
