//! Logs that are over: renamed by the time at which they ended, and compressed behind the sensor's back.

use std::fs::{self, File};
use std::io::{self, BufReader};
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
}

impl Rotation {
    /// Zero means never, of both.
    pub(super) fn new(mebibytes: u32, minutes: u32, compression: Compression) -> Self {
        Self {
            most_bytes: u64::from(mebibytes) << 20,
            every: Duration::from_secs(u64::from(minutes) * 60),
            compression,
            since: Instant::now(),
        }
    }

    /// Are they over, the longest of which has so many bytes?
    pub(super) fn is_due(&self, longest: u64) -> bool {
        (self.most_bytes > 0 && longest >= self.most_bytes)
            || (!self.every.is_zero() && self.since.elapsed() >= self.every)
    }

    /// Moves them out of the way.
    pub(super) fn put_away(&mut self, logs: &[PathBuf], now: Timestamp) {
        self.since = Instant::now();
        let moved: Vec<PathBuf> = logs.iter().filter_map(|log| move_away(log, now)).collect();
        let compression = self.compression;
        if compression != Compression::None {
            thread::spawn(move || {
                for log in moved {
                    if let Err(error) = compress(&log, compression) {
                        complain(&format!("{}: {error}; it stays as it is", log.display()), None);
                    }
                }
            });
        }
    }
}

/// `eve.json` becomes `eve-2020-07-18T23-10-02.061141.json`.
fn move_away(log: &Path, now: Timestamp) -> Option<PathBuf> {
    let stamp: String = now
        .to_string()
        .chars()
        .take(26)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    let (stem, ending) = (log.file_stem()?.to_str()?, log.extension()?.to_str()?);
    let moved = log.with_file_name(format!("{stem}-{stamp}.{ending}"));
    match fs::rename(log, &moved) {
        Ok(()) => Some(moved),
        // One that never had a row is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            complain(&format!("{}: {error}; it goes on", log.display()), None);
            None
        }
    }
}

fn compress(log: &Path, compression: Compression) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(log)?);
    let mut name = log.as_os_str().to_owned();
    name.push(if compression == Compression::Gz { ".gz" } else { ".zst" });
    let written = File::create(&name).and_then(|file| match compression {
        Compression::Gz => {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?.sync_all()
        }
        Compression::Zst | Compression::None => {
            let mut encoder = zstd::stream::write::Encoder::new(file, 3)?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?.sync_all()
        }
    });
    if written.is_err() {
        let _ = fs::remove_file(&name);
    }
    written.and_then(|()| fs::remove_file(log))
}
