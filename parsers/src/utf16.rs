//! Text in units of 16 bits, as Windows has it.

/// The text in these bytes, little-endian, if each of its units is ASCII: nearly all text is, and each unit a byte.
pub(crate) fn ascii(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() || units.iter().fold(0, |all, unit| all | u16::from_le_bytes(*unit)) >= 0x80 {
        return None;
    }
    String::from_utf8(units.iter().map(|[low, _]| *low).collect()).ok()
}

/// The text. What is no UTF-16 shows as U+FFFD.
pub(crate) fn text(units: &[u16]) -> String {
    // Nearly all of it is ASCII, of which each unit is a byte.
    if units.iter().fold(0, |all, unit| all | unit) < 0x80 {
        let bytes = units.iter().map(|unit| unit.to_le_bytes()[0]).collect();
        if let Ok(text) = String::from_utf8(bytes) {
            return text;
        }
    }
    String::from_utf16_lossy(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_and_all_else_is_what_the_standard_library_makes_of_it() {
        for units in [
            &[][..],
            &[0x41, 0, 0x7f],
            &[0x41, 0x80],
            &[0x20ac],
            &[0xd83d, 0xde00],
            &[0xd83d, 0x41],
        ] {
            let expected = String::from_utf16_lossy(units);
            assert_eq!(text(units), expected, "{units:x?}");
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            assert_eq!(ascii(&bytes), expected.is_ascii().then_some(expected), "{units:x?}");
            assert_eq!(ascii(&[bytes.as_slice(), &[0x41]].concat()), None, "{units:x?}");
        }
    }
}
