//! Logs that somebody made to hurt: they cost little, are counted, and stop nothing.

use std::fs;
use std::io::Read;

use dcom_sensor::host_log::{self, Lines, Reason};

use super::forms::evtx;
use super::{Scratch, read, samples};

const GOOD: &str =
    r#"{"EventID":4689,"Channel":"Security","Hostname":"a","EventTime":"2020-09-18T17:05:52-04:00","ProcessId":"1"}"#;

#[test]
fn a_line_of_a_hundred_megabytes_is_passed_over() {
    let mut bytes = format!("{GOOD}\n{{\"a\":\"").into_bytes();
    bytes.resize(100 << 20, b'x');
    bytes.extend(format!("\"}}\n{GOOD}\n").bytes());
    // Compressed, it is a small file: as hostile as they come.
    let file = Scratch::new("long.zst", &zstd::stream::encode_all(&bytes[..], 1).unwrap());
    let (events, report) = read(&file.0);
    assert_eq!(events.len(), 2);
    assert_eq!(report.skipped[&Reason::TooLong], 1);
    assert_eq!(report.records, 3);
}

#[test]
fn a_long_element_a_long_event_and_a_long_row_are_passed_over() {
    let long = "x".repeat(40 << 20);
    let cases = [
        ("array", format!("[{GOOD},{{\"a\":\"{long}\"}},{GOOD}]")),
        (
            "xml",
            format!("<Events>{XML}<Event><System><Channel>{long}</Channel></System></Event>{XML}</Events>"),
        ),
        (
            "csv",
            format!(
                "EventID,Channel,Computer,TimeCreated\n4689,Security,a,2020-09-18T17:05:52-04:00\n1,\"{long}\",b,c\n4689,Security,a,2020-09-18T17:05:52-04:00\n"
            ),
        ),
    ];
    for (name, text) in cases {
        let file = Scratch::new(&format!("long-{name}"), text.as_bytes());
        let (events, report) = read(&file.0);
        assert_eq!(events.len(), 2, "{name}: {report}");
        assert!(report.skipped.contains_key(&Reason::TooLong), "{name}: {report}");
    }
}

const XML: &str = "<Event><System><Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4689</EventID><TimeCreated SystemTime='2020-09-18T17:05:52Z'/><Computer>a</Computer></System><EventData><Data Name='ProcessId'>0x1</Data></EventData></Event>";

#[test]
fn depth_is_counted_and_costs_no_stack() {
    let deep = 1 << 20;
    let nested = format!(
        "{{\"EventData\":{}1{}}}",
        "{\"EventData\":".repeat(deep),
        "}".repeat(deep)
    );
    let arrays = format!("{{\"x\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
    let xml = format!("<Event>{}</Event>", "<a>".repeat(deep));
    let mut lines = Lines::new("x".into());
    for line in [&nested, &arrays, &xml, GOOD] {
        lines.push(line.as_bytes(), &mut |_| {});
    }
    let report = lines.report();
    assert_eq!((report.records, report.events), (4, 1), "{report}");
    assert_eq!(report.skipped[&Reason::TooDeep], 2, "{report}");
    let brackets = Scratch::new("brackets", "[".repeat(deep).as_bytes());
    let (_, report) = read(&brackets.0);
    assert_eq!(report.skipped[&Reason::TooDeep], 1, "{report}");
}

#[test]
fn a_text_that_is_too_long_to_keep_is_cut_and_counted() {
    let text = "\u{e9}".repeat(1 << 20);
    let line = format!(
        r#"{{"EventID":4104,"Channel":"Microsoft-Windows-PowerShell/Operational","Hostname":"a","EventTime":"2020-09-18T17:05:52-04:00","ScriptBlockText":"{text}"}}"#
    );
    let mut lines = Lines::new("x".into());
    let mut kept = 0;
    lines.push(line.as_bytes(), &mut |event| {
        if let host_log::HostBody::Script(script) = event.body {
            kept = script.text.len();
        }
    });
    lines.flush(&mut |_| {});
    assert!((1 << 16..1 << 17).contains(&kept), "{kept}");
    assert_eq!(lines.report().cut, 1);
}

#[test]
fn names_and_hosts_without_end_are_not_kept_without_end() {
    let mut lines = Lines::new("x".into());
    for number in 0..50_000 {
        let line = format!(
            r#"{{"EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Hostname":"h{number}","EventTime":"2020-09-18 13:05:52","UtcTime":"2020-09-18 17:05:52.7","Image":"i{number}"}}"#
        );
        lines.push(line.as_bytes(), &mut |_| {});
    }
    lines.flush(&mut |_| {});
    let report = lines.report();
    assert!(report.hosts.len() <= 4096);
    assert_eq!(report.events, 50_000);
    assert_eq!(report.other_hosts + report.hosts.len() as u64, 50_000);
}

/// A small generator of our own: the same cases each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

/// Bytes changed, left out, doubled, put in and cut off, in every sample: nothing panics, and every record is accounted for.
#[test]
fn altered_samples_are_read_or_counted() {
    let files = host_log::inputs(&[samples()]).files;
    let mut samples: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|file| {
            let mut bytes = Vec::new();
            fs::File::open(file).unwrap().read_to_end(&mut bytes).unwrap();
            (file.file_name().unwrap().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    samples.push(("sample.evtx".into(), evtx()));
    let mut numbers = Numbers(7);
    for (name, bytes) in &samples {
        for round in 0..60 {
            let mut altered = bytes.clone();
            for _ in 0..=numbers.next(if name.ends_with("evtx") { 200 } else { 6 }) {
                if altered.is_empty() {
                    break;
                }
                let at = numbers.next(altered.len());
                match numbers.next(6) {
                    0 => altered[at] = u8::try_from(numbers.next(256)).unwrap(),
                    1 => altered[at] ^= 1 << numbers.next(8),
                    2 => {
                        let end = (at + numbers.next(64)).min(altered.len());
                        altered.drain(at..end);
                    }
                    3 => {
                        let piece = altered[at..(at + numbers.next(64)).min(altered.len())].to_vec();
                        altered.splice(at..at, piece);
                    }
                    4 => {
                        let piece = b"{}[]<>\"\\\n,&;\0\xff\xfe"[numbers.next(15)];
                        altered.insert(at, piece);
                    }
                    _ if numbers.next(8) == 0 => altered.truncate(at.max(1)),
                    _ => {}
                }
            }
            let file = Scratch::new("altered", &altered);
            let mut events = 0;
            match host_log::read(&file.0, None, &mut |_| events += 1) {
                Ok(report) => {
                    assert_eq!(report.events, events, "{name} {round}");
                    assert_eq!(report.records, report.events + report.skipped_total(), "{name} {round}");
                }
                Err(error) => assert!(error.report.events <= events, "{name} {round}"),
            }
        }
    }
}
