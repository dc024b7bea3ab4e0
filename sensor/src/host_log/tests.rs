//! What single records of each exporter come to. Whole samples of each form are in `tests/host_logs`.

use std::fmt::Write as _;

use super::event::Clock;
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

#[test]
fn binary_data_beside_the_inserts_is_none_of_them() {
    let log = r#"{"RecordNumber": 7, "TimeGenerated": "2020-09-18 13:05:52 -0400", "EventID": 4688, "Channel": "Security",
        "SourceName": "Microsoft-Windows-Security-Auditing", "ComputerName": "ws6.lab.example", "Data": "", "Sid": "",
        "Message": "A new process has been created.", "StringInserts": ["S-1-5-18", "WS6$", "LAB", "0x3e7", "0x17dc",
        "C:\\Windows\\System32\\cmd.exe", "%%1936", "0xdf4", "cmd.exe /c whoami", "S-1-0-0", "alice", "LAB", "0x3ade94",
        "C:\\Windows\\System32\\mmc.exe", "S-1-16-12288"]}"#;
    let create = started(log);
    assert_eq!(create.process.pid, Some(0x17dc));
    assert_eq!(create.process.command_line.as_deref(), Some("cmd.exe /c whoami"));
    assert_eq!(create.parent.name().as_deref(), Some("mmc.exe"));
    assert_eq!(create.account.user.as_deref(), Some("alice"));
}

#[test]
fn parts_of_a_record_may_stand_in_it_as_text() {
    let data = r#"{"NewProcessId": "0x17dc", "NewProcessName": "C:\\Windows\\System32\\cmd.exe", "ProcessId": "0xdf4",
        "CommandLine": "cmd.exe /c echo \"a\"", "SubjectUserName": "alice"}"#;
    let system = r#"{"Provider": {"Name": "Microsoft-Windows-Security-Auditing"}, "EventID": {"Value": 4688},
        "TimeCreated": {"SystemTime": 1600448752.900125}, "Computer": "ws6.lab.example", "Execution": {"ProcessID": 4}}"#;
    let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // Velociraptor's tables, Sentinel's, and the same as JSON.
    for log in [
        format!("System,EventData,Message,OSPath\n{},{},x,y\n", cell(system), cell(data)),
        format!("Data,EventData,System\n,{},{}\n", cell(data), cell(system)),
        format!(
            "EventTime,Computer,Channel,Provider,EventID,EventData,UserData\n2020-09-18T17:05:52.900125Z,ws6.lab.example,\
             Security,Microsoft-Windows-Security-Auditing,4688,{},\n",
            cell(data)
        ),
        format!("{{\"EventData\": {}, \"System\": {}}}", text(data), text(system)),
        format!("{{\"System\": {}, \"EventData\": {data}}}", text(system)),
        format!("{{\"Event\": {{\"System\": {system}, \"EventData\": {}}}}}", text(data)),
    ] {
        let create = started(&log);
        assert_eq!(create.process.pid, Some(0x17dc), "{log}");
        assert_eq!(
            create.process.command_line.as_deref(),
            Some("cmd.exe /c echo \"a\""),
            "{log}"
        );
        assert_eq!(create.parent.pid, Some(0xdf4), "{log}");
        assert_eq!(
            read(&log).0[0].time.to_string(),
            "2020-09-18T17:05:52.900125+0000",
            "{log}"
        );
    }
    // One that is cut is told, if it matters.
    let cut = |id| format!("{{\"EventID\": {id}, \"Channel\": \"Security\", \"EventData\": \"{{\\\"NewProc\"}}");
    assert_eq!(
        read(&cut(4688)).1.skipped.keys().collect::<Vec<_>>(),
        [&Reason::BrokenJson]
    );
    assert!(!read(&cut(4634)).1.is_damaged());
}

#[test]
fn rows_of_sentinel_s_table_event_are_read() {
    let row = |source: &str| {
        format!(
            "TenantId,TimeGenerated [UTC],Source,EventLog,Computer,ParameterXml,EventData,EventID,RenderedDescription,Type\n\
             t,\"9/18/2020, 5:05:52.782 PM\",{source},System,ws6.lab.example,<Param>application-specific</Param>,\
             \"<DataItem type=\"\"System.XmlData\"\" time=\"\"2020-09-18T17:05:52.7820000Z\"\"><EventData xmlns=\"\"x\"\">\
             <Data Name=\"\"param1\"\">application-specific</Data><Data Name=\"\"param9\"\">192.0.2.5</Data></EventData></DataItem>\",\
             10016,x,Event\n"
        )
    };
    let (events, report) = read(&row("Microsoft-Windows-DistributedCOM"));
    let [
        HostEvent {
            body: HostBody::DcomError(error),
            ..
        },
    ] = &events[..]
    else {
        panic!("{report}: {events:?}");
    };
    assert_eq!(error.address, Some([192, 0, 2, 5].into()));
    assert_eq!(events[0].time.to_string(), "2020-09-18T17:05:52.782000+0000");
    let (none, report) = read(&row("Something-Else"));
    assert!(
        none.is_empty() && report.skipped.contains_key(&Reason::OtherProvider),
        "{report}"
    );
}

/// When events happened, and what that rests on.
fn dated(log: &str) -> Vec<(String, Clock)> {
    let (events, _) = read(log);
    let dated = |event: &HostEvent| (event.time.to_string()[..19].to_owned(), event.clock);
    events.iter().map(dated).collect()
}

/// A table of Defender's with these times.
fn table(unit: &str, times: &[&str]) -> String {
    let mut log = format!("TimeGenerated{unit},DeviceName,ActionType,FileName,ProcessId\n");
    for time in times {
        writeln!(log, "\"{time}\",ws6.lab.example,ProcessCreated,cmd.exe,1").unwrap();
    }
    log
}

#[test]
fn a_table_s_times_are_in_the_zone_that_its_header_names() {
    for (unit, clock) in [
        ("", Clock::Utc),
        (" [UTC]", Clock::Utc),
        (" [Local Time]", Clock::Assumed),
        (" [UTC+01:00]", Clock::Assumed),
    ] {
        let expected = [("2020-05-03T17:05:52".to_owned(), clock)];
        assert_eq!(dated(&table(unit, &["5/3/2020, 5:05:52.782 PM"])), expected, "{unit}");
    }
}

#[test]
fn whether_the_day_or_the_month_comes_first_is_told_by_the_log_s_other_times() {
    let (ambiguous, day_first, month_first) = ("03/05/2020 17:05:52", "14/05/2020 17:05:52", "03/14/2020 17:05:52");
    let event = |day: &str, clock| (format!("2020-{day}T17:05:52"), clock);
    assert_eq!(
        dated(&table(" [UTC]", &[ambiguous, day_first, ambiguous])),
        [
            event("05-03", Clock::Utc),
            event("05-14", Clock::Utc),
            event("05-03", Clock::Utc)
        ]
    );
    assert_eq!(
        dated(&table(" [UTC]", &[ambiguous, month_first])),
        [event("03-05", Clock::Utc), event("03-14", Clock::Utc)]
    );
    // Where none tells, it is not known.
    assert_eq!(dated(&table(" [UTC]", &[ambiguous])), [event("03-05", Clock::Assumed)]);
    // Lines that wait for their zone wait for the order as well.
    let line = |time: &str| {
        format!("{{\"EventID\": 4624, \"Channel\": \"Security\", \"Hostname\": \"ws6\", \"EventTime\": \"{time}\"}}\n")
    };
    assert_eq!(
        dated(&(line(ambiguous) + &line(day_first))),
        [event("05-03", Clock::Assumed), event("05-14", Clock::Assumed)]
    );
}

#[test]
fn flat_results_of_splunk_name_the_channel_in_their_source_and_the_zone_by_its_abbreviation() {
    let row = |time: &str, source: &str| {
        format!(
            "{{\"result\": {{\"_time\": \"{time}\", \"host\": \"WS6\", \"source\": \"{source}\", \"EventCode\": \"4688\", \
             \"NewProcessId\": \"0x17dc\"}}}}"
        )
    };
    for (zone, hour, clock) in [
        ("EST", 22, Clock::Zoned),
        ("CEST", 15, Clock::Zoned),
        ("UTC", 17, Clock::Zoned),
        ("CST", 23, Clock::Assumed),
        ("XYZ", 17, Clock::Assumed),
    ] {
        let log = row(&format!("2020-09-18 17:05:52.782 {zone}"), "XmlWinEventLog:Security");
        assert_eq!(dated(&log), [(format!("2020-09-18T{hour}:05:52"), clock)], "{zone}");
    }
    let time = "2020-09-18T17:05:52.782+00:00";
    assert_eq!(started(&row(time, "WinEventLog:Security")).process.pid, Some(0x17dc));
    let other = |source| read(&row(time, source)).1.skipped.into_keys().next();
    assert_eq!(other("WinEventLog:Application"), Some(Reason::OtherProvider));
    assert_eq!(other("C:\\\\log.txt"), Some(Reason::NotAnEvent));
}

#[test]
fn kibana_s_times_are_the_browser_s() {
    let row =
        |time: &str, utc: &str| format!("\"{time}\",wineventlog,5,Microsoft-Windows-Sysmon,ws6.lab.example,{utc}\n");
    let header =
        "@timestamp,winlog.api,winlog.event_id,winlog.provider_name,winlog.computer_name,winlog.event_data.UtcTime\n";
    let alone = row("Sep 18, 2020 @ 13:05:52.782", "");
    assert_eq!(
        dated(&(header.to_owned() + &alone)),
        [("2020-09-18T13:05:52".to_owned(), Clock::Assumed)]
    );
    // Sysmon's own time tells the zone.
    let both = row("Sep 18, 2020 @ 13:05:52.782", "2020-09-18 17:05:52.700").repeat(3);
    let log = header.to_owned() + &both + &alone;
    assert_eq!(
        dated(&log)[3],
        ("2020-09-18T17:05:52".to_owned(), Clock::Inferred(-240))
    );
    assert_eq!(
        read(&log).0[0].logged.unwrap().to_string(),
        "2020-09-18T17:05:52.782000+0000"
    );
    let certain = header.to_owned() + &row("2020-09-18T17:05:52.782Z", "");
    assert_eq!(dated(&certain), [("2020-09-18T17:05:52".to_owned(), Clock::Utc)]);
}

#[test]
fn a_local_time_of_collection_tells_no_zone() {
    let line =
        |times: &str| format!("{{\"EventID\": 4624, \"Channel\": \"Security\", \"Hostname\": \"ws6\", {times}}}\n");
    let local = r#""EventTime": "2020-09-18 13:05:52", "EventReceivedTime": "2020-09-18 13:05:53""#;
    let (events, report) = read(&line(local).repeat(4));
    assert!(report.zones.is_empty(), "{report}");
    assert_eq!(events[0].clock, Clock::Assumed);
    let zoned = format!("{local}, \"@timestamp\": \"2020-09-18T17:05:54Z\"");
    assert_eq!(
        dated(&line(&zoned)),
        [("2020-09-18T17:05:52".to_owned(), Clock::Inferred(-240))]
    );
    let alone = |time: &str| dated(&line(&format!("\"EventReceivedTime\": \"{time}\"")))[0].1;
    assert_eq!(alone("2020-09-18 13:05:53"), Clock::Assumed);
    assert_eq!(alone("2020-09-18 13:05:53 +0000"), Clock::Collected);
}

#[test]
fn what_defender_streams_is_read() {
    let row = |table: &str, id: u32| {
        format!(
            "{{\"time\": \"2020-09-18T17:05:59Z\", \"category\": \"AdvancedHunting-{table}\", \"properties\": {{\
             \"Timestamp\": \"2020-09-18T17:05:52.782Z\", \"DeviceName\": \"ws6.lab.example\", \"ProcessId\": {id}, \
             \"FileName\": \"cmd.exe\", \"ActionType\": \"ProcessCreated\"}}}}"
        )
    };
    let (one, two, file) = (
        row("DeviceProcessEvents", 1),
        row("DeviceProcessEvents", 2),
        row("DeviceFileEvents", 3),
    );
    // To an event hub in batches, to a storage account a line each.
    for log in [
        format!("{{\"records\": [{one}, {two}, {file}]}}"),
        format!("{one}\n{two}\n{file}\n"),
    ] {
        let expected = ("2020-09-18T17:05:52".to_owned(), Clock::Utc);
        assert_eq!(dated(&log), [expected.clone(), expected], "{log}");
        assert_eq!(
            read(&log).1.skipped.keys().collect::<Vec<_>>(),
            [&Reason::NotOfInterest]
        );
    }
}

#[test]
fn what_powershell_makes_of_get_winevent_is_read() {
    let record = |properties: &str| {
        format!(
            "[{{\"Id\": 4688, \"RecordId\": 7, \"ProviderName\": \"Microsoft-Windows-Security-Auditing\", \
             \"LogName\": \"Security\", \"ProcessId\": 4, \"MachineName\": \"ws6\", \"UserId\": null, \
             \"TimeCreated\": \"\\/Date(1600448752782)\\/\", \"Properties\": [{properties}], \"Message\": \"Ein neuer Prozess\"}}]"
        )
    };
    let sid = r#"{"Value": {"BinaryLength": 12, "AccountDomainSid": null, "Value": "S-1-5-18"}}"#;
    let rest = r#"{"Value": "WS6$"}, {"Value": "LAB"}, {"Value": 999}, {"Value": 6108}, {"Value": "C:\\Windows\\cmd.exe"},
        {"Value": "%%1936"}, {"Value": 3572}, {"Value": "cmd.exe /c whoami"}"#;
    let log = record(&format!("{sid}, {rest}"));
    let create = started(&log);
    assert_eq!((create.process.pid, create.parent.pid), (Some(6108), Some(3572)));
    assert_eq!(create.process.command_line.as_deref(), Some("cmd.exe /c whoami"));
    assert_eq!(create.account.sid.as_deref(), Some("S-1-5-18"));
    assert_eq!(dated(&log), [("2020-09-18T17:05:52".to_owned(), Clock::Zoned)]);
    // Converted with too small a depth it says nothing of the process.
    let shallow = record(
        "\"System.Diagnostics.Eventing.Reader.EventProperty\", \"System.Diagnostics.Eventing.Reader.EventProperty\"",
    );
    assert_eq!(
        read(&shallow).1.skipped.keys().collect::<Vec<_>>(),
        [&Reason::Incomplete]
    );
}

#[test]
fn what_evtx_dump_writes_is_read() {
    let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Event>\n <System>\n  <Provider Name=\"Microsoft-Windows-Sysmon\">\n  \
               </Provider><EventID>1</EventID><TimeCreated SystemTime=\"2020-09-18T17:05:52.782Z\"></TimeCreated>\n  \
               <Computer>ws6</Computer></System><EventData><Data Name=\"ProcessId\">1</Data></EventData>\n</Event>\n";
    let json = r##"{
        "Event": {"System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 1, "Computer": "ws6",
        "TimeCreated": {"#attributes": {"SystemTime": "2020-09-18T17:05:52.782Z"}}}, "EventData": {"ProcessId": 1}}
    }
    "##;
    for record in [xml, json] {
        for end in ["\n", "\r\n"] {
            let log = format!("Record 9832{end}{record}Record 9833{end}{record}");
            let (events, report) = read(&log);
            assert_eq!((events.len(), report.skipped_total()), (2, 0), "{report}: {log}");
            assert!(recognise::is_known(log.as_bytes()));
        }
    }
    // Anything else between them is damage, as ever.
    assert!(read(&format!("Record 1\n{json}Record x\n{json}")).1.is_damaged());
}

#[test]
fn of_a_compressed_log_that_was_cut_all_is_read_that_came_before() {
    let mut lines = String::new();
    for number in 0..400 {
        let _ = writeln!(
            lines,
            r#"{{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Provider":"Microsoft-Windows-Sysmon","Computer":"ws6","UtcTime":"2020-09-18 17:05:52.9{:02}","ProcessId":{number},"Image":"C:\\a{number}.exe","CommandLine":"a {}"}}"#,
            number % 100,
            number * 7_919 % 10_007
        );
    }
    let packed = zstd::stream::encode_all(lines.as_bytes(), 1).unwrap();
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut writer, lines.as_bytes()).unwrap();
    let gzip = writer.finish().unwrap();
    for (name, bytes, least) in [("gz", &gzip, 150), ("zst", &packed, 0)] {
        let path = std::env::temp_dir().join(format!("dcom-sensor-{}-cut.{name}", std::process::id()));
        std::fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
        let mut events = 0;
        let outcome = super::read(&path, None, &mut |_| events += 1);
        std::fs::remove_file(&path).unwrap();
        let error = outcome.unwrap_err();
        assert!(error.to_string().ends_with(" stream stops before its end"), "{error}");
        assert!(
            events >= least && error.report.events == events,
            "{name}: {events}, {}",
            error.report
        );
    }
}

/// The columns of `Get-WinEvent | Export-Csv`, and a row of Sysmon 1.
fn get_winevent(before: &str) -> String {
    format!(
        "{before}\"Message\",\"Id\",\"Version\",\"Level\",\"RecordId\",\"ProviderName\",\"LogName\",\"ProcessId\",\"ThreadId\",\
         \"MachineName\",\"UserId\",\"TimeCreated\",\"Properties\"\r\n\"Process Create:\r\nUtcTime: 2020-09-18 17:05:52.782\r\n\
         ProcessId: 6276\r\nImage: C:\\Windows\\System32\\cmd.exe\r\nCommandLine: cmd.exe\r\nUser: LAB\\alice\r\n\
         ParentProcessId: 4276\r\nParentImage: C:\\Windows\\System32\\mmc.exe\",\"1\",\"5\",\"4\",\"7\",\
         \"Microsoft-Windows-Sysmon\",\"Microsoft-Windows-Sysmon/Operational\",\"3064\",\"4236\",\"ws6\",\"S-1-5-18\",\
         \"9/18/2020 1:05:52 PM\",\"System.Collections.Generic.List`1[System.Diagnostics.Eventing.Reader.EventProperty]\"\r\n"
    )
}

#[test]
fn who_logged_an_event_is_not_who_it_is_about() {
    let create = started(&get_winevent(""));
    assert_eq!((create.process.pid, create.parent.pid), (Some(6276), Some(4276)));
    // Nothing is left of the event but who logged it.
    let log = r#"{"RecordId": 7, "EventId": 1, "Provider": "Microsoft-Windows-Sysmon", "ProcessId": 3064, "ThreadId": 4236,
        "Computer": "ws6", "TimeCreated": "2020-09-18 17:05:52.782"}"#;
    assert_eq!(read(log).1.skipped.keys().collect::<Vec<_>>(), [&Reason::Incomplete]);
    // A flat record without a thread is all event data.
    let log = r#"{"EventID": 1, "Provider": "Microsoft-Windows-Sysmon", "ProcessId": 6276, "Computer": "ws6",
        "UtcTime": "2020-09-18 17:05:52.782"}"#;
    assert_eq!(started(log).process.pid, Some(6276));
}

#[test]
fn a_table_may_have_a_line_before_its_header_and_be_utf_16_without_a_mark() {
    for before in [
        "#TYPE System.Diagnostics.Eventing.Reader.EventLogRecord\r\n",
        "sep=,\r\n",
        "\r\n",
    ] {
        let log = get_winevent(before);
        assert!(is_known(log.as_bytes()), "{before}");
        assert_eq!(started(&log).process.pid, Some(6276), "{before}");
    }
    let wide: [fn(u16) -> [u8; 2]; 2] = [u16::to_le_bytes, u16::to_be_bytes];
    for to_bytes in wide {
        let log: Vec<u8> = get_winevent("").encode_utf16().flat_map(to_bytes).collect();
        assert!(is_known(&log));
        let mut events = 0;
        let mut reader = Reader::new("log".into(), Kind::default());
        assert!(bytes(&log[..], &mut reader, &mut |_| events += 1).unwrap());
        reader.finish(&mut |_| events += 1);
        assert_eq!(events, 1);
    }
}

/// The text of a 4688, as Windows shows it.
const STARTED: &str = "A new process has been created.\r\n\r\nCreator Subject:\r\n\tSecurity ID:\t\tLAB\\alice\r\n\tAccount Name:\t\t\
    alice\r\n\tAccount Domain:\t\tLAB\r\n\tLogon ID:\t\t0x25276\r\n\r\nTarget Subject:\r\n\tSecurity ID:\t\tNULL SID\r\n\tAccount \
    Name:\t\t-\r\n\tAccount Domain:\t\t-\r\n\tLogon ID:\t\t0x0\r\n\r\nProcess Information:\r\n\tNew Process ID:\t\t0x1168\r\n\tNew \
    Process Name:\tC:\\Windows\\System32\\cmd.exe\r\n\tToken Elevation Type:\tTokenElevationTypeFull (2)\r\n\tMandatory \
    Label:\t\tMandatory Label\\High Mandatory Level\r\n\tCreator Process ID:\t0xe80\r\n\tCreator Process Name:\tC:\\Windows\\\
    System32\\mmc.exe\r\n\tProcess Command Line:\tcmd.exe /c whoami";

/// What an event is that was exported as what Windows shows of it.
fn shown(channel: &str, id: u16, text: &str) -> Vec<HostEvent> {
    let log = serde_json::json!({
        "TimeCreated": {"value": "/Date(1600448752782)/", "DateTime": "Friday, September 18, 2020 5:05:52 PM"},
        "Id": id, "LogName": channel, "MachineName": "ws6", "ProcessId": 4, "Message": text,
    });
    read(&log.to_string()).0
}

#[test]
fn an_event_of_windows_is_read_by_what_is_shown_of_it() {
    let [
        HostEvent {
            body: HostBody::ProcessCreate(create),
            ..
        },
    ] = &shown("Security", 4688, STARTED)[..]
    else {
        panic!();
    };
    assert_eq!((create.process.pid, create.parent.pid), (Some(0x1168), Some(0xe80)));
    assert_eq!(create.parent.name().as_deref(), Some("mmc.exe"));
    assert_eq!(create.process.command_line.as_deref(), Some("cmd.exe /c whoami"));
    assert_eq!(create.account.user.as_deref(), Some("alice"));
    assert_eq!(
        (create.account.sid.as_deref(), create.account.logon_id),
        (None, Some(0x25276))
    );
    assert_eq!(create.integrity.as_deref(), Some("High"));

    let text = "An account was successfully logged on.\n\nSubject:\n\tSecurity ID:\t\tS-1-0-0\n\tAccount Name:\t\t-\n\tAccount \
        Domain:\t\t-\n\tLogon ID:\t\t0x0\n\nLogon Information:\n\tLogon Type:\t\t3\n\nNew Logon:\n\tSecurity ID:\t\t\
        S-1-5-21-1-2-3-1104\n\tAccount Name:\t\talice\n\tAccount Domain:\t\tLAB\n\tLogon ID:\t\t0x3ade94\n\tNetwork Account \
        Name:\t-\n\nProcess Information:\n\tProcess ID:\t\t0x0\n\tProcess Name:\t\t-\n\nNetwork Information:\n\tWorkstation \
        Name:\tWS5\n\tSource Network Address:\t192.0.2.5\n\tSource Port:\t\t49800\n\nDetailed Authentication \
        Information:\n\tLogon Process:\t\tNtLmSsp \n\tAuthentication Package:\tNTLM\n";
    let [
        HostEvent {
            body: HostBody::Logon(logon),
            ..
        },
    ] = &shown("Security", 4624, text)[..]
    else {
        panic!();
    };
    assert_eq!(
        (logon.logon_type, logon.port, logon.process.pid),
        (Some(3), Some(49800), None)
    );
    assert_eq!(logon.account.user.as_deref(), Some("alice"));
    assert_eq!(logon.account.sid.as_deref(), Some("S-1-5-21-1-2-3-1104"));
    assert_eq!(logon.address.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.5"));
    assert_eq!(logon.workstation.as_deref(), Some("WS5"));

    let text = "The Windows Filtering Platform has permitted a connection.\n\nApplication Information:\n\tProcess \
        ID:\t\t884\n\tApplication Name:\t\\device\\harddiskvolume2\\windows\\system32\\svchost.exe\n\nNetwork \
        Information:\n\tDirection:\t\tInbound\n\tSource Address:\t\t192.0.2.6\n\tSource Port:\t\t135\n\tDestination \
        Address:\t192.0.2.5\n\tDestination Port:\t\t49800\n\tProtocol:\t\t6\n";
    let [
        HostEvent {
            body: HostBody::NetworkConnect(connect),
            ..
        },
    ] = &shown("Security", 5156, text)[..]
    else {
        panic!();
    };
    assert_eq!((connect.process.pid, connect.protocol), (Some(884), Some(6)));
    assert_eq!((connect.source.port, connect.destination.port), (135, 49800));

    let text = "Creating Scriptblock text (1 of 2):\r\n[activator]::CreateInstance($t)\r\n$a\r\n\r\n\
        ScriptBlock ID: 6c9d2c4c-3a5a-4a35-9a53-77f6b3b1a1d0\r\nPath: C:\\a.ps1";
    let [
        HostEvent {
            body: HostBody::Script(script),
            ..
        },
    ] = &shown("Microsoft-Windows-PowerShell/Operational", 4104, text)[..]
    else {
        panic!();
    };
    assert_eq!(&*script.text, "[activator]::CreateInstance($t)\r\n$a");
    assert_eq!((script.part, script.path.as_deref()), (Some((1, 2)), Some("C:\\a.ps1")));
    assert!(script.block.is_some());
}

#[test]
fn a_command_line_cannot_pass_for_the_lines_around_it() {
    let line = "cmd.exe\nParentImage: C:\\Windows\\System32\\mmc.exe";
    let text = format!(
        "Process Create:\nUtcTime: 2020-09-18 17:05:52.782\nProcessId: 1\nImage: C:\\a.exe\nCommandLine: {line}\n\
         ParentImage: C:\\b.exe"
    );
    let [
        HostEvent {
            body: HostBody::ProcessCreate(create),
            ..
        },
    ] = &shown("Microsoft-Windows-Sysmon/Operational", 1, &text)[..]
    else {
        panic!();
    };
    assert_eq!((create.process.pid, create.parent.image.as_deref()), (Some(1), None));
    let text = format!("{STARTED}\n\nNew Logon:\n\tAccount Name:\tbob\n\tCreator Process Name:\tC:\\b.exe");
    let [
        HostEvent {
            body: HostBody::ProcessCreate(create),
            ..
        },
    ] = &shown("Security", 4688, &text)[..]
    else {
        panic!();
    };
    assert_eq!(create.account.user.as_deref(), Some("alice"));
    assert_eq!(create.parent.name().as_deref(), Some("mmc.exe"));
}

#[test]
fn events_as_they_are_shown_are_read_in_whatever_stands_around_them() {
    let sysmon =
        "Process Create:\nUtcTime: 2020-09-18 17:05:52.782\nProcessId: 6276\nImage: C:\\a.exe\nParentProcessId: 4276";
    let splunk = format!(
        "09/18/2020 01:05:52 PM\nLogName=Microsoft-Windows-Sysmon/Operational\nEventCode=1\nEventType=4\nComputerName=ws6\n\
         User=NOT_TRANSLATED\nSid=S-1-5-18\nSourceName=Microsoft-Windows-Sysmon\nType=Information\nRecordNumber=7\n\
         Message={sysmon}\n09/18/2020 01:05:53 PM\nLogName=Security\nSourceName=Microsoft Windows security auditing.\n\
         EventCode=4688\nEventType=0\nComputerName=ws6\nRecordNumber=8\nMessage={STARTED}\n"
    );
    let wevtutil = format!(
        "Event[0]:\r\n  Log Name: Microsoft-Windows-Sysmon/Operational\r\n  Source: Microsoft-Windows-Sysmon\r\n  Date: \
         2020-09-18T13:05:52.782\r\n  Event ID: 1\r\n  Task: Process Create\r\n  User: S-1-5-18\r\n  Computer: ws6\r\n  \
         Description: \r\n{sysmon}\r\n\r\nEvent[1]\r\n  Log Name: Security\r\n  Source: Microsoft-Windows-Security-Auditing\r\n  \
         Date: 2020-09-18T13:05:53.000\r\n  Event ID: 4688\r\n  Computer: ws6\r\n  Description: \r\n{STARTED}\r\n"
    );
    let raw: Vec<String> = splunk
        .split("\n09/18/2020 01:05:53")
        .zip(["", "09/18/2020 01:05:53"])
        .map(|(raw, before)| {
            serde_json::json!({"result": {"_raw": format!("{before}{raw}"), "_time": "2020-09-18T13:05:52.000-0400",
                "host": "forwarder", "source": "WinEventLog:Security"}})
            .to_string()
        })
        .collect();
    for log in [splunk, wevtutil, raw.join("\n")] {
        assert!(is_known(log.as_bytes()), "{log}");
        let (events, report) = read(&log);
        assert_eq!(report.skipped_total(), 0, "{report}: {log}");
        let pids: Vec<_> = events
            .iter()
            .map(|event| match &event.body {
                HostBody::ProcessCreate(create) => (&*event.host, create.process.pid, create.parent.pid),
                body => panic!("{body:?}"),
            })
            .collect();
        assert_eq!(
            pids,
            [("ws6", Some(6276), Some(4276)), ("ws6", Some(0x1168), Some(0xe80))],
            "{log}"
        );
    }
}

#[test]
fn an_event_as_it_is_shown_that_is_too_long_is_passed_over() {
    let event = |text: &str| {
        format!(
            "Event[0]:\n  Log Name: Security\n  Date: 2020-09-18T13:05:53.000\n  Event ID: 4688\n  Computer: ws6\n  \
             Description: {text}\n"
        )
    };
    let long = "x\n".repeat(crate::limits::host_log::RECORD / 2 + 1);
    let (events, report) = read(&[event(&long), event(STARTED)].concat());
    assert_eq!((events.len(), report.skipped[&Reason::TooLong]), (1, 1), "{report}");
}

#[test]
fn a_device_s_timeline_is_read() {
    let log = "\u{feff}Event Time,Machine Id,Computer Name,Action Type,File Name,Folder Path,Sha1,Process Command Line,Account \
        Domain,Account Name,Process Id,Initiating Process File Name,Initiating Process Folder Path,Initiating Process Id\n\
        2020-09-18T17:05:52.782,aa,ws6.lab.example,ProcessCreated,cmd.exe,C:\\Windows\\System32\\cmd.exe,0f,cmd.exe /c \
        whoami,lab,alice,6276,mmc.exe,c:\\windows\\system32\\mmc.exe,4276\n";
    assert!(is_known(log.as_bytes()));
    let create = started(log);
    assert_eq!((create.process.pid, create.parent.pid), (Some(6276), Some(4276)));
    assert_eq!(create.process.command_line.as_deref(), Some("cmd.exe /c whoami"));
    assert_eq!(create.hashes.as_deref(), Some("SHA1=0f"));
    assert_eq!(dated(log), [("2020-09-18T17:05:52".to_owned(), Clock::Utc)]);
}

#[test]
fn values_in_arrays_of_fields_are_read() {
    let log = r#"{"_index": "x", "_source": {}, "fields": {"@timestamp": ["2020-09-18T17:05:52.782Z"], "event.code": ["1"],
        "event.provider": ["Microsoft-Windows-Sysmon"], "host.name": ["ws6"], "process.pid": [6276], "process.parent.pid": [4276],
        "process.executable": ["C:\\a.exe"], "winlog.event_id": ["1"], "winlog.provider_name": ["Microsoft-Windows-Sysmon"],
        "winlog.event_data.IntegrityLevel": ["High"], "winlog.process.pid": [3064]}}"#;
    let create = started(log);
    assert_eq!((create.process.pid, create.parent.pid), (Some(6276), Some(4276)));
    assert_eq!(create.integrity.as_deref(), Some("High"));
}

#[test]
fn hayabusa_s_timelines_are_read() {
    let head = "Timestamp,RuleTitle,Level,Computer,Channel,EventID,RecordID,Details,ExtraFieldInfo,RuleID\n";
    let row = |details: &str, extra: &str| {
        format!("{head}2020-09-18 19:05:52.782 +02:00,Proc Exec,info,ws6,Sysmon,1,7,{details},{extra},a1b2\n")
    };
    let details = r"Cmdline: cmd.exe /c whoami ¦ Proc: C:\Windows\System32\cmd.exe ¦ User: LAB\alice ¦ ParentCmdline: mmc.exe -Embedding ¦ LID: 0x3ade94 ¦ PID: 6276 ¦ PGUID: d273d0f0-e8f0-5f64-ff00-000000000800 ¦ ParentPID: 4276";
    let extra = r"IntegrityLevel: High ¦ ParentImage: C:\Windows\System32\mmc.exe ¦ UtcTime: 2020-09-18 17:05:51.000";
    let object = |pairs: &str| -> serde_json::Value {
        let pairs = pairs.split(" ¦ ").filter_map(|pair| pair.split_once(": "));
        pairs
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let json = serde_json::json!({"Timestamp": "2020-09-18 19:05:52.782 +02:00", "RuleTitle": "Proc Exec", "Level": "info",
        "Computer": "ws6", "Channel": "Sysmon", "EventID": 1, "RecordID": 7, "Details": object(details),
        "ExtraFieldInfo": object(extra), "RuleID": "a1b2"});
    for log in [row(details, extra), json.to_string(), format!("{json:#}\n{json:#}")] {
        assert!(is_known(log.as_bytes()), "{log}");
        let (events, report) = read(&log);
        assert_eq!(report.skipped_total(), 0, "{report}");
        assert_eq!(events[0].time.to_string(), "2020-09-18T17:05:51.000000+0000");
        let HostBody::ProcessCreate(create) = &events[0].body else {
            panic!("{events:?}");
        };
        assert_eq!(
            (create.process.pid, create.parent.pid),
            (Some(6276), Some(4276)),
            "{log}"
        );
        assert_eq!(create.process.command_line.as_deref(), Some("cmd.exe /c whoami"));
        assert_eq!(create.process.name().as_deref(), Some("cmd.exe"));
        assert_eq!(create.parent.name().as_deref(), Some("mmc.exe"));
        assert_eq!(create.account.user.as_deref(), Some("alice"));
        assert_eq!(create.integrity.as_deref(), Some("High"));
        assert!(create.process.guid.is_some());
    }
    // The time of the timeline where the event has none, and what a command line puts between counts for nothing.
    let log = row(&details.replace("whoami", "whoami ¦ PID: 1"), "");
    assert_eq!(dated(&log), [("2020-09-18T17:05:52".to_owned(), Clock::Zoned)]);
    assert_eq!(started(&log).process.pid, None);
    let log = format!(
        "{head}2020-09-18 17:05:52.782 +00:00,Logon (Network),info,ws6,Sec,4624,8,Type: 3 - NETWORK ¦ TgtUser: alice ¦ \
         SrcComp: WS5 ¦ SrcIP: 192.0.2.5 ¦ LID: 0x3ade94,IpPort: 49800 ¦ TargetDomainName: LAB,a1b2\n"
    );
    let [
        HostEvent {
            body: HostBody::Logon(logon),
            ..
        },
    ] = &read(&log).0[..]
    else {
        panic!();
    };
    assert_eq!((logon.logon_type, logon.port), (Some(3), Some(49800)));
    assert_eq!(logon.account.domain.as_deref(), Some("LAB"));
    assert_eq!(logon.address.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.5"));
}

#[test]
fn a_log_without_a_record_is_of_no_use() {
    for log in [
        "",
        "\n\n",
        "[]",
        "<Events></Events>",
        "EventID,Channel,Computer,EventData\n",
    ] {
        let (_, report) = read(log);
        assert!(report.is_useless(), "{log}");
        assert_eq!(report.complaint().as_deref(), Some("there is no record in it"));
    }
}

#[test]
fn rows_beside_their_columns_are_read() {
    let log = r#"{"tables": [{"name": "PrimaryResult", "columns": [{"name": "Timestamp", "type": "datetime"},
        {"name": "DeviceName"}, {"name": "ActionType"}, {"name": "FileName"}, {"name": "ProcessId"}, {"name": "InitiatingProcessId"}],
        "rows": [["2020-09-18T17:05:52.782Z", "ws6", "ProcessCreated", "cmd.exe", 6276, "4276"], ["too", "short"],
        ["2020-09-18T17:05:53Z", "ws6", "ConnectionFailed", null, null, null]]}]}"#;
    assert!(is_known(log.as_bytes()));
    let create = started(log);
    assert_eq!((create.process.pid, create.parent.pid), (Some(6276), Some(4276)));
    let (_, report) = read(log);
    assert_eq!(report.records, 3);
    assert_eq!(report.skipped[&Reason::BrokenJson], 1);
}

/// A table of Event Viewer's with a start of a process at each of these times; records that name no computer are of `ws6`.
fn viewed(times: &[&str]) -> (Vec<HostEvent>, Report) {
    let mut log = "Keywords,Date and Time,Source,Event ID,Task Category\r\n".to_owned();
    for time in times {
        write!(
            log,
            "Audit Success,{time},Microsoft-Windows-Security-Auditing,4688,Process Creation,\"{STARTED}\"\r\n"
        )
        .unwrap();
    }
    assert!(is_known(log.as_bytes()));
    let mut events = Vec::new();
    let mut reader = Reader::new("log".into(), Kind::default());
    reader.unnamed = Some("ws6".into());
    assert!(bytes(log.as_bytes(), &mut reader, &mut |event| events.push(event)).unwrap());
    reader.finish(&mut |event| events.push(event));
    (events, reader.report)
}

#[test]
fn a_region_s_time_is_never_taken_for_america_s_unless_another_tells() {
    for (times, expected) in [
        (&["5/9/2020 1:05:52 PM"][..], "2020-05-09"),
        (&["5/9/2020 1:05:52 PM", "13/9/2020 1:05:52 PM"], "2020-09-05"),
        (&["5/9/2020 1:05:52 PM", "9/13/2020 1:05:52 PM"], "2020-05-09"),
        (&["05-09-2020 13:05:52"], "2020-09-05"),
        (&["2020/9/5 13:05:52"], "2020-09-05"),
    ] {
        let (events, report) = viewed(times);
        assert_eq!(report.skipped_total(), 0, "{report}");
        assert_eq!(
            report.undecided,
            u64::from(times == ["5/9/2020 1:05:52 PM"]),
            "{report}"
        );
        assert_eq!(&events[0].time.to_string()[..10], expected, "{times:?}");
        assert_eq!(events[0].clock, Clock::Assumed);
    }
}

#[test]
fn who_logged_what_names_no_computer_has_to_be_told() {
    let log = format!(
        "Level,Date and Time,Source,Event ID,Task Category,\r\nInformation,2020-09-18 13:05:52,Microsoft-Windows-Security-Auditing,\
         4688,Process Creation,\"{STARTED}\"\r\nInformation,2020-09-18 13:05:52,Microsoft-Windows-Security-Auditing,4634,Logoff,x\r\n"
    );
    let (events, report) = read(&log);
    assert!(events.is_empty() && report.is_useless(), "{report}");
    assert_eq!(
        report.complaint().as_deref(),
        Some("of 2 records none is of use: 1 not of interest, 1 without a computer's name")
    );
    let (events, report) = viewed(&["2020-09-18 13:05:52"]);
    assert!(!report.is_useless());
    assert_eq!(&*events[0].host, "ws6");
    let HostBody::ProcessCreate(create) = &events[0].body else {
        panic!("{events:?}");
    };
    assert_eq!((create.process.pid, create.parent.pid), (Some(0x1168), Some(0xe80)));
}

/// A document of Elastic Defend's.
fn defended(kind: &str, action: &str, rest: serde_json::Value) -> serde_json::Value {
    let mut document = serde_json::json!({
        "@timestamp": "2020-09-18T17:05:52.7821234Z", "agent": {"type": "endpoint"}, "host": {"name": "ws6"},
        "data_stream": {"dataset": format!("endpoint.{kind}")}, "event": {"module": "endpoint", "action": action},
        "process": {"pid": 6276, "executable": "C:\\a.exe", "entity_id": "NGM5YzljYjMtZjgwZi00NGQ4LTljODktNjE2ODI0M2I3ZjIx"},
    });
    let (Some(document), serde_json::Value::Object(rest)) = (document.as_object_mut(), rest) else {
        panic!();
    };
    document.extend(rest);
    document.clone().into()
}

#[test]
fn of_elastic_defend_s_events_those_are_read_that_tell_of_a_beginning_or_an_end() {
    let ends = serde_json::json!({"source": {"ip": "192.0.2.5", "port": 49800}, "destination": {"ip": "192.0.2.6", "port": 135}});
    let none = || serde_json::json!({});
    for (kind, action, rest, is_read) in [
        ("events.process", "start", none(), true),
        ("events.process", "exec", none(), true),
        ("events.process", "end", none(), true),
        ("events.process", "fork", none(), false),
        ("events.network", "connection_attempted", ends.clone(), true),
        ("events.network", "connection_accepted", ends.clone(), true),
        ("events.network", "disconnect_received", ends.clone(), false),
        ("events.file", "creation", none(), true),
        ("events.file", "deletion", none(), false),
        ("events.library", "load", none(), false),
        ("alerts", "start", none(), false),
    ] {
        let (events, report) = read(&defended(kind, action, rest).to_string());
        assert_eq!(events.len(), usize::from(is_read), "{kind} {action}: {report}");
        if is_read {
            assert_eq!((&*events[0].host, events[0].clock), ("ws6", Clock::Utc));
        } else {
            assert_eq!(report.skipped.keys().collect::<Vec<_>>(), [&Reason::NotOfInterest]);
        }
    }
    // Beginning and end in one have the time of the end.
    for (kind, actions, rest, clock) in [
        ("events.process", &["start", "end"][..], none(), Some(Clock::Collected)),
        (
            "events.process",
            &["fork", "exec", "end"],
            none(),
            Some(Clock::Collected),
        ),
        ("events.process", &["fork", "exec"], none(), Some(Clock::Utc)),
        ("events.process", &["fork", "end"], none(), Some(Clock::Utc)),
        (
            "events.network",
            &["connection_accepted", "disconnect_received"],
            ends.clone(),
            Some(Clock::Collected),
        ),
        ("events.network", &["disconnect_received"], ends.clone(), None),
    ] {
        let mut document = defended(kind, "", rest);
        document["event"]["action"] = actions.into();
        let (events, _) = read(&document.to_string());
        assert_eq!(events.first().map(|event| event.clock), clock, "{kind} {actions:?}");
        let ended = events.iter().any(|event| matches!(event.body, HostBody::ProcessEnd(_)));
        assert_eq!(ended, actions == ["fork", "end"]);
    }
    // Of old versions, and without a direction.
    for (action, network, direction) in [
        ("connection_accepted", "incoming", event::Direction::Inbound),
        ("connection_attempted", "outgoing", event::Direction::Outbound),
        ("connection_accepted", "", event::Direction::Inbound),
        ("connection_attempted", "", event::Direction::Outbound),
    ] {
        let mut rest = ends.clone();
        rest["network"] = serde_json::json!({"direction": network, "transport": "tcp"});
        let (events, _) = read(&defended("events.network", action, rest).to_string());
        let HostBody::NetworkConnect(connect) = &events[0].body else {
            panic!("{events:?}");
        };
        assert_eq!((connect.direction, connect.protocol), (Some(direction), Some(6)));
        assert_eq!((connect.source.port, connect.destination.port), (49800, 135));
    }
}

#[test]
fn an_event_s_own_time_tells_the_day_from_the_month_in_the_time_it_was_logged() {
    let log = |time: &str| {
        let row = format!(
            "Information,{time},Microsoft-Windows-Sysmon,1,Process Create,ws6,\"Process Create:\nUtcTime: 2020-09-05 17:05:52.782\n\
             ProcessId: 1\nImage: C:\\a.exe\"\n"
        );
        format!(
            "Level,Date and Time,Source,Event ID,Task Category,Computer\n{}",
            row.repeat(3)
        )
    };
    for time in ["5/9/2020 1:05:53 PM", "9/5/2020 1:05:53 PM"] {
        let (events, report) = read(&log(time));
        assert_eq!(report.zones, [(-240, 3)].into(), "{report}");
        for event in events {
            assert_eq!(
                event.logged.unwrap().to_string(),
                "2020-09-05T17:05:53.000000+0000",
                "{time}"
            );
        }
    }
    let (events, report) = read(&log("5/1/2020 1:05:53 PM"));
    assert!(events[0].logged.is_none() && report.zones.is_empty(), "{report}");
}

#[test]
fn a_parent_was_there_before_its_child() {
    let row = |time: &str, pid: &str, image: &str, parent: &str| {
        format!(
            "{{\"EventID\": 4688, \"Channel\": \"Security\", \"Computer\": \"ws6\", \"SystemTime\": \"2020-09-18T17:05:{time}Z\", \
             \"NewProcessId\": \"{pid}\", \"NewProcessName\": \"C:\\\\{image}\", \"ProcessId\": \"{parent}\"}}\n"
        )
    };
    let first = row("01", "0x8", "mmc.exe", "0x4");
    let child = row("30", "0xc", "cmd.exe", "0x8");
    // The same id, given to another later.
    let later = row("50", "0x8", "calc.exe", "0x4");
    let parents = |log: String| {
        let (events, _) = read(&log);
        let parent = |event: &HostEvent| match &event.body {
            HostBody::ProcessCreate(create) if create.process.pid == Some(0xc) => Some(create.parent.name()),
            _ => None,
        };
        events.iter().find_map(parent).unwrap()
    };
    assert_eq!(parents([&*first, &child, &later].concat()).as_deref(), Some("mmc.exe"));
    assert_eq!(parents([&*later, &child, &first].concat()), None);
}
