//! Rows with a header: `EvtxECmd`, Defender's portal, Sentinel, Splunk, Kibana.

use std::borrow::Cow;
use std::io::{self, Read};

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::fields::{Field, Fields, Value};
use super::json;
use super::line;
use super::names::{self, Step};
use super::reader::{Reader, Sink};
use super::report::Reason;
use super::text::Text;
use crate::limits::host_log as limits;

/// Columns of a row.
const COLUMNS: usize = 4096;
/// So many columns that mean something make a header.
const KNOWN: usize = 3;

/// What separates the columns, if this line is a header that means something here.
pub(super) fn separator(header: &[u8]) -> Option<u8> {
    [b',', b';', b'\t'].into_iter().find(|separator| {
        let mut known = 0;
        for name in header.split(|byte| byte == separator) {
            let name = String::from_utf8_lossy(name);
            match column(&name) {
                Some(Step {
                    own: Some(Field::Raw), ..
                }) => return true,
                Some(step) if step.part() == Some(names::SYSTEM) => return true,
                Some(step) if step.own.is_some() || step.part().is_some() => known += 1,
                _ => {}
            }
        }
        known >= KNOWN
    })
}

/// What a column is: `TimeGenerated [UTC]`, `winlog.event_data.Image`.
fn column(name: &str) -> Option<Step> {
    let name = name.trim().trim_matches('"');
    let name = name.split_once(" [").map_or(name, |(name, _unit)| name);
    names::dotted(names::ROOT, name)
}

/// Reads the header, then row after row.
pub(super) fn read(text: &mut Text<impl Read>, separator: u8, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let mut rows = Rows {
        parser: ReaderBuilder::new().delimiter(separator).build(),
        bytes: vec![0; 64 << 10],
        ends: vec![0; COLUMNS],
    };
    let Row::Whole(columns) = rows.next(text)? else {
        return Ok(());
    };
    let header: Vec<Option<Step>> = rows.columns(columns).map(|name| column(&name)).collect();
    let mut number = 0;
    loop {
        number += 1;
        match rows.next(text)? {
            Row::None => return Ok(()),
            Row::TooLong => reader.skip(Reason::TooLong),
            Row::Whole(columns) if columns != header.len() => reader.skip(Reason::BrokenCsv),
            Row::Whole(columns) => {
                let mut fields = Fields::default();
                for (step, value) in header.iter().zip(rows.columns(columns)) {
                    let Some(step) = step.filter(|_| !value.is_empty()) else {
                        continue;
                    };
                    if let Some(field) = step.own {
                        fields.put(field, Value::Text(value), false);
                    } else if let Some(part) = step.part().filter(|_| json::is_part(&value)) {
                        fields.parts.push((part, value));
                    }
                }
                line::nested(&mut fields, number, reader, sink);
            }
        }
    }
}

enum Row {
    None,
    TooLong,
    Whole(usize),
}

struct Rows {
    parser: csv_core::Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    fn next(&mut self, text: &mut Text<impl Read>) -> io::Result<Row> {
        let (mut written, mut ended) = (0, 0);
        let mut too_long = false;
        loop {
            if text.rest().is_empty() {
                text.more()?;
            }
            let (result, read, wrote, ends) =
                self.parser
                    .read_record(text.rest(), &mut self.bytes[written..], &mut self.ends[ended..]);
            text.take(read);
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < limits::RECORD => {
                    let size = (self.bytes.len() * 2).min(limits::RECORD);
                    self.bytes.resize(size, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    too_long = true;
                    (written, ended) = (0, 0);
                }
                ReadRecordResult::Record if too_long => return Ok(Row::TooLong),
                ReadRecordResult::Record => return Ok(Row::Whole(ended)),
                ReadRecordResult::End => return Ok(if too_long { Row::TooLong } else { Row::None }),
            }
        }
    }

    fn columns(&self, count: usize) -> impl Iterator<Item = Cow<'_, str>> {
        let mut start = 0;
        self.ends[..count].iter().map(move |end| {
            let column = String::from_utf8_lossy(&self.bytes[start..*end]);
            start = *end;
            column
        })
    }
}
