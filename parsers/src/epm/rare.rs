//! The mapper's other operations, and the request of `ept_lookup`.

use super::operations::{Entry, EntryHead, LookupHandle, MAX_ENTRIES, tower, with_towers};
use super::tower::{Tower, object};
use crate::error::Result;
use crate::guid::Guid;
use crate::ndr::Reader;
use crate::rpce::SyntaxId;

/// [MS-RPCE] 2.2.1.2.4 `ept_lookup` Method: what a lookup goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InquiryType(pub u32);

impl InquiryType {
    /// The specification's name, where there is one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "RPC_C_EP_ALL_ELTS",
            1 => "RPC_C_EP_MATCH_BY_IF",
            2 => "RPC_C_EP_MATCH_BY_OBJ",
            3 => "RPC_C_EP_MATCH_BY_BOTH",
            _ => return None,
        })
    }
}

/// [MS-RPCE] 2.2.1.2.4 `ept_lookup` Method: which versions of the interface will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionOption(pub u32);

impl VersionOption {
    /// The specification's name, where there is one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "RPC_C_VERS_ALL",
            2 => "RPC_C_VERS_COMPATIBLE",
            3 => "RPC_C_VERS_EXACT",
            4 => "RPC_C_VERS_MAJOR_ONLY",
            5 => "RPC_C_VERS_UPTO",
            _ => return None,
        })
    }
}

/// [MS-RPCE] 2.2.1.1.1 `RPC_IF_ID` Type: an interface and its version, as data.
pub(super) fn interface_id(reader: &mut Reader<'_>) -> Result<SyntaxId> {
    let uuid = reader.guid()?;
    let major = reader.u16()?;
    let minor = reader.u16()?;
    Ok(SyntaxId {
        uuid,
        version: u32::from(minor) << 16 | u32::from(major),
    })
}

/// C706 appendix O, [MS-RPCE] 2.2.1.2.4 `ept_lookup` Method (Opnum 2): the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptLookupRequest {
    /// What the lookup goes by.
    pub inquiry_type: InquiryType,
    /// The object asked for, if one was.
    pub object: Option<Guid>,
    /// `Ifid`: the interface asked for, if one was.
    pub interface: Option<SyntaxId>,
    /// Which of its versions.
    pub version_option: VersionOption,
    /// Where the search stands; null in the first call.
    pub handle: LookupHandle,
    /// The most entries the client takes.
    pub max_entries: u32,
}

impl EptLookupRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_lookup request");
        let inquiry_type = InquiryType(reader.u32()?);
        let asked = optional_object(reader)?;
        let interface = if reader.pointer()? {
            Some(interface_id(reader)?)
        } else {
            None
        };
        Ok(Self {
            inquiry_type,
            object: asked,
            interface,
            version_option: VersionOption(reader.u32()?),
            handle: LookupHandle::parse(reader)?,
            max_entries: reader.u32()?,
        })
    }
}

/// C706 appendix O, `ept_insert` (Opnum 0) and `ept_delete` (Opnum 1): the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptChangeRequest {
    /// What is registered or withdrawn.
    pub entries: Vec<Entry>,
    /// `replace`: other entries for the same interface go; only `ept_insert` says.
    pub replace: Option<u32>,
}

impl EptChangeRequest {
    /// Reads the request stub of `ept_insert`.
    pub fn parse_insert(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_insert request");
        Ok(Self {
            entries: entries(reader)?,
            replace: Some(reader.u32()?),
        })
    }

    /// Reads the request stub of `ept_delete`.
    pub fn parse_delete(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_delete request");
        Ok(Self {
            entries: entries(reader)?,
            replace: None,
        })
    }
}

/// C706 appendix O, `ept_lookup_handle_free` (Opnum 4): the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EptLookupHandleFreeRequest {
    /// The search that is over.
    pub handle: LookupHandle,
}

impl EptLookupHandleFreeRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_lookup_handle_free request");
        Ok(Self {
            handle: LookupHandle::parse(reader)?,
        })
    }
}

/// C706 appendix O, `ept_lookup_handle_free` (Opnum 4): the reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EptLookupHandleFreeReply {
    /// The handle, null when it is freed.
    pub handle: LookupHandle,
    /// 0, or why not.
    pub status: u32,
}

impl EptLookupHandleFreeReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_lookup_handle_free reply");
        Ok(Self {
            handle: LookupHandle::parse(reader)?,
            status: reader.u32()?,
        })
    }
}

/// C706 appendix O, `ept_inq_object` (Opnum 5): the reply; the request is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EptInqObjectReply {
    /// The object of the mapper itself.
    pub object: Option<Guid>,
    /// 0, or why not.
    pub status: u32,
}

impl EptInqObjectReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_inq_object reply");
        Ok(Self {
            object: object(reader.guid()?),
            status: reader.u32()?,
        })
    }
}

/// C706 appendix O, `ept_mgmt_delete` (Opnum 6): the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptMgmtDeleteRequest {
    /// `object_speced`: is the object to be looked at?
    pub object_specified: u32,
    /// The object.
    pub object: Option<Guid>,
    /// The registration to withdraw.
    pub tower: Option<Tower>,
}

impl EptMgmtDeleteRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_mgmt_delete request");
        Ok(Self {
            object_specified: reader.u32()?,
            object: optional_object(reader)?,
            tower: if reader.pointer()? { Some(tower(reader)?) } else { None },
        })
    }
}

/// The reply of `ept_insert`, `ept_delete` and `ept_mgmt_delete`: a status and nothing else.
pub fn parse_status(reader: &mut Reader<'_>) -> Result<u32> {
    reader.enter("ept status");
    reader.u32()
}

fn optional_object(reader: &mut Reader<'_>) -> Result<Option<Guid>> {
    if reader.pointer()? {
        reader.guid().map(object)
    } else {
        Ok(None)
    }
}

fn entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>> {
    reader.u32()?; // num_ents
    let heads = reader.array("entries", EntryHead::LEAST, MAX_ENTRIES, EntryHead::parse)?;
    with_towers(reader, heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn numbers_have_the_specifications_names() {
        assert_eq!(InquiryType(3).name(), Some("RPC_C_EP_MATCH_BY_BOTH"));
        assert_eq!(VersionOption(2).name(), Some("RPC_C_VERS_COMPATIBLE"));
        assert_eq!((InquiryType(4).name(), VersionOption(0).name()), (None, None));
    }

    #[test]
    fn a_real_lookup_asks_for_everything() {
        let bytes = include_bytes!("../../corpus/epm/ept-lookup-request.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = EptLookupRequest::parse(&mut reader).unwrap();
        assert_eq!(request.inquiry_type, InquiryType(0));
        assert!(request.handle.is_null() && reader.rest().is_empty());
    }
}
