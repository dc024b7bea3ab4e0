//! Captures, read and taken apart on threads of their own, while what was said before is understood.
//!
//! A single worker reads for itself. Several have someone who reads and deals out.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::analysis::Mark;
use crate::capture::{CaptureError, CaptureFile, Frame, Input, Spare};
use crate::clock::{Clock, Due};
use crate::dcom;
use crate::decode::{SnapLengths, is_read};
use crate::keys::Used;
use crate::limits::Limits;
use crate::name_answers::NameAnswers;
use crate::statistics::{Counted, Tally};
use crate::time::Timestamp;
use crate::worker::{Place, Spoken, Worker};
use crate::workers::{self, Dealer, Gatherer, Gone, IN_FLIGHT};

/// What a single worker says is handed over when it is so much, or after so many frames. To wake another thread costs more
/// than to understand a few calls.
const SAID: usize = 256;
const FRAMES: usize = 4_096;

/// What comes from the captures, in their order.
pub(super) enum Brought {
    /// What was said of some frames, and what happens between.
    Heard(Vec<Spoken>, Vec<Mark>, Position),
    /// A capture that cannot be read, or not to its end.
    Unreadable(CaptureError),
    /// Nothing more: what was counted, the times of the first and the last frame, and two inputs of which the second begins
    /// before the first ends.
    Ended(Box<Tally>, (Timestamp, Timestamp), Option<[u32; 2]>),
}

/// How far reading has come: which of the inputs, and how much of it.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) input: u32,
    pub(super) bytes: u64,
}

/// What the thread that reads says.
enum Said {
    Brought(Brought),
    /// Frames were dealt out to workers, with this between.
    Dealt(Vec<Mark>, Position),
}

/// Where what is read comes from.
pub(super) struct Reading {
    // Before the gatherer, which waits for the workers: who deals ends when nobody listens.
    said: Option<Receiver<Said>>,
    reader: Option<JoinHandle<Result<(), Gone>>>,
    gatherer: Option<Gatherer>,
}

impl Reading {
    /// Begins to read, by so many workers, until the end or until `interrupted`.
    pub(super) fn start(
        workers: usize,
        limits: &Limits,
        keys: Option<&Used>,
        names: NameAnswers,
        inputs: Vec<Input>,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let (out, said) = sync_channel(IN_FLIGHT);
        let source = Source {
            inputs,
            interrupted,
            out,
        };
        let (reader, gatherer) = if workers == 1 {
            let mut worker = Worker::new(0, 1, limits, dcom::is_read);
            if let Some(used) = keys {
                worker.use_keys(used);
            }
            if names == NameAnswers::Read {
                worker.read_names();
            }
            let alone = Alone {
                clock: Clock::new(limits),
                snap_lengths: SnapLengths::default(),
                worker,
                spoken: Vec::new(),
                marks: Vec::new(),
                frames: 0,
            };
            let reader = thread::spawn(move || {
                // Nobody listens: the logs cannot be written.
                let _ = alone.read(&source);
                Ok(())
            });
            (reader, None)
        } else {
            let spare = Spare::default();
            let (dealer, gatherer) = workers::start(workers, limits, keys, names, spare.clone());
            (thread::spawn(move || deal(dealer, &spare, &source)), Some(gatherer))
        };
        Self {
            said: Some(said),
            reader: Some(reader),
            gatherer,
        }
    }

    /// What comes next; none after the end.
    pub(super) fn next(&mut self) -> Option<Brought> {
        let Ok(said) = self.said.as_ref()?.recv() else {
            self.ended();
            return None;
        };
        Some(match (said, &mut self.gatherer) {
            (Said::Dealt(marks, position), Some(gatherer)) => Brought::Heard(gatherer.gather(), marks, position),
            (Said::Dealt(marks, position), None) => Brought::Heard(Vec::new(), marks, position),
            (Said::Brought(Brought::Ended(mut tally, span, back)), Some(gatherer)) => {
                gatherer.tallies().for_each(|worker| tally.add(worker));
                Brought::Ended(tally, span, back)
            }
            (Said::Brought(brought), _) => brought,
        })
    }

    /// If a thread ended in a panic, so does the sensor, and says why.
    fn ended(&mut self) {
        self.said = None;
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            Some(Ok(Err(gone))) => {
                if let Some(gatherer) = &mut self.gatherer {
                    gatherer.died(gone);
                }
            }
            _ => {}
        }
    }
}

/// The captures, and who wants to hear of them.
struct Source {
    inputs: Vec<Input>,
    interrupted: Arc<AtomicBool>,
    out: SyncSender<Said>,
}

/// Nobody listens any more.
struct Unheard;

impl Source {
    fn say(&self, said: Said) -> Result<(), Unheard> {
        self.out.send(said).map_err(|_| Unheard)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Opens one capture after the other, and tells of those that cannot be opened.
    fn each(&self, mut read: impl FnMut(u32, CaptureFile) -> Result<(), Unheard>) -> Result<(), Unheard> {
        for (number, input) in (0..).zip(&self.inputs) {
            match CaptureFile::open(input) {
                Ok(capture) => read(number, capture)?,
                Err(error) => self.say(Said::Brought(Brought::Unreadable(error)))?,
            }
        }
        Ok(())
    }
}

/// A worker that reads for itself.
struct Alone {
    clock: Clock,
    snap_lengths: SnapLengths,
    worker: Worker,
    spoken: Vec<Spoken>,
    marks: Vec<Mark>,
    /// Frames since something was handed over.
    frames: usize,
}

impl Alone {
    fn read(mut self, source: &Source) -> Result<(), Unheard> {
        let mut position = Position { input: 0, bytes: 0 };
        source.each(|number, mut capture| {
            let mut failed = None;
            while !source.is_interrupted() {
                match capture.next_frame() {
                    Ok(Some(frame)) => {
                        let mut at = frame.at;
                        at.input = number;
                        self.push(Frame { at, ..frame });
                    }
                    Ok(None) => {
                        failed = capture.unread(is_read);
                        break;
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
                if self.spoken.len() >= SAID || self.frames >= FRAMES {
                    position = Position {
                        input: number,
                        bytes: capture.bytes_read(),
                    };
                    self.hand_over(position, source)?;
                }
            }
            position = Position {
                input: number,
                bytes: capture.bytes_read(),
            };
            self.hand_over(position, source)?;
            failed.map_or(Ok(()), |error| source.say(Said::Brought(Brought::Unreadable(error))))
        })?;
        let place = self.clock.end();
        self.worker.settle(place, &mut self.spoken);
        self.marks.push(Mark::Settle(place));
        self.hand_over(position, source)?;
        let mut tally = Tally::of(&Counted {
            uptime: self.clock.uptime(),
            ..Counted::default()
        });
        tally.add(&self.worker.tally());
        let (span, back) = (self.clock.span(), self.clock.back());
        source.say(Said::Brought(Brought::Ended(Box::new(tally), span, back)))
    }

    #[inline]
    fn push(&mut self, mut frame: Frame<'_>) {
        self.frames += 1;
        let before = self.clock.end();
        frame.original_length = self.snap_lengths.original_length(&frame);
        let (sequence, due) = self.clock.step(&mut frame.at);
        if sequence == 1 {
            self.marks.push(Mark::Begin(frame.at.time));
        }
        match due {
            Due::Nothing => {}
            Due::Tick => {
                let now = self.clock.now();
                self.worker.tick(now, &mut self.spoken);
                self.marks.push(Mark::Tick(now));
            }
            Due::Settle => {
                let place = Place { sequence, ..before };
                self.worker.settle(place, &mut self.spoken);
                self.marks.push(Mark::Settle(place));
            }
        }
        self.worker.frame(sequence, &frame, &mut self.spoken);
    }

    fn hand_over(&mut self, position: Position, source: &Source) -> Result<(), Unheard> {
        self.frames = 0;
        let spoken = std::mem::replace(&mut self.spoken, Vec::with_capacity(SAID));
        let marks = std::mem::take(&mut self.marks);
        source.say(Said::Brought(Brought::Heard(spoken, marks, position)))
    }
}

/// Reads, and deals out to several workers.
fn deal(mut dealer: Dealer, spare: &Spare, source: &Source) -> Result<(), Gone> {
    let mut gone = None;
    let mut position = Position { input: 0, bytes: 0 };
    let mut tell = |dealt: Result<Vec<Mark>, Gone>, position| match dealt {
        Ok(marks) => source.say(Said::Dealt(marks, position)),
        Err(worker) => {
            gone = Some(worker);
            Err(Unheard)
        }
    };
    let read = source.each(|number, mut capture| {
        position.input = number;
        while !source.is_interrupted() {
            match capture.next_batch(spare.take()) {
                Ok(Some(mut batch)) => {
                    batch.frames.iter_mut().for_each(|slot| slot.at.input = number);
                    position.bytes = capture.bytes_read();
                    tell(dealer.deal(batch), position)?;
                }
                Ok(None) => {
                    let unread = capture.unread(is_read);
                    return unread.map_or(Ok(()), |error| source.say(Said::Brought(Brought::Unreadable(error))));
                }
                Err(error) => return source.say(Said::Brought(Brought::Unreadable(error))),
            }
        }
        Ok(())
    });
    let _ = read.and_then(|()| tell(dealer.settle(), position)).and_then(|()| {
        let tally = Box::new(dealer.tally());
        source.say(Said::Brought(Brought::Ended(tally, dealer.span(), dealer.back())))
    });
    gone.map_or(Ok(()), Err)
}
