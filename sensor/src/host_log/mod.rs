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
mod dcom_error;
mod defender;
pub mod event;
mod evtx;
mod fields;
mod inputs;
mod interpret;
mod json;
mod keep;
mod line;
mod names;
mod reader;
mod report;
mod zone;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub use event::{HostBody, HostEvent};
pub use inputs::inputs;
pub use report::{Kind, Reason, Report};

use crate::capture::{Cause as StoredCause, stored::Stored};
use crate::limits::host_log as limits;
use reader::Reader;

/// A log that could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("{input}: {cause}")]
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

/// Reads one file of whatever kind; every event goes to `sink` in the order of the file. Memory does not grow with the file.
pub fn read(path: &Path, sink: &mut dyn FnMut(HostEvent)) -> Result<Report, ReadError> {
    let name: Arc<str> = path.display().to_string().into();
    let fail = |cause: Cause, report: Report| ReadError {
        input: name.to_string(),
        cause,
        report: Box::new(report),
    };
    let mut stored = Stored::open(path).map_err(|error| fail(StoredCause::Open(error).into(), Report::default()))?;
    let mut first = Vec::new();
    if let Err(error) = stored.by_ref().take(64).read_to_end(&mut first) {
        return Err(fail(stored.cause(error).into(), Report::default()));
    }
    let kind = kind(&first);
    let mut reader = Reader::new(name.clone(), kind);
    let outcome = {
        let mut input = first.as_slice().chain(&mut stored);
        match kind {
            Kind::Evtx => evtx::read(&mut input, &mut reader, sink),
            _ => lines(&mut input, &mut reader, sink),
        }
    };
    reader.finish(sink);
    match outcome {
        Ok(()) => Ok(reader.report),
        Err(error) => Err(fail(stored.cause(error).into(), reader.report)),
    }
}

fn kind(first: &[u8]) -> Kind {
    if first.starts_with(evtx::SIGNATURE) {
        Kind::Evtx
    } else {
        Kind::Lines
    }
}

/// Cuts lines; one that is too long is passed over to its end.
fn lines(mut input: impl Read, reader: &mut Reader, sink: &mut dyn FnMut(HostEvent)) -> io::Result<()> {
    const STEP: usize = 1 << 18;
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * STEP);
    let mut number = 0;
    let mut overlong = false;
    let mut searched = 0;
    loop {
        let before = buffer.len();
        let read = input.by_ref().take(STEP as u64).read_to_end(&mut buffer)?;
        let ended = read == 0;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[searched..before + read]).map(|at| at + searched) {
            number += 1;
            if overlong {
                overlong = false;
                reader.skip(Reason::TooLong);
            } else {
                line::read(&buffer[start..end], number, reader, sink);
            }
            start = end + 1;
        }
        buffer.drain(..start);
        searched = buffer.len();
        if buffer.len() > limits::RECORD {
            overlong = true;
        }
        if overlong {
            buffer.clear();
            searched = 0;
        }
        if ended {
            if overlong {
                reader.skip(Reason::TooLong);
            } else {
                line::read(&buffer, number + 1, reader, sink);
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

    /// What was read, skipped and why, so far.
    pub fn report(&self) -> &Report {
        &self.reader.report
    }
}
