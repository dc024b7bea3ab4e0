//! Packets as values, so that they can be bent.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, NetSlice, SlicedPacket, TcpHeader, TransportSlice};

use crate::traffic::{Conversation, Journey};

#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) ends: [[u8; 4]; 2],
    pub(super) tcp: TcpHeader,
    pub(super) payload: Vec<u8>,
    pub(super) id: u16,
    pub(super) hops: u8,
    pub(super) wrong_checksum: bool,
    /// By so many bytes its IP length is more than there are.
    pub(super) longer: u16,
    pub(super) wrong_header_checksum: bool,
    /// Milliseconds of silence before it.
    pub(super) pause_ms: i64,
    /// How its IP payload is cut: from, to, and whether it is a forgery's. None is not at all.
    pub(super) fragments: Vec<Fragment>,
}

/// A part of a packet; what differs is the other packet's.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) of: Option<Box<Packet>>,
}

impl Packet {
    fn parse(bytes: &[u8], id: u16) -> Self {
        let sliced = SlicedPacket::from_ip(bytes).expect("a packet of ours");
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (&sliced.net, &sliced.transport) else {
            panic!("these samples are TCP over IPv4");
        };
        Self {
            ends: [ip.header().source(), ip.header().destination()],
            tcp: tcp.to_header(),
            payload: tcp.payload().to_vec(),
            id,
            hops: 64,
            wrong_checksum: false,
            longer: 0,
            wrong_header_checksum: false,
            pause_ms: 0,
            fragments: Vec::new(),
        }
    }

    /// What stands in the IP packet.
    fn segment(&self) -> Vec<u8> {
        let mut tcp = self.tcp.clone();
        let sum = tcp.calc_checksum_ipv4_raw(self.ends[0], self.ends[1], &self.payload);
        tcp.checksum = sum.expect("packets are short") ^ if self.wrong_checksum { 0x5a5a } else { 0 };
        [&tcp.to_bytes()[..], &self.payload].concat()
    }

    fn ip(&self, payload: &[u8], offset: usize, more: bool) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("packets are short");
        let mut ip = Ipv4Header::new(length, self.hops, IpNumber::TCP, self.ends[0], self.ends[1]).expect("short");
        ip.identification = self.id;
        ip.more_fragments = more;
        ip.fragment_offset = IpFragOffset::try_new(u16::try_from(offset / 8).expect("short")).expect("short");
        ip.total_len += self.longer;
        ip.header_checksum = ip.calc_header_checksum() ^ if self.wrong_header_checksum { 0x5a5a } else { 0 };
        [&ip.to_bytes()[..], payload].concat()
    }

    /// As it goes over the wire.
    pub(super) fn write(&self) -> Vec<Vec<u8>> {
        let segment = self.segment();
        if self.fragments.is_empty() {
            return vec![self.ip(&segment, 0, false)];
        }
        let part = |fragment: &Fragment| {
            let other = fragment.of.as_ref().map(|other| other.segment());
            let bytes = &other.as_ref().unwrap_or(&segment)[fragment.from..fragment.to];
            self.ip(bytes, fragment.from, fragment.to < segment.len())
        };
        self.fragments.iter().map(part).collect()
    }

    /// Its length behind the IP header.
    pub(super) fn length(&self) -> usize {
        self.segment().len()
    }

    /// The same in two segments.
    pub(super) fn halves(&self, at: usize) -> (Self, Self) {
        (self.part(0, at), self.part(at, self.payload.len()))
    }

    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let mut part = self.clone();
        part.payload = self.payload[from..to].to_vec();
        part.tcp.sequence_number = self
            .tcp
            .sequence_number
            .wrapping_add(u32::try_from(from).expect("short"));
        part.id = self.id.wrapping_add(u16::try_from(from).expect("short")) | 0x8000;
        part
    }

    /// The same segment with another class in it: a forgery, or what a forgery hides.
    pub(super) fn forged(&self) -> Self {
        let mut forged = self.clone();
        forged.id ^= 0x4000;
        let class = MMC20;
        let found: Vec<_> = (0..self.payload.len())
            .filter(|&at| self.payload[at..].starts_with(&class))
            .collect();
        assert!(!found.is_empty(), "no class to forge");
        for at in found {
            forged.payload[at..at + 16].copy_from_slice(&[0x5a; 16]);
        }
        forged
    }
}

/// MMC20.Application as it is sent.
pub(super) const MMC20: [u8; 16] = *b"\x1a\x79\xb2\x49\xae\xb1\x90\x4c\x9b\x8e\xe8\x60\xba\x07\xf8\x89";

/// The packets of a conversation, cut as a network cuts them.
pub(super) fn of(conversation: &Conversation) -> Vec<Packet> {
    let packets = conversation.travel(&Journey::smooth(1_460));
    (1..)
        .zip(&packets)
        .map(|(id, bytes)| Packet::parse(bytes, id))
        .collect()
}

/// The sample that all of it is about.
pub(super) fn sample() -> Conversation {
    Conversation::of("mmc20-connect.pcap")
}

/// Its packets, with nothing done to them.
pub(super) fn plain() -> Vec<Packet> {
    of(&sample())
}

/// The packet that carries the activation.
pub(super) fn activation(packets: &[Packet]) -> usize {
    let carries = |packet: &Packet| packet.payload.windows(16).any(|bytes| bytes == MMC20);
    packets.iter().position(carries).expect("an activation")
}
