use std::path::Path;

use super::*;
use crate::config::Config;
use crate::decode::Endpoint;
use crate::event::samples;

fn policy(text: &str) -> Policy {
    let config = Config::read(Path::new("s.toml"), text).unwrap_or_else(|problems| panic!("{problems}"));
    Policy::new(config.allow, config.suppress, config.threshold, &Limits::default())
}

/// The sample alert in so many frames, so many seconds apart; each a record of its own.
fn alerts(seconds: &[i64]) -> Vec<(Meta, Alert)> {
    let frame = |(number, &second): (u64, &i64)| {
        let meta = Meta {
            timestamp: Timestamp(samples::time().0 + second * 1_000_000_000),
            frame: Some(number),
            ..samples::meta()
        };
        (meta, samples::alert())
    };
    (0..).zip(seconds).map(frame).collect()
}

/// For each of them, is it told?
fn told(policy: &mut Policy, alerts: &[(Meta, Alert)]) -> Vec<bool> {
    alerts
        .iter()
        .map(|(meta, alert)| policy.judge(meta, alert) == Verdict::Pass)
        .collect()
}

fn is_allowed(conditions: &str, alert: &Alert) -> bool {
    let mut policy = policy(&format!("[[allow]]\ncomment = \"test\"\n{conditions}\n"));
    match policy.judge(&samples::meta(), alert) {
        Verdict::Pass => false,
        Verdict::Suppressed(reason) => {
            assert_eq!(reason, Reason::Allowed(0));
            true
        }
    }
}

#[test]
fn an_alert_about_several_targets_or_classes_is_allowed_where_each_is() {
    let mut alert = samples::alert();
    alert.metadata.targets = ["172.16.66.36", "10.0.0.1"].map(str::to_owned).to_vec();
    for (conditions, fits) in [
        ("target = \"172.16.66.36\"", false),
        ("target = [\"172.16.66.36\", \"10.0.0.0/8\"]", true),
        ("source = \"172.16.66.25\"", true),
    ] {
        assert_eq!(is_allowed(conditions, &alert), fits, "{conditions}");
    }
    let mut suppress = policy("[[suppress]]\nsig_id = 0\ntrack = \"by_dst\"\nip = \"172.16.66.36\"\n");
    assert_eq!(suppress.judge(&samples::meta(), &alert), Verdict::Pass);
    let mut alert = samples::alert();
    let class = alert.about().class.clone().unwrap();
    let unlisted = "f8582cf0-88fb-11d0-b850-00c0f0999999";
    alert.metadata.classes = vec![class.clone(), unlisted.to_owned()];
    for (conditions, fits) in [
        (format!("class = '{class}'"), false),
        (format!("class = ['{class}', '{unlisted}']"), true),
        ("class = '*'".to_owned(), true),
    ] {
        assert_eq!(is_allowed(&conditions, &alert), fits, "{conditions}");
    }
}

#[test]
fn an_allow_entry_fits_by_each_of_its_conditions() {
    let mut alert = samples::alert();
    alert.dcom.as_mut().unwrap().server.dns = Some("fs01.corp.example".to_owned());
    alert.dcom.as_mut().unwrap().server.netbios = Some("FS01".to_owned());
    alert.dcom.as_mut().unwrap().target_name = Some("files".to_owned());
    alert.dcom.as_mut().unwrap().method = Some("ExecuteShellCommand".into());
    alert.dcom.as_mut().unwrap().command_line = Some("notepad.exe C:\\x.txt".to_owned());
    for (conditions, fits) in [
        ("source = \"172.16.66.25\"", true),
        ("source = \"172.16.66.0/24\"", true),
        ("source = \"172.16.66.36\"", false),
        ("source = \"ws?\"", true),
        ("source = \"ws\"", false),
        ("target = [\"10.0.0.1\", \"172.16.66.36\"]", true),
        ("target = \"FS01\"", true),
        ("target = \"*.corp.example\"", true),
        ("target = \"files\"", true),
        ("target = \"fs02\"", false),
        ("class = \"mmc20*\"", true),
        ("class = \"{49B2791A-B1AE-4C90-9B8E-E860BA07F889}\"", true),
        ("class = \"49b2791a-b1ae-4c90-9b8e-e860ba07f880\"", false),
        ("class = \"ShellWindows\"", false),
        ("user = \"ALICE\"", true),
        ("user = 'lab\\al*'", true),
        ("user = 'corp\\alice'", false),
        ("method = \"Execute*\"", true),
        ("method = \"Navigate\"", false),
        ("command_line = \"notepad.exe *\"", true),
        ("command_line = \"notepad.exe\"", false),
        ("sig_id = 1021301", true),
        ("sig_id = [1021302, 1021303]", false),
        ("days = \"saturday\"", true),
        ("days = [\"mon\", \"tue\"]", false),
        ("hours = \"23:00-24:00\"", true),
        ("hours = \"08:00-18:00\"", false),
        ("tool = \"*\"", false),
        ("user = \"alice\"\ntarget = \"fs02\"", false),
        ("user = \"alice\"\ntarget = \"fs01\"", true),
    ] {
        assert_eq!(is_allowed(conditions, &alert), fits, "{conditions}");
    }
    // What is not known fits nothing, not even any.
    alert.dcom.as_mut().unwrap().client.user = None;
    alert.dcom.as_mut().unwrap().command_line = None;
    assert!(!is_allowed("user = \"*\"", &alert) && !is_allowed("command_line = \"*\"", &alert));
}

#[test]
fn an_entry_that_has_expired_allows_nothing_and_is_told_once() {
    let mut policy = policy(
        "[[allow]]\ncomment = \"old\"\nexpires = 2020-07-18\nuser = \"alice\"\n\
         [[allow]]\ncomment = \"later\"\nexpires = 2020-07-19\nuser = \"alice\"\n",
    );
    // 23:10:02 on the 18th, then on the 19th.
    let alerts = alerts(&[0, 3600, 3601]);
    assert_eq!(told(&mut policy, &alerts[..1]), [false]);
    let news = policy.take_news();
    assert_eq!(
        news,
        ["[[allow]] in line 1 expired on 2020-07-18 by the traffic's time and allows nothing any more: old"]
    );
    assert_eq!(told(&mut policy, &alerts[1..]), [true, true]);
    assert_eq!(policy.take_news().len(), 1);
    assert!(policy.take_news().is_empty());
    assert_eq!((policy.counters().allowed, policy.counters().suppressed), (1, 1));
    assert_eq!(policy.allow[1].kept.count, 1);
}

#[test]
fn thresholds_tell_as_many_as_suricatas_do() {
    let threshold = |kind: &str| {
        policy(&format!(
            "[[threshold]]\nsig_id = 1021301\ntype = \"{kind}\"\ntrack = \"by_src\"\ncount = 2\nseconds = 60\n"
        ))
    };
    let alerts = alerts(&[0, 1, 2, 3, 4, 60, 61, 62, 63]);
    let (y, n) = (true, false);
    assert_eq!(told(&mut threshold("limit"), &alerts), [y, y, n, n, n, n, y, y, n]);
    assert_eq!(told(&mut threshold("threshold"), &alerts), [n, y, n, y, n, y, n, y, n]);
    let mut both = threshold("both");
    assert_eq!(told(&mut both, &alerts), [n, y, n, n, n, n, n, y, n]);
    assert_eq!((both.counters().by_threshold, both.counters().suppressed), (7, 7));
}

#[test]
fn a_threshold_counts_what_it_tracks() {
    let end = |last: u8| {
        Some(Endpoint {
            address: [172, 16, 66, last].into(),
            port: 135,
        })
    };
    let pairs = [(25, 36), (25, 37), (36, 25), (26, 36)];
    let mut alerts = alerts(&[0, 1, 2, 3]);
    for ((meta, _), (client, server)) in alerts.iter_mut().zip(pairs) {
        (meta.client, meta.server) = (end(client), end(server));
    }
    let (y, n) = (true, false);
    for (track, expected) in [
        ("by_src", [y, n, y, y]),
        ("by_dst", [y, y, y, n]),
        ("by_both", [y, y, n, y]),
        ("by_rule", [y, n, n, n]),
    ] {
        let text = format!("[[threshold]]\ntype = \"limit\"\ntrack = \"{track}\"\ncount = 1\nseconds = 60\n");
        assert_eq!(told(&mut policy(&text), &alerts), expected, "{track}");
    }
}

#[test]
fn a_signatures_own_threshold_goes_before_the_one_for_all() {
    let all = "[[threshold]]\ntype = \"limit\"\ntrack = \"by_src\"\ncount = 1\nseconds = 60\n";
    let own = all
        .replace("type", "sig_id = 1021301\ntype")
        .replace("count = 1", "count = 3");
    for text in [format!("{all}{own}"), format!("{own}{all}")] {
        assert_eq!(
            told(&mut policy(&text), &alerts(&[0, 1, 2, 3])),
            [true, true, true, false]
        );
    }
}

#[test]
fn counts_that_traffic_makes_are_bounded() {
    let text = "[[threshold]]\ntype = \"limit\"\ntrack = \"by_src\"\ncount = 1\nseconds = 60\n";
    let config = Config::read(Path::new("s.toml"), text).unwrap();
    let limits = Limits {
        thresholds: 8,
        alerts: 4096,
        ..Limits::default()
    };
    let mut policy = Policy::new(config.allow, config.suppress, config.threshold, &limits);
    for number in 0..100_u8 {
        let (mut meta, alert) = (samples::meta(), samples::alert());
        meta.client = Some(Endpoint {
            address: [10, 0, 0, number].into(),
            port: 1,
        });
        assert_eq!(policy.judge(&meta, &alert), Verdict::Pass);
    }
    assert_eq!(policy.counters().thresholds_forgotten, 92);
}

#[test]
fn other_entries_forget_nothing_of_those_that_stay() {
    let limit = |track: &str| {
        format!("[[threshold]]\ntype = \"limit\"\ntrack = \"{track}\"\ncount = 2\nseconds = 60\nsig_id = 1021301\n")
    };
    let other = limit("by_src").replace("1021301", "1021302");
    let alerts = alerts(&[0, 1, 2, 3]);
    let mut policy = policy(&limit("by_src"));
    assert_eq!(told(&mut policy, &alerts[..1]), [true]);
    policy.replace(self::policy(&format!("{other}{}", limit("by_src"))));
    assert_eq!(
        told(&mut policy, &alerts[..3]),
        [false, true, false],
        "told, one more, too many"
    );
    assert_eq!((policy.counters().duplicates, policy.counters().by_threshold), (1, 1));
    policy.replace(self::policy(&limit("by_dst")));
    assert_eq!(told(&mut policy, &alerts[3..]), [true], "that counts by itself");
    assert_eq!(policy.counters().suppressed, 2);
    policy.replace(self::policy("[[suppress]]\nsig_id = 1021305\n"));
    assert!(policy.windows.is_empty(), "nobody counts any more");
}

#[test]
fn suppressions_hold_for_the_end_that_they_name() {
    let alert = samples::alert();
    for (text, fits) in [
        ("sig_id = 1021301", true),
        ("sig_id = 1021302", false),
        ("gen_id = 3\nsig_id = 1021301", false),
        ("sig_id = 1021301\ntrack = \"by_src\"\nip = \"172.16.66.25\"", true),
        ("sig_id = 1021301\ntrack = \"by_src\"\nip = \"172.16.66.36\"", false),
        ("sig_id = 1021301\ntrack = \"by_dst\"\nip = \"172.16.66.32/28\"", true),
        ("track = \"by_either\"\nip = [\"10.0.0.0/8\", \"172.16.66.36\"]", true),
    ] {
        let mut policy = policy(&format!("[[suppress]]\n{text}\n"));
        let verdict = policy.judge(&samples::meta(), &alert);
        let expected = if fits {
            Verdict::Suppressed(Reason::Suppress(0))
        } else {
            Verdict::Pass
        };
        assert_eq!(verdict, expected, "{text}");
    }
}

#[test]
fn what_is_told_of_the_sensor_itself_is_judged_as_all_alerts() {
    let lost = crate::detect::doubtful(25, 1_000);
    let at = |second: i64| Meta {
        timestamp: Timestamp(samples::time().0 + second * 1_000_000_000),
        ..Meta::default()
    };
    let suppressed = Verdict::Suppressed(Reason::Suppress(0));
    for (text, expected) in [
        ("[[suppress]]\nsig_id = 1021390\n", suppressed),
        (
            "[[allow]]\ncomment = \"test\"\nsig_id = 1021390\n",
            Verdict::Suppressed(Reason::Allowed(0)),
        ),
        // It has no ends.
        (
            "[[suppress]]\nsig_id = 1021390\ntrack = \"by_either\"\nip = \"0.0.0.0/0\"\n",
            Verdict::Pass,
        ),
        ("[[suppress]]\nsig_id = 1021360\n", Verdict::Pass),
    ] {
        assert_eq!(policy(text).judge(&at(0), &lost), expected, "{text}");
    }
    let mut limit =
        policy("[[threshold]]\nsig_id = 1021390\ntype = \"limit\"\ntrack = \"by_rule\"\ncount = 1\nseconds = 3600\n");
    let told = [0, 60, 120, 3_601].map(|second| limit.judge(&at(second), &lost) == Verdict::Pass);
    assert_eq!(told, [true, false, false, true]);
}

#[test]
fn no_alert_is_told_twice_of_the_same_record() {
    let mut policy = Policy::default();
    let (meta, alert) = (samples::meta(), samples::alert());
    assert_eq!(policy.judge(&meta, &alert), Verdict::Pass);
    assert_eq!(policy.judge(&meta, &alert), Verdict::Suppressed(Reason::Duplicate));
    let mut other = alert.clone();
    other.signature_id += 1;
    assert_eq!(policy.judge(&meta, &other), Verdict::Pass);
    let mut other = alert.clone();
    other.dcom.as_mut().unwrap().command_line = Some("cmd".to_owned());
    assert_eq!(policy.judge(&meta, &other), Verdict::Pass);
    let later = Meta { frame: Some(2), ..meta };
    assert_eq!(policy.judge(&later, &alert), Verdict::Pass);
    assert_eq!((policy.counters().duplicates, policy.counters().suppressed), (1, 1));
    assert!(report(&policy, 160).contains("told before"));
}

#[test]
fn what_was_suppressed_can_be_listed() {
    let mut policy = policy(
        "[[allow]]\ncomment = \"our tests\"\nuser = \"alice\"\n\
         [[suppress]]\ncomment = \"noisy\"\nsig_id = 1021305\n",
    );
    assert_eq!(told(&mut policy, &alerts(&[0, 1, 2])), [false; 3]);
    let listed = report(&policy, 160);
    let rows: Vec<&str> = listed.lines().filter(|line| !line.starts_with(['─', '═'])).collect();
    assert_eq!(rows.len(), 3, "{listed}");
    assert!(rows[1].starts_with(" 3 ") && rows[2].starts_with(" 0 "), "{listed}");
    for part in ["[[allow]] line 1", "our tests", "2020-07-18T23:10:02.061141+0000"] {
        assert!(rows[1].contains(part), "{listed}");
    }
    assert!(rows[2].contains("noisy"), "{listed}");
    assert!(report(&Policy::default(), 160).contains("there are no entries"));
}

/// An alert of a host's log, of each of these hosts.
fn of_hosts(hosts: &[&str]) -> Vec<(Meta, Alert)> {
    let one = |(record, host): (u64, &&str)| {
        let alert = Alert {
            dcom: None,
            dcerpc: None,
            host_event: Some(crate::event::HostAlert {
                host: (**host).into(),
                record,
                ..crate::event::HostAlert::default()
            }),
            ..samples::alert()
        };
        let meta = Meta {
            timestamp: samples::time(),
            ..Meta::default()
        };
        (meta, alert)
    };
    (0..).zip(hosts).map(one).collect()
}

#[test]
fn alerts_of_host_logs_are_counted_by_host_and_each_record_is_told_once() {
    let text = "[[threshold]]\ntype = \"limit\"\ntrack = \"by_dst\"\ncount = 1\nseconds = 60\n";
    let alerts = of_hosts(&["ws1", "WS1", "ws2"]);
    assert_eq!(told(&mut policy(text), &alerts), [true, false, true]);
    let mut none = policy("");
    assert_eq!(told(&mut none, &alerts), [true; 3]);
    assert_eq!(told(&mut none, &alerts), [false; 3]);
}
