//! Where a message starts in a TCP stream, and how long it is.

use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// The identifier that a message starts with: [MS-SMB2] 2.2.1 SMB2 Packet Header, [MS-CIFS] 2.2.3.1 The SMB Header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [MS-CIFS] 2.2.3.1 The SMB Header.
    Smb1,
    /// [MS-SMB2] 2.2.1 SMB2 Packet Header.
    Smb2,
    /// [MS-SMB2] 2.2.41 SMB2 `TRANSFORM_HEADER`: encrypted.
    Encrypted,
    /// [MS-SMB2] 2.2.42 SMB2 `COMPRESSION_TRANSFORM_HEADER`.
    Compressed,
}

impl Format {
    /// What a message is, by its first four bytes.
    pub fn of(message: &[u8]) -> Option<Self> {
        match message {
            [0xff, b'S', b'M', b'B', ..] => Some(Self::Smb1),
            [0xfe, b'S', b'M', b'B', ..] => Some(Self::Smb2),
            [0xfd, b'S', b'M', b'B', ..] => Some(Self::Encrypted),
            [0xfc, b'S', b'M', b'B', ..] => Some(Self::Compressed),
            _ => None,
        }
    }
}

/// [MS-SMB2] 2.1 Transport, RFC 1002 4.3.1 General Format of Session Packets: four bytes before each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Zero before a message; `NetBIOS` has others for the session itself.
    pub kind: u8,
    /// Bytes behind these four. 24 bits: `NetBIOS` has 17, and leaves the others zero.
    pub length: usize,
}

impl Block {
    /// Bytes in it.
    pub const LENGTH: usize = 4;
    /// The kind that carries messages.
    pub const MESSAGE: u8 = 0;

    /// Reads it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Big, "session packet");
        let [kind, length @ ..] = input.u32()?.to_be_bytes();
        let [high, middle, low] = length;
        let length = u32::from_be_bytes([0, high, middle, low]);
        Ok(Self {
            kind,
            length: usize::try_from(length).unwrap_or(usize::MAX),
        })
    }
}

/// What stands where a block has to start: RFC 1002 section 4.3.1 General Format of Session Packets, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A block.
    Block(Block),
    /// What may become one.
    TooShort,
    /// Something else.
    Foreign,
}

/// Is this the start of a block that carries SMB, or one of `NetBIOS`'s own (session request to keep-alive)?
pub fn recognise(bytes: &[u8]) -> Start {
    const SESSION_KINDS: std::ops::RangeInclusive<u8> = 0x81..=0x85;
    let Ok(block) = Block::parse(bytes) else {
        let known = bytes
            .first()
            .is_none_or(|kind| *kind == Block::MESSAGE || SESSION_KINDS.contains(kind));
        return if known { Start::TooShort } else { Start::Foreign };
    };
    let message = bytes.get(Block::LENGTH..).unwrap_or_default();
    match block.kind {
        kind if SESSION_KINDS.contains(&kind) && block.length <= 0xffff => Start::Block(block),
        Block::MESSAGE if block.length == 0 => Start::Block(block),
        Block::MESSAGE if block.length >= 32 => match message {
            [first, ..] if !(0xfc..=0xff).contains(first) => Start::Foreign,
            [_, rest @ ..] if rest.iter().zip(b"SMB").any(|(byte, wanted)| byte != wanted) => Start::Foreign,
            [_, _, _, _, ..] => Start::Block(block),
            _ => Start::TooShort,
        },
        _ => Start::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_recognised_with_its_identifier_and_not_before() {
        let bytes = b"\x00\x01\x02\x03\xfeSMB";
        for length in 0..8 {
            assert_eq!(recognise(&bytes[..length]), Start::TooShort, "{length} bytes");
        }
        let length = 0x01_02_03;
        assert_eq!(recognise(bytes), Start::Block(Block { kind: 0, length }));
    }

    #[test]
    fn keep_alives_are_blocks_and_other_protocols_are_not() {
        let keep_alive = Block { kind: 0x85, length: 0 };
        assert_eq!(recognise(&[0x85, 0, 0, 0]), Start::Block(keep_alive));
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x00\x00\x00\x40\xfeSMX",
            b"\x00\x00\x00\x08\xfeSMB",
        ] {
            assert_eq!(recognise(bytes), Start::Foreign, "{bytes:?}");
        }
    }
}
