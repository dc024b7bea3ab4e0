//! The program's view: PDUs through its library, everything above out of its records.

use std::path::Path;

use serde_json::Value;

use super::{Facts, View, pdus};
use crate::records::{Records, elements, text};

pub(super) fn view(path: &Path) -> View {
    let mut view = View::default();
    pdus::read(path, &mut view.facts);
    let records = Records::with_all_calls(path);
    for record in records.requests() {
        let interface = &record["dcerpc"]["interfaces"][0];
        let name = |key: &str| interface[key].as_str().unwrap_or("?").to_owned();
        let operation = format!("{}::{}", name("service"), name("procedure"));
        for key in ["pcap_cnt", "reply_pcap_cnt"] {
            if let Some(frame) = record[key].as_u64() {
                view.operations.insert(frame, operation.clone());
            }
        }
    }
    for record in records.of_type("dcerpc").filter(|record| is_in_pipe(record)) {
        in_pipe(record, &mut view.facts);
    }
    // Of mgmt, tshark's fields are not asked for.
    let told = records
        .of_type("dcom")
        .filter(|record| record["dcom"]["interface"]["name"] != "mgmt");
    for record in told {
        if let Some(frame) = record["pcap_cnt"].as_u64() {
            asked(&record["dcom"], frame, &mut view.facts);
        }
        if let Some(frame) = record["reply_pcap_cnt"].as_u64() {
            answered(&record["dcom"], frame, &mut view.facts);
        }
    }
    view
}

/// SMB's ports, without and with `NetBIOS`.
fn is_in_pipe(record: &Value) -> bool {
    [445, 139].map(Value::from).contains(&record["dest_port"])
}

/// The PDUs of an exchange in a named pipe: `pdus` cuts TCP's alone.
fn in_pipe(record: &Value, facts: &mut Facts) {
    let dcerpc = &record["dcerpc"];
    let mut tell = |frame: &str, kind, value: String| {
        if let (Some(frame), false) = (record[frame].as_u64(), value.is_empty()) {
            facts.insert((frame, kind, value));
        }
    };
    let list = |key: &str| {
        let values = elements(&dcerpc["interfaces"]).iter().map(|interface| &interface[key]);
        let values = values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        values.collect::<Vec<_>>().join(" ")
    };
    let (asked, answered) = (dcerpc["request"].as_str(), dcerpc["response"].as_str());
    for (side, name) in [("pcap_cnt", asked), ("reply_pcap_cnt", answered)] {
        if let Some(kind) = name.and_then(ptype) {
            tell(side, "pdus", format!("{kind}/{}", dcerpc["call_id"]));
        }
    }
    if asked == Some("REQUEST") {
        tell("pcap_cnt", "opnums", dcerpc["req"]["opnum"].to_string());
    } else {
        tell("pcap_cnt", "offered", list("uuid"));
        tell("reply_pcap_cnt", "results", list("ack_result"));
    }
}

/// C706 12.6.4 Connection-oriented PDU types, by the names in the events.
fn ptype(name: &str) -> Option<u8> {
    Some(match name {
        "REQUEST" => 0,
        "RESPONSE" => 2,
        "FAULT" => 3,
        "BIND" => 11,
        "BINDACK" => 12,
        "BINDNAK" => 13,
        "ALTER_CONTEXT" => 14,
        "ALTER_CONTEXT_RESP" => 15,
        _ => return None,
    })
}

/// Texts in source order: only what is no number, for which of the arguments were texts, the records do not say. Of long
/// texts the beginning, for tshark cuts them.
pub(super) fn texts<'t>(arguments: impl Iterator<Item = &'t str>) -> Option<String> {
    let texts = arguments.filter(|text| text.parse::<f64>().is_err() && !text.is_empty());
    let texts: Vec<String> = texts.map(|text| text.chars().take(LONGEST).collect()).collect();
    (!texts.is_empty()).then(|| texts.join(" | "))
}

/// Characters of a text that are compared.
const LONGEST: usize = 240;

fn asked(dcom: &Value, frame: u64, facts: &mut Facts) {
    let mut tell = |kind, value: &Value| {
        if let Some(value) = value.as_str() {
            facts.insert((frame, kind, value.to_owned()));
        }
    };
    let arguments = elements(&dcom["arguments"]);
    // A call's class is that of the activation it descends from.
    if dcom["kind"] == "activation" {
        tell("clsid", &dcom["clsid"]);
    }
    for iid in elements(&dcom["iids"]) {
        tell("iid", &iid["uuid"]);
    }
    match text(&dcom["operation"]) {
        "RemQueryInterface" | "RemQueryInterface2" | "RemAddRef" | "RemRelease" => {
            let others = arguments.iter().filter(|ipid| **ipid != dcom["ipid"]);
            others.for_each(|ipid| tell("ipid", ipid));
        }
        "ResolveOxid" | "ResolveOxid2" => tell("oxid", &dcom["oxid"]),
        "GetIDsOfNames" => arguments.iter().for_each(|name| tell("name", name)),
        "Invoke" => {
            if let Some(dispid) = dcom.get("dispid") {
                tell("dispid", &dispid.to_string().into());
            }
            if let Some(texts) = texts(arguments.iter().map(text)) {
                tell("bstrs", &texts.into());
            }
        }
        _ => {}
    }
}

fn answered(dcom: &Value, frame: u64, facts: &mut Facts) {
    let mut tell = |kind, value: &Value| {
        if let Some(value) = value.as_str() {
            facts.insert((frame, kind, value.to_owned()));
        }
    };
    for tower in elements(&dcom["towers"]) {
        tell("tower", &tower["uuid"]);
        if tower["protocol_sequence"] == "ncacn_ip_tcp" {
            tell("port", &tower["endpoint"]);
        }
    }
    if dcom["kind"] == "endpoint_mapping" {
        return;
    }
    tell("hresult", &dcom["hresult"]);
    if dcom["kind"] != "oxid_resolution" {
        tell("oxid", &dcom["oxid"]);
    }
    tell("ipid", &dcom["ipid_rem_unknown"]);
    for ipid in elements(&dcom["ipids"]) {
        tell("ipid", ipid);
    }
    for binding in elements(&dcom["bindings"]) {
        tell("binding", binding);
    }
    if dcom["operation"] == "GetIDsOfNames"
        && let Some(dispids) = dcom["result"].as_str()
    {
        dispids.split(' ').for_each(|dispid| tell("dispid", &dispid.into()));
    }
}
