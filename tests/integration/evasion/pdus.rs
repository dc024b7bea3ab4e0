//! PDUs bent within the streams of a sample.

use dcom_sensor::flow::Side;

use super::packets::{self, MMC20, Packet};
use crate::traffic::{Conversation, Turn};

const REQUEST: u8 = 0;
const BIND: u8 = 11;
const AUTH3: u8 = 16;
const HEADER: usize = 16;
const STUB: usize = 24;

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// The PDUs of a stream.
fn pdus(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = stream;
    let mut pdus = Vec::new();
    while !rest.is_empty() {
        let (pdu, behind) = rest.split_at(u16_at(rest, 8));
        pdus.push(pdu.to_vec());
        rest = behind;
    }
    pdus
}

/// The turn that carries the activation.
fn turn(conversation: &Conversation) -> usize {
    let carries = |turn: &Turn| turn.bytes.windows(16).any(|bytes| bytes == MMC20);
    conversation.turns.iter().position(carries).expect("an activation")
}

/// Puts other PDUs in the place of the activation's.
fn with_request(bend: impl Fn(Vec<u8>) -> Vec<Vec<u8>>) -> Vec<Packet> {
    let mut conversation = packets::sample();
    let turn = turn(&conversation);
    let mut bent = Vec::new();
    for pdu in pdus(&conversation.turns[turn].bytes) {
        if pdu[2] == REQUEST {
            bent.extend(bend(pdu));
        } else {
            bent.push(pdu);
        }
    }
    conversation.turns[turn].bytes = bent.concat();
    packets::of(&conversation)
}

/// A request in fragments of so many bytes of stub.
fn fragments(request: &[u8], length: usize, call_id: u8) -> Vec<Vec<u8>> {
    assert_eq!(u16_at(request, 10), 0, "without a verifier");
    let parts: Vec<_> = request[STUB..].chunks(length).collect();
    let fragment = |(index, part): (usize, &&[u8])| {
        let mut pdu = [&request[..STUB], part].concat();
        pdu[3] = u8::from(index == 0) | u8::from(index + 1 == parts.len()) << 1;
        pdu[12] = call_id;
        let whole = u16::try_from(pdu.len()).expect("short");
        pdu[8..10].copy_from_slice(&whole.to_le_bytes());
        pdu
    };
    parts.iter().enumerate().map(fragment).collect()
}

pub(super) fn fragmented() -> Vec<Packet> {
    with_request(|request| fragments(&request, 40, request[12]))
}

/// With an extension before the arguments that nobody knows ([MS-DCOM] 2.2.13.1 `ORPC_EXTENT`), of so many bytes.
pub(super) fn extended(length: u32) -> Vec<Packet> {
    /// Where ORPCTHIS points to its extensions.
    const EXTENSIONS: usize = STUB + 28;
    with_request(|request| {
        let (before, after) = request.split_at(EXTENSIONS);
        let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
        let array = words(&[4, 1, 0, 4, 2, 4, 0, length, 0x5a5a_5a5a, 0, 0, 0, length]);
        let data = vec![0x5a; usize::try_from(length).expect("short")];
        let (nothing, after) = after.split_at(4);
        assert_eq!(nothing, [0; 4], "the sample sends none");
        fragments(&[before, &array, &data, after].concat(), 4_256, request[12])
    })
}

/// Fragments of a second call, which asks for something else, between those of the first.
pub(super) fn interleaved() -> Vec<Packet> {
    with_request(|request| {
        let mut other = request.clone();
        while let Some(at) = other.windows(16).position(|bytes| bytes == MMC20) {
            other[at..at + 16].fill(0x5a);
        }
        let first = fragments(&request, 40, request[12]);
        let second = fragments(&other, 40, request[12] + 40);
        first
            .into_iter()
            .zip(second)
            .flat_map(|(one, two)| [one, two])
            .collect()
    })
}

/// So many calls without a stub behind the activation.
pub(super) fn followed(calls: u32) -> Vec<Packet> {
    with_request(|request| {
        let mut pdus = vec![request.clone()];
        for call_id in 1_000..1_000 + calls {
            let mut pdu = request[..STUB].to_vec();
            pdu[8..10].copy_from_slice(&[24, 0]);
            pdu[12..16].copy_from_slice(&call_id.to_le_bytes());
            pdus.push(pdu);
        }
        pdus
    })
}

/// The activation once more under the same id, of another class.
pub(super) fn same_id() -> Vec<Packet> {
    with_request(|request| {
        let mut other = request.clone();
        while let Some(at) = other.windows(16).position(|bytes| bytes == MMC20) {
            other[at..at + 16].fill(0x5a);
        }
        vec![request, other]
    })
}

pub(super) fn mixed() -> Vec<Packet> {
    with_request(|request| {
        let mut pdus = fragments(&request, 200, request[12]);
        let last = pdus.last_mut().expect("the request");
        last[4] = 0;
        for field in [8..10, 12..16, 16..20, 20..22, 22..24] {
            last[field].reverse();
        }
        pdus
    })
}

/// Other calls that begin and do not end between the first fragment of the activation and the rest: so many, each of so many
/// fragments of so many bytes.
pub(super) fn left_open(calls: u32, each: usize, length: usize) -> Vec<Packet> {
    with_request(|request| {
        let mut pdus = fragments(&request, 40, request[12]);
        let rest = pdus.split_off(1);
        let whole = u16::try_from(STUB + length).expect("short").to_le_bytes();
        for call_id in 1_000..1_000 + calls {
            for index in 0..each {
                let mut pdu = request[..STUB].to_vec();
                pdu[3] = u8::from(index == 0);
                pdu[8..10].copy_from_slice(&whole);
                pdu[12..16].copy_from_slice(&call_id.to_le_bytes());
                pdu.resize(STUB + length, 0);
                pdus.push(pdu);
            }
        }
        pdus.extend(rest);
        pdus
    })
}

/// Says something else before the activation, and what the server says to it.
fn before_the_request(client: Vec<u8>, server: Vec<u8>) -> Vec<Packet> {
    let mut conversation = packets::sample();
    let turn = turn(&conversation);
    let connection = conversation.turns[turn].connection;
    let (login, request): (Vec<_>, Vec<_>) = pdus(&conversation.turns[turn].bytes)
        .into_iter()
        .partition(|pdu| pdu[2] == AUTH3);
    let say = |side, bytes| Turn {
        connection,
        side,
        bytes,
    };
    let turns = [
        say(Side::Client, [login.concat(), client].concat()),
        say(Side::Server, server),
        say(Side::Client, request.concat()),
    ];
    conversation.turns.splice(turn..=turn, turns);
    packets::of(&conversation)
}

fn pdu(kind: u8, call_id: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).expect("short").to_le_bytes();
    [
        &[
            5, 0, kind, 3, 0x10, 0, 0, 0, length[0], length[1], 0, 0, call_id, 0, 0, 0,
        ],
        body,
    ]
    .concat()
}

const NDR: &[u8; 20] = b"\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00";

/// An `alter_context` or bind that offers an interface nobody knows under this id.
fn offer(kind: u8, call_id: u8, context: u8) -> Vec<u8> {
    let sizes = [0xd0, 0x16, 0xd0, 0x16, 0, 0, 0, 0, 1, 0, 0, 0, context, 0, 1, 0];
    pdu(kind, call_id, &[&sizes[..], &[0x77; 16], &[1, 0, 0, 0], NDR].concat())
}

/// Its answer: the context is refused.
fn refusal(call_id: u8) -> Vec<u8> {
    let results = [0xd0, 0x16, 0xd0, 0x16, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0];
    pdu(15, call_id, &[&results[..], &[0; 20]].concat())
}

/// The context that the activation uses.
fn context() -> u8 {
    let conversation = packets::sample();
    let stream = &conversation.turns[turn(&conversation)].bytes;
    let request = pdus(stream)
        .into_iter()
        .find(|pdu| pdu[2] == REQUEST)
        .expect("a request");
    request[20]
}

pub(super) fn refused_alter_context() -> Vec<Packet> {
    before_the_request(offer(14, 60, context()), refusal(60))
}

pub(super) fn unanswered_alter_context() -> Vec<Packet> {
    with_request(|request| vec![offer(14, 60, request[20]), request])
}

pub(super) fn refused_bind() -> Vec<Packet> {
    let mut conversation = packets::sample();
    let connection = conversation.turns[0].connection;
    let say = |side, bytes| Turn {
        connection,
        side,
        bytes,
    };
    // bind_nak: the reason, and the versions that are supported.
    let nak = pdu(13, 60, &[4, 0, 1, 5, 0, 0]);
    let turns = [say(Side::Client, offer(BIND, 60, context())), say(Side::Server, nak)];
    conversation.turns.splice(0..0, turns);
    packets::of(&conversation)
}

pub(super) fn answered_by_the_client() -> Vec<Packet> {
    with_request(|request| {
        let fault = pdu(3, request[12], &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        vec![request, fault]
    })
}

pub(super) fn maybe() -> Vec<Packet> {
    with_request(|mut request| {
        request[3] |= 0x40;
        vec![request]
    })
}

/// Of the activation's OBJREF and of each type serialization in it the length is another.
pub(super) fn lengths_passed_over() -> Vec<Packet> {
    /// Where an OBJREF of a custom form, behind its signature, says how long its extension is.
    const EXTENSION: usize = 40;
    with_request(|mut request| {
        let custom = b"MEOW\x04\0\0\0";
        let at = request
            .windows(8)
            .position(|bytes| bytes == custom)
            .expect("an OBJREF_CUSTOM");
        request[at + EXTENSION..at + EXTENSION + 4].copy_from_slice(&[1, 0, 0, 0]);
        let common = b"\x01\x10\x08\0\xcc\xcc\xcc\xcc";
        let headers: Vec<_> = (at..request.len() - 16)
            .filter(|&at| request[at..].starts_with(common))
            .collect();
        assert!(headers.len() > 3, "{headers:?}");
        for at in headers {
            request[at + 8..at + 12].copy_from_slice(&[8, 0, 0, 0]);
        }
        vec![request]
    })
}

pub(super) fn junk_between() -> Vec<Packet> {
    with_request(|request| vec![vec![0xaa; 37], request])
}

/// Everything the client says to port 135 in big-endian, but for what is always little-endian: the OBJREF.
pub(super) fn big_endian() -> Vec<Packet> {
    let mut conversation = packets::sample();
    let until = turn(&conversation);
    let connection = conversation.turns[until].connection;
    for turn in &mut conversation.turns[..=until] {
        if (turn.connection, turn.side) == (connection, Side::Client) {
            turn.bytes = pdus(&turn.bytes).into_iter().flat_map(turned).collect();
        }
    }
    packets::of(&conversation)
}

/// Something in the reserved bytes of the data representation, which receivers pass over: in all that the client says, and
/// what the server says, too, if it is one that repeats them.
pub(super) fn reserved(repeated: bool) -> Vec<Packet> {
    let mut conversation = packets::sample();
    let spoken = conversation
        .turns
        .iter_mut()
        .filter(|turn| repeated || turn.side == Side::Client);
    for turn in spoken {
        turn.bytes = pdus(&turn.bytes)
            .into_iter()
            .flat_map(|mut pdu| {
                pdu[6..8].fill(0x5a);
                pdu
            })
            .collect();
    }
    packets::of(&conversation)
}

/// The numbers in a GUID.
const GUID: [usize; 11] = [4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1];

fn turned(mut pdu: Vec<u8>) -> Vec<u8> {
    let (kind, auth) = (pdu[2], u16_at(&pdu, 10));
    let length = pdu.len();
    let mut swap = |at: usize, sizes: &[usize]| {
        let mut at = at;
        for &size in sizes {
            pdu[at..at + size].reverse();
            at += size;
        }
    };
    swap(8, &[2, 2, 4]);
    if auth > 0 {
        // The trailer's context id.
        swap(length - auth - 4, &[4]);
    }
    match kind {
        BIND => {
            swap(16, &[2, 2, 4]);
            swap(28, &[2]);
            swap(32, &GUID);
            swap(48, &[4]);
            swap(52, &GUID);
            swap(68, &[4]);
        }
        REQUEST => {
            // Hint, context, operation; ORPCTHIS; the outer object; the pointer, its size twice.
            swap(16, &[4, 2, 2]);
            swap(24, &[2, 2, 4, 4]);
            swap(36, &GUID);
            swap(52, &[4, 4, 4, 4, 4]);
        }
        _ => {}
    }
    pdu[4] = 0;
    pdu
}
