//! Where events go besides files, with what is there in practice: Redis, rsyslog, sockets that stall, webhooks that fail.
//! The servers are Debian's, started here, each in a folder of its own; where one is missing, a line on standard error
//! says what was not tested.

#[cfg(target_os = "linux")]
mod live;
mod servers;

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Outcome, Scratch, pcap, repeated, replay};
use servers::{Behaviour, Hook, Redis, Rsyslog, TlsHook, drain, free_port};

/// What is replayed where little will do.
const SAMPLE: &str = "mmc20-connect.pcap";

/// Replays with these settings, logs in `logs` beside them.
fn with(scratch: &Scratch, settings: &str, capture: &Path) -> Outcome {
    let file = scratch.write("settings.toml", settings);
    let logs = scratch.path("logs");
    let arguments = ["--calls=all", "--logs=eve", "--no-progress", "--config"].map(std::ffi::OsString::from);
    let paths = [file.into(), "-o".into(), logs.into(), capture.as_os_str().to_owned()];
    replay(arguments.into_iter().chain(paths))
}

fn eve(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path("logs").join("eve.json")).expect("a log")
}

/// The lines of a kind.
fn of_type<'t>(text: &'t str, event_type: &str) -> Vec<&'t str> {
    let wanted = format!("\"event_type\":\"{event_type}\"");
    text.lines().filter(|line| line.contains(&wanted)).collect()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn sockets_and_files_are_told_what_eve_json_is() {
    let scratch = Scratch::new();
    let stream = UnixListener::bind(scratch.path("stream")).expect("a socket");
    let datagrams = UnixDatagram::bind(scratch.path("dgram")).expect("a socket");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = stream.accept().expect("it connects").0.read_to_string(&mut text);
        read.expect("text");
        text
    });
    let heard = drain(datagrams);
    let run = with(
        &scratch,
        "[[eve-log]]\nfiletype = \"unix_stream\"\nfilename = \"stream\"\n\
         [[eve-log]]\nfiletype = \"unix_dgram\"\nfilename = \"dgram\"\ntypes = [\"alert\"]\nprefix = \"@cee: \"\n\
         [[eve-log]]\nfiletype = \"regular\"\nfilename = \"more.json\"\ntypes = [\"dcom\", \"stats\"]\n\
         [[eve-log]]\nenabled = false\nfiletype = \"regular\"\nfilename = \"none.json\"\n",
        &pcap(SAMPLE),
    );
    assert_eq!((run.code, &*run.stderr), (Some(0), ""), "all went, and nothing is said");
    let eve = eve(&scratch);
    assert_eq!(reader.join().expect("it read"), eve);
    let alerts: Vec<String> = of_type(&eve, "alert")
        .iter()
        .map(|line| format!("@cee: {line}\n"))
        .collect();
    assert!(!alerts.is_empty());
    assert_eq!(heard.finish(), alerts);
    let more = fs::read_to_string(scratch.path("more.json")).expect("a file");
    let wanted = eve
        .lines()
        .filter(|line| ["dcom", "stats"].iter().any(|kind| !of_type(line, kind).is_empty()));
    assert!(more.lines().eq(wanted));
    assert!(!scratch.path("none.json").exists());
}

#[test]
fn outputs_need_no_log_folder_and_hunt_has_them_too() {
    let scratch = Scratch::new();
    let config = scratch.write(
        "settings.toml",
        "[[eve-log]]\nfiletype = \"regular\"\nfilename = \"out.json\"\ntypes = [\"alert\"]\n",
    );
    let run = replay([
        "--config".as_ref(),
        config.as_os_str(),
        "-q".as_ref(),
        pcap(SAMPLE).as_os_str(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let told = fs::read_to_string(scratch.path("out.json")).expect("a file");
    assert!(of_type(&told, "alert").len() > 1, "{told}");
    let before = told.lines().count();
    let log = crate::program::workspace().join("tests/hunt/atomic-mmc20.ndjson");
    let hunt = crate::program::dcom_sensor()
        .args(["hunt", "-q", "--config"])
        .args([&config, &log])
        .output();
    let hunt = Outcome::from(hunt.expect("the program runs"));
    assert_eq!(hunt.code, Some(0), "{}", hunt.stderr);
    let told = fs::read_to_string(scratch.path("out.json")).expect("a file");
    assert!(
        told.lines().skip(before).any(|line| line.contains("host_event")),
        "{told}"
    );
}

#[test]
fn redis_has_lists_channels_and_streams() {
    let scratch = Scratch::new();
    let Some(redis) = Redis::start(&scratch.path("redis"), free_port(), Some("hush")) else {
        return;
    };
    let secret = scratch.write("secret", "hush\n");
    let server = format!(
        "port = {}\npassword = {{ file = {:?} }}\n",
        redis.port,
        secret.display().to_string()
    );
    let socket = redis.socket.display();
    let run = with(
        &scratch,
        &format!(
            "[[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\n{server}\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\n{server}mode = \"rpush\"\nkey = \"right\"\n\
             pipelining = {{ enabled = false }}\n\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\n{server}mode = \"xadd\"\nkey = \"stream\"\n\
             [[eve-log]]\nfiletype = \"redis\"\ntypes = [\"alert\"]\n[eve-log.redis]\nserver = \"{socket}\"\n\
             password = \"hush\"\nusername = \"default\"\nmode = \"stream\"\nkey = \"short\"\nstream-maxlen = 2\n\
             stream-trim-exact = true\n\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\n{server}mode = \"publish\"\nkey = \"channel\"\n"
        ),
        &pcap(SAMPLE),
    );
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let eve = eve(&scratch);
    let lines: Vec<&str> = eve.lines().collect();
    let reversed: Vec<&str> = lines.iter().rev().copied().collect();
    assert_eq!(redis.ask(&["LRANGE", "suricata", "0", "-1"]), reversed);
    assert_eq!(redis.ask(&["LRANGE", "right", "0", "-1"]), lines);
    // An entry is its id, the field and the value.
    let values = |told: Vec<String>| -> Vec<String> {
        let entries = told.chunks(3);
        let values = entries.map(|entry| match entry {
            [_, field, value] if field == "eve" => value.clone(),
            other => panic!("{other:?}"),
        });
        values.collect()
    };
    assert_eq!(values(redis.ask(&["XRANGE", "stream", "-", "+"])), lines);
    let alerts = of_type(&eve, "alert");
    let last = alerts.get(alerts.len() - 2..).expect("two alerts");
    assert_eq!(values(redis.ask(&["XRANGE", "short", "-", "+"])), last);
}

#[test]
fn a_wrong_password_is_told_and_nothing_is_taken_for_delivered() {
    let scratch = Scratch::new();
    let Some(redis) = Redis::start(&scratch.path("redis"), free_port(), Some("hush")) else {
        return;
    };
    let run = with(
        &scratch,
        &format!(
            "[[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\nport = {}\npassword = \"other\"\n",
            redis.port
        ),
        &pcap(SAMPLE),
    );
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("WRONGPASS") && run.stderr.contains(": 0 delivered"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("other"), "{}", run.stderr);
    assert!(!of_type(&eve(&scratch), "alert").is_empty());
}

#[test]
fn rsyslog_takes_eve_lines_and_cef() {
    let scratch = Scratch::new();
    let Some(rsyslog) = Rsyslog::start(&scratch.path("rsyslog")) else {
        return;
    };
    let (socket, port) = (rsyslog.socket.display(), rsyslog.port);
    let run = with(
        &scratch,
        &format!(
            "[[eve-log]]\nfiletype = \"syslog\"\nfilename = \"{socket}\"\nidentity = \"sensor\"\nfacility = \"local3\"\n\
             level = \"Notice\"\ntypes = [\"alert\"]\n\
             [[notify]]\ncef = \"{socket}\"\nmin_severity = \"low\"\n\
             [[notify]]\ncef = \"tcp://127.0.0.1:{port}\"\nmin_severity = \"low\"\nfacility = \"local0\"\n\
             [[notify]]\ncef = \"udp://127.0.0.1:{port}\"\nmin_severity = \"low\"\nfacility = \"local1\"\n"
        ),
        &pcap(SAMPLE),
    );
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let eve = eve(&scratch);
    let alerts: Vec<Value> = of_type(&eve, "alert").into_iter().map(parsed).collect();
    let is_told = |alert: &&Value| {
        alert["alert"]["severity"]
            .as_u64()
            .is_some_and(|severity| severity <= 4)
    };
    let notified: Vec<&Value> = alerts.iter().filter(is_told).collect();
    assert!(!notified.is_empty());
    let told = rsyslog.told(alerts.len() + 3 * notified.len());
    let from = |head: &str| -> Vec<&str> {
        let lines = told.iter().filter_map(|line| line.strip_prefix(head));
        lines.collect()
    };
    let lines: Vec<Value> = from("local3 notice sensor|").into_iter().map(parsed).collect();
    assert_eq!(lines, alerts);
    for facility in ["local5", "local0", "local1"] {
        let of_facility: Vec<&String> = told
            .iter()
            .filter(|line| line.split(' ').next() == Some(facility))
            .collect();
        assert_eq!(of_facility.len(), notified.len(), "{facility}: {told:?}");
        for (line, alert) in of_facility.iter().zip(&notified) {
            let severity = match alert["alert"]["severity"].as_u64() {
                Some(1) => ("crit", 10),
                Some(2) => ("err", 8),
                Some(3) => ("warning", 5),
                _ => ("notice", 3),
            };
            let head = format!("{facility} {} ", severity.0);
            let name = alert["alert"]["signature"].as_str().expect("text");
            let cef = format!(
                "CEF:0|dcom-sensor|dcom-sensor|{}|{}|{name}|{}|rt=",
                env!("CARGO_PKG_VERSION"),
                alert["alert"]["signature_id"],
                severity.1
            );
            assert!(line.starts_with(&head) && line.contains(&cef), "{line}\n{cef}");
            let source = format!(" src={} ", alert["src_ip"].as_str().expect("an address"));
            assert!(line.contains(&source), "{line}");
        }
    }
}

#[test]
fn a_webhook_is_posted_alerts_and_asked_again_when_it_fails() {
    let scratch = Scratch::new();
    let well = Hook::start(Behaviour::Failing { times: 2 });
    let (forbidding, failing) = (Hook::start(Behaviour::Answer(403)), Hook::start(Behaviour::Answer(500)));
    let run = with(
        &scratch,
        &format!(
            "[[notify]]\nwebhook = {:?}\nheaders = {{ Authorization = \"Bearer 12\", X-Team = \"soc\" }}\n\
             min_severity = \"informational\"\n\
             [[notify]]\nwebhook = {:?}\nmin_severity = \"critical\"\n\
             [[notify]]\nwebhook = {:?}\nmin_severity = \"critical\"\nretries = 1\n",
            well.url, forbidding.url, failing.url
        ),
        &pcap(SAMPLE),
    );
    let eve = eve(&scratch);
    let alerts: Vec<Value> = of_type(&eve, "alert").into_iter().map(parsed).collect();
    let critical = alerts.iter().filter(|alert| alert["alert"]["severity"] == 1).count();
    assert!(critical > 0, "{eve}");
    let posts = well.posts();
    // Those that failed came again.
    let bodies: Vec<Value> = posts.iter().skip(2).map(|post| parsed(&post.body)).collect();
    assert_eq!(bodies, alerts);
    for post in &posts {
        for header in [
            "POST /hook HTTP/1.1",
            "content-type: application/json",
            "authorization: Bearer 12",
            "x-team: soc",
        ] {
            assert!(
                post.head.lines().any(|line| line.eq_ignore_ascii_case(header)),
                "{header}: {}",
                post.head
            );
        }
    }
    assert_eq!(
        (forbidding.posts().len(), failing.posts().len()),
        (critical, 2 * critical)
    );
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for part in [
        "it answers 403 Forbidden",
        "it answers 500 Internal Server Error",
        &format!("0 delivered, {critical} dropped, 0 still waiting"),
        "works again; nothing was dropped",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    assert!(
        !run.stderr.contains("/hook"),
        "the path is not for everybody: {}",
        run.stderr
    );
}

#[test]
fn https_is_trusted_by_the_certificates_that_are_named() {
    let scratch = Scratch::new();
    let Some(hook) = TlsHook::start(&scratch.path("tls")) else {
        return;
    };
    let settings = |more: &str| {
        format!(
            "[[notify]]\nwebhook = \"https://localhost:{}/hook\"\nretries = 0\nmin_severity = \"critical\"\n{more}",
            hook.port
        )
    };
    let run = with(
        &scratch,
        &settings(&format!("ca_file = {:?}\n", hook.certificate.display().to_string())),
        &pcap(SAMPLE),
    );
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let alerts: Vec<Value> = of_type(&eve(&scratch), "alert").into_iter().map(parsed).collect();
    let critical: Vec<&Value> = alerts.iter().filter(|alert| alert["alert"]["severity"] == 1).collect();
    let posted: Vec<Value> = hook.posted().iter().map(|line| parsed(line)).collect();
    assert!(posted.iter().eq(critical.iter().copied()), "{posted:?}");
    // The system knows nothing of this certificate; where it knows none at all, that is told before anything is read.
    let run = with(&scratch, &settings(""), &pcap(SAMPLE));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("ertificate"), "{}", run.stderr);
    assert_eq!(hook.posted().len(), posted.len(), "nothing was said to a stranger");
}

#[test]
fn what_an_output_lacks_is_told_before_anything_is_read() {
    let scratch = Scratch::new();
    for (settings, told) in [
        (
            "[[notify]]\nwebhook = { file = \"no-such\" }\n",
            "[[notify]]: webhook: ",
        ),
        (
            "[[notify]]\nwebhook = { env = \"DCOM_SENSOR_NO_SUCH\" }\n",
            "the variable DCOM_SENSOR_NO_SUCH",
        ),
        (
            "[[notify]]\nwebhook = \"https://localhost/\"\nca_file = \"settings.toml\"\n",
            "there is no certificate in it",
        ),
        (
            "[[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\npassword = { file = \"no-such\" }\n",
            "the password of Redis: ",
        ),
        (
            "[[eve-log]]\nfiletype = \"unix_steam\"\n",
            "settings.toml:2: unknown value `unix_steam`\nhint: did you mean `unix_stream`?",
        ),
    ] {
        let run = with(&scratch, settings, &pcap(SAMPLE));
        assert_eq!(run.code, Some(2), "{settings}: {}", run.stderr);
        assert!(run.stderr.contains(told), "{told}: {}", run.stderr);
        assert!(!scratch.path("logs").exists(), "{settings}");
    }
}

/// Everything that can go wrong, at once, with more lines than a queue holds.
#[test]
fn outputs_that_stall_or_fail_cost_the_others_and_the_logs_nothing() {
    let scratch = Scratch::new();
    let capture = scratch.write("long.pcap", repeated(SAMPLE, 600, 100));
    let alone = Scratch::new();
    let run = with(&alone, "", &capture);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = eve(&alone);
    assert!(expected.len() > 18 << 20, "no queue holds {} bytes", expected.len());

    let stalled = UnixListener::bind(scratch.path("stalled")).expect("a socket");
    let well = UnixListener::bind(scratch.path("well")).expect("a socket");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = well.accept().expect("it connects").0.read_to_string(&mut text);
        read.expect("text");
        text
    });
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let udp_port = udp.local_addr().expect("it is bound").port();
    let heard = drain(udp);
    // What accepts, and never reads.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mute_port = mute.local_addr().expect("it is bound").port();
    let (failing, hanging) = (Hook::start(Behaviour::Answer(500)), Hook::start(Behaviour::Hang));
    let redis = Redis::start(&scratch.path("redis"), free_port(), None);
    let into_redis = redis.as_ref().map_or_else(String::new, |redis| {
        format!(
            "[[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\nport = {}\nmode = \"rpush\"\n",
            redis.port
        )
    });
    let begin = Instant::now();
    let run = with(
        &scratch,
        &format!(
            "[[eve-log]]\nfiletype = \"unix_stream\"\nfilename = \"stalled\"\n\
             [[eve-log]]\nfiletype = \"unix_stream\"\nfilename = \"well\"\n\
             [[eve-log]]\nfiletype = \"unix_stream\"\nfilename = \"nobody\"\n\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\nport = {mute_port}\nkey = \"mute\"\n\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\nport = {}\nkey = \"dead\"\n{into_redis}\
             [[notify]]\nwebhook = {:?}\nretries = 1\n\
             [[notify]]\nwebhook = {:?}\ntimeout = 2\n\
             [[notify]]\nwebhook = \"http://127.0.0.1:{}/\"\n\
             [[notify]]\ncef = \"udp://127.0.0.1:{udp_port}\"\nmin_severity = \"critical\"\n",
            free_port(),
            failing.url,
            hanging.url,
            free_port(),
        ),
        &capture,
    );
    let took = begin.elapsed();
    drop(stalled);
    assert_eq!(run.code, Some(2), "some was not delivered: {}", run.stderr);
    assert_eq!(eve(&scratch), expected, "the log is whole");
    assert_eq!(reader.join().expect("it read"), expected, "who reads is told all");
    if let Some(redis) = &redis {
        assert_eq!(redis.ask(&["LLEN", "suricata"]), [expected.lines().count().to_string()]);
        let first = expected.lines().next().expect("a line");
        assert_eq!(redis.ask(&["LINDEX", "suricata", "0"]), [first]);
    }
    let critical = of_type(&expected, "alert")
        .into_iter()
        .filter(|line| line.contains("\"severity\":1,"))
        .count();
    assert_eq!(heard.finish().len(), critical, "syslog is told all");
    let output = |name: &str| {
        let summary = run
            .stderr
            .lines()
            .find(|line| line.contains("outputs: "))
            .expect("a summary");
        let part = summary
            .split("; ")
            .find(|part| part.contains(name))
            .expect("the output");
        let numbers = part.split(' ').filter_map(|word| word.parse::<u64>().ok());
        numbers.collect::<Vec<_>>()
    };
    let lines = expected.lines().count() as u64;
    for name in ["/stalled:", "/nobody:", &format!(":{mute_port}:")] {
        let [delivered, dropped, waiting] = *output(name) else {
            panic!("{name}: {}", run.stderr)
        };
        assert_eq!(delivered + dropped + waiting, lines, "{name} accounts for every line");
        assert!(dropped > 0 && waiting > 0, "{name}: {}", run.stderr);
        assert_eq!(
            run.stderr.lines().filter(|line| line.contains(name)).count(),
            2,
            "it is said once, and at the end: {}",
            run.stderr
        );
    }
    // Five that do not move are waited for five seconds each, and five together in the end.
    assert!(took < Duration::from_secs(90), "it took {took:?}: {}", run.stderr);
}
