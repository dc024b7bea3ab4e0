//! pcap, the format of libpcap: a file header, then records.
//!
//! As in <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>, and A. Kuznetsov's variant of it with its
//! longer record header.

use super::error::{Cause, Fault};
use super::file::Record;
use super::window::Window;
use super::{ByteOrder, Interface, LinkType};
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
    /// The second number of the format's version: which of the two lengths of a record comes first.
    minor: u16,
    /// The one that all frames are of.
    interface: Interface,
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
            minor,
            interface: Interface {
                place: (0, 0),
                link_type: LinkType(u16::from_le_bytes([low, high])),
                snap_length,
                name: None,
                description: None,
            },
        }))
    }

    /// What the file says of where its frames came from.
    pub(super) fn interface(&self) -> &Interface {
        &self.interface
    }

    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, Fault> {
        if window.at_end()? {
            return Ok(None);
        }
        let offset = window.offset();
        let header = window.require(self.record_header, "packet record header")?;
        let [seconds, ticks, mut captured, mut original_length] = self.order.four(header);
        // Before 2.3 the frame's own length stood first, and some wrote it so in 2.3: libpcap goes by these.
        if self.minor < 3 || (self.minor == 3 && captured > original_length) {
            (captured, original_length) = (original_length, captured);
        }
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
            link_type: self.interface.link_type,
            range,
            original_length: original_length.max(captured),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Writer, read};
    use super::*;

    #[test]
    fn both_byte_orders_and_both_resolutions_are_read() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for (magic, nanoseconds) in [(0xa1b2_c3d4, 7_000), (0xa1b2_3c4d, 7)] {
                let file = Writer::new(order)
                    .pcap_header(magic, 65_535, 101)
                    .record(2, 7, b"abc")
                    .record(3, 0, b"");
                let (seen, error) = read(&file.bytes);
                assert!(error.is_none());
                assert_eq!(seen.len(), 2);
                assert_eq!((seen[0].number, seen[0].time), (1, 2_000_000_000 + nanoseconds));
                assert_eq!((seen[0].link_type, seen[0].bytes.as_slice()), (101, b"abc".as_slice()));
                assert_eq!(
                    (seen[1].number, seen[1].time, seen[1].bytes.len()),
                    (2, 3_000_000_000, 0)
                );
            }
        }
    }

    #[test]
    fn modified_records_have_eight_more_header_bytes() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let file = Writer::new(order).pcap_header(0xa1b2_cd34, 65_535, 1);
            let file = file.u32(1).u32(0).u32(2).u32(9).raw(&[0xee; 8]).raw(b"xy");
            let (seen, error) = read(&file.bytes);
            assert!(error.is_none());
            assert_eq!(
                (seen[0].bytes.as_slice(), seen[0].original_length),
                (b"xy".as_slice(), 9)
            );
        }
    }

    #[test]
    fn the_lengths_of_a_record_stand_as_its_version_says() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for (minor, lengths) in [(0, [9, 2]), (2, [9, 2]), (3, [9, 2]), (3, [2, 9]), (4, [2, 9])] {
                let file = Writer::new(order).u32(0xa1b2_c3d4).u16(2).u16(minor).raw(&[0; 8]);
                let file = file.u32(65_535).u32(1).u32(1).u32(0).u32(lengths[0]).u32(lengths[1]);
                let (seen, error) = read(&file.raw(b"xy").record(2, 0, b"abc").bytes);
                assert!(error.is_none(), "{minor}: {error:?}");
                assert_eq!((seen.len(), seen[0].original_length), (2, 9), "{minor}");
                assert_eq!(seen[0].bytes, b"xy");
            }
        }
    }

    #[test]
    fn a_cut_record_is_told_with_its_place_and_lengths() {
        let file = Writer::new(ByteOrder::Little).pcap_header(0xa1b2_c3d4, 65_535, 1);
        let file = file.record(1, 0, b"abc").record(1, 0, &[0; 100]);
        let (seen, error) = read(&file.bytes[..24 + 19 + 16 + 30]);
        assert_eq!(seen.len(), 1);
        assert_eq!(
            error.unwrap().to_string(),
            "test: offset 43: the last packet record says 100 bytes, 30 are there"
        );
    }

    #[test]
    fn a_snap_length_of_zero_is_not_believed() {
        let file = Writer::new(ByteOrder::Little)
            .pcap_header(0xa1b2_c3d4, 0, 1)
            .record(1, 0, &[1; 1514]);
        let (seen, error) = read(&file.bytes);
        assert_eq!((seen[0].bytes.len(), error.is_none()), (1514, true));
    }

    #[test]
    fn an_absurd_length_is_damage() {
        for snap_length in [0, 96, u32::MAX] {
            let file = Writer::new(ByteOrder::Little).pcap_header(0xa1b2_c3d4, snap_length, 1);
            let file = file
                .record(1, 0, b"abc")
                .u32(1)
                .u32(0)
                .u32(0xf000_0000)
                .u32(0xf000_0000)
                .raw(&[0; 64]);
            let (seen, error) = read(&file.bytes);
            let error = error.unwrap();
            assert_eq!((seen.len(), error.offset), (1, Some(43)));
            assert!(
                matches!(
                    error.cause,
                    Cause::TooLong {
                        claimed: 0xf000_0000,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn a_record_longer_than_the_window_is_read() {
        let packet = vec![0x5a; 3_000_000];
        let file = Writer::new(ByteOrder::Little)
            .pcap_header(0xa1b2_c3d4, 4_000_000, 1)
            .record(1, 0, &packet);
        let (seen, error) = read(&file.record(1, 0, b"after").bytes);
        assert!(error.is_none());
        assert!(seen[0].bytes == packet && seen[1].bytes == b"after");
    }

    #[test]
    fn the_length_of_the_check_sequence_is_no_link_type() {
        let file = Writer::new(ByteOrder::Big)
            .pcap_header(0xa1b2_c3d4, 0, 0x5400_0001)
            .record(1, 0, b"abc");
        assert_eq!(read(&file.bytes).0[0].link_type, 1);
    }

    #[test]
    fn an_unknown_version_is_told() {
        let file = Writer::new(ByteOrder::Little)
            .u32(0xa1b2_c3d4)
            .u16(3)
            .u16(0)
            .raw(&[0; 16]);
        let (_, error) = read(&file.bytes);
        assert_eq!(
            error.unwrap().to_string(),
            "test: offset 4: pcap version 3.0 is not known"
        );
    }
}
