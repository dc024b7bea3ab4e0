//! Every page under docs/detections is its own test: what it says fires does, and what it says is silent is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// How bad the alerts are.
    severity: String,
    /// The class they name, where there is one.
    class: Option<String>,
    /// A capture that looks alike and does not.
    silent: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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

fn examples(page: &Path, text: &str) -> Vec<Example> {
    text.split("```toml capture\n")
        .skip(1)
        .map(|block| {
            let (block, _) = block.split_once("```").expect("a block ends");
            toml::from_str(block).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
        })
        .collect()
}

/// The alerts of a detection in a capture.
fn alerts(capture: &Path, signature_id: u64, wants_dcom: bool) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_dcom-sensor"))
        .args(["replay", "--json", "--quiet"])
        .arg(root().join(capture))
        .output()
        .expect("the sensor starts");
    assert!(output.status.success(), "{}: {output:?}", capture.display());
    let lines = String::from_utf8(output.stdout).expect("eve.json is UTF-8");
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of eve.json is JSON"))
        .collect();
    assert!(
        !wants_dcom || events.iter().any(|event| event["event_type"] == "dcom"),
        "{}: a capture without DCOM looks like nothing and proves nothing",
        capture.display()
    );
    events
        .into_iter()
        .filter(|event| event["alert"]["signature_id"] == signature_id)
        .collect()
}

#[test]
fn every_example_does_what_its_page_says() {
    for (page, text) in pages() {
        let examples = examples(&page, &text);
        assert!(!examples.is_empty(), "{}: no example", page.display());
        for example in examples {
            let fired = alerts(&example.fires, example.signature_id, false);
            assert!(!fired.is_empty(), "{example:?}");
            for alert in &fired {
                assert_eq!(
                    alert["alert"]["metadata"]["severity"][0],
                    example.severity.as_str(),
                    "{example:?}"
                );
                assert_eq!(alert["dcom"]["class"].as_str(), example.class.as_deref(), "{example:?}");
            }
            let silent = alerts(&example.silent, example.signature_id, true);
            assert!(silent.is_empty(), "{example:?}: {silent:?}");
        }
    }
}

#[test]
fn the_list_names_every_detection_that_has_a_page() {
    let list = fs::read_to_string(root().join("docs/detections/README.md")).expect("the list can be read");
    let listed: BTreeSet<u64> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let described: BTreeSet<u64> = pages()
        .iter()
        .flat_map(|(page, text)| examples(page, text))
        .map(|example| example.signature_id)
        .collect();
    assert_eq!(listed, described);
}
