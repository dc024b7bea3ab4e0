//! The command line: what goes to which stream, and how a run ends.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::{Outcome, Scratch, all_pcaps, dcom_sensor, files, pcap, pcaps, replay};
use crate::records::{Records, text};

/// Captures with one critical alert, with one of severity high, and without any.
const ABUSED: &str = "mmc20-connect.pcap";
const HIGH: &str = "excel-dde-signed.pcap";
const BENIGN: &str = "benign-class-signed.pcap";

fn json(path: impl AsRef<std::ffi::OsStr>) -> Outcome {
    replay(["--json".as_ref(), "-q".as_ref(), path.as_ref()])
}

/// Runs with the bytes on standard input.
fn piped(arguments: &[&str], bytes: &[u8]) -> Outcome {
    let mut command = dcom_sensor();
    command.arg("replay").args(arguments);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the program runs");
    let mut stdin = child.stdin.take().expect("a standard input");
    // The samples fit into a pipe, so nobody waits for anybody.
    stdin.write_all(bytes).expect("standard input is read");
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// The offset that a message names.
fn offset(stderr: &str) -> usize {
    let (_, after) = stderr
        .split_once(": offset ")
        .unwrap_or_else(|| panic!("no offset in {stderr}"));
    let digits = after.split(':').next().expect("text after the offset");
    digits.parse().expect("a number")
}

#[test]
fn a_capture_that_was_read_ends_with_0_whatever_was_found() {
    for name in [ABUSED, BENIGN] {
        let run = replay([pcap(name)]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{name}");
        assert_eq!(run.stdout.contains("MMC20.Application"), name == ABUSED);
        assert!(
            run.stdout.contains(" packets in "),
            "{name}: no summary in {}",
            run.stdout
        );
    }
}

#[test]
fn fail_on_ends_with_1_only_when_it_is_met() {
    let run = |severity: &str, name| replay(["--fail-on".as_ref(), severity.as_ref(), pcap(name).as_os_str()]);
    for severity in ["informational", "low", "medium", "high", "critical"] {
        let met = run(severity, ABUSED);
        assert_eq!((met.code, met.stderr.as_str()), (Some(1), ""), "{severity}");
        assert_eq!(run(severity, BENIGN).code, Some(0), "{severity}");
    }
    // What is not shown still counts, and the table is printed all the same.
    let quiet = replay(["-q".as_ref(), "--fail-on=high".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(1), ""));
    assert!(run("high", ABUSED).stdout.contains("critical"));
    // An alert of severity high does not meet critical.
    assert_eq!(run("high", HIGH).code, Some(1));
    assert_eq!(run("critical", HIGH).code, Some(0));
}

#[test]
fn what_is_no_capture_ends_with_2_at_once_and_says_why() {
    let scratch = Scratch::new();
    let path = scratch.write("notes.txt", "No capture for all one tries.\n");
    let run = replay([&path]);
    assert_eq!(run.code, Some(2));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    let message = format!(
        "dcom-sensor: {}: not a capture: it begins with 4e 6f 20 63",
        path.display()
    );
    assert!(lines[0].starts_with(&message), "{}", lines[0]);
    assert_eq!(lines[1], "hint: expected pcap or pcapng, plain, .gz or .zst");
    let empty = scratch.write("empty.pcap", "");
    let run = replay([&empty]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr
            .starts_with(&format!("dcom-sensor: {}: is empty\nhint: ", empty.display())),
        "{}",
        run.stderr
    );
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes_then_told() {
    for (name, file, structure) in [
        (ABUSED, "cut.pcap", "packet"),
        ("shellwindows-two-interfaces.pcapng", "cut.pcapng", "block"),
    ] {
        let scratch = Scratch::new();
        let whole = fs::read(pcap(name)).expect("a sample");
        let cut = scratch.write(file, &whole[..whole.len() - 10]);
        let logs = scratch.path("logs");
        let run = replay(["-o".as_ref(), logs.as_os_str(), cut.as_os_str()]);
        assert_eq!(run.code, Some(2));
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{}", run.stderr);
        let (place, cause) = lines[0].split_once(": the last ").expect("a cause");
        let start = offset(&run.stderr);
        assert_eq!(place, format!("dcom-sensor: {}: offset {start}", cut.display()));
        assert!(cause.contains(structure), "{cause}");
        assert!(
            start < whole.len() - 10 && start > whole.len() - 200,
            "{start} of {}",
            whole.len()
        );
        assert_eq!(lines[1], "hint: the capture was cut short; what came before was read");
        // Everything before the cut is there: one packet less, and all that was found in the others.
        let full = Records::of(&pcap(name));
        let eve = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("eve.json is written"));
        assert_eq!(eve.counter("decoder.pkts"), full.counter("decoder.pkts") - 1);
        let found = |records: &Records| records.of_type("alert").cloned().collect::<Vec<_>>();
        assert_eq!(found(&eve), found(&full));
        assert_eq!(eve.dcom("activation"), full.dcom("activation"));
        let notices = fs::read_to_string(logs.join("notice.log")).expect("notice.log is written");
        assert!(
            notices.lines().last().expect("lines").starts_with("#close\t"),
            "{notices}"
        );
        assert!(run.stdout.contains("1 input unreadable"), "{}", run.stdout);
    }
}

#[test]
fn damage_in_the_middle_is_told_with_its_place_and_the_rest_is_kept() {
    let scratch = Scratch::new();
    let mut bytes = fs::read(pcap(ABUSED)).expect("a sample");
    // The length of a packet about four fifths into the file, far beyond anything believed.
    let mut at = 24;
    while at < bytes.len() * 4 / 5 {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        at += 16 + length as usize;
    }
    bytes[at + 8..at + 12].fill(0xff);
    let run = replay([scratch.write("damaged.pcap", &bytes)]);
    assert_eq!(run.code, Some(2));
    assert_eq!(offset(&run.stderr), at);
    assert!(run.stderr.contains("\nhint: "), "{}", run.stderr);
    assert!(run.stdout.contains("MMC20.Application"), "{}", run.stdout);
}

#[test]
fn what_is_missing_ends_with_2_and_names_it() {
    for missing in ["nowhere.pcap", "nowhere/*.pcap"] {
        let run = replay([missing]);
        assert_eq!(run.code, Some(2), "{missing}");
        assert_eq!(
            run.stderr,
            format!("dcom-sensor: {missing}: no such file, and no file matches it\n")
        );
    }
    let catalog = replay(["--catalog".as_ref(), "nowhere.toml".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!((catalog.code, catalog.stdout.as_str()), (Some(2), ""));
    assert!(
        catalog.stderr.starts_with("dcom-sensor: nowhere.toml: "),
        "{}",
        catalog.stderr
    );
}

#[test]
fn what_cannot_be_typed_ends_with_2() {
    for (arguments, says) in [
        (vec!["--no-such-option", "x.pcap"], "--no-such-option"),
        (vec!["--logs", "csv", "x.pcap"], "csv"),
        (vec!["--fail-on", "dreadful", "x.pcap"], "dreadful"),
        (vec!["-q", "-v", "x.pcap"], "cannot be used with"),
        (vec![], "<INPUT>"),
    ] {
        let run = replay(&arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
    let nothing = dcom_sensor().output().expect("the program runs");
    assert_eq!(nothing.status.code(), Some(2));
    for asked in ["--help", "--version"] {
        let run: Outcome = dcom_sensor().arg(asked).output().expect("the program runs").into();
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{asked}");
        assert!(run.stdout.contains("dcom-sensor"), "{asked}: {}", run.stdout);
    }
}

#[test]
fn one_broken_input_of_two_ends_with_2_and_the_other_is_read() {
    let scratch = Scratch::new();
    let broken = scratch.write("broken.pcap", "broken");
    for inputs in [[broken.clone(), pcap(ABUSED)], [pcap(ABUSED), broken]] {
        let run = replay(&inputs);
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stderr.matches("dcom-sensor: ").count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("broken.pcap: not a capture"), "{}", run.stderr);
        assert!(run.stdout.contains("MMC20.Application"), "{}", run.stdout);
    }
    // An input that could not be used weighs more than what was found in the others.
    let run = replay([
        "--fail-on".as_ref(),
        "low".as_ref(),
        "nowhere".as_ref(),
        pcap(ABUSED).as_os_str(),
    ]);
    assert_eq!(run.code, Some(2));
}

#[test]
fn a_log_folder_that_cannot_be_made_ends_with_2() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "in the way");
    let run = replay(["-o".as_ref(), file.as_os_str(), pcap(ABUSED).as_os_str()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(
        run.stderr.starts_with(&format!("dcom-sensor: {}: ", file.display())),
        "{}",
        run.stderr
    );
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    // Many times what a pipe holds.
    let inputs = vec![pcaps(); 8];
    let mut command = dcom_sensor();
    command.args(["replay", "--json"]).args(inputs);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a standard output");
    BufReader::with_capacity(64, stdout)
        .read_line(&mut line)
        .expect("a first line");
    assert!(line.starts_with("{\"timestamp\":"), "{line}");
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn standard_input_and_compressed_files_read_like_the_file() {
    let scratch = Scratch::new();
    let bytes = fs::read(pcap(ABUSED)).expect("a sample");
    let expected = json(pcap(ABUSED));
    assert!(expected.stdout.contains("\"alert\""));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).expect("memory can be written");
    let gzip = encoder.finish().expect("memory can be written");
    let zstd = zstd::stream::encode_all(&bytes[..], 1).expect("memory can be read");
    for (name, stored) in [
        ("x.pcap.gz", &gzip),
        ("x.pcap.zst", &zstd),
        ("by-content-not-by-name", &gzip),
    ] {
        let run = json(scratch.write(name, stored));
        assert_eq!((run.code, run.stdout == expected.stdout), (Some(0), true), "{name}");
    }
    for stored in [&bytes, &gzip, &zstd] {
        let run = piped(&["--json", "-q", "-"], stored);
        assert_eq!(
            (run.code, run.stdout == expected.stdout),
            (Some(0), true),
            "{}",
            run.stderr
        );
    }
    // Cut short, each is read as far as it goes.
    for (name, stored) in [("cut.gz", &gzip), ("cut.zst", &zstd)] {
        let run = json(scratch.write(name, &stored[..stored.len() - 9]));
        assert_eq!(run.code, Some(2), "{name}");
        assert!(
            run.stderr.contains(name) && run.stderr.contains("\nhint: "),
            "{}",
            run.stderr
        );
    }
    let run = piped(&["-"], b"nothing of the sort");
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.starts_with("dcom-sensor: -: not a capture: "),
        "{}",
        run.stderr
    );
}

#[test]
fn a_folder_is_all_captures_below_it_and_only_several_inputs_are_named() {
    let run = json(pcaps());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let records = Records::parse(&run.stdout);
    let mut named: Vec<&str> = records
        .all()
        .filter_map(|record| record.get("pcap_filename"))
        .map(|name| text(name).rsplit('/').next().expect("a name"))
        .collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, all_pcaps());
    for record in records.all() {
        let about_a_frame = record.get("pcap_cnt").is_some();
        assert_eq!(record.get("pcap_filename").is_some(), about_a_frame, "{record}");
    }
    let alone = Records::of(&pcap(ABUSED));
    assert!(alone.all().all(|record| record.get("pcap_filename").is_none()));
    // Together they say what each says alone: the captures have nothing to do with each other.
    let apart: usize = all_pcaps()
        .iter()
        .map(|name| Records::of(&pcap(name)).signatures().len())
        .sum();
    assert_eq!(records.signatures().len(), apart);
}

#[test]
fn json_lines_are_all_that_standard_output_carries() {
    let run = replay(["--json".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!(run.code, Some(0));
    let records = Records::parse(&run.stdout);
    assert!(run.stdout.ends_with('\n'));
    assert_eq!(records.all().count(), run.stdout.lines().count());
    for record in records.all() {
        assert!(
            record["timestamp"].is_string() && record["event_type"].is_string(),
            "{record}"
        );
    }
    // The summary is for a person, so it goes to the other stream.
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(" packets in "), "{}", run.stderr);
    // Printed and logged, the records are the same.
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let logged = replay([
        "--json".as_ref(),
        "-o".as_ref(),
        logs.as_os_str(),
        pcap(ABUSED).as_os_str(),
    ]);
    assert_eq!(logged.stdout, run.stdout);
    assert_eq!(
        fs::read_to_string(logs.join("eve.json")).expect("eve.json is written"),
        run.stdout
    );
}

#[test]
fn min_severity_is_about_what_is_shown_not_about_what_is_logged() {
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let excel = pcap(HIGH);
    let run = replay([
        "--min-severity=critical".as_ref(),
        "-o".as_ref(),
        logs.as_os_str(),
        excel.as_os_str(),
    ]);
    assert_eq!(run.code, Some(0));
    assert!(!run.stdout.contains("Excel.Application"), "{}", run.stdout);
    let eve = fs::read_to_string(logs.join("eve.json")).expect("eve.json is written");
    assert_eq!(Records::parse(&eve).signatures(), [1_021_301]);
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let run = replay(["-q".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    let run = replay(["-q".as_ref(), pcap(ABUSED).as_os_str(), "nowhere".as_ref()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.starts_with("dcom-sensor: nowhere: "), "{}", run.stderr);
    let run = replay(["-v".as_ref(), pcap(ABUSED).as_os_str()]);
    assert!(
        run.stderr
            .lines()
            .any(|line| line.starts_with("dcom.activations ") && line.ends_with(" 1")),
        "{}",
        run.stderr
    );
}

#[test]
fn colour_is_for_terminals_and_no_color_is_honoured() {
    const ESCAPE: char = '\x1b';
    let capture = pcap(ABUSED);
    let coloured = |when: &str| {
        replay(["--color".as_ref(), when.as_ref(), capture.as_os_str()])
            .stdout
            .contains(ESCAPE)
    };
    assert!(coloured("always"));
    assert!(!coloured("never"));
    assert!(!coloured("auto"), "a pipe is no terminal");
    // script(1) runs a command on a terminal of its own.
    let on_terminal = |no_color: Option<&str>| {
        let line = format!(
            "'{}' replay --no-progress '{}'",
            env!("CARGO_BIN_EXE_dcom-sensor"),
            capture.display()
        );
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        command
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Ok(plain) = on_terminal(Some("1")) else {
        let _ = writeln!(
            io::stderr(),
            "not tested: there is no script(1) to make a terminal with"
        );
        return;
    };
    assert!(plain.contains("critical") && !plain.contains(ESCAPE), "{plain}");
    for unset in [None, Some("")] {
        let coloured = on_terminal(unset).expect("script runs a second time");
        assert!(coloured.contains("\x1b[1;31mcritical"), "{coloured}");
    }
}

#[test]
fn each_log_format_has_its_files() {
    let zeek = ["dce_rpc.log", "dcom.log", "notice.log"];
    for (formats, expected) in [
        (None, vec!["dce_rpc.log", "dcom.log", "eve.json", "notice.log"]),
        (Some("eve"), vec!["eve.json"]),
        (Some("zeek"), zeek.to_vec()),
        (Some("zeek-json"), zeek.to_vec()),
        (
            Some("zeek-json,eve"),
            vec!["dce_rpc.log", "dcom.log", "eve.json", "notice.log"],
        ),
        (
            Some("zeek,zeek-json"),
            vec![
                "dce_rpc.json",
                "dce_rpc.log",
                "dcom.json",
                "dcom.log",
                "notice.json",
                "notice.log",
            ],
        ),
    ] {
        let scratch = Scratch::new();
        let logs = scratch.path("made/on/the/way");
        let mut arguments = vec![
            "-qo".into(),
            logs.clone().into_os_string(),
            pcap(ABUSED).into_os_string(),
        ];
        arguments.extend(formats.map(|formats| format!("--logs={formats}").into()));
        let run = replay(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{formats:?}");
        let written = files(&logs);
        let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected, "{formats:?}");
        for (name, bytes) in &written {
            let tsv = name.ends_with(".log") && formats.is_none_or(|formats| formats.split(',').any(|it| it == "zeek"));
            assert_eq!(bytes.starts_with(b"#separator \\x09\n"), tsv, "{formats:?} {name}");
            assert_eq!(bytes.starts_with(b"{"), !tsv, "{formats:?} {name}");
        }
    }
    let before = std::env::current_dir().expect("a working folder");
    let unasked = replay([pcap(ABUSED)]);
    assert_eq!(unasked.code, Some(0));
    assert!(!before.join("eve.json").exists(), "without -o nothing is written");
}

#[test]
fn every_run_writes_the_same_bytes() {
    let scratch = Scratch::new();
    let run = |name: &str| {
        let logs = scratch.path(name);
        let all = "--logs=eve,zeek,zeek-json";
        let run = replay([all.as_ref(), "-qo".as_ref(), logs.as_os_str(), pcaps().as_os_str()]);
        assert_eq!(run.code, Some(0));
        files(&logs)
    };
    let (first, second) = (run("first"), run("second"));
    let sizes = |files: &[(String, Vec<u8>)]| {
        files
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&first), sizes(&second));
    assert!(first == second, "the same sizes, other bytes");
    assert!(first.len() >= 7, "{:?}", sizes(&first));
}
