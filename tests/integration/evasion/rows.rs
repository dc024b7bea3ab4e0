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
        does: "the same, behind 20 other segments with a wrong checksum that lie ahead",
        packets: || {
            around(|real| {
                let wrong = |packet| Packet {
                    wrong_checksum: true,
                    ..packet
                };
                let mut packets: Vec<_> = junk(&real, 100_000, 20, 10).into_iter().map(wrong).collect();
                packets.extend([wrong(real.forged()), real]);
                packets
            })
        },
        told: AlertAnd(&["tcp_checksum_wrong", "tcp_overlap_different_data"]),
    },
    Row {
        does: "the same, of more than 1480 bytes (a network card that joins segments leaves such checksums)",
        packets: || {
            around(|real| {
                let mut forged = Packet {
                    wrong_checksum: true,
                    ..real.forged()
                };
                forged.payload.resize(1_500, 0);
                vec![forged, real]
            })
        },
        told: Only(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "the first byte alone, then a forgery of the rest of the `bind` with a wrong checksum",
        packets: || {
            at_the_bind(|bind| {
                let (byte, rest) = bind.halves(1);
                let mut forged = Packet {
                    wrong_checksum: true,
                    ..rest.clone()
                };
                forged.id ^= 0x4000;
                forged.payload.fill(0x5a);
                vec![byte, forged, rest]
            })
        },
        told: Alert,
    },
    Row {
        does: "a forgery of the activation comes first, with a wrong checksum in its IPv4 header",
        packets: || {
            around(|real| {
                let forged = Packet {
                    wrong_header_checksum: true,
                    ..real.forged()
                };
                vec![forged, real]
            })
        },
        told: AlertAnd(&["tcp_checksum_wrong", "tcp_overlap_different_data"]),
    },
    Row {
        does: "the same, without an ACK flag",
        packets: || {
            around(|real| {
                let mut forged = real.forged();
                forged.tcp.ack = false;
                vec![forged, real]
            })
        },
        told: AlertAnd(&["tcp_overlap_different_data", "tcp_unacceptable_segment"]),
    },
    Row {
        does: "the same, with a SYN flag",
        packets: || {
            around(|real| {
                let mut forged = moved(real.forged(), u32::MAX);
                forged.tcp.syn = true;
                vec![forged, real]
            })
        },
        told: AlertAnd(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "the same, with a RST flag and a number that is not the one expected",
        packets: || {
            around(|real| {
                let (_, mut forged) = real.forged().halves(1);
                forged.tcp.rst = true;
                vec![forged, real]
            })
        },
        told: AlertAnd(&["tcp_reset_out_of_window"]),
    },
    Row {
        does: "the same, acknowledging 5,000,000 bytes that the target did not send",
        packets: || around(|real| vec![ahead(real.forged(), 5_000_000), real]),
        told: AlertAnd(&[
            "tcp_acknowledged_unsent",
            "tcp_overlap_different_data",
            "tcp_unacceptable_segment",
        ]),
    },
    Row {
        does: "the same, acknowledging what lies 500,000,000 bytes back",
        packets: || around(|real| vec![ahead(real.forged(), 0_u32.wrapping_sub(500_000_000)), real]),
        told: AlertAnd(&["tcp_overlap_different_data", "tcp_unacceptable_segment"]),
    },
    Row {
        does: "the same, acknowledging 1,000 bytes that the target did not send",
        packets: || around(|real| vec![ahead(real.forged(), 1_000), real]),
        told: Only(&["tcp_acknowledged_unsent", "tcp_overlap_different_data"]),
    },
    Row {
        does: "the same, with a time stamp older than those before it",
        packets: || {
            let mut packets = plain();
            let target = activation(&packets);
            for (index, packet) in (1_000..).zip(&mut packets) {
                stamp(packet, index);
            }
            let mut forged = packets[target].forged();
            stamp(&mut forged, 1);
            packets.insert(target, forged);
            packets
        },
        told: AlertAnd(&["tcp_overlap_different_data", "tcp_unacceptable_segment"]),
    },
    Row {
        does: "the target says that it has no room, and is sent a byte of junk before it has",
        packets: || {
            around(|real| {
                let mut full = answer(&real);
                full.tcp.window_size = 0;
                let (mut byte, _) = real.halves(1);
                byte.id ^= 0x4000;
                byte.payload.fill(0xee);
                vec![full, byte, answer(&real), real]
            })
        },
        told: AlertAnd(&["tcp_overlap_different_data"]),
    },
    Row {
        does: "a byte of junk within the activation, marked as urgent: the target takes it out of the stream",
        packets: || urgent(100),
        told: AlertAnd(&["tcp_urgent_byte"]),
    },
    Row {
        does: "the same, within the first bytes of the `bind`",
        packets: || {
            let packets = plain();
            let bind = packets.iter().position(|packet| !packet.payload.is_empty());
            urgent_in(packets, bind.expect("a bind"), 3)
        },
        told: AlertAnd(&["tcp_urgent_byte"]),
    },
    Row {
        does: "the `bind` stands beside the SYN, and the target takes it (TCP Fast Open)",
        packets: || fast_open(true),
        told: Alert,
    },
    Row {
        does: "junk stands beside the SYN, and the target does not take it",
        packets: || fast_open(false),
        told: Alert,
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
        does: "16 segments and more far outside the window, one behind the other",
        packets: || around(|real| junk(&real, 1 << 30, 20, 10).into_iter().chain([real]).collect()),
        told: AlertAnd(&["tcp_out_of_window"]),
    },
    Row {
        does: "more than 1 MiB of junk ahead of the activation, beyond what the target has room for",
        packets: || around(|real| junk(&real, 3_000_000, 40, 40_000).into_iter().chain([real]).collect()),
        told: AlertAnd(&["tcp_far_ahead"]),
    },
    Row {
        does: "an acknowledgement in the target's name of 10,000,000 bytes that nobody sent, then 100 ms",
        packets: || around(|real| late(&real, [ahead(answer(&real), 10_000_000)])),
        told: AlertAnd(&["tcp_acknowledged_unsent"]),
    },
    Row {
        does: "the same, with a wrong checksum",
        packets: || {
            around(|real| {
                let forged = Packet {
                    wrong_checksum: true,
                    ..ahead(answer(&real), 10_000_000)
                };
                late(&real, [forged])
            })
        },
        told: Alert,
    },
    Row {
        does: "the same, with a right one, far outside the window",
        packets: || around(|real| late(&real, [moved(ahead(answer(&real), 10_000_000), 1 << 30)])),
        told: Alert,
    },
    Row {
        does: "the client acknowledges 10,000,000 bytes that the target did not send, then 100 ms",
        packets: || around(|real| late(&real, [ahead(without_payload(real.clone()), 10_000_000)])),
        told: AlertAnd(&["tcp_acknowledged_unsent"]),
    },
    Row {
        does: "the same, 1,000 bytes, and no time between",
        packets: || around(|real| vec![ahead(without_payload(real.clone()), 1_000), real]),
        told: Alert,
    },
    Row {
        does: "an acknowledgement in the target's name of 10,000,000 bytes that nobody sent, and a segment behind these",
        packets: || {
            around(|real| {
                let behind = moved(without_payload(real.clone()), 10_000_000);
                late(&real, [ahead(answer(&real), 10_000_000), behind])
            })
        },
        told: Only(&["tcp_late_data"]),
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
        does: "the same, 1,000 bytes ahead, and no segment behind it begins with a PDU",
        packets: || shifted(|real| reset(moved(real.clone(), 1_000))),
        told: AlertAnd(&["tcp_reset_out_of_window"]),
    },
    Row {
        does: "the same with the number that is expected, and a wrong checksum",
        packets: || {
            shifted(|real| Packet {
                wrong_checksum: true,
                ..reset(real.clone())
            })
        },
        told: Alert,
    },
    Row {
        does: "the same with a right one: the RST does not reach the target",
        packets: || {
            shifted(|real| Packet {
                hops: 1,
                ..reset(real.clone())
            })
        },
        told: Nothing,
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
        does: "the target answers the SYN with one of its own, without an acknowledgement, and the client that one",
        packets: split_handshake,
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
        does: "the same, three times over",
        packets: || {
            around(|real| {
                let forged = Packet {
                    longer: 1_000,
                    ..real.forged()
                };
                vec![forged.clone(), forged.clone(), forged, real]
            })
        },
        told: Alert,
    },
    Row {
        does: "the same, one of them in the target's name, and no frame before that was longer",
        packets: || {
            around(|real| {
                let forged = Packet {
                    longer: 1_000,
                    ..real.forged()
                };
                let [client, target] = forged.ends;
                let answer = Packet {
                    ends: [target, client],
                    ..forged.clone()
                };
                vec![forged.clone(), answer, forged, real]
            })
        },
        told: Nothing,
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
        does: "the same, 5,000 calls",
        packets: || pdus::left_open(5_000, 1, 32),
        told: Only(&["unfinished_call_pushed_out"]),
    },
    Row {
        does: "the same, five calls of a mebibyte",
        packets: || pdus::left_open(5, 18, 60_000),
        told: Only(&["oversized_stub"]),
    },
    Row {
        does: "2,000 other calls behind the activation, before it is answered",
        packets: || pdus::followed(2_000),
        told: Alert,
    },
    Row {
        does: "the same, 5,000 calls",
        packets: || pdus::followed(5_000),
        told: AlertAnd(&["call_pushed_out"]),
    },
    Row {
        does: "another activation under the call id of the one that waits",
        packets: pdus::same_id,
        told: AlertAnd(&["call_id_used_again"]),
    },
    Row {
        does: "the activation in two fragments, the header of the second in the other byte order",
        packets: pdus::mixed,
        told: AlertAnd(&["mixed_byte_order"]),
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
        does: "behind the activation, the client refuses it in the target's name, by a fault",
        packets: pdus::answered_by_the_client,
        told: AlertAnd(&["pdu_of_the_other_side"]),
    },
    Row {
        does: "a client that wants no answer (`PFC_MAYBE`), which the target gives all the same",
        packets: pdus::maybe,
        told: Alert,
    },
    Row {
        does: "lengths that the target does not look at: `cbExtension` of the activation's `OBJREF_CUSTOM`, `ObjectBufferLength`",
        packets: pdus::lengths_passed_over,
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

/// The same with the first packet that has a payload.
fn at_the_bind(bend: impl Fn(Packet) -> Vec<Packet>) -> Vec<Packet> {
    let mut packets = plain();
    let at = packets.iter().position(|packet| !packet.payload.is_empty());
    let at = at.expect("a bind");
    let bind = packets[at].clone();
    packets.splice(at..=at, bend(bind));
    packets
}

/// RFC 7323 3.2 Timestamps Option.
fn stamp(packet: &mut Packet, value: u32) {
    let mut options = vec![1, 1, 8, 10];
    options.extend(value.to_be_bytes());
    options.extend([0; 4]);
    packet.tcp.set_options_raw(&options).expect("they fit");
}

/// A byte of junk in the activation, so far from its start.
fn urgent(at: usize) -> Vec<Packet> {
    let packets = plain();
    let target = activation(&packets);
    urgent_in(packets, target, at)
}

/// The same in one of these packets: it takes a sequence number, so that all that follows moves.
fn urgent_in(mut packets: Vec<Packet>, target: usize, at: usize) -> Vec<Packet> {
    let real = packets[target].clone();
    let (mut first, second) = real.halves(at);
    first.payload.push(0xee);
    first.tcp.urg = true;
    first.tcp.urgent_pointer = u16::try_from(at + 1).expect("short");
    for packet in &mut packets[target + 1..] {
        if (packet.ends, packet.tcp.source_port) == (real.ends, real.tcp.source_port) {
            *packet = moved(packet.clone(), 1);
        } else if packet.tcp.destination_port == real.tcp.source_port {
            *packet = ahead(packet.clone(), 1);
        }
    }
    packets.splice(target..=target, [first, moved(second, 1)]);
    packets
}

/// The first connection with something beside its SYN.
fn fast_open(taken: bool) -> Vec<Packet> {
    let mut packets = plain();
    let bind = packets.iter().position(|packet| !packet.payload.is_empty());
    let bind = bind.expect("a bind");
    if taken {
        packets[0].payload = packets.remove(bind).payload;
        let length = u32::try_from(packets[0].payload.len()).expect("short");
        packets[1] = ahead(packets[1].clone(), length);
    } else {
        packets[0].payload = b"GET / HTTP/1.1".to_vec();
        // In pieces that tell nothing by themselves.
        let (byte, rest) = packets[bind].halves(1);
        packets.splice(bind..=bind, [byte, rest]);
    }
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

/// So many segments of junk in a row, from so far ahead of a packet on.
fn junk(packet: &Packet, ahead: u32, count: u32, length: u32) -> Vec<Packet> {
    let of = |index: u32| Packet {
        payload: vec![0x58; usize::try_from(length).expect("short")],
        ..moved(without_payload(packet.clone()), ahead + index * length)
    };
    (0..count).map(of).collect()
}

/// It acknowledges so much more.
fn ahead(mut packet: Packet, by: u32) -> Packet {
    packet.tcp.acknowledgment_number = packet.tcp.acknowledgment_number.wrapping_add(by);
    packet
}

/// What comes first, and a packet 100 milliseconds later.
fn late<const N: usize>(packet: &Packet, first: [Packet; N]) -> Vec<Packet> {
    let packet = Packet {
        pause_ms: 100,
        ..packet.clone()
    };
    first.into_iter().chain([packet]).collect()
}

/// Before the activation something comes, and ten seconds of silence. From there on each segment of its stream begins one
/// byte behind the start of a PDU, as the one before it ends with that byte.
fn shifted(first: impl Fn(&Packet) -> Packet) -> Vec<Packet> {
    let mut packets = plain();
    let target = activation(&packets);
    let real = packets[target].clone();
    let own: Vec<_> = (0..packets.len())
        .filter(|&at| packets[at].tcp.source_port == real.tcp.source_port && !packets[at].payload.is_empty())
        .collect();
    let from = own.iter().position(|&at| at == target).expect("it is one of them");
    for pair in own[from - 1..].windows(2) {
        let byte = packets[pair[1]].payload[0];
        packets[pair[0]].payload.push(byte);
    }
    for &at in &own[from..] {
        packets[at] = packets[at].part(1, packets[at].payload.len());
    }
    packets[target].pause_ms = 10_000;
    let decoy = first(&packets[target]);
    packets.insert(target, Packet { pause_ms: 0, ..decoy });
    packets
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

/// RFC 9293 3.5 Establishing a Connection: a half of a simultaneous open.
fn split_handshake() -> Vec<Packet> {
    let mut packets = plain();
    let acknowledgement = packets[1].tcp.sequence_number.wrapping_add(1);
    let [syn, answer, ..] = &mut packets[..] else {
        panic!("a handshake");
    };
    answer.tcp.ack = false;
    let mut both = syn.clone();
    both.tcp.ack = true;
    both.tcp.acknowledgment_number = acknowledgement;
    packets[2] = both;
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
