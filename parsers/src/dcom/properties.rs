//! The properties of an activation request.

use super::blob::{Blob, CustomHeader};
use super::context::Context;
use super::objref::{Objref, ObjrefOutline, Reference, interface_pointer};
use super::orpc::ComVersion;
use crate::error::Result;
use crate::guid::{Clsid, Guid, Iid};
use crate::names::known;
use crate::ndr::{Reader, type_serialization_1};

/// `MAX_REQUESTED_INTERFACES` of [MS-DCOM] 2.2.28.1.
pub(super) const MAX_INTERFACES: usize = 0x8000;
/// `MAX_REQUESTED_PROTSEQS` of [MS-DCOM] 2.2.28.1.
pub(super) const MAX_PROTSEQS: usize = 0x8000;

bitflags::bitflags! {
    /// [MS-DCOM] 2.2.22.2.1 `InstantiationInfoData`: `actvflags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ActivationFlags: u32 {
        /// Do not run the server as the client.
        const DISABLE_AAA = 0x02;
        /// Run the 32-bit server.
        const ACTIVATE_32_BIT_SERVER = 0x04;
        /// Run the 64-bit server.
        const ACTIVATE_64_BIT_SERVER = 0x08;
        /// Do not log a failure. What an intruder would like.
        const NO_FAILURE_LOG = 0x20;
        const _ = !0;
    }
}

/// [MS-DCOM] 2.2.22.2.1 `InstantiationInfoData`: which class, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstantiationInfo {
    /// `classId`: the class to activate.
    pub clsid: Clsid,
    /// `classCtx`: `CLSCTX_*` flags.
    pub class_context: u32,
    /// `actvflags`.
    pub activation_flags: ActivationFlags,
    /// `fIsSurrogate`.
    pub is_surrogate: bool,
    /// `instFlag`.
    pub instance_flags: u32,
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
        let activation_flags = ActivationFlags::from_bits_retain(reader.u32()?);
        let is_surrogate = reader.u32()? != 0;
        reader.u32()?; // cIID
        let instance_flags = reader.u32()?;
        let has_iids = reader.pointer()?;
        reader.u32()?; // thisSize
        let client_version = ComVersion::parse(&mut reader)?;
        let iids = if has_iids {
            reader.array("pIID", 16, MAX_INTERFACES, |reader| reader.guid().map(Iid))?
        } else {
            Vec::new()
        };
        Ok(Self {
            clsid,
            class_context,
            activation_flags,
            is_surrogate,
            instance_flags,
            iids,
            client_version,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.2 `SpecialPropertiesData`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialProperties {
    /// `dwSessionId`: the session the object is to run in; None when the server may choose (`0xFFFFFFFF`).
    pub session_id: Option<u32>,
    /// `fRemoteThisSessionId`.
    pub remote_this_session_id: u32,
    /// `fClientImpersonating`.
    pub client_impersonating: u32,
    /// `guidPartition`, when `fPartitionIDPresent` says that it means something.
    pub partition: Option<Guid>,
    /// `dwDefaultAuthnLvl`.
    pub default_authn_level: u32,
    /// `dwPRTFlags`.
    pub prt_flags: u32,
    /// `dwOrigClsctx`: the class context before the client's runtime changed it.
    pub original_class_context: u32,
    /// `dwFlags`: `SPD_FLAG_USE_CONSOLE_SESSION`; servers ignore the other bits.
    pub flags: u32,
}

/// The session at the console is asked for, and not the one that `dwSessionId` names.
const SPD_FLAG_USE_CONSOLE_SESSION: u32 = 1;

impl SpecialProperties {
    /// Is the object to run in the console's session?
    pub fn asks_for_console(&self) -> bool {
        self.flags & SPD_FLAG_USE_CONSOLE_SESSION != 0
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "SpecialPropertiesData")?;
        let session_id = Some(reader.u32()?).filter(|&session| session != u32::MAX);
        let remote_this_session_id = reader.u32()?;
        let client_impersonating = reader.u32()?;
        let has_partition = reader.u32()? != 0;
        let default_authn_level = reader.u32()?;
        let partition = Some(reader.guid()?).filter(|_| has_partition);
        Ok(Self {
            session_id,
            remote_this_session_id,
            client_impersonating,
            partition,
            default_authn_level,
            prt_flags: reader.u32()?,
            original_class_context: reader.u32()?,
            flags: reader.u32()?,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.3 `InstanceInfoData`: the persistent object to load into the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceInfo {
    /// `fileName`: a file for the server to open, perhaps on a share.
    pub file_name: Option<String>,
    /// `mode`: `STGM_*` flags.
    pub mode: u32,
    /// `ifdROT`: an object in the running object table.
    pub running_object: Option<ObjrefOutline>,
    /// `ifdStg`: a storage that the server is to call back to, or one marshaled by value.
    pub storage: Option<ObjrefOutline>,
}

impl InstanceInfo {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "InstanceInfoData")?;
        let has_name = reader.pointer()?;
        let mode = reader.u32()?;
        let (has_running, has_storage) = (reader.pointer()?, reader.pointer()?);
        let file_name = optional_string(&mut reader, has_name)?;
        let outline = |reader: &mut Reader<'_>, there| {
            if there {
                interface_pointer(reader).map(ObjrefOutline::of)
            } else {
                Ok(None)
            }
        };
        Ok(Self {
            file_name,
            mode,
            running_object: outline(&mut reader, has_running)?,
            storage: outline(&mut reader, has_storage)?,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.4.1 `customREMOTE_REQUEST_SCM_INFO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScmRequestInfo {
    /// `ClientImpLevel`: 2 identify, 3 impersonate.
    pub impersonation_level: u32,
    /// The protocol sequences the client speaks, as tower ids.
    pub requested_protseqs: Vec<u16>,
}

impl ScmRequestInfo {
    /// [MS-DCOM] 2.2.22.2.4 `ScmRequestInfoData`; None when it holds nothing.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut reader = type_serialization_1(bytes, "ScmRequestInfoData")?;
        reader.pointer()?; // pdwReserved
        if !reader.pointer()? {
            return Ok(None);
        }
        reader.enter("customREMOTE_REQUEST_SCM_INFO");
        let impersonation_level = reader.u32()?;
        reader.u16()?; // cRequestedProtseqs
        let requested_protseqs = if reader.pointer()? {
            reader.array("pRequestedProtseqs", 2, MAX_PROTSEQS, Reader::u16)?
        } else {
            Vec::new()
        };
        Ok(Some(Self {
            impersonation_level,
            requested_protseqs,
        }))
    }
}

/// A context ([MS-DCOM] 2.2.20 Context) in the OBJREF that carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarshaledContext {
    /// The OBJREF: its IID and its unmarshaler.
    pub objref: ObjrefOutline,
    /// The context, when the unmarshaler is the one for contexts and it can be read.
    pub context: Option<Context>,
}

impl MarshaledContext {
    fn of(bytes: &[u8]) -> Option<Self> {
        let objref = Objref::parse(bytes).ok()?;
        let context = match &objref.reference {
            Reference::Custom { clsid, data } if clsid.0 == known::CLSID_CONTEXT_MARSHALER => Context::parse(data).ok(),
            _ => None,
        };
        Some(Self {
            objref: ObjrefOutline::from(&objref),
            context,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.5 `ActivationContextInfoData`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivationContextInfo {
    /// `clientOK`.
    pub client_ok: u32,
    /// `pIFDClientCtx`: where the client runs.
    pub client_context: Option<MarshaledContext>,
    /// `pIFDPrototypeCtx`: where the object is to run.
    pub prototype_context: Option<MarshaledContext>,
}

impl ActivationContextInfo {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "ActivationContextInfoData")?;
        let client_ok = reader.u32()?;
        reader.u32()?; // bReserved1
        reader.u32()?; // dwReserved1
        reader.u32()?; // dwReserved2
        let (has_client, has_prototype) = (reader.pointer()?, reader.pointer()?);
        let context = |reader: &mut Reader<'_>, there| {
            if there {
                interface_pointer(reader).map(MarshaledContext::of)
            } else {
                Ok(None)
            }
        };
        Ok(Self {
            client_ok,
            client_context: context(&mut reader, has_client)?,
            prototype_context: context(&mut reader, has_prototype)?,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.6 `LocationInfoData`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocationInfo {
    /// `machineName`.
    pub machine_name: Option<String>,
    /// `processId`.
    pub process_id: u32,
    /// `apartmentId`.
    pub apartment_id: u32,
    /// `contextId`.
    pub context_id: u32,
}

impl LocationInfo {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "LocationInfoData")?;
        let has_name = reader.pointer()?;
        let (process_id, apartment_id, context_id) = (reader.u32()?, reader.u32()?, reader.u32()?);
        Ok(Self {
            machine_name: optional_string(&mut reader, has_name)?,
            process_id,
            apartment_id,
            context_id,
        })
    }
}

/// [MS-DCOM] 2.2.22.2.7 `SecurityInfoData` with its 2.2.22.2.7.1 COSERVERINFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityInfo {
    /// `dwAuthnFlags`.
    pub authn_flags: u32,
    /// COSERVERINFO `pwszName`: the server as the client's user typed it.
    pub server_name: Option<String>,
}

impl SecurityInfo {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "SecurityInfoData")?;
        let authn_flags = reader.u32()?;
        let has_server = reader.pointer()?;
        reader.pointer()?; // pdwReserved
        let mut server_name = None;
        if has_server {
            reader.enter("COSERVERINFO");
            reader.u32()?; // dwReserved1
            let has_name = reader.pointer()?;
            reader.pointer()?; // pdwReserved
            reader.u32()?; // dwReserved2
            server_name = optional_string(&mut reader, has_name)?;
        }
        Ok(Self {
            authn_flags,
            server_name,
        })
    }
}

/// Everything a request says besides class and interfaces: [MS-DCOM] 2.2.22.2 Activation Properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivationProperties {
    /// What the blob is made of.
    pub header: CustomHeader,
    /// Session, partition, authentication level.
    pub special: Option<SpecialProperties>,
    /// The persistent object to load.
    pub instance: Option<InstanceInfo>,
    /// Impersonation level and protocol sequences.
    pub scm_request: Option<ScmRequestInfo>,
    /// The client's context.
    pub context: Option<ActivationContextInfo>,
    /// Where the object is to be.
    pub location: Option<LocationInfo>,
    /// The server's name.
    pub security: Option<SecurityInfo>,
    /// Further classes, where there is more than one `InstantiationInfo`: nothing says which one a server takes.
    pub more: Vec<InstantiationInfo>,
    /// Properties of the blob that we do not know, or that could not be read.
    pub unread: Vec<Guid>,
}

impl ActivationProperties {
    /// What else there is must not cost us the class: each is read when it can be.
    pub(super) fn of(blob: &Blob<'_>) -> Self {
        let mut all = Self {
            header: blob.header.clone(),
            ..Self::default()
        };
        let first = blob
            .properties()
            .position(|(id, _)| id == known::CLSID_INSTANTIATION_INFO);
        for (place, (id, bytes)) in blob.properties().enumerate() {
            if Some(place) != first && all.read(id, bytes).is_none() {
                all.unread.push(id);
            }
        }
        all
    }

    fn read(&mut self, id: Guid, bytes: &[u8]) -> Option<()> {
        match id {
            known::CLSID_INSTANTIATION_INFO => self.more.push(InstantiationInfo::parse(bytes).ok()?),
            known::CLSID_SPECIAL_SYSTEM_PROPERTIES => self.special = Some(SpecialProperties::parse(bytes).ok()?),
            known::CLSID_INSTANCE_INFO => self.instance = Some(InstanceInfo::parse(bytes).ok()?),
            known::CLSID_SCM_REQUEST_INFO => self.scm_request = ScmRequestInfo::parse(bytes).ok()?,
            known::CLSID_ACTIVATION_CONTEXT_INFO => self.context = Some(ActivationContextInfo::parse(bytes).ok()?),
            known::CLSID_SERVER_LOCATION_INFO => self.location = Some(LocationInfo::parse(bytes).ok()?),
            known::CLSID_SECURITY_INFO => self.security = Some(SecurityInfo::parse(bytes).ok()?),
            _ => return None,
        }
        Some(())
    }
}

fn optional_string(reader: &mut Reader<'_>, there: bool) -> Result<Option<String>> {
    if there {
        reader.wide_string().map(Some)
    } else {
        Ok(None)
    }
}
