//! What is read of host logs: real ones against their truths, one sample of each form, and what hostile ones cost.

mod evtx_writer;
mod forms;
mod hostile;
mod truth;

use std::path::{Path, PathBuf};

use dcom_sensor::host_log::{self, HostEvent, Report};

use crate::program;

/// Reads a log to its end.
fn read(path: &Path) -> (Vec<HostEvent>, Report) {
    read_of(path, None)
}

/// The same, of which records that name no computer are of this one.
fn read_of(path: &Path, unnamed: Option<&str>) -> (Vec<HostEvent>, Report) {
    let mut events = Vec::new();
    let report = host_log::read(path, unnamed, &mut |event| events.push(event))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (events, report)
}

/// The folder of samples.
fn samples() -> PathBuf {
    program::workspace().join("tests/host_logs")
}

/// A file that is gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("dcom-sensor-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
