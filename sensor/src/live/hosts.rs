//! Host logs as they come: files that grow, and senders on a TCP port.
//!
//! One thread looks at the files four times a second, one waits for senders, and each sender has its own. Threads, since
//! there are few of them, reading files is blocking anyway, and the jail is made before any begins; what they read goes
//! through one bounded channel, so that whoever sends too much waits.

mod follow;
mod listen;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

use crate::cli::complain;
use crate::correlate::{Correlator, FeedCounters};
use crate::host_log::{HostEvent, Lines};

/// Batches of events that wait for the sensor.
const QUEUE: usize = 64;
/// Events in one of them.
const BATCH: usize = 256;
/// Bytes of a line; each file and each sender may hold so many. A longer one is passed over to its end.
const LINE: usize = 1 << 20;
/// Batches taken in one go: frames must not wait.
const AT_A_TIME: usize = 16;

/// What is read, and how it is counted.
pub(super) struct Feed {
    events: Receiver<Vec<HostEvent>>,
    counts: Arc<Counts>,
}

/// Shared by all who read.
#[derive(Debug, Default)]
struct Counts {
    lines: AtomicU64,
    too_long: AtomicU64,
    files: AtomicU64,
    rotated: AtomicU64,
    truncated: AtomicU64,
    unreadable: AtomicU64,
    senders: AtomicU64,
    senders_refused: AtomicU64,
    slowed: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Opens the port before root is given up.
pub(super) fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| format!("--listen {address}"))?;
    if !address.ip().is_loopback() {
        let message = format!("--listen {address}: whoever reaches this address can say what hosts logged");
        complain(&message, Some("an address of this machine alone is 127.0.0.1 or ::1"));
    }
    Ok(Some(listener))
}

impl Feed {
    /// Begins to read.
    pub(super) fn start(paths: Vec<PathBuf>, listener: Option<TcpListener>, stop: &Arc<AtomicBool>) -> Self {
        let (out, events) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let sink = Sink {
            out,
            counts: Arc::clone(&counts),
            batch: Vec::new(),
        };
        if !paths.is_empty() {
            let (sink, stop) = (sink.clone(), Arc::clone(stop));
            thread::spawn(move || follow::run(&paths, sink, &stop));
        }
        if let Some(listener) = listener {
            let stop = Arc::clone(stop);
            thread::spawn(move || listen::run(&listener, &sink, &stop));
        }
        Self { events, counts }
    }

    /// Hands over what was read.
    pub(super) fn take(&self, correlator: &mut Correlator) {
        for batch in self.events.try_iter().take(AT_A_TIME) {
            for event in batch {
                correlator.push(event);
            }
        }
    }

    /// Tells what was counted.
    pub(super) fn count(&self, correlator: &mut Correlator) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts {
            lines,
            too_long,
            files,
            rotated,
            truncated,
            unreadable,
            senders,
            senders_refused,
            slowed,
        } = &*self.counts;
        correlator.set_feed(FeedCounters {
            lines: get(lines),
            too_long: get(too_long),
            files: get(files),
            rotated: get(rotated),
            truncated: get(truncated),
            unreadable: get(unreadable),
            senders: get(senders),
            senders_refused: get(senders_refused),
            slowed: get(slowed),
        });
    }
}

/// Where events go that were read.
struct Sink {
    out: SyncSender<Vec<HostEvent>>,
    counts: Arc<Counts>,
    batch: Vec<HostEvent>,
}

impl Clone for Sink {
    fn clone(&self) -> Self {
        Self {
            out: self.out.clone(),
            counts: Arc::clone(&self.counts),
            batch: Vec::new(),
        }
    }
}

impl Sink {
    fn line(&mut self, lines: &mut Lines, line: &[u8]) {
        add(&self.counts.lines);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            lines.push(line, &mut |event| self.batch.push(event));
        }
        if self.batch.len() >= BATCH {
            self.send();
        }
    }

    fn flush(&mut self, lines: &mut Lines) {
        lines.flush(&mut |event| self.batch.push(event));
        self.send();
    }

    /// Waits until there is room. Once nobody listens any more, what is sent is lost: the sensor ends.
    fn send(&mut self) {
        if !self.batch.is_empty() {
            let _ = self.out.send(std::mem::take(&mut self.batch));
        }
    }
}

/// Cuts bytes into lines of a bounded length, wherever they are cut.
#[derive(Debug, Default)]
struct Cutter {
    partial: Vec<u8>,
    /// Is the rest of a line passed over that was too long?
    skipping: bool,
}

impl Cutter {
    /// Gives each line that ends in `bytes`; what is left waits for more.
    fn push(&mut self, mut bytes: &[u8], most: usize, counts: &Counts, mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.len() + line.len() > most {
                self.partial.clear();
                add(&counts.too_long);
            } else if self.partial.is_empty() {
                each(line);
            } else {
                self.partial.extend_from_slice(line);
                each(&self.partial);
                self.partial.clear();
            }
        }
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > most {
            self.partial = Vec::new();
            self.skipping = true;
            add(&counts.too_long);
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn clear(&mut self) {
        self.partial.clear();
        self.skipping = false;
    }
}

/// Says something once of each name.
#[derive(Debug, Default)]
struct Once(Mutex<std::collections::BTreeSet<String>>);

impl Once {
    /// So many names are remembered: of more nothing is said.
    const MOST: usize = 1_000;

    /// Is it said now?
    fn complain(&self, name: &str, message: &str) -> bool {
        let Ok(mut told) = self.0.lock() else { return false };
        let is_new = told.len() < Self::MOST && told.insert(name.to_owned());
        if is_new {
            complain(message, None);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_cut_and_long_ones_are_counted() {
        let text = b"one\n\ntwo two\nfar too long for a line\nthree\nrest";
        for step in 1..=text.len() {
            let (mut cutter, counts, mut lines) = (Cutter::default(), Counts::default(), Vec::new());
            for bytes in text.chunks(step) {
                cutter.push(bytes, 8, &counts, |line| {
                    lines.push(String::from_utf8_lossy(line).into_owned());
                });
            }
            assert_eq!(lines, ["one", "", "two two", "three"], "{step}");
            assert_eq!(counts.too_long.load(Ordering::Relaxed), 1, "{step}");
            assert_eq!(cutter.partial, b"rest");
        }
    }
}
