//! What can be wrong with a capture file, and how it is told.

use std::fmt;
use std::io;

use crate::emit::console::printable;

/// A capture that could not be read, or not to its end.
#[derive(Debug)]
pub struct CaptureError {
    /// The file as the user named it, `-` for the standard input.
    pub input: String,
    /// Where in the uncompressed capture, when the fault has a place.
    pub offset: Option<u64>,
    /// What is wrong there.
    pub cause: Cause,
}

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The file cannot be opened.
    #[error("cannot open: {0}")]
    Open(io::Error),
    /// The operating system refused to go on reading.
    #[error("cannot read: {0}")]
    Read(io::Error),
    /// The compressed stream is damaged.
    #[error("the {format} stream is damaged: {error}")]
    Compression {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the decompressor said.
        error: io::Error,
    },
    /// The compressed stream stops before its end mark.
    #[error("the {format} stream stops before its end")]
    CompressedEnd {
        /// `gzip` or `zstd`.
        format: &'static str,
    },
    /// The compressed stream looks further back than is kept of it.
    #[error("the zstd stream says that it needs a window of more than 128 MiB")]
    Window,
    /// A compressed file in a folder of which nothing can be had that tells what it is.
    #[error("{0}, and nothing of it tells what it is")]
    Undecided(Box<Self>),
    /// There are no bytes at all.
    #[error("is empty")]
    Empty,
    /// No format we know begins like this.
    #[error("not a capture: it begins with {}", hex(.first))]
    NotACapture {
        /// The first bytes, twelve at most.
        first: Vec<u8>,
    },
    /// A version of the format whose layout is not known.
    #[error("{format} version {major}.{minor} is not known")]
    Version {
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// The file ends within a structure.
    #[error("the last {what} says {claimed} bytes, {have} are there")]
    Truncated {
        /// Which structure.
        what: &'static str,
        /// How long it is by its own words, or must be.
        claimed: u64,
        /// How much of it is there.
        have: u64,
    },
    /// A length that no capture has.
    #[error("the {what} says {claimed} bytes, at most {limit} can be")]
    TooLong {
        /// Which structure.
        what: &'static str,
        /// Its length by its own words.
        claimed: u64,
        /// The longest that is believed.
        limit: u64,
    },
    /// A length below what the structure needs for itself.
    #[error("the {what} says {claimed} bytes, at least {least} must be")]
    TooShort {
        /// Which structure.
        what: &'static str,
        /// Its length by its own words.
        claimed: u64,
        /// The shortest it can be.
        least: u64,
    },
    /// A pcapng block has its length at both ends, and they differ.
    #[error("the block says {start} bytes at its start, {end} at its end")]
    LengthsDisagree {
        /// Length at the start of the block.
        start: u32,
        /// Length at the end of the block.
        end: u32,
    },
    /// A packet is longer than the block around it.
    #[error("the packet says {packet} bytes, its block has room for {room}")]
    PacketOutsideBlock {
        /// Captured length of the packet.
        packet: u32,
        /// Bytes between the block's fixed fields and its end.
        room: usize,
    },
    /// A section header whose byte-order magic is neither way round.
    #[error("the section header's byte-order magic is {0:#010x}")]
    ByteOrderMagic(u32),
    /// A packet names an interface that the section did not describe.
    #[error("the packet is from interface {interface}, the section describes {described}")]
    UnknownInterface {
        /// The interface's number, from 0.
        interface: u32,
        /// How many the section described so far.
        described: usize,
    },
    /// More interfaces in one section than we keep.
    #[error("a section describes more than {0} interfaces")]
    TooManyInterfaces(usize),
    /// Frames of all link types in it begin in ways that are not known.
    #[error("its frames are of link type {0}, which is not read")]
    LinkType(u16),
    /// The pattern is none.
    #[error("bad pattern: {0}")]
    Pattern(&'static str),
    /// Neither a file nor a pattern that matches one.
    #[error("no such file, and no file matches it")]
    NoMatch,
    /// A folder without any capture in it.
    #[error("no capture in this folder")]
    NoCaptureInFolder,
    /// A folder cannot be listed.
    #[error("cannot list: {0}")]
    List(io::Error),
}

/// What to do with a stream of a large window.
const WINDOW: &str = "decompress it: `zstd -d --long=31`";

/// A cause and its place, before the file's name is put to it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: Option<u64>,
    pub(super) cause: Cause,
}

impl Fault {
    pub(super) fn at(offset: u64, cause: Cause) -> Self {
        Self {
            offset: Some(offset),
            cause,
        }
    }

    /// The file as a whole is meant.
    pub(super) fn whole(cause: Cause) -> Self {
        Self { offset: None, cause }
    }

    pub(super) fn of(self, input: impl fmt::Display) -> CaptureError {
        CaptureError {
            input: input.to_string(),
            offset: self.offset,
            cause: self.cause,
        }
    }
}

impl CaptureError {
    /// What the user may make of it.
    pub fn hint(&self) -> Option<&'static str> {
        let from_the_start = self.offset == Some(0);
        match &self.cause {
            Cause::Truncated { .. } | Cause::CompressedEnd { .. } if from_the_start => {
                Some("the capture was cut short in its first bytes: nothing of it could be read")
            }
            Cause::Truncated { .. } | Cause::CompressedEnd { .. } => {
                Some("the capture was cut short; what came before was read")
            }
            Cause::Window => Some(WINDOW),
            Cause::Undecided(cause) => matches!(**cause, Cause::Window).then_some(WINDOW),
            Cause::NotACapture { first } if first.starts_with(b"ElfFile\0") => {
                Some("an event log of Windows: `dcom-sensor hunt` reads it, and --host-logs joins it with captures")
            }
            Cause::NotACapture { .. } => Some(
                "expected pcap or pcapng, plain, .gz or .zst; `editcap IN OUT.pcapng` converts captures of most other tools, \
                 etl2pcapng those of Windows (.etl), and archives have to be unpacked",
            ),
            Cause::Empty => Some("expected pcap or pcapng, plain, .gz or .zst"),
            Cause::TooLong {
                what: "packet record", ..
            } => Some(
                "what came before the damage was read; where all files of one tool end so, they are a variant of pcap: \
                 `editcap IN OUT.pcapng` converts most",
            ),
            Cause::Compression { .. }
            | Cause::TooLong { .. }
            | Cause::TooShort { .. }
            | Cause::LengthsDisagree { .. }
            | Cause::PacketOutsideBlock { .. }
            | Cause::ByteOrderMagic(_)
            | Cause::UnknownInterface { .. }
            | Cause::TooManyInterfaces(_)
            | Cause::Read(_) => Some(if from_the_start {
                "nothing of it could be read"
            } else {
                "what came before the damage was read"
            }),
            Cause::LinkType(_) => Some("capture on Ethernet, or on -i any; docs/OPERATING.md lists the link types"),
            Cause::NoCaptureInFolder => Some("a folder is searched for pcap and pcapng, plain, .gz or .zst"),
            Cause::Open(_) | Cause::Version { .. } | Cause::Pattern(_) | Cause::NoMatch | Cause::List(_) => None,
        }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line feed in a name would begin a line of its own.
        write!(f, "{}: ", printable(&self.input))?;
        if let Some(offset) = self.offset {
            write!(f, "offset {offset}: ")?;
        }
        write!(f, "{}", self.cause)
    }
}

impl std::error::Error for CaptureError {}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_file_offset_and_cause() {
        let cause = Cause::Truncated {
            what: "packet record",
            claimed: 1514,
            have: 300,
        };
        let error = Fault::at(1234, cause).of("a.pcap");
        assert_eq!(
            error.to_string(),
            "a.pcap: offset 1234: the last packet record says 1514 bytes, 300 are there"
        );
        assert_eq!(
            error.hint(),
            Some("the capture was cut short; what came before was read")
        );
    }

    #[test]
    fn a_name_begins_no_line_and_commands_no_terminal() {
        let told = Fault::whole(Cause::NoMatch).of("a\n\u{1b}[2Jb.pcap").to_string();
        assert_eq!(told, "a\\u{0a}\\u{1b}[2Jb.pcap: no such file, and no file matches it");
    }

    #[test]
    fn a_hint_says_what_was_read_before_the_fault() {
        let hint = |offset, cause| Fault::at(offset, cause).of("a.pcap.gz").hint().unwrap();
        let cut = || Cause::CompressedEnd { format: "gzip" };
        assert!(hint(1, cut()).ends_with("what came before was read"));
        assert!(hint(0, cut()).ends_with("nothing of it could be read"));
        assert_eq!(hint(0, Cause::ByteOrderMagic(1)), "nothing of it could be read");
        assert_eq!(hint(0, Cause::Undecided(Box::new(Cause::Window))), WINDOW);
    }

    #[test]
    fn a_message_shows_the_first_bytes_of_a_stranger() {
        let error = Fault::at(
            0,
            Cause::NotACapture {
                first: vec![0x4d, 0x5a, 0x90],
            },
        )
        .of("x.exe");
        assert_eq!(
            error.to_string(),
            "x.exe: offset 0: not a capture: it begins with 4d 5a 90"
        );
    }
}
