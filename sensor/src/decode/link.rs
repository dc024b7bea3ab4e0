//! Link-layer headers: what stands before the IP header.

use super::{Unread, VlanTags};
use crate::capture::LinkType;

const ETHERNET: LinkType = LinkType(1);
const NULL: LinkType = LinkType(0);
const LOOP: LinkType = LinkType(108);
const LINUX_SLL: LinkType = LinkType(113);
const LINUX_SLL2: LinkType = LinkType(276);
/// Raw IP has its official number, those that two BSDs wrote to files, and one for each version.
const RAW_IP: [LinkType; 5] = [LinkType(101), LinkType(12), LinkType(14), LinkType(228), LinkType(229)];

/// The address families of IPv4 and IPv6 on the systems that write NULL and LOOP.
const ADDRESS_FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

/// Takes the link-layer header off: the VLAN tags, and bytes that begin with an IP header.
#[inline]
pub(super) fn link(link_type: LinkType, bytes: &[u8]) -> Result<(VlanTags, &[u8]), Unread> {
    match link_type {
        ETHERNET => ether_type(bytes, 12),
        LINUX_SLL => ether_type(bytes, 14),
        LINUX_SLL2 => {
            // The protocol comes first here and the payload after twenty bytes.
            let (header, payload) = bytes.split_at_checked(20).ok_or(Unread::Malformed)?;
            tags([header[0], header[1]], payload)
        }
        NULL | LOOP => {
            let (family, payload) = bytes.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
            // LOOP is in network order, NULL in that of the machine that captured: both are tried for both.
            let known = [u32::from_le_bytes(*family), u32::from_be_bytes(*family)];
            if known.iter().any(|family| ADDRESS_FAMILIES.contains(family)) {
                Ok((VlanTags::default(), payload))
            } else {
                Err(Unread::NotIp)
            }
        }
        _ if RAW_IP.contains(&link_type) => Ok((VlanTags::default(), bytes)),
        _ => Err(Unread::LinkType),
    }
}

#[inline]
fn ether_type(bytes: &[u8], at: usize) -> Result<(VlanTags, &[u8]), Unread> {
    let (ether_type, payload) = bytes
        .get(at..)
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(Unread::Malformed)?;
    tags(*ether_type, payload)
}

/// Goes over any number of tags; of more than two, the outer two are kept.
#[inline]
fn tags(mut ether_type: [u8; 2], mut payload: &[u8]) -> Result<(VlanTags, &[u8]), Unread> {
    let mut vlan = VlanTags::default();
    loop {
        match u16::from_be_bytes(ether_type) {
            0x0800 | 0x86dd => return Ok((vlan, payload)),
            // 802.1Q, 802.1ad, and what switches used for the outer tag before that.
            0x8100 | 0x88a8 | 0x9100 => {
                let (tag, rest) = payload.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
                if let Some(id) = vlan.ids.get_mut(usize::from(vlan.count)) {
                    *id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
                    vlan.count += 1;
                }
                ether_type = [tag[2], tag[3]];
                payload = rest;
            }
            _ => return Err(Unread::NotIp),
        }
    }
}
