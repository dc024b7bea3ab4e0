//! Runs the program, and knows where captures are.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use dcom_sensor::capture::LinkType;
use serde_json::Value;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is text"),
            stderr: String::from_utf8(output.stderr).expect("standard error is text"),
        }
    }
}

/// The program as it was built, away from what the caller's terminal asks of it.
pub(crate) fn dcom_sensor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcom-sensor"));
    command.env_remove("NO_COLOR");
    command
}

/// `dcom-sensor replay` with these arguments.
pub(crate) fn replay<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = dcom_sensor().arg("replay").args(arguments).output();
    output.expect("the program runs").into()
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of sample captures.
pub(crate) fn pcaps() -> PathBuf {
    workspace().join("pcaps")
}

/// A sample capture.
pub(crate) fn pcap(name: &str) -> PathBuf {
    let path = pcaps().join(name);
    assert!(path.is_file(), "no sample capture {name}");
    path
}

/// The capture so many times in one, each copy so many seconds later than the one before.
pub(crate) fn repeated(name: &str, times: u32, seconds: u32) -> Vec<u8> {
    const HEAD: usize = 24;
    let bytes = fs::read(pcap(name)).expect("a sample can be read");
    let (head, packets) = bytes.split_at(HEAD);
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    assert_eq!(number(&head[..4]), 0xa1b2_c3d4, "the sample is little-endian");
    let mut all = head.to_vec();
    for copy in 0..times {
        let mut rest = packets;
        while !rest.is_empty() {
            let length = 16 + number(&rest[8..12]) as usize;
            let (packet, after) = rest.split_at(length);
            all.extend((number(&packet[..4]) + copy * seconds).to_le_bytes());
            all.extend(&packet[4..]);
            rest = after;
        }
    }
    all
}

/// How a capture begins: little-endian, in microseconds.
pub(crate) fn capture_header(link_type: LinkType) -> Vec<u8> {
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, u32::from(link_type.0)].map(u32::to_le_bytes);
    words.as_flattened().to_vec()
}

/// How the record of a packet begins that was captured whole: seconds, microseconds, both lengths.
pub(crate) fn record_header(time: [u32; 2], packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).expect("packets are short");
    let words = [time[0], time[1], length, length].map(u32::to_le_bytes);
    words.as_flattened().to_vec()
}

/// Bytes of memory that Linux tells of a process: `VmRSS` that it holds, `VmHWM` that it held at most.
pub(crate) fn memory(process: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells of a process");
    let told = |line: &str| line.strip_prefix(which)?.strip_prefix(':').map(str::to_owned);
    let size = status.lines().find_map(told).expect("a size");
    size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// All sample captures by file name, sorted.
pub(crate) fn all_pcaps() -> Vec<String> {
    let entries = fs::read_dir(pcaps()).expect("pcaps/ can be listed");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("pcaps/ can be listed").file_name().into_string())
        .map(|name| name.expect("file names are text"))
        .filter(|name| name.contains(".pcap"))
        .collect();
    names.sort();
    names
}

/// A folder of captures that are not part of the project: beside the workspace, or where the variable says. When it is
/// not there, says so and gives nothing; what was named by hand must be there.
pub(crate) fn beside(variable: &str, place: &str) -> Option<PathBuf> {
    if let Some(named) = env::var_os(variable) {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "{variable} names {}, no folder", named.display());
        return Some(named);
    }
    let folder = workspace().join("..").join(place);
    if folder.is_dir() {
        return Some(folder);
    }
    // Straight to standard error, which the test harness does not hold back: nobody shall take this for tested.
    let _ = writeln!(
        io::stderr(),
        "not tested: there is no ../{place} (set {variable} to another place)"
    );
    None
}

/// The captures of such a folder, sorted, each with its truth: a `.json` beside it. None where the folder is not there.
pub(crate) fn truths_beside(variable: &str, place: &str) -> Vec<(PathBuf, Value)> {
    let Some(folder) = beside(variable, place) else {
        return Vec::new();
    };
    let entries = fs::read_dir(&folder).expect("the captures can be listed");
    let mut captures: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the captures can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "pcap"))
        .collect();
    assert!(!captures.is_empty(), "no capture in {}", folder.display());
    captures.sort();
    let with_truth = captures.into_iter().map(|capture| {
        let truth = fs::read(capture.with_extension("json")).expect("a capture has its truth");
        (capture, serde_json::from_slice(&truth).expect("a truth is JSON"))
    });
    with_truth.collect()
}

/// Does the file's name end so?
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new(extension))
}

/// A folder for one test, gone with it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(format!("dcom-sensor-tests-{process}-{count}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a scratch folder can be made");
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file into it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a scratch file can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files of a folder by name, sorted.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("file names are text");
            (name, fs::read(entry.path()).expect("the file can be read"))
        })
        .collect();
    files.sort();
    files
}
