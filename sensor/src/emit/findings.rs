//! What a person reads of a hunt: a table of what was found in host logs, then one line that sums up.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use comfy_table::{ColumnConstraint, Table};

use super::console::{printable, shortened};
use super::growing::{Growing, Shown, empty};
use super::summary::{NotShown, counted};
use crate::event::host_alert::{ParentRecord, ProcessRecord};
use crate::event::{Alert, HostAlert, Meta};
use crate::host_log::event::image_name;
use crate::severity::{BySeverity, Severity};

/// From this width on names of hosts and patterns are not broken.
const ROOMY: u16 = 160;
/// Characters of a host's name that are shown.
const HOST: usize = 32;

/// The table, as it grows.
pub type Findings = Growing<Row>;

/// A finding as it is shown: every text fit for a terminal.
#[derive(Debug)]
pub struct Row {
    time: String,
    severity: Severity,
    host: String,
    pattern: String,
    what: String,
    user: String,
    source: String,
}

impl Findings {
    /// Adds a finding.
    pub fn push(&mut self, meta: &Meta, alert: &Alert) {
        if let Some(event) = &alert.host_event {
            self.add_row(|| Row::of(meta, alert, event));
        }
    }
}

impl Shown for Row {
    const MORE: (&str, &str) = ("more finding", "more findings");

    fn wide(rows: &[Self], width: u16) -> Table {
        let mut table = empty(width);
        table.set_header(["time (UTC)", "severity", "host", "pattern", "what", "user", "source"]);
        table.add_rows(rows.iter().map(|row| {
            [
                &row.time,
                row.severity.name(),
                &row.host,
                &row.pattern,
                &row.what,
                &row.user,
                &row.source,
            ]
            .map(str::to_owned)
        }));
        let whole = if width < ROOMY { 2 } else { 4 };
        table.set_constraints(vec![ColumnConstraint::ContentWidth; whole]);
        table
    }

    const NARROW: [&str; 3] = ["time (UTC)\nseverity", "host\npattern", "what, user, source"];

    fn few(&self) -> [String; 3] {
        [
            format!("{}\n{}", self.time, self.severity),
            format!("{}\n{}", self.host, self.pattern),
            format!("{}\n{}\n{}", self.what, self.user, self.source.replace('\n', ", ")),
        ]
    }
}

impl Row {
    fn of(meta: &Meta, alert: &Alert, event: &HostAlert) -> Self {
        let of = |domain: &Option<Arc<str>>, user: &Option<Arc<str>>, sid: &Option<Arc<str>>| {
            account(domain.as_deref(), user.as_deref(), sid.as_deref())
        };
        let caller = event.caller.as_ref().and_then(|it| of(&it.domain, &it.user, &it.sid));
        let user = match (caller, of(&event.domain, &event.user, &event.sid)) {
            (Some(caller), Some(user)) if caller != user => format!("{caller} → {user}"),
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => "?".to_owned(),
        };
        let file = Path::new(&*event.input).file_name();
        let file = file.map_or_else(|| event.input.to_string(), |name| name.to_string_lossy().into_owned());
        let twins = event.related.iter().filter(|related| related.what == "the same event");
        let sources = twins.fold(event.source.clone(), |all, twin| format!("{all}, {}", twin.source));
        let source = format!("{sources}\nrecord {} of {file}", event.record);
        Self {
            time: meta.timestamp.to_string().replace('T', " ").chars().take(19).collect(),
            severity: alert.severity,
            host: printable(&event.host).chars().take(HOST).collect(),
            pattern: alert.metadata.pattern.join("\n"),
            what: lines(&what(alert, event)),
            user: printable(&user).into_owned(),
            source: lines(&source),
        }
    }
}

fn account(domain: Option<&str>, user: Option<&str>, sid: Option<&str>) -> Option<String> {
    match (domain, user) {
        (Some(domain), Some(user)) => Some(format!("{}\\{}", shortened(domain), shortened(user))),
        (None, Some(user)) => Some(shortened(user)),
        (_, None) => sid.map(shortened),
    }
}

/// Each line fit for a terminal.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Parent → child with its command line, or the sentence; then the reasons.
fn what(alert: &Alert, event: &HostAlert) -> String {
    let started = event.parent.as_ref().zip(event.process.as_ref());
    let Some((parent, process)) = started else {
        let sentence = alert.message.strip_prefix(&*event.host).unwrap_or(&alert.message);
        return one_line(sentence.trim_start_matches(": "));
    };
    let mut text = format!("{} → {}", named_parent(parent), named(process));
    if let Some(line) = &process.command_line {
        text.push_str(": ");
        text.push_str(&one_line(line));
    }
    for reason in &event.because {
        text.push('\n');
        text.push_str(&one_line(reason));
    }
    text
}

fn one_line(text: &str) -> String {
    // A line break of the log's would end the line of the table.
    shortened(text).replace(['\r', '\n'], " ")
}

fn named(process: &ProcessRecord) -> String {
    let image = process.image.as_deref().map(image_name);
    name(image, process.pid)
}

fn named_parent(parent: &ParentRecord) -> String {
    let image = parent.image.as_deref().map(image_name);
    name(image, parent.pid)
}

fn name(image: Option<String>, pid: Option<u32>) -> String {
    match (image, pid) {
        (Some(image), Some(pid)) => format!("{image} ({pid})"),
        (Some(image), None) => image,
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => "?".to_owned(),
    }
}

/// What a hunt came to. Prints as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Logs read.
    pub files: u64,
    /// Their records.
    pub records: u64,
    /// Those that are events of interest.
    pub events: u64,
    /// Those that are not, or could not be read.
    pub skipped: u64,
    /// Those of them that are broken.
    pub broken: u64,
    /// Computers that they are of.
    pub hosts: u64,
    /// Findings by severity.
    pub findings: BySeverity,
    /// Those that are milder than the table shows.
    pub not_shown: u64,
    /// Findings that allow-lists, suppressions and thresholds kept back.
    pub suppressed: u64,
    /// Events that came too late to be put in order, and memories that were too small.
    pub limited: u64,
    /// Inputs that could not be read, or not to their end.
    pub unreadable_inputs: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.elapsed.as_millis() / 10;
        write!(
            f,
            "{} read in {}.{:02} s from {}: {}, {} skipped",
            counted(self.records, "record", "records"),
            hundredths / 100,
            hundredths % 100,
            counted(self.files, "file", "files"),
            counted(self.events, "event", "events"),
            self.skipped,
        )?;
        if self.broken > 0 {
            write!(f, " ({} broken)", self.broken)?;
        }
        let all = counted(self.findings.total(), "finding", "findings");
        let hosts = counted(self.hosts, "host", "hosts");
        write!(f, ", {hosts}, {all}{}{}", self.findings, NotShown(self.not_shown))?;
        if self.suppressed > 0 {
            write!(f, ", {} suppressed", counted(self.suppressed, "finding", "findings"))?;
        }
        if self.limited > 0 {
            write!(f, ", limits met {}", counted(self.limited, "time", "times"))?;
        }
        match self.unreadable_inputs {
            0 => Ok(()),
            unreadable => write!(f, ", {} unreadable", counted(unreadable, "input", "inputs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::growing::Colour;
    use crate::event::samples;
    use crate::time::Timestamp;

    fn found(width: u16, event: HostAlert) -> String {
        let mut alert = samples::alert();
        alert.message = format!("{}: something was denied", event.host);
        alert.metadata.pattern = vec!["MMC20_DCOM".into()];
        alert.host_event = Some(event);
        let meta = Meta {
            timestamp: Timestamp::new(1_556_656_512, 0),
            ..Meta::default()
        };
        let mut table = Findings::new(width, Colour::Never);
        table.push(&meta, &alert);
        let mut out = Vec::new();
        table.write(&mut out, &Summary::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn event() -> HostAlert {
        HostAlert {
            host: "IEWIN7".into(),
            source: "Sysmon 1".to_owned(),
            input: "logs/sysmon.evtx".into(),
            record: 9833,
            user: Some("IEUser".into()),
            domain: Some("IEWIN7".into()),
            process: Some(ProcessRecord {
                pid: Some(1504),
                image: Some(r"C:\Windows\System32\cmd.exe".into()),
                command_line: Some("cmd.exe /Q /c cd".into()),
                ..ProcessRecord::default()
            }),
            parent: Some(ParentRecord {
                pid: Some(3572),
                image: Some(r"C:\Windows\System32\mmc.exe".into()),
                ..ParentRecord::default()
            }),
            because: vec!["mmc.exe was started as a COM server".into()],
            ..HostAlert::default()
        }
    }

    #[test]
    fn a_finding_is_a_row() {
        let table = found(180, event());
        for text in [
            "2019-04-30 20:35:12   critical   IEWIN7   MMC20_DCOM",
            "mmc.exe (3572) → cmd.exe (1504): cmd.exe /Q /c cd",
            "mmc.exe was started as a COM server",
            r"IEWIN7\IEUser",
            "record 9833 of sysmon.evtx",
        ] {
            assert!(table.contains(text), "{text}: {table}");
        }
        let sentence = HostAlert {
            process: None,
            ..event()
        };
        assert!(found(160, sentence).contains(" something was denied "));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_commands_it() {
        let mut hostile = event();
        hostile.user = Some("a\x1b[2J\r\n".repeat(500).into());
        hostile.process.as_mut().unwrap().command_line = Some("\x1b]0;x\x07\n\u{202e}".repeat(300).into());
        hostile.host = "\x1b\u{202e}a.b".repeat(300).into();
        hostile.input = "\x1b[2J/\x1b[2J".into();
        for width in [40, 60, 100, 120, 200] {
            let table = found(width, hostile.clone());
            assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
            for line in table.lines().take_while(|line| !line.is_empty()) {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn the_summary_can_be_read_aloud() {
        let mut summary = Summary {
            files: 2,
            records: 40,
            events: 9,
            skipped: 31,
            hosts: 1,
            ..Summary::default()
        };
        summary.findings.count(Severity::High);
        assert_eq!(
            summary.to_string(),
            "40 records read in 0.00 s from 2 files: 9 events, 31 skipped, 1 host, 1 finding (1 high)"
        );
        assert!(summary.findings.has(Severity::Medium) && !summary.findings.has(Severity::Critical));
    }
}
