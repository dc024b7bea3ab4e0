//! Events in the fields of the Elastic Common Schema, with what it has no fields for under `dcom`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::dcerpc::Circumstances;
use super::dcom::Outcome;
use super::meta::{Protocol, TunnelRecord};
use super::parties::{Parties, Process, Technique, User, spaced, techniques};
use super::record::{Column, Port, Record, Value, record};
use super::stats::Counters;
use super::{Alert, Anomaly, Body, Dcerpc, Dcom, Event, Flow, HostAlert, Stats};
use crate::flow::{CommunityId, Uid};
use crate::time::Timestamp;

/// The version of the schema whose fields these are. All of them are in later ones too.
pub(super) const VERSION: &str = "8.17.0";
/// Who says so.
const PRODUCT: &str = "dcom-sensor";

record! {
    /// An event in the fields of the Elastic Common Schema.
    #[derive(Default)]
    pub struct Ecs {
        /// Time of the frame that carries the (request's) last byte; of what a host logged, the time of that.
        timestamp: Timestamp => eve "@timestamp";
        /// The version of the schema that the line follows.
        ecs_version: &'static str => eve "ecs.version";
        /// `alert`, `event`, or `metric` for counters.
        kind: &'static str => eve "event.kind";
        /// `intrusion_detection` for alerts, with `network` or `process`; `network` for the others; none for counters.
        category: Vec<&'static str> => eve "event.category";
        /// Of alerts `info`; of exchanges `connection`, `protocol` and `info`; of oddities `protocol` and `info`; of
        /// connections at their end `connection` and `end`.
        event_type: Vec<&'static str> => eve "event.type";
        /// The method, else the operation; of an oddity what was odd, of what a host logged the pattern that fits;
        /// of a connection at its end `flow_ended`.
        action: Option<Cow<'static, str>> => eve "event.action";
        /// Always `dcom_sensor`.
        module: &'static str => eve "event.module";
        /// `dcom_sensor.` and the `event_type` in eve.json.
        dataset: String => eve "event.dataset";
        /// Always `dcom-sensor`.
        provider: &'static str => eve "event.provider";
        /// Of alerts: 1 critical, 2 high, 3 medium, 4 low, 5 informational.
        severity: Option<u8> => eve "event.severity";
        /// What an alert, or what a host's log says of it, is known by for ever: `finding_info.uid` in OCSF.
        id: Option<String> => eve "event.id";
        /// `success`, `failure`, or `unknown` when no reply was seen.
        outcome: Option<&'static str> => eve "event.outcome";
        /// Of a connection at its end: time of the first packet.
        start: Option<Timestamp> => eve "event.start";
        /// Of a connection at its end: time of the last packet.
        end: Option<Timestamp> => eve "event.end";
        /// From the request's last byte to the reply's, or from a connection's first packet to its last, in nanoseconds.
        duration: Option<i64> => eve "event.duration";
        /// Of alerts: what happened, in a sentence.
        message: Option<String> => eve "message";
        /// Of alerts: what detected it.
        rule: Option<Rule> => group;
        /// Of alerts: ATT&CK.
        threat: Option<Threat> => group;
        /// The client's address.
        source_ip: Option<IpAddr> => eve "source.ip";
        /// The client's port.
        source_port: Option<Port> => eve "source.port";
        /// The computer the user sits at, by the login.
        source_domain: Option<String> => eve "source.domain";
        /// Of a connection at its end: packets that the client sent.
        source_packets: Option<u64> => eve "source.packets";
        /// Captured bytes in them, with all headers.
        source_bytes: Option<u64> => eve "source.bytes";
        /// The server's address.
        destination_ip: Option<IpAddr> => eve "destination.ip";
        /// The server's port.
        destination_port: Option<Port> => eve "destination.port";
        /// The server's DNS name, else its `NetBIOS` name.
        destination_domain: Option<String> => eve "destination.domain";
        /// Of a connection at its end: packets that the server sent.
        destination_packets: Option<u64> => eve "destination.packets";
        /// Captured bytes in them, with all headers.
        destination_bytes: Option<u64> => eve "destination.bytes";
        /// The connection, as other tools compute it: Community ID version 1.
        community_id: Option<CommunityId> => eve "network.community_id";
        /// `tcp` or `udp`.
        transport: Option<&'static str> => eve "network.transport";
        /// `ipv4` or `ipv6`.
        network_type: Option<&'static str> => eve "network.type";
        /// Of a connection at its end: packets of both.
        packets: Option<u64> => eve "network.packets";
        /// Of a connection at its end: captured bytes of both.
        bytes: Option<u64> => eve "network.bytes";
        /// Always `dce_rpc`.
        protocol: Option<&'static str> => eve "network.protocol";
        /// The outer VLAN tag.
        vlan: Option<String> => eve "network.vlan.id";
        /// The inner VLAN tag.
        inner_vlan: Option<String> => eve "network.inner.vlan.id";
        /// Who called; of what a host logged, as whom the process runs.
        user_name: Option<String> => eve "user.name";
        /// The user's domain.
        user_domain: Option<String> => eve "user.domain";
        /// The user's SID.
        user_id: Option<String> => eve "user.id";
        /// The computer on which the process runs, by its own log.
        host_name: Option<String> => eve "host.name";
        /// The process's id.
        pid: Option<u32> => eve "process.pid";
        /// The image's name without its folders.
        process_name: Option<String> => eve "process.name";
        /// The path of its image.
        executable: Option<String> => eve "process.executable";
        /// The command line; where no host's log shows it, as the call asked for it.
        command_line: Option<String> => eve "process.command_line";
        /// The parent's id.
        parent_pid: Option<u32> => eve "process.parent.pid";
        /// The name of the parent's image without its folders.
        parent_name: Option<String> => eve "process.parent.name";
        /// The path of the parent's image.
        parent_executable: Option<String> => eve "process.parent.executable";
        /// The parent's command line.
        parent_command_line: Option<String> => eve "process.parent.command_line";
        /// Every address in it.
        related_ip: Vec<IpAddr> => eve "related.ip";
        /// Every account in it.
        related_user: Vec<String> => eve "related.user";
        /// Every computer in it by name.
        related_hosts: Vec<String> => eve "related.hosts";
        /// Always `dcom-sensor`.
        observer_product: &'static str => eve "observer.product";
        /// Always `dcom-sensor`.
        observer_vendor: &'static str => eve "observer.vendor";
        /// Always `sensor`.
        observer_type: &'static str => eve "observer.type";
        /// The sensor's version.
        observer_version: &'static str => eve "observer.version";
        /// The interface it was seen on, live.
        interface: Option<Arc<str>> => eve "observer.ingress.interface.name";
        /// What every line has that the schema has no fields for.
        own: Own => group;
    }
}

record! {
    /// What detected it.
    pub struct Rule in "rule" {
        /// The signature's number, stable for ever.
        id: String => eve;
        /// What was detected, in a few words.
        name: String => eve;
        /// The class of detections it belongs to.
        category: String => eve;
        /// The signature's revision.
        version: String => eve;
        /// Always `dcom-sensor`.
        ruleset: &'static str => eve;
    }
}

record! {
    /// ATT&CK. What has a point in its number is a sub-technique, whose technique comes before the point.
    pub struct Threat in "threat" {
        /// Always `MITRE ATT&CK`.
        framework: &'static str => eve;
        /// Tactics by number, e.g. `TA0008`.
        tactic_id: Vec<String> => eve "tactic.id";
        /// Tactics by name, e.g. `Lateral Movement`.
        tactic_name: Vec<String> => eve "tactic.name";
        /// Techniques by number, e.g. `T1021`.
        technique_id: Vec<String> => eve "technique.id";
        /// Techniques by name, e.g. `Remote Services`.
        technique_name: Vec<String> => eve "technique.name";
        /// Sub-techniques by number, e.g. `T1021.003`.
        subtechnique_id: Vec<String> => eve "technique.subtechnique.id";
        /// Sub-techniques by name, e.g. `Distributed Component Object Model`.
        subtechnique_name: Vec<String> => eve "technique.subtechnique.name";
    }
}

record! {
    /// What every line has that the schema has no fields for.
    #[derive(Default)]
    pub struct Own in "dcom" {
        /// The connection, as Zeek's logs name it.
        uid: Option<Uid> => eve;
        /// The connection, as eve.json names it.
        flow_id: Option<u64> => eve;
        /// Number of the frame that carries the (request's) last byte; from 1 in each file.
        frame: Option<u64> => eve "pcap_cnt";
        /// The file it was read from.
        pcap_filename: Option<Arc<str>> => eve;
        /// Number of the frame that carries the reply's last byte.
        reply_frame: Option<u64> => eve "reply_pcap_cnt";
        /// What an alert says of itself that has no field in the schema.
        alert: Option<AboutAlert> => group;
    }
}

record! {
    /// What an alert says of itself that has no field in the schema.
    pub struct AboutAlert in "dcom.alert" {
        /// What Zeek would call it, e.g. `DCOM::Remote_Activation`.
        note: String => eve;
        /// The severity's name.
        severity: &'static str => eve;
        /// How sure the detection is: `high`, `medium` or `low`.
        confidence: Vec<Cow<'static, str>> => eve;
        /// Of what a host's log says: the patterns that fit, the most telling first, e.g. `MMC20_DCOM`.
        pattern: Vec<Cow<'static, str>> => eve;
        /// How many records it rests on, where it rests on several.
        count: Option<u64> => eve;
        /// The targets, where there are several.
        targets: Vec<String> => eve;
        /// The classes, where there are several.
        classes: Vec<String> => eve;
    }
}

record! {
    /// Counters.
    pub struct AllCounters in "dcom" {
        /// Each counter by its dotted name; the sensor's own begin with `dcom`.
        counters: Counters => eve "stats";
    }
}

impl From<&Stats> for AllCounters {
    fn from(stats: &Stats) -> Self {
        Self {
            counters: stats.counters.clone(),
        }
    }
}

impl Ecs {
    /// Tells an event in the schema's fields.
    fn of(event: &Event) -> Self {
        let meta = &event.meta;
        let parties = Parties::of(event);
        let (kind, category, event_type) = kinds(event, &parties);
        let text = |text: Option<&str>| text.map(str::to_owned);
        let all = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let vlan = |index: usize| meta.vlan.get(index).map(u16::to_string);
        let alert = match &event.body {
            Body::Alert(alert) => Some(&**alert),
            _ => None,
        };
        let traffic = match &event.body {
            Body::Flow(flow) => Some(&flow.traffic),
            _ => None,
        };
        let address = parties.source.address.or(parties.target.address);
        // An event of a process is its user's.
        let user = Some(parties.runs_as).filter(|user| *user != User::default());
        let user = user.unwrap_or(parties.user);
        let Process {
            pid,
            image,
            command_line,
        } = parties.process;
        Self {
            timestamp: meta.timestamp,
            ecs_version: VERSION,
            kind,
            category,
            event_type,
            action: action(&event.body),
            module: "dcom_sensor",
            dataset: format!("dcom_sensor.{}", event.body.eve_type().name),
            provider: PRODUCT,
            severity: alert.map(|alert| alert.severity.number()),
            id: event.finding_id(),
            outcome: parties.outcome.map(|outcome| match outcome {
                Outcome::Succeeded => "success",
                Outcome::Failed => "failure",
                Outcome::Unanswered => "unknown",
            }),
            start: traffic.map(|traffic| traffic.start),
            end: traffic.map(|traffic| traffic.end),
            duration: match traffic {
                Some(traffic) => Some(traffic.end.since(traffic.start)),
                None => meta.rtt.map(|rtt| rtt.0),
            },
            message: alert.map(|alert| alert.message.clone()),
            rule: alert.map(Rule::of),
            threat: alert.map(Threat::of).filter(|threat| !threat.tactic_id.is_empty()),
            source_ip: parties.source.address,
            source_port: parties.source.port,
            source_domain: text(parties.source.name),
            source_packets: traffic.map(|traffic| traffic.packets_to_server),
            source_bytes: traffic.map(|traffic| traffic.bytes_to_server),
            destination_ip: parties.target.address,
            destination_port: parties.target.port,
            destination_domain: text(parties.target.name),
            destination_packets: traffic.map(|traffic| traffic.packets_to_client),
            destination_bytes: traffic.map(|traffic| traffic.bytes_to_client),
            community_id: meta.community_id,
            transport: meta.proto.map(transport),
            network_type: address.map(|address| if address.is_ipv4() { "ipv4" } else { "ipv6" }),
            packets: traffic.map(|traffic| traffic.packets_to_server + traffic.packets_to_client),
            bytes: traffic.map(|traffic| traffic.bytes_to_server + traffic.bytes_to_client),
            protocol: meta.proto.map(|_| "dce_rpc"),
            vlan: vlan(0),
            inner_vlan: vlan(1),
            user_name: text(user.name),
            user_domain: text(user.domain),
            user_id: text(user.sid),
            host_name: text(parties.host),
            pid,
            process_name: text(parties.process.name()),
            executable: text(image),
            command_line: text(command_line),
            parent_pid: parties.parent.pid,
            parent_name: text(parties.parent.name()),
            parent_executable: text(parties.parent.image),
            parent_command_line: text(parties.parent.command_line),
            related_ip: parties.addresses.clone(),
            related_user: all(&parties.users),
            related_hosts: all(&parties.hosts),
            observer_product: PRODUCT,
            observer_vendor: PRODUCT,
            observer_type: "sensor",
            observer_version: env!("CARGO_PKG_VERSION"),
            interface: meta.in_iface.clone(),
            own: Own {
                uid: meta.uid,
                flow_id: meta.flow_id,
                frame: meta.frame,
                pcap_filename: meta.pcap_filename.clone(),
                reply_frame: meta.reply_frame,
                alert: alert.map(AboutAlert::of),
            },
        }
    }
}

/// An event's kind, its categories, and its types, which are such as the schema expects of these categories.
fn kinds(event: &Event, parties: &Parties<'_>) -> (&'static str, Vec<&'static str>, Vec<&'static str>) {
    match &event.body {
        Body::Alert(_) => {
            let mut category = vec!["intrusion_detection"];
            if event.meta.proto.is_some() {
                category.push("network");
            }
            if parties.host.is_some() && parties.process != Process::default() {
                category.push("process");
            }
            ("alert", category, vec!["info"])
        }
        Body::Dcom(_) | Body::Dcerpc(_) => ("event", vec!["network"], vec!["connection", "protocol", "info"]),
        Body::Anomaly(_) => ("event", vec!["network"], vec!["protocol", "info"]),
        Body::Flow(_) => ("event", vec!["network"], vec!["connection", "end"]),
        Body::Login(_) => ("event", vec!["authentication"], vec!["info"]),
        Body::Stats(_) => ("metric", Vec::new(), Vec::new()),
    }
}

fn action(body: &Body) -> Option<Cow<'static, str>> {
    let of_dcom = |dcom: &Dcom| dcom.method.clone().or(Some(dcom.operation.clone()));
    let action = match body {
        Body::Dcom(dcom) => of_dcom(dcom),
        Body::Alert(alert) => match (&alert.dcom, &alert.host_event) {
            (Some(dcom), _) => of_dcom(dcom),
            (None, Some(host)) => Some(host.pattern.into()),
            (None, None) => None,
        },
        Body::Dcerpc(dcerpc) => {
            let called = dcerpc.interfaces.first().and_then(|interface| interface.procedure);
            called.or(dcerpc.request).map(Cow::Borrowed)
        }
        Body::Anomaly(anomaly) => Some(anomaly.event.clone()),
        Body::Flow(_) => Some("flow_ended".into()),
        Body::Login(_) | Body::Stats(_) => None,
    };
    action.filter(|action| !action.is_empty())
}

pub(super) fn transport(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

impl Rule {
    fn of(alert: &Alert) -> Self {
        Self {
            id: alert.signature_id.to_string(),
            name: alert.signature.to_string(),
            category: alert.category.to_string(),
            version: alert.rev.to_string(),
            ruleset: PRODUCT,
        }
    }
}

impl Threat {
    fn of(alert: &Alert) -> Self {
        let metadata = &alert.metadata;
        let mut threat = Self {
            framework: "MITRE ATT&CK",
            tactic_id: metadata.mitre_tactic_id.iter().map(ToString::to_string).collect(),
            tactic_name: metadata.mitre_tactic_name.iter().map(|name| spaced(name)).collect(),
            technique_id: Vec::new(),
            technique_name: Vec::new(),
            subtechnique_id: Vec::new(),
            subtechnique_name: Vec::new(),
        };
        for Technique { id, name, sub, .. } in techniques(alert) {
            if !threat.technique_id.contains(&id) {
                threat.technique_id.push(id);
                threat.technique_name.extend(name);
            }
            if let Some((id, name)) = sub {
                threat.subtechnique_id.push(id);
                threat.subtechnique_name.extend(name);
            }
        }
        threat
    }
}

impl AboutAlert {
    fn of(alert: &Alert) -> Self {
        let metadata = &alert.metadata;
        Self {
            note: alert.note.to_string(),
            severity: alert.severity.name(),
            confidence: metadata.confidence.clone(),
            pattern: metadata.pattern.clone(),
            count: metadata.count.first().and_then(|count| count.parse().ok()),
            targets: metadata.targets.clone(),
            classes: metadata.classes.clone(),
        }
    }
}

/// The records whose columns stand under `dcom` in the order in which they are shown there, behind those of [`Ecs`].
const UNDER_DCOM: [&[Column]; 8] = [
    TunnelRecord::COLUMNS,
    Dcom::COLUMNS,
    Dcerpc::COLUMNS,
    Circumstances::COLUMNS,
    HostAlert::COLUMNS,
    Anomaly::COLUMNS,
    Flow::COLUMNS,
    AllCounters::COLUMNS,
];

/// What has to stand before a column's path, so that it is in `dcom`.
fn prefix(column: &Column) -> &'static str {
    let own = column.eve.is_some_and(|path| path.starts_with("dcom."));
    if own { "" } else { "dcom." }
}

/// Every column that a line can have, each with what stands before its path; some stand there twice.
pub(super) fn columns() -> impl Iterator<Item = (&'static str, &'static Column)> {
    let own = Ecs::COLUMNS.iter().map(|column| ("", column));
    let under = UNDER_DCOM.into_iter().flatten().map(|column| (prefix(column), column));
    own.chain(under).filter(|(_, column)| column.eve.is_some())
}

impl Event {
    /// Shows what stands in its line in the Elastic Common Schema: what stands before a column's path, the column and its
    /// value, in order.
    pub fn ecs(&self, mut visitor: impl FnMut(&'static str, &'static Column, Value<'_>)) {
        Ecs::of(self).show(&mut |column: &'static Column, value: Value<'_>| visitor("", column, value));
        let mut show = |column: &'static Column, value: Value<'_>| visitor(prefix(column), column, value);
        self.meta.tunnel.show(&mut show);
        self.body.details(&mut show);
    }
}

impl Body {
    /// Shows what it consists of beside what formats of others have fields for.
    pub(super) fn details(&self, show: &mut impl FnMut(&'static Column, Value<'_>)) {
        match self {
            Self::Dcom(dcom) => dcom.show(show),
            Self::Alert(alert) => {
                alert.dcom.show(show);
                alert.dcerpc.show(show);
                alert.host_event.show(show);
            }
            Self::Dcerpc(dcerpc) => {
                dcerpc.show(show);
                dcerpc.circumstances.show(show);
            }
            Self::Anomaly(anomaly) => anomaly.show(show),
            Self::Flow(flow) => flow.show(show),
            Self::Login(_) => {}
            Self::Stats(stats) => AllCounters::from(&**stats).show(show),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn sub_techniques_stand_apart_from_their_techniques() {
        let mut alert = samples::alert();
        alert.metadata.mitre_technique_id = vec!["T1021.003".into(), "T1021.002".into(), "T1047".into()];
        alert.metadata.mitre_technique_name = vec!["A_B".into(), "C".into(), "D".into()];
        let threat = Threat::of(&alert);
        assert_eq!(threat.technique_id, ["T1021", "T1047"]);
        assert_eq!(threat.technique_name, ["Remote Services", "D"]);
        assert_eq!(threat.subtechnique_id, ["T1021.003", "T1021.002"]);
        assert_eq!(threat.subtechnique_name, ["A B", "C"]);
    }

    #[test]
    fn what_is_shown_is_among_the_columns() {
        let known: Vec<(&str, &Column)> = columns().collect();
        for event in samples::all() {
            event.ecs(|prefix, column, value| {
                assert!(
                    matches!(value, Value::Unset) || known.contains(&(prefix, column)) || column.eve.is_none(),
                    "{prefix}{:?}",
                    column.eve
                );
            });
        }
    }
}
