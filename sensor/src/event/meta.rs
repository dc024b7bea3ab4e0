//! What every event has: when, where in the input, between whom.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::record::{EventType, Interval, Port, names, record};
use crate::decode::{Endpoint, Tunnel};
use crate::flow::{CommunityId, Uid};
use crate::time::Timestamp;

names! {
    /// What the connection runs on.
    pub enum Protocol {
        /// TCP.
        Tcp => "TCP",
        /// UDP.
        Udp => "UDP",
    }
}

record! {
    /// When and where an event was seen, and between whom. What has a request and a reply is stamped with the request.
    #[derive(Default)]
    pub struct Meta {
        /// Time of the frame that carries the (request's) last byte.
        timestamp: Timestamp => eve, zeek "ts";
        /// The connection, as a number: the same in every event of it.
        flow_id: Option<u64> => eve;
        /// The interface it was seen on, live.
        in_iface: Option<Arc<str>> => eve;
        /// Number of the frame that carries the (request's) last byte; from 1 in each file.
        frame: Option<u64> => eve "pcap_cnt";
        /// The file it was read from.
        pcap_filename: Option<Arc<str>> => eve;
        /// What the event is about: names the object that follows.
        event_type: EventType => eve;
        /// The connection, as Zeek names it: the same in every log.
        uid: Option<Uid> => zeek;
        /// VLAN tags, outermost first.
        vlan: Vec<u16> => eve;
        /// What the packets were wrapped in, as the first of the connection showed it.
        tunnel: Option<TunnelRecord> => group;
        /// Who opened the connection, or would have.
        client: Option<Endpoint> => group(Source);
        /// Who answers.
        server: Option<Endpoint> => group(Destination);
        /// What the connection runs on; unset only where the event is about no connection.
        proto: Option<Protocol> => eve;
        /// The connection, as other tools compute it: Community ID version 1.
        community_id: Option<CommunityId> => eve;
        /// Number of the frame that carries the reply's last byte.
        reply_frame: Option<u64> => eve "reply_pcap_cnt";
        /// From the request's last byte to the reply's: milliseconds here, seconds in Zeek's logs.
        rtt: Option<Interval> => eve "rtt_ms", zeek "rtt";
    }
}

/// Where in the input a message stands, for somebody who looks for it: the number of its frame; live, where those mean
/// nothing to anybody, its time as it stands in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `frame 12`.
    Frame(u64),
    /// `2020-07-18T23:10:02.061141+0000`.
    Time(Timestamp),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(number) => write!(f, "frame {number}"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl Meta {
    /// Where the (request's) last byte stands.
    pub fn place(&self) -> Place {
        self.frame.map_or(Place::Time(self.timestamp), Place::Frame)
    }
}

record! {
    /// The outermost tunnel around the packets: GRE, VXLAN, IP in IP and the like, but for tags and labels below IP.
    pub struct TunnelRecord in "tunnel" {
        /// Who sent the outer packets, in the direction of the first packet.
        source: IpAddr => eve "src_ip";
        /// The port they came from, where they carry UDP.
        source_port: Option<Port> => eve "src_port";
        /// Who got them.
        destination: IpAddr => eve "dest_ip";
        /// The port they went to.
        destination_port: Option<Port> => eve "dest_port";
        /// What they carry, in Suricata's words: `GRE`, `UDP`, `IP-ENCAP`.
        proto: Cow<'static, str> => eve;
        /// How many IP headers were taken off.
        depth: u8 => eve;
    }
}

impl From<Tunnel> for TunnelRecord {
    fn from(tunnel: Tunnel) -> Self {
        let port = |which: usize| tunnel.ports.map(|ports| Port(ports[which]));
        Self {
            source: tunnel.source,
            source_port: port(0),
            destination: tunnel.destination,
            destination_port: port(1),
            // The names that Suricata has for them.
            proto: match tunnel.protocol {
                4 => "IP-ENCAP".into(),
                17 => "UDP".into(),
                41 => "IPv6".into(),
                47 => "GRE".into(),
                97 => "ETHERIP".into(),
                other => format!("{other:03}").into(),
            },
            depth: tunnel.depth,
        }
    }
}

record! {
    /// The client's end of the connection.
    pub struct Source {
        /// The client's address.
        address: Option<IpAddr> => eve "src_ip", zeek "id.orig_h";
        /// The client's port.
        port: Option<Port> => eve "src_port", zeek "id.orig_p";
    }
}

record! {
    /// The server's end of the connection.
    pub struct Destination {
        /// The server's address.
        address: Option<IpAddr> => eve "dest_ip", zeek "id.resp_h";
        /// The server's port.
        port: Option<Port> => eve "dest_port", zeek "id.resp_p";
    }
}

impl From<&Option<Endpoint>> for Source {
    fn from(end: &Option<Endpoint>) -> Self {
        Self {
            address: end.map(|end| end.address),
            port: end.map(|end| Port(end.port)),
        }
    }
}

impl From<&Option<Endpoint>> for Destination {
    fn from(end: &Option<Endpoint>) -> Self {
        Self {
            address: end.map(|end| end.address),
            port: end.map(|end| Port(end.port)),
        }
    }
}
