//! What is read, and what is said of what cannot be.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::ABUSED;
use crate::program::{Outcome, Scratch, all_pcaps, dcom_sensor, pcap, pcaps, replay};
use crate::records::{Records, text};

fn json(path: impl AsRef<OsStr>) -> Outcome {
    replay(["--json".as_ref(), "-q".as_ref(), path.as_ref()])
}

/// Runs with the bytes on standard input.
fn piped(arguments: &[&str], bytes: &[u8]) -> Outcome {
    let mut command = dcom_sensor();
    command.arg("replay").args(arguments);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the program runs");
    let mut stdin = child.stdin.take().expect("a standard input");
    // The samples fit into a pipe, so nobody waits for anybody.
    stdin.write_all(bytes).expect("standard input is read");
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// The offset that a message names.
fn offset(stderr: &str) -> usize {
    let (_, after) = stderr
        .split_once(": offset ")
        .unwrap_or_else(|| panic!("no offset in {stderr}"));
    let digits = after.split(':').next().expect("text after the offset");
    digits.parse().expect("a number")
}

#[test]
fn an_input_that_begins_before_the_one_before_it_ends_is_told() {
    let [first, second] = ["mmc20-connect.pcap", "shellwindows-connect.pcap"].map(pcap);
    assert_eq!(replay([&first, &second]).stderr, "");
    for workers in ["1", "2"] {
        let mut command = dcom_sensor();
        let command = command.args(["replay", "--workers", workers]).args([&second, &first]);
        let run = Outcome::from(command.output().expect("the program runs"));
        let message = format!("{} begins before {} ends: ", first.display(), second.display());
        assert!(
            run.stderr.contains(&message) && run.stderr.contains("mergecap"),
            "{}",
            run.stderr
        );
        assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    }
}

#[test]
fn what_is_no_capture_ends_with_2_at_once_and_says_why() {
    let scratch = Scratch::new();
    let path = scratch.write("notes.txt", "No capture for all one tries.\n");
    let run = replay([&path]);
    assert_eq!(run.code, Some(2));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    let message = format!(
        "dcom-sensor: {}: offset 0: not a capture: it begins with 4e 6f 20 63",
        path.display()
    );
    assert!(lines[0].starts_with(&message), "{}", lines[0]);
    assert!(
        lines[1].starts_with("hint: expected pcap or pcapng, plain, .gz or .zst; "),
        "{lines:?}"
    );
    let empty = scratch.write("empty.pcap", "");
    let run = replay([&empty]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr
            .starts_with(&format!("dcom-sensor: {}: offset 0: is empty\nhint: ", empty.display())),
        "{}",
        run.stderr
    );
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes_then_told() {
    for (name, file, structure) in [
        (ABUSED, "cut.pcap", "packet"),
        ("shellwindows-two-interfaces.pcapng", "cut.pcapng", "block"),
    ] {
        let scratch = Scratch::new();
        let whole = fs::read(pcap(name)).expect("a sample");
        let cut = scratch.write(file, &whole[..whole.len() - 10]);
        let logs = scratch.path("logs");
        let run = replay(["-o".as_ref(), logs.as_os_str(), cut.as_os_str()]);
        assert_eq!(run.code, Some(2));
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{}", run.stderr);
        let (place, cause) = lines[0].split_once(": the last ").expect("a cause");
        let start = offset(&run.stderr);
        assert_eq!(place, format!("dcom-sensor: {}: offset {start}", cut.display()));
        assert!(cause.contains(structure), "{cause}");
        assert!(
            start < whole.len() - 10 && start > whole.len() - 200,
            "{start} of {}",
            whole.len()
        );
        assert_eq!(lines[1], "hint: the capture was cut short; what came before was read");
        // Everything before the cut is there: one packet less, and all that was found in the others.
        let full = Records::of(&pcap(name));
        let eve = Records::parse(&fs::read_to_string(logs.join("eve.json")).expect("eve.json is written"));
        assert_eq!(eve.counter("decoder.pkts"), full.counter("decoder.pkts") - 1);
        let found = |records: &Records| records.of_type("alert").cloned().collect::<Vec<_>>();
        assert_eq!(found(&eve), found(&full));
        assert_eq!(eve.dcom("activation"), full.dcom("activation"));
        let notices = fs::read_to_string(logs.join("notice.log")).expect("notice.log is written");
        assert!(
            notices.lines().last().expect("lines").starts_with("#close\t"),
            "{notices}"
        );
        assert!(run.stdout.contains("1 input unreadable"), "{}", run.stdout);
    }
}

#[test]
fn damage_in_the_middle_is_told_with_its_place_and_the_rest_is_kept() {
    let scratch = Scratch::new();
    let mut bytes = fs::read(pcap(ABUSED)).expect("a sample");
    // The length of a packet about four fifths into the file, far beyond anything believed.
    let mut at = 24;
    while at < bytes.len() * 4 / 5 {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        at += 16 + length as usize;
    }
    bytes[at + 8..at + 12].fill(0xff);
    let run = replay([scratch.write("damaged.pcap", &bytes)]);
    assert_eq!(run.code, Some(2));
    assert_eq!(offset(&run.stderr), at);
    assert!(run.stderr.contains("\nhint: "), "{}", run.stderr);
    assert!(run.stdout.contains("MMC20.Application"), "{}", run.stdout);
}

#[test]
fn a_capture_of_a_link_type_that_is_not_read_is_told_as_unreadable() {
    let scratch = Scratch::new();
    let mut bytes = fs::read(pcap(ABUSED)).expect("a sample");
    bytes[20..24].copy_from_slice(&147_u32.to_le_bytes());
    let strange = scratch.write("strange.pcap", &bytes);
    for workers in ["1", "3"] {
        let run = replay(["--workers".as_ref(), workers.as_ref(), strange.as_os_str()]);
        assert_eq!(run.code, Some(2));
        let message = "its frames are of link type 147, which is not read\nhint: ";
        assert!(
            run.stderr
                .starts_with(&format!("dcom-sensor: {}: {message}", strange.display())),
            "{}",
            run.stderr
        );
        assert!(run.stdout.contains("1 input unreadable"), "{}", run.stdout);
    }
}

#[test]
fn what_is_missing_ends_with_2_and_names_it() {
    for missing in ["nowhere.pcap", "nowhere/*.pcap"] {
        let run = replay([missing]);
        assert_eq!(run.code, Some(2), "{missing}");
        assert_eq!(
            run.stderr,
            format!("dcom-sensor: {missing}: no such file, and no file matches it\n")
        );
    }
    let catalog = replay(["--catalog".as_ref(), "nowhere.toml".as_ref(), pcap(ABUSED).as_os_str()]);
    assert_eq!((catalog.code, catalog.stdout.as_str()), (Some(2), ""));
    assert!(
        catalog.stderr.starts_with("dcom-sensor: nowhere.toml: "),
        "{}",
        catalog.stderr
    );
}

#[test]
fn one_broken_input_of_two_ends_with_2_and_the_other_is_read() {
    let scratch = Scratch::new();
    let broken = scratch.write("broken.pcap", "broken");
    for inputs in [[broken.clone(), pcap(ABUSED)], [pcap(ABUSED), broken]] {
        let run = replay(&inputs);
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stderr.matches("dcom-sensor: ").count(), 1, "{}", run.stderr);
        assert!(
            run.stderr.contains("broken.pcap: offset 0: not a capture"),
            "{}",
            run.stderr
        );
        assert!(run.stdout.contains("MMC20.Application"), "{}", run.stdout);
    }
    // An input that could not be used weighs more than what was found in the others.
    let run = replay([
        "--fail-on".as_ref(),
        "low".as_ref(),
        "nowhere".as_ref(),
        pcap(ABUSED).as_os_str(),
    ]);
    assert_eq!(run.code, Some(2));
}

#[test]
fn standard_input_and_compressed_files_read_like_the_file() {
    let scratch = Scratch::new();
    let bytes = fs::read(pcap(ABUSED)).expect("a sample");
    let expected = json(pcap(ABUSED));
    assert!(expected.stdout.contains("\"alert\""));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).expect("memory can be written");
    let gzip = encoder.finish().expect("memory can be written");
    let zstd = zstd::stream::encode_all(&bytes[..], 1).expect("memory can be read");
    for (name, stored) in [
        ("x.pcap.gz", &gzip),
        ("x.pcap.zst", &zstd),
        ("by-content-not-by-name", &gzip),
    ] {
        let run = json(scratch.write(name, stored));
        assert_eq!((run.code, run.stdout == expected.stdout), (Some(0), true), "{name}");
    }
    for stored in [&bytes, &gzip, &zstd] {
        let run = piped(&["--json", "-q", "-"], stored);
        assert_eq!(
            (run.code, run.stdout == expected.stdout),
            (Some(0), true),
            "{}",
            run.stderr
        );
    }
    // Cut short, each is read as far as it goes.
    for (name, stored) in [("cut.gz", &gzip), ("cut.zst", &zstd)] {
        let run = json(scratch.write(name, &stored[..stored.len() - 9]));
        assert_eq!(run.code, Some(2), "{name}");
        assert!(
            run.stderr.contains(name) && run.stderr.contains("\nhint: "),
            "{}",
            run.stderr
        );
    }
    let run = piped(&["-"], b"nothing of the sort");
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.starts_with("dcom-sensor: -: offset 0: not a capture: "),
        "{}",
        run.stderr
    );
}

#[test]
fn a_folder_is_all_captures_below_it_and_only_several_inputs_are_named() {
    let run = json(pcaps());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let records = Records::parse(&run.stdout);
    let mut named: Vec<&str> = records
        .all()
        .filter_map(|record| record.get("pcap_filename"))
        .map(|name| text(name).rsplit('/').next().expect("a name"))
        .collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, all_pcaps());
    for record in records.all() {
        let about_a_frame = record.get("pcap_cnt").is_some();
        assert_eq!(record.get("pcap_filename").is_some(), about_a_frame, "{record}");
    }
    let alone = Records::of(&pcap(ABUSED));
    assert!(alone.all().all(|record| record.get("pcap_filename").is_none()));
    // Together they say what each says alone: the captures have nothing to do with each other. What is told once an hour of
    // two machines, which are the same in all of them, is left out.
    let by_record = |records: &Records| {
        let ids = records.signatures().into_iter();
        ids.filter(|id| (1_021_301..=1_021_304).contains(id)).count()
    };
    let apart: usize = all_pcaps()
        .iter()
        .map(|name| by_record(&Records::of(&pcap(name))))
        .sum();
    assert_eq!(by_record(&records), apart);
}

#[test]
fn a_name_of_a_file_commands_no_terminal() {
    let scratch = Scratch::new();
    let file = scratch.write("\u{1b}[2J\u{202e}.pcap", "no capture");
    for command in [vec!["replay"], vec!["hunt", "-v"]] {
        let run = dcom_sensor().args(&command).arg(&file).output();
        let run: Outcome = run.expect("the program runs").into();
        assert_eq!(run.code, Some(2));
        assert!(
            run.stderr.contains("\\u{1b}[2J\\u{202e}.pcap: "),
            "{command:?}: {}",
            run.stderr
        );
        assert!(
            !run.stderr.contains(['\u{1b}', '\u{202e}']),
            "{command:?}: {}",
            run.stderr
        );
    }
}
