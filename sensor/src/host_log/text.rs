//! A log as text: read piece by piece into one buffer that grows with the longest record, not with the file.

use std::io::{self, Read};

/// How much is read at a time.
const STEP: usize = 1 << 18;

/// What is read and not yet taken.
pub(super) struct Text<R> {
    input: R,
    buffer: Vec<u8>,
    taken: usize,
}

impl<R: Read> Text<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::with_capacity(2 * STEP),
            taken: 0,
        }
    }

    /// What is there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// So many bytes of it are done with.
    pub(super) fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.buffer.len());
    }

    /// Reads on. False at the end of the input.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let read = self.input.by_ref().take(STEP as u64).read_to_end(&mut self.buffer)?;
        Ok(read > 0)
    }
}

/// UTF-16 as UTF-8, for all that comes after. Half a character becomes U+FFFD.
pub(super) struct Utf16<R> {
    input: R,
    big: bool,
    /// Bytes that are read but not decoded: half a unit, or a unit that waits for its second.
    left: Vec<u8>,
    decoded: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(input: R, big: bool) -> Self {
        Self {
            input,
            big,
            left: Vec::new(),
            decoded: Vec::new(),
            given: 0,
            ended: false,
        }
    }

    fn decode(&mut self) -> io::Result<()> {
        let read = self.input.by_ref().take(16 << 10).read_to_end(&mut self.left)?;
        self.ended = read == 0;
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if self.big {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        };
        let mut units: Vec<u16> = self.left.chunks_exact(2).map(unit).collect();
        let mut used = units.len() * 2;
        if !self.ended && units.last().is_some_and(|last| (0xd800..0xdc00).contains(last)) {
            units.pop();
            used -= 2;
        }
        if self.ended {
            used = self.left.len();
        }
        self.left.drain(..used);
        self.decoded.clear();
        self.given = 0;
        let mut utf8 = [0; 4];
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.decoded
                .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.decoded.len() && !self.ended {
            self.decode()?;
        }
        let count = buffer.len().min(self.decoded.len() - self.given);
        buffer[..count].copy_from_slice(&self.decoded[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
