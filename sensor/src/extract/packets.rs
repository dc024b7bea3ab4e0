//! The second reading: which connection a frame is of, and into which files it goes.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::files::Files;
use super::plan::{Ends, Plan, Wanted, pair};
use super::queue::{Queue, Where};
use super::{Extracted, Notes, words};
use crate::capture::{At, Frame, Input, Interface};
use crate::clock::{Clock, Due};
use crate::decode::{Decoded, Decoder, Endpoint, SnapLengths, plain_tcp};
use crate::flow::flow_id;
use crate::limits::Limits;
use crate::time::Timestamp;

/// A connection that was silent for so long, in nanoseconds, may have ended, and another one begun between the same ends.
const PAUSE: i64 = 4_000_000_000;
/// C706 12.6.3.1, [MS-RPCE] 2.2.2.10: version 5, any minor one, and the type of `rpc_auth_3`.
const AUTH3: (u8, u8) = (5, 16);

/// Copies what was planned.
pub(crate) struct Copier {
    plan: Plan,
    files: Files,
    names: Vec<String>,
    decoder: Decoder,
    snap_lengths: SnapLengths,
    clock: Clock,
    patience: i64,
    /// Connections between the ends of those that are wanted, as they are by now.
    now: HashMap<Ends, Now>,
    /// Counts how often everything began anew.
    era: u64,
    queue: Queue,
    extracted: Extracted,
}

/// Which connection it is that two ends have by now.
#[derive(Debug, Default)]
struct Now {
    era: u64,
    flow: Option<u64>,
    last: Timestamp,
    /// Sequence number of the SYN that opened it.
    opened_by: Option<u32>,
    /// That of another SYN, which nobody has answered yet.
    doubt: Option<u32>,
}

/// What is known of a frame once it was taken apart.
struct Packet {
    at: At,
    udp: bool,
    source: Endpoint,
    destination: Endpoint,
    syn: bool,
    sequence: u32,
    acknowledgement: Option<u32>,
    /// What is said of a login's last message, of which no event tells.
    login: Option<String>,
}

impl Packet {
    fn of(decoded: &Decoded<'_>) -> Self {
        let (source, destination) = decoded.ends();
        let packet = Self {
            at: decoded.at(),
            udp: true,
            source,
            destination,
            syn: false,
            sequence: 0,
            acknowledgement: None,
            login: None,
        };
        match decoded {
            Decoded::Datagram(_) => packet,
            Decoded::Segment(segment) => Self {
                udp: false,
                syn: segment.syn,
                sequence: segment.sequence,
                acknowledgement: segment.acknowledgement,
                login: matches!(segment.payload, [version, _, kind, ..] if (*version, *kind) == AUTH3)
                    .then(|| words::of_login(segment.payload)),
                ..packet
            },
        }
    }
}

impl Copier {
    /// Will write to the folder what was noted.
    pub(crate) fn new(notes: Notes, folder: &Path, inputs: &[Input], limits: &Limits) -> Self {
        let mut plan = Plan::new(notes);
        let extracted = Extracted {
            alerts: plan.alerts,
            left_out: plan.left_out,
            folder: folder.to_owned(),
            ..Extracted::default()
        };
        Self {
            files: Files::new(folder, std::mem::take(&mut plan.files)),
            plan,
            names: inputs.iter().map(ToString::to_string).collect(),
            decoder: Decoder::new(*limits),
            snap_lengths: SnapLengths::default(),
            clock: Clock::new(limits),
            patience: limits.fragment_wait,
            now: HashMap::new(),
            era: 0,
            queue: Queue::default(),
            extracted,
        }
    }

    /// Is there nothing to read for?
    pub(crate) fn is_idle(&self) -> bool {
        self.plan.connections.is_empty()
    }

    /// Takes the next frame in. The error is about the files that are written.
    pub(crate) fn take(&mut self, frame: &Frame<'_>, interface: &Interface) -> io::Result<()> {
        let original_length = self.snap_lengths.original_length(frame);
        let mut at = frame.at;
        if self.clock.step(&mut at).1 == Due::Settle {
            self.era += 1;
        }
        if let Some((source, destination)) = plain_tcp(frame)
            && !self.is_of_interest(false, source, destination)
        {
            return self.drain(frame.at.time);
        }
        let put = self.decoder.fragments_put();
        let waiting = self.decoder.counters().waiting;
        // A fault of ours on hostile bytes was told by the first reading, and costs the frame here too.
        let decoder = &mut self.decoder;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let frame = Frame {
                original_length,
                ..*frame
            };
            decoder.push(&frame).map(|decoded| Packet::of(&decoded))
        }));
        let packet = decoded.unwrap_or_default();
        let mut packets = self.decoder.packets_since(put).collect::<Vec<u64>>();
        if packets.is_empty() && packet.is_none() {
            return self.drain(frame.at.time);
        }
        let waits = self.decoder.counters().waiting > waiting;
        // A packet that is whole may be a part of one that is not.
        if waits && let Some(last) = packets.pop() {
            for packet in packets {
                self.queue.join(packet, last);
            }
            self.queue.wait(frame, interface, last);
            return self.drain(frame.at.time);
        }
        let to = packet.and_then(|packet| self.destination(&packet));
        for packet in packets {
            self.queue.decide(packet, to.as_ref());
        }
        match to {
            Some(to) if self.queue.is_empty() => self.write(frame, interface, &to),
            Some(to) => {
                self.queue.push(frame, interface, to);
                self.drain(frame.at.time)
            }
            None => self.drain(frame.at.time),
        }
    }

    fn is_of_interest(&self, udp: bool, source: Endpoint, destination: Endpoint) -> bool {
        let Plan { by_ends, expected, .. } = &self.plan;
        by_ends.contains_key(&Ends::new(udp, source, destination))
            || expected.contains_key(&(source.address, destination))
            || expected.contains_key(&(destination.address, source))
    }

    /// Where a packet goes, if it is of a connection that is wanted.
    fn destination(&mut self, packet: &Packet) -> Option<Where> {
        let ends = Ends::new(packet.udp, packet.source, packet.destination);
        let wanted = self.plan.by_ends.get(&ends).and_then(|candidates| {
            let now = self.now.entry(ends).or_default();
            now.meet(packet, self.era, candidates, &self.plan.connections)
        });
        if let Some(flow) = wanted {
            let connection = self.plan.connections.get(&flow)?;
            return Some(Where {
                files: connection.files.clone(),
                pair: Some(pair(packet.source.address, packet.destination.address)),
                comment: packet.login.clone(),
            });
        }
        if packet.udp {
            return None;
        }
        let both = [
            (packet.source.address, packet.destination),
            (packet.destination.address, packet.source),
        ];
        let time = packet.at.time;
        let mut files: Vec<u32> = both
            .iter()
            .filter_map(|ends| self.plan.expected.get(ends))
            .flatten()
            .filter(|expected| expected.from <= time && time <= expected.until)
            .map(|expected| expected.file)
            .collect();
        files.sort_unstable();
        files.dedup();
        (!files.is_empty()).then(|| Where {
            files,
            pair: Some(pair(packet.source.address, packet.destination.address)),
            comment: None,
        })
    }

    /// Writes what has waited and does not any more.
    fn drain(&mut self, now: Timestamp) -> io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let patience = Timestamp(now.0.saturating_sub(self.patience));
        self.drain_since(patience)
    }

    fn drain_since(&mut self, patience: Timestamp) -> io::Result<()> {
        while let Some((held, to)) = self.queue.next(patience) {
            self.write(&held.frame(), &held.interface, &to)?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame<'_>, interface: &Interface, to: &Where) -> io::Result<()> {
        let noted = to
            .pair
            .and_then(|pair| self.plan.comments.get(&(pair, frame.at.frame, frame.at.time)));
        let mut comments: Vec<&str> = noted.into_iter().flatten().map(String::as_str).collect();
        comments.extend(to.comment.as_deref());
        let name = self.names.get(frame.at.input as usize).map_or("-", String::as_str);
        for &file in &to.files {
            self.files.write(file, frame, (interface, name), &comments)?;
        }
        Ok(())
    }

    /// Ends the files, and says what was written.
    pub(crate) fn finish(mut self) -> io::Result<Extracted> {
        self.drain_since(Timestamp(i64::MAX))?;
        Ok(Extracted {
            files: self.files.finish()?,
            frames_left_out: self.queue.left_out,
            ..self.extracted
        })
    }
}

impl Now {
    /// The connection that a packet between these ends is of, if it is one that is wanted.
    fn meet(&mut self, packet: &Packet, era: u64, candidates: &[u64], known: &HashMap<u64, Wanted>) -> Option<u64> {
        if self.era != era {
            *self = Self { era, ..Self::default() };
        }
        let opens = packet.syn && packet.acknowledgement.is_none();
        let silent = packet.at.time.since(self.last) > PAUSE;
        self.last = packet.at.time;
        if self.flow.is_none() || opens || silent {
            let begins = candidates.iter().copied().find(|flow| {
                let of = |wanted: &Wanted| flow_id(wanted.client, wanted.server, packet.at) == *flow;
                known.get(flow).is_some_and(of)
            });
            if begins.is_some() {
                self.flow = begins;
                self.opened_by = opens.then_some(packet.sequence);
                self.doubt = None;
            } else if opens && self.opened_by != Some(packet.sequence) {
                self.doubt = Some(packet.sequence.wrapping_add(1));
            }
        } else if packet.syn && self.doubt.is_some() && packet.acknowledgement == self.doubt {
            // Another connection, of which nothing is wanted. Until it was answered, the SYN may have been forged.
            *self = Self {
                era,
                last: self.last,
                ..Self::default()
            };
        }
        self.flow
    }
}
