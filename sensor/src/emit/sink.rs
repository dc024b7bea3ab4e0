//! A log file that grows line by line. What cannot be written now is kept, and written when it can be: a line is never torn.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{BUFFER, naming};

/// Does a log begin anew, or go on where it was left?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Anew,
    GoOn,
}

/// The file, and lines that are not in it yet.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    start: Start,
    file: Option<File>,
    pending: Vec<u8>,
    written: u64,
}

impl Sink {
    /// Makes no file yet.
    pub(super) fn new(path: PathBuf, start: Start) -> Self {
        Self {
            path,
            start,
            file: None,
            pending: Vec::with_capacity(BUFFER),
            written: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes or opens the file, if that has not been done; its length.
    pub(super) fn open(&mut self) -> io::Result<u64> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let options = match self.start {
                Start::Anew => options.write(true).create(true).truncate(true),
                Start::GoOn => options.append(true).create(true),
            };
            let opened = options
                .open(&self.path)
                .and_then(|file| Ok((file.metadata()?.len(), file)));
            let (length, file) = opened.map_err(|error| naming(&self.path, &error))?;
            self.written = length;
            self.file = Some(file);
        }
        Ok(self.written)
    }

    /// Where a line goes.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Bytes that are not in the file yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes in the file and still to come.
    pub(super) fn length(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Brings the lines to the file once there are enough of them.
    #[inline]
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.pending.len() >= BUFFER {
            return self.flush();
        }
        Ok(())
    }

    /// Brings all lines to the file. After an error those that are not there are tried again next time.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.open()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut done = 0;
        let mut result = Ok(());
        while done < self.pending.len() {
            match file.write(&self.pending[done..]) {
                Ok(0) => {
                    result = Err(ErrorKind::WriteZero.into());
                    break;
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.written += done as u64;
        self.pending.drain(..done);
        result.map_err(|error| naming(&self.path, &error))
    }

    /// Writes over bytes that are in the file already.
    pub(super) fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.start == Start::Anew) else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytes))
            .map_err(|error| naming(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::emit::Scratch;

    #[test]
    fn what_could_not_be_written_is_written_later_and_whole() {
        let scratch = Scratch::new("sink");
        let folder = scratch.0.join("not-there-yet");
        let mut sink = Sink::new(folder.join("log"), Start::GoOn);
        sink.line().extend_from_slice(b"first\n");
        let error = sink.flush().unwrap_err();
        assert!(error.to_string().contains("not-there-yet"), "{error}");
        sink.line().extend_from_slice(b"second\n");
        fs::create_dir(&folder).unwrap();
        sink.flush().unwrap();
        assert_eq!((sink.pending(), sink.length()), (0, 13));
        drop(sink);
        let mut again = Sink::new(folder.join("log"), Start::GoOn);
        again.line().extend_from_slice(b"third\n");
        again.flush().unwrap();
        assert_eq!(
            fs::read_to_string(folder.join("log")).unwrap(),
            "first\nsecond\nthird\n"
        );
    }
}
