//! Monikers of URLs, passed by value.

use super::{Objref, Reference};
use crate::error::Result;
use crate::guid::{Clsid, Guid};
use crate::input::{ByteOrder, Input};
use crate::utf16;

/// What unmarshals one ([MS-OSHARED] 2.3.7.6 `URLMoniker`).
const CLSID_URL_MONIKER: Clsid = Clsid(Guid::new(
    0x79ea_c9e0,
    0xbaf9,
    0x11ce,
    [0x8c, 0x82, 0x00, 0xaa, 0x00, 0x4b, 0xa9, 0x0b],
));
/// The longest URL read, in 16-bit units. Script stands in some.
const MAX_UNITS: usize = 1 << 20;

/// [MS-OSHARED] 2.3.7.6 `URLMoniker`: the URL, up to its terminator. What follows it says how it is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlMoniker {
    /// The URL.
    pub url: String,
}

impl UrlMoniker {
    /// Reads what a moniker's reference carries.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "URLMoniker");
        let length = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
        // It counts what follows the URL too, where that is there.
        let units = length.min(input.remaining()).min(MAX_UNITS * 2) / 2;
        let units = input.units(units)?;
        let url = units.split(|&unit| unit == 0).next().unwrap_or_default();
        Ok(Self { url: utf16::text(url) })
    }

    /// The moniker that a reference carries, if it is one by value.
    pub fn of(objref: &Objref<'_>) -> Option<Self> {
        match objref.reference {
            Reference::Custom { clsid, data } if clsid == CLSID_URL_MONIKER => Self::parse(data).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Iid;

    fn moniker(url: &str, behind: &[u8]) -> Vec<u8> {
        let text: Vec<u8> = url.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let length = u32::try_from(text.len() + behind.len()).unwrap();
        [&length.to_le_bytes()[..], &text, behind].concat()
    }

    #[test]
    fn a_url_ends_at_its_terminator_whatever_follows() {
        for behind in [&[][..], &[7; 24]] {
            let bytes = moniker("http://192.0.2.66/x.hta", behind);
            assert_eq!(UrlMoniker::parse(&bytes).unwrap().url, "http://192.0.2.66/x.hta");
        }
        let cut = moniker("http://192.0.2.66/x.hta", &[]);
        assert_eq!(UrlMoniker::parse(&cut[..12]).unwrap().url, "http");
        assert!(UrlMoniker::parse(&cut[..3]).is_err());
    }

    #[test]
    fn only_a_reference_of_this_unmarshaler_is_one() {
        let data = moniker("file:///x", &[]);
        let reference = |clsid| Objref {
            iid: Iid(Guid::com(0xf)),
            reference: Reference::Custom { clsid, data: &data },
        };
        let of = |clsid| UrlMoniker::of(&reference(clsid)).map(|moniker| moniker.url);
        assert_eq!(of(CLSID_URL_MONIKER).as_deref(), Some("file:///x"));
        assert_eq!(of(Clsid(Guid::com(0x303))), None, "a file's");
    }
}
