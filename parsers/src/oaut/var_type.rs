//! What a variant holds.

use std::fmt;

/// [MS-OAUT] 2.2.7 VARIANT Type Constants: a type, and what it comes in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarType(pub u16);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl VarType {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The specification's name of the type proper, where there is one, without `VT_`.
            pub const fn name(self) -> Option<&'static str> {
                match self.base() { $(Self::$name => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

types! {
    /// Nothing.
    EMPTY = 0x0000;
    /// SQL's null.
    NULL = 0x0001;
    /// 16 bits, signed.
    I2 = 0x0002;
    /// 32 bits, signed.
    I4 = 0x0003;
    /// A float of 32 bits.
    R4 = 0x0004;
    /// A float of 64 bits.
    R8 = 0x0005;
    /// [MS-OAUT] 2.2.24 CURRENCY.
    CY = 0x0006;
    /// [MS-OAUT] 2.2.25 DATE.
    DATE = 0x0007;
    /// [MS-OAUT] 2.2.23 BSTR.
    BSTR = 0x0008;
    /// A reference to an object with `IDispatch`.
    DISPATCH = 0x0009;
    /// An HRESULT; as an argument often one left out.
    ERROR = 0x000a;
    /// [MS-OAUT] 2.2.27 `VARIANT_BOOL`.
    BOOL = 0x000b;
    /// Another variant.
    VARIANT = 0x000c;
    /// A reference to an object.
    UNKNOWN = 0x000d;
    /// [MS-OAUT] 2.2.26 DECIMAL.
    DECIMAL = 0x000e;
    /// 8 bits, signed.
    I1 = 0x0010;
    /// 8 bits.
    UI1 = 0x0011;
    /// 16 bits.
    UI2 = 0x0012;
    /// 32 bits.
    UI4 = 0x0013;
    /// 64 bits, signed.
    I8 = 0x0014;
    /// 64 bits.
    UI8 = 0x0015;
    /// 32 bits, signed.
    INT = 0x0016;
    /// 32 bits.
    UINT = 0x0017;
    /// In a type description: no value.
    VOID = 0x0018;
    /// In a type description: an HRESULT.
    HRESULT = 0x0019;
    /// In a type description: a pointer.
    PTR = 0x001a;
    /// In a type description: an array that knows its bounds.
    SAFEARRAY = 0x001b;
    /// In a type description: an array of fixed size.
    CARRAY = 0x001c;
    /// In a type description: a type with a description of its own.
    USERDEFINED = 0x001d;
    /// In a type description: text of bytes.
    LPSTR = 0x001e;
    /// In a type description: text of 16-bit units.
    LPWSTR = 0x001f;
    /// [MS-OAUT] 2.2.28.2 BRECORD.
    RECORD = 0x0024;
    /// In a type description: a signed integer as wide as a pointer.
    INT_PTR = 0x0025;
    /// In a type description: an integer as wide as a pointer.
    UINT_PTR = 0x0026;
}

impl VarType {
    /// The flag `VT_ARRAY`: a SAFEARRAY of the type.
    pub const ARRAY: u16 = 0x2000;
    /// The flag `VT_BYREF`: a pointer to the type.
    pub const BYREF: u16 = 0x4000;

    /// The type proper.
    #[must_use]
    pub const fn base(self) -> Self {
        Self(self.0 & 0x0fff)
    }

    /// Is it an array?
    pub const fn is_array(self) -> bool {
        self.0 & Self::ARRAY != 0
    }

    /// Is it a pointer to the value?
    pub const fn is_by_ref(self) -> bool {
        self.0 & Self::BYREF != 0
    }

    /// Bytes in one value, of those types that are plain numbers and may be elements of an array.
    pub(super) const fn scalar_width(self) -> Option<usize> {
        match self {
            Self::I1 | Self::UI1 => Some(1),
            Self::I2 | Self::UI2 | Self::BOOL => Some(2),
            Self::I4 | Self::UI4 | Self::R4 | Self::INT | Self::UINT | Self::ERROR => Some(4),
            Self::I8 | Self::UI8 | Self::R8 | Self::CY | Self::DATE => Some(8),
            _ => None,
        }
    }
}

/// `VT_BYREF|VT_ARRAY|VT_UI1`; what has no name as a number.
impl fmt::Display for VarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed = self.0 & !(Self::ARRAY | Self::BYREF | 0x0fff);
        let (Some(name), 0) = (self.name(), unnamed) else {
            return write!(f, "{:#06x}", self.0);
        };
        if self.is_by_ref() {
            f.write_str("VT_BYREF|")?;
        }
        if self.is_array() {
            f.write_str("VT_ARRAY|")?;
        }
        write!(f, "VT_{name}")
    }
}

impl fmt::Debug for VarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_by_name_and_unknown_ones_in_hexadecimal() {
        assert_eq!(VarType(0x6011).to_string(), "VT_BYREF|VT_ARRAY|VT_UI1");
        assert_eq!(VarType(0x0008).to_string(), "VT_BSTR");
        assert_eq!(VarType(0x0fff).to_string(), "0x0fff");
        assert_eq!(VarType(0x9008).to_string(), "0x9008");
    }
}
