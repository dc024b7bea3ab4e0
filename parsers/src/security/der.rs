//! The little of ASN.1's distinguished encoding (X.690 sections 8 and 10) that SPNEGO and Kerberos need: tag, definite
//! length, content. Nothing here calls itself, so hostile nesting costs one element per level that a caller asks for by
//! name.

use super::NAME_BYTES;
use crate::error::{ErrorKind, Result};
use crate::input::Input;

/// X.690 section 8.1.2 Identifier octets, in the single-byte form: class, constructed, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u8);

impl Tag {
    pub(super) const INTEGER: Self = Self(0x02);
    pub(super) const BIT_STRING: Self = Self(0x03);
    pub(super) const OCTET_STRING: Self = Self(0x04);
    pub(super) const OID: Self = Self(0x06);
    pub(super) const ENUMERATED: Self = Self(0x0a);
    pub(super) const SEQUENCE: Self = Self(0x30);

    /// A constructed tag of the application class.
    pub(super) const fn application(number: u8) -> Self {
        Self(0x60 | number)
    }

    /// A constructed tag of the context-specific class: an explicitly tagged field.
    pub(super) const fn context(number: u8) -> Self {
        Self(0xa0 | number)
    }
}

/// The next element: its tag and its content.
pub(super) fn element<'a>(input: &mut Input<'a>) -> Result<(Tag, Input<'a>)> {
    let start = *input;
    let tag = input.u8()?;
    if tag & 0x1f == 0x1f {
        return Err(start.error(ErrorKind::Unsupported {
            field: "tag",
            value: tag.into(),
        }));
    }
    let first = input.u8()?;
    let length = match first {
        0..=0x7f => u32::from(first),
        0x81..=0x84 => u32::from_be_bytes(right_aligned(0, input.take(usize::from(first & 0x7f))?)),
        // 0x80 is the indefinite form, which is not DER; five bytes and more cannot be a length within a PDU.
        _ => {
            return Err(start.error(ErrorKind::Unsupported {
                field: "length",
                value: first.into(),
            }));
        }
    };
    // A length that usize cannot hold is longer than any input: `sub` says so.
    let content = input.sub(usize::try_from(length).unwrap_or(usize::MAX))?;
    Ok((Tag(tag), content))
}

/// The content of the next element, which has to be a `tag`.
pub(super) fn expect<'a>(input: &mut Input<'a>, tag: Tag) -> Result<Input<'a>> {
    let start = *input;
    match element(input)? {
        (found, content) if found == tag => Ok(content),
        (found, _) => Err(start.invalid("tag", found.0)),
    }
}

/// The tag that comes next, if anything does.
pub(super) fn peek(input: &Input<'_>) -> Option<Tag> {
    input.rest().first().copied().map(Tag)
}

/// The explicitly tagged field `number` of a SEQUENCE. Ask in ascending order: lower fields are stepped over.
pub(super) fn field<'a>(sequence: &mut Input<'a>, number: u8) -> Result<Option<Input<'a>>> {
    let wanted = Tag::context(number);
    while peek(sequence).is_some_and(|next| next <= wanted) {
        let (tag, content) = element(sequence)?;
        if tag == wanted {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// The field `number` of a SEQUENCE, which has to be there.
pub(super) fn required<'a>(sequence: &mut Input<'a>, number: u8) -> Result<Input<'a>> {
    let missing = sequence.invalid("missing field", number);
    field(sequence, number)?.ok_or(missing)
}

/// An INTEGER or ENUMERATED (as `tag` says) of at most 32 bits, signed.
pub(super) fn int32(mut input: Input<'_>, tag: Tag) -> Result<i32> {
    let content = expect(&mut input, tag)?;
    let bytes = content.rest();
    match bytes.first() {
        Some(first) if bytes.len() <= 4 => {
            let sign = if first & 0x80 == 0 { 0 } else { 0xff };
            Ok(i32::from_be_bytes(right_aligned(sign, bytes)))
        }
        _ => Err(content.error(ErrorKind::Unsupported {
            field: "integer length",
            value: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        })),
    }
}

/// A character string of whichever type: in practice ASCII or UTF-8. What is neither is replaced.
pub(super) fn text(input: &mut Input<'_>) -> Result<String> {
    let (_, content) = element(input)?;
    let bytes = content.rest();
    Ok(String::from_utf8_lossy(bytes.get(..NAME_BYTES).unwrap_or(bytes)).into_owned())
}

/// At most four bytes as the low end of four.
fn right_aligned(fill: u8, bytes: &[u8]) -> [u8; 4] {
    let mut aligned = [fill; 4];
    for (to, from) in aligned.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use proptest::prelude::*;

    fn input(bytes: &[u8]) -> Input<'_> {
        Input::new(bytes, ByteOrder::Big, "test")
    }

    #[test]
    fn short_and_long_lengths_are_read() {
        for encoding in [
            &[4, 2, 7, 8][..],
            &[4, 0x81, 2, 7, 8],
            &[4, 0x82, 0, 2, 7, 8],
            &[4, 0x84, 0, 0, 0, 2, 7, 8],
        ] {
            let (tag, content) = element(&mut input(encoding)).unwrap();
            assert_eq!((tag, content.rest()), (Tag::OCTET_STRING, &[7, 8][..]));
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_is_truncated() {
        let error = element(&mut input(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0])).unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Truncated {
                need: 0xffff_ffff,
                have: 1
            }
        );
    }

    #[test]
    fn indefinite_and_oversized_lengths_are_refused() {
        for length in [0x80, 0x85, 0xff] {
            let error = element(&mut input(&[0x30, length, 0, 0, 0, 0, 0, 0])).unwrap_err();
            assert_eq!(
                error.kind,
                ErrorKind::Unsupported {
                    field: "length",
                    value: length.into()
                }
            );
        }
    }

    #[test]
    fn integers_carry_their_sign() {
        assert_eq!(int32(input(&[2, 1, 0x80]), Tag::INTEGER), Ok(-128));
        assert_eq!(int32(input(&[2, 2, 0, 0x80]), Tag::INTEGER), Ok(128));
        assert_eq!(int32(input(&[2, 4, 0x80, 0, 0, 0]), Tag::INTEGER), Ok(i32::MIN));
        assert!(int32(input(&[2, 0]), Tag::INTEGER).is_err());
        assert!(int32(input(&[2, 5, 0, 0, 0, 0, 0]), Tag::INTEGER).is_err());
    }

    #[test]
    fn fields_are_found_over_the_ones_between() {
        let bytes = [0xa0, 1, 9, 0xa2, 1, 8, 0xa5, 1, 7];
        let mut sequence = input(&bytes);
        assert!(field(&mut sequence, 1).unwrap().is_none());
        assert_eq!(field(&mut sequence, 2).unwrap().unwrap().rest(), [8]);
        assert_eq!(required(&mut sequence, 5).unwrap().rest(), [7]);
        assert!(required(&mut sequence, 6).is_err());
    }

    #[test]
    fn a_name_is_kept_up_to_its_cap() {
        let mut bytes = vec![0x1b, 0x82, 0xff, 0xff];
        bytes.resize(4 + 0xffff, b'a');
        assert_eq!(text(&mut input(&bytes)).unwrap().len(), NAME_BYTES);
    }

    proptest! {
        #[test]
        fn a_content_never_reaches_outside_its_element(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = input(&bytes);
            if let Ok((_, content)) = element(&mut rest) {
                prop_assert_eq!(content.offset() + content.remaining(), rest.offset());
                prop_assert_eq!(rest.offset() + rest.remaining(), bytes.len());
            }
        }
    }
}
