//! Object calls as the server heard them.

use std::sync::LazyLock;

use serde_json::Value;

use super::{PKT_PRIVACY, RIG, Scenario, level};
use crate::calls::Facts;
use crate::records::{Records, client, elements, server, text};

/// Interfaces of objects.
const CALLED: [&str; 4] = ["IDispatch", "IRemUnknown", "IWbemLevel1Login", "IWbemServices"];

/// Each scenario's records with all calls.
static ALL: LazyLock<Vec<(&Scenario, Records)>> = LazyLock::new(|| {
    let all = RIG
        .iter()
        .map(|scenario| (scenario, Records::with_all_calls(&scenario.capture)));
    all.collect()
});

/// Of the resolver, which is no object, only `ServerAlive2` is a call that says something; pings and refused calls of it
/// stand among the RPC exchanges.
fn is_call(truth: &Value) -> bool {
    let on_an_object = CALLED.iter().any(|name| truth["interface"] == *name);
    on_an_object || (truth["method"] == "ServerAlive2" && truth["fault"].is_null())
}

/// Frames of a call's request and answer, by its connection and its call id.
fn frames(scenario: &Scenario, truth: &Value) -> (Value, Value) {
    let index = truth["conn"].as_u64().and_then(|index| usize::try_from(index).ok());
    let connection = &elements(&scenario.truth["connections"])[index.expect("an index")];
    let requests = scenario.records.requests();
    let request = requests.iter().find(|record| {
        record["dcerpc"]["call_id"] == truth["call_id"]
            && connection["client"] == client(record)
            && connection["server"] == server(record)
    });
    let request = request.expect("every call is seen");
    (request["pcap_cnt"].clone(), request["reply_pcap_cnt"].clone())
}

fn header(facts: &mut Facts<'_>, truth: &Value) {
    facts.is("/dcom/interface/uuid", truth["iid"].clone());
    facts.is("/dcom/interface/name", truth["interface"].clone());
    facts.is("/dcom/opnum", truth["opnum"].clone());
    facts.is("/dcom/operation", truth["method"].clone());
    facts.is("/dcom/ipid", truth["object_ipid"].clone());
    facts.is("/dcom/auth/level", level(&truth["auth_level"]));
}

/// What stands in the stubs.
fn stubs(facts: &mut Facts<'_>, truth: &Value) {
    let arguments = &truth["args"];
    facts.is("/dcom/sealed_stub_length", Value::Null);
    facts.is("/dcom/evidence", "arguments");
    facts.is("/dcom/hresult", truth["result"].clone());
    facts.list("/dcom/ipids", elements(&truth["returned_ipids"]).to_vec());
    match truth["method"].as_str() {
        Some("GetIDsOfNames") => {
            facts.list("/dcom/arguments", elements(&arguments["names"]).to_vec());
            let dispids = elements(&truth["dispids"]).iter().map(Value::to_string);
            let dispids = dispids.collect::<Vec<_>>().join(" ");
            if truth["result"] == "0x00000000" {
                facts.is("/dcom/result", dispids);
            }
        }
        Some("Invoke") => {
            facts.is("/dcom/dispid", arguments["dispid"].clone());
            facts.list("/dcom/arguments", elements(&arguments["args"]).to_vec());
        }
        Some("RemQueryInterface") => {
            facts.list("/dcom/arguments", [arguments["ripid"].clone()]);
            facts.iids(elements(&arguments["iids"]).to_vec());
        }
        Some("RemAddRef" | "RemRelease") => {
            let references = elements(&arguments["refs"]).iter();
            facts.list("/dcom/arguments", references.map(|reference| reference[0].clone()));
        }
        Some("NTLMLogin") => {
            let namespace = format!("namespace={}", text(&arguments["namespace"]));
            facts.is("/dcom/arguments/0", namespace);
        }
        _ => {}
    }
}

#[test]
fn every_call_is_recorded_as_the_server_heard_it_and_none_beyond() {
    let (mut wrong, mut calls, mut checked) = (Vec::new(), 0, 0);
    for (scenario, records) in ALL.iter() {
        let mut expected: Vec<((Value, Value), &Value)> = scenario
            .calls()
            .iter()
            .filter(|truth| is_call(truth))
            .map(|truth| (frames(scenario, truth), truth))
            .collect();
        expected.sort_by_key(|((request, _), _)| request.as_u64());
        let ours = records.dcom("call");
        if ours.len() != expected.len() {
            let (found, wanted) = (ours.len(), expected.len());
            wrong.push(format!("{}: {found} calls, expected {wanted}", scenario.name));
        }
        for (((request, answer), truth), record) in expected.into_iter().zip(ours) {
            let place = format!("{}: frame {request}, {}", scenario.name, truth["method"]);
            let mut facts = Facts::of(record, place);
            facts.is("/pcap_cnt", request);
            facts.is("/reply_pcap_cnt", answer);
            header(&mut facts, truth);
            facts.is("/dcom/fault", truth["fault"].clone());
            if truth["auth_level"] == PKT_PRIVACY {
                facts.sealed(&truth["request_stub_length"]);
            } else {
                stubs(&mut facts, truth);
            }
            checked += facts.checked;
            wrong.extend(facts.into_wrong());
            calls += 1;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {checked} facts:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(calls > 250 || RIG.is_empty(), "{calls} calls are too few to be all");
}

/// Everything that was passed to a method, call by call.
fn invoked(records: &Records) -> Vec<&[Value]> {
    let calls = records.dcom("call").into_iter();
    let invokes = calls.filter(|record| record["dcom"]["operation"] == "Invoke");
    invokes.map(|record| elements(&record["dcom"]["arguments"])).collect()
}

#[test]
fn command_lines_stand_where_they_can_be_read_and_nowhere_else() {
    let (mut read, mut sealed) = (0, 0);
    for (scenario, records) in ALL.iter() {
        let readable = scenario.truth["visible_without_key"]["object_calls"] == true;
        let invoked = invoked(records);
        for command in elements(&scenario.truth["commands"]) {
            let parts: Vec<&Value> = ["command", "parameters"]
                .iter()
                .filter_map(|key| command.get(key))
                .collect();
            let told = invoked
                .iter()
                .any(|arguments| parts.iter().all(|part| arguments.contains(part)));
            assert_eq!(told, readable, "{}: {parts:?}", scenario.name);
            // As a whole, it is what the scenario says.
            let line = parts.iter().map(|part| text(part)).collect::<Vec<_>>().join(" ");
            let lines = elements(&scenario.truth["expected_command_lines"]);
            assert!(
                lines.iter().any(|expected| *expected == line),
                "{}: {line}",
                scenario.name
            );
            *(if readable { &mut read } else { &mut sealed }) += 1;
        }
        if !readable {
            for record in records.all() {
                let told = record.to_string();
                for line in elements(&scenario.truth["expected_command_lines"]) {
                    let (_, parameters) = text(line).split_once(' ').expect("a program and its parameters");
                    let parameters = Value::from(parameters).to_string();
                    assert!(
                        !told.contains(parameters.trim_matches('"')),
                        "{}: {told}",
                        scenario.name
                    );
                }
            }
        }
    }
    assert!(
        RIG.is_empty() || (read > 10 && sealed > 10),
        "{read} and {sealed} are too few to be all"
    );
}
