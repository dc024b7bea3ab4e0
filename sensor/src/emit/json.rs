//! JSON text, as far as eve.json and Zeek's JSON agree on it.

use std::fmt::{self, Write};

use super::number;
use crate::event::record::{Elements, Value};

/// Writes a value to the end of a line.
pub(super) type Writer = fn(&mut Vec<u8>, Value<'_>);

/// Writes a string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    // JSON lets DEL and the C1 control characters through, but terminals obey them.
    if text.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
        let tail = out.split_off(start);
        for character in String::from_utf8_lossy(&tail).chars() {
            match character {
                '\x7f'..='\u{9f}' => display(out, format_args!("\\u{:04x}", u32::from(character))),
                other => display(out, format_args!("{other}")),
            }
        }
    }
}

/// Writes what prints as text: as it is, and looked at afterwards.
fn shown(out: &mut Vec<u8>, name: &dyn fmt::Display) {
    out.push(b'"');
    let start = out.len();
    display(out, format_args!("{name}"));
    if is_plain(&out[start..]) {
        out.push(b'"');
    } else {
        let written = out.split_off(start);
        out.pop();
        text(out, &String::from_utf8_lossy(&written));
    }
}

/// Does it stand for itself between quotes? Nearly all that is logged does.
fn is_plain(text: &[u8]) -> bool {
    all_plain(text, b'"')
}

/// Is it printable ASCII without backslash and one other character? Every byte is looked at, many at a time, as that is
/// faster than to stop at the first that is not.
pub(super) fn all_plain(text: &[u8], reserved: u8) -> bool {
    let unprintable = |byte: u8| u8::from(byte.wrapping_sub(b' ') > b'~' - b' ');
    let odd = |byte: u8| unprintable(byte) | u8::from(byte == b'\\') | u8::from(byte == reserved);
    text.iter().fold(0, |found, &byte| found | odd(byte)) == 0
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
pub(super) fn plain(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Uint(number) => number::whole(out, number),
        Value::Int(number) => number::signed(out, number),
        Value::Float(number) => {
            let _ = serde_json::to_writer(out, &number);
        }
        Value::Text(string) => text(out, string),
        Value::Shown(name) => shown(out, name),
        Value::Addr(address) => {
            out.push(b'"');
            number::address(out, address);
            out.push(b'"');
        }
        Value::Port(port) => number::whole(out, port.into()),
        Value::Time(_)
        | Value::Interval(_)
        | Value::List(_)
        | Value::Object(_)
        | Value::Counters(_)
        | Value::EventType
        | Value::Unset => out.extend_from_slice(b"null"),
    }
}

/// Writes a list.
pub(super) fn list(out: &mut Vec<u8>, elements: &dyn Elements, write: Writer) {
    out.push(b'[');
    elements.each(&mut |element| {
        separate(out);
        write(out, element);
    });
    out.push(b']');
}

/// Writes a comma, unless an object or a list has just begun. Strings end in a quote, so the last byte tells.
pub(super) fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}
