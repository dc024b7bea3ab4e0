//! `dcom-sensor replay`: captures in, logs and a table out.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::capture::{CaptureError, CaptureFile, Frame, Input, expand};
use crate::cli::{FOUND, INTERRUPTED, RAN, Replay, UNUSABLE, complain};
use crate::emit::console::Console;
use crate::emit::summary::Summary;
use crate::emit::{Emitters, eve, unsealed};
use crate::event::record::Interval;
use crate::event::{Body, Event};
use crate::limits::Limits;
use crate::{Sensor, statistics};

/// The progress bar moves once in so many frames.
const FRAMES_PER_TICK: u64 = 4096;

pub(crate) fn run(options: &Replay) -> Result<u8> {
    let started = Instant::now();
    let mut sensor = Sensor::new(options.catalog()?, Limits::default(), options.calls.into());
    options.keys.hand_to(&mut sensor)?;
    let (inputs, errors) = expand(&options.inputs);
    if inputs.len() > 1 {
        sensor.name_inputs(inputs.iter().map(|input| Arc::from(input.to_string())).collect());
    }
    let mut output = Outlet::new(options)?;
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
        if let Err(error) = read(
            input,
            number,
            &mut sensor,
            &mut output,
            &mut events,
            &progress,
            &interrupted,
        )? {
            failures.tell(&error);
        }
    }
    sensor.finish(&mut events);
    output.take(&mut events)?;
    output.take_unsealed(&mut sensor)?;
    progress.done();
    let failed = failures.count;
    output.summary = summary(&sensor, &output.summary, failed, started);
    let found = output.finish(options, &sensor)?;
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

/// Ctrl-C asks to stop; a second one does not ask.
fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("cannot listen for signals")?;
    }
    Ok(flag)
}

/// Reads one capture. The outer error is about our output, the inner one about the capture.
fn read(
    input: &Input,
    number: u32,
    sensor: &mut Sensor,
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
        let frame = match capture.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        let mut at = frame.at;
        at.input = number;
        sensor.push(&Frame { at, ..frame }, events);
        if !events.is_empty() {
            output.take(events)?;
        }
        output.take_unsealed(sensor)?;
        frames += 1;
        if frames.is_multiple_of(FRAMES_PER_TICK) {
            progress.at(number, capture.bytes_read());
        }
    }
    progress.at(number, capture.bytes_read());
    Ok(Ok(()))
}

/// Where events go.
struct Outlet {
    emitters: Option<Emitters>,
    lines: Option<BufWriter<io::Stdout>>,
    console: Console,
    least: crate::severity::Severity,
    summary: Summary,
    unsealed: Option<unsealed::Log>,
    buffer: Vec<u8>,
}

impl Outlet {
    fn new(options: &Replay) -> Result<Self> {
        let emitters = options
            .log_dir
            .as_ref()
            .map(|folder| Emitters::create(folder, &options.logs))
            .transpose()?;
        let (_, width) = console::Term::stdout().size();
        let width = if console::Term::stdout().is_term() {
            width
        } else {
            WIDTH_WITHOUT_TERMINAL
        };
        Ok(Self {
            emitters,
            lines: options.json.then(|| BufWriter::new(io::stdout())),
            console: Console::new(width, options.colour()),
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
    fn take_unsealed(&mut self, sensor: &mut Sensor) -> Result<()> {
        if let Some(log) = &mut self.unsealed {
            for unsealed in sensor.take_unsealed() {
                log.write(&unsealed)?;
            }
        }
        Ok(())
    }

    /// Ends logs and prints results. True when `--fail-on` was met.
    fn finish(mut self, options: &Replay, sensor: &Sensor) -> Result<bool> {
        let (first, last) = sensor.span();
        if let Some(emitters) = self.emitters.take() {
            emitters.finish(first, last)?;
        }
        if let Some(unsealed) = &mut self.unsealed {
            unsealed.flush()?;
        }
        if let Some(lines) = &mut self.lines {
            lines.flush()?;
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
            for (name, count) in statistics::counters(sensor) {
                writeln!(stderr, "{name:32} {count}")?;
            }
        }
        Ok(options.fail_on.is_some_and(|least| self.summary.has_alert(least)))
    }
}

/// How wide a table is when nobody can say.
const WIDTH_WITHOUT_TERMINAL: u16 = 160;

fn summary(sensor: &Sensor, so_far: &Summary, unreadable_inputs: u64, started: Instant) -> Summary {
    let (first, last) = sensor.span();
    let (decode, flow) = (sensor.decoder.counters(), sensor.flows.counters());
    let endpoints = sensor.analyst.endpoint_counters();
    Summary {
        packets: decode.frames,
        bytes: decode.bytes,
        capture: Interval(last.since(first)),
        elapsed: started.elapsed(),
        connections: flow.connections,
        rpc_connections: sensor.rpc.carriage.connections,
        conversations: sensor.datagrams.counters().conversations,
        activations: sensor.analyst.counters().activations,
        bytes_missing: sensor.flows.assembler_counters().missing,
        endpoints_expected: endpoints.expected,
        endpoints_realized: endpoints.realized,
        unreadable_inputs,
        keys: sensor.rpc.keys.is_some().then_some(sensor.rpc.key_counters),
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

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
