//! All that a page is made from, as it is written into it.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::chain::{Incident, Reach, Step, verdict};
use super::filters::{self, Filters};
use super::graph::{self, Graph};
use super::incidents::Grade;
use super::text::{NAME, SENTENCE, Texts};
use super::unseen::{self, Counters, Unseen};
use super::words::{self, EVIDENCE, Headline};

/// So many signatures are told apart; the others are one.
const MAX_SIGNATURES: usize = 1_024;
/// So many alerts are rows of the table.
const MAX_ROWS: usize = 200_000;

/// The data of a page.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    pub(super) headline: Headline,
    /// From the first event to the last, in microseconds since 1970.
    span: Option<(i64, i64)>,
    /// Alerts by severity, the worst first.
    counts: [u64; 5],
    inputs: Vec<Input>,
    signatures: Vec<SignatureText>,
    /// What `rows` name by number.
    texts: Vec<String>,
    rows: Vec<Row>,
    incidents: Vec<Card>,
    graph: Graph,
    hidden: Vec<Unseen>,
    loss: Vec<Unseen>,
    oddities: Vec<(String, u64)>,
    /// What the counters say was read: packets, RPC connections, activations. Unset without a `stats` event.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<[u64; 3]>,
    /// Alerts of the sensor about itself.
    health: Vec<Health>,
    left_out: u64,
    evidence: [(&'static str, &'static str); 4],
}

/// A file that was read.
#[derive(Debug, Serialize)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) lines: u64,
    pub(super) bad: u64,
    /// Could it be read to its end?
    pub(super) whole: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct SignatureText {
    id: u64,
    text: String,
    category: String,
}

/// An alert in the table: when, severity, signature, class, what was done, evidence, the host's verdict, incident. All but
/// the first two are numbers of something in a list.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row(i64, Grade, usize, usize, usize, usize, usize, usize);

/// What the sensor says about itself.
#[derive(Debug, Serialize)]
struct Health {
    signature: usize,
    severity: Grade,
    count: u64,
    first: i64,
    last: i64,
}

/// An incident as it is shown.
#[derive(Debug, Serialize)]
struct Card {
    title: String,
    source: String,
    target: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    target_names: Vec<String>,
    from: i64,
    to: i64,
    severity: Grade,
    alerts: u64,
    reach: Reach,
    concluded: bool,
    evidence: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verdicts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs_as: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    /// ATT&CK's numbers and names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    techniques: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tactics: Vec<(String, String)>,
    /// Name, confidence, reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<(String, String, Vec<String>)>,
    /// Index, how many, the worst.
    signatures: Vec<(usize, u64, Grade)>,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "is_zero")]
    steps_left_out: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filters>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Texts that are named by number.
#[derive(Debug, Default)]
struct Interned {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Interned {
    fn number(&mut self, text: String) -> usize {
        if let Some(&number) = self.known.get(&text) {
            return number;
        }
        self.all.push(text.clone());
        self.known.insert(text, self.all.len() - 1);
        self.all.len() - 1
    }
}

/// Takes in what the second reading finds.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) texts: Texts,
    interned: Interned,
    signatures: Vec<SignatureText>,
    known_signatures: HashMap<u64, usize>,
    rows: Vec<Row>,
    pub(super) incidents: Vec<Incident>,
    pub(super) counters: Counters,
    counts: [u64; 5],
    span: Option<(i64, i64)>,
    health: Vec<Health>,
    pub(super) left_out: u64,
    /// Is there an event of this program?
    pub(super) ours: bool,
}

impl Builder {
    pub(super) fn new(incidents: Vec<Incident>) -> Self {
        let mut interned = Interned::default();
        interned.number(String::new());
        Self {
            texts: Texts::default(),
            interned,
            signatures: Vec::new(),
            known_signatures: HashMap::new(),
            rows: Vec::new(),
            incidents,
            counters: Counters::default(),
            counts: [0; 5],
            span: None,
            health: Vec::new(),
            left_out: 0,
            ours: false,
        }
    }

    /// There was an event at this time.
    pub(super) fn saw(&mut self, at: i64) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    fn signature(&mut self, event: &Value) -> usize {
        let id = event
            .pointer("/alert/signature_id")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        if let Some(&known) = self.known_signatures.get(&id) {
            return known;
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return MAX_SIGNATURES - 1;
        }
        let mut text = |place| self.texts.at(event, place, NAME).unwrap_or_default();
        let told = SignatureText {
            id,
            text: text("/alert/signature"),
            category: text("/alert/category"),
        };
        self.signatures.push(told);
        self.known_signatures.insert(id, self.signatures.len() - 1);
        self.signatures.len() - 1
    }

    /// An alert is there, whether there is room for more of it or not.
    pub(super) fn count(&mut self, grade: Grade) {
        self.counts[usize::from(grade.clamp(1, 5)) - 1] += 1;
    }

    /// An alert of an incident.
    pub(super) fn add_alert(&mut self, event: &Value, at: i64, grade: Grade, incident: usize) {
        let signature = self.signature(event);
        self.incidents[incident].add_alert(event, at, grade, signature, &mut self.texts);
        if self.rows.len() >= MAX_ROWS {
            self.left_out += 1;
            return;
        }
        let texts = &mut self.texts;
        let class = texts
            .at(event, "/dcom/class", NAME)
            .or_else(|| texts.at(event, "/host_event/class", NAME));
        let what = ["/dcom/command_line", "/host_event/process/command_line"]
            .iter()
            .find_map(|place| texts.at(event, place, 300))
            .or_else(|| {
                let path = texts.at(event, "/dcom/object_path", SENTENCE).unwrap_or_default();
                let method = texts.at(event, "/dcom/method", NAME)?;
                Some(format!("{path}.{method}").trim_start_matches('.').to_owned())
            });
        let evidence = texts.at(event, "/dcom/evidence", NAME);
        let verdict = verdict(event, texts);
        let mut number = |text: Option<String>| self.interned.number(text.unwrap_or_default());
        let (class, what) = (number(class), number(what));
        let (evidence, verdict) = (number(evidence), number(verdict));
        self.rows
            .push(Row(at, grade, signature, class, what, evidence, verdict, incident));
    }

    /// An alert that names no host: of the sensor about itself.
    pub(super) fn add_health(&mut self, event: &Value, at: i64, grade: Grade) {
        let signature = self.signature(event);
        if let Some(known) = self.health.iter_mut().find(|known| known.signature == signature) {
            known.count += 1;
            known.severity = known.severity.min(grade);
            (known.first, known.last) = (known.first.min(at), known.last.max(at));
        } else if self.health.len() < MAX_SIGNATURES {
            self.health.push(Health {
                signature,
                severity: grade,
                count: 1,
                first: at,
                last: at,
            });
        }
    }

    pub(super) fn finish(mut self, inputs: Vec<Input>, alerts: u64) -> Model {
        self.rows.sort_by_key(|row| (row.0, row.1));
        let headline = words::headline(&self.incidents, alerts, self.ours);
        let graph = graph::of(&self.incidents);
        let counters = &self.counters;
        let packets = ["decoder/pkts", "dcom/flow/rpc_connections", "dcom/activations"];
        Model {
            headline,
            span: self.span,
            counts: self.counts,
            inputs,
            signatures: self.signatures,
            texts: self.interned.all,
            rows: self.rows,
            graph,
            hidden: counters.hidden(),
            loss: counters.loss(),
            oddities: counters.oddities(),
            read: counters.are_known().then(|| packets.map(|name| counters.get(name))),
            health: self.health,
            left_out: self.left_out,
            evidence: EVIDENCE,
            incidents: self.incidents.into_iter().map(card).collect(),
        }
    }
}

fn card(mut incident: Incident) -> Card {
    let (title, alerts) = (words::title(&incident), incident.alerts());
    let filters = filters::of(&incident);
    let (reach, concluded) = incident.reach();
    let grade = |step: &Step| {
        EVIDENCE
            .iter()
            .position(|(name, _)| step.evidence.as_deref() == Some(*name))
    };
    let best = incident
        .steps()
        .filter(|step| !step.alerts.is_empty())
        .filter_map(grade)
        .min();
    let steps = incident.take_steps();
    let unseen = unseen::of_steps(&steps);
    let (source, target) = incident.span.pair;
    Card {
        title,
        source,
        target,
        target_names: incident.target_names.into_iter().collect(),
        from: incident.span.from,
        to: incident.span.to,
        severity: incident.span.worst,
        alerts,
        reach,
        concluded,
        evidence: best.map_or("", |best| EVIDENCE[best].0),
        verdicts: incident.verdicts.into_keys().collect(),
        users: incident.users.into_iter().collect(),
        runs_as: incident.runs_as.into_iter().collect(),
        classes: incident.classes.into_iter().collect(),
        techniques: incident.techniques.into_iter().collect(),
        tactics: incident.tactics.into_iter().collect(),
        tools: incident
            .tools
            .into_iter()
            .map(|(name, (confidence, because))| (name, confidence, because))
            .collect(),
        signatures: incident
            .signatures
            .into_iter()
            .map(|(signature, (count, worst))| (signature, count, worst))
            .collect(),
        steps,
        steps_left_out: incident.steps_left_out,
        filters,
        unseen,
    }
}
