//! A detection that fired, and what it rests on.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;

use super::Shared;
use super::dcerpc::Dcerpc;
use super::dcom::Dcom;
use super::host_alert::HostAlert;
use super::meta::{Destination, Meta, Protocol, Source};
use super::record::{Field, Interval, Port, Value, names, record};
use crate::flow::CommunityId;
use crate::severity::Severity;

names! {
    /// What was done with the packets.
    #[derive(Default)]
    pub enum Action {
        /// They went their way: a sensor stops nothing.
        #[default]
        Allowed => "allowed",
    }
}

record! {
    /// A detection that fired. `notice.log` tells it in Zeek's columns.
    pub struct Alert in "alert" {
        /// Always `allowed`: a sensor stops nothing.
        action: Action => eve;
        /// Who numbers the signatures; 1 is Suricata's own set.
        gid: u32 => eve;
        /// The signature's number, stable for ever.
        signature_id: u32 => eve;
        /// The signature's revision.
        rev: u32 => eve;
        /// What was detected, in a few words.
        signature: Cow<'static, str> => eve;
        /// The class of detections it belongs to.
        category: Cow<'static, str> => eve;
        /// How much it matters.
        severity: Severity => group(SeverityColumns);
        /// ATT&CK and more, for rules and dashboards.
        metadata: Metadata => group;
        /// What Zeek would call it, e.g. `DCOM::Remote_Activation`.
        note: Cow<'static, str> => apart;
        /// What happened, in a sentence.
        message: String => apart;
        /// What was done with DCOM; of several, the last.
        dcom: Option<Shared<Dcom>> => group;
        /// The RPC exchange in which it was done.
        dcerpc: Option<Shared<Dcerpc>> => group;
        /// What a host's log says, where that is what it rests on.
        host_event: Option<HostAlert> => group;
    }
}

record! {
    /// A severity as number and name.
    pub struct SeverityColumns in "alert" {
        /// 1 critical, 2 high, 3 medium, 4 low, 5 informational.
        number: u8 => eve "severity";
        /// The severity's name.
        name: Vec<&'static str> => eve "metadata.severity";
    }
}

record! {
    /// What an alert says beside its signature: each a list, as in Suricata.
    #[derive(Default)]
    pub struct Metadata in "alert.metadata" {
        /// How sure the detection is: `high`, `medium` or `low`.
        confidence: Vec<Cow<'static, str>> => eve;
        /// ATT&CK tactics by number, e.g. `TA0008`.
        mitre_tactic_id: Vec<Cow<'static, str>> => eve;
        /// ATT&CK tactics by name, e.g. `Lateral_Movement`.
        mitre_tactic_name: Vec<Cow<'static, str>> => eve;
        /// ATT&CK techniques by number, e.g. `T1021.003`.
        mitre_technique_id: Vec<Cow<'static, str>> => eve;
        /// ATT&CK techniques by name.
        mitre_technique_name: Vec<Cow<'static, str>> => eve;
        /// Of what a host's log says: the patterns that fit, the most telling first, e.g. `MMC20_DCOM`.
        pattern: Vec<Cow<'static, str>> => eve;
        /// How many records it rests on, where it rests on several.
        count: Vec<String> => eve;
        /// The targets, where there are several.
        targets: Vec<String> => eve;
        /// The classes, where there are several.
        classes: Vec<String> => eve;
    }
}

record! {
    /// An alert in the columns of Zeek's `notice.log`.
    pub struct Notice {
        /// Identifies a file: never set.
        fuid: Option<String> => zeek;
        /// The file's type: never set.
        file_mime_type: Option<String> => zeek;
        /// The file's description: never set.
        file_desc: Option<String> => zeek;
        /// The transport protocol.
        proto: Option<EnumName> => zeek;
        /// The notice's type, e.g. `DCOM::Remote_Activation`.
        note: EnumName => zeek;
        /// What happened, in a sentence.
        msg: String => zeek;
        /// The ATT&CK techniques.
        sub: Option<String> => zeek;
        /// The client's address.
        src: Option<IpAddr> => zeek;
        /// The server's address.
        dst: Option<IpAddr> => zeek;
        /// The server's port.
        p: Option<Port> => zeek;
        /// A number that goes with the notice: never set.
        n: Option<u64> => zeek;
        /// Who says so.
        peer_descr: Option<&'static str> => zeek;
        /// What Zeek was told to do about it: only to log it.
        actions: Set<EnumName> => zeek;
        /// Whom to tell by mail: nobody.
        email_dest: Set<String> => zeek;
        /// For how long the same notice is held back: not at all.
        suppress_for: Interval => zeek;
        /// Where the other end is: never set.
        country_code: Option<String> => zeek "remote_location.country_code";
        /// Where the other end is: never set.
        region: Option<String> => zeek "remote_location.region";
        /// Where the other end is: never set.
        city: Option<String> => zeek "remote_location.city";
        /// Where the other end is: never set.
        latitude: Option<f64> => zeek "remote_location.latitude";
        /// Where the other end is: never set.
        longitude: Option<f64> => zeek "remote_location.longitude";
        /// The connection, as other tools compute it: Community ID version 1.
        community_id: Option<CommunityId> => zeek;
    }
}

/// A name that is an `enum` in Zeek.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumName(pub Cow<'static, str>);

impl Field for EnumName {
    const ZEEK_TYPE: &'static str = "enum";
    const ZEEK_LIST_TYPE: &'static str = "set[enum]";

    fn value(&self) -> Value<'_> {
        Value::Text(&self.0)
    }
}

/// A list that is a `set` in Zeek.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set<T>(pub Vec<T>);

impl Field for Set<EnumName> {
    const ZEEK_TYPE: &'static str = "set[enum]";

    fn value(&self) -> Value<'_> {
        Value::List(&self.0)
    }
}

impl Field for Set<String> {
    const ZEEK_TYPE: &'static str = "set[string]";

    fn value(&self) -> Value<'_> {
        Value::List(&self.0)
    }
}

impl From<&Severity> for SeverityColumns {
    fn from(severity: &Severity) -> Self {
        Self {
            number: severity.number(),
            name: vec![severity.name()],
        }
    }
}

impl Alert {
    /// What was done with DCOM; empty where the alert is of something else.
    pub fn about(&self) -> &Dcom {
        static NOTHING: LazyLock<Dcom> = LazyLock::new(Dcom::default);
        self.dcom.as_deref().unwrap_or(&NOTHING)
    }

    /// Source and target by a host's log, which knows addresses without ports.
    pub(crate) fn addresses_alone(&self) -> [Option<IpAddr>; 2] {
        let host = self.host_event.as_ref();
        host.map_or([None; 2], |event| [event.source_ip, event.target_ip])
    }
}

impl Notice {
    /// Tells an alert as Zeek would.
    pub fn of(meta: &Meta, alert: &Alert) -> Self {
        let source = Source::from(&meta.client);
        let destination = Destination::from(&meta.server);
        let [source_alone, target_alone] = alert.addresses_alone();
        let techniques = &alert.metadata.mitre_technique_id;
        Self {
            fuid: None,
            file_mime_type: None,
            file_desc: None,
            proto: meta.proto.map(|protocol| EnumName(Cow::Borrowed(zeek_name(protocol)))),
            note: EnumName(alert.note.clone()),
            msg: alert.message.clone(),
            sub: (!techniques.is_empty()).then(|| techniques.join(", ")),
            src: source.address.or(source_alone),
            dst: destination.address.or(target_alone),
            p: destination.port,
            n: None,
            peer_descr: Some("dcom-sensor"),
            actions: Set(vec![EnumName(Cow::Borrowed("Notice::ACTION_LOG"))]),
            email_dest: Set(Vec::new()),
            suppress_for: Interval(0),
            country_code: None,
            region: None,
            city: None,
            latitude: None,
            longitude: None,
            community_id: meta.community_id,
        }
    }
}

fn zeek_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}
