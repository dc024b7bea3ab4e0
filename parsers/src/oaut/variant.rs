//! Values that bring their type along.

use super::bstr::Bstr;
use super::interface_pointer::InterfacePointer;
use super::safe_array::{Elements, SafeArray};
use super::text::bounded;
use super::var_type::VarType;
use super::{MAX_DEPTH, MAX_VALUES, referents};
use crate::error::{ErrorKind, Result};
use crate::ndr::Reader;

/// The longest record stepped over.
const MAX_RECORD: usize = 1 << 24;

/// [MS-OAUT] 2.2.29 VARIANT.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Variant<'a> {
    /// `VT_EMPTY`: nothing; in a call also the place of an argument that is passed by reference.
    #[default]
    Empty,
    /// `VT_NULL`.
    Null,
    /// `VT_I1`.
    I1(i8),
    /// `VT_I2`.
    I2(i16),
    /// `VT_I4`.
    I4(i32),
    /// `VT_I8`.
    I8(i64),
    /// `VT_UI1`.
    Ui1(u8),
    /// `VT_UI2`.
    Ui2(u16),
    /// `VT_UI4`.
    Ui4(u32),
    /// `VT_UI8`.
    Ui8(u64),
    /// `VT_INT`.
    Int(i32),
    /// `VT_UINT`.
    Uint(u32),
    /// `VT_R4`.
    R4(f32),
    /// `VT_R8`.
    R8(f64),
    /// `VT_BOOL`: anything but 0 is true.
    Bool(bool),
    /// `VT_ERROR`: an HRESULT. 0x80020004 stands for an argument left out.
    Error(u32),
    /// `VT_CY`: ten thousandths.
    Currency(i64),
    /// `VT_DATE`: days since 1899-12-30.
    Date(f64),
    /// `VT_BSTR`.
    Bstr(Bstr<'a>),
    /// `VT_DECIMAL`.
    Decimal(Decimal),
    /// `VT_UNKNOWN`.
    Unknown(Option<InterfacePointer<'a>>),
    /// `VT_DISPATCH`.
    Dispatch(Option<InterfacePointer<'a>>),
    /// `VT_BYREF` with any type; `VT_BYREF|VT_VARIANT` is a variant as such. A null reference leads to [`Variant::Empty`].
    ByRef(Box<Self>),
    /// `VT_ARRAY` with any type.
    Array(Option<Box<SafeArray<'a>>>),
    /// `VT_RECORD`.
    Record(Record<'a>),
    /// A type we know nothing of, stepped over.
    Other {
        /// The type.
        var_type: VarType,
        /// Bytes in the variant.
        length: usize,
    },
    /// There is a value and it could not be read.
    Unread,
}

/// [MS-OAUT] 2.2.26 DECIMAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    /// `Hi32` and `Lo64`.
    pub magnitude: u128,
    /// Digits behind the point: 0 to 28.
    pub scale: u8,
    /// Is `sign` 0x80?
    pub negative: bool,
}

/// [MS-OAUT] 2.2.28.2 BRECORD: a structure of the program's own, which only its type description can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// `pRecInfo`: which type it is.
    pub info: Option<InterfacePointer<'a>>,
    /// `pRecord`, with its length in front.
    pub data: &'a [u8],
}

impl<'a> Variant<'a> {
    /// Reads the pointer, which Windows writes as "User", and right behind it what it points to. A null pointer is empty.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        if reader.pointer()? {
            Self::parse_referent(reader)
        } else {
            Ok(Self::Empty)
        }
    }

    /// Reads [MS-OAUT] 2.2.29.1 `_wireVARIANT`, little-endian whatever the PDU says.
    ///
    /// ```text
    /// | clSize 4 | rpcReserved 4 | vt 2 | reserved 6 | vt again 4 | value …
    /// ```
    ///
    /// The second type, which for arrays lacks the element's, is not looked at.
    pub(super) fn parse_referent(reader: &mut Reader<'a>) -> Result<Self> {
        reader.little_endian(|reader| Self::parse_nested(reader, MAX_DEPTH))
    }

    pub(super) fn parse_nested(reader: &mut Reader<'a>, depth: usize) -> Result<Self> {
        let Some(depth) = depth.checked_sub(1) else {
            step_over(reader)?;
            return Ok(Self::Unread);
        };
        let head = Head::parse(reader)?;
        match value(reader, head.var_type, depth)? {
            Some(value) => Ok(value),
            None => head.step_over(reader),
        }
    }

    /// The value as an analyst reads it, cut at [`MAX_TEXT`](super::MAX_TEXT) bytes: strings bare, numbers decimal, an
    /// argument left out as nothing, dates as ISO 8601, arrays in brackets.
    pub fn to_text(&self) -> String {
        match self.bstr() {
            Some(text) => text.to_text(),
            None => bounded(self, 0),
        }
    }

    /// The value behind any references.
    pub fn target(&self) -> &Self {
        let mut value = self;
        while let Self::ByRef(inner) = value {
            value = inner;
        }
        value
    }

    /// The string, when it is one.
    pub fn bstr(&self) -> Option<Bstr<'a>> {
        match self.target() {
            Self::Bstr(text) => Some(*text),
            _ => None,
        }
    }

    /// The reference to an object, when it is one.
    pub fn interface(&self) -> Option<InterfacePointer<'a>> {
        match self.target() {
            Self::Unknown(pointer) | Self::Dispatch(pointer) => *pointer,
            _ => None,
        }
    }

    /// The references to objects that it holds; those in arrays too.
    pub fn interfaces(&self) -> Vec<InterfacePointer<'a>> {
        let mut found = Vec::new();
        self.add_interfaces(&mut found);
        found
    }

    fn add_interfaces(&self, found: &mut Vec<InterfacePointer<'a>>) {
        match self.target() {
            Self::Array(Some(array)) => {
                if let Elements::Values(values) = &array.elements {
                    for value in values {
                        value.add_interfaces(found);
                    }
                }
            }
            value => found.extend(value.interface()),
        }
    }
}

/// What stands in front of a value.
struct Head<'a> {
    start: Reader<'a>,
    size: u32,
    var_type: VarType,
}

impl<'a> Head<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        reader.enter("VARIANT");
        reader.align(8)?;
        let start = *reader;
        let size = reader.u32()?;
        reader.u32()?;
        let var_type = VarType(reader.u16()?);
        reader.bytes(6)?;
        reader.align_ndr64(8)?;
        reader.u32()?;
        reader.align_ndr64(8)?;
        Ok(Self { start, size, var_type })
    }

    /// Steps over a value of a type we know nothing of. `clSize` counts quad words. Some clients write a constant there, so
    /// nothing else relies on it.
    fn step_over(self, reader: &mut Reader<'a>) -> Result<Variant<'a>> {
        let Self { start, size, var_type } = self;
        let length = usize::try_from(size).unwrap_or(usize::MAX).saturating_mul(8).max(20);
        let mut end = start;
        if end.bytes(length).is_err() {
            return Err(reader.input().error(ErrorKind::Unsupported {
                field: "vt",
                value: var_type.0.into(),
            }));
        }
        *reader = end;
        Ok(Variant::Other { var_type, length })
    }
}

/// Steps over a variant that lies deeper than we follow, and over what it holds, however deep that goes: what is nested is
/// the last of what it is nested in, so that nothing has to be gone back to but the pointers of arrays.
fn step_over(reader: &mut Reader<'_>) -> Result<()> {
    let mut arrays = vec![];
    loop {
        let head = Head::parse(reader)?;
        let var_type = head.var_type;
        if !is_known(var_type) {
            head.step_over(reader)?;
        } else if !var_type.is_array() && var_type.base() == VarType::VARIANT {
            if var_type.is_by_ref() && reader.pointer()? && reader.pointer()? {
                continue;
            }
        } else if var_type.is_array() {
            let is_there = !var_type.is_by_ref() || reader.pointer()?;
            if is_there && reader.pointer()? && reader.pointer()? {
                arrays.extend(SafeArray::open(reader, var_type.base())?);
            }
        } else {
            value(reader, var_type, 0)?;
        }
        // The next one that an array holds.
        loop {
            let Some((pointers, left)) = arrays.last_mut() else {
                return Ok(());
            };
            match usize::checked_sub(*left, 1) {
                None => _ = arrays.pop(),
                Some(less) => {
                    *left = less;
                    if Reader::pointer(pointers)? {
                        break;
                    }
                }
            }
        }
    }
}

/// Is it a type whose values we read?
fn is_known(var_type: VarType) -> bool {
    var_type.name().is_some() && var_type.0 & 0x9000 == 0
}

/// The arm of the union that the type selects; None for a type we know nothing of.
fn value<'a>(reader: &mut Reader<'a>, var_type: VarType, depth: usize) -> Result<Option<Variant<'a>>> {
    if !is_known(var_type) {
        return Ok(None);
    }
    // A record has one arm for both ways of passing it.
    if !var_type.is_by_ref() || (var_type.base() == VarType::RECORD && !var_type.is_array()) {
        let value = direct(reader, var_type, depth)?;
        // [MS-RPCE] 2.2.5.3.4.1 Structure with Trailing Gap: what the type points to stands behind that.
        if var_type.scalar_width().is_some() {
            reader.align_ndr64(8)?;
        }
        return Ok(value);
    }
    let value = if !reader.pointer()? {
        Some(Variant::Empty)
    } else if var_type.base() == VarType::VARIANT && !var_type.is_array() {
        if reader.pointer()? {
            Some(Variant::parse_nested(reader, depth)?)
        } else {
            Some(Variant::Empty)
        }
    } else {
        direct(reader, var_type, depth)?
    };
    Ok(value.map(|value| Variant::ByRef(Box::new(value))))
}

fn direct<'a>(reader: &mut Reader<'a>, var_type: VarType, depth: usize) -> Result<Option<Variant<'a>>> {
    if var_type.is_array() {
        // Two pointers: PSAFEARRAY is a pointer to SAFEARRAY, which is one already ([MS-OAUT] 2.2.6, 2.2.30.10).
        if reader.pointer()? && reader.pointer()? {
            let array = SafeArray::parse_referent(reader, var_type.base(), depth)?;
            return Ok(Some(Variant::Array(Some(Box::new(array)))));
        }
        return Ok(Some(Variant::Array(None)));
    }
    Ok(Some(match var_type.base() {
        VarType::EMPTY => Variant::Empty,
        VarType::NULL => Variant::Null,
        VarType::BSTR => Variant::Bstr(Bstr::parse(reader)?),
        VarType::UNKNOWN => Variant::Unknown(InterfacePointer::parse(reader)?),
        VarType::DISPATCH => Variant::Dispatch(InterfacePointer::parse(reader)?),
        VarType::DECIMAL => Variant::Decimal(Decimal::parse(reader)?),
        VarType::RECORD => Variant::Record(Record::parse(reader)?),
        other => return scalar(reader, other),
    }))
}

/// A plain number, alone or as an element of an array; None for what is none.
pub(super) fn scalar<'a>(reader: &mut Reader<'_>, var_type: VarType) -> Result<Option<Variant<'a>>> {
    Ok(Some(match var_type {
        VarType::I1 => Variant::I1(reader.u8()?.cast_signed()),
        VarType::UI1 => Variant::Ui1(reader.u8()?),
        VarType::I2 => Variant::I2(reader.u16()?.cast_signed()),
        VarType::UI2 => Variant::Ui2(reader.u16()?),
        VarType::BOOL => Variant::Bool(reader.u16()? != 0),
        VarType::I4 => Variant::I4(reader.u32()?.cast_signed()),
        VarType::INT => Variant::Int(reader.u32()?.cast_signed()),
        VarType::UI4 => Variant::Ui4(reader.u32()?),
        VarType::UINT => Variant::Uint(reader.u32()?),
        VarType::ERROR => Variant::Error(reader.u32()?),
        VarType::R4 => Variant::R4(f32::from_bits(reader.u32()?)),
        VarType::I8 => Variant::I8(reader.u64()?.cast_signed()),
        VarType::UI8 => Variant::Ui8(reader.u64()?),
        VarType::R8 => Variant::R8(f64::from_bits(reader.u64()?)),
        VarType::CY => Variant::Currency(reader.u64()?.cast_signed()),
        VarType::DATE => Variant::Date(f64::from_bits(reader.u64()?)),
        _ => return Ok(None),
    }))
}

impl Decimal {
    fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.align(8)?;
        reader.u16()?;
        let scale = reader.u8()?;
        let sign = reader.u8()?;
        let high = reader.u32()?;
        let low = reader.u64()?;
        Ok(Self {
            magnitude: u128::from(high) << 64 | u128::from(low),
            scale,
            negative: sign & 0x80 != 0,
        })
    }
}

impl<'a> Record<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        if reader.pointer()? {
            Self::parse_referent(reader)
        } else {
            Ok(Self::default())
        }
    }

    /// Reads [MS-OAUT] 2.2.28.2.1 `_wireBRECORD`.
    pub(super) fn parse_referent(reader: &mut Reader<'a>) -> Result<Self> {
        reader.enter("BRECORD");
        reader.align_pointer()?;
        reader.u32()?;
        reader.u32()?;
        let has_info = reader.pointer()?;
        let has_data = reader.pointer()?;
        let info = if has_info {
            Some(InterfacePointer::parse_referent(reader)?)
        } else {
            None
        };
        reader.enter("BRECORD");
        let mut data: &[u8] = &[];
        if has_data {
            let length = reader.count("pRecord", 1, MAX_RECORD)?;
            data = reader.bytes(length)?;
        }
        Ok(Self { info, data })
    }
}

/// An array of variants: a count, the pointers, and behind them the variants. When reading fails, `out` holds what was
/// read, filled up with [`Variant::Unread`].
pub(super) fn variants<'a>(reader: &mut Reader<'a>, field: &'static str, out: &mut Vec<Variant<'a>>) -> Result<()> {
    let count = reader.count(field, 4, MAX_VALUES)?;
    let mut read = Vec::new();
    let outcome = referents(reader, count, &mut read, Variant::parse_referent);
    *out = read.into_iter().map(Option::unwrap_or_default).collect();
    out.resize(count, Variant::Unread);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::oaut::SafeArrayBound;
    use crate::oaut::round_trips::utf16;
    use crate::testing::Writer;

    fn read(bytes: &[u8]) -> Result<Variant<'_>> {
        Variant::parse(&mut Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test"))
    }

    #[test]
    fn objects_are_found_in_arrays_of_arrays_too() {
        let object = |bytes| Variant::Dispatch(Some(InterfacePointer::new(bytes)));
        let array = |values| {
            Variant::Array(Some(Box::new(SafeArray {
                elements: Elements::Values(values),
                ..SafeArray::default()
            })))
        };
        let inner = Variant::ByRef(Box::new(array(vec![object(b"b"), Variant::I4(1)])));
        let nothing = Variant::Dispatch(None);
        let value = array(vec![object(b"a"), inner, nothing, Variant::Array(None), object(b"c")]);
        let found = [b"a", b"b", b"c"].map(|bytes| InterfacePointer::new(bytes));
        assert_eq!(value.interfaces(), found);
        assert_eq!(object(b"a").interfaces(), found[..1]);
        assert_eq!(Variant::Empty.interfaces(), []);
    }

    fn samples(text: &[u8]) -> Vec<Variant<'_>> {
        let text = Bstr::new(text);
        vec![
            Variant::Empty,
            Variant::Null,
            Variant::I1(-1),
            Variant::I2(-2),
            Variant::I4(-4),
            Variant::I8(-8),
            Variant::Ui1(1),
            Variant::Ui2(2),
            Variant::Ui4(4),
            Variant::Ui8(8),
            Variant::Int(-40),
            Variant::Uint(40),
            Variant::R4(0.5),
            Variant::R8(-0.25),
            Variant::Bool(true),
            Variant::Error(0x8002_0004),
            Variant::Currency(52_500),
            Variant::Date(5.25),
            Variant::Bstr(text),
            Variant::Bstr(Bstr::default()),
            Variant::Decimal(Decimal {
                magnitude: 1 << 90,
                scale: 3,
                negative: true,
            }),
            Variant::Unknown(None),
            Variant::Dispatch(None),
        ]
    }

    /// A value in references or in arrays of one, and how many of them are read.
    fn nested(depth: usize, layer: impl Fn(Variant<'static>) -> Variant<'static>) -> (Vec<u8>, String) {
        let variant = (0..depth).fold(Variant::I4(1), |inner, _| layer(inner));
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.pointer().put(&variant).ndr_u32(7);
        let mut reader = writer.reader();
        let read = Variant::parse(&mut reader).unwrap().to_text();
        assert_eq!((reader.u32(), reader.rest()), (Ok(7), &[][..]), "{depth}");
        (writer.bytes(), read)
    }

    #[test]
    fn what_nests_too_deep_is_stepped_over() {
        let by_ref = |inner| Variant::ByRef(Box::new(inner));
        let array = |inner| {
            let elements = Elements::Values(vec![Variant::Null, inner, Variant::Bool(true)]);
            let bounds = vec![SafeArrayBound { count: 3, lower: 0 }];
            Variant::Array(Some(Box::new(SafeArray {
                bounds,
                elements,
                ..SafeArray::default()
            })))
        };
        let shown = |depth, inner: &str| {
            let (open, shut) = ("[null, ".repeat(depth), ", true]".repeat(depth));
            format!("{open}{inner}{shut}")
        };
        // A reference to a number is one variant, an array of one is two.
        let deepest = MAX_DEPTH - 1;
        for depth in [deepest, MAX_DEPTH, MAX_DEPTH + 1, 20, 200] {
            let inner = if depth > MAX_DEPTH { "?" } else { "1" };
            assert_eq!(nested(depth, by_ref).1, inner, "{depth}");
            let inner = if depth > deepest { "[?, ?, ?]" } else { "1" };
            let (bytes, text) = nested(depth, array);
            assert_eq!(text, shown(deepest, inner), "{depth}");
            for length in (0..bytes.len() - 8).step_by(bytes.len() / 100) {
                assert!(read(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_type_we_know_nothing_of_is_stepped_over_by_its_size() {
        let mut bytes = b"User\xcc\xcc\xcc\xcc".to_vec();
        bytes.extend([4, 0, 0, 0, 0, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 0x48, 0, 0, 0]);
        bytes.resize(40, 0xee);
        bytes.extend([7, 0, 0, 0]);
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let var_type = VarType(0x48);
        assert_eq!(Variant::parse(&mut reader), Ok(Variant::Other { var_type, length: 32 }));
        assert_eq!(reader.u32(), Ok(7));
        bytes[8..12].fill(0xff);
        assert_eq!(
            read(&bytes).unwrap_err().to_string(),
            "VARIANT: `vt` is 0x48, which is not supported (offset 28)"
        );
    }

    #[test]
    fn a_value_shorter_than_the_longest_is_filled_up_in_ndr64_unless_it_is_pointed_to() {
        for (var_type, gap) in [(VarType::I4.0, 4), (VarType::I4.0 | VarType::BYREF, 0)] {
            let [low, high] = var_type.to_le_bytes();
            let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend([
                4, 0, 0, 0, 0, 0, 0, 0, low, high, 0, 0, 0, 0, 0, 0, low, high, 0, 0, 0, 0, 0, 0,
            ]);
            bytes.extend([2, 0, 0, 0, 0, 0, 0, 0].iter().take(2 * (4 - gap)));
            bytes.extend([5, 0, 0, 0]);
            bytes.resize(bytes.len() + gap, 0);
            bytes.extend([7, 0, 0, 0]);
            let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr64, "test");
            assert_eq!(Variant::parse(&mut reader).unwrap().target(), &Variant::I4(5));
            assert_eq!((reader.u32(), reader.rest()), (Ok(7), &[][..]));
        }
    }

    #[test]
    fn a_record_keeps_its_bytes() {
        for flag in [0, VarType::BYREF] {
            let [low, high] = (0x24 | flag).to_le_bytes();
            let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend([8, 0, 0, 0, 0, 0, 0, 0, low, high, 0, 0, 0, 0, 0, 0, low, high, 0, 0]);
            bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
            bytes.extend([8, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4]);
            let variant = read(&bytes).unwrap();
            assert_eq!(
                variant,
                Variant::Record(Record {
                    info: None,
                    data: &[8, 0, 0, 0, 1, 2, 3, 4]
                })
            );
            assert_eq!(variant.to_text(), "record of 8 bytes");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let text = utf16("whoami");
        for sample in samples(&text) {
            let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
            writer.pointer().put(&sample);
            let bytes = writer.bytes();
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err(), "{sample:?} at {length}");
            }
        }
    }
}
