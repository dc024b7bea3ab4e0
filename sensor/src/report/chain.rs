//! What happened in an incident, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use serde_json::Value;

use super::incidents::{Grade, Span};
use super::text::{COMMAND, NAME, SCRIPT, SENTENCE, Texts};
use crate::detect::host_signature::SCRIPT as SCRIPT_THAT_ACTIVATES;
use crate::detect::{HOST_SIGNATURES, SIGNATURES, Signature};

/// What a host says of an alert that was told before, by its kind.
const CONFIRMATION: &str = "host_confirmation";
/// So many steps of an incident are told; what alerted or ran something goes before the rest.
const MAX_STEPS: usize = 80;
/// So many of anything else that an incident lists.
const MAX_LISTED: usize = 32;
/// Connections in its filters.
const MAX_CONNECTIONS: usize = 64;

/// How far someone got, by what the sensor read or concluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reach {
    /// A host logged something that points to DCOM; that anybody reached it is not said.
    Noted,
    /// Hosts were asked what they offer, or did not answer.
    #[default]
    Asked,
    /// Something was tried: refused, failed or unanswered.
    Tried,
    /// An object was made.
    Activated,
    /// It was called.
    Called,
    /// It was told to run something, and nobody saw what came of it.
    Told,
    /// It was told to run something, and reported success.
    Executed,
}

/// What signatures say of it by themselves. Of the others, the record they rest on says it.
const REACHES: &[(&str, Reach)] = &[
    ("DCOM::Execution", Reach::Executed),
    ("DCOM::WMI_Process_Creation", Reach::Executed),
    ("DCOM::Remote_Activation_Attempt", Reach::Tried),
    ("DCOM::Execution_Attempt", Reach::Tried),
    ("DCOM::Activation_Refused", Reach::Tried),
    ("DCOM::Resolver_Sweep", Reach::Asked),
    ("DCOM::Mapper_Dump", Reach::Asked),
    ("DCOM::Unanswered_Connection", Reach::Asked),
    ("DCOM::COM_EmbeddingStart", Reach::Activated),
    ("DCOM::DCOM_Denied", Reach::Tried),
    ("DCOM::DCOM_Unreachable", Reach::Tried),
    ("DCOM::DCOM_WeakLevel", Reach::Tried),
    ("DCOM::DCOM_ConfigTool", Reach::Noted),
    ("DCOM::DCOM_CommandLineRef", Reach::Noted),
];

/// What an alert says was done to a host or with it, beside that an object was made and called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command was to be run.
    Execution,
    /// The host was to log on elsewhere.
    Coercion,
    /// What runs when something happens was left.
    Subscription,
    /// A service was made, or given another program.
    Service,
    /// An object was made out of type information.
    TrappedObject,
}

const DEEDS: &[(&str, Deed)] = &[
    ("DCOM::Execution", Deed::Execution),
    ("DCOM::WMI_Process_Creation", Deed::Execution),
    ("DCOM::Execution_Attempt", Deed::Execution),
    ("DCOM::Coercion", Deed::Coercion),
    ("DCOM::WMI_Event_Subscription", Deed::Subscription),
    ("DCOM::WMI_Service_Creation", Deed::Service),
    ("DCOM::Trapped_Object", Deed::TrappedObject),
];

/// The signature of this number, if it is one of this program's.
pub(super) fn signature(id: u64) -> Option<&'static Signature> {
    let mut all = SIGNATURES.iter().chain(HOST_SIGNATURES).copied();
    all.find(|signature| u64::from(signature.id) == id)
}

impl Reach {
    /// What an alert of this signature says.
    fn of_signature(id: u64) -> Option<Self> {
        let signature = signature(id)?;
        let known = REACHES.iter().find(|(note, _)| *note == signature.note)?;
        Some(known.1)
    }

    /// What an alert says of how far it went: its signature, else the record that it rests on.
    pub(super) fn of(event: &Value) -> Self {
        let signature = ["/alert/signature_id", "/dcom/host/alert/signature_id"]
            .iter()
            .find_map(|place| event.pointer(place).and_then(Value::as_u64));
        let word = |place| event.pointer(place).and_then(Value::as_str);
        if let Some(reach) = signature.and_then(Self::of_signature) {
            let confirmed = word("/dcom/host/verdict") == Some("confirmed");
            return match (reach, word("/dcom/outcome")) {
                // The host that asked has told what for.
                (Self::Asked, Some("unanswered")) if confirmed => Self::Tried,
                // The host has seen it run.
                (Self::Executed, _) if confirmed => reach,
                (Self::Executed, Some("failed")) => Self::Tried,
                (Self::Executed, Some("unanswered")) => Self::Told,
                _ => reach,
            };
        }
        match (word("/dcom/kind"), word("/dcom/outcome")) {
            (Some("activation"), Some("failed" | "unanswered")) => Self::Tried,
            (Some("activation"), _) => Self::Activated,
            (Some("call"), Some("succeeded")) => Self::Called,
            (Some("call"), _) => Self::Tried,
            // A script that names another computer was to reach that one.
            _ if signature == Some(u64::from(SCRIPT_THAT_ACTIVATES.id))
                && event.pointer("/host_event/target").is_some() =>
            {
                Self::Tried
            }
            _ if signature == Some(u64::from(SCRIPT_THAT_ACTIVATES.id)) => Self::Noted,
            _ if event.pointer("/host_event/process").is_some() => Self::Executed,
            _ => Self::Asked,
        }
    }
}

impl Deed {
    fn of(event: &Value) -> Option<Self> {
        let signature = signature(event.pointer("/alert/signature_id")?.as_u64()?)?;
        let known = DEEDS.iter().find(|(note, _)| *note == signature.note)?;
        Some(known.1)
    }
}

/// What a host's own logs say of a step.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Host {
    /// `confirmed`, `contradicted`, `not_seen`; `logged` where the alert itself is of a host's log.
    pub(super) verdict: String,
    pub(super) process: Vec<(String, String)>,
    pub(super) parent: Vec<(String, String)>,
    /// From the activation to the event in `source`, and from the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_delta_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call_delta_ms: Option<f64>,
    pub(super) matched_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
}

/// An alert on a step.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StepAlert {
    /// Index among the report's signatures.
    pub(super) signature: usize,
    pub(super) severity: Grade,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidence: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) of_several: Vec<String>,
}

/// One exchange, with the alerts on it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Step {
    /// Microseconds since 1970.
    pub(super) at: i64,
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clsid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) arguments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command_line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decoded_command: Option<String>,
    /// How far it went by the alerts on it.
    #[serde(skip)]
    pub(super) reach: Option<Reach>,
    /// What was done by them.
    #[serde(skip)]
    pub(super) deed: Option<Deed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<String>,
    /// The result by name or number, or the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) because: Vec<String>,
    /// What ties a call to its activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
    /// The dynamic port that the reply named, and whether a connection to it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<(u64, bool)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bind_seen: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_missing: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sealed_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<Host>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) alerts: Vec<StepAlert>,
    #[serde(skip)]
    pub(super) flow: u64,
}

impl Step {
    /// What the event says of itself. `at` is its time.
    fn read(event: &Value, at: i64, texts: &mut Texts) -> Self {
        let number = |place: &str| event.pointer(place).and_then(Value::as_u64);
        let flag = |place: &str| event.pointer(place).and_then(Value::as_bool);
        let sealed = [number("/dcom/sealed_stub_length"), number("/dcom/sealed_reply_length")];
        let opened = flag("/dcom/decrypted") == Some(true);
        let missing = number("/dcom/bytes_missing").filter(|&missing| missing > 0);
        let level = texts.at(event, "/dcom/auth/level", NAME);
        let mut step = Self {
            at,
            kind: texts
                .at(event, "/dcom/kind", NAME)
                .unwrap_or_else(|| "alert".to_owned()),
            frame: number("/pcap_cnt"),
            reply_frame: number("/reply_pcap_cnt"),
            file: texts.at(event, "/pcap_filename", NAME),
            ports: number("/dest_port").map(|port| match number("/src_port") {
                Some(from) => format!("{from} → {port}"),
                None => port.to_string(),
            }),
            operation: texts.at(event, "/dcom/operation", NAME),
            interface: texts.at(event, "/dcom/interface/name", NAME),
            class: texts.at(event, "/dcom/class", NAME),
            clsid: texts.at(event, "/dcom/clsid", NAME),
            object_path: texts.at(event, "/dcom/object_path", SENTENCE),
            method: texts.at(event, "/dcom/method", NAME),
            arguments: texts.list(event, "/dcom/arguments", 12, SENTENCE),
            command_line: texts.at(event, "/dcom/command_line", COMMAND),
            decoded_command: script(event, "/dcom/decoded_command", texts),
            result: texts.at(event, "/dcom/result", SENTENCE),
            outcome: texts.at(event, "/dcom/outcome", NAME),
            code: ["/dcom/fault", "/dcom/hresult_name", "/dcom/hresult"]
                .iter()
                .find_map(|place| texts.at(event, place, NAME)),
            auth: texts.at(event, "/dcom/auth/service", NAME).map(|service| match level {
                Some(level) => format!("{service}, {level}"),
                None => service,
            }),
            evidence: texts.at(event, "/dcom/evidence", NAME),
            because: texts.list(event, "/dcom/because", 12, SENTENCE),
            proof: texts.at(event, "/dcom/activation/proof", NAME),
            endpoint: number("/dcom/endpoint/port").zip(flag("/dcom/endpoint/followed")),
            bind_seen: flag("/dcom/bind_seen"),
            bytes_missing: missing,
            sealed_bytes: (!opened && sealed.iter().any(Option::is_some)).then(|| sealed.into_iter().flatten().sum()),
            key: opened.then(|| texts.at(event, "/dcom/key", NAME)).flatten(),
            host: host(event, texts),
            reach: None,
            deed: None,
            alerts: Vec::new(),
            flow: number("/flow_id").unwrap_or_default(),
        };
        if event.pointer("/host_event").is_some() {
            step.read_host_event(event, texts);
        }
        step
    }

    /// An alert on what a host's log says.
    fn read_host_event(&mut self, event: &Value, texts: &mut Texts) {
        "host_event".clone_into(&mut self.kind);
        self.class = texts.at(event, "/host_event/class", NAME);
        self.clsid = texts.at(event, "/host_event/clsid", NAME);
        self.command_line = texts.at(event, "/host_event/process/command_line", COMMAND);
        self.decoded_command = script(event, "/host_event/process/decoded_command", texts)
            .or_else(|| script(event, "/host_event/script", texts));
        self.operation = texts.list(event, "/alert/metadata/pattern", 4, NAME).into_iter().next();
        self.because = texts.list(event, "/host_event/because", 12, SENTENCE);
        self.host = Some(Host {
            verdict: "logged".to_owned(),
            process: texts.pairs(event, "/host_event/process"),
            parent: texts.pairs(event, "/host_event/parent"),
            time_delta_ms: None,
            call_delta_ms: None,
            matched_on: Vec::new(),
            source: texts.at(event, "/host_event/source", NAME).map(|source| {
                match texts.at(event, "/host_event/input", SENTENCE) {
                    Some(input) => format!("{source} in {input}"),
                    None => source,
                }
            }),
        });
    }

    /// How much it matters that it is told.
    pub(super) fn weight(&self) -> u8 {
        let worst = self.alerts.iter().map(|alert| alert.severity).min();
        match worst {
            Some(severity) => 10 - severity.min(5),
            None if self.command_line.is_some() || self.host.is_some() => 3,
            None if self.kind == "activation" => 2,
            None => u8::from(self.kind == "call" && self.operation.as_deref() != Some("GetIDsOfNames")),
        }
    }
}

fn script(event: &Value, place: &str, texts: &mut Texts) -> Option<String> {
    let script = event.pointer(place)?.as_str()?;
    Some(texts.block(script, SCRIPT))
}

/// The verdict of a host's log, where there is one: of a host without a log nothing was looked for.
pub(super) fn verdict(event: &Value, texts: &mut Texts) -> Option<String> {
    let verdict = texts.at(event, "/dcom/host/verdict", NAME)?;
    (verdict != "not_seen" || event.pointer("/dcom/host/coverage").is_some()).then_some(verdict)
}

fn host(event: &Value, texts: &mut Texts) -> Option<Host> {
    Some(Host {
        verdict: verdict(event, texts)?,
        process: texts.pairs(event, "/dcom/host/process"),
        parent: texts.pairs(event, "/dcom/host/parent"),
        time_delta_ms: event.pointer("/dcom/host/time_delta_ms").and_then(Value::as_f64),
        call_delta_ms: event.pointer("/dcom/host/call_delta_ms").and_then(Value::as_f64),
        matched_on: texts.list(event, "/dcom/host/matched_on", 12, NAME),
        source: texts.at(event, "/dcom/host/source", SENTENCE).or_else(|| {
            let parts = texts.pairs(event, "/dcom/host/source");
            let parts: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key} {value}")).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }),
    })
}

/// Tells one exchange from another: its time, its connection, its frame, and what it says.
type Key = (i64, u64, Option<u64>, u64);

fn key(event: &Value, step: &Step) -> Key {
    let mut hasher = DefaultHasher::new();
    (&step.kind, &step.operation).hash(&mut hasher);
    // What was concluded of an exchange stands in its alert and not in its record, which is the same all the same.
    if !matches!(step.evidence.as_deref(), Some("header" | "inferred")) {
        (&step.method, &step.arguments, &step.class).hash(&mut hasher);
    }
    let ipid = event.pointer("/dcom/ipid").and_then(Value::as_str);
    ipid.hash(&mut hasher);
    if step.kind == "alert" || step.kind == "host_event" {
        // There is no exchange that several alerts could rest on.
        event
            .pointer("/alert/signature_id")
            .and_then(Value::as_u64)
            .hash(&mut hasher);
        step.command_line.hash(&mut hasher);
    }
    (step.at, step.flow, step.frame, hasher.finish())
}

/// A connection, as a filter names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection {
    pub(super) file: Option<String>,
    pub(super) udp: bool,
    pub(super) ports: (u16, u16),
}

/// An incident as it grows in the second reading.
#[derive(Debug)]
pub(super) struct Incident {
    pub(super) span: Span,
    steps: BTreeMap<Key, Step>,
    /// Steps for which there was no room.
    pub(super) steps_left_out: u64,
    /// By index among the report's signatures: how many, and the worst of them.
    pub(super) signatures: BTreeMap<usize, (u64, Grade)>,
    /// ATT&CK's number and name.
    pub(super) techniques: BTreeMap<String, String>,
    pub(super) tactics: BTreeMap<String, String>,
    pub(super) users: BTreeSet<String>,
    pub(super) classes: BTreeSet<String>,
    /// Name, confidence and reasons.
    pub(super) tools: BTreeMap<String, (String, Vec<String>)>,
    pub(super) target_names: BTreeSet<String>,
    /// By hosts' own logs.
    pub(super) source_names: BTreeSet<String>,
    pub(super) runs_as: BTreeSet<String>,
    pub(super) connections: BTreeSet<Connection>,
    pub(super) connections_left_out: bool,
    /// Targets that its alerts name beside its own.
    pub(super) other_targets: BTreeSet<String>,
    /// How many hosts the alert of most of them is about.
    pub(super) of_many: u64,
    /// How far it went by what was read, and by what was concluded.
    pub(super) read: Option<Reach>,
    pub(super) concluded: Option<Reach>,
    pub(super) verdicts: BTreeMap<String, u64>,
}

impl Incident {
    pub(super) fn new(span: Span) -> Self {
        Self {
            span,
            steps: BTreeMap::new(),
            steps_left_out: 0,
            signatures: BTreeMap::new(),
            techniques: BTreeMap::new(),
            tactics: BTreeMap::new(),
            users: BTreeSet::new(),
            classes: BTreeSet::new(),
            tools: BTreeMap::new(),
            target_names: BTreeSet::new(),
            source_names: BTreeSet::new(),
            runs_as: BTreeSet::new(),
            connections: BTreeSet::new(),
            connections_left_out: false,
            other_targets: BTreeSet::new(),
            of_many: 0,
            read: None,
            concluded: None,
            verdicts: BTreeMap::new(),
        }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.values()
    }

    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps).into_values().collect()
    }

    /// How many alerts there were, steps or not.
    pub(super) fn alerts(&self) -> u64 {
        self.signatures.values().map(|(count, _)| count).sum()
    }

    /// The tools that its shape gives away: of those that differ in how much is known, the surest and most exact.
    pub(super) fn tool_names(&self) -> impl Iterator<Item = &String> {
        const RANKS: [&str; 3] = ["low", "medium", "high"];
        let rank = |confidence: &str| RANKS.iter().position(|known| *known == confidence);
        let surest = self.tools.values().map(|(confidence, _)| rank(confidence)).max();
        let is_half_of_another = |name: &String, because: &[String]| {
            let mut others = self.tools.iter().filter(|(other, _)| *other != name);
            others.any(|(_, (_, more))| more.len() > because.len() && because.iter().all(|it| more.contains(it)))
        };
        self.tools
            .iter()
            .filter(move |(name, (confidence, because))| {
                Some(rank(confidence)) == surest && !is_half_of_another(name, because)
            })
            .map(|(name, _)| name)
    }

    /// How far it went, and whether that is a conclusion.
    pub(super) fn reach(&self) -> (Reach, bool) {
        let read = self.read.unwrap_or_default();
        match self.concluded {
            Some(concluded) if concluded > read || self.read.is_none() => (concluded, true),
            _ => (read, false),
        }
    }

    /// A record beside the alerts.
    pub(super) fn add_record(&mut self, event: &Value, at: i64, texts: &mut Texts) {
        let step = Step::read(event, at, texts);
        let called = step.kind == "call" && step.outcome.as_deref() == Some("succeeded");
        if called && step.evidence.as_deref() == Some("arguments") && step.proof.is_some() {
            self.read = self.read.max(Some(Reach::Called));
        }
        self.describe(event, texts);
        if step.kind == CONFIRMATION {
            self.add_confirmation(event, step);
        } else {
            self.insert(key(event, &step), step);
        }
    }

    /// Live, what a host says of an alert comes after it, as a record of its own: it belongs to the exchange that alerted.
    fn add_confirmation(&mut self, event: &Value, mut step: Step) {
        step.reach = Some(Reach::of(event));
        self.take_in(&step);
        let of_exchange = |number| (step.at, step.flow, step.frame, number);
        let same = self
            .steps
            .range_mut(of_exchange(0)..=of_exchange(u64::MAX))
            .map(|(_, known)| known)
            .find(|known| !known.alerts.is_empty() && known.operation == step.operation);
        match same {
            Some(known) => {
                known.reach = known.reach.max(step.reach);
                known.host = step.host;
            }
            None => self.insert(key(event, &step), step),
        }
    }

    /// How far it went by this step, and what a host says of it.
    fn take_in(&mut self, step: &Step) {
        let reach = if step.evidence.as_deref() == Some("inferred") {
            &mut self.concluded
        } else {
            &mut self.read
        };
        *reach = step.reach.max(*reach);
        if let Some(host) = &step.host
            && self.verdicts.len() < MAX_LISTED
        {
            *self.verdicts.entry(host.verdict.clone()).or_default() += 1;
        }
    }

    /// An alert, and the record it rests on.
    pub(super) fn add_alert(&mut self, event: &Value, at: i64, grade: Grade, signature: usize, texts: &mut Texts) {
        let mut step = Step::read(event, at, texts);
        step.reach = Some(Reach::of(event));
        step.deed = Deed::of(event);
        self.take_in(&step);
        let several = |place: &str, texts: &mut Texts| texts.list(event, place, MAX_LISTED, NAME);
        let mut of_several = several("/alert/metadata/targets", texts);
        self.other_targets.extend(
            of_several
                .iter()
                .filter(|target| target.parse::<std::net::IpAddr>().is_ok() && **target != self.span.pair.1)
                .cloned(),
        );
        if !of_several.is_empty() {
            let count = event.pointer("/alert/metadata/count/0").and_then(Value::as_str);
            self.of_many = self
                .of_many
                .max(count.and_then(|count| count.parse().ok()).unwrap_or_default());
        }
        of_several.extend(several("/alert/metadata/classes", texts));
        let counts = self.signatures.entry(signature).or_insert((0, grade));
        *counts = (counts.0 + 1, counts.1.min(grade));
        for (ids, names, list) in [
            ("technique_id", "technique_name", &mut self.techniques),
            ("tactic_id", "tactic_name", &mut self.tactics),
        ] {
            let ids = texts.list(event, &format!("/alert/metadata/mitre_{ids}"), 8, NAME);
            let names = texts.list(event, &format!("/alert/metadata/mitre_{names}"), 8, NAME);
            for (number, id) in ids.into_iter().enumerate().take(MAX_LISTED.saturating_sub(list.len())) {
                list.insert(id, names.get(number).cloned().unwrap_or_default().replace('_', " "));
            }
        }
        self.describe(event, texts);
        let key = key(event, &step);
        step.alerts.push(StepAlert {
            signature,
            severity: grade,
            confidence: texts.list(event, "/alert/metadata/confidence", 1, NAME).pop(),
            of_several,
        });
        self.insert(key, step);
    }

    /// Who, with what, over which connection.
    fn describe(&mut self, event: &Value, texts: &mut Texts) {
        let account = |user: &str, domain: &str, texts: &mut Texts| {
            let user = texts.at(event, user, NAME)?;
            let domain = texts.at(event, domain, NAME).filter(|domain| !domain.is_empty());
            Some(domain.map_or_else(|| user.clone(), |domain| format!("{domain}\\{user}")))
        };
        let host_is = |role: &str| event.pointer("/dcom/host/role").and_then(Value::as_str) == Some(role);
        put(
            &mut self.users,
            account("/dcom/client/user", "/dcom/client/domain", texts),
        );
        // A network logon over the connection tells it where the wire does not, and so does the log of the client.
        let by_host = if host_is("client") {
            "/dcom/host/process/user"
        } else {
            "/dcom/host/logon/user"
        };
        if event.pointer("/dcom/client/user").is_none() {
            put(&mut self.users, texts.at(event, by_host, NAME));
        }
        put(
            &mut self.users,
            // Some events know it by its SID alone.
            account("/host_event/caller/user", "/host_event/caller/domain", texts)
                .or_else(|| texts.at(event, "/host_event/caller/sid", NAME)),
        );
        put(
            &mut self.runs_as,
            account("/host_event/user", "/host_event/domain", texts),
        );
        put(&mut self.classes, texts.at(event, "/dcom/class", NAME));
        put(&mut self.classes, texts.at(event, "/host_event/class", NAME));
        put(&mut self.target_names, texts.at(event, "/dcom/server/netbios", NAME));
        put(&mut self.target_names, texts.at(event, "/dcom/server/dns", NAME));
        let by_its_log = texts.at(event, "/dcom/host/name", NAME);
        put(&mut self.target_names, by_its_log.clone().filter(|_| host_is("server")));
        put(&mut self.source_names, by_its_log.filter(|_| host_is("client")));
        // Where it names another one, that was to be reached from it.
        let logged_by = texts.at(event, "/host_event/host", NAME);
        let names = if event.pointer("/host_event/target").is_some() {
            &mut self.source_names
        } else {
            &mut self.target_names
        };
        put(names, logged_by);
        put(&mut self.runs_as, texts.at(event, "/dcom/server/runs_as", NAME));
        if let Some(name) = texts.at(event, "/dcom/tool/name", NAME)
            && (self.tools.len() < 8 || self.tools.contains_key(&name))
        {
            let confidence = texts.at(event, "/dcom/tool/confidence", NAME).unwrap_or_default();
            let because = texts.list(event, "/dcom/tool/because", 16, SENTENCE);
            let known = self.tools.entry(name).or_default();
            if because.len() > known.1.len() {
                *known = (confidence, because);
            }
        }
        let port = |place: &str| event.pointer(place)?.as_u64().and_then(|port| u16::try_from(port).ok());
        if let Some(ports) = port("/src_port").zip(port("/dest_port")) {
            let connection = Connection {
                file: texts.at(event, "/pcap_filename", NAME),
                udp: event.pointer("/proto").and_then(Value::as_str) == Some("UDP"),
                ports,
            };
            if self.connections.len() < MAX_CONNECTIONS {
                self.connections.insert(connection);
            } else {
                self.connections_left_out |= !self.connections.contains(&connection);
            }
        }
    }

    /// Alerts come on top of the record that was there; a record told again says more than it did.
    fn insert(&mut self, key: Key, mut step: Step) {
        if let Some(known) = self.steps.get_mut(&key) {
            let mut alerts = std::mem::take(&mut known.alerts);
            let new = std::mem::take(&mut step.alerts);
            let is_new = |alert: &StepAlert| !alerts.iter().any(|known| known.signature == alert.signature);
            let new: Vec<StepAlert> = new.into_iter().filter(is_new).collect();
            alerts.extend(new);
            step.alerts = alerts;
            step.reach = step.reach.max(known.reach);
            step.deed = step.deed.or(known.deed);
            step.host = step.host.or_else(|| known.host.take());
            *known = step;
            return;
        }
        if self.steps.len() >= MAX_STEPS {
            self.steps_left_out += 1;
            let lightest = self.steps.iter().rev().min_by_key(|(_, step)| step.weight());
            let Some((&lightest, known)) = lightest else { return };
            if known.weight() >= step.weight() {
                return;
            }
            self.steps.remove(&lightest);
        }
        self.steps.insert(key, step);
    }
}

fn put(set: &mut BTreeSet<String>, text: Option<String>) {
    if let Some(text) = text
        && !text.is_empty()
        && set.len() < MAX_LISTED
    {
        set.insert(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn incident() -> Incident {
        Incident::new(Span {
            pair: ("192.0.2.20".to_owned(), "192.0.2.10".to_owned()),
            from: 0,
            to: 0,
            worst: 1,
        })
    }

    #[test]
    fn every_note_that_is_named_here_is_a_signature() {
        let notes = REACHES.iter().map(|(note, _)| note);
        for note in notes.chain(DEEDS.iter().map(|(note, _)| note)) {
            let mut all = SIGNATURES.iter().chain(HOST_SIGNATURES);
            assert!(all.any(|signature| signature.note == *note), "{note}");
        }
    }

    #[test]
    fn who_called_is_not_whose_process_it_is() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        let event = json!({"alert": {"signature_id": 1_021_413}, "host_event": {"host": "WS6", "user": "bob", "domain": "LAB",
            "process": {"pid": 7}, "caller": {"user": "eve", "domain": "LAB"}}});
        incident.add_alert(&event, 5, 2, 0, &mut texts);
        let one = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        assert_eq!(
            (one(&incident.users), one(&incident.runs_as)),
            ("LAB\\eve".to_owned(), "LAB\\bob".to_owned())
        );
        // Where the wire is silent, the host's logon tells.
        let mut event =
            json!({"dcom": {"kind": "activation", "host": {"role": "server", "logon": {"user": "LAB\\mallory"}}}});
        incident.add_record(&event, 6, &mut texts);
        assert_eq!(one(&incident.users), "LAB\\eve, LAB\\mallory");
        event["dcom"]["client"] = json!({"user": "trent"});
        event["dcom"]["host"]["logon"]["user"] = json!("LAB\\trent");
        incident.add_record(&event, 7, &mut texts);
        assert_eq!(one(&incident.users), "LAB\\eve, LAB\\mallory, trent");
    }

    #[test]
    fn what_a_host_says_was_attempted_is_no_mere_probe() {
        let of = |verdict: &str| {
            Reach::of(
                &json!({"alert": {"signature_id": 1_021_306}, "dcom": {"kind": "activation", "outcome": "unanswered",
                "host": {"verdict": verdict}}}),
            )
        };
        assert_eq!((of("confirmed"), of("not_seen")), (Reach::Tried, Reach::Asked));
    }

    #[test]
    fn two_alerts_on_one_exchange_are_one_step() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        let mut event = json!({"flow_id": 1, "pcap_cnt": 10, "dcom": {"kind": "activation", "class": "MMC20.Application",
            "outcome": "succeeded", "evidence": "class"}});
        incident.add_record(&event, 5, &mut texts);
        event["alert"] = json!({"signature_id": 1_021_301});
        incident.add_alert(&event, 5, 1, 0, &mut texts);
        event["alert"] = json!({"signature_id": 1_021_340});
        incident.add_alert(&event, 5, 5, 1, &mut texts);
        let steps: Vec<&Step> = incident.steps().collect();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].alerts.len(), 2);
        assert_eq!(incident.reach(), (Reach::Activated, false));
    }

    #[test]
    fn a_conclusion_is_about_the_exchange_that_was_sealed() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        let mut event = json!({"flow_id": 1, "pcap_cnt": 10, "dcom": {"kind": "activation", "evidence": "header"}});
        incident.add_record(&event, 5, &mut texts);
        event["alert"] = json!({"signature_id": 1_021_307});
        event["dcom"]["class"] = json!("MMC20.Application");
        event["dcom"]["evidence"] = json!("inferred");
        incident.add_alert(&event, 5, 2, 0, &mut texts);
        let steps: Vec<&Step> = incident.steps().collect();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].class.as_deref(), Some("MMC20.Application"));
    }

    #[test]
    fn what_was_concluded_says_so() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        let event =
            json!({"alert": {"signature_id": 1_021_307}, "dcom": {"kind": "activation", "evidence": "inferred"}});
        incident.add_alert(&event, 5, 2, 0, &mut texts);
        assert_eq!(incident.reach(), (Reach::Activated, true));
        let event = json!({"alert": {"signature_id": 1_021_302}, "dcom": {"kind": "activation", "evidence": "class"}});
        incident.add_alert(&event, 6, 3, 1, &mut texts);
        assert_eq!(incident.reach(), (Reach::Activated, true));
        let event = json!({"alert": {"signature_id": 1_021_303}, "dcom": {"kind": "call", "outcome": "succeeded",
            "evidence": "arguments"}});
        incident.add_alert(&event, 7, 1, 2, &mut texts);
        assert_eq!(incident.reach(), (Reach::Executed, false));
    }

    #[test]
    fn what_failed_was_not_run_unless_the_host_saw_it() {
        let of = |id: u64, outcome: &str, verdict: Option<&str>| {
            Reach::of(&json!({"alert": {"signature_id": id},
                "dcom": {"kind": "call", "outcome": outcome, "evidence": "arguments", "host": {"verdict": verdict}}}))
        };
        for process in [1_021_303, 1_021_350] {
            assert_eq!(of(process, "succeeded", None), Reach::Executed);
            assert_eq!(of(process, "failed", None), Reach::Tried);
            assert_eq!(of(process, "unanswered", Some("not_seen")), Reach::Told);
            assert_eq!(of(process, "unanswered", Some("confirmed")), Reach::Executed);
        }
        // Authentication that was coerced, a subscription, an object out of type information.
        for call in [1_021_308, 1_021_351, 1_021_313] {
            assert_eq!(of(call, "succeeded", None), Reach::Called);
            assert_eq!(of(call, "failed", None), Reach::Tried);
        }
    }

    #[test]
    fn a_confirmation_that_comes_later_is_the_alerts() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        let alert = json!({"flow_id": 1, "pcap_cnt": 10, "alert": {"signature_id": 1_021_303}, "dcom": {"kind": "call",
            "operation": "Invoke", "command_line": "calc.exe", "outcome": "unanswered", "evidence": "arguments"}});
        incident.add_alert(&alert, 5, 1, 0, &mut texts);
        assert_eq!(incident.reach(), (Reach::Told, false));
        let mut told = alert;
        told.as_object_mut().unwrap().remove("alert");
        told["dcom"]["kind"] = json!("host_confirmation");
        told["dcom"]["host"] = json!({"verdict": "confirmed", "alert": {"signature_id": 1_021_303}});
        incident.add_record(&told, 5, &mut texts);
        assert_eq!(incident.reach(), (Reach::Executed, false));
        assert_eq!(incident.verdicts.get("confirmed"), Some(&1));
        assert_eq!(incident.alerts(), 1);
        let steps: Vec<&Step> = incident.steps().collect();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].host.as_ref().unwrap().verdict, "confirmed");
        // Of a log in which the alert stands behind it, it is told for itself.
        told["pcap_cnt"] = json!(11);
        incident.add_record(&told, 5, &mut texts);
        assert_eq!(incident.steps().count(), 2);
    }

    #[test]
    fn a_grave_step_takes_the_room_of_a_light_one() {
        let (mut incident, mut texts) = (incident(), Texts::default());
        for number in 0..200_i64 {
            let event =
                json!({"flow_id": 1, "pcap_cnt": number, "dcom": {"kind": "call", "operation": "GetIDsOfNames"}});
            incident.add_record(&event, number, &mut texts);
        }
        let event = json!({"alert": {"signature_id": 1_021_303}, "dcom": {"kind": "call", "command_line": "cmd"}});
        incident.add_alert(&event, 500, 1, 0, &mut texts);
        assert_eq!(incident.steps().count(), MAX_STEPS);
        assert_eq!(incident.steps_left_out, 201 - MAX_STEPS as u64);
        assert_eq!(incident.steps().last().unwrap().command_line.as_deref(), Some("cmd"));
    }
}
