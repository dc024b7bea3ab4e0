//! Strings.

use std::fmt::{self, Write as _};

use super::text::{MAX_TEXT, bounded};
use crate::error::Result;
use crate::ndr::Reader;
use crate::utf16;

/// `cBytes` of a null string.
const NULL: u32 = 0xffff_ffff;
/// The longest string read, in 16-bit units: a command line holds 32,767, a script may be longer, a PDU's stub never holds more.
const MAX_UNITS: usize = 1 << 24;

/// [MS-OAUT] 2.2.23.2 BSTR Type Definition: UTF-16 text, or bytes that a caller sends as if they were text. Null and
/// empty are two things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bstr<'a> {
    bytes: Option<&'a [u8]>,
}

impl<'a> Bstr<'a> {
    /// The string with these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: Some(bytes) }
    }

    /// Reads the pointer, which Windows writes as "User", and right behind it what it points to: a parameter, or the
    /// last member of a structure.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        if reader.pointer()? {
            Self::parse_blob(reader)
        } else {
            Ok(Self::default())
        }
    }

    /// Reads [MS-OAUT] 2.2.23.1 `FLAGGED_WORD_BLOB`, little-endian whatever the PDU says.
    ///
    /// ```text
    /// | units 4 or 8 | cBytes 4 | clSize 4 | asData 2 × units |
    /// ```
    ///
    /// The first count says what is there; `clSize` repeats it and is not looked at. `cBytes` may be odd.
    pub fn parse_blob(reader: &mut Reader<'a>) -> Result<Self> {
        reader.little_endian(|reader| {
            reader.enter("FLAGGED_WORD_BLOB");
            let units = reader.count("asData", 2, MAX_UNITS)?;
            let length = reader.u32()?;
            reader.u32()?;
            let data = reader.bytes(units.saturating_mul(2))?;
            if length == NULL && units == 0 {
                return Ok(Self::default());
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Ok(Self::new(data.get(..length).unwrap_or(data)))
        })
    }

    /// Is it a null string, not just an empty one?
    pub fn is_null(self) -> bool {
        self.bytes.is_none()
    }

    /// The bytes as they were sent: UTF-16, little-endian.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes.unwrap_or_default()
    }

    /// The text, cut at [`MAX_TEXT`] bytes. What is no UTF-16 shows as U+FFFD.
    pub fn to_text(self) -> String {
        let bytes = self.bytes();
        // Nearly all text is ASCII, and long text matters.
        let short = bytes.len() >> 1 <= MAX_TEXT;
        let text = short.then(|| utf16::ascii(bytes)).flatten();
        text.unwrap_or_else(|| bounded(&self, bytes.len() >> 1))
    }
}

/// The whole text.
impl fmt::Display for Bstr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = self.bytes().as_chunks::<2>();
        for character in char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit))) {
            f.write_char(character.unwrap_or(char::REPLACEMENT_CHARACTER))?;
        }
        if !rest.is_empty() {
            f.write_char(char::REPLACEMENT_CHARACTER)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::oaut::MAX_TEXT;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn read(bytes: &[u8]) -> Result<Bstr<'_>> {
        Bstr::parse(&mut Reader::new(bytes, ByteOrder::Big, Encoding::Ndr20, "test"))
    }

    #[test]
    fn a_blob_is_little_endian_whatever_the_label_says() {
        let bytes = [b'U', b's', b'e', b'r', 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'7', 0];
        assert_eq!(read(&bytes).unwrap().to_text(), "7");
    }

    #[test]
    fn null_and_empty_are_two_things() {
        let null = [1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert!(read(&null).unwrap().is_null());
        assert!(read(&[0; 4]).unwrap().is_null());
        let mut empty = null;
        empty[8..12].fill(0);
        let empty = read(&empty).unwrap();
        assert!(!empty.is_null() && empty.bytes().is_empty());
    }

    #[test]
    fn an_odd_length_cuts_the_last_unit() {
        let bytes = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, b'a', 0, b'c', b'd'];
        let text = read(&bytes).unwrap();
        assert_eq!((text.bytes(), text.to_text().as_str()), (&b"a\0c"[..], "a\u{fffd}"));
    }

    #[test]
    fn a_length_of_four_milliards_is_refused() {
        let mut bytes = [0xff; 20];
        bytes[..4].copy_from_slice(b"User");
        assert!(read(&bytes).is_err());
        bytes[4..8].copy_from_slice(&[2, 0, 0, 0]);
        assert_eq!(read(&bytes).unwrap().bytes(), [0xff; 4]);
    }

    #[test]
    fn text_beyond_ascii_survives_wherever_it_begins() {
        for before in [0, 1, 511, 512, 513, 2000] {
            let text = format!("{}Grüße, Δοκιμή, \u{1f980}{}", "x".repeat(before), "y".repeat(700));
            assert_eq!(Bstr::new(&utf16(&text)).to_text(), text);
        }
        assert_eq!(Bstr::new(&[0x3d, 0xd8, b'a', 0]).to_text(), "\u{fffd}a");
    }

    #[test]
    fn text_is_cut_at_its_bound() {
        let text = Bstr::new(&utf16(&"é".repeat(MAX_TEXT))).to_text();
        assert!(text.len() <= MAX_TEXT + '…'.len_utf8() && text.ends_with("é…"));
    }
}
