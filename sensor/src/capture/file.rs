//! One capture file, read frame by frame.
//!
//! The formats are read here and not by the crate `pcap-parser`: it makes a list of options for each packet, loses
//! the packet when one of them is damaged, tells a cut file only as an unexpected end, and reads the modified pcap
//! format in one byte order.

use std::ops::Range;

use super::error::{CaptureError, Cause, Fault};
use super::inputs::Input;
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::stored::Stored;
use super::window::Window;
use super::{At, Frame, LinkType};
use crate::time::Timestamp;

/// An open capture. After an error it has no more frames.
pub struct CaptureFile {
    name: String,
    window: Window,
    format: Format,
    frames: u64,
    finished: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// What a format says of one packet; the bytes are still in the window.
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) link_type: LinkType,
    pub(super) range: Range<usize>,
    pub(super) original_length: u32,
}

/// Whether a file of these uncompressed first bytes (12 or more, if it has them) is a capture.
pub(super) fn recognise(first: &[u8]) -> bool {
    pcap::recognise(first) || pcapng::recognise(first)
}

impl CaptureFile {
    /// Opens a capture and reads its header.
    pub fn open(input: &Input) -> Result<Self, CaptureError> {
        let stored = match input {
            Input::Stdin => Stored::stdin(),
            Input::File(path) => Stored::open(path),
        };
        let stored = stored.map_err(|error| Fault::whole(Cause::Open(error)).of(input))?;
        Self::read(input.to_string(), stored)
    }

    pub(super) fn read(name: String, stored: Stored) -> Result<Self, CaptureError> {
        let mut window = Window::new(stored);
        match open_format(&mut window) {
            Ok(format) => Ok(Self {
                name,
                window,
                format,
                frames: 0,
                finished: false,
            }),
            Err(fault) => Err(fault.of(name)),
        }
    }

    /// The next frame; `None` at the end. What is damaged gives one error, after every frame before it.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.finished {
            return Ok(None);
        }
        let record = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.window),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.window),
        };
        match record {
            Ok(Some(Record {
                time,
                link_type,
                range,
                original_length,
            })) => {
                self.frames += 1;
                let at = At {
                    frame: self.frames,
                    time,
                };
                Ok(Some(Frame {
                    at,
                    link_type,
                    bytes: self.window.slice(range),
                    original_length,
                }))
            }
            Ok(None) => {
                self.finished = true;
                Ok(None)
            }
            Err(fault) => {
                self.finished = true;
                Err(fault.of(&self.name))
            }
        }
    }

    /// Bytes read so far of the file as it is stored, compressed ones included: what a progress bar counts.
    pub fn bytes_read(&self) -> u64 {
        self.window.source().bytes_read()
    }

    /// Size of the file as it is stored, when it has one.
    pub fn size(&self) -> Option<u64> {
        self.window.source().size()
    }
}

fn open_format(window: &mut Window) -> Result<Format, Fault> {
    if window.at_end()? {
        return Err(Fault::whole(Cause::Empty));
    }
    if let Some(pcap) = Pcap::open(window)? {
        return Ok(Format::Pcap(pcap));
    }
    if let Some(pcapng) = Pcapng::open(window)? {
        return Ok(Format::Pcapng(pcapng));
    }
    // A damaged compressed stream may have ended within the first bytes: then that is the cause.
    window.peek(12);
    if let Some(fault) = window.failed() {
        return Err(fault);
    }
    let first = window.peek(12);
    let first = first[..first.len().min(12)].to_vec();
    Err(Fault::whole(Cause::NotACapture { first }))
}
