//! A log of one file with a line for each event that has one: eve.json, and forms that others define.

use std::io;
use std::path::Path;

use super::Unfinished;
use super::sink::{Sink, Start};
use crate::event::Event;

/// Writes an event's line, its line feed included, or nothing.
pub(super) type Line = fn(&Event, &mut Vec<u8>);

/// The file. It is there from the start, empty when nothing happened.
#[derive(Debug)]
pub(super) struct Log {
    sink: Sink,
    line: Line,
}

impl Log {
    /// Makes the file.
    pub(super) fn create(folder: &Path, name: &str, start: Start, line: Line) -> io::Result<Self> {
        let mut sink = Sink::new(folder.join(name), start);
        sink.open()?;
        Ok(Self { sink, line })
    }

    /// Adds an event's line, if it has one.
    pub(super) fn write(&mut self, event: &Event) -> io::Result<()> {
        (self.line)(event, self.sink.line());
        self.sink.settle()
    }

    /// Has an event a line here?
    pub(super) fn tells(&mut self, event: &Event) -> bool {
        let lines = self.sink.line();
        let before = lines.len();
        (self.line)(event, lines);
        let tells = lines.len() > before;
        lines.truncate(before);
        tells
    }

    /// Brings the lines so far to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Brings the lines to the file, and ends it.
    pub(super) fn finish(mut self) -> Result<(), Unfinished> {
        self.sink.finish()
    }

    pub(super) fn sink(&self) -> &Sink {
        &self.sink
    }
}
