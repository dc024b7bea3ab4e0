//! A SYN in the middle of a connection: it may open another one that uses the ports anew, of which the close of the one before
//! was not seen. It is believed when the other end acknowledges it (RFC 9293 3.5: a host that knows of the connection answers
//! otherwise); until then it is nobody's packet.

use super::start;
use super::table::End;
use super::traffic::Packets;
use crate::capture::At;
use crate::decode::Segment;

/// Such a SYN, however often it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reopening {
    pub(super) end: End,
    /// When it came first.
    pub(super) at: At,
    /// When it came last.
    pub(super) last: At,
    /// The sequence number after it.
    pub(super) next: u32,
    pub(super) packets: Packets,
}

impl Reopening {
    pub(super) fn new(syn: &Segment<'_>, end: End) -> Self {
        Self {
            end,
            at: syn.at,
            last: syn.at,
            next: start(syn),
            packets: Packets::default(),
        }
    }

    /// Is the segment this SYN, or this one sent again?
    pub(super) fn is(&self, segment: &Segment<'_>, end: End) -> bool {
        segment.syn && end == self.end && start(segment) == self.next
    }

    pub(super) fn count(&mut self, syn: &Segment<'_>) {
        self.last = syn.at;
        self.packets.count(syn.length, syn.flags);
    }
}
