//! Logins by NTLM to SMB itself: `ntlm.log`, and what tshark decodes of the same session setups.

use std::process::Command;

use super::version;
use crate::program::{self, Scratch};

/// Source, user, domain and computer of each login, as tshark reads them.
fn theirs(name: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command
        .env("WIRESHARK_CONFIG_DIR", "/nonexistent")
        .args(["-n", "-r"])
        .arg(program::pcap(name));
    command.args(["-Y", "ntlmssp.messagetype == 3 && (smb.cmd == 0x73 || smb2.cmd == 1)"]);
    command.args(["-T", "fields", "-e", "ip.src", "-e", "tcp.srcport"]);
    for field in ["username", "domain", "hostname"] {
        command.args(["-e", &format!("ntlmssp.auth.{field}")]);
    }
    let output = command.output().expect("tshark runs");
    let text = String::from_utf8(output.stdout).expect("fields are text");
    text.lines().map(|line| line.replace("NULL", "-")).collect()
}

/// The same of `ntlm.log`, of connections to SMB's port.
fn ours(name: &str) -> Vec<String> {
    let (scratch, name) = (Scratch::new(), program::pcap(name));
    let logs = scratch.path("logs");
    let run = program::replay(
        ["--logs", "zeek", "-qo"]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([logs.as_os_str(), name.as_os_str()]),
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let log = std::fs::read_to_string(logs.join("ntlm.log")).unwrap_or_default();
    let rows = log.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row.get(5) == Some(&"445"))
        .map(|row| {
            assert_eq!(row[12], "T", "each of the samples' logins was accepted: {row:?}");
            [row[2], row[3], row[6], row[8], row[7]].join("\t")
        })
        .collect()
}

#[test]
fn each_login_to_smb_is_in_ntlm_log() {
    if version().is_none() {
        return;
    }
    let mut compared = 0;
    for name in program::all_pcaps() {
        let theirs = theirs(&name);
        assert_eq!(ours(&name), theirs, "{name}: found, then tshark's");
        compared += theirs.len();
    }
    assert!(compared >= 5, "{compared} logins are too few to be all");
}
