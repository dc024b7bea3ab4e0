//! `dcom-sensor hunt`: host logs in, findings out.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::hosts::LogHosts;
use super::settings::{self, Common};
use super::{
    Ending, FOUND, INTERRUPTED, Lines, RAN, UNUSABLE, Unread, When, complain, folders, output_width, severities, tell,
    tell_passed_over, with_outputs,
};
use crate::capture::{CaptureFile, Input};
use crate::config::Config;
use crate::detect::Found;
use crate::emit::console::printable;
use crate::emit::findings::{Findings, Summary};
use crate::emit::foreign::Files;
use crate::emit::reasons::Reasons;
use crate::emit::{Emitters, OfRun};
use crate::event::Event;
use crate::host_log::{self, Cause, Inputs, Reason, Report};
use crate::hunt;
use crate::limits::Limits;
use crate::outputs::{Needs, Outputs};
use crate::policy::{Policy, Verdict};
use crate::replay::interruption;
use crate::severity::Severity;
use crate::time::Timestamp;

/// The progress bar moves once in so many events.
const EVENTS_PER_TICK: u64 = 4096;

/// Options of `hunt`.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch that can be typed")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor hunt Sysmon.evtx Security.evtx         findings as a table
  dcom-sensor hunt -o logs /evidence                 eve.json and notice.log for a folder of logs
  dcom-sensor hunt --json export.ndjson.gz           findings as EVE lines
  dcom-sensor hunt --config tuning.toml --fail-on high logs/

Each pattern is described in docs/HUNT.md.
Exit status: 0 ran, 1 --fail-on was met, 2 some input or setting could not be used, 130 interrupted.")]
pub(crate) struct Hunt {
    /// Host logs: files, folders with all below them, or - for standard input.
    #[arg(required_unless_present = "print_config", value_name = "HOST-LOG")]
    inputs: Vec<PathBuf>,

    /// Write logs to this folder; it is made if missing. Without it, only print.
    #[arg(short = 'o', long, value_name = "DIR", value_parser = folders())]
    log_dir: Option<PathBuf>,

    /// Print findings as EVE lines in place of the table.
    #[arg(long)]
    json: bool,

    /// Show findings of this severity and above; logs hold all of them.
    #[arg(long, value_name = "SEVERITY", default_value = "informational", value_parser = severities())]
    min_severity: Severity,

    /// Exit with status 1 when there is a finding of this severity or above.
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    fail_on: Option<Severity>,

    /// Print nothing but errors (and, with --json, findings).
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Say of each log what was read of it, explain each finding of the table, list what was suppressed, and print every
    /// counter at the end.
    #[arg(short, long)]
    verbose: bool,

    /// Show no progress bar.
    #[arg(long)]
    no_progress: bool,

    /// Colour the table.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,

    #[command(flatten)]
    log_hosts: LogHosts,

    #[command(flatten)]
    settings: Common,
}

/// Reads the logs, and says what was found.
pub(super) fn run(options: &Hunt) -> Result<u8> {
    let started = Instant::now();
    let config = options.settings.config()?;
    if options.settings.print_config {
        settings::print(&config)?;
        return Ok(RAN);
    }
    options.settings.refuse_logs_without(options.log_dir.as_deref())?;
    with_outputs(&config, options.verbose, |outputs| {
        read(options, started, &config, outputs)
    })
}

fn read(options: &Hunt, started: Instant, config: &Config, outputs: &Outputs) -> Result<u8> {
    let catalog = Arc::new(settings::catalog(config)?);
    settings::doubt(config, &catalog);
    let policy = settings::policy(config, &Limits::default());
    let read: Vec<PathBuf> = options
        .inputs
        .iter()
        .cloned()
        .chain(options.settings.reads(config))
        .collect();
    let files = Files {
        inputs: &read,
        formats: &config.output.logs,
        folder: options.log_dir.as_deref(),
        outputs: &Needs::of(config).files,
        kept: &[],
    };
    files.refuse()?;
    let emitters = options
        .log_dir
        .as_ref()
        .map(|folder| Emitters::create(folder, &config.output.logs).map(OfRun::new))
        .transpose()?;
    let goes_on = options.log_dir.is_some() || !outputs.is_empty();
    let unread = if goes_on { Unread::GoesOn } else { Unread::Ends };
    let mut run = Run {
        options,
        hunt: hunt::Hunt::new(Arc::clone(&catalog)),
        output: Output {
            emitters,
            outputs,
            lines: options.json.then(|| Lines::new(unread)),
            table: Findings::new(output_width(), options.color.colour()),
            least: options.min_severity,
            summary: Summary::default(),
            reasons: (options.verbose && !options.json).then(|| Reasons::new(catalog)),
            policy,
            news: Vec::new(),
        },
        hosts: BTreeSet::new(),
        span: None,
    };
    let interrupted = interruption()?;
    run.read(&interrupted)?;
    run.output.summary.elapsed = started.elapsed();
    let found = run.finish()?;
    Ok(if interrupted.load(Ordering::Relaxed) {
        INTERRUPTED
    } else if run.output.summary.unreadable_inputs > 0 {
        UNUSABLE
    } else if found {
        FOUND
    } else {
        RAN
    })
}

/// What to do about a file that is no log.
fn of_no_log(path: &Path) -> &'static str {
    if path != Path::new("-") && CaptureFile::open(&Input::File(path.to_path_buf())).is_ok() {
        "a capture: `dcom-sensor replay` reads it, and --host-logs joins host logs with it"
    } else {
        FORMS
    }
}

/// Where it is said what is read.
const FORMS: &str = "docs/HOST_LOGS.md lists the forms and events that are read";

/// What to do about a log that was read.
pub(super) fn hint(report: &Report) -> Option<&'static str> {
    if report.skipped.contains_key(&Reason::NoHost) {
        return Some("--log-host NAME says of which computer a log is that names none");
    }
    report.is_useless().then_some(FORMS)
}

/// One run.
struct Run<'o> {
    options: &'o Hunt,
    hunt: hunt::Hunt,
    output: Output<'o>,
    hosts: BTreeSet<String>,
    /// What the logs cover.
    span: Option<(Timestamp, Timestamp)>,
}

impl Run<'_> {
    fn read(&mut self, interrupted: &AtomicBool) -> Result<()> {
        let Inputs {
            files,
            failures,
            passed_over,
        } = host_log::inputs(&self.options.inputs);
        self.options.log_hosts.check(&files)?;
        let progress = Progress::new(self.options, &files);
        if !self.options.quiet {
            progress.aside(|| tell_passed_over(&passed_over, "host log", self.options.verbose));
        }
        for failure in &failures {
            self.output.summary.unreadable_inputs += 1;
            progress.aside(|| complain(&failure.to_string(), None));
        }
        for path in &files {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            self.read_one(path, interrupted, &progress)?;
            progress.passed(path);
        }
        let mut found = Vec::new();
        while self.hunt.finish_some(&mut found) {
            self.output.take(&mut found)?;
        }
        self.output.take(&mut found)?;
        self.output.tell_news(&progress);
        progress.done();
        Ok(())
    }

    /// Reads one log. The error is about our output; that a log cannot be read is said, and counted.
    fn read_one(&mut self, path: &Path, interrupted: &AtomicBool, progress: &Progress) -> Result<()> {
        let mut written = Ok(());
        let mut found = Vec::new();
        let mut events = 0_u64;
        let (hunt, output) = (&mut self.hunt, &mut self.output);
        let unnamed = self.options.log_hosts.of(path);
        let outcome = host_log::read(path, unnamed, &mut |event| {
            // What is left of the log is passed over.
            if written.is_err() || interrupted.load(Ordering::Relaxed) {
                return;
            }
            hunt.push(event, &mut found);
            if !found.is_empty() {
                written = output.take(&mut found);
            }
            events += 1;
            if events.is_multiple_of(EVENTS_PER_TICK) {
                output.tell_news(progress);
                progress.tick();
            }
        });
        written?;
        match outcome {
            Ok(report) => self.account(path, &report, true, progress),
            // Beside logs, a folder has other files.
            Err(error)
                if matches!(error.cause, Cause::NotALog) && !self.options.inputs.iter().any(|named| named == path) =>
            {
                if self.options.verbose {
                    progress.aside(|| tell(&format!("{error}: passed over")));
                }
            }
            Err(error) => {
                self.output.summary.unreadable_inputs += 1;
                let hint = matches!(error.cause, Cause::NotALog).then(|| of_no_log(path));
                progress.aside(|| complain(&error.to_string(), hint));
                self.account(path, &error.report, false, progress);
            }
        }
        Ok(())
    }

    /// Adds what a reader read to the summary, and says what has to be known of it.
    fn account(&mut self, path: &Path, report: &Report, whole: bool, progress: &Progress) {
        let summary = &mut self.output.summary;
        summary.files += 1;
        summary.records += report.records;
        summary.events += report.events;
        summary.skipped += report.skipped.values().sum::<u64>();
        summary.broken += report.broken().map(|(_, count)| count).sum::<u64>();
        // Of one of which nothing could be read, no more is to be said.
        let complaint = report.complaint().filter(|_| whole || report.records > 0);
        // What is named by itself was meant; a folder's file may be something else.
        let failed =
            report.is_damaged() || (report.is_useless() && self.options.inputs.iter().any(|named| named == path));
        // One that could not be read to its end was counted.
        summary.unreadable_inputs += u64::from(whole && failed);
        let names = report.hosts.keys();
        self.hosts
            .extend(names.map(|name| name.split('.').next().unwrap_or(name).to_lowercase()));
        summary.hosts = self.hosts.len() as u64;
        if let Some((first, last)) = report.span {
            let (earliest, latest) = self.span.unwrap_or((first, last));
            self.span = Some((earliest.min(first), latest.max(last)));
        }
        if self.options.verbose {
            progress.aside(|| tell(&format!("{}: {report}", path.display())));
        } else if let Some(complaint) = complaint.filter(|_| !self.options.quiet || failed) {
            let name = path.display().to_string();
            progress.aside(|| complain(&format!("{}: {complaint}", printable(&name)), hint(report)));
        }
    }

    /// Ends logs and prints results. True when `--fail-on` was met.
    fn finish(&mut self) -> Result<bool> {
        let (options, output) = (self.options, &mut self.output);
        let counters = self.hunt.counters();
        output.summary.limited = counters.late + counters.forgotten + counters.told_early + counters.incomplete_scripts;
        output.summary.suppressed = output.policy.counters().suppressed;
        let mut logged = Ok(());
        if let Some(emitters) = output.emitters.take() {
            let (first, last) = self.span.unwrap_or_default();
            // What is wrong with them is told when all else is.
            logged = emitters.finish(first, last);
        }
        let ending = Ending {
            lines: output.lines.as_mut(),
            table: &mut output.table,
            reasons: output.reasons.take(),
            policy: &output.policy,
            show_suppressed: options.settings.show_suppressed,
            colour: options.color.colour(),
            quiet: options.quiet,
            verbose: options.verbose,
        };
        ending.print(&output.summary, counters.iter())?;
        logged?;
        Ok(options.fail_on.is_some_and(|least| output.summary.findings.has(least)))
    }
}

/// Where findings go.
struct Output<'o> {
    emitters: Option<OfRun>,
    outputs: &'o Outputs,
    lines: Option<Lines>,
    table: Findings,
    least: Severity,
    summary: Summary,
    /// What explains the findings of the table, if that was asked for.
    reasons: Option<Reasons>,
    policy: Policy,
    news: Vec<String>,
}

impl Output<'_> {
    /// Writes the findings to wherever they go, and leaves none.
    fn take(&mut self, found: &mut Vec<Found>) -> Result<()> {
        for found in found.drain(..) {
            let verdict = self.policy.judge(&found.meta, &found.alert);
            self.news.extend(self.policy.take_news());
            if verdict != Verdict::Pass {
                continue;
            }
            let severity = found.alert.severity;
            self.summary.findings.count(severity);
            let shown = severity >= self.least;
            self.summary.not_shown += u64::from(!shown);
            if shown && self.lines.is_none() {
                self.table.push(&found.meta, &found.alert);
                if let Some(reasons) = &mut self.reasons {
                    reasons.push(&found.meta, &found.alert);
                }
            }
            let event: Event = found.into_event();
            if let Some(emitters) = &mut self.emitters {
                emitters.write(&event);
            }
            self.outputs.offer(&event);
            if let (Some(lines), true) = (&mut self.lines, shown) {
                lines.show(&event)?;
            }
        }
        Ok(())
    }

    /// Says what the user has to know of the settings.
    fn tell_news(&mut self, progress: &Progress) {
        for message in self.news.drain(..) {
            progress.aside(|| complain(&message, Some("give it a later date, or take it out")));
        }
    }
}

/// A progress bar over all logs, by their size as stored.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(options: &Hunt, inputs: &[PathBuf]) -> Self {
        let shown = !options.no_progress && !options.quiet && io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(inputs.iter().map(|path| size(path)).sum());
            // The template is ours: one that does not parse is replaced by the default.
            let style = ProgressStyle::with_template("{spinner} {bar:40} {bytes} of {total_bytes}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self(bar)
    }

    fn tick(&self) {
        if let Some(bar) = &self.0 {
            bar.tick();
        }
    }

    fn passed(&self, path: &Path) {
        if let Some(bar) = &self.0 {
            bar.inc(size(path));
        }
    }

    /// Runs something that prints, without the bar in its way.
    fn aside(&self, print: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
