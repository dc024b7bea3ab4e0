//! `dcom-sensor hunt`: host logs alone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use dcom_sensor::detect::HOST_SIGNATURES;
use serde_json::{Value, json};

use crate::program::{self, Outcome, Scratch, dcom_sensor};

fn hunt<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = dcom_sensor().arg("hunt").args(arguments).output();
    output.expect("the program runs").into()
}

/// The findings of these logs, as EVE lines.
fn found(logs: &[PathBuf]) -> Vec<Value> {
    let mut arguments = vec![OsStr::new("--json"), OsStr::new("-q")];
    arguments.extend(logs.iter().map(|path| path.as_os_str()));
    let run = hunt(arguments);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{logs:?}");
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Patterns, severity and confidence of each.
fn said(found: &[Value]) -> Vec<String> {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let one = |alert: &Value| {
        let metadata = &alert["alert"]["metadata"];
        let parts = ["pattern", "severity", "confidence"].map(|key| list(&metadata[key]).join("+"));
        parts.join(" ")
    };
    found.iter().map(one).collect()
}

fn related(alert: &Value) -> Vec<&str> {
    let items = alert["host_event"]["related"].as_array().into_iter().flatten();
    items.filter_map(|item| item["what"].as_str()).collect()
}

fn sample(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hunt").join(name);
    assert!(path.is_file(), "no sample log {name}");
    path
}

const MMC20: &str = "atomic-mmc20.ndjson";

// The three tests that Atomic Red Team has for T1021.003, with the signals that its description says to expect.

#[test]
fn atomic_mmc20_is_found_at_both_ends() {
    let found = found(&[sample(MMC20)]);
    assert_eq!(
        said(&found),
        [
            "DCOM_Script high medium",
            "COM_EmbeddingStart medium medium",
            "MMC20_DCOM+COM_InboundThenChild high high",
        ]
    );
    let [script, _, child] = &found[..] else { panic!() };
    assert_eq!(script["host_event"]["class"], "MMC20.Application");
    let line = script["host_event"]["process"]["command_line"].as_str().unwrap();
    assert!(line.contains("MMC20.Application"), "{line}");
    assert_eq!(
        related(script),
        [
            "connection of svchost.exe (1012) to 127.0.0.1:135",
            "connection of powershell.exe (7000) to 127.0.0.1:51187",
        ]
    );
    let event = &child["host_event"];
    assert_eq!(event["parent"]["image"], r"C:\Windows\System32\mmc.exe");
    assert_eq!(event["process"]["image"], r"C:\Windows\System32\cmd.exe");
    assert_eq!(child["alert"]["signature_id"], 1_021_402);
    assert_eq!(child["alert"]["metadata"]["mitre_technique_id"][0], "T1021.003");
    let related = related(child);
    assert!(
        related.contains(&r"it created C:\Windows\Temp\dcom_test.txt"),
        "{related:?}"
    );
    assert!(
        related.contains(&"connection from 127.0.0.1:51201 to port 51187 of mmc.exe"),
        "{related:?}"
    );
}

#[test]
fn atomic_shellwindows_is_found_at_both_ends() {
    let found_by = |name| found(&[sample(name)]);
    let desktop = found_by("atomic-shellwindows.ndjson");
    assert_eq!(
        said(&desktop),
        ["DCOM_Script high medium", "COM_ServerChild high medium"]
    );
    let line = desktop[0]["host_event"]["process"]["command_line"].as_str().unwrap();
    assert!(line.contains("9BA05972"), "{line}");
    assert_eq!(desktop[0]["host_event"]["class"], "ShellWindows");
    assert_eq!(
        related(&desktop[0]),
        ["connection of svchost.exe (1012) to 127.0.0.1:135"]
    );
    assert_eq!(desktop[1]["host_event"]["parent"]["image"], r"C:\Windows\explorer.exe");
    assert!(related(&desktop[1]).contains(&"a script activated ShellWindows"));
    let service = found_by("atomic-shellwindows-svchost.ndjson");
    assert_eq!(
        said(&service),
        ["DCOM_Script high medium", "DcomLaunch_Child medium medium"]
    );
}

#[test]
fn atomic_dcomcnfg_is_one_finding() {
    let found = found(&[sample("atomic-dcomcnfg.xml")]);
    assert_eq!(said(&found), ["DCOM_ConfigTool high medium"]);
    let related = related(&found[0]);
    assert!(related.contains(&"the same event"), "{related:?}");
    assert!(related.iter().any(|what| what.contains("comexp.msc")), "{related:?}");
    assert_eq!(found[0]["host_event"]["source"], "Sysmon 1");
}

/// The records of a sample, as Winlogbeat wrote them: number and event data.
fn records(name: &str) -> Vec<(u64, Value)> {
    let text = fs::read_to_string(sample(name)).expect("a sample");
    let record = |line: &str| {
        let winlog = serde_json::from_str::<Value>(line).expect("JSON")["winlog"].take();
        let id = winlog["event_id"].as_str().expect("a number").parse();
        (id.expect("a number"), winlog["event_data"].clone())
    };
    text.lines().map(record).collect()
}

#[test]
fn what_event_viewer_saves_tells_the_same_once_its_computer_is_named() {
    let mut table = "\u{feff}Level,Date and Time,Source,Event ID,Task Category\r\n".to_owned();
    for (id, data) in records(MMC20) {
        let lines = data.as_object().into_iter().flatten();
        let shown: Vec<String> = lines
            .map(|(name, value)| format!("{name}: {}", value.as_str().expect("text")))
            .collect();
        let message = format!("Event:\r\n{}", shown.join("\r\n")).replace('"', "\"\"");
        let time = data["UtcTime"].as_str().expect("a time").get(11..19);
        let time = time.expect("hours, minutes and seconds");
        write!(
            table,
            "Information,20/11/2026 {time},Microsoft-Windows-Sysmon,{id},Task,\"{message}\"\r\n"
        )
        .unwrap();
    }
    let scratch = Scratch::new();
    let log = scratch.write("sysmon.csv", table);
    let of = |host: &str| {
        let log = log.to_str().expect("text");
        hunt(["--json", "-q", "--log-host", host, log])
    };
    let lines = |run: &Outcome| -> Vec<Value> {
        let lines = run.stdout.lines();
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let expected = found(&[sample(MMC20)]);
    let named = lines(&of("WS1.lab.example"));
    assert_eq!(said(&named), said(&expected));
    let related_of = |all: &[Value]| -> Vec<Vec<String>> {
        let owned = |alert| related(alert).into_iter().map(str::to_owned).collect();
        all.iter().map(owned).collect()
    };
    assert_eq!(related_of(&named), related_of(&expected));
    assert_eq!(named[2]["host_event"]["host"], "WS1.lab.example");

    // The nearest folder tells, and a place without a log is a mistake.
    let folder = log.parent().expect("a folder").to_str().expect("text").to_owned();
    let nearest = hunt([
        "--json",
        "-q",
        "--log-host",
        &format!("{folder}=WS1"),
        "--log-host",
        "WS2",
        &folder,
    ]);
    assert_eq!(lines(&nearest)[2]["host_event"]["host"], "WS1");
    let wrong = of("/nowhere=WS1");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong
            .stderr
            .contains("--log-host /nowhere=WS1: none of the logs is there"),
        "{}",
        wrong.stderr
    );

    let unnamed = hunt([&log]);
    assert_eq!(unnamed.code, Some(2));
    assert!(
        unnamed.stderr.contains("9 without a computer's name"),
        "{}",
        unnamed.stderr
    );
    assert!(unnamed.stderr.contains("hint: --log-host NAME"), "{}", unnamed.stderr);
}

#[test]
fn elastic_defend_tells_the_same_as_sysmon() {
    let mut log = String::new();
    for (id, data) in records(MMC20) {
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u64>().ok();
        let inbound = text("Initiated") == "false";
        let (kind, action) = match id {
            1 => ("process", "start"),
            3 if inbound => ("network", "connection_accepted"),
            3 => ("network", "connection_attempted"),
            _ => ("file", "creation"),
        };
        let (domain, user) = text("User").split_once('\\').expect("an account");
        let document = json!({
            "@timestamp": format!("{}Z", text("UtcTime").replace(' ', "T")),
            "data_stream": {"dataset": format!("endpoint.events.{kind}")},
            "event": {"module": "endpoint", "action": action},
            "host": {"name": "WS1.lab.example"},
            "process": {"pid": number("ProcessId"), "executable": text("Image"), "command_line": text("CommandLine"),
                "Ext": {"authentication_id": text("LogonId"), "token": {"integrity_level_name": text("IntegrityLevel").to_lowercase()}},
                "parent": {"pid": number("ParentProcessId"), "executable": text("ParentImage"),
                    "command_line": text("ParentCommandLine")}},
            "user": {"name": user, "domain": domain},
            "source": {"ip": text("SourceIp"), "port": number("SourcePort")},
            "destination": {"ip": text("DestinationIp"), "port": number("DestinationPort")},
            "network": {"transport": "tcp", "direction": if inbound { "ingress" } else { "egress" }},
            "file": {"path": text("TargetFilename")},
        });
        writeln!(log, "{document}").unwrap();
    }
    let scratch = Scratch::new();
    let defended = found(&[scratch.write("defend.ndjson", log)]);
    let expected = found(&[sample(MMC20)]);
    assert_eq!(said(&defended), said(&expected));
    for (one, other) in defended.iter().zip(&expected) {
        assert_eq!(related(one), related(other));
    }
    assert_eq!(defended[2]["host_event"]["source"], "endpoint.events.process");
}

#[test]
fn what_a_folder_has_beside_logs_is_counted_and_named_with_v() {
    let scratch = Scratch::new();
    let folder = scratch.write("log.ndjson", fs::read(sample(MMC20)).expect("a sample"));
    let folder = folder.parent().expect("a folder").to_owned();
    scratch.write("empty.csv", "");
    assert!(
        hunt([&folder])
            .stderr
            .contains("1 file in a folder is no host log and was passed over")
    );
    scratch.write("tool.exe", b"MZ\x90\0");
    let run = hunt([&folder]);
    assert_eq!(run.code, Some(0));
    assert!(
        run.stderr
            .contains("2 files in folders are no host logs and were passed over"),
        "{}",
        run.stderr
    );
    let named = hunt(["-v".as_ref(), folder.as_os_str()]);
    for name in ["empty.csv", "tool.exe"] {
        let message = format!("{}: no host log, passed over", folder.join(name).display());
        assert!(named.stderr.contains(&message), "{}", named.stderr);
    }
    assert_eq!(hunt(["-q".as_ref(), folder.as_os_str()]).stderr, "");
}

#[test]
fn the_order_of_the_logs_does_not_matter() {
    let names = [MMC20, "atomic-shellwindows.ndjson", "atomic-dcomcnfg.xml"];
    let mut logs = names.map(sample).to_vec();
    let one = found(&logs);
    logs.reverse();
    assert_eq!(one, found(&logs));
    assert_eq!(one.len(), 6);
    let folder = found(&[sample(MMC20).parent().unwrap().to_owned()]);
    assert_eq!(folder.len(), 8);
}

#[test]
fn the_table_says_who_started_what_and_the_summary_counts() {
    let run = hunt([sample(MMC20)]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for text in [
        "MMC20_DCOM",
        "mmc.exe (7100) → cmd.exe (7200)",
        r"LAB\alice",
        "Sysmon 1",
        "of atomic-mmc20.ndjson",
        "9 records read in ",
        " from 1 file: 9 events, 0 skipped, 1 host, 3 findings (2 high, 1 medium)",
    ] {
        assert!(run.stdout.contains(text), "{text}: {}", run.stdout);
    }
    let high = hunt(["--min-severity".as_ref(), "high".as_ref(), sample(MMC20).as_os_str()]);
    assert!(!high.stdout.contains("COM_EmbeddingStart") && high.stdout.contains("MMC20_DCOM"));
}

#[test]
fn exit_statuses_are_those_of_replay() {
    let log = sample(MMC20);
    let run = |arguments: &[&OsStr]| hunt(arguments).code;
    assert_eq!(run(&["--fail-on".as_ref(), "high".as_ref(), log.as_os_str()]), Some(1));
    assert_eq!(
        run(&["--fail-on".as_ref(), "critical".as_ref(), log.as_os_str()]),
        Some(0)
    );
    let missing = hunt([OsStr::new("no-such-log.evtx"), log.as_os_str()]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.starts_with("dcom-sensor: no-such-log.evtx: "),
        "{}",
        missing.stderr
    );
    assert!(missing.stdout.contains("MMC20_DCOM"), "what can be read is");
    // A log that says nothing of use is no all-clear; one of other events is.
    let folder = Scratch::new();
    let useless = folder.write(
        "wazuh.json",
        "{\"data\": {\"win\": {\"system\": {\"eventID\": \"4688\"}}}}\n",
    );
    let others = folder.write(
        "others.json",
        "{\"EventID\": 4634, \"Channel\": \"Security\", \"EventTime\": \"2020-09-18 17:05:52Z\"}\n",
    );
    let run = hunt(["-q".as_ref(), useless.as_os_str()]);
    assert_eq!(run.code, Some(2));
    let expected = format!(
        "dcom-sensor: {}: of 1 records none is of use: 1 without an event id or provider\nhint: ",
        useless.display()
    );
    assert!(run.stderr.starts_with(&expected), "{}", run.stderr);
    assert_eq!(hunt([others.as_os_str()]).code, Some(0));
    assert_eq!(hunt([folder.path("").as_os_str()]).code, Some(0));
    assert_eq!(hunt(["--print-config"]).code, Some(0));
    assert_eq!(hunt::<&str>([]).code, Some(2));
}

#[test]
fn findings_are_written_as_alerts_and_notices() {
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let run = hunt([OsStr::new("-qo"), logs.as_os_str(), sample(MMC20).as_os_str()]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    let eve = fs::read_to_string(logs.join("eve.json")).expect("eve.json");
    assert_eq!(eve.lines().count(), 3);
    let last: Value = serde_json::from_str(eve.lines().last().unwrap()).expect("a line of JSON");
    assert_eq!(last["event_type"], "alert");
    assert_eq!(
        (&last["src_ip"], &last["dest_port"]),
        (&Value::from("127.0.0.1"), &Value::from(51_187))
    );
    assert_eq!(last["alert"]["metadata"]["pattern"][0], "MMC20_DCOM");
    let notices = fs::read_to_string(logs.join("notice.log")).expect("notice.log");
    let row = notices
        .lines()
        .find(|line| line.contains("DCOM::MMC20_DCOM"))
        .expect("a notice");
    assert!(
        row.contains("T1021.003") && row.contains("mmc.exe (7100) started cmd.exe (7200)"),
        "{row}"
    );
    assert!(notices.ends_with("#close\t2026-11-20-10-00-03\n"), "{notices}");
}

#[test]
fn an_allow_list_asks_for_hosts_parents_and_children() {
    let scratch = Scratch::new();
    let left = |conditions: &str| {
        let text = format!("[[allow]]\ncomment = \"known\"\n{conditions}\n");
        let config = scratch.write("allow.toml", text);
        let log = sample(MMC20);
        let run = hunt([
            OsStr::new("-q"),
            "--json".as_ref(),
            "--config".as_ref(),
            config.as_os_str(),
            log.as_os_str(),
        ]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout.lines().count()
    };
    for (conditions, told) in [
        ("host = \"ws1\"", 0),
        ("host = \"ws1.lab.*\"\nparent = \"mmc.exe\"", 2),
        ("host = \"ws2\"\nparent = \"mmc.exe\"", 3),
        (
            "parent = \"mmc.exe\"\nchild = [\"powershell.exe\", 'C:\\windows\\*\\CMD.exe']",
            2,
        ),
        ("parent = \"svchost.exe\"", 2),
        ("child = \"notepad.exe\"", 3),
        ("parent_command_line = \"*-embedding\"", 2),
        ("command_line = \"*dcom_test.txt*\"", 1),
        ("user = 'LAB\\ALICE'\nsig_id = 1021412", 2),
        ("class = \"MMC20.Application\"", 0),
        ("source = \"127.0.0.0/8\"\nsig_id = 1021402", 2),
    ] {
        assert_eq!(left(conditions), told, "{conditions}");
    }
}

#[test]
fn each_pattern_has_its_section() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/HUNT.md");
    let page = fs::read_to_string(page).expect("docs/HUNT.md can be read");
    let sections: BTreeMap<&str, &str> = page
        .split("\n### ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .collect();
    let listed = page.lines().filter(|line| line.starts_with("| 1021")).count();
    assert_eq!((sections.len(), listed), (HOST_SIGNATURES.len(), HOST_SIGNATURES.len()));
    for signature in HOST_SIGNATURES {
        let name = signature.pattern();
        let section = sections.get(name).unwrap_or_else(|| panic!("no section for {name}"));
        assert!(section.trim().starts_with(&signature.id.to_string()), "{name}");
        for part in ["**Why.**", "**Evidence.**", "**False positives.**", "**Tuning.**"] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
        assert!(page.contains(&format!("| {} | [`{name}`](#{}) |", signature.id, name.to_lowercase())));
    }
}

// Real logs.

/// The findings of one log of the corpus; none when that is not there.
fn real(path: &str) -> Option<Vec<Value>> {
    let corpus = program::beside("DCOM_CORPUS", "shared/corpus")?;
    let log = corpus.join(path);
    assert!(log.is_file(), "the corpus lacks {path}");
    Some(found(&[log]))
}

#[test]
fn impacket_s_three_commands_are_found() {
    let Some(found) = real("host-only/LM_impacket_docmexec_mmc_sysmon_01.evtx") else {
        return;
    };
    let child = "MMC20_DCOM+COM_InboundThenChild high high";
    assert_eq!(said(&found), ["COM_EmbeddingStart medium medium", child, child, child]);
    let pids: Vec<_> = found[1..]
        .iter()
        .map(|alert| alert["host_event"]["process"]["pid"].as_u64())
        .collect();
    assert_eq!(pids, [Some(1504), Some(3372), Some(1256)]);
    for alert in &found[1..] {
        assert_eq!(alert["host_event"]["parent"]["pid"], 3572);
        assert_eq!(alert["src_ip"], "10.0.2.19");
        assert_eq!(alert["dest_port"], 49_163);
    }
}

#[test]
fn launches_denied_to_another_computer_are_told_and_local_ones_are_not() {
    let log = "host-only/LM_dcom_shwnd_shbrwnd_mmc20_failed_traces_system_10016.evtx";
    let Some(found) = real(log) else { return };
    assert_eq!(said(&found), ["DCOM_Denied medium high", "DCOM_Denied medium high"]);
    let class = |alert: &Value| (alert["host_event"]["class"].clone(), alert["src_ip"].clone());
    let expected = ["ShellBrowserWindow", "MMC20.Application"];
    for (alert, name) in found.iter().zip(expected) {
        assert_eq!(class(alert), (Value::from(name), Value::from("10.0.2.17")));
        assert_eq!(alert["host_event"]["caller"]["user"], "IEUser");
    }
}

#[test]
fn a_wmi_child_is_found_by_its_parent_s_process_id() {
    let Some(found) = real("host-only/LM_WMI_4624_4688_TargetHost.evtx") else {
        return;
    };
    assert_eq!(said(&found), ["WMI_Child medium medium"]);
    let event = &found[0]["host_event"];
    assert_eq!(
        (&event["process"]["pid"], &event["parent"]["pid"]),
        (&Value::from(1060), &Value::from(2792))
    );
    assert!(event["parent"]["image"].as_str().unwrap().ends_with("WmiPrvSE.exe"));
    assert!(
        event["parent"]["image_from"].is_string(),
        "the record itself has no name: {event}"
    );
    assert_eq!(found[0]["alert"]["metadata"]["mitre_technique_id"][0], "T1047");
}

#[test]
fn a_harmless_look_alike_is_silent() {
    let Some(found) = real("host-only/LM_PowershellRemoting_sysmon_1_wsmprovhost.evtx") else {
        return;
    };
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn shellwindows_is_found_among_a_desktop_s_noise() {
    let Some(found) = real("shellwindows-empire/host.ndjson.gz") else {
        return;
    };
    assert_eq!(said(&found), ["COM_InboundThenChild high high"]);
    let event = &found[0]["host_event"];
    assert_eq!(
        (&event["parent"]["pid"], &event["process"]["pid"]),
        (&Value::from(8200), &Value::from(6108))
    );
    assert_eq!(
        (&found[0]["src_ip"], &found[0]["src_port"]),
        (&Value::from("172.18.39.5"), &Value::from(58_406))
    );
    assert!(
        related(&found[0]).contains(&"the same event"),
        "Sysmon and the Security log have it"
    );
}

#[test]
fn excel_s_server_process_is_found_and_has_no_child() {
    let Some(found) = real("excel-registerxll-covenant/host.ndjson.gz") else {
        return;
    };
    assert_eq!(said(&found), ["COM_EmbeddingStart medium medium"]);
    let event = &found[0]["host_event"];
    assert_eq!(event["process"]["pid"], 1364);
    assert_eq!(found[0]["src_ip"], "172.18.39.5");
}

#[test]
fn an_attempt_that_a_firewall_stopped_is_found() {
    let Some(found) = real("excel-blocked-by-firewall/host.ndjson.gz") else {
        return;
    };
    assert_eq!(said(&found), ["DCOM_Unreachable medium medium"]);
    let event = &found[0]["host_event"];
    assert_eq!(
        (&event["class"], &found[0]["dest_ip"]),
        (&Value::from("Excel.Application"), &Value::from("172.18.39.6"))
    );
    assert!(event["process"]["image"].as_str().unwrap().ends_with("MoveExcel4.exe"));
}
