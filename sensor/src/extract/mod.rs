//! The packets of each alert's connections, as pcapng to open in Wireshark, with comments on the frames that decide.
//!
//! ```text
//!  notes.rs     what the first reading notes of connections and alerts, from the events
//!  plan.rs      alerts grouped to incidents, a file each; which connections are in which
//!  packets.rs   the second reading: which connection a frame is of
//!  queue.rs     frames that wait for the rest of their IP packet
//!  files.rs     as many files as there are incidents, few of them open
//!  pcapng.rs    blocks as they are written
//!  words.rs     what a comment says
//! ```
//!
//! Packets are read twice, since an alert comes after the packets that led to it, by minutes. Memory is bounded by what is
//! noted, not by what is read.

mod files;
mod notes;
mod packets;
mod pcapng;
mod plan;
mod queue;
mod words;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use notes::Notes;
pub(crate) use packets::Copier;

use crate::capture::Input;
use crate::emit::console::printable;

/// What was written. Prints as a part of the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Alerts whose packets were written.
    pub alerts: u64,
    /// Files with them.
    pub files: u64,
    /// Alerts that were left out: there were too many, or they name no connection.
    pub left_out: u64,
    /// Frames that were left out, since too many fragments of IP packets were on their way.
    pub frames_left_out: u64,
    /// The folder.
    pub folder: PathBuf,
}

impl fmt::Display for Extracted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let folder = self.folder.display().to_string();
        write!(
            f,
            "packets of {} in {} ({})",
            of(self.alerts, "alert"),
            printable(&folder),
            of(self.files, "file")
        )?;
        if self.left_out > 0 {
            write!(f, ", {} left out", of(self.left_out, "alert"))?;
        }
        if self.frames_left_out > 0 {
            write!(f, ", {} left out", of(self.frames_left_out, "frame"))?;
        }
        Ok(())
    }
}

/// Why nothing can be extracted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExtractError {
    /// There is no second reading.
    #[error("{0}: cannot be read a second time, which --extract does")]
    Once(String),
    /// It would be written over while it is read.
    #[error("{0}: stands in the folder that --extract writes to")]
    Within(String),
    /// The folder cannot be used.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Folder(PathBuf, io::Error),
}

impl ExtractError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Once(_) => Some("save it to a file, and name that"),
            Self::Within(_) => Some("name another folder"),
            Self::Folder(..) => None,
        }
    }
}

/// Makes the folder if it is missing, and takes out what an earlier run wrote. Says what stands against it before anything
/// is read.
pub(crate) fn prepare(folder: &Path, inputs: &[Input]) -> Result<(), ExtractError> {
    let failed = |error| ExtractError::Folder(folder.to_owned(), error);
    for input in inputs {
        match input {
            // A pipe gives its bytes once.
            Input::File(path) if path.metadata().is_ok_and(|found| !found.is_file()) => {
                return Err(ExtractError::Once(input.to_string()));
            }
            Input::File(_) => {}
            Input::Stdin => return Err(ExtractError::Once(input.to_string())),
        }
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let place = folder.canonicalize().map_err(failed)?;
    for input in inputs {
        if let Input::File(path) = input
            && path.canonicalize().is_ok_and(|path| path.parent() == Some(&place))
        {
            return Err(ExtractError::Within(input.to_string()));
        }
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(plan::is_ours) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
