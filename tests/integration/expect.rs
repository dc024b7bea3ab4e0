//! pcaps/expect.toml tells what must be found in each sample capture: that, and nothing beyond it.

use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::program;
use crate::records::{Records, elements, text};

#[derive(Deserialize)]
struct Expectations {
    capture: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    file: String,
    #[serde(flatten)]
    found: Found,
}

/// What is in a capture, whoever says so.
#[derive(Debug, Deserialize, PartialEq)]
struct Found {
    oxid_resolutions: usize,
    server_alives: usize,
    endpoint_mappings: usize,
    mapped_ports: Vec<u16>,
    endpoint_lookups: usize,
    bytes_missing: u64,
    alerts: Vec<String>,
    #[serde(default)]
    activations: Vec<Activation>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Activation {
    clsid: String,
    operation: String,
    outcome: String,
    hresult: Option<String>,
    fault: Option<String>,
    frame: u64,
    reply_frame: Option<u64>,
    port: Option<u16>,
    followed: bool,
}

impl Found {
    fn by_us(records: &Records) -> Self {
        let mappings = records.dcom("endpoint_mapping");
        let called = |operation: &str| {
            let is_called = |record: &&&Value| record["dcom"]["operation"] == operation;
            mappings.iter().filter(is_called).count()
        };
        let alive = |record: &&&Value| {
            let interface = &record["dcerpc"]["interfaces"][0];
            matches!(interface["procedure"].as_str(), Some("ServerAlive" | "ServerAlive2"))
        };
        Self {
            oxid_resolutions: records.dcom("oxid_resolution").len(),
            server_alives: records.requests().iter().filter(alive).count(),
            endpoint_mappings: called("ept_map"),
            mapped_ports: mappings.iter().flat_map(|record| mapped_ports(record)).collect(),
            endpoint_lookups: called("ept_lookup"),
            bytes_missing: records.counter("dcom.flow.bytes_missing"),
            alerts: records.signatures().into_iter().filter_map(signature).collect(),
            activations: records.dcom("activation").into_iter().map(Activation::of).collect(),
        }
    }
}

/// The ports that an answer of `ept_map` names and that were followed.
fn mapped_ports(record: &Value) -> Vec<u16> {
    let dcom = &record["dcom"];
    if dcom["operation"] != "ept_map" {
        return Vec::new();
    }
    let ports: Vec<u16> = elements(&dcom["towers"])
        .iter()
        .filter(|tower| tower["protocol_sequence"] == "ncacn_ip_tcp")
        .map(|tower| text(&tower["endpoint"]).parse().expect("a port"))
        .collect();
    let followed = dcom["endpoint"]["followed"] == true && dcom["endpoint"]["learned_from"] == "ept_map";
    let endpoint = dcom["endpoint"]["port"].as_u64();
    assert_eq!(
        ports.first().copied().map(u64::from),
        endpoint.filter(|_| followed),
        "the tower's port is the endpoint that is followed"
    );
    ports
}

/// What is expected of activations; the table of all alerts is another test's.
fn signature(id: u64) -> Option<String> {
    let name = match id {
        1_021_301 => "remote-activation",
        1_021_302 => "remote-activation-attempt",
        _ => return None,
    };
    Some(name.to_owned())
}

impl Activation {
    fn of(record: &Value) -> Self {
        let dcom = &record["dcom"];
        let optional = |value: &Value| value.as_str().map(str::to_owned);
        let sealed = dcom["evidence"] == "header" && dcom["sealed_stub_length"].is_u64();
        let port = dcom["endpoint"]["port"].as_u64();
        Self {
            clsid: if sealed {
                assert_eq!(dcom["clsid"], Value::Null, "a sealed class cannot be told");
                "sealed".to_owned()
            } else {
                assert_eq!(dcom["evidence"], "class");
                text(&dcom["clsid"]).to_owned()
            },
            operation: text(&dcom["operation"]).to_owned(),
            outcome: optional(&dcom["outcome"]).unwrap_or_else(|| "unreadable".to_owned()),
            hresult: optional(&dcom["hresult"]),
            fault: optional(&dcom["fault"]).map(|fault| number(&fault).to_owned()),
            frame: record["pcap_cnt"].as_u64().expect("a frame number"),
            reply_frame: record["reply_pcap_cnt"].as_u64(),
            port: port.map(|port| u16::try_from(port).expect("a port")),
            followed: dcom["endpoint"]["followed"] == true,
        }
    }
}

/// The number in `ERROR_ACCESS_DENIED (0x00000005)`.
fn number(fault: &str) -> &str {
    let start = fault.find("0x").unwrap_or_else(|| panic!("no number in {fault}"));
    fault[start..].trim_end_matches(')')
}

#[test]
fn what_must_be_found_is_found_and_nothing_beyond() {
    let written = fs::read_to_string(program::pcaps().join("expect.toml")).expect("expect.toml can be read");
    let expectations: Expectations = toml::from_str(&written).expect("expect.toml can be read");
    let mut named: Vec<_> = expectations.capture.iter().map(|capture| &capture.file).collect();
    named.sort();
    assert_eq!(named, program::all_pcaps().iter().collect::<Vec<_>>());
    for Expected { file, found } in &expectations.capture {
        let ours = Found::by_us(&Records::of(&program::pcap(file)));
        assert_eq!(&ours, found, "{file}: found, then expected");
    }
}

#[test]
fn an_alert_names_the_class_and_what_it_rests_on() {
    for (file, class) in [
        ("mmc20-connect.pcap", "MMC20.Application"),
        ("shellwindows-connect.pcap", "ShellWindows"),
        ("excel-dde-signed.pcap", "Excel.Application"),
    ] {
        let records = Records::of(&program::pcap(file));
        let alert = records.of_type("alert").next().expect("an alert");
        assert_eq!(alert["dcom"]["class"], class);
        assert_eq!(alert["alert"]["metadata"]["mitre_technique_id"][0], "T1021.003");
        let activation = records.dcom("activation")[0];
        assert_eq!(alert["dcom"], activation["dcom"], "{file}");
        let requests = records.requests();
        let request = requests
            .iter()
            .find(|record| record["pcap_cnt"] == activation["pcap_cnt"]);
        assert_eq!(
            Some(&alert["dcerpc"]),
            request.map(|record| &record["dcerpc"]),
            "{file}"
        );
    }
}

#[test]
fn an_ept_map_that_found_nothing_has_failed() {
    let records = Records::of(&program::pcap("ept-lookup-samba.pcap"));
    let mappings = records.dcom("endpoint_mapping");
    let mapping = mappings.iter().find(|record| record["dcom"]["operation"] == "ept_map");
    let dcom = &mapping.expect("an ept_map")["dcom"];
    // C706 appendix E: ept_s_not_registered.
    assert_eq!(dcom["hresult"], "0x16c9a0d6");
    assert_eq!(dcom["outcome"], "failed");
    assert_eq!(dcom.get("towers"), None);
}

#[test]
fn over_udp_the_same_is_read_as_over_tcp() {
    for (base, derived, kind, of_login) in [
        ("mmc20-connect.pcap", "mmc20-datagrams.pcap", "activation", true),
        (
            "oxid-resolve-ping.pcap",
            "oxid-resolve-datagrams.pcap",
            "oxid_resolution",
            true,
        ),
        ("ept-map.pcap", "ept-map-datagrams.pcap", "endpoint_mapping", false),
    ] {
        let read = |name: &str| {
            let records = Records::of(&program::pcap(name));
            let mut read: Vec<Value> = records.dcom(kind).into_iter().cloned().collect();
            for record in &mut read {
                let protocol = if name == base { "TCP" } else { "UDP" };
                assert_eq!(record["proto"], protocol, "{name}");
                let dcom = record["dcom"].as_object_mut().expect("an object");
                if of_login {
                    // Over UDP nobody logs in there, and no tool shows itself.
                    for key in ["auth", "client", "server", "tool"] {
                        dcom.remove(key);
                    }
                }
            }
            read.into_iter()
                .map(|mut record| record["dcom"].take())
                .collect::<Vec<_>>()
        };
        assert_eq!(read(derived), read(base), "{derived}");
        assert!(!read(base).is_empty());
    }
}

#[test]
fn a_call_over_udp_is_told_in_suricatas_and_zeeks_words() {
    let records = Records::of(&program::pcap("mmc20-datagrams.pcap"));
    let requests = records.requests();
    let dcerpc = &requests[0]["dcerpc"];
    assert_eq!(dcerpc["rpc_version"], "4.0");
    assert_eq!((&dcerpc["seqnum"], &dcerpc["call_id"]), (&2.into(), &2.into()));
    assert_eq!(dcerpc["activityuuid"], "0000d9d6-0001-0004-6163-746976697479");
    assert_eq!(dcerpc["req"]["frag_cnt"], 3);
    assert_eq!(requests[0]["community_id"], "1:RJQNGVGPBA885b9SOPagFvuYjkY=");
}
