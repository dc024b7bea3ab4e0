//! Any number of workers writes the same logs, and a fault on one connection costs that connection alone.

use std::path::PathBuf;

use dcom_sensor::capture::LinkType;

use crate::program::{
    Outcome, Scratch, all_pcaps, beside, capture_header, dcom_sensor, files, pcap, pcaps, record_header, replay,
};
use crate::records::{Records, text};
use crate::traffic::frames;

/// Everything that is written of these captures: every log, and standard output.
fn written(workers: &str, captures: &[PathBuf]) -> (Vec<(String, Vec<u8>)>, String) {
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let mut command = dcom_sensor();
    command
        .args([
            "replay",
            "--json",
            "--calls",
            "all",
            "--logs",
            "eve,zeek,zeek-json,ecs,ocsf",
            "--workers",
            workers,
            "-o",
        ])
        .arg(&logs)
        .args(captures);
    let output = command.output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).expect("JSON is text");
    (files(&logs), stdout)
}

fn assert_same(captures: &[PathBuf]) {
    let one = written("1", captures);
    assert!(one.0.iter().any(|(name, text)| name == "eve.json" && !text.is_empty()));
    for workers in ["2", "3", "16", "100"] {
        let several = written(workers, captures);
        assert!(one == several, "{workers} workers write something else of {captures:?}");
    }
}

#[test]
fn any_number_of_workers_writes_the_same_of_each_sample() {
    for name in all_pcaps() {
        assert_same(&[pcap(&name)]);
    }
}

#[test]
fn any_number_of_workers_writes_the_same_of_a_folder() {
    assert_same(&[pcaps()]);
}

#[test]
fn any_number_of_workers_writes_the_same_of_other_peoples_captures() {
    let Some(corpus) = beside("DCOM_CORPUS", "shared/corpus") else {
        return;
    };
    assert_same(&[corpus]);
}

/// The whole of it in one capture, every connection once more between other hosts.
fn twice(name: &str) -> Vec<u8> {
    let frames = frames(name);
    let link_type = frames.first().map_or(LinkType(1), |frame| frame.0);
    let mut capture = capture_header(link_type);
    for (copy, (_, bytes, time)) in frames.iter().flat_map(|frame| [(0, frame), (1, frame)]) {
        let mut bytes = bytes.clone();
        for at in 0..bytes.len().saturating_sub(4) {
            // The first host of the network for documentation becomes another one in the copy's headers and bindings.
            if copy == 1 && bytes[at..at + 3] == [192, 0, 2] {
                bytes[at + 3] += 100;
            }
        }
        let microseconds = time.0 / 1_000;
        let time =
            [microseconds / 1_000_000, microseconds % 1_000_000].map(|part| u32::try_from(part).expect("a time"));
        capture.extend(record_header(time, &bytes));
        capture.extend(bytes);
    }
    capture
}

#[test]
#[cfg(debug_assertions)]
fn a_stage_that_panics_costs_one_connection_and_its_frame_is_kept() {
    let scratch = Scratch::new();
    let capture = scratch.write("twice.pcap", twice("mmc20-connect.pcap"));
    let sources = |records: &Records| {
        let alerts = records
            .of_type("alert")
            .filter(|record| record["alert"]["signature_id"] == 1_021_301);
        alerts
            .map(|record| text(&record["src_ip"]).to_owned())
            .collect::<Vec<_>>()
    };
    let whole = replay(["--json".as_ref(), capture.as_os_str()]);
    assert_eq!(sources(&Records::parse(&whole.stdout)), ["192.0.2.20", "192.0.2.120"]);
    for workers in ["1", "2"] {
        let logs = scratch.path(workers);
        let mut command = dcom_sensor();
        command
            .env("DCOM_SENSOR_PANIC_ON", "192.0.2.120")
            .args(["replay", "--json", "--workers", workers, "-o"])
            .arg(&logs)
            .arg(&capture);
        let run = Outcome::from(command.output().expect("the program runs"));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let records = Records::parse(&run.stdout);
        assert_eq!(sources(&records), ["192.0.2.20"], "the other connection is not touched");
        let told = records
            .of_type("anomaly")
            .filter(|record| record["anomaly"]["event"] == "sensor_fault");
        let told = told.count();
        let kept = files(&logs.join("faults"));
        assert!(told > 0);
        assert_eq!(
            (records.counter("dcom.faults"), kept.len()),
            (told as u64, told.min(64))
        );
        let again = replay(["--json".as_ref(), logs.join("faults").join(&kept[0].0).as_os_str()]);
        assert_eq!(again.code, Some(0), "what was kept is a capture: {}", again.stderr);
        assert!(run.stderr.contains("please report it"), "{}", run.stderr);
    }
}
