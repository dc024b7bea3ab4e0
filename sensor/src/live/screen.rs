//! Standard output, on a thread of its own: whoever reads it, slowly or not at all, holds up nothing else.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::cli::complain;

/// Bytes that wait to be read; beyond it events are not shown, and counted.
const MOST_WAITING: usize = 4 << 20;
/// Bytes that are collected before they are handed over.
const CHUNK: usize = 32 << 10;

/// At the end it is waited for so long, and for no longer than the second while nothing is read.
const LAST: Duration = Duration::from_millis(500);
const STILL: Duration = Duration::from_millis(100);

pub(super) struct Screen {
    chunk: Vec<u8>,
    events: u64,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Events that wait, or are being written.
    events: u64,
    /// Bytes that were written, to see that something goes on.
    written: u64,
    /// Events that found no room, or that could not be written.
    lost: u64,
    /// What is offered from now on is lost.
    failed: bool,
    /// Has whoever read it closed it?
    is_closed: bool,
    /// Nothing more comes.
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Screen {
    /// What is shown is written to standard output.
    pub(super) fn start() -> io::Result<Self> {
        // A handle of its own: the library's would keep what it cannot write, and lock out others.
        Ok(Self::on(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    fn on(out: impl Write + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        Self {
            chunk: Vec::new(),
            events: 0,
            shared,
            thread: thread::spawn(move || write(out, &of_thread)),
        }
    }

    /// Shows an event, whose lines are written here.
    pub(super) fn show(&mut self, lines: impl FnOnce(&mut Vec<u8>)) {
        let before = self.chunk.len();
        lines(&mut self.chunk);
        self.events += u64::from(self.chunk.len() > before);
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
    }

    /// Hands over what was collected.
    pub(super) fn flush(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let events = mem::take(&mut self.events);
        let mut state = self.shared.state();
        if state.failed || state.waiting.len() + self.chunk.len() > MOST_WAITING {
            let is_first = state.lost == 0;
            state.lost += events;
            drop(state);
            if is_first {
                complain(
                    "standard output: it is not read as fast as events come; those that find no room are not shown",
                    None,
                );
            }
        } else {
            state.waiting.extend_from_slice(&self.chunk);
            state.events += events;
            drop(state);
            self.shared.news.notify_one();
        }
        self.chunk.clear();
    }

    /// Has whoever read it closed it?
    pub(super) fn is_closed(&self) -> bool {
        self.shared.state().is_closed
    }

    /// Waits a moment for what is left. How many events were not shown?
    pub(super) fn finish(mut self) -> u64 {
        self.flush();
        self.shared.state().is_over = true;
        self.shared.news.notify_one();
        let begin = Instant::now();
        let (mut written, mut since) = (0, begin);
        while !self.thread.is_finished() && begin.elapsed() < LAST && since.elapsed() < STILL {
            sleep(Duration::from_millis(2));
            let now = self.shared.state().written;
            if now != written {
                (written, since) = (now, Instant::now());
            }
        }
        let state = self.shared.state();
        state.lost + state.events
    }
}

/// Writes what waits until nothing more comes.
fn write(mut out: impl Write, shared: &Shared) {
    let mut state = shared.state();
    let mut lines = Vec::new();
    loop {
        if state.waiting.is_empty() {
            if state.is_over {
                return;
            }
            state = shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        lines.clear();
        mem::swap(&mut lines, &mut state.waiting);
        let events = state.events;
        drop(state);
        let result = lines.chunks(CHUNK).try_for_each(|chunk| {
            write_all(&mut out, chunk)?;
            shared.state().written += chunk.len() as u64;
            io::Result::Ok(())
        });
        state = shared.state();
        match result {
            Ok(()) => state.events -= events,
            Err(error) => {
                state.failed = true;
                state.lost += mem::take(&mut state.events);
                state.waiting.clear();
                state.is_closed = error.kind() == ErrorKind::BrokenPipe;
                if !state.is_closed {
                    drop(state);
                    complain(
                        &format!("standard output: {error}; nothing more is shown, all else goes on"),
                        None,
                    );
                }
                return;
            }
        }
    }
}

/// Also where whoever else has the terminal made it one that does not wait.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(10)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_nothing_holds_up_nothing_and_what_was_not_shown_is_counted() {
        let (reader, writer) = io::pipe().unwrap();
        let mut screen = Screen::on(writer);
        let begin = Instant::now();
        let line = [b'x'; 1024];
        for _ in 0..8 * 1024 {
            screen.show(|out| out.extend_from_slice(&line));
        }
        let lost = screen.finish();
        // 4 MiB waited in the queue, and what a pipe holds has gone.
        assert!((3_900..=8_192).contains(&lost), "{lost}");
        assert!(begin.elapsed() < Duration::from_secs(2));
        drop(reader);
    }

    #[test]
    fn what_is_read_is_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let reading = thread::spawn(move || io::read_to_string(&mut reader).unwrap());
        let mut screen = Screen::on(writer);
        for number in 0..20_000 {
            screen.show(|out| out.extend_from_slice(format!("{number}\n").as_bytes()));
        }
        assert_eq!(screen.finish(), 0);
        let read = reading.join().unwrap();
        assert!(read.lines().eq((0..20_000).map(|number| number.to_string())));
    }

    #[test]
    fn who_has_gone_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut screen = Screen::on(writer);
        screen.show(|out| out.push(b'\n'));
        screen.flush();
        let begin = Instant::now();
        while !screen.is_closed() {
            assert!(begin.elapsed() < Duration::from_secs(5));
            sleep(Duration::from_millis(1));
        }
    }
}
