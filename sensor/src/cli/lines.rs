//! Events as lines on standard output, for as long as somebody reads them.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use crate::emit::{eve, naming};
use crate::event::Event;

/// When whoever reads them has gone, or they cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is nothing left to do.
    Ends,
    /// Something else comes of the run: logs, or what outputs are told.
    GoesOn,
}

pub(crate) struct Lines<W: Write = io::Stdout> {
    out: Option<BufWriter<W>>,
    unread: Unread,
    /// Why it could not be written to, where that is an error.
    failed: Option<io::Error>,
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(unread: Unread) -> Self {
        Self::on(io::stdout(), unread)
    }
}

impl<W: Write> Lines<W> {
    fn on(out: W, unread: Unread) -> Self {
        Self {
            out: Some(BufWriter::new(out)),
            unread,
            failed: None,
            line: Vec::new(),
        }
    }

    pub(crate) fn show(&mut self, event: &Event) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        self.line.clear();
        eve::line(event, &mut self.line);
        let written = out.write_all(&self.line);
        self.judge(written)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let flushed = out.flush();
        self.judge(flushed)
    }

    /// Nothing more comes. Was all of it shown, or nobody there to whom?
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        self.failed.take().map_or(Ok(()), Err)
    }

    fn judge(&mut self, result: io::Result<()>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        let error = naming(Path::new("standard output"), &error);
        if self.unread == Unread::Ends {
            return Err(error);
        }
        self.failed = (error.kind() != ErrorKind::BrokenPipe).then_some(error);
        if let Some(out) = self.out.take() {
            // What is left of them would be tried once more.
            drop(out.into_parts());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn who_has_gone_ends_a_run_of_which_nothing_else_comes() {
        for (unread, ends) in [(Unread::Ends, true), (Unread::GoesOn, false)] {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let mut lines = Lines::on(writer, unread);
            let mut show = || samples::all().iter().try_for_each(|event| lines.show(event));
            let shown = show().and_then(|()| show()).and_then(|()| lines.flush());
            assert_eq!(shown.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe), ends);
            assert!(ends || lines.end().is_ok());
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_when_all_else_is_done() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut lines = Lines::on(full, Unread::GoesOn);
        for event in samples::all() {
            lines.show(&event).unwrap();
        }
        lines.flush().unwrap();
        let error = lines.end().unwrap_err().to_string();
        assert!(error.starts_with("standard output: "), "{error}");
    }
}
