//! From what a record says to an event: whose it is, when it was, what happened.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use super::clock::{self, Order, Written};
use super::event::{
    Account, Clock, Direction, FileCreate, HostBody, HostEnd, ImageLoad, Logon, LogonKind, NetworkConnect, Process,
    ProcessCreate, ProcessEnd, Registry, Script, Source,
};
use super::fields::{Field as F, Fields, Value, said};
use super::keep::Texts;
use super::report::Reason;
use super::{dcom_error, defender, endpoint};
use crate::time::Timestamp;

/// What wrote this record.
pub(super) fn source(fields: &Fields<'_>) -> Result<Source, Reason> {
    let Some(id) = fields
        .small::<u16>(F::EventId)
        .or_else(|| fields.small(F::EcsEventCode))
        .or_else(|| fields.small(F::PlainId))
    else {
        return defender::table(fields)
            .or_else(|| endpoint::source(fields))
            .ok_or(Reason::NotAnEvent)?;
    };
    let source = match fields.first(&[F::Provider, F::EcsProvider]) {
        Some(provider) => by_provider(provider, id).ok_or(Reason::OtherProvider)?,
        None => unnamed(fields, id)?,
    };
    let wanted = match source {
        Source::Sysmon(id) => matches!(id, 1 | 3 | 5 | 7 | 11..=14),
        Source::Security(id) => matches!(id, 4624 | 4625 | 4648 | 4688 | 4689 | 5156),
        Source::System(id) => matches!(id, 10016 | 10028 | 10036..=10038),
        Source::PowerShell(id) => id == 4104,
        Source::DeviceProcessEvents
        | Source::DeviceNetworkEvents
        | Source::EndpointProcess
        | Source::EndpointNetwork
        | Source::EndpointFile => true,
    };
    if wanted { Ok(source) } else { Err(Reason::NotOfInterest) }
}

/// Is this number of interest, whoever wrote it?
pub(super) fn any_wants(id: u16) -> bool {
    matches!(id, 1 | 3 | 5 | 7 | 11..=14 | 4104 | 4624 | 4625 | 4648 | 4688 | 4689 | 5156 | 10016 | 10028 | 10036..=10038)
}

/// Why an event whose number is not is passed over.
pub(super) fn unwanted(provider: &str, id: u16) -> Reason {
    by_provider(provider, id).map_or(Reason::OtherProvider, |_| Reason::NotOfInterest)
}

/// Where no provider is named as one.
fn unnamed(fields: &Fields<'_>, id: u16) -> Result<Source, Reason> {
    let named = fields.text(F::EventSource);
    if let Some(source) = named.and_then(|named| by_provider(named, id)) {
        return Ok(source);
    }
    // `XmlWinEventLog:Security`
    let splunk = || Some(fields.text(F::SplunkSource)?.split_once("WinEventLog:")?.1);
    let channel = fields.text(F::Channel).or_else(splunk).ok_or(Reason::NotAnEvent)?;
    by_channel(channel, id)
        .filter(|source| named.is_none() || !matches!(source, Source::System(_)))
        .ok_or(Reason::OtherProvider)
}

fn by_provider(provider: &str, id: u16) -> Option<Source> {
    Some(match provider {
        "Microsoft-Windows-Sysmon" | "Sysmon" => Source::Sysmon(id),
        "Microsoft-Windows-Security-Auditing" | "Sec" | "Microsoft Windows security auditing." => Source::Security(id),
        "Microsoft-Windows-DistributedCOM" | "DistributedCOM" | "DCOM" => Source::System(id),
        "Microsoft-Windows-PowerShell" | "PowerShellCore" => Source::PowerShell(id),
        _ => return None,
    })
}

/// Where the provider is not said. In these channels there is none but theirs, except for System. The short names are Hayabusa's.
fn by_channel(channel: &str, id: u16) -> Option<Source> {
    let is = |name: &str| channel.eq_ignore_ascii_case(name);
    if is("Microsoft-Windows-Sysmon/Operational") || is("Sysmon") {
        Some(Source::Sysmon(id))
    } else if is("Security") || is("Sec") {
        Some(Source::Security(id))
    } else if (is("System") || is("Sys")) && matches!(id, 10016 | 10028 | 10036..=10038) {
        Some(Source::System(id))
    } else if [
        "Microsoft-Windows-PowerShell/Operational",
        "PowerShellCore/Operational",
        "PwSh",
        "PwShCore",
    ]
    .into_iter()
    .any(is)
    {
        Some(Source::PowerShell(id))
    } else {
        None
    }
}

/// The computer's name, as the record has it. A collector's own name only where there is no other.
pub(super) fn host<'f>(fields: &'f Fields<'_>) -> Option<&'f str> {
    fields.first(&[F::Computer, F::DeviceName, F::EcsHost, F::Collector])
}

/// The times of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// What the event itself says: in UTC.
    pub(super) own: Option<Timestamp>,
    /// When it was logged, in UTC or with a zone.
    pub(super) logged: Option<(Timestamp, Clock)>,
    /// When it was logged, in local time; a `Z` behind it may be false.
    pub(super) local: Option<Written>,
    /// When it was collected: in the collector's own local time, where no zone is said.
    pub(super) collected: Option<Written>,
    /// Which of day and month comes first, where one of the times tells.
    pub(super) order: Option<Order>,
}

fn time(fields: &Fields<'_>, field: F) -> Option<Written> {
    match fields.get(field)? {
        Value::Text(text) => clock::written(text),
        Value::Number(number) => clock::epoch(*number, 0),
        // Seconds with a fraction: a double holds them to the microsecond.
        Value::Fraction(seconds) => clock::written(&format!("{seconds:.6}")),
        Value::Flag(_) => None,
    }
}

/// `order` is that of the log's other times.
pub(super) fn times(fields: &Fields<'_>, order: Option<Order>) -> Times {
    let told = Cell::new(None);
    let time = |field| {
        let written = time(fields, field)?;
        told.set(told.get().or(written.order));
        Some(written.in_order(order))
    };
    let mut times = Times {
        own: time(F::UtcTime).map(Written::utc),
        ..Times::default()
    };
    let is_of_endpoint = endpoint::source(fields).is_some();
    let ecs = fields.has(F::WinlogApi) || fields.has(F::EcsEventCode) || is_of_endpoint;
    let at_timestamp = ecs.then(|| time(F::AtTimestamp)).flatten();
    if is_of_endpoint && endpoint::began_earlier(fields) {
        times.collected = at_timestamp;
        return times;
    }
    let certain = time(F::SystemTime)
        // Kibana writes it in the browser's zone, and none behind it.
        .or(at_timestamp.filter(|at| at.zone.is_some()))
        .or_else(|| {
            fields
                .has(F::DeviceName)
                .then(|| time(F::Timestamp).or_else(|| time(F::TimeGenerated)))?
        })
        .or_else(|| fields.has(F::ChunkNumber).then(|| time(F::LocalTime))?);
    if let Some(certain) = certain {
        if certain.is_doubtful() {
            let mut local = certain;
            local.zone = local.zone.or(Some(0));
            times.local = Some(local);
        } else {
            times.logged = Some((certain.utc(), Clock::Utc));
        }
        times.order = told.get();
        return times;
    }
    match at_timestamp
        .or_else(|| time(F::LocalTime))
        .or_else(|| time(F::RegionTime).map(Written::of_any_region))
        .or_else(|| time(F::TimeGenerated))
        .or_else(|| time(F::Timestamp))
    {
        Some(written) if written.zone.is_some_and(|zone| zone != 0) => times.logged = Some(zoned(written)),
        local => times.local = local,
    }
    if times.logged.is_none() && times.local.is_none() {
        times.logged = time(F::Indexed).map(zoned);
    }
    let mut collected = [F::AtTimestamp, F::Received, F::Indexed]
        .into_iter()
        .filter_map(time)
        .peekable();
    let first = collected.peek().copied();
    times.collected = collected.find(|written| written.zone.is_some()).or(first);
    times.order = told.get().or_else(|| times.local?.order_by(times.own?));
    times
}

/// A time by its own zone, if it has one.
fn zoned(written: Written) -> (Timestamp, Clock) {
    let clock = match written.zone {
        Some(_) if !written.is_doubtful() => Clock::Zoned,
        _ => Clock::Assumed,
    };
    (written.utc(), clock)
}

/// What happened.
pub(super) fn body(source: Source, fields: &Fields<'_>, texts: &mut Texts) -> Option<HostBody> {
    let mut maker = Maker { fields, texts };
    Some(match source {
        Source::Sysmon(1) => HostBody::ProcessCreate(told(maker.sysmon_create())?),
        Source::Sysmon(3) => HostBody::NetworkConnect(Box::new(maker.sysmon_connect()?)),
        Source::Sysmon(5) => HostBody::ProcessEnd(Box::new(ProcessEnd {
            process: maker.sysmon_process(),
        })),
        Source::Sysmon(7) => HostBody::ImageLoad(Box::new(ImageLoad {
            process: maker.sysmon_process(),
            path: maker.name(&[F::ImageLoaded, F::EcsFilePath]),
            signed: fields.flag(F::Signed),
        })),
        Source::Sysmon(11) => HostBody::FileCreate(Box::new(FileCreate {
            process: maker.sysmon_process(),
            path: maker.text(&[F::TargetFilename, F::EcsFilePath]),
        })),
        Source::Sysmon(id) => HostBody::Registry(Box::new(maker.registry(id))),
        Source::Security(4688) => HostBody::ProcessCreate(told(maker.security_create())?),
        Source::Security(4689) => HostBody::ProcessEnd(Box::new(ProcessEnd {
            process: maker.process(F::ProcessId, F::ProcessName),
        })),
        Source::Security(5156) => HostBody::NetworkConnect(Box::new(maker.filter_connect()?)),
        Source::Security(id) => HostBody::Logon(Box::new(maker.logon(id))),
        Source::System(id) => HostBody::DcomError(Box::new(dcom_error::read(id, fields, maker.texts))),
        Source::PowerShell(_) => HostBody::Script(Box::new(maker.script()?)),
        Source::DeviceProcessEvents => HostBody::ProcessCreate(told(defender::process(fields, maker.texts))?),
        Source::DeviceNetworkEvents => HostBody::NetworkConnect(Box::new(defender::connect(fields, maker.texts)?)),
        Source::EndpointProcess if endpoint::has_ended(fields) => HostBody::ProcessEnd(Box::new(ProcessEnd {
            process: maker.sysmon_process(),
        })),
        Source::EndpointProcess => HostBody::ProcessCreate(told(maker.endpoint_create())?),
        Source::EndpointNetwork => HostBody::NetworkConnect(Box::new(maker.endpoint_connect()?)),
        Source::EndpointFile => HostBody::FileCreate(Box::new(FileCreate {
            process: maker.sysmon_process(),
            path: maker.text(&[F::EcsFilePath]),
        })),
    })
}

/// A start of a process, if it says of which.
fn told(create: ProcessCreate) -> Option<Box<ProcessCreate>> {
    let Process {
        pid,
        image,
        command_line,
        ..
    } = &create.process;
    let says = pid.is_some() || image.is_some() || command_line.is_some();
    says.then(|| Box::new(create))
}

struct Maker<'r, 'a> {
    fields: &'r Fields<'a>,
    texts: &'r mut Texts,
}

/// An address, also an IPv4 one in IPv6's clothes.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// `DOMAIN\user`.
pub(super) fn account(text: &str, texts: &mut Texts) -> Account {
    let (domain, user) = match text.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, text),
    };
    Account {
        user: said(user).map(|user| texts.name(user)),
        domain: domain.and_then(said).map(|domain| texts.name(domain)),
        ..Account::default()
    }
}

impl Maker<'_, '_> {
    fn name(&mut self, fields: &[F]) -> Option<Arc<str>> {
        self.fields.first(fields).map(|text| self.texts.name(text))
    }

    fn text(&mut self, fields: &[F]) -> Option<Arc<str>> {
        self.fields.first(fields).map(|text| self.texts.text(text))
    }

    fn guid(&self, fields: &[F]) -> Option<Guid> {
        self.fields
            .first(fields)
            .and_then(Guid::parse)
            .filter(|guid| !guid.is_null())
    }

    fn number<T: TryFrom<u64>>(&self, fields: &[F]) -> Option<T> {
        fields.iter().find_map(|field| self.fields.small(*field))
    }

    fn sysmon_process(&mut self) -> Process {
        Process {
            pid: self.number(&[F::ProcessId, F::EcsPid]),
            guid: self.guid(&[F::ProcessGuid, F::EcsGuid]),
            image: self.name(&[F::Image, F::EcsImage]),
            ..Process::default()
        }
    }

    /// Sysmon's `User`, or the ECS fields it was taken apart into.
    fn sysmon_account(&mut self) -> Account {
        match self.fields.text(F::User) {
            Some(user) => account(user, self.texts),
            None => Account {
                user: self.name(&[F::EcsUserName]),
                domain: self.name(&[F::EcsUserDomain]),
                ..Account::default()
            },
        }
    }

    fn sysmon_create(&mut self) -> ProcessCreate {
        ProcessCreate {
            process: Process {
                command_line: self.text(&[F::CommandLine, F::EcsCommandLine]),
                ..self.sysmon_process()
            },
            parent: Process {
                pid: self.number(&[F::ParentProcessId, F::EcsParentPid]),
                pid_from: None,
                guid: self.guid(&[F::ParentProcessGuid, F::EcsParentGuid]),
                image: self.name(&[F::ParentImage, F::EcsParentImage]),
                command_line: self.text(&[F::ParentCommandLine, F::EcsParentCommandLine]),
            },
            account: Account {
                logon_id: self.fields.number(F::LogonId),
                ..self.sysmon_account()
            },
            integrity: self.name(&[F::IntegrityLevel]),
            hashes: self.text(&[F::Hashes]),
        }
    }

    fn end(&self, ip: &[F], port: &[F]) -> Option<HostEnd> {
        Some(HostEnd {
            ip: address(self.fields.first(ip)?)?,
            port: self.number(port)?,
        })
    }

    fn sysmon_connect(&mut self) -> Option<NetworkConnect> {
        let direction = match (self.fields.flag(F::Initiated), self.fields.text(F::EcsDirection)) {
            (Some(true), _) | (None, Some("outbound" | "egress" | "outgoing")) => Some(Direction::Outbound),
            (Some(false), _) | (None, Some("inbound" | "ingress" | "incoming")) => Some(Direction::Inbound),
            _ => None,
        };
        Some(NetworkConnect {
            process: self.sysmon_process(),
            account: self.sysmon_account(),
            protocol: self.fields.first(&[F::Protocol, F::EcsTransport]).and_then(protocol),
            direction,
            source: self.end(&[F::SourceIp, F::EcsSourceIp], &[F::SourcePort, F::EcsSourcePort])?,
            source_name: self.name(&[F::SourceHostname, F::EcsSourceName]),
            destination: self.end(
                &[F::DestinationIp, F::EcsDestinationIp],
                &[F::DestinationPort, F::EcsDestinationPort],
            )?,
            destination_name: self.name(&[F::DestinationHostname, F::EcsDestinationName]),
        })
    }

    /// Elastic Defend names as Winlogbeat does what Sysmon says, and has the account's SID. Its ids of processes are none of Sysmon's.
    fn endpoint_create(&mut self) -> ProcessCreate {
        let create = self.sysmon_create();
        ProcessCreate {
            account: Account {
                sid: self.name(&[F::EcsUserId]),
                ..create.account
            },
            integrity: self.integrity(F::IntegrityLevel),
            hashes: defender::hashes(self.fields, self.texts),
            ..create
        }
    }

    fn endpoint_connect(&mut self) -> Option<NetworkConnect> {
        let connect = self.sysmon_connect()?;
        Some(NetworkConnect {
            account: Account {
                sid: self.name(&[F::EcsUserId]),
                ..connect.account
            },
            direction: connect.direction.or_else(|| Some(endpoint::direction(self.fields))),
            ..connect
        })
    }

    fn integrity(&mut self, field: F) -> Option<Arc<str>> {
        let level = self.fields.text(field).and_then(integrity);
        level.map(|level| self.texts.name(level))
    }

    fn registry(&mut self, id: u16) -> Registry {
        let said = self.fields.text(F::EventType).filter(|operation| {
            // NXLog puts its own `INFO` in the place of Sysmon's word.
            ["SetValue", "CreateKey", "DeleteKey", "DeleteValue", "RenameKey"].contains(operation)
        });
        let operation = said.or(match id {
            // Number 13 is of values that are set, whether it says so again or not.
            13 => Some("SetValue"),
            _ => None,
        });
        Registry {
            operation: operation.map(|operation| self.texts.name(operation)),
            process: self.sysmon_process(),
            object: self.text(&[F::TargetObject, F::EcsRegistryPath]),
            details: self.text(if id == 14 {
                &[F::NewName, F::EcsRegistryData]
            } else {
                &[F::Details, F::EcsRegistryData]
            }),
        }
    }

    fn process(&mut self, pid: F, image: F) -> Process {
        Process {
            pid: self.number(&[pid, F::EcsPid]),
            image: self.name(&[image, F::EcsImage]),
            ..Process::default()
        }
    }

    /// The account of one of Windows' own groups of fields.
    fn account(&mut self, [user, domain, sid, logon]: [F; 4]) -> Account {
        Account {
            user: self.name(&[user]),
            domain: self.name(&[domain]),
            sid: self.name(&[sid]),
            logon_id: self.fields.number(logon),
        }
    }

    fn security_create(&mut self) -> ProcessCreate {
        let subject = self.account(SUBJECT);
        let target = self.account(TARGET);
        // The target is there when the process runs as someone else than who started it.
        let account = if target.user.is_some() { target } else { subject };
        ProcessCreate {
            process: Process {
                pid: self.number(&[F::NewProcessId, F::EcsPid]),
                image: self.name(&[F::NewProcessName, F::EcsImage]),
                command_line: self.text(&[F::CommandLine, F::ProcessCommandLine, F::EcsCommandLine]),
                ..Process::default()
            },
            parent: Process {
                pid: self.number(&[F::ProcessId, F::EcsParentPid]),
                image: self.name(&[F::ParentProcessName, F::EcsParentImage]),
                ..Process::default()
            },
            account,
            integrity: self.integrity(F::MandatoryLabel),
            hashes: None,
        }
    }

    fn filter_connect(&mut self) -> Option<NetworkConnect> {
        let direction = match self.fields.first(&[F::Direction, F::EcsDirection]) {
            Some("%%14592" | "Inbound" | "inbound" | "ingress") => Some(Direction::Inbound),
            Some("%%14593" | "Outbound" | "outbound" | "egress") => Some(Direction::Outbound),
            _ => None,
        };
        Some(NetworkConnect {
            process: self.process(F::ProcessId, F::Application),
            account: Account::default(),
            protocol: self.number(&[F::Protocol]),
            direction,
            source: self.end(&[F::SourceAddress, F::EcsSourceIp], &[F::SourcePort, F::EcsSourcePort])?,
            source_name: None,
            destination: self.end(
                &[F::DestAddress, F::EcsDestinationIp],
                &[F::DestPort, F::EcsDestinationPort],
            )?,
            destination_name: None,
        })
    }

    fn logon(&mut self, id: u16) -> Logon {
        let kind = match id {
            4625 => LogonKind::Failed,
            4648 => LogonKind::Explicit,
            _ => LogonKind::Succeeded,
        };
        let mut account = self.account(TARGET);
        if kind == LogonKind::Explicit {
            account.logon_id = self.fields.number(F::SubjectLogonId);
        }
        Logon {
            kind,
            // Hayabusa says it in words as well: `3 - NETWORK`.
            logon_type: self.number(&[F::LogonType]).or_else(|| {
                let (number, _) = self.fields.text(F::LogonType)?.split_once(" - ")?;
                number.parse().ok()
            }),
            account,
            workstation: self.name(&[F::WorkstationName]),
            address: self.fields.first(&[F::IpAddress, F::EcsSourceIp]).and_then(address),
            port: self.number(&[F::IpPort, F::EcsSourcePort]),
            package: self.name(&[F::AuthenticationPackageName]),
            status: (kind == LogonKind::Failed).then(|| self.number(&[F::Status])).flatten(),
            target_server: self.name(&[F::TargetServerName]),
            process: {
                // Process 0 is none.
                let process = self.process(F::ProcessId, F::ProcessName);
                Process {
                    pid: process.pid.filter(|pid| *pid != 0),
                    ..process
                }
            },
        }
    }

    fn script(&mut self) -> Option<Script> {
        Some(Script {
            text: self.text(&[F::ScriptBlockText, F::EcsScriptText])?,
            block: self.guid(&[F::ScriptBlockId, F::EcsScriptId]),
            part: self
                .number(&[F::MessageNumber, F::EcsSequence])
                .zip(self.number(&[F::MessageTotal, F::EcsTotal])),
            path: self.text(&[F::Path]),
            process: Process::default(),
        })
    }
}

pub(super) const SUBJECT: [F; 4] = [
    F::SubjectUserName,
    F::SubjectDomainName,
    F::SubjectUserSid,
    F::SubjectLogonId,
];
pub(super) const TARGET: [F; 4] = [
    F::TargetUserName,
    F::TargetDomainName,
    F::TargetUserSid,
    F::TargetLogonId,
];

fn protocol(text: &str) -> Option<u8> {
    match text {
        "tcp" | "Tcp" | "TCP" => Some(6),
        "udp" | "Udp" | "UDP" => Some(17),
        number => number.parse().ok(),
    }
}

/// [MS-DTYP] 2.4.2.4: the well-known SIDs of integrity levels; as Windows shows them, and as Hayabusa and Elastic Defend write them.
fn integrity(label: &str) -> Option<&'static str> {
    let label = label.strip_prefix("Mandatory Label\\").unwrap_or(label);
    Some(match label {
        "S-1-16-0" | "Untrusted Mandatory Level" | "UNTRUSTED" | "untrusted" => "Untrusted",
        "S-1-16-4096" | "Low Mandatory Level" | "LOW_INTEGRITY" | "low" => "Low",
        "S-1-16-8192" | "Medium Mandatory Level" | "MEDIUM_INTEGRITY" | "medium" => "Medium",
        "S-1-16-8448" | "Medium Plus Mandatory Level" | "MEDIUM_HIGH_INTEGRITY" => "MediumPlus",
        "S-1-16-12288" | "High Mandatory Level" | "HIGH_INTEGRITY" | "high" => "High",
        "S-1-16-16384" | "System Mandatory Level" | "SYSTEM_INTEGRITY" | "system" => "System",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_provider_wants_any_wants() {
        let providers = [
            "Microsoft-Windows-Sysmon",
            "Microsoft-Windows-Security-Auditing",
            "Microsoft-Windows-DistributedCOM",
            "Microsoft-Windows-PowerShell",
        ];
        for id in 0..=u16::MAX {
            let wanted = providers.into_iter().any(|provider| {
                let mut fields = Fields::default();
                fields.put(F::EventId, Value::Number(id.into()), false);
                fields.put(F::Provider, Value::Text(provider.into()), false);
                source(&fields).is_ok()
            });
            assert_eq!(any_wants(id), wanted, "{id}");
        }
    }
}
