//! What the user named, as a list of captures.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::{CaptureError, Cause, Fault};
use super::file;
use super::stored::Stored;

/// One capture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// As the user would name it: `-` or the path.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The captures that the arguments name, in their order: files, folders (with all below them, sorted, but only what is
/// a capture by its content), patterns that the shell left alone, and `-`. With it, what could not be found.
pub fn expand(arguments: &[PathBuf]) -> (Vec<Input>, Vec<CaptureError>) {
    let mut inputs = Vec::new();
    let mut errors = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            inputs.push(Input::Stdin);
        } else if argument.exists() {
            path(argument, &mut inputs, &mut errors);
        } else {
            pattern(argument, &mut inputs, &mut errors);
        }
    }
    (inputs, errors)
}

fn path(path: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    if path.is_dir() {
        folder(path, inputs, errors);
    } else {
        inputs.push(Input::File(path.to_owned()));
    }
}

fn pattern(argument: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    let paths = match glob::glob(&argument.to_string_lossy()) {
        Ok(paths) => paths,
        Err(error) => {
            errors.push(Fault::whole(Cause::Pattern(error.msg)).of(argument.display()));
            return;
        }
    };
    let mut matched = false;
    for entry in paths {
        matched = true;
        match entry {
            Ok(found) => path(&found, inputs, errors),
            Err(error) => {
                let name = error.path().display().to_string();
                errors.push(Fault::whole(Cause::List(error.into())).of(name));
            }
        }
    }
    if !matched {
        errors.push(Fault::whole(Cause::NoMatch).of(argument.display()));
    }
}

fn folder(top: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    let mut found = false;
    for entry in WalkDir::new(top).follow_links(true).sort_by_file_name() {
        match entry {
            // Anything but a regular file, a pipe say, might never give a byte.
            Ok(entry) if entry.file_type().is_file() => match is_capture(entry.path()) {
                Ok(true) => {
                    found = true;
                    inputs.push(Input::File(entry.into_path()));
                }
                Ok(false) => {}
                Err(error) => {
                    found = true;
                    errors.push(Fault::whole(Cause::Open(error)).of(entry.path().display()));
                }
            },
            Ok(_) => {}
            Err(error) => {
                found = true;
                let name = error.path().unwrap_or(top).display().to_string();
                errors.push(Fault::whole(Cause::List(error.into())).of(name));
            }
        }
    }
    if !found {
        errors.push(Fault::whole(Cause::NoCaptureInFolder).of(top.display()));
    }
}

/// Looks at the first bytes, uncompressed. What does not decompress is not a capture; what does not open is an error.
fn is_capture(path: &Path) -> std::io::Result<bool> {
    let mut first = Vec::new();
    let decompressed = Stored::open(path)?.take(12).read_to_end(&mut first);
    Ok(decompressed.is_ok() && file::recognise(&first))
}
