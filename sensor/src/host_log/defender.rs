//! Rows of Microsoft Defender's tables, as Sentinel and the portal export them.

use std::sync::Arc;

use super::event::{Account, Direction, HostEnd, NetworkConnect, Process, ProcessCreate, Source};
use super::fields::{Field as F, Fields};
use super::interpret::address;
use super::keep::Texts;
use super::report::Reason;

/// Which table this is a row of, if any. Exports of one table do not name it: then its columns tell.
pub(super) fn table(fields: &Fields<'_>) -> Option<Result<Source, Reason>> {
    if !fields.has(F::DeviceName) {
        return None;
    }
    let action = fields.text(F::ActionType);
    let name = fields.text(F::Table);
    let named = match name.map(|name| name.strip_prefix("AdvancedHunting-").unwrap_or(name)) {
        Some("DeviceProcessEvents") => Some(Source::DeviceProcessEvents),
        Some("DeviceNetworkEvents") => Some(Source::DeviceNetworkEvents),
        Some(table) if table.starts_with("Device") => return Some(Err(Reason::NotOfInterest)),
        _ => None,
    };
    let source = named.or_else(|| match action {
        Some("ProcessCreated") => Some(Source::DeviceProcessEvents),
        Some(action) if action.starts_with("Connection") || action.starts_with("InboundConnection") => {
            Some(Source::DeviceNetworkEvents)
        }
        None if fields.has(F::RemoteIp) => Some(Source::DeviceNetworkEvents),
        None if fields.has(F::ProcessCommandLine) => Some(Source::DeviceProcessEvents),
        _ => None,
    });
    Some(match (source, action) {
        (None, _) => Err(Reason::NotOfInterest),
        // No connection was made.
        (Some(Source::DeviceNetworkEvents), Some("ConnectionFailed" | "ListeningConnectionCreated")) => {
            Err(Reason::NotOfInterest)
        }
        (Some(source), _) => Ok(source),
    })
}

pub(super) fn process(fields: &Fields<'_>, texts: &mut Texts) -> ProcessCreate {
    ProcessCreate {
        process: Process {
            pid: fields.small(F::ProcessId),
            image: path(fields, F::FolderPath, F::FileName, texts),
            command_line: fields.text(F::ProcessCommandLine).map(|line| texts.text(line)),
            ..Process::default()
        },
        parent: initiator(fields, texts),
        account: Account {
            logon_id: fields.number(F::LogonId),
            ..account(fields, [F::AccountName, F::AccountDomain, F::AccountSid], texts)
        },
        integrity: fields.text(F::ProcessIntegrityLevel).map(|level| texts.name(level)),
        hashes: hashes(fields, texts),
    }
}

/// As Sysmon writes them.
pub(super) fn hashes(fields: &Fields<'_>, texts: &mut Texts) -> Option<Arc<str>> {
    let all: Vec<String> = [("MD5", F::Md5), ("SHA1", F::Sha1), ("SHA256", F::Sha256)]
        .into_iter()
        .filter_map(|(name, field)| Some(format!("{name}={}", fields.text(field)?)))
        .collect();
    (!all.is_empty()).then(|| texts.text(&all.join(",")))
}

pub(super) fn connect(fields: &Fields<'_>, texts: &mut Texts) -> Option<NetworkConnect> {
    let end = |ip, port| {
        Some(HostEnd {
            ip: address(fields.text(ip)?)?,
            port: fields.small(port)?,
        })
    };
    let (local, remote) = (end(F::LocalIp, F::LocalPort)?, end(F::RemoteIp, F::RemotePort)?);
    let inbound = fields
        .text(F::ActionType)
        .is_some_and(|action| action.starts_with("Inbound"));
    let name = fields.text(F::RemoteUrl).map(|name| texts.name(name));
    // The table knows local and remote only; the source is who began.
    let (source, destination, source_name, destination_name) = if inbound {
        (remote, local, name, None)
    } else {
        (local, remote, None, name)
    };
    Some(NetworkConnect {
        process: initiator(fields, texts),
        account: account(
            fields,
            [
                F::InitiatingProcessAccountName,
                F::InitiatingProcessAccountDomain,
                F::InitiatingProcessAccountSid,
            ],
            texts,
        ),
        protocol: match fields.text(F::Protocol) {
            Some("Tcp" | "TCP" | "TcpV4" | "TcpV6") => Some(6),
            Some("Udp" | "UDP") => Some(17),
            _ => None,
        },
        direction: match fields.text(F::ActionType) {
            Some(_) if inbound => Some(Direction::Inbound),
            Some("ConnectionSuccess" | "ConnectionAttempt" | "ConnectionRequest") => Some(Direction::Outbound),
            _ => None,
        },
        source,
        source_name,
        destination,
        destination_name,
    })
}

fn initiator(fields: &Fields<'_>, texts: &mut Texts) -> Process {
    Process {
        pid: fields.small(F::InitiatingProcessId),
        image: path(
            fields,
            F::InitiatingProcessFolderPath,
            F::InitiatingProcessFileName,
            texts,
        ),
        command_line: fields
            .text(F::InitiatingProcessCommandLine)
            .map(|line| texts.text(line)),
        ..Process::default()
    }
}

fn account(fields: &Fields<'_>, [user, domain, sid]: [F; 3], texts: &mut Texts) -> Account {
    let mut name = |field| fields.text(field).map(|text| texts.name(text));
    Account {
        user: name(user),
        domain: name(domain),
        sid: name(sid),
        logon_id: None,
    }
}

/// `FolderPath` is the whole path in most rows and the folder alone in some.
fn path(fields: &Fields<'_>, folder: F, file: F, texts: &mut Texts) -> Option<Arc<str>> {
    match (fields.text(folder), fields.text(file)) {
        (Some(folder), Some(file)) if !folder.to_lowercase().ends_with(&file.to_lowercase()) => {
            Some(texts.name(&format!("{}\\{file}", folder.trim_end_matches('\\'))))
        }
        (Some(path), _) | (None, Some(path)) => Some(texts.name(path)),
        (None, None) => None,
    }
}
