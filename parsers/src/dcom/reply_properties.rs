//! The properties of an activation reply.

use super::dual_string::DualStringArray;
use super::objref::interface_pointer;
use super::orpc::ComVersion;
use super::properties::MAX_INTERFACES;
use crate::error::Result;
use crate::guid::{Iid, Ipid, Oxid};
use crate::ndr::{Reader, type_serialization_1};

/// [MS-DCOM] 2.2.22.2.8.1 `customREMOTE_REPLY_SCM_INFO`: the exporter that will serve the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScmReplyInfo {
    /// The exporter.
    pub oxid: Oxid,
    /// Where it listens.
    pub bindings: DualStringArray,
    /// Its `IRemUnknown`, shared by all its objects.
    pub ipid_rem_unknown: Ipid,
    /// The authentication level it wants.
    pub authn_hint: u32,
    /// Its version.
    pub server_version: ComVersion,
}

impl ScmReplyInfo {
    /// [MS-DCOM] 2.2.22.2.8 `ScmReplyInfoData`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut reader = type_serialization_1(bytes, "ScmReplyInfoData")?;
        reader.pointer()?; // pdwReserved
        if !reader.pointer()? {
            return Ok(None);
        }
        reader.enter("customREMOTE_REPLY_SCM_INFO");
        let oxid = Oxid(reader.u64()?);
        let has_bindings = reader.pointer()?;
        let ipid_rem_unknown = Ipid(reader.guid()?);
        let authn_hint = reader.u32()?;
        let server_version = ComVersion::parse(&mut reader)?;
        let bindings = if has_bindings {
            DualStringArray::parse_ndr(&mut reader)?
        } else {
            DualStringArray::default()
        };
        Ok(Some(Self {
            oxid,
            bindings,
            ipid_rem_unknown,
            authn_hint,
            server_version,
        }))
    }
}

/// An IID, its HRESULT, and the bytes of its OBJREF.
pub(super) type PropOut<'a> = (Iid, u32, Option<&'a [u8]>);

/// [MS-DCOM] 2.2.22.2.9 `PropsOutInfo`: for each interface its IID, its result and the bytes of its OBJREF.
pub(super) fn props_out(bytes: &[u8]) -> Result<Vec<PropOut<'_>>> {
    let mut reader = type_serialization_1(bytes, "PropsOutInfo")?;
    reader.u32()?; // cIfs
    let (has_iids, has_results, has_interfaces) = (reader.pointer()?, reader.pointer()?, reader.pointer()?);
    let mut iids = Vec::new();
    if has_iids {
        iids = reader.array("piid", 16, MAX_INTERFACES, |reader| reader.guid().map(Iid))?;
    }
    let mut results = Vec::new();
    if has_results {
        results = reader.array("phresults", 4, MAX_INTERFACES, Reader::u32)?;
    }
    let mut objrefs = Vec::new();
    if has_interfaces {
        objrefs = interface_pointers(&mut reader, "ppIntfData")?;
    }
    let mut objrefs = objrefs.into_iter();
    let each = iids.into_iter().zip(results);
    Ok(each
        .map(|(iid, result)| (iid, result, objrefs.next().flatten()))
        .collect())
}

/// A conformant array of pointers to `MInterfacePointer`s, and these behind it: the bytes of each OBJREF.
pub(super) fn interface_pointers<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Vec<Option<&'a [u8]>>> {
    let present = reader.array(field, 4, MAX_INTERFACES, Reader::pointer)?;
    present
        .into_iter()
        .map(|there| {
            if there {
                interface_pointer(reader).map(Some)
            } else {
                Ok(None)
            }
        })
        .collect()
}
