//! A TOML file that a user wrote, read with every problem it has: each with its line, and with what to do about it.
//!
//! Serde stops at the first error. Here what has an error is told, left out, and the rest is read again, so that one
//! look at the messages is enough to mend the file.

mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use value::{Fault, Lacking, Node};

/// Problems told of one file: who has more mends these first.
const MAX_PROBLEMS: usize = 100;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Good to know.
    Note,
    /// Probably a mistake; the file can be used.
    Warning,
    /// The file cannot be used.
    Error,
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Can the file be used all the same?
    pub gravity: Gravity,
    /// The line, from 1, where the cause has one.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What was found in a file, in the order of its lines. Prints as `FILE:LINE: cause`, one a line, hints below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, as the caller named it.
    pub path: String,
    /// What was found.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Must the file be mended before it can be used?
    pub fn are_grave(&self) -> bool {
        self.list.iter().any(|problem| problem.gravity == Gravity::Error)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match problem.line {
                Some(line) => write!(f, "{}:{line}: ", self.path)?,
                None => write!(f, "{}: ", self.path)?,
            }
            match problem.gravity {
                Gravity::Note => write!(f, "note: ")?,
                Gravity::Warning => write!(f, "warning: ")?,
                Gravity::Error => {}
            }
            write!(f, "{}", problem.cause)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize);

/// A file's text and what is wrong with it.
pub(crate) struct Document<'t> {
    path: String,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    /// Is the text no TOML? Then what seems to be missing may be there.
    broken: bool,
    problems: Vec<(Place, Problem)>,
}

impl<'t> Document<'t> {
    /// Takes the text apart. `path` only tells the user which file a problem is in.
    pub(crate) fn parse(path: &str, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            path: path.to_owned(),
            text,
            root,
            broken: !errors.is_empty(),
            problems: Vec::new(),
        };
        for error in errors {
            let place = Place(error.span().map_or(0, |span| span.start));
            document.problem(Gravity::Error, place, error.message().to_owned(), None);
        }
        document
    }

    /// Tells a problem that the reader of the file has found.
    pub(crate) fn problem(&mut self, gravity: Gravity, place: Place, cause: String, hint: Option<String>) {
        let problem = Problem {
            gravity,
            line: Some(self.line(place)),
            cause,
            hint,
        };
        self.problems.push((place, problem));
    }

    /// The line of a place, from 1.
    pub(crate) fn line(&self, place: Place) -> usize {
        self.text.bytes().take(place.0).filter(|&byte| byte == b'\n').count() + 1
    }

    /// Keys at the top of the file that nobody knows. `belongs` says where one stands that is known elsewhere.
    pub(crate) fn only(&mut self, known: &[&str], belongs: impl Fn(&str) -> Option<String>) {
        let unknown: Vec<(Place, String)> = self
            .root
            .get_ref()
            .iter()
            .filter(|(key, _)| !known.contains(&key.get_ref().as_ref()))
            .map(|(key, _)| (Place(key.span().start), key.get_ref().to_string()))
            .collect();
        for (place, key) in unknown {
            let fault = Fault::unknown("section", &key, known);
            self.problem(Gravity::Error, place, fault.cause, belongs(&key).or(fault.hint));
        }
    }

    /// Reads a section, `[name]`. None when the file has none, or what it has is no table.
    pub(crate) fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.root.get_ref().get(name)?.clone();
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            let place = Place(value.span().start);
            let hint = Some(format!("write [{name}] above its keys, once"));
            self.problem(Gravity::Error, place, format!("`{name}` is not a table"), hint);
            return None;
        }
        self.read(&value)
    }

    /// The number that a key of a section has, with where it stands, if it has one.
    pub(crate) fn number_in_section(&self, name: &str, key: &str) -> Option<(Place, i64)> {
        let value = self.root.get_ref().get(name)?.get_ref().get(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
        Some((Place(value.span().start), number))
    }

    /// Reads the sections `[[name]]`, with where each stands.
    pub(crate) fn sections<T: DeserializeOwned>(&mut self, name: &str) -> Vec<Entry<'t, T>> {
        let Some(value) = self.root.get_ref().get(name).cloned() else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let place = Place(value.span().start);
            let hint = Some(format!("write [[{name}]] above each"));
            self.problem(Gravity::Error, place, format!("`{name}` is not a list of tables"), hint);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for item in items {
            if let Some(read) = self.read(item) {
                entries.push(Entry {
                    read,
                    item: item.clone(),
                });
            }
        }
        entries
    }

    /// What was found, in the order of the file, if anything was.
    pub(crate) fn finish(self) -> Problems {
        let mut problems = self.problems;
        problems.sort_by_key(|(place, _)| *place);
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        let mut list: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
        if more > 0 {
            list.push(Problem {
                gravity: Gravity::Error,
                line: None,
                cause: format!("… and {more} more"),
                hint: None,
            });
        }
        Problems { path: self.path, list }
    }

    /// Reads a value; what is wrong in it is told, left out, and the rest read again.
    fn read<T: DeserializeOwned>(&mut self, value: &Spanned<DeValue<'t>>) -> Option<T> {
        let mut without = BTreeSet::new();
        let mut lacking = Lacking::default();
        let mut faulty = false;
        loop {
            let node = Node {
                value,
                without: &without,
                lacking: &lacking,
            };
            let fault = match T::deserialize(node) {
                Ok(read) => return (!faulty).then_some(read),
                Err(fault) => fault,
            };
            faulty = true;
            let at = fault.at.clone().unwrap_or_else(|| value.span());
            let made_up = self.broken && fault.missing.is_some();
            if !made_up && !fault.follows {
                self.problem(Gravity::Error, Place(at.start), fault.cause, fault.hint);
            }
            let progress = match fault.missing {
                Some(key) => lacking.insert(at.start, key),
                None => at != value.span() && without.insert(at.start),
            };
            if !progress || self.problems.len() > MAX_PROBLEMS {
                return None;
            }
        }
    }
}

/// One of several sections of a name.
pub(crate) struct Entry<'t, T> {
    /// What it says.
    pub(crate) read: T,
    item: Spanned<DeValue<'t>>,
}

impl<T> Entry<'_, T> {
    /// Where the section begins.
    pub(crate) fn place(&self) -> Place {
        Place(self.item.span().start)
    }

    /// Where one of its keys has its value; where the section begins, if it has no such key.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        match self.item.get_ref() {
            DeValue::Table(table) => table
                .get(key)
                .map_or_else(|| self.place(), |value| Place(value.span().start)),
            _ => self.place(),
        }
    }

    /// Where an element of a list in it stands.
    pub(crate) fn place_in(&self, key: &str, index: usize) -> Place {
        let element = match self.item.get_ref() {
            DeValue::Table(table) => table.get(key).and_then(|value| value.get_ref().get(index)),
            _ => None,
        };
        element.map_or_else(|| self.place_of(key), |element| Place(element.span().start))
    }
}

/// The one of `known` that was probably meant.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// Less alike than this is another word.
    const ALIKE: f64 = 0.8;
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Where a fault stands.
type Span = Range<usize>;
