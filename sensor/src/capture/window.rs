//! The part of a capture that is in memory. Packets are handed out from here without a copy.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use super::error::{Cause, Fault};
use super::stored::Stored;

/// Large enough that a read costs little, small enough to stay in the processor's cache.
const INITIAL: usize = 256 * 1024;

/// A sliding view of a capture's uncompressed bytes.
///
/// INVARIANT: `start <= end <= buffer.len()`, and `buffer[start..end]` is what stands at `offset` of the capture.
pub(super) struct Window {
    source: Stored,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    ended: bool,
    /// Why reading stopped, kept back until what came before has been handed out.
    failure: Option<Cause>,
    /// Is memory given away once it is full, with what was taken from it, or used again?
    gives_away: bool,
    given: Option<Vec<u8>>,
    spare: Vec<u8>,
}

impl Window {
    pub(super) fn new(source: Stored) -> Self {
        Self {
            source,
            buffer: vec![0; INITIAL],
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            failure: None,
            gives_away: false,
            given: None,
            spare: Vec::new(),
        }
    }

    /// From now on memory that is full is given away by `given`; `spare` is to be used next.
    pub(super) fn give_away(&mut self, spare: Vec<u8>) {
        self.gives_away = true;
        self.spare = spare;
    }

    /// The memory in which everything stands that was taken before the last look ahead, if it is full.
    pub(super) fn given(&mut self) -> Option<Vec<u8>> {
        self.given.take()
    }

    /// The memory in which everything stands that was taken: nothing more will be.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        (self.start, self.end) = (0, 0);
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn source(&self) -> &Stored {
        &self.source
    }

    /// Place in the capture of the next byte to be taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is in memory from the present place on: `wanted` bytes or more, unless the capture ends before.
    #[inline]
    pub(super) fn peek(&mut self, wanted: usize) -> &[u8] {
        if self.end - self.start < wanted && !self.ended {
            self.read_on(wanted);
        }
        &self.buffer[self.start..self.end]
    }

    /// Whether the capture is cleanly at its end.
    #[inline]
    pub(super) fn at_end(&mut self) -> Result<bool, Fault> {
        if !self.peek(1).is_empty() {
            return Ok(false);
        }
        self.failed().map_or(Ok(true), Err)
    }

    /// Why reading stopped before the end, told once; it stands behind everything that is in memory.
    pub(super) fn failed(&mut self) -> Option<Fault> {
        let behind = self.offset + (self.end - self.start) as u64;
        self.failure.take().map(|cause| Fault::at(behind, cause))
    }

    /// The next `wanted` bytes, not taken yet; a capture that ends before them was cut within `what`.
    #[inline]
    pub(super) fn require(&mut self, wanted: usize, what: &'static str) -> Result<&[u8], Fault> {
        self.require_body(0, wanted, what)
    }

    /// The same for a `header` that names the length of the `body` after it: what is missing is told of the body.
    #[inline]
    pub(super) fn require_body(&mut self, header: usize, body: usize, what: &'static str) -> Result<&[u8], Fault> {
        let wanted = header + body;
        if self.peek(wanted).len() < wanted {
            return Err(self.cut(header, body, what));
        }
        Ok(&self.buffer[self.start..self.start + wanted])
    }

    /// Takes `count` bytes that `require` has seen; `slice` gives them until the next look ahead.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let range = self.start..self.start + count;
        self.start += count;
        self.offset += count as u64;
        range
    }

    #[inline]
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    #[cold]
    fn cut(&mut self, header: usize, body: usize, what: &'static str) -> Fault {
        let have = self.end - self.start;
        self.failed().unwrap_or_else(|| {
            let have = have.saturating_sub(header) as u64;
            Fault::at(
                self.offset,
                Cause::Truncated {
                    what,
                    claimed: body as u64,
                    have,
                },
            )
        })
    }

    #[cold]
    fn read_on(&mut self, wanted: usize) {
        if self.start + wanted > self.buffer.len() {
            if self.gives_away && self.given.is_none() {
                let mut fresh = std::mem::take(&mut self.spare);
                let rest = &self.buffer[self.start..self.end];
                fresh.resize(fresh.len().max(INITIAL).max(rest.len()), 0);
                fresh[..rest.len()].copy_from_slice(rest);
                self.given = Some(std::mem::replace(&mut self.buffer, fresh));
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
            }
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted {
            if self.end == self.buffer.len() {
                // Doubled only once it is full, so a length that lies costs no more memory than the file has bytes.
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(self.source.cause(error));
                    self.ended = true;
                    return;
                }
            }
        }
    }
}
