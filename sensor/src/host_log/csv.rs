//! Rows with a header: `EvtxECmd`, Defender's portal, Sentinel, Splunk, Kibana, Event Viewer.

use std::borrow::Cow;
use std::io::{self, Read};

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::clock::{self, Order};
use super::fields::{Field, Fields, TIMES, Value};
use super::json;
use super::labels;
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

/// What stands before the header: the line in which `Export-Csv` names a type, as Windows PowerShell does unless it is told not
/// to, or the one in which Excel names the separator. Its length, with its end.
pub(super) fn preamble(text: &[u8]) -> usize {
    if text.starts_with(b"#TYPE ") || text.starts_with(b"sep=") {
        memchr::memchr(b'\n', text).map_or(0, |end| end + 1)
    } else {
        0
    }
}

/// What separates the columns, if this line is a header that means something here.
pub(super) fn separator(header: &[u8]) -> Option<u8> {
    [b',', b';', b'\t'].into_iter().find(|separator| {
        let names = header.split(|byte| byte == separator);
        let steps: Vec<_> = names.map(|name| column(&String::from_utf8_lossy(name))).collect();
        if is_event_viewer(&steps) {
            return true;
        }
        let mut known = 0;
        for step in steps {
            match step {
                Some(Step {
                    own: Some(Field::Raw), ..
                }) => return true,
                Some(step) if step.part() == Some(names::SYSTEM) => return true,
                // Tables of anything have columns of such names.
                Some(Step {
                    own: Some(Field::PlainId | Field::EventSource | Field::SplunkSource),
                    ..
                })
                | None => {}
                Some(step) => known += usize::from(step.own.is_some() || step.part().is_some()),
            }
        }
        known >= KNOWN
    })
}

/// Event Viewer's: the time as the region writes it, and the number. What Windows shows of the event stands last, without a name.
fn is_event_viewer(header: &[Option<Step>]) -> bool {
    let has = |field| header.iter().flatten().any(|step| step.own == Some(field));
    has(Field::RegionTime) && has(Field::EventId)
}

/// What a column is: `TimeGenerated [UTC]`, `winlog.event_data.Image`. Portals name the zone of their times with them: UTC, or
/// that of whoever exports, by words that tell nothing.
fn column(name: &str) -> Option<Step> {
    let name = name.trim().trim_matches('"');
    let (name, unit) = name.split_once(" [").unwrap_or((name, ""));
    // `Process Command Line`
    let mut step = names::dotted(names::ROOT, name).or_else(|| names::dotted(names::ROOT, &name.replace(' ', "")))?;
    step.own = match (step.own, unit.trim_end_matches(']')) {
        (Some(Field::TimeGenerated), "UTC") => Some(Field::SystemTime),
        (own, "" | "UTC") => own,
        (Some(Field::TimeGenerated | Field::Timestamp), _) => Some(Field::LocalTime),
        (own, _) => own,
    };
    Some(step)
}

/// Reads the header, then row after row.
pub(super) fn read(text: &mut Text<impl Read>, separator: u8, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let blank = text.rest().len() - text.rest().trim_ascii_start().len();
    text.take(blank);
    text.take(preamble(text.rest()));
    let mut rows = Rows::new(separator);
    let Row::Whole(columns) = rows.next(text)? else {
        return Ok(());
    };
    let names: Vec<_> = rows.columns(columns).collect();
    let mut header: Vec<Option<Step>> = names.iter().map(|name| column(name)).collect();
    if is_event_viewer(&header) {
        for step in header.iter_mut().flatten() {
            if step.own == Some(Field::EventSource) {
                step.own = Some(Field::Provider);
            }
        }
        // Spreadsheets give the last column a place in the header.
        header.truncate(names.len() - usize::from(names.last().is_some_and(|name| name.is_empty())));
        header.push(Some(Step {
            own: Some(Field::Message),
            ..Step::default()
        }));
    }
    reader.order = order(text.rest(), separator, &header)?;
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
                    } else if let Some(part) = step.part().filter(|_| json::is_part(&value) || labels::are(&value)) {
                        fields.parts.push((part, value));
                    }
                }
                line::nested(&mut fields, number, reader, sink);
            }
        }
    }
}

/// Which of day and month comes first, by the first of the rows that are there already in which one can be the day alone.
fn order(ahead: &[u8], separator: u8, header: &[Option<Step>]) -> io::Result<Option<Order>> {
    let is_time = |step: &Option<Step>| step.and_then(|step| step.own).is_some_and(|own| TIMES.contains(&own));
    let mut rows = Rows::new(separator);
    let mut ahead = Text::new(ahead);
    loop {
        match rows.next(&mut ahead)? {
            Row::None => return Ok(None),
            Row::Whole(columns) if columns == header.len() => {
                let mut times = header
                    .iter()
                    .zip(rows.columns(columns))
                    .filter(|(step, _)| is_time(step));
                let order = times.find_map(|(_, value)| clock::written(&value)?.order);
                if order.is_some() {
                    return Ok(order);
                }
            }
            _ => {}
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
    fn new(separator: u8) -> Self {
        Self {
            parser: ReaderBuilder::new().delimiter(separator).build(),
            bytes: vec![0; 64 << 10],
            ends: vec![0; COLUMNS],
        }
    }

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
