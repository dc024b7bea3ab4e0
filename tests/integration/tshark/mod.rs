//! The same captures read by tshark, frame by frame.
//!
//! `differences.toml` lists where the two differ, who is right and why. A difference that is not listed fails, and so does
//! an entry of the list that no longer occurs.

mod differences;
mod logins;
mod ours;
mod pdus;
mod theirs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fs, thread};

use differences::{Difference, List, Side};

use crate::program;

/// One thing that one frame says: its number, what sort of thing, and which.
type Fact = (u64, &'static str, String);
type Facts = BTreeSet<Fact>;

/// One reader's view of a capture.
#[derive(Debug, Default)]
struct View {
    facts: Facts,
    /// Interface and operation of the calls that begin or end in a frame.
    operations: BTreeMap<u64, String>,
}

/// A capture by the name that the list uses.
#[derive(Debug)]
struct Capture {
    name: String,
    path: PathBuf,
}

/// Where captures are: the name in the list, the variable, the place beside the workspace.
const BESIDE: [[&str; 3]; 3] = [
    ["corpus", "DCOM_CORPUS", "shared/corpus"],
    ["rig", "DCOM_RIG", "shared/rig/out"],
    ["kerberos", "DCOM_KERBEROS", "shared/rig/kerberos"],
];

fn is_capture(name: &str) -> bool {
    ["pcap", "pcapng", "cap"]
        .iter()
        .any(|end| program::has_extension(name, end))
}

/// All captures, and whether every folder of them is there.
fn captures() -> (Vec<Capture>, bool) {
    let mut captures: Vec<Capture> = program::all_pcaps()
        .into_iter()
        .filter(|name| is_capture(name))
        .map(|name| Capture {
            path: program::pcap(&name),
            name: format!("pcaps/{name}"),
        })
        .collect();
    let mut complete = true;
    for [folder, variable, place] in BESIDE {
        let Some(there) = program::beside(variable, place) else {
            complete = false;
            continue;
        };
        let mut found: Vec<PathBuf> = fs::read_dir(&there)
            .expect("a folder can be listed")
            .map(|entry| entry.expect("a folder can be listed").path())
            .flat_map(|path| match fs::read_dir(&path) {
                Ok(inside) => inside.filter_map(|entry| Some(entry.ok()?.path())).collect(),
                Err(_) => vec![path],
            })
            .filter(|path| path.to_str().is_some_and(is_capture))
            .collect();
        found.sort();
        captures.extend(found.into_iter().map(|path| {
            let inside = path.strip_prefix(&there).expect("it is in the folder");
            let name = format!("{folder}/{}", inside.display());
            Capture { name, path }
        }));
    }
    (captures, complete)
}

/// The version of tshark, `4.0.17`; nothing when there is none.
fn version() -> Option<String> {
    let output = Command::new("tshark").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.lines().find(|line| line.starts_with("TShark"))?.split_whitespace();
    let number = words
        .into_iter()
        .find(|word| word.starts_with(|it: char| it.is_ascii_digit()))?;
    Some(number.trim_end_matches('.').to_owned())
}

/// What only one of the two says of a capture.
fn compare(capture: &Capture) -> (Vec<Difference>, usize) {
    let View { facts, operations } = ours::view(&capture.path);
    let theirs = theirs::facts(&capture.path);
    let difference = |side, (frame, kind, value): &Fact| Difference {
        capture: capture.name.clone(),
        frame: *frame,
        kind,
        value: value.clone(),
        side,
        operation: operations.get(frame).cloned().unwrap_or_default(),
    };
    let only_ours = facts.difference(&theirs).map(|fact| difference(Side::Ours, fact));
    let only_theirs = theirs.difference(&facts).map(|fact| difference(Side::Tshark, fact));
    let agreed = facts.intersection(&theirs).count();
    (only_ours.chain(only_theirs).collect(), agreed)
}

/// Compares all captures, two at a time.
fn compare_all(captures: &[Capture]) -> (Vec<Difference>, usize) {
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Vec::new(), 0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (differences, agreed) = compare(capture);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0.extend(differences);
                    all.1 += agreed;
                }
            });
        }
    });
    let (mut differences, agreed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    differences.sort();
    (differences, agreed)
}

#[test]
fn tshark_reads_the_same_but_for_the_listed_differences() {
    let Some(version) = version() else {
        // Straight to standard error, which the test harness does not hold back: nobody shall take this for tested.
        let _ = writeln!(io::stderr(), "not tested: there is no tshark");
        return;
    };
    let list = List::read();
    let (captures, complete) = captures();
    let (differences, agreed) = compare_all(&captures);
    let mut unlisted = Vec::new();
    let mut used = BTreeSet::new();
    for difference in &differences {
        let entries: Vec<usize> = list.covering(difference).collect();
        if entries.is_empty() {
            unlisted.push(difference.to_string());
        }
        used.extend(entries);
    }
    let report = format!(
        "tshark {version}: {} differences that are not listed, {agreed} facts agree:\n{}\n",
        unlisted.len(),
        unlisted.join("\n")
    );
    assert!(agreed > 5 * captures.len(), "{agreed} facts are too few to be all");
    if !list.is_of(&version) {
        // Another version may read more, or otherwise: the list says nothing of it.
        let _ = writeln!(io::stderr(), "not judged, for the list is of another version: {report}");
        return;
    }
    assert!(unlisted.is_empty(), "{report}");
    // Without the other captures not everything can occur.
    if complete {
        let stale = list.except(&used);
        assert!(stale.is_empty(), "listed, but occurs no more:\n{}", stale.join("\n"));
    }
}
