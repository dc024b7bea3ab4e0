//! Fragments joined to messages, over each fragment's own padding and verifier.

use dcom_parsers::rpce::{CommonHeader, PfcFlags};

use super::{Message, RpcCounters, Stub};
use crate::capture::At;

/// Fragments being joined.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) message: Message,
    /// Was the last fragment seen?
    pub(super) ended: bool,
}

/// What one PDU of a message brings.
pub(super) struct Fragment<'a> {
    pub(super) at: At,
    pub(super) header: CommonHeader,
    pub(super) stub: &'a [u8],
    pub(super) sealed: bool,
}

impl Joined {
    /// Adds a fragment. `room` is how many more bytes of stubs may be kept.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, is_read: bool, room: usize, counters: &mut RpcCounters) {
        let message = &mut self.message;
        let first = message.fragments == 0;
        message.at = fragment.at;
        message.fragments += 1;
        message.stub_length += fragment.stub.len() as u64;
        message.order = fragment.header.order;
        self.ended |= fragment.header.flags.contains(PfcFlags::LAST_FRAG);
        if first {
            message.stub = match (fragment.sealed, fragment.header.flags.contains(PfcFlags::FIRST_FRAG)) {
                (true, _) => Stub::Sealed,
                (false, false) => Stub::Incomplete,
                (false, true) if is_read => Stub::Whole(Vec::new()),
                (false, true) => Stub::NotKept,
            };
        }
        if fragment.sealed {
            message.stub = Stub::Sealed;
        }
        if let Stub::Whole(stub) = &mut message.stub {
            if fragment.stub.len() > room {
                counters.over_limit += 1;
                message.stub = Stub::NotKept;
            } else {
                stub.extend_from_slice(fragment.stub);
            }
        }
    }

    pub(super) fn kept(&self) -> usize {
        if let Stub::Whole(stub) = &self.message.stub {
            stub.len()
        } else {
            0
        }
    }

    /// A message that ended early is not whole.
    pub(super) fn finish(mut self) -> Message {
        if !self.ended && matches!(self.message.stub, Stub::Whole(_)) {
            self.message.stub = Stub::Incomplete;
        }
        self.message
    }
}
