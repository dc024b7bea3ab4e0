//! The activation properties: what an activation request and its reply are made of.

use super::dual_string::DualStringArray;
use super::objref::{Objref, Reference, interface_pointer};
use super::orpc::ComVersion;
use crate::error::{ErrorKind, Result};
use crate::guid::{Clsid, Guid, Iid, Ipid, Oxid};
use crate::input::{ByteOrder, Input};
use crate::names::known;
use crate::ndr::{Reader, type_serialization_1};

/// `MAX_ACTPROP_LIMIT` of [MS-DCOM] 2.2.28.1 is 10; twice that is still a request.
const MAX_PROPERTIES: usize = 20;
/// `MAX_REQUESTED_INTERFACES` of [MS-DCOM] 2.2.28.1.
const MAX_INTERFACES: usize = 0x8000;

/// [MS-DCOM] 2.2.22 Activation Properties BLOB, cut into its properties.
pub(super) struct Blob<'a> {
    /// Property CLSID and serialized property.
    properties: Vec<(Guid, &'a [u8])>,
}

impl<'a> Blob<'a> {
    /// Reads the blob out of the OBJREF that carries it; `unmarshaler` tells a request's from a reply's.
    pub(super) fn parse(objref: &'a [u8], unmarshaler: Guid) -> Result<Self> {
        let objref = Objref::parse(objref)?;
        let Reference::Custom { clsid, data } = objref.reference else {
            return Err(Input::new(&[], ByteOrder::Little, "activation properties").invalid("flags", 1_u32));
        };
        if clsid.0 != unmarshaler {
            return Err(Input::new(&[], ByteOrder::Little, "activation properties").invalid("clsid", clsid.0.data1));
        }
        let mut input = Input::new(data, ByteOrder::Little, "activation properties");
        input.skip(8)?;
        let header = input.rest();
        let (header_length, directory) = custom_header(header)?;
        input.skip(header_length)?;
        input.enter("activation properties");
        let properties = directory
            .into_iter()
            .map(|(clsid, size)| Ok((clsid, input.take(size)?)))
            .collect::<Result<_>>()?;
        Ok(Self { properties })
    }

    /// The serialized property called `clsid`.
    pub(super) fn property(&self, clsid: Guid) -> Option<&'a [u8]> {
        self.properties
            .iter()
            .find(|(name, _)| *name == clsid)
            .map(|(_, bytes)| *bytes)
    }
}

/// [MS-DCOM] 2.2.22.1 `CustomHeader`: its length, and CLSID and size of each property.
fn custom_header(bytes: &[u8]) -> Result<(usize, Vec<(Guid, usize)>)> {
    let mut reader = type_serialization_1(bytes, "CustomHeader")?;
    reader.u32()?; // totalSize
    let header_length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    reader.u32()?; // dwReserved
    reader.u32()?; // destCtx
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count > MAX_PROPERTIES {
        return Err(reader.input().error(ErrorKind::Limit {
            field: "cIfs",
            max: MAX_PROPERTIES,
        }));
    }
    reader.guid()?; // classInfoClsid
    let (has_clsids, has_sizes) = (reader.pointer()?, reader.pointer()?);
    reader.pointer()?; // pdwReserved
    if !has_clsids || !has_sizes {
        return Err(reader.input().invalid("pclsid", 0_u32));
    }
    reader.count("pclsid", 16, MAX_PROPERTIES)?;
    let clsids = (0..count).map(|_| reader.guid()).collect::<Result<Vec<_>>>()?;
    reader.count("pSizes", 4, MAX_PROPERTIES)?;
    let sizes = (0..count).map(|_| reader.u32()).collect::<Result<Vec<_>>>()?;
    let sizes = sizes
        .into_iter()
        .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    Ok((header_length, clsids.into_iter().zip(sizes).collect()))
}

/// [MS-DCOM] 2.2.22.2.1 `InstantiationInfoData`: which class, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstantiationInfo {
    /// `classId`: the class to activate.
    pub clsid: Clsid,
    /// `classCtx`: `CLSCTX_*` flags.
    pub class_context: u32,
    /// `pIID`: the interfaces wanted.
    pub iids: Vec<Iid>,
    /// `clientCOMVersion`.
    pub client_version: ComVersion,
}

impl InstantiationInfo {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "InstantiationInfoData")?;
        let clsid = Clsid(reader.guid()?);
        let class_context = reader.u32()?;
        reader.u32()?; // actvflags
        reader.u32()?; // fIsSurrogate
        reader.u32()?; // cIID
        reader.u32()?; // instFlag
        let has_iids = reader.pointer()?;
        reader.u32()?; // thisSize
        let client_version = ComVersion::parse(&mut reader)?;
        let mut iids = Vec::new();
        if has_iids {
            let count = reader.count("pIID", 16, MAX_INTERFACES)?;
            iids = (0..count).map(|_| reader.guid().map(Iid)).collect::<Result<_>>()?;
        }
        Ok(Self {
            clsid,
            class_context,
            iids,
            client_version,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.2 `SpecialPropertiesData`: the session the object is to run in, `0xFFFFFFFF` when none is asked for.
pub(super) fn session_id(bytes: &[u8]) -> Result<u32> {
    type_serialization_1(bytes, "SpecialPropertiesData")?.u32()
}

/// [MS-DCOM] 2.2.22.2.7 `SecurityInfoData` with its 2.2.22.2.7.1 COSERVERINFO: the name the client gave the server.
pub(super) fn server_name(bytes: &[u8]) -> Result<Option<String>> {
    let mut reader = type_serialization_1(bytes, "SecurityInfoData")?;
    reader.u32()?; // dwAuthnFlags
    let has_server = reader.pointer()?;
    reader.pointer()?; // pdwReserved
    if !has_server {
        return Ok(None);
    }
    reader.enter("COSERVERINFO");
    reader.u32()?; // dwReserved1
    let has_name = reader.pointer()?;
    reader.pointer()?; // pdwReserved
    reader.u32()?; // dwReserved2
    if has_name {
        reader.wide_string().map(Some)
    } else {
        Ok(None)
    }
}

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
        let count = reader.count("piid", 16, MAX_INTERFACES)?;
        iids = (0..count).map(|_| reader.guid().map(Iid)).collect::<Result<_>>()?;
    }
    let mut results = Vec::new();
    if has_results {
        let count = reader.count("phresults", 4, MAX_INTERFACES)?;
        results = (0..count).map(|_| reader.u32()).collect::<Result<_>>()?;
    }
    let mut objrefs = Vec::new();
    if has_interfaces {
        let count = reader.count("ppIntfData", 4, MAX_INTERFACES)?;
        let present = (0..count).map(|_| reader.pointer()).collect::<Result<Vec<_>>>()?;
        for there in present {
            objrefs.push(if there {
                Some(interface_pointer(&mut reader)?)
            } else {
                None
            });
        }
    }
    let mut objrefs = objrefs.into_iter();
    let each = iids.into_iter().zip(results);
    Ok(each
        .map(|(iid, result)| (iid, result, objrefs.next().flatten()))
        .collect())
}

/// [MS-DCOM] 2.2.15 `PMInterfacePointerInternal` as a parameter: the blob it points to, when it points to one.
pub(super) fn blob<'a>(reader: &mut Reader<'a>, unmarshaler: Guid) -> Result<Option<Blob<'a>>> {
    if !reader.pointer()? {
        return Ok(None);
    }
    Blob::parse(interface_pointer(reader)?, unmarshaler).map(Some)
}

/// The request's properties by name.
pub(super) const IN: Guid = known::CLSID_ACTIVATION_PROPERTIES_IN;
/// The reply's.
pub(super) const OUT: Guid = known::CLSID_ACTIVATION_PROPERTIES_OUT;
