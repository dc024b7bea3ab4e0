//! Which tool each capture's client is taken for, and docs/TOOLS.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::program;
use crate::records::{Records, elements, text};

const EXPECTED: &str = include_str!("captures.txt");

/// What is expected, by capture.
fn expected() -> BTreeMap<&'static str, &'static str> {
    let lines = EXPECTED.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(": ").expect("a capture and its tools"))
        .collect()
}

/// The captures there are, by the name that the table gives them.
fn captures() -> BTreeMap<String, PathBuf> {
    let mut all = BTreeMap::new();
    for name in program::all_pcaps() {
        let (stem, _) = name.split_once('.').expect("a file name has an extension");
        all.insert(format!("pcaps/{stem}"), program::pcap(&name));
    }
    for path in program::beside("DCOM_RIG", "shared/rig/out").iter().flat_map(files) {
        if path.extension().is_some_and(|end| end == "pcap") {
            all.insert(format!("rig/out/{}", stem(&path)), path);
        }
    }
    for folder in program::beside("DCOM_CORPUS", "shared/corpus").iter().flat_map(files) {
        let capture = ["cap", "pcapng"].map(|end| folder.join(format!("capture.{end}")));
        if let Some(capture) = capture.into_iter().find(|path| path.is_file()) {
            all.insert(format!("corpus/{}", stem(&folder)), capture);
        }
    }
    all
}

fn files(folder: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a name is text")
        .to_owned()
}

#[test]
fn each_capture_names_its_tools_and_no_others() {
    let expected = expected();
    let captures = captures();
    for (name, capture) in &captures {
        let records = Records::with_all_calls(capture);
        let mut names = BTreeSet::new();
        for tool in records.of_type("dcom").map(|record| &record["dcom"]["tool"]) {
            if tool.is_object() {
                names.insert(format!("{} ({})", text(&tool["name"]), text(&tool["confidence"])));
                // One thing alone names no tool, and each is said with where it was seen.
                let because = elements(&tool["because"]);
                assert!(because.len() >= 2, "{name}: {tool}");
                assert!(
                    because.iter().all(|why| text(why).contains("(frame ")),
                    "{name}: {tool}"
                );
            }
        }
        let names: Vec<_> = names.into_iter().collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        assert_eq!(Some(&names.as_str()), expected.get(name.as_str()), "{name}");
    }
    for folder in ["pcaps/", "rig/out/", "corpus/"] {
        let there = |name: &str| name.starts_with(folder) && captures.keys().any(|known| known.starts_with(folder));
        for name in expected.keys().filter(|name| there(name)) {
            assert!(captures.contains_key(*name), "{name} is listed and not there");
        }
    }
}

#[test]
fn an_alert_names_the_tool_and_so_does_a_sealed_activation() {
    let signed = Records::of(&program::pcap("mmc20-signed.pcap"));
    let alert = signed.of_type("alert").next().expect("an alert");
    assert_eq!(alert["dcom"]["tool"]["name"], "impacket family");
    let sealed = Records::of(&program::pcap("mmc20-sealed.pcap"));
    let activation = sealed.dcom("activation");
    assert_eq!(activation[0]["dcom"]["tool"]["confidence"], "high");
    assert_eq!(activation[0]["dcom"].get("clsid"), None);
}

#[test]
fn tools_md_is_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TOOLS.md");
    let said = dcom_sensor::catalog::tools_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &said).expect("docs/TOOLS.md can be written");
    }
    let written = fs::read_to_string(&path).expect("docs/TOOLS.md can be read");
    assert!(
        written == said,
        "docs/TOOLS.md is out of date: UPDATE_DOCS=1 cargo test rewrites it"
    );
}
