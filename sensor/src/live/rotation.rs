//! Logs that are over: renamed by the time at which they ended, and compressed behind the sensor's back.
//!
//! What is compressed so far has `.new` behind its name. So whoever takes `*.gz` away takes whole ones, and a sensor that ended
//! meanwhile leaves a mark: the next one does the rest.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{Compression, complain};
use crate::time::Timestamp;

/// When logs are over, and what becomes of them.
pub(super) struct Rotation {
    most_bytes: u64,
    every: Duration,
    compression: Compression,
    since: Instant,
    /// Not before this is it tried again, after it could not be done.
    again: Option<Instant>,
}

/// How long it is not tried again what could not be done, and was said.
const AGAIN: Duration = Duration::from_secs(60);

/// What the name of a compressed log has behind it until it is whole.
const UNFINISHED: &str = ".new";

/// A log that has another name by now.
pub(super) struct Moved {
    from: PathBuf,
    to: PathBuf,
}

impl Moved {
    /// What it was called, and what it is called now.
    pub(super) fn names(&self) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
        Some((
            self.from.file_name()?.to_string_lossy(),
            self.to.file_name()?.to_string_lossy(),
        ))
    }
}

impl Rotation {
    /// Zero means never, of both. Does what an earlier sensor left undone in this folder.
    pub(super) fn new(mebibytes: u32, minutes: u32, compression: Compression, folder: &Path) -> Self {
        let undone = undone(folder);
        if !undone.is_empty() {
            thread::spawn(move || undone.iter().for_each(Job::run));
        }
        Self {
            most_bytes: u64::from(mebibytes) << 20,
            every: Duration::from_secs(u64::from(minutes) * 60),
            compression,
            since: Instant::now(),
            again: None,
        }
    }

    /// Are they over, the longest of which has so many bytes?
    pub(super) fn is_due(&self, longest: u64) -> bool {
        self.again.is_none_or(|again| Instant::now() >= again)
            && ((self.most_bytes > 0 && longest >= self.most_bytes)
                || (!self.every.is_zero() && self.since.elapsed() >= self.every))
    }

    /// Moves them out of the way. They are open yet, and go on until others are.
    pub(super) fn move_away(&mut self, logs: &[PathBuf], now: Timestamp) -> Vec<Moved> {
        self.since = Instant::now();
        self.again = None;
        let mut moved = Vec::new();
        for log in logs {
            match move_away(log, now) {
                Ok(log) => moved.extend(log),
                Err(error) => self.failed(&format!("{}: {error}; it goes on", log.display())),
            }
        }
        moved
    }

    /// They go on as they did: no others could be opened.
    pub(super) fn move_back(&mut self, moved: &[Moved]) {
        self.again = Some(Instant::now() + AGAIN);
        for Moved { from, to } in moved {
            if let Err(error) = fs::rename(to, from) {
                self.failed(&format!("{}: {error}; it goes on by that name", to.display()));
            }
        }
    }

    fn failed(&mut self, message: &str) {
        self.again = Some(Instant::now() + AGAIN);
        complain(message, None);
    }

    /// Compresses them: they are ended.
    pub(super) fn compress(&self, moved: Vec<Moved>) {
        let compression = self.compression;
        if compression == Compression::None || moved.is_empty() {
            return;
        }
        let jobs: Vec<Job> = moved.into_iter().map(|log| Job::new(log.to, compression)).collect();
        // All are marked before the first is begun.
        jobs.iter().for_each(Job::mark);
        thread::spawn(move || jobs.iter().for_each(Job::run));
    }
}

/// `eve.json` becomes `eve-2020-07-18T23-10-02.061141.json`. None of one that is not there: it never had a row.
fn move_away(log: &Path, now: Timestamp) -> io::Result<Option<Moved>> {
    let stamp: String = now
        .to_string()
        .chars()
        .take(26)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    let name = |part: Option<&std::ffi::OsStr>| part.and_then(std::ffi::OsStr::to_str).map(str::to_owned);
    let Some((stem, ending)) = name(log.file_stem()).zip(name(log.extension())) else {
        return Ok(None);
    };
    let to = log.with_file_name(format!("{stem}-{stamp}.{ending}"));
    match fs::rename(log, &to) {
        Ok(()) => Ok(Some(Moved {
            from: log.to_owned(),
            to,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A log that is to be compressed.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    log: PathBuf,
    compression: Compression,
}

impl Job {
    fn new(log: PathBuf, compression: Compression) -> Self {
        Self { log, compression }
    }

    /// What a mark in a folder asks for.
    fn marked(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(UNFINISHED)?;
        let mut endings = [Compression::Gz, Compression::Zst].into_iter();
        let (log, compression) = endings.find_map(|it| Some((name.strip_suffix(ending(it))?, it)))?;
        Some(Self::new(path.with_file_name(log), compression))
    }

    fn whole(&self) -> PathBuf {
        let mut name = self.log.as_os_str().to_owned();
        name.push(ending(self.compression));
        name.into()
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.whole().into_os_string();
        name.push(UNFINISHED);
        name.into()
    }

    /// Says in the folder that it is to be done.
    fn mark(&self) {
        // Without room for that it is tried all the same.
        let _ = File::create(self.unfinished());
    }

    fn run(&self) {
        if let Err(error) = self.compress() {
            // Never the last that there is of it.
            if self.log.exists() {
                let _ = fs::remove_file(self.unfinished());
            }
            complain(&format!("{}: {error}; it stays as it is", self.log.display()), None);
        }
    }

    fn compress(&self) -> io::Result<()> {
        match File::open(&self.log) {
            Ok(log) => {
                self.write(BufReader::new(log))?;
                fs::remove_file(&self.log)?;
            }
            // It was removed when all of it was in the other file, or somebody took it before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::metadata(self.unfinished())?.len() == 0 {
                    return fs::remove_file(self.unfinished());
                }
                self.check()?;
            }
            Err(error) => return Err(error),
        }
        fs::rename(self.unfinished(), self.whole())
    }

    /// Can what was written be read to its end?
    fn check(&self) -> io::Result<()> {
        let file = BufReader::new(File::open(self.unfinished())?);
        let mut reader: Box<dyn Read> = match self.compression {
            Compression::Gz => Box::new(flate2::bufread::GzDecoder::new(file)),
            Compression::Zst | Compression::None => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        };
        let is_cut = |error| {
            io::Error::other(format!(
                "{} cannot be read to its end: {error}",
                self.unfinished().display()
            ))
        };
        io::copy(&mut reader, &mut io::sink()).map(drop).map_err(is_cut)
    }

    fn write(&self, mut log: impl Read) -> io::Result<()> {
        let file = File::create(self.unfinished())?;
        match self.compression {
            Compression::Gz => {
                let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
                io::copy(&mut log, &mut encoder)?;
                encoder.finish()?.sync_all()
            }
            Compression::Zst | Compression::None => {
                let mut encoder = zstd::stream::write::Encoder::new(file, 3)?;
                io::copy(&mut log, &mut encoder)?;
                encoder.finish()?.sync_all()
            }
        }
    }
}

fn ending(compression: Compression) -> &'static str {
    match compression {
        Compression::Gz => ".gz",
        Compression::Zst => ".zst",
        Compression::None => "",
    }
}

/// Logs that an earlier sensor put away and did not compress to the end.
fn undone(folder: &Path) -> Vec<Job> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut jobs: Vec<_> = entries.filter_map(|entry| Job::marked(&entry.path())).collect();
    jobs.sort_by(|one, other| one.log.cmp(&other.log));
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Scratch;

    const NOW: Timestamp = Timestamp(1_595_113_802_061_141_000);

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn rotation(folder: &Path) -> Rotation {
        Rotation::new(1, 0, Compression::Gz, folder)
    }

    #[test]
    fn what_could_not_be_done_is_not_tried_again_at_once() {
        let scratch = Scratch::new("rotation-again");
        let log = scratch.0.join("eve.json");
        fs::write(&log, "first\n").unwrap();
        let mut rotation = rotation(&scratch.0);
        let logs = [log, scratch.0.join("dcom.log")];
        assert!(rotation.is_due(1 << 20) && !rotation.is_due((1 << 20) - 1));
        let moved = rotation.move_away(&logs, NOW);
        assert_eq!(names(&scratch.0), ["eve-2020-07-18T23-10-02.061141.json"]);
        assert!(rotation.is_due(1 << 20));
        rotation.move_back(&moved);
        assert_eq!(names(&scratch.0), ["eve.json"]);
        assert!(!rotation.is_due(1 << 20), "it was said");
        rotation.again = Some(Instant::now());
        assert!(rotation.is_due(1 << 20));
    }

    #[test]
    fn what_was_left_undone_is_done() {
        let scratch = Scratch::new("rotation-undone");
        let write = |name: &str, text: &str| fs::write(scratch.0.join(name), text).unwrap();
        write("dcom-1.log", "was being compressed\n");
        write("dcom-1.log.gz.new", "half");
        write("eve-1.json", "waited\n");
        write("eve-1.json.zst.new", "");
        write("eve-2.json", "was not to be compressed\n");
        for (name, compression) in [("ssl-1.log", Compression::Gz), ("ssl-2.log", Compression::Zst)] {
            write(name, "whole: its log is removed");
            let job = Job::new(scratch.0.join(name), compression);
            job.write(File::open(&job.log).unwrap()).unwrap();
            fs::remove_file(&job.log).unwrap();
        }
        let jobs = undone(&scratch.0);
        assert_eq!(jobs.len(), 4);
        jobs.iter().for_each(Job::run);
        assert_eq!(
            names(&scratch.0),
            [
                "dcom-1.log.gz",
                "eve-1.json.zst",
                "eve-2.json",
                "ssl-1.log.gz",
                "ssl-2.log.zst"
            ]
        );
        let mut text = String::new();
        let file = File::open(scratch.0.join("dcom-1.log.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "was being compressed\n");
        assert!(undone(&scratch.0).is_empty());
    }

    #[test]
    fn what_is_not_whole_is_not_called_so_though_its_log_is_gone() {
        let scratch = Scratch::new("rotation-gone");
        for (name, compression) in [("a.json", Compression::Gz), ("b.json", Compression::Zst)] {
            let job = Job::new(scratch.0.join(name), compression);
            let text: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
            job.write(&*text).unwrap();
            let whole = fs::read(job.unfinished()).unwrap();
            fs::write(job.unfinished(), &whole[..whole.len() / 2]).unwrap();
            let error = job.compress().unwrap_err().to_string();
            assert!(error.contains(".new cannot be read to its end"), "{error}");
            job.run();
            // A mark: somebody took the log away before it was begun.
            let job = Job::new(scratch.0.join(format!("taken-{name}")), compression);
            job.mark();
            job.run();
        }
        assert_eq!(names(&scratch.0), ["a.json.gz.new", "b.json.zst.new"]);
    }

    #[test]
    fn logs_are_marked_before_they_are_compressed_and_whole_by_their_names() {
        let scratch = Scratch::new("rotation-marked");
        let job = Job::new(scratch.0.join("eve-1.json"), Compression::Zst);
        fs::write(&job.log, "text\n").unwrap();
        job.mark();
        assert_eq!(names(&scratch.0), ["eve-1.json", "eve-1.json.zst.new"]);
        assert_eq!(
            Job::marked(&job.unfinished()),
            Some(Job::new(job.log.clone(), Compression::Zst))
        );
        job.run();
        assert_eq!(names(&scratch.0), ["eve-1.json.zst"]);
        assert_eq!(
            zstd::stream::decode_all(File::open(job.whole()).unwrap()).unwrap(),
            b"text\n"
        );
    }
}
