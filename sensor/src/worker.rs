//! The heavy half: decode, flow, rpc. Connections never cross a pair of hosts, so a pair is all that has to stay together.
//!
//! INVARIANT: pairs of hosts are dealt out to a fixed number of shards, each with its own tables and its own share of the
//! limits. A worker is a thread that runs some of them. What a shard says depends on its packets alone, so that the logs
//! are the same for any number of workers, even where a limit bites. What domain controllers say every worker hears: whom
//! they give a ticket, shows it elsewhere.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::anomaly::Anomaly;
use crate::capture::{At, Frame, LinkType};
use crate::decode::{Decoded, Decoder, Endpoint, Transport};
use crate::flow::{Abandoned, Connection, Flows, Opener, Output, Silence};
use crate::keys::{KDC_PORT, Kdc, Keep, SharedTickets, TicketCounters, Used};
use crate::limits::Limits;
use crate::name_answers::{self, NameAnswers};
use crate::rpc::{Carriage, Datagrams, IsRead, RpcBody, RpcBounds, RpcEvent, recognise};
use crate::statistics::{Counted, Tally};
use crate::time::Timestamp;

/// Into how many shards pairs of hosts are dealt out: the most workers that have something to do.
pub(crate) const SHARDS: usize = 16;

/// The shard of everything that two hosts say to one another.
#[inline]
pub(crate) fn shard(a: IpAddr, b: IpAddr) -> usize {
    // Both directions have one sum and one difference.
    let (sum, differ) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let (a, b) = (u64::from(a.to_bits()), u64::from(b.to_bits()));
            (a + b, a ^ b)
        }
        (a, b) => {
            let (a, b) = (halves(a), halves(b));
            (a.wrapping_add(b), a ^ b)
        }
    };
    let mixed = (sum.rotate_left(32) ^ differ).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 32).unwrap_or_default() % SHARDS
}

/// An address folded to 64 bits: here a collision costs nothing.
fn halves(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let [low, high] =
                [bits, bits >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default());
            high.wrapping_mul(31) ^ low
        }
    }
}

/// What the heavy half says to the light one.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// Which frame it was, of all of them.
    pub(crate) sequence: u64,
    /// Was it due to time having come so far, before that frame was looked at?
    pub(crate) due: bool,
    /// The frame's time.
    pub(crate) time: Timestamp,
    /// The same as [`At::steady`] says it.
    pub(crate) steady: Timestamp,
    pub(crate) said: Said,
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Said {
    /// A TCP connection was answered, or carries data.
    Heard([Endpoint; 2], Opener),
    /// A connection to the activator's port stays without an answer.
    Unanswered(Arc<Connection>, Silence),
    /// RPC peers did something.
    Rpc(RpcEvent),
    /// A connection that is followed is odd below RPC.
    Odd(Arc<Connection>, Anomaly),
    /// Names and addresses were told.
    Named(Vec<(String, IpAddr)>),
    /// A stage gave up on this frame: a fault of ours.
    Failed(Box<Failure>),
}

/// A panic that was caught, with the frame that led to it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which frame.
    pub at: At,
    /// How its bytes begin.
    pub link_type: LinkType,
    /// The frame; of a tunnel or of joined fragments the payload that was looked at.
    pub bytes: Vec<u8>,
    /// Between whom, when it came so far.
    pub ends: Option<[Endpoint; 2]>,
    /// What the panic said.
    pub message: String,
}

impl Spoken {
    /// Is there an event of it, whatever else is known?
    pub(crate) fn is_told(&self) -> bool {
        match &self.said {
            Said::Rpc(event) => !matches!(
                event.body,
                RpcBody::Opened | RpcBody::Closed | RpcBody::Pdu(..) | RpcBody::File(_)
            ),
            Said::Odd(..) | Said::Failed(_) => true,
            Said::Heard(..) | Said::Unanswered(..) | Said::Named(_) => false,
        }
    }

    /// The one order of what all shards say: by frame, and before it what was due, in the order in which connections began.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.sequence
            .cmp(&other.sequence)
            .then_with(|| other.due.cmp(&self.due))
            .then_with(|| {
                if self.due {
                    self.began().cmp(&other.began())
                } else {
                    Ordering::Equal
                }
            })
    }

    fn began(&self) -> (bool, u32, u64) {
        match &self.said {
            Said::Rpc(RpcEvent { connection, .. }) => {
                let At { input, frame, .. } = connection.opened;
                (connection.transport == Transport::Udp, input, frame)
            }
            Said::Odd(connection, _) | Said::Unanswered(connection, _) => {
                (false, connection.opened.input, connection.opened.frame)
            }
            Said::Heard(..) | Said::Named(_) | Said::Failed(_) => (false, 0, 0),
        }
    }
}

/// A frame on its way through the heavy half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
    /// The same as [`At::steady`] says it.
    pub(crate) steady: Timestamp,
    /// By how many seconds that is ahead.
    pub(crate) set_back: u32,
}

impl Place {
    pub(crate) fn new(sequence: u64, at: At) -> Self {
        Self {
            sequence,
            time: at.time,
            steady: at.steady(),
            set_back: at.set_back,
        }
    }
}

/// One of the threads that share the work, or the only one.
pub(crate) struct Worker {
    decoder: Decoder,
    /// Every n-th shard.
    shards: Vec<Shard>,
    number: usize,
    workers: usize,
    kdc: Kdc,
    /// For what is read only for the sake of `kdc`, and counted elsewhere.
    kdc_decoder: Decoder,
    tickets: SharedTickets,
    failed: u64,
    #[cfg(debug_assertions)]
    provoke: Option<IpAddr>,
}

/// The connections of some pairs of hosts.
struct Shard {
    flows: Flows<Carriage>,
    datagrams: Datagrams,
    rpc: RpcBounds,
    names: NameAnswers,
}

impl Worker {
    /// The `number`th of so many `workers`.
    pub(crate) fn new(number: usize, workers: usize, limits: &Limits, is_read: IsRead) -> Self {
        let share = limits.shared(SHARDS);
        let tickets = SharedTickets::new(limits.tickets);
        let shards = (number..SHARDS).step_by(workers).map(|_| Shard {
            flows: Flows::new(share),
            datagrams: Datagrams::default(),
            rpc: RpcBounds::new(share, is_read).with_tickets(tickets.clone()),
            names: NameAnswers::default(),
        });
        Self {
            decoder: Decoder::new(*limits),
            shards: shards.collect(),
            number,
            workers,
            kdc: Kdc::new(limits, tickets.clone()),
            kdc_decoder: Decoder::new(*limits),
            tickets,
            failed: 0,
            #[cfg(debug_assertions)]
            provoke: std::env::var("DCOM_SENSOR_PANIC_ON")
                .ok()
                .and_then(|address| address.parse().ok()),
        }
    }

    /// Sealed traffic will be opened by these keys.
    pub(crate) fn use_keys(&mut self, used: &Used) {
        self.kdc.use_keys(&used.keys);
        for shard in &mut self.shards {
            shard.rpc.keys = Some(Arc::clone(&used.keys));
            shard.rpc.keeps_opened = used.keep == Keep::Stubs;
        }
    }

    /// Answers of name servers are read.
    pub(crate) fn read_names(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.names = NameAnswers::Read);
    }

    /// Takes a frame in.
    pub(crate) fn frame(&mut self, sequence: u64, frame: &Frame<'_>, out: &mut Vec<Spoken>) {
        let place = Place::new(sequence, frame.at);
        let Self { decoder, kdc, .. } = self;
        let alone = self.workers == 1;
        let mut ends = None;
        // A panic on hostile bytes is a fault of ours that must not blind the sensor to everybody else.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            // By reference: each packet comes through here, and is not to be copied about.
            if let Some(decoded) = &decoder.push(frame) {
                let (source, destination) = decoded.ends();
                ends = Some([source, destination]);
                if alone {
                    kdc.take(decoded);
                }
                let shard = &mut self.shards[shard(source.address, destination.address) / self.workers];
                #[cfg(debug_assertions)]
                provoke(self.provoke, decoded);
                shard.push(place, decoded, out);
            }
        }));
        if let Err(panic) = caught {
            self.fail(place, frame, ends, &*panic, out);
        }
    }

    /// Takes in what was decoded elsewhere.
    pub(crate) fn decoded(&mut self, sequence: u64, link_type: LinkType, decoded: &Decoded<'_>, out: &mut Vec<Spoken>) {
        let (source, destination) = decoded.ends();
        let place = Place::new(sequence, decoded.at());
        let shard = &mut self.shards[shard(source.address, destination.address) / self.workers];
        let caught = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(debug_assertions)]
            provoke(self.provoke, decoded);
            shard.push(place, decoded, out);
        }));
        if let Err(panic) = caught {
            let frame = payload(link_type, decoded);
            self.fail(place, &frame, Some([source, destination]), &*panic, out);
        }
    }

    /// Takes in a frame from or to a key distribution centre, which some worker takes in as well.
    pub(crate) fn kdc_frame(&mut self, sequence: u64, frame: &Frame<'_>, out: &mut Vec<Spoken>) {
        let Self { kdc, kdc_decoder, .. } = self;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            if let Some(decoded) = kdc_decoder.push(frame) {
                kdc.take(&decoded);
            }
        }));
        self.kdc_failed(sequence, frame, caught, out);
    }

    /// The same of what was decoded elsewhere.
    pub(crate) fn kdc_decoded(
        &mut self,
        sequence: u64,
        link_type: LinkType,
        decoded: &Decoded<'_>,
        out: &mut Vec<Spoken>,
    ) {
        let kdc = &mut self.kdc;
        let caught = catch_unwind(AssertUnwindSafe(|| kdc.take(decoded)));
        self.kdc_failed(sequence, &payload(link_type, decoded), caught, out);
    }

    /// All workers fail on the same frame: the first one says so.
    fn kdc_failed(&mut self, sequence: u64, frame: &Frame<'_>, caught: std::thread::Result<()>, out: &mut Vec<Spoken>) {
        let Err(panic) = caught else { return };
        self.kdc.abandon();
        if self.number == 0 {
            self.fail(Place::new(sequence, frame.at), frame, None, &*panic, out);
        }
    }

    /// Time has come this far, also for those who say nothing.
    pub(crate) fn tick(&mut self, place: Place, out: &mut Vec<Spoken>) {
        let before = out.len();
        for shard in &mut self.shards {
            shard.advance(place, true, out);
        }
        out[before..].sort_by(Spoken::order);
    }

    /// Nothing more will come of what is on its way.
    pub(crate) fn settle(&mut self, place: Place, out: &mut Vec<Spoken>) {
        let before = out.len();
        for shard in &mut self.shards {
            shard.finish(place, out);
        }
        out[before..].sort_by(Spoken::order);
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        // All workers count the same.
        let tickets = if self.number == 0 {
            self.tickets.counters()
        } else {
            TicketCounters::default()
        };
        let mut tally = Tally::of(&Counted {
            decode: *self.decoder.counters(),
            fragments: self.decoder.fragment_counters(),
            tickets,
            failed: self.failed,
            ..Counted::default()
        });
        for shard in &self.shards {
            tally.add(&Tally::of(&Counted {
                flow: *shard.flows.counters(),
                assembler: *shard.flows.assembler_counters(),
                rpc: shard.rpc.counters,
                carriage: shard.rpc.carriage,
                datagrams: *shard.datagrams.counters(),
                keys: shard.rpc.keys.as_ref().map(|_| shard.rpc.key_counters),
                ..Counted::default()
            }));
        }
        tally
    }

    /// The connection is given up, and what is held is counted anew, since nobody knows how far the stage came.
    #[cold]
    fn fail(
        &mut self,
        place: Place,
        frame: &Frame<'_>,
        ends: Option<[Endpoint; 2]>,
        panic: &(dyn std::any::Any + Send),
        out: &mut Vec<Spoken>,
    ) {
        self.failed += 1;
        if self.workers == 1 && ends.is_some_and(|ends| ends.iter().any(|end| end.port == KDC_PORT)) {
            self.kdc.abandon();
        }
        if let Some([source, destination]) = ends {
            let shard = &mut self.shards[shard(source.address, destination.address) / self.workers];
            let mut given_up = Vec::new();
            let abandoned = catch_unwind(AssertUnwindSafe(|| {
                shard.abandon(source, destination, &mut |event| given_up.push(event));
            }));
            if abandoned.is_ok() {
                out.extend(given_up.into_iter().map(|event| place.says(Said::Rpc(event))));
            }
        }
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        out.push(
            place.says(Said::Failed(Box::new(Failure {
                at: frame.at,
                link_type: frame.link_type,
                bytes: frame.bytes.to_vec(),
                ends,
                message: text
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "a panic that says nothing".to_owned()),
            }))),
        );
    }
}

/// What was decoded elsewhere, as if it had been a frame.
fn payload<'a>(link_type: LinkType, decoded: &Decoded<'a>) -> Frame<'a> {
    let bytes = decoded.payload();
    Frame {
        at: decoded.at(),
        link_type,
        bytes,
        original_length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    }
}

/// Debug builds fail on purpose on what the host says that `DCOM_SENSOR_PANIC_ON` names: a test looks at what becomes of it.
#[cfg(debug_assertions)]
fn provoke(host: Option<IpAddr>, decoded: &Decoded<'_>) {
    let provoked = host == Some(decoded.ends().0.address) && !decoded.payload().is_empty();
    assert!(!provoked, "provoked");
}

impl Place {
    fn says(self, said: Said) -> Spoken {
        Spoken {
            sequence: self.sequence,
            due: false,
            time: self.time,
            steady: self.steady,
            said,
        }
    }

    fn due(self, said: Said) -> Spoken {
        Spoken {
            due: true,
            ..self.says(said)
        }
    }
}

impl Shard {
    #[inline]
    fn push(&mut self, place: Place, decoded: &Decoded<'_>, out: &mut Vec<Spoken>) {
        let Self {
            flows,
            datagrams,
            rpc,
            names,
        } = self;
        match decoded {
            Decoded::Segment(segment) => {
                flows.push(segment, &mut |output| {
                    hear(output, rpc, &mut |said| out.push(place.says(said)));
                });
            }
            Decoded::Datagram(datagram) => {
                if let Some(header) = recognise(datagram) {
                    datagrams.push(datagram, header, rpc, &mut |event| {
                        out.push(place.says(Said::Rpc(event)));
                    });
                } else if *names == NameAnswers::Read && name_answers::is_answer(datagram) {
                    let told = name_answers::read(datagram);
                    if !told.is_empty() {
                        out.push(place.says(Said::Named(told)));
                    }
                }
            }
        }
    }

    fn advance(&mut self, place: Place, due: bool, out: &mut Vec<Spoken>) {
        let Self {
            flows, datagrams, rpc, ..
        } = self;
        let say = |said| if due { place.due(said) } else { place.says(said) };
        flows.advance(place.steady, &mut |output| {
            hear(output, rpc, &mut |said| out.push(say(said)));
        });
        datagrams.advance(place.steady, rpc, &mut |event| out.push(say(Said::Rpc(event))));
    }

    fn finish(&mut self, place: Place, out: &mut Vec<Spoken>) {
        let Self {
            flows, datagrams, rpc, ..
        } = self;
        flows.finish(&mut |output| hear(output, rpc, &mut |said| out.push(place.due(said))));
        datagrams.finish(rpc, &mut |event| out.push(place.due(Said::Rpc(event))));
    }

    /// Forgets what two ends have to do with one another, and counts what is held anew.
    fn abandon(&mut self, source: Endpoint, destination: Endpoint, out: &mut dyn FnMut(RpcEvent)) {
        let abandoned = self.flows.abandon(source, destination);
        self.datagrams.abandon(source, destination, out);
        let held = self.flows.consumers().map(Carriage::held).sum::<usize>() + self.datagrams.held();
        self.rpc.recount(held);
        if let Some(Abandoned {
            connection,
            ended,
            consumer,
        }) = abandoned
        {
            let over = consumer.end(&connection, ended);
            let body = RpcBody::Closed;
            out(RpcEvent { connection, body });
            over.into_iter().for_each(out);
        }
    }
}

/// Hands what a stream brings to what it carries.
fn hear(output: Output<'_, Carriage>, bounds: &mut RpcBounds, say: &mut dyn FnMut(Said)) {
    match output {
        Output::Heard { ends, opener_known, .. } => say(Said::Heard(ends, opener_known)),
        Output::Unanswered(connection, silence) => say(Said::Unanswered(connection, silence)),
        Output::Odd(connection, anomaly) => say(Said::Odd(Arc::clone(connection), anomaly)),
        Output::Stream(connection, carriage, event) => {
            carriage.push(connection, event, bounds, &mut |event| say(Said::Rpc(event)));
        }
        Output::Due(connection, carriage, now) => {
            carriage.advance(connection, now, bounds, &mut |event| say(Said::Rpc(event)));
        }
        Output::Ended(connection, carriage, ended) => {
            if let Some(event) = carriage.end(connection, ended) {
                say(Said::Rpc(event));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_and_both_families_have_one_shard_and_pairs_are_spread() {
        let mut seen = [0_usize; SHARDS];
        for last in 0..=255_u8 {
            let (a, b) = (IpAddr::from([10, 1, 2, 3]), IpAddr::from([10, 1, 7, last]));
            assert_eq!(shard(a, b), shard(b, a));
            seen[shard(a, b)] += 1;
            let mut segments = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0];
            let c = IpAddr::from(segments);
            segments[7] = last.into();
            assert_eq!(shard(c, IpAddr::from(segments)), shard(IpAddr::from(segments), c));
        }
        assert!(seen.iter().all(|&count| (4..=48).contains(&count)), "{seen:?}");
    }
}
