//! In which form a text is, by how it begins.

use memchr::memmem;

use super::document::{Found, Scan};
use super::report::Kind;
use super::{csv, evtx, shown, xml};

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    Evtx,
    Utf16 { big: bool },
    Utf8,
}

/// What bytes are that begin like this.
pub(super) fn bytes(first: &[u8]) -> Bytes {
    if first.starts_with(evtx::SIGNATURE) || first.starts_with(evtx::CHUNK_SIGNATURE) {
        return Bytes::Evtx;
    }
    let ascii = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match first {
        [0xff, 0xfe, ..] => Bytes::Utf16 { big: false },
        [0xfe, 0xff, ..] => Bytes::Utf16 { big: true },
        [one, 0, two, 0, ..] if ascii(*one) && ascii(*two) => Bytes::Utf16 { big: false },
        [0, one, 0, two, ..] if ascii(*one) && ascii(*two) => Bytes::Utf16 { big: true },
        // Its beginning is destroyed, as by who encrypts only that. No text has a zero in it.
        _ if memmem::find(first, evtx::CHUNK_SIGNATURE).is_some() => Bytes::Evtx,
        _ => Bytes::Utf8,
    }
}

/// The forms of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Document,
    Xml,
    Shown,
    Csv(u8),
}

impl Form {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Lines => Kind::Lines,
            Self::Document => Kind::Json,
            Self::Xml => Kind::Xml,
            Self::Shown => Kind::Shown,
            Self::Csv(_) => Kind::Csv,
        }
    }
}

/// So many lines are looked at for one that is a record by itself.
const LINES: usize = 16;

/// The form of a text that begins like this, if it is one of ours.
pub(super) fn form(text: &[u8]) -> Option<Form> {
    let text = text.trim_ascii_start();
    let Some(length) = number(text) else {
        return unnumbered(text);
    };
    // The records are not one a line, whatever the first is.
    match unnumbered(&text[length..])? {
        Form::Xml => Some(Form::Xml),
        Form::Lines | Form::Document => Some(Form::Document),
        Form::Shown | Form::Csv(_) => None,
    }
}

fn unnumbered(text: &[u8]) -> Option<Form> {
    match text {
        [b'[', ..] => Some(Form::Document),
        [b'{', ..] => Some(object(text)),
        [b'<', next, ..] if next.is_ascii_digit() => Some(Form::Lines),
        [b'<', ..] => (text.starts_with(b"<?xml") || text.starts_with(b"<Events") || xml::start(text) == Some(0))
            .then_some(Form::Xml),
        _ if shown::begins(text) => Some(Form::Shown),
        _ => {
            let first = first_line(&text[csv::preamble(text)..]);
            // A header of syslog without its priority, as relays write it to files.
            let line = || (memchr::memchr(b'{', first).is_some() || xml::start(first).is_some()).then_some(Form::Lines);
            csv::separator(first).map(Form::Csv).or_else(line)
        }
    }
}

/// The line that `evtx_dump` writes before each record: `Record 9832`. Its length, with its end.
pub(super) fn number(text: &[u8]) -> Option<usize> {
    let digits = text.strip_prefix(b"Record ")?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = match &digits[count..] {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => return None,
    };
    (1..=MOST_DIGITS)
        .contains(&count)
        .then_some(text.len() - digits.len() + count + end)
}

/// Of a record's number.
const MOST_DIGITS: usize = 20;
/// A line with one is no longer.
pub(super) const NUMBER: usize = "Record ".len() + MOST_DIGITS + 2;

/// Names of which at least one stands at the beginning of every log that is read, and of few other files.
const MARKS: &[&str] = &[
    "EventID",
    // Wazuh.
    "eventID",
    "EventId",
    "event_id",
    "EventCode",
    "ProviderName",
    "event.code",
    "DeviceName",
    "_raw",
    "<Event ",
    "<Event>",
    "StringInserts",
    // Elastic Defend.
    "endpoint.events.",
];

/// Is this the beginning of a log, whatever else may be JSON or XML?
pub(super) fn is_known(text: &[u8]) -> bool {
    form(text).is_some_and(|form| {
        matches!(form, Form::Shown | Form::Csv(_))
            || MARKS.iter().any(|mark| memmem::find(text, mark.as_bytes()).is_some())
    })
}

fn first_line(text: &[u8]) -> &[u8] {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    line.trim_ascii_end()
}

/// One object a line, or one that is more.
fn object(text: &[u8]) -> Form {
    if let Found::Inside(_) = Scan::default().on(text) {
        return Form::Document;
    }
    if first_line(text) == b"{" {
        return Form::Document;
    }
    let whole = |line: &[u8]| {
        let line = line.trim_ascii();
        line.starts_with(b"{") && Scan::default().on(line) == Found::End(line.len())
    };
    if text.split(|byte| *byte == b'\n').take(LINES).any(whole) {
        Form::Lines
    } else {
        Form::Document
    }
}
