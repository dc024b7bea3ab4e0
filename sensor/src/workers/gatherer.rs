//! What all workers say, brought together.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use super::Done;
use super::dealer::Gone;
use crate::capture::Spare;
use crate::statistics::Tally;
use crate::worker::Spoken;

/// Waits for what the workers say.
pub(crate) struct Gatherer {
    lanes: Vec<Lane>,
    /// Where memory goes that everybody is done with.
    spare: Spare,
}

/// The way back from one worker.
pub(super) struct Lane {
    done: Option<Receiver<Done>>,
    thread: Option<JoinHandle<()>>,
    tally: Tally,
}

impl Lane {
    pub(super) fn new(done: Receiver<Done>, thread: JoinHandle<()>, tally: Tally) -> Self {
        Self {
            done: Some(done),
            thread: Some(thread),
            tally,
        }
    }

    /// A worker catches what its stages do; if it ends all the same, so does the sensor, and says why.
    #[cold]
    fn died(&mut self) -> ! {
        self.done = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("a worker ends when its jobs do"),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // What it has to say was asked for or is not wanted.
        self.done = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Gatherer {
    pub(super) fn new(lanes: Vec<Lane>, spare: Spare) -> Self {
        Self { lanes, spare }
    }

    /// Everything that is said of the batch that was dealt out first, in the order of its frames.
    pub(crate) fn gather(&mut self) -> Vec<Spoken> {
        let mut all: Vec<Spoken> = Vec::new();
        for lane in &mut self.lanes {
            let Some(Ok(mut done)) = lane.done.as_ref().map(Receiver::recv) else {
                lane.died()
            };
            if all.is_empty() {
                all = done.spoken;
            } else {
                all.append(&mut done.spoken);
            }
            if let Some(tally) = done.tally {
                lane.tally = tally;
            }
            // The last to be done gives the memory back.
            if let Some(dealt) = Arc::into_inner(done.dealt)
                && !dealt.batch.bytes.is_empty()
            {
                self.spare.give(dealt.batch);
            }
        }
        all.sort_by(Spoken::order);
        all
    }

    /// What each worker had counted when it was asked last.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.lanes.iter().map(|lane| &lane.tally)
    }

    /// Ends as the worker did that is gone.
    #[cold]
    pub(crate) fn died(&mut self, Gone(number): Gone) -> ! {
        self.lanes[number].died()
    }
}
