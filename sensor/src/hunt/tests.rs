use std::net::IpAddr;

use dcom_parsers::guid::{Clsid, Guid};

use super::testing::{HOST, created, event, inbound, process, script, started};
use super::*;
use crate::event::HostAlert;
use crate::host_log::event::{Account, DcomError, FileCreate, Source};

/// What is told of these events, in whatever order they come: time, pattern, severity, confidence, the rest.
fn hunted(events: &[HostEvent]) -> Vec<Found> {
    let run = |events: &mut dyn Iterator<Item = &HostEvent>| {
        let mut hunt = Hunt::new(Arc::new(Catalog::built_in()));
        let mut found = Vec::new();
        for event in events {
            hunt.push(event.clone(), &mut found);
        }
        hunt.finish(&mut found);
        found
    };
    let found = run(&mut events.iter());
    let backwards = run(&mut events.iter().rev());
    assert_eq!(found, backwards, "the order of the logs matters");
    let (one, two): (Vec<_>, Vec<_>) = events.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let dealt = run(&mut two.iter().chain(&one).map(|(_, event)| *event));
    assert_eq!(found, dealt, "the order of the logs matters");
    found
}

fn host(found: &Found) -> &HostAlert {
    found.alert.host_event.as_ref().expect("an alert of a host's log")
}

/// Patterns, severity and confidence of each.
fn told(events: &[HostEvent]) -> Vec<String> {
    let found = hunted(events);
    let said = |found: &Found| {
        let metadata = &found.alert.metadata;
        format!(
            "{} {} {}",
            metadata.pattern.join("+"),
            found.alert.severity,
            metadata.confidence.join(",")
        )
    };
    found.iter().map(said).collect()
}

const LAUNCH: &str = r"C:\Windows\system32\svchost.exe -k DcomLaunch -p";
const SERVER: &str = r"C:\Windows\system32\mmc.exe -Embedding";

/// COM's service starts a server with that command line.
fn activated(second: i64, record: u64, child: (&str, u32), line: &str) -> HostEvent {
    started(
        second,
        record,
        process(("svchost.exe", 960), LAUNCH),
        process(child, line),
    )
}

/// The same process out of the Security log: without command lines of parents, in whole seconds.
fn in_security_log(mut event: HostEvent, record: u64) -> HostEvent {
    event.source = Source::Security(4688);
    event.place.input = "security.evtx".into();
    event.place.record = record;
    if let HostBody::ProcessCreate(create) = &mut event.body {
        create.parent.command_line = None;
        create.process.guid = None;
        create.parent.guid = None;
    }
    event
}

#[test]
fn parents_and_children_of_the_published_queries_are_told() {
    for parent in [
        "mmc.exe",
        "EXCEL.EXE",
        "winword.exe",
        "OUTLOOK.EXE",
        "powerpnt.exe",
        "visio.exe",
    ] {
        for child in [
            "cmd.exe",
            "powershell.exe",
            "pwsh.exe",
            "wscript.exe",
            "cscript.exe",
            "mshta.exe",
            "rundll32.exe",
            "regsvr32.exe",
            "certutil.exe",
        ] {
            let pattern = if parent == "mmc.exe" && ["cmd.exe", "powershell.exe"].contains(&child) {
                "MMC20_DCOM"
            } else {
                "COM_SuspiciousChild"
            };
            let events = [created(0, 1, (parent, 10), (child, 11), child)];
            assert_eq!(told(&events), [format!("{pattern} high medium")], "{parent} {child}");
        }
    }
    assert!(told(&[created(0, 1, ("mmc.exe", 10), ("mmc.exe", 11), "mmc.exe")]).is_empty());
    assert!(told(&[created(0, 1, ("notepad.exe", 10), ("cmd.exe", 11), "cmd.exe")]).is_empty());
}

#[test]
fn one_process_in_two_logs_is_one_finding() {
    let sysmon = created(
        5,
        1,
        ("mmc.exe", 10),
        ("cmd.exe", 11),
        "cmd.exe /c  \"echo %%COMSPEC%%\"",
    );
    let mut without_pid = sysmon.clone();
    if let HostBody::ProcessCreate(create) = &mut without_pid.body {
        create.process.pid = None;
    }
    let mut security = in_security_log(
        created(6, 1, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe /c echo %COMSPEC%"),
        9,
    );
    for sysmon in [sysmon, without_pid] {
        let found = hunted(&[sysmon, security.clone()]);
        assert_eq!(found.len(), 1);
        let host = host(&found[0]);
        assert_eq!((&*host.source, host.record), ("Sysmon 1", 1));
        assert_eq!(host.process.as_ref().unwrap().pid, Some(11));
        let twin = &host.related[0];
        assert_eq!(
            (&*twin.source, twin.record, &*twin.what),
            ("Security 4688", 9, "the same event")
        );
    }
    security.time = crate::time::Timestamp(security.time.0 + 60_000_000_000);
    let later = created(5, 1, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe");
    assert_eq!(
        told(&[later, security]).len(),
        2,
        "an id that is used again is another process"
    );
}

#[test]
fn a_record_that_stands_in_a_log_twice_is_told_once() {
    let once = created(5, 1, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe /c a");
    let again = |record: u64, of: &HostEvent| {
        let mut event = of.clone();
        event.place.record = record;
        event
    };
    let mut copied = again(9, &once);
    copied.place.input = "more.ndjson".into();
    let repeated = again(12, &copied);
    let found = hunted(&[once.clone(), again(2, &once), again(3, &once), copied, repeated]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((host(&found[0]).record, host(&found[0]).related.len()), (1, 4));
    // Another process of that id, and one of which no id is known, are others.
    let mut later = again(2, &once);
    later.time.0 += 1_000_000;
    assert_eq!(told(&[once.clone(), later]).len(), 2);
    let without_id = |event: &HostEvent| {
        let mut event = event.clone();
        if let HostBody::ProcessCreate(create) = &mut event.body {
            create.process.pid = None;
        }
        event
    };
    assert_eq!(told(&[without_id(&once), without_id(&again(2, &once))]).len(), 2);
}

#[test]
fn a_complaint_is_the_same_in_exports_of_other_precision() {
    let denied = |nanoseconds: i64, record: u64, input: &str| {
        let body = DcomError {
            clsid: Some(Clsid(Guid::parse("49b2791a-b1ae-4c90-9b8e-e860ba07f889").unwrap())),
            address: Some("192.0.2.20".parse().unwrap()),
            ..DcomError::default()
        };
        let mut event = event(5, record, Source::System(10_016), HostBody::DcomError(Box::new(body)));
        event.time.0 += nanoseconds;
        event.place.input = input.into();
        event
    };
    let own = denied(123_456_700, 1, "system.evtx");
    for nanoseconds in [0, 123_000_000, 123_456_000, 123_456_700] {
        assert_eq!(told(&[own.clone(), denied(nanoseconds, 1, "copy.csv")]).len(), 1);
    }
    assert_eq!(told(&[own.clone(), denied(125_000_000, 1, "copy.csv")]).len(), 2);
    // Twice in one log it is one record by the same moment; cut to seconds, that is none.
    assert_eq!(told(&[own.clone(), denied(123_456_700, 2, "system.evtx")]).len(), 1);
    assert_eq!(told(&[own, denied(123_456_800, 2, "system.evtx")]).len(), 2);
    assert_eq!(told(&[denied(0, 1, "a.csv"), denied(0, 2, "a.csv")]).len(), 2);
}

#[test]
fn two_processes_of_the_same_command_are_two_findings() {
    let events = [
        created(1, 1, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe /c a"),
        created(1, 2, ("mmc.exe", 10), ("cmd.exe", 12), "cmd.exe /c a"),
    ];
    assert_eq!(told(&events).len(), 2);
}

#[test]
fn a_connection_before_the_child_says_more() {
    for (second, told_with, child) in [
        (10, "MMC20_DCOM+COM_InboundThenChild high high", 14),
        (10, "MMC20_DCOM+COM_InboundThenChild high medium", 50),
        (10, "MMC20_DCOM+COM_InboundThenChild high medium", 120),
        (10, "MMC20_DCOM high medium", 140),
    ] {
        let events = [
            inbound(second, 1, ("mmc.exe", 10), "192.0.2.20"),
            created(child, 2, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe"),
        ];
        assert_eq!(told(&events), [told_with], "{child}");
    }
    // Of a log in whole seconds the connection may stand behind the child, in the same second.
    let mut events = [
        created(10, 1, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe"),
        inbound(10, 2, ("mmc.exe", 10), "192.0.2.20"),
    ];
    events[1].time.0 += 400_000_000;
    let found = hunted(&events);
    assert_eq!(found[0].alert.metadata.confidence, ["high"]);
    let source = found[0].meta.client.unwrap();
    assert_eq!(
        (source.address.to_string(), source.port),
        ("192.0.2.20".to_owned(), 50_000)
    );
    // One that surely came later led to nothing.
    let mut later = events.clone();
    later[0].time.0 += 100_000_000;
    assert_eq!(told(&later), ["MMC20_DCOM high medium"]);
    later[0].time.0 -= 100_000_000;
    later[1].time.0 += 600_000_000;
    assert_eq!(told(&later), ["MMC20_DCOM high medium"]);
    // One of the computer to itself says no more than that, where nothing else does.
    for own in ["127.0.0.1", "::ffff:127.0.0.1", "192.0.2.10"] {
        let desktop = [
            inbound(9, 1, ("explorer.exe", 8200), own),
            created(10, 2, ("explorer.exe", 8200), ("cmd.exe", 61), "cmd.exe"),
        ];
        assert!(told(&desktop).is_empty(), "{own}");
        events[1] = inbound(9, 2, ("mmc.exe", 10), own);
        assert_eq!(told(&events), ["MMC20_DCOM+COM_InboundThenChild high high"], "{own}");
    }
    let other = [
        inbound(10, 1, ("mmc.exe", 99), "192.0.2.20"),
        created(11, 2, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe"),
    ];
    assert_eq!(told(&other), ["MMC20_DCOM high medium"], "another process");
}

#[test]
fn what_a_user_starts_is_not_told_unless_there_is_a_reason() {
    let desktop = |second| created(second, 9, ("explorer.exe", 8200), ("cmd.exe", 61), "cmd.exe /k");
    assert!(told(&[desktop(10)]).is_empty());
    let connected = inbound(9, 1, ("explorer.exe", 8200), "192.0.2.20");
    assert_eq!(
        told(&[connected.clone(), desktop(10)]),
        ["COM_InboundThenChild high high"]
    );
    assert_eq!(
        told(&[connected.clone(), desktop(60)]),
        ["COM_InboundThenChild high medium"]
    );
    let notepad = |second| created(second, 9, ("explorer.exe", 8200), ("notepad.exe", 61), "notepad.exe");
    assert_eq!(
        told(&[connected.clone(), notepad(12)]),
        ["COM_InboundThenChild high high"]
    );
    assert!(told(&[connected, notepad(40)]).is_empty());
    let low_port = {
        let mut event = inbound(9, 1, ("explorer.exe", 8200), "192.0.2.20");
        if let HostBody::NetworkConnect(connect) = &mut event.body {
            connect.destination.port = 139;
        }
        event
    };
    assert!(told(&[low_port, desktop(10)]).is_empty());
    let line = r"cmd.exe /Q /c cd \ 1> \\127.0.0.1\ADMIN$\__1556656511.61 2>&1";
    let events = [created(0, 1, ("explorer.exe", 8200), ("cmd.exe", 61), line)];
    assert_eq!(told(&events), ["COM_ServerChild high medium"]);
}

#[test]
fn a_script_gives_the_child_a_reason() {
    let activates = "[type]::GetTypeFromCLSID('9BA05972-F6A8-11CF-A442-00A0C90A8F39','localhost')";
    let events = [
        script(10, 1, activates, None),
        created(12, 2, ("explorer.exe", 8200), ("cmd.exe", 61), "cmd.exe /c x"),
    ];
    assert_eq!(
        told(&events),
        ["DCOM_Script high medium", "COM_ServerChild high medium"]
    );
    let elsewhere = activates.replace("localhost", "192.0.2.99");
    let events = [
        script(10, 1, &elsewhere, None),
        created(12, 2, ("explorer.exe", 8200), ("cmd.exe", 61), "cmd.exe /c x"),
    ];
    assert_eq!(told(&events), ["DCOM_Script high medium"]);
}

#[test]
fn the_configuration_tool_and_its_console_are_one_finding() {
    let tool = created(1, 1, ("cmd.exe", 5), ("dcomcnfg.exe", 6), "dcomcnfg");
    let console = created(
        2,
        2,
        ("dcomcnfg.exe", 6),
        ("mmc.exe", 7),
        r"mmc.exe C:\Windows\system32\comexp.msc",
    );
    let found = hunted(&[tool, console.clone(), in_security_log(console.clone(), 8)]);
    assert_eq!(found.len(), 1);
    let event = host(&found[0]);
    assert_eq!(
        (event.pattern, found[0].alert.signature_id),
        ("DCOM_ConfigTool", 1_021_403)
    );
    assert!(
        event.related.iter().all(|related| related.what.contains("comexp.msc")),
        "{event:?}"
    );
    assert_eq!(
        told(&[console]),
        ["DCOM_ConfigTool high medium"],
        "where the tool's own start is missing"
    );
}

#[test]
fn a_command_line_that_names_dcom_and_something_to_execute_is_told() {
    let line = "powershell.exe -ExecutionPolicy bypass Invoke-dcom -Target a";
    let events = [created(0, 1, ("cmd.exe", 1), ("powershell.exe", 2), line)];
    assert_eq!(told(&events), ["DCOM_CommandLineRef high medium"]);
    assert!(told(&[created(0, 1, ("cmd.exe", 1), ("x.exe", 2), "dcomcheck /all")]).is_empty());
}

#[test]
fn a_command_line_that_is_passed_on_is_told_once() {
    let line = "[type]::GetTypeFromProgID('MMC20.Application','192.0.2.9').x";
    let events = [
        created(
            0,
            1,
            ("explorer.exe", 1),
            ("cmd.exe", 2),
            &format!("cmd.exe /c powershell {line}"),
        ),
        created(
            1,
            2,
            ("cmd.exe", 2),
            ("powershell.exe", 77),
            &format!("powershell {line}"),
        ),
        script(2, 3, line, None),
    ];
    let found = hunted(&events);
    assert_eq!(found.len(), 1, "{found:#?}");
    let event = host(&found[0]);
    assert_eq!(event.class.as_deref(), Some("MMC20.Application"));
    assert_eq!(event.target_ip, Some("192.0.2.9".parse::<IpAddr>().unwrap()));
    assert_eq!(event.related.len(), 2, "{:#?}", event.related);
}

#[test]
fn a_command_line_of_its_own_is_told_beside_that_of_the_parent() {
    let started = |record: u32, line: &str| {
        let (parent, child) = (("powershell.exe", 99 + record), ("powershell.exe", 100 + record));
        created(i64::from(record) * 10, record.into(), parent, child, line)
    };
    let updates = "powershell -c \"$s=[type]::GetTypeFromProgID('Microsoft.Update.Session','srv1'); & .\\next.ps1\"";
    let mmc = |host: &str| format!("powershell -c \"[type]::GetTypeFromProgID('MMC20.Application','{host}').x\"");
    assert_eq!(
        told(&[started(1, updates), started(2, &mmc("192.0.2.77"))]),
        ["DCOM_Script low low", "DCOM_Script high medium"]
    );
    let hosts = ["192.0.2.77", "192.0.2.78"].map(mmc);
    assert_eq!(told(&[started(1, &hosts[0]), started(2, &hosts[1])]).len(), 2);
    let agent = r"powershell.exe -ExecutionPolicy Bypass -File C:\Agents\dcom-monitor.ps1";
    let invoked = "powershell -ExecutionPolicy Bypass Invoke-DCOM -ComputerName 192.0.2.77";
    assert_eq!(
        told(&[started(1, agent), started(2, invoked)]),
        ["DCOM_CommandLineRef high medium"; 2]
    );
}

#[test]
fn scripts_of_one_process_for_two_computers_are_two_findings() {
    let text = |host: &str| format!("[type]::GetTypeFromProgID('MMC20.Application','{host}').x");
    let run = |record: u32, host| script(record.into(), record.into(), &text(host), None);
    assert_eq!(told(&[run(1, "192.0.2.77"), run(2, "192.0.2.78")]).len(), 2);
    assert_eq!(told(&[run(1, "192.0.2.77"), run(2, "192.0.2.77")]).len(), 1);
}

#[test]
fn an_encoded_command_is_read() {
    let script = "[activator]::CreateInstance([type]::GetTypeFromProgID('MMC20.Application','192.0.2.9'))";
    let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let events = [created(
        0,
        1,
        ("cmd.exe", 1),
        ("powershell.exe", 2),
        &format!("powershell -nop -enc {encoded}"),
    )];
    let found = hunted(&events);
    assert_eq!(found.len(), 1);
    let process = host(&found[0]).process.as_ref().unwrap();
    assert_eq!(process.decoded_command.as_deref(), Some(script));
}

#[test]
fn servers_that_com_starts_are_told_by_how_bad_their_classes_are() {
    for (child, line, said) in [
        ("mmc.exe", SERVER, vec!["COM_EmbeddingStart low low"]),
        (
            "EXCEL.EXE",
            r#""C:\Office16\EXCEL.EXE" /automation -Embedding"#,
            vec!["COM_EmbeddingStart informational low"],
        ),
        (
            "mshta.exe",
            r"C:\Windows\System32\mshta.exe -Embedding",
            vec!["COM_EmbeddingStart medium low"],
        ),
        (
            "SpeechRuntime.exe",
            "SpeechRuntime.exe -Embedding",
            vec!["COM_EmbeddingStart low low"],
        ),
        (
            "BdeUISrv.exe",
            "BdeUISrv.exe -Embedding",
            vec!["COM_EmbeddingStart low low"],
        ),
        (
            "dllhost.exe",
            "DllHost.exe /Processid:{06622D85-6856-4460-8DE1-A81921B41C4B}",
            vec!["COM_EmbeddingStart low low"],
        ),
        // Every desktop has these.
        (
            "dllhost.exe",
            "DllHost.exe /Processid:{338B40F9-9D68-4B53-A793-6B9AA0C5F63B}",
            vec![],
        ),
        ("RuntimeBroker.exe", "RuntimeBroker.exe -Embedding", vec![]),
        ("WmiPrvSE.exe", "wmiprvse.exe -secured -Embedding", vec![]),
        ("mobsync.exe", "mobsync.exe -Embedding", vec![]),
        (
            "explorer.exe",
            "explorer.exe /factory,{75dff2b7-6936-4c06-a8bb-676a7b00b24b} -Embedding",
            vec![],
        ),
        (
            "backgroundTaskHost.exe",
            "backgroundTaskHost.exe -ServerName:App",
            vec![],
        ),
        (
            "rundll32.exe",
            "rundll32.exe shell32.dll,SHCreateLocalServerRunDll {9aa46009-3ce0-458a-a354-715610a075e6} -Embedding",
            vec![],
        ),
        (
            "rundll32.exe",
            "rundll32.exe shell32.dll,SHCreateLocalServerRunDll {c08afd90-f2a1-11d1-8455-00a0c91f3880}",
            vec!["COM_EmbeddingStart low low"],
        ),
        // No server at all.
        ("cmd.exe", "cmd.exe /c calc", vec!["DcomLaunch_Child medium medium"]),
        (
            "powershell.exe",
            "powershell -enc AAAA",
            vec!["DcomLaunch_Child medium medium"],
        ),
    ] {
        assert_eq!(told(&[activated(0, 1, (child, 7), line)]), said, "{line}");
    }
}

#[test]
fn a_connection_to_a_new_server_says_more() {
    let events = [
        activated(0, 1, ("EXCEL.EXE", 7), "EXCEL.EXE /automation -Embedding"),
        inbound(6, 2, ("EXCEL.EXE", 7), "192.0.2.20"),
    ];
    assert_eq!(told(&events), ["COM_EmbeddingStart medium medium"]);
    let events = [
        activated(0, 1, ("mobsync.exe", 7), "mobsync.exe -Embedding"),
        inbound(6, 2, ("mobsync.exe", 7), "192.0.2.20"),
    ];
    assert_eq!(told(&events), ["COM_EmbeddingStart medium medium"]);
}

#[test]
fn the_service_is_known_by_what_other_events_say() {
    let security = in_security_log(activated(9, 3, ("cmd.exe", 7), "cmd.exe /c calc"), 3);
    assert!(
        told(std::slice::from_ref(&security)).is_empty(),
        "any service may start a shell"
    );
    let broker = activated(20, 1, ("RuntimeBroker.exe", 6), "RuntimeBroker.exe -Embedding");
    assert_eq!(
        told(&[broker.clone(), security.clone()]),
        ["DcomLaunch_Child medium low"]
    );
    let inferred = in_security_log(broker, 1);
    let found = hunted(&[inferred, security]);
    assert_eq!(
        host(&found[0]).because,
        ["the service is DcomLaunch: the same service starts COM servers"]
    );
}

#[test]
fn children_of_other_servers_are_told_where_they_are_no_everyday_thing() {
    let child =
        |parent: &str, line: &str, child: &str| started(5, 2, process((parent, 7), line), process((child, 8), child));
    for (event, said) in [
        (
            child("mmc.exe", SERVER, "calc.exe"),
            vec!["COM_ServerChild medium medium"],
        ),
        (child("mmc.exe", "mmc.exe compmgmt.msc", "calc.exe"), vec![]),
        (
            child("iexplore.exe", "iexplore.exe -Embedding", "cmd.exe"),
            vec!["COM_ServerChild high medium"],
        ),
        (
            child("iexplore.exe", "iexplore.exe https://a.example", "cmd.exe"),
            vec![],
        ),
        (child("devenv.exe", "", "cmd.exe"), vec![]),
        (
            child("BdeUISrv.exe", "", "BaaUpdate.exe"),
            vec!["COM_ServerChild medium medium"],
        ),
        (
            child("SpeechRuntime.exe", "", "powershell.exe"),
            vec!["COM_ServerChild high medium"],
        ),
        (
            child("msiexec.exe", "msiexec.exe -Embedding 7A6B", "rundll32.exe"),
            vec![],
        ),
        (child("iexplore.exe", "iexplore.exe -Embedding", "iexplore.exe"), vec![]),
        (
            child("EXCEL.EXE", "EXCEL.EXE /automation -Embedding", "splwow64.exe"),
            vec![],
        ),
        (
            child("WmiPrvSE.exe", "wmiprvse.exe -Embedding", "calc.exe"),
            vec!["WMI_Child medium medium"],
        ),
        (child("WmiPrvSE.exe", "wmiprvse.exe -Embedding", "conhost.exe"), vec![]),
    ] {
        assert_eq!(told(std::slice::from_ref(&event)), said, "{event:?}");
    }
    // In a log without command lines of parents, the start of the server tells.
    let server = activated(1, 1, ("iexplore.exe", 7), "iexplore.exe -Embedding");
    let events = [server, child("iexplore.exe", "", "cmd.exe")];
    assert_eq!(told(&events)[1..], ["COM_ServerChild high medium"]);
}

#[test]
fn an_old_log_tells_parents_by_their_ids() {
    let old = |second, record, parent: u32, child: (&str, u32)| {
        let nameless = Process {
            pid: Some(parent),
            ..Process::default()
        };
        let mut event = started(second, record, nameless, process(child, ""));
        event.source = Source::Security(4688);
        event
    };
    let events = [
        old(1, 1, 584, ("WmiPrvSE.exe", 2792)),
        old(2, 2, 2792, ("calc.exe", 1060)),
    ];
    let found = hunted(&events);
    assert_eq!(found.len(), 1);
    let parent = host(&found[0]).parent.as_ref().unwrap();
    assert!(parent.image.as_deref().unwrap().ends_with("WmiPrvSE.exe"));
    assert_eq!(
        parent.image_from.as_deref(),
        Some("the start of that process id in Security 4688 log.ndjson, record 1")
    );
    // The id is used again.
    let events = [
        old(1, 1, 584, ("WmiPrvSE.exe", 2792)),
        old(2, 2, 584, ("notepad.exe", 2792)),
        old(3, 3, 2792, ("calc.exe", 1060)),
    ];
    assert!(told(&events).is_empty());
}

fn error(id: u16, error: DcomError) -> HostEvent {
    event(0, 1, Source::System(id), HostBody::DcomError(Box::new(error)))
}

#[test]
fn com_s_complaints_are_told_when_they_are_about_another_computer() {
    let mmc = Guid::parse("49b2791a-b1ae-4c90-9b8e-e860ba07f889").map(Clsid);
    let denied = DcomError {
        clsid: mmc,
        account: Account {
            user: Some("IEUser".into()),
            domain: Some("MSEDGEWIN10".into()),
            ..Account::default()
        },
        address: Some("10.0.2.17".parse().unwrap()),
        permission: Some("Remote Launch".into()),
        ..DcomError::default()
    };
    let found = hunted(&[error(10_016, denied.clone())]);
    assert_eq!(
        found[0].alert.message,
        "WS6.lab.example: Remote Launch of MMC20.Application (49b2791a-b1ae-4c90-9b8e-e860ba07f889) denied to \
         MSEDGEWIN10\\IEUser from 10.0.2.17"
    );
    assert_eq!(host(&found[0]).source_ip, denied.address);
    let local = DcomError {
        local: true,
        address: None,
        permission: Some("Local Launch".into()),
        ..denied.clone()
    };
    assert!(told(&[error(10_016, local)]).is_empty());
    let unreachable = DcomError {
        clsid: mmc,
        target: Some("172.18.39.6".into()),
        process: process(("MoveExcel4.exe", 7400), ""),
        ..DcomError::default()
    };
    let found = hunted(&[error(10_028, unreachable.clone())]);
    assert!(host(&found[0]).user.is_none());
    assert_eq!(found[0].alert.severity, crate::severity::Severity::Medium);
    assert_eq!(host(&found[0]).target_ip, Some("172.18.39.6".parse().unwrap()));
    let unknown = DcomError {
        clsid: None,
        ..unreachable
    };
    assert_eq!(told(&[error(10_028, unknown)]), ["DCOM_Unreachable low medium"]);
    assert_eq!(told(&[error(10_036, denied)]), ["DCOM_WeakLevel medium medium"]);
}

#[test]
fn files_connections_and_logons_of_a_finding_are_told_with_it() {
    let mut child = created(10, 2, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe");
    if let HostBody::ProcessCreate(create) = &mut child.body {
        create.account.logon_id = Some(0x1e_a3c6);
    }
    let file = FileCreate {
        process: process(("cmd.exe", 11), ""),
        path: Some(r"C:\Windows\Temp\dcom_test.txt".into()),
    };
    let logon = Logon {
        logon_type: Some(3),
        account: Account {
            user: Some("alice".into()),
            logon_id: Some(0x1e_a3c6),
            ..Account::default()
        },
        address: Some("192.0.2.20".parse().unwrap()),
        port: Some(49_244),
        ..Logon::default()
    };
    let events = [
        event(9, 1, Source::Security(4624), HostBody::Logon(Box::new(logon))),
        child,
        event(11, 3, Source::Sysmon(11), HostBody::FileCreate(Box::new(file))),
    ];
    let found = hunted(&events);
    let event = host(&found[0]);
    let what: Vec<&str> = event.related.iter().map(|related| related.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "logon of type 3 of alice from 192.0.2.20:49244",
            r"it created C:\Windows\Temp\dcom_test.txt"
        ]
    );
    assert_eq!(event.source_ip, Some("192.0.2.20".parse().unwrap()));
    assert_eq!(event.host.as_ref(), HOST);
}

/// Security 4624: someone logged on over the network.
fn logged_on(second: i64, record: u64, user: &str, from: &str) -> HostEvent {
    let from: std::net::SocketAddr = from.parse().unwrap();
    let logon = Logon {
        logon_type: Some(3),
        account: Account {
            user: Some(user.into()),
            domain: Some("LAB".into()),
            logon_id: Some(0x5000 + record),
            ..Account::default()
        },
        address: Some(from.ip()),
        port: Some(from.port()),
        ..Logon::default()
    };
    event(second, record, Source::Security(4624), HostBody::Logon(Box::new(logon)))
}

#[test]
fn who_logged_on_over_the_connection_called() {
    let events = [
        logged_on(9, 1, "eve", "192.0.2.20:50000"),
        // The same port at another time, another port at that time.
        logged_on(9_000, 2, "mallory", "192.0.2.20:50000"),
        logged_on(9, 3, "trent", "192.0.2.20:50001"),
        inbound(9, 4, ("explorer.exe", 10), "192.0.2.20"),
        created(10, 5, ("explorer.exe", 10), ("cmd.exe", 11), "cmd.exe"),
    ];
    let found = hunted(&events);
    let event = host(&found[0]);
    let caller = event.caller.as_ref().unwrap();
    assert_eq!(
        (caller.user.as_deref(), event.user.as_deref()),
        (Some("eve"), Some("alice"))
    );
    assert!(
        event
            .because
            .iter()
            .any(|it| it == r"LAB\eve logged on from 192.0.2.20:50000"),
        "{event:?}"
    );
    let logons = event.related.iter().filter(|it| it.what.contains("logon"));
    assert_eq!(
        logons.map(|it| it.what.as_str()).collect::<Vec<_>>(),
        [r"logon of type 3 of LAB\eve from 192.0.2.20:50000"]
    );
}

#[test]
fn who_logged_on_before_may_have_called() {
    let wmi = |second| created(second, 9, ("WmiPrvSE.exe", 10), ("calc.exe", 11), "calc.exe");
    let logons = [
        logged_on(1, 1, "long before", "192.0.2.9:1"),
        logged_on(99, 2, "eve", "192.0.2.20:49244"),
        logged_on(98, 3, "eve", "192.0.2.20:49243"),
        logged_on(97, 4, "mallory", "192.0.2.21:50000"),
        logged_on(101, 5, "after it", "192.0.2.22:50000"),
    ];
    let events: Vec<_> = logons.into_iter().chain([wmi(100)]).collect();
    let found = hunted(&events);
    let event = host(&found[0]);
    assert_eq!((&event.caller, event.source_ip), (&None, None));
    assert_eq!(
        event.because,
        [
            r"at whose bidding is not known; over the network had logged on LAB\eve from 192.0.2.20 (1.00 s before), LAB\mallory from 192.0.2.21 (3.00 s before)"
        ]
    );
    assert_eq!(event.related.len(), 2);
    assert!(
        event.related[1].what.ends_with("49244, not proven to belong to it"),
        "{event:?}"
    );
    // Of what is no child of such a process, nothing is supposed.
    let script = script(100, 9, "[type]::GetTypeFromProgID('MMC20.Application', 'srv1')", None);
    let found = hunted(&[logged_on(99, 2, "eve", "192.0.2.20:49244"), script]);
    assert!(host(&found[0]).related.is_empty());
}

#[test]
fn of_two_logons_of_one_number_the_last_before_it_counts() {
    let logon = |second, record, from: &str| {
        let logon = Logon {
            logon_type: Some(3),
            account: Account {
                user: Some("alice".into()),
                logon_id: Some(0x1234),
                ..Account::default()
            },
            address: Some(from.parse().unwrap()),
            ..Logon::default()
        };
        event(second, record, Source::Security(4624), HostBody::Logon(Box::new(logon)))
    };
    let mut child = created(100, 9, ("mmc.exe", 10), ("cmd.exe", 11), "cmd.exe");
    if let HostBody::ProcessCreate(create) = &mut child.body {
        create.account.logon_id = Some(0x1234);
    }
    let events = [
        logon(9, 1, "192.0.2.20"),
        logon(50, 2, "192.0.2.77"),
        child,
        logon(200, 3, "192.0.2.88"),
    ];
    let found = hunted(&events);
    assert_eq!(host(&found[0]).source_ip, Some("192.0.2.77".parse().unwrap()));
}

#[test]
fn a_host_that_starts_much_is_looked_through_in_no_time() {
    let child = |number: u32| {
        let line = format!("cmd.exe /c echo {number}");
        created(
            i64::from(number) / 500,
            number.into(),
            ("explorer.exe", 3000),
            ("cmd.exe", 4100 + number),
            &line,
        )
    };
    let mut hunt = Hunt::new(Arc::new(Catalog::built_in()));
    let mut found = Vec::new();
    for number in 0..6_000 {
        hunt.push(child(number), &mut found);
    }
    hunt.finish(&mut found);
    assert!(found.is_empty());
    assert_eq!(hunt.counters().told_early, 6_000 - 4_096);
}

#[test]
fn long_lines_without_ids_are_findings_of_their_own() {
    let line = |number: i64| format!("cmd.exe /c {number} {}", "a".repeat(90_000));
    let mut hunt = Hunt::new(Arc::new(Catalog::built_in()));
    let mut found = Vec::new();
    for number in 0..300 {
        let mut child = created(1, 1, ("mmc.exe", 10), ("cmd.exe", 11), &line(number));
        child.place.record = number.unsigned_abs();
        child.time.0 += number;
        if let HostBody::ProcessCreate(create) = &mut child.body {
            create.process.pid = None;
        }
        hunt.push(child, &mut found);
    }
    hunt.finish(&mut found);
    assert_eq!(found.len(), 300);
}

#[test]
fn findings_and_servers_take_no_more_room_than_there_is() {
    let mut hunt = Hunt::new(Arc::new(Catalog::built_in()));
    let mut found = Vec::new();
    let folder = "a".repeat(90_000);
    for number in 0..1_000 {
        let record = u64::from(number);
        let mut launched = activated(record.cast_signed() / 20, record, ("mmc.exe", 4000 + number), SERVER);
        if let HostBody::ProcessCreate(create) = &mut launched.body {
            create.process.image = Some(format!(r"C:\{folder}\mmc.exe").into());
        }
        hunt.push(launched, &mut found);
    }
    hunt.finish(&mut found);
    let counters = hunt.counters();
    assert_eq!(found.len(), 1_000);
    assert!(counters.forgotten > 500 && counters.told_early > 0, "{counters:?}");
}

#[test]
fn every_pattern_has_a_signature_that_is_told_by_its_name() {
    let ids: Vec<u32> = crate::detect::HOST_SIGNATURES
        .iter()
        .map(|signature| signature.id)
        .collect();
    assert!(ids.iter().copied().eq(1_021_401..=1_021_413));
}
