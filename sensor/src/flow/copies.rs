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
    /// Is this a copy of a segment that came less than `within` nanoseconds before? Takes note of it. `connection` tells
    /// its connection from others, where these are not of one alone.
    pub(super) fn is_copy(&mut self, segment: &Segment<'_>, connection: u64, within: i64) -> bool {
        let known = self.knows(segment, connection, within);
        if !known && can_tell(segment) {
            let (mark, time) = (mark(segment, connection), segment.at.time.0);
            self.seen[self.next % REMEMBERED] = Seen { mark, time };
            self.next = (self.next + 1) % REMEMBERED;
        }
        known
    }

    /// The same, taking no note.
    pub(super) fn knows(&self, segment: &Segment<'_>, connection: u64, within: i64) -> bool {
        let (mark, time) = (mark(segment, connection), segment.at.time.0);
        let is_it =
            |seen: &Seen| seen.mark == mark && time.saturating_sub(seen.time).unsigned_abs() < within.unsigned_abs();
        can_tell(segment) && self.seen.iter().any(is_it)
    }
}

/// Without an identification, a host that acknowledges the same thing again sends the same packet.
fn can_tell(segment: &Segment<'_>) -> bool {
    segment.marks.identification != 0 || !segment.payload.is_empty() || segment.syn
}

fn mark(segment: &Segment<'_>, connection: u64) -> u64 {
    let marks = &segment.marks;
    let mark = u64::from(segment.sequence) << 32 | u64::from(marks.identification) << 16 | u64::from(marks.checksum);
    mark ^ connection.rotate_right(16)
}
