//! The last bytes of a stream that were delivered: what is sent again is compared with them.

use std::collections::VecDeque;

use super::Bounds;

/// Bytes before the stream's position, without holes.
#[derive(Debug, Default)]
pub(super) struct Past {
    bytes: VecDeque<u8>,
    /// Long pieces in a row.
    long: u8,
}

/// From this length on a segment is full. Many in a row are the content of a file, or a very long request: they are not
/// remembered, as that would cost more than reading them.
const FULL: usize = 1_300;
const MANY: u8 = 6;

/// Room for what is remembered at first. Most connections say little.
const LITTLE: usize = 512;

/// How bytes that come again compare with those that came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Same,
    Differing,
    /// They are not remembered, or not all of them.
    Unknown,
}

impl Past {
    /// These bytes were delivered.
    pub(super) fn remember(&mut self, bytes: &[u8], bounds: &mut Bounds) {
        if bytes.len() < FULL {
            self.long = 0;
        } else if self.long < MANY {
            self.long += 1;
        } else {
            return self.forget(bounds);
        }
        let room = self.room_for(self.bytes.len() + bytes.len(), bounds);
        let bytes = &bytes[bytes.len().saturating_sub(room)..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(room);
        self.bytes.drain(..over);
        self.bytes.extend(bytes);
    }

    /// Room for so many bytes, or as much of it as can be had. The room counts, not what stands in it.
    fn room_for(&mut self, needed: usize, bounds: &mut Bounds) -> usize {
        let had = self.bytes.capacity();
        let most = bounds.limits.remembered_per_side;
        let room = needed.next_power_of_two().max(LITTLE).min(most);
        if room > had && bounds.remembered + room - had <= bounds.limits.remembered_total {
            self.bytes.reserve_exact(room - self.bytes.len());
            bounds.remembered += self.bytes.capacity() - had;
        }
        self.bytes.capacity().min(most)
    }

    /// The room that it takes.
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// What came before is not comparable any more: there is a hole.
    #[inline]
    pub(super) fn forget(&mut self, bounds: &mut Bounds) {
        if self.bytes.capacity() > 0 {
            bounds.remembered -= self.bytes.capacity();
            self.bytes = VecDeque::new();
        }
    }

    /// Compares bytes that begin so far before the stream's position.
    pub(super) fn compare(&self, before: usize, bytes: &[u8]) -> Again {
        let bytes = &bytes[..bytes.len().min(before)];
        let unknown = before.saturating_sub(self.bytes.len());
        let known = bytes.get(unknown..).unwrap_or_default();
        let from = self.bytes.len().saturating_sub(before);
        if !self.bytes.range(from..).zip(known).all(|(first, again)| first == again) {
            Again::Differing
        } else if unknown > 0 {
            Again::Unknown
        } else {
            Again::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_remembered_is_compared() {
        let mut bounds = Bounds::default();
        bounds.limits.remembered_per_side = 6;
        let mut past = Past::default();
        past.remember(b"abcd", &mut bounds);
        past.remember(b"efgh", &mut bounds);
        assert_eq!(past.compare(4, b"efghij"), Again::Same);
        assert_eq!(past.compare(4, b"ef"), Again::Same);
        assert_eq!(past.compare(4, b"eX"), Again::Differing);
        assert_eq!(past.compare(8, b"XXcd"), Again::Unknown);
        assert_eq!(past.compare(8, b"abXd"), Again::Differing);
        past.forget(&mut bounds);
        assert_eq!((past.compare(2, b"gh"), bounds.remembered), (Again::Unknown, 0));
    }

    #[test]
    fn the_content_of_files_is_not_remembered() {
        let mut bounds = Bounds::default();
        let mut past = Past::default();
        for count in 1..20 {
            past.remember(&[7; 1_460], &mut bounds);
            assert_eq!(bounds.remembered >= 1_460 * count, count <= 6);
            assert_eq!(bounds.remembered == 0, count > 6);
        }
        past.remember(b"short", &mut bounds);
        assert_eq!((bounds.remembered, past.compare(5, b"short")), (LITTLE, Again::Same));
    }

    #[test]
    fn all_together_are_bounded() {
        let mut bounds = Bounds::default();
        bounds.limits.remembered_total = LITTLE;
        let (mut one, mut other) = (Past::default(), Past::default());
        one.remember(&[1; LITTLE], &mut bounds);
        one.remember(b"abcd", &mut bounds);
        other.remember(b"ef", &mut bounds);
        assert_eq!(one.compare(6, &[1, 1, b'a', b'b', b'c', b'd']), Again::Same);
        assert_eq!((bounds.remembered, other.compare(2, b"ef")), (LITTLE, Again::Unknown));
    }
}
