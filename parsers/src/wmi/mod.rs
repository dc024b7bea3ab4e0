//! [MS-WMI]: the login, the calls that a defender wants to read, and the objects in them ([MS-WMIO]).

mod heap;
mod login;
mod marshal;
#[cfg(test)]
mod round_trips;
mod services;
mod value;
mod wmio;

pub use login::{EstablishPositionRequest, InterfaceReply, NtlmLoginRequest, SetClientInfoRequest};
pub use marshal::CLSID_WBEM_CLASS_OBJECT;
pub use services::{ExecMethodRequest, NameRequest, Named, ObjectReply, PutRequest, QueryRequest, parse_status};
pub use value::{CimType, Value};
pub use wmio::{Object, ObjectFlags, Property};

use crate::error::Result;
use crate::guid::Guid;
use crate::ndr::Reader;

/// [MS-WMI] 3.1.4.1 `IWbemLevel1Login` Interface.
pub const IWBEM_LEVEL1_LOGIN: Guid = Guid::new(
    0xf309_ad18,
    0xd86a,
    0x11d0,
    [0xa0, 0x75, 0x00, 0xc0, 0x4f, 0xb6, 0x88, 0x20],
);
/// [MS-WMI] 3.1.4.8 `IWbemLoginClientID` Interface.
pub const IWBEM_LOGIN_CLIENT_ID: Guid = Guid::new(
    0xd478_1cd6,
    0xe5d3,
    0x44df,
    [0xad, 0x94, 0x93, 0x0e, 0xfe, 0x48, 0xa8, 0x87],
);
/// `IWbemLoginClientIDEx`, in no specification; known from Windows 10 clients.
pub const IWBEM_LOGIN_CLIENT_ID_EX: Guid = Guid::new(
    0x9f6c_78ef,
    0xfce5,
    0x42fa,
    [0xab, 0xea, 0x3e, 0x7d, 0xf9, 0x19, 0x21, 0xdc],
);
/// [MS-WMI] 3.1.4.3 `IWbemServices` Interface.
pub const IWBEM_SERVICES: Guid = Guid::new(
    0x9556_dc99,
    0x828c,
    0x11cf,
    [0xa3, 0x7e, 0x00, 0xaa, 0x00, 0x32, 0x40, 0xc7],
);

/// The arguments of a request as text, for a log. None for what is not read here.
pub fn request_arguments(
    interface: Guid,
    opnum: u16,
    reader: &mut Reader<'_>,
) -> Option<Result<Vec<(&'static str, String)>>> {
    Some(match (interface, opnum) {
        (IWBEM_LEVEL1_LOGIN, 3) => EstablishPositionRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_LEVEL1_LOGIN, 6) => NtlmLoginRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_LOGIN_CLIENT_ID, 3) => SetClientInfoRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_LOGIN_CLIENT_ID_EX, 3) => SetClientInfoRequest::parse_ex(reader).map(|request| request.arguments()),
        (IWBEM_SERVICES, 8 | 9 | 14 | 15) => PutRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_SERVICES, 20..=23) => QueryRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_SERVICES, 24 | 25) => ExecMethodRequest::parse(reader).map(|request| request.arguments()),
        (IWBEM_SERVICES, _) => {
            let kind = Named::by(opnum)?;
            NameRequest::parse(kind, reader).map(|request| request.arguments())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::ByteOrder;
    use crate::names;
    use crate::ndr::Encoding;

    macro_rules! stub {
        ($name:literal) => {
            include_bytes!(concat!("../../corpus/wmi/", $name, ".bin"))
        };
    }

    const REQUESTS: [(Guid, u16, &[u8]); 12] = [
        (IWBEM_LEVEL1_LOGIN, 3, stub!("establish-position-request")),
        (IWBEM_LEVEL1_LOGIN, 6, stub!("ntlm-login-request")),
        (IWBEM_LOGIN_CLIENT_ID, 3, stub!("set-client-info-request")),
        (IWBEM_SERVICES, 6, stub!("get-object-win32-process-request")),
        (IWBEM_SERVICES, 14, stub!("put-instance-event-filter-request")),
        (IWBEM_SERVICES, 14, stub!("put-instance-command-line-consumer-request")),
        (IWBEM_SERVICES, 14, stub!("put-instance-active-script-consumer-request")),
        (IWBEM_SERVICES, 16, stub!("delete-instance-request")),
        (IWBEM_SERVICES, 20, stub!("exec-query-request")),
        (IWBEM_SERVICES, 22, stub!("exec-notification-query-request")),
        (IWBEM_SERVICES, 24, stub!("exec-method-create-request")),
        (IWBEM_SERVICES, 24, stub!("exec-method-create-startup-request")),
    ];
    const REPLIES: [&[u8]; 3] = [
        stub!("ntlm-login-reply"),
        stub!("get-object-win32-process-reply"),
        stub!("exec-method-create-reply"),
    ];

    fn reader(bytes: &[u8], encoding: Encoding) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, encoding, "test")
    }

    /// Everything that reads a stub, on one.
    fn read_all(interface: Guid, opnum: u16, bytes: &[u8]) {
        for encoding in [Encoding::Ndr20, Encoding::Ndr64] {
            let _ = request_arguments(interface, opnum, &mut reader(bytes, encoding));
            let _ = ObjectReply::parse(&mut reader(bytes, encoding)).map(|reply| reply.arguments());
            let _ = InterfaceReply::parse(&mut reader(bytes, encoding));
            let _ = InterfaceReply::parse_open_namespace(&mut reader(bytes, encoding));
            let _ = parse_status(&mut reader(bytes, encoding));
        }
    }

    fn row(interface: Guid, opnum: u16, bytes: &[u8]) -> String {
        let row = request_arguments(interface, opnum, &mut reader(bytes, Encoding::Ndr20))
            .unwrap()
            .unwrap();
        let each: Vec<_> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
        each.join(" | ")
    }

    #[test]
    fn identifiers_agree_with_the_table_of_names() {
        assert_eq!(names::interface(IWBEM_LEVEL1_LOGIN), Some("IWbemLevel1Login"));
        assert_eq!(names::interface(IWBEM_LOGIN_CLIENT_ID), Some("IWbemLoginClientID"));
        assert_eq!(names::interface(IWBEM_SERVICES), Some("IWbemServices"));
    }

    #[test]
    fn every_request_has_a_readable_row() {
        let rows: Vec<_> = REQUESTS
            .iter()
            .map(|&(iid, opnum, bytes)| row(iid, opnum, bytes))
            .collect();
        assert_eq!(rows[1], "namespace=//./root/cimv2 | flags=0x0");
        assert_eq!(rows[2], "client_machine=CLIENT01 | client_process=4242");
        assert_eq!(rows[3], "object_path=Win32_Process | flags=0x0");
        assert_eq!(rows[7], "object_path=__EventFilter.Name=\"EF_update\" | flags=0x0");
        assert_eq!(
            rows[9],
            "query_language=WQL | query=SELECT * FROM Win32_ProcessStartTrace | flags=0x30"
        );
        assert_eq!(
            rows[10],
            "object_path=Win32_Process | method=Create | flags=0x0 | \
             in_parameters=__PARAMETERS { CommandLine: cmd.exe /Q /c whoami, CurrentDirectory: C:\\ }"
        );
        assert!(request_arguments(IWBEM_SERVICES, 4, &mut reader(&[], Encoding::Ndr20)).is_none());
        assert!(request_arguments(Guid::NULL, 6, &mut reader(&[], Encoding::Ndr20)).is_none());
    }

    #[test]
    fn a_stub_cut_anywhere_gives_an_error_or_less() {
        for (interface, opnum, bytes) in REQUESTS {
            for end in 0..bytes.len() {
                read_all(interface, opnum, &bytes[..end]);
            }
            // What follows the strings and the flags is optional for the reader, never the ORPCTHIS.
            let cut = request_arguments(interface, opnum, &mut reader(&bytes[..30], Encoding::Ndr20));
            assert!(cut.unwrap().is_err());
        }
    }

    #[test]
    fn no_length_field_is_believed() {
        for (interface, opnum, bytes) in REQUESTS {
            for at in (32..bytes.len().saturating_sub(4)).step_by(1) {
                let mut bytes = bytes.to_vec();
                bytes[at..at + 4].fill(0xff);
                read_all(interface, opnum, &bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn mutated_stubs_never_panic(
            which in 0..REQUESTS.len() + REPLIES.len(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        ) {
            let (interface, opnum, bytes) = match REQUESTS.get(which) {
                Some(&request) => request,
                None => (IWBEM_SERVICES, 24, REPLIES[which - REQUESTS.len()]),
            };
            let mut bytes = bytes.to_vec();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            read_all(interface, opnum, &bytes);
        }
    }
}
