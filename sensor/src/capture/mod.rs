//! Where frames come from.

use crate::time::Timestamp;

/// Where in the input something stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Frame number, from 1 in each file.
    pub frame: u64,
    /// When it was captured.
    pub time: Timestamp,
}

/// The link-layer header type of a capture, as in <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

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
