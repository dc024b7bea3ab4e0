//! What is written where.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::{ABUSED, MEDIUM};
use crate::program::{Scratch, dcom_sensor, files, has_extension, pcap, pcaps, replay};
use crate::records::Records;

#[test]
fn a_log_folder_that_cannot_be_made_ends_with_2() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "in the way");
    let run = replay(["-o".as_ref(), file.as_os_str(), pcap(ABUSED).as_os_str()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(
        run.stderr.contains("a folder is expected, and this is a file"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_others_take_for_standard_output_is_no_folder() {
    for option in ["-o", "--extract"] {
        let run = replay([option.as_ref(), "-".as_ref(), pcap(ABUSED).as_os_str()]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{option}");
        assert!(run.stderr.contains("`./-` is a folder of that name"), "{}", run.stderr);
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    // Many times what a pipe holds.
    let inputs = vec![pcaps(); 8];
    let mut command = dcom_sensor();
    command.args(["replay", "--json", "--quiet"]).args(inputs);
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
fn logs_are_whole_though_nobody_reads_what_is_shown() {
    let scratch = Scratch::new();
    let inputs = vec![pcaps(); 2];
    let written = |name: &str, (reader, writer): (Option<io::PipeReader>, Stdio), code| {
        let folder = scratch.path(name);
        let mut command = dcom_sensor();
        command.args(["replay", "--json", "-o"]).arg(&folder).args(&inputs);
        drop(reader);
        let run = command.stdout(writer).output().expect("the program runs");
        assert_eq!(
            run.status.code(),
            Some(code),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        files(&folder)
    };
    let (reader, writer) = io::pipe().expect("a pipe");
    let unread = written("unread", (Some(reader), writer.into()), 0);
    assert!(unread.len() > 3 && unread == written("null", (None, Stdio::null()), 0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    assert!(unread == written("full", (None, full.into()), 2));
}

#[test]
fn a_full_disk_ends_the_logs_and_not_the_run() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("logs")).expect("a folder");
    std::os::unix::fs::symlink("/dev/full", scratch.path("logs").join("eve.json")).expect("a link");
    let [logs, capture] = [scratch.path("logs"), pcap(ABUSED)];
    let run = replay(["-o".as_ref(), logs.as_os_str(), capture.as_os_str()]);
    assert_eq!(run.code, Some(2));
    // What was found is printed all the same. How long it took is another matter.
    let table = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains(", read in "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(table(&run.stdout), table(&replay([&capture]).stdout));
    let full = format!(
        "dcom-sensor: {}: No space left on device",
        logs.join("eve.json").display()
    );
    assert!(run.stderr.starts_with(&full), "{}", run.stderr);
    assert!(run.stderr.contains(" lines of it are lost"), "{}", run.stderr);
}

#[test]
fn logs_are_those_of_this_run() {
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let run = |formats: &str, capture: &str| {
        let options = ["-q", "--logs", formats, "-o"].map(std::ffi::OsStr::new);
        replay(options.into_iter().chain([logs.as_os_str(), pcap(capture).as_os_str()]))
    };
    let first = run("eve,zeek", ABUSED);
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    assert!(logs.join("notice.log").exists());
    // One without an alert.
    let second = run("eve,zeek", "wmi-login-signed.pcap");
    assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""));
    assert!(!logs.join("notice.log").exists());
    // A log that is not written is not this run's.
    let third = run("zeek", "wmi-login-signed.pcap");
    assert_eq!(third.code, Some(0));
    let told = format!("dcom-sensor: {}: of an earlier run, ", logs.join("eve.json").display());
    assert!(third.stderr.starts_with(&told), "{}", third.stderr);
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
    let denied = pcap(MEDIUM);
    let run = replay([
        "--min-severity=high".as_ref(),
        "-o".as_ref(),
        logs.as_os_str(),
        denied.as_os_str(),
    ]);
    assert_eq!(run.code, Some(0));
    assert!(!run.stdout.contains("MMC20.Application"), "{}", run.stdout);
    let eve = fs::read_to_string(logs.join("eve.json")).expect("eve.json is written");
    assert_eq!(Records::parse(&eve).signatures(), [1_021_302]);
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
    let zeek = [
        "capture_loss.log",
        "dce_rpc.log",
        "dcom.log",
        "dcom_call.log",
        "notice.log",
        "ntlm.log",
        "stats.log",
    ];
    let mut with_eve = zeek.to_vec();
    with_eve.insert(4, "eve.json");
    for (formats, expected) in [
        (None, with_eve.clone()),
        (Some("eve"), vec!["eve.json"]),
        (Some("zeek"), zeek.to_vec()),
        (Some("zeek-json"), zeek.to_vec()),
        (Some("zeek-json,eve"), with_eve),
        (Some("ocsf,ecs"), vec!["ecs.json", "ocsf.json"]),
        (
            Some("zeek,zeek-json"),
            vec![
                "capture_loss.json",
                "capture_loss.log",
                "dce_rpc.json",
                "dce_rpc.log",
                "dcom.json",
                "dcom.log",
                "dcom_call.json",
                "dcom_call.log",
                "notice.json",
                "notice.log",
                "ntlm.json",
                "ntlm.log",
                "stats.json",
                "stats.log",
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
            let tsv =
                has_extension(name, "log") && formats.is_none_or(|formats| formats.split(',').any(|it| it == "zeek"));
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
        let all = "--logs=eve,zeek,zeek-json,ecs,ocsf";
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

#[test]
fn verbose_explains_each_alert_and_lists_what_was_suppressed() {
    let run = replay(["-v".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let records = Records::of(&pcap(ABUSED));
    let alerts: Vec<_> = records.of_type("alert").collect();
    assert!(!alerts.is_empty());
    assert_eq!(
        run.stdout.matches("   more     ").count(),
        alerts.len(),
        "{}",
        run.stdout
    );
    for alert in alerts {
        let id = &alert["alert"]["signature_id"];
        let read = format!(
            "the request in frame {}, the reply in {};",
            alert["pcap_cnt"], alert["reply_pcap_cnt"]
        );
        let evidence = format!("evidence    {}: ", alert["dcom"]["evidence"].as_str().expect("a grade"));
        for part in [format!("dcom-sensor --explain {id}\n"), read, evidence] {
            assert!(run.stdout.contains(&part), "{part}: {}", run.stdout);
        }
    }
    let quiet = replay([pcap(ABUSED).as_os_str()]);
    assert!(!quiet.stdout.contains("evidence    "), "{}", quiet.stdout);
    let scratch = Scratch::new();
    let settings = scratch.write("s.toml", "[[allow]]\ncomment = \"our console\"\nclass = \"MMC20*\"\n");
    let run = replay([
        "-v".as_ref(),
        "--config".as_ref(),
        settings.as_os_str(),
        pcap(ABUSED).as_os_str(),
    ]);
    for part in ["[[allow]] line 1", "our console"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}
