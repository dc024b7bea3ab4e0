//! What the sensor was built to see, capture by capture.

use serde_json::{Value, json};

use super::{Real, real};

/// The capture's only activation and its alert; `signatures` are those of all the capture's alerts.
fn only<'a>(real: &'a Real, signatures: &[u64]) -> (&'a Value, &'a Value) {
    assert_eq!(real.records.signatures(), signatures, "{}", real.name);
    let activations = real.records.dcom("activation");
    assert_eq!(activations.len(), 1, "{}", real.name);
    let alert = real.records.of_type("alert").next().expect("an alert");
    assert_eq!(alert["dcom"], activations[0]["dcom"]);
    (activations[0], alert)
}

#[test]
fn mmc20_in_mid_stream_is_one_alert_that_says_what_was_not_seen() {
    let Some(real) = real("mmc20-midstream") else { return };
    let (activation, alert) = only(real, &[1_021_301, 1_021_303]);
    for record in [activation, alert] {
        assert_eq!((&record["pcap_cnt"], &record["reply_pcap_cnt"]), (&json!(1), &json!(2)));
    }
    let dcom = &activation["dcom"];
    assert_eq!(dcom["class"], "MMC20.Application");
    assert_eq!(dcom["clsid"], "49b2791a-b1ae-4c90-9b8e-e860ba07f889");
    assert_eq!(dcom["oxid"], "0xbed05b18ecb13abf");
    assert_eq!(
        dcom["bindings"],
        json!(["01566s-win16-ir[60283]", "172.16.66.36[60283]"])
    );
    assert_eq!(dcom["endpoint"]["followed"], true);
    assert_eq!(dcom["bind_seen"], false);
    assert_eq!(dcom["evidence"], "class");
    // Eight gaps, as the truth lists them.
    assert_eq!(
        real.records.counter("dcom.flow.bytes_missing"),
        364 + 3 * 72 + 392 + 3 * 56
    );
    assert_eq!(real.records.counter("tcp.reassembly_gap"), 8);
}

#[test]
fn shellwindows_is_one_activation_and_the_re_used_context_is_a_resolution() {
    let Some(real) = real("shellwindows-empire") else {
        return;
    };
    let (activation, _) = only(real, &[1_021_301, 1_021_340, 1_021_303]);
    assert_eq!(
        (&activation["pcap_cnt"], &activation["reply_pcap_cnt"]),
        (&json!(151), &json!(153))
    );
    assert_eq!(activation["dcom"]["clsid"], "9ba05972-f6a8-11cf-a442-00a0c90a8f39");
    assert_eq!(activation["dcom"]["class"], "ShellWindows");
    assert_eq!(activation["dcom"]["endpoint"]["port"], 49_913);
    assert_eq!(activation["dcom"]["endpoint"]["followed"], true);
    let at_225: Vec<&Value> = real
        .records
        .of_type("dcom")
        .filter(|record| record["pcap_cnt"] == 225)
        .collect();
    assert_eq!(at_225.len(), 1);
    assert_eq!(at_225[0]["dcom"]["kind"], "oxid_resolution");
    assert_eq!(at_225[0]["dcom"]["operation"], "ResolveOxid2");
}

#[test]
fn excel_is_told_with_its_user_though_the_reply_is_six_seconds_late() {
    let Some(real) = real("excel-registerxll-covenant") else {
        return;
    };
    // The second connection to port 135 joins the group of the first.
    assert_eq!(real.records.counter("dcom.rpc.associations"), 3);
    assert_eq!(real.records.counter("dcom.rpc.associations_joined"), 1);
    let (activation, _) = only(real, &[1_021_301, 1_021_340, 1_021_303]);
    let dcom = &activation["dcom"];
    assert_eq!(dcom["class"], "Excel.Application");
    assert_eq!(
        dcom["client"],
        json!({ "user": "pgustavo", "domain": "THESHIRE", "workstation": "WORKSTATION5" })
    );
    assert_eq!(activation["rtt_ms"], 5985.955);
    assert_eq!(dcom["endpoint"]["port"], 51_226);
    assert_eq!(dcom["endpoint"]["followed"], true);
}

#[test]
fn wmi_is_recorded_and_wakes_nobody() {
    for name in ["wmi-execmethod-empire", "wmi-process-create"] {
        let Some(real) = real(name) else { return };
        // What they sealed has the lengths of a process being created.
        assert_eq!(real.records.signatures(), [1_021_350], "{name}");
        let alerts = real.records.of_type("alert");
        let worst = alerts.map(|alert| alert["alert"]["severity"].as_u64()).min();
        assert_eq!(worst, Some(Some(4)), "{name}");
        let activations = real.records.dcom("activation");
        assert_eq!(activations.len(), 1, "{name}");
        assert_eq!(
            activations[0]["dcom"]["clsid"], "8bc3f05e-d86b-11d0-a075-00c04fb68820",
            "{name}"
        );
        // The clients of that time did not sign, which is not told of WMI.
        assert_eq!(activations[0]["dcom"]["auth"]["level"], "connect", "{name}");
    }
}

#[test]
fn where_no_object_was_asked_for_there_is_no_activation() {
    for (name, mappings, signatures) in [
        ("rpcdump-ept-lookup", 1, &[1_021_331][..]),
        ("svcctl-after-ept-map", 1, &[]),
        ("excel-blocked-by-firewall", 0, &[1_021_306]),
    ] {
        let Some(real) = real(name) else { return };
        assert_eq!(real.records.signatures(), signatures, "{name}");
        assert_eq!(real.records.dcom("activation").len(), 0, "{name}");
        assert_eq!(real.records.dcom("endpoint_mapping").len(), mappings, "{name}");
    }
}

#[test]
fn what_was_run_is_told_with_the_whole_command_line() {
    for (name, path, method, starts, ends) in [
        (
            "mmc20-midstream",
            "MMC20.Application.Document.ActiveView",
            "ExecuteShellCommand",
            r"c:\windows\system32\cmd.exe /c notepad.exe",
            "notepad.exe",
        ),
        (
            "shellwindows-empire",
            "ShellWindows.Item.Document.Application",
            "ShellExecute",
            "cmd.exe /c %COMSPEC% /C start /b ",
            "A",
        ),
        (
            "excel-registerxll-covenant",
            "Excel.Application",
            "RegisterXLL",
            r"C:\\programdata\calc.xll",
            "calc.xll",
        ),
    ] {
        let Some(real) = real(name) else { return };
        let alert = real
            .records
            .of_type("alert")
            .find(|it| it["alert"]["signature_id"] == 1_021_303);
        let alert = alert.expect("an alert of the execution");
        assert_eq!(alert["alert"]["severity"], 1, "{name}");
        let dcom = &alert["dcom"];
        assert_eq!((&dcom["object_path"], &dcom["method"]), (&json!(path), &json!(method)));
        assert_eq!(
            (&dcom["evidence"], &dcom["kind"]),
            (&json!("arguments"), &json!("call"))
        );
        let command = dcom["command_line"].as_str().expect("a command line");
        assert!(command.starts_with(starts) && command.ends_with(ends), "{command}");
        // The activation that it descends from is in the same capture.
        let activation = real.records.dcom("activation")[0];
        assert_eq!(dcom["activation"]["pcap_cnt"], activation["pcap_cnt"], "{name}");
        if name == "shellwindows-empire" {
            let script = dcom["decoded_command"].as_str().expect("an encoded script is decoded");
            assert!(script.starts_with("IF($PSVerSiONTablE"), "{script}");
        }
    }
}
