//! What somebody does who knows that he is watched: each row is played, and docs/EVASION.md tells what came of it.

mod packets;
mod pdus;
mod rows;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use dcom_sensor::Sensor;
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::event::anomaly::AnomalyKind;
use dcom_sensor::event::{Body, Event};
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;

use crate::traffic::{RAW_IP, frame};
use packets::Packet;

/// One trick.
struct Row {
    /// What is done, as the table says it.
    does: &'static str,
    packets: fn() -> Vec<Packet>,
    told: Told,
}

/// What the sensor says to it.
enum Told {
    /// The alert, as if nothing had been done.
    Alert,
    /// The alert, and what was odd.
    AlertAnd(&'static [&'static str]),
    /// No alert, but that something was odd.
    Only(&'static [&'static str]),
    /// Nothing.
    Nothing,
}

impl Told {
    /// Is there an alert, and which anomalies?
    fn expected(&self) -> (bool, &'static [&'static str]) {
        match *self {
            Self::Alert => (true, &[]),
            Self::AlertAnd(odd) => (true, odd),
            Self::Only(odd) => (false, odd),
            Self::Nothing => (false, &[]),
        }
    }
}

/// What a sensor says of packets that are a millisecond apart, or as much more as they say.
fn sense(packets: &[Packet]) -> Vec<Event> {
    let mut sensor = Sensor::new(Catalog::built_in(), Limits::default(), Calls::All);
    let mut events = Vec::new();
    let mut time = Timestamp(1_600_000_000_000_000_000);
    let mut number = 0;
    for packet in packets {
        time = Timestamp(time.0 + 1_000_000 + packet.pause_ms * 1_000_000);
        for bytes in packet.write() {
            number += 1;
            sensor.push(&frame(RAW_IP, &bytes, number, time), &mut events);
        }
    }
    sensor.finish(&mut events);
    events
}

/// Was the activation's alert raised, and which anomalies were told of the streams, or of a stub too long?
fn came_of(packets: &[Packet]) -> (bool, Vec<String>) {
    let mut alert = false;
    let mut odd = Vec::new();
    for event in sense(packets) {
        match event.body {
            Body::Alert(told) => alert |= (1_021_301..=1_021_302).contains(&told.signature_id),
            Body::Anomaly(anomaly)
                if anomaly.kind == AnomalyKind::Stream
                    || anomaly.event == "oversized_stub"
                    || anomaly.event == "pdu_of_the_other_side"
                    || anomaly.event == "call_id_used_again"
                    || anomaly.event == "mixed_byte_order"
                    || anomaly.event.ends_with("call_pushed_out") =>
            {
                odd.push(anomaly.event.to_string());
            }
            _ => {}
        }
    }
    odd.sort();
    odd.dedup();
    (alert, odd)
}

#[test]
fn each_trick_comes_to_what_its_row_says() {
    assert_eq!(came_of(&packets::plain()), (true, Vec::new()), "without any trick");
    let mut wrong = Vec::new();
    for row in rows::ROWS {
        let (alert, odd) = came_of(&(row.packets)());
        let (expected_alert, expected) = row.told.expected();
        if alert != expected_alert || odd != expected {
            wrong.push((row.does, alert, odd));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_request_cut_at_any_byte_is_the_same_request() {
    let plain = packets::plain();
    let target = packets::activation(&plain);
    for at in 1..plain[target].payload.len() {
        let mut cut = plain.clone();
        let (first, second) = plain[target].halves(at);
        cut.splice(target..=target, [first, second]);
        assert_eq!(came_of(&cut), (true, Vec::new()), "cut at {at}");
    }
}

#[test]
fn evasion_md_is_what_the_rows_say() {
    let mut table = String::from("| what is done | alert | told as odd |\n|---|---|---|\n");
    for row in rows::ROWS {
        let (alert, odd) = row.told.expected();
        let (alert, odd) = (if alert { "yes" } else { "no" }, odd.join("`, `"));
        let odd = if odd.is_empty() {
            "–".to_owned()
        } else {
            format!("`{odd}`")
        };
        writeln!(table, "| {} | {alert} | {odd} |", row.does).expect("a string can be written");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVASION.md");
    let page = fs::read_to_string(&path).expect("docs/EVASION.md can be read");
    let (before, rest) = page.split_once("<!-- table -->\n").expect("a place for the table");
    let (_, after) = rest.split_once("<!-- end -->").expect("its end");
    let said = format!("{before}<!-- table -->\n{table}<!-- end -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &said).expect("docs/EVASION.md can be written");
    } else {
        assert!(
            page == said,
            "docs/EVASION.md is out of date: UPDATE_DOCS=1 cargo test rewrites it"
        );
    }
}
