//! Host logs beside sample captures: whose log it is, and what a person sees of it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::program::{self, Scratch, pcap};
use crate::records::{Records, text};

/// The server of the sample, which calls itself `DCOMSRV01`.
const SERVER: [u8; 4] = [192, 0, 2, 10];

/// What Sysmon on that server would write of the command that the sample runs.
fn log(scratch: &Scratch, host: &str, more: &Value) -> PathBuf {
    let records = Records::of(&pcap("mmc20-connect.pcap"));
    let mut alerts = records.of_type("alert");
    let alert = alerts
        .find(|it| it["alert"]["signature_id"] == 1_021_303)
        .expect("the execution");
    let time = text(&alert["timestamp"]).get(..23).expect("a time").replace('T', " ");
    let mut event = json!({
        "EventID": 1,
        "SourceName": "Microsoft-Windows-Sysmon",
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Hostname": host,
        "UtcTime": time,
        "ProcessId": "4242",
        "Image": "C:\\Windows\\System32\\cmd.exe",
        "CommandLine": format!("C:\\Windows\\System32\\{}", text(&alert["dcom"]["command_line"])),
        "ParentProcessId": "4141",
        "ParentImage": "C:\\Windows\\System32\\mmc.exe",
        "ParentCommandLine": "C:\\Windows\\System32\\mmc.exe -Embedding",
        "User": "LAB\\alice",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        event[key] = value.clone();
    }
    scratch.write("host.ndjson", format!("{event}\n"))
}

fn verdict(capture: &std::path::Path, log: &std::path::Path, more: &[&str]) -> Value {
    let mut arguments = vec!["--json", "-q", "--host-logs", log.to_str().expect("text")];
    arguments.extend(more);
    arguments.push(capture.to_str().expect("text"));
    let run = program::replay(arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    of_the_execution(&run.stdout)
}

fn of_the_execution(lines: &str) -> Value {
    let records = Records::parse(lines);
    let mut alerts = records.of_type("alert");
    alerts
        .find(|it| it["alert"]["signature_id"] == 1_021_303)
        .expect("the execution")["dcom"]["host"]
        .clone()
}

/// The sample with a frame before its first: a name server tells whose the server's address is.
fn with_dns(scratch: &Scratch, name: &str) -> PathBuf {
    let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1, 0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(SERVER);
    let length = |of: usize| u16::try_from(of).expect("a short frame").to_be_bytes();
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00]);
    let mut ip = vec![0x45, 0];
    ip.extend(length(28 + message.len()));
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 53, 192, 0, 2, 20]);
    let sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("sixteen bits");
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    frame.extend([0, 53, 0xc0, 0x01]);
    frame.extend(length(8 + message.len()));
    frame.extend([0, 0]);
    frame.extend(&message);
    let sample = fs::read(pcap("mmc20-connect.pcap")).expect("a sample");
    let (header, packets) = sample.split_at(24);
    let mut capture = header.to_vec();
    capture.extend(&packets[..8]);
    let length = u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
    capture.extend(length.into_iter().chain(length).chain(frame));
    capture.extend(packets);
    scratch.write("with-dns.pcap", capture)
}

#[test]
fn a_log_is_found_by_what_the_server_calls_itself() {
    let scratch = Scratch::new();
    let host = verdict(
        &pcap("mmc20-connect.pcap"),
        &log(&scratch, "dcomsrv01", &json!({})),
        &[],
    );
    assert_eq!(
        (&host["verdict"], &host["process"]["pid"]),
        (&"confirmed".into(), &4242.into()),
        "{host:#}"
    );
    let other = verdict(
        &pcap("mmc20-connect.pcap"),
        &log(&scratch, "elsewhere", &json!({})),
        &[],
    );
    assert_eq!(other["verdict"], "not_seen", "{other:#}");
    assert!(
        text(&other["because"][0]).starts_with("there is no log of 192.0.2.10"),
        "{other:#}"
    );
}

/// That of [`log`] in the forms in which Event Viewer and Elastic Defend have it.
#[test]
fn a_table_of_event_viewer_and_a_document_of_elastic_defend_confirm_as_sysmon_does() {
    let scratch = Scratch::new();
    let sysmon = fs::read_to_string(log(&scratch, "dcomsrv01", &json!({}))).expect("a log");
    let event: Value = serde_json::from_str(&sysmon).expect("JSON");
    let capture = pcap("mmc20-connect.pcap");
    let value = |name: &str| text(&event[name]).to_owned();
    let time = value("UtcTime");
    let (date, hour) = time.get(..19).and_then(|time| time.split_once(' ')).expect("a time");
    let shown = [
        "UtcTime",
        "ProcessId",
        "Image",
        "CommandLine",
        "User",
        "ParentProcessId",
        "ParentImage",
    ]
    .map(|name| format!("{name}: {}", value(name).replace('"', "\"\"")));
    let table = format!(
        "Level,Date and Time,Source,Event ID,Task Category\nInformation,{date} {hour},Microsoft-Windows-Sysmon,1,Task,\
         \"Process Create:\n{}\"\n",
        shown.join("\n")
    );
    let table = scratch.write("table.csv", table);
    let document = json!({"_index": "x", "_source": {
        "@timestamp": format!("{}Z", time.replace(' ', "T")), "host": {"name": "dcomsrv01"},
        "event": {"module": "endpoint", "action": "start", "dataset": "endpoint.events.process"},
        "process": {"pid": 4242, "executable": value("Image"), "command_line": value("CommandLine"),
            "parent": {"pid": 4141, "executable": value("ParentImage")}},
        "user": {"name": "alice", "domain": "LAB"}}});
    let document = scratch.write("defend.ndjson", format!("{document}\n"));
    for (log, more, source) in [
        (table, &["--log-host", "dcomsrv01"][..], "Sysmon 1"),
        (document, &[], "endpoint.events.process"),
    ] {
        let host = verdict(&capture, &log, more);
        assert_eq!(
            (&host["verdict"], &host["process"]["pid"], &host["source"]),
            (&"confirmed".into(), &4242.into(), &source.into()),
            "{host:#}"
        );
    }
    let run = program::replay(["--log-host".as_ref(), "dcomsrv01".as_ref(), capture.as_os_str()]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

#[test]
fn a_log_is_found_by_a_name_servers_answer_and_by_a_map() {
    let scratch = Scratch::new();
    let log = log(&scratch, "elsewhere.lab.example", &json!({}));
    let capture = with_dns(&scratch, "elsewhere.lab.example");
    for workers in ["1", "3"] {
        let host = verdict(&capture, &log, &["--workers", workers]);
        assert_eq!(host["verdict"], "confirmed", "{workers}: {host:#}");
    }
    let map = scratch.write("map.toml", "elsewhere = [\"192.0.2.10\"]\n");
    let host = verdict(
        &pcap("mmc20-connect.pcap"),
        &log,
        &["--host-map", map.to_str().expect("text")],
    );
    assert_eq!(host["verdict"], "confirmed", "{host:#}");
}

#[test]
fn what_was_concluded_of_a_sealed_activation_is_confirmed() {
    let scratch = Scratch::new();
    for (capture, signatures) in [
        ("mmc20-sealed.pcap", &[1_021_307][..]),
        ("mmc20-sealed-activation.pcap", &[1_021_307, 1_021_303]),
    ] {
        let records = Records::of(&pcap(capture));
        let time = |signature: u64| {
            let mut alerts = records.of_type("alert");
            let alert = alerts.find(|it| it["alert"]["signature_id"] == signature);
            let time = text(&alert.expect("an alert")["timestamp"]);
            time.get(..23).expect("a time").replace('T', " ")
        };
        let start = |at: String, [parent, image]: [(&str, &str); 2], line: &str| {
            json!({
                "EventID": 1,
                "SourceName": "Microsoft-Windows-Sysmon",
                "Channel": "Microsoft-Windows-Sysmon/Operational",
                "Hostname": "dcomsrv01",
                "UtcTime": at,
                "ProcessId": image.0,
                "Image": format!("C:\\Windows\\System32\\{}", image.1),
                "CommandLine": line,
                "ParentProcessId": parent.0,
                "ParentImage": format!("C:\\Windows\\System32\\{}", parent.1),
            })
        };
        let (svchost, mmc, cmd) = (("900", "svchost.exe"), ("4141", "mmc.exe"), ("4242", "cmd.exe"));
        let last = *signatures.last().expect("one");
        let log = [
            start(time(1_021_307), [svchost, mmc], "mmc.exe -Embedding"),
            start(time(last), [mmc, cmd], "cmd.exe /Q /c whoami"),
        ];
        let log = scratch.write("host.ndjson", log.map(|event| format!("{event}\n")).concat());
        let run = program::replay([
            "--json".as_ref(),
            "-q".as_ref(),
            "--host-logs".as_ref(),
            log.as_os_str(),
            pcap(capture).as_os_str(),
        ]);
        let told = Records::parse(&run.stdout);
        for &signature in signatures {
            let mut alerts = told.of_type("alert");
            let alert = alerts.find(|it| it["alert"]["signature_id"] == signature);
            let dcom = &alert.expect("an alert")["dcom"];
            assert_eq!(dcom["host"]["verdict"], "confirmed", "{dcom:#}");
            assert_eq!(dcom["host"]["process"]["pid"], 4242, "{dcom:#}");
            assert_eq!(dcom["clsid"], Value::Null);
        }
    }
}

#[test]
fn a_person_sees_the_verdict_in_the_table_and_in_the_summary() {
    let scratch = Scratch::new();
    let log = log(&scratch, "dcomsrv01", &json!({}));
    let run = program::replay([
        "--no-progress".as_ref(),
        "--host-logs".as_ref(),
        log.as_os_str(),
        pcap("mmc20-connect.pcap").as_os_str(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in [
        " host",
        "confirmed: mmc.exe",
        "(4141) → cmd.exe",
        "not seen: the log has",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert!(run.stdout.contains("host logs: 1 confirmed, "), "{}", run.stdout);
    // Without logs nothing is said of hosts.
    let run = program::replay([pcap("mmc20-connect.pcap")]);
    assert!(!run.stdout.contains("host"), "{}", run.stdout);
}

#[test]
fn a_log_of_another_time_has_no_say() {
    let scratch = Scratch::new();
    let log = log(&scratch, "dcomsrv01", &json!({ "UtcTime": "2026-11-20 09:00:00.000" }));
    let run = program::replay([
        "--no-progress".as_ref(),
        "--host-logs".as_ref(),
        log.as_os_str(),
        pcap("mmc20-connect.pcap").as_os_str(),
    ]);
    assert!(
        run.stderr.contains("is refused: it is of another time"),
        "{}",
        run.stderr
    );
    let summary = "host logs: 0 confirmed, 0 contradicted, 0 not seen";
    assert!(run.stdout.contains(summary), "{}", run.stdout);
    // It was named by itself: that it says nothing is no answer.
    assert_eq!(run.code, Some(2));
    assert!(run.stdout.contains(", 1 host log refused"), "{}", run.stdout);
    let run = program::replay([
        "--json".as_ref(),
        "--host-logs".as_ref(),
        log.as_os_str(),
        pcap("mmc20-connect.pcap").as_os_str(),
    ]);
    let host = of_the_execution(&run.stdout);
    assert_eq!(host["coverage"], Value::Null, "{host:#}");
    assert!(text(&host["because"][0]).contains("was refused"), "{host:#}");
    // In a folder, logs of other days may stand beside.
    let folder = log.parent().expect("a folder").to_path_buf();
    let run = program::replay([
        "-q".as_ref(),
        "--host-logs".as_ref(),
        folder.as_os_str(),
        pcap("mmc20-connect.pcap").as_os_str(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_window_ends_what_is_looked_for() {
    let scratch = Scratch::new();
    let later = |seconds: u32| {
        let log = log(&scratch, "dcomsrv01", &json!({}));
        let event: Value = serde_json::from_str(&fs::read_to_string(&log).expect("a log")).expect("an event");
        let at: jiff::civil::DateTime = text(&event["UtcTime"]).replace(' ', "T").parse().expect("a time");
        let at = at + jiff::Span::new().seconds(i64::from(seconds));
        json!({ "UtcTime": at.to_string().replace('T', " ") })
    };
    for (seconds, window, verdict_then) in [
        (30, "60", "confirmed"),
        (30, "20", "not_seen"),
        (100, "120", "confirmed"),
    ] {
        let more = later(seconds);
        let log = log(&scratch, "dcomsrv01", &more);
        let host = verdict(&pcap("mmc20-connect.pcap"), &log, &["--host-window", window]);
        assert_eq!(host["verdict"], verdict_then, "{seconds} {window}: {host:#}");
    }
}
