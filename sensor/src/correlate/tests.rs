//! Hand-made traffic and logs.

use std::net::SocketAddr;

use super::testing::{connect, create, dcom_error, logon, owned};
use super::*;
use crate::catalog::{Catalog, Effect};
use crate::detect::SIGNATURES;
use crate::event::dcom::{ActivationRecord, ClientIdentity, EndpointRecord, LearnedFrom, Outcome};
use crate::event::host::Matched::{self, CommandLine, DynamicPortOwner, FourTuple, ParentImage, ParentPid, Time};
use crate::event::host::Role;
use crate::event::record::{Interval, Port};
use crate::event::samples;
use crate::event::{Body, Event, Shared};
use crate::host_log::event::{Account, DcomError, Process, Source};

const SECOND: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;
/// When the activation of each test is.
const AT: i64 = 1_600_000_000 * SECOND + 743 * MS;
const LINE: &str = "cmd.exe /c %COMSPEC% /C start calc";

fn end(text: &str) -> Endpoint {
    let end: SocketAddr = text.parse().unwrap();
    Endpoint {
        address: end.ip(),
        port: end.port(),
    }
}

struct Rig {
    correlator: Correlator,
    catalog: Catalog,
}

impl Rig {
    fn new(mode: Mode) -> Self {
        Self {
            correlator: Correlator::new(mode, &Limits::default(), 120 * SECOND, Names::default()),
            catalog: Catalog::built_in(),
        }
    }

    fn log(&mut self, events: impl IntoIterator<Item = HostEvent>) -> &mut Self {
        events.into_iter().for_each(|event| self.correlator.push(event));
        self
    }

    fn heard(&mut self) -> &mut Self {
        for (from, to, at) in [
            ("10.0.0.5:50001", "10.0.0.6:135", AT - 5 * MS),
            ("10.0.0.5:50002", "10.0.0.6:49913", AT + 80 * MS),
        ] {
            self.correlator
                .heard([end(from), end(to)], Opener::First, Timestamp(at));
        }
        self
    }

    fn judge(&mut self, mut record: Record) -> HostRecord {
        self.correlator.record(&mut record, &self.catalog);
        (*record.dcom.host.clone().expect("a verdict")).clone()
    }
}

fn activation(class: &str) -> Record {
    let catalog = Catalog::built_in();
    let class = catalog.find(class)[0];
    let mut meta = samples::meta();
    meta.timestamp = Timestamp(AT);
    meta.client = Some(end("10.0.0.5:50001"));
    meta.server = Some(end("10.0.0.6:135"));
    let dcom = Dcom {
        kind: dcom::Kind::Activation,
        clsid: Some(class.clsid),
        class: Some(class.name.clone()),
        outcome: Some(Outcome::Succeeded),
        endpoint: Some(EndpointRecord {
            ip: Some(end("10.0.0.6:1").address),
            port: Some(Port(49_913)),
            learned_from: LearnedFrom::OxidBinding,
            followed: true,
        }),
        client: ClientIdentity {
            user: Some("alice".to_owned()),
            ..ClientIdentity::default()
        }
        .into(),
        ..Dcom::default()
    };
    Record {
        meta,
        dcom: Shared::new(dcom),
        dcerpc: Shared::default(),
        recorded: true,
        encoding: None,
    }
}

fn call(class: &str, line: &str) -> Record {
    let mut record = activation(class);
    record.meta.timestamp = Timestamp(AT + 270 * MS);
    record.meta.client = Some(end("10.0.0.5:50002"));
    record.meta.server = Some(end("10.0.0.6:49913"));
    record.dcom.kind = dcom::Kind::Call;
    record.dcom.endpoint = None;
    record.dcom.effect = Some(Effect::Execution);
    record.dcom.command_line = Some(line.to_owned());
    record.dcom.activation = Some(ActivationRecord {
        timestamp: Timestamp(AT),
        ..ActivationRecord::default()
    });
    record
}

const EXPLORER: &str = r"\device\harddiskvolume2\windows\explorer.exe";

/// What the target of a `ShellWindows` attack logs, on a clock that is so far ahead.
fn target(skew: i64, line: Option<&str>) -> Vec<HostEvent> {
    vec![
        create("WS6", AT + skew - 600 * SECOND, (1, "a.exe"), (2, "b.exe"), Some("b")),
        connect("WS6", AT + skew - 5 * MS, "10.0.0.5:50001", "10.0.0.6:135"),
        owned(
            "WS6",
            AT + skew + 80 * MS,
            "10.0.0.5:50002",
            "10.0.0.6:49913",
            8200,
            EXPLORER,
            Direction::Inbound,
        ),
        logon("WS6", AT + skew, "alice", "10.0.0.5:50001"),
        create(
            "WS6",
            AT + skew + 286 * MS,
            (8200, r"C:\Windows\explorer.exe"),
            (6108, r"C:\Windows\System32\cmd.exe"),
            line,
        ),
        create("WS6", AT + skew + 600 * SECOND, (1, "a.exe"), (2, "b.exe"), Some("b")),
    ]
}

const LOGGED: &str = r#""C:\Windows\System32\cmd.exe" /c %%COMSPEC%% /C start calc"#;

#[test]
fn a_child_with_the_same_command_line_under_the_ports_owner_is_all_that_can_be_had() {
    let mut rig = Rig::new(Mode::Replay);
    let host = rig
        .log(target(0, Some(LOGGED)))
        .heard()
        .judge(call("ShellWindows", LINE));
    assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
    let process = host.process.as_ref().unwrap();
    assert_eq!(
        (process.pid, host.parent.as_ref().unwrap().pid),
        (Some(6108), Some(8200))
    );
    assert_eq!(
        (host.time_delta, host.call_delta),
        (Some(Interval(286 * MS)), Some(Interval(16 * MS)))
    );
    let matched = [FourTuple, DynamicPortOwner, CommandLine, ParentPid, ParentImage, Time];
    // The logon was on the other connection, and is one of the same user.
    assert!(
        matched.iter().all(|it| host.matched_on.contains(it)),
        "{:?}",
        host.matched_on
    );
    assert!(host.matched_on.contains(&Matched::Logon), "{:?}", host.because);
    assert_eq!((host.score, host.source.as_deref()), (100, Some("Sysmon 1")));
    assert!(!host.clock_skew.unwrap().used);
}

#[test]
fn an_activation_is_confirmed_by_the_process_behind_its_port() {
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, Some(LOGGED));
    log.remove(4);
    let host = rig.log(log).heard().judge(activation("ShellWindows"));
    assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
    assert_eq!(host.process.as_ref().unwrap().pid, Some(8200));
    assert!(
        host.because.iter().any(|it| it.contains("no child")),
        "{:?}",
        host.because
    );
    // Another process behind the port is told, and does not confirm.
    let mut rig = Rig::new(Mode::Replay);
    let host = rig.log(target(0, None)).heard().judge(activation("MMC20.Application"));
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
    assert!(
        host.because
            .iter()
            .any(|it| it.contains("not a process that the catalogue expects"))
    );
}

#[test]
fn a_log_that_covers_the_time_without_a_child_contradicts() {
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, None);
    log.remove(4);
    let host = rig.log(log.clone()).heard().judge(call("ShellWindows", LINE));
    assert_eq!(host.verdict, Verdict::Contradicted, "{host:#?}");
    // One that ends too early does not.
    log.pop();
    let mut rig = Rig::new(Mode::Replay);
    let host = rig.log(log).heard().judge(call("ShellWindows", LINE));
    assert_eq!(host.verdict, Verdict::NotSeen);
    let coverage = host.coverage.unwrap();
    assert_eq!(coverage.kinds, ["1 process creations", "2 connections", "1 logons"]);
    // Nor one of a call that failed.
    let mut failed = call("ShellWindows", LINE);
    failed.dcom.outcome = Some(Outcome::Failed);
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, None);
    log.remove(4);
    assert_eq!(rig.log(log).heard().judge(failed).verdict, Verdict::NotSeen);
}

#[test]
fn a_name_alone_is_weaker_than_a_command_line_and_another_line_weaker_still() {
    // The log has no command line: program, parent's id and connection are enough.
    let mut rig = Rig::new(Mode::Replay);
    let by_name = rig.log(target(0, None)).heard().judge(call("ShellWindows", LINE));
    assert_eq!(by_name.verdict, Verdict::Confirmed, "{by_name:#?}");
    let mut rig = Rig::new(Mode::Replay);
    let by_line = rig
        .log(target(0, Some(LOGGED)))
        .heard()
        .judge(call("ShellWindows", LINE));
    assert!(by_name.score < by_line.score);
    // The same program with other parameters, started by nobody who is known: no.
    let other = create(
        "WS6",
        AT + 300 * MS,
        (77, "services.exe"),
        (78, "cmd.exe"),
        Some("cmd.exe /c whoami"),
    );
    let mut rig = Rig::new(Mode::Replay);
    let host = rig.log([other]).heard().judge(call("ShellWindows", LINE));
    assert_eq!(host.verdict, Verdict::NotSeen);
    // And a library starts nothing.
    let mut rig = Rig::new(Mode::Replay);
    let host = rig
        .log(target(0, Some(LOGGED)))
        .heard()
        .judge(call("ShellWindows", r"C:\a.xll"));
    assert!(
        host.because.iter().any(|it| it.contains("none is expected")),
        "{:?}",
        host.because
    );
    assert_eq!(
        (host.verdict, host.process.unwrap().pid),
        (Verdict::Confirmed, Some(8200))
    );
}

#[test]
fn a_clock_that_is_off_is_measured_told_and_not_hidden() {
    for skew in [-90 * SECOND, 300 * SECOND] {
        let mut rig = Rig::new(Mode::Replay);
        let host = rig
            .log(target(skew, Some(LOGGED)))
            .heard()
            .judge(call("ShellWindows", LINE));
        assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
        assert_eq!(host.time_delta, Some(Interval(skew + 286 * MS)), "raw");
        let measured = host.clock_skew.unwrap();
        assert_eq!(
            (measured.median, measured.connections, measured.used),
            (Interval(skew), 2, true)
        );
        assert!(!host.matched_on.contains(&Time));
    }
}

#[test]
fn what_opens_the_file_asked_for_stands_for_it() {
    let script = |parent, line: &str| {
        let child = (6108, r"C:\Windows\System32\wscript.exe");
        create("WS6", AT + 300 * MS, parent, child, Some(line))
    };
    let line = r#""C:\Windows\System32\WScript.exe" "C:\Users\xyz.vbs" /b"#;
    for (event, verdict, why) in [
        (script((8200, SHELL), line), Verdict::Confirmed, "it opens the file"),
        (
            script((8200, SHELL), "wscript.exe abc.vbs"),
            Verdict::NotSeen,
            "does not name the file",
        ),
        (
            script((8201, SHELL), line),
            Verdict::NotSeen,
            "no process creation that fits",
        ),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let mut log = target(0, None);
        log[4] = event.clone();
        let host = rig.log(log).heard().judge(call("ShellWindows", "xyz.vbs /b"));
        assert_eq!(host.verdict, verdict, "{host:#?}");
        assert!(host.because.iter().any(|it| it.contains(why)), "{host:#?}");
        assert!(!host.matched_on.contains(&CommandLine));
    }
    // A screen saver is opened by itself.
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, None);
    let saver = (6108, r"C:\lab\a.scr");
    log[4] = create("WS6", AT + 300 * MS, (8200, SHELL), saver, Some(r#""C:\lab\a.scr" /S"#));
    let host = rig.log(log).heard().judge(call("ShellWindows", r"C:\lab\a.scr"));
    assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
    // Whose port it is, is not known: the program that the catalogue expects did it.
    let mut rig = Rig::new(Mode::Replay);
    rig.log([script((3000, SHELL), line)]);
    rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
    let host = rig.judge(call("ShellWindows", "xyz.vbs /b"));
    assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
}

/// What was told says that its time fits by the measured clock alone.
fn says_that_the_skew_was_used(host: &HostRecord) -> bool {
    let told = host.because.iter().any(|it| it.starts_with("its time fits if"));
    assert_eq!(
        told,
        host.clock_skew.as_ref().is_some_and(|skew| skew.used),
        "{host:#?}"
    );
    told
}

#[test]
fn a_log_without_command_lines_is_joined_by_its_measured_clock_too() {
    for (skew, used) in [
        (0, false),
        // The process fits as it is, the logon does not.
        (45 * SECOND, true),
        (90 * SECOND, true),
        (300 * SECOND, true),
        (-120 * SECOND, true),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let host = rig.log(target(skew, None)).heard().judge(call("ShellWindows", LINE));
        assert_eq!(host.verdict, Verdict::Confirmed, "{skew}: {host:#?}");
        assert_eq!(says_that_the_skew_was_used(&host), used, "{skew}: {host:#?}");
    }
}

#[test]
fn what_sealed_wmi_started_is_close_by_the_measured_clock() {
    for (skew, used) in [(0, false), (30 * SECOND, true), (-30 * SECOND, true)] {
        let mut record = call("ShellWindows", LINE);
        (record.dcom.clsid, record.dcom.command_line, record.dcom.effect) = (None, None, None);
        record.dcom.interface = Some(dcom::Interface {
            uuid: dcom_parsers::wmi::IWBEM_SERVICES,
            name: None,
        });
        let wmi = (700, r"C:\Windows\System32\wbem\WmiPrvSE.exe");
        let mut log = target(skew, None);
        let (from, to) = ("10.0.0.5:50002", "10.0.0.6:49913");
        let at = AT + skew + 80 * MS;
        log[2] = owned("WS6", at, from, to, 1300, r"C:\a\svchost.exe", Direction::Inbound);
        log[4] = create("WS6", AT + skew + 300 * MS, wmi, (6108, CMD), Some("cmd.exe /c x"));
        let mut rig = Rig::new(Mode::Replay);
        rig.log(log).heard();
        let mut alert = alert_of(&record);
        rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
        let host = alert.dcom.unwrap().host.as_deref().unwrap().clone();
        assert_eq!(host.verdict, Verdict::Confirmed, "{skew}: {host:#?}");
        assert_eq!(says_that_the_skew_was_used(&host), used, "{skew}: {host:#?}");
        let owner = host.because.iter().find(|it| it.contains("catalogue expects"));
        assert!(owner.is_none(), "WMI's port is svchost.exe's: {host:#?}");
    }
}

#[test]
fn servers_and_complaints_that_fit_by_the_measured_clock_alone_say_so() {
    for skew in [0, 300 * SECOND] {
        let mut rig = Rig::new(Mode::Replay);
        rig.log([
            connect("WS6", AT + skew - 5 * MS, "10.0.0.5:50001", "10.0.0.6:135"),
            mmc_starts(AT + skew + 50 * MS, 4007),
        ]);
        let mut record = activation("MMC20.Application");
        record.meta.rtt = Some(Interval(80 * MS));
        let host = rig.heard().judge(record);
        assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
        assert_eq!(says_that_the_skew_was_used(&host), skew != 0);
        let mut rig = Rig::new(Mode::Replay);
        let mut connection = client_side();
        connection.time.0 += skew;
        rig.log([connection, could_not_reach(AT + skew + 20 * SECOND, "10.0.0.6")]);
        let (meta, mut alert) = unanswered();
        rig.correlator.alert(&meta, &mut alert, &rig.catalog);
        let host = alert.dcom.unwrap().host.as_deref().unwrap().clone();
        assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
        assert_eq!(says_that_the_skew_was_used(&host), skew != 0);
    }
}

#[test]
fn a_host_without_a_log_is_told_as_that() {
    let mut rig = Rig::new(Mode::Replay);
    let host = rig.heard().judge(call("ShellWindows", LINE));
    assert_eq!(
        (host.verdict, host.because),
        (Verdict::NotSeen, vec!["there is no log of 10.0.0.6".to_owned()])
    );
}

#[test]
fn events_of_another_time_are_counted_and_not_joined() {
    let mut rig = Rig::new(Mode::Replay);
    rig.correlator
        .set_spans(std::slice::from_ref(&(Timestamp(AT - SECOND)..=Timestamp(AT + SECOND))));
    let eleven_hours = 11 * 3600 * SECOND;
    let host = rig
        .log(target(eleven_hours, Some(LOGGED)))
        .heard()
        .judge(call("ShellWindows", LINE));
    assert_eq!(
        (host.verdict, host.matched_on.len()),
        (Verdict::NotSeen, 0),
        "{host:#?}"
    );
    assert!(
        !rig.correlator
            .overlaps(Timestamp(AT + eleven_hours), Timestamp(AT + 2 * eleven_hours))
    );
    assert!(
        rig.correlator
            .overlaps(Timestamp(AT - eleven_hours), Timestamp(AT + eleven_hours))
    );
    assert_eq!(
        (rig.correlator.counters().events, rig.correlator.counters().kept),
        (6, 0)
    );
    // A log that is refused has no say.
    rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
    let record = call("ShellWindows", LINE);
    for (refused, why) in [
        (true, "the log of 10.0.0.6 (ws6) was refused: it is of another time"),
        (false, "the log has process creations from"),
    ] {
        rig.log(target(eleven_hours, Some(LOGGED)));
        rig.correlator.end_log(refused);
        let mut alert = alert_of(&record);
        rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
        let dcom = alert.dcom.unwrap();
        let host = dcom.host.as_deref().unwrap();
        assert_eq!((host.verdict, host.coverage.is_none()), (Verdict::NotSeen, refused));
        assert!(
            host.because.iter().any(|it| it.to_lowercase().contains(why)),
            "{host:#?}"
        );
        assert_eq!(rig.correlator.counters().not_seen, u64::from(!refused));
    }
}

fn unanswered() -> (Meta, Alert) {
    let record = activation("Excel.Application");
    let signature = SIGNATURES.iter().find(|it| it.id == UNANSWERED_CONNECTION_ID).unwrap();
    let alert = Alert {
        signature_id: signature.id,
        severity: Severity::Informational,
        dcom: None,
        dcerpc: None,
        message: "it tried".to_owned(),
        category: signature.category.into(),
        metadata: crate::event::alert::Metadata::default(),
        ..samples::alert()
    };
    (record.meta, alert)
}

fn could_not_reach(at: i64, target: &str) -> HostEvent {
    let clsid = Catalog::built_in().find("Excel.Application")[0].clsid;
    let error = DcomError {
        clsid: Some(clsid),
        target: Some(target.into()),
        process: Process {
            pid: Some(0x1ce8),
            image: Some(r"C:\Users\a\Move.exe".into()),
            ..Process::default()
        },
        account: Account {
            sid: Some("S-1-5-21-1-2-3-1104".into()),
            ..Account::default()
        },
        ..DcomError::default()
    };
    dcom_error("WS5", at, 10_028, error)
}

fn client_side() -> HostEvent {
    let image = r"C:\Windows\System32\svchost.exe";
    owned(
        "WS5",
        AT + 100 * MS,
        "10.0.0.5:50001",
        "10.0.0.6:135",
        980,
        image,
        Direction::Outbound,
    )
}

#[test]
fn an_attempt_is_joined_with_the_event_that_names_its_class() {
    for target in ["10.0.0.6", "ws6"] {
        let mut rig = Rig::new(Mode::Replay);
        let of_ws6 = owned(
            "WS6",
            AT - SECOND,
            "10.0.0.6:5",
            "10.0.0.9:443",
            4,
            "a.exe",
            Direction::Outbound,
        );
        rig.log([client_side(), could_not_reach(AT + 20 * SECOND, target), of_ws6]);
        let (meta, mut alert) = unanswered();
        rig.correlator.alert(&meta, &mut alert, &rig.catalog);
        let dcom = alert.dcom.unwrap();
        assert_eq!(
            (dcom.class.as_deref(), dcom.evidence),
            (Some("Excel.Application"), Evidence::Inferred)
        );
        assert!(
            dcom.because[0].starts_with("host log: System 10028 of WS5"),
            "{:?}",
            dcom.because
        );
        let host = dcom.host.as_deref().unwrap();
        assert_eq!((host.verdict, host.role), (Verdict::Confirmed, Role::Client));
        assert_eq!(host.process.as_ref().unwrap().pid, Some(0x1ce8));
        assert_eq!(host.matched_on, [FourTuple, Matched::DcomEvent, Time]);
        assert_eq!(alert.severity, Severity::Medium, "as the event by itself");
        assert!(
            alert
                .message
                .ends_with("; the log of WS5 confirms it: Move.exe (pid 7400) was to activate Excel.Application"),
            "{}",
            alert.message
        );
        assert_eq!(dcom.caller_by_host(), Some("S-1-5-21-1-2-3-1104"));
    }
    // Without the client's log of its connections the event is as good.
    let mut rig = Rig::new(Mode::Replay);
    let of_ws5 = owned("WS5", AT, "10.0.0.5:5", "10.0.0.9:443", 4, "a.exe", Direction::Outbound);
    rig.log([of_ws5, could_not_reach(AT + 20 * SECOND, "10.0.0.6")]);
    let (meta, mut alert) = unanswered();
    rig.correlator.alert(&meta, &mut alert, &rig.catalog);
    let score = alert.dcom.unwrap().host.as_deref().unwrap().score;
    assert_eq!((score, alert.severity), (40, Severity::Medium));
    // One about another host is none of it.
    let mut rig = Rig::new(Mode::Replay);
    rig.log([client_side(), could_not_reach(AT + 20 * SECOND, "10.0.0.7")]);
    let (meta, mut alert) = unanswered();
    rig.correlator.alert(&meta, &mut alert, &rig.catalog);
    let dcom = alert.dcom.unwrap();
    assert_eq!(
        (dcom.clsid, dcom.host.as_deref().unwrap().verdict),
        (None, Verdict::NotSeen)
    );
    assert!(dcom.host.as_deref().unwrap().coverage.is_some(), "there is a log");
    assert_eq!(alert.severity, Severity::Informational);
}

#[test]
fn a_refusal_names_the_class_that_was_sealed() {
    let clsid = Catalog::built_in().find("MMC20.Application")[0].clsid;
    let refused = |address: &str, local| {
        let error = DcomError {
            clsid: Some(clsid),
            address: Some(address.parse().unwrap()),
            local,
            account: Account::default(),
            ..DcomError::default()
        };
        dcom_error("WS6", AT + 30 * MS, 10_016, error)
    };
    // Too early to be of this request, and told as that.
    let mut early = refused("10.0.0.5", false);
    early.time = Timestamp(AT - 3 * SECOND);
    let mut record = activation("MMC20.Application");
    record.dcom.outcome = Some(Outcome::Failed);
    let mut rig = Rig::new(Mode::Replay);
    rig.log([connect("WS6", AT, "10.0.0.5:50001", "10.0.0.6:135"), early]);
    let host = rig.heard().judge(record.clone());
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
    let told = |it: &String| it.starts_with("not counted: System 10016: 49b2791a") && it.ends_with("too early");
    assert!(host.because.iter().any(told), "{host:#?}");
    (record.dcom.clsid, record.dcom.class) = (None, None);
    for (event, confirmed) in [
        (refused("10.0.0.5", false), true),
        (refused("10.0.0.9", false), false),
        (refused("10.0.0.5", true), false),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        rig.log([connect("WS6", AT, "10.0.0.5:50001", "10.0.0.6:135"), event])
            .heard();
        let (_, mut alert) = unanswered();
        alert.dcom = Some(record.dcom.clone());
        rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
        let dcom = alert.dcom.unwrap();
        assert_eq!(dcom.clsid.is_some(), confirmed);
        assert_eq!(dcom.host.as_deref().unwrap().verdict == Verdict::Confirmed, confirmed);
    }
}

fn alert_of(record: &Record) -> Alert {
    Alert {
        dcom: Some(record.dcom.clone()),
        severity: Severity::High,
        category: "Lateral Movement".into(),
        metadata: crate::event::alert::Metadata::default(),
        ..samples::alert()
    }
}

fn told(events: &[Event]) -> Vec<(Verdict, u32, &'static str)> {
    let of = |event: &Event| match &event.body {
        Body::Dcom(dcom) if dcom.kind == dcom::Kind::HostConfirmation => {
            let host = dcom.host.as_deref()?;
            let about = host.alert.as_ref()?;
            Some((host.verdict, about.signature_id, about.severity_now))
        }
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn live_an_alert_goes_out_as_it_is_and_the_confirmation_follows() {
    let mut rig = Rig::new(Mode::Live);
    let mut record = call("ShellWindows", LINE);
    rig.heard();
    rig.correlator.record(&mut record, &rig.catalog);
    assert!(record.dcom.host.is_none());
    let mut alert = alert_of(&record);
    rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
    assert_eq!(
        (alert.severity, alert.dcom.as_ref().unwrap().host.is_none()),
        (Severity::High, true)
    );
    let mut out = Vec::new();
    let mut log = target(0, Some(LOGGED)).into_iter();
    for second in 1..20 {
        if second == 10 {
            rig.log(log.by_ref());
        }
        rig.correlator
            .advance(Timestamp(AT + second * SECOND), &rig.catalog, &mut out);
        assert_eq!(out.len(), usize::from(second >= 10), "{second}");
    }
    let signature = alert.signature_id;
    assert_eq!(told(&out), [(Verdict::Confirmed, signature, "critical")]);
    assert_eq!(
        (out[0].meta.flow_id, out[0].meta.timestamp),
        (record.meta.flow_id, record.meta.timestamp)
    );
}

#[test]
fn live_the_window_ends_with_what_is_known() {
    let mut rig = Rig::new(Mode::Live);
    let record = call("ShellWindows", LINE);
    rig.heard();
    for _ in 0..2 {
        let mut alert = alert_of(&record);
        rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
    }
    let mut out = Vec::new();
    rig.log([
        create("WS6", AT, (1, "a.exe"), (2, "b.exe"), None),
        connect("WS6", AT, "10.0.0.5:50001", "10.0.0.6:135"),
    ]);
    rig.correlator
        .advance(Timestamp(AT + 119 * SECOND), &rig.catalog, &mut out);
    assert!(out.is_empty());
    rig.correlator
        .advance(Timestamp(AT + 121 * SECOND), &rig.catalog, &mut out);
    let signature = samples::alert().signature_id;
    assert_eq!(told(&out), [(Verdict::NotSeen, signature, "high"); 2]);
    assert!(rig.correlator.pending.is_empty());
    // Of a host without a log nothing is said.
    let mut rig = Rig::new(Mode::Live);
    let mut alert = alert_of(&record);
    rig.correlator.alert(&record.meta, &mut alert, &rig.catalog);
    let mut out = Vec::new();
    rig.correlator
        .advance(Timestamp(AT + 121 * SECOND), &rig.catalog, &mut out);
    assert!(out.is_empty() && rig.correlator.pending.is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_counted() {
    let limits = Limits {
        host_events: 100_000,
        host_connections: 10,
        host_pending: 3,
        ..Limits::default()
    };
    let mut correlator = Correlator::new(Mode::Live, &limits, 120 * SECOND, Names::default());
    for number in 0..5_000_u32 {
        let port = 1024 + number % 60_000;
        let at = AT + i64::from(number);
        correlator.push(connect("WS6", at, &format!("10.0.0.5:{port}"), "10.0.0.6:135"));
        correlator.push(create("WS6", at, (1, "a.exe"), (number, "b.exe"), Some(LINE)));
        correlator.heard(
            [end(&format!("10.0.0.5:{port}")), end("10.0.0.6:135")],
            Opener::First,
            Timestamp(at),
        );
    }
    let record = call("ShellWindows", LINE);
    for _ in 0..5 {
        correlator.alert(&record.meta, &mut alert_of(&record), &Catalog::built_in());
    }
    let counters = correlator.counters();
    assert!(counters.forgotten > 9_000 && counters.kept == 10_000, "{counters:?}");
    assert_eq!(
        (counters.connections_forgotten, counters.pending_over_limit),
        (4_990, 2)
    );
    // What is forgotten leaves nothing behind, and time makes the rest go.
    let mut out = Vec::new();
    correlator.advance(Timestamp(AT + 3600 * SECOND), &Catalog::built_in(), &mut out);
    let host = correlator.names.find("WS6").unwrap();
    let all = Timestamp(0)..=Timestamp(i64::MAX);
    assert_eq!(correlator.store.within(host, Kind::Network, all.clone()).count(), 0);
    assert_eq!(correlator.store.within(host, Kind::Process, all).count(), 0);
}

#[test]
fn a_source_that_is_coarser_stands_back() {
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, Some(LOGGED));
    let mut coarse = log[4].clone();
    coarse.source = Source::Security(4688);
    coarse.time = Timestamp(AT + 257 * MS);
    log.insert(0, coarse);
    let host = rig.log(log).heard().judge(call("ShellWindows", LINE));
    assert_eq!(host.source.as_deref(), Some("Sysmon 1"));
    assert!(
        host.because
            .iter()
            .any(|it| it == "Security 4688 logs the same process"),
        "{:?}",
        host.because
    );
}

#[test]
fn an_id_that_sysmons_record_lacks_is_securitys() {
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, Some(LOGGED));
    let mut coarse = log[4].clone();
    coarse.source = Source::Security(4688);
    coarse.time = Timestamp(AT + 257 * MS);
    if let HostBody::ProcessCreate(create) = &mut log[4].body {
        create.process.pid = None;
    }
    log.push(coarse);
    let host = rig.log(log).heard().judge(call("ShellWindows", LINE));
    assert_eq!(
        (host.source.as_deref(), host.process.unwrap().pid),
        (Some("Sysmon 1"), Some(6108))
    );
    let told = "Security 4688 logs the same process, with its id 6108";
    assert!(host.because.iter().any(|it| it == told), "{:?}", host.because);
}

#[test]
fn names_on_the_wire_lead_to_a_log_that_has_no_connections() {
    let log = || {
        target(0, Some(LOGGED))
            .into_iter()
            .filter(|it| matches!(it.body, HostBody::ProcessCreate(_)))
    };
    let mut rig = Rig::new(Mode::Replay);
    rig.log(log());
    rig.correlator
        .named("ws6.corp.example", end("10.0.0.6:1").address, By::Dns);
    let host = rig.judge(call("ShellWindows", LINE));
    assert_eq!(
        (host.verdict, host.name.as_deref()),
        (Verdict::Confirmed, Some("ws6.corp.example")),
        "{host:#?}"
    );
    // By the server's own bindings, and by what the client called it.
    let mut by_bindings = call("ShellWindows", LINE);
    let mut activated = activation("ShellWindows");
    let bindings = [r"\\WS6[\pipe\epmapper]", "WS6[49913]", "10.0.0.6[49913]"];
    activated.dcom.bindings = bindings.map(str::to_owned).to_vec();
    let mut rig = Rig::new(Mode::Replay);
    rig.log(log()).judge(activated);
    assert_eq!(
        rig.correlator.take_news(),
        [""; 0],
        "one name in two spellings is no conflict"
    );
    assert_eq!(rig.judge(by_bindings.clone()).name.as_deref(), Some("WS6"));
    by_bindings.dcom.auth.service_name = Some("RPCSS/ws6.corp.example@CORP.EXAMPLE".to_owned());
    let mut rig = Rig::new(Mode::Replay);
    assert_eq!(rig.log(log()).judge(by_bindings).verdict, Verdict::Confirmed);
}

#[test]
fn what_is_no_program_is_not_missed() {
    for line in [
        r#"EXEC("calc.exe")"#,
        "https://example.org/a.hta",
        r"C:\a.hta",
        r#"=REGISTER("a")"#,
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let mut log = target(0, None);
        log.remove(4);
        let host = rig.log(log).heard().judge(call("Excel.Application", line));
        assert_eq!(host.verdict, Verdict::NotSeen, "{line}: {host:#?}");
    }
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, None);
    let excel = (8200, r"C:\Program Files\EXCEL.EXE");
    log[2] = owned(
        "WS6",
        AT + 80 * MS,
        "10.0.0.5:50002",
        "10.0.0.6:49913",
        excel.0,
        excel.1,
        Direction::Inbound,
    );
    log[4] = create(
        "WS6",
        AT + 300 * MS,
        excel,
        (9, r"C:\Windows\System32\calc.exe"),
        Some("calc.exe"),
    );
    let host = rig
        .log(log)
        .heard()
        .judge(call("Excel.Application", r#"EXEC("calc.exe")"#));
    assert_eq!((host.verdict, host.process.unwrap().pid), (Verdict::Confirmed, Some(9)));
}

/// A log of the target with these beside the connection to explorer.exe (8200), and the verdict on a call.
fn judged(more: impl IntoIterator<Item = HostEvent>) -> HostRecord {
    let mut rig = Rig::new(Mode::Replay);
    let mut log = target(0, None);
    log.remove(4);
    log.extend(more);
    rig.log(log).heard().judge(call("ShellWindows", LINE))
}

const SHELL: &str = r"C:\Windows\explorer.exe";
const CMD: &str = r"C:\Windows\System32\cmd.exe";

#[test]
fn only_the_process_that_was_called_starts_what_was_asked_for() {
    let at = AT + 300 * MS;
    let with_line = |parent, at| create("WS6", at, parent, (6108, CMD), Some(LOGGED));
    for (event, why) in [
        // Another program; another process of the same; its id, used again by another; long before.
        (with_line((3000, r"C:\Windows\System32\mmc.exe"), at), "not shown to be"),
        (with_line((3000, SHELL), at), "not shown to be"),
        (with_line((8200, r"C:\Windows\System32\mmc.exe"), at), "not shown to be"),
        // Another command of the same; and what the command runs itself.
        (
            create("WS6", at, (8200, SHELL), (6108, CMD), Some("cmd.exe /c del x")),
            "not the command line",
        ),
        // What stands in its place: a debugger that the registry names.
        (
            create(
                "WS6",
                at,
                (8200, SHELL),
                (6108, r"C:\a\dbg.exe"),
                Some("dbg.exe cmd.exe /c x"),
            ),
            "not the program",
        ),
        (
            create("WS6", at, (8200, SHELL), (6108, r"C:\a\calc.exe"), Some("calc")),
            "the shell that was asked for",
        ),
        // A log without command lines.
        (create("WS6", at, (3000, SHELL), (6108, CMD), None), "proves too little"),
    ] {
        let host = judged([event]);
        assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
        assert!(
            host.because
                .iter()
                .any(|it| it.starts_with("not counted: ") && it.contains(why)),
            "{why}: {host:#?}"
        );
        let counted = [CommandLine, Matched::Program, ParentPid];
        assert!(!counted.iter().any(|it| host.matched_on.contains(it)), "{host:#?}");
        assert_eq!(host.process.unwrap().pid, Some(8200));
    }
    // One from before the call is not even like it; one at the end of the window still is it.
    let host = judged([with_line((8200, SHELL), AT + 270 * MS - 3 * SECOND / 2)]);
    assert_eq!(host.verdict, Verdict::Contradicted, "{host:#?}");
    let host = judged([with_line((8200, SHELL), AT + 110 * SECOND)]);
    assert_eq!(host.verdict, Verdict::Confirmed, "{host:#?}");
    // The parent was started a minute after the call: its id was another's before.
    let started = create(
        "WS6",
        AT + 60 * SECOND,
        (1, "userinit.exe"),
        (8200, SHELL),
        Some("explorer"),
    );
    let host = judged([started, with_line((8200, SHELL), AT + 110 * SECOND)]);
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
}

#[test]
fn a_command_line_alone_is_a_lead_and_under_an_expected_parent_it_is_enough() {
    for (parent, verdict) in [
        ((8200, SHELL), Verdict::Confirmed),
        ((3000, r"C:\a\b.exe"), Verdict::NotSeen),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        rig.log([create("WS6", AT + 300 * MS, parent, (6108, CMD), Some(LOGGED))]);
        rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
        let host = rig.judge(call("ShellWindows", LINE));
        assert_eq!(host.verdict, verdict, "{host:#?}");
    }
}

#[test]
fn a_process_confirms_one_call_and_a_second_judgement_of_it() {
    let mut rig = Rig::new(Mode::Replay);
    rig.log(target(0, Some(LOGGED))).heard();
    let first = call("ShellWindows", LINE);
    let mut second = first.clone();
    second.meta.timestamp.0 += 5 * MS;
    for (record, verdict) in [
        (first.clone(), Verdict::Confirmed),
        (first, Verdict::Confirmed),
        (second, Verdict::NotSeen),
    ] {
        let host = rig.judge(record);
        assert_eq!(host.verdict, verdict, "{host:#?}");
    }
}

#[test]
fn what_was_refused_was_not_run() {
    let refused = |hresult: Option<u32>, fault: Option<&str>| {
        let mut record = call("ShellWindows", LINE);
        record.dcom.outcome = Some(Outcome::Failed);
        record.dcom.hresult = hresult.map(dcom::Hresult);
        record.dcom.fault = fault.map(str::to_owned);
        let mut rig = Rig::new(Mode::Replay);
        rig.log(target(0, Some(LOGGED))).heard().judge(record)
    };
    for host in [
        refused(Some(0x8007_0005), None),
        refused(None, Some("nca_s_fault_access_denied")),
    ] {
        assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
        assert!(host.because.iter().any(|it| it.contains("refused")), "{host:#?}");
    }
    // DDE starts the program, finds that it is no server, and fails.
    assert_eq!(refused(Some(0x8002_0009), None).verdict, Verdict::Confirmed);
    // Nor is an activation that failed confirmed by whoever has the port.
    let mut failed = activation("ShellWindows");
    failed.dcom.outcome = Some(Outcome::Failed);
    let mut rig = Rig::new(Mode::Replay);
    assert_eq!(rig.log(target(0, None)).heard().judge(failed).verdict, Verdict::NotSeen);
}

#[test]
fn a_server_is_there_before_it_answers() {
    for (after, verdict) in [(SECOND, Verdict::Confirmed), (86 * SECOND, Verdict::NotSeen)] {
        let mut rig = Rig::new(Mode::Replay);
        rig.log([mmc_starts(AT + after, 4007)]);
        rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
        let mut record = activation("MMC20.Application");
        record.meta.rtt = Some(Interval(80 * MS));
        let host = rig.judge(record);
        assert_eq!(host.verdict, verdict, "{after}: {host:#?}");
    }
}

fn mmc_starts(at: i64, pid: u32) -> HostEvent {
    let (svchost, mmc) = (r"C:\Windows\System32\svchost.exe", r"C:\Windows\System32\mmc.exe");
    create("WS6", at, (800, svchost), (pid, mmc), Some("mmc.exe -Embedding"))
}

/// A sealed activation, of whose object the calls have told the class, or that it is one of several.
fn concluded(class: Option<&str>) -> Record {
    let mut record = activation("MMC20.Application");
    record.meta.rtt = Some(Interval(80 * MS));
    (record.dcom.clsid, record.dcom.outcome) = (None, None);
    record.dcom.class = class.map(str::to_owned);
    (record.dcom.sealed_stub_length, record.dcom.sealed_reply_length) = (Some(464), Some(600));
    record.dcom.endpoint.as_mut().unwrap().learned_from = LearnedFrom::Calls;
    record
}

#[test]
fn a_sealed_activation_is_confirmed_by_what_holds_objects_of_the_class_that_was_concluded() {
    let mmc = r"C:\Windows\System32\mmc.exe";
    let port = |image| {
        let (from, to) = ("10.0.0.5:50002", "10.0.0.6:49913");
        owned("WS6", AT + 80 * MS, from, to, 4321, image, Direction::Inbound)
    };
    // What the call asked for, nobody could read: it may be anything.
    let child = create("WS6", AT + 300 * MS, (4321, mmc), (6108, r"C:\a\b.exe"), Some("b.exe"));
    let log = |events: &[HostEvent]| {
        let own = connect("WS6", AT - 5 * MS, "10.0.0.5:50001", "10.0.0.6:135");
        let logged = events.iter().cloned().chain([own]);
        logged.collect::<Vec<_>>()
    };
    let all = [mmc_starts(AT + 20 * MS, 4321), port(mmc), child];
    let class = Some("MMC20.Application");
    for (class, events, verdict) in [
        (class, &all[..], Verdict::Confirmed),
        (class, &all[..1], Verdict::Confirmed),
        (class, &all[1..2], Verdict::Confirmed),
        // Any of two starts may be somebody else's.
        (
            class,
            &[all[0].clone(), mmc_starts(AT + SECOND, 4322)],
            Verdict::NotSeen,
        ),
        (Some("ShellWindows"), &all, Verdict::NotSeen),
        (class, &[port(EXPLORER)], Verdict::NotSeen),
        // Nobody knows what such a process is called.
        (None, &all, Verdict::NotSeen),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let host = rig.log(log(events)).heard().judge(concluded(class));
        assert_eq!(host.verdict, verdict, "{class:?} {host:#?}");
        let odd = host.because.iter().any(|it| it.contains("catalogue expects"));
        let known = class.is_some() && verdict == Verdict::NotSeen && host.matched_on.contains(&DynamicPortOwner);
        assert_eq!(odd, known, "{host:#?}");
        if events.len() == 3 && verdict == Verdict::Confirmed {
            let wanted = [
                FourTuple,
                DynamicPortOwner,
                Matched::ServerProcess,
                ParentPid,
                ParentImage,
            ];
            assert!(wanted.iter().all(|it| host.matched_on.contains(it)), "{host:#?}");
            assert_eq!(host.process.unwrap().pid, Some(6108));
        }
    }
}

#[test]
fn a_call_after_a_sealed_activation_is_of_the_process_that_was_started_for_it() {
    let mmc = |pid| (pid, r"C:\Windows\System32\mmc.exe");
    let child = |parent| create("WS6", AT + 300 * MS, parent, (6108, CMD), Some(LOGGED));
    let mut called = call("MMC20.Application", LINE);
    (called.dcom.clsid, called.dcom.activation) = (None, None);
    called.meta.timestamp.0 += 60 * SECOND;
    for (starts, parent, verdict) in [
        (vec![4321], mmc(4321), Verdict::Confirmed),
        (vec![4321], mmc(77), Verdict::NotSeen),
        (vec![4321], (4321, SHELL), Verdict::NotSeen),
        (vec![], mmc(4321), Verdict::Confirmed),
        (vec![], (4321, SHELL), Verdict::NotSeen),
        (vec![4321, 4322], mmc(4322), Verdict::Confirmed),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let started = starts.iter().map(|&pid| mmc_starts(AT + 20 * MS, pid));
        let mut child = child(parent);
        child.time.0 += 60 * SECOND;
        let others = [
            create("WS6", AT - 600 * SECOND, (1, "a.exe"), (2, "b.exe"), Some("b")),
            create("WS6", AT + 600 * SECOND, (1, "a.exe"), (2, "b.exe"), Some("b")),
        ];
        rig.log(started.chain([child]).chain(others));
        rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
        rig.heard().judge(concluded(None));
        // One that came later is none of the connection's.
        let mut later = concluded(None);
        later.meta.timestamp.0 += 50 * SECOND;
        rig.judge(later);
        let host = rig.judge(called.clone());
        assert_eq!(host.verdict, verdict, "{starts:?} {host:#?}");
        let by_pid = starts.len() == 1 && verdict == Verdict::Confirmed;
        for trait_ in [Matched::ServerProcess, ParentPid] {
            let is = host.matched_on.contains(&trait_);
            let wanted = if trait_ == ParentPid {
                by_pid
            } else {
                !starts.is_empty()
            };
            assert_eq!(is, wanted, "{host:#?}");
        }
        let told = "after the sealed activation before that connection";
        assert_eq!(host.because.iter().any(|it| it.ends_with(told)), !starts.is_empty());
    }
    // What is concluded is contradicted by nothing.
    let mut log = target(0, None);
    log.remove(4);
    let mut rig = Rig::new(Mode::Replay);
    called.meta.timestamp.0 -= 60 * SECOND;
    let host = rig.log(log).heard().judge(called);
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
}

#[test]
fn a_library_is_the_one_asked_for_in_the_process_that_was_called() {
    let load = |pid, path: &str| {
        let load = crate::host_log::event::ImageLoad {
            process: Process {
                pid: Some(pid),
                image: Some(SHELL.into()),
                ..Process::default()
            },
            path: Some(path.into()),
            signed: None,
        };
        let body = HostBody::ImageLoad(Box::new(load));
        testing::event("WS6", AT + 300 * MS, Source::Sysmon(7), body)
    };
    for (event, verdict) in [
        (load(8200, r"C:\a\report.xll"), Verdict::Confirmed),
        (load(8200, r"D:\a\report.xll"), Verdict::NotSeen),
        (load(7777, r"C:\a\report.xll"), Verdict::NotSeen),
    ] {
        let mut rig = Rig::new(Mode::Replay);
        let mut log = target(0, None);
        log.push(event);
        let host = rig.log(log).heard().judge(call("ShellWindows", r"C:\\a\report.xll"));
        assert_eq!(host.verdict, verdict, "{host:#?}");
        assert_eq!(
            host.matched_on.contains(&Matched::ImageLoad),
            verdict == Verdict::Confirmed
        );
        // It is the load that confirms it, and not the start of the process, which was before the call.
        if verdict == Verdict::Confirmed {
            assert_eq!(host.loaded.as_deref(), Some(r"C:\a\report.xll"));
            assert_eq!(host.source.as_deref(), Some("Sysmon 7"));
            let place = host.place.as_ref().unwrap();
            let call = place.timestamp.0 - host.call_delta.unwrap().0;
            assert_eq!(
                (place.timestamp, call < AT + 300 * MS),
                (Timestamp(AT + 300 * MS), true)
            );
        } else {
            assert_eq!(host.loaded, None);
        }
    }
}

#[test]
fn a_clock_that_nobody_measured_contradicts_nothing() {
    let is_process = |it: &HostEvent| matches!(it.body, HostBody::ProcessCreate(_));
    let judged = |skew, line: Option<&str>| {
        let mut rig = Rig::new(Mode::Replay);
        let mut log: Vec<_> = target(skew, line).into_iter().filter(is_process).collect();
        if line.is_none() {
            log.remove(1);
        }
        rig.log(log);
        rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
        rig.judge(call("ShellWindows", LINE))
    };
    let host = judged(0, None);
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
    assert!(
        host.because.iter().any(|it| it.contains("would contradict it")),
        "{host:#?}"
    );
    // The one that fits but for the time is told.
    let host = judged(300 * SECOND, Some(LOGGED));
    assert_eq!(host.verdict, Verdict::NotSeen, "{host:#?}");
    assert!(
        host.because
            .iter()
            .any(|it| it.contains("cmd.exe (pid 6108) +300.016 s after the call, with the command line asked for")),
        "{host:#?}"
    );
}

#[test]
fn of_two_hosts_of_one_address_the_one_that_shows_it_counts_and_neither_contradicts() {
    let other = |host: &str| {
        target(0, None)
            .into_iter()
            .map(|it| HostEvent {
                host: host.into(),
                ..it
            })
            .collect::<Vec<_>>()
    };
    let processes = |log: Vec<HostEvent>| {
        let is_process = |it: &HostEvent| matches!(it.body, HostBody::ProcessCreate(_));
        log.into_iter().filter(is_process).collect::<Vec<_>>()
    };
    for line in [None, Some(LOGGED)] {
        let mut rig = Rig::new(Mode::Replay);
        for host in ["WS5", "WS6"] {
            rig.correlator.names.learn(host, end("10.0.0.6:1").address, By::Map);
        }
        let mut empty = processes(other("WS5"));
        empty.remove(1);
        rig.log(empty);
        let mut log = processes(target(0, line));
        if line.is_none() {
            log.remove(1);
        }
        let host = rig.log(log).judge(call("ShellWindows", LINE));
        let told = "10.0.0.6 may be any of WS5, WS6";
        assert!(host.because.iter().any(|it| it == told), "{host:#?}");
        match line {
            Some(_) => assert_eq!((host.verdict, host.name.as_deref()), (Verdict::Confirmed, Some("WS6"))),
            None => assert_eq!(host.verdict, Verdict::NotSeen),
        }
        let news = rig.correlator.take_news();
        assert_eq!(news, ["10.0.0.6 is WS5 by the host map and WS6 by the host map"]);
    }
}

#[test]
fn a_host_that_logs_much_is_asked_in_no_time() {
    let mut rig = Rig::new(Mode::Replay);
    let flood = |number: u32| {
        let line = format!("cmd.exe /c echo {number}");
        create(
            "WS6",
            AT + i64::from(number) * MS,
            (8200, SHELL),
            (10_000 + number, CMD),
            Some(&line),
        )
    };
    rig.log((0..5_000).map(flood)).log(target(0, Some(LOGGED))).heard();
    let mut seen = 0;
    for number in 0..50 {
        let mut record = call("ShellWindows", LINE);
        record.meta.timestamp.0 += number;
        let host = rig.judge(record);
        seen += usize::from(host.verdict == Verdict::Confirmed);
    }
    assert_eq!(seen, 1);
    let host = rig.correlator.names.find("WS6").unwrap();
    let all = Timestamp(0)..=Timestamp(i64::MAX);
    let pid = store::Lookup::ParentPid(8200);
    assert_eq!(rig.correlator.store.found(host, pid, all).count(), 5_001);
}

#[test]
fn among_many_logons_that_of_the_connection_or_the_user_is_found() {
    let others = |number: i64| {
        let port = 10_000 + number % 50_000;
        let from = [format!("10.0.0.5:{port}"), "10.0.0.9:5".to_owned()];
        from.map(|from| logon("WS6", AT + number, "bob", &from))
    };
    let of_alice = |port: u16| logon("WS6", AT + 100 * MS, "alice", &format!("10.0.0.5:{port}"));
    for (port, told) in [(50_002, "logged on from 10.0.0.5:50002"), (9, "by address and name")] {
        let mut rig = Rig::new(Mode::Replay);
        rig.log((0..5_000).flat_map(others)).log([of_alice(port)]);
        rig.correlator.named("ws6", end("10.0.0.6:1").address, By::Dns);
        let host = rig.heard().judge(call("ShellWindows", LINE));
        let because = host.because.join("\n");
        assert!(
            because.contains("alice logged on") && because.contains(told),
            "{host:#?}"
        );
    }
}
