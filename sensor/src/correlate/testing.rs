//! Hand-made host events.

use std::sync::Arc;

use crate::host_log::event::{
    Account, Clock, DcomError, Direction, HostEnd, Logon, NetworkConnect, Place, Process, ProcessCreate, Source,
};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

pub(crate) fn event(host: &str, at: i64, source: Source, body: HostBody) -> HostEvent {
    HostEvent {
        time: Timestamp(at),
        clock: Clock::Utc,
        logged: None,
        host: host.into(),
        source,
        place: Place {
            input: Arc::from("host.ndjson"),
            record: 1,
        },
        body,
    }
}

fn end(text: &str) -> HostEnd {
    let end: std::net::SocketAddr = text.parse().expect("an address and a port");
    HostEnd {
        ip: end.ip(),
        port: end.port(),
    }
}

/// A connection from outside.
pub(crate) fn connect(host: &str, at: i64, from: &str, to: &str) -> HostEvent {
    owned(host, at, from, to, 4, "System", Direction::Inbound)
}

/// A connection of a process.
pub(crate) fn owned(
    host: &str,
    at: i64,
    from: &str,
    to: &str,
    pid: u32,
    image: &str,
    direction: Direction,
) -> HostEvent {
    let body = NetworkConnect {
        process: Process {
            pid: Some(pid),
            image: Some(image.into()),
            ..Process::default()
        },
        account: Account::default(),
        protocol: Some(6),
        direction: Some(direction),
        source: end(from),
        source_name: None,
        destination: end(to),
        destination_name: None,
    };
    event(
        host,
        at,
        Source::Security(5156),
        HostBody::NetworkConnect(Box::new(body)),
    )
}

/// A process and who started it, each `(pid, image)`.
pub(crate) fn create(host: &str, at: i64, parent: (u32, &str), child: (u32, &str), line: Option<&str>) -> HostEvent {
    let process = |(pid, image): (u32, &str)| Process {
        pid: Some(pid),
        image: Some(image.into()),
        ..Process::default()
    };
    let body = ProcessCreate {
        process: Process {
            command_line: line.map(Arc::from),
            ..process(child)
        },
        parent: process(parent),
        ..ProcessCreate::default()
    };
    event(host, at, Source::Sysmon(1), HostBody::ProcessCreate(Box::new(body)))
}

pub(crate) fn logon(host: &str, at: i64, user: &str, from: &str) -> HostEvent {
    let from = end(from);
    let body = Logon {
        logon_type: Some(3),
        account: Account {
            user: Some(user.into()),
            ..Account::default()
        },
        address: Some(from.ip),
        port: Some(from.port),
        ..Logon::default()
    };
    event(host, at, Source::Security(4624), HostBody::Logon(Box::new(body)))
}

pub(crate) fn dcom_error(host: &str, at: i64, id: u16, body: DcomError) -> HostEvent {
    event(host, at, Source::System(id), HostBody::DcomError(Box::new(body)))
}
