//! What must hold of SMB for any bytes at all.

use super::{Block, Format, Message, Messages, Operation, Payload, Start, recognise};
use crate::checks::{measured, placed};

/// Checks a message, with or without the block that it comes in.
///
/// # Panics
/// When it is not so.
pub(crate) fn all(bytes: &[u8]) {
    session(bytes);
    let behind = bytes.get(Block::LENGTH..).unwrap_or_default();
    for message in [bytes, behind] {
        messages(message);
    }
}

/// What is recognised at the start of a block is never taken back when more of it comes.
fn session(bytes: &[u8]) {
    let start = recognise(bytes);
    for length in 0..bytes.len().min(12) {
        let part = bytes.get(..length).unwrap_or_default();
        let earlier = recognise(part);
        assert!(earlier == Start::TooShort || earlier == start, "{length} bytes");
    }
    if let Start::Block(block) = start {
        assert_eq!(placed(bytes, Block::parse(bytes)), Some(block));
        if block.kind == Block::MESSAGE && block.length > 0 {
            assert!(bytes.get(Block::LENGTH..).and_then(Format::of).is_some());
        }
    }
}

/// As long as the first part of a message is from which the sensor tells whether it wants the rest.
const HEAD: usize = 188;

/// The commands of a message, and those of its first part.
fn messages(bytes: &[u8]) {
    measured(bytes.len(), || Messages::new(bytes).count());
    let mut chain = Messages::new(bytes);
    let mut whole = Vec::new();
    for message in chain.by_ref() {
        let message = placed(bytes, message);
        if let Some(message) = &message {
            inside(bytes, message);
        }
        whole.push(message);
        // Each stands further on than the one before it.
        assert!(whole.len() <= bytes.len());
    }
    assert!(chain.is_over());
    let head = bytes.get(..bytes.len().min(HEAD)).unwrap_or_default();
    for length in [head.len(), head.len().div_euclid(2)] {
        let part = head.get(..length).unwrap_or_default();
        for (early, late) in Messages::new(part).zip(&whole) {
            if let Some(early) = placed(part, early) {
                agree(&early, late.as_ref());
            }
        }
    }
}

/// No part is longer than the whole, and no payload is taken from outside it.
fn inside(bytes: &[u8], message: &Message<'_>) {
    match &message.operation {
        Operation::Connect(name) | Operation::Open(name, _) => {
            assert!(name.encode_utf16().count() <= bytes.len());
            assert!(!name.contains('\0'));
        }
        _ => {}
    }
    let Some(payload) = payload(&message.operation) else {
        return;
    };
    assert!(payload.bytes.len() <= payload.length);
    let (whole, part) = (bytes.as_ptr_range(), payload.bytes.as_ptr_range());
    assert!(payload.bytes.is_empty() || (whole.start <= part.start && part.end <= whole.end));
}

/// What was read from the first part of a message is read from all of it, with no fewer bytes.
fn agree(early: &Message<'_>, late: Option<&Message<'_>>) {
    let same = late.filter(|late| {
        let ours = (early.request, early.session, early.tree, early.sender);
        ours == (late.request, late.session, late.tree, late.sender)
            && match (payload(&early.operation), payload(&late.operation)) {
                (Some(early), Some(late)) => early.length == late.length && late.bytes.starts_with(early.bytes),
                _ => early.operation == late.operation,
            }
    });
    assert!(same.is_some(), "{early:?} became {late:?}");
}

fn payload<'a>(operation: &Operation<'a>) -> Option<Payload<'a>> {
    match operation {
        Operation::Write(_, payload)
        | Operation::ReadDone(payload)
        | Operation::Transact(_, payload)
        | Operation::TransactMore(payload)
        | Operation::TransactDone(payload, _)
        | Operation::Login(payload)
        | Operation::LoginAnswered(payload, _) => Some(*payload),
        _ => None,
    }
}
