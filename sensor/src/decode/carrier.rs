//! What a packet was wrapped in: counted by kind, and told of the outermost tunnel.

use std::net::IpAddr;

use super::ip::Packet;
use super::{DecodeCounters, Unread, VlanTags};
use crate::limits::Limits;

macro_rules! carriers {
    ($($(#[doc = $doc:literal])+ $name:ident => $counter:literal,)+) => {
        /// What was taken off a packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Carrier {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Carrier {
            /// Every kind, with the name of its counter: Suricata's where it has one.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $counter),)+];
        }
    };
}

carriers! {
    /// One VLAN tag.
    Vlan => "decoder.vlan",
    /// Two VLAN tags or more.
    Qinq => "decoder.vlan_qinq",
    /// A stack of MPLS labels: RFC 3032.
    Mpls => "decoder.mpls",
    /// PPP over Ethernet: RFC 2516.
    Pppoe => "decoder.pppoe",
    /// GRE: RFC 2784, 2890, 2637, 7637.
    Gre => "decoder.gre",
    /// ERSPAN of types I to III.
    Erspan => "decoder.erspan",
    /// VXLAN: RFC 7348, and its Generic Protocol Extension.
    Vxlan => "decoder.vxlan",
    /// GENEVE: RFC 8926.
    Geneve => "decoder.geneve",
    /// Teredo: RFC 4380.
    Teredo => "decoder.teredo",
    /// IPv4 in IPv4: RFC 2003.
    Ipv4InIpv4 => "dcom.decode.ipv4_in_ipv4",
    /// IPv6 in IPv4: RFC 4213.
    Ipv6InIpv4 => "dcom.decode.ipv6_in_ipv4",
    /// IPv4 in IPv6: RFC 2473.
    Ipv4InIpv6 => "decoder.ipv4_in_ipv6",
    /// IPv6 in IPv6: RFC 2473.
    Ipv6InIpv6 => "decoder.ipv6_in_ipv6",
    /// Ethernet in IP: RFC 3378.
    EtherIp => "dcom.decode.etherip",
    /// GTP-U: 3GPP TS 29.281.
    Gtp => "dcom.decode.gtp",
    /// L2TP version 2: RFC 2661.
    L2tp => "dcom.decode.l2tp",
    /// Network Service Header: RFC 8300.
    Nsh => "dcom.decode.nsh",
}

/// How many of each kind were taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriers([u64; Carrier::ALL.len()]);

impl Carriers {
    /// How many there were of a kind.
    pub fn count(&self, carrier: Carrier) -> u64 {
        self.0[carrier as usize]
    }

    pub(super) fn add(&mut self, carrier: Carrier) {
        self.0[carrier as usize] += 1;
    }
}

/// The outermost IP header around a packet, in Suricata's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Who sent it.
    pub source: IpAddr,
    /// Who is to get it.
    pub destination: IpAddr,
    /// Their ports, where it carries UDP.
    pub ports: Option<[u16; 2]>,
    /// What it carries: a number of IP's.
    pub protocol: u8,
    /// How many IP headers stood before the packet's own.
    pub depth: u8,
}

impl Default for Tunnel {
    fn default() -> Self {
        let nowhere = IpAddr::from([0; 4]);
        Self {
            source: nowhere,
            destination: nowhere,
            ports: None,
            protocol: 0,
            depth: 0,
        }
    }
}

/// What was taken off the frame at hand so far.
pub(super) struct Taken {
    pub(super) vlan: VlanTags,
    tunnel: Option<Tunnel>,
    levels: usize,
    limit: usize,
    /// Does the tunnel just taken off say that it cut what it carries?
    pub(super) shortened: bool,
}

impl Taken {
    #[inline]
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            vlan: VlanTags::default(),
            tunnel: None,
            levels: 0,
            limit: limits.encapsulations,
            shortened: false,
        }
    }

    /// Takes one more off, unless that is one too many.
    pub(super) fn off(&mut self, carrier: Carrier, counters: &mut DecodeCounters) -> Result<(), Unread> {
        if self.levels == self.limit {
            return Err(Unread::TooDeep);
        }
        self.levels += 1;
        counters.carriers.add(carrier);
        Ok(())
    }

    /// What comes next stood in this packet.
    pub(super) fn came_through(&mut self, packet: &Packet<'_>, ports: Option<[u16; 2]>) {
        let (source, destination) = packet.addresses.both();
        let tunnel = self.tunnel.get_or_insert(Tunnel {
            source,
            destination,
            ports,
            protocol: packet.number.0,
            depth: 0,
        });
        tunnel.depth = tunnel.depth.saturating_add(1);
    }

    /// The tunnel, kept where the packet at hand can refer to it.
    #[inline]
    pub(super) fn told<'a>(&self, kept: &'a mut Tunnel) -> Option<&'a Tunnel> {
        *kept = self.tunnel?;
        Some(kept)
    }
}
