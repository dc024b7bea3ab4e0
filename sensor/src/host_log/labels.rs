//! Texts of labels and values, made for people to read: what Windows shows of an event, and what tools make of event data.

use super::event::Source;
use super::fields::{Field as F, Fields, Value};
use super::interpret::{SUBJECT, TARGET};
use super::names::{self, Node};

/// Labels of Windows' own events. What they stand under matters only for accounts.
const SHOWN: &[(&str, F)] = &[
    ("New Process ID", F::NewProcessId),
    ("New Process Name", F::NewProcessName),
    ("Mandatory Label", F::MandatoryLabel),
    ("Creator Process ID", F::ProcessId),
    ("Creator Process Name", F::ParentProcessName),
    ("Process Command Line", F::CommandLine),
    ("Process ID", F::ProcessId),
    ("Process Name", F::ProcessName),
    ("Caller Process ID", F::ProcessId),
    ("Caller Process Name", F::ProcessName),
    ("Application Name", F::Application),
    ("Direction", F::Direction),
    ("Source Address", F::SourceAddress),
    // Of 5156 and of logons.
    ("Source Port", F::EcsSourcePort),
    ("Destination Address", F::DestAddress),
    ("Destination Port", F::DestPort),
    ("Protocol", F::Protocol),
    ("Workstation Name", F::WorkstationName),
    ("Source Network Address", F::IpAddress),
    ("Network Address", F::IpAddress),
    ("Port", F::IpPort),
    ("Logon Type", F::LogonType),
    ("Authentication Package", F::AuthenticationPackageName),
    ("Target Server Name", F::TargetServerName),
    ("Status", F::Status),
    ("Sub Status", F::SubStatus),
];

/// Whose account these lines are of, by what they stand under, in the order of [`ACCOUNT`].
const ACCOUNTS: &[(&str, [F; 4])] = &[
    ("Subject", SUBJECT),
    ("Creator Subject", SUBJECT),
    ("Target Subject", TARGET),
    ("New Logon", TARGET),
    ("Account For Which Logon Failed", TARGET),
    ("Account Whose Credentials Were Used", TARGET),
];
const ACCOUNT: [&str; 4] = ["Account Name", "Account Domain", "Security ID", "Logon ID"];

/// Event data that is in every event of interest, by one of these names: where there is one, its text says no more.
const TOLD: &[F] = &[
    F::UtcTime,
    F::Image,
    F::NewProcessName,
    F::ProcessName,
    F::Application,
    F::SubjectUserName,
    F::TargetUserName,
    F::ScriptBlockText,
    F::EcsImage,
    F::EcsScriptText,
];

/// What the text of an event says of it, where nothing else does.
pub(super) fn shown(source: Source, fields: &mut Fields<'_>) {
    if TOLD.iter().any(|field| fields.has(*field)) {
        return;
    }
    let Some(message) = fields.text(F::Message) else {
        return;
    };
    let told = match source {
        Source::Sysmon(_) => pairs(names::DATA, message.lines()),
        Source::Security(_) => security(message),
        Source::PowerShell(_) => script(message),
        _ => return,
    };
    fields.join(told, true);
}

/// Does this text begin with a name and its value?
pub(super) fn are(text: &str) -> bool {
    let name = text.split_once(": ").map_or("", |(name, _)| name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Hayabusa's: `Cmdline: cmd.exe ¦ PID: 6276`.
pub(super) fn in_a_row(node: Node, text: &str) -> Fields<'static> {
    pairs(node, text.split(" ¦ "))
}

/// Values behind names that mean something at this place: `name: value`.
pub(super) fn pairs<'t>(node: Node, pieces: impl Iterator<Item = &'t str>) -> Fields<'static> {
    let mut told = Fields::default();
    for (name, value) in pieces.filter_map(|piece| piece.split_once(": ")) {
        if let Some(field) = names::step(node, name.trim()).and_then(|step| step.own) {
            put(&mut told, field, value);
        }
    }
    told
}

/// A value may hold what looks like another: what comes twice says nothing.
fn put(told: &mut Fields<'_>, field: F, value: &str) {
    let value = if told.has(field) { "" } else { value.trim() };
    told.put(field, Value::Text(value.to_owned().into()), true);
}

/// Sections of labels: `Subject:`, and below it `Account Name:  alice`.
fn security(message: &str) -> Fields<'static> {
    let mut told = Fields::default();
    let mut account = None;
    for line in message.lines() {
        let Some((label, value)) = line.split_once(':') else {
            continue;
        };
        if !line.starts_with(char::is_whitespace) {
            account = ACCOUNTS.iter().find(|(section, _)| *section == label);
        }
        let label = label.trim();
        let of_account = || {
            let at = ACCOUNT.iter().position(|name| *name == label)?;
            Some(account?.1[at])
        };
        let of_event = || Some(SHOWN.iter().find(|(name, _)| *name == label)?.1);
        match of_account().or_else(of_event) {
            // Windows shows a name in its place where it knows one.
            Some(F::SubjectUserSid | F::TargetUserSid) if !value.trim().starts_with("S-1-") => {}
            Some(field) => put(&mut told, field, value),
            None => {}
        }
        if label == "Process Command Line" {
            // Nothing follows but an explanation; lines of its own may.
            break;
        }
    }
    told
}

/// `Creating Scriptblock text (1 of 2):`, the text, `ScriptBlock ID: …`, `Path: …`.
fn script(message: &str) -> Fields<'static> {
    let mut told = Fields::default();
    let parts = || {
        let (head, rest) = message.split_once('\n')?;
        let (part, total) = head.split_once('(')?.1.split_once(')')?.0.split_once(" of ")?;
        let (text, tail) = rest.rsplit_once("ScriptBlock ID: ")?;
        let (block, path) = tail.split_once("Path:").unwrap_or((tail, ""));
        Some([part, total, text, block, path])
    };
    let fields = [
        F::MessageNumber,
        F::MessageTotal,
        F::ScriptBlockText,
        F::ScriptBlockId,
        F::Path,
    ];
    for (field, value) in fields.into_iter().zip(parts().into_iter().flatten()) {
        put(&mut told, field, value);
    }
    told
}
