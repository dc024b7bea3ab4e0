//! A connection that carries DCE/RPC: both directions in order, handed on as they come.

use std::sync::Arc;

use super::assembler::{Assembler, Bounds, Piece};
use super::table::End;
use super::{Connection, Output, Shared, Side, StreamEvent};
use crate::decode::Segment;

/// What is kept for it.
pub(super) struct Tracked<C> {
    pub(super) connection: Arc<Connection>,
    pub(super) client: End,
    pub(super) streams: [Option<Assembler>; 2],
    /// Where each end's stream stops, once its FIN was seen.
    pub(super) fins: [Option<u32>; 2],
    /// A SYN was seen in the middle: the sequence number after it. Believed when the other end acknowledges it.
    pub(super) reopening: Option<u32>,
    pub(super) consumer: C,
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
            ..
        } = self;
        let Some(stream) = &mut streams[end] else { return };
        operation(stream, &mut shared.bounds, &mut |piece| {
            let event = match piece {
                Piece::Data(at, bytes) => StreamEvent::Data { at, side, bytes },
                Piece::Gap(bytes) => StreamEvent::Gap { side, bytes },
            };
            out(Output::Stream(connection, consumer, event));
        });
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
    }

    pub(super) fn acknowledged(
        &mut self,
        end: End,
        acknowledgement: u32,
        shared: &mut Shared,
        out: &mut impl FnMut(Output<'_, C>),
    ) {
        // A FIN takes a sequence number and brings no byte.
        let until = match self.fins[end] {
            Some(stop) if acknowledgement.wrapping_sub(stop).cast_signed() > 0 => stop,
            _ => acknowledgement,
        };
        self.run(end, shared, out, |stream, bounds, out| {
            stream.acknowledged(until, bounds, out);
        });
    }

    pub(super) fn end(mut self, shared: &mut Shared, out: &mut impl FnMut(Output<'_, C>)) {
        shared.tracked -= 1;
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
