//! `IDispatch` but for the call itself: names to numbers, and the way to type information.

use std::fmt;

use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::Result;
use crate::guid::Iid;
use crate::ndr::Reader;

/// The most names in one request: the range that [MS-OAUT] 3.1.4.3 gives `cNames`.
const MAX_NAMES: usize = 16_384;

/// [MS-OAUT] 2.2.32 DISPID and [MS-OAUT] 2.2.35 MEMBERID: a member of an object, or a parameter of one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dispid(pub i32);

impl Dispid {
    /// `DISPID_VALUE`: the default member.
    pub const VALUE: Self = Self(0);
    /// `DISPID_UNKNOWN`: no such name. As a MEMBERID, `MEMBERID_NIL`: the type itself.
    pub const UNKNOWN: Self = Self(-1);
    /// `DISPID_PROPERTYPUT`: the argument that is assigned.
    pub const PROPERTY_PUT: Self = Self(-3);
    /// `DISPID_NEWENUM`: asks for an `IEnumVARIANT` over a collection.
    pub const NEW_ENUM: Self = Self(-4);

    /// The name in [MS-OAUT] 2.2.32.1 Reserved DISPIDs, where there is one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::VALUE => Some("DISPID_VALUE"),
            Self::UNKNOWN => Some("DISPID_UNKNOWN"),
            Self::PROPERTY_PUT => Some("DISPID_PROPERTYPUT"),
            Self::NEW_ENUM => Some("DISPID_NEWENUM"),
            _ => None,
        }
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self(reader.u32()?.cast_signed()))
    }
}

/// The reserved name, or the number in hexadecimal.
impl fmt::Display for Dispid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Dispid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

bitflags::bitflags! {
    /// `dwFlags` of [MS-OAUT] 3.1.4.4 `IDispatch::Invoke` (Opnum 6). Visual Basic and the shells built on it send
    /// `METHOD` and `PROPERTY_GET` together, against the letter of the specification.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct InvokeFlags: u32 {
        /// Call a method.
        const METHOD = 0x1;
        /// Read a property.
        const PROPERTY_GET = 0x2;
        /// Assign a value to a property.
        const PROPERTY_PUT = 0x4;
        /// Assign a reference to a property.
        const PROPERTY_PUT_REF = 0x8;
        /// The client does not want the result.
        const ZERO_VAR_RESULT = 0x0002_0000;
        /// The client does not want to hear of exceptions.
        const ZERO_EXCEP_INFO = 0x0004_0000;
        /// The client does not want to know which argument was wrong.
        const ZERO_ARG_ERR = 0x0008_0000;
        const _ = !0;
    }
}

/// The reply of [MS-OAUT] 3.1.4.1 `IDispatch::GetTypeInfoCount` (Opnum 3); the request is bare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetTypeInfoCountReply {
    /// 0 or 1: is there type information?
    pub count: u32,
    /// What became of the call.
    pub hresult: u32,
}

impl GetTypeInfoCountReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("GetTypeInfoCount reply");
        Ok(Self {
            count: reader.u32()?,
            hresult: reader.u32()?,
        })
    }
}

/// The request of [MS-OAUT] 3.1.4.2 `IDispatch::GetTypeInfo` (Opnum 4); an [`InterfaceReply`](super::InterfaceReply)
/// answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetTypeInfoRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `iTInfo`: 0.
    pub index: u32,
    /// The language of the names.
    pub lcid: u32,
}

impl GetTypeInfoRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("GetTypeInfo request");
        Ok(Self {
            orpc_this,
            index: reader.u32()?,
            lcid: reader.u32()?,
        })
    }
}

/// The request of [MS-OAUT] 3.1.4.3 `IDispatch::GetIDsOfNames` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetIdsOfNamesRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// Null.
    pub iid: Iid,
    /// The member's name, and behind it those of parameters.
    pub names: Vec<String>,
    /// The language of the names.
    pub lcid: u32,
}

impl GetIdsOfNamesRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("GetIDsOfNames request");
        let iid = Iid(reader.guid()?);
        let count = reader.count("rgszNames", 4, MAX_NAMES)?;
        let mut names = Vec::new();
        super::referents(reader, count, &mut names, Reader::wide_string)?;
        let names = names.into_iter().map(Option::unwrap_or_default).collect();
        reader.u32()?; // cNames
        Ok(Self {
            orpc_this,
            iid,
            names,
            lcid: reader.u32()?,
        })
    }
}

/// The reply of [MS-OAUT] 3.1.4.3 `IDispatch::GetIDsOfNames` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetIdsOfNamesReply {
    /// One for each name; [`Dispid::UNKNOWN`] for a name that is not known.
    pub dispids: Vec<Dispid>,
    /// What became of the call.
    pub hresult: u32,
}

impl GetIdsOfNamesReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("GetIDsOfNames reply");
        let count = reader.count("rgDispId", 4, MAX_NAMES)?;
        let dispids = (0..count).map(|_| Dispid::parse(reader)).collect::<Result<_>>()?;
        Ok(Self {
            dispids,
            hresult: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test")
    }

    #[test]
    fn real_names_are_asked_for_and_their_numbers_come_back() {
        let bytes = include_bytes!("../../corpus/oaut/get-ids-execute-shell-command-request.bin");
        let mut stub = reader(bytes);
        let request = GetIdsOfNamesRequest::parse(&mut stub).unwrap();
        assert_eq!(
            (request.names, request.lcid),
            (vec!["ExecuteShellCommand".to_owned()], 0)
        );
        assert!(request.iid.0.is_null() && stub.rest().is_empty());
        let bytes = include_bytes!("../../corpus/oaut/get-ids-execute-shell-command-reply.bin");
        let reply = GetIdsOfNamesReply::parse(&mut reader(bytes)).unwrap();
        assert_eq!((reply.dispids, reply.hresult), (vec![Dispid(54)], 0));
    }

    #[test]
    fn a_name_that_is_not_known_comes_back_as_unknown() {
        let bytes = include_bytes!("../../corpus/oaut/get-ids-unknown-name-request.bin");
        assert_eq!(
            GetIdsOfNamesRequest::parse(&mut reader(bytes)).unwrap().names,
            ["NoSuchMember"]
        );
        let bytes = include_bytes!("../../corpus/oaut/get-ids-unknown-name-reply.bin");
        let reply = GetIdsOfNamesReply::parse(&mut reader(bytes)).unwrap();
        assert_eq!((reply.dispids, reply.hresult), (vec![Dispid::UNKNOWN], 0x8002_0006));
    }

    #[test]
    fn numbers_print_as_documentation_names_them() {
        assert_eq!(Dispid(54).to_string(), "0x36");
        assert_eq!(Dispid(0x6002_0002).to_string(), "0x60020002");
        assert_eq!(Dispid(-4).to_string(), "DISPID_NEWENUM");
    }
}
