//! Object calls of real clients, each as the truth has it, and none beyond.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{CORPUS, Real};
use crate::calls::{Facts, interface_name, none_is_wrong};
use crate::records::{Records, client, elements, server, text};

/// `svcctl`, [MS-SCMR] 1.9 Standards Assignments: recorded too, though its calls are not made on objects.
const SVCCTL: &str = "367abb81-9844-35f1-ad32-98f038001003";

/// Each capture's records with all calls.
static ALL: LazyLock<Vec<(&Real, Records)>> = LazyLock::new(|| {
    let all = CORPUS.iter().map(|real| (real, Records::with_all_calls(&real.capture)));
    all.collect()
});

/// Calls of a truth that are recorded as calls: a resolution is recorded as what it is.
fn expected(real: &Real) -> Vec<&Value> {
    let calls = elements(&real.truth["calls"]).iter();
    calls
        .filter(|call| !text(&call["op_name"]).starts_with("ResolveOxid"))
        .collect()
}

/// Calls on objects, in the order of their requests.
fn object_calls(records: &Records) -> Vec<&Value> {
    let mut calls = records.dcom("call");
    calls.retain(|record| record["dcom"]["interface"]["uuid"] != SVCCTL);
    calls
}

/// The operation's name: the truth adds the interface's where a name is used twice.
fn operation(truth: &Value) -> &str {
    match text(&truth["op_name"]) {
        // [MS-DCOM] has no IClassFactory; in Windows' headers the operation on the wire is RemoteCreateInstance.
        "RemoteCreateInstance(IClassFactory)" => "RemoteCreateInstance",
        name => name,
    }
}

fn header(facts: &mut Facts<'_>, truth: &Value) {
    facts.is("/reply_pcap_cnt", truth["response_frame"].clone());
    facts.is("/dcom/interface/uuid", truth["interface"].clone());
    facts.is("/dcom/interface/name", interface_name(&truth["interface_name"]));
    facts.is("/dcom/opnum", truth["opnum"].clone());
    facts.is("/dcom/operation", operation(truth));
    facts.is("/dcom/ipid", truth["ipid"].clone());
    let (service, level) = truth["auth"].as_str().map_or(("none", "none"), |auth| {
        auth.split_once('/').expect("service and level")
    });
    facts.is("/dcom/auth/service", service);
    facts.is("/dcom/auth/level", level);
    facts.is("/dcom/bind_seen", truth["interface_known_by"] == "bind");
}

/// The frame of the activation whose exporter the call went to.
fn activation_before(real: &Real, truth: &Value) -> Value {
    let mut activations = elements(&real.truth["activations"]).iter();
    let followed = |activation: &&Value| {
        let connections = elements(&activation["following"]);
        connections
            .iter()
            .any(|it| it["client"] == truth["client"] && it["server"] == truth["server"])
    };
    let activation = activations.rfind(followed);
    activation.map_or(Value::Null, |activation| activation["request_frame"].clone())
}

/// What the records make of a variant: as in source, a hole is an empty text.
fn variant(truth: &Value) -> Value {
    match text(&truth["vt"]) {
        "EMPTY" => json!(""),
        "BSTR" => truth["value"].clone(),
        "DISPATCH" => json!(format!("IDispatch {}", text(&truth["objref"]["ipid"]))),
        _ => json!(truth["value"].to_string()),
    }
}

/// What stands in the stubs, as far as the truth tells it.
fn stubs(facts: &mut Facts<'_>, truth: &Value) {
    facts.is("/dcom/evidence", "arguments");
    facts.is("/dcom/sealed_stub_length", Value::Null);
    let ipids = |list: &Value| -> Vec<Value> { elements(list).iter().map(|it| it["ipid"].clone()).collect() };
    match text(&truth["op_name"]) {
        "RemQueryInterface" => {
            facts.list("/dcom/arguments", [truth["ripid"].clone()]);
            facts.iids(elements(&truth["iids"]).iter().map(|iid| iid["iid"].clone()));
            let mut results = ipids(&truth["results"]);
            results.retain(|ipid| ipid != "00000000-0000-0000-0000-000000000000");
            facts.list("/dcom/ipids", results);
        }
        "RemRelease" => facts.list("/dcom/arguments", ipids(&truth["refs"])),
        "GetIDsOfNames" => {
            facts.list("/dcom/arguments", elements(&truth["names"]).to_vec());
            let dispids: Vec<String> = elements(&truth["dispids"]).iter().map(Value::to_string).collect();
            facts.is("/dcom/result", dispids.join(" "));
        }
        "Invoke" => {
            facts.is("/dcom/dispid", truth["dispid"].clone());
            // On the wire the last argument stands first: [MS-OAUT] 2.2.33 DISPPARAMS.
            facts.list("/dcom/arguments", elements(&truth["args"]).iter().rev().map(variant));
            facts.is(
                "/dcom/result",
                match &truth["response"]["result"] {
                    result if result["vt"] == "EMPTY" || result.is_null() => Value::Null,
                    result => variant(result),
                },
            );
            facts.is("/dcom/hresult", truth["response"]["hresult"].clone());
        }
        "RemoteCreateInstance(IClassFactory)" => facts.iids([truth["iid"].clone()]),
        "ServerAlive2" => {
            let bindings = elements(&truth["string_bindings"]).iter();
            facts.list("/dcom/bindings", bindings.map(|binding| binding["addr"].clone()));
        }
        "SetClientInfo" => {
            let machine = format!("client_machine={}", text(&truth["client_machine"]));
            facts.is("/dcom/arguments/0", machine);
            if let Some(process) = truth.get("client_pid") {
                facts.is("/dcom/arguments/1", format!("client_process={process}"));
            }
        }
        "NTLMLogin" => facts.is("/dcom/arguments/0", format!("namespace={}", text(&truth["namespace"]))),
        _ => {}
    }
    if truth.get("objrefs_returned").is_some() {
        facts.list("/dcom/ipids", ipids(&truth["objrefs_returned"]));
    }
    if let Some(hresult) = truth.get("hresult") {
        facts.is("/dcom/hresult", hresult.clone());
    }
}

#[test]
fn every_object_call_is_recorded_as_the_truth_has_it() {
    let (mut wrong, mut calls, mut checked) = (Vec::new(), 0, 0);
    for (real, records) in ALL.iter() {
        let records = object_calls(records);
        for truth in expected(real) {
            let place = format!("{}: frame {}", real.name, truth["frame"]);
            let same = |record: &&&Value| {
                record["pcap_cnt"] == truth["frame"]
                    && truth["client"] == client(record)
                    && truth["server"] == server(record)
            };
            let Some(record) = records.iter().find(same) else {
                wrong.push(format!("{place}: no {} recorded", truth["op_name"]));
                continue;
            };
            let mut facts = Facts::of(record, place);
            header(&mut facts, truth);
            // IRemUnknown is shared by all objects of an exporter, and a type's description is nobody's.
            let of_the_object = !["IRemUnknown2", "ITypeInfo"]
                .iter()
                .any(|name| truth["interface_name"] == *name);
            if truth["ipid"].is_string() && of_the_object {
                facts.is("/dcom/activation/pcap_cnt", activation_before(real, truth));
            }
            if truth["encrypted"] == true {
                facts.sealed(&truth["stub_len"]);
            } else {
                stubs(&mut facts, truth);
            }
            checked += facts.checked;
            wrong.extend(facts.into_wrong());
            calls += 1;
        }
    }
    none_is_wrong(&wrong, checked);
    assert!(calls > 100 || CORPUS.is_empty(), "{calls} calls are too few to be all");
}

#[test]
fn no_object_call_is_recorded_that_the_truth_does_not_have() {
    for (real, records) in ALL.iter() {
        let place = |frame: &Value, client: String, server: String| (frame.to_string(), client, server);
        let mut expected: Vec<_> = expected(real)
            .into_iter()
            .map(|truth| {
                place(
                    &truth["frame"],
                    text(&truth["client"]).to_owned(),
                    text(&truth["server"]).to_owned(),
                )
            })
            .collect();
        let calls = object_calls(records);
        let mut ours: Vec<_> = calls
            .iter()
            .map(|record| place(&record["pcap_cnt"], client(record), server(record)))
            .collect();
        expected.sort();
        ours.sort();
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
    }
}

#[test]
fn calls_of_the_service_manager_are_those_that_were_made() {
    for (real, records) in ALL.iter() {
        let mut expected = BTreeMap::<u64, u64>::new();
        for connection in elements(&real.truth["rpc_connections"]) {
            for (key, count) in connection["requests"].as_object().expect("requests by interface") {
                if let Some(rest) = key.strip_prefix(SVCCTL) {
                    let opnum = rest.split('|').nth(1).and_then(|opnum| opnum.parse().ok());
                    *expected.entry(opnum.expect("a number")).or_default() += count.as_u64().expect("a count");
                }
            }
        }
        let mut ours = BTreeMap::<u64, u64>::new();
        for record in records.dcom("call") {
            if record["dcom"]["interface"]["uuid"] == SVCCTL {
                *ours
                    .entry(record["dcom"]["opnum"].as_u64().expect("a number"))
                    .or_default() += 1;
            }
        }
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
    }
}

/// Requests by interface and opnum.
type Requests = BTreeMap<(String, u64), u64>;

#[test]
fn every_connection_has_the_requests_that_were_made() {
    let mut counted = 0;
    for (real, records) in ALL.iter() {
        for connection in elements(&real.truth["rpc_connections"]) {
            let mut expected = Requests::new();
            for (key, count) in connection["requests"].as_object().expect("requests by interface") {
                let (interface, rest) = key.split_once(' ').expect("an identifier and a name");
                let opnum = rest.split('|').nth(1).and_then(|opnum| opnum.parse().ok());
                let key = (interface.to_owned(), opnum.expect("a number"));
                *expected.entry(key).or_default() += count.as_u64().expect("a count");
            }
            let mut ours = Requests::new();
            let here =
                |record: &&&Value| connection["client"] == client(record) && connection["server"] == server(record);
            for record in records.requests().iter().filter(here) {
                let dcerpc = &record["dcerpc"];
                let interface = text(&dcerpc["interfaces"][0]["uuid"]).to_owned();
                let opnum = dcerpc["req"]["opnum"].as_u64().expect("a number");
                *ours.entry((interface, opnum)).or_default() += 1;
            }
            counted += ours.values().sum::<u64>();
            assert_eq!(
                ours, expected,
                "{}: {}: found, then expected",
                real.name, connection["client"]
            );
        }
    }
    assert!(
        counted > 120 || CORPUS.is_empty(),
        "{counted} requests are too few to be all"
    );
}

#[test]
fn in_mid_stream_every_call_is_named_by_its_ipid() {
    let Some((_, records)) = ALL.iter().find(|(real, _)| real.name == "mmc20-midstream") else {
        assert!(CORPUS.is_empty(), "the corpus lacks mmc20-midstream");
        return;
    };
    let calls = object_calls(records);
    assert_eq!(calls.len(), 36);
    for record in calls {
        let because = elements(&record["dcom"]["because"]);
        let told = because
            .iter()
            .any(|because| text(because).starts_with("interface told by its IPID, from frame "));
        assert!(told, "frame {}: {because:?}", record["pcap_cnt"]);
    }
}

#[test]
fn the_command_line_stands_in_the_call_that_ran_it() {
    for (name, frame, part) in [
        ("mmc20-midstream", 73, "/c notepad.exe"),
        (
            "shellwindows-empire",
            286,
            "/c %COMSPEC% /C start /b C:\\Windows\\System32\\WindowsPowershell\\v1.0\\powershell -noP -sta -w 1 -enc ",
        ),
        ("excel-registerxll-covenant", 159, "C:\\\\programdata\\calc.xll"),
    ] {
        let Some((_, records)) = ALL.iter().find(|(real, _)| real.name == name) else {
            assert!(CORPUS.is_empty(), "the corpus lacks {name}");
            return;
        };
        let holders: Vec<u64> = object_calls(records)
            .into_iter()
            .filter(|record| {
                elements(&record["dcom"]["arguments"])
                    .iter()
                    .any(|it| text(it).starts_with(part))
            })
            .filter_map(|record| record["pcap_cnt"].as_u64())
            .collect();
        assert_eq!(holders, [frame], "{name}");
    }
}

#[test]
fn activations_tell_context_and_session_and_the_account_behind_the_object() {
    let mut told = 0;
    for real in CORPUS.iter() {
        let truths = elements(&real.truth["activations"]).iter();
        for (truth, record) in truths.zip(real.records.dcom("activation")) {
            let mut facts = Facts::of(record, &real.name);
            // [MS-DCOM] 2.2.22.2.2 SpecialPropertiesData: 0xFFFFFFFF means that no session was asked for.
            let session = &truth["request"]["session_id"];
            facts.is(
                "/dcom/session_id",
                if *session == 0xFFFF_FFFF_u32 {
                    Value::Null
                } else {
                    session.clone()
                },
            );
            facts.is("/dcom/class_context", truth["request"]["class_ctx"].clone());
            let principals = elements(&truth["response"]["security_bindings"]).iter();
            let account = principals
                .map(|binding| text(&binding["principal"]))
                .find(|it| !it.is_empty());
            facts.is("/dcom/server/runs_as", account);
            told += facts.checked;
            let wrong = facts.into_wrong();
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    }
    assert!(told >= 10 || CORPUS.is_empty(), "{told} facts are too few to be all");
}
