//! [MS-SCMR] `svcctl`: services created, changed and started on another machine.

use std::fmt;

use crate::arguments::Arguments;
use crate::error::Result;
use crate::guid::Guid;
use crate::ndr::Reader;

/// `svcctl` ([MS-SCMR] 1.9 Standards Assignments).
pub const SVCCTL: Guid = Guid::new(
    0x367a_bb81,
    0x9844,
    0x35f1,
    [0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03],
);
/// The most arguments that `RStartServiceW` reads.
const MAX_ARGUMENTS: usize = 1024;
/// Dependencies and passwords are stepped over up to this many bytes.
const MAX_BLOB: usize = 65_536;

/// How the strings of a call are written: each operation has a twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Characters {
    /// UTF-16: the operation's name ends in W.
    Wide,
    /// Bytes, in the client's code page: it ends in A.
    Narrow,
}

impl Characters {
    fn string(self, reader: &mut Reader<'_>) -> Result<String> {
        match self {
            Self::Wide => reader.wide_string(),
            Self::Narrow => reader.string(),
        }
    }

    fn optional_string(self, reader: &mut Reader<'_>) -> Result<Option<String>> {
        if reader.pointer()? {
            self.string(reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// [MS-SCMR] 2.2.4 `SC_RPC_HANDLE`: the server's name for an open service or service manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Attributes, always zero.
    pub attributes: u32,
    /// What tells handles apart; all zeroes when nothing was opened.
    pub uuid: Guid,
}

impl Handle {
    fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            attributes: reader.u32()?,
            uuid: reader.guid()?,
        })
    }
}

/// `dwStartType` of [MS-SCMR] 3.1.4.12 `RCreateServiceW` (Opnum 12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartType(pub u32);

impl fmt::Display for StartType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "boot",
            1 => "system",
            2 => "auto",
            3 => "demand",
            4 => "disabled",
            u32::MAX => "unchanged",
            other => return write!(f, "{other:#x}"),
        })
    }
}

/// The request of [MS-SCMR] 3.1.4.15 `ROpenSCManagerW` (Opnum 15).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenScManagerRequest {
    /// The server, as the client calls it.
    pub machine_name: Option<String>,
    /// `ServicesActive`, always.
    pub database_name: Option<String>,
    /// The rights asked for.
    pub desired_access: u32,
}

impl OpenScManagerRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Wide)
    }

    /// Reads the request stub of [MS-SCMR] 3.1.4.26 `ROpenSCManagerA` (Opnum 27).
    pub fn parse_narrow(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Narrow)
    }

    fn parse_in(reader: &mut Reader<'_>, characters: Characters) -> Result<Self> {
        reader.enter("ROpenSCManager request");
        Ok(Self {
            machine_name: characters.optional_string(reader)?,
            database_name: characters.optional_string(reader)?,
            desired_access: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("machine_name", self.machine_name.as_deref())
            .text("database_name", self.database_name.as_deref())
            .flags("desired_access", self.desired_access)
            .done()
    }
}

/// The request of [MS-SCMR] 3.1.4.16 `ROpenServiceW` (Opnum 16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenServiceRequest {
    /// The open service manager.
    pub manager: Handle,
    /// The service.
    pub service_name: String,
    /// The rights asked for.
    pub desired_access: u32,
}

impl OpenServiceRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Wide)
    }

    /// Reads the request stub of [MS-SCMR] 3.1.4.27 `ROpenServiceA` (Opnum 28).
    pub fn parse_narrow(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Narrow)
    }

    fn parse_in(reader: &mut Reader<'_>, characters: Characters) -> Result<Self> {
        reader.enter("ROpenService request");
        Ok(Self {
            manager: Handle::parse(reader)?,
            service_name: characters.string(reader)?,
            desired_access: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("service_name", Some(&self.service_name))
            .flags("desired_access", self.desired_access)
            .done()
    }
}

/// What [MS-SCMR] 3.1.4.12 `RCreateServiceW` and 3.1.4.11 `RChangeServiceConfigW` say of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The name shown to people.
    pub display_name: Option<String>,
    /// `SERVICE_*`: driver, process of its own, shared, interactive.
    pub service_type: u32,
    /// When it starts.
    pub start_type: StartType,
    /// The command line of the service.
    pub binary_path_name: Option<String>,
    /// Whom it runs as; None is the local system.
    pub service_start_name: Option<String>,
}

impl ServiceConfig {
    fn row(&self, row: Arguments) -> Arguments {
        row.text("display_name", self.display_name.as_deref())
            .flags("service_type", self.service_type)
            .value("start_type", &self.start_type)
            .text("binary_path_name", self.binary_path_name.as_deref())
            .text("service_start_name", self.service_start_name.as_deref())
    }
}

/// The request of [MS-SCMR] 3.1.4.12 `RCreateServiceW` (Opnum 12). 3.1.4.42 `RCreateServiceWOW64W` (Opnum 45) has the same
/// layout, and 3.1.4.49 `RCreateWowService` (Opnum 60) says behind it for which kind of programs the service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateServiceRequest {
    /// The open service manager.
    pub manager: Handle,
    /// The service's name.
    pub service_name: String,
    /// The rights asked for.
    pub desired_access: u32,
    /// The service.
    pub config: ServiceConfig,
}

impl CreateServiceRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Wide)
    }

    /// Reads the request stub of [MS-SCMR] 3.1.4.23 `RCreateServiceA` (Opnum 24), and of 3.1.4.41 `RCreateServiceWOW64A`
    /// (Opnum 44).
    pub fn parse_narrow(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Narrow)
    }

    fn parse_in(reader: &mut Reader<'_>, characters: Characters) -> Result<Self> {
        reader.enter("RCreateService request");
        let manager = Handle::parse(reader)?;
        let service_name = characters.string(reader)?;
        let display_name = characters.optional_string(reader)?;
        let desired_access = reader.u32()?;
        let service_type = reader.u32()?;
        let start_type = StartType(reader.u32()?);
        reader.u32()?; // dwErrorControl
        let binary_path_name = Some(characters.string(reader)?);
        Ok(Self {
            manager,
            service_name,
            desired_access,
            config: ServiceConfig {
                display_name,
                service_type,
                start_type,
                binary_path_name,
                service_start_name: start_name(reader, characters)?,
            },
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        let row = Arguments::default()
            .text("service_name", Some(&self.service_name))
            .flags("desired_access", self.desired_access);
        self.config.row(row).done()
    }
}

/// The request of [MS-SCMR] 3.1.4.11 `RChangeServiceConfigW` (Opnum 11). What stays as it is is None or
/// `SERVICE_NO_CHANGE`, all ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeServiceConfigRequest {
    /// The open service.
    pub service: Handle,
    /// What changes.
    pub config: ServiceConfig,
}

impl ChangeServiceConfigRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Wide)
    }

    /// Reads the request stub of [MS-SCMR] 3.1.4.22 `RChangeServiceConfigA` (Opnum 23).
    pub fn parse_narrow(reader: &mut Reader<'_>) -> Result<Self> {
        Self::parse_in(reader, Characters::Narrow)
    }

    fn parse_in(reader: &mut Reader<'_>, characters: Characters) -> Result<Self> {
        reader.enter("RChangeServiceConfig request");
        let service = Handle::parse(reader)?;
        let service_type = reader.u32()?;
        let start_type = StartType(reader.u32()?);
        reader.u32()?; // dwErrorControl
        let binary_path_name = characters.optional_string(reader)?;
        let service_start_name = start_name(reader, characters)?;
        skip_bytes(reader)?; // lpPassword
        reader.u32()?; // dwPwSize
        Ok(Self {
            service,
            config: ServiceConfig {
                display_name: characters.optional_string(reader)?,
                service_type,
                start_type,
                binary_path_name,
                service_start_name,
            },
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        self.config.row(Arguments::default()).done()
    }
}

/// The request of [MS-SCMR] 3.1.4.19 `RStartServiceW` (Opnum 19).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartServiceRequest {
    /// The open service.
    pub service: Handle,
    /// What is handed to it.
    pub service_arguments: Vec<String>,
}

impl StartServiceRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("RStartServiceW request");
        let service = Handle::parse(reader)?;
        reader.u32()?; // argc
        Ok(Self {
            service,
            service_arguments: reader.optional_wide_strings("argc", MAX_ARGUMENTS)?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default().list("arguments", &self.service_arguments).done()
    }
}

/// The arguments of a request as text, for a log. None for what is not read here.
pub fn request_arguments(opnum: u16, reader: &mut Reader<'_>) -> Option<Result<Vec<(&'static str, String)>>> {
    Some(match opnum {
        11 => ChangeServiceConfigRequest::parse(reader).map(|request| request.arguments()),
        12 | 45 | 60 => CreateServiceRequest::parse(reader).map(|request| request.arguments()),
        15 => OpenScManagerRequest::parse(reader).map(|request| request.arguments()),
        16 => OpenServiceRequest::parse(reader).map(|request| request.arguments()),
        23 => ChangeServiceConfigRequest::parse_narrow(reader).map(|request| request.arguments()),
        24 | 44 => CreateServiceRequest::parse_narrow(reader).map(|request| request.arguments()),
        27 => OpenScManagerRequest::parse_narrow(reader).map(|request| request.arguments()),
        28 => OpenServiceRequest::parse_narrow(reader).map(|request| request.arguments()),
        19 => StartServiceRequest::parse(reader).map(|request| request.arguments()),
        _ => return None,
    })
}

/// Steps over `lpLoadOrderGroup` … `dwDependSize` and reads `lpServiceStartName`, which both configurations have in a row.
fn start_name(reader: &mut Reader<'_>, characters: Characters) -> Result<Option<String>> {
    characters.optional_string(reader)?; // lpLoadOrderGroup
    if reader.pointer()? {
        reader.u32()?; // lpdwTagId
    }
    skip_bytes(reader)?; // lpDependencies
    reader.u32()?; // dwDependSize
    characters.optional_string(reader)
}

fn skip_bytes(reader: &mut Reader<'_>) -> Result<()> {
    if reader.pointer()? {
        let length = reader.count("size", 1, MAX_BLOB)?;
        reader.bytes(length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::ByteOrder;
    use crate::names;
    use crate::ndr::Encoding;
    use crate::testing::{Writer, round_trips, sample, samples, wrapped, writes};

    const STUBS: [(u16, &[u8]); 5] = [
        (11, include_bytes!("../corpus/scmr/change-service-config-request.bin")),
        (12, include_bytes!("../corpus/scmr/create-service-request.bin")),
        (15, include_bytes!("../corpus/scmr/open-sc-manager-request.bin")),
        (16, include_bytes!("../corpus/scmr/open-service-request.bin")),
        (19, include_bytes!("../corpus/scmr/start-service-request.bin")),
    ];

    fn row(index: usize) -> Vec<(&'static str, String)> {
        let (opnum, bytes) = STUBS[index];
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let row = request_arguments(opnum, &mut reader).unwrap().unwrap();
        assert_eq!((opnum, reader.rest().len() < 12), (opnum, true));
        row
    }

    fn value(index: usize, name: &str) -> Option<String> {
        row(index).into_iter().find(|&(n, _)| n == name).map(|(_, value)| value)
    }

    #[test]
    fn a_created_service_tells_its_command_line() {
        let (_, bytes) = STUBS[1];
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = CreateServiceRequest::parse(&mut reader).unwrap();
        assert_eq!(request.service_name, "update");
        assert_eq!(request.manager.uuid.data1, 0x0302_0100);
        let config = request.config;
        assert_eq!(config.display_name.as_deref(), Some("Update Service"));
        assert_eq!((config.service_type, config.start_type), (0x10, StartType(3)));
        assert_eq!(
            config.binary_path_name.as_deref(),
            Some("%COMSPEC% /Q /c echo whoami > \\\\127.0.0.1\\C$\\out 2>&1")
        );
        assert_eq!(value(1, "start_type").as_deref(), Some("demand"));
        assert_eq!(names::interface(SVCCTL), Some("svcctl"));
        for twin in [45, 60] {
            let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
            assert_eq!(request_arguments(twin, &mut reader), Some(Ok(row(1))));
        }
    }

    #[test]
    fn a_changed_service_tells_only_what_changes() {
        let row = row(0);
        let expected = [
            ("service_type", "0xffffffff"),
            ("start_type", "unchanged"),
            ("binary_path_name", "C:\\new.exe"),
            ("service_start_name", "LocalSystem"),
        ];
        assert_eq!(row, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn opening_and_starting_are_read() {
        assert_eq!(value(2, "machine_name").as_deref(), Some("DCOMSRV01"));
        assert_eq!(value(2, "database_name").as_deref(), Some("ServicesActive"));
        assert_eq!(value(3, "service_name").as_deref(), Some("update"));
        assert_eq!(value(4, "arguments").as_deref(), Some("one two words"));
    }

    /// A narrow string: counts, bytes, a zero.
    fn narrow(text: &str) -> Vec<u8> {
        let count = u32::try_from(text.len() + 1).unwrap().to_le_bytes();
        let mut bytes = [&count[..], &[0; 4], &count, text.as_bytes(), &[0]].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn narrow_twins_are_read() {
        let handle = [7; 20];
        let pointer = 0x0002_0000_u32.to_le_bytes();
        let number = |number: u32| number.to_le_bytes();
        let opened = [&handle[..], &narrow("update"), &number(0xf_01ff)].concat();
        let created = [
            &handle[..],
            &narrow("update"),
            &pointer,
            &narrow("Update Service"),
            &number(0xf_01ff),
            &number(0x10),
            &number(3),
            &number(0),
            &narrow("cmd.exe /c whoami"),
            &[0; 12], // no load order group, no tag, no dependencies
            &number(0),
            &pointer,
            &narrow("LocalSystem"),
        ]
        .concat();
        let manager = [&pointer[..], &narrow("SRV"), &[0; 4], &number(1)].concat();
        let changed = [
            &handle[..],
            &number(0x10),
            &number(4),
            &number(0),
            &pointer,
            &narrow("new.exe"),
            &[0; 12],
            &number(0),
            &[0; 4], // no start name
            &[0; 4], // no password
            &number(0),
            &pointer,
            &narrow("New"),
        ]
        .concat();
        let row = |opnum, bytes: &[u8]| {
            let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
            let row = request_arguments(opnum, &mut reader).unwrap().unwrap();
            assert!(reader.rest().is_empty(), "{opnum}");
            let each: Vec<_> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
            each.join(" | ")
        };
        let created_row = "service_name=update | desired_access=0xf01ff | display_name=Update Service | \
                           service_type=0x10 | start_type=demand | binary_path_name=cmd.exe /c whoami | \
                           service_start_name=LocalSystem";
        assert_eq!(row(24, &created), created_row);
        assert_eq!(row(44, &created), created_row);
        assert_eq!(row(27, &manager), "machine_name=SRV | desired_access=0x1");
        assert_eq!(row(28, &opened), "service_name=update | desired_access=0xf01ff");
        let changed_row = "display_name=New | service_type=0x10 | start_type=disabled | binary_path_name=new.exe";
        assert_eq!(row(23, &changed), changed_row);
        for bytes in [&opened, &created, &manager, &changed] {
            for opnum in [23, 24, 27, 28] {
                for end in 0..bytes.len() {
                    let mut reader = Reader::new(&bytes[..end], ByteOrder::Little, Encoding::Ndr64, "test");
                    let _ = request_arguments(opnum, &mut reader).unwrap();
                }
            }
        }
    }

    wrapped! { StartType(u32) }

    samples! {
        Handle { attributes, uuid }
        OpenScManagerRequest { machine_name, database_name, desired_access }
        OpenServiceRequest { manager, service_name, desired_access }
        ServiceConfig { display_name, service_type, start_type, binary_path_name, service_start_name }
        CreateServiceRequest {
            manager, service_name, desired_access,
            config = (sample(), sample()).prop_map(|(path, config)| ServiceConfig {
                binary_path_name: Some(path),
                ..config
            })
        }
        ChangeServiceConfigRequest { service, config }
        StartServiceRequest { service, service_arguments }
    }

    impl Writer {
        /// A load order group, a tag and dependencies, and behind them the name.
        fn start_name(&mut self, name: Option<&String>) -> &mut Self {
            self.optional(Some(&"group".to_owned())).pointer().ndr_u32(7);
            self.pointer().wide(3).raw(b"a\0\0").ndr_u32(3).optional(name)
        }
    }

    writes! {
        Handle: |it, w| w.put(&it.attributes).put(&it.uuid);
        OpenScManagerRequest: |it, w| {
            w.optional(it.machine_name.as_ref()).optional(it.database_name.as_ref()).put(&it.desired_access)
        };
        OpenServiceRequest: |it, w| w.put(&it.manager).put(&it.service_name).put(&it.desired_access);
        CreateServiceRequest: |it, w| {
            let config = &it.config;
            w.put(&it.manager).put(&it.service_name).optional(config.display_name.as_ref()).put(&it.desired_access);
            w.put(&config.service_type).put(&config.start_type).ndr_u32(1).each(&config.binary_path_name);
            w.start_name(config.service_start_name.as_ref())
        };
        ChangeServiceConfigRequest: |it, w| {
            let config = &it.config;
            w.put(&it.service).put(&config.service_type).put(&config.start_type).ndr_u32(1);
            w.optional(config.binary_path_name.as_ref()).start_name(config.service_start_name.as_ref());
            w.pointer().wide(5).raw(b"sesam").ndr_u32(5).optional(config.display_name.as_ref())
        };
        StartServiceRequest: |it, w| {
            w.put(&it.service).long_count(it.service_arguments.len()).optional_strings(&it.service_arguments)
        };
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        round_trips(OpenScManagerRequest::parse);
        round_trips(OpenServiceRequest::parse);
        round_trips(CreateServiceRequest::parse);
        round_trips(ChangeServiceConfigRequest::parse);
        round_trips(StartServiceRequest::parse);
    }

    proptest! {
        #[test]
        fn mutated_and_cut_stubs_never_panic(
            which in 0..STUBS.len(),
            end in 0..400_usize,
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let (opnum, bytes) = STUBS[which];
            let mut bytes = bytes.to_vec();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(end);
            for encoding in [Encoding::Ndr20, Encoding::Ndr64] {
                let mut stub = Reader::new(&bytes, ByteOrder::Little, encoding, "test");
                let _ = request_arguments(opnum, &mut stub);
            }
        }
    }
}
