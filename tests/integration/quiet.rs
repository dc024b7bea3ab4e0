//! Quiet where it should be: traffic without lateral movement raises no alert that gets anybody out of bed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program;
use crate::records::Records;

/// The captures of the corpus in which nobody moves, by the beginnings of their folders' names.
const WITHOUT_MOVEMENT: [&str; 4] = ["excel-blocked", "rpcdump-", "svcctl-", "wmi-"];

/// The sample captures in which nobody moves, by the beginnings of their names.
const HARMLESS: [&str; 9] = [
    "benign-",
    "ept-",
    "oxid-server-alive",
    "resolver-sweep",
    "smb1-",
    "smb2-",
    "wmi-login",
    "wmi-process",
    "wmi-remote-registry",
];

/// What the program reads.
const CAPTURES: [&str; 3] = ["pcap", "pcapng", "cap"];

fn is_capture(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| CAPTURES.iter().any(|capture| ending == *capture))
}

/// The files of a folder, sorted.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    paths.sort();
    paths
}

/// Alerts of severity high or critical.
fn loud(capture: &Path) -> Vec<String> {
    let records = Records::of(capture);
    let severe = |alert: &&Value| {
        let severity = &alert["alert"]["metadata"]["severity"][0];
        assert!(severity.is_string(), "an alert has a severity");
        severity == "high" || severity == "critical"
    };
    records
        .of_type("alert")
        .filter(severe)
        .map(|alert| format!("{}: {}", capture.display(), alert["alert"]))
        .collect()
}

fn assert_quiet(captures: &[PathBuf], least: usize) {
    assert!(captures.len() >= least, "{} captures are too few", captures.len());
    let loud: Vec<String> = captures.iter().flat_map(|capture| loud(capture)).collect();
    assert!(loud.is_empty(), "{}", loud.join("\n"));
}

#[test]
fn samples_without_lateral_movement_are_quiet() {
    let captures: Vec<PathBuf> = program::all_pcaps()
        .iter()
        .filter(|name| HARMLESS.iter().any(|beginning| name.starts_with(beginning)))
        .map(|name| program::pcap(name))
        .collect();
    assert_quiet(&captures, HARMLESS.len());
}

#[test]
fn the_corpus_without_lateral_movement_is_quiet() {
    let Some(corpus) = program::beside("DCOM_CORPUS", "shared/corpus") else {
        return;
    };
    let captures: Vec<PathBuf> = listed(&corpus)
        .into_iter()
        .filter(|folder| {
            let name = folder.file_name().expect("an entry has a name").to_string_lossy();
            folder.is_dir() && WITHOUT_MOVEMENT.iter().any(|beginning| name.starts_with(beginning))
        })
        .flat_map(|folder| listed(&folder))
        .filter(|path| is_capture(path))
        .collect();
    assert_quiet(&captures, WITHOUT_MOVEMENT.len());
}

#[test]
fn the_rig_without_lateral_movement_is_quiet() {
    let truths = program::truths_beside("DCOM_RIG", "shared/rig/out");
    if truths.is_empty() {
        return;
    }
    let captures: Vec<PathBuf> = truths
        .into_iter()
        .filter(|(_, truth)| truth["t1021_003"] == false)
        .map(|(capture, _)| capture)
        .collect();
    assert_quiet(&captures, 10);
}

#[test]
fn bulk_traffic_is_quiet() {
    let Some(bulk) = program::beside("DCOM_BULK", "shared/bench/sources") else {
        return;
    };
    let captures: Vec<PathBuf> = listed(&bulk).into_iter().filter(|path| is_capture(path)).collect();
    assert_quiet(&captures, 10);
}
