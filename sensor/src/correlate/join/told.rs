//! Events and processes as a record tells them.

use std::sync::Arc;

use super::super::skew::Signed;
use super::{CLOSE, Sighting, Started};
use crate::event::host::{
    ClientProcessRecord, HostRecord, LogonRecord, Matched, ParentRecord, PlaceRecord, ProcessRecord, Role, SkewRecord,
};
use crate::event::record::{Interval, Port};
use crate::host_log::HostEvent;
use crate::host_log::event::{Account, Logon, Process, Source};
use crate::path::file_name;
use crate::time::Timestamp;

pub(super) fn client_side(sightings: &[Sighting<'_>], record: &mut HostRecord) {
    let clients = sightings.iter().filter(|it| it.role == Role::Client);
    let best = clients.min_by_key(|it| (!it.dynamic, it.connect.process.pid.is_none()));
    record.client_process = best.map(|it| ClientProcessRecord {
        pid: it.connect.process.pid,
        image: it.connect.process.image.clone(),
        user: account(&it.connect.account),
    });
}

pub(super) fn processes(
    child: Option<&Started<'_>>,
    server: Option<&Started<'_>>,
    owner: Option<Sighting<'_>>,
    record: &mut HostRecord,
) {
    if let Some(started) = child.or(server) {
        let create = started.create;
        record.process = Some(ProcessRecord {
            pid: started.pid(),
            ..process_record(&create.process, account(&create.account))
        });
        record.parent = Some(ParentRecord {
            pid: create.parent.pid,
            image: create.parent.image.clone(),
            command_line: create.parent.command_line.clone(),
        });
        // A pid that the record lacks, the connection may tell.
        if child.is_none()
            && let (Some(record), Some(owner)) = (&mut record.process, owner)
        {
            record.pid = record.pid.or(owner.connect.process.pid);
        }
    } else if let Some(owner) = owner {
        record.process = Some(process_record(&owner.connect.process, account(&owner.connect.account)));
    }
}

/// All but Windows' own log know times to the millisecond, and parents by name.
pub(super) fn precision(event: &HostEvent) -> u8 {
    match event.source {
        Source::Security(_) | Source::System(_) | Source::PowerShell(_) => 1,
        _ => 0,
    }
}

pub(super) fn tell_source(event: &HostEvent, at: Timestamp, record: &mut HostRecord) {
    let delta = event.time.since(at);
    record.time_delta = Some(Interval(delta));
    record.source = Some(event.source.to_string());
    record.place = Some(place(event));
    if delta.abs() <= CLOSE && !record.matched_on.contains(&Matched::Time) {
        record.matched_on.push(Matched::Time);
    }
}

/// What was told last has a time that fits by the host's clock as it was measured, and not as it is.
pub(super) fn tell_skew(skew: &mut Option<SkewRecord>, record: &mut HostRecord) {
    let Some(skew) = skew else { return };
    skew.used = true;
    let connections = if skew.connections == 1 {
        "connection"
    } else {
        "connections"
    };
    record.because.push(format!(
        "its time fits if the host's clock is {} from the wire's, as {} {connections} of {} say",
        Signed(skew.median.0),
        skew.connections,
        skew.source,
    ));
}

pub(super) fn place(event: &HostEvent) -> PlaceRecord {
    PlaceRecord {
        input: Some(Arc::clone(&event.place.input)),
        record: event.place.record,
        timestamp: event.time,
    }
}

pub(super) fn process_record(process: &Process, user: Option<String>) -> ProcessRecord {
    ProcessRecord {
        pid: process.pid,
        image: process.image.clone(),
        command_line: process.command_line.clone(),
        user,
    }
}

pub(super) fn logon_record(logon: &Logon) -> LogonRecord {
    LogonRecord {
        user: account(&logon.account),
        id: logon.account.logon_id.map(|id| format!("{id:#x}")),
        package: logon.package.clone(),
        port: logon.port.map(Port),
    }
}

pub(super) fn account(account: &Account) -> Option<String> {
    let user = account.user.as_deref().filter(|user| !user.is_empty())?;
    Some(match account.domain.as_deref().filter(|domain| !domain.is_empty()) {
        Some(domain) if !user.contains('\\') => format!("{domain}\\{user}"),
        _ => user.to_owned(),
    })
}

/// `cmd.exe (pid 6108)`.
pub(super) fn process(process: &Process) -> String {
    brief(process.image.as_deref(), process.pid)
}

/// The same, of what a record tells of a process.
pub(in crate::correlate) fn brief(image: Option<&str>, pid: Option<u32>) -> String {
    let name = image.map_or("a process", file_name);
    match pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name.to_owned(),
    }
}
