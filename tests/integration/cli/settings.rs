//! Settings: what a file says of alerts, and what a baseline has learned.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ABUSED, BENIGN};
use crate::program::{Outcome, Scratch, dcom_sensor, files, pcap, repeated, replay};
use crate::records::Records;

/// Runs with a file of these settings.
fn with(settings: &str, arguments: &[&str], capture: &Path) -> Outcome {
    let scratch = Scratch::new();
    let file = scratch.write("settings.toml", settings);
    let mut all = vec!["--config".as_ref(), file.as_os_str()];
    all.extend(arguments.iter().map(AsRef::<OsStr>::as_ref));
    all.push(capture.as_os_str());
    replay(all)
}

/// How many alerts of the signature there are.
fn alerts(run: &Outcome, signature_id: u32) -> usize {
    let records = Records::parse(&run.stdout);
    let of_it = |record: &&Value| record["alert"]["signature_id"] == signature_id;
    records.all().filter(of_it).count()
}

/// What was counted under `dcom`.
fn counted(run: &Outcome) -> Value {
    let records = Records::parse(&run.stdout);
    records.all().last().expect("a last record")["dcom"].clone()
}

#[test]
fn an_allow_entry_silences_what_it_is_about_and_is_counted_and_listed() {
    let entry = "[[allow]]\ncomment = \"our own console\"\nexpires = 2099-01-01\nsig_id = 1021301\n";
    for condition in [
        "source = \"192.0.2.20\"",
        "target = \"192.0.2.0/24\"",
        "target = \"dcomsrv01\"",
        "class = \"mmc20.*\"",
        "user = 'lab\\alice'",
        "days = \"sunday\"\nhours = \"09:00-10:00\"",
    ] {
        let run = with(&format!("{entry}{condition}\n"), &["--json"], &pcap(ABUSED));
        assert_eq!(alerts(&run, 1_021_301), 0, "{condition}");
        let counted = counted(&run);
        assert_eq!(counted["alerts_suppressed"], 1, "{condition}: {counted}");
        assert_eq!(counted["suppressed"]["allowed"], 1, "{condition}: {counted}");
        assert!(
            run.stderr.contains(", 1 alert suppressed"),
            "{condition}: {}",
            run.stderr
        );
    }
    let settings = format!("{entry}class = \"MMC20*\"\n");
    let listed = with(&settings, &["--show-suppressed"], &pcap(ABUSED));
    for part in [
        "[[allow]] line 1",
        "our own console",
        "192.0.2.20",
        "1 alert suppressed",
    ] {
        assert!(listed.stdout.contains(part), "{part}: {}", listed.stdout);
    }
    let other = with(
        &format!("{entry}class = \"ShellWindows\"\n"),
        &["--json"],
        &pcap(ABUSED),
    );
    assert_eq!(alerts(&other, 1_021_301), 1);
    assert_eq!(counted(&other)["alerts_suppressed"], 0);
}

#[test]
fn a_class_that_nobody_knows_is_told_and_the_entry_stays() {
    let entry = |class: &str| format!("[[allow]]\ncomment = \"ours\"\nclass = [\"{class}\", \"mmc20.application\"]\n");
    let run = with(&entry("Excel.Aplication"), &["--quiet"], &pcap(ABUSED));
    assert_eq!(
        run.stderr,
        "dcom-sensor: [[allow]] in line 1: there is no class `Excel.Aplication`\nhint: did you mean `Excel.Application`?\n"
    );
    let run = with(&entry("Excel.Aplication"), &["--json"], &pcap(ABUSED));
    assert_eq!(alerts(&run, 1_021_301), 0);
    let scratch = Scratch::new();
    let class =
        "[[class]]\nclsid = \"10000000-0000-0000-0000-000000000001\"\nname = \"Our.Own\"\ncategory = \"execution\"\n";
    scratch.write("ours.toml", class);
    let settings = scratch.write(
        "s.toml",
        format!("{}[catalog]\nfiles = [\"ours.toml\"]\n", entry("our.own")),
    );
    let capture = pcap(ABUSED);
    let run = replay([
        "--quiet".as_ref(),
        "--config".as_ref(),
        settings.as_os_str(),
        capture.as_os_str(),
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_expired_entry_silences_nothing_and_says_so_once() {
    // The capture is of 2026-11-22: what counts is its time, not today's.
    for (expires, allows) in [("2026-11-22", false), ("2026-11-23", true)] {
        let settings = format!("[[allow]]\ncomment = \"old habit\"\nexpires = {expires}\nclass = \"MMC20*\"\n");
        let run = with(&settings, &["--json", "--fail-on=critical"], &pcap(ABUSED));
        assert_eq!(run.code, Some(i32::from(!allows)), "{expires}");
        let told = run.stderr.matches("[[allow]] in line 1 expired on 2026-11-22").count();
        assert_eq!(told, usize::from(!allows), "{}", run.stderr);
        assert_eq!(run.stderr.contains("old habit"), !allows, "{}", run.stderr);
    }
}

#[test]
fn thresholds_and_suppressions_are_suricatas() {
    let scratch = Scratch::new();
    let capture = scratch.write("four.pcap", repeated(ABUSED, 4, 20));
    let told = |settings: &str| {
        let run = with(settings, &["--json"], &capture);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        alerts(&run, 1_021_301)
    };
    assert_eq!(told(""), 4);
    let threshold = |kind: &str, count: u32, seconds: u32| {
        told(&format!(
            "[[threshold]]\ngen_id = 1\nsig_id = 1021301\ntype = \"{kind}\"\ntrack = \"by_src\"\n\
             count = {count}\nseconds = {seconds}\n"
        ))
    };
    assert_eq!(threshold("limit", 1, 300), 1);
    assert_eq!(threshold("limit", 3, 300), 3);
    assert_eq!(threshold("limit", 1, 30), 2);
    assert_eq!(threshold("threshold", 2, 300), 2);
    assert_eq!(threshold("both", 3, 300), 1);
    let suppressed = |track: &str| {
        told(&format!(
            "[[suppress]]\nsig_id = 1021301\ntrack = \"{track}\"\nip = \"192.0.2.20\"\n"
        ))
    };
    assert_eq!(suppressed("by_src"), 0);
    assert_eq!(suppressed("by_dst"), 4);
}

#[test]
fn settings_that_cannot_be_used_end_with_2_and_name_every_line() {
    let run = with("[detect]\nfanout_target = 1\n[[alow]]\n", &[], &pcap(ABUSED));
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    for part in [
        "settings.toml:2: unknown key `fanout_target`\nhint: did you mean `fanout_targets`?\n",
        "settings.toml:3: unknown section `alow`\nhint: did you mean `allow`?\n",
    ] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let missing = replay(["--config", "no-such-file.toml", "x.pcap"]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.starts_with("dcom-sensor: no-such-file.toml: "),
        "{}",
        missing.stderr
    );
}

#[test]
fn the_settings_in_force_are_printed_and_options_go_before_the_file() {
    let scratch = Scratch::new();
    let file = scratch.write("s.toml", "[detect]\nfanout_targets = 9\n[output]\nlogs = [\"zeek\"]\n");
    let print = |arguments: &[&str]| {
        let head = ["--print-config", "--config", file.to_str().expect("a path")];
        let run = replay(head.iter().chain(arguments));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        run.stdout
    };
    let printed = print(&[]);
    assert!(printed.contains("# Default: 5\nfanout_targets = 9\n"), "{printed}");
    assert!(printed.contains("logs = [\"zeek\"]\n"), "{printed}");
    assert!(print(&["--logs", "eve"]).contains("logs = [\"eve\"]\n"));
    assert!(print(&["--host-window", "60"]).contains("# Default: 120\nwindow = 60\n"));
    // What was printed is a file that says the same.
    let again = scratch.write("again.toml", &printed);
    let run = replay(["--print-config".as_ref(), "--config".as_ref(), again.as_os_str()]);
    assert_eq!(run.stdout, printed);
    // The file's logs are those that are written.
    let logs = scratch.path("logs");
    let run = replay([
        "--config".as_ref(),
        file.as_os_str(),
        "-o".as_ref(),
        logs.as_os_str(),
        pcap(ABUSED).as_os_str(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(logs.join("dcom.log").is_file() && !logs.join("eve.json").exists());
}

#[test]
fn what_is_printed_says_the_same_wherever_it_is_kept() {
    let scratch = Scratch::new();
    let (etc, kept) = (scratch.path("etc"), scratch.path("kept"));
    fs::create_dir(&etc).and(fs::create_dir(&kept)).expect("folders");
    let entries =
        "[[notify]]\nwebhook = { file = \"hook\" }\n[[eve-log]]\nfiletype = \"regular\"\nfilename = \"e.json\"\n";
    let text = format!("[catalog]\nfiles = [\"ours.toml\"]\n[baseline]\nfile = \"usual\"\n{entries}");
    fs::write(etc.join("s.toml"), text).expect("a file");
    let print = |file: &str, more: &[&str]| {
        let mut command = dcom_sensor();
        command.args(more).args(["--print-config", "--config", file]);
        let run = Outcome::from(
            command
                .current_dir(scratch.path("."))
                .output()
                .expect("the program runs"),
        );
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        run.stdout
    };
    let printed = print("etc/s.toml", &["replay"]);
    for name in ["ours.toml", "usual", "hook", "e.json"] {
        let path = format!("\"{}\"", etc.join(name).display());
        assert!(printed.contains(&path), "{path}: {printed}");
    }
    fs::write(kept.join("s.toml"), &printed).expect("a file");
    assert_eq!(print("kept/s.toml", &["replay"]), printed);
    // What is in force: the option's.
    let logs = print("etc/s.toml", &["live", "-i", "eth1", "-o", "logs"]);
    let line = format!("\nlog_dir = \"{}\"\n", scratch.path("logs").display());
    assert!(logs.contains(&line), "{line}: {logs}");
}

#[test]
fn the_environment_goes_before_the_file_and_options_before_it() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "s.toml",
        "[detect]\nfanout_targets = 9\nscan_classes = 8\n[output]\nlogs = [\"zeek\"]\n",
    );
    let run = |variables: &[(&str, &str)], arguments: &[&str]| -> Outcome {
        let mut command = dcom_sensor();
        command.arg("replay").args(arguments).env("DCOM_SENSOR_CONFIG", &file);
        command.envs(variables.iter().copied());
        command.output().expect("the program runs").into()
    };
    let set = [
        ("DCOM_SENSOR_DETECT_FANOUT_TARGETS", "3"),
        ("DCOM_SENSOR_OUTPUT_LOGS", "eve,zeek-json"),
        // The service's own.
        ("DCOM_SENSOR_OPTIONS", "-i eth1"),
    ];
    let printed = run(&set, &["--print-config"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    for lines in [
        "# Default: 5\n# From the environment: DCOM_SENSOR_DETECT_FANOUT_TARGETS\nfanout_targets = 3\n",
        "# Default: 5\nscan_classes = 8\n",
        "# From the environment: DCOM_SENSOR_OUTPUT_LOGS\nlogs = [\"eve\", \"zeek-json\"]\n",
    ] {
        assert!(printed.stdout.contains(lines), "{lines}: {}", printed.stdout);
    }
    let printed = run(&set, &["--print-config", "--logs", "zeek"]).stdout;
    assert!(
        printed.contains("\nlogs = [\"zeek\"]\n") && !printed.contains("DCOM_SENSOR_OUTPUT_LOGS"),
        "{printed}"
    );
    // What is in force is what counts: three targets are a fan-out, which there are in the sample.
    let other = [
        ("DCOM_SENSOR_DETECT_FANOUT_TARGETS", "1000"),
        ("DCOM_SENSOR_CONFIG", ""),
    ];
    let capture = pcap("mmc20-many-targets.pcap");
    let capture = capture.to_str().expect("a path");
    assert_eq!(alerts(&run(&set, &["--json", capture]), 1_021_320), 1);
    assert_eq!(alerts(&run(&other, &["--json", capture]), 1_021_320), 0);
    let wrong = [
        ("DCOM_SENSOR_DETECT_FANOUT_TARGET", "3"),
        ("DCOM_SENSOR_DETECT_SCAN_WINDOW", "0"),
    ];
    let refused = run(&wrong, &[capture]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        refused.stderr,
        "\
environment: unknown variable DCOM_SENSOR_DETECT_FANOUT_TARGET
hint: did you mean DCOM_SENSOR_DETECT_FANOUT_TARGETS?
environment: DCOM_SENSOR_DETECT_SCAN_WINDOW: `scan_window` is 0
hint: write 1 or more
"
    );
}

#[test]
fn sections_and_numbers_that_make_no_sense_are_told() {
    for (settings, told) in [
        (
            "detect = 5\n",
            ":1: `detect` is not a table\nhint: write [detect] above its keys, once\n",
        ),
        ("[[output]]\nlogs = [\"eve\"]\n", ":1: `output` is not a table\n"),
        (
            "fanout_targets = 3\n",
            ":1: unknown section `fanout_targets`\nhint: it stands in [detect]\n",
        ),
        (
            "[detect]\nscan_classes = 0\n",
            ":2: `scan_classes` is 0\nhint: write 1 or more\n",
        ),
        (
            "[host]\nwindow = 86401\n",
            ":2: `window` is 86401\nhint: write 86400 or less\n",
        ),
        (
            "[detect]\nquiet = 4294967296\n",
            ":2: integer `4294967296` where a whole number from 0 to 4294967295 is expected\n",
        ),
        (
            "[output]\nlogs = \"eve\"\n",
            ":2: string \"eve\" where a list, such as [\"…\"], is expected\n",
        ),
    ] {
        let run = with(settings, &[], &pcap(ABUSED));
        assert_eq!(run.code, Some(2), "{settings}");
        assert!(run.stderr.contains(told), "{settings}: {}", run.stderr);
    }
}

#[test]
fn a_baseline_is_learned_kept_and_never_overwritten_when_it_is_damaged() {
    let scratch = Scratch::new();
    let file = scratch.path("baseline");
    let run = |capture: &str| {
        let capture = pcap(capture);
        replay([
            "--baseline".as_ref(),
            file.as_os_str(),
            "--json".as_ref(),
            capture.as_os_str(),
        ])
    };
    let new = |outcome: &Outcome| counted(outcome)["baseline"]["new"].clone();
    let learning = run(BENIGN);
    assert_eq!(learning.code, Some(0));
    assert!(
        learning.stderr.contains("is not there yet: learning"),
        "{}",
        learning.stderr
    );
    let kept = fs::read_to_string(&file).expect("the baseline was kept");
    assert!(kept.starts_with("# dcom-sensor baseline 1, activations: 1\n"), "{kept}");
    let knowing = run(BENIGN);
    assert!(!knowing.stderr.contains("learning"), "{}", knowing.stderr);
    assert_eq!(new(&knowing), 0);
    assert_eq!(new(&run(ABUSED)), 1);
    assert_eq!(new(&run(ABUSED)), 0);
    // Nothing is left beside it.
    assert_eq!(files(file.parent().expect("a folder")).len(), 1);

    let rubbish = "# dcom-sensor baseline 1, activations: 1\nrubbish\n";
    fs::write(&file, rubbish).expect("a scratch file can be written");
    let damaged = run(BENIGN);
    assert_eq!((damaged.code, damaged.stdout.as_str()), (Some(2), ""));
    assert!(
        damaged
            .stderr
            .contains("baseline:2: 1 fields where 6 are expected\nhint: "),
        "{}",
        damaged.stderr
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), rubbish);
}
