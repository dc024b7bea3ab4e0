//! Logging in: which namespace, and what the client says of itself.

use super::marshal::{reference, reference_behind_pointer};
use crate::arguments::Arguments;
use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::Result;
use crate::ndr::Reader;

/// The request of [MS-WMI] 3.1.4.1.1 `IWbemLevel1Login::EstablishPosition` (Opnum 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EstablishPositionRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `reserved1`: nothing, in theory; some clients send their name.
    pub reserved: Option<String>,
}

impl EstablishPositionRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("EstablishPosition request");
        let reserved = reader.optional_wide_string()?;
        reader.u32()?; // reserved2
        Ok(Self { orpc_this, reserved })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default().text("reserved", self.reserved.as_deref()).done()
    }
}

/// The request of [MS-WMI] 3.1.4.1.4 `IWbemLevel1Login::NTLMLogin` (Opnum 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NtlmLoginRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `wszNetworkResource`: the namespace, such as `//./root/cimv2`.
    pub namespace: Option<String>,
    /// `wszPreferredLocale`: a list such as `en-US,en`.
    pub preferred_locale: Option<String>,
    /// `lFlags`.
    pub flags: u32,
}

impl NtlmLoginRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("NTLMLogin request");
        let namespace = reader.optional_wide_string()?;
        let preferred_locale = reader.optional_wide_string()?;
        let flags = reader.u32()?;
        reference(reader)?; // pCtx
        Ok(Self {
            orpc_this,
            namespace,
            preferred_locale,
            flags,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("namespace", self.namespace.as_deref())
            .text("preferred_locale", self.preferred_locale.as_deref())
            .flags("flags", self.flags)
            .done()
    }
}

/// A reply that hands over one interface: [MS-WMI] 3.1.4.1.4 `NTLMLogin`, 3.1.4.3.18 `ExecQuery`, 3.1.4.3.20
/// `ExecNotificationQuery`, 3.1.4.3.10 `CreateClassEnum`, 3.1.4.3.16 `CreateInstanceEnum`; 3.1.4.3.1 `OpenNamespace` by a
/// parser of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceReply<'a> {
    /// The bytes of an OBJREF.
    pub objref: Option<&'a [u8]>,
    /// The HRESULT.
    pub status: u32,
}

impl<'a> InterfaceReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("interface reply");
        Ok(Self {
            objref: reference(reader)?,
            status: reader.u32()?,
        })
    }

    /// Reads the reply stub of [MS-WMI] 3.1.4.3.1 `IWbemServices::OpenNamespace` (Opnum 3).
    pub fn parse_open_namespace(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("OpenNamespace reply");
        let objref = reference_behind_pointer(reader)?;
        reference_behind_pointer(reader)?; // ppResult
        Ok(Self {
            objref,
            status: reader.u32()?,
        })
    }
}

/// The request of [MS-WMI] 3.1.4.8.1 `IWbemLoginClientID::SetClientInfo` (Opnum 3), and of `SetClientInfoEx` (Opnum 3) of
/// `IWbemLoginClientIDEx`, which Windows 10 and later call and no specification describes: what the client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetClientInfoRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `wszClientMachine`: the client's name.
    pub client_machine: Option<String>,
    /// The client's full DNS name; only the newer call has it.
    pub client_fqdn: Option<String>,
    /// `lClientProcId`: the process that speaks WMI.
    pub client_process: u32,
    /// When that process was made, in 100 ns since 1601; only the newer call has it.
    pub client_process_created: Option<u64>,
}

impl SetClientInfoRequest {
    /// Reads the request stub of `SetClientInfo`.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("SetClientInfo request");
        let client_machine = reader.optional_wide_string()?;
        let client_process = reader.u32()?;
        Ok(Self {
            orpc_this,
            client_machine,
            client_process,
            ..Self::default()
        })
    }

    /// Reads the request stub of `SetClientInfoEx`.
    pub fn parse_ex(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("SetClientInfoEx request");
        let client_machine = reader.optional_wide_string()?;
        let client_fqdn = reader.optional_wide_string()?;
        let client_process = reader.u32()?;
        let low = reader.u32()?;
        let high = reader.u32()?;
        Ok(Self {
            orpc_this,
            client_machine,
            client_fqdn,
            client_process,
            client_process_created: Some((u64::from(high) << 32) | u64::from(low)),
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        let row = Arguments::default()
            .text("client_machine", self.client_machine.as_deref())
            .text("client_fqdn", self.client_fqdn.as_deref())
            .value("client_process", &self.client_process);
        match &self.client_process_created {
            Some(created) => row.value("client_process_created", created).done(),
            None => row.done(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcom::Objref;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test")
    }

    #[test]
    fn a_login_names_its_namespace_and_is_answered_with_an_interface() {
        let bytes = include_bytes!("../../corpus/wmi/ntlm-login-request.bin");
        let mut stub = reader(bytes);
        let request = NtlmLoginRequest::parse(&mut stub).unwrap();
        assert_eq!(request.namespace.as_deref(), Some("//./root/cimv2"));
        assert_eq!((request.preferred_locale, request.flags), (None, 0));
        assert!(stub.rest().is_empty());
        let bytes = include_bytes!("../../corpus/wmi/ntlm-login-reply.bin");
        let mut stub = reader(bytes);
        let reply = InterfaceReply::parse(&mut stub).unwrap();
        let objref = Objref::parse(reply.objref.unwrap()).unwrap();
        assert_eq!(objref.iid.0, super::super::IWBEM_SERVICES);
        assert_eq!(reply.status, 0);
        assert!(stub.rest().is_empty());
    }

    #[test]
    fn a_position_is_established_with_nothing_said() {
        let bytes = include_bytes!("../../corpus/wmi/establish-position-request.bin");
        let mut stub = reader(bytes);
        let request = EstablishPositionRequest::parse(&mut stub).unwrap();
        assert_eq!(request.reserved, None);
        assert_eq!(request.arguments(), vec![]);
        assert!(stub.rest().is_empty());
    }

    #[test]
    fn a_newer_client_tells_its_full_name_and_when_its_process_was_made() {
        let mut bytes = vec![5, 0, 7, 0];
        bytes.extend([0; 28]);
        for name in ["A1", "a1.b"] {
            let units: Vec<u16> = name.encode_utf16().chain([0]).collect();
            let count = u8::try_from(units.len()).unwrap();
            bytes.extend([1, 0, 2, 0, count, 0, 0, 0, 0, 0, 0, 0, count, 0, 0, 0]);
            bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.extend([0x34, 0x12, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let request = SetClientInfoRequest::parse_ex(&mut reader(&bytes)).unwrap();
        assert_eq!(request.client_machine.as_deref(), Some("A1"));
        assert_eq!(request.client_fqdn.as_deref(), Some("a1.b"));
        assert_eq!(
            (request.client_process, request.client_process_created),
            (0x1234, Some(0x2_0000_0001))
        );
    }
}
