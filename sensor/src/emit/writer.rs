//! Logs that are written on a thread of their own, while what comes next is read and understood.

use std::io;
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::{Emitters, OfRun};
use crate::event::Event;
use crate::outputs::Outputs;
use crate::time::Timestamp;

/// Events that are handed over at a time, or a few more, and how often that may be done before the first of them are written: two
/// thousand events or a few more, which bounds the memory.
const BATCH: usize = 256;
const QUEUE: usize = 8;

/// Hands events to the thread that writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    batch: Vec<Event>,
    batches: SyncSender<Vec<Event>>,
    /// Batches that were written. Their events are let go of on the thread that made them: between threads it costs three times
    /// as much.
    written: Receiver<Vec<Event>>,
    thread: JoinHandle<OfRun>,
}

impl Writer {
    /// From now on these logs are written by a thread, which also hands events to outputs.
    pub(crate) fn start(emitters: Emitters, outputs: Outputs) -> Self {
        let (batches, to_write) = sync_channel::<Vec<Event>>(QUEUE);
        let (done, written) = sync_channel(QUEUE);
        let thread = thread::spawn(move || {
            let mut logs = OfRun::new(emitters);
            for batch in to_write {
                for event in &batch {
                    logs.write(event);
                    outputs.offer(event);
                }
                // With no room, or nobody there any more, they are let go of here.
                let _ = done.try_send(batch);
            }
            logs
        });
        Self {
            batch: Vec::with_capacity(BATCH),
            batches,
            written,
            thread,
        }
    }

    /// Takes the events, and leaves none. False when nobody writes them any more, which [`Self::finish`] goes on to say.
    pub(crate) fn write(&mut self, events: &mut Vec<Event>) -> bool {
        if self.batch.is_empty() {
            mem::swap(&mut self.batch, events);
        } else {
            self.batch.append(events);
        }
        self.batch.len() < BATCH || self.send()
    }

    fn send(&mut self) -> bool {
        let mut next = self.written.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
        next.clear();
        self.batches.send(mem::replace(&mut self.batch, next)).is_ok()
    }

    /// Waits for what was handed over, and ends the logs.
    pub(crate) fn finish(mut self, first: Timestamp, last: Timestamp) -> io::Result<()> {
        self.send();
        drop(self.batches);
        let logs = self.thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        logs.finish(first, last)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::emit::{Format, Scratch};
    use crate::event::samples;

    #[test]
    fn what_is_handed_over_is_written_in_order() {
        let scratch = Scratch::new("writer");
        let mut writer = Writer::start(Emitters::create(&scratch.0, &[Format::Eve]).unwrap(), Outputs::none());
        let mut events = Vec::new();
        for number in 0..3 * BATCH {
            let mut event = samples::all().remove(0);
            event.meta.frame = Some(number as u64);
            events.push(event);
            if number % 7 == 0 {
                assert!(writer.write(&mut events));
                assert!(events.is_empty());
            }
        }
        assert!(writer.write(&mut events));
        writer.finish(samples::time(), samples::time()).unwrap();
        let text = fs::read_to_string(scratch.0.join("eve.json")).unwrap();
        let numbers = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["pcap_cnt"].as_u64().unwrap()
        });
        assert!(numbers.eq(0..3 * BATCH as u64));
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let scratch = Scratch::new("unwritable");
        let emitters = Emitters::create(&scratch.0, &[Format::Zeek]).unwrap();
        let mut writer = Writer::start(emitters, Outputs::none());
        // The log is made at its first row, and by then its folder is gone.
        fs::remove_dir(&scratch.0).unwrap();
        for _ in 0..BATCH {
            assert!(writer.write(&mut samples::all()));
        }
        let error = writer.finish(samples::time(), samples::time()).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("the logs are not whole: ") && told.ends_with(" lines are lost, or more"),
            "{told}"
        );
    }
}
