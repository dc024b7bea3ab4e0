//! What traffic can make the program hold is bounded.
//!
//! The program reads from a pipe, so that it can be asked how much memory it took before it ends.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{ChildStdin, Stdio};

use dcom_sensor::decode::Endpoint;

use crate::program::dcom_sensor;
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
        let length = u32::try_from(packet.len()).expect("packets are short");
        // Seconds, microseconds, length as captured and on the wire.
        let header = [1_600_000_000, self.packets % 1_000_000, length, length].map(u32::to_le_bytes);
        self.stdin.write_all(header.as_flattened()).expect("the program reads");
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
    let magic_and_version = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, u32::from(RAW_IP.0)].map(u32::to_le_bytes);
    pipe.stdin
        .write_all(magic_and_version.as_flattened())
        .expect("the program reads");
    feed(&mut pipe);
    // All but what a pipe holds has been read by now.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux tells of a process");
    drop(pipe);
    assert!(child.wait().expect("the program ends").success());
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a high-water mark");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
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
