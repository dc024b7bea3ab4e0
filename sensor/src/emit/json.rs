//! JSON text, as far as eve.json and Zeek's JSON agree on it.

use std::io::Write;

use crate::event::record::{Elements, Value};

/// Writes a value to the end of a line.
pub(super) type Writer = fn(&mut Vec<u8>, Value<'_>);

/// Writes a string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
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

/// Writes what prints without quotes.
pub(super) fn display(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(what);
}

/// Writes the values that have one form in JSON; times and records have not.
pub(super) fn plain(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Bool(yes) => display(out, format_args!("{yes}")),
        Value::Uint(number) => display(out, format_args!("{number}")),
        Value::Int(number) => display(out, format_args!("{number}")),
        Value::Float(number) => {
            let _ = serde_json::to_writer(out, &number);
        }
        Value::Text(string) => text(out, string),
        Value::Shown(shown) => {
            let _ = serde_json::to_writer(out, &format_args!("{shown}"));
        }
        Value::Addr(address) => display(out, format_args!("\"{address}\"")),
        Value::Port(port) => display(out, format_args!("{port}")),
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
