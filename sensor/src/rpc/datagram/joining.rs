//! Fragments that come in any order, some of them twice, joined by their numbers.

use std::collections::BTreeMap;

use dcom_parsers::input::ByteOrder;
use dcom_parsers::rpce::{DgFlags, DgHeader};

use crate::capture::At;
use crate::rpc::fragments::Condition;
use crate::rpc::{Message, RpcCounters, Stub};

/// What one PDU of a message brings.
pub(super) struct Fragment<'a> {
    pub(super) at: At,
    pub(super) number: u16,
    pub(super) place: Place,
    pub(super) order: ByteOrder,
    pub(super) stub: &'a [u8],
    pub(super) condition: Condition,
}

/// Does another fragment follow?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Yes.
    Within,
    /// No.
    Last,
}

impl Place {
    /// Number and place that a header gives its PDU. Without `PF_FRAG` it is all there is.
    pub(super) fn of(header: &DgHeader) -> (u16, Self) {
        if header.is_whole() {
            (0, Self::Last)
        } else if header.flags.contains(DgFlags::LAST_FRAG) {
            (header.fragment, Self::Last)
        } else {
            (header.fragment, Self::Within)
        }
    }
}

/// How much a message may still hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of stub.
    pub(super) bytes: usize,
    /// Fragments before their turn.
    pub(super) fragments: usize,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It was the one that comes next.
    InTurn,
    /// It waits for earlier ones.
    Early,
    /// It was there already.
    Repeated,
}

/// A request or a response being joined.
#[derive(Debug, Default)]
pub(super) struct Joining {
    message: Message,
    /// Number of the fragment that comes next.
    next: u32,
    /// Those that came before their turn; empty where nobody reads them.
    held: BTreeMap<u16, Vec<u8>>,
    held_bytes: usize,
    /// Number of the last fragment, once it was seen.
    last: Option<u16>,
    /// The number behind all that were seen.
    behind: u32,
    /// Bytes in the longest of them.
    longest: u64,
    is_taken: bool,
}

/// Fragments that were not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) fragments: u64,
    /// As many for each as the longest has of those that were: a sender makes all but the last equally long.
    pub(super) bytes: u64,
}

impl Joining {
    /// A message whose stub is kept for reading.
    pub(super) fn kept_for_reading() -> Self {
        Self {
            message: Message {
                stub: Stub::Whole(Vec::new()),
                ..Message::default()
            },
            ..Self::default()
        }
    }

    /// Adds a fragment.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, room: Room, counters: &mut RpcCounters) -> Added {
        let number = u32::from(fragment.number);
        if number < self.next || self.held.contains_key(&fragment.number) {
            return Added::Repeated;
        }
        let message = &mut self.message;
        message.at = fragment.at;
        message.fragments += 1;
        message.stub_length += fragment.stub.len() as u64;
        message.order = fragment.order;
        self.behind = self.behind.max(number + 1);
        self.longest = self.longest.max(fragment.stub.len() as u64);
        if fragment.place == Place::Last {
            self.last.get_or_insert(fragment.number);
        }
        match fragment.condition {
            Condition::Sealed => self.lose(Stub::Sealed),
            Condition::Damaged if message.stub != Stub::Sealed => self.lose(Stub::Incomplete),
            Condition::Clear if self.reads() && fragment.stub.len() > room.bytes => {
                counters.over_limit += 1;
                if let Stub::Whole(stub) = std::mem::take(&mut self.message.stub) {
                    self.lose(Stub::beginning(stub));
                }
            }
            Condition::Clear | Condition::Damaged => {}
        }
        if number > self.next {
            self.hold(fragment, room, counters);
            return Added::Early;
        }
        self.append(fragment.stub);
        while let Some(stub) = u16::try_from(self.next).ok().and_then(|next| self.held.remove(&next)) {
            self.held_bytes -= stub.len();
            self.append(&stub);
        }
        Added::InTurn
    }

    fn reads(&self) -> bool {
        matches!(self.message.stub, Stub::Whole(_))
    }

    fn append(&mut self, bytes: &[u8]) {
        self.next += 1;
        if let Stub::Whole(stub) = &mut self.message.stub {
            stub.extend_from_slice(bytes);
        }
    }

    fn hold(&mut self, fragment: &Fragment<'_>, room: Room, counters: &mut RpcCounters) {
        if self.held.len() >= room.fragments {
            // What is missing will not come: from here on it is only known where the message ends.
            counters.over_limit += 1;
            if self.reads() {
                self.lose(Stub::Incomplete);
            }
            self.held.clear();
            self.next = u32::from(fragment.number) + 1;
            return;
        }
        let stub = if self.reads() { fragment.stub } else { &[] };
        self.held_bytes += stub.len();
        self.held.insert(fragment.number, stub.to_vec());
    }

    /// The stub cannot be read; what was kept of it is let go.
    fn lose(&mut self, stub: Stub) {
        self.message.stub = stub;
        self.held.values_mut().for_each(|held| *held = Vec::new());
        self.held_bytes = 0;
    }

    /// Has nothing come yet?
    pub(super) fn is_empty(&self) -> bool {
        self.message.fragments == 0
    }

    /// Is all of it there?
    pub(super) fn has_ended(&self) -> bool {
        self.last.is_some_and(|last| u32::from(last) < self.next)
    }

    /// When the latest of its fragments came.
    pub(super) fn at(&self) -> At {
        self.message.at
    }

    /// Bytes of stub in it.
    pub(super) fn kept(&self) -> usize {
        match &self.message.stub {
            Stub::Whole(stub) | Stub::Beginning(stub) => stub.len() + self.held_bytes,
            _ => 0,
        }
    }

    /// Its receiver has all of it.
    pub(super) fn taken(&mut self) {
        self.is_taken = true;
    }

    /// What was sent of it and not seen. None when that is nothing, or all: then nobody knows how much it was.
    pub(super) fn lost(&self) -> Option<Lost> {
        let within = u64::from(self.behind.saturating_sub(self.message.fragments));
        let behind = u64::from(self.is_taken && self.last.is_none() && !self.is_empty());
        let fragments = within + behind;
        (fragments > 0).then_some(Lost {
            fragments,
            bytes: fragments * self.longest.max(1),
        })
    }

    /// The message; None when nothing of it was seen.
    pub(super) fn finish(mut self) -> Option<Message> {
        if self.is_empty() {
            return None;
        }
        if self.reads() && !self.has_ended() {
            self.message.stub = Stub::Incomplete;
        }
        Some(self.message)
    }
}
