//! Who looks at which frame.
//!
//! A frame whose addresses do not show at once (fragments, tunnels, UDP that may be RPC) is decoded here, so that fragments
//! meet and the innermost addresses decide.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::analysis::Mark;
use crate::capture::{Batch, LinkType, Slot};
use crate::clock::{Clock, Due};
use crate::decode::{self, Decoded, Decoder, Endpoint, SnapLengths, Tunnel};
use crate::keys::KDC_PORT;
use crate::limits::Limits;
use crate::name_answers::{self, NameAnswers};
use crate::rpc;
use crate::statistics::{Counted, Tally};
use crate::time::Timestamp;
use crate::worker::{Place, shard};

/// Deals frames out to workers.
pub(crate) struct Dealer {
    clock: Clock,
    snap_lengths: SnapLengths,
    /// For what has to be decoded before it can be dealt out.
    decoder: Decoder,
    names: NameAnswers,
    failed: u64,
    lanes: Vec<Lane>,
}

/// The way to one worker.
pub(super) struct Lane {
    jobs: SyncSender<Job>,
    steps: Vec<(usize, Step)>,
}

/// That worker is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone(pub(super) usize);

/// A batch, and who looks at which of its frames: all workers see the same.
#[derive(Default)]
pub(super) struct Dealt {
    pub(super) batch: Batch,
    /// Which of all frames is the first of them.
    pub(super) first: u64,
    /// For each frame the worker that looks at it, or [`NOBODY`].
    pub(super) takers: Vec<u8>,
}

/// As a frame: it has been decoded, or carries nothing.
pub(super) const NOBODY: u8 = u8::MAX;

/// What one worker has to do with a batch.
pub(super) struct Job {
    pub(super) dealt: Arc<Dealt>,
    /// What is to be done before the frame at that place in the batch, beside looking at the frames that are its own.
    pub(super) steps: Vec<(usize, Step)>,
    /// Is it to say what it has counted?
    pub(super) count: bool,
}

pub(super) enum Step {
    Decoded(u64, Box<Loose>),
    /// From or to a key distribution centre: for all workers, beside the one that has it as a frame.
    KdcFrame,
    KdcDecoded(u64, Arc<Loose>),
    Tick(Place),
    Settle(Place),
}

/// Something decoded that outlives its frame.
pub(super) struct Loose {
    pub(super) link_type: LinkType,
    decoded: Decoded<'static>,
    tunnel: Option<Tunnel>,
    bytes: Vec<u8>,
    /// How many of them come before the payload.
    header: usize,
}

impl Loose {
    fn of(link_type: LinkType, decoded: &Decoded<'_>) -> Self {
        Self {
            link_type,
            decoded: decoded.with(&[], 0, None),
            tunnel: decoded.tunnel().copied(),
            bytes: decoded.bytes().to_vec(),
            header: decoded.bytes().len() - decoded.payload().len(),
        }
    }

    pub(super) fn decoded(&self) -> Decoded<'_> {
        self.decoded.with(&self.bytes, self.header, self.tunnel.as_ref())
    }
}

impl Lane {
    pub(super) fn new(jobs: SyncSender<Job>) -> Self {
        Self {
            jobs,
            steps: Vec::new(),
        }
    }
}

impl Dealer {
    pub(super) fn new(limits: &Limits, names: NameAnswers, lanes: Vec<Lane>) -> Self {
        Self {
            clock: Clock::new(limits),
            snap_lengths: SnapLengths::default(),
            decoder: Decoder::new(*limits),
            names,
            failed: 0,
            lanes,
        }
    }

    /// Times of the first and the last frame.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        self.clock.span()
    }

    /// Two inputs of which the second begins before the first ends.
    pub(crate) fn back(&self) -> Option<[u32; 2]> {
        self.clock.back()
    }

    /// Hands frames to the workers, and says what happens between them.
    pub(crate) fn deal(&mut self, mut batch: Batch) -> Result<Vec<Mark>, Gone> {
        let mut marks = Vec::new();
        let mut takers = Vec::with_capacity(batch.frames.len());
        let first = self.clock.end().sequence + 1;
        for (place, slot) in batch.frames.iter_mut().enumerate() {
            takers.push(self.frame(place, slot, &batch.bytes, &mut marks));
        }
        let dealt = Dealt { batch, first, takers };
        self.send(dealt, marks, false)
    }

    /// Time has come this far without a frame.
    pub(crate) fn idle(&mut self, now: Timestamp) -> Option<Result<Vec<Mark>, Gone>> {
        let place = self.clock.idle(now)?;
        for lane in &mut self.lanes {
            lane.steps.push((0, Step::Tick(place)));
        }
        Some(self.send(Dealt::default(), vec![Mark::Tick(place)], false))
    }

    /// Nothing more comes: everything that waits is told, and everything is counted.
    pub(crate) fn settle(&mut self) -> Result<Vec<Mark>, Gone> {
        let place = self.clock.end();
        for lane in &mut self.lanes {
            lane.steps.push((0, Step::Settle(place)));
        }
        self.send(Dealt::default(), vec![Mark::Settle(place)], true)
    }

    /// Asks every worker what it has counted.
    pub(crate) fn count(&mut self) -> Result<Vec<Mark>, Gone> {
        self.send(Dealt::default(), Vec::new(), true)
    }

    /// What was counted here.
    pub(crate) fn tally(&self) -> Tally {
        Tally::of(&Counted {
            uptime: self.clock.uptime(),
            decode: *self.decoder.counters(),
            fragments: self.decoder.fragment_counters(),
            failed: self.failed,
            ..Counted::default()
        })
    }

    /// Decides who looks at the frame at this place in its batch, and what is due before it.
    #[inline]
    fn frame(&mut self, at: usize, slot: &mut Slot, bytes: &[u8], marks: &mut Vec<Mark>) -> u8 {
        let before = self.clock.end();
        let (sequence, due) = self.clock.step(&mut slot.at);
        if sequence == 1 {
            marks.push(Mark::Begin(slot.at.time));
        }
        match due {
            Due::Nothing => {}
            Due::Tick => {
                let place = self.clock.now();
                marks.push(Mark::Tick(place));
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.steps.push((at, Step::Tick(place))));
            }
            Due::Settle => {
                let place = Place { sequence, ..before };
                marks.push(Mark::Settle(place));
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.steps.push((at, Step::Settle(place))));
            }
        }
        let mut frame = slot.clone().frame(|range| &bytes[range]);
        slot.original_length = self.snap_lengths.original_length(&frame);
        frame.original_length = slot.original_length;
        let lanes = self.lanes.len();
        let is_kdc = |a: Endpoint, b: Endpoint| lanes > 1 && (a.port == KDC_PORT || b.port == KDC_PORT);
        if let Some((a, b)) = decode::plain_tcp(&frame) {
            if is_kdc(a, b) {
                for lane in &mut self.lanes {
                    lane.steps.push((at, Step::KdcFrame));
                }
            }
            return taker(shard(a.address, b.address) % lanes);
        }
        let (decoder, names) = (&mut self.decoder, self.names);
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let decoded = decoder.push(&frame)?;
            let is_wanted = match &decoded {
                Decoded::Segment(_) => true,
                Decoded::Datagram(datagram) => {
                    rpc::recognise(datagram).is_some()
                        || (names == NameAnswers::Read && name_answers::is_answer(datagram))
                }
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
            Ok(None) => NOBODY,
            Ok(Some((own, kdc))) => {
                if let Some(loose) = kdc {
                    for lane in &mut self.lanes {
                        lane.steps.push((at, Step::KdcDecoded(sequence, Arc::clone(&loose))));
                    }
                }
                if let Some((shard, loose)) = own {
                    let steps = &mut self.lanes[shard % lanes].steps;
                    steps.push((at, Step::Decoded(sequence, loose)));
                }
                NOBODY
            }
            // The first worker meets with the same, and tells of it.
            Err(_) => taker(0),
        }
    }

    fn send(&mut self, dealt: Dealt, marks: Vec<Mark>, count: bool) -> Result<Vec<Mark>, Gone> {
        let dealt = Arc::new(dealt);
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let job = Job {
                dealt: Arc::clone(&dealt),
                steps: std::mem::take(&mut lane.steps),
                count,
            };
            lane.jobs.send(job).map_err(|_| Gone(number))?;
        }
        Ok(marks)
    }
}

/// A worker, by its number: there are never more than [`SHARDS`](crate::worker::SHARDS).
fn taker(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(NOBODY)
}
