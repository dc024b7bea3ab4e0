//! Protocol towers: how to reach an interface.

use std::net::Ipv4Addr;

use crate::error::{ErrorKind, Result};
use crate::guid::Guid;
use crate::input::{ByteOrder, Input};
use crate::rpce::SyntaxId;

/// C706 appendix L Protocol Tower Encoding, with the identifiers of appendix I and [MS-RPCE] 2.2.1.2 (EPM). Floors are
/// little-endian whatever the PDU says; ports and addresses are big-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tower {
    /// Floor 1: the interface.
    pub interface: Option<SyntaxId>,
    /// Floor 2: its encoding.
    pub transfer_syntax: Option<SyntaxId>,
    /// Floor 3: the RPC protocol (0x0a connectionless, 0x0b connection-oriented, 0x0c local).
    pub rpc_protocol: Option<u8>,
    /// TCP port, from floor 4.
    pub tcp_port: Option<u16>,
    /// UDP port, from floor 4.
    pub udp_port: Option<u16>,
    /// HTTP port, from floor 4.
    pub http_port: Option<u16>,
    /// IPv4 address, from floor 5.
    pub address: Option<Ipv4Addr>,
    /// Named pipe, from floor 4.
    pub named_pipe: Option<String>,
    /// `NetBIOS` name, from floor 5.
    pub netbios: Option<String>,
    /// Local RPC port, from floor 4.
    pub local_port: Option<String>,
}

/// More floors than any protocol sequence has.
const MAX_FLOORS: u16 = 16;

impl Tower {
    /// Reads a `tower_octet_string`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "tower");
        let floors = input.u16()?;
        if floors > MAX_FLOORS {
            return Err(input.error(ErrorKind::Limit {
                field: "floor_count",
                max: MAX_FLOORS.into(),
            }));
        }
        let mut tower = Self::default();
        for _ in 0..floors {
            let length = input.u16()?;
            let left = input.sub(length.into())?;
            let length = input.u16()?;
            tower.read_floor(left, input.sub(length.into())?)?;
        }
        Ok(tower)
    }

    fn read_floor(&mut self, mut left: Input<'_>, mut right: Input<'_>) -> Result<()> {
        let protocol = left.u8()?;
        match protocol {
            0x0d => {
                let uuid = left.guid()?;
                let major = left.u16()?;
                let minor = right.u16()?;
                let syntax = SyntaxId {
                    uuid,
                    version: u32::from(minor) << 16 | u32::from(major),
                };
                let floor = if self.interface.is_none() {
                    &mut self.interface
                } else {
                    &mut self.transfer_syntax
                };
                *floor = Some(syntax);
            }
            0x0a..=0x0c => self.rpc_protocol = Some(protocol),
            0x07 => self.tcp_port = Some(port(right)?),
            0x08 => self.udp_port = Some(port(right)?),
            0x1f => self.http_port = Some(port(right)?),
            0x09 => {
                right.set_order(ByteOrder::Big);
                self.address = Some(Ipv4Addr::from_bits(right.u32()?));
            }
            0x0f => self.named_pipe = Some(text(right)),
            0x10 => self.local_port = Some(text(right)),
            0x11 => self.netbios = Some(text(right)),
            _ => {}
        }
        Ok(())
    }

    /// Bytes of text in it.
    pub(super) fn text_length(&self) -> usize {
        let texts = [&self.named_pipe, &self.local_port, &self.netbios];
        texts
            .into_iter()
            .flatten()
            .map(String::len)
            .fold(0, usize::saturating_add)
    }

    /// The protocol sequence that the floors stand for, as string bindings write it.
    pub fn protocol_sequence(&self) -> Option<&'static str> {
        if self.tcp_port.is_some() {
            Some("ncacn_ip_tcp")
        } else if self.udp_port.is_some() {
            Some("ncadg_ip_udp")
        } else if self.http_port.is_some() {
            Some("ncacn_http")
        } else if self.named_pipe.is_some() {
            Some("ncacn_np")
        } else if self.local_port.is_some() {
            Some("ncalrpc")
        } else {
            None
        }
    }

    /// The endpoint within its protocol sequence: port, pipe or local port.
    pub fn endpoint(&self) -> Option<String> {
        let port = self.tcp_port.or(self.udp_port).or(self.http_port);
        port.map(|port| port.to_string())
            .or_else(|| self.named_pipe.clone())
            .or_else(|| self.local_port.clone())
    }

    /// The host, where the tower names one.
    pub fn host(&self) -> Option<String> {
        self.address
            .map(|address| address.to_string())
            .or_else(|| self.netbios.clone())
    }
}

fn port(mut right: Input<'_>) -> Result<u16> {
    right.set_order(ByteOrder::Big);
    right.u16()
}

/// A floor's string, up to its terminator.
fn text(right: Input<'_>) -> String {
    let bytes = right.rest().split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// The UUID of nothing, kept apart from "no UUID given".
pub(super) fn object(uuid: Guid) -> Option<Guid> {
    (!uuid.is_null()).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(bytes: &mut Vec<u8>, left: &[u8], right: &[u8]) {
        bytes.extend(u16::try_from(left.len()).unwrap().to_le_bytes());
        bytes.extend(left);
        bytes.extend(u16::try_from(right.len()).unwrap().to_le_bytes());
        bytes.extend(right);
    }

    fn syntax(first: u8, version: u16) -> Vec<u8> {
        let mut left = vec![0x0d, first];
        left.extend([0; 15]);
        left.extend(version.to_le_bytes());
        left
    }

    #[test]
    fn a_tcp_tower_gives_interface_port_and_address() {
        let mut bytes = vec![5, 0];
        floor(&mut bytes, &syntax(0x81, 2), &[1, 0]);
        floor(&mut bytes, &syntax(4, 2), &[0, 0]);
        floor(&mut bytes, &[0x0b], &[0, 0]);
        floor(&mut bytes, &[0x07], &49_726_u16.to_be_bytes());
        floor(&mut bytes, &[0x09], &[172, 18, 39, 6]);
        let tower = Tower::parse(&bytes).unwrap();
        assert_eq!(tower.interface.unwrap().version_text(), "2.1");
        assert_eq!(tower.transfer_syntax.unwrap().uuid.data1, 4);
        assert_eq!(
            (tower.tcp_port, tower.address),
            (Some(49_726), Some(Ipv4Addr::new(172, 18, 39, 6)))
        );
        assert_eq!(tower.protocol_sequence(), Some("ncacn_ip_tcp"));
        assert_eq!(
            (tower.endpoint().as_deref(), tower.host().as_deref()),
            (Some("49726"), Some("172.18.39.6"))
        );
    }

    #[test]
    fn a_named_pipe_tower_gives_pipe_and_host() {
        let mut bytes = vec![5, 0];
        floor(&mut bytes, &syntax(1, 1), &[0, 0]);
        floor(&mut bytes, &syntax(4, 2), &[0, 0]);
        floor(&mut bytes, &[0x0b], &[0, 0]);
        floor(&mut bytes, &[0x0f], b"\\PIPE\\InitShutdown\0");
        floor(&mut bytes, &[0x11], b"\\\\HOST\0");
        let tower = Tower::parse(&bytes).unwrap();
        assert_eq!(
            (tower.protocol_sequence(), tower.endpoint().as_deref()),
            (Some("ncacn_np"), Some("\\PIPE\\InitShutdown"))
        );
        assert_eq!(tower.host().as_deref(), Some("\\\\HOST"));
    }

    #[test]
    fn a_tower_of_65535_floors_is_refused() {
        assert!(Tower::parse(&[0xff; 64]).is_err());
    }
}
