//! What single records of each exporter come to. Whole samples of each form are in `tests/host_logs`.

use super::*;

/// All that is read of a log, whatever form it is in.
fn read(log: &str) -> (Vec<HostEvent>, Report) {
    let mut events = Vec::new();
    let mut reader = Reader::new("log".into(), Kind::default());
    let known = bytes(log.as_bytes(), &mut reader, &mut |event| events.push(event)).unwrap();
    reader.finish(&mut |event| events.push(event));
    assert!(known, "{log}");
    (events, reader.report)
}

/// The one process start of a log.
fn started(log: &str) -> event::ProcessCreate {
    let (events, report) = read(log);
    match &events[..] {
        [
            HostEvent {
                body: HostBody::ProcessCreate(create),
                ..
            },
        ] => (**create).clone(),
        _ => panic!("{report}: {events:?}"),
    }
}

#[test]
fn a_process_runs_as_its_own_user_and_not_as_its_parent_s() {
    // Sysmon 13.30 and later writes `ParentUser` last.
    let json = r#"{"System": {"Provider": {"Name": "Microsoft-Windows-Sysmon"}, "EventID": 1, "Computer": "ws6",
        "TimeCreated": {"SystemTime": "2020-09-18T17:05:52.900Z"}}, "EventData": {"Image": "C:\\a.exe", "User": "LAB\\alice",
        "ParentUser": "NT AUTHORITY\\NETWORK SERVICE"}}"#;
    let xml = r#"<Event><System><Provider Name="Microsoft-Windows-Sysmon"/><EventID>1</EventID><Computer>ws6</Computer>
        <TimeCreated SystemTime="2020-09-18T17:05:52.900Z"/></System><EventData><Data Name="Image">C:\a.exe</Data>
        <Data Name="User">LAB\alice</Data><Data Name="ParentUser">NT AUTHORITY\NETWORK SERVICE</Data></EventData></Event>"#;
    for log in [json, xml] {
        assert_eq!(started(log).account.user.as_deref(), Some("alice"), "{log}");
    }
}
