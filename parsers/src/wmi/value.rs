//! Values of properties, and their types.

use std::fmt;

use super::heap::{Budget, Heap, NO_REFERENCE};
use super::wmio::Object;
use crate::error::Result;
use crate::input::Input;

/// [MS-WMIO] 2.2.82 `CimType`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CimType(pub u32);

impl CimType {
    /// A signed 16-bit integer.
    pub const SINT16: Self = Self(2);
    /// A signed 32-bit integer.
    pub const SINT32: Self = Self(3);
    /// A floating-point number of four bytes.
    pub const REAL32: Self = Self(4);
    /// A floating-point number of eight bytes.
    pub const REAL64: Self = Self(5);
    /// A string.
    pub const STRING: Self = Self(8);
    /// A truth value.
    pub const BOOLEAN: Self = Self(11);
    /// An object within the object.
    pub const OBJECT: Self = Self(13);
    /// A signed 8-bit integer.
    pub const SINT8: Self = Self(16);
    /// An unsigned 8-bit integer.
    pub const UINT8: Self = Self(17);
    /// An unsigned 16-bit integer.
    pub const UINT16: Self = Self(18);
    /// An unsigned 32-bit integer.
    pub const UINT32: Self = Self(19);
    /// A signed 64-bit integer.
    pub const SINT64: Self = Self(20);
    /// An unsigned 64-bit integer.
    pub const UINT64: Self = Self(21);
    /// A date and time, written out.
    pub const DATETIME: Self = Self(101);
    /// The path of another object.
    pub const REFERENCE: Self = Self(102);
    /// A 16-bit character.
    pub const CHAR16: Self = Self(103);

    const ARRAY: u32 = 0x2000;

    /// The type without the bits for an array and for an inherited property.
    #[must_use]
    pub fn base(self) -> Self {
        Self(self.0 & 0x0fff)
    }

    /// Is the value an array?
    pub fn is_array(self) -> bool {
        self.0 & Self::ARRAY != 0
    }

    /// Bytes of one value where it stands: a reference for what lies in the heap.
    fn width(self) -> usize {
        match self.base() {
            Self::SINT8 | Self::UINT8 => 1,
            Self::SINT16 | Self::UINT16 | Self::CHAR16 | Self::BOOLEAN => 2,
            Self::SINT64 | Self::UINT64 | Self::REAL64 => 8,
            _ => 4,
        }
    }
}

impl fmt::Display for CimType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.base() {
            Self::SINT8 => "sint8",
            Self::UINT8 => "uint8",
            Self::SINT16 => "sint16",
            Self::UINT16 => "uint16",
            Self::SINT32 => "sint32",
            Self::UINT32 => "uint32",
            Self::SINT64 => "sint64",
            Self::UINT64 => "uint64",
            Self::REAL32 => "real32",
            Self::REAL64 => "real64",
            Self::BOOLEAN => "boolean",
            Self::STRING => "string",
            Self::DATETIME => "datetime",
            Self::REFERENCE => "reference",
            Self::CHAR16 => "char16",
            Self::OBJECT => "object",
            _ => return write!(f, "{:#x}", self.0),
        };
        f.write_str(name)?;
        f.write_str(if self.is_array() { "[]" } else { "" })
    }
}

impl fmt::Debug for CimType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CimType({:#x}, {self})", self.0)
    }
}

/// [MS-WMIO] 2.2.71 `EncodedValue`, with what it refers to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// A truth value.
    Boolean(bool),
    /// A signed integer of any width.
    Signed(i64),
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A floating-point number of either width.
    Real(f64),
    /// A 16-bit character.
    Character(u16),
    /// A string, a date or the path of an object.
    Text(String),
    /// An object within the object.
    Object(Box<Object>),
    /// Values of one type.
    Array(Vec<Self>),
    /// There is a value, and it refers to nothing that we can or want to read.
    Unreadable,
}

impl Value {
    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when it is an integer and not negative.
    pub fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// Reads a value of `cim_type` at `input`; `depth` is how deep the object that holds it lies.
    pub(super) fn parse(
        input: &mut Input<'_>,
        cim_type: CimType,
        heap: Heap<'_>,
        budget: &mut Budget,
        depth: usize,
    ) -> Result<Self> {
        if cim_type.is_array() {
            let reference = input.u32()?;
            return Ok(Self::referred(reference, || {
                Self::array(reference, cim_type.base(), heap, budget, depth)
            }));
        }
        Ok(match cim_type.base() {
            CimType::BOOLEAN => Self::Boolean(input.u16()? != 0),
            CimType::CHAR16 => Self::Character(input.u16()?),
            CimType::UINT8 => Self::Unsigned(input.u8()?.into()),
            CimType::UINT16 => Self::Unsigned(input.u16()?.into()),
            CimType::UINT32 => Self::Unsigned(input.u32()?.into()),
            CimType::UINT64 => Self::Unsigned(input.u64()?),
            CimType::SINT8 => Self::Signed(input.u8()?.cast_signed().into()),
            CimType::SINT16 => Self::Signed(input.u16()?.cast_signed().into()),
            CimType::SINT32 => Self::Signed(input.u32()?.cast_signed().into()),
            CimType::SINT64 => Self::Signed(input.u64()?.cast_signed()),
            CimType::REAL32 => Self::Real(f32::from_bits(input.u32()?).into()),
            CimType::REAL64 => Self::Real(f64::from_bits(input.u64()?)),
            CimType::STRING | CimType::DATETIME | CimType::REFERENCE => {
                let reference = input.u32()?;
                Self::referred(reference, || heap.string(reference, budget).map(Self::Text))
            }
            CimType::OBJECT => {
                let reference = input.u32()?;
                Self::referred(reference, || {
                    let object = Object::embedded(&mut heap.at(reference)?, budget, depth)?;
                    Some(Self::Object(Box::new(object)))
                })
            }
            _ => Self::Unreadable,
        })
    }

    /// What a reference that may be to nothing leads to.
    fn referred(reference: u32, read: impl FnOnce() -> Option<Self>) -> Self {
        if reference == NO_REFERENCE {
            return Self::Null;
        }
        read().unwrap_or(Self::Unreadable)
    }

    /// [MS-WMIO] 2.2.79 Encoded-Array.
    fn array(reference: u32, element: CimType, heap: Heap<'_>, budget: &mut Budget, depth: usize) -> Option<Self> {
        let mut input = heap.at(reference)?;
        let count = usize::try_from(input.u32().ok()?).ok()?;
        let length = count.checked_mul(element.width())?;
        if length > input.remaining() {
            return None;
        }
        budget.spend(length)?;
        (0..count)
            .map(|_| Self::parse(&mut input, element, heap, budget, depth).ok())
            .collect::<Option<Vec<_>>>()
            .map(Self::Array)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
            Self::Character(unit) => char::from_u32(u32::from(*unit))
                .unwrap_or(char::REPLACEMENT_CHARACTER)
                .fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Object(object) => object.fmt(f),
            Self::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Unreadable => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;

    fn read(cim_type: u32, bytes: &[u8], items: &[u8]) -> Value {
        let mut heap = (u32::try_from(items.len()).unwrap() | 0x8000_0000)
            .to_le_bytes()
            .to_vec();
        heap.extend(items);
        let heap = Heap::parse(&mut Input::new(&heap, ByteOrder::Little, "test")).unwrap();
        let mut input = Input::new(bytes, ByteOrder::Little, "test");
        let mut budget = Budget::for_bytes(items.len());
        let value = Value::parse(&mut input, CimType(cim_type), heap, &mut budget, 0).unwrap();
        assert!(input.is_empty());
        value
    }

    #[test]
    fn numbers_stand_where_they_are_with_their_width_and_sign() {
        assert_eq!(read(16, &[0xff], &[]), Value::Signed(-1));
        assert_eq!(read(17, &[0xff], &[]), Value::Unsigned(255));
        assert_eq!(read(2, &[0xfe, 0xff], &[]), Value::Signed(-2));
        assert_eq!(read(18, &[0xfe, 0xff], &[]), Value::Unsigned(65_534));
        assert_eq!(read(0x4003, &[0xfd, 0xff, 0xff, 0xff], &[]), Value::Signed(-3));
        assert_eq!(read(21, &[1, 0, 0, 0, 1, 0, 0, 0], &[]), Value::Unsigned(0x1_0000_0001));
        assert_eq!(read(4, &[0, 0, 0x80, 0x3f], &[]), Value::Real(1.0));
        assert_eq!(read(11, &[0xff, 0xff], &[]), Value::Boolean(true));
        assert_eq!(read(103, &[0x41, 0], &[]).to_string(), "A");
    }

    #[test]
    fn arrays_and_strings_lie_in_the_heap() {
        assert_eq!(
            read(0x2011, &[0, 0, 0, 0], &[3, 0, 0, 0, 1, 2, 5]).to_string(),
            "[1, 2, 5]"
        );
        let strings = b"\x02\0\0\0\x0c\0\0\0\xff\xff\xff\xff\0hi\0";
        assert_eq!(read(0x2008, &[0, 0, 0, 0], strings).to_string(), "[hi, null]");
        assert_eq!(read(8, &[0xff; 4], &[]), Value::Null);
    }

    #[test]
    fn references_to_nowhere_and_counts_beyond_the_heap_are_unreadable() {
        assert_eq!(read(8, &[0xf0, 0, 0, 0], b"\0a\0"), Value::Unreadable);
        assert_eq!(read(0x2013, &[0, 0, 0, 0], &[0xff; 16]), Value::Unreadable);
        assert_eq!(read(13, &[0, 0, 0, 0], &[0xff; 16]), Value::Unreadable);
        assert_eq!(read(99, &[], &[]), Value::Unreadable);
        assert_eq!(CimType(0x6008).to_string(), "string[]");
        assert_eq!(CimType(99).to_string(), "0x63");
    }
}
