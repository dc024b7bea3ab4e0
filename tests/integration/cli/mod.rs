//! The command line: what goes to which stream, and how a run ends.

mod catalog;
mod inputs;
mod outputs;
mod settings;

use crate::program::{Outcome, Scratch, dcom_sensor, pcap, replay};

/// Captures with critical alerts, with one of severity medium, and without any.
const ABUSED: &str = "mmc20-connect.pcap";
const MEDIUM: &str = "mmc20-access-denied.pcap";
const BENIGN: &str = "benign-class-signed.pcap";

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
    // An alert of severity medium does not meet high.
    assert_eq!(run("medium", MEDIUM).code, Some(1));
    // What the table leaves out is told.
    let some = replay(["--min-severity=high".as_ref(), pcap(MEDIUM).as_os_str()]);
    assert!(
        some.stdout.contains(" of them milder and not shown, "),
        "{}",
        some.stdout
    );
    assert_eq!(run("high", MEDIUM).code, Some(0));
}

#[test]
fn what_cannot_be_typed_ends_with_2() {
    for (arguments, says) in [
        (vec!["--no-such-option", "x.pcap"], "--no-such-option"),
        (vec!["--logs", "csv", "x.pcap"], "csv"),
        (vec!["--fail-on", "dreadful", "x.pcap"], "dreadful"),
        (vec!["--logs", "zeek", "x.pcap"], "-o DIR"),
        (vec!["--host-map", "nowhere.toml", "x.pcap"], "--host-logs PATH"),
        (vec!["--host-window", "60", "x.pcap"], "--host-logs PATH"),
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
fn what_was_confused_is_told() {
    let scratch = Scratch::new();
    let run = |arguments: &[&std::ffi::OsStr]| -> Outcome {
        dcom_sensor().args(arguments).output().expect("the program runs").into()
    };
    let capture = pcap(ABUSED);
    let nowhere = scratch.path("nowhere");
    for (arguments, says) in [
        (
            ["hunt".as_ref(), capture.as_os_str()].as_slice(),
            "not a host log that is known\nhint: a capture: `dcom-sensor replay` reads it",
        ),
        (
            &["catalog".as_ref(), "check".as_ref(), capture.as_os_str()],
            "is no text",
        ),
        (
            &[
                "report".as_ref(),
                scratch.write("eve.json", "").as_os_str(),
                "-o".as_ref(),
                std::env::temp_dir().as_os_str(),
            ],
            "is a folder; -o names the page",
        ),
        (&["hunt".as_ref(), nowhere.as_os_str()], "(os error 2)\n"),
    ] {
        let run = run(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("there is no record in it"), "{}", run.stderr);
    }
}
