//! From a frame to one TCP segment. The only room that knows etherparse.

use std::net::IpAddr;

use crate::capture::At;

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
