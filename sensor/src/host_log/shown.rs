//! Events as they are shown: what Splunk collects without XML, and `wevtutil qe /f:text`. A head of names and values, then the
//! event's text to its end.

use std::io::{self, Read};

use super::clock;
use super::fields::{Field as F, Fields, Value};
use super::line;
use super::reader::{Reader, Sink};
use super::report::Reason;
use super::text::Text;
use crate::limits::host_log as limits;

/// What separates name and value in a head, and what the names mean.
type Head = (char, &'static [(&'static str, F)]);

const SPLUNK: Head = (
    '=',
    &[
        ("LogName", F::Channel),
        ("SourceName", F::Provider),
        ("EventCode", F::EventId),
        ("ComputerName", F::Computer),
        ("RecordNumber", F::Record),
        ("Sid", F::UserSid),
        ("Message", F::Message),
    ],
);
const WEVTUTIL: Head = (
    ':',
    &[
        ("Log Name", F::Channel),
        ("Source", F::Provider),
        ("Date", F::LocalTime),
        ("Event ID", F::EventId),
        ("Computer", F::Computer),
        ("User", F::UserSid),
        ("Description", F::Message),
    ],
);

/// Two lines that begin a record are not longer.
const BEGINNING: usize = 128;

/// Does an event begin here? `Event[0]:`, or a time and below it the log's name.
pub(super) fn begins(text: &[u8]) -> bool {
    let mut lines = text[..text.len().min(BEGINNING)].split(|byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default().trim_ascii_end();
    let (first, second) = (next(), next());
    if let Some(rest) = first.strip_prefix(b"Event[") {
        let number = rest.strip_suffix(b":").unwrap_or(rest).strip_suffix(b"]");
        return number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit));
    }
    second.starts_with(b"LogName=") && str::from_utf8(first).is_ok_and(|time| clock::written(time).is_some())
}

/// Reads one.
pub(super) fn read<'a>(text: &'a str, fields: &mut Fields<'a>) -> Result<(), Reason> {
    let (first, mut rest) = text.split_once('\n').ok_or(Reason::NeitherJsonNorXml)?;
    let (separator, names) = if first.starts_with("Event[") {
        WEVTUTIL
    } else {
        fields.put(F::LocalTime, Value::Text(american(first.trim()).into()), false);
        SPLUNK
    };
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        if let Some((name, value)) = line.split_once(separator)
            && let Some((_, field)) = names.iter().find(|(known, _)| *known == name.trim())
        {
            let value = match field {
                F::Message => &rest[line.len() - value.len()..],
                _ => value,
            };
            fields.put(*field, Value::Text(value.trim().into()), false);
            if *field == F::Message {
                break;
            }
        }
        rest = after;
    }
    Ok(())
}

/// Splunk writes the month first wherever it runs, but with a zero before it, as those who write the day first do.
fn american(time: &str) -> String {
    let time = time.strip_prefix('0').unwrap_or(time);
    time.replace("/0", "/")
}

/// Cuts a text into its events.
pub(super) fn document(text: &mut Text<impl Read>, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let mut number = 0;
    let mut searched = 0;
    let mut overlong = false;
    let mut ended = false;
    while !text.rest().is_empty() || !ended {
        let rest = text.rest();
        // What begins near the end of what is there cannot be told yet.
        let sure = if ended {
            rest.len()
        } else {
            rest.len().saturating_sub(BEGINNING)
        };
        let next = memchr::memchr_iter(b'\n', &rest[searched..sure.max(searched)])
            .map(|at| searched + at + 1)
            .find(|at| begins(&rest[*at..]));
        if let Some(end) = next.or(ended.then_some(rest.len())) {
            number += 1;
            if std::mem::take(&mut overlong) || end > limits::RECORD {
                reader.skip(Reason::TooLong);
            } else {
                line::read(&rest[..end], number, reader, sink);
            }
            text.take(end);
            searched = 0;
            continue;
        }
        searched = sure.max(searched);
        if searched > limits::RECORD {
            overlong = true;
            text.take(searched);
            searched = 0;
        }
        ended = !text.more()?;
    }
    Ok(())
}
