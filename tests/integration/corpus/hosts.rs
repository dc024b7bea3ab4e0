//! The host logs beside the captures: each fact that their truth has is met.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use super::{CORPUS, Real, real};
use crate::program::{self, Outcome, Scratch};
use crate::records::Records;

/// A capture with host logs of the same hour, their truth, and what the program says of both.
struct Joined {
    real: &'static Real,
    truth: Value,
    run: Outcome,
    records: Records,
}

static JOINED: LazyLock<Vec<Joined>> = LazyLock::new(|| CORPUS.iter().filter_map(Joined::of).collect());

impl Joined {
    fn of(real: &'static Real) -> Option<Self> {
        let truth = real.beside("host.truth.json")?;
        let run = replay(real, &real.folder.join("host.ndjson.gz"), &["--json"]);
        assert_eq!(run.code, Some(0), "{}: {}", real.name, run.stderr);
        Some(Self {
            real,
            truth: serde_json::from_str(&truth).expect("a truth is JSON"),
            records: Records::parse(&run.stdout),
            run,
        })
    }

    /// The truth's activations that are in this capture, each with our record of it.
    fn pairs(&self) -> Vec<(&Value, &Value)> {
        let pairs = list(&self.truth["network_pairs"]);
        let activations = pairs.iter().flat_map(|pair| list(&pair["activations"]));
        let mut found = Vec::new();
        for activation in activations {
            let time = activation["time"].as_str().expect("a time").trim_end_matches('Z');
            let is_it = |record: &&Value| {
                record["timestamp"].as_str().is_some_and(|it| it.starts_with(time)) && !record["dcom"]["host"].is_null()
            };
            let record = self.records.dcom("activation").into_iter().find(is_it);
            let record = record.or_else(|| self.records.of_type("alert").find(is_it));
            // The same scenario was captured in two places, of which one is here.
            found.extend(record.map(|record| (activation, record)));
        }
        assert!(!found.is_empty(), "{}: no activation of the truth", self.real.name);
        found
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn replay(real: &Real, logs: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec![real.capture.as_os_str(), "--host-logs".as_ref(), logs.as_os_str()];
    arguments.extend(more.iter().map(std::ffi::OsStr::new));
    program::replay(arguments)
}

fn has(host: &Value, matched: &str) -> bool {
    list(&host["matched_on"]).iter().any(|it| it == matched)
}

fn joined(name: &str) -> Option<&'static Joined> {
    real(name)?;
    JOINED.iter().find(|joined| joined.real.name == name)
}

/// Does the event stand on that host, about the object's own port?
fn dynamic<'t>(activation: &'t Value, host: &Value, pid: bool) -> Option<&'t Value> {
    let events = list(&activation["confirming_network_events"]).iter();
    events
        .filter(|it| it["network"].as_str().is_some_and(|it| it.contains("dynamic")))
        .map(|it| &it["event"])
        .find(|it| it["host"] == *host && (!pid || it["pid"].is_u64()))
}

#[test]
fn connections_logons_and_processes_are_those_of_the_truth() {
    for joined in JOINED.iter() {
        for (activation, record) in joined.pairs() {
            let (name, host) = (&joined.real.name, &record["dcom"]["host"]);
            let Some(server) = list(&activation["server_host"]).first() else {
                continue;
            };
            assert_eq!(
                (&host["verdict"], &host["name"]),
                (&"confirmed".into(), server),
                "{name}: {host:#}"
            );
            assert!(has(host, "4-tuple"), "{name}: {host:#}");
            let owner = dynamic(activation, server, true).expect("the owner of the port");
            assert!(has(host, "dynamic_port_owner"), "{name}: {host:#}");
            let ours = [&host["process"], &host["parent"]];
            assert!(
                ours.iter().any(|it| it["pid"] == owner["pid"]),
                "{name}: {owner} {host:#}"
            );
            if let Some(logon) = list(&activation["confirming_logons"]).first() {
                assert!(has(host, "logon"), "{name}: {host:#}");
                let logons = list(&activation["confirming_logons"]).iter();
                let user = host["logon"]["user"].as_str().expect("a user");
                assert_eq!(Some(user), logon["user"].as_str(), "{name}");
                let is_it = |it: &Value| {
                    it["port"].as_str() == host["logon"]["port"].as_u64().map(|port| port.to_string()).as_deref()
                        && it["logon_id"] == host["logon"]["id"]
                };
                assert!(logons.into_iter().any(is_it), "{name}: {host:#}");
            }
            let clients = list(&activation["confirming_network_events"])
                .iter()
                .map(|it| &it["event"]);
            let mut clients = clients.filter(|it| it["host"] != *server).map(|it| &it["pid"]);
            assert!(
                clients.any(|pid| *pid == host["client_process"]["pid"]),
                "{name}: {host:#}"
            );
        }
    }
}

#[test]
fn what_was_started_is_what_the_truth_has_with_its_distance() {
    for joined in JOINED.iter() {
        for (activation, record) in joined.pairs() {
            let (name, host) = (&joined.real.name, &record["dcom"]["host"]);
            let Some(server) = list(&activation["server_host"]).first() else {
                continue;
            };
            let owner = dynamic(activation, server, true).expect("the owner of the port")["pid"].clone();
            let started = list(&activation["process_creations_after"]).iter();
            let started: Vec<&Value> = started.filter(|it| it["ppid"] == owner || it["pid"] == owner).collect();
            let best = started
                .iter()
                .find(|it| it["source"] == "Sysmon 1")
                .expect("a start by Sysmon");
            assert_eq!(host["process"]["pid"], best["pid"], "{name}: {host:#}");
            assert_eq!(host["parent"]["pid"], best["ppid"], "{name}: {host:#}");
            assert_eq!(host["source"], best["source"], "{name}");
            let delta = best["delta_s"].as_f64().expect("a distance") * 1_000.0;
            let ours = host["time_delta_ms"].as_f64().expect("a distance");
            assert!((ours - delta).abs() < 2.0, "{name}: {ours} {delta}");
        }
    }
}

#[test]
fn clocks_are_measured_as_in_the_truth() {
    for joined in JOINED.iter() {
        let clocks = list(&joined.truth["network_pairs"])
            .iter()
            .flat_map(|pair| list(&pair["clock_event_minus_syn_s"]));
        for clock in clocks.filter(|it| it["which"] == "event time") {
            let (host, source) = (
                clock["host"].as_str().expect("a host"),
                clock["source"].as_str().expect("a source"),
            );
            let line = joined
                .run
                .stderr
                .lines()
                .find(|line| line.contains(&format!("{host}'s clock")));
            let line = line.unwrap_or_else(|| panic!("{}: {host} {}", joined.real.name, joined.run.stderr));
            let before = line.split(&format!(" s by {source}")).next().expect("a part");
            let ours: f64 = before
                .rsplit([' ', ',', ':'])
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("{line}"));
            // The truth's is from the SYN, ours from its answer; and there are two captures of which one is here.
            let [min, max] = ["min", "max"].map(|which| clock[which].as_f64().expect("seconds"));
            assert!((min - 0.02..=max + 0.02).contains(&ours), "{line}: {clock}");
        }
    }
}

#[test]
fn shellwindows_is_confirmed_by_its_command_line() {
    let Some(joined) = joined("shellwindows-empire") else {
        return;
    };
    let alert = joined
        .records
        .of_type("alert")
        .find(|it| it["alert"]["signature_id"] == 1_021_303)
        .expect("an alert of the execution");
    let host = &alert["dcom"]["host"];
    assert_eq!(host["verdict"], "confirmed", "{host:#}");
    assert_eq!(
        (&host["process"]["pid"], &host["parent"]["pid"]),
        (&6108.into(), &8200.into())
    );
    assert!(
        host["parent"]["image"]
            .as_str()
            .is_some_and(|it| it.to_lowercase().ends_with("explorer.exe")),
        "{host:#}"
    );
    for matched in [
        "4-tuple",
        "dynamic_port_owner",
        "command_line",
        "parent_pid",
        "parent_image",
        "time",
    ] {
        assert!(has(host, matched), "{matched}: {host:#}");
    }
    let delta = host["time_delta_ms"].as_f64().expect("a distance");
    assert!((delta - 290.0).abs() < 10.0, "{delta}");
    let message = alert["alert"]["signature"].as_str();
    assert!(message.is_some());
    assert!(
        joined.run.stderr.contains("confirmed, 0 contradicted"),
        "{}",
        joined.run.stderr
    );
}

#[test]
fn excel_is_confirmed_by_its_process_and_no_child_is_expected() {
    let Some(joined) = joined("excel-registerxll-covenant") else {
        return;
    };
    let alert = |id: u64| {
        joined
            .records
            .of_type("alert")
            .find(move |it| it["alert"]["signature_id"] == id)
    };
    let call = alert(1_021_303).expect("the call");
    let host = &call["dcom"]["host"];
    assert_eq!(
        (&host["verdict"], &host["process"]["pid"]),
        (&"confirmed".into(), &1364.into()),
        "{host:#}"
    );
    assert!(
        host["parent"]["command_line"]
            .as_str()
            .is_some_and(|it| it.contains("DcomLaunch")),
        "{host:#}"
    );
    assert!(has(host, "server_process") && has(host, "4-tuple"), "{host:#}");
    assert!(
        list(&host["because"])
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.contains("no child process"))),
        "{host:#}"
    );
    // A step up from high.
    let activation = alert(1_021_301).expect("the activation");
    assert_eq!(activation["alert"]["severity"], 1, "{activation:#}");
}

#[test]
fn an_attempt_that_a_firewall_stopped_is_named_by_the_clients_log() {
    let Some(joined) = joined("excel-blocked-by-firewall") else {
        return;
    };
    for (activation, alert) in joined.pairs() {
        let near = &activation["dcom_events_near"][0];
        let (dcom, host) = (&alert["dcom"], &alert["dcom"]["host"]);
        let message = near["message"].as_str().expect("a message").to_lowercase();
        assert!(message.contains(dcom["clsid"].as_str().expect("a class")), "{dcom:#}");
        assert_eq!(
            (&dcom["class"], &dcom["evidence"]),
            (&"Excel.Application".into(), &"inferred".into())
        );
        assert!(
            dcom["because"][0].as_str().is_some_and(|it| it.starts_with("host log")),
            "{dcom:#}"
        );
        assert_eq!(
            (&host["verdict"], &host["role"], &host["name"]),
            (&"confirmed".into(), &"client".into(), &near["host"])
        );
        assert_eq!(host["process"]["pid"], 0x1ce8, "{host:#}");
        let delta = near["delta_s"].as_f64().expect("a distance") * 1_000.0;
        assert!((host["time_delta_ms"].as_f64().expect("a distance") - delta).abs() < 2.0);
        assert!(has(host, "4-tuple") && has(host, "dcom_event"), "{host:#}");
    }
}

/// The same log, as if all of it had happened so many hours later.
fn later(real: &Real, hours: i64) -> String {
    use std::io::Read;
    let file = fs::File::open(real.folder.join("host.ndjson.gz")).expect("a log");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("text");
    let mut shifted = String::new();
    for line in text.lines() {
        let mut event: Value = serde_json::from_str(line).expect("an event a line");
        for key in ["EventTime", "UtcTime", "EventReceivedTime", "@timestamp"] {
            let Some(time) = event[key].as_str().filter(|time| time.len() >= 19) else {
                continue;
            };
            let (civil, fraction) = time.split_at(19);
            let at: jiff::civil::DateTime = civil.replace(' ', "T").parse().expect("a time");
            let at = at + jiff::Span::new().hours(hours);
            let separator = &civil[10..11];
            let moved = format!("{}{fraction}", at.to_string().replace('T', separator));
            event[key] = moved.into();
        }
        shifted.push_str(&event.to_string());
        shifted.push('\n');
    }
    shifted
}

#[test]
fn a_log_of_the_same_scenario_eleven_hours_later_is_refused() {
    for joined in JOINED.iter() {
        let scratch = Scratch::new();
        let log = scratch.write("host.ndjson", later(joined.real, 11));
        let run = replay(joined.real, &log, &["--json"]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(
            run.stderr.contains("is refused: it is of another time"),
            "{}",
            run.stderr
        );
        let records = Records::parse(&run.stdout);
        for record in records.of_type("alert").chain(records.of_type("dcom")) {
            let host = &record["dcom"]["host"];
            assert!(host.is_null() || host["verdict"] == "not_seen", "{host:#}");
            assert!(list(&host["matched_on"]).is_empty(), "{host:#}");
        }
        // What the wire says is told as without a log.
        assert_eq!(records.signatures(), joined.real.records.signatures());
        let severities = |records: &Records| -> Vec<Value> {
            records
                .of_type("alert")
                .map(|it| it["alert"]["severity"].clone())
                .collect()
        };
        assert_eq!(severities(&records), severities(&joined.real.records));
    }
}

#[test]
fn what_hosts_say_is_the_same_with_any_number_of_workers() {
    for joined in JOINED.iter() {
        let logs = ["1", "3"].map(|workers| {
            let scratch = Scratch::new();
            let logs = scratch.path("logs");
            let folder = logs.to_str().expect("text");
            let run = replay(
                joined.real,
                &joined.real.folder.join("host.ndjson.gz"),
                &["-q", "-o", folder, "--workers", workers],
            );
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", joined.real.name);
            program::files(&logs)
        });
        assert_eq!(logs[0], logs[1], "{}", joined.real.name);
    }
}
