//! What stands between the header of the link type and the IP header: Ethernet, tags, labels, PPP, LLC, 802.11.

use super::carrier::{Carrier, Taken};
use super::{DecodeCounters, Unread};

/// Values of `EtherType`.
pub(super) mod ether_type {
    pub(in crate::decode) const IPV4: u16 = 0x0800;
    pub(in crate::decode) const IPV6: u16 = 0x86dd;
    /// 802.1Q, 802.1ad, and what switches used for the outer tag before that.
    pub(in crate::decode) const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
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
pub(super) fn llc(bytes: &[u8]) -> Result<(Content, &[u8]), Unread> {
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
pub(super) fn announced(bytes: &[u8], at: usize) -> Result<(Content, &[u8]), Unread> {
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
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unread> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.copied().ok_or(Unread::Malformed)
}
