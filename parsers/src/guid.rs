//! GUIDs and the identifiers made of them, each a type of its own: an IPID cannot be passed for an IID.

use std::fmt;

/// A GUID ([MS-DTYP] 2.3.4, C706 appendix A). Ordered and printed as text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        let mut groups = text.split('-');
        let mut group = |digits: usize| {
            let group = groups.next()?;
            let hexadecimal = group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
            if hexadecimal {
                u64::from_str_radix(group, 16).ok()
            } else {
                None
            }
        };
        let data1 = u32::try_from(group(8)?).ok()?;
        let data2 = u16::try_from(group(4)?).ok()?;
        let data3 = u16::try_from(group(4)?).ok()?;
        let data4 = (group(4)? << 48) | group(12)?;
        groups.next().is_none().then_some(Self {
            data1,
            data2,
            data3,
            data4: data4.to_be_bytes(),
        })
    }

    /// Is every bit zero?
    pub fn is_null(self) -> bool {
        self == Self::NULL
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data4 = u64::from_be_bytes(self.data4);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            self.data1,
            self.data2,
            self.data3,
            data4 >> 48,
            data4 & 0xffff_ffff_ffff
        )
    }
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
