//! JSON text, as far as eve.json and Zeek's JSON agree on it. A comma stands behind each member until the next bracket takes
//! its place.

use std::fmt::{self, Write};

use super::number;
use crate::event::record::{Elements, Value};

/// Writes a value to the end of a line: behind its key, which ends in the quote of text, and with a comma behind it.
pub(super) type Writer = fn(&mut Vec<u8>, &[u8], Value<'_>);

/// The key of what stands in a list: none, but for the quote.
pub(super) const NO_KEY: &[u8] = b"\"";

/// Writes what stands between the quotes of a string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
    }
    if is_printable(text.as_bytes()) {
        // Accounts and paths: all that has to be escaped are quotes and backslashes.
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        return out.extend_from_slice(rest);
    }
    let mut string = Vec::new();
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut string, text);
    let inside = string.get(1..string.len() - 1).unwrap_or_default();
    // JSON lets DEL and the C1 control characters through, but terminals obey them.
    for character in String::from_utf8_lossy(inside).chars() {
        match character {
            '\x7f'..='\u{9f}' => display(out, format_args!("\\u{:04x}", u32::from(character))),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Does it stand for itself between quotes? Nearly all that is logged does.
fn is_plain(text: &[u8]) -> bool {
    all_plain(text, b'"')
}

/// Is it printable ASCII without backslash and one other character? Every byte is looked at, many at a time, as that is
/// faster than to stop at the first that is not. What is left at the end is looked at together with what stands before it.
pub(super) fn all_plain(text: &[u8], reserved: u8) -> bool {
    let word = |bytes: &[u8; 8]| odd_in(u64::from_le_bytes(*bytes), reserved) == 0;
    if let Some(last) = text.last_chunk() {
        let mut plain = block(last, reserved);
        for bytes in text.as_chunks().0 {
            plain &= block(bytes, reserved);
        }
        return plain;
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return word(first) & word(last);
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            odd_in((last << 32) | first, reserved) == 0
        }
        _ => text.iter().fold(0, |found, &byte| found | odd(byte, reserved)) == 0,
    }
}

/// The same of a block as long as what the processor compares at once.
#[inline]
fn block(bytes: &[u8; 16], reserved: u8) -> bool {
    let mut found = 0;
    for &byte in bytes {
        found |= odd(byte, reserved);
    }
    found == 0
}

/// Is all of it printable ASCII?
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().fold(0, |found, &byte| {
        found | u8::from(byte.wrapping_sub(b' ') > b'~' - b' ')
    }) == 0
}

#[inline]
fn odd(byte: u8, reserved: u8) -> u8 {
    u8::from(byte.wrapping_sub(b' ') > b'~' - b' ') | u8::from(byte == b'\\') | u8::from(byte == reserved)
}

/// The same of eight bytes at once: not 0 when one of them is odd.
#[inline]
fn odd_in(word: u64, reserved: u8) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let is = |byte: u8| {
        let differ = word ^ (EACH * u64::from(byte));
        differ.wrapping_sub(EACH) & !differ
    };
    let control = word.wrapping_sub(EACH * u64::from(b' ')) & !word;
    (control | is(0x7f) | is(b'\\') | is(reserved) | word) & (EACH << 7)
}

/// Writes what prints without quotes.
pub(super) fn display(out: &mut Vec<u8>, what: fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = Bytes(out).write_fmt(what);
}

/// The end of a line, to be formatted to.
struct Bytes<'o>(&'o mut Vec<u8>);

impl Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes the values that have one form in JSON; times and records have not.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of which kind the value of a column is, is known where it stands"
)]
pub(super) fn plain(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    match value {
        Value::Bool(true) => bare(out, key, |out| out.extend_from_slice(b"true")),
        Value::Bool(false) => bare(out, key, |out| out.extend_from_slice(b"false")),
        Value::Uint(number) => bare(out, key, |out| number::whole(out, number)),
        Value::Int(number) => bare(out, key, |out| number::signed(out, number)),
        Value::Float(number) => bare(out, key, |out| {
            let _ = serde_json::to_writer(out, &number);
        }),
        Value::Text(string) => quoted(out, key, |out| text(out, string)),
        Value::Word(ours) => quoted(out, key, |out| word(out, ours)),
        Value::Name(name) => quoted(out, key, |out| out.extend_from_slice(name)),
        Value::Guid(guid) => quoted(out, key, |out| out.extend_from_slice(&guid.text())),
        Value::Hexadecimal(number, least) => quoted(out, key, |out| number::hexadecimal(out, number, least)),
        Value::Dotted(left, right) => quoted(out, key, |out| number::dotted(out, left, right)),
        Value::Addr(address) => quoted(out, key, |out| number::address(out, address)),
        Value::Port(port) => bare(out, key, |out| number::whole(out, port.into())),
        Value::Time(_)
        | Value::Interval(_)
        | Value::List(_)
        | Value::Object(_)
        | Value::Counters(_)
        | Value::EventType
        | Value::Unset => bare(out, key, |out| out.extend_from_slice(b"null")),
    }
}

/// Writes what stands in quotes and needs no escaping.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the key of a column is known where it stands")]
pub(super) fn quoted(out: &mut Vec<u8>, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(key);
    write(out);
    out.extend_from_slice(b"\",");
}

/// Writes what stands without quotes.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the same")]
pub(super) fn bare(out: &mut Vec<u8>, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    if let [key @ .., _] = key {
        out.extend_from_slice(key);
    }
    write(out);
    out.push(b',');
}

/// Writes text of ours, which is plain.
#[inline]
pub(super) fn word(out: &mut Vec<u8>, word: &'static str) {
    debug_assert!(
        !word.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')),
        "{word:?}"
    );
    out.extend_from_slice(word.as_bytes());
}

/// Writes a member's name. Names are ours, or a schema's: letters, digits, `_` and `@`.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a list.
pub(super) fn list(out: &mut Vec<u8>, elements: &dyn Elements, write: Writer) {
    out.push(b'[');
    elements.each(&mut |element| write(out, NO_KEY, element));
    close(out, b']');
}

/// Ends an object or a list: in place of the comma that stands behind each of its members, if it has any.
#[inline]
pub(super) fn close(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last @ b',') => *last = bracket,
        _ => out.push(bracket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_byte_is_found_wherever_it_stands() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(all_plain(&text, b','), "{length}");
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    text[place] = byte;
                    let plain = matches!(byte, b' '..=b'~') && !b"\\,".contains(&byte);
                    assert_eq!(all_plain(&text, b','), plain, "{byte} at {place} of {length}");
                }
                text[place] = b'~';
            }
        }
    }
}
