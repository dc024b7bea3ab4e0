//! Network Data Representation: C706 chapter 14 (NDR20) and [MS-RPCE] 2.2.5 (NDR64). One reader for both encodings: what
//! differs is the width of pointers and counts and the alignment they bring.

mod serialization;

pub use serialization::{type_serialization_1, type_serialization_2};

use crate::error::{ErrorKind, Result};
use crate::guid::Guid;
use crate::input::{ByteOrder, Input};
use crate::names::known;
use crate::rpce::SyntaxId;
use crate::utf16;

/// The longest string read, in characters. A task's XML can be long, and padding must not hide it; what bounds the work is
/// that no string is longer than the bytes it is read from.
const MAX_STRING: usize = 1 << 24;

/// Which of the two encodings a stub is in: C706 chapter 14 Transfer Syntax NDR, or [MS-RPCE] 2.2.5 64-Bit Network Data
/// Representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// C706 chapter 14: 32-bit pointers and counts.
    #[default]
    Ndr20,
    /// [MS-RPCE] 2.2.5: 64-bit pointers and counts.
    Ndr64,
}

impl Encoding {
    /// The encoding that a transfer syntax stands for.
    pub fn of(transfer_syntax: SyntaxId) -> Option<Self> {
        match transfer_syntax.uuid {
            known::NDR20 => Some(Self::Ndr20),
            known::NDR64 => Some(Self::Ndr64),
            _ => None,
        }
    }
}

/// A cursor that aligns before it reads. Offsets count from the start of the stub, as NDR's alignment does.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    input: Input<'a>,
    origin: usize,
    encoding: Encoding,
}

impl<'a> Reader<'a> {
    /// Reads `stub` as the sender encoded it. Errors name `structure`.
    pub fn new(stub: &'a [u8], order: ByteOrder, encoding: Encoding, structure: &'static str) -> Self {
        Self::from_input(Input::new(stub, order, structure), encoding)
    }

    /// Reads on from `input`; alignment counts from where it stands.
    pub fn from_input(input: Input<'a>, encoding: Encoding) -> Self {
        Self {
            origin: input.offset(),
            input,
            encoding,
        }
    }

    /// Errors name `structure` from here on.
    pub fn enter(&mut self, structure: &'static str) {
        self.input.enter(structure);
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.input.rest()
    }

    /// The plain cursor, for errors.
    pub fn input(&self) -> &Input<'a> {
        &self.input
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        self.input.u8()
    }

    /// An aligned 16-bit integer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.align(2)?;
        self.input.u16()
    }

    /// The next `count` 16-bit units, aligned.
    pub fn units(&mut self, count: usize) -> Result<Vec<u16>> {
        self.align(2)?;
        self.input.units(count)
    }

    /// An aligned 32-bit integer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.align(4)?;
        self.input.u32()
    }

    /// An aligned 64-bit integer (`hyper`).
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.align(8)?;
        self.input.u64()
    }

    /// An enumeration: 16 bits, and 32 in NDR64 ([MS-RPCE] 2.2.5.2 NDR64 Simple Data Types).
    pub fn enumeration(&mut self) -> Result<u32> {
        match self.encoding {
            Encoding::Ndr20 => self.u16().map(u32::from),
            Encoding::Ndr64 => self.u32(),
        }
    }

    /// The 32-bit tag of a union whose arms need `alignment` at most, and the step to the arm: NDR64 aligns tag and arm
    /// alike to the most that any arm needs ([MS-RPCE] 2.2.5.3.4.4 Unions), NDR20 (C706 14.3.8 Unions) as the arm
    /// present needs it, which reading it does.
    pub fn union_tag(&mut self, alignment: usize) -> Result<u32> {
        if self.encoding == Encoding::Ndr20 {
            return self.u32();
        }
        self.align(alignment.max(4))?;
        let tag = self.u32()?;
        self.align(alignment)?;
        Ok(tag)
    }

    /// A GUID: aligned as its first field is.
    pub fn guid(&mut self) -> Result<Guid> {
        self.align(4)?;
        self.input.guid()
    }

    /// Bytes, unaligned.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        self.input.take(count)
    }

    /// An embedded or top-level full or unique pointer: is there a referent? (Where it stands is the caller's to know:
    /// right here for a parameter, behind the construct for a member.)
    pub fn pointer(&mut self) -> Result<bool> {
        Ok(self.wide()? != 0)
    }

    /// An embedded full pointer: the identifier of its referent, and 0 when there is none. Two pointers with one identifier
    /// lead to one referent, which is sent once (C706 14.3.12.1 Embedded Full Pointers).
    pub fn referent(&mut self) -> Result<u64> {
        self.wide()
    }

    /// A conformance, offset or actual count, refused beyond `max` elements or beyond what the rest could hold with
    /// `element` bytes each: no length field makes us allocate more than we were sent.
    pub fn count(&mut self, field: &'static str, element: usize, max: usize) -> Result<usize> {
        let claimed = self.wide()?;
        let have = self.input.remaining();
        let count = usize::try_from(claimed).unwrap_or(usize::MAX);
        if count > max {
            return Err(self.input.error(ErrorKind::Limit { field, max }));
        }
        let need = count.saturating_mul(element);
        if need > have {
            return Err(self.input.error(ErrorKind::Truncated { need, have }));
        }
        Ok(count)
    }

    /// A count that says how much the sender reserved, not how much is here (a conformance before a variance).
    pub fn maximum_count(&mut self) -> Result<u64> {
        self.wide()
    }

    /// A conformant varying string of 16-bit characters, its terminator taken off: `[string] wchar_t *`.
    pub fn wide_string(&mut self) -> Result<String> {
        self.maximum_count()?;
        self.maximum_count()?;
        let count = self.count("actual_count", 2, MAX_STRING)?;
        let units = self.input.units(count)?;
        let units = units.split(|&unit| unit == 0).next().unwrap_or_default();
        Ok(utf16::text(units))
    }

    /// The same behind a pointer that may be null: `[unique, string] wchar_t *`.
    pub fn optional_wide_string(&mut self) -> Result<Option<String>> {
        if self.pointer()? {
            self.wide_string().map(Some)
        } else {
            Ok(None)
        }
    }

    /// A conformant varying string of 8-bit characters, its terminator taken off: `[string] char *`.
    pub fn string(&mut self) -> Result<String> {
        self.maximum_count()?;
        self.varying_string()
    }

    /// A varying string of 8-bit characters, its terminator taken off: `[string] char [n]`.
    pub fn varying_string(&mut self) -> Result<String> {
        self.maximum_count()?;
        let count = self.count("actual_count", 1, usize::from(u16::MAX))?;
        let bytes = self.input.take(count)?;
        let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The elements of a conformant array, `element` bytes each at least: maximum count, then one after the other. No
    /// element is read that the count could not be backed with bytes for.
    pub fn array<T>(
        &mut self,
        field: &'static str,
        element: usize,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.count(field, element, max)?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// A conformant array of such strings, each behind a pointer, itself behind a pointer that may be null. Null pointers in
    /// it have no string.
    pub fn optional_wide_strings(&mut self, field: &'static str, max: usize) -> Result<Vec<String>> {
        if !self.pointer()? {
            return Ok(Vec::new());
        }
        let present = self.array(field, 4, max, Self::pointer)?;
        let there = present.into_iter().filter(|&there| there);
        there.map(|_| self.wide_string()).collect()
    }

    /// Step to the alignment of a structure that holds a pointer.
    pub fn align_pointer(&mut self) -> Result<()> {
        match self.encoding {
            Encoding::Ndr20 => self.align(4),
            Encoding::Ndr64 => self.align(8),
        }
    }

    /// Step to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) -> Result<()> {
        self.input.align(self.origin, alignment)
    }

    fn wide(&mut self) -> Result<u64> {
        match self.encoding {
            Encoding::Ndr20 => self.u32().map(u64::from),
            Encoding::Ndr64 => self.u64(),
        }
    }

    /// An unsigned `__int3264` or `ULONG_PTR`: as wide as a pointer is ([MS-RPCE] 2.2.4.1).
    pub fn uint3264(&mut self) -> Result<u64> {
        self.wide()
    }

    /// Step to a multiple of `alignment` where NDR64 asks for it and NDR20 does not: around the arms of a union, behind
    /// the last member of a structure.
    pub fn align_ndr64(&mut self, alignment: usize) -> Result<()> {
        match self.encoding {
            Encoding::Ndr20 => Ok(()),
            Encoding::Ndr64 => self.align(alignment),
        }
    }

    /// Reads what is little-endian whatever the label of the PDU says, and goes back to the label's order.
    pub fn little_endian<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let order = self.input.order();
        self.input.set_order(ByteOrder::Little);
        let value = read(self);
        self.input.set_order(order);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WAYS, Writer};

    #[test]
    fn pointers_and_counts_have_the_width_of_their_encoding() {
        let mut ndr20 = Reader::new(
            &[1, 0, 0, 0, 2, 0, 0, 0, 9, 9],
            ByteOrder::Little,
            Encoding::Ndr20,
            "test",
        );
        assert!(ndr20.pointer().unwrap());
        assert_eq!(ndr20.count("count", 1, 10), Ok(2));
        let bytes = [
            7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9,
        ];
        let mut ndr64 = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr64, "test");
        assert_eq!(ndr64.u8(), Ok(7));
        assert!(ndr64.pointer().unwrap());
        assert_eq!(ndr64.count("count", 1, 10), Ok(1));
    }

    #[test]
    fn a_count_of_four_milliards_is_refused_before_anything_is_allocated() {
        let bytes = [0xff; 8];
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let error = reader.count("actual_count", 2, 65_535).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test: `actual_count` is beyond the limit of 65535 (offset 4)"
        );
    }

    #[test]
    fn what_is_written_is_read_in_every_byte_order_and_encoding() {
        for (order, encoding) in WAYS {
            let mut writer = Writer::new(order, encoding);
            writer.u8(1).ndr_u16(2).ndr_u64(3).u8(4).pointer().null();
            writer
                .wide_string("größe")
                .string("plain")
                .ndr_guid(Guid::com(5))
                .ndr_u32(6);
            let bytes = writer.bytes();
            let mut reader = Reader::new(&bytes, order, encoding, "test");
            assert_eq!(
                (reader.u8(), reader.u16(), reader.u64(), reader.u8()),
                (Ok(1), Ok(2), Ok(3), Ok(4))
            );
            assert_eq!((reader.pointer(), reader.pointer()), (Ok(true), Ok(false)));
            assert_eq!(reader.wide_string().as_deref(), Ok("größe"));
            assert_eq!(reader.string().as_deref(), Ok("plain"));
            assert_eq!((reader.guid(), reader.u32()), (Ok(Guid::com(5)), Ok(6)));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn enumerations_and_unions_follow_their_encoding() {
        for (order, encoding) in WAYS {
            let mut writer = Writer::new(order, encoding);
            match encoding {
                Encoding::Ndr20 => writer.ndr_u16(3).ndr_u32(7).ndr_u64(9),
                Encoding::Ndr64 => writer.ndr_u32(3).align(8).ndr_u32(7).ndr_u64(9),
            };
            let bytes = writer.bytes();
            let mut reader = Reader::new(&bytes, order, encoding, "test");
            assert_eq!(
                (reader.enumeration(), reader.union_tag(8), reader.u64()),
                (Ok(3), Ok(7), Ok(9))
            );
            assert!(reader.rest().is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_as_it_was_written(text in "[^\0]{0,80}", values in proptest::collection::vec(0_u32.., 0..40)) {
            for (order, encoding) in WAYS {
                let mut writer = Writer::new(order, encoding);
                writer.u8(0).wide_string(&text).wide(values.len());
                for value in &values {
                    writer.ndr_u32(*value);
                }
                let bytes = writer.bytes();
                let mut reader = Reader::new(&bytes, order, encoding, "test");
                reader.u8().unwrap();
                proptest::prop_assert_eq!(reader.wide_string().unwrap(), text.clone());
                let read = reader.array("values", 4, 100, Reader::u32).unwrap();
                proptest::prop_assert_eq!(&read, &values);
                proptest::prop_assert!(reader.rest().is_empty());
            }
        }
    }

    #[test]
    fn a_string_ends_at_its_terminator() {
        let bytes = [3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, b'a', 0, b'b', 0, 0, 0];
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        assert_eq!(reader.wide_string().as_deref(), Ok("ab"));
    }
    #[test]
    fn only_ndr64_pads_around_unions() {
        let bytes = [7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let mut ndr20 = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        assert_eq!((ndr20.u8(), ndr20.align_ndr64(8), ndr20.u8()), (Ok(7), Ok(()), Ok(0)));
        let mut ndr64 = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr64, "test");
        assert_eq!(
            (ndr64.u8(), ndr64.align_ndr64(8), ndr64.uint3264()),
            (Ok(7), Ok(()), Ok(9))
        );
    }

    #[test]
    fn the_byte_order_comes_back_after_a_little_endian_part() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 1];
        let mut reader = Reader::new(&bytes, ByteOrder::Big, Encoding::Ndr20, "test");
        assert_eq!(reader.little_endian(Reader::u32), Ok(1));
        assert_eq!(reader.u32(), Ok(1));
    }
}
