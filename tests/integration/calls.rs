//! One recorded call against what a truth knows of it, fact by fact.

use std::fmt::Display;

use serde_json::{Value, json};

/// Interfaces whose name in a truth is another one than in the records: the truth's first.
const ALIASES: [(&str, &str); 1] = [
    // [MS-DCOM] 3.1.2.5.1 IObjectExporter Methods; IOXIDResolver is the name in Windows' headers.
    ("IOXIDResolver", "IObjectExporter"),
];

/// Keys that tell something out of a stub: none of them may stand in the record of a sealed call.
const OUT_OF_STUBS: [&str; 9] = [
    "arguments",
    "method",
    "dispid",
    "result",
    "iids",
    "ipids",
    "oxid",
    "hresult",
    "causality",
];

/// The name that records use for an interface of a truth.
pub(crate) fn interface_name(truth: &Value) -> Value {
    let alias = ALIASES.iter().find(|(theirs, _)| truth == *theirs);
    alias.map_or_else(|| truth.clone(), |(_, ours)| json!(ours))
}

/// Facts of which a record lacks some.
#[derive(Debug)]
pub(crate) struct Facts<'r> {
    record: &'r Value,
    place: String,
    wrong: Vec<String>,
    pub(crate) checked: usize,
}

impl<'r> Facts<'r> {
    pub(crate) fn of(record: &'r Value, place: impl Display) -> Self {
        let place = place.to_string();
        let (wrong, checked) = (Vec::new(), 0);
        Self {
            record,
            place,
            wrong,
            checked,
        }
    }

    /// The record has this value there; an expected null says that nothing stands there.
    pub(crate) fn is(&mut self, pointer: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let found = self.record.pointer(pointer).unwrap_or(&Value::Null);
        self.checked += 1;
        if *found != expected {
            let complaint = format!("{}: {pointer}: found {found}, expected {expected}", self.place);
            self.wrong.push(complaint);
        }
    }

    /// A list with these elements; no list where there are none.
    pub(crate) fn list<T: Into<Value>>(&mut self, pointer: &str, expected: impl IntoIterator<Item = T>) {
        let expected: Vec<Value> = expected.into_iter().map(Into::into).collect();
        self.is(
            pointer,
            if expected.is_empty() {
                Value::Null
            } else {
                json!(expected)
            },
        );
    }

    /// The identifiers in `iids`.
    pub(crate) fn iids<T: Into<Value>>(&mut self, expected: impl IntoIterator<Item = T>) {
        let found = self.record["dcom"]["iids"].as_array().map_or(&[][..], Vec::as_slice);
        let found: Vec<&Value> = found.iter().map(|iid| &iid["uuid"]).collect();
        let expected: Vec<Value> = expected.into_iter().map(Into::into).collect();
        self.checked += 1;
        if found != expected.iter().collect::<Vec<_>>() {
            let complaint = format!("{}: iids: found {found:?}, expected {expected:?}", self.place);
            self.wrong.push(complaint);
        }
    }

    /// The call was sealed: its stub's length is told, and nothing out of it; and the class of its object, where that was told
    /// before.
    pub(crate) fn sealed(&mut self, length: &Value) {
        let is_known = self.record["dcom"]["clsid"].is_string();
        self.is("/dcom/evidence", if is_known { "class" } else { "header" });
        self.is("/dcom/sealed_stub_length", length.clone());
        for key in OUT_OF_STUBS {
            self.is(&format!("/dcom/{key}"), Value::Null);
        }
    }

    /// What was wrong, if anything.
    pub(crate) fn into_wrong(self) -> Vec<String> {
        self.wrong
    }
}

/// Fails with all that is wrong.
pub(crate) fn none_is_wrong(wrong: &[String], checked: usize) {
    assert!(
        wrong.is_empty(),
        "{} of {checked} facts:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
