//! Captures in the place of interfaces: the same questions, without those of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::check::{Check, Checkup};
use super::sample::Told;
use super::settings::Given;
use super::traffic::{Source, Traffic};
use crate::Sensor;
use crate::capture::{CaptureError, CaptureFile, Expanded, Frame, Input, expand};
use crate::cli::{Doctor, settings};
use crate::dcom::Calls;
use crate::event::Event;
use crate::limits::Limits;

/// Reads them, and says what their traffic is like.
pub(super) fn look(options: &Doctor, given: Given, interrupted: &AtomicBool, checkup: &mut Checkup) {
    let limits = Limits::default();
    let mut sensor = Sensor::new(given.catalog, limits, Calls::Interest);
    sensor.set_detection(&(&given.config.detect).into());
    sensor.set_policy(settings::policy(&given.config, &limits));
    if let Some(used) = given.keys {
        sensor.use_keys(used.keys, used.keep);
    }
    let Expanded { inputs, mut errors, .. } = expand(&options.captures);
    if inputs.len() > 1 {
        sensor.name_inputs(inputs.iter().map(|input| Arc::from(input.to_string())).collect());
    }
    let mut told = Told::default();
    let mut events = Vec::new();
    let mut read = 0;
    for (number, input) in (0..).zip(&inputs) {
        let mut each = |frame: Frame<'_>, events: &mut Vec<Event>| {
            read += 1;
            sensor.push(&frame, events);
            told.take(events);
        };
        if let Err(error) = frames(number, input, interrupted, |frame| each(frame, &mut events)) {
            errors.push(error);
        }
    }
    sensor.finish(&mut events);
    told.take(&mut events);
    for error in &errors {
        checkup.incomplete = true;
        let what_to_do = error
            .hint()
            .unwrap_or("it was left out: nothing is said of what is in it");
        checkup
            .checks
            .push(Check::bad("capture", error.to_string(), what_to_do));
    }
    // Of what could not be read at all there is nothing to say.
    if read == 0 && !errors.is_empty() {
        return;
    }
    let (first, last) = sensor.span();
    let traffic = Traffic {
        source: Source::Captures,
        tally: &sensor.tally(),
        lasted: Duration::from_nanos(u64::try_from(last.since(first)).unwrap_or_default()),
        alerts: told.alerts,
        dropped: 0,
    };
    checkup.checks.extend(traffic.checks());
}

fn frames(
    number: u32,
    input: &Input,
    interrupted: &AtomicBool,
    mut each: impl FnMut(Frame<'_>),
) -> Result<(), CaptureError> {
    let mut capture = CaptureFile::open(input)?;
    while !interrupted.load(Ordering::Relaxed) {
        let Some(frame) = capture.next_frame()? else { break };
        let mut at = frame.at;
        at.input = number;
        each(Frame { at, ..frame });
    }
    Ok(())
}
