//! `dcom-sensor doctor`: captures; and, where network namespaces can be made, interfaces of a veth pair.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::live::{Space, run, until};
use crate::program::{Outcome, Scratch, dcom_sensor, pcap, workspace};

/// What was said, as JSON.
struct Checkup {
    code: Option<i32>,
    page: Value,
}

impl Checkup {
    fn of(outcome: &Outcome) -> Self {
        let page: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        assert_eq!(
            page["exit_status"],
            outcome.code.expect("it ends by itself"),
            "{page:#}"
        );
        let guide = fs::read_to_string(workspace().join("docs/OPERATING.md")).expect("the operating guide");
        for check in page["checks"].as_array().expect("a list") {
            assert_eq!(
                check["result"] == "ok",
                check["what_to_do"].is_null(),
                "what is not well has its advice, and nothing else has: {check:#}"
            );
            let name = check["check"].as_str().expect("a name");
            assert!(guide.contains(&format!("`{name}`")), "docs/OPERATING.md has no {name}");
        }
        Self {
            code: outcome.code,
            page,
        }
    }

    /// `doctor --json` with these arguments.
    fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let output = dcom_sensor().args(["doctor", "--json"]).args(arguments).output();
        Self::of(&output.expect("the program runs").into())
    }

    fn check(&self, name: &str) -> &Value {
        let checks = self.page["checks"].as_array().expect("a list");
        let found = checks.iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no check {name} in {:#}", self.page))
    }

    fn result(&self, name: &str) -> &str {
        self.check(name)["result"].as_str().expect("a word")
    }

    fn says(&self, name: &str) -> &str {
        self.check(name)["says"].as_str().expect("a text")
    }

    fn advises(&self, name: &str) -> &str {
        self.check(name)["what_to_do"].as_str().expect("a text")
    }

    fn measured(&self, name: &str, number: &str) -> u64 {
        self.check(name)["measured"][number].as_u64().expect("a number")
    }
}

/// A sample's frames, one after the other: none is left out, or cut to what is handed back.
fn altered(scratch: &Scratch, name: &str, alter: impl Fn(&[u8]) -> Option<usize>) -> PathBuf {
    let bytes = fs::read(pcap(name)).expect("a sample can be read");
    let (mut out, mut rest) = (bytes[..24].to_vec(), &bytes[24..]);
    while let Some((header, after)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().expect("four bytes")) as usize;
        let (frame, next) = after.split_at(length);
        if let Some(kept) = alter(frame) {
            out.extend_from_slice(&header[..8]);
            out.extend_from_slice(&u32::try_from(kept).expect("short").to_le_bytes());
            out.extend_from_slice(&header[12..]);
            out.extend_from_slice(&frame[..kept]);
        }
        rest = next;
    }
    scratch.write("altered.pcap", out)
}

/// Is the frame of a sample (Ethernet, IPv4 without options) on its way to the server?
fn to_server(frame: &[u8]) -> bool {
    [135, 49_670].contains(&u16::from_be_bytes([frame[36], frame[37]]))
}

#[test]
fn the_environment_is_looked_at_as_by_the_sensor() {
    let of = |name: &str, value: &str| {
        let mut command = dcom_sensor();
        command
            .args(["doctor", "--json"])
            .arg(pcap("mmc20-signed.pcap"))
            .env(name, value);
        Checkup::of(&command.output().expect("the program runs").into())
    };
    for (name, value, says) in [
        ("DCOM_SENSOR_CONFIG", "no-such-file", "no-such-file: "),
        ("DCOM_SENSOR_FOO", "1", "unknown variable DCOM_SENSOR_FOO"),
    ] {
        let checkup = of(name, value);
        assert_eq!((checkup.code, checkup.result("settings")), (Some(1), "bad"), "{name}");
        assert!(checkup.says("settings").contains(says), "{}", checkup.says("settings"));
    }
    let set = of("DCOM_SENSOR_HOST_WINDOW", "60");
    assert_eq!(set.says("settings"), "they can be used");
}

#[test]
fn a_capture_that_shows_everything_is_well() {
    let checkup = Checkup::run([pcap("mmc20-connect.pcap")]);
    assert_eq!(checkup.code, Some(0));
    for name in [
        "frames",
        "snap_length",
        "directions",
        "loss_before",
        "duplicates",
        "dce_rpc",
        "dcom",
        "dynamic_ports",
        "sealed",
    ] {
        assert_eq!(checkup.result(name), "ok", "{:#}", checkup.page);
    }
    assert_eq!(checkup.measured("dcom", "activations"), 1);
    assert!(checkup.measured("dcom", "alerts") >= 2);
    assert_eq!(checkup.page["result"], "ok");
}

#[test]
fn a_capture_of_one_direction_is_told_in_either() {
    let scratch = Scratch::new();
    for wanted in [true, false] {
        let capture = altered(&scratch, "mmc20-connect.pcap", |frame| {
            (to_server(frame) == wanted).then_some(frame.len())
        });
        let checkup = Checkup::run([&capture]);
        assert_eq!(
            (checkup.code, checkup.result("directions")),
            (Some(1), "bad"),
            "{:#}",
            checkup.page
        );
        assert_eq!(checkup.measured("directions", "both_ways"), 0);
        assert!(checkup.measured("directions", "connections") > 0);
        // What is missing of the other direction is not taken for loss.
        assert_eq!(checkup.result("loss_before"), "cannot_tell");
    }
}

#[test]
fn frames_that_were_cut_are_told_with_their_number() {
    let scratch = Scratch::new();
    let capture = altered(&scratch, "mmc20-connect.pcap", |frame| Some(frame.len().min(96)));
    let checkup = Checkup::run([&capture]);
    assert_eq!((checkup.code, checkup.result("snap_length")), (Some(1), "bad"));
    let cut = checkup.measured("snap_length", "cut");
    assert!(
        0 < cut && cut < checkup.measured("snap_length", "frames"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.advises("snap_length").contains("tcpdump -s 0"));
    // Nothing was lost, and that there was no DCOM is not known.
    assert_eq!(checkup.result("loss_before"), "cannot_tell");
    assert_eq!(checkup.result("dcom"), "cannot_tell");
}

#[test]
fn what_is_sealed_is_told_as_a_share_and_keys_lessen_it() {
    let scratch = Scratch::new();
    let sealed = pcap("mmc20-sealed.pcap");
    let checkup = Checkup::run([&sealed]);
    assert_eq!((checkup.code, checkup.result("sealed")), (Some(0), "warn"));
    let pdus = checkup.measured("sealed", "sealed_pdus");
    assert!(0 < pdus && pdus < checkup.measured("sealed", "pdus"));
    assert!(checkup.says("sealed").contains('%'), "{}", checkup.says("sealed"));
    let keys = scratch.write("keys.toml", "[[ntlm]]\nuser = 'alice'\npassword = 'Rig-Test-1!'\n");
    assert!(run(Command::new("chmod").arg("600").arg(&keys)));
    let checkup = Checkup::run([OsStr::new("--keys"), keys.as_os_str(), sealed.as_os_str()]);
    assert_eq!(
        (checkup.result("keys"), checkup.result("sealed")),
        ("ok", "ok"),
        "{:#}",
        checkup.page
    );
    assert_eq!(checkup.measured("sealed", "opened"), pdus);
}

#[test]
fn gaps_copies_and_rpc_without_dcom_are_told() {
    let checkup = Checkup::run([pcap("mmc20-gap.pcap")]);
    assert_eq!(
        (checkup.code, checkup.result("loss_before")),
        (Some(1), "bad"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.measured("loss_before", "bytes_missing") > 0);
    let checkup = Checkup::run([pcap("mmc20-mirrored-twice.pcap")]);
    assert_eq!((checkup.code, checkup.result("duplicates")), (Some(0), "warn"));
    let checkup = Checkup::run([pcap("smb2-pipes.pcap")]);
    assert_eq!((checkup.result("dce_rpc"), checkup.result("dcom")), ("ok", "warn"));
    assert!(checkup.says("dcom").starts_with("no DCOM was seen"));
    let checkup = Checkup::run([pcap("mmc20-vxlan.pcap")]);
    assert!(checkup.says("wrapping").contains("vxlan"), "{:#}", checkup.page);
}

#[test]
fn what_cannot_be_read_ends_with_2_and_what_can_is_told() {
    let checkup = Checkup::run([pcap("mmc20-connect.pcap"), PathBuf::from("no-such.pcap")]);
    assert_eq!(
        (checkup.code, checkup.result("capture"), checkup.result("dcom")),
        (Some(2), "bad", "ok")
    );
    let scratch = Scratch::new();
    let text = scratch.write("text.pcap", "no capture");
    let checkup = Checkup::run([&text]);
    assert_eq!(checkup.code, Some(2));
    assert!(
        checkup.says("capture").contains("text.pcap"),
        "{}",
        checkup.says("capture")
    );
    assert!(
        !checkup.page.to_string().contains("\"frames\""),
        "of nothing there is nothing to say"
    );
}

#[test]
fn settings_that_cannot_be_used_are_bad_and_the_rest_is_looked_at() {
    let scratch = Scratch::new();
    let config = scratch.write("settings.toml", "[detect]\nfanout_target = 3\n");
    let capture = pcap("mmc20-connect.pcap");
    let checkup = Checkup::run([OsStr::new("--config"), config.as_os_str(), capture.as_os_str()]);
    assert_eq!(
        (checkup.code, checkup.result("settings"), checkup.result("dcom")),
        (Some(1), "bad", "ok")
    );
    let says = checkup.says("settings");
    assert!(
        says.contains("settings.toml:2") && says.contains("did you mean `fanout_targets`?"),
        "{says}"
    );
}

#[test]
fn people_get_lines_without_colour_unless_they_are_asked_for() {
    let of = |more: &[&str]| {
        let output = dcom_sensor()
            .arg("doctor")
            .args(more)
            .arg(pcap("mmc20-sealed.pcap"))
            .output();
        Outcome::from(output.expect("the program runs"))
    };
    let plain = of(&[]);
    assert_eq!((plain.code, plain.stderr.as_str()), (Some(0), ""));
    assert!(!plain.stdout.contains('\x1b'));
    assert!(
        plain.stdout.lines().any(|line| line.trim_start().starts_with("warn")),
        "{}",
        plain.stdout
    );
    assert!(plain.stdout.contains("→ "), "{}", plain.stdout);
    assert!(
        plain
            .stdout
            .lines()
            .last()
            .is_some_and(|line| line.ends_with("1 warning")),
        "{}",
        plain.stdout
    );
    assert!(of(&["--color", "always"]).stdout.contains("\x1b[33mwarn\x1b[0m"));
}

#[test]
fn captures_and_interfaces_are_two_things() {
    let output = dcom_sensor().args(["doctor", "-i", "lo", "x.pcap"]).output();
    let outcome = Outcome::from(output.expect("the program runs"));
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("cannot be used with"), "{}", outcome.stderr);
}

/// `doctor` on the far end, and what is sent from the near one while it listens.
fn listen(space: &Space, scratch: &Scratch, more: &[&str], send: impl FnOnce()) -> Checkup {
    let said = scratch.path("said");
    let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
    command.args(["doctor", "--json", "-i", "far", "--seconds", "5", "-o"]);
    command.arg(scratch.path("logs")).args(more);
    let child = command
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&said).expect("a file for what it says"))
        .spawn()
        .expect("the program runs");
    let says = || fs::read_to_string(&said).unwrap_or_default();
    assert!(until(|| says().contains("listening for 5 s on far")), "{}", says());
    send();
    let output = child.wait_with_output().expect("it ends");
    assert!(!scratch.path("logs").exists(), "nothing is written");
    Checkup::of(&output.into())
}

#[test]
fn a_mirror_that_shows_everything_is_well() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    // So slowly that the record is told before the connection comes that it leads to.
    let checkup = listen(&space, &scratch, &[], || {
        space.send(&pcap("mmc20-connect.pcap"), &["--rate", "30"]);
    });
    assert_eq!(checkup.code, Some(0), "{:#}", checkup.page);
    for name in [
        "rights",
        "link",
        "addresses",
        "promiscuous",
        "ring",
        "interface_drops",
        "time_stamps",
        "frames",
        "snap_length",
        "directions",
        "dce_rpc",
        "dcom",
        "dynamic_ports",
        "sealed",
        "log_folder",
    ] {
        assert_eq!(checkup.result(name), "ok", "{name} in {:#}", checkup.page);
    }
    assert!(
        checkup.says("rights").contains("libpcap "),
        "{}",
        checkup.says("rights")
    );
    assert!(
        checkup.says("jail").contains("writing to no file"),
        "{}",
        checkup.says("jail")
    );
    assert!(checkup.measured("log_folder", "a_day") > 0);
    assert!(checkup.measured("ring", "received") > 30);
}

#[test]
fn a_mirror_of_one_direction_is_bad() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let capture = altered(&scratch, "mmc20-connect.pcap", |frame| {
        to_server(frame).then_some(frame.len())
    });
    let checkup = listen(&space, &scratch, &[], || space.send(&capture, &["--rate", "100"]));
    assert_eq!(
        (checkup.code, checkup.result("directions")),
        (Some(1), "bad"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.advises("directions").contains("second -i"));
}

#[test]
fn a_mirror_of_sealed_traffic_is_warned_of() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let sealed = pcap("mmc20-sealed.pcap");
    let checkup = listen(&space, &scratch, &[], || space.send(&sealed, &["--rate", "100"]));
    assert_eq!(
        (checkup.code, checkup.result("sealed")),
        (Some(0), "warn"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.measured("sealed", "sealed_pdus") > 0);
}

#[test]
fn where_nothing_comes_that_is_bad_and_a_filter_can_be_why() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let checkup = listen(&space, &scratch, &["--bpf", "port 9"], || {
        space.send(&pcap("mmc20-connect.pcap"), &["--rate", "100"]);
    });
    assert_eq!(
        (checkup.code, checkup.result("frames")),
        (Some(1), "bad"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.advises("frames").contains("--bpf"));
}

#[test]
fn an_interface_that_is_not_there_or_down_ends_with_2() {
    let Some(space) = Space::new() else { return };
    let doctor = |name: &str| {
        let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
        let output = command
            .args(["doctor", "--json", "-i", name, "--seconds", "1"])
            .output();
        Checkup::of(&output.expect("the program runs").into())
    };
    let missing = doctor("fare");
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.advises("open").starts_with("did you mean `far`?"),
        "{}",
        missing.advises("open")
    );
    space.ip("link set far down");
    let down = doctor("far");
    assert_eq!(
        (down.code, down.result("link"), down.result("open")),
        (Some(2), "bad", "bad"),
        "{:#}",
        down.page
    );
    for name in ["link", "open"] {
        assert_eq!(down.advises(name), "ip link set far up");
    }
}

#[test]
fn whoever_may_not_capture_is_told_what_to_do() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    // Where nobody can reach it.
    let program = scratch.path("dcom-sensor");
    fs::copy(env!("CARGO_BIN_EXE_dcom-sensor"), &program).expect("the program can be copied");
    let folder = program.parent().expect("a folder");
    assert!(run(Command::new("chmod").arg("755").arg(&program).arg(folder)));
    let mut command = space.command("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program);
    command
        .args(["doctor", "--json", "-i", "far", "--seconds", "1", "-o"])
        .arg(Path::new("/root/logs"));
    let checkup = Checkup::of(&command.output().expect("the program runs").into());
    assert_eq!(
        (
            checkup.code,
            checkup.result("rights"),
            checkup.result("open"),
            checkup.result("log_folder")
        ),
        (Some(2), "bad", "bad", "bad"),
        "{:#}",
        checkup.page
    );
    assert!(checkup.advises("rights").contains("sudo"));
}

#[test]
fn the_interface_that_a_mirror_ends_at_is_found() {
    let Some(space) = Space::new() else { return };
    let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
    let child = command
        .args(["doctor", "--json", "-o", "/tmp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "100", "--times", "8"]);
    let checkup = Checkup::of(&child.wait_with_output().expect("it ends").into());
    assert_eq!(
        (checkup.code, checkup.result("mirror")),
        (Some(0), "ok"),
        "{:#}",
        checkup.page
    );
    assert_eq!(checkup.check("mirror")["subject"], "far");
    // What only frames tell is not told.
    assert_eq!(checkup.result("traffic"), "cannot_tell");
}
