//! IP headers and their extensions.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv6FragmentHeaderSlice, Ipv6RawExtHeaderSlice, LaxIpSlice, LaxIpv4Slice, LaxIpv6Slice};

use super::transport::{fold, sum};
use super::{DecodeCounters, Unread};

/// Source and destination of a packet, as they stand in its header one behind the other.
#[derive(Clone, Copy)]
pub(super) enum Addresses<'a> {
    V4(&'a [u8; 8]),
    V6(&'a [u8; 32]),
}

impl Addresses<'_> {
    #[inline]
    pub(super) fn both(self) -> (IpAddr, IpAddr) {
        match self {
            Self::V4(bytes) => {
                let (source, destination) = (&bytes[..4], &bytes[4..]);
                let address = |octets: &[u8]| IpAddr::from([octets[0], octets[1], octets[2], octets[3]]);
                (address(source), address(destination))
            }
            Self::V6(bytes) => ipv6(bytes),
        }
    }

    pub(super) fn is_ipv4(self) -> bool {
        matches!(self, Self::V4(_))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes.as_slice(),
            Self::V6(bytes) => bytes.as_slice(),
        }
    }
}

/// Not inlined: where it is, the compiler moves all addresses byte by byte, those of IPv4 too.
#[inline(never)]
fn ipv6(bytes: &[u8; 32]) -> (IpAddr, IpAddr) {
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&bytes[..16]);
    destination.copy_from_slice(&bytes[16..]);
    (source.into(), destination.into())
}

/// An IP packet.
pub(super) struct Packet<'a> {
    pub(super) addresses: Addresses<'a>,
    /// What it carries.
    pub(super) number: IpNumber,
    /// Identification of an IPv4 packet; IPv6 has none.
    pub(super) identification: u16,
    /// Is the checksum of its IPv4 header wrong? IPv6 has none.
    pub(super) wrong_header: bool,
    pub(super) payload: &'a [u8],
    /// How much of the payload was not captured.
    pub(super) cut: usize,
}

/// A part of one.
pub(super) struct Fragment<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What the packet carries, or in IPv6 the header that its fragmented part begins with.
    pub(super) number: IpNumber,
    pub(super) identification: u32,
    /// Where it begins in the packet, in bytes.
    pub(super) offset: usize,
    /// Are there parts behind it?
    pub(super) more: bool,
    pub(super) payload: &'a [u8],
}

/// Reads the IP header and its extensions; of a fragment no more than that it is one. `missing` is what the snap length took from the end.
#[expect(
    clippy::inline_always,
    reason = "each packet comes through here, and its segment is not to be copied about"
)]
#[inline(always)]
pub(super) fn packet<'a>(bytes: &'a [u8], missing: usize, counters: &mut DecodeCounters) -> Result<Packet<'a>, Unread> {
    let (ip, stopped) = LaxIpSlice::from_slice(bytes).map_err(|_| Unread::Malformed)?;
    let payload = ip.payload();
    let mut wrong_header = false;
    let (addresses, claimed, identification) = match &ip {
        LaxIpSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            wrong_header = fold(sum(header.slice())) != 0xffff;
            counters.bad_ipv4_checksum += u64::from(wrong_header);
            let claimed = match usize::from(header.total_len()) {
                0 => None,
                total if total < header.slice().len() => return Err(Unread::Malformed),
                total => Some(total),
            };
            let addresses = bytes[12..].first_chunk().map(Addresses::V4);
            (addresses, claimed, header.identification())
        }
        LaxIpSlice::Ipv6(ipv6) => {
            let header = ipv6.header();
            let claimed = match usize::from(header.payload_length()) {
                0 => None,
                length => Some(header.slice().len() + length),
            };
            let addresses = bytes[8..].first_chunk().map(Addresses::V6);
            (addresses, claimed, 0)
        }
    };
    if claimed.is_none() {
        counters.zero_total_length += 1;
    }
    let cut = claimed.map_or(missing, |claimed| claimed.saturating_sub(bytes.len()));
    if cut > missing {
        // Nobody has the rest: RFC 1812 5.2.2 IP Header Validation, hosts and routers drop it.
        return Err(Unread::Malformed);
    }
    if cut > 0 {
        counters.cut_by_snap_length += 1;
    }
    if payload.fragmented {
        return Err(Unread::Fragment);
    }
    if stopped.is_some() {
        return Err(Unread::Malformed);
    }
    Ok(Packet {
        addresses: addresses.ok_or(Unread::Malformed)?,
        number: payload.ip_number,
        identification,
        wrong_header,
        payload: payload.payload,
        cut,
    })
}

/// Reads a fragment.
#[cold]
pub(super) fn fragment(bytes: &[u8]) -> Option<Fragment<'_>> {
    match LaxIpSlice::from_slice(bytes).ok()?.0 {
        LaxIpSlice::Ipv4(ipv4) => {
            let claimed = match usize::from(ipv4.header().total_len()) {
                0 => bytes.len(),
                total => total,
            };
            fragment_of_ipv4(&ipv4, bytes, claimed)
        }
        LaxIpSlice::Ipv6(ipv6) => {
            let header = ipv6.header();
            let claimed = match usize::from(header.payload_length()) {
                0 => bytes.len(),
                length => header.slice().len() + length,
            };
            fragment_of_ipv6(&ipv6, bytes, claimed)
        }
    }
}

/// Behind the header nothing is looked at: only the first fragment begins with what the header names.
fn fragment_of_ipv4<'a>(ipv4: &LaxIpv4Slice<'_>, bytes: &'a [u8], claimed: usize) -> Option<Fragment<'a>> {
    let held = &bytes[..claimed.min(bytes.len())];
    let header = ipv4.header();
    Some(Fragment {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        number: header.protocol(),
        identification: header.identification().into(),
        offset: usize::from(header.fragments_offset().value()) * 8,
        // Where it ends may not have been captured.
        more: header.more_fragments() || held.len() < claimed,
        payload: held.get(header.slice().len()..)?,
    })
}

/// RFC 8200 4.5 Fragment Header: what stands before it is in every fragment.
fn fragment_of_ipv6<'a>(ipv6: &LaxIpv6Slice<'_>, bytes: &'a [u8], claimed: usize) -> Option<Fragment<'a>> {
    let held = &bytes[..claimed.min(bytes.len())];
    let header = ipv6.header();
    let (mut number, mut rest) = (header.next_header(), held.get(header.slice().len()..)?);
    loop {
        let length;
        (number, length) = match number {
            // RFC 4302 2.2 Payload Length: in words, without the first two.
            IpNumber::AUTHENTICATION_HEADER => (IpNumber(*rest.first()?), (usize::from(*rest.get(1)?) + 2) * 4),
            number if Ipv6RawExtHeaderSlice::header_type_supported(number) => {
                let extension = Ipv6RawExtHeaderSlice::from_slice(rest).ok()?;
                (extension.next_header(), extension.slice().len())
            }
            _ => break,
        };
        rest = rest.get(length..)?;
    }
    if number != IpNumber::IPV6_FRAGMENTATION_HEADER {
        return None;
    }
    let fragment = Ipv6FragmentHeaderSlice::from_slice(rest).ok()?;
    Some(Fragment {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        number: fragment.next_header(),
        identification: fragment.identification(),
        offset: usize::from(fragment.fragment_offset().value()) * 8,
        more: fragment.more_fragments() || held.len() < claimed,
        payload: rest.get(fragment.slice().len()..)?,
    })
}
