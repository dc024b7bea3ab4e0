//! The heap behind a class, an instance or a table of methods, and the strings in it.

use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// A reference to nothing.
pub(super) const NO_REFERENCE: u32 = u32::MAX;
/// The bit that tells a number in the dictionary from an offset.
const DICTIONARY_BIT: u32 = 0x8000_0000;

/// [MS-WMIO] 2.2.80 `DictionaryReference`: strings so frequent that they have numbers.
const DICTIONARY: [&str; 11] = [
    "\"", "key", "", "read", "write", "volatile", "provider", "dynamic", "cimwin32", "DWORD", "CIMTYPE",
];

/// How much work one object is worth. Nothing stops two references from pointing at the same item, so a small object could
/// otherwise unfold into a huge one.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Enough to read each of `length` bytes a few times.
    pub(super) fn for_bytes(length: usize) -> Self {
        Self(length.saturating_mul(4).saturating_add(1024))
    }

    /// Takes `cost` off, or all there is and says no.
    pub(super) fn spend(&mut self, cost: usize) -> Option<()> {
        let left = self.0.checked_sub(cost);
        self.0 = left.unwrap_or(0);
        left.map(|_| ())
    }
}

/// [MS-WMIO] 2.2.66 Heap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heap<'a>(&'a [u8]);

impl<'a> Heap<'a> {
    /// Reads the length, whose highest bit is always set, and that many bytes.
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self> {
        input.enter("Heap");
        let length = input.u32()? & !DICTIONARY_BIT;
        input.take(usize::try_from(length).unwrap_or(usize::MAX)).map(Self)
    }

    /// [MS-WMIO] 2.2.69 `HeapRef`: a cursor where `reference` points.
    pub(super) fn at(self, reference: u32) -> Option<Input<'a>> {
        let offset = usize::try_from(reference).ok()?;
        let bytes = self.0.get(offset..)?;
        Some(Input::new(bytes, ByteOrder::Little, "HeapItem"))
    }

    /// [MS-WMIO] 2.2.68 `HeapStringRef`: the string that `reference` stands for.
    pub(super) fn string(self, reference: u32, budget: &mut Budget) -> Option<String> {
        if reference == NO_REFERENCE {
            return None;
        }
        if reference & DICTIONARY_BIT != 0 {
            budget.spend(4)?;
            let number = usize::try_from(reference & !DICTIONARY_BIT).ok()?;
            return DICTIONARY.get(number).map(|&text| text.to_owned());
        }
        encoded_string(&mut self.at(reference)?, budget).ok()
    }
}

/// [MS-WMIO] 2.2.78 Encoded-String: a flag, then characters of one byte (U+0000 to U+00FF) or of two, up to a zero.
pub(super) fn encoded_string(input: &mut Input<'_>, budget: &mut Budget) -> Result<String> {
    input.enter("Encoded-String");
    let wide = input.u8()? & 1 != 0;
    let within = input.rest();
    let within = within.get(..budget.0).unwrap_or(within);
    let (width, units) = if wide {
        (2, within.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0]))
    } else {
        (1, within.iter().position(|&unit| unit == 0))
    };
    let Some(units) = units else {
        budget.spend(within.len());
        return Err(input.invalid("Null", 0_u8));
    };
    let length = units.saturating_mul(width);
    budget.spend(length.saturating_add(1));
    let bytes = input.take(length)?;
    input.skip(width)?;
    Ok(if wide {
        let units = bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    } else {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(items: &[u8]) -> Heap<'_> {
        Heap(items)
    }

    #[test]
    fn strings_are_of_narrow_or_wide_characters() {
        let items = b"\0caf\xe9\0\x01\x4c\x27!\0\0\0";
        let mut budget = Budget::for_bytes(items.len());
        assert_eq!(heap(items).string(0, &mut budget).as_deref(), Some("café"));
        assert_eq!(heap(items).string(6, &mut budget).as_deref(), Some("❌!"));
    }

    #[test]
    fn frequent_strings_are_numbers() {
        let mut budget = Budget::for_bytes(0);
        assert_eq!(heap(&[]).string(0x8000_000a, &mut budget).as_deref(), Some("CIMTYPE"));
        assert_eq!(heap(&[]).string(0x8000_000b, &mut budget), None);
        assert_eq!(heap(&[]).string(NO_REFERENCE, &mut budget), None);
    }

    #[test]
    fn a_string_read_again_and_again_uses_its_budget_up() {
        let items = [b"\0".to_vec(), vec![b'a'; 10_000], vec![0]].concat();
        let mut budget = Budget::for_bytes(items.len());
        let read = (0..1000)
            .filter(|_| heap(&items).string(0, &mut budget).is_some())
            .count();
        assert_eq!(read, 4);
    }

    #[test]
    fn a_string_without_an_end_is_refused() {
        let mut budget = Budget::for_bytes(4);
        assert_eq!(heap(b"\0abc").string(0, &mut budget), None);
        assert_eq!(heap(b"\x01a\0b").string(0, &mut budget), None);
    }
}
