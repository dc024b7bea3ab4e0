//! Live capture off several interfaces, and what becomes of interfaces and of what the kernel holds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::live::{ALERT, EXECUTION, Sensor, Space, lines, until};
use crate::program::{Outcome, Scratch, pcap};

/// Reads a capture.
const READ: &str = r#"
import socket, struct, sys, time
capture, times, gap = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
bytes_, at, frames = open(capture, "rb").read(), 24, []
while at < len(bytes_):
    (length,) = struct.unpack_from("<I", bytes_, at + 8)
    frames.append(bytes_[at + 16 : at + 16 + length])
    at += 16 + length
client = frames[0][26:30]
"#;

/// Sends the connection so many times, from another client each time, by `send`, with a pause where the sides change.
const ROUNDS: &str = r#"
for number in range(times):
    other, before = socket.inet_aton("10.8.0.%d" % (number + 1)), None
    for frame in frames:
        side = frame[26:30] != client
        if before is not None and side != before:
            time.sleep(gap)
        before = side
        send(frame.replace(client, other), number, side)
"#;

/// What each side of a connection says goes to an interface of its own.
const TAP: &str = r#"
lines = []
for name in ("near", "near2"):
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    line.bind((name, 0))
    lines.append(line)
def send(frame, number, side):
    lines[side].send(frame)
"#;

/// What each side says goes in a tunnel of its own (GRE, RFC 2784), as two switches mirror it. Of two rings, each tunnel's
/// outer addresses choose one.
const TUNNELS: &str = r#"
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
line.bind(("near", 0))
def send(frame, number, side):
    carried = b"\0\0\x08\0" + frame[14:]
    outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(carried), 1, 0, 64, 47, 0)
    ends = bytes([172, 16, side, number % 50]) + bytes([172, 20, side, number * side])
    line.send(frame[:14] + outer + ends + carried)
"#;

/// Sends the sample's connection by such a script.
fn send(space: &Space, script: &str, times: usize, gap: &str) {
    let mut sender = space.command("python3");
    sender.arg("-c").arg([READ, script, ROUNDS].concat());
    sender.arg(pcap("mmc20-connect.pcap")).args([&times.to_string(), gap]);
    let sent = sender.output().expect("python3 runs");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// All of it is heard, and nothing is missing.
fn heard(sensor: Sensor, logs: &Path, times: usize) {
    assert!(until(|| lines(logs, EXECUTION) == times), "{}", sensor.said());
    assert_eq!(lines(logs, ALERT), times);
    let (said, _) = sensor.end();
    assert!(said.contains("dropped 0"), "{said}");
    assert!(said.contains("; 0 bytes of RPC connections missing"), "{said}");
}

#[test]
fn the_two_lines_of_a_tap_are_one_conversation() {
    let Some(space) = Space::new() else { return };
    space.ip("link add near2 type veth peer name far2");
    space.ip("link set near2 up");
    space.ip("link set far2 up");
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &["-i", "far2", "--workers", "2"]);
    send(&space, TAP, 10, "0.0002");
    heard(sensor, &logs, 10);
}

#[test]
fn rings_that_hear_one_side_each_hear_one_conversation() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &["--workers", "2", "--rings", "2"]);
    send(&space, TUNNELS, 50, "0.0003");
    heard(sensor, &logs, 50);
}

#[test]
fn what_the_kernel_holds_at_the_end_is_looked_at() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[]);
    sensor.signal("STOP");
    space.send(&pcap("mmc20-connect.pcap"), &[]);
    sensor.signal("TERM");
    sensor.signal("CONT");
    let (said, took) = sensor.end();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    assert_eq!(lines(&logs, EXECUTION), 1, "{said}");
    assert!(said.contains("dropped 0"), "{said}");
}

#[test]
fn without_an_interface_the_sensor_ends() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[]);
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, EXECUTION) == 1), "{}", sensor.said());
    space.ip("link del far");
    let (code, said) = sensor.ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the interface is gone"), "{said}");
    assert!(said.contains("no interface is left to listen on"), "{said}");
    let notice = fs::read_to_string(logs.join("notice.log")).expect("alerts as Zeek has them");
    assert!(notice.lines().any(|line| line.starts_with("#close")), "{notice}");
}

#[test]
fn an_interface_is_listened_to_by_another_name() {
    let Some(space) = Space::new() else { return };
    let scratch = Scratch::new();
    let logs = scratch.path("logs");
    let sensor = space.sensor(&logs, &[]);
    space.ip("link set far down");
    assert!(until(|| sensor.said().contains("waiting for it")), "{}", sensor.said());
    space.ip("link set far name away");
    space.ip("link set away up");
    assert!(
        until(|| sensor.said().contains("still listened to")),
        "{}",
        sensor.said()
    );
    space.send(&pcap("mmc20-connect.pcap"), &["--rate", "500"]);
    assert!(until(|| lines(&logs, ALERT) == 1), "{}", sensor.said());
    space.ip("link del away");
    let (code, said) = sensor.ended();
    assert_eq!(code, Some(2), "{said}");
    for once in ["listening again", "still listened to", "the interface is gone"] {
        assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
    }
}

#[test]
fn a_filter_is_one_by_itself_and_a_wrong_one_is_named() {
    let Some(space) = Space::new() else { return };
    for (filter, wanted) in [("port 1) or (tcp", "--bpf"), ("garbage(", "--bpf")] {
        let scratch = Scratch::new();
        let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
        command
            .args(["live", "-i", "far", "--bpf", filter, "-o"])
            .arg(scratch.path("logs"));
        let run = Outcome::from(command.output().expect("the program runs"));
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(
            run.stderr.contains(wanted) && run.stderr.contains("tcpdump -d"),
            "{}",
            run.stderr
        );
    }
    space.ip("link set far down");
    let scratch = Scratch::new();
    let mut command = space.command(env!("CARGO_BIN_EXE_dcom-sensor"));
    command.args(["live", "-i", "far", "-o"]).arg(scratch.path("logs"));
    let run = Outcome::from(command.output().expect("the program runs"));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("ip link set far up"), "{}", run.stderr);
}
