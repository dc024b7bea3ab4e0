//! What traffic can make the program hold is bounded.
//!
//! The program reads from a pipe, so that it can be asked how much memory it took before it ends.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use dcom_sensor::decode::Endpoint;

use crate::program::{capture_header, dcom_sensor, memory, record_header};
use crate::traffic::{Flag, RAW_IP, Sent};

const MIB: u64 = 1 << 20;

/// A capture as it is written to the program's standard input.
struct Pipe {
    stdin: ChildStdin,
    packets: u32,
}

impl Pipe {
    fn write(&mut self, sent: Sent<'_>, flag: Flag) {
        self.write_packet(&sent.packet(flag));
    }

    fn write_bent(&mut self, sent: Sent<'_>, bend: impl FnOnce(&mut [u8])) {
        let mut packet = sent.packet(Flag::None);
        bend(&mut packet);
        self.write_packet(&packet);
    }

    fn write_packet(&mut self, packet: &[u8]) {
        self.packets += 1;
        let header = record_header([1_600_000_000, self.packets % 1_000_000], packet);
        self.stdin.write_all(&header).expect("the program reads");
        self.stdin.write_all(packet).expect("the program reads");
    }
}

/// The most memory the program held, in bytes, while it read what `feed` writes.
fn peak(feed: impl FnOnce(&mut Pipe)) -> u64 {
    let mut command = dcom_sensor();
    command.args(["replay", "-q", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut pipe = Pipe {
        stdin: child.stdin.take().expect("a standard input"),
        packets: 0,
    };
    pipe.stdin
        .write_all(&capture_header(RAW_IP))
        .expect("the program reads");
    feed(&mut pipe);
    // All but what a pipe holds has been read by now.
    let peak = memory(child.id(), "VmHWM");
    drop(pipe);
    assert!(child.wait().expect("the program ends").success());
    peak
}

/// Client and server of one connection of many.
fn ends(number: u16) -> [Endpoint; 2] {
    let end = |host, port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
        port,
    };
    [end(20, 10_000 + number), end(10, 135)]
}

/// A PDU of the client's, one byte order, one call.
fn pdu(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(16 + body.len()).expect("a fragment");
    [
        &[5, 0, kind, flags, 0x10, 0, 0, 0],
        &length.to_le_bytes()[..],
        &[0, 0],
        &[1, 0, 0, 0],
        body,
    ]
    .concat()
}

/// A bind that offers `IRemoteSCMActivator` in NDR.
fn bind() -> Vec<u8> {
    let activator = b"\xa0\x01\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46\x00\x00\x00\x00";
    let ndr = b"\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00";
    pdu(
        11,
        3,
        &[
            &b"\xd0\x16\xd0\x16\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00"[..],
            activator,
            ndr,
        ]
        .concat(),
    )
}

/// A PDU that offers this many contexts, beginning with this id, each in as many encodings as fit.
fn offer(kind: u8, call_id: u8, first: u16, contexts: u8, encodings: u8) -> Vec<u8> {
    let mut body = b"\xd0\x16\xd0\x16\x00\x00\x00\x00".to_vec();
    body.extend([contexts, 0, 0, 0]);
    for id in 0..u16::from(contexts) {
        body.extend(first.wrapping_add(id).to_le_bytes());
        body.extend([encodings, 0]);
        body.extend([0xa0; 20]);
        for _ in 0..encodings {
            body.extend([0x5d; 20]);
        }
    }
    let mut offer = pdu(kind, 3, &body);
    offer[12] = call_id;
    offer
}

/// Sends the client's bytes in segments of at most this size; the sequence number that comes next.
fn send(pipe: &mut Pipe, ends: [Endpoint; 2], mut sequence: u32, bytes: &[u8], size: usize) -> u32 {
    for payload in bytes.chunks(size) {
        let acknowledgement = None;
        let sent = Sent {
            ends,
            sequence,
            acknowledgement,
            payload,
        };
        pipe.write(sent, Flag::None);
        sequence += u32::try_from(payload.len()).expect("a segment");
    }
    sequence
}

/// Opens a connection and binds; the sequence number that comes next.
fn open(pipe: &mut Pipe, ends: [Endpoint; 2]) -> u32 {
    let sent = |sequence, payload| Sent {
        ends,
        sequence,
        acknowledgement: None,
        payload,
    };
    pipe.write(sent(0, &[]), Flag::Syn);
    let bind = bind();
    pipe.write(sent(1, &bind), Flag::None);
    1 + u32::try_from(bind.len()).expect("a bind is short")
}

#[test]
fn segments_behind_a_hole_are_held_within_the_limit() {
    let payload = vec![0_u8; 32_768];
    let peak = peak(|pipe| {
        for number in 0..200 {
            let ends = ends(number);
            let next = open(pipe, ends);
            // A megabyte of which the first byte is missing.
            for segment in 0..32 {
                let sent = Sent {
                    ends,
                    sequence: next + 1 + segment * 32_768,
                    acknowledgement: None,
                    payload: &payload,
                };
                pipe.write(sent, Flag::None);
            }
        }
    });
    // `reassembly_total` is 64 MiB; 200 were sent.
    assert!(peak < 128 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn requests_that_never_end_are_held_within_bounds() {
    // First fragments of RemoteCreateInstance, and none that is the last: 4 MiB on each of 400 connections.
    let fragment = pdu(
        0,
        0,
        &[&b"\x00\x00\x10\x00\x00\x00\x04\x00"[..], &vec![0; 60_000]].concat(),
    );
    let first = pdu(
        0,
        1,
        &[&b"\x00\x00\x10\x00\x00\x00\x04\x00"[..], &vec![0; 60_000]].concat(),
    );
    let peak = peak(|pipe| {
        for number in 0..400 {
            let ends = ends(number);
            let mut sequence = open(pipe, ends);
            for call in 0..4_u8 {
                for part in 0..16 {
                    let mut payload = if part == 0 { first.clone() } else { fragment.clone() };
                    payload[12] = 1 + call;
                    for half in payload.chunks(32_768) {
                        let sent = Sent {
                            ends,
                            sequence,
                            acknowledgement: None,
                            payload: half,
                        };
                        pipe.write(sent, Flag::None);
                        sequence += u32::try_from(half.len()).expect("a segment");
                    }
                }
            }
        }
    });
    // `rpc_total` is 256 MiB; 1600 were sent.
    assert!(peak < 384 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn offers_that_nobody_answers_are_held_within_bounds() {
    let peak = peak(|pipe| {
        for number in 0..600 {
            let ends = ends(number);
            let mut sequence = open(pipe, ends);
            for call_id in 2..18 {
                let offer = offer(14, call_id, u16::from(call_id) * 250, 240, 12);
                sequence = send(pipe, ends, sequence, &offer, 32_768);
            }
        }
    });
    // `rpc_total` is 256 MiB; 600 were sent.
    assert!(peak < 384 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn calls_that_nobody_answers_are_held_within_bounds() {
    let peak = peak(|pipe| {
        for number in 0..6_000 {
            let ends = ends(number);
            let sequence = open(pipe, ends);
            let call = |id: u8| {
                // Of an operation that nobody reads: what is told of the others is another matter.
                let mut request = pdu(0, 1, b"\x00\x00\x10\x00\x00\x00\x00\x00\x00");
                request[12] = id;
                request
            };
            // 256 at a time: what every connection may have.
            let calls: Vec<u8> = (0..=255).flat_map(call).collect();
            send(pipe, ends, sequence, &calls, 32_768);
        }
    });
    // A million and a half of calls, each of hundreds of bytes.
    assert!(peak < 448 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn every_context_there_can_be_costs_little() {
    let start = Instant::now();
    let peak = peak(|pipe| {
        let ends = ends(0);
        let mut sequence = open(pipe, ends);
        for round in 0..20_u8 {
            for first in (0..=u16::MAX).step_by(255) {
                let offer = offer(14, round, first, 255, 1);
                sequence = send(pipe, ends, sequence, &offer, 32_768);
            }
        }
    });
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
    // A million contexts: as long as it is no square of that, nobody minds.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn fragments_of_one_byte_in_segments_of_one_byte_cost_little() {
    let start = Instant::now();
    let peak = peak(|pipe| {
        let ends = ends(0);
        let mut sequence = open(pipe, ends);
        // By turns of 200 calls, none of which ends.
        for part in 0..8_000_u16 {
            let call = u8::try_from(part % 200).expect("a call");
            let mut fragment = pdu(0, u8::from(part < 200), b"\x00\x00\x10\x00\x00\x00\x04\x00\x41");
            fragment[12] = call;
            sequence = send(pipe, ends, sequence, &fragment, 1);
        }
    });
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn names_as_long_as_smb_allows_are_held_within_bounds() {
    let name = [0x61, 0].repeat(32_000);
    // [MS-SMB2] 2.2.13 SMB2 CREATE Request.
    let mut create = vec![57, 0];
    create.resize(44, 0);
    create.extend(120_u16.to_le_bytes());
    create.extend(u16::try_from(name.len()).expect("a name's length").to_le_bytes());
    create.resize(56, 0);
    create.extend(&name);
    let peak = peak(|pipe| {
        for number in 0..60 {
            let mut ends = ends(number);
            ends[1].port = 445;
            let sent = Sent {
                ends,
                sequence: 0,
                acknowledgement: None,
                payload: &[],
            };
            pipe.write(sent, Flag::Syn);
            let mut sequence = 1;
            for id in 0..=255_u8 {
                let mut message = b"\xfeSMB\x40\0\0\0\0\0\0\0\x05\0\x01\0\0\0\0\0\0\0\0\0".to_vec();
                message.push(id);
                message.resize(64, 0);
                message.extend(&create);
                let length = u32::try_from(message.len()).expect("a message").to_be_bytes();
                let block = [&length[..], &message].concat();
                sequence = send(pipe, ends, sequence, &block, 32_768);
            }
        }
    });
    // 60 connections with 256 names of 32,000 characters are half a gigabyte.
    assert!(peak < 128 * MIB, "{} MiB", peak / MIB);
}

/// A connection of its own for each number.
fn foreign(number: u32) -> [Endpoint; 2] {
    let [_, a, b, c] = number.to_be_bytes();
    let end = |address: [u8; 4], port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(address)),
        port,
    };
    [end([10, a, b, c], 40_000), end([192, 0, 2, 9], 443)]
}

#[test]
fn a_million_foreign_connections_fit_in_256_mib() {
    let peak = peak(|pipe| {
        for number in 0..1 << 20 {
            let sent = Sent {
                ends: foreign(number),
                sequence: 1,
                acknowledgement: Some(1),
                payload: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            };
            pipe.write(sent, Flag::None);
        }
    });
    assert!(peak < 256 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn floods_of_fragments_that_never_meet_are_held_within_bounds() {
    let payload = vec![0; 1_400];
    let peak = peak(|pipe| {
        for number in 0..200_000_u32 {
            let sent = Sent {
                ends: foreign(number),
                sequence: 1,
                acknowledgement: None,
                payload: &payload,
            };
            // Set "more fragments", and an offset for every other one.
            pipe.write_bent(sent, |packet| packet[6] |= 0x20 | u8::from(number % 2 == 0));
        }
    });
    // `fragments_total` is 16 MiB; 280 were sent.
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
}
