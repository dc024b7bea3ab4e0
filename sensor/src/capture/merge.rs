//! What several rings hear, in one order: that of the frames' times.
//!
//! The two lines of a tap are two interfaces, and the two directions of a tunnel may have other outer addresses, by which the
//! kernel deals them to rings. It hands over the frames of each ring when it likes. A reply must not come before its request,
//! so frames wait until every other ring has come as far in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::live::{BATCH, Heard, Kernel};
use super::{Batch, Slot, Spare};
use crate::time::Timestamp;

/// Longer no frame waits for other rings. What this thread does meanwhile does not count: they cannot bring anything then.
const PATIENCE: Duration = Duration::from_millis(250);
/// More bytes do not wait: what 17 Gbit/s bring in the time after which a silent ring is known to be silent.
const MOST: usize = 64 << 20;
/// Nobody empties a ring that comes no further for so long: its thread says how far it is also while nothing comes.
const STUCK: Duration = Duration::from_secs(5);
/// How often it is asked how far the rings have come, while frames wait.
const ASK: Duration = Duration::from_millis(2);

/// What is heard of all rings.
pub(crate) struct Ears {
    heard: Receiver<Heard>,
    /// How far each ring has come.
    kernels: Vec<Arc<Kernel>>,
    /// How far it had when that was seen to change, and when that was.
    moved: Vec<(i64, Instant)>,
    /// None where there is one ring, which has an order.
    merger: Option<Merger>,
    ready: VecDeque<Heard>,
}

/// What comes next.
pub(crate) enum Next {
    Heard(Heard),
    /// Nothing, for as long as was waited.
    Nothing,
    /// No ring is read any more.
    Ended,
}

impl Ears {
    pub(super) fn new(heard: Receiver<Heard>, kernels: Vec<Arc<Kernel>>, spare: Spare) -> Self {
        Self {
            heard,
            merger: (kernels.len() > 1).then(|| Merger::new(kernels.len(), spare)),
            moved: vec![(0, Instant::now()); kernels.len()],
            kernels,
            ready: VecDeque::new(),
        }
    }

    /// Waits so long for what comes next.
    pub(crate) fn next(&mut self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        loop {
            // First of all: else what is ready would grow as long as rings are faster than whoever asks.
            if let Some(heard) = self.ready.pop_front() {
                return Next::Heard(heard);
            }
            // Looked at before what was handed over is taken: the other way round something could come between.
            let reached = self.reached();
            let ended = loop {
                match self.heard.try_recv() {
                    Ok(heard) => self.take(heard),
                    Err(TryRecvError::Empty) => break false,
                    Err(TryRecvError::Disconnected) => break true,
                }
                if self.merger.is_none() {
                    break false;
                }
            };
            if let Some(merger) = &mut self.merger {
                let reached = if ended { Timestamp(i64::MAX) } else { reached };
                merger.release(reached, &mut self.ready);
            }
            if let Some(heard) = self.ready.pop_front() {
                return Next::Heard(heard);
            }
            if ended {
                return Next::Ended;
            }
            let mut left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            if self.merger.as_ref().is_some_and(|merger| merger.bytes > 0) {
                left = left.min(ASK);
            }
            let begun = Instant::now();
            let more = self.heard.recv_timeout(left);
            if let Some(merger) = &mut self.merger {
                merger.waited += begun.elapsed();
            }
            match more {
                Ok(heard) => self.take(heard),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// How far time has come for what was heard, if it is `now`: not beyond what waits.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        let first = self.merger.as_ref().and_then(Merger::first);
        first.map_or(now, |(_, time)| time.min(now))
    }

    /// Is there a ring that nobody empties, though its interface is there? For whoever asks all the time.
    pub(crate) fn are_stuck(&mut self) -> bool {
        let now = Instant::now();
        let mut any = false;
        for (kernel, (before, since)) in self.kernels.iter().zip(&mut self.moved) {
            let reached = kernel.reached.load(Ordering::Acquire);
            // One that is not read any more has come to the end of time.
            if reached != *before || reached == i64::MAX {
                (*before, *since) = (reached, now);
            }
            let is_stuck = now.duration_since(*since) > STUCK;
            kernel.stuck.store(is_stuck, Ordering::Relaxed);
            any |= is_stuck;
        }
        any
    }

    fn reached(&self) -> Timestamp {
        let reached = self.kernels.iter().map(|kernel| kernel.reached.load(Ordering::Acquire));
        Timestamp(reached.min().unwrap_or(i64::MAX))
    }

    fn take(&mut self, heard: Heard) {
        match (heard, &mut self.merger) {
            (Heard::Frames(ring, batch), Some(merger)) => merger.push(ring, batch),
            (heard, _) => self.ready.push_back(heard),
        }
    }
}

/// Frames that wait for those of other rings.
struct Merger {
    /// Of each ring what came, in its order.
    rings: Vec<VecDeque<Waiting>>,
    /// Bytes in them.
    bytes: usize,
    /// How long was waited for rings so far, in all.
    waited: Duration,
    spare: Spare,
}

/// A batch of which some frames may have gone on.
struct Waiting {
    batch: Batch,
    next: usize,
    /// How long had been waited when it came.
    came: Duration,
}

impl Waiting {
    fn first(&self) -> Option<&Slot> {
        self.batch.frames.get(self.next)
    }
}

impl Merger {
    fn new(rings: usize, spare: Spare) -> Self {
        Self {
            rings: (0..rings).map(|_| VecDeque::new()).collect(),
            bytes: 0,
            waited: Duration::ZERO,
            spare,
        }
    }

    fn push(&mut self, ring: usize, batch: Batch) {
        let Some(waiting) = self.rings.get_mut(ring).filter(|_| !batch.frames.is_empty()) else {
            self.spare.give(batch);
            return;
        };
        self.bytes += batch.bytes.len();
        waiting.push_back(Waiting {
            batch,
            next: 0,
            came: self.waited,
        });
    }

    /// The ring with the earliest frame, and its time; of two the first ring.
    fn first(&self) -> Option<(usize, Timestamp)> {
        let first = |(ring, waiting): (usize, &VecDeque<Waiting>)| Some((ring, waiting.front()?.first()?.at.time));
        self.rings
            .iter()
            .enumerate()
            .filter_map(first)
            .min_by_key(|&(_, time)| time)
    }

    /// Lets go of what no ring can bring anything before any more, and of what has waited too long.
    fn release(&mut self, reached: Timestamp, out: &mut VecDeque<Heard>) {
        let mut merged = Batch::default();
        while let Some((ring, time)) = self.first() {
            if time > reached && !self.is_over() {
                break;
            }
            let Some(waiting) = self.rings.get_mut(ring) else { break };
            let Some(Waiting { batch, next, .. }) = waiting.front_mut() else {
                break;
            };
            let Some(slot) = batch.frames.get(*next).cloned() else {
                break;
            };
            if merged.frames.is_empty() {
                merged = super::live::empty(&self.spare);
            }
            let start = merged.bytes.len();
            merged
                .bytes
                .extend_from_slice(batch.bytes.get(slot.range.clone()).unwrap_or_default());
            merged.frames.push(Slot {
                range: start..merged.bytes.len(),
                ..slot
            });
            *next += 1;
            if *next == batch.frames.len()
                && let Some(Waiting { batch, .. }) = waiting.pop_front()
            {
                self.bytes -= batch.bytes.len();
                self.spare.give(batch);
            }
            if merged.bytes.len() >= BATCH {
                out.push_back(Heard::Frames(ring, std::mem::take(&mut merged)));
            }
        }
        if !merged.frames.is_empty() {
            out.push_back(Heard::Frames(0, merged));
        }
    }

    fn is_over(&self) -> bool {
        let mut first = self.rings.iter().filter_map(VecDeque::front);
        self.bytes > MOST || first.any(|waiting| self.waited.saturating_sub(waiting.came) > PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{At, LinkType};

    fn batch(times: &[i64]) -> Batch {
        let mut batch = Batch::default();
        for &time in times {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&time.to_be_bytes());
            batch.frames.push(Slot {
                at: At {
                    time: Timestamp(time),
                    ..At::default()
                },
                link_type: LinkType(1),
                range: start..batch.bytes.len(),
                original_length: 8,
            });
        }
        batch
    }

    /// The times of what was let go, each read out of its frame's bytes.
    fn released(merger: &mut Merger, reached: i64) -> Vec<i64> {
        let mut out = VecDeque::new();
        merger.release(Timestamp(reached), &mut out);
        let batches = out.into_iter().filter_map(|heard| match heard {
            Heard::Frames(_, batch) => Some(batch),
            Heard::Down(..) | Heard::Up(_) => None,
        });
        batches
            .flat_map(|Batch { bytes, frames }| {
                frames.into_iter().map(move |slot| {
                    let read = i64::from_be_bytes(bytes[slot.range].try_into().unwrap());
                    assert_eq!(Timestamp(read), slot.at.time);
                    read
                })
            })
            .collect()
    }

    #[test]
    fn frames_of_two_lines_come_in_the_order_of_their_times() {
        let mut merger = Merger::new(2, Spare::default());
        merger.push(1, batch(&[2, 4, 6]));
        assert!(released(&mut merger, 1).is_empty());
        merger.push(0, batch(&[1, 3]));
        merger.push(0, batch(&[5, 7]));
        assert_eq!(released(&mut merger, 4), [1, 2, 3, 4]);
        assert_eq!(merger.first(), Some((0, Timestamp(5))));
        assert_eq!(released(&mut merger, i64::MAX), [5, 6, 7]);
        assert_eq!((merger.bytes, merger.first()), (0, None));
    }

    #[test]
    fn nothing_waits_for_ever_or_without_bound() {
        let mut merger = Merger::new(2, Spare::default());
        merger.push(0, batch(&[1]));
        merger.waited += 2 * PATIENCE;
        merger.push(1, batch(&[2]));
        assert_eq!(released(&mut merger, 0), [1], "the other has not waited so long");
        merger.bytes = MOST + 9;
        merger.push(0, batch(&[3]));
        assert_eq!(released(&mut merger, 0), [2, 3]);
    }

    #[test]
    fn a_ring_that_comes_no_further_is_stuck_until_it_does() {
        let (_out, heard) = std::sync::mpsc::sync_channel(1);
        let kernels: Vec<Arc<Kernel>> = vec![Arc::default(), Arc::default()];
        let [near, far] = [0, 1].map(|ring: usize| Arc::clone(&kernels[ring]));
        let mut ears = Ears::new(heard, kernels, Spare::default());
        let mut stuck_after_long = || {
            for (_, since) in &mut ears.moved {
                *since -= 2 * STUCK;
            }
            ears.are_stuck()
        };
        near.reached.store(1, Ordering::Release);
        far.reached.store(i64::MAX, Ordering::Release);
        assert!(
            !stuck_after_long(),
            "one has come further, the other is not read any more"
        );
        assert!(stuck_after_long());
        assert!(near.stuck.load(Ordering::Relaxed) && !far.stuck.load(Ordering::Relaxed));
        near.reached.store(2, Ordering::Release);
        assert!(!stuck_after_long());
    }

    #[test]
    fn who_takes_little_is_brought_little() {
        let (out, heard) = std::sync::mpsc::sync_channel(1);
        let kernels: Vec<Arc<Kernel>> = vec![Arc::default(), Arc::default()];
        for kernel in &kernels {
            kernel.reached.store(i64::MAX, Ordering::Release);
        }
        let mut ears = Ears::new(heard, kernels, Spare::default());
        let large = |time| {
            let mut large = batch(&[time]);
            large.bytes.resize(BATCH, 0);
            large.frames[0].range = 0..BATCH;
            Heard::Frames(0, large)
        };
        let merger = ears.merger.as_mut().unwrap();
        for time in [1, 2] {
            let Heard::Frames(ring, batch) = large(time) else {
                continue;
            };
            merger.push(ring, batch);
        }
        assert!(matches!(ears.next(Duration::ZERO), Next::Heard(_)));
        assert!(out.try_send(large(3)).is_ok());
        assert!(matches!(ears.next(Duration::ZERO), Next::Heard(_)));
        assert!(out.try_send(large(4)).is_err(), "what is ready comes first");
    }
}
