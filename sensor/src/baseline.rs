//! Who activates what where in ordinary traffic, kept on disk between runs.
//!
//! The file is text: a head that says how many entries follow, then one a line: source, CLSID, target, first and last
//! time, count, separated by tabs. It is replaced as a whole, by renaming, so that whoever interrupts a run finds the
//! old one or the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dcom_parsers::guid::{Clsid, Guid};
use thiserror::Error;

use crate::event::dcom::Kind;
use crate::event::{Dcom, Meta};
use crate::time::Timestamp;

/// The first line's beginning; a number of entries follows.
const HEAD: &str = "# dcom-sensor baseline 1, activations: ";

/// A source, a class, a target.
type Triple = (IpAddr, Clsid, IpAddr);

/// How often a triple was seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    first: Timestamp,
    last: Timestamp,
    count: u64,
}

/// Why a baseline cannot be used, or not be kept.
#[derive(Debug, Error)]
pub enum BaselineError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file holds something else. It is left as it is.
    #[error("{}:{line}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
}

impl BaselineError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } => None,
            Self::Damaged { .. } => Some("the file was left as it is; move it away to learn anew"),
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Triples that were new.
    pub new: u64,
    /// Triples that were forgotten because there were too many.
    pub forgotten: u64,
}

/// The activations that are known.
#[derive(Debug)]
pub struct Baseline {
    known: BTreeMap<Triple, Use>,
    /// The same by when they were seen last, so that the oldest can be forgotten.
    by_last: BTreeSet<(Timestamp, Triple)>,
    learning: bool,
    limit: usize,
    counters: Counters,
}

impl Baseline {
    /// Knows nothing and learns: what is met is ordinary. Holds so many triples.
    pub fn learning(limit: usize) -> Self {
        Self {
            known: BTreeMap::new(),
            by_last: BTreeSet::new(),
            learning: true,
            limit: limit.max(1),
            counters: Counters::default(),
        }
    }

    /// What the file holds; one that learns when there is no such file.
    pub fn load(path: &Path, limit: usize) -> Result<Self, BaselineError> {
        let io = |error| BaselineError::Io {
            path: path.to_owned(),
            error,
        };
        let damaged = |line, cause| BaselineError::Damaged {
            path: path.to_owned(),
            line,
            cause,
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, limit).map_err(|(line, cause)| damaged(line, cause)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // That it cannot be kept had better be known before hours of traffic are read.
                fs::metadata(folder(path)).map_err(io)?;
                Ok(Self::learning(limit))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(damaged(1, "this is no baseline: it is no text".to_owned()))
            }
            Err(error) => Err(io(error)),
        }
    }

    /// Is everything that is met taken for ordinary?
    pub fn is_learning(&self) -> bool {
        self.learning
    }

    /// A class was activated. Was that never seen before? From now on it was. Never while learning.
    pub fn is_new(&mut self, source: IpAddr, clsid: Clsid, target: IpAddr, at: Timestamp) -> bool {
        let triple = (source, clsid, target);
        if let Some(known) = self.known.get_mut(&triple) {
            self.by_last.remove(&(known.last, triple));
            known.first = known.first.min(at);
            known.last = known.last.max(at);
            known.count = known.count.saturating_add(1);
            self.by_last.insert((known.last, triple));
            return false;
        }
        let seen = Use {
            first: at,
            last: at,
            count: 1,
        };
        self.insert(triple, seen);
        self.counters.new += 1;
        !self.learning
    }

    /// Takes a record in. Is it an activation that was never seen before?
    pub fn meet(&mut self, meta: &Meta, dcom: &Dcom) -> bool {
        let (Kind::Activation, Some(clsid), Some(source), Some(target)) =
            (dcom.kind, dcom.clsid, meta.client, meta.server)
        else {
            return false;
        };
        self.is_new(source.address, clsid, target.address, meta.timestamp)
    }

    /// How many triples are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Is nothing known?
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Replaces the file as a whole: at every moment there is the old one or the new one.
    pub fn save(&self, path: &Path) -> Result<(), BaselineError> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let written = self.write_and_rename(&temporary, path);
        if written.is_err() {
            // It is of no use to anyone; if it cannot be removed either, the first error says why.
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|error| BaselineError::Io {
            path: path.to_owned(),
            error,
        })
    }

    fn write_and_rename(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(temporary)?);
        self.write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(temporary, path)?;
        // The new name, too, has to reach the disk.
        File::open(folder(path))?.sync_all()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{HEAD}{}", self.known.len())?;
        for ((source, clsid, target), Use { first, last, count }) in &self.known {
            writeln!(out, "{source}\t{clsid}\t{target}\t{}\t{}\t{count}", first.0, last.0)?;
        }
        Ok(())
    }

    fn insert(&mut self, triple: Triple, seen: Use) {
        let full = self.known.len() >= self.limit;
        if let Some((_, oldest)) = full.then(|| self.by_last.pop_first()).flatten() {
            self.known.remove(&oldest);
            self.counters.forgotten += 1;
        }
        self.known.insert(triple, seen);
        self.by_last.insert((seen.last, triple));
    }

    /// Reads a file's text; on an error, its line and cause.
    fn parse(text: &str, limit: usize) -> Result<Self, (usize, String)> {
        let mut lines = text.lines().zip(1..);
        let promised: usize = lines
            .next()
            .and_then(|(head, _)| head.strip_prefix(HEAD)?.parse().ok())
            .ok_or_else(|| {
                (
                    1,
                    format!("this is no baseline: it does not begin with `{}`", HEAD.trim_end()),
                )
            })?;
        let mut baseline = Self {
            learning: false,
            ..Self::learning(limit)
        };
        let mut read = 0;
        for (line, number) in lines {
            let (triple, seen) = entry(line).map_err(|cause| (number, cause))?;
            if baseline.known.contains_key(&triple) {
                return Err((number, "the entry is there twice".to_owned()));
            }
            baseline.insert(triple, seen);
            read += 1;
        }
        if !text.ends_with('\n') {
            return Err((read + 1, "the line has no end: the file was cut".to_owned()));
        }
        if read != promised {
            let cause =
                format!("{read} entries follow, and the line says {promised}: it has to say how many there are");
            return Err((1, cause));
        }
        Ok(baseline)
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn entry(line: &str) -> Result<(Triple, Use), String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [source, clsid, target, first, last, count] = fields[..] else {
        return Err(format!("{} fields where 6 are expected", fields.len()));
    };
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is no address"));
    let time = |text: &str| text.parse().map(Timestamp).map_err(|_| format!("`{text}` is no time"));
    let clsid = Guid::parse(clsid)
        .map(Clsid)
        .ok_or_else(|| format!("`{clsid}` is no CLSID"))?;
    let triple = (address(source)?, clsid, address(target)?);
    let seen = Use {
        first: time(first)?,
        last: time(last)?,
        count: count.parse().map_err(|_| format!("`{count}` is no count"))?,
    };
    Ok((triple, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn class(number: u32) -> Clsid {
        Clsid(Guid::com(number))
    }

    /// What the file would hold.
    fn text(baseline: &Baseline) -> String {
        let mut out = Vec::new();
        baseline.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_learned_is_known_and_what_is_new_is_told_once() {
        let mut learning = Baseline::learning(10);
        assert!(learning.is_learning());
        assert!(!learning.is_new(address(1), class(1), address(2), Timestamp(5)));
        assert!(!learning.is_new(address(1), class(1), address(2), Timestamp(3)));
        let kept = text(&learning);
        assert_eq!(
            kept,
            format!("{HEAD}1\n10.0.0.1\t00000001-0000-0000-c000-000000000046\t10.0.0.2\t3\t5\t2\n")
        );
        let mut knowing = Baseline::parse(&kept, 10).unwrap();
        assert!(!knowing.is_learning());
        assert!(!knowing.is_new(address(1), class(1), address(2), Timestamp(9)));
        for (source, number, target) in [(3, 1, 2), (1, 2, 2), (1, 1, 3), (2, 1, 1)] {
            assert!(knowing.is_new(address(source), class(number), address(target), Timestamp(9)));
            assert!(!knowing.is_new(address(source), class(number), address(target), Timestamp(9)));
        }
        assert_eq!((knowing.len(), knowing.counters().new), (5, 4));
        assert_eq!(text(&Baseline::parse(&text(&knowing), 10).unwrap()), text(&knowing));
    }

    #[test]
    fn the_longest_unseen_is_forgotten_first_and_counted() {
        let mut baseline = Baseline::learning(2);
        for (number, at) in [(1, 1), (2, 2), (1, 3), (3, 4)] {
            baseline.is_new(address(1), class(number), address(2), Timestamp(at));
        }
        assert_eq!((baseline.len(), baseline.counters().forgotten), (2, 1));
        baseline.learning = false;
        assert!(!baseline.is_new(address(1), class(1), address(2), Timestamp(5)));
        assert!(baseline.is_new(address(1), class(2), address(2), Timestamp(5)));
    }

    #[test]
    fn a_damaged_file_is_told_by_line_and_cause() {
        let entry = "10.0.0.1\t00000001-0000-0000-c000-000000000046\t10.0.0.2\t3\t5\t2\n";
        for (text, line, cause) in [
            (String::new(), 1, "no baseline"),
            ("{}\n".to_owned(), 1, "no baseline"),
            (format!("{HEAD}2\n{entry}"), 1, "1 entries follow, and the line says 2"),
            (format!("{HEAD}1\n{}", entry.trim_end()), 2, "no end"),
            (format!("{HEAD}1\n{entry}{entry}"), 3, "twice"),
            (
                format!("{HEAD}1\n{}", entry.replace("10.0.0.2", "here")),
                2,
                "`here` is no address",
            ),
            (format!("{HEAD}1\n{}", entry.replace("-c000", "")), 2, "no CLSID"),
            (
                format!("{HEAD}1\n{}", entry.replace("\t5\t", "\tnow\t")),
                2,
                "`now` is no time",
            ),
            (format!("{HEAD}1\n{}", entry.replace("\t2\n", "\n")), 2, "5 fields"),
        ] {
            let (at, why) = Baseline::parse(&text, 10).unwrap_err();
            assert!(at == line && why.contains(cause), "{at}: {why} in {text:?}");
        }
    }
}
