//! The tricks, one after the other.

use super::packets::{self, Fragment, Packet, activation, plain};
use super::{Row, Told, pdus};

use Told::{Alert, AlertAnd, Nothing, Only};

pub(super) const ROWS: &[Row] = &[
    Row {
        does: "every stream in segments of one byte",
        packets: || cut_up(1),
        told: Alert,
    },
    Row {
        does: "the activation in segments of eight bytes, the last one first",
        packets: backwards,
        told: Alert,
    },
    Row {
        does: "the activation is sent again, asking for another class",
        packets: || around(|real| vec![real.clone(), real.forged()]),
        told: AlertAnd(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "a forgery of the activation comes first, asking for another class, with a right checksum (the target gets the second one: the first one's TTL ends on the way)",
        packets: || {
            around(|real| {
                vec![
                    Packet {
                        hops: 1,
                        ..real.forged()
                    },
                    real,
                ]
            })
        },
        told: Only(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "a forgery of the activation comes first, with a wrong checksum",
        packets: || {
            around(|real| {
                vec![
                    Packet {
                        wrong_checksum: true,
                        ..real.forged()
                    },
                    real,
                ]
            })
        },
        told: AlertAnd(&["tcp_checksum_wrong", "tcp_overlap_different_data"]),
    },
    Row {
        does: "the activation itself has a wrong checksum, and the target takes it all the same (offload)",
        packets: || {
            around(|real| {
                vec![Packet {
                    wrong_checksum: true,
                    ..real
                }]
            })
        },
        told: AlertAnd(&["tcp_checksum_wrong"]),
    },
    Row {
        does: "overlapping segments that differ, held back because earlier bytes are missing, the real ones first",
        packets: || held_back(|real, forged| vec![real, forged]),
        told: AlertAnd(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "the same, the forged ones first",
        packets: || held_back(|real, forged| vec![forged, real]),
        told: Only(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "a forgery far outside the window",
        packets: || around(|real| vec![moved(real.forged(), 1 << 30), real]),
        told: AlertAnd(&["tcp_out_of_window"]),
    },
    Row {
        does: "a RST far outside the window before the activation, then 10 seconds of silence",
        packets: || {
            around(|real| {
                vec![
                    reset(moved(real.clone(), 1 << 28)),
                    Packet {
                        pause_ms: 10_000,
                        ..real
                    },
                ]
            })
        },
        told: AlertAnd(&["tcp_reset_out_of_window"]),
    },
    Row {
        does: "a RST that fits and does not reach the target",
        packets: || {
            around(|real| {
                vec![
                    Packet {
                        hops: 1,
                        ..reset(real.clone())
                    },
                    real,
                ]
            })
        },
        told: Alert,
    },
    Row {
        does: "the same, then 10 seconds of silence: the connection is picked up in mid-stream",
        packets: || {
            around(|real| {
                vec![
                    Packet {
                        hops: 1,
                        ..reset(real.clone())
                    },
                    Packet {
                        pause_ms: 10_000,
                        ..real
                    },
                ]
            })
        },
        told: Alert,
    },
    Row {
        does: "FINs of both sides before the activation",
        packets: finished,
        told: Alert,
    },
    Row {
        does: "a FIN with a wrong sequence number before the activation",
        packets: || around(|real| vec![finish(moved(real.clone(), 5_000)), real]),
        told: Alert,
    },
    Row {
        does: "a SYN with another sequence number in the middle of the connection",
        packets: || around(|real| vec![open(moved(real.clone(), 77_777)), real]),
        told: Alert,
    },
    Row {
        does: "a second SYN with another sequence number before anything is said",
        packets: second_syn,
        told: Alert,
    },
    Row {
        does: "the first byte alone, then a SYN with another sequence number",
        packets: first_byte,
        told: Alert,
    },
    Row {
        does: "the activation in IP fragments of eight bytes",
        packets: || around(|real| vec![fragmented(real, false)]),
        told: Alert,
    },
    Row {
        does: "the same, the last one first",
        packets: || around(|real| vec![fragmented(real, true)]),
        told: Alert,
    },
    Row {
        does: "IP fragments that overlap and differ, the real ones first",
        packets: || around(|real| vec![overlapping(real, false)]),
        told: AlertAnd(&["ip_fragment_overlap_different_data"]),
    },
    Row {
        does: "the same, the forged ones first (Windows takes neither)",
        packets: || around(|real| vec![overlapping(real, true)]),
        told: Only(&["ip_fragment_overlap_different_data", "tcp_checksum_wrong"]),
    },
    Row {
        does: "a forgery of the activation comes first, in a packet that ends behind its frame",
        packets: || {
            around(|real| {
                vec![
                    Packet {
                        longer: 1_000,
                        ..real.forged()
                    },
                    real,
                ]
            })
        },
        told: Alert,
    },
    Row {
        does: "the last IP fragment 59 seconds after the first",
        packets: || around(|real| slow(&real)),
        told: Alert,
    },
    Row {
        does: "the activation in RPC fragments of 40 bytes",
        packets: pdus::fragmented,
        told: Alert,
    },
    Row {
        does: "RPC fragments of two calls, in turn",
        packets: pdus::interleaved,
        told: Alert,
    },
    Row {
        does: "the same, and 200 calls that begin in between and do not end",
        packets: || pdus::left_open(200, 1, 32),
        told: Alert,
    },
    Row {
        does: "the same, 300 calls",
        packets: || pdus::left_open(300, 1, 32),
        told: Only(&["unfinished_call_pushed_out"]),
    },
    Row {
        does: "the same, five calls of a mebibyte",
        packets: || pdus::left_open(5, 18, 60_000),
        told: Only(&["oversized_stub"]),
    },
    Row {
        does: "200,000 bytes before the activation's arguments, as an extension that the target passes over",
        packets: || pdus::extended(200_000),
        told: Alert,
    },
    Row {
        does: "the same, 1,200,000 bytes",
        packets: || pdus::extended(1_200_000),
        told: Only(&["oversized_stub"]),
    },
    Row {
        does: "an `alter_context` that gives the activation's context another meaning, and is refused",
        packets: pdus::refused_alter_context,
        told: Alert,
    },
    Row {
        does: "the same, not answered",
        packets: pdus::unanswered_alter_context,
        told: Alert,
    },
    Row {
        does: "a bind to something else first, which is refused",
        packets: pdus::refused_bind,
        told: Alert,
    },
    Row {
        does: "bytes that are no PDU before the activation",
        packets: pdus::junk_between,
        told: Alert,
    },
    Row {
        does: "a client that speaks big-endian",
        packets: pdus::big_endian,
        told: Alert,
    },
    Row {
        does: "a client that fills the reserved bytes of each header, which the target passes over",
        packets: || pdus::reserved(false),
        told: Alert,
    },
    Row {
        does: "the same, and a server that repeats them",
        packets: || pdus::reserved(true),
        told: Alert,
    },
    Row {
        does: "a connection of which nothing was seen before, in segments that never begin with a PDU",
        packets: never_at_a_start,
        told: Nothing,
    },
];

/// The sample, with the activation's packet replaced.
fn around(bend: impl Fn(Packet) -> Vec<Packet>) -> Vec<Packet> {
    let mut packets = plain();
    let at = activation(&packets);
    let real = packets[at].clone();
    packets.splice(at..=at, bend(real));
    packets
}

fn cut_up(length: usize) -> Vec<Packet> {
    let cut = |packet: &Packet| -> Vec<Packet> {
        if packet.payload.is_empty() {
            return vec![packet.clone()];
        }
        let starts = (0..packet.payload.len()).step_by(length);
        starts
            .map(|from| packet.part(from, packet.payload.len().min(from + length)))
            .collect()
    };
    plain().iter().flat_map(cut).collect()
}

fn backwards() -> Vec<Packet> {
    around(|real| {
        let starts = (0..real.payload.len()).step_by(8);
        let mut parts: Vec<_> = starts
            .map(|from| real.part(from, real.payload.len().min(from + 8)))
            .collect();
        parts.reverse();
        parts
    })
}

fn held_back(order: impl Fn(Packet, Packet) -> Vec<Packet>) -> Vec<Packet> {
    around(|real| {
        let (head, tail) = real.halves(10);
        let (_, forged) = real.forged().halves(10);
        let mut packets = order(tail, forged);
        packets.push(head);
        packets
    })
}

fn moved(mut packet: Packet, by: u32) -> Packet {
    packet.tcp.sequence_number = packet.tcp.sequence_number.wrapping_add(by);
    packet
}

fn without_payload(mut packet: Packet) -> Packet {
    packet.payload.clear();
    packet.id ^= 0x2000;
    packet
}

fn reset(packet: Packet) -> Packet {
    let mut packet = without_payload(packet);
    packet.tcp.rst = true;
    packet
}

fn finish(packet: Packet) -> Packet {
    let mut packet = without_payload(packet);
    packet.tcp.fin = true;
    packet
}

fn open(packet: Packet) -> Packet {
    let mut packet = without_payload(packet);
    (packet.tcp.syn, packet.tcp.ack) = (true, false);
    packet
}

/// The same connection seen from the other end, which has nothing to say.
fn answer(packet: &Packet) -> Packet {
    let mut answer = without_payload(packet.clone());
    answer.ends.reverse();
    std::mem::swap(&mut answer.tcp.source_port, &mut answer.tcp.destination_port);
    answer.tcp.sequence_number = packet.tcp.acknowledgment_number;
    answer.tcp.acknowledgment_number = packet.tcp.sequence_number;
    answer
}

fn finished() -> Vec<Packet> {
    around(|real| {
        vec![
            finish(real.clone()),
            finish(answer(&real)),
            Packet {
                pause_ms: 2_000,
                ..real
            },
        ]
    })
}

fn second_syn() -> Vec<Packet> {
    let mut packets = plain();
    let decoy = Packet {
        hops: 1,
        ..open(moved(packets[0].clone(), 123_456))
    };
    packets.insert(2, decoy);
    packets
}

fn first_byte() -> Vec<Packet> {
    let mut packets = plain();
    let first = packets
        .iter()
        .position(|packet| !packet.payload.is_empty())
        .expect("a bind");
    let (byte, rest) = packets[first].halves(1);
    let decoy = Packet {
        hops: 1,
        ..open(moved(byte.clone(), 123_456))
    };
    packets.splice(first..=first, [byte, decoy, rest]);
    packets
}

fn fragmented(mut packet: Packet, last_first: bool) -> Packet {
    let length = packet.length();
    let starts = (0..length).step_by(8);
    packet.fragments = starts
        .map(|from| Fragment {
            from,
            to: length.min(from + 8),
            of: None,
        })
        .collect();
    if last_first {
        packet.fragments.reverse();
    }
    packet
}

/// Its last fragment comes nearly a minute after the others.
fn slow(packet: &Packet) -> Vec<Packet> {
    let mut first = fragmented(packet.clone(), false);
    let mut last = first.clone();
    last.fragments = first.fragments.split_off(first.fragments.len() - 1);
    last.pause_ms = 59_000;
    vec![first, last]
}

fn overlapping(mut packet: Packet, forged_first: bool) -> Packet {
    let length = packet.length();
    let forged = Some(Box::new(packet.forged()));
    let mut tails = [None, forged].map(|of| Fragment {
        from: 64,
        to: length,
        of,
    });
    if forged_first {
        tails.reverse();
    }
    packet.fragments = tails.to_vec();
    packet.fragments.push(Fragment {
        from: 0,
        to: 64,
        of: None,
    });
    packet
}

/// Each segment begins one byte behind the start of a PDU, and ends with the first byte of the next.
fn never_at_a_start() -> Vec<Packet> {
    let conversation = packets::sample();
    let mut packets = packets::of(&conversation);
    packets.retain(|packet| !packet.tcp.syn && !packet.payload.is_empty());
    for packet in &mut packets {
        *packet = packet.part(1, packet.payload.len());
    }
    packets
}
