//! Where frames come from.

mod error;
#[cfg(target_os = "linux")]
mod fanout;
mod file;
mod inputs;
pub(crate) mod live;
mod merge;
mod pcap;
mod pcapng;
pub(crate) mod stored;
#[cfg(test)]
mod testing;
mod window;

pub use error::{CaptureError, Cause};
pub use file::CaptureFile;
pub use inputs::{Expanded, Input, expand};
pub(crate) use merge::{Ears, Next};

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::time::Timestamp;

/// Where in the input something stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Frame number, from 1 in each file.
    pub frame: u64,
    /// When it was captured.
    pub time: Timestamp,
    /// Which of the inputs it stands in, counted from 0.
    pub input: u32,
    /// By how many seconds the clock that gave `time` had been set back by then.
    pub set_back: u32,
}

impl At {
    /// A time that does not go back where `time` does: what is waited for goes by it.
    #[inline]
    pub fn steady(&self) -> Timestamp {
        self.time.later(self.set_back)
    }
}

/// The link-layer header type of a capture, as in <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

/// What a capture says of the interface that a frame came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Which section describes it, and which of that section's interfaces it is, both from 0.
    pub(crate) place: (u32, u32),
    /// How its frames begin.
    pub(crate) link_type: LinkType,
    /// Longer frames were cut; zero when there is no limit.
    pub(crate) snap_length: u32,
    /// As the system that captured calls it.
    pub(crate) name: Option<Box<str>>,
    /// What somebody said of it.
    pub(crate) description: Option<Box<str>>,
}

/// Bytes with a time.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Number and time.
    pub at: At,
    /// How the bytes begin.
    pub link_type: LinkType,
    /// What was captured.
    pub bytes: &'a [u8],
    /// How long the frame was on the wire; more than `bytes` when the snap length cut it.
    pub original_length: u32,
}

/// A frame whose bytes stand elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) at: At,
    pub(crate) link_type: LinkType,
    /// Where its bytes stand.
    pub(crate) range: Range<usize>,
    pub(crate) original_length: u32,
}

impl Slot {
    /// The frame, with its bytes.
    #[inline]
    pub(crate) fn frame<'a>(self, bytes: impl FnOnce(Range<usize>) -> &'a [u8]) -> Frame<'a> {
        Frame {
            at: self.at,
            link_type: self.link_type,
            bytes: bytes(self.range),
            original_length: self.original_length,
        }
    }
}

/// Frames in a row, and the memory they stand in.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<Slot>,
}

/// Memory of batches that somebody is done with: who reads takes it, so that the system need not clear new memory for each
/// of them. What is more than can be on its way is let go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spare(Arc<Mutex<Vec<Batch>>>);

impl Spare {
    const MOST: usize = 32;

    /// Memory to read into, with whatever was there before; new memory when there is none.
    pub(crate) fn take(&self) -> Batch {
        self.batches().pop().unwrap_or_default()
    }

    /// Nobody needs this any more.
    pub(crate) fn give(&self, batch: Batch) {
        let mut batches = self.batches();
        if batches.len() < Self::MOST {
            batches.push(batch);
        }
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        // Whoever panicked in here left batches.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The byte order a capture file was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The number at `at`; the caller has made sure that it is there.
    #[inline]
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// The first four numbers of 32 bits; the caller has made sure that they are there.
    #[inline]
    fn four(self, bytes: &[u8]) -> [u32; 4] {
        let (words, _) = bytes[..16].as_chunks::<4>();
        let number = |at: usize| match self {
            Self::Little => u32::from_le_bytes(words[at]),
            Self::Big => u32::from_be_bytes(words[at]),
        };
        [number(0), number(1), number(2), number(3)]
    }

    /// The number at `at`; the caller has made sure that it is there.
    #[inline]
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[at..at + 4]);
        match self {
            Self::Little => u32::from_le_bytes(four),
            Self::Big => u32::from_be_bytes(four),
        }
    }
}
