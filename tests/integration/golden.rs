//! Every sample capture in every format, as it was when somebody last looked at it.
//!
//! Nothing is masked, as nothing in a log reads a clock. The table alone ends with how fast the capture was read: that is
//! cut out. `INSTA_UPDATE=always cargo test golden` rewrites the snapshots; `git diff` then shows what a reader of the
//! logs will see change.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;

use insta::Settings;

use crate::program::{self, Scratch};

/// A capture's name and what the program makes of it, by format.
struct Golden {
    capture: String,
    texts: [String; 6],
}

const FORMATS: [&str; 6] = ["eve", "zeek", "zeek-json", "table", "ecs", "ocsf"];

/// What is told in forms of others stands in eve.json too: a few captures show how. All of them are held against what
/// others say of these forms in `tests/readers`.
const IN_FORMS_OF_OTHERS: [&str; 4] = [
    "mmc20-datagrams.pcap",
    "mmc20-gap.pcap",
    "mmc20-powershell.pcap",
    "mmc20-qinq.pcap",
];

/// Is there a snapshot of the capture in this format?
fn is_kept(capture: &str, format: &str) -> bool {
    !["ecs", "ocsf"].contains(&format) || IN_FORMS_OF_OTHERS.contains(&capture)
}

static ALL: LazyLock<Vec<Golden>> = LazyLock::new(|| program::all_pcaps().into_iter().map(Golden::of).collect());

impl Golden {
    fn of(capture: String) -> Self {
        let scratch = Scratch::new();
        let logs = scratch.path("logs");
        let run = program::replay([
            "--logs".as_ref(),
            "eve,zeek,zeek-json,ecs,ocsf".as_ref(),
            "-o".as_ref(),
            logs.as_os_str(),
            program::pcap(&capture).as_os_str(),
        ]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{capture}");
        // With all formats asked for, Zeek's JSON logs end in .json.
        let mut files = program::files(&logs);
        let mut take = |wanted: &str| {
            let found = files.iter().position(|(name, _)| name == wanted);
            vec![files.remove(found.expect("a log of one file is always there"))]
        };
        let [eve, ecs, ocsf] = ["eve.json", "ecs.json", "ocsf.json"].map(&mut take);
        let zeek = files;
        let (tsv, json): (Vec<_>, Vec<_>) = zeek
            .into_iter()
            .partition(|(name, _)| program::has_extension(name, "log"));
        Self {
            capture,
            texts: [
                together(eve),
                together(tsv),
                together(json),
                without_speed(&run.stdout),
                together(ecs),
                together(ocsf),
            ],
        }
    }
}

/// Files one after the other, each under its name.
fn together(files: Vec<(String, Vec<u8>)>) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        let lines = String::from_utf8(bytes).expect("logs are text");
        text.extend(["==> ", &name, " <==\n", &lines]);
    }
    text
}

/// Cuts `, read in 0.01 s (5 Mbit/s)` out of the summary, which must have it.
fn without_speed(table: &str) -> String {
    let (before, after) = table.rsplit_once(", read in ").expect("the summary tells the speed");
    let (_, after) = after.split_once("):").expect("the speed stands in parentheses");
    format!("{before}:{after}")
}

fn compare(format: &str) {
    let index = FORMATS.iter().position(|known| *known == format).expect("a format");
    let mut differing = Vec::new();
    for golden in ALL.iter().filter(|golden| is_kept(&golden.capture, format)) {
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let text = &golden.texts[index];
        let name = format!("{}@{format}", golden.capture);
        // The others shall be compared too, whatever became of this one.
        let same = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(name, text));
        }));
        if same.is_err() {
            differing.push(&golden.capture);
        }
    }
    assert!(differing.is_empty(), "{format} differs: {differing:?}");
}

#[test]
fn eve_json_is_what_it_was() {
    compare("eve");
}

#[test]
fn zeek_logs_are_what_they_were() {
    compare("zeek");
}

#[test]
fn zeek_logs_in_json_are_what_they_were() {
    compare("zeek-json");
}

#[test]
fn logs_in_forms_of_others_are_what_they_were() {
    compare("ecs");
    compare("ocsf");
}

#[test]
fn the_table_is_what_it_was() {
    compare("table");
}

#[test]
fn every_snapshot_has_its_capture() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/integration/snapshots");
    let kept: BTreeSet<String> = program::files(&folder)
        .into_iter()
        .filter_map(|(name, _)| name.strip_suffix(".snap").map(str::to_owned))
        .collect();
    let due: BTreeSet<String> = ALL
        .iter()
        .flat_map(|golden| FORMATS.map(|format| (&golden.capture, format)))
        .filter(|(capture, format)| is_kept(capture, format))
        .map(|(capture, format)| format!("{capture}@{format}"))
        .collect();
    assert_eq!(kept, due);
}
