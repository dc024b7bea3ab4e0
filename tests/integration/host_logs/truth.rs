//! Real logs, against what was decoded of them independently.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dcom_parsers::guid::Guid;
use dcom_sensor::host_log::event::{Account, DcomError, Direction, HostEnd, Process, Source};
use dcom_sensor::host_log::{self, HostBody, HostEvent, Report};
use serde_json::Value;

use super::read;
use crate::program;

/// Each log that has a truth.
fn logs() -> Vec<(PathBuf, Value)> {
    let Some(corpus) = program::beside("DCOM_CORPUS", "shared/corpus") else {
        return Vec::new();
    };
    let mut logs = Vec::new();
    for folder in fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let Some(stem) = name
                .strip_suffix(".truth.json")
                .filter(|stem| !stem.starts_with("capture"))
            else {
                continue;
            };
            let log = [".ndjson.gz", ".json.gz", ".json", ".evtx"]
                .map(|ending| file.with_file_name(format!("{stem}{ending}")))
                .into_iter()
                .find(|path| path.is_file());
            if let Some(log) = log {
                logs.push((log, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap()));
            }
        }
    }
    logs.sort_by(|a, b| a.0.cmp(&b.0));
    logs
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && *text != "-")
}

/// `2020-09-18T17:06:11.096Z`, to the millisecond.
fn time(event: &HostEvent) -> String {
    let text = event.time.to_string();
    format!("{}Z", &text[..23])
}

#[test]
fn every_real_log_is_read_as_its_truth_says() {
    for (path, truth) in logs() {
        let (events, report) = read(&path);
        let log = Log {
            path: &path,
            truth: &truth,
            events: &events,
        };
        log.totals(&report);
        log.each("process_creations", Log::creation);
        log.each("network_logons", Log::logon);
        log.each("network_events", Log::connection);
        log.each("dcom_events", Log::dcom);
        log.nothing_else();
    }
}

struct Log<'t> {
    path: &'t Path,
    truth: &'t Value,
    events: &'t [HostEvent],
}

impl Log<'_> {
    fn totals(&self, report: &Report) {
        let name = self.path.display();
        assert_eq!(report.records, self.truth["events"].as_u64().unwrap(), "{name}");
        assert_eq!(report.records, report.events + report.skipped_total(), "{name}");
        let hosts: BTreeMap<String, u64> = serde_json::from_value(self.truth["hosts"].clone()).unwrap();
        let found: BTreeMap<String, u64> = report.hosts.iter().map(|(host, n)| (host.to_string(), *n)).collect();
        assert_eq!(found, hosts, "{name}");
        let (first, last) = report.span.unwrap();
        for (time, expected) in [(first, "first"), (last, "last")] {
            let expected = self.truth[expected].as_str().unwrap();
            assert_eq!(time.to_string()[..23], expected[..23], "{name}");
        }
        let mut counts = BTreeMap::new();
        for count in self.truth["counts"].as_array().unwrap() {
            let id = u16::try_from(count["event_id"].as_u64().unwrap()).unwrap();
            let source = match (count["provider"].as_str().unwrap(), id) {
                ("Microsoft-Windows-Sysmon", 1 | 3 | 5 | 7 | 11..=14) => Source::Sysmon(id),
                ("Microsoft-Windows-Security-Auditing", 4624 | 4625 | 4648 | 4688 | 4689 | 5156) => {
                    Source::Security(id)
                }
                ("Microsoft-Windows-DistributedCOM", 10016 | 10028 | 10036..=10038) => Source::System(id),
                ("Microsoft-Windows-PowerShell", 4104) => Source::PowerShell(id),
                _ => continue,
            };
            counts.insert(source, count["n"].as_u64().unwrap());
        }
        assert_eq!(report.sources, counts, "{name}");
        let offset = self.truth["time_zone"]["utc_minus_raw_seconds"].as_i64().unwrap();
        let zones: Vec<i64> = report.zones.keys().map(|minutes| -i64::from(*minutes) * 60).collect();
        let expected: &[i64] = if offset == 0 { &[] } else { &[offset] };
        assert_eq!(
            zones.iter().copied().filter(|zone| *zone != 0).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }

    fn each(&self, list: &str, check: impl Fn(&HostEvent, &Value)) {
        for expected in self.truth[list].as_array().unwrap() {
            let lines = expected["line"].as_u64();
            let found = self.events.iter().find(|event| {
                // A truth of a file of lines names the line; the others by time and kind.
                let placed = match lines {
                    Some(line) => event.place.record == line,
                    None if self.path.extension().is_some_and(|ending| ending == "evtx") => {
                        Some(event.place.record) == expected["record"].as_u64()
                    }
                    None => time(event) == expected["time"].as_str().unwrap() && same_event(event, expected),
                };
                placed && *event.host == *expected["host"].as_str().unwrap()
            });
            let found = found.unwrap_or_else(|| panic!("{}: {expected} is not there", self.path.display()));
            assert_eq!(time(found), expected["time"].as_str().unwrap(), "{found:?}");
            check(found, expected);
        }
    }

    fn creation(event: &HostEvent, expected: &Value) {
        let HostBody::ProcessCreate(create) = &event.body else {
            panic!("{event:?}");
        };
        assert_eq!(event.source.to_string(), expected["source"].as_str().unwrap());
        pid(&create.process, &expected["pid"]);
        assert_eq!(create.parent.pid.map(u64::from), expected["ppid"].as_u64(), "{event:?}");
        assert_eq!(create.process.image.as_deref(), text(&expected["image"]));
        assert_eq!(create.process.command_line.as_deref(), text(&expected["command_line"]));
        assert_eq!(
            create.parent.image.as_deref(),
            text(&expected["parent_image"]),
            "{expected}"
        );
        assert_eq!(
            create.parent.command_line.as_deref(),
            text(&expected["parent_command_line"])
        );
        if expected.get("parent_image_from").is_some() {
            assert!(create.parent.pid_from.is_some(), "{event:?}");
        }
        let target = expected["target_user"]
            .as_str()
            .filter(|user| !["-\\-", "None\\None"].contains(user));
        assert_eq!(
            account(&create.account).as_deref(),
            target.or(text(&expected["user"])),
            "{event:?}"
        );
        if target.is_none() {
            assert_eq!(create.account.logon_id, hexadecimal(&expected["logon_id"]));
        }
        if let Some(integrity) = text(&expected["integrity"]) {
            assert_eq!(create.integrity.as_deref(), Some(integrity));
        }
        for (guid, expected) in [
            (create.process.guid, &expected["process_guid"]),
            (create.parent.guid, &expected["parent_guid"]),
        ] {
            assert_eq!(guid, text(expected).and_then(Guid::parse));
        }
    }

    fn logon(event: &HostEvent, expected: &Value) {
        let HostBody::Logon(logon) = &event.body else {
            panic!("{event:?}");
        };
        let kind = &expected["type"];
        let kind = kind.as_u64().or_else(|| kind.as_str()?.parse().ok());
        assert_eq!(logon.logon_type.map(u64::from), kind);
        assert_eq!(account(&logon.account).as_deref(), text(&expected["user"]));
        assert_eq!(logon.account.logon_id, hexadecimal(&expected["logon_id"]));
        assert_eq!(logon.workstation.as_deref(), text(&expected["workstation"]));
        assert_eq!(
            logon.address,
            text(&expected["ip"]).map(|ip| ip.parse().unwrap()),
            "{expected}"
        );
        assert_eq!(logon.port, text(&expected["port"]).map(|port| port.parse().unwrap()));
        assert_eq!(logon.package.as_deref(), text(&expected["package"]));
    }

    fn connection(event: &HostEvent, expected: &Value) {
        let HostBody::NetworkConnect(connect) = &event.body else {
            panic!("{event:?}");
        };
        assert_eq!(event.source.to_string(), expected["source"].as_str().unwrap());
        pid(&connect.process, &expected["pid"]);
        assert_eq!(connect.process.image.as_deref(), text(&expected["image"]));
        let outbound = expected["direction"].as_str().map(|direction| direction == "outbound");
        let outbound = outbound.or(expected["initiated"].as_bool()).unwrap();
        assert_eq!(connect.direction == Some(Direction::Outbound), outbound);
        assert_eq!(end(connect.source), expected["src"].as_str().unwrap());
        assert_eq!(end(connect.destination), expected["dst"].as_str().unwrap());
    }

    fn dcom(event: &HostEvent, expected: &Value) {
        let HostBody::DcomError(error) = &event.body else {
            panic!("{event:?}");
        };
        let id = u16::try_from(expected["id"].as_u64().unwrap()).unwrap();
        assert_eq!(event.source, Source::System(id));
        assert_eq!(error.account.sid.as_deref(), text(&expected["user"]), "{error:?}");
        let said = expected["message"].to_string();
        let DcomError {
            clsid,
            appid,
            address,
            local,
            target,
            ..
        } = &**error;
        for guid in clsid.iter().map(|clsid| clsid.0).chain(*appid) {
            assert!(said.to_lowercase().contains(&guid.to_string()), "{guid} {said}");
        }
        assert_eq!(
            clsid.is_some(),
            said.to_lowercase().contains("clsid ") || said.contains("\"param4\":\"{"),
            "{said}"
        );
        assert_eq!(*local, said.contains("LocalHost (Using LRPC)"));
        for place in address
            .iter()
            .map(ToString::to_string)
            .chain(target.iter().map(ToString::to_string))
        {
            assert!(said.contains(&place), "{place} {said}");
        }
        assert_eq!(address.is_some() || target.is_some(), !local);
        if id == 10028 {
            assert!(said.contains(&format!("{:x} (", error.process.pid.unwrap())));
        }
    }

    /// What the truth lists whole, it lists whole.
    fn nothing_else(&self) {
        let dcom = self
            .events
            .iter()
            .filter(|event| matches!(event.body, HostBody::DcomError(_)))
            .count();
        assert_eq!(dcom, self.truth["dcom_events"].as_array().unwrap().len());
        let creations = self
            .events
            .iter()
            .filter(|event| matches!(event.body, HostBody::ProcessCreate(_)))
            .count();
        assert_eq!(
            creations as u64,
            self.truth["process_creations_total"].as_u64().unwrap()
        );
    }
}

fn same_event(event: &HostEvent, expected: &Value) -> bool {
    match (&event.body, event.source) {
        (HostBody::Logon(logon), Source::Security(id)) => {
            Some(u64::from(id)) == expected["id"].as_u64()
                && logon.account.logon_id == hexadecimal(&expected["logon_id"])
        }
        (HostBody::DcomError(_), Source::System(id)) => Some(u64::from(id)) == expected["id"].as_u64(),
        _ => false,
    }
}

/// Where the truth knows none, one that was concluded says so.
fn pid(process: &Process, expected: &Value) {
    match expected.as_u64() {
        Some(expected) => assert_eq!(process.pid.map(u64::from), Some(expected), "{process:?}"),
        None => assert!(process.pid.is_none() || process.pid_from.is_some(), "{process:?}"),
    }
}

fn account(account: &Account) -> Option<String> {
    Some(format!("{}\\{}", account.domain.as_deref()?, account.user.as_deref()?))
}

fn hexadecimal(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn end(end: HostEnd) -> String {
    format!("{}:{}", end.ip, end.port)
}

#[test]
fn the_folder_of_real_logs_gives_them_all() {
    let Some(corpus) = program::beside("DCOM_CORPUS", "shared/corpus") else {
        return;
    };
    let files = host_log::inputs(&[corpus]).files;
    for (log, _) in logs() {
        let log = fs::canonicalize(log).unwrap();
        assert!(
            files.iter().any(|file| fs::canonicalize(file).unwrap() == log),
            "{}",
            log.display()
        );
    }
}
