//! Every page under docs/detections is its own test: what it says fires does, and what it says is silent is. The list and
//! the table there say what the code says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use dcom_sensor::detect::SIGNATURES;
use serde::Deserialize;
use serde_json::Value;

/// A fenced block of a page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// The detection it is about.
    signature_id: u64,
    /// A capture that sets it off.
    fires: PathBuf,
    /// A capture that looks alike and does not.
    silent: PathBuf,
    /// A capture that a baseline is learned from first.
    baseline: Option<PathBuf>,
    // What one and the same alert says; of what is left out, anything.
    severity: String,
    confidence: Option<String>,
    class: Option<String>,
    outcome: Option<String>,
    evidence: Option<String>,
    user: Option<String>,
    object_path: Option<String>,
    command_line: Option<String>,
    decoded_command: Option<String>,
}

impl Example {
    /// Where each of these stands in an alert, and what it shall be.
    fn facts(&self) -> Vec<(&'static str, &str)> {
        let facts = [
            ("/alert/metadata/severity/0", Some(&self.severity)),
            ("/alert/metadata/confidence/0", self.confidence.as_ref()),
            ("/dcom/class", self.class.as_ref()),
            ("/dcom/outcome", self.outcome.as_ref()),
            ("/dcom/evidence", self.evidence.as_ref()),
            ("/dcom/client/user", self.user.as_ref()),
            ("/dcom/object_path", self.object_path.as_ref()),
            ("/dcom/command_line", self.command_line.as_ref()),
            ("/dcom/decoded_command", self.decoded_command.as_ref()),
        ];
        let named = facts.into_iter();
        named
            .filter_map(|(place, fact)| Some((place, fact?.as_str())))
            .collect()
    }

    fn is_said_by(&self, alert: &Value) -> bool {
        let mut facts = self.facts().into_iter();
        facts.all(|(place, fact)| alert.pointer(place).is_some_and(|found| *found == fact))
    }
}

/// What the program tells of one capture.
struct Told {
    alerts: Vec<Value>,
    /// Is there DCE/RPC in it?
    has_rpc: bool,
}

impl Told {
    fn of(capture: &Path) -> Self {
        Self::with(capture, None)
    }

    fn with(capture: &Path, baseline: Option<&Path>) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_dcom-sensor"))
            .args(["replay", "--json", "--quiet"])
            .args(
                baseline
                    .iter()
                    .flat_map(|file| ["--baseline".as_ref(), file.as_os_str()]),
            )
            .arg(capture)
            .output()
            .expect("the sensor starts");
        assert!(output.status.success(), "{}: {output:?}", capture.display());
        let lines = String::from_utf8(output.stdout).expect("eve.json is UTF-8");
        let events: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of eve.json is JSON"))
            .collect();
        Self {
            has_rpc: events.iter().any(|event| event["event_type"] == "dcerpc"),
            alerts: events
                .into_iter()
                .filter(|event| event["event_type"] == "alert")
                .collect(),
        }
    }

    /// The alerts of one detection.
    fn of_signature(&self, id: u64) -> Vec<&Value> {
        let is_its_own = |alert: &&Value| alert["alert"]["signature_id"] == id;
        self.alerts.iter().filter(is_its_own).collect()
    }
}

/// What is told of each sample capture, by path from the project's root.
static TOLD: LazyLock<BTreeMap<PathBuf, Told>> = LazyLock::new(|| {
    let entries = fs::read_dir(root().join("pcaps")).expect("pcaps/ can be listed");
    entries
        .map(|entry| PathBuf::from("pcaps").join(entry.expect("pcaps/ can be listed").file_name()))
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .map(|path| {
            let told = Told::of(&root().join(&path));
            (path, told)
        })
        .collect()
});

fn told(capture: &Path) -> &'static Told {
    TOLD.get(capture)
        .unwrap_or_else(|| panic!("there is no {}", capture.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn list() -> PathBuf {
    root().join("docs/detections/README.md")
}

fn pages() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> = fs::read_dir(root().join("docs/detections"))
        .expect("docs/detections is there")
        .map(|entry| entry.expect("docs/detections can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("README.md"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page can be read");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// Of loss there is no example: a capture has no kernel that drops frames.
const LIVE_ALONE: &str = "frames-lost.md";

fn examples(page: &Path, text: &str) -> Vec<Example> {
    text.split("```toml capture\n")
        .skip(1)
        .map(|block| {
            let (block, _) = block.split_once("```").expect("a block ends");
            toml::from_str(block).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
        })
        .collect()
}

#[test]
fn every_example_does_what_its_page_says() {
    for (page, text) in pages() {
        let examples = examples(&page, &text);
        assert!(
            !examples.is_empty() || page.ends_with(LIVE_ALONE),
            "{}: no example",
            page.display()
        );
        for example in examples {
            if example.baseline.is_some() {
                unlike_the_baseline(&example);
                continue;
            }
            let fired = told(&example.fires).of_signature(example.signature_id);
            assert!(
                fired.iter().any(|alert| example.is_said_by(alert)),
                "{}: {example:?}: {fired:#?}",
                page.display()
            );
            let silent = told(&example.silent);
            assert!(silent.has_rpc, "{example:?}: a capture without RPC looks like nothing");
            let unwanted = silent.of_signature(example.signature_id);
            assert!(unwanted.is_empty(), "{}: {example:?}: {unwanted:#?}", page.display());
        }
    }
}

/// What the baseline does not know fires; what it knows does not.
fn unlike_the_baseline(example: &Example) {
    let learned = example.baseline.as_ref().expect("a baseline");
    let file = std::env::temp_dir().join(format!("dcom-sensor-baseline-{}", std::process::id()));
    let tell = |capture: &Path| Told::with(&root().join(capture), Some(&file));
    let learning = tell(learned);
    assert!(
        learning.of_signature(example.signature_id).is_empty(),
        "nothing is new yet"
    );
    assert!(
        tell(&example.silent).of_signature(example.signature_id).is_empty(),
        "{example:?}"
    );
    let fired = tell(&example.fires);
    let fired = fired.of_signature(example.signature_id);
    assert!(
        fired.iter().any(|alert| example.is_said_by(alert)),
        "{example:?}: {fired:#?}"
    );
    let again = tell(&example.fires);
    assert!(
        again.of_signature(example.signature_id).is_empty(),
        "it is known by now"
    );
    fs::remove_file(file).expect("the baseline was kept");
}

/// Numbers that are taken, and that no detection raises.
const RESERVED: [u32; 0] = [];

/// A row of the list: number, name, severity, what, page.
fn rows(list: &str) -> Vec<Vec<&str>> {
    list.lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.len() == 7 && cells[1].parse::<u64>().is_ok())
        .map(|cells| cells[1..6].to_vec())
        .collect()
}

#[test]
fn the_list_says_what_the_signatures_say_and_each_has_an_example_on_its_page() {
    let list = fs::read_to_string(list()).expect("the list can be read");
    let listed: Vec<_> = rows(&list)
        .iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned(), row[3].to_owned()))
        .collect();
    let due: Vec<_> = SIGNATURES
        .iter()
        .filter(|it| !RESERVED.contains(&it.id))
        .map(|it| (it.id.to_string(), format!("`{}`", it.note), it.text.to_owned()))
        .collect();
    assert_eq!(listed, due, "listed, then due");
    let pages = pages();
    let described: BTreeSet<(String, u64)> = pages
        .iter()
        .flat_map(|(page, text)| {
            let name = page.file_name().expect("a page has a name").to_string_lossy();
            let ids = examples(page, text).into_iter().map(|example| example.signature_id);
            ids.map(move |id| (format!("[{name}]({name})"), id)).collect::<Vec<_>>()
        })
        .collect();
    let on_its_page: BTreeSet<(String, u64)> = rows(&list)
        .iter()
        .map(|row| (row[4].to_owned(), row[0].parse().expect("a number")))
        .collect();
    assert_eq!(on_its_page, described, "listed, then described");
}

const BEGIN: &str = "<!-- table: UPDATE_DOCS=1 cargo test --test detections_doc rewrites it -->\n";
const END: &str = "<!-- end of table -->\n";

/// How often each signature fires in each sample capture.
fn table() -> String {
    let fired: BTreeSet<u64> = TOLD.values().flat_map(|told| told.alerts.iter().map(id)).collect();
    let mut lines = vec![format!("| capture | {} |", join(&fired, |id| (id % 1000).to_string()))];
    lines.push(format!("|---|{}", "---:|".repeat(fired.len())));
    for (capture, told) in TOLD.iter() {
        let name = capture.file_name().expect("a capture has a name").to_string_lossy();
        let counts = join(&fired, |id| match told.of_signature(*id).len() {
            0 => String::new(),
            count => count.to_string(),
        });
        lines.push(format!("| `{name}` | {counts} |"));
    }
    lines.join("\n") + "\n"
}

fn id(alert: &Value) -> u64 {
    alert["alert"]["signature_id"].as_u64().expect("an alert has a number")
}

fn join(fired: &BTreeSet<u64>, cell: impl Fn(&u64) -> String) -> String {
    fired.iter().map(cell).collect::<Vec<_>>().join(" | ")
}

#[test]
fn the_table_says_which_detection_fires_on_which_capture() {
    let written = fs::read_to_string(list()).expect("the list can be read");
    let (before, rest) = written.split_once(BEGIN).expect("the table has a beginning");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let due = [before, BEGIN, &table(), END, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(list(), &due).expect("the list can be written");
        return;
    }
    assert!(
        written == due,
        "the table in docs/detections/README.md is out of date: UPDATE_DOCS=1 cargo test rewrites it"
    );
}
