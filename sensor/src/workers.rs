//! Several workers, each on its own thread, and what brings together what they say.
//!
//! Frames come in batches. Whoever reads them looks at the addresses, deals the frames out and goes on reading; what all
//! workers say of a batch is put in the order of its frames and handed to the analysis, here on the reader's thread. A frame
//! whose addresses do not show at once (fragments, tunnels, UDP that may be RPC) is decoded by the reader, so that
//! fragments meet and the innermost addresses decide.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::analysis::Analysis;
use crate::capture::{Batch, LinkType, Slot};
use crate::catalog::Catalog;
use crate::clock::{Clock, Due};
use crate::dcom::{self, Calls};
use crate::decode::{self, Decoded, Decoder, Endpoint, Tunnel};
use crate::event::Event;
use crate::keys::{KDC_PORT, Used};
use crate::limits::Limits;
use crate::rpc;
use crate::statistics::{self, Counted, Tally};
use crate::time::Timestamp;
use crate::worker::{Failure, Place, SHARDS, Spoken, Worker, shard};

/// Batches that are on their way at a time: enough that nobody waits, few enough to stay in the processor's cache.
const IN_FLIGHT: usize = 8;

/// Several workers and the analysis.
pub(crate) struct Crew {
    clock: Clock,
    /// For what has to be decoded before it can be dealt out.
    decoder: Decoder,
    failed: u64,
    lanes: Vec<Lane>,
    waiting: VecDeque<Vec<Mark>>,
    analysis: Analysis,
    spare: Vec<Vec<u8>>,
}

/// One worker's way in and out.
struct Lane {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    steps: Vec<Step>,
    tally: Tally,
}

/// What one worker has to do with a batch.
struct Job {
    bytes: Arc<Vec<u8>>,
    steps: Vec<Step>,
    /// Is it to say what it has counted?
    count: bool,
}

enum Step {
    Frame(u64, Slot),
    Decoded(u64, Box<Loose>),
    /// From or to a key distribution centre: for all workers, beside the one that has it as a frame.
    KdcFrame(u64, Slot),
    KdcDecoded(u64, Arc<Loose>),
    Tick(Place),
    Settle(Place),
}

/// Something decoded that outlives its frame.
struct Loose {
    link_type: LinkType,
    decoded: Decoded<'static>,
    tunnel: Option<Tunnel>,
    payload: Vec<u8>,
}

impl Loose {
    fn of(link_type: LinkType, decoded: &Decoded<'_>) -> Self {
        Self {
            link_type,
            decoded: decoded.with(&[], None),
            tunnel: decoded.tunnel().copied(),
            payload: decoded.payload().to_vec(),
        }
    }

    fn decoded(&self) -> Decoded<'_> {
        self.decoded.with(&self.payload, self.tunnel.as_ref())
    }
}

/// What one worker says of a batch.
struct Done {
    spoken: Vec<Spoken>,
    tally: Option<Tally>,
    bytes: Arc<Vec<u8>>,
}

/// What happens in the analysis before a frame.
enum Mark {
    Tick(Place),
    Settle(Place),
}

impl Crew {
    /// So many workers; the analysis knows the classes of `catalog` and records these object calls.
    pub(crate) fn new(workers: usize, catalog: Catalog, limits: &Limits, calls: Calls, keys: Option<&Used>) -> Self {
        let workers = workers.clamp(1, SHARDS);
        let lanes = (0..workers).map(|number| {
            let mut worker = Worker::new(number, workers, limits, dcom::is_read);
            if let Some(used) = keys {
                worker.use_keys(used);
            }
            Lane::start(worker)
        });
        let mut analysis = Analysis::new(catalog, limits, calls);
        if let Some(used) = keys {
            analysis.keep_unsealed(used.keep);
        }
        Self {
            clock: Clock::new(limits),
            decoder: Decoder::new(*limits),
            failed: 0,
            lanes: lanes.collect(),
            waiting: VecDeque::new(),
            analysis,
            spare: Vec::new(),
        }
    }

    pub(crate) fn analysis(&mut self) -> &mut Analysis {
        &mut self.analysis
    }

    /// Times of the first and the last frame.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        self.clock.span()
    }

    /// Memory that a batch stood in and that is free.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes frames in; what is told of them may come with later ones.
    pub(crate) fn push(&mut self, batch: Batch, out: &mut Vec<Event>) {
        let mut marks = Vec::new();
        for slot in batch.frames {
            self.deal(slot, &batch.bytes, &mut marks);
        }
        self.send(batch.bytes, marks, false);
        while self.waiting.len() > IN_FLIGHT {
            self.collect(out);
        }
    }

    /// Time has come this far without a frame; everything that was pushed is told.
    pub(crate) fn idle(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        if let Some(place) = self.clock.idle(now) {
            for lane in &mut self.lanes {
                lane.steps.push(Step::Tick(place));
            }
            self.send(Vec::new(), vec![Mark::Tick(place)], false);
        }
        self.drain(out);
    }

    /// Everything that was pushed is told.
    pub(crate) fn drain(&mut self, out: &mut Vec<Event>) {
        while !self.waiting.is_empty() {
            self.collect(out);
        }
    }

    /// The capture is over: everything that waits is told, and everything that was counted.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        let place = self.clock.end();
        for lane in &mut self.lanes {
            lane.steps.push(Step::Settle(place));
        }
        self.send(Vec::new(), vec![Mark::Settle(place)], true);
        self.drain(out);
        out.push(statistics::event(&self.tally(), self.clock.span()));
    }

    /// Asks every worker what it has counted, and waits for it.
    pub(crate) fn count(&mut self, out: &mut Vec<Event>) {
        self.send(Vec::new(), Vec::new(), true);
        self.drain(out);
    }

    /// What was counted up to the last time that workers were asked.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::of(&Counted {
            uptime: self.clock.uptime(),
            decode: *self.decoder.counters(),
            fragments: self.decoder.fragment_counters(),
            failed: self.failed,
            ..Counted::default()
        });
        for worker in self.tallies() {
            tally.add(worker);
        }
        tally.add(&self.analysis.tally());
        tally
    }

    /// The same of each worker.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.lanes.iter().map(|lane| &lane.tally)
    }

    /// Frames on which a stage gave up since this was last asked.
    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        self.analysis.take_failures()
    }

    /// Decides who looks at a frame, and what is due before it.
    #[inline]
    fn deal(&mut self, slot: Slot, bytes: &[u8], marks: &mut Vec<Mark>) {
        let before = self.clock.end();
        let (sequence, due) = self.clock.step(slot.at);
        if sequence == 1 {
            self.analysis.begin(slot.at.time);
        }
        match due {
            Due::Nothing => {}
            Due::Tick => {
                let time = slot.at.time;
                let place = Place { sequence, time };
                marks.push(Mark::Tick(place));
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.steps.push(Step::Tick(place)));
            }
            Due::Settle => {
                let place = Place { sequence, ..before };
                marks.push(Mark::Settle(place));
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.steps.push(Step::Settle(place)));
            }
        }
        let frame = slot.clone().frame(|range| &bytes[range]);
        let lanes = self.lanes.len();
        let is_kdc = |a: Endpoint, b: Endpoint| lanes > 1 && (a.port == KDC_PORT || b.port == KDC_PORT);
        if let Some((a, b)) = decode::plain_tcp(&frame) {
            if is_kdc(a, b) {
                for lane in &mut self.lanes {
                    lane.steps.push(Step::KdcFrame(sequence, slot.clone()));
                }
            }
            let lane = &mut self.lanes[shard(a.address, b.address) % lanes];
            lane.steps.push(Step::Frame(sequence, slot));
            return;
        }
        let decoder = &mut self.decoder;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let decoded = decoder.push(&frame)?;
            let is_wanted = match &decoded {
                Decoded::Segment(_) => true,
                Decoded::Datagram(datagram) => rpc::recognise(datagram).is_some(),
            };
            let (source, destination) = decoded.ends();
            let loose = || Loose::of(frame.link_type, &decoded);
            let shard = is_wanted.then(|| shard(source.address, destination.address));
            Some((
                shard.map(|shard| (shard, Box::new(loose()))),
                is_kdc(source, destination).then(|| Arc::new(loose())),
            ))
        }));
        match decoded {
            Ok(None) => {}
            Ok(Some((own, kdc))) => {
                if let Some(loose) = kdc {
                    for lane in &mut self.lanes {
                        lane.steps.push(Step::KdcDecoded(sequence, Arc::clone(&loose)));
                    }
                }
                if let Some((shard, loose)) = own {
                    self.lanes[shard % lanes].steps.push(Step::Decoded(sequence, loose));
                }
            }
            // The first worker meets with the same, and tells of it.
            Err(_) => self.lanes[0].steps.push(Step::Frame(sequence, slot)),
        }
    }

    fn send(&mut self, bytes: Vec<u8>, marks: Vec<Mark>, count: bool) {
        let bytes = Arc::new(bytes);
        for lane in &mut self.lanes {
            let steps = Vec::with_capacity(lane.steps.len());
            let job = Job {
                bytes: Arc::clone(&bytes),
                steps: std::mem::replace(&mut lane.steps, steps),
                count,
            };
            if lane.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
                lane.died();
            }
        }
        self.waiting.push_back(marks);
    }

    /// Brings together what the workers say of the batch that was sent first.
    fn collect(&mut self, out: &mut Vec<Event>) {
        let Some(marks) = self.waiting.pop_front() else { return };
        let mut all: Vec<Spoken> = Vec::new();
        for lane in &mut self.lanes {
            let Ok(mut done) = lane.done.recv() else { lane.died() };
            if all.is_empty() {
                all = done.spoken;
            } else {
                all.append(&mut done.spoken);
            }
            if let Some(tally) = done.tally {
                lane.tally = tally;
            }
            // The last to be done gives the memory back.
            if let Some(bytes) = Arc::into_inner(done.bytes)
                && !bytes.is_empty()
            {
                self.spare.push(bytes);
            }
        }
        all.sort_by(Spoken::order);
        let mut all = all.into_iter().peekable();
        for mark in marks {
            let (Mark::Tick(place) | Mark::Settle(place)) = mark;
            while let Some(spoken) = all
                .next_if(|spoken| spoken.sequence < place.sequence || (spoken.sequence == place.sequence && spoken.due))
            {
                self.analysis.push(spoken, out);
            }
            match mark {
                Mark::Tick(place) => self.analysis.advance(place.time, out),
                Mark::Settle(_) => self.analysis.finish(out),
            }
        }
        for spoken in all {
            self.analysis.push(spoken, out);
        }
    }
}

impl Lane {
    fn start(mut worker: Worker) -> Self {
        let (jobs, to_do) = sync_channel(IN_FLIGHT + 2);
        let (said, done) = channel();
        let tally = worker.tally();
        let thread = thread::spawn(move || work(&mut worker, &to_do, &said));
        Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            steps: Vec::new(),
            tally,
        }
    }

    /// A worker catches what its stages do; if it ends all the same, so does the sensor, and says why.
    #[cold]
    fn died(&mut self) -> ! {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("a worker ends when its jobs do"),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // What it has to say was asked for or is not wanted.
            let _ = thread.join();
        }
    }
}

fn work(worker: &mut Worker, jobs: &Receiver<Job>, done: &Sender<Done>) {
    while let Ok(Job { bytes, steps, count }) = jobs.recv() {
        let mut spoken = Vec::new();
        for step in steps {
            match step {
                Step::Frame(sequence, slot) => {
                    worker.frame(sequence, &slot.frame(|range| &bytes[range]), &mut spoken);
                }
                Step::Decoded(sequence, loose) => {
                    worker.decoded(sequence, loose.link_type, &loose.decoded(), &mut spoken);
                }
                Step::KdcFrame(sequence, slot) => {
                    worker.kdc_frame(sequence, &slot.frame(|range| &bytes[range]), &mut spoken);
                }
                Step::KdcDecoded(sequence, loose) => {
                    worker.kdc_decoded(sequence, loose.link_type, &loose.decoded(), &mut spoken);
                }
                Step::Tick(place) => worker.tick(place, &mut spoken),
                Step::Settle(place) => worker.settle(place, &mut spoken),
            }
        }
        let tally = count.then(|| worker.tally());
        if done.send(Done { spoken, tally, bytes }).is_err() {
            return;
        }
    }
}
