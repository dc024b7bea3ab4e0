//! The checked-in list of differences.

use std::collections::BTreeSet;
use std::fmt;

use glob::Pattern;
use serde::Deserialize;

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    /// The program.
    Ours,
    Tshark,
}

/// A fact that only one of the two tells.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    pub(super) capture: String,
    pub(super) frame: u64,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) side: Side,
    pub(super) operation: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            capture,
            frame,
            kind,
            value,
            side,
            operation,
        } = self;
        write!(
            f,
            "{capture} frame {frame} ({operation}): {kind} only in {side:?}: {value}"
        )
    }
}

/// Patterns as in a shell: `*` stands for anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    captures: Vec<String>,
    kinds: Vec<String>,
    /// `Interface::Operation`; unset is any.
    #[serde(default)]
    operations: Vec<String>,
    /// Unset is any.
    values: Option<Vec<String>>,
    only_in: Side,
    /// Whose reading is the right one.
    right: Side,
    /// And by which section of which specification.
    why: String,
}

fn matches(patterns: &[String], text: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| Pattern::new(pattern).expect("a pattern").matches(text))
}

impl Entry {
    fn covers(&self, difference: &Difference) -> bool {
        self.only_in == difference.side
            && matches(&self.kinds, difference.kind)
            && (self.operations.is_empty() || matches(&self.operations, &difference.operation))
            && self
                .values
                .as_ref()
                .is_none_or(|values| matches(values, &difference.value))
            && matches(&self.captures, &difference.capture)
    }
}

/// `differences.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// The version it was made with, without its last number.
    tshark: String,
    difference: Vec<Entry>,
}

impl List {
    pub(super) fn read() -> Self {
        let list: Self = toml::from_str(include_str!("differences.toml")).expect("the list is as declared");
        for entry in &list.difference {
            assert!(entry.why.len() > 20, "why? {entry:?}");
        }
        list
    }

    /// The entries that cover a difference.
    pub(super) fn covering<'d>(&'d self, difference: &'d Difference) -> impl Iterator<Item = usize> + 'd {
        let entries = self.difference.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.covers(difference))
            .map(|(index, _)| index)
    }

    pub(super) fn is_of(&self, version: &str) -> bool {
        version.rsplit_once('.').is_some_and(|(start, _)| start == self.tshark)
    }

    /// The entries but for these.
    pub(super) fn except(&self, used: &BTreeSet<usize>) -> Vec<String> {
        let entries = self.difference.iter().enumerate();
        entries
            .filter(|(index, _)| !used.contains(index))
            .map(|(_, entry)| format!("{:?} is right in {:?}: {}", entry.right, entry.captures, entry.why))
            .collect()
    }
}
