//! Live capture on a veth pair in a network namespace of its own. Needs root, iproute2 and python3; where one is missing, a
//! line on standard error says that nothing was tested.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use dcom_sensor::capture::LinkType;

use crate::program::{Outcome, Scratch, capture_header, memory, pcap, record_header};
use crate::records::{Records, text};

/// A namespace with two interfaces that are connected; gone with it.
pub(crate) struct Space(String);

impl Space {
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dcom-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let steps = [
            format!("netns add {name}"),
            format!("-n {name} link add near type veth peer name far"),
            format!("-n {name} link set near mtu 9000 up"),
            format!("-n {name} link set far mtu 9000 up"),
        ];
        let space = Self(name);
        if !run(Command::new("python3").arg("--version"))
            || !steps.iter().all(|step| run(Command::new("ip").args(step.split(' '))))
        {
            let _ = writeln!(
                io::stderr(),
                "not tested: live capture needs root, `ip` with network namespaces, and python3"
            );
            return None;
        }
        Some(space)
    }

    /// Its name, for `ip`.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    pub(crate) fn ip(&self, arguments: &str) {
        assert!(
            run(Command::new("ip").args(["-n", &self.0]).args(arguments.split(' '))),
            "{arguments}"
        );
    }

    pub(crate) fn send(&self, capture: &Path, more: &[&str]) {
        let sender = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/send.py");
        let mut command = self.command("python3");
        assert!(
            run(command.args([sender, "near"]).arg(capture).args(more)),
            "the sender runs"
        );
    }

    /// Starts the sensor, and waits until it listens.
    pub(crate) fn sensor(&self, logs: &Path, more: &[&str]) -> Sensor {
        self.sensor_with(logs, more, &[])
    }

    /// The same with variables in its environment.
    fn sensor_with(&self, logs: &Path, more: &[&str], environment: &[(&str, &Path)]) -> Sensor {
        let mut command = self.live(logs, more);
        command.envs(environment.iter().copied());
        Self::start(&mut command, logs, Stdio::null())
    }

    /// The sensor, to be started.
    fn live(&self, logs: &Path, more: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_dcom-sensor"));
        command.args(["live", "--json", "-i", "far", "-o"]).arg(logs).args(more);
        command
    }

    /// Starts it, showing events there, and waits until it listens.
    fn start(command: &mut Command, logs: &Path, shown: Stdio) -> Sensor {
        let said = fs::File::create(logs.with_extension("said")).expect("a file for what it says");
        let child = command.stdout(shown).stderr(said).spawn().expect("the program runs");
        let sensor = Sensor {
            child,
            said: logs.with_extension("said"),
        };
        assert!(
            until(|| sensor.said().contains("listening on far")),
            "{}",
            sensor.said()
        );
        sensor
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        run(Command::new("ip").args(["netns", "del", &self.0]));
    }
}

pub(crate) fn run(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Waits, ten seconds at most, for something to become true.
pub(crate) fn until(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if done() {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    false
}

pub(crate) struct Sensor {
    child: Child,
    said: std::path::PathBuf,
}

impl Sensor {
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        // `ip netns exec` becomes the program: the process is the sensor itself.
        assert!(run(
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()])
        ));
    }

    /// Bytes of memory that it holds.
    fn resident(&self) -> u64 {
        memory(self.child.id(), "VmRSS")
    }

    /// Waits until it ends by itself: its exit status, and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it ends");
        (status.code(), self.said())
    }

    /// Asks it to end; what it said, and how long that took.
    pub(crate) fn end(self) -> (String, Duration) {
        self.end_with(0)
    }

    /// The same, with this exit status.
    fn end_with(mut self, code: i32) -> (String, Duration) {
        self.signal("TERM");
        let start = Instant::now();
        let status = self.child.wait().expect("it ends");
        let took = start.elapsed();
        assert_eq!(status.code(), Some(code), "{}", self.said());
        (self.said(), took)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn lines(logs: &Path, wanted: &str) -> usize {
    let text = fs::read_to_string(logs.join("eve.json")).unwrap_or_default();
    text.lines().filter(|line| line.contains(wanted)).count()
}

/// The alert of what was run.
pub(crate) const EXECUTION: &str = r#""signature_id":1021303,"#;
/// The activation's own alert.
pub(crate) const ALERT: &str = r#""signature_id":1021301,"#;

#[test]
fn an_alert_is_in_the_log_while_the_sensor_runs_and_logs_are_whole_when_it_ends() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &["--workers", "2"]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    let before = lines(&logs, r#""event_type":"stats""#);
    sensor.signal("USR1");
    assert!(until(|| lines(&logs, r#""event_type":"stats""#) == before + 1));
    // logrotate's way: move away, then HUP.
    fs::rename(logs.join("eve.json"), logs.join("eve.json.1")).expect("a log can be moved");
    sensor.signal("HUP");
    assert!(until(|| logs.join("eve.json").is_file()));
    space.send(&pcap("shellwindows-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    let (said, took) = sensor.end();
    assert!(took < Duration::from_secs(2), "it took {took:?} to end");
    assert!(said.contains("dropped 0"), "{said}");
    assert!(
        said.contains("running as") && said.contains("alone"),
        "what was given up is told: {said}"
    );
    let notice = fs::read_to_string(logs.join("notice.log")).expect("alerts as Zeek has them");
    assert!(notice.lines().any(|line| line.starts_with("#close")), "{notice}");
    let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    let alert = told.of_type("alert").next().expect("an alert");
    assert_eq!((text(&alert["in_iface"]), alert["pcap_cnt"].is_null()), ("far", true));
}

#[test]
fn a_connection_is_told_when_it_was_let_go_and_when_the_sensor_ends() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &["--workers", "2"]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    // Both connections are closed, and then silent.
    assert!(
        until(|| lines(&logs, r#""reason":"timeout","alerted":true"#) == 2),
        "{}",
        sensor.said()
    );
    space.send(&pcap("mmc20-midstream.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, r#""src_port":58678,"#) > 0), "{}", sensor.said());
    sensor.end();
    let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    let ended: Vec<_> = told.of_type("flow").collect();
    assert!(ended.len() > 2, "{ended:?}");
    for (number, flow) in ended.iter().enumerate() {
        assert_eq!((text(&flow["in_iface"]), flow["pcap_cnt"].is_null()), ("far", true));
        let reason = if number < 2 { "timeout" } else { "shutdown" };
        assert_eq!(flow["flow"]["reason"], reason, "{flow}");
        assert!(flow["flow"]["pkts_toserver"].as_u64() > Some(0));
    }
    let (last, first) = (told.all().last(), ended[0]);
    assert_eq!(last.map(|record| text(&record["event_type"])), Some("stats"));
    assert_eq!(
        (&first["flow"]["state"], &first["tcp"]["state"]),
        (&"closed".into(), &"closed".into())
    );
}

#[test]
fn an_object_that_nobody_calls_is_told_after_a_while() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let settings = scratch.path("settings.toml");
    fs::write(&settings, "[detect]\nno_call_patience = 2\n").expect("settings");
    let sensor = space.sensor(&logs, &["--config", &settings.to_string_lossy()]);
    run(Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(settings.parent().expect("a folder")));
    space.send(&pcap("trigger-no-call.pcap"), &["--rate", "500"]);
    assert!(
        until(|| lines(&logs, r#""dcom":{"kind":"activation""#) > 0),
        "{}",
        sensor.said()
    );
    // As logrotate does each day: what waits goes on waiting.
    sensor.signal("HUP");
    assert!(until(|| sensor.said().contains("read again")), "{}", sensor.said());
    assert_eq!(lines(&logs, r#""signature_id":1021310,"#), 0);
    assert!(
        until(|| lines(&logs, r#""signature_id":1021310,"#) == 1),
        "{}",
        sensor.said()
    );
    sensor.end();
}

#[test]
fn verbose_explains_an_alert_below_its_line() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let (said, printed) = (scratch.path("said"), scratch.path("printed"));
    let file = |path| fs::File::create(path).expect("a file for what it says");
    let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
    command
        .args(["live", "--verbose", "-i", "far", "-o"])
        .arg(scratch.path("logs"));
    let child = command.stdout(file(&printed)).stderr(file(&said)).spawn();
    let sensor = Sensor {
        child: child.expect("the program runs"),
        said,
    };
    assert!(
        until(|| sensor.said().contains("listening on far")),
        "{}",
        sensor.said()
    );
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    let printed = || fs::read_to_string(&printed).unwrap_or_default();
    assert!(
        until(|| printed().contains("dcom-sensor --explain 1021301\n")),
        "{}",
        printed()
    );
    sensor.end();
    let printed = printed();
    let (alert, explained) = printed.split_once('\n').expect("lines");
    assert!(
        alert.contains(" critical ") && alert.contains("MMC20.Application"),
        "{alert}"
    );
    for part in [
        "  evidence    class: ",
        "; the catalogue gives an activation of MMC20.Application",
    ] {
        assert!(explained.contains(part), "{part}: {printed}");
    }
}

#[test]
fn what_a_host_logs_after_an_alert_confirms_it() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let log = scratch.write("host.ndjson", "");
    is_confirmed(
        &space,
        &scratch,
        &["--host-logs", log.to_str().expect("text")],
        |event| {
            // In two pieces.
            let mut file = fs::OpenOptions::new().append(true).open(&log).expect("the log");
            let (first, second) = event.split_at(60);
            file.write_all(first.as_bytes()).expect("a part");
            sleep(Duration::from_millis(600));
            writeln!(file, "{second}").expect("the rest");
        },
    );
}

#[test]
fn what_a_host_sends_after_an_alert_confirms_it() {
    let Some(space) = Space::new() else { return };
    space.ip("link set lo up");
    let scratch = Scratch::new();
    is_confirmed(&space, &scratch, &["--listen", "127.0.0.1:6514"], |event| {
        // RFC 5424, with its length before it (RFC 6587).
        let message = format!("<13>1 2026-11-26T00:00:00Z dcomsrv01 Sysmon - - - {event}");
        let program = "import socket, sys; s = socket.create_connection(('127.0.0.1', 6514)); \
             m = sys.argv[1].encode(); s.sendall(str(len(m)).encode() + b' ' + m); s.close()";
        assert!(
            run(space.command("python3").args(["-c", program, &message])),
            "it listens"
        );
    });
}

/// An execution is told at once, and confirmed when its host's event is brought a moment later.
fn is_confirmed(space: &Space, scratch: &Scratch, options: &[&str], bring: impl FnOnce(&str)) {
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[options, &["--host-window", "60"]].concat());
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, EXECUTION) == 1), "{}", sensor.said());
    let eve = || Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    let told = eve();
    let mut alerts = told.of_type("alert");
    let alert = alerts
        .find(|it| it["alert"]["signature_id"] == 1_021_303)
        .expect("the execution");
    assert!(alert["dcom"]["host"].is_null(), "it does not wait");
    // What Sysmon would write a moment later.
    let (time, line) = (text(&alert["timestamp"]), text(&alert["dcom"]["command_line"]));
    let utc = time.get(..23).expect("a time").replace('T', " ");
    let event = serde_json::json!({
        "EventID": 1,
        "SourceName": "Microsoft-Windows-Sysmon",
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Hostname": "dcomsrv01.lab.example",
        "UtcTime": utc,
        "ProcessId": "4242",
        "Image": "C:\\Windows\\System32\\cmd.exe",
        "CommandLine": format!("C:\\Windows\\System32\\{line}"),
        "ParentProcessId": "4141",
        "ParentImage": "C:\\Windows\\System32\\mmc.exe",
        "ParentCommandLine": "C:\\Windows\\System32\\mmc.exe -Embedding",
        "User": "LAB\\alice",
    });
    bring(&event.to_string());
    let confirmed = r#""kind":"host_confirmation""#;
    assert!(until(|| lines(&logs, confirmed) > 0), "{}", sensor.said());
    let told = eve();
    let confirmation = told
        .dcom("host_confirmation")
        .into_iter()
        .find(|it| it["dcom"]["host"]["alert"]["signature_id"] == 1_021_303);
    let confirmation = confirmation.expect("of the execution");
    for key in ["timestamp", "flow_id", "community_id"] {
        assert_eq!(confirmation[key], alert[key], "{key}");
    }
    let host = &confirmation["dcom"]["host"];
    assert_eq!(
        (&host["verdict"], &host["process"]["pid"]),
        (&"confirmed".into(), &4242.into()),
        "{host:#}"
    );
    sensor.signal("USR1");
    assert!(until(|| lines(&logs, r#""confirmed":1"#) > 0), "it is counted");
    sensor.end();
}

#[test]
fn logs_are_put_away_compressed_and_nothing_is_lost_between_them() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    // A mebibyte of an earlier run that was killed: its logs go on, and are over at once.
    let earlier = "{\"event_type\":\"alert\",\"dcom\":{}}\n";
    let killed = space.sensor(&logs, &[]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    let log = || fs::read_to_string(logs.join("dcom.log")).unwrap_or_default();
    assert!(until(|| log().matches('\n').count() > 8), "{}", killed.said());
    drop(killed);
    let (text, row) = (log(), format!("{}\n", log().lines().last().expect("a row")));
    fs::write(logs.join("eve.json"), earlier.repeat((1 << 20) / earlier.len() + 1)).expect("a log");
    fs::write(logs.join("dcom.log"), text + &row.repeat((1 << 20) / row.len() + 1)).expect("a log");
    let sensor = space.sensor(&logs, &["--rotate-size", "1", "--logs", "eve,zeek"]);
    let compressed = |stem: &str| {
        let begins = |path: &std::path::PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(stem))
        };
        let entries = fs::read_dir(&logs).expect("the folder can be listed");
        let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
        paths
            .filter(|path| begins(path) && path.extension().is_some_and(|ending| ending == "zst"))
            .collect::<Vec<_>>()
    };
    let whole = |stem: &str| {
        let read = |path: &std::path::PathBuf| zstd::stream::decode_all(fs::File::open(path).ok()?).ok();
        let texts: Vec<_> = compressed(stem).iter().filter_map(read).collect();
        String::from_utf8(texts.concat()).expect("text")
    };
    let count = || whole("eve-").lines().filter(|&line| line == earlier.trim_end()).count();
    assert!(until(|| count() == (1 << 20) / earlier.len() + 1), "{}", sensor.said());
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    // With the first row that log is open, and over.
    assert!(until(|| !whole("dcom-").is_empty()), "{}", sensor.said());
    let ended = whole("dcom-");
    assert!(
        ended.lines().last().is_some_and(|line| line.starts_with("#close\t")),
        "it is ended before it is compressed"
    );
    let alerts = || whole("eve-").matches(ALERT).count() + lines(&logs, ALERT);
    assert!(until(|| alerts() == 1), "nothing is lost between two logs");
    sensor.end();
}

#[test]
fn a_zeek_log_has_one_head_and_one_end_whatever_opens_it_anew() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let (logs, config) = (scratch.path("logs"), scratch.path("settings.toml"));
    let forms = |forms: &str| fs::write(&config, format!("[output]\nlogs = [{forms}]\n")).expect("a file");
    let put_away = || {
        let entries = fs::read_dir(&logs).expect("the folder can be listed");
        let names = entries.map(|entry| entry.expect("the folder can be listed").file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("notice-"))
            .count()
    };
    forms("\"eve\", \"zeek\"");
    run(Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(config.parent().expect("a folder")));
    let options = ["--config", config.to_str().expect("a path"), "--compress", "none"];
    let sensor = space.sensor(&logs, &options);
    let reload = |times: usize| {
        sensor.signal("HUP");
        let read = || sensor.said().matches("settings and catalogue read again").count() == times;
        assert!(until(read), "{}", sensor.said());
    };
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    reload(1);
    space.send(&pcap("shellwindows-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 2), "{}", sensor.said());
    assert_eq!(put_away(), 0, "it goes on");
    // Another form cannot go on with it, and back again.
    forms("\"eve\", \"zeek-json\"");
    reload(2);
    assert_eq!(put_away(), 1, "{}", sensor.said());
    space.send(&pcap("excel-macro4.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 3), "{}", sensor.said());
    forms("\"eve\", \"zeek\"");
    reload(3);
    assert_eq!(put_away(), 2, "{}", sensor.said());
    space.send(&pcap("excel-registerxll.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 4), "{}", sensor.said());
    sensor.end();
    // Nor can the next run.
    let sensor = space.sensor(&logs, &options);
    space.send(&pcap("mmc20-powershell.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 5), "{}", sensor.said());
    let (said, _) = sensor.end();
    assert!(
        said.contains("notice.log") && said.contains(": nothing can be added"),
        "{said}"
    );
    assert_eq!(put_away(), 3, "{said}");
    let mut rows = 0;
    for entry in fs::read_dir(&logs).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        let text = fs::read_to_string(&path).expect("text");
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with("notice")) {
            rows += text.lines().filter(|line| !line.starts_with('#')).count();
        }
        if path.extension().is_none_or(|ending| ending != "log") || text.starts_with('{') {
            continue;
        }
        let heads = text.lines().filter(|line| line.starts_with("#separator")).count();
        let ends = text.matches("\n#close\t").count();
        assert_eq!((heads, ends), (1, 1), "{}", path.display());
        assert!(text.starts_with('#') && text.lines().last().is_some_and(|line| line.starts_with("#close")));
    }
    let alerts = lines(&logs, r#""event_type":"alert""#);
    assert!(alerts >= 5 && rows == alerts, "{rows} of {alerts}");
}

#[test]
fn an_interface_that_goes_down_and_comes_up_is_listened_to_again() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[]);
    space.ip("link set far down");
    assert!(until(|| sensor.said().contains("waiting for it")), "{}", sensor.said());
    space.ip("link set far up");
    sleep(Duration::from_millis(1_500));
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    let (said, _) = sensor.end();
    assert!(said.contains("listening again"), "{said}");
}

#[test]
fn an_interface_that_was_moved_away_is_gone_though_it_comes_back() {
    let (Some(space), Some(other)) = (Space::new(), Space::new()) else {
        return;
    };
    other.ip("link del far");
    let scratch = Scratch::new();
    let sensor = space.sensor(&scratch.path("logs"), &[]);
    space.ip(&format!("link set far netns {}", other.name()));
    other.ip("link set far up");
    other.ip(&format!("link set far netns {}", space.name()));
    space.ip("link set far up");
    let (code, said) = sensor.ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("far: the interface is gone"), "{said}");
    assert!(said.contains("no interface is left"), "{said}");
}

#[test]
fn settings_are_read_again_and_bad_ones_change_nothing() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let (logs, config) = (scratch.path("logs"), scratch.path("settings.toml"));
    fs::write(&config, "").expect("a file");
    // A name in another folder leads to it.
    let link = scratch.path("named").join("settings.toml");
    fs::create_dir(scratch.path("named")).expect("a folder");
    symlink(&config, &link).expect("a link");
    // What it becomes can still read its settings.
    run(Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(config.parent().expect("a folder")));
    let sensor = space.sensor(&logs, &["--config", link.to_str().expect("a path")]);
    // Another one would write to the same logs.
    let other = Outcome::from(space.live(&logs, &[]).output().expect("the program runs"));
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(other.stderr.contains("another sensor that listens"), "{}", other.stderr);
    fs::write(&config, "[detect]\nno_such_key = 1\n").expect("a file");
    sensor.signal("HUP");
    assert!(
        until(|| sensor.said().contains("stay as they were")),
        "{}",
        sensor.said()
    );
    assert!(
        sensor.said().contains("settings.toml:2") && sensor.said().contains("no_such_key"),
        "file, line and cause are told: {}",
        sensor.said()
    );
    fs::remove_file(&config).expect("it can be removed");
    assert!(run(Command::new("mkfifo").args(["-m", "666"]).arg(&config)));
    sensor.signal("HUP");
    assert!(
        until(|| sensor.said().contains("settings.toml: is no file")),
        "nobody is waited for who would write to a pipe: {}",
        sensor.said()
    );
    fs::remove_file(&config).expect("it can be removed");
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    fs::write(&config, "[[allow]]\ncomment = \"the lab\"\nsource = \"192.0.2.0/24\"\n").expect("a file");
    sensor.signal("HUP");
    assert!(until(|| sensor.said().contains("read again")), "{}", sensor.said());
    space.send(&pcap("shellwindows-connect.pcap"), &["--rate", "500"]);
    assert!(
        until(|| lines(&logs, r#""class":"ShellWindows""#) > 0),
        "the record is written all the same: {}",
        sensor.said()
    );
    sensor.end();
    assert_eq!(lines(&logs, ALERT), 1, "the second alert is allowed");
}

#[test]
fn a_folder_that_root_may_not_open_has_one_sensor_too() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    fs::create_dir(&logs).expect("a folder");
    assert!(run(Command::new("chown").arg("nobody").arg(&logs)));
    assert!(run(Command::new("chmod").arg("700").arg(&logs)));
    // As in a container: root has no rights over others' files.
    let sensor = || {
        let mut command = space.command("setpriv");
        let rights = "-all,+net_raw,+net_admin,+setuid,+setgid,+chown";
        command.args([
            "--bounding-set",
            rights,
            "--inh-caps",
            "-all",
            env!("CARGO_BIN_EXE_dcom-sensor"),
        ]);
        command
            .args(["live", "-q", "--user", "nobody", "-i", "far", "-o"])
            .arg(&logs);
        command
    };
    let first = Space::start(&mut sensor(), &logs, Stdio::null());
    let other = Outcome::from(sensor().output().expect("the program runs"));
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(other.stderr.contains("another sensor that listens"), "{}", other.stderr);
    first.end();
    // What another program keeps there is refused as well.
    fs::remove_file(logs.join("eve.json")).expect("a log");
    fs::write(logs.join("eve.json"), "{\"event_type\":\"flow\"}\n").expect("a log");
    let other = Outcome::from(sensor().output().expect("the program runs"));
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(
        other.stderr.contains("is not a log of this program"),
        "{}",
        other.stderr
    );
}

#[test]
fn a_sensor_that_has_not_begun_ends_when_it_is_told_to() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    // What the system's library makes the best of for minutes.
    let terms: Vec<_> = (0..4_000)
        .map(|host| format!("host 10.0.{}.{}", host / 250, host % 250))
        .collect();
    let mut command = space.live(&scratch.path("logs"), &["--bpf", &terms.join(" or ")]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let listens_for_term = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
        caught
            .and_then(|caught| u64::from_str_radix(caught, 16).ok())
            .is_some_and(|caught| caught & 1 << 14 != 0)
    };
    assert!(until(listens_for_term), "it has begun to begin");
    sleep(Duration::from_millis(300));
    assert!(run(Command::new("kill").arg(child.id().to_string())));
    let mut ended = None;
    let is_over = until(|| {
        ended = child.try_wait().expect("it can be asked");
        ended.is_some()
    });
    let _ = child.kill();
    assert!(is_over, "it ends");
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

/// Whose it is.
fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").uid()
}

#[test]
fn what_others_keep_in_a_folder_stays_theirs() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let (etc, logs, kept) = (scratch.path("etc"), scratch.path("logs"), scratch.path("kept"));
    fs::create_dir_all(etc.join("ssh")).expect("a folder");
    fs::write(etc.join("shadow"), "secret").expect("a file");
    let baseline = etc.join("baseline");
    for (logs, more) in [
        (&etc, &[][..]),
        (&logs, &["--baseline", baseline.to_str().expect("a path")]),
    ] {
        let run = Outcome::from(space.live(logs, more).output().expect("the program runs"));
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        for part in [
            "etc: ",
            " cannot write there",
            "more than the sensor's own files",
            "\nhint: ",
        ] {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
        for path in [&etc, &etc.join("shadow"), &etc.join("ssh")] {
            assert_eq!(owner(path), 0, "{}", path.display());
        }
    }
    // So do logs of other programs, whatever they are called: as one of ours, they are in the way.
    let theirs = scratch.path("suricata");
    fs::create_dir(&theirs).expect("a folder");
    fs::write(theirs.join("eve.json"), "{\"event_type\":\"dns\"}\n").expect("a log");
    for (forms, why) in [
        ("eve", "eve.json: is not a log of this program"),
        ("zeek", "more than the sensor's own files: eve.json"),
    ] {
        let run = Outcome::from(
            space
                .live(&theirs, &["--logs", forms])
                .output()
                .expect("the program runs"),
        );
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
        assert_eq!((owner(&theirs), owner(&theirs.join("eve.json"))), (0, 0));
    }
    // What an earlier run as root left is the sensor's own; a link to what is not leads nowhere.
    fs::create_dir(&kept).expect("a folder");
    fs::create_dir(logs.join("faults")).expect("a folder");
    for own in ["eve.json", "notice.log.1.gz", "faults/1-0-7.pcap"] {
        fs::write(logs.join(own), "").expect("a file");
    }
    symlink(etc.join("shadow"), logs.join("dcom.log.1")).expect("a link");
    let baseline = kept.join("baseline");
    let sensor = space.sensor(&logs, &["--baseline", baseline.to_str().expect("a path")]);
    for path in [
        "logs",
        "logs/eve.json",
        "logs/notice.log.1.gz",
        "logs/faults/1-0-7.pcap",
        "kept",
    ] {
        assert_ne!(owner(&scratch.path(path)), 0, "{path}");
    }
    assert_eq!((owner(&etc.join("shadow")), owner(&logs.join("dcom.log.1"))), (0, 0));
    let (said, _) = sensor.end();
    assert!(said.contains("who was given "), "{said}");
    let alone = format!("; writing to {} and {} alone", logs.display(), kept.display());
    assert!(said.contains(&alone), "{said}");
    assert!(baseline.is_file(), "{said}");
}

#[test]
fn what_cannot_be_shown_stops_nothing_and_is_told() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let sensor = Space::start(&mut space.live(&logs, &[]), &logs, full.into());
    for capture in ["mmc20-connect.pcap", "shellwindows-connect.pcap"] {
        space.send(&pcap(capture), &["--rate", "500"]);
    }
    assert!(until(|| lines(&logs, ALERT) == 2), "{}", sensor.said());
    let (said, _) = sensor.end_with(2);
    assert_eq!(said.matches("standard output: No space left").count(), 1, "{said}");
    assert!(said.contains(" events were not shown"), "{said}");
}

#[test]
fn who_reads_nothing_holds_up_nothing() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let mut command = space.live(&logs, &[]);
    let also = writer.try_clone().expect("a pipe");
    command.stdout(writer.try_clone().expect("a pipe")).stderr(also);
    let sensor = Sensor {
        child: command.spawn().expect("the program runs"),
        said: logs.with_extension("said"),
    };
    drop(command);
    let mut said = String::new();
    while !said.contains("listening on far") {
        let mut bytes = [0; 4096];
        let count = reader.read(&mut bytes).expect("it says something");
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    // Another program fills what both streams lead to.
    let filling = spawn(move || while writer.write(&[b'.'; 4096]).is_ok() {});
    sleep(Duration::from_millis(300));
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "it is logged");
    sensor.signal("HUP");
    let (_, took) = sensor.end_with(2);
    assert!(took < Duration::from_secs(2), "it took {took:?} to end");
    drop(reader);
    filling.join().expect("it ends");
}

#[test]
fn a_closed_pipe_ends_the_sensor_with_its_logs() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut sensor = Space::start(&mut space.live(&logs, &[]), &logs, writer.into());
    drop(reader);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(
        until(|| matches!(sensor.child.try_wait(), Ok(Some(status)) if status.code() == Some(0))),
        "{}",
        sensor.said()
    );
    let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    assert_eq!(
        told.all().last().map(|record| text(&record["event_type"])),
        Some("stats")
    );
}

/// A small disk, if there is leave to mount one.
fn disk(scratch: &Scratch) -> Option<Mounted> {
    let disk = scratch.path("disk");
    fs::create_dir(&disk).expect("a folder");
    if !run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&disk))
    {
        let _ = writeln!(io::stderr(), "not tested: a full disk needs leave to mount a small one");
        return None;
    }
    Some(Mounted(disk))
}

#[test]
fn what_a_full_disk_costs_in_the_end_is_counted_and_no_line_is_torn() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let Some(mounted) = disk(&scratch) else { return };
    let (logs, filling) = (mounted.0.join("logs"), mounted.0.join("filling"));
    let sensor = space.sensor(&logs, &["--logs", "eve"]);
    // Whatever is left of it is taken, but for one page: less than what is to be written.
    let _ = fs::write(&filling, vec![0; 512 << 10]);
    let file = fs::OpenOptions::new().write(true).open(&filling).expect("a file");
    let length = file.metadata().expect("a file").len();
    file.set_len((length - 1) / 4_096 * 4_096)
        .expect("a file becomes shorter");
    drop(file);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| sensor.said().contains("is held back")), "{}", sensor.said());
    let torn = fs::read(logs.join("eve.json")).expect("a log");
    assert!(!torn.is_empty() && !torn.ends_with(b"\n"), "part of a line found room");
    let (said, _) = sensor.end_with(2);
    let counted = said.lines().any(|line| {
        line.contains("eve.json: No space left")
            && (line.contains(" lines of it are lost") || line.contains("; a line of"))
    });
    assert!(counted, "{said}");
    let whole = |when: &str| {
        let text = fs::read_to_string(logs.join("eve.json")).expect("a log");
        assert!(text.is_empty() || text.ends_with('\n'), "{when}: {text}");
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
            "{when}: {text}"
        );
    };
    whole("at the end");
    // One that was killed in the middle of a line leaves it so.
    fs::remove_file(&filling).expect("it can be removed");
    let mut text = fs::read_to_string(logs.join("eve.json")).expect("a log");
    text.push_str("{\"event_type\":\"stats\"}\n{\"event_type\":\"al");
    fs::write(logs.join("eve.json"), text).expect("a log");
    let (said, _) = space.sensor(&logs, &["--logs", "eve"]).end();
    assert!(
        said.contains("eve.json: its last line was not written to its end"),
        "{said}"
    );
    whole("after another run");
}

#[test]
fn logs_that_cannot_be_opened_anew_now_are_when_there_is_room() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let Some(mounted) = disk(&scratch) else { return };
    let (logs, filling) = (mounted.0.join("logs"), mounted.0.join("filling"));
    let sensor = space.sensor(&logs, &["--logs", "eve"]);
    let _ = fs::write(&filling, vec![0; 512 << 10]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| sensor.said().contains("is held back")), "{}", sensor.said());
    fs::rename(logs.join("eve.json"), logs.join("eve.json.1")).expect("a log can be moved");
    sensor.signal("HUP");
    assert!(until(|| sensor.said().contains("read again")), "{}", sensor.said());
    assert!(
        sensor.said().contains("logs will be opened anew") && !sensor.said().contains("logs opened anew"),
        "{}",
        sensor.said()
    );
    fs::remove_file(&filling).expect("it can be removed");
    assert!(
        until(|| sensor.said().contains("logs opened anew")),
        "{}",
        sensor.said()
    );
    let moved = fs::read_to_string(logs.join("eve.json.1")).expect("a log");
    assert!(moved.contains(ALERT), "{moved}");
    space.send(&pcap("shellwindows-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    sensor.end();
}

#[test]
fn logs_that_cannot_be_opened_anew_are_not_said_to_be() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[]);
    // logrotate's `create 0640 root adm`.
    fs::rename(logs.join("eve.json"), logs.join("eve.json.1")).expect("a log can be moved");
    fs::write(logs.join("eve.json"), "").expect("a log");
    fs::set_permissions(logs.join("eve.json"), fs::Permissions::from_mode(0o640)).expect("a log");
    sensor.signal("HUP");
    assert!(until(|| sensor.said().contains("read again")), "{}", sensor.said());
    let said = sensor.said();
    for part in [
        "eve.json: Permission denied",
        "stay open\nhint: ",
        "\ndcom-sensor: settings and catalogue read again",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // A folder that is another one of the same name is none that it may write to.
    fs::remove_dir_all(&logs).expect("the folder can be removed");
    assert!(
        until(|| sensor.said().contains(".json: removed while it was open")),
        "{}",
        sensor.said()
    );
    fs::create_dir(&logs).expect("a folder");
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o777)).expect("a folder");
    sensor.signal("HUP");
    assert!(
        until(|| sensor.said().matches("settings and catalogue read again").count() == 2),
        "{}",
        sensor.said()
    );
    let (said, _) = sensor.end_with(2);
    assert!(!said.contains("logs opened anew"), "{said}");
    assert!(said.contains("until the sensor is started anew"), "{said}");
    assert!(said.contains(" events could not be written"), "{said}");
}

#[test]
fn what_a_running_sensor_cannot_take_up_is_named() {
    let Some(space) = Space::new() else { return };
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let (logs, config) = (scratch.path("logs"), scratch.path("settings.toml"));
    fs::write(&config, "").expect("a file");
    let catalogue = elsewhere.write("more.toml", "");
    let sensor = space.sensor(&logs, &["--config", config.to_str().expect("a path")]);
    let settings = "[host]\nwindow = 5\n[output]\ncommunity_id_seed = 7\nlog_dir = \"there\"\nlogs = [\"ecs\"]\n";
    fs::write(&config, settings).expect("a file");
    sensor.signal("HUP");
    assert!(until(|| sensor.said().contains("read again")), "{}", sensor.said());
    // Where logs are is what --log-dir says.
    let named =
        "dcom-sensor: [host] window, [output] community_id_seed changed: that holds from the next start on\nhint: ";
    assert!(sensor.said().contains(named), "{}", sensor.said());
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    let ecs = || fs::read_to_string(logs.join("ecs.json")).unwrap_or_default();
    assert!(until(|| ecs().contains("1021301")), "{}", sensor.said());
    assert_eq!(lines(&logs, ALERT), 0, "eve.json is over");
    fs::write(&config, format!("[catalog]\nfiles = [{catalogue:?}]\n")).expect("a file");
    sensor.signal("HUP");
    assert!(
        until(|| sensor.said().contains("stay as they were")),
        "{}",
        sensor.said()
    );
    for part in [
        "more.toml: Permission denied",
        "\nhint: a running sensor can read no folder but",
    ] {
        assert!(sensor.said().contains(part), "{part}: {}", sensor.said());
    }
    sensor.end();
}

#[test]
fn a_full_disk_delays_logs_and_costs_no_alert() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let Some(mounted) = disk(&scratch) else { return };
    let (logs, filling) = (mounted.0.join("logs"), mounted.0.join("filling"));
    let sensor = space.sensor(&logs, &["--logs", "eve"]);
    // Whatever is left of it is taken.
    let _ = fs::write(&filling, vec![0; 512 << 10]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| sensor.said().contains("is held back")), "{}", sensor.said());
    assert_eq!(lines(&logs, ALERT), 0, "there is no room");
    fs::remove_file(&filling).expect("it can be removed");
    assert!(
        until(|| sensor.said().contains("logs are written again")),
        "{}",
        sensor.said()
    );
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    sensor.end();
    let text = fs::read_to_string(logs.join("eve.json")).expect("a log");
    let told = Records::parse(&text);
    assert_eq!(
        told.of_type("stats").last().expect("counters")["dcom"]["emit"]["unwritten"],
        0
    );
    drop(mounted);
}

/// A file system, taken away in the end.
pub(crate) struct Mounted(pub(crate) std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[test]
fn counters_of_each_worker_and_health_are_told_and_privileges_are_gone() {
    let Some(space) = Space::new() else { return };
    space.ip("link set lo up");
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let notified = scratch.path("notified");
    let socket = UnixDatagram::bind(&notified).expect("a socket");
    run(Command::new("chmod").args(["a+rwX"]).arg(&notified));
    let sensor = space.sensor_with(
        &logs,
        &["--workers", "2", "--metrics", "127.0.0.1:9477"],
        &[("NOTIFY_SOCKET", &notified)],
    );
    // systemd is told that it is ready, and that it is alive.
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    let mut heard = String::new();
    while !(heard.contains("READY=1") && heard.contains("WATCHDOG=1")) {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("it says that it is ready and alive");
        heard.push_str(&String::from_utf8_lossy(&message[..length]));
    }
    let ask = |page: &str| {
        let program = "import sys, urllib.request as r\n\
             try: a = r.urlopen('http://127.0.0.1:9477/' + sys.argv[1]); print(a.status, a.read().decode())\n\
             except r.HTTPError as e: print(e.code, e.read().decode())";
        let output = space.command("python3").args(["-c", program, page]).output();
        String::from_utf8(output.expect("python3 runs").stdout).expect("text")
    };
    // Before anything was counted.
    let begin = ask("metrics");
    assert!(begin.contains("\ndcom_sensor_decoder_pkts_total 0\n"), "{begin}");
    let status = fs::read_to_string(format!("/proc/{}/status", sensor.child.id())).expect("it runs");
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(of("Uid:").iter().all(|uid| uid != "0"), "it is not root: {status}");
    assert_eq!(
        (of("CapEff:"), of("NoNewPrivs:")),
        (vec!["0".repeat(16)], vec!["1".to_owned()])
    );
    assert_eq!(of("Seccomp:"), ["2"], "system calls are filtered: {status}");
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    sensor.signal("USR1");
    let packets = |text: &str| -> u64 {
        let counts = text
            .lines()
            .filter(|line| line.starts_with("dcom_sensor_worker_decoder_pkts_total{"));
        counts
            .filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok())
            .sum()
    };
    assert!(until(|| packets(&ask("metrics?of=all")) > 10), "{}", ask("metrics"));
    // Workers have the numbers that they have in the logs.
    for (number, there) in [("0", false), ("1", true), ("2", true), ("3", false)] {
        assert_eq!(
            ask("metrics").contains(&format!("{{worker=\"{number}\"}}")),
            there,
            "{number}"
        );
    }
    assert!(ask("health").starts_with("200 ok"), "{}", ask("health"));
    space.ip("link set far down");
    assert!(until(|| sensor.said().contains("waiting for it")), "{}", sensor.said());
    sensor.signal("USR1");
    assert!(
        until(|| ask("health").starts_with("503 far is down")),
        "{}",
        ask("health")
    );
    sensor.end();
    let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    let last = &told.of_type("stats").last().expect("counters")["stats"];
    let count = |thread: &str| last["threads"][thread]["decoder"]["pkts"].as_u64().expect("a counter");
    // What is neither TCP nor UDP never reaches a worker.
    assert_eq!(count("W#01") + count("W#02"), last["decoder"]["tcp"], "{last}");
    assert_eq!(last["threads"]["RX#01-far"]["capture"]["kernel_drops"], 0, "{last}");
    for log in ["stats.log", "capture_loss.log"] {
        let text = fs::read_to_string(logs.join(log)).expect("a log");
        for peer in ["dcom-sensor", "worker-1", "worker-2"] {
            assert!(
                text.lines().any(|line| line.split('\t').any(|cell| cell == peer)),
                "{log}: {text}"
            );
        }
    }
}

#[test]
fn the_rings_of_an_interface_share_its_frames_and_tell_what_one_tells() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let capture = pcap("mmc20-many-targets.pcap");
    let alerts = |records: &Records| -> Vec<String> {
        let about = |alert: &serde_json::Value| {
            let [number, source, target] = [&alert["alert"]["signature_id"], &alert["src_ip"], &alert["dest_ip"]];
            format!("{number} {source} {target}")
        };
        let mut alerts: Vec<_> = records.of_type("alert").map(about).collect();
        alerts.sort();
        alerts
    };
    let told = |logs: &Path| Records::parse(&fs::read_to_string(logs.join("eve.json")).unwrap_or_default());
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &["--workers", "2", "--rings", "2"]);
    space.send(&capture, &["--rate", "2000"]);
    let expected = alerts(&Records::of(&capture));
    assert!(expected.len() > 4);
    // The last line of a log may still be on its way: it is no JSON then.
    assert!(
        until(|| lines(&logs, "\"event_type\":\"alert\"") >= expected.len()),
        "{}",
        sensor.said()
    );
    sensor.end();
    let records = told(&logs);
    assert_eq!(alerts(&records), expected);
    let last = &records.of_type("stats").last().expect("counters")["stats"];
    let of = |ring: &str| {
        last["threads"][ring]["capture"]["kernel_packets"]
            .as_u64()
            .expect("a counter")
    };
    let rings = [of("RX#01-far"), of("RX#02-far")];
    assert!(rings.iter().all(|&frames| frames > 0), "{last}");
    assert_eq!(rings[0] + rings[1], last["capture"]["kernel_packets"], "{last}");
}

#[test]
fn sensors_in_containers_take_no_frames_from_one_another() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = ["logs", "more"].map(|name| scratch.path(name));
    // Each is the first process of its own namespace, as in a container.
    let sensors = logs.each_ref().map(|logs| {
        let mut command = space.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_dcom-sensor")]);
        command.args(["live", "--json", "--allow-root", "--rings", "2", "-i", "far", "-o"]);
        Space::start(command.arg(logs), logs, Stdio::null())
    });
    let capture = pcap("mmc20-many-targets.pcap");
    space.send(&capture, &["--rate", "2000"]);
    let alerts = Records::of(&capture).of_type("alert").count();
    for (logs, sensor) in logs.iter().zip(&sensors) {
        assert!(
            until(|| lines(logs, r#""event_type":"alert""#) == alerts),
            "{}",
            sensor.said()
        );
    }
}

#[test]
fn what_comes_while_rings_are_opened_is_read_once() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let capture = scratch.path("many.pcap");
    fs::write(&capture, from_many_sources(&pcap("mmc20-connect.pcap"), 1_000)).expect("a capture");
    let sender = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/send.py");
    let mut sending = space.command("python3");
    sending.args([sender, "near"]).arg(&capture).args(["--rate", "10000"]);
    let mut sending = sending.stdout(Stdio::null()).spawn().expect("the sender runs");
    let sensor = space.sensor(&logs, &["--rings", "8"]);
    let status = sending.wait().expect("the sender ends");
    assert!(status.success());
    assert!(until(|| lines(&logs, ALERT) > 0), "{}", sensor.said());
    sensor.end();
    let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
    let last = told.of_type("stats").last().expect("counters");
    assert_eq!(last["dcom"]["flow"]["copies"], 0, "{last}");
    // Also where the sensor was told to end before it had looked at all.
    let count = |group: &str, name: &str| last["stats"][group][name].as_u64().expect("a counter");
    let received = count("decoder", "pkts") + count("capture", "kernel_drops");
    assert_eq!(received, count("capture", "kernel_packets"), "{last}");
}

/// A capture again and again, each time from another source: two words of its address change such that no checksum does.
fn from_many_sources(capture: &Path, times: u16) -> Vec<u8> {
    let whole = fs::read(capture).expect("a capture");
    let (head, frames) = whole.split_at(24);
    let mut many = head.to_vec();
    for more in 0..times {
        let source = [0xc000 - more, 0x0214 + more].map(u16::to_be_bytes).concat();
        let mut frames = frames;
        while let Some((head, rest)) = frames.split_at_checked(16) {
            let length = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
            let (frame, rest) = rest.split_at(length as usize);
            let mut frame = frame.to_vec();
            for address in [26..30, 30..34] {
                if frame[address.clone()] == [192, 0, 2, 20] {
                    frame[address].copy_from_slice(&source);
                }
            }
            many.extend(head);
            many.extend(frame);
            frames = rest;
        }
    }
    many
}

#[test]
fn nobody_goes_on_as_root_unasked() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
    command.args(["live", "-i", "far", "--user", "root", "-o"]).arg(&logs);
    let run = Outcome::from(command.output().expect("the program runs"));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("--allow-root"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_listened_on_ends_with_2_and_a_hint() {
    let output = Command::new(env!("CARGO_BIN_EXE_dcom-sensor"))
        .args(["live", "-i", "no-such-interface", "-o", "/nonexistent"])
        .output();
    let run = Outcome::from(output.expect("the program runs"));
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("dcom-sensor: no-such-interface: "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("hint: "), "{}", run.stderr);
}

/// A capture of so many jumbo frames, about 9 kB each, of a connection that carries something else.
fn bulk(frames: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([
        0x45, 0, 0x23, 0x28, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 20, 192, 0, 2, 10,
    ]);
    frame.extend([0xc0, 0, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0, 0, 0, 0, 0, 0]);
    frame.resize(14 + 9_000, b'x');
    let mut capture = capture_header(LinkType(1));
    for number in 0..frames {
        capture.extend(record_header([number, 0], &frame));
        capture.extend(&frame);
    }
    capture
}

#[test]
fn memory_does_not_grow_with_what_was_read() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let capture = scratch.path("bulk.pcap");
    fs::write(&capture, bulk(1_000)).expect("a capture");
    for workers in ["1", "2"] {
        let logs = scratch.path(workers);
        let sensor = space.sensor(&logs, &["--workers", workers]);
        // The first 90 MB also fill the kernel's ring once.
        space.send(&capture, &["--rate", "10000", "--times", "10"]);
        let before = sensor.resident();
        space.send(&capture, &["--rate", "10000", "--times", "30"]);
        let grown = sensor.resident().saturating_sub(before);
        sensor.end();
        let told = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("a log"));
        let last = &told.of_type("stats").last().expect("counters")["stats"];
        let read = last["decoder"]["bytes"].as_u64().expect("a counter");
        assert!(read > 270_000_000, "{last}");
        assert!(grown < 32 << 20, "{grown} bytes more, after {read} that were read");
    }
}
