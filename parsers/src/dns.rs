//! RFC 1035: which name has which address, out of an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// Questions and records that are looked at.
const MOST_RECORDS: u16 = 64;
/// Labels of a name that are put together, pointers included (RFC 1035 2.3.4: 255 octets).
const MOST_LABELS: usize = 128;
/// Octets of a name (RFC 1035 2.3.4).
const MOST_OCTETS: usize = 255;

/// RFC 1035 3.2.2, RFC 3596 2.1: an address of each family.
const A: u16 = 1;
const AAAA: u16 = 28;
/// RFC 1035 3.2.4: the Internet.
const IN: u16 = 1;

/// An answer's addresses, each with the name that it is given for. Nothing of a question, a failure or another class.
pub fn addresses(message: &[u8]) -> Result<Vec<(String, IpAddr)>> {
    let mut input = Input::new(message, ByteOrder::Big, "DNS header");
    input.skip(2)?;
    let flags = input.u16()?;
    let (questions, answers) = (input.u16()?, input.u16()?);
    input.skip(4)?;
    // QR, a plain query, no error (RFC 1035 4.1.1).
    if flags & 0xf80f != 0x8000 {
        return Ok(Vec::new());
    }
    input.enter("DNS question");
    for _ in 0..questions.min(MOST_RECORDS) {
        name(&mut input, message)?;
        input.skip(4)?;
    }
    input.enter("DNS record");
    let mut found = Vec::new();
    for _ in 0..answers.min(MOST_RECORDS) {
        let owner = name(&mut input, message)?;
        let (kind, class) = (input.u16()?, input.u16()?);
        input.skip(4)?;
        let length = input.u16()?;
        let data = input.take(length.into())?;
        let address = match (kind, class) {
            (A, IN) => <[u8; 4]>::try_from(data).ok().map(|it| IpAddr::V4(Ipv4Addr::from(it))),
            (AAAA, IN) => <[u8; 16]>::try_from(data).ok().map(|it| IpAddr::V6(Ipv6Addr::from(it))),
            _ => None,
        };
        found.extend(address.map(|address| (owner, address)));
    }
    Ok(found)
}

/// RFC 1035 4.1.4 Message compression: a pointer leads back, never on.
fn name<'a>(input: &mut Input<'a>, message: &'a [u8]) -> Result<String> {
    let mut text = String::new();
    let mut reading = *input;
    let mut behind: Option<Input<'a>> = None;
    let mut limit = message.len();
    for _ in 0..MOST_LABELS {
        let at = reading.offset();
        let length = reading.u8()?;
        match length {
            0 => {
                *input = behind.unwrap_or(reading);
                return Ok(text);
            }
            0xc0.. => {
                let low = reading.u8()?;
                let target = (usize::from(length & 0x3f) << 8) | usize::from(low);
                behind.get_or_insert(reading);
                if target >= at.min(limit) {
                    return Err(reading.invalid("pointer", u64::try_from(target).unwrap_or(u64::MAX)));
                }
                limit = target;
                reading = Input::new(message, ByteOrder::Big, "DNS name");
                reading.skip(target)?;
            }
            0x40.. => return Err(reading.invalid("label", length)),
            _ => {
                let label = reading.take(length.into())?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(label));
                if text.len() > MOST_OCTETS {
                    return Err(reading.invalid("name", length));
                }
            }
        }
    }
    Err(reading.invalid("labels", u64::try_from(MOST_LABELS).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ws6.corp.example` asked for: an alias, then both families, by pointers.
    fn answer() -> Vec<u8> {
        let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
        message.extend(b"\x03ws6\x04corp\x07example\x00\x00\x01\x00\x01");
        message.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x07\x04host\xc0\x10");
        message.extend(b"\x04host\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x06");
        message.extend(b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x06");
        message
    }

    #[test]
    fn addresses_of_both_families_are_read_with_their_names() {
        let told: Vec<(String, String)> = addresses(&answer())
            .unwrap()
            .into_iter()
            .map(|(name, address)| (name, address.to_string()))
            .collect();
        let expected = [("host.corp.example", "10.0.0.6"), ("ws6.corp.example", "2001:db8::6")];
        assert_eq!(
            told,
            expected.map(|(name, address)| (name.to_owned(), address.to_owned()))
        );
    }

    #[test]
    fn questions_and_failures_tell_nothing() {
        for (at, byte) in [(2, 0x01), (3, 0x83), (2, 0xa9)] {
            let mut message = answer();
            message[at] = byte;
            assert_eq!(addresses(&message), Ok(Vec::new()), "{at}");
        }
    }

    #[test]
    fn what_is_cut_or_leads_round_in_circles_is_an_error_and_ends() {
        let whole = answer();
        for end in 0..whole.len() {
            assert!(addresses(&whole[..end]).is_err(), "{end}");
        }
        // A pointer to itself, one ahead, and a label of a kind that is not defined.
        for bytes in [[0xc0, 0x0c], [0xc0, 0x40], [0x40, 0x00]] {
            let mut message = whole.clone();
            message[12..14].copy_from_slice(&bytes);
            assert!(addresses(&message).is_err(), "{bytes:?}");
        }
    }
}
