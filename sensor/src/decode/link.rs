//! Link-layer headers: what stands before the IP header.

use super::carrier::{Carrier, Taken};
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

/// Values of `EtherType`.
mod ether_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// 802.1Q, 802.1ad, and what switches used for the outer tag before that.
    pub(super) const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    pub(super) const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub(super) const MPLS: [u16; 2] = [0x8847, 0x8848];
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
    pub(super) const PPP: u16 = 0x880b;
    pub(super) const NSH: u16 = 0x894f;
    pub(super) const MACSEC: u16 = 0x88e5;
    /// Raw frame relay, in GRE.
    pub(super) const FRAME_RELAY: u16 = 0x6559;
    /// LLC in a frame that is too long for a length in the place of the type.
    pub(super) const JUMBO_LLC: u16 = 0x8870;
    /// 802.1ah: the frame of a customer.
    pub(super) const BACKBONE: u16 = 0x88e7;
    /// Cisco's metadata (`TrustSec`): version, a length in words, and so many.
    pub(super) const METADATA: u16 = 0x8909;
    /// VN-Tag, as between fabric extenders and their switch; 802.1CB R-TAG; 802.1BR E-TAG.
    pub(super) const VN_TAG: u16 = 0x8926;
    pub(super) const R_TAG: u16 = 0xf1c1;
    pub(super) const E_TAG: u16 = 0x893f;
}

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Ethernet,
    /// What this `EtherType` announces.
    Announced(u16),
    Ip,
    Ppp,
    Pppoe,
    Mpls,
    Nsh,
    FrameRelay,
    /// 802.11. Is the header filled up to words?
    Wireless {
        padded: bool,
    },
}

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

/// Takes headers off until an IP header comes.
#[inline]
pub(super) fn down<'a>(
    mut content: Content,
    mut bytes: &'a [u8],
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<&'a [u8], Unread> {
    loop {
        (content, bytes) = match content {
            Content::Ip | Content::Announced(ether_type::IPV4 | ether_type::IPV6) => return Ok(bytes),
            Content::Ethernet => inter_switch(bytes, taken, counters).map_or_else(|| announced(bytes, 12), Ok)?,
            Content::Announced(ether_type) => what_is_announced(ether_type, bytes, taken, counters)?,
            Content::Ppp => ppp(bytes)?,
            Content::Pppoe => {
                taken.off(Carrier::Pppoe, counters)?;
                // RFC 2516 4 Payloads: version and type, code, session, length.
                match bytes.get(1) {
                    Some(0) => (Content::Ppp, after(bytes, 6)?),
                    _ => return Err(Unread::NotIp),
                }
            }
            Content::Mpls => {
                taken.off(Carrier::Mpls, counters)?;
                mpls(bytes)?
            }
            Content::Nsh => {
                taken.off(Carrier::Nsh, counters)?;
                nsh(bytes)?
            }
            Content::FrameRelay => frame_relay(bytes)?,
            Content::Wireless { padded } => wireless(bytes, padded)?,
        }
    }
}

fn what_is_announced<'a>(
    ether_type: u16,
    bytes: &'a [u8],
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<(Content, &'a [u8]), Unread> {
    match ether_type {
        tag if ether_type::TAGS.contains(&tag) => tags(bytes, taken, counters),
        ether_type::TRANSPARENT_ETHERNET => Ok((Content::Ethernet, bytes)),
        label if ether_type::MPLS.contains(&label) => Ok((Content::Mpls, bytes)),
        ether_type::PPPOE_SESSION => Ok((Content::Pppoe, bytes)),
        ether_type::PPP => Ok((Content::Ppp, bytes)),
        ether_type::NSH => Ok((Content::Nsh, bytes)),
        ether_type::MACSEC => macsec(bytes),
        ether_type::FRAME_RELAY => Ok((Content::FrameRelay, bytes)),
        ether_type::BACKBONE => Ok((Content::Ethernet, after(bytes, 4)?)),
        ether_type::METADATA => {
            let words = bytes.get(1).ok_or(Unread::Malformed)?;
            announced(bytes, 2 + usize::from(*words) * 4)
        }
        ether_type::VN_TAG | ether_type::R_TAG => announced(bytes, 4),
        ether_type::E_TAG => announced(bytes, 6),
        // A length in place of a type: 802.3 with LLC.
        0..0x0600 | ether_type::JUMBO_LLC => llc(bytes),
        _ => Err(Unread::NotIp),
    }
}

/// Cisco's Inter-Switch Link: a frame behind a header of 26 bytes with a destination of its own, a length, LLC and the VLAN.
fn inter_switch<'a>(bytes: &'a [u8], taken: &mut Taken, counters: &mut DecodeCounters) -> Option<(Content, &'a [u8])> {
    let (header, frame) = bytes.split_first_chunk::<26>()?;
    // The upper half of the last byte: an Ethernet frame is within.
    let is_one = matches!(header[..6], [0x01 | 0x03, 0, 0x0c, 0, 0, 0x00..=0x0f]) && header[14..17] == [0xaa, 0xaa, 3];
    if !is_one {
        return None;
    }
    let vlan = &mut taken.vlan;
    if let Some(id) = vlan.ids.get_mut(usize::from(vlan.count)) {
        *id = u16::from_be_bytes([header[20], header[21]]) >> 1 & 0x0fff;
        vlan.count += 1;
    }
    counters.carriers.add(Carrier::Vlan);
    Some((Content::Ethernet, frame))
}

/// Goes over any number of tags; of more than two, the outer two are kept.
fn tags<'a>(
    mut payload: &'a [u8],
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<(Content, &'a [u8]), Unread> {
    let mut count = 0_u32;
    loop {
        let (tag, rest) = payload.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
        let vlan = &mut taken.vlan;
        if let Some(id) = vlan.ids.get_mut(usize::from(vlan.count)) {
            *id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
            vlan.count += 1;
        }
        (count, payload) = (count + 1, rest);
        let ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        if !ether_type::TAGS.contains(&ether_type) {
            counters
                .carriers
                .add(if count > 1 { Carrier::Qinq } else { Carrier::Vlan });
            return Ok((Content::Announced(ether_type), payload));
        }
    }
}

/// 802.1AE 9.3 MAC Security TAG: what is protected against changes alone stands behind it in clear.
fn macsec(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    const VERSION: u8 = 0x80;
    const CHANNEL: u8 = 0x20;
    const ENCRYPTED: u8 = 0x08;
    const CHANGED: u8 = 0x04;
    let control = *bytes.first().ok_or(Unread::Malformed)?;
    if control & (VERSION | ENCRYPTED | CHANGED) != 0 {
        return Err(Unread::Encrypted);
    }
    announced(bytes, if control & CHANNEL == 0 { 6 } else { 14 })
}

/// Q.922 3.2 Address field, of two to four bytes, and RFC 2427 3 Frame Format.
fn frame_relay(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    let address = bytes.iter().take(4).position(|byte| byte & 1 == 1);
    let rest = after(bytes, address.ok_or(Unread::Malformed)? + 1)?;
    match rest {
        [0x03, 0xcc | 0x8e, rest @ ..] => Ok((Content::Ip, rest)),
        [0x03, 0x80, rest @ ..] | [0x03, 0x00, 0x80, rest @ ..] => snap(rest),
        _ => Err(Unread::NotIp),
    }
}

/// 802.2 LLC with a SNAP header (RFC 1042 Header Format), or with the number that IP has there; anything else is not IP.
fn llc(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    match bytes {
        [0xaa, 0xaa, 0x03, rest @ ..] => snap(rest),
        [0x06, 0x06, 0x03, rest @ ..] => Ok((Content::Ip, rest)),
        [_, _, _, ..] => Err(Unread::NotIp),
        _ => Err(Unread::Malformed),
    }
}

/// Who gave the number, and the number. That of bridged Ethernet (00-00-F8) has the same ones.
fn snap(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    match bytes.get(..3) {
        Some([0, 0, 0 | 0xf8]) => announced(bytes, 3),
        Some(_) => Err(Unread::NotIp),
        None => Err(Unread::Malformed),
    }
}

/// RFC 1661 2 PPP Encapsulation, behind address and control (RFC 1662 3.1 Frame Format) where they are not left out.
fn ppp(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    let bytes = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    // 6.5 Protocol-Field-Compression: numbers below 256 may take one byte; it is odd, and no longer one begins so.
    let (protocol, payload) = match *bytes {
        [first, ref rest @ ..] if first & 1 == 1 => (u16::from(first), rest),
        [first, second, ref rest @ ..] => (u16::from_be_bytes([first, second]), rest),
        _ => return Err(Unread::Malformed),
    };
    match protocol {
        0x0021 | 0x0057 => Ok((Content::Ip, payload)),
        0x0281 | 0x0283 => Ok((Content::Mpls, payload)),
        0x0053 | 0x0055 => Err(Unread::Encrypted),
        _ => Err(Unread::NotIp),
    }
}

/// RFC 3032 2.1 Encoding the Label Stack. What stands below it is not named, so it is told by its look: IP, or Ethernet
/// (RFC 4448 4.6 The Control Word) with that word or without.
fn mpls(mut bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    loop {
        let (label, rest) = bytes.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
        bytes = rest;
        if label[2] & 1 == 1 {
            break;
        }
    }
    let ethernet = |bytes: &[u8]| u16_at(bytes, 12).is_ok_and(is_known);
    match bytes.first().map(|first| first >> 4) {
        Some(4 | 6) if begins_with_ip(bytes) => Ok((Content::Ip, bytes)),
        _ if ethernet(bytes) => Ok((Content::Ethernet, bytes)),
        Some(0) if bytes.get(4..).is_some_and(ethernet) => Ok((Content::Ethernet, &bytes[4..])),
        Some(4 | 6) => Ok((Content::Ip, bytes)),
        Some(_) => Err(Unread::NotIp),
        None => Err(Unread::Malformed),
    }
}

/// Does a stack of labels stand here, and something below it that is read?
pub(super) fn begins_with_labels(bytes: &[u8]) -> bool {
    mpls(bytes).is_ok()
}

/// Is this `EtherType` one that leads on, or one that is common?
pub(super) fn is_known(ether_type: u16) -> bool {
    matches!(
        ether_type,
        ether_type::IPV4 | ether_type::IPV6 | ether_type::PPPOE_SESSION | 0x0806
    ) || ether_type::TAGS.contains(&ether_type)
        || ether_type::MPLS.contains(&ether_type)
}

/// The first byte of a MAC address may look like that of an IP header: more of it has to.
fn begins_with_ip(bytes: &[u8]) -> bool {
    match bytes {
        [version, _, high, low, ..] if version >> 4 == 4 => {
            let total = usize::from(u16::from_be_bytes([*high, *low]));
            let header = usize::from(version & 0xf) * 4;
            header >= 20
                && bytes.len() >= header
                && (total == 0 || total >= header)
                && (super::transport::fold(super::transport::sum(&bytes[..header])) == 0xffff || total == bytes.len())
        }
        [version, _, _, _, high, low, next, ..] if version >> 4 == 6 => {
            let payload = usize::from(u16::from_be_bytes([*high, *low]));
            payload + 40 <= bytes.len() + 4_096
                && matches!(next, 0 | 4 | 6 | 17 | 41 | 43 | 44 | 47 | 50 | 51 | 58 | 60)
        }
        _ => false,
    }
}

/// RFC 8300 2.2 NSH Base Header.
fn nsh(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
    let words = u16_at(bytes, 0)? & 0x3f;
    let content = match bytes.get(3) {
        Some(1 | 2) => Content::Ip,
        Some(3) => Content::Ethernet,
        Some(4) => Content::Nsh,
        Some(5) => Content::Mpls,
        Some(_) => return Err(Unread::NotIp),
        None => return Err(Unread::Malformed),
    };
    if words < 2 {
        return Err(Unread::Malformed);
    }
    Ok((content, after(bytes, usize::from(words) * 4)?))
}

/// IEEE 802.11 9.2 MAC frame formats: data frames that are not protected. Of an aggregate the first is read.
fn wireless(bytes: &[u8], padded: bool) -> Result<(Content, &[u8]), Unread> {
    let &[control, flags, ..] = bytes else {
        return Err(Unread::Malformed);
    };
    let (is_data, has_none, has_qos) = (control & 0x0c == 0x08, control & 0x40 != 0, control & 0x80 != 0);
    if !is_data || has_none {
        return Err(Unread::NotIp);
    }
    if flags & 0x40 != 0 {
        return Err(Unread::Encrypted);
    }
    let mut length = 24;
    if flags & 0x03 == 0x03 {
        length += 6;
    }
    let (mut aggregate, mut mesh) = (false, false);
    if has_qos {
        aggregate = bytes.get(length).is_some_and(|qos| qos & 0x80 != 0);
        mesh = bytes.get(length + 1).is_some_and(|qos| qos & 0x01 != 0);
        length += 2;
        if flags & 0x80 != 0 {
            length += 4;
        }
    }
    if padded {
        length = length.next_multiple_of(4);
    }
    if aggregate {
        // Destination, source and length of the first subframe.
        length += 14;
    }
    let payload = after(bytes, length)?;
    match payload {
        // 9.2.4.8.3 Mesh Control field: flags, time to live, number, and up to two addresses. The bit that announces it means
        // something else where there is no mesh.
        [flags, ..] if mesh && !payload.starts_with(&[0xaa, 0xaa, 0x03]) => {
            llc(after(payload, 6 + 6 * usize::from(flags & 0x03))?)
        }
        _ => llc(payload),
    }
}

/// What the `EtherType` at an offset announces stands behind it.
#[inline]
fn announced(bytes: &[u8], at: usize) -> Result<(Content, &[u8]), Unread> {
    Ok((Content::Announced(u16_at(bytes, at)?), after(bytes, at + 2)?))
}

#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Unread> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[inline]
pub(super) fn after(bytes: &[u8], length: usize) -> Result<&[u8], Unread> {
    bytes.get(length..).ok_or(Unread::Malformed)
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unread> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.copied().ok_or(Unread::Malformed)
}
