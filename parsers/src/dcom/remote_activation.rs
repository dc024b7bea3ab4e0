//! `IActivation`: the older activation, without properties.

use super::activation::InterfaceResult;
use super::dual_string::DualStringArray;
use super::objref::{ObjrefOutline, interface_pointer};
use super::orpc::{ComVersion, OrpcThat, OrpcThis};
use super::properties::{MAX_INTERFACES, MAX_PROTSEQS};
use super::reply_properties::{ScmReplyInfo, interface_pointers};
use crate::error::Result;
use crate::guid::{Clsid, Iid, Ipid, Oxid};
use crate::ndr::Reader;

/// The request of [MS-DCOM] 3.1.2.5.2.3.1 `IActivation::RemoteActivation` (Opnum 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteActivationRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// The class to activate.
    pub clsid: Clsid,
    /// `pwszObjectName`: the persistent object to load, when one is.
    pub object_name: Option<String>,
    /// `pObjectStorage` points somewhere: the storage to load the object from. `Some(None)` when it cannot be read.
    pub storage: Option<Option<ObjrefOutline>>,
    /// `ClientImpLevel`: 2 identify, 3 impersonate.
    pub impersonation_level: u32,
    /// `Mode`: how to open the object's file; 0xffffffff asks for the class object instead of an object.
    pub mode: u32,
    /// The interfaces wanted.
    pub iids: Vec<Iid>,
    /// The protocol sequences the client speaks, as tower ids.
    pub requested_protseqs: Vec<u16>,
}

impl RemoteActivationRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("RemoteActivation request");
        let clsid = Clsid(reader.guid()?);
        let object_name = if reader.pointer()? {
            Some(reader.wide_string()?)
        } else {
            None
        };
        let storage = if reader.pointer()? {
            Some(ObjrefOutline::of(interface_pointer(reader)?))
        } else {
            None
        };
        reader.enter("RemoteActivation request");
        let impersonation_level = reader.u32()?;
        let mode = reader.u32()?;
        reader.u32()?; // Interfaces
        let iids = if reader.pointer()? {
            reader.array("pIIDs", 16, MAX_INTERFACES, |reader| reader.guid().map(Iid))?
        } else {
            Vec::new()
        };
        reader.u16()?; // cRequestedProtseqs
        Ok(Self {
            orpc_this,
            clsid,
            object_name,
            storage,
            impersonation_level,
            mode,
            iids,
            requested_protseqs: reader.array("aRequestedProtseqs", 2, MAX_PROTSEQS, Reader::u16)?,
        })
    }
}

/// The reply of [MS-DCOM] 3.1.2.5.2.3.1 `IActivation::RemoteActivation` (Opnum 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteActivationReply {
    /// `phr`: what became of the activation.
    pub hresult: u32,
    /// The exporter; all zeroes when the activation failed.
    pub scm: Option<ScmReplyInfo>,
    /// One entry for each interface asked for; without IIDs, which only the request has.
    pub interfaces: Vec<InterfaceResult>,
    /// The return value of the call itself.
    pub status: u32,
}

impl RemoteActivationReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("RemoteActivation reply");
        let oxid = Oxid(reader.u64()?);
        let bindings = if reader.pointer()? {
            DualStringArray::parse_ndr(reader)?
        } else {
            DualStringArray::default()
        };
        let ipid_rem_unknown = Ipid(reader.guid()?);
        let authn_hint = reader.u32()?;
        let server_version = ComVersion::parse(reader)?;
        let hresult = reader.u32()?;
        reader.enter("ppInterfaceData");
        let objrefs = interface_pointers(reader, "ppInterfaceData")?;
        reader.enter("pResults");
        let results = reader.array("pResults", 4, MAX_INTERFACES, Reader::u32)?;
        let status = reader.u32()?;
        let scm = ScmReplyInfo {
            oxid,
            bindings,
            ipid_rem_unknown,
            authn_hint,
            server_version,
        };
        let each = results.into_iter().zip(objrefs);
        Ok(Self {
            hresult,
            scm: (oxid != Oxid::default()).then_some(scm),
            interfaces: each
                .map(|(result, objref)| (Iid::default(), result, objref).into())
                .collect(),
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn request_and_reply_give_class_exporter_and_ipid() {
        let bytes = include_bytes!("../../corpus/remote_activation/mmc20-request.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = RemoteActivationRequest::parse(&mut reader).unwrap();
        assert_eq!(request.clsid.to_string(), "49b2791a-b1ae-4c90-9b8e-e860ba07f889");
        assert_eq!(
            (request.iids.len(), request.object_name, request.storage),
            (1, None, None)
        );
        assert_eq!(request.requested_protseqs, [7]);
        assert!(reader.rest().is_empty());
        let bytes = include_bytes!("../../corpus/remote_activation/mmc20-reply.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let reply = RemoteActivationReply::parse(&mut reader).unwrap();
        assert_eq!((reply.hresult, reply.status), (0, 0));
        assert_eq!(
            reply.scm.unwrap().bindings.string_bindings[0].tcp(),
            Some(("DCOMSRV01", 49670))
        );
        assert!(reply.interfaces[0].objref.is_some());
        assert!(reader.rest().is_empty());
    }
}
