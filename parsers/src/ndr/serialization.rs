//! Structures that travel as bytes inside other structures.

use super::{Encoding, Reader};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// [MS-RPCE] 2.2.6 Type Serialization Version 1: steps over the common and the private header and gives a reader of what
/// they describe.
///
/// ```text
/// | version 1 | endianness 1 | header length 2 | filler 4 || object buffer length 4 | filler 4 || NDR20 …
/// ```
pub fn type_serialization_1<'a>(bytes: &'a [u8], structure: &'static str) -> Result<Reader<'a>> {
    let mut input = Input::new(bytes, ByteOrder::Little, structure);
    let version = input.u8()?;
    if version != 1 {
        return Err(input.invalid("Version", version));
    }
    let endianness = input.u8()?;
    if endianness & 0xf0 == 0 {
        input.set_order(ByteOrder::Big);
    }
    let header_length = input.u16()?;
    if header_length != 8 {
        return Err(input.invalid("CommonHeaderLength", header_length));
    }
    input.skip(4)?;
    let length = input.u32()?;
    input.skip(4)?;
    // The buffer is padded to eight bytes and some writers leave the padding out of the count or the bytes.
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(input.remaining());
    Ok(Reader::from_input(input.sub(length)?, Encoding::Ndr20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_stepped_over_in_the_byte_order_they_name() {
        let little = [
            1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(type_serialization_1(&little, "test").unwrap().u32(), Ok(1));
        let big = [
            1, 0x00, 0, 8, 0xcc, 0xcc, 0xcc, 0xcc, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
        ];
        assert_eq!(type_serialization_1(&big, "test").unwrap().u32(), Ok(1));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let error = type_serialization_1(&[2; 64], "CustomHeader").unwrap_err();
        assert_eq!(
            error.to_string(),
            "CustomHeader: `Version` is 0x2, which is not valid (offset 1)"
        );
    }
}
