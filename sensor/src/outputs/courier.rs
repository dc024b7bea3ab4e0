//! The thread of one output: takes lines out of its queue and brings them where they go, again and again if need be.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::queue::{Counts, Line, Queue};
use crate::cli::complain;

/// Where lines go.
pub(super) trait Destination: Send {
    /// Makes what is needed to deliver, if it is not there.
    fn open(&mut self) -> Result<(), Trouble>;

    /// Lets go of it.
    fn close(&mut self);

    /// Brings the lines there and takes out those that are: the rest is tried again.
    fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble>;

    /// How many lines are handed over at a time.
    fn batch(&self) -> usize {
        64
    }
}

/// Why a line could not be delivered.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) cause: String,
    pub(super) remedy: Remedy,
    /// What the user can do about it.
    pub(super) hint: Option<&'static str>,
    /// How long the other side asks to be left alone.
    pub(super) respite: Duration,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Connect anew, after a while.
    Reconnect,
    /// Try again after a while.
    Wait,
    /// Try again: it was waited for already.
    Again,
    /// The first line cannot be delivered, now or later.
    GiveUp,
}

impl Trouble {
    pub(super) fn new(remedy: Remedy, cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy,
            hint: None,
            respite: Duration::ZERO,
        }
    }

    /// The connection is of no use any more.
    pub(super) fn lost(error: &io::Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => Some("the user that the sensor runs as must be allowed to write there"),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                Some("what listens there has to run; it is tried again")
            }
            _ => None,
        };
        Self {
            hint,
            ..Self::new(Remedy::Reconnect, error.to_string())
        }
    }

    /// The other side reads nothing.
    pub(super) fn busy() -> Self {
        Self::new(Remedy::Again, "it takes nothing")
    }
}

/// How long to wait before the next attempt: twice as long each time.
struct BackOff(Duration);

impl BackOff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (2 * now).min(Self::LONGEST);
        now
    }
}

/// Begins to deliver what is in the queue.
pub(super) fn start(name: String, queue: Arc<Queue>, destination: Box<dyn Destination>) -> Result<()> {
    let courier = Courier {
        name,
        queue,
        destination,
        back_off: BackOff(BackOff::FIRST),
        ill: None,
    };
    let thread = thread::Builder::new().name("output".to_owned());
    thread.spawn(move || courier.run()).context("cannot start a thread")?;
    Ok(())
}

struct Courier {
    name: String,
    queue: Arc<Queue>,
    destination: Box<dyn Destination>,
    back_off: BackOff,
    /// How many lines had been dropped when something went wrong; none while all is well.
    ill: Option<u64>,
}

impl Courier {
    fn run(mut self) {
        let (mut lines, mut seen) = (VecDeque::new(), 0);
        // Somebody who starts the sensor wants to know at once.
        if let Err(trouble) = self.destination.open() {
            self.fell_ill(&trouble);
        }
        while self.queue.take(self.destination.batch(), seen, &mut lines) {
            if lines.is_empty() && self.queue.renewed(&mut seen) {
                self.destination.close();
                if let Err(trouble) = self.destination.open() {
                    self.fell_ill(&trouble);
                }
            }
            if !self.bring(&mut lines, &mut seen) {
                break;
            }
        }
        self.queue.end();
    }

    /// Delivers these lines, however long it takes. False when nobody waits for that any more.
    fn bring(&mut self, lines: &mut VecDeque<Line>, seen: &mut u64) -> bool {
        while !lines.is_empty() && !self.queue.is_abandoned() {
            if self.queue.renewed(seen) {
                self.back_off = BackOff(BackOff::FIRST);
                self.destination.close();
            }
            let before = lines.len();
            let outcome = self.destination.deliver(lines);
            let delivered = (before - lines.len()) as u64;
            Counts::add(&self.queue.counts.delivered, delivered);
            if delivered > 0 {
                self.back_off = BackOff(BackOff::FIRST);
            }
            let Err(trouble) = outcome else {
                self.is_well();
                continue;
            };
            Counts::add(&self.queue.counts.failures, 1);
            self.fell_ill(&trouble);
            match trouble.remedy {
                Remedy::Again => continue,
                Remedy::GiveUp => {
                    lines.pop_front();
                    Counts::add(&self.queue.counts.dropped, 1);
                    continue;
                }
                Remedy::Reconnect => self.destination.close(),
                Remedy::Wait => {}
            }
            let respite = trouble.respite.min(BackOff::LONGEST);
            if !self.queue.pause(self.back_off.next(), respite, *seen) {
                return false;
            }
        }
        !self.queue.is_abandoned()
    }

    /// Says what is wrong, when it begins.
    fn fell_ill(&mut self, trouble: &Trouble) {
        if self.ill.is_none() {
            self.ill = Some(Counts::get(&self.queue.counts.dropped));
            self.queue.counts.ill.store(true, Ordering::Relaxed);
            let then = match trouble.remedy {
                Remedy::GiveUp => "what it does not take is dropped",
                _ => "what is to go there waits",
            };
            let message = format!("{}: {}; {then}", self.name, printable(&trouble.cause));
            complain(&message, trouble.hint);
        }
    }

    /// Says that it is over.
    fn is_well(&mut self) {
        if let Some(before) = self.ill.take() {
            self.queue.counts.ill.store(false, Ordering::Relaxed);
            let dropped = match Counts::get(&self.queue.counts.dropped) - before {
                0 => "nothing was dropped".to_owned(),
                1 => "1 line was dropped meanwhile".to_owned(),
                many => format!("{many} lines were dropped meanwhile"),
            };
            complain(&format!("{}: works again; {dropped}", self.name), None);
        }
    }
}

/// What others say is printed as one line.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    use super::*;
    use crate::outputs::queue::Pace;

    /// Does what the script says, line by line, then takes all.
    struct Scripted {
        script: VecDeque<Remedy>,
        told: Sender<String>,
    }

    impl Destination for Scripted {
        fn open(&mut self) -> Result<(), Trouble> {
            Ok(())
        }

        fn close(&mut self) {
            let _ = self.told.send("closed".to_owned());
        }

        fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble> {
            while let Some(line) = lines.front() {
                if let Some(remedy) = self.script.pop_front() {
                    return Err(Trouble::new(remedy, "as the script says"));
                }
                let _ = self.told.send(String::from_utf8_lossy(line).into_owned());
                lines.pop_front();
            }
            Ok(())
        }
    }

    #[test]
    fn what_fails_is_tried_again_and_what_is_refused_is_dropped() {
        let (told, heard) = channel();
        let queue = Arc::new(Queue::new(1 << 20));
        for text in ["a", "b", "c"] {
            queue.offer(Arc::from(text.as_bytes()), false, Pace::Live);
        }
        let script = [Remedy::Reconnect, Remedy::Wait, Remedy::GiveUp, Remedy::Again].into();
        start(
            "test".to_owned(),
            Arc::clone(&queue),
            Box::new(Scripted { script, told }),
        )
        .unwrap();
        queue.close();
        let heard: Vec<String> = heard.iter().collect();
        assert_eq!(heard, ["closed", "b", "c"]);
        let counts = &queue.counts;
        let counted = [&counts.offered, &counts.delivered, &counts.dropped, &counts.failures].map(Counts::get);
        assert_eq!(counted, [3, 2, 1, 4]);
    }

    #[test]
    fn lines_that_wait_go_over_a_new_connection_once_it_is_asked_for() {
        let (told, heard) = channel();
        let queue = Arc::new(Queue::new(1 << 20));
        queue.renew();
        queue.offer(Arc::from(*b"a"), false, Pace::Live);
        queue.close();
        let script = VecDeque::new();
        start(
            "test".to_owned(),
            Arc::clone(&queue),
            Box::new(Scripted { script, told }),
        )
        .unwrap();
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["closed", "a"]);
    }

    #[test]
    fn renewal_ends_a_pause() {
        let (told, heard) = channel();
        let queue = Arc::new(Queue::new(1 << 20));
        queue.offer(Arc::from(*b"a"), false, Pace::Live);
        // Together they would take more than 25 seconds.
        let script = [Remedy::Wait; 8].into();
        start(
            "test".to_owned(),
            Arc::clone(&queue),
            Box::new(Scripted { script, told }),
        )
        .unwrap();
        let begin = Instant::now();
        loop {
            queue.renew();
            match heard.recv_timeout(Duration::from_millis(20)) {
                Ok(text) if text == "a" => break,
                _ => assert!(begin.elapsed() < Duration::from_secs(10)),
            }
        }
        queue.abandon();
    }
}
