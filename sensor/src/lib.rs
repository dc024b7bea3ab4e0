//! dcom-sensor: sees DCOM lateral movement (ATT&CK T1021.003) on the wire.
//!
//! ```text
//!  capture   Frame        bytes with a time                                     I/O
//!    │ decode                                                                        ┐
//!  Segment, Datagram      one TCP segment or UDP datagram out of any encapsulation   │ worker: one or
//!    │ flow                                                                          │ several, each with
//!  StreamEvent            in-order bytes, gaps, the end; per side (TCP)              │ some pairs of hosts
//!    │ rpc                                                                           │
//!  RpcEvent               binds, calls with their answers; contexts resolved         ┘
//!    │ (in the order of the frames: the same for any number of workers)
//!    │ dcom                                                                          ┐
//!  Dcom                   activations, OXID resolutions, mappings; ports followed    │ analysis: one
//!    │ detect                                                                        │
//!  Alert                  what an analyst has to know                                ┘
//!    │ emit               eve.json · Zeek logs · terminal                       I/O
//! ```
//!
//! Between `capture` and `emit` nothing does I/O and nothing reads a clock: the only time is the frame's.

mod analysis;
pub mod anomaly;
pub mod attack;
pub mod baseline;
pub mod capture;
pub mod catalog;
pub mod cli;
mod clock;
pub mod config;
pub mod correlate;
pub mod dcom;
pub mod decode;
pub mod detect;
mod doctor;
pub mod document;
pub mod emit;
pub mod event;
mod extract;
mod failures;
pub mod flow;
mod hash;
pub mod host_log;
pub mod hunt;
pub mod keys;
pub mod limits;
mod live;
mod name_answers;
mod outputs;
mod path;
pub mod policy;
mod replay;
pub mod report;
pub mod rpc;
pub mod severity;
mod statistics;
pub mod time;
mod worker;
mod workers;

use std::sync::Arc;

use analysis::Analysis;
use baseline::Baseline;
use capture::Frame;
use catalog::Catalog;
use clock::{Clock, Due};
use dcom::Calls;
use decode::SnapLengths;
use detect::Settings;
use emit::unsealed::Unsealed;
use event::Event;
use keys::{Keep, Keys, Used};
use limits::Limits;
use policy::Policy;
use statistics::{Counted, Tally};
use worker::{Place, Spoken, Worker};

pub use worker::Failure;

/// The whole pipeline on one thread: frames in, events out.
pub struct Sensor {
    clock: Clock,
    snap_lengths: SnapLengths,
    worker: Worker,
    analysis: Analysis,
    /// What the heavy half has said about the frame at hand.
    spoken: Vec<Spoken>,
}

impl Sensor {
    /// A sensor that knows the classes of `catalog`, records these object calls, and has seen nothing.
    pub fn new(catalog: Catalog, limits: Limits, calls: Calls) -> Self {
        Self {
            clock: Clock::new(&limits),
            snap_lengths: SnapLengths::default(),
            worker: Worker::new(0, 1, &limits, dcom::is_read),
            analysis: Analysis::new(catalog, &limits, calls),
            spoken: Vec::new(),
        }
    }

    /// The detections look as far and as long as these say. Before the first frame.
    pub fn set_detection(&mut self, settings: &Settings) {
        self.analysis.set_detection(settings);
    }

    /// Which alerts are told is for this policy to say.
    pub fn set_policy(&mut self, policy: Policy) {
        self.analysis.set_policy(policy);
    }

    /// The policy, and what it kept back so far.
    pub fn policy(&mut self) -> &mut Policy {
        self.analysis.policy()
    }

    /// Activations are compared with this baseline, and added to it.
    pub fn set_baseline(&mut self, baseline: Baseline) {
        self.analysis.set_baseline(baseline);
    }

    /// The baseline, as it is by now.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.analysis.baseline()
    }

    /// Sealed traffic will be opened by these keys. `keep`: is what they open kept for [`Sensor::take_unsealed`]?
    pub fn use_keys(&mut self, keys: Arc<Keys>, keep: Keep) {
        self.analysis.keep_unsealed(keep);
        self.worker.use_keys(&Used { keys, keep });
    }

    /// What the keys opened since this was asked last, in the order in which calls ended.
    pub fn take_unsealed(&mut self) -> Vec<Unsealed> {
        self.analysis.take_unsealed()
    }

    /// Events will name their input by these names; for several inputs, whose frame numbers overlap.
    pub fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.analysis.name_inputs(names);
    }

    /// Takes a frame in.
    pub fn push(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) {
        let before = self.clock.end();
        let mut at = frame.at;
        let (sequence, due) = self.clock.step(&mut at);
        if sequence == 1 {
            self.analysis.begin(frame.at.time);
        }
        match due {
            Due::Nothing => {}
            Due::Tick => {
                let now = self.clock.now();
                self.worker.tick(now, &mut self.spoken);
                self.think(out);
                self.analysis.advance(now, out);
            }
            Due::Settle => self.settle(Place { sequence, ..before }, out),
        }
        let frame = Frame {
            at,
            original_length: self.snap_lengths.original_length(frame),
            ..*frame
        };
        self.worker.frame(sequence, &frame, &mut self.spoken);
        if !self.spoken.is_empty() {
            self.think(out);
        }
    }

    /// The capture is over: everything that waits is told.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.settle(self.clock.end(), out);
        out.push(statistics::event(&self.tally(), self.clock.span()));
    }

    /// Times of the first and the last frame.
    pub fn span(&self) -> (time::Timestamp, time::Timestamp) {
        self.clock.span()
    }

    /// Frames on which a stage gave up since this was last asked: faults of ours, contained. Of the first few only.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        self.analysis.take_failures()
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::of(&Counted {
            uptime: self.clock.uptime(),
            ..Counted::default()
        });
        tally.add(&self.worker.tally());
        tally.add(&self.analysis.tally());
        tally
    }

    fn settle(&mut self, place: Place, out: &mut Vec<Event>) {
        self.worker.settle(place, &mut self.spoken);
        self.think(out);
        self.analysis.finish(out);
    }

    fn think(&mut self, out: &mut Vec<Event>) {
        for spoken in self.spoken.drain(..) {
            self.analysis.push(spoken, out);
        }
    }
}
