//! Hand-made host events for tests.

use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use crate::host_log::event::{
    Account, Clock, Direction, HostBody, HostEnd, HostEvent, NetworkConnect, Place, Process, ProcessCreate, Script,
    Source,
};
use crate::time::Timestamp;

pub(super) const HOST: &str = "WS6.lab.example";

/// An event of that second, in the record of that number.
pub(super) fn event(second: i64, record: u64, source: Source, body: HostBody) -> HostEvent {
    HostEvent {
        time: Timestamp::new(1_600_000_000 + second, 0),
        clock: Clock::Utc,
        logged: None,
        host: HOST.into(),
        source,
        place: Place {
            input: "log.ndjson".into(),
            record,
        },
        body,
    }
}

pub(super) fn process((name, pid): (&str, u32), command_line: &str) -> Process {
    Process {
        pid: Some(pid),
        image: Some(Arc::from(format!(r"C:\Windows\System32\{name}"))),
        command_line: (!command_line.is_empty()).then(|| command_line.into()),
        ..Process::default()
    }
}

/// Sysmon 1: a process, and the one that started it.
pub(super) fn created(
    second: i64,
    record: u64,
    parent: (&str, u32),
    child: (&str, u32),
    command_line: &str,
) -> HostEvent {
    started(second, record, process(parent, ""), process(child, command_line))
}

pub(super) fn started(second: i64, record: u64, parent: Process, process: Process) -> HostEvent {
    let create = ProcessCreate {
        process,
        parent,
        account: Account {
            user: Some("alice".into()),
            domain: Some("LAB".into()),
            ..Account::default()
        },
        ..ProcessCreate::default()
    };
    event(
        second,
        record,
        Source::Sysmon(1),
        HostBody::ProcessCreate(Box::new(create)),
    )
}

/// Sysmon 3: a connection to a process.
pub(super) fn inbound(second: i64, record: u64, to: (&str, u32), from: &str) -> HostEvent {
    let end = |ip: &str, port| HostEnd {
        ip: ip.parse::<IpAddr>().expect("an address"),
        port,
    };
    let connect = NetworkConnect {
        process: process(to, ""),
        account: Account::default(),
        protocol: Some(6),
        direction: Some(Direction::Inbound),
        source: end(from, 50_000),
        source_name: None,
        destination: end("192.0.2.10", 49_670),
        destination_name: None,
    };
    event(
        second,
        record,
        Source::Sysmon(3),
        HostBody::NetworkConnect(Box::new(connect)),
    )
}

/// PowerShell 4104; the script is told by the second.
pub(super) fn script(second: i64, record: u64, text: &str, part: Option<(u32, u32)>) -> HostEvent {
    let script = Script {
        text: text.into(),
        block: Guid::parse(&format!("00000000-0000-0000-0000-{second:012x}")),
        part,
        path: None,
        process: process(("powershell.exe", 77), ""),
    };
    event(
        second,
        record,
        Source::PowerShell(4104),
        HostBody::Script(Box::new(script)),
    )
}
