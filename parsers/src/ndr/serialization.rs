//! Structures that travel as bytes inside other structures.

use super::{Encoding, Reader};
use crate::error::{ErrorKind, Result};
use crate::input::{ByteOrder, Input};
use crate::rpce::SyntaxId;

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
    // `ObjectBufferLength` is not relied on: some writers leave the padding out of it, and exploits have written far behind
    // it, where servers read on. Who carries the structure says where it ends.
    input.skip(8)?;
    let rest = input.remaining();
    Ok(Reader::from_input(input.sub(rest)?, Encoding::Ndr20))
}

/// [MS-RPCE] 2.2.7 Type Serialization Version 2: the same with a transfer syntax of its own; always little-endian.
///
/// ```text
/// | version 1 | endianness 1 | header length 2 | endian info 4 | reserved 16 | transfer syntax 20 | interface 20 |
/// | object buffer length 4 | filler 12 | NDR20 or NDR64 …
/// ```
pub fn type_serialization_2<'a>(bytes: &'a [u8], structure: &'static str) -> Result<Reader<'a>> {
    let mut input = Input::new(bytes, ByteOrder::Little, structure);
    let version = input.u8()?;
    if version != 2 {
        return Err(input.invalid("Version", version));
    }
    input.skip(1)?; // Endianness
    let header_length = input.u16()?;
    if header_length != 0x40 {
        return Err(input.invalid("CommonHeaderLength", header_length));
    }
    input.skip(20)?;
    let transfer_syntax = SyntaxId {
        uuid: input.guid()?,
        version: input.u32()?,
    };
    let Some(encoding) = Encoding::of(transfer_syntax) else {
        return Err(input.error(ErrorKind::Unsupported {
            field: "TransferSyntax",
            value: transfer_syntax.uuid.data1.into(),
        }));
    };
    input.skip(20)?;
    input.skip(16)?;
    let rest = input.remaining();
    Ok(Reader::from_input(input.sub(rest)?, encoding))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guid::Guid;
    use crate::names::known;
    use crate::testing::Writer;

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
    fn the_length_in_the_private_header_is_not_relied_on() {
        let short = [
            1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
        ];
        let mut reader = type_serialization_1(&short, "test").unwrap();
        assert_eq!((reader.u32(), reader.u32()), (Ok(1), Ok(2)));
        assert!(reader.u32().is_err());
    }

    /// The header of version 2, and what `write` writes behind it.
    fn version_2(syntax: Guid, encoding: Encoding, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut inner = Writer::new(ByteOrder::Little, encoding);
        write(&mut inner);
        let mut writer = Writer::new(ByteOrder::Little, encoding);
        writer.u8(2).u8(0x10).u16(0x40).raw(&[0xcc; 20]);
        writer.guid(syntax).u32(1).guid(Guid::NULL).u32(0);
        writer
            .u32(u32::try_from(inner.len()).unwrap())
            .raw(&[0; 12])
            .raw(&inner.bytes());
        writer.bytes()
    }

    proptest! {
        /// Version 2 is little-endian in both encodings.
        #[test]
        fn version_2_is_read_as_it_was_written(number: u32, text in "\\PC{0,40}", wide: u64) {
            for (syntax, encoding) in [(known::NDR20, Encoding::Ndr20), (known::NDR64, Encoding::Ndr64)] {
                let bytes = version_2(syntax, encoding, |writer| {
                    writer.ndr_u32(number).pointer().wide_string(&text).ndr_u64(wide);
                });
                let mut reader = type_serialization_2(&bytes, "test").unwrap();
                prop_assert_eq!(reader.u32(), Ok(number));
                prop_assert_eq!(reader.pointer(), Ok(true));
                prop_assert_eq!(reader.wide_string(), Ok(text.clone()));
                prop_assert_eq!(reader.u64(), Ok(wide));
                prop_assert!(reader.rest().is_empty());
            }
        }
    }

    #[test]
    fn a_short_version_2_is_refused_and_another_syntax_named() {
        let bytes = version_2(known::NDR64, Encoding::Ndr64, |writer| _ = writer.u64(1));
        for length in 0..80 {
            assert!(
                type_serialization_2(&bytes[..length], "test").is_err(),
                "{length} bytes"
            );
        }
        let mut other = [0; 96];
        other[..4].copy_from_slice(&[2, 0x10, 0x40, 0]);
        let error = type_serialization_2(&other, "test").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`TransferSyntax` is 0x0, which is not supported"),
            "{error}"
        );
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
