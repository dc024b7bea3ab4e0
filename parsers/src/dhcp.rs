//! RFC 2131, RFC 2132: the name and the address of a host, out of the server's acknowledgement.

use std::net::Ipv4Addr;

use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// RFC 951: a server's message.
const BOOTREPLY: u8 = 2;
/// RFC 2131 3: options begin so.
const MAGIC_COOKIE: u32 = 0x6382_5363;
/// Octets between `yiaddr` and the cookie (RFC 2131 2, figure 1).
const REST: usize = 4 + 4 + 16 + 64 + 128;
/// RFC 2132: padding, 3.14 Host Name, 9.6 DHCP Message Type, the end.
const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const END: u8 = 255;
/// RFC 2132 9.6.
const DHCPACK: u8 = 5;

/// The address that was given and the name that it was given to. None of what is no acknowledgement with a name.
pub fn acknowledged(message: &[u8]) -> Result<Option<(String, Ipv4Addr)>> {
    let mut input = Input::new(message, ByteOrder::Big, "DHCP message");
    let op = input.u8()?;
    input.skip(3 + 4 + 2 + 2 + 4)?;
    let address = Ipv4Addr::from(input.u32()?);
    input.skip(REST)?;
    if op != BOOTREPLY || input.u32()? != MAGIC_COOKIE {
        return Ok(None);
    }
    input.enter("DHCP option");
    let (mut name, mut acknowledged) = (None, false);
    while !input.is_empty() {
        let code = input.u8()?;
        if code == PAD {
            continue;
        }
        if code == END {
            break;
        }
        let length = input.u8()?;
        let data = input.take(length.into())?;
        match code {
            HOST_NAME => name = Some(String::from_utf8_lossy(data).trim_end_matches('\0').to_owned()),
            MESSAGE_TYPE => acknowledged = data == [DHCPACK],
            _ => {}
        }
    }
    let given = acknowledged && !address.is_unspecified();
    Ok(name
        .filter(|name| given && !name.is_empty())
        .map(|name| (name, address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(op: u8, kind: u8) -> Vec<u8> {
        let mut message = vec![op, 1, 6, 0];
        message.extend([0; 12]);
        message.extend([10, 0, 0, 6]);
        message.extend([0; REST]);
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend([PAD, MESSAGE_TYPE, 1, kind, HOST_NAME, 4]);
        message.extend(b"WS6\0");
        message.push(END);
        message
    }

    #[test]
    fn an_acknowledgement_names_the_host() {
        let told = acknowledged(&message(BOOTREPLY, DHCPACK)).unwrap();
        assert_eq!(told, Some(("WS6".to_owned(), Ipv4Addr::new(10, 0, 0, 6))));
    }

    #[test]
    fn requests_offers_and_what_is_cut_tell_nothing() {
        assert_eq!(acknowledged(&message(1, DHCPACK)), Ok(None));
        assert_eq!(acknowledged(&message(BOOTREPLY, 2)), Ok(None));
        let whole = message(BOOTREPLY, DHCPACK);
        for end in 0..whole.len() - 2 {
            let told = acknowledged(&whole[..end]);
            assert!(!matches!(told, Ok(Some(_))), "{end}");
        }
    }
}
