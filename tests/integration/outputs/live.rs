//! Outputs of a sensor on a wire, which has given up all that it does not need.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::servers::{Redis, TlsHook};
use super::{of_type, parsed};
use crate::live::until;
use crate::live::{Mounted, Space, run};
use crate::program::{Scratch, pcap};

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A Redis that dies and comes back, a socket that is never read, a webhook, and a disk that is full, at once.
#[test]
fn a_jailed_sensor_connects_anew_and_loses_no_alert_that_it_wrote() {
    let Some(space) = Space::new() else { return };
    space.ip("link set lo up");
    let scratch = Scratch::new();
    let within = ["ip", "netns", "exec", space.name()];
    let Some(mut redis) = Redis::start_within(&within, &scratch.path("redis"), 6390, None) else {
        return;
    };
    let stalled = scratch.path("stalled");
    let _listener = UnixListener::bind(&stalled).expect("a socket");
    let Some(hook) = TlsHook::start_within(&within, &scratch.path("tls")) else {
        return;
    };
    let config = scratch.write(
        "settings.toml",
        format!(
            // Alerts that come when something has not come for a while would come in between.
            "[detect]\nno_call_patience = 3600\n\
             [[eve-log]]\nfiletype = \"redis\"\n[eve-log.redis]\nport = 6390\nmode = \"rpush\"\n\
             [[eve-log]]\nfiletype = \"unix_stream\"\nfilename = {:?}\n\
             [[notify]]\nwebhook = \"https://localhost:{}/hook\"\nca_file = {:?}\nmin_severity = \"informational\"\n\
             [[eve-log]]\nfiletype = \"regular\"\nfilename = \"more/alerts.json\"\ntypes = [\"alert\"]\n\
             [[notify]]\ncef = \"udp://127.0.0.1:514\"\n",
            stalled.display().to_string(),
            hook.port,
            hook.certificate.display().to_string(),
        ),
    );
    let (disk, more) = (scratch.path("disk"), scratch.path("more"));
    fs::create_dir(&disk).expect("a folder");
    fs::create_dir(&more).expect("a folder");
    let mounted = run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&disk))
    .then(|| Mounted(disk.clone()));
    // What the sensor becomes goes through these folders.
    let folder = config.parent().expect("a folder");
    assert!(run(Command::new("chmod").args(["-R", "a+rwX"]).arg(folder)));
    let logs = disk.join("logs");
    let filling = disk.join("filling");
    let mut arguments = vec![
        "--calls",
        "all",
        "--logs",
        "eve",
        "--metrics",
        "127.0.0.1:9477",
        "--config",
    ];
    arguments.push(config.to_str().expect("a path"));
    let sensor = space.sensor(&logs, &arguments);

    let in_redis = |redis: &Redis| {
        let lines = redis.ask(&["LRANGE", "suricata", "0", "-1"]).join("\n");
        of_type(&lines, "alert").into_iter().map(parsed).collect::<Vec<Value>>()
    };
    let in_log = || -> Vec<Value> {
        let text = read(&logs.join("eve.json"));
        of_type(&text, "alert").into_iter().map(parsed).collect()
    };
    let by_post = || -> Vec<Value> { hook.posted().iter().map(|line| parsed(line)).collect() };

    // More than a socket holds that is never read.
    let captures = [
        "mmc20-connect",
        "many-classes",
        "resolver-sweep",
        "mmc20-many-targets",
        "wmi-process",
    ];
    let blocked = format!("unix_stream {}: it takes nothing", stalled.display());
    for capture in captures.iter().cycle().take(20) {
        space.send(&pcap(&format!("{capture}.pcap")), &["--rate", "2000"]);
        if sensor.said().contains(&blocked) {
            break;
        }
    }
    assert!(until(|| sensor.said().contains(&blocked)), "{}", sensor.said());
    assert!(in_log().len() > 5, "{}", sensor.said());
    assert!(until(|| in_redis(&redis).len() == in_log().len()), "{}", sensor.said());
    assert!(until(|| by_post().len() == in_log().len()), "{}", sensor.said());
    let first = in_log();

    redis.die();
    let full = mounted.is_some();
    if full {
        let _ = fs::write(&filling, vec![0; 8 << 20]);
    }
    space.send(&pcap("shellwindows-connect.pcap"), &["--rate", "500"]);
    // The webhook hears of it while neither the log nor Redis can be written.
    assert!(until(|| by_post().len() > first.len()), "{}", sensor.said());
    assert!(
        until(|| sensor.said().contains("redis 127.0.0.1:6390: ")),
        "{}",
        sensor.said()
    );
    if full {
        assert!(until(|| sensor.said().contains("is held back")), "{}", sensor.said());
        fs::remove_file(&filling).expect("it can be removed");
    }
    // A moment without it: the attempts are far apart by then.
    std::thread::sleep(Duration::from_secs(1));
    redis.resume();
    assert!(until(|| sensor.said().contains("works again")), "{}", sensor.said());
    assert!(until(|| in_log().len() > first.len()), "{}", sensor.said());
    assert!(
        until(|| in_redis(&redis).len() + first.len() == in_log().len()),
        "{}",
        sensor.said()
    );
    let all = in_log();
    assert!(in_redis(&redis).iter().eq(all.iter().skip(first.len())));
    assert!(until(|| by_post().len() == all.len()), "{}", sensor.said());
    assert_eq!(by_post(), all);

    // logrotate's way.
    let file = more.join("alerts.json");
    assert!(until(|| read(&file).lines().count() == all.len()), "{}", sensor.said());
    fs::rename(&file, more.join("alerts.json.1")).expect("it can be moved");
    sensor.signal("HUP");
    assert!(until(|| file.is_file()), "{}", sensor.said());

    sensor.signal("USR1");
    let ask = || {
        let program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9477/metrics').read().decode())";
        let output = space.command("python3").args(["-c", program]).output();
        String::from_utf8(output.expect("Python runs").stdout).expect("text")
    };
    let metric = format!(
        "dcom_sensor_output_delivered_total{{output=\"webhook\"}} {}\n",
        all.len()
    );
    assert!(until(|| ask().contains(&metric)), "{}", ask());
    assert!(
        ask().contains("\ndcom_sensor_output_up{output=\"redis\"} 1\n"),
        "{}",
        ask()
    );
    // It ends in time even if there is something left that cannot be delivered.
    redis.die();
    space.send(&pcap("excel-macro4.pcap"), &["--rate", "500"]);
    assert!(until(|| in_log().len() > all.len()), "{}", sensor.said());
    assert!(until(|| by_post().len() == in_log().len()), "{}", sensor.said());
    let all = in_log();
    let (said, took) = sensor.end();
    assert!(took < Duration::from_secs(2), "it took {took:?} to end: {said}");
    let summary = said
        .lines()
        .find(|line| line.contains("outputs: redis"))
        .expect("a summary");
    let of_redis = summary.split("; ").next().expect("it is the first");
    assert!(
        of_redis.contains(" 0 dropped, ") && !of_redis.contains(" 0 still waiting"),
        "{summary}"
    );
    assert!(
        summary.contains(&format!(
            "webhook https://localhost/…: {} delivered, 0 dropped",
            all.len()
        )),
        "{summary}"
    );
    let text = read(&logs.join("eve.json"));
    let stats = of_type(&text, "stats")
        .into_iter()
        .map(parsed)
        .next_back()
        .expect("counters");
    let outputs = &stats["dcom"]["outputs"];
    assert_eq!(outputs["webhook"]["delivered"], all.len(), "{outputs}");
    assert!(outputs["redis"]["failures"].as_u64() > Some(0), "{outputs}");
    assert_eq!(outputs["redis"]["dropped"], 0, "{outputs}");
}
