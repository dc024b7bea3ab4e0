//! GUIDs and the identifiers made of them, each a type of its own: an IPID cannot be passed for an IID.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A GUID ([MS-DTYP] 2.3.4, C706 appendix A). Ordered and printed as text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guid {
    /// The first eight hexadecimal digits.
    pub data1: u32,
    /// The second group.
    pub data2: u16,
    /// The third group.
    pub data3: u16,
    /// The last two groups, byte by byte.
    pub data4: [u8; 8],
}

impl Guid {
    /// All zeroes: `GUID_NULL`.
    pub const NULL: Self = Self {
        data1: 0,
        data2: 0,
        data3: 0,
        data4: [0; 8],
    };

    /// One of the many identifiers of COM itself: `xxxxxxxx-0000-0000-c000-000000000046`.
    pub const fn com(data1: u32) -> Self {
        Self {
            data1,
            data2: 0,
            data3: 0,
            data4: [0xc0, 0, 0, 0, 0, 0, 0, 0x46],
        }
    }

    /// From its parts.
    pub const fn new(data1: u32, data2: u16, data3: u16, data4: [u8; 8]) -> Self {
        Self {
            data1,
            data2,
            data3,
            data4,
        }
    }

    /// Reads `12345678-9abc-def0-0102-030405060708`, in either case, with or without braces.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let mut number = 0_u128;
        for (place, byte) in text.bytes().enumerate() {
            if matches!(place, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return None;
                }
            } else {
                number = (number << 4) | u128::from(char::from(byte).to_digit(16)?);
            }
        }
        (text.len() == 36).then(|| Self::from_number(number))
    }

    /// Its digits as one number: ordered as they are, and faster to compare.
    pub fn number(self) -> u128 {
        (u128::from(self.data1) << 96)
            | (u128::from(self.data2) << 80)
            | (u128::from(self.data3) << 64)
            | u128::from(u64::from_be_bytes(self.data4))
    }

    fn from_number(number: u128) -> Self {
        let short = |shift: u32| u16::try_from((number >> shift) & u128::from(u16::MAX)).unwrap_or_default();
        let last = u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            data1: u32::try_from(number >> 96).unwrap_or_default(),
            data2: short(80),
            data3: short(64),
            data4: last.to_be_bytes(),
        }
    }

    /// As it is printed. Logs are full of them.
    #[allow(clippy::many_single_char_names, reason = "they are digits, in a row")]
    pub fn text(self) -> [u8; 36] {
        let [p, q, r, s, t, u, v, w] = self.data4;
        let [a, b, c, d, e, f, g, h] = hexadecimal(self.data1);
        let [i, j, k, l, m, n, o, z] = hexadecimal((u32::from(self.data2) << 16) | u32::from(self.data3));
        let [p0, p1, q0, q1, r0, r1, s0, s1] = hexadecimal(u32::from_be_bytes([p, q, r, s]));
        let [t0, t1, u0, u1, v0, v1, w0, w1] = hexadecimal(u32::from_be_bytes([t, u, v, w]));
        [
            a, b, c, d, e, f, g, h, b'-', i, j, k, l, b'-', m, n, o, z, b'-', p0, p1, q0, q1, b'-', r0, r1, s0, s1, t0,
            t1, u0, u1, v0, v1, w0, w1,
        ]
    }

    /// Is every bit zero?
    pub fn is_null(self) -> bool {
        self == Self::NULL
    }
}

/// As two numbers: tables look for GUIDs all the time.
impl Hash for Guid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let groups = (u64::from(self.data1) << 32) | (u64::from(self.data2) << 16) | u64::from(self.data3);
        state.write_u64(groups);
        state.write_u64(u64::from_be_bytes(self.data4));
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// The eight hexadecimal digits of a number, all at a time.
pub fn hexadecimal(number: u32) -> [u8; 8] {
    // Each digit gets a byte of its own; those above nine are letters.
    let mut digits = u64::from(number);
    digits = (digits | (digits << 16)) & 0x0000_ffff_0000_ffff;
    digits = (digits | (digits << 8)) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | (digits << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (digits.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    digits
        .wrapping_add(0x3030_3030_3030_3030)
        .wrapping_add(letters.wrapping_mul(u64::from(b'a' - b'9' - 1)))
        .to_be_bytes()
}

macro_rules! identifier {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Guid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

identifier! {
    /// [MS-DCOM] 2.2.6 CID: ties the calls of one logical thread together.
    Causality;
    /// [MS-DCOM] 2.2.7 CLSID: names an object class.
    Clsid;
    /// [MS-DCOM] 2.2.8 IID: names an interface.
    Iid;
    /// [MS-DCOM] 2.2.9 IPID: names one interface of one object, within its exporter.
    Ipid;
}

macro_rules! number64 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{:016x}", self.0)
            }
        }
    )*};
}

number64! {
    /// [MS-DCOM] 2.2.1 OID: names an object.
    Oid;
    /// [MS-DCOM] 2.2.10 OXID: names an object exporter, in practice a process.
    Oxid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_the_same() {
        let text = "49b2791a-b1ae-4c90-9b8e-e860ba07f889";
        assert_eq!(Guid::parse(text).unwrap().to_string(), text);
        assert_eq!(Guid::parse("{49B2791A-B1AE-4C90-9B8E-E860BA07F889}"), Guid::parse(text));
    }

    #[test]
    fn numbers_are_ordered_as_guids_are() {
        let text = [
            "00000000-0000-0000-0000-000000000001",
            "00000000-0000-0001-0000-000000000000",
            "49b2791a-b1ae-4c90-9b8e-e860ba07f889",
            "49b2791a-b1af-4c90-9b8e-e860ba07f889",
            "f9b2791a-b1ae-4c90-9b8e-e860ba07f889",
        ];
        let guids = text.map(|text| Guid::parse(text).unwrap());
        assert!(guids.is_sorted() && guids.is_sorted_by_key(|guid| guid.number()));
        assert_eq!(guids.map(|guid| Guid::from_number(guid.number())), guids);
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(hexadecimal(number), *format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn what_is_no_guid_is_refused() {
        for text in [
            "",
            "49b2791a",
            "49b2791a-b1ae-4c90-9b8e-e860ba07f88",
            "49b2791a-b1ae-4c90-9b8e-e860ba07f889-",
            "+9b2791a-b1ae-4c90-9b8e-e860ba07f889",
        ] {
            assert_eq!(Guid::parse(text), None, "{text:?}");
        }
    }
}
