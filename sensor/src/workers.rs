//! Several workers, each on its own thread, and what brings together what they say.
//!
//! Frames come in batches. The [`Dealer`] looks at their addresses and deals them out; the [`Gatherer`] puts what all
//! workers say of a batch in the order of its frames, for the analysis. The two may be on threads of their own, as in
//! replay; [`Crew`] has both and the analysis on one.

mod dealer;
mod gatherer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use crate::analysis::{Analysis, Mark};
use crate::capture::{Batch, Spare};
use crate::catalog::Catalog;
use crate::dcom::{self, Calls};
use crate::event::Event;
use crate::keys::Used;
use crate::limits::Limits;
use crate::name_answers::NameAnswers;
use crate::statistics::Tally;
use crate::time::Timestamp;
use crate::worker::{Failure, SHARDS, Spoken, Worker};
use dealer::{Dealt, Job, Step};

pub(crate) use dealer::{Dealer, Gone};
pub(crate) use gatherer::Gatherer;

/// Batches that are on their way at a time: enough that nobody waits, few enough to stay in the processor's cache.
pub(crate) const IN_FLIGHT: usize = 8;

/// Among so many frames those that are a worker's own are fetched before it looks at the first of them.
const FETCHED: usize = 32;

/// What one worker says of a batch.
struct Done {
    spoken: Vec<Spoken>,
    tally: Option<Tally>,
    dealt: Arc<Dealt>,
}

/// Starts so many workers. Memory of batches that they are done with goes to `spare`.
pub(crate) fn start(
    workers: usize,
    limits: &Limits,
    keys: Option<&Used>,
    names: NameAnswers,
    spare: Spare,
) -> (Dealer, Gatherer) {
    let workers = workers.clamp(1, SHARDS);
    let (out, back) = (0..workers)
        .map(|number| {
            let mut worker = Worker::new(number, workers, limits, dcom::is_read);
            if let Some(used) = keys {
                worker.use_keys(used);
            }
            if names == NameAnswers::Read {
                worker.read_names();
            }
            let (jobs, to_do) = sync_channel(IN_FLIGHT + 2);
            let (said, done) = channel();
            let tally = worker.tally();
            let thread = thread::spawn(move || work(number, &mut worker, &to_do, &said));
            (dealer::Lane::new(jobs), gatherer::Lane::new(done, thread, tally))
        })
        .unzip();
    (Dealer::new(limits, names, out), Gatherer::new(back, spare))
}

fn work(
    number: usize,
    worker: &mut Worker,
    jobs: &std::sync::mpsc::Receiver<Job>,
    done: &std::sync::mpsc::Sender<Done>,
) {
    while let Ok(Job { dealt, steps, count }) = jobs.recv() {
        let mut spoken = Vec::new();
        let Dealt { batch, first, takers } = &*dealt;
        let frame = |at: usize| batch.frames[at].clone().frame(|range| &batch.bytes[range]);
        let mut next = 0;
        let ahead = |worker: &mut Worker, from: usize, until: usize, spoken: &mut Vec<Spoken>| {
            for from in (from..until).step_by(FETCHED) {
                let own = || (from..until.min(from + FETCHED)).filter(|&at| usize::from(takers[at]) == number);
                own().for_each(|at| fetch(batch, at));
                own().for_each(|at| worker.frame(first + at as u64, &frame(at), spoken));
            }
        };
        for (at, step) in steps {
            ahead(worker, next, at, &mut spoken);
            next = at;
            match step {
                Step::Decoded(sequence, loose) => {
                    worker.decoded(sequence, loose.link_type, &loose.decoded(), &mut spoken);
                }
                Step::KdcFrame => worker.kdc_frame(first + at as u64, &frame(at), &mut spoken),
                Step::KdcDecoded(sequence, loose) => {
                    worker.kdc_decoded(sequence, loose.link_type, &loose.decoded(), &mut spoken);
                }
                Step::Tick(place) => worker.tick(place, &mut spoken),
                Step::Settle(place) => worker.settle(place, &mut spoken),
            }
        }
        ahead(worker, next, takers.len(), &mut spoken);
        let tally = count.then(|| worker.tally());
        if done.send(Done { spoken, tally, dealt }).is_err() {
            return;
        }
    }
}

/// Has the processor fetch a frame's headers, which another core has read: what it waits for is fetched together.
fn fetch(batch: &Batch, at: usize) {
    let range = &batch.frames[at].range;
    let bytes = &batch.bytes[range.clone()];
    // Headers of TCP stand in one line of the cache or two.
    std::hint::black_box([bytes.first(), bytes.get(64)].map(Option::<&u8>::copied));
}

/// Several workers and the analysis.
pub(crate) struct Crew {
    // Before the gatherer, which waits for the workers: they end when nothing more can be dealt out.
    dealer: Dealer,
    gatherer: Gatherer,
    waiting: VecDeque<Vec<Mark>>,
    analysis: Analysis,
    spare: Spare,
}

impl Crew {
    /// So many workers; the analysis knows the classes of `catalog` and records these object calls.
    pub(crate) fn new(
        workers: usize,
        catalog: Catalog,
        limits: &Limits,
        calls: Calls,
        keys: Option<&Used>,
        names: NameAnswers,
    ) -> Self {
        let spare = Spare::default();
        let (dealer, gatherer) = start(workers, limits, keys, names, spare.clone());
        let mut analysis = Analysis::new(catalog, limits, calls);
        if let Some(used) = keys {
            analysis.keep_unsealed(used.keep);
        }
        Self {
            dealer,
            gatherer,
            waiting: VecDeque::new(),
            analysis,
            spare,
        }
    }

    pub(crate) fn analysis(&mut self) -> &mut Analysis {
        &mut self.analysis
    }

    /// Where memory of batches goes that nobody needs any more.
    pub(crate) fn spare(&self) -> Spare {
        self.spare.clone()
    }

    /// Takes frames in; what is told of them may come with later ones.
    pub(crate) fn push(&mut self, batch: Batch, out: &mut Vec<Event>) {
        let dealt = self.dealer.deal(batch);
        self.wait_for(dealt);
        while self.waiting.len() > IN_FLIGHT {
            self.collect(out);
        }
    }

    /// Time has come this far without a frame; everything that was pushed is told.
    pub(crate) fn idle(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        if let Some(dealt) = self.dealer.idle(now) {
            self.wait_for(dealt);
        }
        self.drain(out);
    }

    /// Everything that was pushed is told.
    pub(crate) fn drain(&mut self, out: &mut Vec<Event>) {
        while !self.waiting.is_empty() {
            self.collect(out);
        }
    }

    /// Nothing more comes: everything that waits is told, and everything is counted.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        let dealt = self.dealer.settle();
        self.wait_for(dealt);
        self.drain(out);
    }

    /// Asks every worker what it has counted, and waits for it.
    pub(crate) fn count(&mut self, out: &mut Vec<Event>) {
        let dealt = self.dealer.count();
        self.wait_for(dealt);
        self.drain(out);
    }

    /// What was counted up to the last time that workers were asked.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.dealer.tally();
        for worker in self.tallies() {
            tally.add(worker);
        }
        tally.add(&self.analysis.tally());
        tally
    }

    /// The same of each worker.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.gatherer.tallies()
    }

    /// Frames on which a stage gave up since this was last asked.
    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        self.analysis.take_failures()
    }

    fn wait_for(&mut self, dealt: Result<Vec<Mark>, Gone>) {
        match dealt {
            Ok(marks) => self.waiting.push_back(marks),
            Err(gone) => self.gatherer.died(gone),
        }
    }

    /// Brings together what the workers say of the batch that was sent first.
    fn collect(&mut self, out: &mut Vec<Event>) {
        if let Some(marks) = self.waiting.pop_front() {
            let spoken = self.gatherer.gather();
            self.analysis.hear(spoken, marks, out);
        }
    }
}
