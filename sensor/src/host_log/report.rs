//! What a reader did: read, made into events, skipped, concluded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::event::Source;
use crate::limits::host_log as limits;
use crate::time::Timestamp;

/// The form of an input, told by its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Lines: JSON, XML or syslog, each told on its own.
    #[default]
    Lines,
    /// JSON that is not one record a line: an array, a search result, or spread over several lines.
    Json,
    /// Windows' own `.evtx`.
    Evtx,
    /// A document of `<Event>` elements.
    Xml,
    /// Events as they are shown.
    Shown,
    /// Rows with a header.
    Csv,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Json => "JSON",
            Self::Evtx => "EVTX",
            Self::Xml => "XML",
            Self::Shown => "text",
            Self::Csv => "CSV",
        })
    }
}

/// Why a record did not become an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// An event of a known provider that says nothing about DCOM.
    NotOfInterest,
    /// Another provider's.
    OtherProvider,
    /// It has no event number, or no provider.
    NotAnEvent,
    /// It has no time.
    NoTime,
    /// It has no computer's name.
    NoHost,
    /// What makes this kind of event is missing: addresses of a connection, say.
    Incomplete,
    /// Not JSON, or cut off.
    BrokenJson,
    /// Not XML, or cut off.
    BrokenXml,
    /// A row that has not the columns of the header.
    BrokenCsv,
    /// A line that is neither JSON nor XML.
    NeitherJsonNorXml,
    /// Longer than is held at a time.
    TooLong,
    /// Nested deeper than is read.
    TooDeep,
    /// A chunk of an EVTX file without a valid header.
    BrokenChunk,
    /// A chunk of an EVTX file that its header counts and that is not there.
    MissingChunk,
    /// A record of an EVTX file that cannot be decoded.
    BrokenRecord,
    /// The reader gave up on it: a fault of ours or of a library, contained.
    Fault,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOfInterest => "not of interest",
            Self::OtherProvider => "of another provider",
            Self::NotAnEvent => "without an event id or provider",
            Self::NoTime => "without a time",
            Self::NoHost => "without a computer's name",
            Self::Incomplete => "incomplete",
            Self::BrokenJson => "broken JSON",
            Self::BrokenXml => "broken XML",
            Self::BrokenCsv => "broken CSV",
            Self::NeitherJsonNorXml => "neither JSON nor XML",
            Self::TooLong => "too long",
            Self::TooDeep => "nested too deep",
            Self::BrokenChunk => "broken chunks",
            Self::MissingChunk => "missing chunks",
            Self::BrokenRecord => "broken records",
            Self::Fault => "reader gave up",
        })
    }
}

/// What a reader read, made into events, skipped and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The form of the input.
    pub kind: Kind,
    /// Records read; with broken ones.
    pub records: u64,
    /// Those that became an event.
    pub events: u64,
    /// The events by what wrote them.
    pub sources: BTreeMap<Source, u64>,
    /// Records that did not become an event, by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// Time of the first and the last record of all that have one, whether they became an event or not: what the log covers.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The computers it is of, with the number of their records.
    pub hosts: BTreeMap<Arc<str>, u64>,
    /// Records of computers beyond those that are listed.
    pub other_hosts: u64,
    /// Zones that local times were found to be in, in minutes east of UTC, with the number of records that say so.
    pub zones: BTreeMap<i16, u64>,
    /// Events whose time may be another, since nothing tells which number is the day, or which of several zones an abbreviation means.
    pub undecided: u64,
    /// Process ids and parents that were concluded from other records.
    pub inferred: u64,
    /// Texts that were cut to the length that is kept.
    pub cut: u64,
    /// Bytes in which nothing was recognised, of an EVTX file.
    pub lost_bytes: u64,
}

impl Report {
    pub(super) fn skip(&mut self, reason: Reason) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Records that could not be read, by reason; those that are merely of no use here are none of them.
    pub fn broken(&self) -> impl Iterator<Item = (Reason, u64)> {
        let is_broken = |reason: Reason| {
            !matches!(
                reason,
                Reason::NotOfInterest | Reason::OtherProvider | Reason::NotAnEvent
            )
        };
        let skipped = self.skipped.iter().map(|(reason, count)| (*reason, *count));
        skipped.filter(move |(reason, _)| is_broken(*reason))
    }

    /// Is no record of use, nor known for one that is not, or are those that would be of use of no known computer? An EVTX file may
    /// be empty and whole; any other may be an export that failed.
    pub fn is_useless(&self) -> bool {
        let is_known = |reason: &Reason| matches!(reason, Reason::NotOfInterest | Reason::OtherProvider);
        let may_be_empty = self.kind == Kind::Evtx && self.records == 0;
        let is_known = self.skipped.keys().any(is_known) && !self.skipped.contains_key(&Reason::NoHost);
        self.events == 0 && !may_be_empty && !is_known
    }

    /// In a sentence, what could not be read; none where all could.
    pub fn complaint(&self) -> Option<String> {
        if self.is_useless() && self.records == 0 {
            return Some("there is no record in it".to_owned());
        }
        if self.is_useless() {
            let skipped = self.skipped.iter();
            let reasons: Vec<String> = skipped.map(|(reason, count)| format!("{count} {reason}")).collect();
            return Some(format!(
                "of {} records none is of use: {}",
                self.records,
                reasons.join(", ")
            ));
        }
        let mut parts: Vec<String> = self
            .broken()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if self.lost_bytes > 0 {
            parts.push(format!("{} bytes not recognised", self.lost_bytes));
        }
        (!parts.is_empty()).then(|| format!("of {} records {}", self.records, parts.join(", ")))
    }

    /// Was a part of it broken, cut, or more than is held? Lines that are merely something else are none.
    pub fn is_damaged(&self) -> bool {
        let is_damage = |reason: &Reason| {
            matches!(
                reason,
                Reason::BrokenJson
                    | Reason::BrokenXml
                    | Reason::BrokenCsv
                    | Reason::TooLong
                    | Reason::TooDeep
                    | Reason::BrokenChunk
                    | Reason::MissingChunk
                    | Reason::BrokenRecord
                    | Reason::Fault
            )
        };
        self.lost_bytes > 0 || self.skipped.keys().any(is_damage)
    }

    /// How many were skipped, all together.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    pub(super) fn saw(&mut self, time: Timestamp) {
        self.span = Some(match self.span {
            Some((first, last)) => (first.min(time), last.max(time)),
            None => (time, time),
        });
    }

    pub(super) fn of_host(&mut self, host: &Arc<str>) {
        if let Some(count) = self.hosts.get_mut(host) {
            *count += 1;
        } else if self.hosts.len() < limits::HOSTS {
            self.hosts.insert(host.clone(), 1);
        } else {
            self.other_hosts += 1;
        }
    }
}

/// One line: `EVTX: 9 records, 9 events; 0 skipped; 2019-04-30T20:35:11.569000+0000 to …; IEWIN7`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} records, {} events", self.kind, self.records, self.events)?;
        for (index, (reason, count)) in self.skipped.iter().enumerate() {
            f.write_str(if index == 0 { "; skipped: " } else { ", " })?;
            write!(f, "{count} {reason}")?;
        }
        if let Some((first, last)) = self.span {
            write!(f, "; {first} to {last}")?;
        }
        if !self.hosts.is_empty() {
            let names: Vec<&str> = self.hosts.keys().take(4).map(|host| &**host).collect();
            write!(f, "; {}", names.join(", "))?;
            let more = self.hosts.len() - names.len();
            if more > 0 || self.other_hosts > 0 {
                write!(f, " and {more} more")?;
            }
        }
        for (zone, votes) in &self.zones {
            let (sign, minutes) = (if *zone < 0 { '-' } else { '+' }, zone.unsigned_abs());
            write!(
                f,
                "; local times taken for UTC{sign}{:02}:{:02} by {votes} records",
                minutes / 60,
                minutes % 60
            )?;
        }
        if self.undecided > 0 {
            write!(f, "; {} times that can be read in two ways", self.undecided)?;
        }
        if self.inferred > 0 {
            write!(f, "; {} processes concluded from other records", self.inferred)?;
        }
        if self.cut > 0 {
            write!(f, "; {} texts cut", self.cut)?;
        }
        if self.lost_bytes > 0 {
            write!(f, "; {} bytes not recognised", self.lost_bytes)?;
        }
        Ok(())
    }
}
