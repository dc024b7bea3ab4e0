//! `IActivation`: the older activation, without properties.

use super::activation::InterfaceResult;
use super::dual_string::DualStringArray;
use super::objref::interface_pointer;
use super::orpc::{ComVersion, OrpcThat, OrpcThis};
use super::properties::ScmReplyInfo;
use crate::error::Result;
use crate::guid::{Clsid, Iid, Ipid, Oxid};
use crate::ndr::Reader;

/// `MAX_REQUESTED_INTERFACES` of [MS-DCOM] 2.2.28.1.
const MAX_INTERFACES: usize = 0x8000;

/// The request of [MS-DCOM] 3.1.2.5.2.3.1 `IActivation::RemoteActivation` (Opnum 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteActivationRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// The class to activate.
    pub clsid: Clsid,
    /// `pwszObjectName`: the persistent object to load, when one is.
    pub object_name: Option<String>,
    /// The interfaces wanted.
    pub iids: Vec<Iid>,
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
        if reader.pointer()? {
            interface_pointer(reader)?; // pObjectStorage
        }
        reader.enter("RemoteActivation request");
        reader.u32()?; // ClientImpLevel
        reader.u32()?; // Mode
        reader.u32()?; // Interfaces
        let mut iids = Vec::new();
        if reader.pointer()? {
            let count = reader.count("pIIDs", 16, MAX_INTERFACES)?;
            iids = (0..count).map(|_| reader.guid().map(Iid)).collect::<Result<_>>()?;
        }
        Ok(Self {
            orpc_this,
            clsid,
            object_name,
            iids,
        })
    }
}

/// The reply to it.
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
        let count = reader.count("ppInterfaceData", 4, MAX_INTERFACES)?;
        let present = (0..count).map(|_| reader.pointer()).collect::<Result<Vec<_>>>()?;
        let objrefs = present
            .into_iter()
            .map(|there| {
                if there {
                    interface_pointer(reader).map(Some)
                } else {
                    Ok(None)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        reader.enter("pResults");
        let count = reader.count("pResults", 4, MAX_INTERFACES)?;
        let results = (0..count).map(|_| reader.u32()).collect::<Result<Vec<_>>>()?;
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
        assert_eq!((request.iids.len(), request.object_name), (1, None));
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
