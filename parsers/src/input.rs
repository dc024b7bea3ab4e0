//! Bytes with a position and a byte order: the one place that decides how an integer is read.

use nom::Parser;
use nom::bytes::complete::take;

use crate::error::{ErrorKind, ParseError, Result};
use crate::guid::Guid;

/// How the sender represents integers, from the data representation label (C706 section 14.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// Most significant byte first.
    Big,
    /// Least significant byte first, what Windows and nearly everyone sends.
    #[default]
    Little,
}

/// A cursor over bytes: knows its absolute offset, the sender's byte order, and whose structure it reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    offset: usize,
    order: ByteOrder,
    structure: &'static str,
}

type NomError<'a> = nom::error::Error<&'a [u8]>;

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self) -> Result<$type> {
            let bytes = self.array()?;
            Ok(match self.order {
                ByteOrder::Big => <$type>::from_be_bytes(bytes),
                ByteOrder::Little => <$type>::from_le_bytes(bytes),
            })
        }
    )*};
}

impl<'a> Input<'a> {
    /// A cursor at the start of `bytes`. Errors name `structure` until [`Input::enter`] names another.
    pub fn new(bytes: &'a [u8], order: ByteOrder, structure: &'static str) -> Self {
        Self {
            bytes,
            offset: 0,
            order,
            structure,
        }
    }

    /// The same position, reading `structure` from here on.
    pub fn enter(&mut self, structure: &'static str) {
        self.structure = structure;
    }

    /// Read on in another byte order (a nested serialization carries its own label).
    pub fn set_order(&mut self, order: ByteOrder) {
        self.order = order;
    }

    /// The byte order in force.
    pub fn order(&self) -> ByteOrder {
        self.order
    }

    /// Bytes from the start of the outermost input.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// How much has not been read.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Is everything read?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next bytes, as many as the array has. Most of what is read is single integers: a combinator for each of them
    /// would cost several times the reading.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        #[cfg(test)]
        READS.set(READS.get().wrapping_add(1));
        let Some((bytes, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.truncated(N));
        };
        self.offset = self.offset.saturating_add(N);
        self.bytes = rest;
        Ok(*bytes)
    }

    integer! {
        /// An unsigned 16-bit integer.
        u16 -> u16;
        /// An unsigned 32-bit integer.
        u32 -> u32;
        /// An unsigned 64-bit integer.
        u64 -> u64;
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A GUID in the sender's byte order (C706 appendix A: the first three fields are integers, the rest are bytes).
    #[inline]
    pub fn guid(&mut self) -> Result<Guid> {
        Ok(Guid {
            data1: self.u32()?,
            data2: self.u16()?,
            data3: self.u16()?,
            data4: self.array()?,
        })
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        self.run(count, take::<_, _, NomError<'a>>(count))
    }

    /// The next `count` 16-bit units.
    pub fn units(&mut self, count: usize) -> Result<Vec<u16>> {
        let order = self.order;
        let (units, _) = self.take(count.saturating_mul(2))?.as_chunks::<2>();
        let unit = |bytes: &[u8; 2]| match order {
            ByteOrder::Little => u16::from_le_bytes(*bytes),
            ByteOrder::Big => u16::from_be_bytes(*bytes),
        };
        Ok(units.iter().map(unit).collect())
    }

    /// The next `count` bytes as a cursor of their own, with the same offsets and byte order.
    #[inline]
    pub fn sub(&mut self, count: usize) -> Result<Self> {
        let offset = self.offset;
        Ok(Self {
            bytes: self.take(count)?,
            offset,
            ..*self
        })
    }

    /// Step over `count` bytes.
    #[inline]
    pub fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    /// Step to a multiple of `alignment` counted from `origin`, an absolute offset.
    #[inline]
    pub fn align(&mut self, origin: usize, alignment: usize) -> Result<()> {
        let position = self.offset.saturating_sub(origin);
        match position.checked_rem(alignment) {
            None | Some(0) => Ok(()),
            Some(over) => self.skip(alignment.saturating_sub(over)),
        }
    }

    /// An error at this position.
    pub fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError {
            structure: self.structure,
            offset: self.offset,
            kind,
        }
    }

    /// `field` holds `value`, which the specification rules out.
    pub fn invalid(&self, field: &'static str, value: impl Into<u64>) -> ParseError {
        self.error(ErrorKind::Invalid {
            field,
            value: value.into(),
        })
    }

    /// Run one of nom's `complete` combinators that reads exactly `need` bytes.
    #[inline]
    fn run<T>(&mut self, need: usize, mut read: impl Parser<&'a [u8], Output = T, Error = NomError<'a>>) -> Result<T> {
        #[cfg(test)]
        READS.set(READS.get().wrapping_add(1));
        match read.parse(self.bytes) {
            Ok((rest, value)) => {
                self.offset = self.offset.saturating_add(self.bytes.len().saturating_sub(rest.len()));
                self.bytes = rest;
                Ok(value)
            }
            Err(_) => Err(self.truncated(need)),
        }
    }

    #[cold]
    fn truncated(&self, need: usize) -> ParseError {
        let have = self.bytes.len();
        self.error(ErrorKind::Truncated { need, have })
    }
}

#[cfg(test)]
thread_local! {
    static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often this thread has read something: the measure of work in tests.
#[cfg(test)]
pub(crate) fn reads() -> usize {
    READS.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_follow_the_byte_order() {
        let bytes = [1, 2, 3, 4];
        assert_eq!(Input::new(&bytes, ByteOrder::Little, "test").u32(), Ok(0x0403_0201));
        assert_eq!(Input::new(&bytes, ByteOrder::Big, "test").u32(), Ok(0x0102_0304));
    }

    #[test]
    fn a_short_read_says_what_was_needed_and_moves_nothing() {
        let mut input = Input::new(&[1, 2, 3], ByteOrder::Little, "test");
        input.skip(1).unwrap();
        let error = input.u32().unwrap_err();
        assert_eq!(error.to_string(), "test: 4 bytes needed, 2 there (offset 1)");
        assert_eq!(input.u16(), Ok(0x0302));
    }

    #[test]
    fn a_guid_reads_its_first_three_fields_as_integers() {
        let wire = Guid::parse("12345678-9abc-def0-0102-030405060708").unwrap();
        let little = [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8];
        let big = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(Input::new(&little, ByteOrder::Little, "test").guid(), Ok(wire));
        assert_eq!(Input::new(&big, ByteOrder::Big, "test").guid(), Ok(wire));
    }

    #[test]
    fn alignment_counts_from_its_origin() {
        let mut input = Input::new(&[0; 16], ByteOrder::Little, "test");
        input.skip(3).unwrap();
        input.align(1, 4).unwrap();
        assert_eq!(input.offset(), 5);
        input.align(1, 4).unwrap();
        assert_eq!(input.offset(), 5);
    }
}
