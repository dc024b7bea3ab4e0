//! `IRemoteSCMActivator`: activation by properties.

use super::blob::Blob;
use super::objref::{Objref, StdObjref, interface_pointer};
use super::orpc::{OrpcThat, OrpcThis};
use super::properties::{ActivationProperties, InstantiationInfo};
use super::reply_properties::{PropOut, ScmReplyInfo, props_out};
use crate::error::Result;
use crate::guid::Iid;
use crate::names::known;
use crate::ndr::Reader;

/// The request of [MS-DCOM] 3.1.2.5.2.3.2 `IRemoteSCMActivator::RemoteGetClassObject` (Opnum 3) and of
/// 3.1.2.5.2.3.3 `IRemoteSCMActivator::RemoteCreateInstance` (Opnum 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivationRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// What for.
    pub instantiation: InstantiationInfo,
    /// The session asked for; None when the request leaves it to the server.
    pub session_id: Option<u32>,
    /// Is the console's session asked for, whatever `session_id` says?
    pub console_session: bool,
    /// COSERVERINFO `pwszName`: the server as the client's user typed it.
    pub server_name: Option<String>,
    /// Whatever else the request says.
    pub properties: ActivationProperties,
}

impl ActivationRequest {
    /// Reads the stub of `RemoteGetClassObject`.
    pub fn parse_get_class_object(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        Self::parse_properties(reader, orpc_this)
    }

    /// Reads the stub of `RemoteCreateInstance`.
    pub fn parse_create_instance(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        if reader.pointer()? {
            interface_pointer(reader)?; // pUnkOuter
        }
        Self::parse_properties(reader, orpc_this)
    }

    fn parse_properties(reader: &mut Reader<'_>, orpc_this: OrpcThis) -> Result<Self> {
        reader.enter("pActProperties");
        let Some(blob) = Blob::behind_pointer(reader, known::CLSID_ACTIVATION_PROPERTIES_IN)? else {
            return Err(reader.input().invalid("pActProperties", 0_u32));
        };
        let Some(instantiation) = blob.property(known::CLSID_INSTANTIATION_INFO) else {
            return Err(reader.input().invalid("InstantiationInfo", 0_u32));
        };
        let instantiation = InstantiationInfo::parse(instantiation)?;
        let properties = ActivationProperties::of(&blob);
        let server_name = properties.security.as_ref().and_then(|info| info.server_name.clone());
        Ok(Self {
            orpc_this,
            instantiation,
            session_id: properties.special.and_then(|special| special.session_id),
            console_session: properties.special.is_some_and(|special| special.asks_for_console()),
            server_name: server_name.filter(|name| !name.is_empty()),
            properties,
        })
    }
}

/// What came back for one interface asked for: an element of the arrays in [MS-DCOM] 2.2.22.2.9 `PropsOutInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceResult {
    /// The interface.
    pub iid: Iid,
    /// Its HRESULT.
    pub hresult: u32,
    /// The reference, when there is one and it is a standard one.
    pub objref: Option<StdObjref>,
}

/// The reply of [MS-DCOM] 3.1.2.5.2.3.2 `IRemoteSCMActivator::RemoteGetClassObject` and of 3.1.2.5.2.3.3
/// `IRemoteSCMActivator::RemoteCreateInstance`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivationReply {
    /// The return value.
    pub hresult: u32,
    /// The exporter; None when the activation failed.
    pub scm: Option<ScmReplyInfo>,
    /// One entry for each interface asked for.
    pub interfaces: Vec<InterfaceResult>,
}

impl ActivationReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("ppActProperties");
        let blob = Blob::behind_pointer(reader, known::CLSID_ACTIVATION_PROPERTIES_OUT)?;
        reader.enter("activation reply");
        let hresult = reader.u32()?;
        let (mut scm, mut interfaces) = (None, Vec::new());
        if let Some(blob) = blob {
            if let Some(bytes) = blob.property(known::CLSID_SCM_REPLY_INFO) {
                scm = ScmReplyInfo::parse(bytes)?;
            }
            if let Some(bytes) = blob.property(known::CLSID_PROPS_OUT_INFO) {
                interfaces = props_out(bytes)?.into_iter().map(InterfaceResult::from).collect();
            }
        }
        Ok(Self {
            hresult,
            scm,
            interfaces,
        })
    }
}

impl From<PropOut<'_>> for InterfaceResult {
    fn from((iid, hresult, objref): PropOut<'_>) -> Self {
        let objref = objref.and_then(|bytes| Objref::parse_reference(bytes).ok());
        Self {
            iid,
            hresult,
            objref: objref.and_then(|objref| objref.std().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    const REQUEST: &[u8] = include_bytes!("../../corpus/activation/mmc20-create-instance-request.bin");
    const REPLY: &[u8] = include_bytes!("../../corpus/activation/mmc20-create-instance-reply.bin");

    fn reader(bytes: &[u8], encoding: Encoding) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, encoding, "test")
    }

    #[test]
    fn remote_create_instance_names_class_and_interfaces_in_both_encodings() {
        let ndr64 = include_bytes!("../../corpus/activation/mmc20-create-instance-ndr64-request.bin");
        for (bytes, encoding) in [(REQUEST, Encoding::Ndr20), (ndr64.as_slice(), Encoding::Ndr64)] {
            let mut reader = reader(bytes, encoding);
            let request = ActivationRequest::parse_create_instance(&mut reader).unwrap();
            assert_eq!(
                request.instantiation.clsid.to_string(),
                "49b2791a-b1ae-4c90-9b8e-e860ba07f889"
            );
            assert_eq!(request.instantiation.iids, [Iid(known::IDISPATCH)]);
            assert_eq!((request.orpc_this.version.major, request.session_id), (5, None));
        }
    }

    #[test]
    fn remote_get_class_object_asks_for_a_class_factory() {
        let bytes = include_bytes!("../../corpus/activation/mmc20-get-class-object-request.bin");
        let request = ActivationRequest::parse_get_class_object(&mut reader(bytes, Encoding::Ndr20)).unwrap();
        assert_eq!(request.instantiation.iids, [Iid(known::ICLASS_FACTORY)]);
        assert_eq!(
            request.orpc_this.causality.to_string(),
            "2af6fb33-ca74-6d05-4e5f-c455e8464a14"
        );
    }

    #[test]
    fn the_reply_names_exporter_bindings_and_ipids() {
        let reply = ActivationReply::parse(&mut reader(REPLY, Encoding::Ndr20)).unwrap();
        let scm = reply.scm.unwrap();
        assert_eq!(
            (reply.hresult, scm.oxid.to_string().as_str()),
            (0, "0xb2fcfa1e5069c379")
        );
        assert_eq!(scm.ipid_rem_unknown.to_string(), "6d6e79ee-01f8-0000-6cd7-d4c36a98b8c0");
        let tcp: Vec<_> = scm
            .bindings
            .string_bindings
            .iter()
            .filter_map(|binding| binding.tcp())
            .collect();
        assert_eq!(tcp, [("DCOMSRV01", 49670), ("127.0.0.10", 49670)]);
        let [interface] = reply.interfaces.as_slice() else {
            panic!("one interface expected")
        };
        assert_eq!((interface.iid, interface.hresult), (Iid(known::IDISPATCH), 0));
        assert_eq!(
            interface.objref.unwrap().ipid.to_string(),
            "50509f28-01f8-0000-3809-a738bdd3efbf"
        );
    }

    #[test]
    fn a_refusal_has_an_hresult_and_nothing_else() {
        let bytes = include_bytes!("../../corpus/activation/denied-reply.bin");
        let reply = ActivationReply::parse(&mut reader(bytes, Encoding::Ndr20)).unwrap();
        assert_eq!(
            reply,
            ActivationReply {
                hresult: 0x8007_0005,
                scm: None,
                interfaces: Vec::new()
            }
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..REQUEST.len() - 112 {
            let error = ActivationRequest::parse_create_instance(&mut reader(&REQUEST[..length], Encoding::Ndr20));
            assert!(error.is_err(), "{length} bytes");
        }
        for length in 0..REPLY.len() - 4 {
            assert!(
                ActivationReply::parse(&mut reader(&REPLY[..length], Encoding::Ndr20)).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn huge_counts_are_refused_without_allocating() {
        for position in (0..REQUEST.len() - 4).step_by(4) {
            let mut bytes = REQUEST.to_vec();
            bytes[position..position + 4].copy_from_slice(&[0xff; 4]);
            let answer = ActivationRequest::parse_create_instance(&mut reader(&bytes, Encoding::Ndr20));
            if let Err(error) = answer {
                assert!(
                    !matches!(error.kind, ErrorKind::Unsupported { .. }),
                    "at {position}: {error}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_requests_and_replies_never_panic(position in 0..464_usize, value: u8, second in 0..464_usize, other: u8) {
            for (bytes, encoding) in [(REQUEST, Encoding::Ndr20), (REPLY, Encoding::Ndr20), (REPLY, Encoding::Ndr64)] {
                let mut bytes = bytes.to_vec();
                bytes[position] = value;
                bytes[second] = other;
                let _ = ActivationRequest::parse_create_instance(&mut reader(&bytes, encoding));
                let _ = ActivationRequest::parse_get_class_object(&mut reader(&bytes, encoding));
                let _ = ActivationReply::parse(&mut reader(&bytes, encoding));
            }
        }
    }
}
