//! What carries another packet, over IP or UDP.

use etherparse::IpNumber;

use super::carrier::{Carrier, Taken};
use super::ip::Packet;
use super::layers::{Content, after, begins_with_labels, is_known, u16_at};
use super::{Datagram, DecodeCounters, Unread};

type Inner<'a> = (Content, &'a [u8]);

/// What an IP packet carries that is neither TCP nor UDP.
pub(super) fn over_ip<'a>(
    packet: &Packet<'a>,
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<Inner<'a>, Unread> {
    let bytes = packet.payload;
    let carrier = match (packet.number, packet.addresses.is_ipv4()) {
        (IpNumber::IPV4, true) => Carrier::Ipv4InIpv4,
        (IpNumber::IPV4, false) => Carrier::Ipv4InIpv6,
        (IpNumber::IPV6, true) => Carrier::Ipv6InIpv4,
        (IpNumber::IPV6, false) => Carrier::Ipv6InIpv6,
        (IpNumber::GRE, _) => {
            taken.off(Carrier::Gre, counters)?;
            return gre(bytes, taken, counters);
        }
        (IpNumber::ETHER_IP, _) => {
            taken.off(Carrier::EtherIp, counters)?;
            return Ok((Content::Ethernet, after(bytes, 2)?));
        }
        (IpNumber::MPLS_IN_IP, _) => return Ok((Content::Mpls, bytes)),
        (IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, _) => return Err(Unread::Encrypted),
        _ => return Err(Unread::NotTcpOrUdp),
    };
    taken.off(carrier, counters)?;
    Ok((Content::Ip, bytes))
}

/// RFC 2784 2 Structure of a GRE Encapsulated Packet, RFC 2890 2 (key and sequence number), RFC 1701 (routing);
/// RFC 2637 4.1 Enhanced GRE header.
fn gre<'a>(bytes: &'a [u8], taken: &mut Taken, counters: &mut DecodeCounters) -> Result<Inner<'a>, Unread> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    let (flags, protocol) = (u16_at(bytes, 0)?, u16_at(bytes, 2)?);
    let is = |flag| flags & flag != 0;
    let four = |there: bool| if there { 4 } else { 0 };
    let mut length = 4 + four(is(CHECKSUM) || is(ROUTING)) + four(is(KEY)) + four(is(SEQUENCE));
    match flags & 0x0007 {
        0 => {}
        1 => length += four(is(ACKNOWLEDGEMENT)),
        _ => return Err(Unread::Malformed),
    }
    let mut payload = after(bytes, length)?;
    if is(ROUTING) {
        // Entries of family, offset, length and that many bytes, up to an empty one.
        loop {
            let (family, length) = (u16_at(payload, 0)?, u16_at(payload, 2)? & 0xff);
            payload = after(payload, 4 + usize::from(length))?;
            if (family, length) == (0, 0) {
                break;
            }
        }
    }
    if payload.is_empty() {
        // A keep-alive or an acknowledgement.
        return Err(Unread::NotIp);
    }
    match protocol {
        0x88be | 0x22eb => {
            taken.off(Carrier::Erspan, counters)?;
            erspan(protocol, is(SEQUENCE), payload, taken)
        }
        // WCCP: version 2 puts four bytes before the packet.
        0x883e => match payload.first().map(|first| first >> 4) {
            Some(4) => Ok((Content::Ip, payload)),
            _ => Ok((Content::Ip, after(payload, 4)?)),
        },
        other => Ok((Content::Announced(other), payload)),
    }
}

/// draft-foschiano-erspan 4 ERSPAN Types: I has no header and no sequence number, II has eight bytes, III twelve and a
/// subheader of eight more where its last bit says so.
fn erspan<'a>(protocol: u16, has_sequence: bool, bytes: &'a [u8], taken: &mut Taken) -> Result<Inner<'a>, Unread> {
    const TRUNCATED: u16 = 0x0400;
    if protocol == 0x88be && !has_sequence {
        return Ok((Content::Ethernet, bytes));
    }
    taken.shortened = u16_at(bytes, 2)? & TRUNCATED != 0;
    match u16_at(bytes, 0)? >> 12 {
        1 => Ok((Content::Ethernet, after(bytes, 8)?)),
        2 => {
            let last = u16_at(bytes, 10)?;
            let length = if last & 1 == 1 { 20 } else { 12 };
            // The frame type says whether what was mirrored is Ethernet or IP.
            match (last >> 10) & 0x1f {
                2 => Ok((Content::Ip, after(bytes, length)?)),
                _ => Ok((Content::Ethernet, after(bytes, length)?)),
            }
        }
        _ => Err(Unread::Malformed),
    }
}

/// What a datagram carries, if its port and its first bytes say that it is a tunnel.
#[inline]
pub(super) fn over_udp<'a>(
    datagram: &Datagram<'a>,
    taken: &mut Taken,
    counters: &mut DecodeCounters,
) -> Result<Option<Inner<'a>>, Unread> {
    let bytes = datagram.payload;
    let found = match datagram.destination.port {
        4_789 | 8_472 => vxlan(bytes),
        4_790 => vxlan_gpe(bytes),
        6_081 => geneve(bytes),
        2_152 => gtp(bytes),
        1_701 => l2tp(bytes),
        3_544 => teredo(bytes, datagram.cut),
        // RFC 7510 3 Encapsulation: labels are counted where they are read.
        6_635 if begins_with_labels(bytes) => return Ok(Some((Content::Mpls, bytes))),
        4_500 => return udp_esp(bytes),
        // Answers go to the port that was asked from, which a NAT may have chosen.
        _ => match datagram.source.port {
            3_544 => teredo(bytes, datagram.cut),
            1_701 => l2tp(bytes),
            4_500 => return udp_esp(bytes),
            _ => return Ok(None),
        },
    };
    let Some((carrier, content, inner)) = found else {
        return Ok(None);
    };
    taken.off(carrier, counters)?;
    Ok(Some((content, inner)))
}

/// RFC 3948 2.1 UDP-Encapsulated ESP Header Format: what begins with zeros is IKE, and one byte keeps a NAT awake.
fn udp_esp(bytes: &[u8]) -> Result<Option<Inner<'_>>, Unread> {
    match bytes.first_chunk::<8>() {
        Some(header) if header[..4] != [0; 4] => Err(Unread::Encrypted),
        _ => Ok(None),
    }
}

type Found<'a> = Option<(Carrier, Content, &'a [u8])>;

/// RFC 7348 5 VXLAN Frame Format. The flag says that there is a network identifier; other flags are extensions. What is
/// reserved is ignored on receipt; where it is not zero, Ethernet has to follow by its look.
fn vxlan(bytes: &[u8]) -> Found<'_> {
    let (header, inner) = bytes.split_first_chunk::<8>()?;
    let looks_right = header[7] == 0 || u16_at(inner, 12).is_ok_and(is_known);
    (header[0] & 0x08 != 0 && looks_right).then_some((Carrier::Vxlan, Content::Ethernet, inner))
}

/// draft-ietf-nvo3-vxlan-gpe 3 Generic Protocol Extension for VXLAN.
fn vxlan_gpe(bytes: &[u8]) -> Found<'_> {
    let (header, inner) = bytes.split_first_chunk::<8>()?;
    if header[0] & 0x04 == 0 {
        return vxlan(bytes);
    }
    let content = match header[3] {
        1 | 2 => Content::Ip,
        3 => Content::Ethernet,
        4 => Content::Nsh,
        5 | 7 => Content::Mpls,
        _ => return None,
    };
    Some((Carrier::Vxlan, content, inner))
}

/// RFC 8926 3.4 Tunnel Header Fields.
fn geneve(bytes: &[u8]) -> Found<'_> {
    let (header, rest) = bytes.split_first_chunk::<8>()?;
    let (version, options) = (header[0] >> 6, usize::from(header[0] & 0x3f) * 4);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    let known = matches!(protocol, 0x6558 | 0x0800 | 0x86dd | 0x8847 | 0x894f);
    let inner = rest.get(options..)?;
    (version == 0 && known).then_some((Carrier::Geneve, Content::Announced(protocol), inner))
}

/// 3GPP TS 29.281 5.1 General format, 5.2 GTP-U Extension Header: a G-PDU's packet.
fn gtp(bytes: &[u8]) -> Found<'_> {
    const VERSION_1: u8 = 0x30;
    const G_PDU: u8 = 255;
    let (header, mut rest) = bytes.split_first_chunk::<8>()?;
    if header[0] & 0xf0 != VERSION_1 || header[1] != G_PDU {
        return None;
    }
    if header[0] & 0x07 != 0 {
        // Sequence number, N-PDU number and the type of the first extension, if its flag is set.
        let (optional, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        let mut next = if header[0] & 0x04 == 0 { 0 } else { optional[3] };
        while next != 0 {
            let length = usize::from(*rest.first()?) * 4;
            next = *rest.get(length.checked_sub(1)?)?;
            rest = rest.get(length..)?;
        }
    }
    let content = match rest.first()? >> 4 {
        4 | 6 => Content::Ip,
        _ => return None,
    };
    Some((Carrier::Gtp, content, rest))
}

/// RFC 2661 3.1 L2TP Header Format: a data message's PPP frame.
fn l2tp(bytes: &[u8]) -> Found<'_> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = u16_at(bytes, 0).ok()?;
    if flags & 0x000f != 2 || flags & CONTROL != 0 {
        return None;
    }
    let two = |flag, length| if flags & flag == 0 { 0 } else { length };
    let mut length = 6 + two(LENGTH, 2) + two(SEQUENCE, 4);
    if flags & OFFSET != 0 {
        length += 2 + usize::from(u16_at(bytes, length).ok()?);
    }
    Some((Carrier::L2tp, Content::Ppp, bytes.get(length..)?))
}

/// RFC 4380 5.1.1 Teredo IPv6 Packet Encapsulation: authentication and origin may stand before the packet.
fn teredo(mut bytes: &[u8], cut: u32) -> Found<'_> {
    if let [0, 1, client, authentication, ..] = bytes {
        // The lengths of two values, then nonce and confirmation.
        bytes = bytes.get(4 + usize::from(*client) + usize::from(*authentication) + 9..)?;
    }
    if let [0, 0, ..] = bytes {
        bytes = bytes.get(8..)?;
    }
    let payload = usize::from(u16_at(bytes, 4).ok()?);
    (bytes.first()? >> 4 == 6 && payload + 40 <= bytes.len() + cut as usize).then_some((
        Carrier::Teredo,
        Content::Ip,
        bytes,
    ))
}
