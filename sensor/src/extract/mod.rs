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
    /// Was the second reading interrupted? Then files and packets are missing.
    pub interrupted: bool,
    /// The folder.
    pub folder: PathBuf,
}

impl fmt::Display for Extracted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let folder = self.folder.display().to_string();
        write!(
            f,
            "{}packets of {} in {} ({})",
            if self.interrupted { "not all " } else { "" },
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
        if self.interrupted {
            write!(f, ", interrupted")?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Sensor;
    use crate::capture::{At, CaptureFile, Frame, LinkType};
    use crate::catalog::Catalog;
    use crate::dcom::Calls;
    use crate::limits::Limits;
    use crate::severity::Severity;

    type Stored = (At, LinkType, u32, Vec<u8>);

    fn frames(path: &Path) -> Vec<Stored> {
        let mut capture = CaptureFile::open(&Input::File(path.to_owned())).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = capture.next_frame().unwrap() {
            frames.push((frame.at, frame.link_type, frame.original_length, frame.bytes.to_vec()));
        }
        frames
    }

    fn frame((at, link_type, original_length, bytes): &Stored) -> Frame<'_> {
        Frame {
            at: *at,
            link_type: *link_type,
            bytes,
            original_length: *original_length,
        }
    }

    /// What is written of these frames, file by file.
    fn extracted(name: &str, frames_in: &[Stored]) -> (Extracted, Vec<Vec<Stored>>) {
        let folder = std::env::temp_dir().join(format!("dcom-sensor-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let inputs = [Input::File(name.into())];
        prepare(&folder, &[]).unwrap();
        let limits = Limits::default();
        let mut sensor = Sensor::new(Catalog::built_in(), limits, Calls::Interest);
        let mut notes = Notes::new(Severity::Informational);
        let mut events = Vec::new();
        for stored in frames_in {
            sensor.push(&frame(stored), &mut events);
        }
        sensor.finish(&mut events);
        for event in &events {
            notes.take(event);
        }
        let mut copier = Copier::new(notes, &folder, &inputs, &limits);
        for stored in frames_in {
            let from = crate::capture::Interface {
                place: (0, 0),
                link_type: stored.1,
                snap_length: 0,
                name: None,
                description: None,
            };
            copier.take(&frame(stored), &from).unwrap();
        }
        let extracted = copier.finish().unwrap();
        let mut written: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        written.sort();
        let all = written.iter().map(|path| frames(path)).collect();
        let _ = fs::remove_dir_all(&folder);
        (extracted, all)
    }

    fn sample(name: &str) -> Vec<Stored> {
        frames(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps").join(name))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever the traffic is, what is written is a part of it, unchanged and in its order, and nothing fails.
        #[test]
        fn damaged_traffic_is_copied_as_it_is(
            name in prop::sample::select(vec![
                "mmc20-signed.pcap",
                "mmc20-ip-fragments.pcap",
                "mmc20-vxlan.pcap",
                "mmc20-datagrams.pcap",
                "mmc20-ipv6.pcap",
                "mmc20-tiny-fragments.pcap",
            ]),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..80), 0..4),
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        ) {
            let mut all = sample(name);
            for (which, place, byte) in damage {
                let length = all.len();
                let bytes = &mut all[which.index(length)].3;
                if !bytes.is_empty() {
                    let length = bytes.len();
                    bytes[place.index(length)] = byte;
                }
            }
            for (which, length) in cuts {
                let count = all.len();
                all[which.index(count)].3.truncate(length);
            }
            for (one, other) in swaps {
                let count = all.len();
                let (one, other) = (one.index(count), other.index(count));
                let bytes = all[one].3.clone();
                all[one].3 = std::mem::replace(&mut all[other].3, bytes);
            }
            let lengths = all.iter_mut();
            lengths.for_each(|stored| stored.2 = stored.2.max(u32::try_from(stored.3.len()).unwrap()));
            let (extracted, written) = extracted(&format!("damaged-{name}"), &all);
            prop_assert_eq!(extracted.files, written.len() as u64);
            for copied in written {
                let mut rest = all.iter();
                for (at, link_type, length, bytes) in copied {
                    let same = |stored: &&Stored| {
                        (stored.0.time, stored.1, stored.2, &stored.3) == (at.time, link_type, length, &bytes)
                    };
                    prop_assert!(rest.find(same).is_some(), "frame {}", at.frame);
                }
            }
        }
    }

    #[test]
    fn fragments_that_come_in_any_order_are_all_there() {
        let whole = sample("mmc20-ip-fragments.pcap");
        let (_, in_order) = extracted("in-order", &whole);
        let mut reversed = whole;
        // Each frame changes places with the next, but keeps its own time.
        for pair in reversed.chunks_exact_mut(2) {
            let [one, other] = pair else { continue };
            std::mem::swap(&mut one.3, &mut other.3);
            std::mem::swap(&mut one.2, &mut other.2);
        }
        let (extracted, swapped) = extracted("swapped", &reversed);
        assert_eq!((swapped.len(), swapped[0].len()), (1, in_order[0].len()));
        assert_eq!(extracted.frames_left_out, 0);
    }

    #[test]
    fn what_was_written_can_be_said() {
        let mut extracted = Extracted {
            alerts: 1,
            files: 1,
            folder: "packets".into(),
            ..Extracted::default()
        };
        assert_eq!(extracted.to_string(), "packets of 1 alert in packets (1 file)");
        (extracted.alerts, extracted.left_out, extracted.frames_left_out) = (3, 2, 1);
        assert_eq!(
            extracted.to_string(),
            "packets of 3 alerts in packets (1 file), 2 alerts left out, 1 frame left out"
        );
        extracted.interrupted = true;
        let told = extracted.to_string();
        assert!(
            told.starts_with("not all packets of 3 alerts in ") && told.ends_with(", interrupted"),
            "{told}"
        );
    }
}
