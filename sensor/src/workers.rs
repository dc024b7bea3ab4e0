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

/// Of so much that waited at the end events are made at a time.
const SLICE: usize = 256;

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
    ///
    /// What is told is handed over a little at a time, as there may be much of it, with how much still waits. Whoever takes it
    /// says whether there is time for more. Gives how many events are missing because there was none: so many, or more.
    pub(crate) fn finish(
        &mut self,
        out: &mut Vec<Event>,
        hand_over: &mut dyn FnMut(&mut Vec<Event>, usize) -> bool,
    ) -> u64 {
        self.drain(out);
        let dealt = self.dealer.settle();
        self.wait_for(dealt);
        let Some(marks) = self.waiting.pop_front() else {
            return 0;
        };
        let mut waiting = self.gatherer.gather().into_iter();
        while hand_over(out, waiting.len()) && !waiting.as_slice().is_empty() {
            let slice = waiting.by_ref().take(SLICE).collect();
            self.analysis.hear(slice, Vec::new(), out);
        }
        let missing = waiting.filter(Spoken::is_told).count() as u64;
        self.analysis.hear(Vec::new(), marks, out);
        hand_over(out, 0);
        missing
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

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::capture::{At, LinkType, Slot};
    use crate::event::Body;

    /// Binds that nobody answers, by so many clients.
    fn unanswered(clients: u8) -> Batch {
        let mut bind = vec![5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0];
        bind.extend([0xd0, 0x16, 0xd0, 0x16, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]);
        // IRemoteSCMActivator, and NDR.
        bind.extend([0xa0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46, 0, 0, 0, 0]);
        bind.extend([
            0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60,
        ]);
        bind.extend([2, 0, 0, 0]);
        let mut batch = Batch::default();
        for client in 0..clients {
            let tcp =
                |sequence| PacketBuilder::ipv4([10, 0, 1, client], [10, 0, 2, 1], 64).tcp(49_200, 135, sequence, 8_192);
            let mut packets = [Vec::new(), Vec::new()];
            tcp(999).syn().write(&mut packets[0], &[]).unwrap();
            tcp(1_000).ack(1).write(&mut packets[1], &bind).unwrap();
            for packet in packets {
                let from = batch.bytes.len();
                batch.bytes.extend(packet);
                let range = from..batch.bytes.len();
                batch.frames.push(Slot {
                    at: At {
                        frame: batch.frames.len() as u64 + 1,
                        time: Timestamp(1_700_000_000_000_000_000),
                        ..At::default()
                    },
                    link_type: LinkType(101),
                    original_length: u32::try_from(range.len()).unwrap(),
                    range,
                });
            }
        }
        batch
    }

    /// What is told in the end when there is time for so many slices, how much of it was handed over at a time at most, and
    /// how much was missing.
    fn told(slices: usize) -> (Vec<Event>, usize, u64) {
        let limits = Limits::live();
        let mut crew = Crew::new(
            2,
            Catalog::built_in(),
            &limits,
            Calls::All,
            None,
            NameAnswers::PassedOver,
        );
        let (mut out, mut all, mut most, mut handed_over) = (Vec::new(), Vec::new(), 0, 0);
        crew.push(unanswered(250), &mut out);
        let missing = crew.finish(&mut out, &mut |events, _| {
            // Connections are told at the very end: what comes of them may be told before.
            most = most.max(
                events
                    .iter()
                    .filter(|event| !matches!(event.body, Body::Flow(_)))
                    .count(),
            );
            all.append(events);
            handed_over += 1;
            handed_over <= slices
        });
        (all, most, missing)
    }

    #[test]
    fn what_waits_in_the_end_is_told_a_little_at_a_time_and_what_there_is_no_time_for_is_counted() {
        let (all, most, missing) = told(usize::MAX);
        let count = |all: &[Event], is: fn(&Body) -> bool| all.iter().filter(|event| is(&event.body)).count();
        assert_eq!(count(&all, |body| matches!(body, Body::Dcerpc(_))), 250);
        assert_eq!(count(&all, |body| matches!(body, Body::Flow(_))), 250);
        assert_eq!(missing, 0);
        assert!(most <= SLICE, "{most}");
        for slices in [0, 1] {
            let (some, _, missing) = told(slices);
            assert!(some.len() < all.len(), "{}", some.len());
            assert_eq!(some.len() as u64 + missing, all.len() as u64);
        }
    }
}
