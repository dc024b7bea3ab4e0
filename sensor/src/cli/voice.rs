//! Standard error, for a program that must not wait for whoever reads it.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Messages that wait; further ones are dropped, and counted.
const MOST_WAITING: usize = 1_024;
/// How long the last ones are waited for.
const LAST: Duration = Duration::from_millis(200);

static QUEUE: OnceLock<SyncSender<String>> = OnceLock::new();
/// Messages that are not written yet.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// From now on what is said is written by a thread of its own.
pub(crate) fn speak_aside() {
    let (queue, messages) = sync_channel::<String>(MOST_WAITING);
    if QUEUE.set(queue).is_err() {
        return;
    }
    thread::spawn(move || {
        for message in messages {
            write(&message);
            let dropped = DROPPED.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                write(&format!(
                    "dcom-sensor: {dropped} messages found no room before this one\n"
                ));
            }
            WAITING.fetch_sub(1, Ordering::Release);
        }
    });
}

/// Writes a message, which ends with a line feed.
pub(super) fn say(message: String) {
    let Some(queue) = QUEUE.get() else {
        return write(&message);
    };
    WAITING.fetch_add(1, Ordering::Relaxed);
    if queue.try_send(message).is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits a moment until all is written.
pub(super) fn finish() {
    let begin = Instant::now();
    while WAITING.load(Ordering::Acquire) > 0 && begin.elapsed() < LAST {
        sleep(Duration::from_millis(1));
    }
}

fn write(message: &str) {
    // With standard error closed there is nobody to tell.
    let _ = io::stderr().lock().write_all(message.as_bytes());
}
