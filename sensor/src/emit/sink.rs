//! A log file that grows line by line. What cannot be written now is kept, and written when it can be: a line is never torn.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{BUFFER, Unfinished, naming};
use crate::cli::complain;

/// So far back from a log's end it is looked for where its last whole line ends.
const LONGEST_LINE: u64 = 1 << 20;

/// Does a log begin anew, or go on where it was left?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Anew,
    GoOn,
}

/// A pipe of a log's name would keep the sensor waiting for whoever reads it.
pub(crate) fn refuse_pipe(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if std::fs::metadata(path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())) {
        let why = "is a pipe, and a log has to be a file; [[eve-log]] writes to sockets";
        return Err(naming(path, &io::Error::new(ErrorKind::InvalidInput, why)));
    }
    Ok(())
}

/// The file, and lines that are not in it yet.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    start: Start,
    file: Option<File>,
    pending: Vec<u8>,
    /// Could it not be written the last time?
    stuck: bool,
    written: u64,
    /// Bytes at the file's end that are the beginning of a line; its rest is pending.
    begun: u64,
}

impl Sink {
    /// Makes no file yet.
    pub(super) fn new(path: PathBuf, start: Start) -> Self {
        Self {
            path,
            start,
            file: None,
            pending: Vec::with_capacity(BUFFER),
            stuck: false,
            written: 0,
            begun: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes or opens the file, if that has not been done; its length.
    pub(super) fn open(&mut self) -> io::Result<u64> {
        if self.file.is_none() {
            refuse_pipe(&self.path)?;
            let mut options = OpenOptions::new();
            let options = match self.start {
                Start::Anew => options.write(true).create(true).truncate(true),
                Start::GoOn => options.read(true).append(true).create(true),
            };
            let opened = options.open(&self.path).and_then(|mut file| {
                let length = match self.start {
                    Start::Anew => 0,
                    Start::GoOn => whole_lines(&mut file, &self.path)?,
                };
                Ok((length, file))
            });
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

    /// Could it not be written the last time that it was tried?
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
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
        let written = self.bring();
        self.stuck = written.is_err();
        written
    }

    fn bring(&mut self) -> io::Result<()> {
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
        self.begun = match memchr::memrchr(b'\n', &self.pending[..done]) {
            Some(end) => (done - end - 1) as u64,
            None => self.begun + done as u64,
        };
        self.pending.drain(..done);
        result.map_err(|error| naming(&self.path, &error))
    }

    /// Brings all lines to the file. Those for which there is no room are lost: the file ends with the last whole one.
    pub(super) fn finish(&mut self) -> Result<(), Unfinished> {
        let Err(error) = self.flush() else { return Ok(()) };
        if let Some(file) = self.file.as_mut().filter(|_| self.begun > 0) {
            // If that cannot be done, the next start does it.
            let _ = file
                .metadata()
                .and_then(|about| file.set_len(about.len().saturating_sub(self.begun)));
        }
        let mut rest = self.pending.split_inclusive(|&byte| byte == b'\n');
        // What TSV has above and below its rows is no loss.
        let lost = rest.by_ref().filter(|line| !line.starts_with(b"#")).count() as u64;
        self.pending.clear();
        Err(Unfinished { error, lost })
    }

    /// Was the file removed while it is open? What is written is nowhere then.
    pub(super) fn is_removed(&self) -> bool {
        self.file.as_ref().is_some_and(is_removed)
    }

    /// Is the file the one that has its name now? It may have been moved, removed or replaced.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_some_and(|file| is_at(file, &self.path))
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

#[cfg(unix)]
fn is_removed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|about| about.nlink() == 0)
}

#[cfg(not(unix))]
fn is_removed(_: &File) -> bool {
    false
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |about: Metadata| (about.dev(), about.ino());
    let there = path.metadata().map(id);
    there.is_ok_and(|there| file.metadata().is_ok_and(|open| id(open) == there))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    false
}

/// The length of a file that goes on. A line that whoever wrote it last did not end, because it was killed or there was no
/// room, would make the next one unreadable too: it is cut off.
fn whole_lines(file: &mut File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(0);
    }
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_to_end(&mut end)?;
    if end.ends_with(b"\n") {
        return Ok(length);
    }
    let from = length.saturating_sub(LONGEST_LINE);
    end.clear();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut end)?;
    let Some(last) = memchr::memrchr(b'\n', &end) else {
        // No line of ours is so long: it is left as it is, but ends here.
        file.write_all(b"\n")?;
        return Ok(length + 1);
    };
    let whole = from + last as u64 + 1;
    file.set_len(whole)?;
    let path = path.display();
    complain(
        &format!(
            "{path}: its last line was not written to its end, and is cut off: {} bytes",
            length - whole
        ),
        None,
    );
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::emit::Scratch;

    #[test]
    fn a_pipe_is_no_log() {
        let scratch = Scratch::new("sink-pipe");
        let path = scratch.0.join("eve.json");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for start in [Start::Anew, Start::GoOn] {
            let error = Sink::new(path.clone(), start).open().unwrap_err();
            assert!(error.to_string().contains("eve.json: is a pipe"), "{error}");
        }
    }

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

    #[test]
    fn a_line_that_was_not_ended_does_not_spoil_the_next() {
        let scratch = Scratch::new("torn");
        let path = scratch.0.join("log");
        for (before, after) in [
            ("first\n", "first\nnext\n"),
            ("first\nsec", "first\nnext\n"),
            // Nothing of it is known to be a line of ours.
            ("something else", "something else\nnext\n"),
            ("", "next\n"),
        ] {
            fs::write(&path, before).unwrap();
            let mut sink = Sink::new(path.clone(), Start::GoOn);
            sink.line().extend_from_slice(b"next\n");
            sink.flush().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
            assert_eq!(sink.length(), after.len() as u64);
        }
    }

    #[test]
    fn what_is_lost_in_the_end_is_counted_without_header_lines() {
        let scratch = Scratch::new("lost");
        let mut sink = Sink::new(scratch.0.join("not-there/log"), Start::GoOn);
        sink.line().extend_from_slice(b"#fields\nfirst\nsecond\n#close\n");
        let unfinished = sink.finish().unwrap_err();
        assert_eq!(unfinished.lost, 2);
        let said = unfinished.to_string();
        assert!(
            said.contains("not-there/log: ") && said.ends_with("; 2 lines of it are lost"),
            "{said}"
        );
    }
}
