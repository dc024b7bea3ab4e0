//! `replay --extract`: packets of alerts' connections, with comments.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dcom_sensor::capture::{At, CaptureFile, Frame, Input};
use dcom_sensor::decode::{Decoded, Decoder};
use serde_json::Value;

use crate::program::{Outcome, Scratch, dcom_sensor, files, pcap, replay};
use crate::records::Records;

const ABUSED: &str = "mmc20-signed.pcap";

/// A frame as it is stored: time, link type, length on the wire, bytes.
type Stored = (i64, u16, u32, Vec<u8>);

fn frames(path: &Path) -> Vec<Stored> {
    let mut capture = CaptureFile::open(&Input::File(path.to_owned())).expect("the capture can be opened");
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame().expect("the capture can be read") {
        let Frame {
            at,
            link_type,
            bytes,
            original_length,
        } = frame;
        frames.push((at.time.0, link_type.0, original_length, bytes.to_vec()));
    }
    frames
}

/// The two ends of what a frame carries, the lesser first; none for a part of an IP packet, or for something else.
fn ends(decoder: &mut Decoder, (time, link, length, bytes): &Stored) -> Option<[(String, u16); 2]> {
    let frame = Frame {
        at: At {
            time: dcom_sensor::time::Timestamp(*time),
            ..At::default()
        },
        link_type: dcom_sensor::capture::LinkType(*link),
        bytes,
        original_length: *length,
    };
    let (source, destination) = match decoder.push(&frame)? {
        Decoded::Segment(segment) => (segment.source, segment.destination),
        Decoded::Datagram(datagram) => (datagram.source, datagram.destination),
    };
    let mut ends = [source, destination].map(|end| (end.address.to_string(), end.port));
    ends.sort();
    Some(ends)
}

/// The two ends of what a record is about.
fn of_record(record: &Value) -> Option<[(String, u16); 2]> {
    let end = |address: &str, port: &str| {
        let port = u16::try_from(record[port].as_u64()?).ok()?;
        Some((record[address].as_str()?.to_owned(), port))
    };
    let mut ends = [end("src_ip", "src_port")?, end("dest_ip", "dest_port")?];
    ends.sort();
    Some(ends)
}

fn extract(folder: &Path, captures: &[PathBuf]) -> Outcome {
    let run = replay(
        ["--json".as_ref(), "--extract".as_ref(), folder.as_os_str()]
            .into_iter()
            .chain(captures.iter().map(|capture| capture.as_os_str())),
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// What stands in comments of packets: the number of the packet in the copy, and the comments.
fn comments(path: &Path) -> Option<Vec<(u64, String)>> {
    let run = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(path)
        .args(["-Y", "frame.comment", "-T", "fields", "-E", "aggregator=\u{1f}"])
        .args(["-e", "frame.number", "-e", "frame.comment"])
        .output();
    let Ok(run) = run else {
        // Straight to standard error, which the test harness does not hold back: nobody shall take this for tested.
        let _ = writeln!(std::io::stderr(), "not tested: there is no tshark");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let complaints: Vec<String> = String::from_utf8_lossy(&run.stderr)
        .lines()
        .filter(|line| !line.starts_with("Running as user"))
        .map(ToOwned::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let text = String::from_utf8(run.stdout).expect("tshark writes UTF-8");
    let all = text.lines().flat_map(|line| {
        let (number, comments) = line.split_once('\t').expect("two columns");
        let number: u64 = number.parse().expect("a number");
        let each = comments
            .split('\u{1f}')
            .map(move |comment| (number, comment.to_owned()));
        each.collect::<Vec<_>>()
    });
    Some(all.collect())
}

#[test]
fn a_file_has_the_packets_of_its_connections_as_they_were_and_no_others() {
    for (name, more) in [
        (ABUSED, 0),
        ("mmc20-qinq.pcap", 0),
        ("mmc20-vxlan.pcap", 0),
        ("mmc20-erspan.pcap", 0),
        ("mmc20-ipv6.pcap", 0),
        ("mmc20-ip-fragments.pcap", 11),
        ("mmc20-datagrams.pcap", 0),
        ("mmc20-http2.pcap", 0),
        ("mmc20-gap.pcap", 0),
        ("mmc20-midstream.pcap", 0),
        ("mmc20-mirrored-twice.pcap", 0),
        ("mmc20-segments.pcap", 0),
        ("wmi-process.pcap", 0),
        ("coercion-workingdirectory.pcap", 0),
        ("shellwindows-two-interfaces.pcapng", 0),
    ] {
        let scratch = Scratch::new();
        let folder = scratch.path("packets");
        let run = extract(&folder, &[pcap(name)]);
        let records = Records::parse(&run.stdout);
        let alerts = records.of_type("alert").count();
        let written = files(&folder);
        assert_eq!(written.len(), 1, "{name}");
        let told = format!("packets of {alerts} alert");
        assert!(
            run.stderr.contains(&told) && run.stderr.contains("(1 file)"),
            "{name}: {}",
            run.stderr
        );
        let connections: BTreeSet<_> = records
            .all()
            .filter(|record| record["event_type"] != "stats" && record["event_type"] != "anomaly")
            .filter_map(of_record)
            .collect();
        assert!(!connections.is_empty());
        let original = frames(&pcap(name));
        let copied = frames(&folder.join(&written[0].0));
        let mut decoder = Decoder::default();
        let mut expected = Vec::new();
        for frame in &original {
            if ends(&mut decoder, frame).is_some_and(|ends| connections.contains(&ends)) {
                expected.push(frame);
            }
        }
        // What is there, in its order, and what is not among the expected: parts of packets, the other channel over HTTP.
        let mut rest = expected.iter();
        let mut next = rest.next();
        let mut others = Vec::new();
        for frame in &copied {
            if next.is_some_and(|wanted| *wanted == frame) {
                next = rest.next();
            } else {
                others.push(frame);
            }
        }
        assert!(next.is_none(), "{name}: {next:?} is missing");
        assert_eq!(others.len(), more, "{name}");
        assert!(others.iter().all(|frame| original.contains(frame)), "{name}");
    }
}

#[test]
fn comments_stand_on_the_frames_that_the_records_name() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    let run = extract(&folder, &[pcap(ABUSED)]);
    let records = Records::parse(&run.stdout);
    let name = "0001-1021301-192.0.2.20-192.0.2.10.pcapng";
    assert_eq!(files(&folder)[0].0, name);
    let Some(comments) = comments(&folder.join(name)) else {
        return;
    };
    let original = frames(&pcap(ABUSED));
    let copied = frames(&folder.join(name));
    // Each names the frame of the capture that was read, and it is that frame.
    for (number, comment) in &comments {
        let Some(frame) = comment.strip_prefix("frame ").and_then(|rest| rest.split(':').next()) else {
            assert_eq!(comment, "auth3: LAB\\alice by ntlm");
            continue;
        };
        let frame: usize = frame.parse().expect("a number");
        assert_eq!(
            copied[usize::try_from(*number).expect("small") - 1],
            original[frame - 1],
            "{comment}"
        );
    }
    let has = |frame: &Value, words: &str| {
        let beginning = format!("frame {frame}: ");
        let found = comments
            .iter()
            .any(|(_, comment)| comment.starts_with(&beginning) && comment.contains(words));
        assert!(found, "{beginning}{words} in {comments:?}");
    };
    for alert in records.of_type("alert") {
        has(
            &alert["pcap_cnt"],
            &format!("alert {} (critical): ", alert["alert"]["signature_id"]),
        );
    }
    let activation = records.dcom("activation")[0];
    has(
        &activation["pcap_cnt"],
        "RemoteCreateInstance of MMC20.Application, request by LAB\\alice",
    );
    has(
        &activation["reply_pcap_cnt"],
        "RemoteCreateInstance of MMC20.Application, reply: succeeded, port",
    );
    let call = records
        .dcom("call")
        .into_iter()
        .find(|call| call["dcom"]["command_line"].is_string());
    let call = call.expect("a call with a command line");
    has(
        &call["pcap_cnt"],
        "ExecuteShellCommand, request by LAB\\alice (ntlm, pkt_integrity): cmd.exe",
    );
    has(&call["reply_pcap_cnt"], "ExecuteShellCommand, reply: succeeded");
    let bind = records
        .of_type("dcerpc")
        .find(|record| record["dcerpc"]["request"] == "BIND");
    let bind = bind.expect("a bind");
    has(
        &bind["pcap_cnt"],
        "bind: IRemoteSCMActivator, login by ntlm at pkt_integrity",
    );
    has(&bind["reply_pcap_cnt"], "bind, answer: accepted IRemoteSCMActivator");
}

#[test]
fn nothing_concluded_reads_as_if_it_had_been_read() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    extract(&folder, &[pcap("mmc20-sealed.pcap")]);
    let Some(comments) = comments(&folder.join(&files(&folder)[0].0)) else {
        return;
    };
    for (_, comment) in comments.iter().filter(|(_, comment)| !comment.contains(": alert ")) {
        assert!(!comment.contains("MMC20"), "{comment}");
    }
    let says = |words: &str| comments.iter().any(|(_, comment)| comment.ends_with(words));
    assert!(says(
        ": RemoteCreateInstance, request by LAB\\alice (ntlm, pkt_privacy), sealed"
    ));
    assert!(says(": RemoteCreateInstance, reply: sealed"));
}

#[test]
fn replies_over_http_are_on_their_own_channel() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    let capture = pcap("mmc20-http2.pcap");
    let run = extract(&folder, std::slice::from_ref(&capture));
    let copy = folder.join(&files(&folder)[0].0);
    assert_eq!(frames(&copy), frames(&capture));
    let Some(comments) = comments(&copy) else { return };
    let records = Records::parse(&run.stdout);
    let reply = records.dcom("activation")[0]["reply_pcap_cnt"]
        .as_u64()
        .expect("a number");
    let told = |(frame, comment): &(u64, String)| *frame == reply && comment.contains("reply: succeeded");
    assert!(comments.iter().any(told), "{comments:?}");
}

#[test]
fn interfaces_keep_their_names_and_captures_their_own() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    let two = "shellwindows-two-interfaces.pcapng";
    extract(&folder, &[pcap(two)]);
    let written = folder.join(&files(&folder)[0].0);
    let names = |path: &Path| {
        let run = Command::new("tshark")
            .args(["-n", "-r"])
            .arg(path)
            .args([
                "-T",
                "fields",
                "-e",
                "frame.time_epoch",
                "-e",
                "frame.interface_name",
                "-e",
                "frame.encap_type",
            ])
            .output();
        run.map(|run| String::from_utf8(run.stdout).expect("UTF-8"))
    };
    let Ok(of_copy) = names(&written) else { return };
    let of_original = names(&pcap(two)).expect("tshark is there");
    let of_original: BTreeSet<&str> = of_original.lines().collect();
    assert!(of_copy.lines().count() > 40);
    for line in of_copy.lines() {
        assert!(of_original.contains(line), "{line}");
    }
}

#[test]
fn several_captures_and_compressed_ones_give_files_in_the_order_of_time() {
    let scratch = Scratch::new();
    let bytes = fs::read(pcap(ABUSED)).expect("a sample can be read");
    let gz = scratch.path("a.pcap.gz");
    let mut encoder = flate2::write::GzEncoder::new(File::create(&gz).expect("a file"), flate2::Compression::fast());
    encoder.write_all(&bytes).expect("compressed");
    encoder.finish().expect("compressed");
    let other = fs::read(pcap("wmi-process.pcap")).expect("a sample can be read");
    let zst = scratch.write(
        "b.pcap.zst",
        zstd::stream::encode_all(&other[..], 1).expect("compressed"),
    );
    let folder = scratch.path("packets");
    extract(&folder, &[zst, gz]);
    let written = files(&folder);
    let total: usize = written.iter().map(|(name, _)| frames(&folder.join(name)).len()).sum();
    let alone = |name: &str| {
        let folder = scratch.path(name);
        extract(&folder, &[pcap(name)]);
        frames(&folder.join(&files(&folder)[0].0)).len()
    };
    assert_eq!(total, alone(ABUSED) + alone("wmi-process.pcap"));
    let first = frames(&folder.join(&written[0].0));
    let times: Vec<i64> = written
        .iter()
        .map(|(name, _)| frames(&folder.join(name))[0].0)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(!first.is_empty());
}

/// The sample, and its connections opened again an hour later by other data on the same ports.
fn ports_used_again(scratch: &Scratch) -> PathBuf {
    let bytes = fs::read(pcap(ABUSED)).expect("a sample can be read");
    let (head, mut rest) = bytes.split_at(24);
    let mut all = [head, rest].concat();
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let (packet, after) = rest.split_at(16 + length);
        let mut packet = packet.to_vec();
        let seconds = u32::from_le_bytes(packet[..4].try_into().expect("four bytes")) + 3_600;
        packet[..4].copy_from_slice(&seconds.to_le_bytes());
        // Other sequence numbers, and no RPC: what follows the TCP header of 20 bytes or more is wiped.
        let tcp = 16 + 14 + 20;
        packet[tcp + 4] ^= 0x40;
        packet[tcp + 8] ^= 0x40;
        let data = tcp + usize::from(packet[tcp + 12] >> 4) * 4;
        packet[data..].fill(b'x');
        all.extend(packet);
        rest = after;
    }
    scratch.write("again.pcap", all)
}

#[test]
fn another_connection_on_the_same_ports_is_not_taken_for_the_one() {
    let scratch = Scratch::new();
    let capture = ports_used_again(&scratch);
    let folder = scratch.path("packets");
    extract(&folder, std::slice::from_ref(&capture));
    let copied = frames(&folder.join(&files(&folder)[0].0));
    let alone = scratch.path("alone");
    extract(&alone, &[pcap(ABUSED)]);
    let expected = frames(&alone.join(&files(&alone)[0].0));
    assert!(frames(&capture).len() > expected.len() * 3 / 2);
    // The first SYN may be of either, until it is answered.
    let more = copied.len() - expected.len();
    assert!(copied.starts_with(&expected) && more <= 4, "{more} more");
}

#[test]
fn what_cannot_be_read_twice_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    let refused = |input: &str| {
        let run = dcom_sensor()
            .args(["replay", "--extract"])
            .arg(&folder)
            .arg(input)
            .stdin(File::open(pcap(ABUSED)).expect("a sample"))
            .output();
        let run: Outcome = run.expect("the program runs").into();
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        run.stderr
    };
    assert_eq!(
        refused("-"),
        "dcom-sensor: -: cannot be read a second time, which --extract does\nhint: save it to a file, and name that\n"
    );
    assert!(!folder.exists());
    // Nor is a capture written over.
    fs::create_dir(&folder).expect("a folder");
    let within = folder.join("0001-1021301-192.0.2.20-192.0.2.10.pcapng");
    fs::copy(pcap(ABUSED), &within).expect("a copy");
    let told = refused(within.to_str().expect("a path"));
    assert!(
        told.contains(": stands in the folder that --extract writes to\nhint: name another folder\n"),
        "{told}"
    );
    assert_eq!(
        fs::read(&within).expect("it is there"),
        fs::read(pcap(ABUSED)).expect("a sample")
    );
}

#[test]
fn files_of_an_earlier_run_go_and_other_files_stay() {
    let scratch = Scratch::new();
    let folder = scratch.path("packets");
    extract(&folder, &[pcap("mmc20-many-targets.pcap")]);
    assert!(files(&folder).len() > 2);
    fs::write(folder.join("notes.txt"), "mine").expect("a file");
    extract(&folder, &[pcap(ABUSED)]);
    let names: Vec<String> = files(&folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0001-1021301-192.0.2.20-192.0.2.10.pcapng", "notes.txt"]);
    // Without an alert of that severity there is nothing to write.
    let run = replay(
        ["--min-severity", "critical", "--extract"]
            .map(AsRef::<std::ffi::OsStr>::as_ref)
            .into_iter()
            .chain([folder.as_os_str(), pcap("wmi-process.pcap").as_os_str()]),
    );
    assert!(run.stdout.contains(", packets of 0 alerts in "), "{}", run.stdout);
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn a_folder_that_cannot_be_used_is_told() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "x");
    let refused = replay(["--extract".as_ref(), file.as_os_str(), pcap(ABUSED).as_os_str()]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains(file.to_str().expect("a path")),
        "{}",
        refused.stderr
    );
}
