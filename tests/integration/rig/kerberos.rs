//! Sealed and signed RPC of real clients against Samba's domain controller: what can be read of it without a key.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{PKT_PRIVACY, level};
use crate::calls::{Facts, none_is_wrong};
use crate::program;
use crate::records::{Records, client, elements, server, text};

/// Name, truth, and what the program tells.
static ALL: LazyLock<Vec<(String, Value, Records)>> = LazyLock::new(|| {
    let captures = program::truths_beside("DCOM_KERBEROS", "shared/rig/kerberos").into_iter();
    let all = captures.map(|(path, truth)| (text(&truth["name"]).to_owned(), truth, Records::with_all_calls(&path)));
    all.collect()
});

fn last(frames: &Value) -> Value {
    elements(frames).last().cloned().unwrap_or_default()
}

/// Records of RPC by connection and call id: the client's address, the server's, and the number.
type ByCall<'r> = BTreeMap<(String, String, u64), Vec<&'r Value>>;

fn by_call(records: &Records) -> ByCall<'_> {
    let mut all = ByCall::new();
    for record in records.of_type("dcerpc") {
        let call_id = record["dcerpc"]["call_id"].as_u64().expect("a call has a number");
        let key = (client(record), server(record), call_id);
        all.entry(key).or_default().push(record);
    }
    all
}

fn find<'r>(all: &ByCall<'r>, connection: &Value, call_id: &Value, frame: &Value) -> Option<&'r Value> {
    let call_id = call_id.as_u64().expect("a call has a number");
    let ends = ["client", "server"].map(|end| text(&connection[end]).to_owned());
    let [client, server] = ends;
    let records = all.get(&(client, server, call_id))?;
    records.iter().copied().find(|record| record["pcap_cnt"] == *frame)
}

/// [MS-RPCE] 2.2.1.1.7 Security Providers.
fn service(number: &Value) -> &'static str {
    match number.as_u64() {
        Some(9) => "spnego",
        Some(10) => "ntlm",
        Some(16) => "kerberos",
        _ => "none",
    }
}

fn auth(facts: &mut Facts<'_>, truth: &Value) {
    facts.is("/dcom/auth/service", service(&truth["auth_type"]));
    facts.is(
        "/dcom/auth/level",
        match &truth["auth_level"] {
            Value::Null => "none",
            number => level(number),
        },
    );
    if truth["auth_type"].is_u64() {
        facts.is("/dcom/auth/context_id", truth["auth_context_id"].clone());
    }
}

/// One direction of a call: fragments, and how long its stub is, whether it can be read or not.
fn message(facts: &mut Facts<'_>, truth: &Value, sealed: bool, [size, length]: [&str; 2]) {
    facts.is(&format!("/dcerpc/{size}/frag_cnt"), truth["fragments"].clone());
    let told = json!(truth["stub_length"]);
    facts.is(&format!("/dcerpc/{size}/stub_data_size"), told.clone());
    let sealed = if sealed { told } else { Value::Null };
    facts.is(&format!("/dcom/{length}"), sealed);
}

#[test]
fn every_call_has_its_frames_its_login_and_the_length_of_its_stubs() {
    let (mut wrong, mut checked, mut calls) = (Vec::new(), 0, 0);
    for (name, truth, records) in ALL.iter() {
        let all = by_call(records);
        let expected = elements(&truth["calls"]);
        for call in expected {
            let index = call["connection"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok());
            let connection = &elements(&truth["connections"])[index.expect("an index")];
            let frame = last(&call["request"]["frames"]);
            let place = format!("{name}: frame {frame}");
            let Some(record) = find(&all, connection, &call["call_id"], &frame) else {
                wrong.push(format!("{place}: no such call"));
                continue;
            };
            let mut facts = Facts::of(record, place);
            facts.is("/reply_pcap_cnt", last(&call["response"]["frames"]));
            facts.is("/dcerpc/req/opnum", call["opnum"].clone());
            facts.is("/dcerpc/interfaces/0/uuid", call["interface"].clone());
            facts.is("/dcerpc/interfaces/0/version", call["interface_version"].clone());
            // Behind a login at level connect calls have no verifier of their own.
            let login = elements(&connection["security_contexts"]).first();
            match login.filter(|_| call["auth_type"].is_null()) {
                Some(login) => {
                    facts.is("/dcom/auth/service", service(&login["auth_type"]));
                    facts.is("/dcom/auth/level", "connect");
                }
                None => auth(&mut facts, call),
            }
            let sealed = call["auth_level"] == PKT_PRIVACY;
            message(&mut facts, &call["request"], sealed, ["req", "sealed_stub_length"]);
            match call["fault"].as_str() {
                Some(fault) => {
                    facts.is("/dcerpc/response", "FAULT");
                    let told = text(&record["dcom"]["fault"]);
                    assert!(told.contains(fault), "{name}: frame {frame}: {told}, expected {fault}");
                }
                None => message(&mut facts, &call["response"], sealed, ["res", "sealed_reply_length"]),
            }
            checked += facts.checked;
            wrong.extend(facts.into_wrong());
            calls += 1;
        }
        let found = records.requests().len();
        if found != expected.len() {
            wrong.push(format!("{name}: {found} calls, expected {}", expected.len()));
        }
    }
    none_is_wrong(&wrong, checked);
    assert!(calls > 400 || ALL.is_empty(), "{calls} calls are too few to be all");
}

#[test]
fn every_bind_has_its_offers_its_login_and_what_was_agreed() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (name, truth, records) in ALL.iter() {
        let all = by_call(records);
        for connection in elements(&truth["connections"]) {
            let handshake = elements(&connection["handshake"]);
            for offer in handshake.iter().filter(|pdu| pdu["offered"].is_array()) {
                let place = format!("{name}: frame {}", offer["frame"]);
                let Some(record) = find(&all, connection, &offer["call_id"], &offer["frame"]) else {
                    wrong.push(format!("{place}: no such offer"));
                    continue;
                };
                let offered: Vec<&Value> = elements(&offer["offered"]).iter().map(|it| &it["uuid"]).collect();
                let told: Vec<&Value> = elements(&record["dcerpc"]["interfaces"])
                    .iter()
                    .map(|it| &it["uuid"])
                    .collect();
                assert_eq!(told, offered, "{place}");
                let mut facts = Facts::of(record, place);
                if offer["auth_type"].is_u64() {
                    auth(&mut facts, offer);
                }
                if offer["type"] == "bind" && offer["auth_type"].is_u64() {
                    facts.is("/dcom/header_signing", connection["header_signing_accepted"].clone());
                }
                checked += facts.checked;
                wrong.extend(facts.into_wrong());
            }
        }
    }
    none_is_wrong(&wrong, checked);
    assert!(checked > 300 || ALL.is_empty(), "{checked} facts are too few to be all");
}

#[test]
fn calls_in_several_security_contexts_name_the_ticket_of_each() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (name, truth, records) in ALL.iter() {
        for connection in elements(&truth["connections"]) {
            let tickets = elements(&connection["security_contexts"]).iter();
            let tickets: Vec<_> = tickets.filter(|it| it["ticket_service"].is_string()).collect();
            let calls = records
                .requests()
                .into_iter()
                .filter(|record| connection["client"] == client(record) && connection["server"] == server(record));
            for record in calls {
                let context = &record["dcom"]["auth"]["context_id"];
                let Some(ticket) = tickets.iter().find(|ticket| ticket["auth_context_id"] == *context) else {
                    continue;
                };
                let (service, realm) = text(&ticket["ticket_service"]).rsplit_once('@').expect("a realm");
                let mut facts = Facts::of(record, format!("{name}: frame {}", record["pcap_cnt"]));
                facts.is("/dcom/auth/service_name", service);
                facts.is("/dcom/auth/realm", realm);
                checked += facts.checked;
                wrong.extend(facts.into_wrong());
            }
        }
    }
    none_is_wrong(&wrong, checked);
    assert!(checked > 300 || ALL.is_empty(), "{checked} facts are too few to be all");
}
