//! Arrays that know their bounds.

use super::bstr::Bstr;
use super::interface_pointer::InterfacePointer;
use super::var_type::VarType;
use super::variant::{Record, Variant, scalar};
use super::{MAX_VALUES, referents};
use crate::error::Result;
use crate::guid::Iid;
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader};

/// More dimensions than any language offers.
const MAX_DIMENSIONS: usize = 64;
/// The longest array of plain numbers, in elements: they are not copied.
const MAX_SCALARS: usize = 1 << 26;
/// `FADF_HAVEVARTYPE` of [MS-OAUT] 2.2.9 ADVFEATUREFLAGS Advanced Feature Flags.
const HAVE_VAR_TYPE: u16 = 0x0080;
/// `SF_HAVEIID` of [MS-OAUT] 2.2.8 SAFEARRAY Feature Constants; the other kinds are named after a type.
const HAVE_IID: u32 = 0x800d;

/// [MS-OAUT] 2.2.30 SAFEARRAY.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SafeArray<'a> {
    /// `fFeatures`, `FADF_*`.
    pub features: u16,
    /// `iid`: the interface of all elements, when the array names one.
    pub iid: Option<Iid>,
    /// One for each dimension, in the order they were sent.
    pub bounds: Vec<SafeArrayBound>,
    /// What is in it; the leftmost index runs fastest.
    pub elements: Elements<'a>,
}

/// [MS-OAUT] 2.2.30.1 SAFEARRAYBOUND.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafeArrayBound {
    /// `cElements`.
    pub count: u32,
    /// `lLbound`: the index of the first.
    pub lower: i32,
}

/// The elements of an array: [MS-OAUT] 2.2.30.9 SAFEARRAYUNION.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements<'a> {
    /// Plain numbers, as they were sent.
    Scalars {
        /// What they are.
        var_type: VarType,
        /// Their bytes, little-endian.
        bytes: &'a [u8],
    },
    /// Anything else.
    Values(Vec<Variant<'a>>),
}

impl Default for Elements<'_> {
    fn default() -> Self {
        Self::Values(Vec::new())
    }
}

impl<'a> Elements<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Scalars { var_type, bytes } => {
                let width = var_type.scalar_width().unwrap_or(1);
                bytes.len().checked_div(width).unwrap_or_default()
            }
            Self::Values(values) => values.len(),
        }
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Variant<'a>> + '_ {
        let (numbers, values): (_, &[_]) = match self {
            Self::Scalars { var_type, bytes } => (Some((*var_type, *bytes)), &[]),
            Self::Values(values) => (None, values),
        };
        let numbers = numbers.into_iter().flat_map(|(var_type, bytes)| {
            let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "SAFEARRAY");
            std::iter::from_fn(move || scalar(&mut reader, var_type).ok().flatten())
        });
        numbers.chain(values.iter().cloned())
    }
}

impl<'a> SafeArray<'a> {
    /// Reads [MS-OAUT] 2.2.30.10 `_wireSAFEARRAY`. `var_type` is what the variant around it says of the elements.
    ///
    /// ```text
    /// | dimensions 4 or 8 | cDims 2 | fFeatures 2 | cbElements 4 | cLocks 4 | sfType 4 | Size 4 | pointer | iid? | bounds 8 × dimensions |
    /// ```
    ///
    /// The elements stand behind it. The caller has seen to it that integers are read as little-endian.
    pub(super) fn parse_referent(reader: &mut Reader<'a>, var_type: VarType, depth: usize) -> Result<Self> {
        let (mut array, held) = Self::head(reader, var_type)?;
        if let Some(held) = held {
            array.elements = held.parse(reader, depth)?;
        }
        Ok(array)
    }

    /// Reads an array, unless it holds variants: then up to these. Gives their pointers, and how many there are.
    pub(super) fn open(reader: &mut Reader<'a>, var_type: VarType) -> Result<Option<(Reader<'a>, usize)>> {
        let (_, held) = Self::head(reader, var_type)?;
        match held {
            Some(held) if held.kind() == VarType::VARIANT => {
                let count = reader.count("Size", 4, MAX_VALUES)?;
                let pointers = *reader;
                for _ in 0..count {
                    reader.pointer()?;
                }
                return Ok(Some((pointers, count)));
            }
            Some(held) => _ = held.parse(reader, 0)?,
            None => {}
        }
        Ok(None)
    }

    /// All but the elements, and what these are if there are any.
    fn head(reader: &mut Reader<'a>, var_type: VarType) -> Result<(Self, Option<Held>)> {
        reader.enter("SAFEARRAY");
        let dimensions = reader.count("cDims", 8, MAX_DIMENSIONS)?;
        reader.align_pointer()?;
        reader.u16()?;
        let features = reader.u16()?;
        reader.u32()?;
        let locks = reader.u32()?;
        reader.align_ndr64(8)?;
        let kind = reader.u32()?;
        reader.align_ndr64(8)?;
        reader.u32()?;
        let present = reader.pointer()?;
        let iid = if kind == HAVE_IID {
            Some(Iid(reader.guid()?))
        } else {
            None
        };
        let bounds = (0..dimensions).map(|_| bound(reader)).collect::<Result<_>>()?;
        let of_locks = if features & HAVE_VAR_TYPE == 0 {
            VarType::EMPTY
        } else {
            VarType(u16::try_from(locks >> 16).unwrap_or_default())
        };
        let array = Self {
            features,
            iid,
            bounds,
            elements: Elements::default(),
        };
        let said = [of_locks, var_type];
        Ok((array, present.then_some(Held { kind, said })))
    }
}

/// What an array holds, as its head tells: `sfType`, which gives the width of plain numbers, and what they are, if the
/// widths agree.
struct Held {
    kind: u32,
    said: [VarType; 2],
}

impl Held {
    fn kind(&self) -> VarType {
        VarType(u16::try_from(self.kind & 0x7fff).unwrap_or_default())
    }

    /// [MS-OAUT] 2.2.30.9 SAFEARRAYUNION, the referent of its arm.
    fn parse<'a>(&self, reader: &mut Reader<'a>, depth: usize) -> Result<Elements<'a>> {
        let kind_type = self.kind();
        if let Some(width) = kind_type.scalar_width() {
            let fits = |candidate: &VarType| candidate.scalar_width() == Some(width);
            let var_type = self.said.into_iter().find(fits).unwrap_or(kind_type);
            let count = reader.count("Size", width, MAX_SCALARS)?;
            reader.align(width)?;
            let bytes = reader.bytes(count.saturating_mul(width))?;
            return Ok(Elements::Scalars { var_type, bytes });
        }
        let read: fn(&mut Reader<'a>, usize) -> Result<Variant<'a>> = match kind_type {
            VarType::BSTR => |reader, _| Bstr::parse_blob(reader).map(Variant::Bstr),
            VarType::UNKNOWN => {
                |reader, _| InterfacePointer::parse_referent(reader).map(|it| Variant::Unknown(Some(it)))
            }
            VarType::DISPATCH => {
                |reader, _| InterfacePointer::parse_referent(reader).map(|it| Variant::Dispatch(Some(it)))
            }
            VarType::VARIANT => Variant::parse_nested,
            VarType::RECORD => |reader, _| Record::parse_referent(reader).map(Variant::Record),
            _ => return Err(reader.input().invalid("sfType", self.kind)),
        };
        let absent = match kind_type {
            VarType::BSTR => Variant::Bstr(Bstr::default()),
            VarType::UNKNOWN => Variant::Unknown(None),
            VarType::DISPATCH => Variant::Dispatch(None),
            _ => Variant::Empty,
        };
        let count = reader.count("Size", 4, MAX_VALUES)?;
        let mut values = Vec::new();
        referents(reader, count, &mut values, |reader| read(reader, depth))?;
        let values = values.into_iter().map(|value| value.unwrap_or_else(|| absent.clone()));
        Ok(Elements::Values(values.collect()))
    }
}

fn bound(reader: &mut Reader<'_>) -> Result<SafeArrayBound> {
    Ok(SafeArrayBound {
        count: reader.u32()?,
        lower: reader.u32()?.cast_signed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oaut::round_trips::{every_way, utf16};
    use crate::testing::Writer;

    fn round_trip(array: &SafeArray<'_>, text: &str) {
        let variant = Variant::Array(Some(Box::new(array.clone())));
        for variant in [variant.clone(), Variant::ByRef(Box::new(variant))] {
            every_way(|order, encoding| {
                let mut writer = Writer::new(order, encoding);
                writer.pointer().put(&variant).ndr_u32(7);
                let mut reader = writer.reader();
                let read = Variant::parse(&mut reader).unwrap();
                assert_eq!(read, variant, "{order:?} {encoding:?}");
                assert_eq!((read.to_text().as_str(), reader.u32()), (text, Ok(7)));
            });
        }
    }

    fn array(elements: Elements<'_>) -> SafeArray<'_> {
        let bound = |count, lower| SafeArrayBound { count, lower };
        SafeArray {
            features: HAVE_VAR_TYPE,
            iid: None,
            bounds: vec![bound(u32::try_from(elements.len()).unwrap(), -5), bound(1, 0)],
            elements,
        }
    }

    #[test]
    fn arrays_of_numbers_are_not_copied_and_read_one_by_one() {
        for (var_type, bytes, text) in [
            (VarType::UI1, &[0x4d, 0x5a, 0xff][..], "[77, 90, 255]"),
            (VarType::I2, &[0xff, 0xff, 1, 0], "[-1, 1]"),
            (VarType::BOOL, &[0xff, 0xff, 0, 0], "[true, false]"),
            (VarType::R4, &[0, 0, 0, 0x3f], "[0.5]"),
            (VarType::CY, &[0x14, 0xcd, 0, 0, 0, 0, 0, 0], "[5.2500]"),
        ] {
            round_trip(&array(Elements::Scalars { var_type, bytes }), text);
        }
    }

    #[test]
    fn arrays_of_strings_and_of_variants_are_read() {
        let (a, b) = (utf16("/c"), utf16("whoami"));
        let values = vec![
            Variant::Bstr(Bstr::new(&a)),
            Variant::Bstr(Bstr::default()),
            Variant::Bstr(Bstr::new(&b)),
        ];
        round_trip(&array(Elements::Values(values)), "[/c, , whoami]");
        let inner = array(Elements::Values(vec![Variant::Bstr(Bstr::new(&a))]));
        let values = vec![
            Variant::I4(1),
            Variant::Array(Some(Box::new(inner))),
            Variant::Null,
            Variant::Date(2.0),
        ];
        round_trip(&array(Elements::Values(values)), "[1, [/c], null, 1900-01-01T00:00:00]");
    }

    #[test]
    fn a_type_of_another_width_than_the_elements_is_not_believed() {
        let elements = Elements::Scalars {
            var_type: VarType::UI1,
            bytes: &[1, 2],
        };
        let variant = Variant::Array(Some(Box::new(array(elements))));
        let mut bytes = Writer::new(ByteOrder::Little, Encoding::Ndr20)
            .pointer()
            .put(&variant)
            .bytes();
        // Both say VT_R8: the variant's type and the one in cLocks.
        bytes[16] = 5;
        bytes[50] = 5;
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        assert_eq!(Variant::parse(&mut reader).unwrap().to_text(), "[1, 2]");
    }

    #[test]
    fn counts_of_four_milliards_cost_nothing() {
        let values = Elements::Values(vec![Variant::Bstr(Bstr::default())]);
        let variant = Variant::Array(Some(Box::new(array(values))));
        let bytes = Writer::new(ByteOrder::Little, Encoding::Ndr20)
            .pointer()
            .put(&variant)
            .bytes();
        for at in (0..bytes.len()).step_by(4) {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].fill(0xff);
            let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
            let _ = Variant::parse(&mut reader).map(|it| it.to_text());
        }
    }
}
