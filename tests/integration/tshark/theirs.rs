//! tshark's view, out of its fields.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::Facts;
use super::ours::texts;

/// The fields that are asked for, in the order of the columns.
const FIELDS: [&str; 49] = [
    "frame.number",
    "dcerpc.pkt_type",
    "dcerpc.cn_call_id",
    "dcerpc.opnum",
    "dcerpc.cn_ctx_id",
    "dcerpc.obj_id",
    "dcerpc.cn_bind_to_uuid",
    "dcerpc.cn_ack_result",
    "dcerpc.cn_status",
    "isystemactivator.opnum",
    "isystemactivator.properties.instninfo.clsid",
    "isystemactivator.properties.instninfo.iid",
    "isystemactivator.properties.scmresp.rmtunknid",
    "isystemactivator.properties.scmresp.oxid",
    "remact.opnum",
    "oxid.opnum",
    "oxid.oxid",
    "oxid.ipid",
    "dcom.clsid",
    "dcom.iid",
    "dcom.ipid",
    "dcom.oxid",
    "dcom.dualstringarray.network_addr",
    "dcom.vt.bstr",
    "dcom.hresult",
    "dispatch.opnum",
    "dispatch.name",
    "dispatch.id",
    "epm.uuid",
    "epm.proto.tcp_port",
    "dcerpc.fragment_data",
    "dcerpc.dg_seqnum",
    "dcerpc.dg_if_id",
    "dcerpc.dg_act_id",
    "dcerpc.dg_frag_num",
    "dcerpc.cn_assoc_group",
    "dcerpc.cn_sec_addr",
    "dcerpc.cn_reject_reason",
    "dcerpc.cn_rts_command",
    "dcerpc.cn_rts_command.cookie",
    "dcerpc.cn_rts_command.associationgroupid",
    "dcerpc.auth_type",
    "dcerpc.auth_level",
    "dcerpc.auth_ctx_id",
    "dcerpc.auth_pad_len",
    "dcom.dualstringarray.security_authn_svc",
    "dcom.dualstringarray.security_princ_name",
    "epm.annotation",
    "dispatch.description",
];

/// Between a field's values: in no value.
const BETWEEN: char = '\u{1f}';

const NULL: &str = "00000000-0000-0000-0000-000000000000";

/// What tshark says of one frame.
struct Row<'l>(Vec<&'l str>);

impl<'l> Row<'l> {
    fn all(&self, field: &str) -> impl Iterator<Item = &'l str> + use<'l> {
        let index = FIELDS
            .iter()
            .position(|it| *it == field)
            .expect("a field that was asked for");
        let values = self.0.get(index).copied().unwrap_or_default();
        values.split(BETWEEN).filter(|value| !value.is_empty())
    }

    fn has(&self, field: &str) -> bool {
        self.all(field).next().is_some()
    }
}

/// Runs tshark once over a capture.
fn run(path: &Path) -> String {
    let mut command = Command::new("tshark");
    // Without the settings of whoever runs the test.
    command
        .env("WIRESHARK_CONFIG_DIR", "/nonexistent")
        .args(["-n", "-r"])
        .arg(path);
    // Of RPC over HTTP it takes what stands behind the heads for their body.
    command.args(["--disable-protocol", "http"]);
    command.args(["-Y", "dcerpc", "-T", "fields"]);
    command
        .args(["-E", "occurrence=a", "-E"])
        .arg(format!("aggregator={BETWEEN}"));
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs");
    assert!(
        output.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("fields are text")
}

pub(super) fn facts(path: &Path) -> Facts {
    let mut facts = Facts::new();
    for line in run(path).lines() {
        let row = Row(line.split('\t').collect());
        let frame = row.all("frame.number").next().and_then(|frame| frame.parse().ok());
        let frame: u64 = frame.expect("a frame's number");
        let mut tell = |kind, value: &str| {
            if value != NULL && value != "0x0000000000000000" {
                facts.insert((frame, kind, value.to_owned()));
            }
        };
        if row.has("dcerpc.cn_call_id") {
            pdus(&row, &mut tell);
        } else if row.has("dcerpc.dg_seqnum") {
            datagram(&row, &mut tell);
        }
        let types: Vec<&str> = row.all("dcerpc.pkt_type").collect();
        if types.contains(&"0") {
            asked(&row, &mut tell);
        }
        if types.contains(&"2") {
            answered(&row, &mut tell);
        }
    }
    facts
}

fn pdus(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    let types: Vec<&str> = row.all("dcerpc.pkt_type").collect();
    let calls = row.all("dcerpc.cn_call_id");
    let pdus: Vec<String> = types
        .iter()
        .zip(calls)
        .map(|(kind, call)| format!("{kind}/{call}"))
        .collect();
    tell("pdus", &pdus.join(" "));
    // An answer has an opnum too, when tshark has seen what it answers.
    let of_calls: Vec<&str> = types
        .iter()
        .copied()
        .filter(|kind| ["0", "2", "3"].contains(kind))
        .collect();
    let opnums: Vec<&str> = row.all("dcerpc.opnum").collect();
    let opnums: Vec<&str> = if opnums.len() == of_calls.len() {
        let both = opnums.iter().zip(&of_calls);
        both.filter(|(_, kind)| **kind == "0")
            .map(|(opnum, _)| *opnum)
            .collect()
    } else {
        opnums
            .into_iter()
            .take(of_calls.iter().filter(|kind| **kind == "0").count())
            .collect()
    };
    let mut list = |kind, values: Vec<&str>| {
        if !values.is_empty() {
            tell(kind, &values.join(" "));
        }
    };
    list("opnums", opnums);
    list("offered", row.all("dcerpc.cn_bind_to_uuid").collect());
    list("results", row.all("dcerpc.cn_ack_result").collect());
    list("contexts", row.all("dcerpc.cn_ctx_id").collect());
    if !types.contains(&"2") && !types.contains(&"3") {
        list("object", row.all("dcerpc.obj_id").collect());
    }
    list("faults", row.all("dcerpc.cn_status").collect());
    list("groups", row.all("dcerpc.cn_assoc_group").collect());
    list("addresses", row.all("dcerpc.cn_sec_addr").collect());
    list("rejects", row.all("dcerpc.cn_reject_reason").collect());
    list("commands", row.all("dcerpc.cn_rts_command").collect());
    // The group's stands last: [MS-RPCH] 2.2.4.5 CONN/B1 RTS PDU.
    let cookies = row.all("dcerpc.cn_rts_command.cookie");
    list(
        "cookies",
        cookies
            .chain(row.all("dcerpc.cn_rts_command.associationgroupid"))
            .collect(),
    );
    let verifiers = [
        "dcerpc.auth_type",
        "dcerpc.auth_level",
        "dcerpc.auth_ctx_id",
        "dcerpc.auth_pad_len",
    ];
    let mut columns = verifiers.map(|field| row.all(field));
    let next = || columns.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>();
    let verifiers: Vec<String> = std::iter::from_fn(next).map(|verifier| verifier.join("/")).collect();
    if !verifiers.is_empty() {
        tell("verifiers", &verifiers.join(" "));
    }
}

fn datagram(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    for (kind, number) in row.all("dcerpc.pkt_type").zip(row.all("dcerpc.dg_seqnum")) {
        tell("pdus", &format!("{kind}/{number}"));
    }
    let fields = [
        ("opnums", "dcerpc.opnum"),
        ("offered", "dcerpc.dg_if_id"),
        ("activity", "dcerpc.dg_act_id"),
        ("fragment", "dcerpc.dg_frag_num"),
        ("object", "dcerpc.obj_id"),
    ];
    for (kind, field) in fields {
        row.all(field).for_each(|value| tell(kind, value));
    }
}

/// IPIDs but for the object's, which tshark repeats with every call.
fn ipids(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    let objects: BTreeSet<&str> = row.all("dcerpc.obj_id").collect();
    for ipid in row.all("dcom.ipid").filter(|ipid| !objects.contains(ipid)) {
        tell("ipid", ipid);
    }
}

fn dispids(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    for dispid in row.all("dispatch.id") {
        let number = dispid
            .strip_prefix("0x")
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        tell("dispid", &number.expect("a DISPID in hex").cast_signed().to_string());
    }
}

fn asked(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    let old = row.has("remact.opnum");
    for clsid in row.all("isystemactivator.properties.instninfo.clsid") {
        tell("clsid", clsid);
    }
    for clsid in row.all("dcom.clsid").filter(|_| old) {
        tell("clsid", clsid);
    }
    for iid in row.all("isystemactivator.properties.instninfo.iid") {
        tell("iid", iid);
    }
    // Elsewhere these are of marshalled properties.
    for iid in row.all("dcom.iid").filter(|_| !row.has("isystemactivator.opnum")) {
        tell("iid", iid);
    }
    ipids(row, tell);
    for oxid in row.all("oxid.oxid") {
        tell("oxid", oxid);
    }
    for name in row.all("dispatch.name") {
        tell("name", name);
    }
    dispids(row, tell);
    // The last argument stands first: [MS-OAUT] 2.2.33 DISPPARAMS.
    let mut bstrs: Vec<&str> = row.all("dcom.vt.bstr").collect();
    bstrs.reverse();
    if let Some(texts) = texts(bstrs.into_iter()) {
        tell("bstrs", &texts);
    }
    // What ept_map asks for ends with the interface and the transfer syntax: C706 appendix L.
    if let [.., interface, _] = row.all("epm.uuid").collect::<Vec<_>>()[..] {
        tell("iid", interface);
    }
}

fn answered(row: &Row<'_>, tell: &mut impl FnMut(&'static str, &str)) {
    ipids(row, tell);
    for field in ["isystemactivator.properties.scmresp.rmtunknid", "oxid.ipid"] {
        row.all(field).for_each(|ipid| tell("ipid", ipid));
    }
    for field in ["dcom.oxid", "isystemactivator.properties.scmresp.oxid", "oxid.oxid"] {
        row.all(field).for_each(|oxid| tell("oxid", oxid));
    }
    // An exporter's have ports; those without stand in references, and are the resolver's.
    let resolver = row.has("oxid.opnum");
    let bindings = row.all("dcom.dualstringarray.network_addr");
    for binding in bindings.filter(|binding| resolver || binding.contains('[')) {
        tell("binding", binding);
    }
    // In answers of other interfaces, too, they stand in references.
    let exporter = ["isystemactivator.opnum", "remact.opnum", "oxid.opnum"]
        .iter()
        .any(|field| row.has(field));
    if exporter {
        for service in row.all("dcom.dualstringarray.security_authn_svc") {
            tell("authn_service", service);
        }
        for principal in row.all("dcom.dualstringarray.security_princ_name") {
            tell("principal", principal);
        }
    }
    for annotation in row.all("epm.annotation") {
        tell("annotation", annotation);
    }
    if row.has("dispatch.opnum") {
        let described = row.all("dispatch.description");
        if let Some(texts) = texts(row.all("dcom.vt.bstr").chain(described)) {
            tell("result", &texts);
        }
    }
    // Results of the parts stand before that of the whole.
    if let Some(hresult) = row.all("dcom.hresult").last() {
        tell("hresult", hresult);
    }
    dispids(row, tell);
    // Interface and transfer syntax by turns: C706 appendix L.
    for interface in row.all("epm.uuid").step_by(2) {
        tell("tower", interface);
    }
    for port in row.all("epm.proto.tcp_port") {
        tell("port", port);
    }
}
