//! `dcom-sensor replay`: captures in, logs and a table out.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::analysis::Analysis;
use crate::capture::{CaptureError, CaptureFile, Frame, Input, expand};
use crate::cli::settings;
use crate::cli::{FOUND, INTERRUPTED, RAN, Replay, UNUSABLE, complain, output_width};
use crate::config::Config;
use crate::emit::console::Console;
use crate::emit::summary::Summary;
use crate::emit::{Emitters, Format, eve, unsealed};
use crate::event::record::Interval;
use crate::event::{Body, Event};
use crate::keys::Used;
use crate::limits::Limits;
use crate::policy::{self, Policy};
use crate::statistics::Tally;
use crate::time::Timestamp;
use crate::workers::Crew;
use crate::{Failure, Sensor, failures};

/// The progress bar moves once in so many frames.
const FRAMES_PER_TICK: u64 = 4096;

pub(crate) fn run(options: &Replay) -> Result<u8> {
    let started = Instant::now();
    let config = options.settings.config()?;
    if options.settings.common.print_config {
        settings::print(&config)?;
        return Ok(RAN);
    }
    let mut engine = Engine::new(options, &config)?;
    let (inputs, errors) = expand(&options.inputs);
    if inputs.len() > 1 {
        engine.name_inputs(inputs.iter().map(|input| Arc::from(input.to_string())).collect());
    }
    let mut output = Outlet::new(options, &config.output.logs)?;
    let progress = Progress::new(options, &inputs);
    let mut failures = Failures {
        count: 0,
        progress: &progress,
    };
    for error in &errors {
        failures.tell(error);
    }
    let interrupted = interruption()?;
    let mut events = Vec::new();
    for (number, input) in (0..).zip(&inputs) {
        if let Err(error) = engine.read(input, number, &mut output, &mut events, &progress, &interrupted)? {
            failures.tell(&error);
        }
    }
    engine.finish(&mut events);
    output.take(&mut events)?;
    output.take_unsealed(engine.analysis())?;
    output.keep(&engine.take_failures());
    progress.news(engine.analysis());
    progress.done();
    settings::keep(engine.analysis(), &config)?;
    let failed = failures.count;
    let (tally, span) = engine.results();
    output.summary = summary(&tally, span, &output.summary, failed, started);
    let found = output.finish(options, &tally, span, engine.analysis().policy())?;
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

/// One thread, or one that reads and several that work.
enum Engine {
    One(Box<Sensor>),
    Several(Box<Crew>),
}

impl Engine {
    fn new(options: &Replay, config: &Config) -> Result<Self> {
        let (catalog, limits, calls) = (settings::catalog(config)?, Limits::default(), options.calls.into());
        let keys = options.keys.load()?;
        let mut engine = match options.workers() {
            1 => {
                let mut sensor = Box::new(Sensor::new(catalog, limits, calls));
                if let Some(Used { keys, keep }) = keys {
                    sensor.use_keys(keys, keep);
                }
                Self::One(sensor)
            }
            workers => Self::Several(Box::new(Crew::new(workers, catalog, &limits, calls, keys.as_ref()))),
        };
        settings::equip(engine.analysis(), config, &limits)?;
        Ok(engine)
    }

    fn analysis(&mut self) -> &mut Analysis {
        match self {
            Self::One(sensor) => sensor.analysis(),
            Self::Several(crew) => crew.analysis(),
        }
    }

    fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.analysis().name_inputs(names);
    }

    /// Reads one capture. The outer error is about our output, the inner one about the capture.
    fn read(
        &mut self,
        input: &Input,
        number: u32,
        output: &mut Outlet,
        events: &mut Vec<Event>,
        progress: &Progress,
        interrupted: &AtomicBool,
    ) -> Result<std::result::Result<(), CaptureError>> {
        let mut capture = match CaptureFile::open(input) {
            Ok(capture) => capture,
            Err(error) => return Ok(Err(error)),
        };
        let mut frames = 0_u64;
        while !interrupted.load(Ordering::Relaxed) {
            match self.step(&mut capture, number, events) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Ok(Err(error)),
            }
            if !events.is_empty() {
                progress.news(self.analysis());
                output.take(events)?;
            }
            output.take_unsealed(self.analysis())?;
            frames += 1;
            if frames.is_multiple_of(FRAMES_PER_TICK) || matches!(self, Self::Several(_)) {
                progress.at(number, capture.bytes_read());
            }
        }
        progress.at(number, capture.bytes_read());
        Ok(Ok(()))
    }

    /// Takes a frame, or a batch of them. False when there are no more.
    #[inline]
    fn step(
        &mut self,
        capture: &mut CaptureFile,
        number: u32,
        events: &mut Vec<Event>,
    ) -> std::result::Result<bool, CaptureError> {
        match self {
            Self::One(sensor) => {
                let Some(frame) = capture.next_frame()? else {
                    return Ok(false);
                };
                let mut at = frame.at;
                at.input = number;
                sensor.push(&Frame { at, ..frame }, events);
            }
            Self::Several(crew) => {
                let Some(mut batch) = capture.next_batch(crew.spare())? else {
                    return Ok(false);
                };
                batch.frames.iter_mut().for_each(|slot| slot.at.input = number);
                crew.push(batch, events);
            }
        }
        Ok(true)
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        match self {
            Self::One(sensor) => sensor.finish(events),
            Self::Several(crew) => crew.finish(events),
        }
    }

    fn take_failures(&mut self) -> Vec<Failure> {
        match self {
            Self::One(sensor) => sensor.take_failures(),
            Self::Several(crew) => crew.take_failures(),
        }
    }

    /// What was counted, and the times of the first and the last frame.
    fn results(&self) -> (Tally, (Timestamp, Timestamp)) {
        match self {
            Self::One(sensor) => (sensor.tally(), sensor.span()),
            Self::Several(crew) => (crew.tally(), crew.span()),
        }
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
    emitters: Option<Emitters>,
    lines: Option<BufWriter<io::Stdout>>,
    console: Console,
    least: crate::severity::Severity,
    summary: Summary,
    unsealed: Option<unsealed::Log>,
    buffer: Vec<u8>,
}

impl Outlet {
    fn new(options: &Replay, logs: &[Format]) -> Result<Self> {
        let emitters = options
            .log_dir
            .as_ref()
            .map(|folder| Emitters::create(folder, logs))
            .transpose()?;
        Ok(Self {
            log_dir: options.log_dir.clone(),
            emitters,
            lines: options.json.then(|| BufWriter::new(io::stdout())),
            console: Console::new(output_width(), options.colour()),
            least: options.min_severity,
            summary: Summary::default(),
            unsealed: options
                .keys
                .unsealed
                .as_deref()
                .map(unsealed::Log::create)
                .transpose()?,
            buffer: Vec::new(),
        })
    }

    /// Writes the events to wherever they go, and leaves none.
    fn take(&mut self, events: &mut Vec<Event>) -> Result<()> {
        for event in events.drain(..) {
            if let Some(emitters) = &mut self.emitters {
                emitters.write(&event)?;
            }
            let mut shown = true;
            if let Body::Alert(alert) = &event.body {
                self.summary.count_alert(alert.severity);
                shown = alert.severity >= self.least;
                if shown && self.lines.is_none() {
                    self.console.push(&event.meta, alert);
                }
            }
            if let (Some(lines), true) = (&mut self.lines, shown) {
                self.buffer.clear();
                eve::line(&event, &mut self.buffer);
                lines.write_all(&self.buffer)?;
            }
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
        if let Some(emitters) = self.emitters.take() {
            emitters.finish(first, last)?;
        }
        if let Some(unsealed) = &mut self.unsealed {
            unsealed.flush()?;
        }
        if let Some(lines) = &mut self.lines {
            lines.flush()?;
        }
        if options.settings.common.show_suppressed {
            let listed = policy::report(policy, output_width());
            if self.lines.is_some() || options.quiet {
                write!(io::stderr().lock(), "{listed}")?;
            } else {
                self.console.add(listed);
            }
        }
        if !options.quiet {
            if self.lines.is_none() {
                self.console.write(&mut io::stdout().lock(), &self.summary)?;
            } else {
                writeln!(io::stderr().lock(), "{}", self.summary)?;
            }
        }
        if options.verbose {
            let mut stderr = io::stderr().lock();
            for (name, count) in tally.iter() {
                writeln!(stderr, "{name:32} {count}")?;
            }
        }
        Ok(options.fail_on.is_some_and(|least| self.summary.has_alert(least)))
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
        ..so_far.clone()
    }
}

/// What could not be read: said at once, counted.
struct Failures<'a> {
    count: u64,
    progress: &'a Progress,
}

impl Failures<'_> {
    fn tell(&mut self, error: &CaptureError) {
        self.count += 1;
        self.progress.aside(|| complain(&error.to_string(), error.hint()));
    }
}

/// A progress bar over all inputs, by their size as stored.
struct Progress {
    bar: Option<ProgressBar>,
    /// Bytes of the inputs before each.
    before: Vec<u64>,
}

impl Progress {
    fn new(options: &Replay, inputs: &[Input]) -> Self {
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
                    "{bar:40} {bytes} of {total_bytes}, {eta} to go",
                )
            } else {
                (ProgressBar::no_length(), "{spinner} {bytes} read")
            };
            // The templates are ours: one that does not parse is replaced by the default.
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, before }
    }

    fn at(&self, input: u32, bytes: u64) {
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
