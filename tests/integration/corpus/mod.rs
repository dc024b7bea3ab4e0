//! Real captures of other people, each with a truth that was decoded independently, and what Zeek and Suricata say.

mod calls;
mod flows;
mod hosts;
mod incumbents;
mod proofs;
mod truth;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use crate::program;
use crate::records::Records;

/// One folder of the corpus and what the program finds in its capture.
struct Real {
    name: String,
    folder: PathBuf,
    capture: PathBuf,
    truth: Value,
    records: Records,
}

/// All that have a capture; none when the corpus is not there.
static CORPUS: LazyLock<Vec<Real>> = LazyLock::new(|| {
    let Some(corpus) = program::beside("DCOM_CORPUS", "shared/corpus") else {
        return Vec::new();
    };
    let entries = fs::read_dir(&corpus).expect("the corpus can be listed");
    let mut all: Vec<Real> = entries
        .filter_map(|entry| Real::of(entry.expect("the corpus can be listed").path()))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!all.is_empty(), "no capture in {}", corpus.display());
    all
});

impl Real {
    fn of(folder: PathBuf) -> Option<Self> {
        let truth = fs::read_to_string(folder.join("capture.truth.json")).ok()?;
        let captures = ["capture.cap", "capture.pcap", "capture.pcapng"].map(|name| folder.join(name));
        let capture = captures
            .into_iter()
            .find(|path| path.is_file())
            .expect("a truth has its capture");
        Some(Self {
            name: folder.file_name()?.to_str()?.to_owned(),
            truth: serde_json::from_str(&truth).expect("a truth is JSON"),
            records: Records::of(&capture),
            capture,
            folder,
        })
    }

    /// A file beside the capture, when there is one.
    fn beside(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }

    /// A log of Zeek's form that the program writes for the capture; empty when it writes none.
    fn our_log(&self, name: &str) -> String {
        let scratch = program::Scratch::new();
        let logs = scratch.path("logs");
        let run = program::replay(["-qo".as_ref(), logs.as_os_str(), self.capture.as_os_str()]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", self.name);
        fs::read_to_string(logs.join(name)).unwrap_or_default()
    }
}

/// One folder by name; nothing when the corpus is not there.
fn real(name: &str) -> Option<&'static Real> {
    let found = CORPUS.iter().find(|real| real.name == name);
    assert!(found.is_some() || CORPUS.is_empty(), "the corpus lacks {name}");
    found
}
