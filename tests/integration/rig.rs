//! Captures of real clients against an emulated server, each with the truth as server and client know it.
//!
//! They are made by the rig that also made the captures in pcaps/, and kept beside the workspace.

mod calls;
mod kerberos;
mod sealed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::program;
use crate::records::{Records, client, elements, server, text};

/// [MS-RPCE] 2.2.1.1.8 Authentication Levels, `RPC_C_AUTHN_LEVEL_PKT_PRIVACY`: the stub is sealed.
const PKT_PRIVACY: u64 = 6;

/// `IActivation`, `IRemoteSCMActivator`: what asks for an object.
const ACTIVATORS: [&str; 2] = [
    "4d9f4ab8-7d1c-11cf-861e-0020af6e7c57",
    "000001a0-0000-0000-c000-000000000046",
];

struct Scenario {
    name: String,
    capture: PathBuf,
    truth: Value,
    records: Records,
}

static RIG: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    let captures = program::truths_beside("DCOM_RIG", "shared/rig/out").into_iter();
    let mut all: Vec<Scenario> = captures
        .map(|(capture, truth)| Scenario {
            name: text(&truth["name"]).to_owned(),
            records: Records::of(&capture),
            capture,
            truth,
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
});

impl Scenario {
    fn calls(&self) -> &[Value] {
        elements(&self.truth["calls"])
    }

    /// Calls for an object, as the server heard them.
    fn activation_calls(&self) -> impl Iterator<Item = &Value> {
        self.calls().iter().filter(|call| {
            let by_name = ["IRemoteSCMActivator", "IActivation"].map(|name| call["interface"] == name);
            by_name.contains(&true) || ACTIVATORS.iter().any(|iid| call["iid"] == *iid)
        })
    }
}

/// The exporter that an activation names is the object's, told only when there is an object.
fn activation(truth: &Value, hint: &Value) -> Value {
    let succeeded = truth["result"] == "0x00000000";
    let if_there = |value: &Value| if succeeded { value.clone() } else { Value::Null };
    let ipids = if_there(&truth["ipids"]);
    json!({
        "operation": truth["method"], "clsid": truth["clsid"], "iids": truth["iids"],
        "hresult": truth["result"], "outcome": if succeeded { "succeeded" } else { "failed" },
        "oxid": if_there(&truth["oxid"]), "ipids": ipids,
        "ipid_rem_unknown": if_there(&truth["ipid_rem_unknown"]),
        "authn_hint": if succeeded { json!(level(hint)) } else { Value::Null },
        "level": level(&truth["auth_level"]), "evidence": "class",
    })
}

fn level(number: &Value) -> &'static str {
    match number.as_u64() {
        Some(1) => "none",
        Some(2) => "connect",
        Some(4) => "pkt",
        Some(5) => "pkt_integrity",
        Some(PKT_PRIVACY) => "pkt_privacy",
        _ => panic!("no authentication level: {number}"),
    }
}

fn our_activation(record: &Value) -> Value {
    let dcom = &record["dcom"];
    json!({
        "operation": dcom["operation"], "clsid": dcom["clsid"],
        "iids": elements(&dcom["iids"]).iter().map(|iid| iid["uuid"].clone()).collect::<Value>(),
        "hresult": dcom["hresult"], "outcome": dcom["outcome"],
        "oxid": dcom["oxid"], "ipids": dcom["ipids"], "ipid_rem_unknown": dcom["ipid_rem_unknown"],
        "authn_hint": dcom["authn_hint"],
        "level": dcom["auth"]["level"], "evidence": dcom["evidence"],
    })
}

#[test]
fn activations_that_can_be_read_are_found_and_none_beyond() {
    for scenario in RIG.iter() {
        let hint = &scenario.truth["authn_hint"];
        let expected: Vec<Value> = elements(&scenario.truth["activations"])
            .iter()
            .filter(|truth| truth["auth_level"] != PKT_PRIVACY)
            .map(|truth| activation(truth, hint))
            .collect();
        let records = scenario.records.dcom("activation");
        let readable = records
            .iter()
            .filter(|record| record["dcom"]["auth"]["level"] != "pkt_privacy");
        let ours: Vec<Value> = readable.map(|record| our_activation(record)).collect();
        assert_eq!(ours, expected, "{}: found, then expected", scenario.name);
        for (record, truth) in records.iter().zip(elements(&scenario.truth["activations"])) {
            if let Some(class) = record["dcom"]["class"].as_str() {
                // The catalogue says in parentheses what a class is for.
                assert_eq!(class.split(" (").next(), truth["class"].as_str(), "{}", scenario.name);
            }
        }
    }
}

#[test]
fn sealed_activations_are_recorded_as_what_they_are() {
    let mut sealed = 0;
    for scenario in RIG.iter() {
        let expected: Vec<Value> = scenario
            .activation_calls()
            .filter(|call| call["auth_level"] == PKT_PRIVACY)
            .map(|call| json!({ "opnum": call["opnum"], "evidence": "header", "sealed_stub_length": call["request_stub_length"] }))
            .collect();
        let records = scenario.records.dcom("activation");
        let of_sealed = records
            .iter()
            .filter(|record| record["dcom"]["auth"]["level"] == "pkt_privacy");
        let ours: Vec<Value> = of_sealed
            .map(|record| {
                let dcom = &record["dcom"];
                for unreadable in [
                    "clsid", "class", "iids", "oxid", "ipids", "bindings", "hresult", "endpoint",
                ] {
                    assert_eq!(dcom.get(unreadable), None, "{}: {unreadable}", scenario.name);
                }
                let length = match dcom["sealed_stub_length"].as_u64() {
                    // A call that was refused is not told in full by the server.
                    Some(_) if dcom["fault"].is_string() => Value::Null,
                    length => json!(length),
                };
                json!({ "opnum": dcom["opnum"], "evidence": dcom["evidence"], "sealed_stub_length": length })
            })
            .collect();
        assert_eq!(ours, expected, "{}: found, then expected", scenario.name);
        sealed += ours.len();
    }
    assert!(sealed > 15 || RIG.is_empty(), "{sealed} are too few to be all");
}

#[test]
fn an_alert_is_raised_for_each_abused_class_that_can_be_read() {
    let mut alerts = 0;
    for scenario in RIG.iter() {
        let abused = [
            "MMC20.Application",
            "ShellWindows",
            "ShellBrowserWindow",
            "Excel.Application",
        ];
        let expected: Vec<u64> = elements(&scenario.truth["activations"])
            .iter()
            .filter(|truth| truth["auth_level"] != PKT_PRIVACY && abused.iter().any(|class| truth["class"] == *class))
            .map(|truth| {
                if truth["result"] == "0x00000000" {
                    1_021_301
                } else {
                    1_021_302
                }
            })
            .collect();
        let mut told = scenario.records.signatures();
        told.retain(|signature| (1_021_301..=1_021_302).contains(signature));
        assert_eq!(told, expected, "{}", scenario.name);
        if !expected.is_empty() {
            assert_eq!(scenario.truth["t1021_003"], true, "{}", scenario.name);
        }
        alerts += expected.len();
    }
    assert!(alerts > 15 || RIG.is_empty(), "{alerts} are too few to be all");
}

#[test]
fn an_alert_is_raised_for_each_command_that_can_be_read() {
    let mut commands = 0;
    for scenario in RIG.iter() {
        let readable = scenario.truth["visible_without_key"]["object_calls"] == true;
        let expected: Vec<String> = elements(&scenario.truth["commands"])
            .iter()
            .filter(|_| readable)
            .map(|command| {
                let (program, parameters) = (&command["command"], &command["parameters"]);
                format!(
                    "{} {}",
                    program.as_str().unwrap_or_default(),
                    parameters.as_str().unwrap_or_default()
                )
            })
            .collect();
        let alerts: Vec<&Value> = scenario
            .records
            .of_type("alert")
            .filter(|alert| alert["alert"]["signature_id"] == 1_021_303)
            .collect();
        let told: Vec<&str> = alerts
            .iter()
            .filter_map(|alert| alert["dcom"]["command_line"].as_str())
            .collect();
        assert_eq!(told, expected, "{}", scenario.name);
        for alert in alerts {
            assert_eq!(alert["dcom"]["client"]["user"], scenario.truth["credentials"]["user"]);
            assert_eq!(alert["dcom"]["evidence"], "arguments");
            assert_eq!(alert["dcom"]["class"], scenario.truth["activations"][0]["class"]);
        }
        commands += expected.len();
    }
    assert!(commands >= 20 || RIG.is_empty(), "{commands} are too few to be all");
}

/// A call as both sides can tell it: interface, opnum, bytes of stub, fragments, transfer, how it ended.
type Calls = BTreeMap<(String, String), Vec<Value>>;

#[test]
fn every_call_of_every_connection_is_seen_in_its_order() {
    let mut calls = 0;
    for scenario in RIG.iter() {
        let ends = |call: &Value| {
            let index = call["conn"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok())
                .expect("an index");
            let connection = &elements(&scenario.truth["connections"])[index];
            assert_eq!(connection["index"], index);
            (
                text(&connection["client"]).to_owned(),
                text(&connection["server"]).to_owned(),
            )
        };
        let mut expected = Calls::new();
        let mut ours = Calls::new();
        for call in scenario.calls().iter().filter(|call| call["iid"].is_string()) {
            let answer = if call["fault"].is_string() { "FAULT" } else { "RESPONSE" };
            expected.entry(ends(call)).or_default().push(json!({
                "call_id": call["call_id"], "iid": call["iid"], "opnum": call["opnum"],
                "stub": call["request_stub_length"], "fragments": call["request_fragments"], "answer": answer,
            }));
        }
        // Of a call that it refused, the server knows less.
        let refused: Vec<(String, String)> = scenario
            .calls()
            .iter()
            .filter(|call| !call["iid"].is_string())
            .map(ends)
            .collect();
        for record in scenario.records.requests() {
            let dcerpc = &record["dcerpc"];
            let connection = (client(record), server(record));
            if refused.contains(&connection) {
                assert_eq!(dcerpc["response"], "FAULT", "{}", scenario.name);
                continue;
            }
            ours.entry(connection).or_default().push(json!({
                "call_id": dcerpc["call_id"], "iid": dcerpc["interfaces"][0]["uuid"], "opnum": dcerpc["req"]["opnum"],
                "stub": dcerpc["req"]["stub_data_size"], "fragments": dcerpc["req"]["frag_cnt"], "answer": dcerpc["response"],
            }));
            calls += 1;
        }
        assert_eq!(ours, expected, "{}: found, then expected", scenario.name);
    }
    assert!(calls > 300 || RIG.is_empty(), "{calls} calls are too few to be all");
}

#[test]
fn response_stubs_have_the_servers_length() {
    let mut compared = 0;
    for scenario in RIG.iter() {
        let records = scenario.records.requests();
        for call in scenario.calls() {
            let Some(stub) = call["response_stub"].as_str() else {
                continue;
            };
            let index = call["conn"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok())
                .expect("an index");
            let connection = &elements(&scenario.truth["connections"])[index];
            let ours = records.iter().find(|record| {
                record["dcerpc"]["call_id"] == call["call_id"]
                    && connection["client"] == client(record)
                    && connection["server"] == server(record)
            });
            let size = &ours.expect("every call is seen")["dcerpc"]["res"];
            assert_eq!(size["stub_data_size"], stub.len() / 2, "{}", scenario.name);
            assert_eq!(size["frag_cnt"], call["response_fragments"], "{}", scenario.name);
            compared += 1;
        }
    }
    assert!(compared > 300 || RIG.is_empty(), "{compared} are too few to be all");
}
