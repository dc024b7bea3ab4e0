//! From a frame to one TCP segment or UDP datagram, out of whatever it is wrapped in. The only room that knows etherparse.
//!
//! ```text
//!  link.rs        link types, tags, labels: down to an IP header
//!  ip.rs          the header and its extensions
//!  fragments.rs   packets put together again
//!  snap.rs        frames that were cut, and nobody said so
//!  transport.rs   TCP and UDP, what is carried in the end
//!  tunnel.rs      what carries another packet: then it begins anew
//! ```

mod carrier;
mod fragments;
mod ip;
mod layers;
mod link;
mod snap;
mod transport;
mod tunnel;

pub(crate) use link::is_read;
pub(crate) use snap::SnapLengths;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, TcpSlice};

pub use carrier::{Carrier, Carriers, Tunnel};
pub use fragments::{FragmentCounters, Overlap};
pub use transport::{Marks, Sum};

use crate::capture::{At, Frame};
use crate::limits::Limits;
use carrier::Taken;
use fragments::Fragments;
use ip::Packet;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address; an IPv4 address is never dressed as IPv6.
    pub address: IpAddr,
    /// Its TCP or UDP port.
    pub port: u16,
}

/// `192.0.2.1:135`, `[2001:db8::1]:135`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// The VLAN tags of a frame, outermost first (802.1Q, 802.1ad); those inside a tunnel follow.
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
    /// The tunnel it came in.
    pub tunnel: Option<&'a Tunnel>,
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
    /// All flags, as they stand in the header: RFC 9293 3.1 Header Format, Control bits.
    pub flags: u8,
    /// Captured bytes of its packet: with all headers up to its link layer, or to the innermost tunnel's payload.
    pub length: u32,
    /// What tells it from another one with the same bytes.
    pub marks: Marks,
    /// Header and payload as far as they were captured.
    pub whole: &'a [u8],
    /// The payload as far as it was captured: what `whole` ends with.
    pub payload: &'a [u8],
    /// Payload bytes that the snap length cut off after `payload`.
    pub cut: u32,
}

/// One UDP datagram out of any encapsulation.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its frame.
    pub at: At,
    /// Its VLAN tags.
    pub vlan: VlanTags,
    /// The tunnel it came in.
    pub tunnel: Option<&'a Tunnel>,
    /// Who sent it.
    pub source: Endpoint,
    /// Who is to get it.
    pub destination: Endpoint,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that the snap length cut off after `payload`.
    pub cut: u32,
    /// Captured bytes of its packet: with all headers up to its link layer, or to the innermost tunnel's payload.
    pub length: u32,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A TCP segment.
    Segment(Segment<'a>),
    /// A UDP datagram.
    Datagram(Datagram<'a>),
}

/// The ends of a frame that holds one whole TCP segment in IP and nothing around it: enough to know who will look at it.
/// All others have to be decoded first.
#[inline]
pub(crate) fn plain_tcp(frame: &Frame<'_>) -> Option<(Endpoint, Endpoint)> {
    let bytes = link::plain(frame.link_type, frame.bytes)?;
    match bytes.first()? >> 4 {
        4 => {
            let header = bytes.first_chunk::<20>()?;
            // Neither "more fragments" nor an offset; "don't fragment" does not matter.
            let whole = matches!([header[6], header[7]], [0x00 | 0x40 | 0x80 | 0xc0, 0]);
            let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let tcp = bytes.get(usize::from(header[0] & 15) * 4..).unwrap_or_default();
            (whole && header[9] == IpNumber::TCP.0).then(|| ends(address(12), address(16), tcp))
        }
        6 => {
            let header = bytes.first_chunk::<40>()?;
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&header[at..at + 16]);
                IpAddr::from(octets)
            };
            (header[6] == IpNumber::TCP.0).then(|| ends(address(8), address(24), &bytes[40..]))
        }
        _ => None,
    }
}

/// Port 0 where the ports are not there: that is a malformed segment, whoever looks at it.
#[inline]
fn ends(source: IpAddr, destination: IpAddr, tcp: &[u8]) -> (Endpoint, Endpoint) {
    let ports = tcp.first_chunk().map_or([0; 2], |&[a, b, c, d]| {
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    });
    let end = |address, port| Endpoint { address, port };
    (end(source, ports[0]), end(destination, ports[1]))
}

impl<'a> Decoded<'a> {
    /// The frame that brought it.
    pub(crate) fn at(&self) -> At {
        match self {
            Self::Segment(segment) => segment.at,
            Self::Datagram(datagram) => datagram.at,
        }
    }

    /// Source and destination.
    #[inline]
    pub(crate) fn ends(&self) -> (Endpoint, Endpoint) {
        match self {
            Self::Segment(segment) => (segment.source, segment.destination),
            Self::Datagram(datagram) => (datagram.source, datagram.destination),
        }
    }

    /// What it carries, as far as it was captured.
    pub(crate) fn payload(&self) -> &'a [u8] {
        match self {
            Self::Segment(segment) => segment.payload,
            Self::Datagram(datagram) => datagram.payload,
        }
    }

    /// The tunnel that it came in.
    pub(crate) fn tunnel(&self) -> Option<&'a Tunnel> {
        match self {
            Self::Segment(segment) => segment.tunnel,
            Self::Datagram(datagram) => datagram.tunnel,
        }
    }

    /// All that stands for it: of a segment the header too.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Segment(segment) => segment.whole,
            Self::Datagram(datagram) => datagram.payload,
        }
    }

    /// The same with bytes and a tunnel that stand elsewhere. Before the payload the bytes have a header so long.
    pub(crate) fn with<'b>(&self, bytes: &'b [u8], header: usize, tunnel: Option<&'b Tunnel>) -> Decoded<'b> {
        let payload = bytes.get(header..).unwrap_or_default();
        match *self {
            Self::Segment(segment) => Decoded::Segment(Segment {
                tunnel,
                whole: bytes,
                payload,
                ..segment
            }),
            Self::Datagram(datagram) => Decoded::Datagram(Datagram {
                tunnel,
                payload,
                ..datagram
            }),
        }
    }
}

/// What carries the bytes of RPC peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its number in an IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => IpNumber::TCP.0,
            Self::Udp => IpNumber::UDP.0,
        }
    }
}

/// What became of the frames. Each frame is counted in exactly one of `segments`, `datagrams`, `unknown_link_type`,
/// `not_ip`, `waiting`, `not_tcp_or_udp`, `encrypted`, `too_deep` and `malformed`; the rest says what was odd about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// Frames pushed.
    pub frames: u64,
    /// Captured bytes in them.
    pub bytes: u64,
    /// TCP segments handed on.
    pub segments: u64,
    /// UDP datagrams handed on.
    pub datagrams: u64,
    /// Frames of a link type that is not read here.
    pub unknown_link_type: u64,
    /// Frames that carry something else than IP: ARP, LLDP, spanning tree.
    pub not_ip: u64,
    /// IP fragments that did not complete their packet.
    pub waiting: u64,
    /// IP packets that carry neither TCP nor UDP, nor a tunnel that is read.
    pub not_tcp_or_udp: u64,
    /// Frames that are encrypted below TCP: ESP, `MACsec`, protected 802.11.
    pub encrypted: u64,
    /// Frames wrapped more often than `Limits::encapsulations`.
    pub too_deep: u64,
    /// Frames whose headers contradict themselves, end before they are complete, or say more than the frame had.
    pub malformed: u64,
    /// Packets whose IP length is zero (segmentation offload): the captured length was taken.
    pub zero_total_length: u64,
    /// IPv4 headers with a wrong checksum, as offload leaves them.
    pub bad_ipv4_checksum: u64,
    /// UDP datagrams with a wrong checksum, among those captured whole. None at all is right over IPv4.
    pub bad_udp_checksum: u64,
    /// IP packets that are longer than what was captured of them.
    pub cut_by_snap_length: u64,
    /// What was taken off.
    pub carriers: Carriers,
}

/// Takes the frames of any link apart, down to TCP and UDP.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    counters: DecodeCounters,
    fragments: Fragments,
    /// Packets joined from fragments, one for each time that happens within one frame: a tunnel's and those in it.
    joined: [Vec<u8>; JOINED],
    /// The tunnel that the packet at hand came in.
    tunnel: Tunnel,
}

/// So often may fragments within a packet joined from fragments be joined.
const JOINED: usize = 4;

/// Why a frame gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    LinkType,
    NotIp,
    Fragment,
    NotTcpOrUdp,
    Encrypted,
    TooDeep,
    Malformed,
}

impl Decoder {
    /// A decoder with these caps.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The TCP segment or UDP datagram in a frame, or in the packet whose last missing fragment it carries. `None` when
    /// there is none or it cannot be read: the counters say which.
    #[inline]
    pub fn push<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Decoded<'a>> {
        let Self {
            limits,
            counters,
            fragments,
            joined,
            tunnel,
        } = self;
        counters.frames += 1;
        counters.bytes += frame.bytes.len() as u64;
        // A segment is put together here, where it is handed on: on its way up it would be copied at each step.
        match carried(limits, counters, fragments, joined, tunnel, frame) {
            Ok(Carried::Tcp(packet, wrapped, whole)) => {
                if let Ok(tcp) = TcpSlice::from_slice(packet.payload) {
                    counters.segments += 1;
                    return Some(Decoded::Segment(transport::segment(
                        frame.at, wrapped, &packet, &tcp, whole,
                    )));
                }
                counters.lost(Unread::Malformed);
            }
            Ok(Carried::Udp(datagram)) => {
                counters.datagrams += 1;
                return Some(Decoded::Datagram(datagram));
            }
            Err(unread) => counters.lost(unread),
        }
        None
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    /// How many IP fragments were put to a packet so far.
    pub(crate) fn fragments_put(&self) -> u64 {
        self.fragments.put()
    }

    /// The packets that were given fragments since so many were, outermost first, each by a number of its own.
    pub(crate) fn packets_since(&self, before: u64) -> impl Iterator<Item = u64> {
        self.fragments.put_since(before)
    }

    /// What became of the fragments so far.
    pub fn fragment_counters(&self) -> FragmentCounters {
        self.fragments.counters()
    }
}

impl DecodeCounters {
    #[cold]
    fn lost(&mut self, unread: Unread) {
        let counter = match unread {
            Unread::LinkType => &mut self.unknown_link_type,
            Unread::NotIp => &mut self.not_ip,
            Unread::Fragment => &mut self.waiting,
            Unread::NotTcpOrUdp => &mut self.not_tcp_or_udp,
            Unread::Encrypted => &mut self.encrypted,
            Unread::TooDeep => &mut self.too_deep,
            Unread::Malformed => &mut self.malformed,
        };
        *counter += 1;
    }
}

/// What the innermost packet carries.
enum Carried<'a> {
    /// A TCP segment, what was around the packet, its length and how its fragments fit.
    Tcp(Packet<'a>, (VlanTags, Option<&'a Tunnel>), (usize, Overlap)),
    Udp(Datagram<'a>),
}

/// Goes down from packet to packet until one carries TCP, or UDP and no tunnel in it.
#[expect(
    clippy::inline_always,
    reason = "each packet comes through here, and is not to be copied about"
)]
#[inline(always)]
fn carried<'a>(
    limits: &Limits,
    counters: &mut DecodeCounters,
    fragments: &mut Fragments,
    mut joined: &'a mut [Vec<u8>],
    tunnel: &'a mut Tunnel,
    frame: &Frame<'a>,
) -> Result<Carried<'a>, Unread> {
    let mut taken = Taken::new(limits);
    let mut overlap = Overlap::None;
    // With what of headers stands before `bytes`.
    let mut length = frame.bytes.len();
    let mut missing = (frame.original_length as usize).saturating_sub(frame.bytes.len());
    let mut bytes = link::frame(frame.link_type, frame.bytes, &mut taken, counters)?;
    loop {
        let packet = match ip::packet(bytes, missing, counters) {
            Ok(packet) => packet,
            Err(Unread::Fragment) => {
                let fragment = ip::fragment(bytes).ok_or(Unread::Malformed)?;
                let (whole, rest) = std::mem::take(&mut joined).split_first_mut().ok_or(Unread::TooDeep)?;
                overlap = overlap.max(fragments.push(&fragment, frame.at.steady(), limits, whole)?);
                length = length - bytes.len() + whole.len();
                (bytes, missing, joined) = (whole, 0, rest);
                continue;
            }
            Err(unread) => return Err(unread),
        };
        let (content, inner) = match packet.number {
            IpNumber::TCP => {
                let wrapped = (taken.vlan, taken.told(tunnel));
                return Ok(Carried::Tcp(packet, wrapped, (length, overlap)));
            }
            IpNumber::UDP => {
                let datagram = transport::datagram(frame.at, taken.vlan, &packet, length, counters)?;
                let Some(inner) = tunnel::over_udp(&datagram, &mut taken, counters)? else {
                    return Ok(Carried::Udp(Datagram {
                        tunnel: taken.told(tunnel),
                        ..datagram
                    }));
                };
                taken.came_through(&packet, Some([datagram.source.port, datagram.destination.port]));
                inner
            }
            _ => {
                let inner = tunnel::over_ip(&packet, &mut taken, counters)?;
                taken.came_through(&packet, None);
                inner
            }
        };
        missing = packet.cut;
        if std::mem::take(&mut taken.shortened) {
            missing = missing.max(usize::from(u16::MAX));
        }
        length = inner.len();
        bytes = layers::down(content, inner, &mut taken, counters)?;
    }
}

#[cfg(test)]
mod tests;
