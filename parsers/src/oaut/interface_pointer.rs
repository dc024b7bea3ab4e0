//! References to objects, as arguments and as results.

use std::fmt;

use memchr::memmem;

use crate::dcom::{Objref, OrpcThat, OrpcThis};
use crate::error::Result;
use crate::guid::Iid;
use crate::input::{ByteOrder, Input};
use crate::ndr::Reader;

/// The longest reference read.
const MAX_OBJREF: usize = 1 << 20;

/// [MS-DCOM] 2.2.14 `MInterfacePointer`: the bytes of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfacePointer<'a> {
    bytes: &'a [u8],
}

impl<'a> InterfacePointer<'a> {
    #[cfg(test)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Reads the pointer and right behind it what it points to; None when it is null.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Option<Self>> {
        if !reader.pointer()? {
            return Ok(None);
        }
        Self::parse_referent(reader).map(Some)
    }

    /// Reads what the pointer points to.
    pub(super) fn parse_referent(reader: &mut Reader<'a>) -> Result<Self> {
        reader.enter("MInterfacePointer");
        let length = reader.count("abData", 1, MAX_OBJREF)?;
        reader.u32()?;
        Ok(Self {
            bytes: reader.bytes(length)?,
        })
    }

    /// Those that stand in a stub that nobody knows how to read, whole and with both of their lengths before them.
    pub fn all_in(stub: &'a [u8], order: ByteOrder) -> impl Iterator<Item = Self> {
        memmem::find_iter(stub, b"MEOW").filter_map(move |at| {
            let before = |length: usize| stub.get(at.checked_sub(length)?..);
            let u32_at = |at: Option<&'a [u8]>| Input::new(at?, order, "MInterfacePointer").u32().ok();
            let length = u32_at(before(4))?;
            let bytes = stub.get(at..at.checked_add(usize::try_from(length).ok()?)?)?;
            // Before `ulCntData` stands the array's own length: four bytes, or eight of NDR64.
            let ndr20 = || u32_at(before(8)) == Some(length);
            let ndr64 = || Input::new(before(12)?, order, "MInterfacePointer").u64().ok();
            (at % 4 == 0 && (ndr20() || ndr64() == Some(length.into()))).then_some(Self { bytes })
        })
    }

    /// The bytes of the OBJREF.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The reference itself. A reference that cannot be read does not take the other arguments with it, so it is read
    /// only here. Who follows the object asks for nothing else.
    pub fn objref(self) -> Result<Objref<'a>> {
        Objref::parse_reference(self.bytes)
    }
}

/// The IPID it leads to.
impl fmt::Display for InterfacePointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.objref() {
            Ok(objref) => match objref.std() {
                Some(std) => std.ipid.fmt(f),
                None => f.write_str("custom"),
            },
            Err(_) => f.write_str("?"),
        }
    }
}

/// The request of `IClassFactory::RemoteCreateInstance` and of `IClassFactory2`'s, both opnum 3 (Windows SDK, unknwn.idl
/// and ocidl.idl), and of [MS-OAUT] 3.7.4.11 `ITypeInfo::CreateInstance` (Opnum 16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateInstanceRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// The interface wanted.
    pub iid: Iid,
}

impl CreateInstanceRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("CreateInstance request");
        Ok(Self {
            orpc_this,
            iid: Iid(reader.guid()?),
        })
    }
}

/// The reply of every method that answers with one object and nothing else: `CreateInstance` of class factories and of
/// `ITypeInfo`, [MS-OAUT] 3.1.4.2 `IDispatch::GetTypeInfo` (Opnum 4), `IProvideClassInfo::GetClassInfo` (opnum 3; Windows
/// SDK, ocidl.idl), [MS-OAUT] 3.3.4.4 `IEnumVARIANT::Clone` (Opnum 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceReply<'a> {
    /// The object.
    pub interface: Option<InterfacePointer<'a>>,
    /// What became of the call.
    pub hresult: u32,
}

impl<'a> InterfaceReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        let interface = InterfacePointer::parse(reader)?;
        reader.enter("interface reply");
        Ok(Self {
            interface,
            hresult: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Guid;
    use crate::ndr::Encoding;

    #[test]
    fn a_real_reference_shows_as_its_ipid() {
        let stub = include_bytes!("../../corpus/oaut/invoke-get-document-reply.bin");
        let start = stub.windows(4).position(|bytes| bytes == b"MEOW").unwrap();
        let length = usize::from(stub[start - 4]);
        let objref = &stub[start..start + length];
        let pointer = InterfacePointer::new(objref);
        assert_eq!(pointer.objref().unwrap().iid, Iid(Guid::com(0x0002_0400)));
        assert_eq!(pointer.to_string(), "2888eccd-01f8-0000-382f-78a3a6aa8160");
    }

    #[test]
    fn references_are_found_by_their_lengths() {
        let found = |bytes: &[u8], order| {
            InterfacePointer::all_in(bytes, order)
                .map(|it| it.bytes().len())
                .collect()
        };
        let stub = include_bytes!("../../corpus/oaut/invoke-get-document-reply.bin");
        let lengths: Vec<usize> = found(stub, ByteOrder::Little);
        assert_eq!(lengths.len(), 1);
        let length = u32::try_from(lengths[0]).unwrap();
        let start = stub.windows(4).position(|bytes| bytes == b"MEOW").unwrap();
        let objref = &stub[start..start + lengths[0]];
        let with = |lengths: &[&[u8]]| [&lengths.concat(), objref].concat();
        let none: Vec<usize> = Vec::new();
        let (little, big) = (length.to_le_bytes(), length.to_be_bytes());
        for (bytes, order, is_there) in [
            (with(&[&little, &little]), ByteOrder::Little, true),
            (with(&[&big, &big]), ByteOrder::Big, true),
            (with(&[&little, &[0; 4], &little]), ByteOrder::Little, true),
            (with(&[&[0; 4], &big, &big]), ByteOrder::Big, true),
            (with(&[&[0; 4], &little]), ByteOrder::Little, false),
            (with(&[&little]), ByteOrder::Little, false),
            (with(&[&[0], &little, &little]), ByteOrder::Little, false),
            (objref.to_vec(), ByteOrder::Little, false),
        ] {
            let expected = if is_there { &lengths } else { &none };
            assert_eq!(&found(&bytes, order), expected, "{bytes:?}");
            assert_eq!(found(&bytes[..bytes.len() - 1], order), none);
        }
    }

    #[test]
    fn a_broken_reference_is_told_only_when_it_is_asked_for() {
        let bytes = [1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, b'W', b'O', b'E', b'M'];
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let pointer = InterfacePointer::parse(&mut reader).unwrap().unwrap();
        assert!(pointer.objref().is_err());
        assert_eq!(pointer.to_string(), "?");
    }
}
