//! The TCP streams of a sample, sent again over a network of our own making.

use std::iter;
use std::net::IpAddr;

use dcom_sensor::capture::{At, CaptureFile, Frame, Input, LinkType};
use dcom_sensor::decode::{Decoded, Decoder, Endpoint};
use dcom_sensor::flow::Side;
use dcom_sensor::time::Timestamp;
use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::program::pcap;

/// IP without a link-layer header.
pub(crate) const RAW_IP: LinkType = LinkType(101);

/// What one side says until the other speaks.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Index in [`Conversation::connections`].
    pub(crate) connection: usize,
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
}

/// The TCP streams of a capture, without the segments they came in.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// Client and server of each.
    pub(crate) connections: Vec<[Endpoint; 2]>,
    pub(crate) turns: Vec<Turn>,
}

/// Frames of a capture, as the reader gives them.
pub(crate) fn frames(name: &str) -> Vec<(LinkType, Vec<u8>, Timestamp)> {
    let mut capture = CaptureFile::open(&Input::File(pcap(name))).expect("a sample can be opened");
    iter::from_fn(|| {
        let frame = capture.next_frame().expect("a sample can be read")?;
        Some((frame.link_type, frame.bytes.to_vec(), frame.at.time))
    })
    .collect()
}

impl Conversation {
    /// Of a sample whose segments are in order and whole.
    pub(crate) fn of(name: &str) -> Self {
        let mut conversation = Self::default();
        let mut decoder = Decoder::default();
        for (number, (link_type, bytes, time)) in (1..).zip(frames(name)) {
            let frame = frame(link_type, &bytes, number, time);
            let Some(Decoded::Segment(segment)) = decoder.push(&frame) else {
                continue;
            };
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
pub(crate) struct Journey {
    /// Lengths of segments.
    pub(crate) lengths: Vec<usize>,
    /// How many bytes before its own a segment repeats.
    pub(crate) overlaps: Vec<usize>,
    /// Is it sent twice?
    pub(crate) repeats: Vec<bool>,
    /// Segments of a turn arrive in groups of this many, each in the order of its keys.
    pub(crate) window: usize,
    pub(crate) keys: Vec<u8>,
}

impl Journey {
    /// Segments of one length, in order, each once.
    pub(crate) fn smooth(length: usize) -> Self {
        Self {
            lengths: vec![length],
            overlaps: vec![0],
            repeats: vec![false],
            window: 1,
            keys: vec![0],
        }
    }

    /// The segments of a turn as ranges of its bytes, in the order of their arrival.
    pub(crate) fn segments(&self, length: usize) -> Vec<(usize, usize)> {
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

pub(crate) fn journey() -> impl Strategy<Value = Journey> {
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
pub(crate) struct Sent<'b> {
    pub(crate) ends: [Endpoint; 2],
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: Option<u32>,
    pub(crate) payload: &'b [u8],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flag {
    Syn,
    Fin,
    /// The last of what was written at once.
    Push,
    None,
}

impl Sent<'_> {
    pub(crate) fn packet(self, flag: Flag) -> Vec<u8> {
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
            Flag::Push => tcp = tcp.psh(),
            Flag::None => {}
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, self.payload).expect("memory can be written");
        bytes
    }
}

impl Conversation {
    /// The packets of the conversation after a journey. A side speaks when it has heard all that the other said.
    pub(crate) fn travel(&self, journey: &Journey) -> Vec<Vec<u8>> {
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
                let is_last = end == turn.bytes.len();
                packets.push(sent.packet(if is_last { Flag::Push } else { Flag::None }));
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

pub(crate) fn frame(link_type: LinkType, bytes: &[u8], number: u64, time: Timestamp) -> Frame<'_> {
    Frame {
        at: At {
            frame: number,
            time,
            ..At::default()
        },
        link_type,
        bytes,
        original_length: u32::try_from(bytes.len()).expect("frames are short"),
    }
}
