//! What the user named, as a list of logs.

use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Cause, Failure, Report, StoredCause, has_form, is_known};
use crate::capture::stored::Stored;

/// What paths name.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Logs, in the order of the paths.
    pub files: Vec<PathBuf>,
    /// What could not be found or opened.
    pub failures: Vec<Failure>,
    /// Files of folders that are no logs.
    pub passed_over: Vec<PathBuf>,
}

/// All files below these paths: folders with all below them, sorted, but only what is a log by its content; a file named by
/// itself is never passed over.
pub fn inputs(paths: &[PathBuf]) -> Inputs {
    let mut inputs = Inputs::default();
    for path in paths {
        if path.is_dir() {
            folder(path, &mut inputs);
        } else {
            inputs.files.push(path.clone());
        }
    }
    inputs
}

fn folder(top: &Path, inputs: &mut Inputs) {
    let Inputs {
        files,
        failures,
        passed_over,
    } = inputs;
    let before = files.len() + failures.len();
    let fail = |path: &Path, cause: Cause| Failure {
        input: path.display().to_string(),
        cause,
        report: Box::new(Report::default()),
    };
    for entry in WalkDir::new(top).follow_links(true).sort_by_file_name() {
        match entry {
            // Anything but a regular file, a pipe say, might never give a byte.
            Ok(entry) if entry.file_type().is_file() => match is_log(entry.path()) {
                Ok(true) => files.push(entry.into_path()),
                Ok(false) => passed_over.push(entry.into_path()),
                Err(cause) => failures.push(fail(entry.path(), cause.into())),
            },
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(top).to_owned();
                failures.push(fail(&path, StoredCause::List(error.into()).into()));
            }
        }
    }
    if files.len() + failures.len() == before {
        failures.push(fail(top, Cause::NoLogInFolder));
    }
}

/// So much of a file tells what form it has, and mostly what it is.
const LOOK: u64 = 64 << 10;
/// Its first record may be a long one, with the names that tell at its end.
const LOOK_ON: u64 = 1 << 20;

/// Looks at the first bytes, uncompressed. What does not open is an error, and so is what gives none of them: it may have
/// been a log.
fn is_log(path: &Path) -> Result<bool, StoredCause> {
    let mut stored = Stored::open(path).map_err(StoredCause::Open)?;
    let mut first = Vec::new();
    for more in [LOOK, LOOK_ON] {
        let goes_on = match stored.by_ref().take(more).read_to_end(&mut first) {
            Err(error) if first.is_empty() => return Err(stored.undecided(error)),
            Err(_) => false,
            Ok(0) => return Ok(false),
            Ok(_) => true,
        };
        if is_known(&first) {
            return Ok(true);
        }
        if !goes_on || !has_form(&first) {
            return Ok(false);
        }
    }
    Ok(false)
}
