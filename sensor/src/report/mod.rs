//! A report of one or more eve.json: one file that a browser shows, without a network.
//!
//! The events are read twice. The first time only alerts are looked at, to tell which belong together
//! (`incidents`); the second time each incident takes in what happened in it (`chain`). So the order of files does not
//! matter, and nothing is held but what is shown. The page has no clock: the same logs give the same bytes.

mod chain;
mod filters;
mod graph;
pub(crate) mod incidents;
mod input;
mod model;
mod page;
mod text;
mod unseen;
mod words;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::emit::console::printable;
use crate::emit::foreign::has_our_event;
use crate::severity::Severity;
use chain::Incident;
use incidents::{Grade, Pair, Sightings};
use input::{Head, Lines, Unusable};
use model::{Builder, Input, Model};

/// What was read, ready to be written.
#[derive(Debug)]
pub struct Report {
    model: Model,
    /// Incidents in it.
    pub incidents: usize,
    /// Alerts that were read.
    pub alerts: u64,
    /// What could not be read, in sentences; empty when all could.
    pub unusable: Vec<String>,
    /// Lines that are no events, and alerts of other programs, by file, in sentences.
    pub bad_lines: Vec<String>,
    /// Is there no event of this program in the logs?
    pub nothing_of_ours: bool,
}

impl Report {
    /// Reads these logs: files, or folders with an eve.json. None when there is nothing that could be read.
    pub fn read(inputs: &[PathBuf]) -> Result<Self, Vec<String>> {
        let (files, unusable) = input::files(inputs);
        let mut unusable: Vec<String> = unusable.iter().map(Unusable::to_string).collect();
        let mut sightings = Sightings::default();
        let mut readable = Vec::new();
        for file in files {
            match input::read(&file, |head, line| sight(head, line, &mut sightings)) {
                Ok(lines) => readable.push((file, Ok(lines))),
                Err(error) => {
                    unusable.push(error.to_string());
                    readable.push((file, Err(())));
                }
            }
        }
        if readable.iter().all(|(_, lines)| lines.is_err()) {
            return Err(unusable);
        }
        let incidents = sightings.group();
        let shown = incidents.spans.iter().cloned().map(Incident::new).collect();
        let mut builder = Builder::new(shown);
        let (mut told, mut bad_lines, mut alerts) = (Vec::new(), Vec::new(), 0);
        for (file, first) in readable {
            // What could not be read to its end the first time has been told.
            builder.counters.next_file();
            let second = input::read(&file, |head, line| {
                alerts += u64::from(take(head, line, &incidents, &mut builder));
            });
            let whole = first.is_ok();
            let lines = first.ok().or(second.ok()).unwrap_or_default();
            bad_lines.extend(complaints(&file, &lines));
            told.push(Input {
                // The folder is the reader's own affair.
                name: builder.texts.line(&name(&file), text::NAME),
                lines: lines.all,
                bad: lines.bad,
                whole,
            });
        }
        Ok(Self {
            incidents: incidents.spans.len(),
            alerts,
            nothing_of_ours: !builder.ours,
            model: builder.finish(told, alerts),
            unusable,
            bad_lines,
        })
    }

    /// Writes the page.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        page::write(&self.model, out)
    }

    /// The first sentence of the page.
    pub fn headline(&self) -> &str {
        &self.model.headline.text
    }
}

/// The files that are read for these inputs.
pub fn files(inputs: &[PathBuf]) -> Vec<PathBuf> {
    input::files(inputs).0
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn complaints(file: &Path, lines: &Lines) -> impl Iterator<Item = String> {
    let name = file.display().to_string();
    let name = printable(&name);
    let bad = lines.first_bad.map(|first| {
        let many = text::counted(lines.bad, "line is no event and was", "lines are no events and were");
        format!("{name}: {many} skipped; the first is line {first}")
    });
    let anothers = (lines.anothers > 0).then(|| {
        let many = text::counted(
            lines.anothers,
            "alert is of another program and was",
            "alerts are of other programs and were",
        );
        format!("{name}: {many} passed over")
    });
    bad.into_iter().chain(anothers)
}

/// Source and target of an event; a host's alert names the host itself.
fn pair(head: &Head<'_>, event: &Value) -> Pair {
    let text = |place| event.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let mut source = head.src_ip.as_deref().unwrap_or_default();
    let mut target = head.dest_ip.as_deref().unwrap_or_else(|| text("/host_event/host"));
    // The host that logged it was to reach another.
    if !text("/host_event/target").is_empty() {
        source = text("/host_event/host");
        target = head.dest_ip.as_deref().unwrap_or_else(|| text("/host_event/target"));
    }
    (shown(source), shown(target))
}

/// A host as a page shows it.
fn shown(host: &str) -> String {
    let short: String = host.chars().take(100).collect();
    printable(&short).into_owned()
}

/// EVE's number; what is none of the scale is the mildest.
fn grade(event: &Value) -> Grade {
    let number = event.pointer("/alert/severity").and_then(Value::as_u64);
    let known = |number: &u64| {
        Severity::ALL
            .iter()
            .any(|severity| u64::from(severity.number()) == *number)
    };
    number
        .filter(known)
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(Severity::Informational.number())
}

/// The first reading.
fn sight(head: &Head<'_>, line: &[u8], sightings: &mut Sightings) {
    if head.event_type != "alert" {
        return;
    }
    let (Some(at), Ok(event)) = (head.time(), serde_json::from_slice::<Value>(line)) else {
        return;
    };
    let pair = pair(head, &event);
    if pair != Pair::default() {
        sightings.add(pair, at, grade(&event));
    }
    let is_anywhere = |address: &str| {
        !address
            .parse::<IpAddr>()
            .is_ok_and(|it| it.to_canonical().is_loopback())
    };
    if let Some((name, address)) = own_address(head, &event).filter(|(_, address)| is_anywhere(address)) {
        sightings.names.learn(&shown(name), &shown(address));
    }
}

/// The name of a host by its own log, and the address that it has in the same alert.
fn own_address<'a>(head: &'a Head<'_>, event: &'a Value) -> Option<(&'a str, &'a str)> {
    let text = |place| event.pointer(place).and_then(Value::as_str);
    let (source, target) = (head.src_ip.as_deref(), head.dest_ip.as_deref());
    if let Some(name) = text("/dcom/host/name") {
        let its_own = match text("/dcom/host/role")? {
            "client" => source,
            _ => target,
        };
        return Some((name, its_own?));
    }
    // A connection came in to it.
    let is_called = head.src_ip.is_some() && text("/host_event/target").is_none();
    text("/host_event/host").zip(target).filter(|_| is_called)
}

/// The second reading. Was it an alert?
fn take(head: &Head<'_>, line: &[u8], incidents: &incidents::Incidents, builder: &mut Builder) -> bool {
    let Some(at) = head.time() else { return false };
    builder.saw(at);
    builder.ours = builder.ours || has_our_event(line);
    let is_alert = head.event_type == "alert";
    let is_beside = head.event_type == "dcom" && incidents.has(&pair(head, &Value::Null));
    if !is_alert && !is_beside && head.event_type != "stats" && head.event_type != "anomaly" {
        return false;
    }
    let Ok(event) = serde_json::from_slice::<Value>(line) else {
        return false;
    };
    let pair = incidents.known_as(pair(head, &event));
    let place = incidents.find(&pair, at);
    match (&*head.event_type, place) {
        ("stats", _) => builder.counters.add(&event, at),
        ("anomaly", _) => builder.counters.add_anomaly(&event, &mut builder.texts),
        ("dcom", Some(place)) => builder.incidents[place].add_record(&event, at, &mut builder.texts),
        ("alert", _) => {
            let grade = grade(&event);
            builder.count(grade);
            match place {
                Some(place) => builder.add_alert(&event, at, grade, place),
                None if pair == Pair::default() => builder.add_health(&event, at, grade),
                None => builder.left_out += 1,
            }
        }
        _ => {}
    }
    is_alert
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::emit::eve;
    use crate::event::samples;

    /// A folder that is gone when the test is.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dcom-report-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn page(report: &Report) -> String {
        let mut page = Vec::new();
        report.write(&mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn data(report: &Report) -> Value {
        let page = page(report);
        let (_, rest) = page
            .split_once("<script type=\"application/json\" id=\"data\">")
            .unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn our_own_events_are_understood() {
        let folder = Folder::new("own");
        let mut lines = Vec::new();
        for event in samples::all() {
            eve::line(&event, &mut lines);
        }
        let report = Report::read(&[folder.write("eve.json", lines)]).unwrap();
        assert_eq!((report.alerts, report.incidents), (1, 1));
        assert!(report.unusable.is_empty() && report.bad_lines.is_empty());
        let data = data(&report);
        assert!(
            data["headline"]["text"].as_str().unwrap().contains("172.16.66."),
            "{data}"
        );
        assert_eq!(data["incidents"][0]["steps"][0]["class"], "MMC20.Application");
    }

    fn alert(number: u32) -> Value {
        json!({
            "timestamp": format!("2020-07-18T{:02}:{:02}:{:02}.000000+0000", number / 3600 % 24, number / 60 % 60, number % 60),
            "event_type": "alert", "flow_id": number, "pcap_cnt": number,
            "src_ip": format!("192.0.2.{}", number % 7), "src_port": 50_000, "dest_ip": format!("198.51.100.{}", number % 250),
            "dest_port": 135, "proto": "TCP",
            "alert": {"signature_id": 1_021_303, "signature": "Execution through a DCOM object", "severity": 1 + number % 5},
            "dcom": {"kind": "call", "class": "MMC20.Application", "command_line": format!("cmd.exe /c {number}"),
                "evidence": "arguments", "outcome": "succeeded"},
        })
    }

    #[test]
    fn twenty_thousand_alerts_make_a_page_of_bounded_size_in_any_order_of_files() {
        let folder = Folder::new("many");
        let (mut first, mut second) = (String::new(), String::new());
        for number in 0..20_000 {
            let half = if number < 10_000 { &mut first } else { &mut second };
            writeln!(half, "{}", alert(number)).unwrap();
        }
        let (first, second) = (folder.write("a.json", first), folder.write("b.json", second));
        let report = Report::read(&[first.clone(), second.clone()]).unwrap();
        assert_eq!(report.alerts, 20_000);
        let page = page(&report);
        assert!(page.len() < 16 << 20, "{}", page.len());
        let data = data(&report);
        assert_eq!(data["rows"].as_array().unwrap().len(), 20_000);
        assert!(data["graph"]["nodes"].as_array().unwrap().len() < 24);
        assert_eq!(data["left_out"], 0);
        // The same again is the same again.
        assert!(self::page(&Report::read(&[first.clone(), second.clone()]).unwrap()) == page);
        let mut turned = self::data(&Report::read(&[second, first]).unwrap());
        assert_eq!(turned["headline"], data["headline"]);
        assert_eq!(turned["graph"], data["graph"]);
        assert_eq!(turned["incidents"].take(), data["incidents"]);
    }

    #[test]
    fn another_program_s_alerts_are_no_incidents() {
        let folder = Folder::new("mixed");
        let others = json!({"timestamp": "2020-07-18T23:10:02.061141+0000", "event_type": "alert", "src_ip": "192.0.2.5",
            "dest_ip": "192.0.2.6", "alert": {"signature_id": 2_001_219, "severity": 2, "signature": "ET SCAN"}});
        let file = folder.write("eve.json", format!("{others}\n{}\n{others}\n", alert(1)));
        let report = Report::read(std::slice::from_ref(&file)).unwrap();
        assert_eq!((report.incidents, report.alerts), (1, 1));
        let told = format!(
            "{}: 2 alerts are of other programs and were passed over",
            file.display()
        );
        assert_eq!(report.bad_lines, [told]);
        let file = folder.write("eve.json", others.to_string());
        let report = Report::read(&[file]).unwrap();
        assert_eq!((report.incidents, report.alerts, report.nothing_of_ours), (0, 0, true));
    }

    #[test]
    fn hostile_text_stays_text() {
        let folder = Folder::new("hostile");
        let mut event = alert(1);
        event["dcom"]["command_line"] = json!("</script><script>alert(1)</script>\u{202e}<!--");
        event["dcom"]["class"] = json!("\"><img src=x onerror=alert(1)>");
        event["src_ip"] = json!("<b>");
        let report = Report::read(&[folder.write("eve.json", event.to_string())]).unwrap();
        let page = page(&report);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<img") && !page.contains("<b>") && !page.contains('\u{202e}'));
        assert!(page.contains("&lt;/script&gt;"));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = Folder::new("bad");
        let good = folder.write(
            "eve.json",
            format!("{}\nnonsense\n\n{{\"event_type\": \"alert\"}}\n", alert(1)),
        );
        let none = folder.write("notes.txt", "nothing\n");
        let report = Report::read(&[folder.0.clone(), none.clone(), folder.0.join("missing")]).unwrap();
        assert_eq!(report.alerts, 1);
        assert_eq!(report.unusable.len(), 2);
        let whole = |number: usize| data(&report)["inputs"][number]["whole"].clone();
        assert_eq!([whole(0), whole(1), whole(2)], [true, false, false]);
        assert_eq!(
            report.bad_lines,
            [format!(
                "{}: 2 lines are no events and were skipped; the first is line 2",
                good.display()
            )]
        );
        assert_eq!(Report::read(&[none]).unwrap_err().len(), 1);
        let silent = folder.write("silent.json", "");
        // A run that was broken off leaves it so: it says nothing of what there was.
        let report = Report::read(&[silent]).unwrap();
        assert!(report.nothing_of_ours && report.headline().starts_with("No alert, and nothing else"));
    }

    #[test]
    fn compressed_logs_are_read_and_none_twice() {
        let folder = Folder::new("compressed");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Write::write_all(&mut encoder, alert(1).to_string().as_bytes()).unwrap();
        folder.write("eve-2020-07-18T00-00-02.000000.json.gz", encoder.finish().unwrap());
        let zst = zstd::stream::encode_all(alert(2).to_string().as_bytes(), 1).unwrap();
        folder.write("eve.json.1.zst", zst);
        let plain = folder.write("eve.json", alert(3).to_string());
        assert_eq!(Report::read(&[folder.0.clone(), plain]).unwrap().alerts, 3);
    }

    #[test]
    fn an_alert_without_hosts_is_about_the_sensor() {
        let folder = Folder::new("health");
        let mut event = alert(1);
        for key in ["src_ip", "dest_ip", "dcom"] {
            event.as_object_mut().unwrap().remove(key);
        }
        let report = Report::read(&[folder.write("eve.json", event.to_string())]).unwrap();
        assert_eq!((report.alerts, report.incidents), (1, 0));
        assert_eq!(data(&report)["health"][0]["count"], 1);
    }
}
