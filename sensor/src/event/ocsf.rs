//! Alerts, and what a host's log says of one later, as Detection Findings of the Open Cybersecurity Schema Framework.

use std::net::IpAddr;
use std::sync::Arc;

use super::dcom::{Evidence as Grade, Kind};
use super::ecs::transport;
use super::meta::Protocol;
use super::parties::{End, Parties, Process, Technique, User, spaced, techniques};
use super::record::{Column, Port, Record, Value, record};
use super::{Alert, Body, Dcom, Event};
use crate::flow::{CommunityId, Uid};
use crate::severity::Severity;

/// The version of the schema: what is used is in later ones too.
const VERSION: &str = "1.5.0";
/// Who says so.
const PRODUCT: &str = "dcom-sensor";

record! {
    /// A Detection Finding of the Open Cybersecurity Schema Framework.
    pub struct Finding {
        /// `1` Create; `2` Update where a host's log says something of an alert that was told before.
        activity_id: u8 => eve;
        /// `Create` or `Update`.
        activity_name: &'static str => eve;
        /// Always `2`.
        category_uid: u8 => eve;
        /// Always `Findings`.
        category_name: &'static str => eve;
        /// Always `2004`.
        class_uid: u16 => eve;
        /// Always `Detection Finding`.
        class_name: &'static str => eve;
        /// `200401`, or `200402` for an update.
        type_uid: u32 => eve;
        /// Class and activity by name.
        type_name: String => eve;
        /// `5` critical, `4` high, `3` medium, `2` low, `1` informational; of an update, as it is then.
        severity_id: u8 => eve;
        /// The severity's name.
        severity: String => eve;
        /// `3` high, `2` medium, `1` low.
        confidence_id: Option<u8> => eve;
        /// How sure the detection is.
        confidence: Option<String> => eve;
        /// `1` New; of an update `2` In Progress.
        status_id: u8 => eve;
        /// The status's name.
        status: &'static str => eve;
        /// Always `3`: a sensor stops nothing.
        action_id: u8 => eve;
        /// Always `Observed`.
        action: &'static str => eve;
        /// Always `19`.
        disposition_id: u8 => eve;
        /// Always `Alert`.
        disposition: &'static str => eve;
        /// Always true.
        is_alert: bool => eve;
        /// Time of the frame that carries the (request's) last byte, or of the host's event; milliseconds since 1970.
        time: i64 => eve;
        /// What happened, in a sentence.
        message: String => eve;
        /// How many records it rests on, where it rests on several.
        count: Option<u64> => eve;
        /// The version of the schema that the line follows.
        version: &'static str => eve "metadata.version";
        /// Always `security_control`.
        profiles: Vec<&'static str> => eve "metadata.profiles";
        /// The signature's number.
        event_code: String => eve "metadata.event_code";
        /// The file that it was read from.
        log_name: Option<Arc<str>> => eve "metadata.log_name";
        /// Always `dcom-sensor`.
        product: &'static str => eve "metadata.product.name";
        /// Always `dcom-sensor`.
        vendor: &'static str => eve "metadata.product.vendor_name";
        /// The sensor's version.
        product_version: &'static str => eve "metadata.product.version";
        /// What the finding is known by for ever; an update has the same.
        uid: Option<String> => eve "finding_info.uid";
        /// What was detected, in a few words.
        title: Option<String> => eve "finding_info.title";
        /// What happened, in a sentence.
        desc: Option<String> => eve "finding_info.desc";
        /// The same as `time`.
        created_time: Option<i64> => eve "finding_info.created_time";
        /// The class of detections it belongs to.
        types: Vec<String> => eve "finding_info.types";
        /// The signature's number.
        analytic_uid: String => eve "finding_info.analytic.uid";
        /// What it detects, in a few words.
        analytic_name: Option<String> => eve "finding_info.analytic.name";
        /// The signature's revision.
        analytic_version: Option<String> => eve "finding_info.analytic.version";
        /// Always `1`.
        analytic_type_id: u8 => eve "finding_info.analytic.type_id";
        /// Always `Rule`.
        analytic_type: &'static str => eve "finding_info.analytic.type";
        /// ATT&CK, technique by technique.
        attacks: Vec<Attack> => eve "finding_info.attacks";
        /// The same as in `finding_info`.
        attacks_again: Vec<Attack> => eve "attacks";
        /// By a host's log: the computer.
        device: Option<Device> => group;
        /// The connection or the process that it rests on.
        evidences: Vec<Evidence> => eve;
        /// What to look for elsewhere.
        observables: Vec<Observable> => eve;
    }
}

record! {
    /// An ATT&CK technique, element of `finding_info.attacks`.
    #[derive(Default)]
    pub struct Attack {
        /// The number of the tactic under which ATT&CK has the technique.
        tactic_uid: Option<String> => eve "tactic.uid";
        /// The tactic's name.
        tactic_name: Option<String> => eve "tactic.name";
        /// The technique's number, e.g. `T1021`.
        technique_uid: String => eve "technique.uid";
        /// The technique's name.
        technique_name: Option<String> => eve "technique.name";
        /// The sub-technique's number, e.g. `T1021.003`.
        sub_technique_uid: Option<String> => eve "sub_technique.uid";
        /// The sub-technique's name.
        sub_technique_name: Option<String> => eve "sub_technique.name";
    }
}

record! {
    /// A computer, by its own log.
    pub struct Device in "device" {
        /// Its name, as the log spells it.
        hostname: String => eve;
        /// Always `0`: a log does not say what sort of computer it is.
        type_id: u8 => eve;
    }
}

record! {
    /// What a finding rests on, element of `evidences`.
    #[derive(Default)]
    pub struct Evidence {
        /// The client's address.
        source_ip: Option<IpAddr> => eve "src_endpoint.ip";
        /// The client's port.
        source_port: Option<Port> => eve "src_endpoint.port";
        /// The computer the user sits at, by the login.
        source_name: Option<String> => eve "src_endpoint.hostname";
        /// The server's address.
        target_ip: Option<IpAddr> => eve "dst_endpoint.ip";
        /// The server's port.
        target_port: Option<Port> => eve "dst_endpoint.port";
        /// The server's name.
        target_name: Option<String> => eve "dst_endpoint.hostname";
        /// The connection.
        connection: Option<ConnectionInfo> => group;
        /// Who called.
        user: Option<ActorUser> => group;
        /// By a host's log: the process that was started.
        process: Option<ProcessInfo> => group;
        /// By a host's log: as whom it runs.
        runs_as: Option<ProcessUser> => group;
        /// By a host's log: the process that started it.
        parent: Option<ParentInfo> => group;
        /// What was done.
        data: Data => group;
    }
}

record! {
    /// A connection.
    pub struct ConnectionInfo in "connection_info" {
        /// As Zeek's logs name it.
        uid: Option<Uid> => eve;
        /// As other tools compute it: Community ID version 1.
        community_uid: Option<CommunityId> => eve;
        /// Always `0`: a sensor does not know where a network ends.
        direction_id: u8 => eve;
        /// `tcp` or `udp`.
        protocol_name: &'static str => eve;
        /// `6` or `17`.
        protocol_num: u8 => eve;
        /// `4` or `6`, of IP.
        protocol_ver_id: u8 => eve;
    }
}

record! {
    /// An account.
    pub struct ActorUser in "actor.user" {
        /// Its name.
        name: String => eve;
        /// Its domain.
        domain: Option<String> => eve;
        /// Its SID.
        uid: Option<String> => eve;
    }
}

record! {
    /// As whom a process runs.
    pub struct ProcessUser in "process.user" {
        /// As whom it runs.
        name: String => eve;
        /// Its domain.
        domain: Option<String> => eve;
        /// Its SID.
        uid: Option<String> => eve;
    }
}

record! {
    /// A process.
    pub struct ProcessInfo in "process" {
        /// Its id.
        pid: u32 => eve;
        /// The image's name without its folders.
        name: Option<String> => eve;
        /// The path of its image.
        path: Option<String> => eve;
        /// Its command line.
        cmd_line: Option<String> => eve;
    }
}

record! {
    /// The process that started it.
    pub struct ParentInfo in "process.parent_process" {
        /// Its id.
        pid: u32 => eve;
        /// The image's name without its folders.
        name: Option<String> => eve;
        /// The path of its image.
        path: Option<String> => eve;
        /// Its command line.
        cmd_line: Option<String> => eve;
    }
}

record! {
    /// What was done, in short; `unmapped` has all of it.
    #[derive(Default)]
    pub struct Data in "data" {
        /// The class, by its name in the catalogue.
        class: Option<String> => eve;
        /// The class, by its CLSID.
        clsid: Option<String> => eve;
        /// The method, else the operation.
        method: Option<String> => eve;
        /// The command line; where no host's log shows it, as the call asked for it.
        command_line: Option<String> => eve;
        /// `succeeded`, `failed` or `unanswered`.
        outcome: Option<&'static str> => eve;
        /// What it rests on: `arguments`, `class`, `inferred` or `header`; `host` where that is a host's log alone.
        evidence: &'static str => eve;
    }
}

record! {
    /// Something to look for elsewhere, element of `observables`.
    pub struct Observable {
        /// Where in the finding it stands.
        name: &'static str => eve;
        /// Its type, as a number of the schema's.
        type_id: u8 => eve;
        /// The type's name.
        kind: &'static str => eve "type";
        /// The value itself.
        value: String => eve;
    }
}

/// A severity's number and name in the schema.
fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Critical => (5, "Critical"),
        Severity::High => (4, "High"),
        Severity::Medium => (3, "Medium"),
        Severity::Low => (2, "Low"),
        Severity::Informational => (1, "Informational"),
    }
}

fn confidence(name: &str) -> Option<(u8, &'static str)> {
    match name {
        "high" => Some((3, "High")),
        "medium" => Some((2, "Medium")),
        "low" => Some((1, "Low")),
        _ => None,
    }
}

impl Finding {
    /// Tells an alert, or what a host's log says of one; none for what is neither.
    fn of(event: &Event) -> Option<Self> {
        match &event.body {
            Body::Alert(alert) => Some(Self::create(event, alert)),
            Body::Dcom(dcom) if dcom.kind == Kind::HostConfirmation => Self::update(event, dcom),
            _ => None,
        }
    }

    fn create(event: &Event, alert: &Alert) -> Self {
        let (severity_id, severity) = severity(alert.severity);
        let confidence = alert.metadata.confidence.first().and_then(|name| confidence(name));
        let base = Self::base(event, alert.signature_id, alert.about());
        Self {
            severity_id,
            severity: severity.to_owned(),
            confidence_id: confidence.map(|(id, _)| id),
            confidence: confidence.map(|(_, name)| name.to_owned()),
            message: alert.message.clone(),
            count: alert.metadata.count.first().and_then(|count| count.parse().ok()),
            title: Some(alert.signature.to_string()),
            desc: Some(alert.message.clone()),
            created_time: Some(base.time),
            types: vec![alert.category.to_string()],
            analytic_name: Some(alert.signature.to_string()),
            analytic_version: Some(alert.rev.to_string()),
            attacks: attacks(alert),
            attacks_again: attacks(alert),
            ..base
        }
    }

    fn update(event: &Event, dcom: &Dcom) -> Option<Self> {
        let host = dcom.host.as_deref()?;
        let about = host.alert.as_ref()?;
        let now = about.severity_now.parse().unwrap_or(Severity::Informational);
        let (severity_id, severity) = severity(now);
        let base = Self::base(event, about.signature_id, dcom);
        Some(Self {
            activity_id: 2,
            activity_name: "Update",
            type_uid: 200_402,
            type_name: "Detection Finding: Update".to_owned(),
            severity_id,
            severity: severity.to_owned(),
            status_id: 2,
            status: "In Progress",
            message: format!("host logs: {}", host.verdict),
            ..base
        })
    }

    fn base(event: &Event, signature: u32, dcom: &Dcom) -> Self {
        let meta = &event.meta;
        let parties = Parties::of(event);
        let evidence = Evidence::of(event, &parties, dcom);
        Self {
            activity_id: 1,
            activity_name: "Create",
            category_uid: 2,
            category_name: "Findings",
            class_uid: 2004,
            class_name: "Detection Finding",
            type_uid: 200_401,
            type_name: "Detection Finding: Create".to_owned(),
            severity_id: 0,
            severity: String::new(),
            confidence_id: None,
            confidence: None,
            status_id: 1,
            status: "New",
            action_id: 3,
            action: "Observed",
            disposition_id: 19,
            disposition: "Alert",
            is_alert: true,
            time: meta.timestamp.0.div_euclid(1_000_000),
            message: String::new(),
            count: None,
            version: VERSION,
            profiles: vec!["security_control"],
            event_code: signature.to_string(),
            log_name: meta.pcap_filename.clone(),
            product: PRODUCT,
            vendor: PRODUCT,
            product_version: env!("CARGO_PKG_VERSION"),
            uid: event.finding_id(),
            title: None,
            desc: None,
            created_time: None,
            types: Vec::new(),
            analytic_uid: signature.to_string(),
            analytic_name: None,
            analytic_version: None,
            analytic_type_id: 1,
            analytic_type: "Rule",
            attacks: Vec::new(),
            attacks_again: Vec::new(),
            device: parties.host.map(|name| Device {
                hostname: name.to_owned(),
                type_id: 0,
            }),
            observables: observables(&parties, &evidence),
            evidences: vec![evidence],
        }
    }
}

fn attacks(alert: &Alert) -> Vec<Attack> {
    techniques(alert)
        .map(|Technique { id, name, sub, tactic }| {
            let (sub_technique_uid, sub_technique_name) = sub.map_or((None, None), |(id, name)| (Some(id), name));
            Attack {
                tactic_uid: tactic.map(|tactic| tactic.id.to_owned()),
                tactic_name: tactic.map(|tactic| spaced(tactic.name)),
                technique_uid: id,
                technique_name: name,
                sub_technique_uid,
                sub_technique_name,
            }
        })
        .collect()
}

impl Evidence {
    fn of(event: &Event, parties: &Parties<'_>, dcom: &Dcom) -> Self {
        let meta = &event.meta;
        let text = |text: Option<&str>| text.map(str::to_owned);
        let of_a_host = matches!(&event.body, Body::Alert(alert) if alert.dcom.is_none() && alert.host_event.is_some());
        let class = match &event.body {
            Body::Alert(alert) if of_a_host => alert.host_event.as_ref().map(|host| (host.class.clone(), host.clsid)),
            _ => Some((dcom.class.clone(), dcom.clsid)),
        };
        let (class, clsid) = class.unwrap_or_default();
        let End {
            address: source_ip,
            port: source_port,
            name: source_name,
        } = parties.source;
        let End {
            address: target_ip,
            port: target_port,
            name: target_name,
        } = parties.target;
        let address = source_ip.or(target_ip);
        Self {
            source_ip,
            source_port,
            source_name: text(source_name),
            target_ip,
            target_port,
            target_name: text(target_name),
            connection: meta.proto.map(|protocol| ConnectionInfo {
                uid: meta.uid,
                community_uid: meta.community_id,
                direction_id: 0,
                protocol_name: transport(protocol),
                protocol_num: match protocol {
                    Protocol::Tcp => 6,
                    Protocol::Udp => 17,
                },
                protocol_ver_id: if address.is_some_and(|address| address.is_ipv6()) {
                    6
                } else {
                    4
                },
            }),
            user: ActorUser::of(parties.user),
            process: ProcessInfo::of(parties.process),
            // These stand in the process.
            runs_as: ProcessUser::of(parties.runs_as).filter(|_| parties.process.pid.is_some()),
            parent: ParentInfo::of(parties.parent).filter(|_| parties.process.pid.is_some()),
            data: Data {
                class,
                clsid: clsid.map(|clsid| clsid.0.to_string()),
                method: dcom
                    .method
                    .as_ref()
                    .or(Some(&dcom.operation))
                    .filter(|name| !name.is_empty())
                    .map(ToString::to_string),
                command_line: text(parties.process.command_line),
                outcome: parties.outcome.map(super::dcom::Outcome::name),
                evidence: if of_a_host { "host" } else { Grade::name(dcom.evidence) },
            },
        }
    }
}

impl ActorUser {
    fn of(user: User<'_>) -> Option<Self> {
        Some(Self {
            name: user.name?.to_owned(),
            domain: user.domain.map(str::to_owned),
            uid: user.sid.map(str::to_owned),
        })
    }
}

impl ProcessUser {
    fn of(user: User<'_>) -> Option<Self> {
        let ActorUser { name, domain, uid } = ActorUser::of(user)?;
        Some(Self { name, domain, uid })
    }
}

impl ProcessInfo {
    fn of(process: Process<'_>) -> Option<Self> {
        Some(Self {
            pid: process.pid?,
            name: process.name().map(str::to_owned),
            path: process.image.map(str::to_owned),
            cmd_line: process.command_line.map(str::to_owned),
        })
    }
}

impl ParentInfo {
    fn of(process: Process<'_>) -> Option<Self> {
        let ProcessInfo {
            pid,
            name,
            path,
            cmd_line,
        } = ProcessInfo::of(process)?;
        Some(Self {
            pid,
            name,
            path,
            cmd_line,
        })
    }
}

fn observables(parties: &Parties<'_>, evidence: &Evidence) -> Vec<Observable> {
    let ends = [
        ("evidences[].src_endpoint", evidence.source_ip, &evidence.source_name),
        ("evidences[].dst_endpoint", evidence.target_ip, &evidence.target_name),
    ];
    let mut all = Vec::new();
    let mut add = |name, type_id, kind, value: String| {
        all.push(Observable {
            name,
            type_id,
            kind,
            value,
        });
    };
    for (end, address, name) in ends {
        let source = end.ends_with("src_endpoint");
        if let Some(address) = address {
            let path = if source {
                "evidences[].src_endpoint.ip"
            } else {
                "evidences[].dst_endpoint.ip"
            };
            add(path, 2, "IP Address", address.to_string());
        }
        if let Some(name) = name {
            let path = if source {
                "evidences[].src_endpoint.hostname"
            } else {
                "evidences[].dst_endpoint.hostname"
            };
            add(path, 1, "Hostname", name.clone());
        }
    }
    if let Some(host) = parties.host {
        add("device.hostname", 1, "Hostname", host.to_owned());
    }
    if let Some(user) = &evidence.user {
        add("evidences[].actor.user.name", 4, "User Name", user.name.clone());
    }
    if let Some(user) = &evidence.runs_as {
        add("evidences[].process.user.name", 4, "User Name", user.name.clone());
    }
    if let Some(name) = evidence.process.as_ref().and_then(|process| process.name.clone()) {
        add("evidences[].process.name", 9, "Process Name", name);
    }
    if let Some(command_line) = &evidence.data.command_line {
        add(
            "evidences[].data.command_line",
            13,
            "Command Line",
            command_line.clone(),
        );
    }
    all
}

impl Event {
    /// Shows what stands in its line in the Open Cybersecurity Schema Framework: what stands before a column's path, the
    /// column and its value, in order. False for what has no line there: all but alerts and what host logs say of them.
    pub fn ocsf(&self, mut visitor: impl FnMut(&'static str, &'static Column, Value<'_>)) -> bool {
        let Some(finding) = Finding::of(self) else {
            return false;
        };
        finding.show(&mut |column: &'static Column, value: Value<'_>| visitor("", column, value));
        self.body
            .details(&mut |column, value| visitor("unmapped.", column, value));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{self, HOST_SIGNATURES, SIGNATURES};

    #[test]
    fn each_technique_is_told_under_a_tactic_that_has_it() {
        // The matrix of ATT&CK for enterprises; of several tactics of one technique those that fit here.
        let matrix = [
            ("T1021.002", "TA0008"),
            ("T1021.003", "TA0008"),
            ("T1046", "TA0007"),
            ("T1047", "TA0002"),
            ("T1187", "TA0006"),
            ("T1543.003", "TA0003"),
            ("T1546.003", "TA0003"),
            ("T1574.001", "TA0003"),
        ];
        for signature in SIGNATURES.iter().chain(HOST_SIGNATURES) {
            let alert = detect::build(signature, Severity::Low, "low", String::new(), None, None);
            let attacks = attacks(&alert);
            let pairs = attacks.iter().map(|attack| {
                let technique = attack.sub_technique_uid.as_ref().unwrap_or(&attack.technique_uid);
                assert!(attack.technique_name.is_some(), "{technique}");
                (technique.as_str(), attack.tactic_uid.as_deref().unwrap_or_default())
            });
            let wrong: Vec<_> = pairs.clone().filter(|pair| !matrix.contains(pair)).collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", signature.id);
            let mut tactics: Vec<&str> = pairs.map(|(_, tactic)| tactic).collect();
            tactics.dedup();
            assert_eq!(alert.metadata.mitre_tactic_id, tactics, "{}", signature.id);
        }
    }
}
