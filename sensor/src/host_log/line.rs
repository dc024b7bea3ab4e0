//! One record as text: JSON, XML, or either behind a syslog header or within a field of another record.

use memchr::memchr;

use super::fields::{Field as F, Fields, Value};
use super::reader::{Reader, Sink};
use super::report::Reason;
use super::{clock, inserts, interpret, json, labels, names, shown, xml};

/// Records within a field of a record, within one another.
const NESTED: usize = 3;

/// Reads one line as a record. An empty one is none.
pub(super) fn read(line: &[u8], number: u64, reader: &mut Reader, sink: Sink<'_>) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    let lossy;
    let line = if let Ok(line) = str::from_utf8(line) {
        line
    } else {
        lossy = String::from_utf8_lossy(line);
        &*lossy
    };
    let mut fields = Fields::default();
    match text(line, names::ROOT, &mut fields) {
        Ok(()) => nested(&mut fields, number, reader, sink),
        Err(reason) => reader.skip(reason),
    }
}

/// JSON, XML, or either behind a header; XML names what it is itself.
fn text<'a>(line: &'a str, node: names::Node, fields: &mut Fields<'a>) -> Result<(), Reason> {
    match line.as_bytes() {
        [b'{', ..] => json::read(line, node, fields),
        [b'[', ..] if node != names::ROOT => json::read(line, node, fields),
        [b'<', next, ..] if !next.is_ascii_digit() => xml::read(line, fields),
        bytes if shown::begins(bytes) => shown::read(line, fields),
        bytes => {
            let json = memchr(b'{', bytes);
            let (start, is_xml) = match (xml::start(bytes), json) {
                (Some(xml), Some(json)) if json < xml => (json, false),
                (Some(xml), _) => (xml, true),
                (None, Some(json)) => (json, false),
                (None, None) => return Err(Reason::NeitherJsonNorXml),
            };
            let (header, record) = line.split_at(start);
            if is_xml {
                xml::read(record, fields)?;
            } else {
                json::read(record.trim_end(), node, fields)?;
            }
            syslog(header, fields);
            Ok(())
        }
    }
}

/// What a header of RFC 5424 says: `<134>1 2020-09-18T17:05:52.782Z host app …`. That of RFC 3164 has no year and no zone: only
/// its host's name is of use.
fn syslog<'a>(header: &'a str, fields: &mut Fields<'a>) {
    let header = header.split_once('>').map_or(header, |(_priority, rest)| rest);
    let mut words = header.split_ascii_whitespace();
    let host = match words.next() {
        Some("1") => {
            let time = words.next().unwrap_or_default();
            if clock::written(time).is_some() {
                fields.put(F::Received, Value::Text(time.into()), false);
            }
            words.next()
        }
        // `Sep 18 17:05:52 host …`
        Some(_month) => words.nth(2),
        None => None,
    };
    if let Some(host) = host {
        fields.put(F::Collector, Value::Text(host.into()), false);
    }
}

/// A record whose event stands in one of its fields is that event, with what is said around it where it does not say it itself.
pub(super) fn nested(fields: &mut Fields<'_>, number: u64, reader: &mut Reader, sink: Sink<'_>) {
    within(fields, number, reader, sink, NESTED);
}

fn within(fields: &mut Fields<'_>, number: u64, reader: &mut Reader, sink: Sink<'_>, left: usize) {
    if let Err(reason) = parts(fields) {
        return reader.skip(reason);
    }
    if left > 0 {
        let raw = raw(fields).map(str::to_owned);
        let mut inner = Fields::default();
        if raw
            .as_deref()
            .is_some_and(|raw| text(raw, names::ROOT, &mut inner).is_ok())
        {
            for field in AROUND {
                if let Some(value) = fields.get(*field) {
                    inner.put(*field, value.clone(), false);
                }
            }
            return within(&mut inner, number, reader, sink, left - 1);
        }
    }
    inserts::name(fields);
    reader.record(fields, number, sink);
}

/// Reads the parts of a record that stand in it as text. Those of events that are not of interest do not matter.
fn parts(fields: &mut Fields<'_>) -> Result<(), Reason> {
    if fields.has(F::RuleTitle)
        && let Some(details) = fields.take(F::Details)
    {
        fields.parts.push((names::HAYABUSA, details));
    }
    let mut parts = std::mem::take(&mut fields.parts);
    // What wrote it, before what it says.
    parts.sort_by_key(|(node, _)| *node == names::DATA);
    for (node, part) in parts {
        if node == names::DATA && interpret::source(fields).is_err() {
            continue;
        }
        let part = part.trim_ascii();
        let mut inner = Fields::default();
        if json::is_part(part) {
            text(part, node, &mut inner)?;
        } else {
            inner = labels::in_a_row(node, part);
        }
        fields.join(inner, node == names::DATA);
    }
    Ok(())
}

/// What is true of the event, whoever says it.
const AROUND: &[F] = &[
    F::EventId,
    F::Provider,
    F::Channel,
    F::Computer,
    F::Collector,
    F::Record,
    F::LocalTime,
    F::Indexed,
    F::AtTimestamp,
    F::Received,
    F::ChunkNumber,
    F::UserSid,
];

/// The event within, if there is one.
fn raw<'f>(fields: &'f Fields<'_>) -> Option<&'f str> {
    let looks = |text: &&str| {
        let bytes = text.trim_start().as_bytes();
        matches!(bytes, [b'{' | b'<', ..]) || shown::begins(bytes) || xml::start(bytes).is_some()
    };
    // Winlogbeat's own fields say all of it already.
    if !fields.has(F::WinlogApi)
        && let Some(raw) = fields.text(F::Raw).filter(looks)
    {
        return Some(raw);
    }
    if fields.has(F::EventId) || fields.has(F::EcsEventCode) {
        return None;
    }
    fields.text(F::Message).filter(looks)
}
