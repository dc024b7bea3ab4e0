//! The second reading of captures: packets of alerts' connections are copied.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::reading::Position;
use super::{Failures, Progress};
use crate::capture::{CaptureError, CaptureFile, Frame, Input};
use crate::cli::complain;
use crate::extract::{Copier, Extracted, Notes};
use crate::limits::Limits;

/// The bar is moved once in so many frames.
const FRAMES: u64 = 4_096;

/// Reads the captures again, and writes what was noted to the folder. What is wrong is told, and counted: what was found
/// is printed all the same.
pub(super) fn run(
    notes: Notes,
    folder: &Path,
    inputs: &[Input],
    mut failures: Failures<'_>,
    interrupted: &AtomicBool,
) -> (Option<Extracted>, u64) {
    if interrupted.load(Ordering::Relaxed) {
        complain("interrupted: no packets were extracted", None);
        return (None, failures.count);
    }
    let extracted = extract(notes, folder, inputs, &mut failures, interrupted);
    failures.progress.done();
    match extracted {
        Ok(extracted) => {
            let interrupted = interrupted.load(Ordering::Relaxed);
            (
                Some(Extracted {
                    interrupted,
                    ..extracted
                }),
                failures.count,
            )
        }
        Err(error) => {
            complain(&format!("cannot extract packets: {error}"), None);
            (None, failures.count + 1)
        }
    }
}

/// The error is about the files that are written.
fn extract(
    notes: Notes,
    folder: &Path,
    inputs: &[Input],
    failures: &mut Failures<'_>,
    interrupted: &AtomicBool,
) -> io::Result<Extracted> {
    let mut copier = Copier::new(notes, folder, inputs, &Limits::default());
    if copier.is_idle() {
        return copier.finish();
    }
    for (number, input) in (0..).zip(inputs) {
        let read = CaptureFile::open(input);
        let read = read.and_then(|capture| copy(&mut copier, number, capture, failures.progress, interrupted));
        match read {
            Ok(written) => written?,
            Err(error) => failures.tell_again(&error),
        }
    }
    copier.finish()
}

fn copy(
    copier: &mut Copier,
    number: u32,
    mut capture: CaptureFile,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<io::Result<()>, CaptureError> {
    while !interrupted.load(Ordering::Relaxed) {
        let Some((frame, interface)) = capture.next_with_interface()? else {
            break;
        };
        let mut at = frame.at;
        at.input = number;
        let taken = copier.take(&Frame { at, ..frame }, interface);
        if taken.is_err() {
            return Ok(taken);
        }
        if at.frame.is_multiple_of(FRAMES) {
            progress.at(Position {
                input: number,
                bytes: capture.bytes_read(),
            });
        }
    }
    Ok(Ok(()))
}
