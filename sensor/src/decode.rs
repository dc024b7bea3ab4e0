//! From a frame to one TCP segment. The only room that knows etherparse.

use std::net::IpAddr;

use etherparse::{IpNumber, LaxIpSlice, TcpSlice};

use crate::capture::{At, Frame, LinkType};

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address; an IPv4 address is never dressed as IPv6.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
}

/// The VLAN tags of a frame, outermost first (802.1Q, 802.1ad).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanTags {
    /// VLAN identifiers, 0 to 4095 each.
    pub ids: [u16; 2],
    /// How many of them are there: 0 to 2.
    pub count: u8,
}

/// One TCP segment out of any encapsulation.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its frame.
    pub at: At,
    /// Its VLAN tags.
    pub vlan: VlanTags,
    /// Who sent it.
    pub source: Endpoint,
    /// Who is to get it.
    pub destination: Endpoint,
    /// Sequence number of the first payload byte (of the SYN itself when that is set).
    pub sequence: u32,
    /// Next byte expected from the other side, when the ACK flag is set.
    pub acknowledgement: Option<u32>,
    /// SYN flag.
    pub syn: bool,
    /// FIN flag.
    pub fin: bool,
    /// RST flag.
    pub rst: bool,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that the snap length cut off after `payload`.
    pub cut: u32,
}

/// What became of the frames. Each frame is counted in exactly one of `segments`, `unknown_link_type`, `not_ip`,
/// `fragments`, `not_tcp` and `malformed`; the rest says what was odd about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// Frames pushed.
    pub frames: u64,
    /// Captured bytes in them.
    pub bytes: u64,
    /// TCP segments handed on.
    pub segments: u64,
    /// Frames of a link type that is not read here.
    pub unknown_link_type: u64,
    /// Frames that carry something else than IP: ARP, LLDP, spanning tree.
    pub not_ip: u64,
    /// IP fragments, first ones included.
    pub fragments: u64,
    /// IP packets that carry something else than TCP.
    pub not_tcp: u64,
    /// Frames whose headers contradict themselves or end before they are complete.
    pub malformed: u64,
    /// Packets whose IP length is zero (segmentation offload) or less than the header: the captured length was taken.
    pub zero_total_length: u64,
    /// IPv4 headers with a wrong checksum, as offload leaves them.
    pub bad_ipv4_checksum: u64,
    /// TCP segments with a wrong checksum, among those captured whole.
    pub bad_tcp_checksum: u64,
    /// IP packets that are longer than what was captured of them.
    pub cut_by_snap_length: u64,
}

/// Takes the frames of any link apart, down to TCP.
#[derive(Debug, Default)]
pub struct Decoder {
    counters: DecodeCounters,
}

/// Why a frame gave no segment.
#[derive(Clone, Copy, Debug)]
enum Unread {
    LinkType,
    NotIp,
    Fragment,
    NotTcp,
    Malformed,
}

impl Decoder {
    /// The TCP segment in a frame. `None` when there is none or it cannot be read: the counters say which.
    #[inline]
    pub fn push<'a>(&mut self, frame: &Frame<'a>) -> Option<Segment<'a>> {
        self.counters.frames += 1;
        self.counters.bytes += frame.bytes.len() as u64;
        let unread = match self.segment(frame) {
            Ok(segment) => {
                self.counters.segments += 1;
                return Some(segment);
            }
            Err(unread) => unread,
        };
        let counter = match unread {
            Unread::LinkType => &mut self.counters.unknown_link_type,
            Unread::NotIp => &mut self.counters.not_ip,
            Unread::Fragment => &mut self.counters.fragments,
            Unread::NotTcp => &mut self.counters.not_tcp,
            Unread::Malformed => &mut self.counters.malformed,
        };
        *counter += 1;
        None
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    #[inline]
    fn segment<'a>(&mut self, frame: &Frame<'a>) -> Result<Segment<'a>, Unread> {
        let (vlan, bytes) = link(frame.link_type, frame.bytes)?;
        let missing = (frame.original_length as usize).saturating_sub(frame.bytes.len());
        let packet = self.packet(bytes, missing)?;
        let tcp = TcpSlice::from_slice(packet.payload).map_err(|_| Unread::Malformed)?;
        if packet.cut == 0 && !packet.tcp_checksum_is_right() {
            self.counters.bad_tcp_checksum += 1;
        }
        Ok(Segment {
            at: frame.at,
            vlan,
            source: Endpoint {
                address: packet.source,
                port: tcp.source_port(),
            },
            destination: Endpoint {
                address: packet.destination,
                port: tcp.destination_port(),
            },
            sequence: tcp.sequence_number(),
            acknowledgement: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
            cut: u32::try_from(packet.cut).unwrap_or(u32::MAX),
        })
    }

    /// Reads the IP header and its extensions. `missing` is what the snap length took from the frame's end.
    #[inline]
    fn packet<'a>(&mut self, bytes: &'a [u8], missing: usize) -> Result<Packet<'a>, Unread> {
        let (ip, stopped) = LaxIpSlice::from_slice(bytes).map_err(|_| Unread::Malformed)?;
        let payload = ip.payload();
        let (source, destination, claimed) = match &ip {
            LaxIpSlice::Ipv4(ipv4) => {
                let header = ipv4.header();
                if fold(sum(header.slice())) != 0xffff {
                    self.counters.bad_ipv4_checksum += 1;
                }
                let total = usize::from(header.total_len());
                let claimed = (total >= header.slice().len()).then_some(total);
                (
                    IpAddr::V4(header.source_addr()),
                    IpAddr::V4(header.destination_addr()),
                    claimed,
                )
            }
            LaxIpSlice::Ipv6(ipv6) => {
                let header = ipv6.header();
                let claimed = match usize::from(header.payload_length()) {
                    0 => None,
                    length => Some(header.slice().len() + length),
                };
                (
                    IpAddr::V6(header.source_addr()),
                    IpAddr::V6(header.destination_addr()),
                    claimed,
                )
            }
        };
        if claimed.is_none() {
            self.counters.zero_total_length += 1;
        }
        let cut = claimed.map_or(missing, |claimed| claimed.saturating_sub(bytes.len()));
        if cut > 0 {
            self.counters.cut_by_snap_length += 1;
        }
        if payload.fragmented {
            // Here the fragments of a packet are to be joined; until then none of them is read, as the first alone
            // would leave a hole in its stream that nothing fills.
            return Err(Unread::Fragment);
        }
        if stopped.is_some() {
            return Err(Unread::Malformed);
        }
        // Tunnels (IP in IP, GRE, VXLAN) are to be unwrapped here, before anything else than TCP is let go.
        if payload.ip_number != IpNumber::TCP {
            return Err(Unread::NotTcp);
        }
        Ok(Packet {
            source,
            destination,
            payload: payload.payload,
            cut,
        })
    }
}

/// The TCP part of an IP packet.
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    payload: &'a [u8],
    /// How much of the payload was not captured.
    cut: usize,
}

impl Packet<'_> {
    /// RFC 9293 3.1 Header Format: the sum over a pseudo header and the segment.
    #[inline]
    fn tcp_checksum_is_right(&self) -> bool {
        let addresses = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => sum(&source.octets()) + sum(&destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => sum(&source.octets()) + sum(&destination.octets()),
            _ => return true,
        };
        // The length is a 32-bit number in network order; its halves are summed like any other two bytes.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let pseudo = addresses + sum(&length.to_be_bytes()) + sum(&[0, IpNumber::TCP.0]);
        fold(pseudo + sum(self.payload)) == 0xffff
    }
}

/// RFC 1071 2(B) Byte Order Independence: the words are summed as this machine sees them, two at a time.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_ne_bytes(last))
}

/// The carries of a sum brought back into 16 bits; all ones over bytes that hold a right checksum.
#[inline]
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum
}

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
fn link(link_type: LinkType, bytes: &[u8]) -> Result<(VlanTags, &[u8]), Unread> {
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
