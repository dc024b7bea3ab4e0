//! Frames on which a stage of the sensor gave up, kept as captures so that the fault can be found.

use std::fs;
use std::io;
use std::path::Path;

use crate::worker::Failure;

/// Where they are kept, within the folder for logs.
pub(crate) const FOLDER: &str = "faults";
/// What to do about them.
pub(crate) const HINT: &str = "this is a fault of dcom-sensor: please report it, with the frame if you may pass it on";
/// So many are kept; older ones stay.
const MOST: usize = 64;

/// Keeps them, and says what became of that. Each is a capture of one frame.
pub(crate) fn keep(folder: Option<&Path>, failures: &[Failure]) -> String {
    let first = failures.first().map_or("", |failure| failure.message.as_str());
    let said = format!(
        "{} of the frames could not be examined and their connections were given up: {first}",
        failures.len()
    );
    let Some(folder) = folder else { return said };
    let kept = failures.iter().try_fold(0, |kept, failure| {
        Ok::<_, io::Error>(kept + usize::from(write(folder, failure)?))
    });
    match kept {
        Ok(kept) => format!("{said}; {kept} kept in {}", folder.display()),
        Err(error) => format!("{said}; {}: {error}", folder.display()),
    }
}

/// Writes one. False when there are enough.
fn write(folder: &Path, failure: &Failure) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.count() >= MOST {
        return Ok(false);
    }
    let name = format!("{}-{}-{}.pcap", failure.at.time.0, failure.at.input, failure.at.frame);
    fs::write(folder.join(name), capture(failure))?;
    Ok(true)
}

/// Is that what such a file is called?
#[cfg(target_os = "linux")]
pub(crate) fn is_kept(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_suffix(".pcap")
        .is_some_and(|stem| stem.split('-').count() == 3 && stem.split('-').all(is_number))
}

/// A capture of nanosecond resolution with one frame.
fn capture(failure: &Failure) -> Vec<u8> {
    let length = u32::try_from(failure.bytes.len()).unwrap_or(u32::MAX);
    let seconds = u32::try_from(failure.at.time.0.div_euclid(1_000_000_000)).unwrap_or_default();
    let nanoseconds = u32::try_from(failure.at.time.0.rem_euclid(1_000_000_000)).unwrap_or_default();
    let header = [
        0xa1b2_3c4d,
        0x0004_0002,
        0,
        0,
        u32::MAX >> 14,
        u32::from(failure.link_type.0),
        seconds,
        nanoseconds,
        length,
        length,
    ];
    let mut bytes: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend_from_slice(&failure.bytes);
    bytes
}
