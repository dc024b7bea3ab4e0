//! Every class of the catalogue, in the place of the one that a sample capture activates.

use std::fs;

use dcom_parsers::guid::Clsid;
use dcom_sensor::catalog::Catalog;

use crate::program::{self, Scratch};
use crate::records::Records;

const MMC20: &str = "49b2791a-b1ae-4c90-9b8e-e860ba07f889";

/// [MS-DTYP] 2.3.4.2 GUID--Packet Representation, out of the text form: the first three fields are little-endian.
fn on_the_wire(guid: &str) -> Vec<u8> {
    let digits: String = guid.chars().filter(|digit| *digit != '-').collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    let places = [6, 4, 2, 0, 10, 8, 14, 12].into_iter().chain((16..32).step_by(2));
    places.map(byte).collect()
}

/// A sample that is not signed, with this class in the place of its own.
fn with_class(sample: &str, clsid: Clsid, scratch: &Scratch) -> Records {
    let mut bytes = fs::read(program::pcap(sample)).expect("a sample can be read");
    let (old, new) = (on_the_wire(MMC20), on_the_wire(&clsid.to_string()));
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(&old))
        .collect();
    assert_eq!(places.len(), 1, "{sample} names its class once");
    bytes[places[0]..places[0] + new.len()].copy_from_slice(&new);
    Records::of(&scratch.write("altered.pcap", bytes))
}

/// Class, severity and outcome in the alerts of one signature.
fn alerts(records: &Records, signature: u64) -> Vec<(String, String, String)> {
    records
        .of_type("alert")
        .filter(|alert| alert["alert"]["signature_id"] == signature)
        .map(|alert| {
            let text = |place: &str| {
                let value = alert.pointer(place).and_then(|value| value.as_str());
                value.unwrap_or_default().to_owned()
            };
            (
                text("/dcom/class"),
                text("/alert/metadata/severity/0"),
                text("/dcom/outcome"),
            )
        })
        .collect()
}

#[test]
fn each_listed_class_is_alerted_with_its_severity_and_a_benign_one_never() {
    let (catalog, scratch) = (Catalog::built_in(), Scratch::new());
    let (mut listed, mut benign) = (0, 0);
    for class in catalog.iter() {
        let records = with_class("mmc20-class-object.pcap", class.clsid, &scratch);
        let due = if class.benign.is_some() {
            benign += 1;
            Vec::new()
        } else {
            listed += 1;
            vec![(class.name.clone(), class.severity.to_string(), "succeeded".to_owned())]
        };
        assert_eq!(alerts(&records, 1_021_301), due, "{}: found, then due", class.name);
        assert_eq!(alerts(&records, 1_021_302), [], "{}", class.name);
    }
    assert!(listed > 50 && benign > 50, "{listed} listed, {benign} benign");
}

#[test]
fn an_attempt_on_a_listed_class_is_worth_a_step_less_and_medium_at_most() {
    let (catalog, scratch) = (Catalog::built_in(), Scratch::new());
    for class in catalog.iter().filter(|class| class.benign.is_none()) {
        let records = with_class("mmc20-class-not-registered.pcap", class.clsid, &scratch);
        let severity = match class.severity.to_string().as_str() {
            "critical" | "high" => "medium",
            "medium" => "low",
            _ => "informational",
        };
        let due = vec![(class.name.clone(), severity.to_owned(), "failed".to_owned())];
        assert_eq!(alerts(&records, 1_021_302), due, "{}: found, then due", class.name);
        assert_eq!(alerts(&records, 1_021_301), [], "{}", class.name);
    }
}
