//! What is concluded from sealed calls, and how often that is right: the page of the detection says so.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{PKT_PRIVACY, RIG, Scenario};
use crate::program;
use crate::records::{Records, elements, text};

const SEALED_ACTIVATION: u64 = 1_021_307;
const HIGH: u64 = 2;

fn alerts(records: &Records) -> Vec<&Value> {
    let alerts = records.of_type("alert");
    alerts
        .filter(|alert| alert["alert"]["signature_id"] == SEALED_ACTIVATION)
        .collect()
}

/// The class that was activated sealed, and was made to run something through `IDispatch`.
fn due(scenario: &Scenario) -> Option<&str> {
    let truth = &scenario.truth;
    let runs = !elements(&truth["commands"]).is_empty();
    let invoked = scenario.calls().iter().any(|call| call["method"] == "Invoke");
    (runs && invoked).then(|| text(&sealed(scenario)["class"]))
}

fn sealed(scenario: &Scenario) -> &Value {
    let activations = elements(&scenario.truth["activations"]).iter();
    let mut sealed = activations.filter(|activation| activation["auth_level"] == PKT_PRIVACY);
    sealed.next().unwrap_or(&Value::Null)
}

/// How an alert puts it: the class, or those that it may be.
fn concluded(alert: &Value) -> String {
    if let Some(class) = alert["dcom"]["class"].as_str() {
        return class.to_owned();
    }
    let classes = elements(&alert["alert"]["metadata"]["classes"]).iter().map(text);
    classes.collect::<Vec<_>>().join(" or ")
}

#[test]
fn the_page_says_what_is_concluded_from_each_sealed_activation() {
    if RIG.is_empty() {
        return;
    }
    let mut table = String::from(
        "| capture | sealed activation of | made to run something | concluded | severity | confidence |\n",
    );
    table.push_str("|---|---|---|---|---|---|\n");
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    for scenario in RIG.iter().filter(|scenario| !sealed(scenario).is_null()) {
        let (due, alerts) = (due(scenario), alerts(&scenario.records));
        let class = sealed(scenario)["class"]
            .as_str()
            .unwrap_or("a class that nobody knows");
        let runs = if due.is_some() { "yes" } else { "no" };
        let row = match alerts.as_slice() {
            [] => "nothing | |".to_owned(),
            [alert] => {
                let facts = &alert["alert"]["metadata"];
                let (severity, confidence) = (text(&facts["severity"][0]), text(&facts["confidence"][0]));
                assert_eq!(alert["dcom"]["evidence"], "inferred", "{}", scenario.name);
                assert_eq!(alert["dcom"]["clsid"], Value::Null, "{}", scenario.name);
                format!("{} | {severity} | {confidence}", concluded(alert))
            }
            several => panic!("{}: {} alerts", scenario.name, several.len()),
        };
        all += 1;
        let fits = match (due, alerts.first()) {
            (None, None) => true,
            (Some(class), Some(alert)) => concluded(alert).split(" or ").any(|it| it == class),
            _ => false,
        };
        if fits {
            right += 1;
        } else {
            wrong.push(&scenario.name);
        }
        writeln!(table, "| {} | {class} | {runs} | {row} |", scenario.name).expect("text can be written");
    }
    let missed = wrong.len();
    writeln!(
        table,
        "\nOf these {all}, {right} are concluded rightly; missed or wrong: {missed}."
    )
    .expect("text");
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(all > 15, "{all} are too few to be all");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/detections/sealed-activation.md");
    let written = fs::read_to_string(&page).expect("the page can be read");
    let begin = "<!-- measured: UPDATE_DOCS=1 cargo test sealed rewrites it -->\n";
    let end = "<!-- end of measured -->\n";
    let (before, rest) = written.split_once(begin).expect("the table has a beginning");
    let (_, after) = rest.split_once(end).expect("the table has an end");
    let due = [before, begin, &table, end, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &due).expect("the page can be written");
    } else {
        assert!(
            written == due,
            "out of date: UPDATE_DOCS=1 cargo test sealed rewrites it\n{table}"
        );
    }
}

#[test]
fn what_is_no_lateral_movement_through_an_object_is_not_taken_for_one() {
    let mut checked = 0;
    for (variable, place) in [
        ("DCOM_CORPUS", "shared/corpus"),
        ("DCOM_KERBEROS", "shared/rig/kerberos"),
    ] {
        let Some(folder) = program::beside(variable, place) else {
            continue;
        };
        for path in captures(&folder) {
            assert!(alerts(&Records::of(&path)).is_empty(), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 10 || RIG.is_empty(), "{checked} are too few to be all");
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if ["pcap", "cap", "pcapng"]
            .iter()
            .any(|end| path.extension().is_some_and(|it| it == *end))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn sealed_wmi_is_told_low_and_no_other_sealed_call_is() {
    for scenario in RIG.iter() {
        let told: Vec<_> = scenario
            .records
            .of_type("alert")
            .filter(|alert| alert["alert"]["signature_id"] == 1_021_350 && alert["dcom"]["evidence"] == "inferred")
            .map(|alert| &alert["alert"]["severity"])
            .collect();
        let creates = scenario.calls().iter().any(|call| {
            call["method"] == "ExecMethod" && call["args"]["method"] == "Create" && call["auth_level"] == PKT_PRIVACY
        });
        assert_eq!(told.len(), usize::from(creates), "{}", scenario.name);
        assert!(
            told.iter().all(|severity| severity.as_u64() > Some(HIGH)),
            "{}",
            scenario.name
        );
    }
}
