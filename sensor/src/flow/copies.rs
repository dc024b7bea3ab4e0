//! Packets that a mirror delivered twice, told from packets that were sent again.

use crate::decode::Segment;

/// The segments of late, of both directions.
#[derive(Debug, Default)]
pub(super) struct Copies {
    seen: [Seen; REMEMBERED],
    next: usize,
}

/// Enough for a burst: a mirror of both sides of a switch delivers a copy right behind the packet, or a few behind.
const REMEMBERED: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Sequence number, identification of the IP packet, TCP checksum. A packet sent again has another identification
    /// (over IPv6 there is none); the checksum covers the rest of the header, options and payload. What a switch or
    /// router changes on the way, addresses of frames, tags and hops, is not in it.
    mark: u64,
    time: i64,
}

impl Copies {
    /// Is this a copy of a segment that came less than `within` nanoseconds before? Takes note of it.
    pub(super) fn is_copy(&mut self, segment: &Segment<'_>, within: i64) -> bool {
        let marks = &segment.marks;
        let mark =
            u64::from(segment.sequence) << 32 | u64::from(marks.identification) << 16 | u64::from(marks.checksum);
        let time = segment.at.time.0;
        let known = self
            .seen
            .iter()
            .any(|seen| seen.mark == mark && time.saturating_sub(seen.time).unsigned_abs() < within.unsigned_abs());
        if !known {
            self.seen[self.next % REMEMBERED] = Seen { mark, time };
            self.next = (self.next + 1) % REMEMBERED;
        }
        known
    }
}
