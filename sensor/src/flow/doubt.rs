//! An end acknowledged bytes behind all that was seen of the other: are they lost, late, or were they never sent?

use std::collections::VecDeque;

use super::behind;
use crate::capture::At;
use crate::decode::Segment;
use crate::time::Timestamp;

/// What the acknowledging end said, and what it sent meanwhile.
pub(super) struct Doubt {
    /// The sequence number up to which bytes are acknowledged.
    pub(super) until: u32,
    /// The acknowledging end's own sequence number behind what it sent with that.
    by: u32,
    /// Since when what is held first waits.
    pub(super) since: Timestamp,
    /// Is what the acknowledging end sends held back? No more when that has lasted long enough.
    pub(super) waits: bool,
    pub(super) held: VecDeque<Held>,
    pub(super) bytes: usize,
}

/// A piece that waits for the bytes that its sender had got.
pub(super) struct Held {
    pub(super) at: At,
    pub(super) what: Kept,
    /// The sequence number up to which that was.
    pub(super) until: u32,
}

pub(super) enum Kept {
    Bytes(Vec<u8>),
    /// So many bytes will never come.
    Gap(u64),
}

impl Kept {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Gap(_) => &[],
        }
    }

    pub(super) fn missing(&self) -> u64 {
        match self {
            Self::Bytes(_) => 0,
            Self::Gap(bytes) => *bytes,
        }
    }
}

/// How an acknowledgement stands to the one that is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It says more.
    More,
    /// It says the same, or is older.
    Same,
    /// It is later and says less: who sent it did not send the other.
    Less,
}

impl Doubt {
    pub(super) fn new(until: u32, segment: &Segment<'_>) -> Self {
        Self {
            until,
            by: behind(segment),
            since: segment.at.steady(),
            waits: true,
            held: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The room that what is held takes.
    pub(super) fn room(&self) -> usize {
        self.bytes + self.held.len() * size_of::<Held>()
    }

    /// The sequence number that what is held first waits for.
    pub(super) fn first(&self) -> u32 {
        self.held.front().map_or(self.until, |held| held.until)
    }

    /// The same end acknowledges again.
    pub(super) fn again(&mut self, until: u32, segment: &Segment<'_>) -> Again {
        let more = until.wrapping_sub(self.until).cast_signed();
        let later = segment.sequence.wrapping_sub(self.by).cast_signed() >= 0;
        if more < 0 && !later {
            return Again::Same;
        }
        self.until = until;
        if later {
            self.by = behind(segment);
        }
        match more {
            0 => Again::Same,
            1.. => Again::More,
            _ => Again::Less,
        }
    }

    /// The other end sends nothing from this sequence number on: a FIN takes one and brings no byte.
    pub(super) fn stop(&mut self, stop: u32) {
        let held = self.held.iter_mut().map(|held| &mut held.until);
        for until in held.chain([&mut self.until]) {
            if until.wrapping_sub(stop).cast_signed() > 0 {
                *until = stop;
            }
        }
    }
}
