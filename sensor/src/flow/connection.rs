//! A connection, or a pair of UDP ends, that carries DCE/RPC or may, and the names that logs know it by.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::{Protocol, Sides};
use crate::capture::At;
use crate::decode::{Endpoint, Transport, Tunnel, VlanTags};

/// A name that the sensor makes: ASCII without quotes, backslashes, commas. It is copied into each event: to count who holds it,
/// on two threads, costs more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Zeek's way of naming a connection: `C` and sixteen letters and digits.
pub type Uid = Name<17>;

/// Community ID version 1: `1:` and a SHA-1 in Base64.
pub type CommunityId = Name<30>;

/// A connection that carries DCE/RPC, or SMB or HTTP in which it may be found; over UDP, two ends between which calls go
/// one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What it runs on.
    pub transport: Transport,
    /// Who opened it.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// Its VLAN tags when it was recognised.
    pub vlan: VlanTags,
    /// The tunnel it came in, then.
    pub tunnel: Option<Tunnel>,
    /// Its first frame.
    pub opened: At,
    /// Was its beginning seen? If not, it was picked up in mid-stream.
    pub syn_seen: bool,
    /// What it was recognised as.
    pub protocol: Protocol,
    /// Zeek's way of naming it. The same on every run over a capture.
    pub uid: Uid,
    /// Suricata's way: a number that JSON readers keep exactly.
    pub flow_id: u64,
    /// What every tool computes alike that has the same seed.
    pub community_id: CommunityId,
}

/// The number that a connection between these ends has which begins with that frame.
pub(crate) fn flow_id(client: Endpoint, server: Endpoint, opened: At) -> u64 {
    names(&digest(client, server, opened)).1
}

/// What its first packet was wrapped in.
pub(super) type Wrapped = (VlanTags, Option<Tunnel>);

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Connection {
    /// `seed` is Community ID's.
    pub(crate) fn new(
        ends: Sides<Endpoint>,
        wrapped: Wrapped,
        opened: At,
        syn_seen: bool,
        protocol: Protocol,
        seed: u16,
    ) -> Self {
        Self::over(Transport::Tcp, ends, wrapped, opened, (syn_seen, protocol, seed))
    }

    /// Over UDP, which has no beginning of its own: it begins with the first datagram seen.
    pub(crate) fn datagrams(ends: Sides<Endpoint>, wrapped: Wrapped, opened: At, seed: u16) -> Self {
        Self::over(Transport::Udp, ends, wrapped, opened, (true, Protocol::Rpc, seed))
    }

    fn over(
        transport: Transport,
        ends: Sides<Endpoint>,
        (vlan, tunnel): Wrapped,
        opened: At,
        (syn_seen, protocol, seed): (bool, Protocol, u16),
    ) -> Self {
        let Sides { client, server } = ends;
        let digest = digest(client, server, opened);
        let (uid, flow_id) = names(&digest);
        let community_id = community_id(transport, client, server, seed);
        Self {
            transport,
            client,
            server,
            vlan,
            tunnel,
            opened,
            syn_seen,
            protocol,
            uid,
            flow_id,
            community_id,
        }
    }
}

/// What the connection is known by here: its ends and its first frame.
fn digest(client: Endpoint, server: Endpoint, opened: At) -> [u8; 20] {
    let mut hash = Sha1::new();
    for end in [client, server] {
        write_address(&mut hash, end.address);
        hash.update(end.port.to_be_bytes());
    }
    hash.update(opened.time.0.to_be_bytes());
    hash.update(opened.frame.to_be_bytes());
    hash.update(opened.input.to_be_bytes());
    hash.finalize().into()
}

fn names(digest: &[u8; 20]) -> (Uid, u64) {
    let mut number = digest[..12]
        .iter()
        .fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    let mut uid = [b'C'; 17];
    for letter in &mut uid[1..] {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        *letter = LETTERS[digit];
        number /= 62;
    }
    let flow_id = digest[12..]
        .iter()
        .fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    // 2^51: what Suricata uses, and what a JavaScript reader keeps exactly.
    (Name(uid), flow_id >> 13)
}

/// Community ID version 1: the lesser end first.
fn community_id(transport: Transport, client: Endpoint, server: Endpoint, seed: u16) -> CommunityId {
    let (low, high) = if client <= server {
        (client, server)
    } else {
        (server, client)
    };
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    write_address(&mut hash, low.address);
    write_address(&mut hash, high.address);
    hash.update([transport.number(), 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let mut id = *b"1:----------------------------";
    // There is room for the 28 characters of 20 bytes.
    let _ = STANDARD.encode_slice(hash.finalize(), &mut id[2..]);
    Name(id)
}

fn write_address(hash: &mut Sha1, address: IpAddr) {
    match address {
        IpAddr::V4(address) => hash.update(address.octets()),
        IpAddr::V6(address) => hash.update(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: &str, port: u16) -> Endpoint {
        Endpoint {
            address: address.parse().unwrap(),
            port,
        }
    }

    /// Two ends, and the id by seed.
    type Published = (Transport, [(&'static str, u16); 2], [&'static str; 2]);

    /// The published baseline of those who defined it, for what the sensor follows.
    const BASELINE: [Published; 3] = [
        (
            Transport::Tcp,
            [
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63_943),
                ("2607:f8b0:400c:c03::1a", 25),
            ],
            ["1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=", "1:eJYTW6AOzFLlSUoESovMjnu7rMw="],
        ),
        (
            Transport::Tcp,
            [("128.232.110.120", 34_855), ("66.35.250.204", 80)],
            ["1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="],
        ),
        (
            Transport::Udp,
            [("192.168.1.52", 54_585), ("8.8.8.8", 53)],
            ["1:d/FP5EW3wiY1vCndhwleRRKHowQ=", "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="],
        ),
    ];

    #[test]
    fn community_id_is_what_was_published() {
        for (transport, ends, ids) in BASELINE {
            let [client, server] = ends.map(|(address, port)| end(address, port));
            for (seed, id) in (0..).zip(ids) {
                assert_eq!(community_id(transport, client, server, seed).to_string(), id);
                assert_eq!(community_id(transport, server, client, seed).to_string(), id);
            }
        }
    }

    #[test]
    fn community_id_is_what_suricata_computes() {
        // On a capture of DCOM.
        let id = community_id(Transport::Tcp, end("172.16.66.1", 51_661), end("172.16.66.36", 135), 0);
        assert_eq!(id.to_string(), "1:FHXPINmBEwkeI644WFsfnazS9B4=");
    }

    #[test]
    fn names_are_stable_and_differ_with_the_first_frame() {
        let ends = Sides {
            client: end("10.0.0.1", 1),
            server: end("10.0.0.2", 135),
        };
        let at = |frame| At { frame, ..At::default() };
        let name = |frame| Connection::new(ends, Wrapped::default(), at(frame), true, Protocol::Rpc, 0);
        assert_eq!((name(1).uid, name(1).flow_id), (name(1).uid, name(1).flow_id));
        assert_ne!(name(1).uid, name(2).uid);
        assert!(name(1).flow_id < 1 << 51);
    }
}
