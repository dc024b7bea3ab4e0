//! A snap length that nobody told.
//!
//! Some tools write what they left of a frame as its original length, and what cuts packets on their way to the sensor says
//! nothing at all. A packet that ends behind its frame is otherwise damaged or forged, and hosts drop it. It is a snap
//! length when no frame is longer, and those that have just that length end before their packet most of the time, whoever
//! sends them.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::carrier::Taken;
use super::{DecodeCounters, link};
use crate::capture::Frame;
use crate::limits::Limits;

/// So many frames that end before their packet, and no fewer, tell it.
const CUT: u32 = 3;
/// So many that do not, and it is none.
const WHOLE: u32 = 64;

/// What was seen of the longest frames of each input.
#[derive(Debug, Default)]
pub(crate) struct SnapLengths(Vec<Longest>);

#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    length: usize,
    /// How many of that length end before their packet, and how many do not.
    cut: u32,
    whole: u32,
    /// Who sent the first that does, and did others too?
    first: Option<IpAddr>,
    several: bool,
}

impl SnapLengths {
    /// How long a frame was on the wire, as far as that can be known. Frames come in the order of their input.
    #[inline]
    pub(crate) fn original_length(&mut self, frame: &Frame<'_>) -> u32 {
        let length = frame.bytes.len();
        let input = frame.at.input as usize;
        if input >= self.0.len() {
            self.0.resize(input + 1, Longest::default());
        }
        let longest = &mut self.0[input];
        if length < longest.length || (length == longest.length && longest.whole >= WHOLE) {
            return frame.original_length;
        }
        longest.original_length(frame)
    }
}

impl Longest {
    #[cold]
    fn original_length(&mut self, frame: &Frame<'_>) -> u32 {
        let length = frame.bytes.len();
        if length > self.length {
            *self = Self {
                length,
                ..Self::default()
            };
        }
        let (source, missing) = match beyond(frame) {
            // What was cut and is told to be cut shows nothing.
            _ if frame.original_length as usize > length => return frame.original_length,
            None => return frame.original_length,
            Some((_, 0)) => {
                self.whole += 1;
                return frame.original_length;
            }
            Some(beyond) => beyond,
        };
        self.cut = self.cut.saturating_add(1);
        self.several |= *self.first.get_or_insert(source) != source;
        if self.cut >= CUT && self.cut > self.whole && self.several {
            frame.original_length.saturating_add(missing)
        } else {
            frame.original_length
        }
    }
}

/// Who sent the outermost packet, and how many of its bytes stand behind the frame; None where none says its length.
fn beyond(frame: &Frame<'_>) -> Option<(IpAddr, u32)> {
    let mut taken = Taken::new(&Limits::default());
    let bytes = link::frame(frame.link_type, frame.bytes, &mut taken, &mut DecodeCounters::default()).ok()?;
    let (source, length) = match bytes.first()? >> 4 {
        4 => {
            let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
            (header.source_addr().into(), usize::from(header.total_len()))
        }
        6 => {
            let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
            let length = match usize::from(header.payload_length()) {
                0 => 0,
                payload => payload + 40,
            };
            (header.source_addr().into(), length)
        }
        _ => return None,
    };
    let missing = (length > 0).then(|| length.saturating_sub(bytes.len()))?;
    Some((source, u32::try_from(missing).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{At, LinkType};

    /// A frame of so many bytes with a packet that says to be so long.
    fn frame(length: usize, packet: u16) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        bytes[16..18].copy_from_slice(&packet.to_be_bytes());
        bytes
    }

    /// The original lengths of such frames, one after the other, sent by one or by two in turn.
    fn sent_by(senders: usize, frames: &[(usize, u16)]) -> Vec<u32> {
        let mut snap = SnapLengths::default();
        let length = |(number, &(length, packet)): (usize, &(usize, u16))| {
            let mut bytes = frame(length, packet);
            bytes[29] = u8::try_from(number % senders).unwrap();
            snap.original_length(&Frame {
                at: At::default(),
                link_type: LinkType(1),
                bytes: &bytes,
                original_length: u32::try_from(length).unwrap(),
            })
        };
        frames.iter().enumerate().map(length).collect()
    }

    fn lengths(frames: &[(usize, u16)]) -> Vec<u32> {
        sent_by(2, frames)
    }

    #[test]
    fn a_run_of_frames_that_end_at_one_length_were_cut_there() {
        let told = lengths(&[
            (60, 40),
            (128, 500),
            (128, 300),
            (90, 76),
            (128, 500),
            (128, 114),
            (128, 115),
            (60, 90),
        ]);
        assert_eq!(told, [60, 128, 128, 90, 514, 128, 129, 60]);
    }

    #[test]
    fn a_longer_frame_or_whole_ones_of_that_length_show_that_it_is_none() {
        let cut = (128, 500);
        assert_eq!(lengths(&[(129, 115), cut, cut, cut, cut]), [129, 128, 128, 128, 128]);
        let whole = (128, 114);
        let mixed = [whole, whole, whole, cut, cut, cut, cut];
        assert_eq!(lengths(&mixed), [128, 128, 128, 128, 128, 128, 514]);
        let mut many = vec![whole; 64];
        many.extend([cut; 99]);
        assert!(lengths(&many).iter().all(|&length| length == 128));
        assert_eq!(lengths(&[cut, cut, (129, 115), cut]), [128, 128, 129, 128]);
        assert_eq!(sent_by(1, &[cut; 5]), [128; 5], "who forges one forges more");
    }
}
