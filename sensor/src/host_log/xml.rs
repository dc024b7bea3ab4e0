//! Events as Windows writes them in XML: one at a time, and documents of them.

use std::borrow::Cow;
use std::io::{self, Read};

use memchr::memmem;
use quick_xml::Reader as Parser;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::fields::{Field, Fields, Value};
use super::names::{self, Node};
use super::reader::{Reader, Sink};
use super::report::Reason;
use super::text::Text;
use crate::limits::host_log as limits;

/// Elements within one another.
const DEPTH: usize = 128;
const END: &[u8] = b"</Event>";

/// Where an element leads.
struct Open<'a> {
    node: Node,
    own: Option<Field>,
    /// Event data without a name.
    insert: bool,
    text: Cow<'a, str>,
}

/// Reads one `<Event>`.
pub(super) fn read<'a>(text: &'a str, fields: &mut Fields<'a>) -> Result<(), Reason> {
    let mut parser = Parser::from_str(text);
    let mut open: Vec<Open<'a>> = Vec::new();
    loop {
        let piece: Cow<'a, str> = match parser.read_event().map_err(|_| Reason::BrokenXml)? {
            Event::Start(start) => {
                if open.len() >= DEPTH {
                    return Err(Reason::TooDeep);
                }
                let element = element(&start, open.last(), fields)?;
                open.push(element);
                continue;
            }
            Event::Empty(start) => {
                let element = element(&start, open.last(), fields)?;
                close(element, fields);
                continue;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, fields);
                }
                if open.is_empty() {
                    return Ok(());
                }
                continue;
            }
            Event::Text(text) => text.decode().map_err(|_| Reason::BrokenXml)?,
            Event::CData(text) => text.decode().map_err(|_| Reason::BrokenXml)?,
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|_| Reason::BrokenXml)?;
                match reference.resolve_char_ref() {
                    Ok(Some(character)) => Cow::Owned(character.to_string()),
                    // Windows writes references to characters that XML has not.
                    Err(_) => Cow::Borrowed("\u{fffd}"),
                    Ok(None) => resolve_predefined_entity(&name).ok_or(Reason::BrokenXml)?.into(),
                }
            }
            Event::Eof => return Err(Reason::BrokenXml),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
        };
        if let Some(last) = open.last_mut().filter(|last| last.own.is_some() || last.insert) {
            if last.text.is_empty() {
                last.text = piece;
            } else {
                last.text.to_mut().push_str(&piece);
            }
        }
    }
}

/// What an element is, by its name or that of its data; its attributes are read.
fn element<'a>(start: &BytesStart<'a>, around: Option<&Open<'a>>, fields: &mut Fields<'a>) -> Result<Open<'a>, Reason> {
    let name = start.local_name();
    let name = str::from_utf8(name.as_ref()).map_err(|_| Reason::BrokenXml)?;
    let outer = around.map_or(names::ROOT, |open| open.node);
    let step = names::step(outer, name).unwrap_or_default();
    let node = step.enter.unwrap_or(outer);
    let mut element = Open {
        node,
        own: step.own,
        insert: outer == names::DATA && name == "Data",
        text: Cow::Borrowed(""),
    };
    // `<System>` as an element is never a text.
    if step.enter.is_some() && outer == names::ROOT {
        element.own = None;
    }
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| Reason::BrokenXml)?;
        let key = str::from_utf8(attribute.key.local_name().into_inner()).map_err(|_| Reason::BrokenXml)?;
        let value = attribute.unescape_value().map_err(|_| Reason::BrokenXml)?;
        if outer == names::DATA && key == "Name" {
            element.own = names::step(names::DATA, &value).and_then(|step| step.own);
            element.insert = false;
        } else if let Some(own) = step
            .enter
            .and_then(|enter| names::step(enter, key))
            .and_then(|step| step.own)
        {
            fields.put(own, Value::Text(Cow::Owned(value.into_owned())), false);
        }
    }
    Ok(element)
}

fn close<'a>(element: Open<'a>, fields: &mut Fields<'a>) {
    match element.own {
        Some(own) => fields.put(own, Value::Text(element.text), element.node == names::DATA),
        None if element.insert => fields.inserts.push(element.text),
        None => {}
    }
}

/// Where the next `<Event>` begins; not `<Events>`, nor `<EventData>`.
pub(super) fn start(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, b"<Event").find(|at| {
        bytes
            .get(at + 6)
            .is_none_or(|next| next.is_ascii_whitespace() || matches!(next, b'>' | b'/'))
    })
}

/// Cuts a document into its events.
pub(super) fn document(text: &mut Text<impl Read>, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let mut number = 0;
    loop {
        let Some(begin) = start(text.rest()) else {
            let rest = text.rest().len();
            text.take(rest.saturating_sub(b"<Event ".len()));
            if text.more()? {
                continue;
            }
            return Ok(());
        };
        text.take(begin);
        number += 1;
        let mut searched = 0;
        let end = loop {
            match memmem::find(&text.rest()[searched..], END) {
                Some(found) => break Some(searched + found + END.len()),
                None if text.rest().len() > limits::RECORD => break None,
                None => {
                    searched = text.rest().len().saturating_sub(END.len());
                    if !text.more()? {
                        reader.skip(Reason::BrokenXml);
                        return Ok(());
                    }
                }
            }
        };
        let Some(end) = end else {
            reader.skip(Reason::TooLong);
            text.take(limits::RECORD);
            continue;
        };
        // One that has lost its end is not the next one's beginning.
        let whole = &text.rest()[..end];
        if let Some(next) = start(&whole[1..]) {
            reader.skip(Reason::BrokenXml);
            text.take(1 + next);
        } else {
            super::line::read(whole, number, reader, sink);
            text.take(end);
        }
    }
}
