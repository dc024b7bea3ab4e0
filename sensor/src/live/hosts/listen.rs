//! Senders on a TCP port: a JSON object a line, or RFC 5424 syslog, framed by its length or by line ends (RFC 6587).

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Counts, Cutter, LINE, Sink, add};
use crate::host_log::Lines;

/// Senders at a time. Whoever comes beyond it is turned away.
const SENDERS: usize = 64;
/// Lines of one sender in a second. Beyond it no more is read of it until the second is over: TCP makes it wait.
const LINES_PER_SECOND: u32 = 50_000;
/// How long a read waits before something else is looked at.
const PATIENCE: Duration = Duration::from_millis(500);
/// Digits of a message's length.
const DIGITS: usize = 9;

/// Takes senders until told to stop.
pub(super) fn run(listener: &TcpListener, sink: &Sink, stop: &Arc<AtomicBool>) {
    let open = Arc::new(AtomicUsize::new(0));
    // Without that it would wait for the next sender after it was told to stop.
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, from)) = listener.accept() else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if open.load(Ordering::Relaxed) >= SENDERS {
            add(&sink.counts.senders_refused);
            continue;
        }
        add(&sink.counts.senders);
        open.fetch_add(1, Ordering::Relaxed);
        let (sink, stop, open) = (sink.clone(), Arc::clone(stop), Arc::clone(&open));
        thread::spawn(move || {
            let name = format!("tcp://{from}");
            // A sender that goes away is no fault of ours.
            let _ = hear(stream, &name, sink, &stop);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn hear(mut stream: TcpStream, name: &str, mut sink: Sink, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let counts = Arc::clone(&sink.counts);
    let mut frames = Frames::default();
    let mut lines = Lines::new(name.into());
    let mut rate = Rate::new();
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                sink.flush(&mut lines);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut came = 0;
        frames.push(buffer.get(..count).unwrap_or_default(), &counts, |line| {
            came += 1;
            sink.line(&mut lines, line);
        });
        sink.send();
        rate.take(came, &counts);
    }
    frames.end(|line| sink.line(&mut lines, line));
    sink.flush(&mut lines);
    Ok(())
}

/// Lines in this second.
struct Rate {
    since: Instant,
    lines: u32,
}

impl Rate {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            lines: 0,
        }
    }

    /// So many have come: waits if that is too many.
    fn take(&mut self, lines: u32, counts: &Counts) {
        let second = Duration::from_secs(1);
        if self.since.elapsed() >= second {
            *self = Self::new();
        }
        self.lines = self.lines.saturating_add(lines);
        if self.lines > LINES_PER_SECOND {
            add(&counts.slowed);
            thread::sleep(second.saturating_sub(self.since.elapsed()));
            *self = Self::new();
        }
    }
}

/// Cuts a stream into messages. Each begins with its length, or it ends with its line.
#[derive(Debug, Default)]
struct Frames {
    cutter: Cutter,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// A message begins.
    #[default]
    Between,
    /// The digits of its length so far.
    Length(Vec<u8>),
    /// So many bytes of it are still to come; it is passed over when it is too long.
    Counted { left: usize, skipping: bool },
    /// It goes on to the end of its line.
    Line,
}

impl Frames {
    fn push(&mut self, mut bytes: &[u8], counts: &Counts, mut each: impl FnMut(&[u8])) {
        while let Some(&first) = bytes.first() {
            match &mut self.state {
                State::Between if first.is_ascii_digit() && first != b'0' => self.state = State::Length(Vec::new()),
                State::Between => self.state = State::Line,
                State::Length(digits) => {
                    if first.is_ascii_digit() && digits.len() < DIGITS {
                        digits.push(first);
                        bytes = bytes.get(1..).unwrap_or_default();
                    } else if first == b' ' {
                        let left = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                        let left: usize = left.unwrap_or_default();
                        let skipping = left > LINE;
                        if skipping {
                            add(&counts.too_long);
                        }
                        self.state = State::Counted { left, skipping };
                        bytes = bytes.get(1..).unwrap_or_default();
                    } else {
                        // No length after all: a line that begins with digits.
                        self.cutter.partial = std::mem::take(digits);
                        self.state = State::Line;
                    }
                }
                State::Counted { left, skipping } => {
                    let take = bytes.len().min(*left);
                    let (part, rest) = bytes.split_at(take);
                    bytes = rest;
                    *left -= take;
                    if !*skipping {
                        self.cutter.partial.extend_from_slice(part);
                    }
                    if *left == 0 {
                        if !*skipping {
                            each(self.cutter.partial.strip_suffix(b"\n").unwrap_or(&self.cutter.partial));
                        }
                        self.cutter.clear();
                        self.state = State::Between;
                    }
                }
                State::Line => {
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    bytes = rest;
                    self.cutter.push(part, LINE, counts, &mut each);
                    if end.is_some() {
                        self.state = State::Between;
                    }
                }
            }
        }
    }

    /// The sender is gone: what it sent last has no end.
    fn end(&mut self, each: impl FnOnce(&[u8])) {
        let whole = matches!(self.state, State::Line) && !self.cutter.skipping;
        if whole && !self.cutter.partial.is_empty() {
            each(&self.cutter.partial);
        }
        self.cutter.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::host_log::HostBody;

    #[test]
    fn messages_are_cut_by_length_and_by_line_wherever_the_stream_is() {
        let text = b"{\"a\":1}\n5 <1>1 \n14 <34>1 two\nlines<5>1 x\n12th of May\n";
        for step in 1..=text.len() {
            let (mut frames, counts, mut messages) = (Frames::default(), Counts::default(), Vec::new());
            for bytes in text.chunks(step) {
                frames.push(bytes, &counts, |line| {
                    messages.push(String::from_utf8_lossy(line).into_owned());
                });
            }
            let expected = ["{\"a\":1}", "<1>1 ", "", "<34>1 two\nline", "s<5>1 x", "12th of May"];
            assert_eq!(messages, expected, "{step}");
        }
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_counted() {
        let (mut frames, counts, mut messages) = (Frames::default(), Counts::default(), Vec::new());
        let mut each = |line: &[u8]| messages.push(line.to_vec());
        frames.push(format!("{} ", LINE + 1).as_bytes(), &counts, &mut each);
        for _ in 0..=LINE / 1024 {
            frames.push(&[b'x'; 1024], &counts, &mut each);
        }
        // The rest of the last block is no digit: it goes on to the end of its line.
        frames.push(b"\n{}\n", &counts, &mut each);
        assert_eq!(messages.last().map(Vec::as_slice), Some(&b"{}"[..]));
        assert_eq!(counts.too_long.load(Ordering::Relaxed), 1);
        assert!(frames.cutter.partial.capacity() < 2 * LINE);
    }

    #[test]
    fn senders_are_heard_and_too_many_are_turned_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (out, events) = sync_channel(64);
        let sink = Sink {
            out,
            counts: Arc::default(),
            batch: Vec::new(),
        };
        let (counts, stop) = (Arc::clone(&sink.counts), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || run(&listener, &sink, &stopped));
        let json = "{\"EventID\":1,\"SourceName\":\"Microsoft-Windows-Sysmon\",\"Hostname\":\"WS6\",\
                    \"UtcTime\":\"2026-01-02 03:04:05.678\",\"ProcessId\":\"PID\",\"Image\":\"C:\\\\a.exe\",\
                    \"CommandLine\":\"a\",\"ParentProcessId\":\"1\",\"ParentImage\":\"C:\\\\b.exe\"}";
        let mut one = TcpStream::connect(address).unwrap();
        one.write_all(format!("{}\n", json.replace("PID", "11")).as_bytes())
            .unwrap();
        let syslog = format!(
            "<13>1 2026-01-02T03:04:05Z WS6 Sysmon - - - {}",
            json.replace("PID", "12")
        );
        one.write_all(format!("{} {syslog}", syslog.len()).as_bytes()).unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let mut pids = Vec::new();
        let start = Instant::now();
        while pids.len() < 2 && start.elapsed() < Duration::from_secs(10) {
            for event in events.recv_timeout(Duration::from_secs(10)).unwrap_or_default() {
                if let HostBody::ProcessCreate(create) = event.body {
                    pids.extend(create.process.pid);
                }
            }
        }
        assert_eq!(pids, [11, 12]);
        let all: Vec<TcpStream> = (0..SENDERS + 4).map(|_| TcpStream::connect(address).unwrap()).collect();
        while counts.senders_refused.load(Ordering::Relaxed) < 3 && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(counts.senders_refused.load(Ordering::Relaxed) >= 3);
        drop(all);
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }
}
