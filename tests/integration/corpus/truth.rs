//! Every entry of a truth is found, and nothing beyond them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::CORPUS;
use crate::records::{client, elements, server, text};

/// [MS-RPCE] 2.2.1.1.7 Security Providers by the names that logs use; a number without one prints as hex.
fn service(number: &Value) -> String {
    match number.as_u64().expect("a security provider is a number") {
        9 => "spnego".to_owned(),
        10 => "ntlm".to_owned(),
        14 => "schannel".to_owned(),
        16 => "kerberos".to_owned(),
        other => format!("0x{other:04x}"),
    }
}

/// [MS-RPCE] 2.2.1.1.8 Authentication Levels.
fn level(number: &Value) -> &'static str {
    let names = [
        "default",
        "none",
        "connect",
        "call",
        "pkt",
        "pkt_integrity",
        "pkt_privacy",
    ];
    let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
    number.and_then(|number| names.get(number)).expect("a known level")
}

/// Values of one key in a list of objects.
fn each(list: &Value, key: &str) -> Value {
    elements(list).iter().map(|element| element[key].clone()).collect()
}

fn security(bindings: &Value) -> Value {
    let binding = |binding: &Value| match text(&binding["principal"]) {
        "" => json!({ "authn_service": service(&binding["authn_svc"]) }),
        principal => json!({ "authn_service": service(&binding["authn_svc"]), "principal": principal }),
    };
    elements(bindings).iter().map(binding).collect()
}

/// The port that was followed, and that it was.
fn endpoint(following: &Value, learned_from: &str) -> Value {
    let Some(first) = elements(following).first() else {
        return Value::Null;
    };
    let (ip, port) = text(&first["server"]).rsplit_once(':').expect("address and port");
    let port: u16 = port.parse().expect("a port");
    json!({ "ip": ip, "port": port, "learned_from": learned_from, "followed": true })
}

/// What an activation's record must say, in the record's own keys.
fn activation(truth: &Value, bind_seen: &Value) -> Value {
    let (asked, answer) = (&truth["request"], &truth["response"]);
    json!({
        "client": truth["client"], "server": truth["server"],
        "pcap_cnt": truth["request_frame"], "reply_pcap_cnt": truth["response_frame"],
        "operation": truth["op"], "opnum": truth["opnum"], "interface": truth["interface"],
        "clsid": truth["clsid"], "class": truth["class_name"], "iids": each(&truth["iids"], "iid"),
        "target_name": asked["coserverinfo_name"], "causality": asked["cid"],
        "hresult": truth["hresult"], "outcome": "succeeded",
        "oxid": truth["oxid"], "ipids": truth["ipids"], "ipid_rem_unknown": answer["ipid_rem_unknown"],
        "authn_hint": level(&answer["authn_hint"]), "bindings": each(&truth["string_bindings"], "addr"),
        "security_bindings": security(&answer["security_bindings"]),
        "endpoint": endpoint(&truth["following"], "oxid_binding"),
        "bind_seen": bind_seen, "evidence": "class",
    })
}

fn our_activation(record: &Value) -> Value {
    let dcom = &record["dcom"];
    json!({
        "client": client(record), "server": server(record),
        "pcap_cnt": record["pcap_cnt"], "reply_pcap_cnt": record["reply_pcap_cnt"],
        "operation": dcom["operation"], "opnum": dcom["opnum"], "interface": dcom["interface"]["uuid"],
        "clsid": dcom["clsid"], "class": dcom["class"], "iids": each(&dcom["iids"], "uuid"),
        "target_name": dcom["target_name"], "causality": dcom["causality"],
        "hresult": dcom["hresult"], "outcome": dcom["outcome"],
        "oxid": dcom["oxid"], "ipids": dcom["ipids"], "ipid_rem_unknown": dcom["ipid_rem_unknown"],
        "authn_hint": dcom["authn_hint"], "bindings": dcom["bindings"],
        "security_bindings": dcom["security_bindings"],
        "endpoint": dcom["endpoint"],
        "bind_seen": dcom["bind_seen"], "evidence": dcom["evidence"],
    })
}

/// The truth's connection between two ends.
fn connection<'t>(truth: &'t Value, client: &Value, server: &Value) -> &'t Value {
    elements(&truth["rpc_connections"])
        .iter()
        .find(|connection| connection["client"] == *client && connection["server"] == *server)
        .expect("an activation has its connection")
}

#[test]
fn every_activation_is_found_and_none_beyond() {
    for real in CORPUS.iter() {
        let expected: Vec<Value> = elements(&real.truth["activations"])
            .iter()
            .map(|truth| {
                let connection = connection(&real.truth, &truth["client"], &truth["server"]);
                activation(truth, &connection["bind_seen"])
            })
            .collect();
        let ours: Vec<Value> = real
            .records
            .dcom("activation")
            .into_iter()
            .map(our_activation)
            .collect();
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
    }
}

#[test]
fn who_called_whom_is_read_from_the_activations_connection() {
    let mut told = 0;
    for real in CORPUS.iter() {
        for record in real.records.dcom("activation") {
            let truth = connection(&real.truth, &json!(client(record)), &json!(server(record)));
            let message = |kind: u64| {
                elements(&truth["ntlm"])
                    .iter()
                    .find(move |message| message["type"] == kind)
            };
            let mut expected = Vec::new();
            if let Some(authenticate) = message(3) {
                expected.extend(
                    ["user", "domain", "workstation"].map(|key| (format!("/client/{key}"), authenticate[key].clone())),
                );
            }
            if let Some(challenge) = message(2) {
                expected.push(("/server/netbios".to_owned(), challenge["nb_computer"].clone()));
                expected.push(("/server/dns".to_owned(), challenge["dns_computer"].clone()));
            }
            if let Some(ticket) = elements(&truth["kerberos"]).first() {
                expected.push(("/auth/realm".to_owned(), ticket["realm"].clone()));
                expected.push(("/auth/service_name".to_owned(), ticket["sname"].clone()));
                expected.push(("/auth/mechanism".to_owned(), json!("kerberos")));
            }
            if let Some(auth) = elements(&truth["auth"]).first() {
                expected.push(("/auth/service".to_owned(), auth["type"].clone()));
                expected.push(("/auth/level".to_owned(), auth["level"].clone()));
            }
            told += expected.len();
            for (pointer, value) in expected {
                assert_eq!(
                    record["dcom"].pointer(&pointer),
                    Some(&value),
                    "{}: {pointer}",
                    real.name
                );
            }
        }
    }
    assert!(told > 10 || CORPUS.is_empty(), "{told} facts are too few to be all");
}

fn resolution(truth: &Value) -> Value {
    json!({
        "client": truth["client"], "server": truth["server"],
        "pcap_cnt": truth["request_frame"], "reply_pcap_cnt": truth["response_frame"],
        "operation": truth["op"], "oxid": truth["oxid"], "ipid_rem_unknown": truth["ipid_rem_unknown"],
        "hresult": truth["status"], "fault": truth["fault"],
        "bindings": each(&truth["string_bindings"], "addr"),
        "security_bindings": security(&truth["security_bindings"]),
        "endpoint": endpoint(&truth["following"], "resolve_oxid"),
    })
}

fn our_resolution(record: &Value) -> Value {
    let dcom = &record["dcom"];
    json!({
        "client": client(record), "server": server(record),
        "pcap_cnt": record["pcap_cnt"], "reply_pcap_cnt": record["reply_pcap_cnt"],
        "operation": dcom["operation"], "oxid": dcom["oxid"], "ipid_rem_unknown": dcom["ipid_rem_unknown"],
        "hresult": dcom["hresult"], "fault": dcom["fault"],
        "bindings": dcom["bindings"],
        "security_bindings": dcom["security_bindings"],
        "endpoint": dcom["endpoint"],
    })
}

#[test]
fn every_oxid_resolution_is_found_and_none_beyond() {
    for real in CORPUS.iter() {
        let expected: Vec<Value> = elements(&real.truth["oxid_resolutions"])
            .iter()
            .map(resolution)
            .collect();
        let ours: Vec<Value> = real
            .records
            .dcom("oxid_resolution")
            .into_iter()
            .map(our_resolution)
            .collect();
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
    }
}

/// A tower as the record tells it: what is empty in the truth is left out.
fn tower(truth: &Value) -> Value {
    let port = truth["tcp_port"].as_u64().map(|port| json!(port.to_string()));
    let named = ["pipe", "lrpc"].iter().find_map(|key| truth.get(*key).cloned());
    let mut tower = json!({
        "uuid": truth["uuid"], "version": truth["version"], "transfer_syntax": truth["transfer"],
        "protocol_sequence": truth["proto"], "endpoint": port.or(named),
    });
    for (key, value) in [
        ("address", truth.get("ip").or(truth.get("netbios"))),
        ("annotation", truth.get("annotation")),
    ] {
        if let Some(value) = value.filter(|value| **value != "") {
            tower[key] = value.clone();
        }
    }
    tower
}

#[test]
fn every_tower_of_the_endpoint_mapper_is_read() {
    let mut towers = 0;
    for real in CORPUS.iter() {
        let expected: Vec<Value> = elements(&real.truth["epm"])
            .iter()
            .map(|truth| {
                json!({
                    "client": truth["client"], "server": truth["server"],
                    "pcap_cnt": truth["request_frame"], "reply_pcap_cnt": truth["response_frame"],
                    "operation": truth["op"], "hresult": truth["status"],
                    "towers": elements(&truth["towers"]).iter().map(tower).collect::<Value>(),
                })
            })
            .collect();
        let ours = real.records.dcom("endpoint_mapping").into_iter().map(|record| {
            let dcom = &record["dcom"];
            json!({
                "client": client(record), "server": server(record),
                "pcap_cnt": record["pcap_cnt"], "reply_pcap_cnt": record["reply_pcap_cnt"],
                "operation": dcom["operation"], "hresult": dcom["hresult"], "towers": dcom["towers"],
            })
        });
        let ours: Vec<Value> = ours.collect();
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
        towers += ours
            .iter()
            .map(|mapping| elements(&mapping["towers"]).len())
            .sum::<usize>();
    }
    assert!(
        towers == 347 || CORPUS.is_empty() || std::env::var_os("DCOM_CORPUS").is_some(),
        "{towers} towers"
    );
}

#[test]
fn every_call_on_a_connection_whose_bind_was_seen_is_counted_under_its_interface() {
    type Calls = BTreeMap<(String, String), BTreeMap<(String, u64), u64>>;
    let mut calls = 0;
    for real in CORPUS.iter() {
        let mut expected = Calls::new();
        for truth in elements(&real.truth["rpc_connections"])
            .iter()
            .filter(|it| it["bind_seen"] == true)
        {
            let requests = truth["requests"].as_object().expect("requests by interface");
            let counts = requests.iter().map(|(key, count)| {
                // `<uuid> <name>|<opnum>|<name>`
                let (uuid, rest) = key.split_once(' ').expect("an identifier and a name");
                let opnum = rest.split('|').nth(1).and_then(|opnum| opnum.parse().ok());
                (
                    (uuid.to_owned(), opnum.expect("a number")),
                    count.as_u64().expect("a count"),
                )
            });
            expected.insert(
                (text(&truth["client"]).to_owned(), text(&truth["server"]).to_owned()),
                counts.collect(),
            );
        }
        let mut ours = Calls::new();
        for record in real.records.requests() {
            let connection = (client(record), server(record));
            if expected.contains_key(&connection) {
                let uuid = text(&record["dcerpc"]["interfaces"][0]["uuid"]).to_owned();
                let opnum = record["dcerpc"]["req"]["opnum"].as_u64().expect("an opnum");
                *ours.entry(connection).or_default().entry((uuid, opnum)).or_default() += 1;
                calls += 1;
            }
        }
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
    }
    assert!(calls > 80 || CORPUS.is_empty(), "{calls} calls are too few to be all");
}

#[test]
fn rpc_is_seen_where_it_is_and_its_answers_are_counted() {
    for real in CORPUS.iter() {
        let mut expected = BTreeMap::new();
        for truth in elements(&real.truth["rpc_connections"]) {
            let ends = (text(&truth["client"]).to_owned(), text(&truth["server"]).to_owned());
            let faults = elements(&truth["faults"]).len() as u64;
            expected.insert(ends, (truth["responses"].as_u64().expect("a count"), faults));
        }
        let mut ours = BTreeMap::new();
        for record in real.records.of_type("dcerpc") {
            let (responses, faults) = ours.entry((client(record), server(record))).or_default();
            match record["dcerpc"]["response"].as_str() {
                Some("RESPONSE") => *responses += 1,
                Some("FAULT") => *faults += 1,
                _ => {}
            }
        }
        assert_eq!(ours, expected, "{}: found, then expected", real.name);
        let named: BTreeSet<_> = real
            .records
            .of_type("dcom")
            .map(|record| (client(record), server(record)))
            .collect();
        assert!(named.iter().all(|ends| expected.contains_key(ends)), "{}", real.name);
    }
}

#[test]
fn every_object_call_stands_at_its_frames_with_its_stub() {
    let mut calls = 0;
    for real in CORPUS.iter() {
        let requests = real.records.requests();
        for truth in elements(&real.truth["calls"]) {
            let ours = requests.iter().find(|record| {
                record["pcap_cnt"] == truth["frame"]
                    && record["dcerpc"]["call_id"] == truth["call_id"]
                    && truth["client"] == client(record)
                    && truth["server"] == server(record)
            });
            let record = ours.unwrap_or_else(|| panic!("{}: no call at frame {}", real.name, truth["frame"]));
            let dcerpc = &record["dcerpc"];
            let seen = json!({
                "reply": record.get("reply_pcap_cnt"), "opnum": dcerpc["req"]["opnum"], "stub": dcerpc["req"]["stub_data_size"],
            });
            let expected = json!({
                "reply": truth["response_frame"], "opnum": truth["opnum"], "stub": truth["stub_len"],
            });
            assert_eq!(
                seen, expected,
                "{}: frame {}: found, then expected",
                real.name, truth["frame"]
            );
            if truth["interface_known_by"] == "bind" {
                assert_eq!(dcerpc["interfaces"][0]["uuid"], truth["interface"], "{}", real.name);
            }
            calls += 1;
        }
    }
    assert!(calls > 100 || CORPUS.is_empty(), "{calls} calls are too few to be all");
}
