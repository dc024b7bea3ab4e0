//! A connection that carries DCE/RPC: both directions in order, handed on as they come.
//!
//! An acknowledgement of bytes never seen means that they are lost: a hole before bytes that were seen is declared at once.
//! At the end of what was seen there may be no hole but two packets that changed places, a request and its answer. Then
//! the answer is held back until the request comes, or until it is plain that it will not.

use std::sync::Arc;

use super::assembler::{Assembler, Bounds, Piece};
use super::table::End;
use super::{Connection, Output, Shared, Side, StreamEvent};
use crate::capture::At;
use crate::decode::Segment;
use crate::time::Timestamp;

/// What is kept for it.
pub(super) struct Tracked<C> {
    pub(super) connection: Arc<Connection>,
    pub(super) client: End,
    pub(super) streams: [Option<Assembler>; 2],
    /// Where each end's stream stops, once its FIN was seen.
    pub(super) fins: [Option<u32>; 2],
    /// A SYN was seen in the middle: the sequence number after it. Believed when the other end acknowledges it.
    pub(super) reopening: Option<u32>,
    pub(super) doubt: Option<Doubt>,
    pub(super) consumer: C,
}

/// An end acknowledged bytes behind all that was seen of the other.
pub(super) struct Doubt {
    /// The end whose bytes are missing.
    missing: End,
    /// The sequence number up to which they are acknowledged.
    until: u32,
    since: Timestamp,
    /// What the acknowledging end sent meanwhile.
    held: Vec<(At, Vec<u8>)>,
    bytes: usize,
}

impl<C> Tracked<C> {
    pub(super) fn side(&self, end: End) -> Side {
        if end == self.client { Side::Client } else { Side::Server }
    }

    /// Runs one of an end's assembler's operations and hands on what it delivers.
    fn run(
        &mut self,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
        operation: impl FnOnce(&mut Assembler, &mut Bounds, &mut dyn FnMut(Piece<'_>)),
    ) {
        let side = self.side(end);
        let Self {
            connection,
            streams,
            consumer,
            doubt,
            ..
        } = self;
        let Some(stream) = &mut streams[end] else { return };
        let mut doubt = doubt.as_mut().filter(|doubt| doubt.missing != end);
        operation(stream, &mut shared.bounds, &mut |piece| {
            let event = match (piece, &mut doubt) {
                (Piece::Data(at, bytes), Some(doubt)) => {
                    doubt.held.push((at, bytes.to_vec()));
                    doubt.bytes += bytes.len();
                    return;
                }
                (Piece::Data(at, bytes), None) => StreamEvent::Data { at, side, bytes },
                (Piece::Gap(bytes), _) => StreamEvent::Gap { side, bytes },
            };
            out(Output::Stream(connection, consumer, event));
        });
    }

    /// Ends a doubt that this segment resolves: the bytes came, later ones did, or it has lasted long enough.
    pub(super) fn resolve(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let Some(doubt) = &self.doubt else { return };
        let limits = &shared.bounds.limits;
        let lasted = segment.at.time.since(doubt.since);
        let later = end == doubt.missing && segment.sequence.wrapping_sub(doubt.until).cast_signed() >= 0;
        if later || !(0..=limits.doubt).contains(&lasted) || doubt.bytes > limits.doubted {
            self.believe(shared, out);
        }
    }

    /// The bytes in doubt came: what was held back goes on.
    fn reassure(&mut self, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &self.doubt else { return };
        let came = self.streams[doubt.missing]
            .as_ref()
            .is_none_or(|stream| stream.sequence().wrapping_sub(doubt.until).cast_signed() >= 0);
        if came {
            self.release(out);
        }
    }

    /// The bytes in doubt are lost.
    fn believe(&mut self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = &self.doubt else { return };
        let (missing, until) = (doubt.missing, doubt.until);
        self.run(missing, shared, out, |stream, bounds, out| {
            stream.acknowledged(until, bounds, out);
        });
        self.release(out);
    }

    fn release(&mut self, out: &mut impl FnMut(Output<'_, C>)) {
        let Some(doubt) = self.doubt.take() else { return };
        self.deliver(1 - doubt.missing, &doubt.held, out);
    }

    /// Hands on what was held back of an end, in order.
    pub(super) fn deliver(&mut self, end: End, held: &[(At, Vec<u8>)], out: &mut impl FnMut(Output<'_, C>)) {
        let side = self.side(end);
        for &(at, ref bytes) in held {
            let event = StreamEvent::Data { at, side, bytes };
            out(Output::Stream(&self.connection, &mut self.consumer, event));
        }
    }

    pub(super) fn push(
        &mut self,
        segment: &Segment<'_>,
        end: End,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        self.streams[end].get_or_insert_with(|| Assembler::new(segment.sequence));
        if let Some(acknowledgement) = segment.acknowledgement {
            self.streams[1 - end].get_or_insert_with(|| Assembler::new(acknowledgement));
        }
        self.run(end, shared, out, |stream, bounds, out| {
            stream.push(segment.at, segment.sequence, segment.payload, bounds, &mut *out);
            if segment.cut > 0 {
                // What the snap length cut off will not come: known now, not when the peer acknowledges it.
                let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
                let end = segment.sequence.wrapping_add(length).wrapping_add(segment.cut);
                stream.cut(segment.sequence.wrapping_add(length), end, bounds, out);
            }
        });
        self.reassure(out);
    }

    /// The other end acknowledges what `end` sent before this sequence number.
    pub(super) fn acknowledged(
        &mut self,
        end: End,
        acknowledgement: u32,
        now: Timestamp,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        let Some(stream) = &self.streams[end] else { return };
        // A FIN takes a sequence number and brings no byte.
        let until = match self.fins[end] {
            Some(stop) if acknowledgement.wrapping_sub(stop).cast_signed() > 0 => stop,
            _ => acknowledgement,
        };
        let seen_until = stream.seen_until();
        let unseen = until.wrapping_sub(seen_until).cast_signed();
        let believed = if unseen > 0 { seen_until } else { until };
        self.run(end, shared, out, |stream, bounds, out| {
            stream.acknowledged(believed, bounds, out);
        });
        if unseen <= 0 || unseen.unsigned_abs() > shared.bounds.limits.window {
            return;
        }
        match &mut self.doubt {
            Some(doubt) if doubt.missing == end => doubt.until = until,
            Some(_) => self.believe(shared, out),
            None => {
                self.doubt = Some(Doubt {
                    missing: end,
                    until,
                    since: now,
                    held: Vec::new(),
                    bytes: 0,
                });
            }
        }
    }

    pub(super) fn end(mut self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        shared.tracked -= 1;
        self.believe(shared, out);
        for end in [self.client, 1 - self.client] {
            self.run(end, shared, out, |stream, bounds, out| stream.finish(bounds, out));
        }
        out(Output::Stream(
            &self.connection,
            &mut self.consumer,
            StreamEvent::Closed,
        ));
    }
}
