//! `flow` events and Suricata's, of the same captures.

use std::collections::BTreeMap;

use dcom_sensor::capture::{CaptureFile, Input};
use dcom_sensor::decode::{Decoded, Decoder};
use serde_json::{Value, json};

use super::{CORPUS, Real};
use crate::records::{Records, client, server};

/// What Suricata passes over: IPv4 packets whose length is 0, as segmentation offload leaves them. Packets and bytes, by
/// source and destination.
fn without_length(real: &Real) -> BTreeMap<[String; 2], [u64; 2]> {
    let mut found = BTreeMap::<_, [u64; 2]>::new();
    let mut capture = CaptureFile::open(&Input::File(real.capture.clone())).expect("the capture can be opened");
    let mut decoder = Decoder::default();
    while let Some(frame) = capture.next_frame().expect("the capture can be read") {
        // Behind Ethernet's header: the ether type, and IPv4's total length.
        if frame.bytes.get(12..14) != Some(&[8, 0]) || frame.bytes.get(16..18) != Some(&[0, 0]) {
            continue;
        }
        let Some(Decoded::Segment(segment)) = decoder.push(&frame) else {
            continue;
        };
        let ends = [segment.source, segment.destination].map(|end| format!("{}:{}", end.address, end.port));
        let [packets, bytes] = found.entry(ends).or_default();
        *packets += 1;
        *bytes += frame.bytes.len() as u64;
    }
    found
}

/// Suricata's record, turned around where it took the server for the client.
fn turned(theirs: &Value, ours: &Value) -> Value {
    let mut turned = theirs.clone();
    if client(theirs) == client(ours) {
        return turned;
    }
    assert_eq!(client(theirs), server(ours));
    for name in ["pkts", "bytes"] {
        let [to_server, to_client] = ["toserver", "toclient"].map(|side| format!("{name}_{side}"));
        turned["flow"][&to_server] = theirs["flow"][&to_client].clone();
        turned["flow"][&to_client] = theirs["flow"][&to_server].clone();
    }
    turned["tcp"]["tcp_flags_ts"] = theirs["tcp"]["tcp_flags_tc"].clone();
    turned["tcp"]["tcp_flags_tc"] = theirs["tcp"]["tcp_flags_ts"].clone();
    turned
}

/// Holds one of ours against Suricata's. True when Suricata saw every packet.
fn compare(ours: &Value, theirs: &Value, passed_over: &BTreeMap<[String; 2], [u64; 2]>) -> bool {
    let theirs = turned(theirs, ours);
    let (from, to) = (client(ours), server(ours));
    let mut whole = true;
    for (ends, side) in [([from.clone(), to.clone()], "toserver"), ([to, from], "toclient")] {
        let missing = passed_over.get(&ends).copied().unwrap_or_default();
        whole &= missing == [0; 2];
        for (name, missing) in ["pkts", "bytes"].into_iter().zip(missing) {
            let name = format!("{name}_{side}");
            let count = |record: &Value| record["flow"][&name].as_u64().expect("a count");
            assert_eq!(count(ours), count(&theirs) + missing, "{name}, then Suricata's: {ours}");
        }
    }
    for name in ["start", "end", "age", "state"] {
        assert_eq!(ours["flow"][name], theirs["flow"][name], "{name}: {ours}");
    }
    for name in "tcp_flags tcp_flags_ts tcp_flags_tc syn fin rst psh ack urg ecn cwr state".split(' ') {
        assert_eq!(ours["tcp"][name], theirs["tcp"][name], "{name}: {ours}");
    }
    for name in ["app_proto", "proto", "community_id", "vlan"] {
        assert_eq!(ours[name], theirs[name], "{name}: {ours}");
    }
    // Suricata says that something is lost where it passed packets over, and of one side alone: we say what is lost.
    let lost = ours["dcom"]["bytes_missing"].as_u64().unwrap_or_default() > 0;
    let said = |record: &Value| {
        ["ts_gap", "tc_gap"]
            .map(|name| record["tcp"][name] == json!(true))
            .contains(&true)
    };
    assert_eq!(said(ours), lost, "{ours}");
    assert_eq!(said(&theirs), lost || !whole, "{theirs}");
    whole
}

#[test]
fn flows_are_counted_as_suricata_counts_them() {
    let (mut compared, mut whole) = (0, 0);
    for real in CORPUS.iter() {
        let theirs = Records::parse(&real.beside("suricata-9.eve.json").expect("what Suricata says"));
        let theirs: Vec<&Value> = theirs.of_type("flow").collect();
        let ours: Vec<&Value> = real.records.of_type("flow").collect();
        let passed_over = without_length(real);
        for &flow in &ours {
            let same = |other: &&&Value| other["community_id"] == flow["community_id"];
            let found: Vec<_> = theirs.iter().filter(same).collect();
            let [found] = found.as_slice() else {
                panic!("{}: Suricata has {} of {flow}", real.name, found.len());
            };
            whole += usize::from(compare(flow, found, &passed_over));
            compared += 1;
        }
        for rpc in theirs.iter().filter(|record| record["app_proto"] == "dcerpc") {
            let found = ours
                .iter()
                .filter(|record| record["community_id"] == rpc["community_id"]);
            assert_eq!(found.count(), 1, "{}: {rpc}", real.name);
        }
    }
    assert!(
        CORPUS.is_empty() || (compared >= 15 && whole >= 10),
        "{compared}, {whole}"
    );
}

#[test]
fn a_flow_tells_what_its_connection_brought() {
    for real in CORPUS.iter() {
        let flows: Vec<&Value> = real.records.of_type("flow").collect();
        let sum = |pointer: &str| {
            flows
                .iter()
                .filter_map(|flow| flow.pointer(pointer)?.as_u64())
                .sum::<u64>()
        };
        for (of_flows, of_all) in [
            ("/dcom/rpc/pdus", "dcom.rpc.pdus"),
            ("/dcom/rpc/calls", "dcom.rpc.calls"),
            ("/dcom/rpc/faults", "dcom.rpc.faults"),
            ("/dcom/rpc/unanswered", "dcom.rpc.unanswered"),
            ("/dcom/rpc/sealed", "dcom.rpc.sealed"),
            ("/dcom/activations", "dcom.activations"),
            ("/dcom/oxid_resolutions", "dcom.oxid_resolutions"),
            ("/dcom/endpoint_mappings", "dcom.endpoint_mappings"),
            ("/dcom/calls", "dcom.calls"),
        ] {
            assert_eq!(sum(of_flows), real.records.counter(of_all), "{}: {of_flows}", real.name);
        }
        for flow in flows {
            let of_it = |record: &&Value| record["flow_id"] == flow["flow_id"];
            let alerts = real.records.of_type("alert").filter(of_it).count();
            let told = flow["dcom"]["alerts"].as_u64().unwrap_or_default();
            assert_eq!(told, alerts as u64, "{}: {flow}", real.name);
            assert_eq!(flow["flow"]["alerted"], json!(alerts > 0));
        }
    }
}
