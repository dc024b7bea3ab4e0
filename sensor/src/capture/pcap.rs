//! pcap, the format of libpcap: a file header, then records.
//!
//! As in <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>, and A. Kuznetsov's variant of it with its
//! longer record header.

use super::error::{Cause, Fault};
use super::file::Record;
use super::window::Window;
use super::{ByteOrder, LinkType};
use crate::time::Timestamp;

/// Length of the file header.
const FILE_HEADER: usize = 24;
/// What tcpdump and Wireshark take for the longest packet; a file may name a larger snap length, not a smaller limit.
const LONGEST_USUAL: u32 = 262_144;
/// Beyond this no snap length is believed.
pub(super) const LONGEST_EVER: u32 = 256 * 1024 * 1024;

/// What the file header says of the records.
#[derive(Debug)]
pub(super) struct Pcap {
    order: ByteOrder,
    record_header: usize,
    nanoseconds_per_tick: i64,
    longest: u32,
    link_type: LinkType,
}

/// What the first four bytes say.
struct Magic {
    order: ByteOrder,
    record_header: usize,
    nanoseconds_per_tick: i64,
}

fn magic(first: &[u8]) -> Option<Magic> {
    let first: [u8; 4] = first.get(..4)?.try_into().ok()?;
    [
        (ByteOrder::Little, u32::from_le_bytes(first)),
        (ByteOrder::Big, u32::from_be_bytes(first)),
    ]
    .into_iter()
    .find_map(|(order, number)| {
        let (record_header, nanoseconds_per_tick) = match number {
            0xa1b2_c3d4 => (16, 1_000),
            0xa1b2_3c4d => (16, 1),
            0xa1b2_cd34 => (24, 1_000),
            _ => return None,
        };
        Some(Magic {
            order,
            record_header,
            nanoseconds_per_tick,
        })
    })
}

/// Whether a pcap file begins like this.
pub(super) fn recognise(first: &[u8]) -> bool {
    magic(first).is_some()
}

impl Pcap {
    /// Reads the file header; `None` when it is none of pcap's.
    pub(super) fn open(window: &mut Window) -> Result<Option<Self>, Fault> {
        let Some(Magic {
            order,
            record_header,
            nanoseconds_per_tick,
        }) = magic(window.peek(4))
        else {
            return Ok(None);
        };
        let header = window.require(FILE_HEADER, "file header")?;
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        let snap_length = order.u32(header, 16);
        // The upper half holds the length of the frame check sequence, which is cut off as trailing bytes anyway.
        let [low, high, ..] = order.u32(header, 20).to_le_bytes();
        if major != 2 {
            return Err(Fault::at(
                4,
                Cause::Version {
                    format: "pcap",
                    major,
                    minor,
                },
            ));
        }
        window.take(FILE_HEADER);
        Ok(Some(Self {
            order,
            record_header,
            nanoseconds_per_tick,
            longest: snap_length.clamp(LONGEST_USUAL, LONGEST_EVER),
            link_type: LinkType(u16::from_le_bytes([low, high])),
        }))
    }

    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, Fault> {
        if window.at_end()? {
            return Ok(None);
        }
        let offset = window.offset();
        let header = window.require(self.record_header, "packet record header")?;
        let seconds = self.order.u32(header, 0);
        let ticks = self.order.u32(header, 4);
        let captured = self.order.u32(header, 8);
        let original_length = self.order.u32(header, 12);
        if captured > self.longest {
            let (claimed, limit) = (u64::from(captured), u64::from(self.longest));
            return Err(Fault::at(
                offset,
                Cause::TooLong {
                    what: "packet record",
                    claimed,
                    limit,
                },
            ));
        }
        window.require_body(self.record_header, captured as usize, "packet record")?;
        let mut range = window.take(self.record_header + captured as usize);
        range.start += self.record_header;
        Ok(Some(Record {
            time: Timestamp::new(i64::from(seconds), i64::from(ticks) * self.nanoseconds_per_tick),
            link_type: self.link_type,
            range,
            original_length: original_length.max(captured),
        }))
    }
}
