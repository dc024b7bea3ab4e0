//! TCP and UDP headers, and their checksums.

use std::net::IpAddr;

use etherparse::{IpNumber, TcpSlice};

use super::fragments::Overlap;
use super::ip::Packet;
use super::{Datagram, DecodeCounters, Endpoint, Segment, Tunnel, Unread, VlanTags};
use crate::capture::At;

/// What tells a segment from another one with the same bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Identification in the IPv4 header: a packet sent again has another, a copy of it the same. Zero over IPv6.
    pub identification: u16,
    /// The checksum as it stands in the TCP header. It covers numbers, flags and options too.
    pub checksum: u16,
    /// Is the checksum of its IPv4 header wrong?
    pub wrong_header: bool,
    /// Was its packet joined from IP fragments that contradict each other?
    pub overlap: Overlap,
}

/// What a checksum says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sum {
    /// Nothing: not all that it covers was captured.
    #[default]
    Unchecked,
    /// It is right.
    Right,
    /// It is wrong. It may have been left to the network card.
    Wrong,
    /// It is wrong on what no network sends so: it says nothing.
    Offloaded,
    /// It is wrong, and right otherwise on this side: it was damaged on its way, or made so.
    Damaged,
}

/// What is longer than this was joined from several segments on its way into the capture, and its checksum with it. (A
/// jumbo frame may be so long too.)
const LONGEST_SENT: usize = 1480;

/// Where the flags stand in a header.
const FLAGS: usize = 13;

/// RFC 9293 3.1 Header Format. `length` is that of the packet.
#[expect(
    clippy::inline_always,
    reason = "each packet comes through here, and its segment is not to be copied about"
)]
#[inline(always)]
pub(super) fn segment<'a>(
    at: At,
    (vlan, tunnel): (VlanTags, Option<&'a Tunnel>),
    packet: &Packet<'a>,
    tcp: &TcpSlice<'a>,
    (length, overlap): (usize, Overlap),
) -> Segment<'a> {
    let (source, destination) = packet.addresses.both();
    Segment {
        at,
        vlan,
        tunnel,
        source: Endpoint {
            address: source,
            port: tcp.source_port(),
        },
        destination: Endpoint {
            address: destination,
            port: tcp.destination_port(),
        },
        sequence: tcp.sequence_number(),
        acknowledgement: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        flags: tcp.slice()[FLAGS],
        length: u32::try_from(length).unwrap_or(u32::MAX),
        marks: Marks {
            identification: packet.identification,
            checksum: tcp.checksum(),
            wrong_header: packet.wrong_header,
            overlap,
        },
        whole: packet.payload,
        payload: tcp.payload(),
        cut: u32::try_from(packet.cut).unwrap_or(u32::MAX),
    }
}

/// RFC 768 Format: ports, length, checksum. `whole` is the length of the packet. The tunnel is the caller's to fill in.
#[inline]
pub(super) fn datagram<'a>(
    at: At,
    vlan: VlanTags,
    packet: &Packet<'a>,
    whole: usize,
    counters: &mut DecodeCounters,
) -> Result<Datagram<'a>, Unread> {
    let (header, rest) = packet.payload.split_first_chunk::<8>().ok_or(Unread::Malformed)?;
    let [source, destination, length, checksum] =
        [0, 2, 4, 6].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let captured = packet.payload.len();
    // Offload leaves no length: then it is what the packet holds.
    let length = match usize::from(length) {
        0 => captured + packet.cut,
        length => length,
    };
    if length < header.len() || length > captured + packet.cut {
        return Err(Unread::Malformed);
    }
    let unchecked = checksum == 0 && packet.addresses.is_ipv4();
    let right = |whole| checksum_is_right(sum(packet.addresses.bytes()), IpNumber::UDP, whole);
    if length <= captured && !unchecked && !right(&packet.payload[..length]) {
        counters.bad_udp_checksum += 1;
    }
    let (from, to) = packet.addresses.both();
    Ok(Datagram {
        at,
        vlan,
        tunnel: None,
        source: Endpoint {
            address: from,
            port: source,
        },
        destination: Endpoint {
            address: to,
            port: destination,
        },
        payload: &rest[..rest.len().min(length - header.len())],
        cut: u32::try_from(length.saturating_sub(captured)).unwrap_or(u32::MAX),
        length: u32::try_from(whole).unwrap_or(u32::MAX),
    })
}

impl Segment<'_> {
    /// What its checksum says. Every byte has to be looked at, so this is asked only where the answer matters: on
    /// connections that are followed, or may yet be.
    #[inline]
    pub fn sum(&self) -> Sum {
        let addresses = match (self.source.address, self.destination.address) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => sum(&source.octets()) + sum(&destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => sum(&source.octets()) + sum(&destination.octets()),
            _ => return Sum::Unchecked,
        };
        if self.cut > 0 || self.whole.is_empty() {
            Sum::Unchecked
        } else if checksum_is_right(addresses, IpNumber::TCP, self.whole) {
            Sum::Right
        } else {
            self.wrong_sum()
        }
    }

    /// What the checksum of its IPv4 header says; over IPv6 there is none.
    #[inline]
    pub fn header_sum(&self) -> Sum {
        if self.marks.wrong_header {
            self.wrong_sum()
        } else {
            Sum::Right
        }
    }

    fn wrong_sum(&self) -> Sum {
        if self.whole.len() <= LONGEST_SENT {
            Sum::Wrong
        } else {
            Sum::Offloaded
        }
    }
}

/// RFC 9293 3.1 Header Format, RFC 768 Fields: the sum over a pseudo header and the segment or datagram. That over both
/// addresses is given.
#[inline]
fn checksum_is_right(addresses: u64, number: IpNumber, whole: &[u8]) -> bool {
    // The length is a 32-bit number in network order; its halves are summed like any other two bytes.
    let length = u32::try_from(whole.len()).unwrap_or(u32::MAX);
    let pseudo = addresses + sum(&length.to_be_bytes()) + sum(&[0, number.0]);
    fold(pseudo + sum(whole)) == 0xffff
}

/// RFC 1071 2(B) Byte Order Independence: the words are summed as this machine sees them, two at a time.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let last = match *rest {
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        _ => [0; 4],
    };
    total + u64::from(u32::from_ne_bytes(last))
}

/// The carries of a sum brought back into 16 bits; all ones over bytes that hold a right checksum.
#[inline]
pub(super) fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum
}
