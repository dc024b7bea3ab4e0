//! Where events go. What is here knows form only: which column there is, and what it is called, stands in [`crate::event`].

pub(crate) mod cef;
pub mod console;
pub mod ecs;
pub mod eve;
pub mod findings;
pub(crate) mod foreign;
pub mod growing;
mod json;
mod lines;
mod nested;
mod number;
pub mod ocsf;
pub mod reasons;
mod sink;
pub mod summary;
pub mod unsealed;
pub(crate) mod writer;
pub mod zeek;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cli::complain;
use crate::event::{Event, ZeekLog};
use crate::time::Timestamp;
pub(crate) use sink::refuse_pipe;
use sink::{Sink, Start};

/// Bytes of each log that are collected before they are written: a write costs as much as formatting several lines.
const BUFFER: usize = 128 << 10;

/// Logs of one file each: what they are called, and how a line of them is written.
const LINES: [(Format, &str, lines::Line); 3] = [
    (Format::Eve, "eve.json", eve::line),
    (Format::Ecs, "ecs.json", ecs::line),
    (Format::Ocsf, "ocsf.json", ocsf::line),
];

/// A form of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `eve.json`, as Suricata writes it.
    Eve,
    /// One tab-separated log for each kind of event, as Zeek writes them.
    Zeek,
    /// The same logs with a JSON object a line.
    ZeekJson,
    /// `ecs.json`, in the Elastic Common Schema.
    Ecs,
    /// `ocsf.json`: alerts in the Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Eve, Self::Zeek, Self::ZeekJson, Self::Ecs, Self::Ocsf];

    /// Its name as an option's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eve => "eve",
            Self::Zeek => "zeek",
            Self::ZeekJson => "zeek-json",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("no such log format: {text} (one of {names})")
            })
    }
}

/// How Zeek's logs are written where these forms were asked for.
fn zeek_forms(formats: &[Format]) -> impl Iterator<Item = zeek::Form> {
    let json = if formats.contains(&Format::Zeek) {
        zeek::Form::JsonBesideTsv
    } else {
        zeek::Form::Json
    };
    let forms = [(Format::Zeek, zeek::Form::Tsv), (Format::ZeekJson, json)].into_iter();
    forms.filter_map(|(format, form)| formats.contains(&format).then_some(form))
}

/// What the logs of these forms may be called, each with whether it is one in which every line says whose it is.
fn names_of(formats: &[Format]) -> impl Iterator<Item = (String, bool)> {
    let lines = LINES.into_iter().filter(|(format, ..)| formats.contains(format));
    let zeek = zeek_forms(formats).flat_map(|form| ZeekLog::ALL.iter().map(move |log| (form.file_name(log), false)));
    lines.map(|(_, name, _)| (name.to_owned(), true)).chain(zeek)
}

/// What logs may be called, in all forms.
pub(crate) fn file_names() -> impl Iterator<Item = String> {
    names_of(&Format::ALL).map(|(name, _)| name)
}

/// Zeek's logs in that folder which rows of these forms cannot go on with: they were ended, or are of another form.
pub(crate) fn ended(folder: &Path, formats: &[Format]) -> Vec<PathBuf> {
    let logs = zeek_forms(formats).flat_map(|form| ZeekLog::ALL.iter().map(move |log| (form, log)));
    logs.map(|(form, log)| (form, log, folder.join(form.file_name(log))))
        // What cannot be read is told when it is opened.
        .filter(|(form, log, path)| form.goes_on(log, path).is_ok_and(|goes_on| !goes_on))
        .map(|(.., path)| path)
        .collect()
}

/// The logs in one folder, in each form that was asked for.
#[derive(Debug, Default)]
pub struct Emitters {
    /// eve.json, and forms that others define: a file each.
    lines: Vec<lines::Log>,
    /// A file for each kind of row, in each of Zeek's forms.
    zeek: Vec<zeek::Logs>,
}

impl Emitters {
    /// Makes the folder if it is missing, and begins the logs. A format named twice is written once.
    ///
    /// Logs of an earlier run that this one may have no row for give way: they would be taken for this one's.
    pub fn create(folder: &Path, formats: &[Format]) -> io::Result<Self> {
        let emitters = Self::open(folder, formats, Start::Anew)?;
        for (name, _) in names_of(formats).filter(|(_, is_told)| !is_told) {
            let path = folder.join(name);
            // A pipe, a device or a link is somebody's arrangement.
            if path.symlink_metadata().is_ok_and(|found| found.is_file()) {
                fs::remove_file(&path).map_err(|error| naming(&path, &error))?;
            }
        }
        let others = foreign::of_other_forms(folder, formats);
        if !others.is_empty() {
            let named: Vec<String> = others.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{}: of an earlier run, and not written by this one", named.join(", "));
            complain(
                &message,
                Some("remove them, or `-o` another folder, lest they be taken for this run's"),
            );
        }
        Ok(emitters)
    }

    /// The same, and goes on with logs that are there.
    pub fn go_on(folder: &Path, formats: &[Format]) -> io::Result<Self> {
        Self::open(folder, formats, Start::GoOn)
    }

    fn open(folder: &Path, formats: &[Format], start: Start) -> io::Result<Self> {
        fs::create_dir_all(folder).map_err(|error| naming(folder, &error))?;
        let lines = LINES.into_iter().filter(|(format, ..)| formats.contains(format));
        Ok(Self {
            lines: lines
                .map(|(_, name, line)| lines::Log::create(folder, name, start, line))
                .collect::<io::Result<_>>()?,
            zeek: zeek_forms(formats)
                .map(|form| zeek::Logs::new(folder, form, start))
                .collect(),
        })
    }

    /// Goes on with logs in Zeek's form that are open, are written on in this form and are still where they were made: all
    /// others of `over` are to be ended.
    pub(crate) fn take_over(&mut self, over: &mut Self) {
        for logs in &mut self.zeek {
            if let Some(others) = over.zeek.iter_mut().find(|others| others.form() == logs.form()) {
                logs.take_over(others);
            }
        }
    }

    /// Writes an event to every log that has a place for it.
    ///
    /// After an error it is held back, in each of them, and written when that is possible again.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.write_where(event, |_| true).1
    }

    /// The same, but for logs that could not be written last time: in those nothing more is held back. Is it in all logs?
    pub(crate) fn write_where_possible(&mut self, event: &Event) -> (bool, io::Result<()>) {
        self.write_where(event, |sink| !sink.is_stuck())
    }

    fn write_where(&mut self, event: &Event, takes: impl Fn(&Sink) -> bool + Copy) -> (bool, io::Result<()>) {
        let (mut whole, mut result) = (true, Ok(()));
        for log in &mut self.lines {
            if takes(log.sink()) {
                result = result.and(log.write(event));
            } else {
                whole &= !log.tells(event);
            }
        }
        for zeek in &mut self.zeek {
            let (all, written) = zeek.write_where(event, takes);
            whole &= all;
            result = result.and(written);
        }
        (whole, result)
    }

    /// Brings what was written so far to the files: live, readers follow them.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for log in &mut self.lines {
            result = result.and(log.flush());
        }
        for zeek in &mut self.zeek {
            result = result.and(zeek.flush());
        }
        result
    }

    /// Bytes that are held back.
    pub fn pending(&self) -> usize {
        self.sinks().map(Sink::pending).sum()
    }

    /// Length of the longest log.
    pub fn longest(&self) -> u64 {
        self.sinks().map(Sink::length).max().unwrap_or_default()
    }

    /// The logs there are.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.sinks().map(|sink| sink.path().to_path_buf()).collect()
    }

    fn sinks(&self) -> impl Iterator<Item = &Sink> {
        let lines = self.lines.iter().map(lines::Log::sink);
        lines.chain(self.zeek.iter().flat_map(zeek::Logs::sinks))
    }

    /// Logs that were removed while they are open.
    pub(crate) fn removed(&self) -> impl Iterator<Item = &Path> {
        self.sinks().filter(|sink| sink.is_removed()).map(Sink::path)
    }

    /// Ends the logs. `first` and `last` are the times of the first and last frame that was read.
    pub fn finish(self, first: Timestamp, last: Timestamp) -> io::Result<()> {
        let first_error = self.end(first, last).into_iter().next();
        first_error.map_or(Ok(()), |unfinished| {
            Err(io::Error::new(unfinished.error.kind(), unfinished.to_string()))
        })
    }

    /// The same; each that could not be ended is told.
    pub(crate) fn end(self, first: Timestamp, last: Timestamp) -> Vec<Unfinished> {
        let lines = self.lines.into_iter().filter_map(|log| log.finish().err());
        let zeek = self.zeek.into_iter().flat_map(|logs| logs.finish(first, last));
        lines.chain(zeek).collect()
    }
}

/// Logs of a run over captures or host logs: what cannot be written ends them, and not the run, which has more to tell.
#[derive(Debug)]
pub(crate) struct OfRun {
    emitters: Emitters,
    /// Is there no more to be written?
    ended: bool,
    /// Events that came after that.
    missed: u64,
}

impl OfRun {
    pub(crate) fn new(emitters: Emitters) -> Self {
        Self {
            emitters,
            ended: false,
            missed: 0,
        }
    }

    /// Writes an event; that this cannot be done is told the first time.
    pub(crate) fn write(&mut self, event: &Event) {
        if self.ended {
            self.missed += 1;
        } else if let Err(error) = self.emitters.write(event) {
            let hint = "the logs end here; what is found is printed all the same, and brought to outputs";
            complain(&error.to_string(), Some(hint));
            self.ended = true;
        }
    }

    /// Ends the logs. The error says how much is not in them.
    pub(crate) fn finish(self, first: Timestamp, last: Timestamp) -> io::Result<()> {
        if !self.ended {
            return self.emitters.finish(first, last);
        }
        let unfinished = self.emitters.end(first, last);
        let lost = self.missed + unfinished.iter().map(|log| log.lost).sum::<u64>();
        let lines = summary::counted(lost, "line is", "lines are");
        Err(io::Error::other(format!(
            "the logs are not whole: {lines} lost, or more"
        )))
    }
}

/// A log that could not be ended.
#[derive(Debug, Error)]
#[error("{error}{}", lines_lost(*.lost))]
pub(crate) struct Unfinished {
    error: io::Error,
    /// Lines that are not in it.
    pub(crate) lost: u64,
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self { error, lost: 0 }
    }
}

fn lines_lost(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "; a line of it is lost".to_owned(),
        _ => format!("; {count} lines of it are lost"),
    }
}

/// An I/O error does not say which file it is about.
pub(crate) fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A folder for a test, gone when the test is.
#[cfg(test)]
pub(crate) struct Scratch(pub(crate) PathBuf);

#[cfg(test)]
impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dcom-sensor-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a scratch folder");
        Self(folder)
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, samples};

    const LOGS: [&str; 6] = [
        "capture_loss.log",
        "dce_rpc.log",
        "dcom.log",
        "notice.log",
        "stats.log",
        "weird.log",
    ];

    fn written(name: &str, formats: &[Format]) -> Vec<(String, Vec<u8>)> {
        let scratch = Scratch::new(name);
        let folder = scratch.0.join("new/logs");
        let mut emitters = Emitters::create(&folder, formats).unwrap();
        for event in &samples::all() {
            emitters.write(event).unwrap();
        }
        emitters.finish(samples::time(), samples::time()).unwrap();
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    }

    fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
        files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn each_format_has_its_files() {
        assert_eq!(names(&written("eve", &[Format::Eve])), ["eve.json"]);
        assert_eq!(names(&written("tsv", &[Format::Zeek])), LOGS);
        let json = written("json", &[Format::ZeekJson, Format::ZeekJson]);
        assert_eq!(names(&json), LOGS);
        assert!(json.iter().all(|(_, text)| text.starts_with(b"{\"ts\":")));
    }

    #[test]
    fn json_makes_room_for_tsv_and_every_run_writes_the_same() {
        let files = written("both", &Format::ALL);
        assert_eq!(
            names(&files),
            [
                "capture_loss.json",
                "capture_loss.log",
                "dce_rpc.json",
                "dce_rpc.log",
                "dcom.json",
                "dcom.log",
                "ecs.json",
                "eve.json",
                "notice.json",
                "notice.log",
                "ocsf.json",
                "stats.json",
                "stats.log",
                "weird.json",
                "weird.log"
            ]
        );
        assert_eq!(files, written("again", &Format::ALL));
    }

    #[test]
    fn a_run_without_rows_leaves_none_of_an_earlier_one() {
        let folder = Scratch::new("earlier");
        for events in [samples::all(), Vec::new()] {
            let mut emitters = Emitters::create(&folder.0, &[Format::Eve, Format::Zeek]).unwrap();
            for event in &events {
                emitters.write(event).unwrap();
            }
            emitters.finish(samples::time(), samples::time()).unwrap();
            assert_eq!(folder.0.join("notice.log").exists(), !events.is_empty());
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        // Logs of forms that are not written stay, and are told.
        let eve = folder.0.join("eve.json");
        fs::write(&eve, "{\"event_type\":\"dcom\",\"dcom\":{}}\n").unwrap();
        assert_eq!(foreign::of_other_forms(&folder.0, &[Format::Zeek]), [eve]);
        assert!(foreign::of_other_forms(&folder.0, &[Format::Eve]).is_empty());
    }

    #[test]
    fn a_run_goes_on_without_logs_and_says_what_they_lack() {
        let folder = Scratch::new("full");
        let mut logs = OfRun::new(Emitters::create(&folder.0.join("logs"), &[Format::Zeek]).unwrap());
        // A log is made at its first row, and by then its folder is gone.
        fs::remove_dir(folder.0.join("logs")).unwrap();
        for event in &samples::all() {
            logs.write(event);
        }
        let told = logs.finish(samples::time(), samples::time()).unwrap_err().to_string();
        assert!(told.starts_with("the logs are not whole: "), "{told}");
        assert!(told.ends_with(" lines are lost, or more"), "{told}");
    }

    #[test]
    fn logs_of_one_file_are_there_when_nothing_happened() {
        let folder = Scratch::new("empty");
        let emitters = Emitters::create(&folder.0, &Format::ALL).unwrap();
        emitters.finish(Timestamp::default(), Timestamp::default()).unwrap();
        let mut files: Vec<_> = fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["ecs.json", "eve.json", "ocsf.json"]);
    }

    #[test]
    fn a_log_that_cannot_be_written_keeps_nothing_from_others() {
        let folder = Scratch::new("stuck");
        // No file can be made by that name.
        fs::create_dir(folder.0.join("dcom.log")).unwrap();
        let mut emitters = Emitters::go_on(&folder.0, &[Format::Eve, Format::Zeek, Format::Ocsf]).unwrap();
        let find = |is: fn(&Body) -> bool| samples::all().into_iter().find(|event| is(&event.body)).unwrap();
        let (dcom, anomaly) = (
            find(|body| matches!(body, Body::Dcom(_))),
            find(|body| matches!(body, Body::Anomaly(_))),
        );
        assert!(emitters.write(&dcom).is_err());
        assert!(emitters.flush().is_err());
        let held = emitters.pending();
        for (event, whole) in [(&dcom, false), (&anomaly, true)] {
            let (all, written) = emitters.write_where_possible(event);
            written.unwrap();
            assert_eq!(all, whole);
        }
        assert!(emitters.flush().is_err());
        assert_eq!(emitters.pending(), held, "nothing more is held back");
        let lines = |name| fs::read_to_string(folder.0.join(name)).unwrap().lines().count();
        assert_eq!(lines("eve.json"), 3);
        // Where there is room again, what was held back is written.
        fs::remove_dir(folder.0.join("dcom.log")).unwrap();
        emitters.flush().unwrap();
        assert!(emitters.write_where_possible(&dcom).0);
    }

    #[test]
    fn what_was_flushed_can_be_read_at_once() {
        let folder = Scratch::new("flush");
        let mut emitters = Emitters::create(&folder.0, &Format::ALL).unwrap();
        emitters.write(&samples::all().remove(0)).unwrap();
        emitters.flush().unwrap();
        for name in ["eve.json", "dcom.json", "dcom.log", "ecs.json"] {
            assert!(
                fs::read_to_string(folder.0.join(name)).unwrap().ends_with('\n'),
                "{name}"
            );
        }
    }

    #[test]
    fn formats_go_by_name() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!(
            "csv".parse::<Format>(),
            Err("no such log format: csv (one of eve, zeek, zeek-json, ecs, ocsf)".to_owned())
        );
    }
}
