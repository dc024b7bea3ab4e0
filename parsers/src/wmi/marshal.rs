//! Parameters that are more than numbers: BSTRs, strings, and references to objects.

use super::wmio::Object;
use crate::dcom::{Objref, Reference};
use crate::error::Result;
use crate::guid::{Clsid, Guid};
use crate::ndr::Reader;
use crate::oaut::Bstr;

/// `CLSID_WbemClassObject` ([MS-WMI] 2.2.4 `IWbemClassObject` Interface): unmarshals an object that travels by value.
pub const CLSID_WBEM_CLASS_OBJECT: Clsid = Clsid(Guid::new(
    0x4590_f812,
    0x1d3a,
    0x11d0,
    [0x89, 0x1f, 0x00, 0xaa, 0x00, 0x4b, 0x2e, 0x24],
));
/// The longest reference read, in bytes: far beyond what is sent, and never beyond what is there.
const MAX_REFERENCE: usize = 1 << 24;

/// [MS-OAUT] 2.2.23 BSTR as a parameter, as text. A null BSTR is None.
pub(super) fn bstr(reader: &mut Reader<'_>) -> Result<Option<String>> {
    let text = Bstr::parse(reader)?;
    Ok((!text.is_null()).then(|| text.to_string().trim_end_matches('\0').to_owned()))
}

/// [MS-DCOM] 2.2.14 `MInterfacePointer` behind its pointer: the bytes of an OBJREF.
pub(super) fn reference<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    if !reader.pointer()? {
        return Ok(None);
    }
    let length = reader.count("abData", 1, MAX_REFERENCE)?;
    reader.u32()?;
    reader.bytes(length).map(Some)
}

/// The same behind a pointer of its own (`[in, out, unique] IWbemClassObject **`).
pub(super) fn reference_behind_pointer<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    if reader.pointer()? { reference(reader) } else { Ok(None) }
}

/// The object in an OBJREF. That it cannot be read is a fact about it alone: the call's other arguments are as good as ever.
pub(super) fn object(objref: Option<&[u8]>) -> Option<Result<Object>> {
    let Objref { reference, .. } = match Objref::parse(objref?) {
        Ok(objref) => objref,
        Err(error) => return Some(Err(error)),
    };
    match reference {
        Reference::Custom { clsid, data } if clsid == CLSID_WBEM_CLASS_OBJECT => Some(Object::parse(data)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn a_bstr_is_little_endian_whatever_the_label_says() {
        let bytes = [
            0, 0, 0, 7, 2, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, b'h', 0, b'i', 0, 0, 0, 0, 9,
        ];
        let mut reader = Reader::new(&bytes, ByteOrder::Big, Encoding::Ndr20, "test");
        assert_eq!(bstr(&mut reader).unwrap().as_deref(), Some("hi"));
        assert_eq!(reader.u32(), Ok(9));
    }

    #[test]
    fn a_null_bstr_is_told_from_an_empty_one() {
        let null = [7, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let mut reader = Reader::new(&null, ByteOrder::Little, Encoding::Ndr20, "test");
        assert_eq!(bstr(&mut reader), Ok(None));
        let empty = [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut reader = Reader::new(&empty, ByteOrder::Little, Encoding::Ndr20, "test");
        assert_eq!(bstr(&mut reader).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn counts_beyond_the_stub_are_refused() {
        let mut reader = Reader::new(&[0xff; 32], ByteOrder::Little, Encoding::Ndr20, "test");
        assert!(bstr(&mut reader).is_err());
        let mut reader = Reader::new(&[0xff; 32], ByteOrder::Little, Encoding::Ndr20, "test");
        assert!(reference(&mut reader).is_err());
    }
}
