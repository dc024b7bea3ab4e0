//! What an alert that rests on a host's log says of the event.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Clsid, Guid};

use super::record::record;
use crate::time::Timestamp;

record! {
    /// What happened on a host, by its own log.
    #[derive(Default)]
    pub struct HostAlert in "host_event" {
        /// The computer, as the log spells it.
        host: Arc<str> => eve;
        /// What wrote the event: `Sysmon 1`, `Security 4688`, `DeviceProcessEvents`, `endpoint.events.process`.
        source: String => eve;
        /// The file it stands in.
        input: Arc<str> => eve;
        /// The number of the record in that file.
        record: u64 => eve;
        /// The pattern that is most telling of those that fit.
        pattern: &'static str => eve;
        /// What the event's time rests on: `utc`, `zoned`, `inferred`, `assumed`, `collected`.
        clock: &'static str => eve;
        /// The account as which the process runs.
        user: Option<Arc<str>> => eve;
        /// Its domain, or the computer's name for a local one.
        domain: Option<Arc<str>> => eve;
        /// Its SID.
        sid: Option<Arc<str>> => eve;
        /// Who called, where the log says it.
        caller: Option<CallerRecord> => group;
        /// The logon session, which ties processes to a logon.
        logon_id: Option<String> => eve;
        /// `Low`, `Medium`, `High`, `System`.
        integrity: Option<Arc<str>> => eve;
        /// The process that was started, or that the event is about.
        process: Option<ProcessRecord> => group;
        /// The process that started it.
        parent: Option<ParentRecord> => group;
        /// The class that the event names, or that the process holds.
        clsid: Option<Clsid> => eve;
        /// Its name in the catalogue.
        class: Option<String> => eve;
        /// Where the caller is, where the event says so and no connection is known: also the alert's `src_ip`.
        source_ip: Option<IpAddr> => eve;
        /// The address of the computer that was to be reached: also the alert's `dest_ip`.
        target_ip: Option<IpAddr> => eve;
        /// The computer that was to be reached, as a name or an address.
        target: Option<Arc<str>> => eve;
        /// What was denied: `Remote Launch`.
        permission: Option<Arc<str>> => eve;
        /// The text of the script that names the class, cut.
        script: Option<String> => eve;
        /// What it rests on beside the event itself.
        because: Vec<Cow<'static, str>> => eve;
        /// Other events of the same host that belong to it.
        related: Vec<RelatedEvent> => eve;
        /// How many more there are.
        related_left_out: Option<u64> => eve;
    }
}

record! {
    /// Who called.
    #[derive(Default)]
    pub struct CallerRecord in "host_event.caller" {
        /// Who called: of what COM complains of, the account that it names; of a process that was started, that of the network
        /// logon from the address and port of the connection, or with which the process's session began.
        user: Option<Arc<str>> => eve;
        /// Its domain, or the computer's name for a local one.
        domain: Option<Arc<str>> => eve;
        /// Its SID.
        sid: Option<Arc<str>> => eve;
    }
}

record! {
    /// A process of a host.
    #[derive(Default)]
    pub struct ProcessRecord in "host_event.process" {
        /// Its id.
        pid: Option<u32> => eve;
        /// Where the id is from, if not from the record.
        pid_from: Option<Arc<str>> => eve;
        /// The id that Sysmon gave it, which is never used again.
        guid: Option<Guid> => eve;
        /// The path of its image.
        image: Option<Arc<str>> => eve;
        /// Its command line.
        command_line: Option<Arc<str>> => eve;
        /// The script behind PowerShell's `-EncodedCommand`.
        decoded_command: Option<String> => eve;
    }
}

record! {
    /// The process that started another.
    #[derive(Default)]
    pub struct ParentRecord in "host_event.parent" {
        /// Its id.
        pid: Option<u32> => eve;
        /// The id that Sysmon gave it, which is never used again.
        guid: Option<Guid> => eve;
        /// The path of its image.
        image: Option<Arc<str>> => eve;
        /// Where that is from, if not from the record.
        image_from: Option<String> => eve;
        /// Its command line.
        command_line: Option<Arc<str>> => eve;
    }
}

record! {
    /// Another event that belongs to an alert.
    #[derive(Eq, PartialOrd, Ord)]
    pub struct RelatedEvent {
        /// When.
        timestamp: Timestamp => eve;
        /// What wrote it.
        source: String => eve;
        /// The file it stands in.
        input: Arc<str> => eve;
        /// The number of the record in that file.
        record: u64 => eve;
        /// What it says, in a few words.
        what: String => eve;
    }
}
