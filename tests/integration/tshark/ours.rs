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

/// [MS-RPCE] 2.2.1.1.7 Security Providers: the number behind a name, as tshark prints it.
fn number(service: &Value) -> Value {
    let number = match text(service) {
        "spnego" => "0x0009",
        "ntlm" => "0x000a",
        "schannel" => "0x000e",
        "kerberos" => "0x0010",
        other => other,
    };
    number.into()
}

fn answered(dcom: &Value, frame: u64, facts: &mut Facts) {
    let mut tell = |kind, value: &Value| {
        if let Some(value) = value.as_str() {
            facts.insert((frame, kind, value.to_owned()));
        }
    };
    for tower in elements(&dcom["towers"]) {
        tell("tower", &tower["uuid"]);
        tell("annotation", &tower["annotation"]);
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
    for binding in elements(&dcom["security_bindings"]) {
        tell("authn_service", &number(&binding["authn_service"]));
        tell("principal", &binding["principal"]);
    }
    if dcom["operation"] == "Invoke"
        // An object's IPID is one of `ipids`.
        && let Some(texts) = texts(dcom["result"].as_str().into_iter().filter(|it| !it.starts_with("IDispatch ")))
    {
        tell("result", &texts.into());
    }
    if dcom["operation"] == "GetIDsOfNames"
        && let Some(dispids) = dcom["result"].as_str()
    {
        dispids.split(' ').for_each(|dispid| tell("dispid", &dispid.into()));
    }
}
