//! Why an alert fired: what `--verbose` says below the table, from the alert alone and what was told before it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::console::{printable, who};
use super::growing::{Colour, Layout, MAX_ROWS, MIN_WIDTH, coloured};
use super::summary::counted;
use crate::catalog::Catalog;
use crate::event::dcom::{Evidence, Kind, Outcome, Proof};
use crate::event::host::HostRecord;
use crate::event::{Alert, Body, Dcerpc, Dcom, Event, HostAlert, Meta};

/// Connections whose binds are remembered, and activations whose calls are.
const REMEMBERED: usize = 16_384;
/// Binds of one connection.
const BINDS: usize = 16;
/// Calls of one activation that are named by their frames.
const CALLS: usize = 12;
/// Characters of a row.
const LONGEST: usize = 2_000;

/// A heading and what stands behind it.
type Line = (&'static str, String);

/// What explains alerts, collected while events are told.
#[derive(Debug)]
pub struct Reasons {
    catalog: Arc<Catalog>,
    binds: Latest<u64, Vec<Bind>>,
    calls: Latest<(u64, u64), Calls>,
    alerts: Vec<Explained>,
    more: u64,
}

/// A bind that named an interface.
#[derive(Debug)]
struct Bind {
    frame: u64,
    reply: Option<u64>,
    interfaces: Vec<dcom_parsers::guid::Guid>,
}

/// Calls that descend from an activation.
#[derive(Debug, Default)]
struct Calls {
    named: Vec<String>,
    more: u64,
    /// Was the class read in the activation itself?
    class_read: bool,
}

/// An alert that is explained once its calls are known.
#[derive(Debug)]
struct Explained {
    head: String,
    lines: Vec<Line>,
    activation: Option<(u64, u64)>,
}

/// The last so many by their keys.
#[derive(Debug)]
struct Latest<K, V> {
    map: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Ord + Copy, V: Default> Latest<K, V> {
    fn new() -> Self {
        Self {
            map: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    fn entry(&mut self, key: K) -> &mut V {
        if !self.map.contains_key(&key) {
            self.order.push_back(key);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        self.map.entry(key).or_default()
    }
}

impl Reasons {
    /// With the classes that alerts are about.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            binds: Latest::new(),
            calls: Latest::new(),
            alerts: Vec::new(),
            more: 0,
        }
    }

    /// Other classes are known from now on.
    pub fn replace_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
    }

    /// Takes in what is told, other than alerts.
    pub fn note(&mut self, event: &Event) {
        let (Some(flow), Some(frame)) = (event.meta.flow_id, event.meta.frame) else {
            return;
        };
        match &event.body {
            Body::Dcerpc(dcerpc) if is_bind(dcerpc) => {
                let binds = self.binds.entry(flow);
                if binds.len() < BINDS {
                    binds.push(Bind {
                        frame,
                        reply: event.meta.reply_frame,
                        interfaces: dcerpc.interfaces.iter().map(|interface| interface.uuid).collect(),
                    });
                }
            }
            Body::Dcom(dcom) if dcom.kind == Kind::Activation => {
                let read = matches!(dcom.evidence, Evidence::Class | Evidence::Arguments);
                if read && dcom.clsid.is_some() {
                    self.calls.entry((flow, frame)).class_read = true;
                }
            }
            Body::Dcom(dcom) => {
                let (Some(activation), true) = (&dcom.activation, dcom.is_object_call()) else {
                    return;
                };
                let calls = self.calls.entry((activation.flow_id, activation.frame));
                if calls.named.len() < CALLS {
                    let name = dcom.method.as_deref().unwrap_or(&dcom.operation);
                    calls.named.push(format!("{frame} ({name})"));
                } else {
                    calls.more += 1;
                }
            }
            _ => {}
        }
    }

    /// Keeps an alert, to be explained at the end.
    pub fn push(&mut self, meta: &Meta, alert: &Alert) {
        if self.alerts.len() >= MAX_ROWS {
            self.more += 1;
            return;
        }
        let lines = self.lines(meta, alert);
        let activation = match (alert.dcom.as_deref(), meta.flow_id, meta.frame) {
            (Some(dcom), _, _) if dcom.activation.is_some() => None,
            (Some(_), Some(flow), Some(frame)) => Some((flow, frame)),
            _ => None,
        };
        self.alerts.push(Explained {
            head: head(meta, alert),
            lines,
            activation,
        });
    }

    /// All of it, not wider than `width`.
    pub fn print(&self, width: u16, colour: Colour) -> String {
        let mut text = String::new();
        for alert in &self.alerts {
            let mut lines = alert.lines.clone();
            let calls = alert.activation.and_then(|key| self.calls.map.get(&key));
            if let Some(calls) = calls.filter(|calls| !calls.named.is_empty()) {
                let mut told = format!("on its objects, in frames {}", calls.named.join(", "));
                if calls.more > 0 {
                    let _ = write!(told, " and {} more", calls.more);
                }
                lines.insert(lines.len().min(4), ("calls", told));
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&laid_out(&alert.head, &lines, width, colour));
        }
        if self.more > 0 {
            let _ = writeln!(text, "… and {} not explained", counted(self.more, "alert", "alerts"));
        }
        text
    }

    /// One alert at once: live, nobody waits for its calls.
    pub fn explain(&self, meta: &Meta, alert: &Alert, width: u16) -> String {
        laid_out("", &self.lines(meta, alert), width, Colour::Never)
    }

    fn lines(&self, meta: &Meta, alert: &Alert) -> Vec<Line> {
        let mut lines = vec![("alert", told(alert)), ("what", alert.message.clone())];
        if let Some(dcom) = alert.dcom.as_deref() {
            lines.push(("evidence", evidence(dcom)));
            lines.extend(self.frames(meta, dcom).map(|text| ("read", text)));
            lines.push(("severity", self.severity(alert, dcom)));
            lines.push(("who", who(dcom)));
            if let Some(tool) = &dcom.tool {
                let because = tool.because.join("; ");
                lines.push((
                    "tool",
                    format!("{} ({} confidence): {because}", tool.name, tool.confidence),
                ));
            }
            lines.extend(dcom.host.as_deref().map(|host| ("host", host_says(host))));
            if let (Some(true), Some(key)) = (dcom.decrypted, &dcom.key) {
                lines.push(("opened", format!("with the key of {key}")));
            }
            lines.extend(dcom.decoded_command.clone().map(|script| ("decoded", script)));
            lines.push(("not seen", not_seen(dcom)));
        }
        if let Some(event) = &alert.host_event {
            lines.extend(logged(event));
        }
        if let (Some(uid), Some(community)) = (&meta.uid, &meta.community_id) {
            lines.push(("connection", format!("{uid}, {community}")));
        }
        let of_metadata = [("count", &alert.metadata.count), ("targets", &alert.metadata.targets)];
        lines.extend(
            of_metadata
                .into_iter()
                .filter(|(_, values)| !values.is_empty())
                .map(|(name, values)| (name, values.join(", "))),
        );
        lines.push(("more", format!("dcom-sensor --explain {}", alert.signature_id)));
        lines
    }

    /// Which frames it was read in.
    fn frames(&self, meta: &Meta, dcom: &Dcom) -> Option<String> {
        let frame = meta.frame?;
        let mut text = match (dcom.outcome, meta.reply_frame) {
            (Some(Outcome::Succeeded | Outcome::Failed), None) => format!("the reply in frame {frame}"),
            (_, Some(reply)) => format!("the request in frame {frame}, the reply in {reply}"),
            _ => format!("the request in frame {frame}"),
        };
        let interface = dcom.interface.as_ref().map(|interface| interface.uuid);
        let bind = meta
            .flow_id
            .and_then(|flow| self.binds.map.get(&flow))
            .and_then(|binds| {
                let names_it =
                    |bind: &&Bind| bind.frame <= frame && interface.is_some_and(|it| bind.interfaces.contains(&it));
                binds.iter().rev().find(names_it)
            });
        if let Some(bind) = bind {
            let _ = write!(text, "; the bind in {}", bind.frame);
            if let Some(reply) = bind.reply {
                let _ = write!(text, ", its answer in {reply}");
            }
        }
        if let Some(activation) = &dcom.activation {
            let _ = write!(text, "; the activation that it descends from in {}", activation.frame);
        }
        if let Some(file) = &meta.pcap_filename {
            let _ = write!(text, "; all of {file}");
        }
        Some(text)
    }

    /// What the severity comes from.
    fn severity(&self, alert: &Alert, dcom: &Dcom) -> String {
        let mut text = alert.severity.to_string();
        // Of several, the worst one counts, and not the one that completed them.
        let of_several = alert.metadata.classes.iter().flat_map(|class| self.catalog.find(class));
        let worst = of_several.max_by_key(|class| class.severity);
        let clsid = worst.map(|class| class.clsid).or(dcom.clsid);
        match clsid.map(|clsid| (clsid, self.catalog.class(clsid))) {
            Some((clsid, Some(class))) => {
                let (severity, confidence) = (class.severity, class.confidence.name());
                let descends = dcom.activation.as_ref().filter(|it| it.proof == Proof::Strong);
                let activation = descends.and_then(|it| self.calls.map.get(&(it.flow_id, it.frame)));
                // What was concluded is not to read as if it had been read; of a call, that may be the call alone.
                let concluded = dcom.evidence == Evidence::Inferred && !activation.is_some_and(|it| it.class_read);
                let of_several = if worst.is_some() { "the worst of them, " } else { "" };
                let _ = write!(
                    text,
                    "; the catalogue gives an activation of {of_several}{} {{{clsid}}}{} {severity}, at {confidence} confidence",
                    class.name,
                    if concluded { ", which is concluded," } else { "" },
                );
                if !class.description.is_empty() {
                    let _ = write!(text, ": {}", class.description.trim_end_matches('.'));
                }
            }
            Some((clsid, None)) => {
                let _ = write!(text, "; {{{clsid}}} is not in the catalogue");
            }
            None => {}
        }
        if let Some(effect) = dcom.effect {
            let _ = write!(text, "; the method {}", effect.meaning());
        }
        text
    }
}

fn is_bind(dcerpc: &Dcerpc) -> bool {
    matches!(dcerpc.request, Some("BIND" | "ALTER_CONTEXT"))
}

/// Time and severity stand where those of the table do.
fn head(meta: &Meta, alert: &Alert) -> String {
    let time = meta.timestamp.to_string().replace('T', " ");
    let time: String = time.chars().take(19).collect();
    format!(" {time}   {}", alert.severity)
}

fn told(alert: &Alert) -> String {
    let mut text = format!("{} {}", alert.signature_id, alert.signature);
    if !alert.metadata.confidence.is_empty() {
        let _ = write!(text, ", confidence {}", alert.metadata.confidence.join(", "));
    }
    if !alert.metadata.mitre_technique_id.is_empty() {
        let _ = write!(text, ", {}", alert.metadata.mitre_technique_id.join(", "));
    }
    text
}

fn evidence(dcom: &Dcom) -> String {
    let means = match dcom.evidence {
        Evidence::Arguments => "what was done was read",
        Evidence::Class => "the class is known; what was done with it is not told here",
        Evidence::Inferred => "concluded, not read",
        Evidence::Header => "interface and operation number alone were read",
    };
    let mut text = format!("{}: {means}", dcom.evidence);
    for reason in &dcom.because {
        let _ = write!(text, "; {reason}");
    }
    text
}

fn host_says(host: &HostRecord) -> String {
    let mut text = host.verdict.to_string().replace('_', " ");
    if let Some(name) = &host.name {
        let _ = write!(text, " by {name} (score {})", host.score);
    }
    if !host.matched_on.is_empty() {
        let matched: Vec<String> = host.matched_on.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", matched on {}", matched.join(", "));
    }
    for reason in &host.because {
        let _ = write!(text, "; {reason}");
    }
    if let Some(source) = &host.source {
        let _ = write!(text, "; from {source}");
    }
    text
}

fn not_seen(dcom: &Dcom) -> String {
    let mut missing = Vec::new();
    if dcom.bind_seen == Some(false) {
        missing.push("the bind that named the interface".to_owned());
    }
    if dcom.outcome == Some(Outcome::Unanswered) {
        missing.push("a reply".to_owned());
    }
    let sealed = |length: Option<u32>| length.filter(|_| dcom.decrypted != Some(true));
    if let Some(length) = sealed(dcom.sealed_stub_length) {
        missing.push(format!("what the request says: {length} bytes are sealed"));
    }
    if let Some(length) = sealed(dcom.sealed_reply_length) {
        missing.push(format!("what the reply says: {length} bytes are sealed"));
    }
    if dcom.bytes_missing > 0 {
        let bytes = counted(dcom.bytes_missing, "byte", "bytes");
        missing.push(format!("{bytes} of the connection, which the capture lacks"));
    }
    if missing.is_empty() {
        "nothing is known to be missing".to_owned()
    } else {
        missing.join("; ")
    }
}

/// What a host's log says, and what else belongs to it.
fn logged(event: &HostAlert) -> Vec<Line> {
    let mut lines = vec![(
        "read",
        format!(
            "{}, record {} of {}; its time: {}",
            event.source, event.record, event.input, event.clock
        ),
    )];
    lines.push(("pattern", event.pattern.to_owned()));
    let started = [
        (
            "parent",
            event.parent.as_ref().map(|it| (it.pid, &it.image, &it.command_line)),
        ),
        (
            "process",
            event.process.as_ref().map(|it| (it.pid, &it.image, &it.command_line)),
        ),
    ];
    for (name, process) in started {
        let Some((pid, image, command)) = process else { continue };
        let mut text = image.as_deref().unwrap_or("?").to_owned();
        if let Some(pid) = pid {
            let _ = write!(text, " ({pid})");
        }
        if let Some(command) = command {
            let _ = write!(text, ": {command}");
        }
        lines.push((name, text));
    }
    if !event.because.is_empty() {
        lines.push(("because", event.because.join("; ")));
    }
    for related in &event.related {
        let text = format!(
            "{} {}, record {} of {}: {}",
            related.timestamp, related.source, related.record, related.input, related.what
        );
        lines.push(("beside it", text));
    }
    lines
}

/// Heads in a column, and the texts beside them, wrapped.
fn laid_out(head: &str, lines: &[Line], width: u16, colour: Colour) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.max(MIN_WIDTH));
    for (name, text) in lines {
        let cut: String = text.chars().take(LONGEST).collect();
        let more = if cut.len() < text.len() { "…" } else { "" };
        table.add_row([format!("  {name}"), format!("{}{more}", printable(&cut))]);
    }
    table.set_constraints([ColumnConstraint::ContentWidth]);
    let mut all = String::new();
    if !head.is_empty() {
        let _ = writeln!(all, "{}", coloured(head, Layout::Wide, colour));
    }
    for line in table.lines() {
        all.push_str(line.trim_end());
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::dcom::ActivationRecord;
    use crate::event::{Shared, samples};

    fn reasons() -> Reasons {
        Reasons::new(Arc::new(Catalog::built_in()))
    }

    #[test]
    fn an_alert_is_explained_with_its_bind_and_its_calls() {
        let mut reasons = reasons();
        let mut bind = samples::dcerpc();
        bind.request = Some("BIND");
        bind.interfaces[0].uuid = samples::dcom().interface.unwrap().uuid;
        let meta = samples::meta();
        let mut alert_meta = meta.clone();
        (alert_meta.frame, alert_meta.reply_frame) = (Some(10), Some(12));
        reasons.note(&Event {
            meta: meta.clone(),
            body: Body::Dcerpc(Shared::new(bind)),
        });
        reasons.push(&alert_meta, &samples::alert());
        for frame in 20..40 {
            let mut call = samples::dcom();
            call.kind = Kind::Call;
            call.method = Some("ExecuteShellCommand".into());
            call.activation = Some(ActivationRecord {
                flow_id: alert_meta.flow_id.unwrap(),
                frame: 10,
                ..ActivationRecord::default()
            });
            call.interface = None;
            let mut at = meta.clone();
            at.frame = Some(frame);
            reasons.note(&Event {
                meta: at,
                body: Body::Dcom(Shared::new(call)),
            });
        }
        let text = reasons.print(200, Colour::Never);
        for part in [
            " 2020-07-18 23:10:02   critical\n",
            "evidence    class: the class is known",
            "read        the request in frame 10, the reply in 12; the bind in 1, its answer in 2; all of mmc20.pcapng\n",
            "calls       on its objects, in frames 20 (ExecuteShellCommand), 21 (",
            " and 8 more\n",
            "severity    critical; the catalogue gives an activation of MMC20.Application",
            "who         LAB\\alice → LAB\\runner\n",
            "not seen    the bind that named the interface\n",
            "more        dcom-sensor --explain 1021301\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let coloured = reasons.print(200, Colour::Always);
        assert!(coloured.contains("   \x1b[1;31mcritical\x1b[0m\n"), "{coloured}");
    }

    #[test]
    fn severity_is_explained_by_the_class_that_gives_it() {
        let mut reasons = reasons();
        let mut alert = samples::alert();
        alert.metadata.classes = vec!["MSProject.Application".into(), "MMC20.Application".into()];
        alert.dcom.as_mut().unwrap().clsid = Some(reasons.catalog.find("MSProject.Application")[0].clsid);
        let severity = |reasons: &Reasons, alert: &Alert| reasons.severity(alert, alert.dcom.as_deref().unwrap());
        let told = severity(&reasons, &alert);
        assert!(
            told.contains("an activation of the worst of them, MMC20.Application {"),
            "{told}"
        );
        // A call may be what is concluded, where the class was read.
        alert.metadata.classes.clear();
        let meta = samples::meta();
        let dcom = alert.dcom.as_mut().unwrap();
        dcom.evidence = Evidence::Inferred;
        dcom.activation = Some(ActivationRecord {
            flow_id: meta.flow_id.unwrap(),
            frame: meta.frame.unwrap(),
            proof: Proof::Strong,
            ..ActivationRecord::default()
        });
        assert!(severity(&reasons, &alert).contains("}, which is concluded, "));
        reasons.note(&Event {
            meta,
            body: Body::Dcom(Shared::new(samples::dcom())),
        });
        assert!(!severity(&reasons, &alert).contains("concluded"));
    }

    #[test]
    fn what_is_missing_is_told() {
        let mut dcom = samples::dcom();
        dcom.bind_seen = Some(true);
        assert_eq!(not_seen(&dcom), "nothing is known to be missing");
        dcom.outcome = Some(Outcome::Unanswered);
        dcom.sealed_stub_length = Some(464);
        dcom.bytes_missing = 1;
        assert_eq!(
            not_seen(&dcom),
            "a reply; what the request says: 464 bytes are sealed; 1 byte of the connection, which the capture lacks"
        );
        dcom.decrypted = Some(true);
        assert!(!not_seen(&dcom).contains("sealed"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut reasons = reasons();
        let mut meta = samples::meta();
        for flow in 0..2 * REMEMBERED as u64 {
            meta.flow_id = Some(flow);
            let mut bind = samples::dcerpc();
            bind.request = Some("BIND");
            reasons.note(&Event {
                meta: meta.clone(),
                body: Body::Dcerpc(Shared::new(bind)),
            });
        }
        assert_eq!(reasons.binds.map.len(), REMEMBERED);
        for _ in 0..MAX_ROWS + 3 {
            reasons.push(&meta, &samples::alert());
        }
        assert_eq!(reasons.alerts.len(), MAX_ROWS);
        assert!(
            reasons
                .print(80, Colour::Never)
                .ends_with("… and 3 alerts not explained\n")
        );
    }
}
