//! However the bytes travel, the same is found; whatever the bytes are, nothing breaks.

use std::iter;
use std::net::IpAddr;

use dcom_sensor::Sensor;
use dcom_sensor::capture::{At, CaptureFile, Frame, Input, LinkType};
use dcom_sensor::catalog::Catalog;
use dcom_sensor::decode::{Decoder, Endpoint};
use dcom_sensor::event::{Body, Event};
use dcom_sensor::flow::Side;
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;
use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::program::pcap;

/// An activation with its calls; the same in many RPC fragments; two activations over one connection.
const CAPTURES: [&str; 3] = [
    "mmc20-connect.pcap",
    "mmc20-tiny-fragments.pcap",
    "two-activations.pcap",
];

const RAW_IP: LinkType = LinkType(101);

/// What one side says until the other speaks.
#[derive(Clone, Debug)]
struct Turn {
    /// Index in [`Conversation::connections`].
    connection: usize,
    side: Side,
    bytes: Vec<u8>,
}

/// The TCP streams of a capture, without the segments they came in.
#[derive(Debug, Default)]
struct Conversation {
    /// Client and server of each.
    connections: Vec<[Endpoint; 2]>,
    turns: Vec<Turn>,
}

/// Frames of a capture, as the reader gives them.
fn frames(name: &str) -> Vec<(LinkType, Vec<u8>, Timestamp)> {
    let mut capture = CaptureFile::open(&Input::File(pcap(name))).expect("a sample can be opened");
    iter::from_fn(|| {
        let frame = capture.next_frame().expect("a sample can be read")?;
        Some((frame.link_type, frame.bytes.to_vec(), frame.at.time))
    })
    .collect()
}

impl Conversation {
    /// Of a sample whose segments are in order and whole.
    fn of(name: &str) -> Self {
        let mut conversation = Self::default();
        let mut decoder = Decoder::default();
        for (number, (link_type, bytes, time)) in (1..).zip(frames(name)) {
            let frame = frame(link_type, &bytes, number, time);
            let Some(segment) = decoder.push(&frame) else { continue };
            let ends = [segment.source, segment.destination];
            let known = conversation
                .connections
                .iter()
                .position(|known| known.iter().all(|end| ends.contains(end)));
            let connection = known.unwrap_or_else(|| {
                assert!(segment.syn, "{name}: frame {number} is of no connection");
                conversation.connections.push(ends);
                conversation.connections.len() - 1
            });
            if segment.payload.is_empty() {
                continue;
            }
            let is_client = conversation.connections[connection][0] == segment.source;
            let side = if is_client { Side::Client } else { Side::Server };
            match conversation.turns.last_mut() {
                Some(turn) if (turn.connection, turn.side) == (connection, side) => turn.bytes.extend(segment.payload),
                _ => conversation.turns.push(Turn {
                    connection,
                    side,
                    bytes: segment.payload.to_vec(),
                }),
            }
        }
        conversation
    }
}

/// How a conversation is cut into segments, and what a network does to them. Each list is gone through over and over.
#[derive(Clone, Debug)]
struct Journey {
    /// Lengths of segments.
    lengths: Vec<usize>,
    /// How many bytes before its own a segment repeats.
    overlaps: Vec<usize>,
    /// Is it sent twice?
    repeats: Vec<bool>,
    /// Segments of a turn arrive in groups of this many, each in the order of its keys.
    window: usize,
    keys: Vec<u8>,
}

impl Journey {
    /// Segments of one length, in order, each once.
    fn smooth(length: usize) -> Self {
        Self {
            lengths: vec![length],
            overlaps: vec![0],
            repeats: vec![false],
            window: 1,
            keys: vec![0],
        }
    }

    /// The segments of a turn as ranges of its bytes, in the order of their arrival.
    fn segments(&self, length: usize) -> Vec<(usize, usize)> {
        let mut sent = Vec::new();
        let mut at = 0;
        let drawn = self
            .lengths
            .iter()
            .cycle()
            .zip(self.overlaps.iter().cycle())
            .zip(self.repeats.iter().cycle());
        for ((piece, overlap), repeat) in drawn {
            if at == length {
                break;
            }
            let end = length.min(at + piece);
            let segment = (at.saturating_sub(*overlap), end);
            sent.push(segment);
            if *repeat {
                sent.push(segment);
            }
            at = end;
        }
        let mut keys = self.keys.iter().cycle();
        let mut keyed: Vec<_> = sent.into_iter().map(|segment| (keys.next(), segment)).collect();
        for group in keyed.chunks_mut(self.window) {
            group.sort_by_key(|(key, _)| *key);
        }
        keyed.into_iter().map(|(_, segment)| segment).collect()
    }
}

fn journey() -> impl Strategy<Value = Journey> {
    let lengths = prop_oneof![1..8_usize, 8..200_usize, 200..1460_usize];
    (
        prop::collection::vec(lengths, 1..20),
        prop::collection::vec(prop_oneof![3 => Just(0_usize), 1 => 1..100_usize], 1..20),
        prop::collection::vec(prop::bool::weighted(0.2), 1..20),
        1..16_usize,
        prop::collection::vec(any::<u8>(), 1..50),
    )
        .prop_map(|(lengths, overlaps, repeats, window, keys)| Journey {
            lengths,
            overlaps,
            repeats,
            window,
            keys,
        })
}

/// A TCP segment on its way: what [`Conversation::travel`] needs to say of it.
#[derive(Clone, Copy)]
struct Sent<'b> {
    ends: [Endpoint; 2],
    sequence: u32,
    acknowledgement: Option<u32>,
    payload: &'b [u8],
}

#[derive(Clone, Copy, PartialEq)]
enum Flag {
    Syn,
    Fin,
    None,
}

impl Sent<'_> {
    fn packet(self, flag: Flag) -> Vec<u8> {
        let [source, destination] = self.ends;
        let (IpAddr::V4(from), IpAddr::V4(to)) = (source.address, destination.address) else {
            panic!("these samples are IPv4");
        };
        let mut tcp = PacketBuilder::ipv4(from.octets(), to.octets(), 64).tcp(
            source.port,
            destination.port,
            self.sequence,
            65_535,
        );
        if let Some(number) = self.acknowledgement {
            tcp = tcp.ack(number);
        }
        match flag {
            Flag::Syn => tcp = tcp.syn(),
            Flag::Fin => tcp = tcp.fin(),
            Flag::None => {}
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, self.payload).expect("memory can be written");
        bytes
    }
}

impl Conversation {
    /// The packets of the conversation after a journey. A side speaks when it has heard all that the other said.
    fn travel(&self, journey: &Journey) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        // The server's sequence numbers wrap around early on.
        let first = [1_000_u32, u32::MAX - 100];
        let mut next: Vec<Option<[u32; 2]>> = vec![None; self.connections.len()];
        for turn in &self.turns {
            let [client, server] = self.connections[turn.connection];
            let next = next[turn.connection].get_or_insert_with(|| {
                let opening = |ends, sequence, acknowledgement| Sent {
                    ends,
                    sequence,
                    acknowledgement,
                    payload: &[],
                };
                let after = first.map(|number| number.wrapping_add(1));
                packets.push(opening([client, server], first[0], None).packet(Flag::Syn));
                packets.push(opening([server, client], first[1], Some(after[0])).packet(Flag::Syn));
                packets.push(opening([client, server], after[0], Some(after[1])).packet(Flag::None));
                after
            });
            let (own, other, ends) = match turn.side {
                Side::Client => (0, 1, [client, server]),
                Side::Server => (1, 0, [server, client]),
            };
            for (start, end) in journey.segments(turn.bytes.len()) {
                let sent = Sent {
                    ends,
                    sequence: next[own].wrapping_add(u32::try_from(start).expect("turns are short")),
                    acknowledgement: Some(next[other]),
                    payload: &turn.bytes[start..end],
                };
                packets.push(sent.packet(Flag::None));
            }
            next[own] = next[own].wrapping_add(u32::try_from(turn.bytes.len()).expect("turns are short"));
        }
        for ([client, server], next) in self.connections.iter().zip(next) {
            let Some([from_client, from_server]) = next else {
                continue;
            };
            let closing = |ends, sequence, acknowledgement| Sent {
                ends,
                sequence,
                acknowledgement,
                payload: &[],
            };
            packets.push(closing([*client, *server], from_client, Some(from_server)).packet(Flag::Fin));
            packets.push(closing([*server, *client], from_server, Some(from_client.wrapping_add(1))).packet(Flag::Fin));
        }
        packets
    }
}

fn frame(link_type: LinkType, bytes: &[u8], number: u64, time: Timestamp) -> Frame<'_> {
    Frame {
        at: At {
            frame: number,
            time,
            input: 0,
        },
        link_type,
        bytes,
        original_length: u32::try_from(bytes.len()).expect("frames are short"),
    }
}

/// All that a sensor says of packets that follow one another by a microsecond.
fn sense(limits: Limits, link_type: LinkType, packets: &[Vec<u8>]) -> Vec<Event> {
    let mut sensor = Sensor::new(Catalog::built_in(), limits);
    let mut events = Vec::new();
    for (number, bytes) in (1..).zip(packets) {
        let time = Timestamp(1_600_000_000_000_000_000 + i64::try_from(number).expect("few packets") * 1_000);
        sensor.push(&frame(link_type, bytes, number, time), &mut events);
    }
    sensor.finish(&mut events);
    events
}

/// What was found: everything but counters, and without the frames it stood in.
fn found(events: Vec<Event>) -> Vec<Body> {
    let bodies = events.into_iter().map(|event| event.body);
    bodies.filter(|body| !matches!(body, Body::Stats(_))).collect()
}

/// What is found in a sample as it was captured.
fn found_in(name: &str) -> Vec<Body> {
    let frames = frames(name);
    let link_type = frames.first().expect("a sample has frames").0;
    let packets: Vec<Vec<u8>> = frames.into_iter().map(|(_, bytes, _)| bytes).collect();
    let found = found(sense(Limits::default(), link_type, &packets));
    let alerts = found.iter().filter(|body| matches!(body, Body::Alert(_))).count();
    assert_eq!(alerts, if name.starts_with("two") { 2 } else { 1 }, "{name}");
    found
}

#[test]
fn streams_that_come_byte_by_byte_say_the_same() {
    for name in CAPTURES {
        let conversation = Conversation::of(name);
        for length in [1, 2, 3, 7] {
            let packets = conversation.travel(&Journey::smooth(length));
            let found = found(sense(Limits::default(), RAW_IP, &packets));
            assert_eq!(found, found_in(name), "{name} in segments of {length}");
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn streams_say_the_same_however_they_are_cut_reordered_and_repeated(name in select(&CAPTURES[..]), journey in journey()) {
        let packets = Conversation::of(name).travel(&journey);
        prop_assert_eq!(found(sense(Limits::default(), RAW_IP, &packets)), found_in(name));
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
        within_reason(&sense(limits, RAW_IP, &packets), packets.len())?;
    }

    #[test]
    fn lost_packets_break_nothing(
        name in select(&CAPTURES[..]),
        journey in journey(),
        lost in prop::collection::vec(any::<Index>(), 1..30),
        limits in limits(),
    ) {
        let mut packets = Conversation::of(name).travel(&journey);
        for index in lost {
            packets.remove(index.index(packets.len()));
        }
        within_reason(&sense(limits, RAW_IP, &packets), packets.len())?;
    }

    #[test]
    fn random_frames_break_nothing(frames in prop::collection::vec(random_frame(), 1..60), limits in limits()) {
        let mut sensor = Sensor::new(Catalog::built_in(), limits);
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
        within_reason(&sense(limits, RAW_IP, &packets), packets.len())?;
    }
}

/// The default, or so little of everything that each cap bites.
fn limits() -> impl Strategy<Value = Limits> {
    let least = Limits {
        flows: 1,
        reassembly_per_side: 64,
        reassembly_total: 100,
        window: 2_000,
        linger: 1,
        calls: 1,
        contexts: 1,
        stub: 100,
        stubs_per_connection: 150,
        answer: 10_000,
        pending: 1,
        follow: 10_000,
        connections: 1,
        continuation: 1,
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
