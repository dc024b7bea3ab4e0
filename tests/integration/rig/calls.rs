//! Object calls as the server heard them.

use std::sync::LazyLock;

use serde_json::Value;

use super::{PKT_PRIVACY, RIG, Scenario, level};
use crate::calls::{Facts, none_is_wrong};
use crate::records::{Records, client, elements, server, text};

/// Interfaces whose calls are recorded as calls, but for the resolver's resolutions.
const CALLED: [&str; 6] = [
    "IDispatch",
    "IRemUnknown",
    "IObjectExporter",
    "IWbemLevel1Login",
    "IWbemServices",
    "mgmt",
];

/// Each scenario's records with all calls.
static ALL: LazyLock<Vec<(&Scenario, Records)>> = LazyLock::new(|| {
    let all = RIG
        .iter()
        .map(|scenario| (scenario, Records::with_all_calls(&scenario.capture)));
    all.collect()
});

fn is_call(truth: &Value) -> bool {
    let resolves = ["ResolveOxid", "ResolveOxid2"]
        .iter()
        .any(|name| truth["method"] == *name);
    CALLED.iter().any(|name| truth["interface"] == *name) && !resolves
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
    let unnamed = format!("unknown-{}", truth["opnum"]);
    facts.is("/dcom/operation", truth["method"].as_str().unwrap_or(&unnamed));
    facts.is("/dcom/ipid", truth["object_ipid"].clone());
    facts.is("/dcom/auth/level", level(&truth["auth_level"]));
}

/// What stands in the stubs.
fn stubs(facts: &mut Facts<'_>, truth: &Value) {
    let arguments = &truth["args"];
    facts.is("/dcom/sealed_stub_length", Value::Null);
    // What was refused may have been no request at all.
    if truth["fault"].is_null() {
        facts.is("/dcom/evidence", "arguments");
    }
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
            // A fault stands with its name, when it has one.
            let fault = record["dcom"]["fault"]
                .as_str()
                .map(|fault| &fault[fault.find("0x").unwrap_or(0)..]);
            assert_eq!(
                fault.map(|fault| fault.trim_end_matches(')')),
                truth["fault"].as_str(),
                "{}",
                scenario.name
            );
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
    none_is_wrong(&wrong, checked);
    assert!(calls > 250 || RIG.is_empty(), "{calls} calls are too few to be all");
}

#[test]
fn methods_are_called_by_the_names_that_the_client_asked_for() {
    let (mut wrong, mut named) = (Vec::new(), 0);
    for (scenario, records) in ALL.iter() {
        for truth in scenario.calls().iter().filter(|truth| truth["method"] == "Invoke") {
            let (Some(member), (frame, _)) = (truth["args"]["member"].as_str(), frames(scenario, truth)) else {
                continue;
            };
            if truth["auth_level"] == PKT_PRIVACY {
                continue;
            }
            let calls = records.dcom("call");
            let call = calls.iter().find(|record| record["pcap_cnt"] == frame);
            let found = &call.expect("the call is recorded")["dcom"]["method"];
            if found != member {
                wrong.push(format!(
                    "{}: frame {frame}: found {found}, expected {member}",
                    scenario.name
                ));
            }
            named += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 30 || RIG.is_empty(), "{named} are too few to be all");
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
            let assembled = records.all().any(|record| record["dcom"]["command_line"] == line);
            assert_eq!(assembled, readable, "{}: {line}", scenario.name);
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
