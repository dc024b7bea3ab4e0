//! [MS-TSCH] `ITaskSchedulerService`: tasks registered and run on another machine.

use crate::arguments::Arguments;
use crate::error::Result;
use crate::guid::Guid;
use crate::ndr::Reader;

/// `ITaskSchedulerService` ([MS-TSCH] 1.9 Standards Assignments).
pub const ITASK_SCHEDULER_SERVICE: Guid = Guid::new(
    0x86d3_5949,
    0x83c9,
    0x4044,
    [0xb4, 0x24, 0xdb, 0x36, 0x32, 0x31, 0xfd, 0x0c],
);
/// The most arguments that `SchRpcRun` reads.
const MAX_ARGUMENTS: usize = 1024;

/// The request of [MS-TSCH] 3.2.5.4.2 `SchRpcRegisterTask` (Opnum 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterTaskRequest {
    /// Where the task goes; None lets the server choose.
    pub path: Option<String>,
    /// The task itself ([MS-TSCH] 2.5 XML Task Definition Format).
    pub xml: String,
    /// `TASK_*` of [MS-TSCH] 2.3.7 Flags: create, update, validate only, and so on.
    pub flags: u32,
    /// Who may do what with the task.
    pub sddl: Option<String>,
    /// [MS-TSCH] 2.3.9 `TASK_LOGON_TYPE`. The credentials behind it are left unread.
    pub logon_type: u32,
}

impl RegisterTaskRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("SchRpcRegisterTask request");
        Ok(Self {
            path: reader.optional_wide_string()?,
            xml: reader.wide_string()?,
            flags: reader.u32()?,
            sddl: reader.optional_wide_string()?,
            logon_type: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("path", self.path.as_deref())
            .text("xml", Some(&self.xml))
            .flags("flags", self.flags)
            .text("sddl", self.sddl.as_deref())
            .value("logon_type", &self.logon_type)
            .done()
    }
}

/// The request of [MS-TSCH] 3.2.5.4.13 `SchRpcRun` (Opnum 12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// The task.
    pub path: String,
    /// What is handed to it.
    pub task_arguments: Vec<String>,
    /// `TASK_RUN_*`.
    pub flags: u32,
    /// The session to run in, if the flags say so.
    pub session_id: u32,
    /// Whom to run as.
    pub user: Option<String>,
}

impl RunRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("SchRpcRun request");
        let path = reader.wide_string()?;
        reader.u32()?; // cArgs
        Ok(Self {
            path,
            task_arguments: reader.optional_wide_strings("cArgs", MAX_ARGUMENTS)?,
            flags: reader.u32()?,
            session_id: reader.u32()?,
            user: reader.optional_wide_string()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("path", Some(&self.path))
            .list("arguments", &self.task_arguments)
            .flags("flags", self.flags)
            .value("session_id", &self.session_id)
            .text("user", self.user.as_deref())
            .done()
    }
}

/// The arguments of a request as text, for a log. None for what is not read here.
pub fn request_arguments(opnum: u16, reader: &mut Reader<'_>) -> Option<Result<Vec<(&'static str, String)>>> {
    match opnum {
        1 => Some(RegisterTaskRequest::parse(reader).map(|request| request.arguments())),
        12 => Some(RunRequest::parse(reader).map(|request| request.arguments())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::ByteOrder;
    use crate::names;
    use crate::ndr::Encoding;
    use crate::testing::{round_trips, samples, writes};

    const REGISTER: &[u8] = include_bytes!("../corpus/tsch/register-task-request.bin");
    const RUN: &[u8] = include_bytes!("../corpus/tsch/run-request.bin");

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test")
    }

    #[test]
    fn a_registered_task_tells_its_path_and_xml() {
        let request = RegisterTaskRequest::parse(&mut reader(REGISTER)).unwrap();
        assert_eq!(request.path.as_deref(), Some("\\update"));
        assert!(request.xml.contains("<Command>cmd.exe</Command>"));
        assert!(request.xml.ends_with("</Task>\r\n"));
        assert_eq!(
            (request.flags, request.sddl.as_deref(), request.logon_type),
            (2, None, 0)
        );
        assert_eq!(names::interface(ITASK_SCHEDULER_SERVICE), Some("ITaskSchedulerService"));
    }

    #[test]
    fn a_task_run_tells_its_path() {
        let mut stub = reader(RUN);
        let request = RunRequest::parse(&mut stub).unwrap();
        assert_eq!(request.path, "\\update");
        assert!(stub.rest().is_empty());
        let row = request_arguments(12, &mut reader(RUN)).unwrap().unwrap();
        assert_eq!(row[0], ("path", "\\update".to_owned()));
        assert!(request_arguments(0, &mut reader(RUN)).is_none());
    }

    samples! {
        RegisterTaskRequest { path, xml, flags, sddl, logon_type }
        RunRequest { path, task_arguments, flags, session_id, user }
    }

    writes! {
        RegisterTaskRequest: |it, w| {
            w.optional(it.path.as_ref()).put(&it.xml).put(&it.flags).optional(it.sddl.as_ref()).put(&it.logon_type)
        };
        RunRequest: |it, w| {
            w.put(&it.path).long_count(it.task_arguments.len()).optional_strings(&it.task_arguments);
            w.put(&it.flags).put(&it.session_id).optional(it.user.as_ref())
        };
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        round_trips(RegisterTaskRequest::parse);
        round_trips(RunRequest::parse);
    }

    proptest! {
        #[test]
        fn mutated_and_cut_stubs_never_panic(
            opnum in prop_oneof![Just(1_u16), Just(12)],
            end in 0..REGISTER.len(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut bytes = if opnum == 1 { REGISTER } else { RUN }.to_vec();
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
