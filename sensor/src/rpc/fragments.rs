//! Fragments joined to messages, over each fragment's own padding and verifier.

use dcom_parsers::rpce::{CommonHeader, PfcFlags};

use super::{Message, RpcCounters, Stub};
use crate::capture::At;
use crate::keys::KeyName;

/// Fragments being joined.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) message: Message,
    /// Was the last fragment seen?
    pub(super) ended: bool,
}

/// What can be had of a fragment's stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// All of it.
    Clear,
    /// Its length.
    Sealed,
    /// Bytes of it are missing.
    Damaged,
}

/// What one PDU of a message brings.
pub(super) struct Fragment<'a> {
    pub(super) at: At,
    pub(super) header: CommonHeader,
    pub(super) stub: &'a [u8],
    pub(super) condition: Condition,
    /// By which key its stub was opened, if it was sealed.
    pub(super) key: Option<KeyName>,
}

impl Joined {
    /// Adds a fragment. `room` is how many more bytes of stubs may be kept.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, is_read: bool, room: usize, counters: &mut RpcCounters) {
        let message = &mut self.message;
        let first = message.fragments == 0;
        message.at = fragment.at;
        message.fragments += 1;
        message.stub_length += fragment.stub.len() as u64;
        if first {
            // A stub is handed over whole, with the label of its first PDU.
            message.order = fragment.header.order;
        }
        self.ended |= fragment.header.flags.contains(PfcFlags::LAST_FRAG);
        let starts = fragment.header.flags.contains(PfcFlags::FIRST_FRAG);
        if fragment.key.is_some() {
            message.key.clone_from(&fragment.key);
        }
        message.stub = match (fragment.condition, std::mem::take(&mut message.stub)) {
            // What is lost once does not come back with the next fragment.
            (Condition::Damaged, _) | (_, Stub::Incomplete) => Stub::Incomplete,
            _ if first && !starts => Stub::Incomplete,
            (Condition::Sealed, _) => Stub::Sealed,
            (Condition::Clear, _) if first && is_read => Stub::Whole(Vec::new()),
            (Condition::Clear, earlier) => earlier,
        };
        if let Stub::Whole(stub) = &mut message.stub {
            if fragment.stub.len() > room {
                counters.over_limit += 1;
                stub.extend_from_slice(fragment.stub.get(..room).unwrap_or_default());
                message.stub = Stub::beginning(std::mem::take(stub));
            } else {
                stub.extend_from_slice(fragment.stub);
            }
        }
    }

    /// Something was lost, and what this waits for may be in it: what comes next does not go on where this ended. A message
    /// that is whole stays so.
    pub(super) fn doubt(&mut self) {
        if !self.ended && self.message.fragments > 0 {
            self.message.stub = Stub::Incomplete;
        }
    }

    pub(super) fn kept(&self) -> usize {
        self.message.readable().map_or(0, |(stub, _)| stub.len())
    }

    /// A message that ended early is not whole.
    pub(super) fn finish(mut self) -> Message {
        if !self.ended && matches!(self.message.stub, Stub::Whole(_)) {
            self.message.stub = Stub::Incomplete;
        }
        self.message
    }
}
