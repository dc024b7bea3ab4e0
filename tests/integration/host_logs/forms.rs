//! One small sample of each form, and all that is read of it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use dcom_sensor::host_log::{self, Cause, HostBody, HostEvent, Inputs, Lines, Report};

use super::evtx_writer::{self, Record};
use super::{Scratch, read, read_of, samples};

/// The report, then an event a line.
fn told(events: &[HostEvent], report: &Report) -> String {
    let mut text = format!("{report}\n");
    for event in events {
        let HostEvent {
            time,
            clock,
            logged,
            host,
            source,
            place,
            body,
        } = event;
        let logged = logged.map_or_else(String::new, |logged| format!(" logged {logged}"));
        let body = without_nothing(format!("{body:?}"));
        writeln!(
            text,
            "{} {time} {clock:?}{logged} {host} {source}: {body}",
            place.record
        )
        .unwrap();
    }
    text
}

/// What is not there is not shown.
fn without_nothing(mut text: String) -> String {
    while let Some(nothing) = text.find(": None") {
        let start = text[..nothing].rfind([' ', '{', '(']).map_or(0, |at| at + 1);
        let end = nothing + ": None".len();
        let end = end + if text[end..].starts_with(", ") { 2 } else { 0 };
        text.replace_range(start..end, "");
    }
    text.replace(",  }", " }")
}

#[test]
fn every_form_is_read() {
    let Inputs {
        files,
        failures,
        passed_over,
    } = host_log::inputs(&[samples()]);
    assert!(failures.is_empty() && passed_over.is_empty());
    assert!(files.len() > 20, "{files:?}");
    let mut all = String::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // Tables that name no computer.
        let unnamed = name.starts_with("event-viewer").then_some("ws6");
        let (events, report) = read_of(&file, unnamed);
        assert_eq!(report.records, report.events + report.skipped_total(), "{name}");
        assert_eq!(report.events, events.len() as u64, "{name}");
        writeln!(all, "=== {name}\n{}", told(&events, &report)).unwrap();
    }
    insta::assert_snapshot!("host_log_forms", all);
}

#[test]
fn lines_one_by_one_are_read_as_their_file_is() {
    for name in ["nxlog.ndjson", "fluent-bit.ndjson", "syslog.log", "damaged.ndjson"] {
        let path = samples().join(name);
        let (expected, _) = read(&path);
        let mut lines = Lines::new(path.display().to_string().into());
        let mut events = Vec::new();
        for line in fs::read(&path).unwrap().split(|byte| *byte == b'\n') {
            lines.push(line, &mut |event| events.push(event));
        }
        lines.flush(&mut |event| events.push(event));
        assert_eq!(events, expected, "{name}");
        assert_eq!(lines.report().events, expected.len() as u64);
    }
}

#[test]
fn a_process_id_that_is_told_later_is_waited_for_and_the_order_kept() {
    let text = fs::read_to_string(samples().join("nxlog.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut read = Lines::new("x".into());
    let mut events = Vec::new();
    // Three that settle the zone, Sysmon's start of the process, Security's.
    for index in [3, 6, 7, 5, 2] {
        read.push(lines[index].as_bytes(), &mut |event| events.push(event));
    }
    let sources =
        |events: &[HostEvent]| -> Vec<String> { events.iter().map(|event| event.source.to_string()).collect() };
    assert_eq!(sources(&events), ["Sysmon 11", "Sysmon 13"]);
    read.flush(&mut |event| events.push(event));
    assert_eq!(
        sources(&events),
        ["Sysmon 11", "Sysmon 13", "Sysmon 1", "Security 4688"]
    );
    let HostBody::ProcessCreate(create) = &events[2].body else {
        panic!("{events:?}");
    };
    assert_eq!(create.process.pid, Some(6108));
    assert!(create.process.pid_from.is_some());
}

#[test]
fn compressed_logs_are_read_as_they_are() {
    let plain = samples().join("nxlog.ndjson");
    let (expected, _) = read(&plain);
    let bytes = fs::read(plain).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    for (name, bytes) in [
        ("log.gz", gzip.finish().unwrap()),
        ("log.zst", zstd::stream::encode_all(&bytes[..], 1).unwrap()),
    ] {
        let file = Scratch::new(name, &bytes);
        let (events, _) = read(&file.0);
        let without_place = |events: &[HostEvent]| -> Vec<HostEvent> {
            let input: Arc<str> = "".into();
            events
                .iter()
                .cloned()
                .map(|mut event| {
                    event.place.input = input.clone();
                    event
                })
                .collect()
        };
        assert_eq!(without_place(&events), without_place(&expected), "{name}");
    }
}

#[test]
fn what_is_no_log_says_so_and_is_passed_over_in_a_folder() {
    let file = Scratch::new("no-log", b"MZ\x90\0 this is a program\nand no log\n");
    let error = host_log::read(&file.0, None, &mut |_| {}).unwrap_err();
    assert!(matches!(error.cause, Cause::NotALog), "{error}");
    let named = host_log::inputs(std::slice::from_ref(&file.0));
    assert_eq!(named.files, std::slice::from_ref(&file.0));
    let folder = std::env::temp_dir().join(format!("dcom-sensor-{}-folder", std::process::id()));
    fs::create_dir_all(folder.join("deeper")).unwrap();
    fs::write(folder.join("a.exe"), b"MZ\x90\0").unwrap();
    fs::write(folder.join("deeper/b"), b"{\"EventID\":1}\n").unwrap();
    // A long script comes before the names that tell.
    let script = "# filler\\n".repeat(20_000);
    let long = format!("{{\"message\": \"{script}\", \"winlog\": {{\"event_id\": 4104}}}}\n");
    fs::write(folder.join("deeper/c"), long).unwrap();
    fs::write(folder.join("deeper/d"), format!("{{\"text\": \"{script}\"}}\n")).unwrap();
    fs::write(folder.join("empty.csv"), "").unwrap();
    let found = host_log::inputs(std::slice::from_ref(&folder));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found.files, [folder.join("deeper/b"), folder.join("deeper/c")]);
    assert_eq!(
        found.passed_over,
        ["a.exe", "deeper/d", "empty.csv"].map(|name| folder.join(name))
    );
    assert!(found.failures.is_empty());
}

/// Two chunks of Sysmon's and COM's events.
pub(super) fn evtx() -> Vec<u8> {
    let records: Vec<Record<'_>> = (0..200_u64)
        .map(|number| {
            let text = |text: &str| text.to_owned();
            let (provider, channel, id, data) = match number % 4 {
                0 => (
                    "Microsoft-Windows-Sysmon",
                    "Microsoft-Windows-Sysmon/Operational",
                    1,
                    vec![
                        ("UtcTime", text("2020-09-18 17:05:52.782")),
                        ("ProcessGuid", format!("{{d273d0f0-e8f0-5f64-ff00-{number:012x}}}")),
                        ("ProcessId", (6000 + number).to_string()),
                        ("Image", text(r"C:\Windows\System32\cmd.exe")),
                        ("CommandLine", text("cmd.exe /c echo \"a\" <b> & c \u{e9}")),
                        ("User", text(r"LAB\alice")),
                        ("ParentProcessId", text("3572")),
                        ("ParentImage", text(r"C:\Windows\System32\mmc.exe")),
                    ],
                ),
                1 => (
                    "Microsoft-Windows-Sysmon",
                    "Microsoft-Windows-Sysmon/Operational",
                    10,
                    vec![
                        ("UtcTime", text("2020-09-18 17:05:52.782")),
                        ("SourceImage", "x".repeat(200)),
                    ],
                ),
                2 => (
                    "Microsoft-Windows-DistributedCOM",
                    "System",
                    10016,
                    [
                        "application-specific",
                        "Remote",
                        "Launch",
                        "{49B2791A-B1AE-4C90-9B8E-E860BA07F889}",
                        "Unavailable",
                        "LAB",
                        "alice",
                        "S-1-5-21-1-2-3-1104",
                        "192.0.2.5",
                    ]
                    .iter()
                    .map(|value| ("", text(value)))
                    .collect(),
                ),
                _ => ("Service Control Manager", "System", 7036, vec![("param1", text("x"))]),
            };
            Record {
                provider,
                channel,
                id,
                number: 1000 + number,
                time: 1_600_448_752_900 + number,
                computer: "ws6.lab.example",
                data,
            }
        })
        .collect();
    evtx_writer::file(&records)
}

#[test]
fn evtx_is_read_with_and_without_its_header_and_beyond_damage() {
    let bytes = evtx();
    assert!(bytes.len() > 4096 + 65_536, "more than one chunk");
    let whole = Scratch::new("whole.evtx", &bytes);
    let (events, report) = read(&whole.0);
    assert_eq!((report.records, report.events), (200, 100), "{report}");
    let first = told(&events[..2], &report);
    insta::assert_snapshot!("host_log_evtx", first);

    let headless = Scratch::new("headless.evtx", &bytes[4096..]);
    assert_eq!(read(&headless.0).0.len(), 100);

    // What stands before the first chunk is destroyed, and found in a folder all the same.
    for (length, fill) in [(8, 0), (4096, 0), (4096, 0xaa)] {
        let mut beheaded = bytes.clone();
        beheaded[..length].fill(fill);
        let folder = crate::program::Scratch::new();
        let log = folder.write("beheaded.evtx", &beheaded);
        assert_eq!(host_log::inputs(&[folder.path(".")]).files.len(), 1);
        assert_eq!(read(&log).0.len(), 100, "{length} {fill}");
    }
    let mut rest = vec![0xaa; 777];
    rest.extend(&bytes[4096..]);
    let rest = Scratch::new("rest.evtx", &rest);
    let (left, report) = read(&rest.0);
    assert_eq!((left.len(), report.lost_bytes), (100, 777), "{report}");

    // The first chunk loses its header: the second is read all the same.
    let mut broken = bytes.clone();
    broken[4096..4096 + 512].fill(0xaa);
    let broken = Scratch::new("broken.evtx", &broken);
    let (left, report) = read(&broken.0);
    assert!(!left.is_empty() && left.len() < 100, "{report}");
    assert!(report.skipped.contains_key(&host_log::Reason::BrokenChunk), "{report}");
    assert!(report.lost_bytes > 60_000, "{report}");

    // A record of the first chunk loses its signature: the others are read.
    let mut damaged = bytes.clone();
    let record = memchr::memmem::find_iter(&bytes, b"\x2a\x2a\0\0").nth(8).unwrap();
    damaged[record..record + 4].fill(0);
    let damaged = Scratch::new("damaged.evtx", &damaged);
    let (left, report) = read(&damaged.0);
    assert!((97..100).contains(&left.len()), "{} {report}", left.len());

    // Cut within a chunk.
    let cut = Scratch::new("cut.evtx", &bytes[..4096 + 40_000]);
    let (left, report) = read(&cut.0);
    assert!(!left.is_empty(), "{report}");

    // Something stands between the chunks.
    let mut shifted = bytes[..4096 + 65_536].to_vec();
    shifted.extend(b"rubbish, and a good deal of it");
    shifted.extend(&bytes[4096 + 65_536..]);
    let shifted = Scratch::new("shifted.evtx", &shifted);
    let (left, report) = read(&shifted.0);
    assert_eq!(left.len(), 100, "{report}");
    assert_eq!(report.lost_bytes, 30, "{report}");
}
