//! Writes what the parsers read, for round trips in both byte orders and both encodings.

use super::bstr::Bstr;
use super::safe_array::{Elements, SafeArray};
use super::var_type::VarType;
use super::variant::Variant;
use crate::input::ByteOrder;
use crate::ndr::{Encoding, Reader};

/// "User", as Windows writes a pointer to what a program marshals itself: any number but 0 would do.
const USER: u32 = 0x7265_7355;

pub(super) struct Encoder {
    bytes: Vec<u8>,
    order: ByteOrder,
    encoding: Encoding,
}

/// Runs `check` in both byte orders and both encodings.
pub(super) fn every_way(check: impl Fn(ByteOrder, Encoding)) {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for encoding in [Encoding::Ndr20, Encoding::Ndr64] {
            check(order, encoding);
        }
    }
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

impl Encoder {
    pub(super) fn new(order: ByteOrder, encoding: Encoding) -> Self {
        Self {
            bytes: Vec::new(),
            order,
            encoding,
        }
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, self.order, self.encoding, "test")
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn integer<const N: usize>(&mut self, little: [u8; N]) {
        self.align(N);
        let mut bytes = little;
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
    }

    pub(super) fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0xcc);
    }

    pub(super) fn align_ndr64(&mut self, alignment: usize) {
        if self.encoding == Encoding::Ndr64 {
            self.align(alignment);
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.integer(value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.integer(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.integer(value.to_le_bytes());
    }

    pub(super) fn wide(&mut self, value: u32) {
        match self.encoding {
            Encoding::Ndr20 => self.u32(value),
            Encoding::Ndr64 => self.u64(value.into()),
        }
    }

    pub(super) fn count(&mut self, value: usize) {
        self.wide(u32::try_from(value).unwrap());
    }

    pub(super) fn pointer(&mut self) {
        self.wide(USER);
    }

    /// An ORPCTHIS without extensions.
    pub(super) fn orpc_this(&mut self) {
        self.align_ndr64(8);
        self.u16(5);
        self.u16(7);
        self.u32(0);
        self.u32(0);
        self.u32(0xdead_beef);
        self.u16(1);
        self.u16(2);
        self.raw(&[3; 8]);
        self.wide(0);
    }

    /// An ORPCTHAT without extensions.
    pub(super) fn orpc_that(&mut self) {
        self.u32(0);
        self.wide(0);
    }

    pub(super) fn wide_string(&mut self, text: &str) {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        self.count(units.len());
        self.count(0);
        self.count(units.len());
        for unit in units {
            self.u16(unit);
        }
    }

    fn little_endian(&mut self, write: impl FnOnce(&mut Self)) {
        let order = std::mem::replace(&mut self.order, ByteOrder::Little);
        write(self);
        self.order = order;
    }

    /// A string behind its pointer.
    pub(super) fn bstr(&mut self, text: Bstr<'_>) {
        self.little_endian(|it| {
            let bytes = text.bytes();
            let units = bytes.len().div_ceil(2);
            it.count(units);
            let length = u32::try_from(bytes.len()).unwrap();
            it.u32(if text.is_null() { u32::MAX } else { length });
            it.u32(u32::try_from(units).unwrap());
            it.raw(bytes);
        });
    }

    pub(super) fn variant_pointer(&mut self, _: &Variant<'_>) {
        self.pointer();
    }

    /// A variant behind its pointer.
    pub(super) fn variant(&mut self, variant: &Variant<'_>) {
        self.little_endian(|it| {
            it.align(8);
            let start = it.bytes.len();
            it.u32(0);
            it.u32(0);
            let var_type = type_of(variant).0;
            it.u16(var_type);
            it.raw(&[0; 6]);
            it.align_ndr64(8);
            it.u32(u32::from(if var_type & VarType::ARRAY == 0 {
                var_type
            } else {
                var_type & !0x0fff
            }));
            it.align_ndr64(8);
            it.value(variant);
            let size = u32::try_from((it.bytes.len() - start).div_ceil(8)).unwrap();
            it.bytes[start..start + 4].copy_from_slice(&size.to_le_bytes());
        });
    }

    fn value(&mut self, variant: &Variant<'_>) {
        match variant {
            Variant::Empty | Variant::Null => {}
            Variant::I1(value) => self.u8(value.cast_unsigned()),
            Variant::Ui1(value) => self.u8(*value),
            Variant::I2(value) => self.u16(value.cast_unsigned()),
            Variant::Ui2(value) => self.u16(*value),
            Variant::Bool(value) => self.u16(if *value { 0xffff } else { 0 }),
            Variant::I4(value) | Variant::Int(value) => self.u32(value.cast_unsigned()),
            Variant::Ui4(value) | Variant::Uint(value) | Variant::Error(value) => self.u32(*value),
            Variant::R4(value) => self.u32(value.to_bits()),
            Variant::I8(value) | Variant::Currency(value) => self.u64(value.cast_unsigned()),
            Variant::Ui8(value) => self.u64(*value),
            Variant::R8(value) | Variant::Date(value) => self.u64(value.to_bits()),
            Variant::Bstr(text) => {
                self.pointer();
                self.bstr(*text);
            }
            Variant::Decimal(decimal) => {
                self.align(8);
                self.u16(0);
                self.u8(decimal.scale);
                self.u8(if decimal.negative { 0x80 } else { 0 });
                self.u32(u32::try_from(decimal.magnitude >> 64).unwrap());
                self.u64(u64::try_from(decimal.magnitude & u128::from(u64::MAX)).unwrap());
            }
            Variant::Unknown(None) | Variant::Dispatch(None) => self.wide(0),
            Variant::ByRef(inner) => {
                self.pointer();
                if let Variant::ByRef(_) = **inner {
                    self.pointer();
                    self.variant(inner);
                } else {
                    self.value(inner);
                }
            }
            Variant::Array(Some(array)) => {
                self.pointer();
                self.pointer();
                self.array(array);
            }
            other => panic!("not written: {other:?}"),
        }
    }

    fn array(&mut self, array: &SafeArray<'_>) {
        let element = element_type(array);
        let width = element.scalar_width();
        let kind = match width {
            Some(1) => VarType::I1,
            Some(2) => VarType::I2,
            Some(4) => VarType::I4,
            Some(_) => VarType::I8,
            None => element,
        };
        self.count(array.bounds.len());
        self.align_ndr64(8);
        self.u16(u16::try_from(array.bounds.len()).unwrap());
        self.u16(array.features);
        self.u32(u32::try_from(width.unwrap_or(4)).unwrap());
        self.u32(u32::from(element.0) << 16);
        self.align_ndr64(8);
        self.u32(kind.0.into());
        self.align_ndr64(8);
        self.u32(u32::try_from(array.elements.len()).unwrap());
        self.pointer();
        for bound in &array.bounds {
            self.u32(bound.count);
            self.u32(bound.lower.cast_unsigned());
        }
        self.count(array.elements.len());
        match &array.elements {
            Elements::Scalars { bytes, .. } => {
                self.align(width.unwrap());
                self.raw(bytes);
            }
            Elements::Values(values) => {
                for _ in values {
                    self.pointer();
                }
                for value in values {
                    match value {
                        Variant::Bstr(text) if element == VarType::BSTR => self.bstr(*text),
                        value => self.variant(value),
                    }
                }
            }
        }
    }
}

fn element_type(array: &SafeArray<'_>) -> VarType {
    match &array.elements {
        Elements::Scalars { var_type, .. } => *var_type,
        Elements::Values(values) if values.iter().all(|it| matches!(it, Variant::Bstr(_))) => VarType::BSTR,
        Elements::Values(_) => VarType::VARIANT,
    }
}

fn type_of(variant: &Variant<'_>) -> VarType {
    match variant {
        Variant::Empty => VarType::EMPTY,
        Variant::Null => VarType::NULL,
        Variant::I1(_) => VarType::I1,
        Variant::I2(_) => VarType::I2,
        Variant::I4(_) => VarType::I4,
        Variant::I8(_) => VarType::I8,
        Variant::Ui1(_) => VarType::UI1,
        Variant::Ui2(_) => VarType::UI2,
        Variant::Ui4(_) => VarType::UI4,
        Variant::Ui8(_) => VarType::UI8,
        Variant::Int(_) => VarType::INT,
        Variant::Uint(_) => VarType::UINT,
        Variant::R4(_) => VarType::R4,
        Variant::R8(_) => VarType::R8,
        Variant::Bool(_) => VarType::BOOL,
        Variant::Error(_) => VarType::ERROR,
        Variant::Currency(_) => VarType::CY,
        Variant::Date(_) => VarType::DATE,
        Variant::Bstr(_) => VarType::BSTR,
        Variant::Decimal(_) => VarType::DECIMAL,
        Variant::Unknown(_) => VarType::UNKNOWN,
        Variant::Dispatch(_) => VarType::DISPATCH,
        Variant::Record(_) => VarType::RECORD,
        Variant::ByRef(inner) => match &**inner {
            Variant::ByRef(_) => VarType(VarType::VARIANT.0 | VarType::BYREF),
            inner => VarType(type_of(inner).0 | VarType::BYREF),
        },
        Variant::Array(array) => {
            let element = array.as_ref().map(|array| element_type(array)).unwrap_or_default();
            VarType(element.0 | VarType::ARRAY)
        }
        Variant::Other { var_type, .. } => *var_type,
        Variant::Unread => panic!("nothing to write"),
    }
}
