//! What a person reads: a table of alerts, then one line that sums up.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, Table};

use super::growing::{Growing, Shown, empty};
use crate::decode::Endpoint;
use crate::event::dcom::{Dcom, EndpointRecord};
use crate::event::host::{HostRecord, Verdict};
use crate::event::{Alert, Meta};
use crate::path::file_name;
use crate::severity::Severity;

/// Characters of a text that are shown: one command line must not fill the screen.
const MAX_TEXT: usize = 200;

/// The table, as it grows.
pub type Console = Growing<Row>;

impl Console {
    /// Adds an alert.
    pub fn push(&mut self, meta: &Meta, alert: &Alert) {
        self.add_row(|| Row::of(meta, alert));
    }
}

impl Shown for Row {
    const MORE: (&str, &str) = ("more alert", "more alerts");

    fn wide(rows: &[Self], width: u16) -> Table {
        let mut table = empty(width);
        let mut header = vec![
            "time (UTC)",
            "severity",
            "source → target",
            "class",
            "what",
            "who",
            "evidence",
        ];
        // Without host logs there is nothing to say of them.
        let with_hosts = rows.iter().any(|row| !row.host.is_empty());
        if with_hosts {
            header.push("host");
        }
        table.set_header(header);
        table.add_rows(rows.iter().map(|row| {
            let ends = row.ends();
            let mut cells = vec![
                &row.time,
                row.severity.name(),
                &ends,
                &row.class,
                &row.what,
                &row.who,
                &row.evidence,
            ];
            if with_hosts {
                cells.push(&row.host);
            }
            cells.into_iter().map(str::to_owned).collect::<Vec<_>>()
        }));
        table.set_constraints([const { ColumnConstraint::ContentWidth }; 3]);
        table
    }

    const NARROW: [&str; 3] = ["time (UTC)\nseverity", "source\n→ target", "class, what, who"];

    fn few(&self) -> [String; 3] {
        let time = format!("{}\n{}", self.time, self.severity);
        let mut what = format!(
            "{}\n{}\n{}\nevidence: {}",
            self.class, self.what, self.who, self.evidence
        );
        if !self.host.is_empty() {
            let _ = write!(what, "\nhost: {}", self.host);
        }
        [time, self.ends(), what]
    }
}

/// An alert as it is shown: every text fit for a terminal.
#[derive(Debug)]
pub struct Row {
    time: String,
    severity: Severity,
    source: String,
    target: String,
    class: String,
    what: String,
    who: String,
    evidence: String,
    host: String,
}

impl Row {
    fn of(meta: &Meta, alert: &Alert) -> Self {
        // What is not about an object or an activation has neither class nor evidence.
        let of = |text: fn(&Dcom) -> String| alert.dcom.as_deref().map(text).unwrap_or_default();
        Self {
            time: meta.timestamp.to_string().replace('T', " ").chars().take(19).collect(),
            severity: alert.severity,
            source: end(meta.client),
            target: end(meta.server),
            class: printable(&of(class)).into_owned(),
            what: printable(&told(alert)).into_owned(),
            who: printable(&of(who)).into_owned(),
            evidence: printable(&of(evidence)).into_owned(),
            host: printable(&of(host)).into_owned(),
        }
    }

    fn ends(&self) -> String {
        format!("{}\n→ {}", self.source, self.target)
    }
}

fn end(end: Option<Endpoint>) -> String {
    end.map_or_else(|| "?".to_owned(), |end| end.to_string())
}

fn class(dcom: &Dcom) -> String {
    dcom.class_name()
        .map_or_else(|| "?".to_owned(), |name| shortened(&name))
}

/// What was done; where the alert is of more than that, it is named first.
fn told(alert: &Alert) -> String {
    const BY_THEMSELVES: [&str; 4] = [
        "DCOM::Remote_Activation",
        "DCOM::Remote_Activation_Attempt",
        "DCOM::Execution",
        "DCOM::Execution_Attempt",
    ];
    let Some(dcom) = &alert.dcom else {
        return shortened(&alert.message);
    };
    // Of several records the last says little.
    if !alert.metadata.count.is_empty() {
        return shortened(&alert.message);
    }
    let note = alert.note.strip_prefix("DCOM::").unwrap_or(&alert.note);
    if BY_THEMSELVES.contains(&&*alert.note) {
        what(dcom)
    } else {
        format!("{}: {}", note.replace('_', " ").to_lowercase(), what(dcom))
    }
}

fn what(dcom: &Dcom) -> String {
    let mut text = match &dcom.method {
        Some(method) => shortened(method),
        // An activation that was not read is still one.
        None if dcom.operation == "unknown" => dcom.kind.to_string(),
        None => dcom.operation.to_string(),
    };
    if let Some(outcome) = dcom.outcome {
        let _ = write!(text, " {outcome}");
    }
    let zero = dcom.hresult.is_some_and(|hresult| hresult.0 == 0);
    match (&dcom.fault, &dcom.hresult_name, dcom.hresult) {
        (Some(fault), _, _) => append(&mut text, &shortened(fault)),
        (None, Some(name), _) if !zero => append(&mut text, name),
        (None, None, Some(hresult)) if !zero => append(&mut text, &hresult.to_string()),
        _ => {}
    }
    if let Some(EndpointRecord {
        port: Some(port),
        followed,
        ..
    }) = dcom.endpoint
    {
        append(
            &mut text,
            &format!("port {} {}", port.0, if followed { "followed" } else { "not followed" }),
        );
    }
    if let Some(command_line) = &dcom.command_line {
        let _ = write!(text, ": {}", shortened(command_line));
    }
    if let Some(script) = &dcom.decoded_command {
        let _ = write!(text, "; decoded: {}", shortened(script));
    }
    text
}

fn append(text: &mut String, clause: &str) {
    text.push_str(", ");
    text.push_str(clause);
}

pub(super) fn who(dcom: &Dcom) -> String {
    let client = &dcom.client;
    let mut text = match (&client.domain, &client.user) {
        (Some(domain), Some(user)) if !domain.is_empty() => format!("{}\\{}", shortened(domain), shortened(user)),
        (_, Some(user)) => shortened(user),
        (_, None) => dcom
            .caller_by_host()
            .map_or_else(|| "?".to_owned(), |caller| format!("{} (host log)", shortened(caller))),
    };
    if let Some(runs_as) = &dcom.server.runs_as {
        let _ = write!(text, " → {}", shortened(runs_as));
    }
    if let Some(tool) = &dcom.tool {
        let _ = write!(text, ", by {}", shortened(&tool.name));
    }
    text
}

fn evidence(dcom: &Dcom) -> String {
    let mut text = dcom.evidence.to_string();
    if let Some(reason) = dcom.because.first() {
        let _ = write!(text, ": {}", shortened(reason));
    }
    text
}

/// What host logs say: the verdict, and which process that is about.
fn host(dcom: &Dcom) -> String {
    let Some(host) = dcom.host.as_deref() else {
        return String::new();
    };
    let HostRecord { process, parent, .. } = host;
    let name = |image: Option<&str>, pid: Option<u32>| {
        let image = image.map_or("?", file_name);
        pid.map_or_else(|| shortened(image), |pid| format!("{} ({pid})", shortened(image)))
    };
    let mut text = host.verdict.to_string().replace('_', " ");
    if host.verdict == Verdict::Confirmed
        && let Some(process) = process
    {
        let parent = parent
            .as_ref()
            .map(|it| format!("{} → ", name(it.image.as_deref(), it.pid)));
        let process = name(process.image.as_deref(), process.pid);
        // Of a call that loads a library, who started the process that did says nothing.
        let _ = match &host.loaded {
            Some(library) => write!(text, ": {process} loaded {}", shortened(file_name(library))),
            None => write!(text, ": {}{process}", parent.unwrap_or_default()),
        };
        if let Some(delta) = host.call_delta.or(host.time_delta) {
            let hundredths = (delta.0.unsigned_abs() + 5_000_000) / 10_000_000;
            let sign = if delta.0 < 0 { '-' } else { '+' };
            let _ = write!(text, ", {sign}{}.{:02} s", hundredths / 100, hundredths % 100);
        }
    } else if let Some(reason) = host.because.last() {
        let _ = write!(text, ": {}", shortened(reason));
    }
    text
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Text from the wire as a terminal may see it: control characters, and those that hide or reorder others, are spelled
/// out.
pub fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escaped = text
        .chars()
        .fold(String::with_capacity(text.len() + 8), |mut all, character| {
            if harmful(character) {
                let _ = write!(all, "\\u{{{:02x}}}", u32::from(character));
            } else {
                all.push(character);
            }
            all
        });
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Catalog;
    use crate::emit::growing::{Colour, MAX_ROWS};
    use crate::emit::reasons::Reasons;
    use crate::emit::summary::Summary;
    use crate::event::samples;

    fn dcom(alert: &mut Alert) -> &mut Dcom {
        alert.dcom.as_mut().unwrap()
    }

    fn printed(width: u16, colour: Colour, alerts: &[Alert]) -> String {
        let mut console = Console::new(width, colour);
        for alert in alerts {
            console.push(&samples::meta(), alert);
        }
        let mut out = Vec::new();
        console.write(&mut out, &Summary::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_alert_is_a_row() {
        let table = printed(200, Colour::Never, &[samples::alert()]);
        let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with(['─', '═'])).collect();
        assert_eq!(
            rows,
            [
                concat!(
                    " time (UTC)            severity   source → target      class               ",
                    "what                                                  who                      evidence"
                ),
                concat!(
                    " 2020-07-18 23:10:02   critical   172.16.66.25:49744   MMC20.Application   ",
                    "RemoteCreateInstance succeeded, port 60283 followed   LAB\\alice → LAB\\runner   class"
                ),
                "                                  → 172.16.66.36:135",
                "",
                concat!(
                    "0 packets in 0.00 s of capture, read in 0.00 s (0 kbit/s): 0 RPC connections of 0, ",
                    "0 activations, 0 alerts, no bytes missing"
                ),
            ]
        );
    }

    #[test]
    fn hosts_tell_what_confirms_a_call_and_who_called() {
        use crate::event::host::{LogonRecord, ParentRecord, ProcessRecord};
        use crate::event::record::Interval;
        let process = |pid, image: &str| (Some(pid), Some(Arc::from(image)));
        let (pid, image) = process(1364, r"C:\Office\EXCEL.EXE");
        let mut record = HostRecord {
            verdict: Verdict::Confirmed,
            process: Some(ProcessRecord {
                pid,
                image,
                ..ProcessRecord::default()
            }),
            time_delta: Some(Interval(60_000_000)),
            call_delta: Some(Interval(11_000_000)),
            logon: Some(LogonRecord {
                user: Some("LAB\\eve".to_owned()),
                ..LogonRecord::default()
            }),
            ..HostRecord::default()
        };
        let (pid, image) = process(960, r"C:\Windows\System32\svchost.exe");
        record.parent = Some(ParentRecord {
            pid,
            image,
            ..ParentRecord::default()
        });
        let mut call = Dcom {
            operation: "unknown".into(),
            kind: crate::event::dcom::Kind::Activation,
            host: Some(crate::event::Shared::new(record.clone())),
            ..Dcom::default()
        };
        assert_eq!(host(&call), "confirmed: svchost.exe (960) → EXCEL.EXE (1364), +0.01 s");
        assert_eq!(
            (who(&call).as_str(), what(&call).as_str()),
            ("LAB\\eve (host log)", "activation")
        );
        record.loaded = Some(r"C:\a\calc.xll".into());
        call.host = Some(crate::event::Shared::new(record));
        call.client.user = Some("mallory".into());
        assert_eq!(host(&call), "confirmed: EXCEL.EXE (1364) loaded calc.xll, +0.01 s");
        assert_eq!(who(&call), "mallory");
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns() {
        let table = printed(80, Colour::Never, &[samples::alert()]);
        let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with(['─', '═'])).collect();
        assert_eq!(
            rows[..7],
            [
                " time (UTC)            source               class, what, who",
                " severity              → target",
                " 2020-07-18 23:10:02   172.16.66.25:49744   MMC20.Application",
                " critical              → 172.16.66.36:135   RemoteCreateInstance succeeded,",
                "                                            port 60283 followed",
                "                                            LAB\\alice → LAB\\runner",
                "                                            evidence: class",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [40, 59, 60, 80, 100, 120, 160] {
            for line in printed(width, Colour::Never, &[samples::alert(), samples::alert()])
                .lines()
                .take_while(|l| !l.is_empty())
            {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_very_narrow_terminal_gets_two_columns() {
        let table = printed(44, Colour::Never, &[samples::alert()]);
        let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with(['─', '═'])).collect();
        assert_eq!(
            rows[..6],
            [
                " when         source → target, class, what,",
                "              who",
                " 2020-07-18   172.16.66.25:49744",
                " 23:10:02     → 172.16.66.36:135",
                " critical     MMC20.Application",
                "              RemoteCreateInstance",
            ]
        );
    }

    /// What may come off a wire, and how wide it is where it is shown. Marks that join others are left out: they have no
    /// width, and no place in a count of characters.
    fn texts() -> impl Strategy<Value = String> {
        let kinds = prop_oneof![
            "[ -~]{0,80}",
            "[a-z]{100,300}",
            "[\\x00-\\x1f\\x7f-\\u{9f}\\u{202a}-\\u{202e}\\u{200b}]{0,40}",
            "[é漢字→ ]{0,120}",
            Just("\x1b[31mcritical\r\n high".to_owned()),
        ];
        kinds
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn whatever_is_told_fits_and_commands_nothing(
            width in 40_u16..=300,
            class in texts(),
            line in texts(),
            user in texts(),
            because in texts(),
            name in texts(),
            v6 in any::<bool>(),
        ) {
            let mut alert = samples::alert();
            alert.message = format!("{line} {name}");
            dcom(&mut alert).class = Some(class);
            dcom(&mut alert).command_line = Some(line.clone());
            dcom(&mut alert).decoded_command = Some(line);
            dcom(&mut alert).client.user = Some(user);
            dcom(&mut alert).because = vec![because.into()];
            let mut meta = samples::meta();
            meta.pcap_filename = Some(name.into());
            if v6 {
                let address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap();
                meta.client = Some(Endpoint { address, port: 65_535 });
            }
            let mut console = Console::new(width, Colour::Never);
            console.push(&meta, &alert);
            let mut reasons = Reasons::new(Arc::new(Catalog::built_in()));
            reasons.push(&meta, &alert);
            console.add(&reasons.print(width, Colour::Never));
            let mut out = Vec::new();
            console.write(&mut out, &"").unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert!(!text.contains(|c: char| c != '\n' && printable(&c.to_string()) != c.to_string()), "{text:?}");
            for line in text.lines() {
                prop_assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn only_the_severity_is_coloured_and_only_when_told() {
        let mut alert = samples::alert();
        dcom(&mut alert).class = Some("critical".to_owned());
        for width in [80, 160] {
            let plain = printed(width, Colour::Never, std::slice::from_ref(&alert));
            let coloured = printed(width, Colour::Always, std::slice::from_ref(&alert));
            assert!(!plain.contains('\x1b'));
            assert_eq!(coloured.matches(" \x1b[1;31mcritical\x1b[0m ").count(), 1, "{coloured}");
            assert_eq!(coloured.matches("critical").count(), 2, "{coloured}");
            assert_eq!(coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", ""), plain);
        }
    }

    #[test]
    fn text_from_the_wire_cannot_command_the_terminal() {
        let mut alert = samples::alert();
        dcom(&mut alert).class = Some("\x1b[2J\u{9b}2J\u{202e}\nx".to_owned());
        dcom(&mut alert).client.user = Some("a\r\n\x07".repeat(500));
        let table = printed(120, Colour::Never, &[alert]);
        assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
        assert!(!table.contains('\u{202e}'));
        assert_eq!(printable("\x1b[2J\u{9b}\u{202e}é"), "\\u{1b}[2J\\u{9b}\\u{202e}é");
        assert!(table.lines().count() < 100);
    }

    #[test]
    fn rows_are_capped_and_the_rest_counted() {
        let table = printed(200, Colour::Never, &vec![samples::alert(); MAX_ROWS + 2]);
        assert!(table.contains("… and 2 more alerts, in the logs\n"));
    }
}
