//! JSON that is not one record a line: arrays, search results, records spread over lines. Walked record by record, never
//! held whole.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::line;
use super::reader::{Reader, Sink};
use super::recognise;
use super::report::Reason;
use super::text::Text;
use crate::limits::host_log as limits;

/// Names under which an array of records stands in an answer: of Defender, Splunk, Elasticsearch, Sumo Logic and others.
const WRAPPERS: &[&[u8]] = &[
    b"hits",
    b"Results",
    b"results",
    b"Events",
    b"events",
    b"value",
    b"rows",
    b"tables",
    b"records",
    b"Records",
    b"data",
    b"messages",
];
/// Arrays and answers within one another.
const FRAMES: usize = 64;

/// How far an object goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is not over.
    More,
    /// It ends before this place.
    End(usize),
    /// It is an answer: the records stand in what begins here.
    Inside(usize),
}

/// Finds the end of an object that begins at 0, whatever pieces it comes in.
#[derive(Debug, Default)]
pub(super) struct Scan {
    at: usize,
    depth: usize,
    string: Option<usize>,
    last: (usize, usize),
    /// The value of this name comes next.
    name: Option<(usize, usize)>,
    /// Bytes before `at` were let go: names are not known any more.
    cut: bool,
}

impl Scan {
    /// Looks at what has come since.
    pub(super) fn on(&mut self, bytes: &[u8]) -> Found {
        while self.at < bytes.len() {
            if let Some(start) = self.string {
                let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    break;
                };
                self.at += found;
                if bytes[self.at] == b'\\' {
                    if self.at + 1 == bytes.len() {
                        break;
                    }
                    self.at += 2;
                } else {
                    self.last = (start, self.at);
                    self.string = None;
                    self.at += 1;
                }
                continue;
            }
            let at = self.at;
            self.at += 1;
            match bytes[at] {
                b'"' => self.string = Some(at + 1),
                b':' if self.depth == 1 => self.name = Some(self.last),
                b',' => self.name = None,
                open @ (b'{' | b'[') => {
                    if self.depth == 1 && self.wraps(bytes, open) {
                        return Found::Inside(at);
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Found::End(self.at);
                    }
                }
                _ => {}
            }
        }
        Found::More
    }

    fn wraps(&self, bytes: &[u8], open: u8) -> bool {
        let Some((start, end)) = self.name.filter(|_| !self.cut) else {
            return false;
        };
        let name = bytes.get(start..end).unwrap_or_default();
        WRAPPERS.contains(&name) && (open == b'[' || name == b"hits")
    }

    /// What has been looked at is let go.
    fn forget(&mut self) -> usize {
        self.cut = true;
        self.string = self.string.map(|_| 0);
        std::mem::take(&mut self.at)
    }
}

enum Frame {
    /// Records with commas between.
    Array,
    /// Rows of a table that has these columns.
    Rows(Vec<String>),
    /// One object, to be looked at like a record.
    Single,
    /// What stands behind the records in an answer.
    Tail,
}

/// Walks the document.
pub(super) fn read(text: &mut Text<impl Read>, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut number = 0;
    let mut garbage = false;
    loop {
        if matches!(frames.last(), Some(Frame::Tail)) {
            tail(text, &mut frames)?;
            continue;
        }
        let blank = text
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() || **byte == b',')
            .count();
        text.take(blank);
        let Some(next) = text.rest().first().copied() else {
            if text.more()? {
                continue;
            }
            return Ok(());
        };
        match next {
            b'{' => {
                garbage = false;
                if matches!(frames.last(), Some(Frame::Single)) {
                    frames.pop();
                }
                object(text, &mut frames, &mut number, reader, sink)?;
            }
            b'[' if matches!(frames.last(), Some(Frame::Rows(_))) => {
                garbage = false;
                number += 1;
                row(text, &frames, number, reader, sink)?;
            }
            b'[' => {
                if frames.len() < FRAMES {
                    frames.push(Frame::Array);
                } else if !garbage {
                    garbage = true;
                    reader.skip(Reason::TooDeep);
                }
                text.take(1);
            }
            b']' => {
                frames.pop();
                text.take(1);
            }
            b'R' if frames.is_empty() && numbered(text)? => {}
            other => {
                // A stretch of anything else counts once.
                if !garbage {
                    garbage = true;
                    reader.skip(Reason::BrokenJson);
                }
                text.take(1);
                if other == b'"' {
                    let mut string = Scan {
                        string: Some(0),
                        depth: 0,
                        ..Scan::default()
                    };
                    string_end(text, &mut string)?;
                }
            }
        }
    }
}

/// Passes over the line with a record's number that `evtx_dump` writes before it.
fn numbered(text: &mut Text<impl Read>) -> io::Result<bool> {
    while text.rest().len() < recognise::NUMBER && text.more()? {}
    let number = recognise::number(text.rest());
    text.take(number.unwrap_or(0));
    Ok(number.is_some())
}

fn object(
    text: &mut Text<impl Read>,
    frames: &mut Vec<Frame>,
    number: &mut u64,
    reader: &mut Reader,
    sink: Sink<'_>,
) -> io::Result<()> {
    let mut scan = Scan::default();
    loop {
        match scan.on(text.rest()) {
            Found::End(end) => {
                *number += 1;
                line::read(&text.rest()[..end], *number, reader, sink);
                text.take(end);
                return Ok(());
            }
            Found::Inside(at) => {
                // One within another is deeper than any answer.
                if !enter(at, text, frames) {
                    reader.skip(Reason::TooDeep);
                }
                return Ok(());
            }
            Found::More => {
                if !goes_on(text, &mut scan, reader)? {
                    *number += 1;
                    return Ok(());
                }
            }
        }
    }
}

/// Is there more of a record that what is there ends in? Of one that is too long, or broken off, the rest is passed over.
fn goes_on(text: &mut Text<impl Read>, scan: &mut Scan, reader: &mut Reader) -> io::Result<bool> {
    if text.rest().len() > limits::RECORD {
        reader.skip(Reason::TooLong);
        pass_over(text, scan)?;
        return Ok(false);
    }
    if text.more()? {
        return Ok(true);
    }
    reader.skip(Reason::BrokenJson);
    text.take(text.rest().len());
    Ok(false)
}

/// Goes on with the records in an answer.
fn enter(at: usize, text: &mut Text<impl Read>, frames: &mut Vec<Frame>) -> bool {
    let array = text.rest()[at] == b'[';
    let columns = columns(&text.rest()[..at]);
    text.take(at + usize::from(array));
    let room = frames.len() + 2 <= FRAMES;
    if room {
        frames.push(Frame::Tail);
        frames.push(match columns {
            Some(columns) if array => Frame::Rows(columns),
            _ if array => Frame::Array,
            _ => Frame::Single,
        });
    }
    room
}

/// The columns of a table, where they stand before its rows, as Log Analytics answers: `"columns": [{"name": "TimeGenerated"}]`.
fn columns(before: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Column {
        name: String,
    }
    #[derive(Deserialize)]
    struct Table {
        columns: Vec<Column>,
    }
    let ended = [before, b"null}"].concat();
    let table: Table = serde_json::from_slice(&ended).ok()?;
    Some(table.columns.into_iter().map(|column| column.name).collect())
}

/// One row, as the record that its columns make of it.
fn row(
    text: &mut Text<impl Read>,
    frames: &[Frame],
    number: u64,
    reader: &mut Reader,
    sink: Sink<'_>,
) -> io::Result<()> {
    let mut scan = Scan::default();
    loop {
        match scan.on(text.rest()) {
            Found::End(end) => {
                let values: Result<Vec<&RawValue>, _> = serde_json::from_slice(&text.rest()[..end]);
                match (frames.last(), values) {
                    (Some(Frame::Rows(columns)), Ok(values)) if columns.len() == values.len() => {
                        let record: BTreeMap<_, _> = columns.iter().zip(values).collect();
                        let record = serde_json::to_vec(&record).unwrap_or_default();
                        line::read(&record, number, reader, sink);
                    }
                    _ => reader.skip(Reason::BrokenJson),
                }
                text.take(end);
                return Ok(());
            }
            Found::More | Found::Inside(_) => {
                if !goes_on(text, &mut scan, reader)? {
                    return Ok(());
                }
            }
        }
    }
}

/// The rest of an answer, of which one array of records was read, or one that was empty: there may be another.
fn tail(text: &mut Text<impl Read>, frames: &mut Vec<Frame>) -> io::Result<()> {
    frames.pop();
    let mut scan = Scan {
        depth: 1,
        ..Scan::default()
    };
    loop {
        match scan.on(text.rest()) {
            Found::End(end) => {
                text.take(end);
                return Ok(());
            }
            Found::Inside(at) => {
                enter(at, text, frames);
                return Ok(());
            }
            Found::More if text.rest().len() > limits::RECORD => return pass_over(text, &mut scan),
            Found::More => {
                if !text.more()? {
                    text.take(text.rest().len());
                    return Ok(());
                }
            }
        }
    }
}

/// To the end of what is being scanned, holding nothing of it.
fn pass_over(text: &mut Text<impl Read>, scan: &mut Scan) -> io::Result<()> {
    scan.cut = true;
    loop {
        if let Found::End(end) = scan.on(text.rest()) {
            text.take(end);
            return Ok(());
        }
        text.take(scan.forget());
        if !text.more()? {
            text.take(text.rest().len());
            return Ok(());
        }
    }
}

fn string_end(text: &mut Text<impl Read>, scan: &mut Scan) -> io::Result<()> {
    loop {
        // One string only: everything up to its end.
        let mut escaped = false;
        let end = text.rest().iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        if let Some(end) = end {
            text.take(end + 1);
            scan.string = None;
            return Ok(());
        }
        text.take(text.rest().len());
        if !text.more()? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_ends_where_its_braces_do_in_whatever_pieces_it_comes() {
        let object = br#"{"a":"}\"\\","b":{"c":[1,{"d":2}]}} rest"#;
        for cut in 0..object.len() {
            let mut scan = Scan::default();
            let found = match scan.on(&object[..cut]) {
                Found::More => scan.on(object),
                found => found,
            };
            assert_eq!(found, Found::End(object.len() - 5), "{cut}");
        }
    }

    #[test]
    fn an_answer_is_entered_and_a_record_is_not() {
        let answer = br#"{"took":1,"hits":{"hits":[]}}"#;
        assert_eq!(Scan::default().on(answer), Found::Inside(17));
        let record = br#"{"data":{"hits":[1]},"x":"results"}"#;
        assert_eq!(Scan::default().on(record), Found::End(record.len()));
    }
}
