//! What Zeek and Suricata write for the same captures.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::CORPUS;
use crate::records::{Records, client, server, text};

/// Where `dce_rpc.log` and Zeek's differ, and who is right.
struct Difference {
    capture: &'static str,
    /// Zeek's row.
    ts: &'static str,
    /// Endpoint and operation in Zeek's row.
    zeek: [&'static str; 2],
}

/// Rows that only Zeek has: a connection that ends on an unanswered call repeats the row before with a new time.
const ONLY_IN_ZEEK: [Difference; 1] = [Difference {
    capture: "excel-registerxll-covenant",
    // The attack's own Invoke, which is not answered before the capture ends.
    ts: "1600455627.378380",
    zeek: ["IDispatch", "GetIDsOfNames"],
}];

/// A row without its uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    ts: String,
    /// `id.orig_h`, `id.orig_p`, `id.resp_h`, `id.resp_p`, `rtt`, `named_pipe`.
    columns: Vec<String>,
    endpoint: String,
    operation: String,
}

fn rows(log: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = log
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [ts, _uid, middle @ .., endpoint, operation] = columns.as_slice() else {
                panic!("too few columns: {line}");
            };
            assert_eq!(middle.len(), 6, "{line}");
            Row {
                ts: ts.clone(),
                columns: middle.to_vec(),
                endpoint: endpoint.clone(),
                operation: operation.clone(),
            }
        })
        .collect();
    rows.sort();
    rows
}

/// A header line of a Zeek log.
fn header<'l>(log: &'l str, name: &str) -> &'l str {
    log.lines()
        .find(|line| line.starts_with(name))
        .expect("a Zeek log has its header")
}

impl Row {
    /// Is it a row that Zeek should not have written?
    fn is_zeeks_fault(&self, capture: &str) -> bool {
        ONLY_IN_ZEEK.iter().any(|difference| {
            (difference.capture, difference.ts) == (capture, self.ts.as_str())
                && difference.zeek == [self.endpoint.as_str(), self.operation.as_str()]
        })
    }

    /// Zeek's row, with our names put where Zeek knows none. Ours never lacks a name that Zeek has.
    fn with_names_of(mut self, ours: &Self) -> Self {
        for (zeek, ours) in [
            (&mut self.endpoint, &ours.endpoint),
            (&mut self.operation, &ours.operation),
        ] {
            if zeek.starts_with("unknown-") {
                zeek.clone_from(ours);
            }
        }
        self
    }
}

#[test]
fn dce_rpc_log_has_zeeks_rows() {
    let mut compared = 0;
    for real in CORPUS.iter() {
        let Some(theirs) = real.beside("zeek-8.2.dce_rpc.log") else {
            continue;
        };
        let log = real.our_log("dce_rpc.log");
        for name in [
            "#separator",
            "#set_separator",
            "#empty_field",
            "#unset_field",
            "#path",
            "#fields",
            "#types",
        ] {
            assert_eq!(header(&log, name), header(&theirs, name), "{}", real.name);
        }
        let ours = rows(&log);
        let (faults, theirs): (Vec<_>, Vec<_>) = rows(&theirs)
            .into_iter()
            .partition(|row| row.is_zeeks_fault(&real.name));
        let known = ONLY_IN_ZEEK
            .iter()
            .filter(|difference| difference.capture == real.name)
            .count();
        assert_eq!(faults.len(), known, "{}: a difference that is none any more", real.name);
        let stamps = |rows: &[Row]| rows.iter().map(|row| row.ts.clone()).collect::<Vec<_>>();
        assert_eq!(stamps(&ours), stamps(&theirs), "{}: found, then Zeek's", real.name);
        let theirs: Vec<Row> = theirs
            .into_iter()
            .zip(&ours)
            .map(|(theirs, ours)| theirs.with_names_of(ours))
            .collect();
        assert_eq!(ours, theirs, "{}: found, then Zeek's", real.name);
        compared += ours.len();
    }
    assert!(
        compared > 80 || CORPUS.is_empty(),
        "{compared} rows are too few to be all"
    );
}

#[test]
fn ntlm_log_has_zeeks_rows() {
    /// All but the uid, and whether it succeeded: Zeek goes by what SPNEGO says, and here an answered call says so too.
    fn logins(log: &str) -> Vec<Vec<&str>> {
        let rows = log.lines().filter(|line| !line.starts_with('#'));
        let mut logins: Vec<Vec<&str>> = rows
            .map(|row| {
                let columns: Vec<_> = row.split('\t').collect();
                assert_eq!(columns.len(), 13, "{row}");
                [&columns[..1], &columns[2..12]].concat()
            })
            .collect();
        logins.sort_unstable();
        logins
    }
    for real in CORPUS.iter() {
        let Some(theirs) = real.beside("zeek-8.2.ntlm.log") else {
            continue;
        };
        let ours = real.our_log("ntlm.log");
        for name in ["#path", "#fields", "#types"] {
            assert_eq!(header(&ours, name), header(&theirs, name), "{}", real.name);
        }
        assert!(logins(&theirs).len() > 1);
        assert_eq!(logins(&ours), logins(&theirs), "{}: found, then Zeek's", real.name);
    }
}

#[test]
fn an_unknown_interface_or_operation_has_a_name_or_zeeks_form() {
    for real in CORPUS.iter() {
        for row in rows(&real.our_log("dce_rpc.log")) {
            if let Some(uuid) = row.endpoint.strip_prefix("unknown-") {
                assert_eq!((uuid.len(), uuid.to_lowercase().as_str()), (36, uuid), "{}", real.name);
            }
            if let Some(opnum) = row.operation.strip_prefix("unknown-") {
                assert!(opnum.parse::<u16>().is_ok(), "{}: {opnum}", real.name);
            }
        }
    }
}

/// Community ids by connection, its ends sorted: Suricata turns around what began in mid-stream.
fn community_ids<'r>(records: impl Iterator<Item = &'r Value>) -> BTreeMap<BTreeSet<String>, BTreeSet<String>> {
    let mut ids = BTreeMap::<_, BTreeSet<_>>::new();
    for record in records.filter(|record| record["proto"] == "TCP") {
        let ends = BTreeSet::from([client(record), server(record)]);
        ids.entry(ends)
            .or_default()
            .insert(text(&record["community_id"]).to_owned());
    }
    ids
}

#[test]
fn community_ids_are_suricatas() {
    let mut compared = 0;
    for real in CORPUS.iter() {
        let Some(theirs) = real.beside("suricata-9.eve.json") else {
            continue;
        };
        let theirs = Records::parse(&theirs);
        let theirs = community_ids(theirs.all());
        let ours = real.records.all().filter(|record| record["event_type"] != "stats");
        for (ends, ids) in community_ids(ours) {
            let expected = theirs
                .get(&ends)
                .unwrap_or_else(|| panic!("{}: Suricata lacks {ends:?}", real.name));
            assert_eq!(&ids, expected, "{}: {ends:?}", real.name);
            compared += 1;
        }
    }
    assert!(
        compared > 10 || CORPUS.is_empty(),
        "{compared} connections are too few to be all"
    );
}
