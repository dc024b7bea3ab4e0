//! What happened, in words: the headline, an incident's title, what a grade of evidence means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::chain::{Deed, Incident, Reach, Step};
use super::incidents::Pair;
use super::text::{counted, grouped, listed};
use crate::path::file_name;
use crate::time::Timestamp;

/// Characters of a command in a title.
const MAX_COMMAND: usize = 60;
/// Names in a list before the rest is a number.
const MAX_NAMES: usize = 3;

/// Each grade of evidence, the strongest first, and what it means.
pub(super) const EVIDENCE: [(&str, &str); 4] = [
    (
        "arguments",
        "What was asked for was read in full: method and arguments.",
    ),
    (
        "class",
        "The class of the activation was read; what was done with the object afterwards was not.",
    ),
    (
        "inferred",
        "Not all of it was read: it is a conclusion, and what it is drawn from stands with it.",
    ),
    (
        "header",
        "The interface and the operation's number were read, nothing more.",
    ),
];

/// What hosts' logs say, in words.
const NO_HOST_LOGS: &str =
    "Not confirmed by a host: no logs of it were joined, so whether it had an effect is not known here.";

const HOST_LOGS_ALONE: &str = "This is what hosts' own logs say; no traffic was joined with them";

/// The first thing that is read.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Headline {
    pub(super) text: String,
    /// `confirmed`, `contradicted`, `not_seen`, `mixed`, `logged`, `unknown`, or `none` where there is nothing to confirm.
    pub(super) verdict: &'static str,
    pub(super) verdict_text: String,
    /// Label and text.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// `2020-07-18 23:10:02 UTC`.
pub(super) fn moment(microseconds: i64) -> String {
    let text = Timestamp(microseconds.saturating_mul(1_000)).to_string();
    format!("{} UTC", text.get(..19).unwrap_or_default().replace('T', " "))
}

/// A host by the name that it gives itself, and its address.
fn host(address: &str, names: &BTreeSet<String>) -> String {
    // The short one, which has no dots.
    let name = names.iter().find(|name| !name.contains('.')).or_else(|| names.first());
    match (address, name) {
        ("", None) => "an unknown host".to_owned(),
        ("", Some(name)) => name.clone(),
        (address, Some(name)) if name != address => format!("{name} ({address})"),
        (address, _) => address.to_owned(),
    }
}

fn source(address: &str, names: &BTreeSet<String>) -> String {
    if address.is_empty() {
        "Someone".to_owned()
    } else {
        host(address, names)
    }
}

/// A command as it is told.
fn quoted(command: &str) -> String {
    match command.char_indices().nth(MAX_COMMAND) {
        Some((end, _)) => format!("“{}…”", &command[..end]),
        None => format!("“{command}”"),
    }
}

/// What the alert on a step says was done with a host, or was to be.
fn deed(step: &Step, is_done: bool, at: &str) -> Option<String> {
    let command = step.command_line.as_deref().map(quoted);
    let runs = command
        .as_ref()
        .map(|it| format!(" that runs {it}"))
        .unwrap_or_default();
    let class = step.class.as_ref();
    let through = class.map(|class| format!(" through {class}")).unwrap_or_default();
    let verb = |done: &'static str, tried: &'static str| if is_done { done } else { tried };
    Some(match step.deed? {
        Deed::Execution => format!(
            "{} {at} run {}",
            verb("had", "have"),
            command.as_deref().unwrap_or("a command")
        ),
        Deed::Coercion => format!(
            "{} {at} to log on to {}{through}",
            verb("told", "tell"),
            command.as_deref().unwrap_or("another host")
        ),
        Deed::Subscription => format!("{} a WMI subscription{runs} on {at}", verb("left", "leave")),
        Deed::Service => format!("{} a service{runs} on {at}", verb("made or changed", "make or change")),
        Deed::TrappedObject => format!(
            "{} an object on {at} out of type information{through}",
            verb("made", "make")
        ),
    })
}

/// An incident in one sentence, without a full stop.
pub(super) fn title(incident: &Incident) -> String {
    let (reach, _) = incident.reach();
    let gravest = |wanted: fn(Reach) -> bool| {
        let deeds = incident
            .steps()
            .filter(|step| step.deed.is_some() && step.reach.is_some_and(wanted));
        deeds.min_by_key(|step| step.alerts.iter().map(|alert| alert.severity).min())
    };
    let who = source(&incident.span.pair.0, &incident.source_names);
    let at = host(&incident.span.pair.1, &incident.target_names);
    // What was run says it all; what else was done goes before the call that did it.
    let done = gravest(|reach| reach == Reach::Called).filter(|_| reach <= Reach::Called);
    let mut text = match done.and_then(|step| Some((step, deed(step, true, &at)?))) {
        Some((step, deed)) => {
            let concluded = step.evidence.as_deref() == Some("inferred");
            format!("{who}{} {deed}", if concluded { " probably" } else { "" })
        }
        None => how_far(incident),
    };
    let tried = gravest(|reach| reach == Reach::Tried);
    let Some(tried) = tried.filter(|_| reach <= Reach::Called) else {
        return text;
    };
    if reach == Reach::Tried {
        if let Some(deed) = deed(tried, false, &at).filter(|_| tried.deed != Some(Deed::Execution)) {
            text = format!("{who} tried to {deed}; no success was seen");
        }
    } else if let Some(deed) = deed(tried, false, "it") {
        let failed = tried.outcome.as_deref() == Some("failed");
        let end = if failed { "which failed" } else { "without seen success" };
        let _ = write!(text, ", and tried to {deed}, {end}");
    }
    text
}

/// How far it went, in one sentence without a full stop.
fn how_far(incident: &Incident) -> String {
    let (reach, concluded) = incident.reach();
    let who = source(&incident.span.pair.0, &incident.source_names);
    let at = host(&incident.span.pair.1, &incident.target_names);
    let probably = if concluded { " probably" } else { "" };
    let alerting = |step: &&Step| !step.alerts.is_empty();
    // That of what went as far as is said, if it is known.
    let went = |step: &&Step| step.reach == Some(reach);
    let steps = incident.steps().filter(alerting).filter(went);
    let class = steps
        .chain(incident.steps().filter(alerting))
        .find_map(|step| step.class.clone())
        .or_else(|| incident.classes.first().cloned());
    // That of what went as far as is said: the start of a COM server is not the command that it ran.
    let command = incident
        .steps()
        .filter(|step| step.reach == Some(reach) && (reach != Reach::Tried || step.kind == "call"))
        .find_map(|step| step.command_line.as_deref())
        .map(quoted);
    let a_class = class.clone().unwrap_or_else(|| "an object".to_owned());
    // A host's own log says what ran there, and not always at whose bidding.
    if incident.span.pair.0.is_empty()
        && let Some(step) = incident
            .steps()
            .find(|step| alerting(step) && step.reach == Some(reach))
        && step.kind == "host_event"
    {
        let parent = step.host.as_ref().and_then(|host| image(&host.parent));
        let started = command
            .clone()
            .or_else(|| step.host.as_ref().and_then(|host| image(&host.process)));
        match (reach, parent, started) {
            (Reach::Executed, parent, Some(started)) => {
                let parent = parent.unwrap_or_else(|| "A process".to_owned());
                return format!("{parent} started {started} on {at}; at whose bidding is not known");
            }
            (Reach::Noted, _, Some(started)) => return format!("{started} was started on {at}, which points to DCOM"),
            (Reach::Noted, _, None) => return format!("A script on {at} names {a_class}"),
            _ => {}
        }
    }
    let through = class.map(|class| format!(" through {class}")).unwrap_or_default();
    let a_command = |command: Option<String>| command.unwrap_or_else(|| "a command".to_owned());
    match (reach, command) {
        (Reach::Executed, command) => format!("{who}{probably} had {at} run {}{through}", a_command(command)),
        (Reach::Told, command) => format!(
            "{who}{probably} told {at} to run {}{through}; no answer was seen",
            a_command(command)
        ),
        (Reach::Called, _) => format!("{who}{probably} activated {a_class} on {at} and called it"),
        (Reach::Activated, _) => format!("{who}{probably} activated {a_class} on {at}"),
        (Reach::Tried, Some(command)) => {
            format!("{who} tried to have {at} run {command}{through}; no success was seen")
        }
        (Reach::Tried, None) => format!("{who} tried to use {a_class} on {at}; no success was seen"),
        (Reach::Asked, _) => format!("{who} probed {}; no activation was seen", asked(incident, at)),
        (Reach::Noted, _) => format!("{at} logged what points to DCOM, from {who}"),
    }
}

/// All hosts that were asked: the alert of many stands with the one that completed it.
fn asked(incident: &Incident, at: String) -> String {
    let others = &incident.other_targets;
    if others.is_empty() {
        return at;
    }
    let mut named = vec![at];
    named.extend(others.iter().take(MAX_NAMES - 1).cloned());
    let all = incident.of_many.max(others.len() as u64 + 1);
    let more = all - named.len() as u64;
    if more > 0 {
        named.push(format!("{} more", grouped(more)));
    }
    format!("{} hosts ({})", grouped(all), listed(&named))
}

/// The file name of a process's image.
fn image(process: &[(String, String)]) -> Option<String> {
    let (_, path) = process.iter().find(|(key, _)| key == "image")?;
    Some(file_name(path).to_owned())
}

/// How far someone got with a target, over all incidents.
fn reaches<'a>(incidents: &[&'a Incident]) -> BTreeMap<&'a Pair, (Reach, bool)> {
    let mut best: BTreeMap<&Pair, (Reach, bool)> = BTreeMap::new();
    for &incident in incidents {
        let (reach, concluded) = incident.reach();
        let known = best.entry(&incident.span.pair).or_insert((reach, concluded));
        // What was read goes before what was concluded.
        *known = (*known).max_by_reach((reach, concluded));
    }
    best
}

trait Further {
    fn max_by_reach(self, other: Self) -> Self;
}

impl Further for (Reach, bool) {
    fn max_by_reach(self, other: Self) -> Self {
        if (other.0, !other.1) > (self.0, !self.1) {
            other
        } else {
            self
        }
    }
}

/// All of it in one sentence; what hosts log, and nobody knows of whom, in another.
fn sentence(incidents: &[Incident]) -> String {
    let (unknown, known): (Vec<&Incident>, Vec<&Incident>) =
        incidents.iter().partition(|incident| incident.span.pair.0.is_empty());
    if known.is_empty() {
        return logged(&unknown);
    }
    let reached = by_target(&reaches(&known));
    let further = |incident: &&Incident| {
        let known = reached.get(incident.span.pair.1.as_str());
        known.is_none_or(|(reach, _)| incident.reach().0 > *reach)
    };
    let beside: Vec<&Incident> = unknown.into_iter().filter(further).collect();
    let mut text = done(&known);
    if !beside.is_empty() {
        text.push(' ');
        text.push_str(&logged(&beside));
    }
    text
}

/// Of each target, how far anyone got with it.
fn by_target<'a>(best: &BTreeMap<&'a Pair, (Reach, bool)>) -> BTreeMap<&'a str, (Reach, bool)> {
    let mut targets: BTreeMap<&str, (Reach, bool)> = BTreeMap::new();
    for (pair, &reach) in best {
        let known = targets.entry(pair.1.as_str()).or_insert(reach);
        *known = (*known).max_by_reach(reach);
    }
    targets
}

/// What ran on hosts by what they log themselves, where they log nobody who had it run.
fn logged(incidents: &[&Incident]) -> String {
    let targets = by_target(&reaches(incidents));
    if let ([incident, ..], 1) = (incidents, targets.len()) {
        return furthest(incidents).map_or_else(|| title(incident), title) + ".";
    }
    let count = |wanted: &[Reach]| targets.values().filter(|(reach, _)| wanted.contains(reach)).count() as u64;
    let parts: Vec<(&str, u64)> = [
        ("commands", count(&[Reach::Executed, Reach::Told])),
        ("activations", count(&[Reach::Called, Reach::Activated])),
        ("attempts", count(&[Reach::Tried])),
        ("traces", count(&[Reach::Asked, Reach::Noted])),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .collect();
    let all = counted(targets.len() as u64, "host", "hosts");
    if let [(what, _)] = parts[..] {
        return format!("{all} logged {what} that point to DCOM; at whose bidding is not known.");
    }
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(what, count)| format!("{what} on {}", grouped(count)))
        .collect();
    format!(
        "{all} logged what points to DCOM: {}; at whose bidding is not known.",
        listed(&parts)
    )
}

/// The incident that went furthest.
fn furthest<'a>(incidents: &[&'a Incident]) -> Option<&'a Incident> {
    incidents.iter().copied().max_by_key(|incident| {
        let (reach, concluded) = incident.reach();
        // Of equal ones the first, which is the gravest and earliest.
        (
            reach,
            !concluded,
            std::cmp::Reverse((incident.span.worst, incident.span.from)),
        )
    })
}

/// Who reached whom.
fn done(incidents: &[&Incident]) -> String {
    let best = reaches(incidents);
    let targets = by_target(&best);
    let is_reached = |reach: Reach| reach >= Reach::Activated;
    let any = targets.values().any(|(reach, _)| is_reached(*reach));
    // Where some were reached, the others are told behind them.
    let (foremost, others): (BTreeMap<&str, _>, BTreeMap<&str, _>) = targets
        .into_iter()
        .partition(|(_, (reach, _))| is_reached(*reach) == any);
    // Who went as far as is said of each.
    let pairs: BTreeSet<&Pair> = best
        .iter()
        .filter(|(pair, reach)| foremost.get(pair.1.as_str()) == Some(reach))
        .map(|(pair, _)| *pair)
        .collect();
    let of_these = incidents.iter().copied().filter(|it| pairs.contains(&it.span.pair));
    let of_these: Vec<&Incident> = of_these.collect();
    let mut text = if pairs.len() == 1 && foremost.len() == 1 {
        furthest(&of_these).map(title).unwrap_or_default()
    } else {
        counts(&of_these, &foremost, if any { "reached" } else { "tried" })
    };
    let beside = [
        (Reach::Tried, "tried without seen success"),
        (Reach::Asked, "probed"),
        (Reach::Noted, "found with traces that point to DCOM"),
    ];
    for (wanted, words) in beside {
        let count = others.values().filter(|(reach, _)| *reach == wanted).count() as u64;
        if count > 0 {
            let more = counted(count, "more host was", "more hosts were");
            let _ = write!(text, "; {more} {words}");
        }
    }
    text + "."
}

/// Of several pairs, how many were brought how far.
fn counts(incidents: &[&Incident], targets: &BTreeMap<&str, (Reach, bool)>, verb: &str) -> String {
    let names = &incidents
        .iter()
        .flat_map(|it| it.source_names.iter().cloned())
        .collect();
    let sources: BTreeSet<&str> = incidents.iter().map(|it| it.span.pair.0.as_str()).collect();
    let who = match sources.first() {
        Some(one) if sources.len() == 1 => source(one, names),
        _ => counted(sources.len() as u64, "host", "hosts"),
    };
    let count = |wanted: Reach| targets.values().filter(|(reach, _)| *reach == wanted).count() as u64;
    let parts: Vec<String> = [
        (Reach::Executed, "had commands run on"),
        (Reach::Told, "sent commands without a seen answer to"),
        (Reach::Called, "called objects on"),
        (Reach::Activated, "activated objects on"),
        (Reach::Tried, "tried without seen success on"),
        (Reach::Asked, "probed"),
        (Reach::Noted, "left traces that point to DCOM on"),
    ]
    .into_iter()
    .filter(|(reach, _)| count(*reach) > 0)
    .map(|(reach, words)| format!("{words} {}", grouped(count(reach))))
    .collect();
    let concluded = targets.values().filter(|(_, concluded)| *concluded).count() as u64;
    let concluded = match concluded {
        0 => String::new(),
        some => format!(" (on {}, this is a conclusion)", grouped(some)),
    };
    match &parts[..] {
        [one] => format!(
            "{who} {one} {}{concluded}",
            if targets.len() == 1 { "host" } else { "hosts" }
        ),
        parts => {
            let all = counted(targets.len() as u64, "host", "hosts");
            format!("{who} {verb} {all}: {}{concluded}", listed(parts))
        }
    }
}

fn verdict(incidents: &[Incident]) -> (&'static str, String) {
    let of = |wanted: &str| {
        let said = |incident: &&Incident| incident.verdicts.contains_key(wanted);
        incidents.iter().filter(said).count() as u64
    };
    let (confirmed, contradicted, not_seen) = (of("confirmed"), of("contradicted"), of("not_seen"));
    let logged = of("logged");
    let all = incidents.len() as u64;
    let incidents_of = |some: u64| {
        if all == 1 {
            String::new()
        } else {
            format!(" in {} of {}", grouped(some), counted(all, "incident", "incidents"))
        }
    };
    match (confirmed, contradicted, not_seen) {
        (0, 0, 0) if logged > 0 => ("logged", format!("{HOST_LOGS_ALONE}{}.", incidents_of(logged))),
        (0, 0, 0) => ("unknown", NO_HOST_LOGS.to_owned()),
        (some, 0, 0) => (
            "confirmed",
            format!("Confirmed by the host's own logs{}.", incidents_of(some)),
        ),
        (0, some, 0) => (
            "contradicted",
            format!("The host's own logs contradict it{}.", incidents_of(some)),
        ),
        (0, 0, some) => (
            "not_seen",
            format!("The host's own logs do not show it{}.", incidents_of(some)),
        ),
        _ => {
            let parts: Vec<String> = [
                (confirmed, "confirm"),
                (contradicted, "contradict"),
                (not_seen, "do not show"),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{words} {}", grouped(count)))
            .collect();
            (
                "mixed",
                format!(
                    "Of {}, the hosts' own logs {}.",
                    counted(all, "incident", "incidents"),
                    listed(&parts)
                ),
            )
        }
    }
}

fn some_of<'a>(all: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let all: BTreeSet<&String> = all.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    let mut named: Vec<String> = all.iter().take(MAX_NAMES).map(|&name| name.clone()).collect();
    if all.len() > MAX_NAMES {
        named.push(format!("{} more", all.len() - MAX_NAMES));
    }
    Some(listed(&named))
}

/// The headline of all incidents, the gravest first, of so many alerts. `ours`: is there anything of this program in the logs?
pub(super) fn headline(incidents: &[Incident], alerts: u64, ours: bool) -> Headline {
    if incidents.is_empty() {
        let text = match alerts {
            0 if ours => "No alert: no DCOM lateral movement was seen.".to_owned(),
            0 => "No alert, and nothing else of dcom-sensor: these logs do not say what was seen.".to_owned(),
            some => format!(
                "No incident: {}.",
                counted(some, "alert names no host", "alerts name no host")
            ),
        };
        return Headline {
            text,
            verdict: "none",
            verdict_text: "What was not visible is said below.".to_owned(),
            facts: Vec::new(),
        };
    }
    let (verdict, verdict_text) = verdict(incidents);
    let first = incidents
        .iter()
        .map(|incident| incident.span.from)
        .min()
        .unwrap_or_default();
    let last = incidents
        .iter()
        .map(|incident| incident.span.to)
        .max()
        .unwrap_or_default();
    let mut facts = Vec::new();
    let mut fact = |label, text: Option<String>| facts.extend(text.map(|text| (label, text)));
    fact(
        "Account",
        some_of(incidents.iter().flat_map(|incident| &incident.users)),
    );
    fact(
        "Runs there as",
        some_of(incidents.iter().flat_map(|incident| &incident.runs_as)),
    );
    fact(
        "Class",
        some_of(incidents.iter().flat_map(|incident| &incident.classes)),
    );
    fact(
        "Tool, by how it writes",
        some_of(incidents.iter().flat_map(Incident::tool_names)),
    );
    fact(
        "Technique",
        some_of(incidents.iter().flat_map(|incident| incident.techniques.keys())),
    );
    fact("First alert", Some(moment(first)));
    fact("Last alert", (moment(last) != moment(first)).then(|| moment(last)));
    Headline {
        text: sentence(incidents),
        verdict,
        verdict_text,
        facts,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::incidents::{Grade, Span};
    use crate::report::text::Texts;

    fn incident(source: &str, target: &str, event: &Value) -> Incident {
        let mut incident = Incident::new(Span {
            pair: (source.to_owned(), target.to_owned()),
            from: 1_595_113_802_061_141,
            to: 1_595_113_802_061_141,
            worst: 1,
        });
        incident.add_alert(event, 1_595_113_802_061_141, 1, 0, &mut Texts::default());
        incident
    }

    fn executed() -> Value {
        json!({"alert": {"signature_id": 1_021_303}, "dcom": {"kind": "call", "class": "MMC20.Application",
            "command_line": "cmd.exe /c whoami", "outcome": "succeeded", "evidence": "arguments", "server": {"netbios": "SRV01", "dns": "srv01.lab.example"}}})
    }

    fn activated() -> Value {
        json!({"alert": {"signature_id": 1_021_301}, "dcom": {"kind": "activation", "outcome": "succeeded",
            "class": "ShellWindows", "evidence": "class"}})
    }

    #[test]
    fn one_pair_is_told_by_name() {
        let told = headline(&[incident("192.0.2.20", "192.0.2.10", &executed())], 1, true);
        assert_eq!(
            told.text,
            "192.0.2.20 had SRV01 (192.0.2.10) run “cmd.exe /c whoami” through MMC20.Application."
        );
        assert_eq!((told.verdict, told.verdict_text.as_str()), ("unknown", NO_HOST_LOGS));
        assert!(
            told.facts
                .contains(&("First alert", "2020-07-18 23:10:02 UTC".to_owned()))
        );
    }

    #[test]
    fn what_was_not_seen_to_succeed_is_not_said_to_have_run() {
        let told = |outcome: &str, verdict: Option<&str>| {
            let mut event = executed();
            event["dcom"]["outcome"] = json!(outcome);
            event["dcom"]["host"] = json!({"verdict": verdict});
            headline(&[incident("192.0.2.20", "192.0.2.10", &event)], 1, true).text
        };
        let through = "“cmd.exe /c whoami” through MMC20.Application";
        assert_eq!(
            told("unanswered", None),
            format!("192.0.2.20 told SRV01 (192.0.2.10) to run {through}; no answer was seen.")
        );
        assert_eq!(
            told("failed", None),
            format!("192.0.2.20 tried to have SRV01 (192.0.2.10) run {through}; no success was seen.")
        );
        assert_eq!(
            told("unanswered", Some("confirmed")),
            format!("192.0.2.20 had SRV01 (192.0.2.10) run {through}.")
        );
    }

    #[test]
    fn what_was_concluded_is_probable() {
        let event = json!({"alert": {"signature_id": 1_021_307}, "dcom": {"kind": "activation", "class": "MMC20.Application",
            "evidence": "inferred"}});
        assert_eq!(
            headline(&[incident("192.0.2.20", "192.0.2.10", &event)], 1, true).text,
            "192.0.2.20 probably activated MMC20.Application on 192.0.2.10."
        );
    }

    #[test]
    fn many_pairs_are_counted_by_how_far_they_went() {
        let tried = json!({"alert": {"signature_id": 1_021_302}, "dcom": {"kind": "activation"}});
        let mut incidents = vec![
            incident("192.0.2.20", "192.0.2.10", &executed()),
            incident("192.0.2.20", "192.0.2.10", &activated()),
            incident("192.0.2.20", "192.0.2.11", &activated()),
            incident("192.0.2.20", "192.0.2.12", &tried),
        ];
        let text = "192.0.2.20 reached 2 hosts: had commands run on 1 and activated objects on 1; \
                    1 more host was tried without seen success.";
        assert_eq!(headline(&incidents, 1, true).text, text);
        // Neither is who only tried among those who reached one.
        incidents.push(incident("192.0.2.21", "192.0.2.12", &tried));
        assert_eq!(headline(&incidents, 1, true).text, text);
        // The one that was reached is named, whatever else was tried.
        let asked = json!({"alert": {"signature_id": 1_021_331}, "dcom": {"kind": "endpoint_mapping"}});
        let one = [
            incident("192.0.2.20", "192.0.2.11", &activated()),
            incident("192.0.2.21", "192.0.2.12", &tried),
            incident("192.0.2.21", "192.0.2.13", &asked),
        ];
        assert_eq!(
            headline(&one, 1, true).text,
            "192.0.2.20 activated ShellWindows on 192.0.2.11; 1 more host was tried without seen success; 1 more host was probed."
        );
        incidents.drain(..3);
        assert_eq!(
            headline(&incidents, 1, true).text,
            "2 hosts tried without seen success on 1 host."
        );
        assert_eq!(
            headline(&incidents[..1], 1, true).text,
            "192.0.2.20 tried to use an object on 192.0.2.12; no success was seen."
        );
    }

    /// A call that alerts, beside the activation.
    fn called(id: u32, severity: Grade, dcom: &Value) -> Incident {
        let mut incident = incident("192.0.2.20", "192.0.2.10", &activated());
        let mut event = json!({"flow_id": 7, "alert": {"signature_id": id}, "dcom": {"kind": "call", "class": "FileSystemImage",
            "outcome": "succeeded", "evidence": "arguments"}});
        for (key, value) in dcom.as_object().unwrap() {
            event["dcom"][key] = value.clone();
        }
        incident.add_alert(&event, 5, severity, 1, &mut Texts::default());
        incident
    }

    #[test]
    fn the_gravest_thing_that_was_done_is_told() {
        let (share, calc) = (
            json!({"command_line": "//192.0.2.66/share"}),
            json!({"command_line": "cmd.exe /c calc.exe"}),
        );
        for (id, dcom, expected) in [
            (
                1_021_308,
                &share,
                "told 192.0.2.10 to log on to “//192.0.2.66/share” through FileSystemImage",
            ),
            (
                1_021_351,
                &calc,
                "left a WMI subscription that runs “cmd.exe /c calc.exe” on 192.0.2.10",
            ),
            (1_021_351, &json!({}), "left a WMI subscription on 192.0.2.10"),
            (
                1_021_352,
                &calc,
                "made or changed a service that runs “cmd.exe /c calc.exe” on 192.0.2.10",
            ),
            (
                1_021_313,
                &json!({}),
                "made an object on 192.0.2.10 out of type information through FileSystemImage",
            ),
        ] {
            assert_eq!(title(&called(id, 2, dcom)), format!("192.0.2.20 {expected}"));
        }
        let concluded = json!({"command_line": "cmd.exe /c calc.exe", "evidence": "inferred"});
        assert_eq!(
            title(&called(1_021_352, 2, &concluded)),
            "192.0.2.20 probably made or changed a service that runs “cmd.exe /c calc.exe” on 192.0.2.10"
        );
        // What was run goes before, what is graver too.
        let mut both = called(1_021_351, 3, &json!({}));
        let graver = called(1_021_308, 2, &share);
        assert!(title(&graver).contains("log on"));
        both.add_alert(&executed(), 9, 1, 2, &mut Texts::default());
        assert!(title(&both).contains(" run “cmd.exe /c whoami” "), "{}", title(&both));
    }

    #[test]
    fn an_attempt_is_told_beside_what_succeeded() {
        let whoami = |outcome: &str| json!({"command_line": "cmd.exe /c whoami", "outcome": outcome});
        for (outcome, end) in [("failed", "which failed"), ("unanswered", "without seen success")] {
            assert_eq!(
                title(&called(1_021_304, 3, &whoami(outcome))),
                format!(
                    "192.0.2.20 activated ShellWindows on 192.0.2.10, and tried to have it run “cmd.exe /c whoami”, {end}"
                )
            );
        }
        let event = json!({"alert": {"signature_id": 1_021_308}, "dcom": {"kind": "call", "outcome": "failed",
            "evidence": "arguments", "command_line": "//192.0.2.66/share"}});
        assert_eq!(
            title(&incident("192.0.2.20", "192.0.2.10", &event)),
            "192.0.2.20 tried to tell 192.0.2.10 to log on to “//192.0.2.66/share”; no success was seen"
        );
    }

    #[test]
    fn a_tool_is_told_as_well_as_it_is_known() {
        let mut all = incident("192.0.2.20", "192.0.2.10", &executed());
        for (name, confidence, because) in [
            (".NET and PowerShell", "low", vec!["a"]),
            ("PowerShell activator", "high", vec!["a", "b"]),
            ("Empire", "high", vec!["a", "b", "c"]),
        ] {
            let event =
                json!({"dcom": {"kind": "call", "tool": {"name": name, "confidence": confidence, "because": because}}});
            all.add_record(&event, 5, &mut Texts::default());
        }
        assert_eq!(all.tool_names().collect::<Vec<_>>(), ["Empire"]);
    }

    #[test]
    fn a_host_is_named_as_its_log_does() {
        let joined = json!({"alert": {"signature_id": 1_021_306}, "dcom": {"kind": "activation", "outcome": "unanswered",
            "class": "Excel.Application", "host": {"verdict": "confirmed", "role": "client", "name": "WS5.lab"}}});
        assert_eq!(
            title(&incident("192.0.2.20", "192.0.2.10", &joined)),
            "WS5.lab (192.0.2.20) tried to use Excel.Application on 192.0.2.10; no success was seen"
        );
        let logged = logged(1_021_402, &json!({}));
        assert_eq!(
            title(&incident("192.0.2.20", "192.0.2.10", &logged)),
            "192.0.2.20 had SRV01 (192.0.2.10) run “cmd.exe /c whoami”"
        );
    }

    #[test]
    fn a_sweep_is_of_all_that_were_asked() {
        let sweep = json!({"alert": {"signature_id": 1_021_330, "metadata": {"count": ["10"],
            "targets": ["192.0.2.10", "192.0.2.101", "192.0.2.102", "192.0.2.109"]}}, "dcom": {"kind": "oxid_resolution"}});
        assert_eq!(
            headline(&[incident("192.0.2.20", "192.0.2.109", &sweep)], 1, true).text,
            "192.0.2.20 probed 10 hosts (192.0.2.109, 192.0.2.10, 192.0.2.101 and 7 more); no activation was seen."
        );
    }

    #[test]
    fn the_host_has_the_last_word() {
        let said = |verdict: &str| {
            let mut event = executed();
            event["dcom"]["host"] = match verdict {
                "no_log" => json!({"verdict": "not_seen", "because": ["there is no log of 192.0.2.10"]}),
                _ => json!({"verdict": verdict, "coverage": {"kinds": ["5 connections"]}}),
            };
            incident("192.0.2.20", "192.0.2.10", &event)
        };
        let told = |verdicts: &[&str]| {
            let incidents: Vec<Incident> = verdicts.iter().map(|verdict| said(verdict)).collect();
            let told = headline(&incidents, 1, true);
            (told.verdict, told.verdict_text)
        };
        assert_eq!(
            told(&["confirmed"]),
            ("confirmed", "Confirmed by the host's own logs.".to_owned())
        );
        assert_eq!(told(&["not_seen"]).1, "The host's own logs do not show it.");
        assert_eq!(told(&["no_log"]), ("unknown", NO_HOST_LOGS.to_owned()));
        assert_eq!(
            told(&["no_log", "confirmed"]).1,
            "Confirmed by the host's own logs in 1 of 2 incidents."
        );
        assert_eq!(
            told(&["confirmed", "contradicted", "confirmed"]).1,
            "Of 3 incidents, the hosts' own logs confirm 2 and contradict 1."
        );
    }

    #[test]
    fn silence_is_no_proof() {
        let told = |alerts, ours| {
            let told = headline(&[], alerts, ours);
            assert_eq!(told.verdict, "none");
            told.text
        };
        assert!(told(0, true).starts_with("No alert: no DCOM lateral movement"));
        assert!(told(0, false).starts_with("No alert, and nothing else of dcom-sensor"));
        assert_eq!(told(1, true), "No incident: 1 alert names no host.");
    }

    /// An alert of `hunt`.
    fn logged(id: u32, more: &Value) -> Value {
        let mut event = json!({"alert": {"signature_id": id}, "host_event": {"host": "SRV01", "source": "Sysmon 1",
            "process": {"image": r"C:\Windows\System32\cmd.exe", "command_line": "cmd.exe /c whoami"},
            "parent": {"image": r"C:\Windows\System32\mmc.exe"}}});
        for (key, value) in more.as_object().unwrap() {
            event["host_event"][key] = value.clone();
        }
        event
    }

    #[test]
    fn what_hosts_log_is_told_as_that() {
        let told = |source: &str, id, more: &Value| headline(&[incident(source, "SRV01", &logged(id, more))], 1, true);
        let child = told("", 1_021_402, &json!({}));
        assert_eq!(
            (child.text.as_str(), child.verdict),
            (
                "mmc.exe started “cmd.exe /c whoami” on SRV01; at whose bidding is not known.",
                "logged"
            )
        );
        assert_eq!(
            child.verdict_text,
            "This is what hosts' own logs say; no traffic was joined with them."
        );
        for (source, id, expected) in [
            (
                "",
                1_021_403,
                "“cmd.exe /c whoami” was started on SRV01, which points to DCOM.",
            ),
            ("192.0.2.20", 1_021_402, "192.0.2.20 had SRV01 run “cmd.exe /c whoami”."),
            (
                "192.0.2.20",
                1_021_409,
                "192.0.2.20 tried to use MMC20.Application on SRV01; no success was seen.",
            ),
        ] {
            let class = if id == 1_021_409 { "MMC20.Application" } else { "" };
            let more = if class.is_empty() {
                json!({})
            } else {
                json!({ "class": class })
            };
            assert_eq!(told(source, id, &more).text, expected);
        }
        // The start of the server is not what it ran.
        let mut both = incident("192.0.2.20", "SRV01", &logged(1_021_402, &json!({})));
        let server = json!({"process": {"command_line": "mmc.exe -Embedding"}});
        both.add_alert(&logged(1_021_407, &server), 0, 4, 1, &mut Texts::default());
        assert_eq!(
            headline(&[both], 2, true).text,
            "192.0.2.20 had SRV01 run “cmd.exe /c whoami”."
        );
        // Who was refused is not among those who ran something.
        let refused = incident("192.0.2.20", "SRV01", &logged(1_021_409, &json!({})));
        let all = [
            incident("", "SRV01", &logged(1_021_402, &json!({}))),
            incident("", "SRV02", &logged(1_021_405, &json!({}))),
            refused,
        ];
        assert_eq!(
            headline(&all[..2], 2, true).text,
            "2 hosts logged commands that point to DCOM; at whose bidding is not known."
        );
        assert_eq!(
            headline(&all, 3, true).text,
            "192.0.2.20 tried to use an object on SRV01; no success was seen. \
             2 hosts logged commands that point to DCOM; at whose bidding is not known."
        );
        let noted = incident("", "SRV03", &logged(1_021_403, &json!({})));
        let traces = [all.into_iter().next().unwrap(), noted];
        assert_eq!(
            headline(&traces, 2, true).text,
            "2 hosts logged what points to DCOM: commands on 1 and traces on 1; at whose bidding is not known."
        );
        // What is said of a host with a known source is not said once more.
        let known = incident("192.0.2.20", "SRV01", &logged(1_021_402, &json!({})));
        let traces = [known, incident("", "SRV01", &logged(1_021_403, &json!({})))];
        assert_eq!(
            headline(&traces, 2, true).text,
            "192.0.2.20 had SRV01 run “cmd.exe /c whoami”."
        );
    }
}
