//! What a connection carries, told by the first bytes of a segment.

use dcom_parsers::rpce;
use dcom_parsers::smb::{Block, Format, Start};

use super::Side;

/// What carries DCE/RPC, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing but DCE/RPC: `ncacn_ip_tcp`.
    Rpc,
    /// SMB, in whose named pipes there may be DCE/RPC: `ncacn_np`.
    Smb,
    /// RPC over HTTP, [MS-RPCH]: `ncacn_http`.
    Http,
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// One of the protocols, and who sent them, where they tell.
    Known(Protocol, Option<Side>),
    /// They may become one.
    TooShort,
    /// None of them.
    Foreign,
}

/// So many bytes are always enough.
pub(super) const ENOUGH: usize = 24;

/// [MS-RPCH] 2.1.1 RPC over HTTP v1 Transport: what the server says first.
pub(crate) const BANNER: &[u8; 14] = b"ncacn_http/1.0";
/// The methods of RPC over HTTP: [MS-RPCH] 2.1.2.1 Requests and, for version 1, the tunnel through a proxy.
const METHODS: [&[u8]; 3] = [b"RPC_IN_DATA ", b"RPC_OUT_DATA ", b"RPC_CONNECT "];

/// Is this the start of something that carries DCE/RPC?
pub(super) fn recognise(bytes: &[u8]) -> Prefix {
    match bytes.first() {
        None => Prefix::TooShort,
        Some(5) => rpc(bytes),
        Some(0) => smb(bytes),
        Some(b'n') => text(bytes, BANNER, Side::Server),
        Some(b'R') => METHODS
            .iter()
            .map(|method| text(bytes, method, Side::Client))
            .find(|prefix| *prefix != Prefix::Foreign)
            .unwrap_or(Prefix::Foreign),
        Some(_) => Prefix::Foreign,
    }
}

fn rpc(bytes: &[u8]) -> Prefix {
    match rpce::recognise(bytes) {
        rpce::Prefix::Header(header) => {
            let sender = header
                .ptype
                .sent_by_client()
                .map(|client| if client { Side::Client } else { Side::Server });
            Prefix::Known(Protocol::Rpc, sender)
        }
        rpce::Prefix::TooShort => Prefix::TooShort,
        rpce::Prefix::Foreign => Prefix::Foreign,
    }
}

fn smb(bytes: &[u8]) -> Prefix {
    match dcom_parsers::smb::recognise(bytes) {
        Start::Block(block) if block.length > 0 && bytes.len() >= ENOUGH => {
            let message = &bytes[Block::LENGTH..];
            // The flags: [MS-SMB2] 2.2.1 SMB2 Packet Header, [MS-CIFS] 2.2.3.1 The SMB Header.
            let from_server = match Format::of(message) {
                Some(Format::Smb2) => Some(message[16] & 0x01 != 0),
                Some(Format::Smb1) => Some(message[9] & 0x80 != 0),
                _ => None,
            };
            let sender = from_server.map(|server| if server { Side::Server } else { Side::Client });
            Prefix::Known(Protocol::Smb, sender)
        }
        Start::Block(block) if block.length == 0 => Prefix::Foreign,
        Start::Block(_) | Start::TooShort => Prefix::TooShort,
        Start::Foreign => Prefix::Foreign,
    }
}

fn text(bytes: &[u8], wanted: &[u8], sender: Side) -> Prefix {
    if bytes.starts_with(wanted) {
        Prefix::Known(Protocol::Http, Some(sender))
    } else if wanted.starts_with(bytes) {
        Prefix::TooShort
    } else {
        Prefix::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smb2(flags: u8) -> Vec<u8> {
        let mut bytes = b"\0\0\0\x44\xfeSMB\x40\0".to_vec();
        bytes.resize(20, 0);
        bytes.push(flags);
        bytes.resize(72, 0);
        bytes
    }

    #[test]
    fn smb_is_recognised_with_its_flags_and_tells_who_sent_it() {
        assert_eq!(recognise(&smb2(0)), Prefix::Known(Protocol::Smb, Some(Side::Client)));
        assert_eq!(recognise(&smb2(9)), Prefix::Known(Protocol::Smb, Some(Side::Server)));
        for length in 0..ENOUGH {
            assert_eq!(recognise(&smb2(0)[..length]), Prefix::TooShort, "{length} bytes");
        }
        let encrypted = [&b"\0\0\0\x44\xfdSMB"[..], &[0; 64]].concat();
        assert_eq!(recognise(&encrypted), Prefix::Known(Protocol::Smb, None));
    }

    #[test]
    fn rpc_over_http_is_recognised_by_its_banner_and_its_methods() {
        let known = |side| Prefix::Known(Protocol::Http, Some(side));
        assert_eq!(recognise(BANNER), known(Side::Server));
        assert_eq!(
            recognise(b"RPC_IN_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\n"),
            known(Side::Client)
        );
        assert_eq!(recognise(b"RPC_OUT_DATA /rpc/rpcproxy.dll"), known(Side::Client));
        assert_eq!(recognise(b"RPC_OUT"), Prefix::TooShort);
        assert_eq!(recognise(b"RPC_OUTSIDE"), Prefix::Foreign);
        assert_eq!(recognise(b"GET / HTTP/1.1\r\n"), Prefix::Foreign);
    }
}
