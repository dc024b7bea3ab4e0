//! dcom-sensor: sees DCOM lateral movement (ATT&CK T1021.003) on the wire.
//!
//! ```text
//!  capture   Frame        bytes with a time                                     I/O
//!    │ decode
//!  Segment, Datagram      one TCP segment or UDP datagram out of any encapsulation
//!    │ flow
//!  StreamEvent            in-order bytes, gaps, the end; per side (TCP; datagrams go straight on)
//!    │ rpc
//!  RpcEvent               binds, calls with their answers; contexts resolved, fragments joined
//!    │ dcom
//!  Dcom                   activations, OXID resolutions, endpoint mappings; dynamic ports followed
//!    │ detect
//!  Alert                  what an analyst has to know
//!    │ emit               eve.json · Zeek logs · terminal                       I/O
//! ```
//!
//! Between `capture` and `emit` nothing does I/O and nothing reads a clock: the only time is the frame's.

pub mod anomaly;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod dcom;
pub mod decode;
pub mod detect;
pub mod emit;
pub mod event;
pub mod flow;
pub mod keys;
pub mod limits;
mod replay;
pub mod rpc;
pub mod severity;
mod statistics;
pub mod time;

use std::sync::Arc;

use capture::{At, Frame};
use catalog::Catalog;
use dcom::{Analyst, Binding, Calls, Record, Told};
use decode::{Decoded, Decoder};
use detect::{Detector, Found, Seen, Settings};
use emit::unsealed::Unsealed;
use event::{Body, Event};
use flow::{Flows, Output};
use keys::Keys;
use limits::Limits;
use rpc::{Carriage, Datagrams, RpcBody, RpcBounds, RpcEvent};

/// The whole pipeline: frames in, events out.
pub struct Sensor {
    limits: Limits,
    decoder: Decoder,
    flows: Flows<Carriage>,
    datagrams: Datagrams,
    rpc: RpcBounds,
    analyst: Analyst,
    detector: Detector,
    /// What the heavy half has said about the frame at hand.
    said: Vec<Said>,
    /// What the analyst has told of it.
    told: Vec<Told>,
    /// What the detections have found in that.
    found: Vec<Found>,
    /// What the user's keys opened, if that is wanted, until it is taken.
    unsealed: Option<Vec<Unsealed>>,
    first: Option<At>,
    last: At,
}

/// What the heavy half (decode, flow, rpc) says to the light one (dcom, detect).
enum Said {
    Heard([decode::Endpoint; 2], flow::Opener),
    Rpc(RpcEvent),
}

impl Sensor {
    /// A sensor that knows the classes of `catalog`, records these object calls, and has seen nothing.
    pub fn new(catalog: Catalog, limits: Limits, calls: Calls) -> Self {
        let catalog = Arc::new(catalog);
        Self {
            limits,
            decoder: Decoder::default(),
            flows: Flows::new(limits),
            datagrams: Datagrams::default(),
            rpc: RpcBounds::new(limits, dcom::is_read),
            analyst: Analyst::new(Arc::clone(&catalog), &limits, calls),
            detector: Detector::new(catalog, Settings::default()),
            said: Vec::new(),
            told: Vec::new(),
            found: Vec::new(),
            unsealed: None,
            first: None,
            last: At::default(),
        }
    }

    /// Sealed traffic will be opened by these keys. `unsealed`: what is opened is kept for [`Sensor::take_unsealed`].
    pub fn use_keys(&mut self, keys: Arc<Keys>, unsealed: keys::Keep) {
        self.rpc.keys = Some(keys);
        self.rpc.keeps_opened = unsealed == keys::Keep::Stubs;
        self.unsealed = self.rpc.keeps_opened.then(Vec::new);
    }

    /// What the keys opened since this was asked last, in the order in which calls ended.
    pub fn take_unsealed(&mut self) -> Vec<Unsealed> {
        self.unsealed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Events will name their input by these names; for several inputs, whose frame numbers overlap.
    pub fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.analyst.name_inputs(names);
    }

    /// Takes a frame in.
    pub fn push(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) {
        let at = frame.at;
        let apart = at.time.since(self.last.time);
        if self.first.is_some() && at.input != self.last.input && !(0..=self.limits.continuation).contains(&apart) {
            // Another input, of another time: what was on its way in the last one will not come.
            self.settle(out);
        }
        self.first.get_or_insert(at);
        self.last = at;
        let Self {
            flows,
            datagrams,
            rpc,
            said,
            ..
        } = self;
        match self.decoder.push(frame) {
            None => return,
            Some(Decoded::Segment(segment)) => flows.push(&segment, &mut |output| hear(output, rpc, said)),
            Some(Decoded::Datagram(datagram)) => {
                let Some(header) = rpc::recognise(&datagram) else {
                    return;
                };
                datagrams.push(&datagram, header, rpc, &mut |event| said.push(Said::Rpc(event)));
            }
        }
        datagrams.advance(at.time, rpc, &mut |event| said.push(Said::Rpc(event)));
        self.analyst.advance(at.time, &mut self.told);
        self.think(out);
        self.detector.advance(at.time, &mut self.found);
        out.extend(self.found.drain(..).map(Found::into_event));
    }

    /// The capture is over: everything that waits is told.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.settle(out);
        out.push(statistics::event(self));
    }

    /// Times of the first and the last frame.
    pub fn span(&self) -> (time::Timestamp, time::Timestamp) {
        (self.first.unwrap_or_default().time, self.last.time)
    }

    fn settle(&mut self, out: &mut Vec<Event>) {
        let Self {
            flows,
            datagrams,
            rpc,
            said,
            ..
        } = self;
        flows.finish(&mut |output| hear(output, rpc, said));
        datagrams.finish(rpc, &mut |event| said.push(Said::Rpc(event)));
        self.think(out);
        self.analyst.finish(&mut self.told);
        self.think(out);
        self.detector.forget();
    }

    /// The light half: what was heard is understood, and what was understood is judged.
    fn think(&mut self, out: &mut Vec<Event>) {
        for said in self.said.drain(..) {
            match said {
                Said::Heard(ends, opener) => self.analyst.heard(ends, opener, &mut self.told),
                Said::Rpc(mut event) => {
                    if let (Some(unsealed), RpcBody::Exchange(exchange)) = (&mut self.unsealed, &mut event.body) {
                        unsealed.extend(Unsealed::of(&event.connection, exchange));
                        exchange.forget_unread(self.rpc.is_read);
                    }
                    self.analyst.push(&event, &mut self.told);
                }
            }
        }
        for told in self.told.drain(..) {
            match told {
                Told::Event(event) => out.push(event),
                Told::Record(record) => {
                    self.detector.see(&Seen::Record(&record), &mut self.found);
                    let Record {
                        meta, dcom, recorded, ..
                    } = *record;
                    if recorded {
                        let body = Body::Dcom(Box::new(dcom));
                        out.push(Event { meta, body });
                    }
                }
                Told::Bound(binding) => {
                    self.detector.see(&Seen::Bound(&binding), &mut self.found);
                    let Binding { meta, dcerpc, .. } = *binding;
                    let body = Body::Dcerpc(Box::new(dcerpc));
                    out.push(Event { meta, body });
                }
            }
            out.extend(self.found.drain(..).map(Found::into_event));
        }
    }
}

/// Hands what a stream brings to what it carries, and what that says to the analyst.
fn hear(output: Output<'_, Carriage>, bounds: &mut RpcBounds, said: &mut Vec<Said>) {
    match output {
        Output::Heard { ends, opener_known, .. } => said.push(Said::Heard(ends, opener_known)),
        Output::Stream(connection, carriage, event) => {
            carriage.push(connection, event, bounds, &mut |event| {
                said.push(Said::Rpc(event));
            });
        }
    }
}
