//! Link types: what a frame of each begins with.

use super::carrier::Taken;
use super::layers::{Content, after, announced, array, down, ether_type, llc, u16_at};
use super::{DecodeCounters, Unread};
use crate::capture::LinkType;

/// Numbers of link types, as in <https://www.tcpdump.org/linktypes.html>.
mod number {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const PPP: u16 = 9;
    pub(super) const PPP_HDLC: u16 = 50;
    pub(super) const PPP_ETHER: u16 = 51;
    /// Raw IP has its official number, those that two BSDs wrote to files, and one for each version.
    pub(super) const RAW: u16 = 101;
    pub(super) const RAW_BSD: u16 = 12;
    pub(super) const RAW_OPENBSD: u16 = 14;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const ATM_RFC1483: u16 = 100;
    pub(super) const C_HDLC: u16 = 104;
    pub(super) const IEEE802_11: u16 = 105;
    pub(super) const FRELAY: u16 = 107;
    pub(super) const LOOP: u16 = 108;
    pub(super) const ENC: u16 = 109;
    pub(super) const LINUX_SLL: u16 = 113;
    pub(super) const PFLOG: u16 = 117;
    pub(super) const IEEE802_11_PRISM: u16 = 119;
    pub(super) const IP_OVER_FC: u16 = 122;
    pub(super) const IEEE802_11_RADIOTAP: u16 = 127;
    pub(super) const APPLE_IP_OVER_IEEE1394: u16 = 138;
    pub(super) const IEEE802_11_AVS: u16 = 163;
    pub(super) const PPI: u16 = 192;
    pub(super) const PPP_WITH_DIR: u16 = 204;
    pub(super) const NFLOG: u16 = 239;
    pub(super) const NETANALYZER: u16 = 240;
    pub(super) const IPOIB: u16 = 242;
    pub(super) const PKTAP: u16 = 258;
    pub(super) const LINUX_SLL2: u16 = 276;
}

/// The address families of IPv4 and IPv6 on the systems that write NULL and LOOP.
const ADDRESS_FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

/// Are frames of this link type read at all?
pub(crate) fn is_read(link_type: LinkType) -> bool {
    !matches!(link(link_type, &[]), Err(Unread::LinkType))
}

/// Takes the headers of a frame off, down to an IP header.
#[inline]
pub(super) fn frame<'a>(
    link_type: LinkType,
    bytes: &'a [u8],
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<&'a [u8], Unread> {
    if let (number::ETHERNET, Some([0x08, 0x00])) = (link_type.0, bytes.get(12..14)) {
        return Ok(&bytes[14..]);
    }
    let (content, bytes) = link(link_type, bytes)?;
    down(content, bytes, taken, counters)
}

/// The IP header of a frame in which nothing but tags of VLANs stands before it; None for all others.
#[inline]
pub(super) fn plain(link_type: LinkType, bytes: &[u8]) -> Option<&[u8]> {
    if let (number::ETHERNET, Some([0x08, 0x00])) = (link_type.0, bytes.get(12..14)) {
        return bytes.get(14..);
    }
    let (mut content, mut bytes) = link(link_type, bytes).ok()?;
    loop {
        match content {
            Content::Ip | Content::Announced(ether_type::IPV4 | ether_type::IPV6) => return Some(bytes),
            Content::Ethernet => (content, bytes) = announced(bytes, 12).ok()?,
            Content::Announced(tag) if ether_type::TAGS.contains(&tag) => {
                (content, bytes) = announced(bytes, 2).ok()?;
            }
            _ => return None,
        }
    }
}

fn link(link_type: LinkType, bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    match link_type.0 {
        number::ETHERNET => Ok((Content::Ethernet, bytes)),
        number::RAW | number::RAW_BSD | number::RAW_OPENBSD | number::IPV4 | number::IPV6 => Ok((Content::Ip, bytes)),
        number::LINUX_SLL => announced(bytes, 14),
        // The protocol comes first here and the payload after twenty bytes.
        number::LINUX_SLL2 => Ok((Content::Announced(u16_at(bytes, 0)?), after(bytes, 20)?)),
        number::NULL | number::LOOP => loopback(bytes),
        number::PPP | number::PPP_HDLC => hdlc(bytes),
        number::PPP_WITH_DIR => hdlc(after(bytes, 1)?),
        number::C_HDLC => announced(bytes, 2),
        number::PPP_ETHER => Ok((Content::Pppoe, bytes)),
        number::IEEE802_11 => Ok((Content::Wireless { padded: false }, bytes)),
        number::IEEE802_11_RADIOTAP => {
            let length = u16::from_le_bytes(array(bytes, 2)?);
            let padded = is_padded(bytes)?;
            Ok((Content::Wireless { padded }, after(bytes, length.into())?))
        }
        number::IEEE802_11_PRISM | number::IEEE802_11_AVS => {
            // What announces Prism's header may have AVS's all the same: that begins with its magic and its length.
            let length = match bytes {
                [0x80, 0x21, 0x10, ..] => u32::from_be_bytes(array(bytes, 4)?) as usize,
                _ => 144,
            };
            Ok((Content::Wireless { padded: false }, after(bytes, length)?))
        }
        number::PPI => {
            let length = u16::from_le_bytes(array(bytes, 2)?);
            within(u32::from_le_bytes(array(bytes, 4)?), after(bytes, length.into())?)
        }
        number::PKTAP => {
            let length = u32::from_le_bytes(array(bytes, 0)?) as usize;
            within(u32::from_le_bytes(array(bytes, 8)?), after(bytes, length)?)
        }
        number::ATM_RFC1483 => llc(bytes),
        number::FRELAY => Ok((Content::FrameRelay, bytes)),
        number::ENC => Ok((Content::Ip, after(bytes, 12)?)),
        // The length of the header, which is filled up to words.
        number::PFLOG => {
            let length = bytes.first().ok_or(Unread::Malformed)?;
            Ok((Content::Ip, after(bytes, usize::from(*length).next_multiple_of(4))?))
        }
        number::IP_OVER_FC => llc(after(bytes, 16)?),
        number::APPLE_IP_OVER_IEEE1394 => announced(bytes, 16),
        // RFC 4391 6 Encapsulation, behind a global routing header: the type, and two bytes that are reserved.
        number::IPOIB => Ok((Content::Announced(u16_at(bytes, 40)?), after(bytes, 44)?)),
        number::NFLOG => netfilter(bytes),
        number::NETANALYZER => Ok((Content::Ethernet, after(bytes, 4)?)),
        _ => Err(Unread::LinkType),
    }
}

/// LOOP is in network order, NULL in that of the machine that captured: both are tried for both.
fn loopback(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    let (family, payload) = bytes.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
    let first = [family[0], family[1]];
    // Some that wrote to these files had PPP there, a family of 16 bits, or an EtherType.
    if first == [0xff, 0x03] {
        return Ok((Content::Ppp, bytes));
    }
    let known = [
        u32::from_le_bytes(*family),
        u32::from_be_bytes(*family),
        u32::from(u16::from_be_bytes(first)),
    ];
    let short = family[2..] == [0, 0];
    if known[..if short { 3 } else { 2 }]
        .iter()
        .any(|family| ADDRESS_FAMILIES.contains(family))
    {
        return Ok((Content::Ip, payload));
    }
    match u16::try_from(known[1]) {
        Ok(ether_type @ (ether_type::IPV4 | ether_type::IPV6)) => Ok((Content::Announced(ether_type), payload)),
        _ => Err(Unread::NotIp),
    }
}

/// The frame of another link type within one. One that holds frames itself would be a way to go round in circles.
fn within(inner: u32, bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    match u16::try_from(inner).map_err(|_| Unread::LinkType)? {
        number::PPI | number::PKTAP => Err(Unread::Malformed),
        inner => link(LinkType(inner), bytes),
    }
}

/// Radiotap's field Flags, bit 0x20: is there padding between header and payload? Words that say which fields there are
/// stand before it, and a time stamp, if it is there.
fn is_padded(bytes: &[u8]) -> Result<bool, Unread> {
    let present = |at: usize| array(bytes, at).map(u32::from_le_bytes);
    let mut at = 4;
    while present(at)? & 1 << 31 != 0 {
        at += 4;
    }
    at += 4;
    let first = present(4)?;
    if first & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let flags = bytes.get(at).ok_or(Unread::Malformed);
    Ok(first & 2 != 0 && flags? & 0x20 != 0)
}

/// PPP in HDLC-like framing (RFC 1662), or Cisco's framing, which is told by its address.
fn hdlc(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    match bytes.first() {
        Some(0x0f | 0x8f) => announced(bytes, 2),
        _ => Ok((Content::Ppp, bytes)),
    }
}

/// Netfilter's log: items of length, type and value; of these one is the packet.
fn netfilter(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    const PAYLOAD: u16 = 9;
    let mut rest = after(bytes, 4)?;
    while !rest.is_empty() {
        // In the order of the machine that captured: nearly always little-endian.
        let length = usize::from(u16::from_le_bytes(array(rest, 0)?));
        if u16::from_le_bytes(array(rest, 2)?) == PAYLOAD {
            return Ok((
                Content::Ip,
                rest.get(4..length.min(rest.len())).ok_or(Unread::Malformed)?,
            ));
        }
        rest = after(rest, length.max(4).next_multiple_of(4))?;
    }
    Err(Unread::NotIp)
}
