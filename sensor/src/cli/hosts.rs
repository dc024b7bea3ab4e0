//! Host logs to join with the traffic.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::hunt::hint;
use super::{Replay, complain, tell_passed_over};
use crate::capture::{CaptureFile, Input};
use crate::config::{Config, Seconds};
use crate::correlate::names::Names;
use crate::correlate::{Correlator, Mode};
use crate::host_log::{self, Cause, Inputs};
use crate::limits::Limits;
use crate::name_answers::NameAnswers;
use crate::time::Timestamp;

/// Where these options stand together.
pub(super) const HEADING: &str = "Host logs";

/// Options of whoever joins host logs.
#[allow(clippy::struct_field_names, reason = "they are the options' names")]
#[derive(Debug, clap::Args)]
pub(crate) struct HostOptions {
    /// Join what these Windows logs say (files or folders; see docs/JOIN.md); may be given several times.
    #[arg(long, value_name = "PATH", help_heading = HEADING)]
    pub(crate) host_logs: Vec<PathBuf>,

    /// Computers' addresses that traffic and logs do not tell: `name = "address"` pairs (TOML).
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    host_map: Option<PathBuf>,

    /// Look for traces in host logs for so many seconds after what was seen [default: 120].
    #[arg(long, value_name = "SECONDS", help_heading = HEADING, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    host_window: Option<u32>,
}

/// Host logs that were read.
pub(crate) struct Loaded {
    /// What joins them.
    pub(crate) correlator: Correlator,
    /// How many could not be read.
    pub(crate) unreadable: u64,
    /// How many of those that were named are of another time than the captures.
    pub(crate) refused: u64,
}

impl HostOptions {
    /// Whoever joins logs wants to know whose an address is.
    pub(crate) fn name_answers(&self) -> NameAnswers {
        if self.host_logs.is_empty() {
            NameAnswers::PassedOver
        } else {
            NameAnswers::Read
        }
    }

    /// What joins them, without any log yet.
    pub(crate) fn correlator(&self, mode: Mode, config: &Config, limits: &Limits) -> Result<Correlator> {
        let mut names = Names::default();
        if let Some(path) = &self.host_map {
            let path_shown = || path.display().to_string();
            let text = fs::read_to_string(path).with_context(path_shown)?;
            names.learn_map(&text).with_context(path_shown)?;
        }
        Ok(Correlator::new(mode, limits, config.host.window.nanoseconds(), names))
    }

    /// Puts them before what is set.
    pub(crate) fn set(&self, config: &mut Config) {
        if let Some(seconds) = self.host_window {
            config.host.window = Seconds(seconds);
            config.set_by_option("host", "window");
        }
    }

    /// The files and folders that they name.
    pub(crate) fn reads(&self) -> impl Iterator<Item = PathBuf> + use<> {
        self.host_logs.clone().into_iter().chain(self.host_map.clone())
    }

    /// Reads all logs for these captures.
    pub(crate) fn load(
        &self,
        config: &Config,
        limits: &Limits,
        captures: &[Input],
        replay: &Replay,
    ) -> Result<Option<Loaded>> {
        if self.host_logs.is_empty() {
            replay.log_hosts.check(&[])?;
            for (option, is_set) in [
                ("--host-map", self.host_map.is_some()),
                ("--host-window", self.host_window.is_some()),
            ] {
                if is_set {
                    bail!("{option} is for joining host logs: --host-logs PATH names them");
                }
            }
            return Ok(None);
        }
        let mut correlator = self.correlator(Mode::Replay, config, limits)?;
        let spans = spans(captures);
        if let Some(spans) = &spans {
            correlator.set_spans(spans);
        }
        let Inputs {
            files,
            failures,
            passed_over,
        } = host_log::inputs(&self.host_logs);
        replay.log_hosts.check(&files)?;
        if !replay.quiet {
            tell_passed_over(&passed_over, "host log", replay.verbose);
        }
        for failure in &failures {
            complain(&failure.to_string(), None);
        }
        let mut refused_logs = 0;
        let mut unreadable = u64::try_from(failures.len()).unwrap_or(u64::MAX);
        for path in files {
            let unnamed = replay.log_hosts.of(&path);
            let read = host_log::read(&path, unnamed, &mut |event| correlator.push(event));
            let span = read.as_ref().ok().and_then(|report| report.span);
            let refused = span.filter(|&(first, last)| !correlator.overlaps(first, last));
            correlator.end_log(refused.is_some());
            // A folder may hold anything; what is named by itself was meant.
            let is_meant = self.host_logs.contains(&path);
            match read {
                Ok(report) => {
                    let failed = report.is_damaged() || (report.is_useless() && is_meant);
                    unreadable += u64::from(failed);
                    refused_logs += u64::from(refused.is_some() && is_meant);
                    if let Some(complaint) = report.complaint().filter(|_| failed) {
                        complain(&format!("{}: {complaint}", path.display()), hint(&report));
                    }
                    if let Some((first, last)) = refused {
                        let shown = path.display();
                        let captured = told(spans.as_deref().unwrap_or_default(), first, last);
                        let message = format!(
                            "{shown} is refused: it is of another time than the captures ({first} to {last}; {captured})"
                        );
                        complain(
                            &message,
                            Some("a log is joined with traffic of its own day and hour alone"),
                        );
                    } else if !replay.quiet {
                        complain(&report.to_string(), None);
                    }
                }
                Err(error) if matches!(error.cause, Cause::NotALog) && !is_meant => {}
                Err(error) => {
                    unreadable += 1;
                    complain(&error.to_string(), None);
                }
            }
        }
        Ok(Some(Loaded {
            correlator,
            unreadable,
            refused: refused_logs,
        }))
    }
}

/// Whose logs are that name no computer.
#[derive(Debug, clap::Args)]
pub(crate) struct LogHosts {
    /// Computer of records that name none, as in tables that Event Viewer saves; with PATH, of the logs there (a file or folder,
    /// written as where it is given as a log). May be given several times.
    #[arg(long = "log-host", value_name = "[PATH=]NAME", help_heading = HEADING)]
    all: Vec<LogHost>,
}

/// One of them.
#[derive(Clone, Debug)]
struct LogHost {
    /// Empty: all.
    path: PathBuf,
    name: String,
}

impl FromStr for LogHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, name) = text.rsplit_once('=').unwrap_or(("", text));
        if name.is_empty() {
            return Err("the computer's name is missing");
        }
        Ok(Self {
            path: path.into(),
            name: name.to_owned(),
        })
    }
}

impl LogHosts {
    /// Whose the records of this log are that name no computer: the longest path tells.
    pub(crate) fn of(&self, log: &Path) -> Option<&str> {
        let there = self.all.iter().filter(|host| log.starts_with(&host.path));
        let nearest = there.max_by_key(|host| host.path.components().count())?;
        Some(&nearest.name)
    }

    /// Is there a log for each?
    pub(crate) fn check(&self, logs: &[PathBuf]) -> Result<()> {
        for LogHost { path, name } in &self.all {
            if !logs.iter().any(|log| log.starts_with(path)) {
                bail!("--log-host {}={name}: none of the logs is there", path.display());
            }
        }
        Ok(())
    }
}

/// When captures begin and end; none where that cannot be known before they are read.
fn spans(captures: &[Input]) -> Option<Vec<RangeInclusive<Timestamp>>> {
    let mut spans = Vec::new();
    for input in captures {
        if *input == Input::Stdin {
            return None;
        }
        // What is wrong with a capture is told when its turn comes.
        let Ok(mut capture) = CaptureFile::open(input) else {
            continue;
        };
        let mut span: Option<(Timestamp, Timestamp)> = None;
        while let Ok(Some(frame)) = capture.next_frame() {
            let time = frame.at.time;
            let (first, last) = span.get_or_insert((time, time));
            *first = time.min(*first);
            *last = time.max(*last);
        }
        spans.extend(span.map(|(first, last)| first..=last));
    }
    Some(spans)
}

/// Of what time the captures are, or the nearest of them, as seen from a log of another time.
fn told(spans: &[RangeInclusive<Timestamp>], first: Timestamp, last: Timestamp) -> String {
    let distance = |span: &&RangeInclusive<Timestamp>| span.start().since(last).max(first.since(*span.end()));
    match (spans, spans.iter().min_by_key(distance)) {
        (_, None) => "they are empty".to_owned(),
        ([only], _) => format!("they are of {} to {}", only.start(), only.end()),
        (_, Some(nearest)) => format!("the nearest is of {} to {}", nearest.start(), nearest.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_another_time_is_told_of_the_nearest_capture() {
        let span = |from, to| Timestamp(from)..=Timestamp(to);
        let told = |spans: &[_], first, last| told(spans, Timestamp(first), Timestamp(last));
        assert_eq!(told(&[], 5, 6), "they are empty");
        let [one, near, far] = [span(0, 1), span(90, 100), span(1000, 1001)];
        let of = |words: &str, span: &RangeInclusive<Timestamp>| format!("{words} {} to {}", span.start(), span.end());
        assert_eq!(told(std::slice::from_ref(&one), 5, 6), of("they are of", &one));
        for (first, last) in [(80, 85), (101, 200), (50, 60)] {
            let spans = [far.clone(), near.clone(), one.clone()];
            assert_eq!(told(&spans, first, last), of("the nearest is of", &near));
        }
    }
}
