//! eve.json, read back.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use crate::program;

/// The records of one run, in their order.
#[derive(Debug)]
pub(crate) struct Records(Vec<Value>);

impl Records {
    /// What the program prints for a capture that it can read.
    pub(crate) fn of(capture: &Path) -> Self {
        Self::with(&[], capture)
    }

    /// The same, with every object call recorded, bookkeeping included.
    pub(crate) fn with_all_calls(capture: &Path) -> Self {
        Self::with(&["--calls", "all"], capture)
    }

    fn with(options: &[&str], capture: &Path) -> Self {
        let arguments = ["--json", "--quiet"].iter().chain(options).map(OsStr::new);
        let run = program::replay(arguments.chain([capture.as_os_str()]));
        assert_eq!(run.code, Some(0), "{}: {}", capture.display(), run.stderr);
        Self::parse(&run.stdout)
    }

    /// Each line is a record; anything else is an error.
    pub(crate) fn parse(lines: &str) -> Self {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self(lines.lines().map(parse).collect())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    /// Those of one `event_type`.
    pub(crate) fn of_type(&self, event_type: &str) -> impl Iterator<Item = &Value> {
        self.all().filter(move |record| record["event_type"] == event_type)
    }

    /// `dcom` records of one kind, in the order of their requests.
    pub(crate) fn dcom(&self, kind: &str) -> Vec<&Value> {
        let mut records: Vec<_> = self
            .of_type("dcom")
            .filter(|record| record["dcom"]["kind"] == kind)
            .collect();
        records.sort_by_key(|record| record["pcap_cnt"].as_u64());
        records
    }

    /// RPC exchanges that began with a request, in the order of their requests.
    pub(crate) fn requests(&self) -> Vec<&Value> {
        let mut records: Vec<_> = self
            .of_type("dcerpc")
            .filter(|record| record["dcerpc"]["request"] == "REQUEST")
            .collect();
        records.sort_by_key(|record| record["pcap_cnt"].as_u64());
        records
    }

    /// A counter by its dotted name.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stats = self.of_type("stats").last().expect("a run ends with its stats");
        // The sensor's own stand beside Suricata's.
        let place = if name.starts_with("dcom.") {
            stats
        } else {
            &stats["stats"]
        };
        let counter = name.split('.').fold(place, |object, key| &object[key]);
        counter.as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Numbers of the alerts' signatures.
    pub(crate) fn signatures(&self) -> Vec<u64> {
        let id = |record: &Value| {
            record["alert"]["signature_id"]
                .as_u64()
                .expect("a signature has a number")
        };
        self.of_type("alert").map(id).collect()
    }
}

/// Address and port of the client: `192.0.2.20:55766`.
pub(crate) fn client(record: &Value) -> String {
    end(record, "src")
}

/// Address and port of the server.
pub(crate) fn server(record: &Value) -> String {
    end(record, "dest")
}

fn end(record: &Value, side: &str) -> String {
    let address = text(&record[format!("{side}_ip")]);
    let port = &record[format!("{side}_port")];
    format!("{address}:{port}")
}

/// A text that must be there.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The elements of a list; a list that is not there has none.
pub(crate) fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
