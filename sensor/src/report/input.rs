//! Which files are read, and their lines.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

use super::chain::signature;
use crate::capture::stored::Stored;
use crate::emit::console::printable;

/// A longer line is not read, but counted as one that could not be.
const MAX_LINE: u64 = 4 << 20;
/// Room between the file and its lines.
const BUFFER: usize = 256 * 1024;
/// How the time of an event is written: Suricata's way, with or without a fraction.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.f%z";

/// An input that cannot be used, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", printable(&.path.display().to_string()))]
pub(super) struct Unusable {
    path: PathBuf,
    message: String,
}

/// How the lines of one file were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// All that are not empty.
    pub(super) all: u64,
    /// Those that are no events.
    pub(super) bad: u64,
    /// Those that are alerts of another program.
    pub(super) anothers: u64,
    /// The number of the first that is no event.
    pub(super) first_bad: Option<u64>,
}

/// What every event has, as far as it is of use before the rest is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    pub(super) event_type: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) src_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) dest_ip: Option<Cow<'a, str>>,
    alert: Option<AlertHead>,
    dcom: Option<IgnoredAny>,
    host_event: Option<IgnoredAny>,
}

/// What tells whose an alert is.
#[derive(Debug, Deserialize)]
struct AlertHead {
    signature_id: Option<u64>,
}

impl Head<'_> {
    /// Is it another program's alert? What reads Suricata's events reads ours from the same file.
    pub(super) fn is_anothers_alert(&self) -> bool {
        let id = self.alert.as_ref().and_then(|alert| alert.signature_id);
        self.event_type == "alert"
            && self.dcom.is_none()
            && self.host_event.is_none()
            && id.and_then(signature).is_none()
    }

    /// When it was, in microseconds since 1970.
    pub(super) fn time(&self) -> Option<i64> {
        time(self.timestamp.as_deref()?)
    }
}

/// Microseconds since 1970 of a time as events write it.
pub(super) fn time(text: &str) -> Option<i64> {
    let time = jiff::Timestamp::strptime(TIME, text).ok()?;
    Some(time.as_microsecond())
}

/// The files that are meant, in the order of their names, each once; and what is none.
pub(super) fn files(inputs: &[PathBuf]) -> (Vec<PathBuf>, Vec<Unusable>) {
    let (mut files, mut unusable) = (Vec::new(), Vec::new());
    for input in inputs {
        let result = if input.is_dir() {
            of_folder(input)
        } else {
            Ok(vec![input.clone()])
        };
        match result {
            Ok(found) => files.extend(found),
            Err(message) => unusable.push(Unusable {
                path: input.clone(),
                message,
            }),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file: &PathBuf| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    (files, unusable)
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = folder.read_dir().map_err(|error| format!("cannot list: {error}"))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_eve))
        .collect();
    if found.is_empty() {
        return Err("there is no eve.json in this folder".to_owned());
    }
    found.sort();
    Ok(found)
}

/// `eve.json`, and what rotation makes of it: ours (`eve-2020-07-18T23-10-02.061141.json`) and logrotate's
/// (`eve.json.1`, `eve.json-20200718`), each also `.gz` and `.zst`.
fn is_eve(name: &str) -> bool {
    let plain = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(name);
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"T-.".contains(&b));
    if let Some(stamp) = plain.strip_prefix("eve-").and_then(|rest| rest.strip_suffix(".json")) {
        return numbers(stamp);
    }
    plain
        .strip_prefix("eve.json")
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with(['.', '-']) && numbers(&rest[1..])))
}

/// Hands the lines of a file on, each with its head. A file without a single event, but with other lines, is none.
pub(super) fn read(path: &Path, mut each: impl FnMut(&Head<'_>, &[u8])) -> Result<Lines, Unusable> {
    let unusable = |message| Unusable {
        path: path.to_owned(),
        message,
    };
    let stored = Stored::open(path).map_err(|error| unusable(format!("cannot open: {error}")))?;
    let mut reader = BufReader::with_capacity(BUFFER, stored);
    let (mut counted, mut number) = (Lines::default(), 0);
    let mut line = Vec::new();
    loop {
        let whole = match next_line(&mut reader, &mut line) {
            Ok(Some(whole)) => whole,
            Ok(None) => break,
            Err(error) => return Err(unusable(reader.get_ref().cause(error).to_string())),
        };
        number += 1;
        let text = line.trim_ascii();
        if whole && text.is_empty() {
            continue;
        }
        counted.all += 1;
        match serde_json::from_slice::<Head<'_>>(text) {
            Ok(head) if whole && head.time().is_some() => {
                if head.is_anothers_alert() {
                    counted.anothers += 1;
                } else {
                    each(&head, text);
                }
            }
            _ => {
                counted.bad += 1;
                counted.first_bad.get_or_insert(number);
            }
        }
    }
    if counted.all > 0 && counted.all == counted.bad {
        return Err(unusable("there are no events in it".to_owned()));
    }
    Ok(counted)
}

/// The next line, and whether it is all there.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    if reader.by_ref().take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE {
        return Ok(Some(true));
    }
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', line)?;
        if read == 0 || line.ends_with(b"\n") {
            line.clear();
            return Ok(Some(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_known_by_their_names() {
        for name in [
            "eve.json",
            "eve.json.gz",
            "eve.json.1",
            "eve.json.2.gz",
            "eve.json-20200718.zst",
            "eve-2020-07-18T23-10-02.061141.json",
            "eve-2020-07-18T23-10-02.061141.json.zst",
        ] {
            assert!(is_eve(name), "{name}");
        }
        for name in ["eve.jsonl", "eve.json.", "eve-notes.json", "dcom.log", "eve.json.part"] {
            assert!(!is_eve(name), "{name}");
        }
    }

    #[test]
    fn a_line_without_end_is_skipped_and_the_next_is_read() {
        let mut text = vec![b'x'; 2 * usize::try_from(MAX_LINE).unwrap() + 5];
        text.extend_from_slice(b"\n{}\nlast");
        let (mut reader, mut line) = (BufReader::new(text.as_slice()), Vec::new());
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Some(false));
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Some(true));
        assert_eq!(line, b"{}\n");
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Some(true));
        assert_eq!(line, b"last");
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), None);
    }

    #[test]
    fn times_are_read_in_any_zone() {
        assert_eq!(time("2020-07-18T23:10:02.061141+0000"), Some(1_595_113_802_061_141));
        assert_eq!(time("2020-07-19T01:10:02.061141+0200"), Some(1_595_113_802_061_141));
        assert_eq!(time("2020-07-18T23:10:02+0000"), Some(1_595_113_802_000_000));
        assert_eq!(time("yesterday"), None);
    }
}
