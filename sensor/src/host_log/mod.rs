//! What hosts say of themselves: Windows event logs and what is exported of them, read as [`HostEvent`]s.
//!
//! ```text
//!  inputs    paths                  folders, files
//!  read      bytes                  .gz, .zst, UTF-16; the form told by content
//!    │ evtx, json, xml, csv, line
//!  Fields    names and values       of one record, whatever form it came in
//!    │ interpret                    whose it is, when it was, what happened
//!  HostEvent                        with what earlier records of the log tell: zone, process ids
//! ```

mod clock;
pub mod command_line;
mod csv;
mod dcom_error;
mod defender;
mod document;
mod endpoint;
pub mod event;
mod evtx;
mod fields;
mod inputs;
mod inserts;
mod interpret;
mod json;
mod keep;
mod labels;
mod line;
mod names;
mod processes;
mod reader;
mod recognise;
mod report;
mod shown;
#[cfg(test)]
mod tests;
mod text;
mod xml;
mod zone;

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub use event::{HostBody, HostEvent};
pub use inputs::{Inputs, inputs};
pub use report::{Kind, Reason, Report};

use crate::capture::{Cause as StoredCause, stored::Stored};
use crate::emit::console::printable;
use crate::limits::host_log as limits;
use reader::Reader;
use recognise::{Bytes, Form};
use text::{Text, Utf16};

/// A log that could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", printable(.input))]
pub struct ReadError {
    /// The file as the user named it.
    pub input: String,
    /// What is wrong with it.
    pub cause: Cause,
    /// What was read of it before that.
    pub report: Box<Report>,
}

/// What could not be found or opened among the inputs.
pub type Failure = ReadError;

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// As with any stored file.
    #[error(transparent)]
    Stored(#[from] StoredCause),
    /// No form we know begins like this.
    #[error("not a host log that is known")]
    NotALog,
    /// The folder has none.
    #[error("there is no host log in this folder")]
    NoLogInFolder,
}

/// Reads one file of whatever kind, or the standard input for `-`; every event goes to `sink` in the order of the file. Records
/// that name no computer are of `unnamed`, if that is known. Memory does not grow with the file.
pub fn read(path: &Path, unnamed: Option<&str>, sink: &mut dyn FnMut(HostEvent)) -> Result<Report, ReadError> {
    let name: Arc<str> = path.display().to_string().into();
    let fail = |cause: Cause, report: Report| ReadError {
        input: name.to_string(),
        cause,
        report: Box::new(report),
    };
    let opened = if path.as_os_str() == "-" {
        Stored::stdin()
    } else {
        Stored::open(path)
    };
    let mut stored = opened.map_err(|error| fail(StoredCause::Open(error).into(), Report::default()))?;
    let mut reader = Reader::new(name.clone(), Kind::default());
    reader.unnamed = unnamed.map(Into::into);
    let mut input = UpToDamage {
        input: &mut stored,
        failed: None,
    };
    let outcome = bytes(&mut input, &mut reader, sink);
    let failed = input.failed.take();
    reader.finish(sink);
    match (failed, outcome) {
        (Some(error), _) | (None, Err(error)) => Err(fail(stored.cause(error).into(), reader.report)),
        (None, Ok(true)) => Ok(reader.report),
        (None, Ok(false)) => Err(fail(Cause::NotALog, reader.report)),
    }
}

/// An input that ends where it cannot be read any more: what came before is read as that of a file that ends there.
struct UpToDamage<R> {
    input: R,
    /// Why it ended there.
    failed: Option<io::Error>,
}

impl<R: Read> Read for UpToDamage<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Ok(0);
        }
        match self.input.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.failed = Some(error);
                Ok(0)
            }
            read => read,
        }
    }
}

/// Reads bytes as the kind of log that they are. False when they are none.
fn bytes(mut input: impl Read, reader: &mut Reader, sink: &mut dyn FnMut(HostEvent)) -> io::Result<bool> {
    let mut first = Vec::new();
    input.by_ref().take(8).read_to_end(&mut first)?;
    let mut kind = recognise::bytes(&first);
    if kind == Bytes::Utf8
        && !first
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        input.by_ref().take(evtx::BEGINNING as u64).read_to_end(&mut first)?;
        kind = recognise::bytes(&first);
    }
    let input = first.as_slice().chain(input);
    match kind {
        Bytes::Evtx => {
            reader.report.kind = Kind::Evtx;
            evtx::read(input, reader, sink)?;
            Ok(true)
        }
        Bytes::Utf16 { big } => written(Text::new(Utf16::new(input, big)), reader, sink),
        Bytes::Utf8 => written(Text::new(input), reader, sink),
    }
}

/// Reads text.
fn written(mut text: Text<impl Read>, reader: &mut Reader, sink: &mut dyn FnMut(HostEvent)) -> io::Result<bool> {
    text.more()?;
    let marked = text.rest().len() - without_mark(text.rest()).len();
    text.take(marked);
    let Some(form) = recognise::form(text.rest()) else {
        return Ok(text.rest().trim_ascii().is_empty());
    };
    reader.report.kind = form.kind();
    match form {
        Form::Lines => lines(&mut text, reader, sink)?,
        Form::Document => document::read(&mut text, reader, sink)?,
        Form::Xml => xml::document(&mut text, reader, sink)?,
        Form::Shown => shown::document(&mut text, reader, sink)?,
        Form::Csv(separator) => csv::read(&mut text, separator, reader, sink)?,
    }
    Ok(true)
}

/// Is this the beginning of a log?
fn is_known(first: &[u8]) -> bool {
    matches!(recognise::bytes(first), Bytes::Evtx) || recognise::is_known(without_mark(&utf8(first)))
}

/// Is this the beginning of something that may be a log, as far as its form goes?
fn has_form(first: &[u8]) -> bool {
    recognise::form(without_mark(&utf8(first))).is_some()
}

/// Text as UTF-8.
fn utf8(first: &[u8]) -> Cow<'_, [u8]> {
    let Bytes::Utf16 { big } = recognise::bytes(first) else {
        return Cow::Borrowed(first);
    };
    let mut utf8 = Vec::new();
    // Reading out of memory does not fail.
    drop(Utf16::new(first, big).read_to_end(&mut utf8));
    Cow::Owned(utf8)
}

/// Without a byte order mark.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// Cuts lines; one that is too long is passed over to its end.
fn lines(text: &mut Text<impl Read>, reader: &mut Reader, sink: &mut dyn FnMut(HostEvent)) -> io::Result<()> {
    let mut number = 0;
    let mut searched = 0;
    let mut overlong = false;
    loop {
        if let Some(found) = memchr::memchr(b'\n', &text.rest()[searched..]) {
            let end = searched + found;
            number += 1;
            if overlong {
                overlong = false;
                reader.skip(Reason::TooLong);
            } else {
                line::read(&text.rest()[..end], number, reader, sink);
            }
            text.take(end + 1);
            searched = 0;
            continue;
        }
        overlong |= text.rest().len() > limits::RECORD;
        if overlong {
            text.take(text.rest().len());
        }
        searched = text.rest().len();
        if !text.more()? {
            if overlong {
                reader.skip(Reason::TooLong);
            } else {
                line::read(text.rest(), number + 1, reader, sink);
            }
            return Ok(());
        }
    }
}

/// One line at a time, of a log that grows or comes over the network: holds what the log has told so far, bounded.
#[derive(Debug)]
pub struct Lines {
    reader: Reader,
    number: u64,
}

impl Lines {
    /// Of an input with this name.
    pub fn new(input: Arc<str>) -> Self {
        Self {
            reader: Reader::new(input, Kind::Lines),
            number: 0,
        }
    }

    /// Reads a line, without its end.
    pub fn push(&mut self, line: &[u8], sink: &mut dyn FnMut(HostEvent)) {
        self.number += 1;
        if line.len() > limits::RECORD {
            self.reader.skip(Reason::TooLong);
        } else {
            line::read(line, self.number, &mut self.reader, sink);
        }
    }

    /// Gives out what is held back for what later lines might say of it: when no line has come for a while, and at the end.
    pub fn flush(&mut self, sink: &mut dyn FnMut(HostEvent)) {
        self.reader.finish(sink);
    }

    /// What was read, skipped and why, so far; what was concluded, up to the last [`Lines::flush`].
    pub fn report(&self) -> &Report {
        &self.reader.report
    }
}
