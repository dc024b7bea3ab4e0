//! `dcom-sensor replay`: captures in, logs and a table out.

mod extracting;
mod reading;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::analysis::Analysis;
use crate::capture::{CaptureError, Expanded, Input, expand};
use crate::cli::{Ending, FOUND, INTERRUPTED, Lines, Loaded, RAN, Replay, UNUSABLE, Unread, complain, output_width};
use crate::cli::{settings, tell_passed_over, with_outputs};
use crate::config::Config;
use crate::emit::console::{Console, printable};
use crate::emit::foreign::Files;
use crate::emit::reasons::Reasons;
use crate::emit::summary::Summary;
use crate::emit::writer::Writer;
use crate::emit::{Emitters, unsealed};
use crate::event::record::Interval;
use crate::event::{Body, Event};
use crate::extract::{self, Notes};
use crate::limits::Limits;
use crate::outputs::{Needs, Outputs};
use crate::policy::Policy;
use crate::statistics::{self, Tally};
use crate::time::Timestamp;
use crate::{Failure, failures};
use reading::{Brought, Position, Reading};

pub(crate) fn run(options: &Replay) -> Result<u8> {
    let started = Instant::now();
    let mut config = options.settings.config()?;
    options.hosts.set(&mut config);
    if options.settings.common.print_config {
        settings::print(&config)?;
        return Ok(RAN);
    }
    options
        .settings
        .common
        .refuse_logs_without(options.log_dir.as_deref())?;
    with_outputs(&config, options.verbose, |outputs| {
        read(options, started, &config, outputs)
    })
}

fn read(options: &Replay, started: Instant, config: &Config, outputs: &Outputs) -> Result<u8> {
    let limits = Limits {
        community_id_seed: config.output.community_id_seed,
        ..Limits::default()
    };
    let keys = options.keys.load()?;
    let mut analysis = Analysis::new(settings::catalog(config)?, &limits, options.calls.into());
    if let Some(used) = &keys {
        analysis.keep_unsealed(used.keep);
    }
    settings::equip(&mut analysis, config, &limits)?;
    let Expanded {
        inputs,
        errors,
        passed_over,
    } = expand(&options.inputs);
    if !options.quiet {
        tell_passed_over(&passed_over, "capture", options.verbose);
    }
    if let Some(folder) = &options.extract {
        extract::prepare(folder, &inputs)?;
    }
    if inputs.len() > 1 {
        analysis.name_inputs(inputs.iter().map(|input| Arc::from(input.to_string())).collect());
    }
    let hosts = options.hosts.load(config, &limits, &inputs, options)?;
    let (mut unreadable_logs, mut refused_logs) = (0, 0);
    if let Some(Loaded {
        correlator,
        unreadable,
        refused,
    }) = hosts
    {
        (unreadable_logs, refused_logs) = (unreadable, refused);
        analysis.set_hosts(correlator);
    }
    let captures = inputs.iter().map(|input| input.to_string().into());
    let read: Vec<PathBuf> = captures
        .chain(options.inputs.iter().cloned())
        .chain(options.hosts.reads())
        .chain(options.settings.common.reads(config))
        .chain(keys.iter().flat_map(|used| used.keys.files().to_owned()))
        .collect();
    let files = Files {
        inputs: &read,
        formats: &config.output.logs,
        folder: options.log_dir.as_deref(),
        outputs: &Needs::of(config).files,
        kept: &config
            .baseline_file()
            .into_iter()
            .chain(options.keys.unsealed.clone())
            .collect::<Vec<_>>(),
    };
    files.refuse()?;
    let mut output = Outlet::new(options, config, outputs)?;
    let progress = Progress::new(options, &inputs, "");
    let mut failures = Failures {
        count: unreadable_logs,
        told: Vec::new(),
        progress: &progress,
    };
    let to_extract = options.extract.as_deref().map(|folder| (folder, inputs.clone()));
    for error in &errors {
        failures.tell(error);
    }
    let interrupted = interruption()?;
    let named: Vec<_> = inputs.iter().map(ToString::to_string).collect();
    let mut reading = Reading::start(
        options.workers(),
        &limits,
        keys.as_ref(),
        options.hosts.name_answers(),
        inputs,
        Arc::clone(&interrupted),
    );
    let mut events = Vec::new();
    let mut results = None;
    while let Some(brought) = reading.next() {
        match brought {
            Brought::Heard(spoken, marks, position) => {
                analysis.hear(spoken, marks, &mut events);
                if !events.is_empty() {
                    progress.news(&mut analysis);
                    output.take(&mut events)?;
                }
                output.take_unsealed(&mut analysis)?;
                progress.at(position);
            }
            Brought::Unreadable(error) => failures.tell(&error),
            Brought::Ended(mut tally, span, back) => {
                tally.add(&analysis.tally());
                results = Some((tally, span, back));
            }
        }
    }
    let (tally, span, back) = results.context("reading ended before its end")?;
    events.push(statistics::event(&tally, span));
    output.take(&mut events)?;
    output.keep(&analysis.take_failures());
    progress.news(&mut analysis);
    progress.done();
    if !options.quiet {
        tell_hosts(&mut analysis);
        tell_back(&named, back);
    }
    settings::keep(&analysis, config)?;
    output.summary = summary(&tally, span, &output.summary, failures.count, started);
    if let (Some((folder, inputs)), Some(notes)) = (to_extract, output.notes.take()) {
        let progress = Progress::new(options, &inputs, "extracting ");
        let again = Failures {
            progress: &progress,
            ..failures
        };
        let (extracted, count) = extracting::run(notes, folder, &inputs, again, &interrupted);
        output.summary.extracted = extracted;
        failures.count = count;
    }
    output.summary.refused_logs = refused_logs;
    let failed = failures.count + refused_logs;
    let found = output.finish(options, &tally, span, analysis.policy())?;
    Ok(if interrupted.load(Ordering::Relaxed) {
        INTERRUPTED
    } else if failed > 0 {
        UNUSABLE
    } else if found {
        FOUND
    } else {
        RAN
    })
}

/// Inputs are read one behind the other, as if the second had nothing to do with the first.
fn tell_back(inputs: &[String], back: Option<[u32; 2]>) {
    let name = |number: u32| inputs.get(number as usize).map(|name| printable(name));
    if let Some([before, behind]) = back
        && let (Some(before), Some(behind)) = (name(before), name(behind))
    {
        complain(
            &format!(
                "{behind} begins before {before} ends: they were read one behind the other, as traffic of its own each"
            ),
            Some(
                "give files of one series in the order of their times; those of one time, as the two directions of a tap, \
                 belong in one: `mergecap -w all.pcapng FILE...`",
            ),
        );
    }
}

/// Names in conflict, and clocks, as far as host logs and traffic tell.
fn tell_hosts(analysis: &mut Analysis) {
    let Some(hosts) = analysis.hosts() else { return };
    for conflict in hosts.take_news() {
        complain(&conflict, Some("--host-map FILE says whose address it is"));
    }
    for clock in hosts.clocks() {
        complain(&clock, None);
    }
}

/// Ctrl-C asks to stop; a second one does not ask.
pub(crate) fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("cannot listen for signals")?;
    }
    Ok(flag)
}

/// Where events go.
struct Outlet {
    log_dir: Option<PathBuf>,
    logs: Option<Writer>,
    lines: Option<Lines>,
    /// Is there to be a table?
    prints: bool,
    console: Console,
    least: crate::severity::Severity,
    summary: Summary,
    unsealed: Option<unsealed::Log>,
    /// What is to be known for `--extract`.
    notes: Option<Notes>,
    /// What explains the alerts of the table, if that was asked for.
    reasons: Option<Reasons>,
}

impl Outlet {
    fn new(options: &Replay, config: &Config, outputs: &Outputs) -> Result<Self> {
        let logs = &config.output.logs;
        let emitters = options
            .log_dir
            .as_ref()
            .map(|folder| Emitters::create(folder, logs))
            .transpose()?;
        let goes_on = options.log_dir.is_some()
            || options.extract.is_some()
            || options.keys.unsealed.is_some()
            || config.baseline_file().is_some()
            || !outputs.is_empty();
        let unread = if goes_on { Unread::GoesOn } else { Unread::Ends };
        let emitters = emitters.or_else(|| (!outputs.is_empty()).then(Emitters::default));
        Ok(Self {
            log_dir: options.log_dir.clone(),
            logs: emitters.map(|emitters| Writer::start(emitters, outputs.clone())),
            lines: options.json.then(|| Lines::new(unread)),
            console: Console::new(output_width(), options.colour()),
            prints: !options.json && !options.quiet,
            least: options.min_severity,
            summary: Summary::default(),
            unsealed: options
                .keys
                .unsealed
                .as_deref()
                .map(unsealed::Log::create)
                .transpose()?,
            reasons: (options.verbose && !options.json)
                .then(|| settings::catalog(config).map(|catalog| Reasons::new(Arc::new(catalog))))
                .transpose()?,
            notes: options.extract.is_some().then(|| Notes::new(options.min_severity)),
        })
    }

    /// Writes the events to wherever they go, and leaves none.
    fn take(&mut self, events: &mut Vec<Event>) -> Result<()> {
        for event in &*events {
            if let Some(notes) = &mut self.notes {
                notes.take(event);
            }
            if let Some(reasons) = &mut self.reasons {
                reasons.note(event);
            }
            let mut shown = true;
            if let Body::Alert(alert) = &event.body {
                self.summary.alerts.count(alert.severity);
                shown = alert.severity >= self.least;
                self.summary.not_shown += u64::from(!shown);
                if shown && self.prints {
                    self.console.push(&event.meta, alert);
                    if let Some(reasons) = &mut self.reasons {
                        reasons.push(&event.meta, alert);
                    }
                }
            }
            if let (Some(lines), true) = (&mut self.lines, shown) {
                lines.show(event)?;
            }
        }
        if let Some(logs) = self.logs.as_mut()
            && !logs.write(events)
        {
            self.end_logs(Timestamp::default(), Timestamp::default())?;
        }
        events.clear();
        Ok(())
    }

    /// Ends the logs, or says why they ended.
    fn end_logs(&mut self, first: Timestamp, last: Timestamp) -> Result<()> {
        if let Some(logs) = self.logs.take() {
            logs.finish(first, last)?;
        }
        Ok(())
    }

    /// Writes what keys opened since the last time.
    fn take_unsealed(&mut self, analysis: &mut Analysis) -> Result<()> {
        if let Some(log) = &mut self.unsealed {
            for unsealed in analysis.take_unsealed() {
                log.write(&unsealed)?;
            }
        }
        Ok(())
    }

    /// Keeps the frames on which a stage gave up, and says where.
    fn keep(&self, failures: &[Failure]) {
        if failures.is_empty() {
            return;
        }
        let folder = self.log_dir.as_ref().map(|folder| folder.join(failures::FOLDER));
        complain(&failures::keep(folder.as_deref(), failures), Some(failures::HINT));
    }

    /// Ends logs and prints results. True when `--fail-on` was met.
    fn finish(
        mut self,
        options: &Replay,
        tally: &Tally,
        (first, last): (Timestamp, Timestamp),
        policy: &Policy,
    ) -> Result<bool> {
        // What is wrong with them is told when all else is.
        let logged = self.end_logs(first, last);
        if let Some(unsealed) = &mut self.unsealed {
            unsealed.flush()?;
        }
        let ending = Ending {
            lines: self.lines.as_mut(),
            table: &mut self.console,
            reasons: self.reasons.take(),
            policy,
            show_suppressed: options.settings.common.show_suppressed,
            colour: options.colour(),
            quiet: options.quiet,
            verbose: options.verbose,
        };
        ending.print(&self.summary, tally.iter())?;
        logged?;
        Ok(options.fail_on.is_some_and(|least| self.summary.alerts.has(least)))
    }
}

fn summary(
    tally: &Tally,
    (first, last): (Timestamp, Timestamp),
    so_far: &Summary,
    unreadable_inputs: u64,
    started: Instant,
) -> Summary {
    Summary {
        packets: tally.get("decoder.pkts"),
        bytes: tally.get("decoder.bytes"),
        capture: Interval(last.since(first)),
        elapsed: started.elapsed(),
        connections: tally.get("flow.tcp"),
        rpc_connections: tally.get("dcom.flow.rpc_connections"),
        conversations: tally.get("dcom.udp.conversations"),
        activations: tally.get("dcom.activations"),
        suppressed: tally.get("dcom.alerts_suppressed"),
        bytes_missing: tally.get("dcom.flow.bytes_missing"),
        endpoints_expected: tally.get("dcom.endpoints.expected"),
        endpoints_realized: tally.get("dcom.endpoints.realized"),
        unreadable_inputs,
        keys: tally.keys(),
        hosts: tally.hosts(),
        ..so_far.clone()
    }
}

/// What could not be read: said at once, counted.
struct Failures<'a> {
    count: u64,
    told: Vec<String>,
    progress: &'a Progress,
}

impl Failures<'_> {
    fn tell(&mut self, error: &CaptureError) {
        self.count += 1;
        let message = error.to_string();
        self.progress.aside(|| complain(&message, error.hint()));
        self.told.push(message);
    }

    /// The same of a second reading, which fails where the first one did.
    fn tell_again(&mut self, error: &CaptureError) {
        if !self.told.contains(&error.to_string()) {
            self.tell(error);
        }
    }
}

/// A progress bar over all inputs, by their size as stored.
struct Progress {
    bar: Option<ProgressBar>,
    /// Bytes of the inputs before each.
    before: Vec<u64>,
}

impl Progress {
    /// `doing` stands before the bar.
    fn new(options: &Replay, inputs: &[Input], doing: &'static str) -> Self {
        let mut total = 0;
        let mut known = true;
        let mut before = Vec::new();
        for input in inputs {
            before.push(total);
            match input {
                Input::File(path) => total += std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
                Input::Stdin => known = false,
            }
        }
        let bar = options.shows_progress().then(|| {
            let (bar, template) = if known {
                (
                    ProgressBar::new(total),
                    "{msg}{bar:40} {bytes} of {total_bytes}, {eta} to go",
                )
            } else {
                (ProgressBar::no_length(), "{spinner} {bytes} read")
            };
            // The templates are ours: one that does not parse is replaced by the default.
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(doing)
        });
        Self { bar, before }
    }

    fn at(&self, Position { input, bytes }: Position) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.before.get(input as usize).copied().unwrap_or_default() + bytes);
        }
    }

    /// Runs something that prints, without the bar in its way.
    fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Says what the user has to know of the settings.
    fn news(&self, analysis: &mut Analysis) {
        for message in analysis.policy().take_news() {
            self.aside(|| complain(&message, Some("give it a later date, or take it out")));
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
