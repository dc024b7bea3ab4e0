//! Netlogon's own security provider: who opens a secure channel.

use crate::error::{ErrorKind, Result};
use crate::input::{ByteOrder, Input};

/// [MS-NRPC] 2.2.1.3.1 `NL_AUTH_MESSAGE`: the token of a bind under the Netlogon provider.
///
/// ```text
/// | MessageType 4 | Flags 4 | strings, as the flags say |
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NlAuthMessage {
    /// 0 asks for a channel, 1 answers.
    pub message_type: u32,
    /// Which strings follow.
    pub flags: u32,
    /// The domain, by its `NetBIOS` name.
    pub netbios_domain: Option<String>,
    /// The computer that asks, by its `NetBIOS` name.
    pub netbios_computer: Option<String>,
    /// The domain, by its DNS name.
    pub dns_domain: Option<String>,
    /// The computer that asks, by its DNS name.
    pub dns_host: Option<String>,
    /// The computer that asks, by its `NetBIOS` name in UTF-8.
    pub netbios_computer_utf8: Option<String>,
}

/// A `NetBIOS` domain name follows.
const HAS_DOMAIN: u32 = 0x01;
/// A `NetBIOS` computer name follows.
const HAS_COMPUTER: u32 = 0x02;
/// A DNS domain name follows.
const HAS_DNS_DOMAIN: u32 = 0x04;
/// A DNS host name follows.
const HAS_DNS_HOST: u32 = 0x08;
/// A `NetBIOS` computer name follows, in UTF-8.
const HAS_COMPUTER_UTF8: u32 = 0x10;
/// More labels than any DNS name has.
const MAX_LABELS: usize = 128;

impl NlAuthMessage {
    /// Reads a token.
    pub fn parse(token: &[u8]) -> Result<Self> {
        let mut input = Input::new(token, ByteOrder::Little, "NL_AUTH_MESSAGE");
        let message_type = input.u32()?;
        if message_type > 1 {
            return Err(input.invalid("MessageType", message_type));
        }
        let flags = input.u32()?;
        let mut name = |bit, read: fn(&mut Input<'_>) -> Result<String>| {
            if flags & bit == 0 {
                Ok(None)
            } else {
                read(&mut input).map(Some)
            }
        };
        Ok(Self {
            message_type,
            flags,
            netbios_domain: name(HAS_DOMAIN, text)?,
            netbios_computer: name(HAS_COMPUTER, text)?,
            dns_domain: name(HAS_DNS_DOMAIN, labels)?,
            dns_host: name(HAS_DNS_HOST, labels)?,
            netbios_computer_utf8: name(HAS_COMPUTER_UTF8, labels)?,
        })
    }
}

/// A zero-terminated OEM string: read as UTF-8 with replacement, since the code page is not on the wire.
fn text(input: &mut Input<'_>) -> Result<String> {
    let bytes = input.rest().split(|&byte| byte == 0).next().unwrap_or_default();
    input.skip(bytes.len().saturating_add(1))?;
    let kept = bytes.get(..super::NAME_BYTES).unwrap_or(bytes);
    Ok(String::from_utf8_lossy(kept).into_owned())
}

/// A name as RFC 1035 section 4.1.4 Message compression writes it: labels with their lengths, up to one of none.
/// Nothing stands before the token that a label could refer to, so references are refused.
fn labels(input: &mut Input<'_>) -> Result<String> {
    let mut name = Vec::new();
    for _ in 0..MAX_LABELS {
        let length = input.u8()?;
        if length == 0 {
            let kept = name.get(..super::NAME_BYTES).unwrap_or(&name);
            return Ok(String::from_utf8_lossy(kept).into_owned());
        }
        if length & 0xc0 != 0 {
            return Err(input.invalid("label", length));
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(input.take(length.into())?);
    }
    Err(input.error(ErrorKind::Limit {
        field: "label",
        max: MAX_LABELS,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_and_computer_are_read_as_the_flags_say() {
        let both = b"\0\0\0\0\x03\0\0\0LAB\0WS5\0";
        let message = NlAuthMessage::parse(both).unwrap();
        assert_eq!(message.netbios_domain.as_deref(), Some("LAB"));
        assert_eq!(message.netbios_computer.as_deref(), Some("WS5"));
        let computer = NlAuthMessage::parse(b"\0\0\0\0\x02\0\0\0WS5\0").unwrap();
        assert_eq!(
            (computer.netbios_domain, computer.netbios_computer.as_deref()),
            (None, Some("WS5"))
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let both = b"\0\0\0\0\x03\0\0\0LAB\0WS5\0";
        for length in 0..both.len() {
            assert!(NlAuthMessage::parse(&both[..length]).is_err(), "{length} bytes");
        }
        assert!(NlAuthMessage::parse(b"\0\0\0\0\x04\0\0\0\xc0\0").is_err());
        assert!(NlAuthMessage::parse(&[b"\0\0\0\0\x08\0\0\0".to_vec(), b"\x01a".repeat(200)].concat()).is_err());
        assert!(NlAuthMessage::parse(b"\x09\0\0\0\x03\0\0\0").is_err());
    }
}
