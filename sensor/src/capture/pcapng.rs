//! pcapng: blocks in sections, each section in its own byte order and with its own interfaces.
//!
//! As in <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>. Blocks that carry no packet and describe no
//! interface are passed over; so are the options of packets.

use super::error::{Cause, Fault};
use super::file::Record;
use super::pcap::LONGEST_EVER;
use super::window::Window;
use super::{ByteOrder, Interface, LinkType};
use crate::time::Timestamp;

/// The type of the section header block: the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and length before each block's body.
const BLOCK_HEADER: usize = 8;
/// The block header and the length once more after the body.
const BLOCK_FRAME: u32 = 12;
/// Far more interfaces than a machine has; each costs memory until its section ends.
const MOST_INTERFACES: usize = 65_536;
/// Characters that are kept of an interface's name, and of its description.
const LONGEST_NAME: usize = 256;

/// The state of the section that is being read.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Described>,
    /// Which section it is, from 0.
    section: u32,
    /// The interface of the packet handed out last.
    current: usize,
    /// A simple packet block has no time; it is given that of the packet before it.
    latest: Timestamp,
}

/// pcapng 4.2 Interface Description Block.
#[derive(Debug)]
struct Described {
    interface: Interface,
    resolution: Resolution,
    offset_nanoseconds: i64,
}

/// What one tick of an interface's clock is (`if_tsresol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// A tick is this many nanoseconds.
    Nanoseconds(u32),
    /// A nanosecond is this many ticks.
    FinerThanNanoseconds(u128),
    /// A second is two to the power of this many ticks.
    BinaryFraction(u32),
}

/// Where a packet stands in its block's body and what its fixed fields say.
struct Packet {
    interface: u32,
    /// `None` for a simple packet block.
    ticks: Option<u64>,
    captured: u32,
    original_length: u32,
    /// Bytes of the block before the packet.
    before: usize,
}

/// Whether a pcapng file begins like this.
pub(super) fn recognise(first: &[u8]) -> bool {
    first.starts_with(&SECTION_HEADER) && first.get(8..12).is_some_and(|magic| byte_order(magic).is_some())
}

fn byte_order(magic: &[u8]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big]
        .into_iter()
        .find(|order| order.u32(magic, 0) == BYTE_ORDER_MAGIC)
}

impl Pcapng {
    /// Reads the first section header; `None` when it is none.
    pub(super) fn open(window: &mut Window) -> Result<Option<Self>, Fault> {
        if !recognise(window.peek(12)) {
            return Ok(None);
        }
        let mut pcapng = Self {
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            section: 0,
            current: 0,
            latest: Timestamp::default(),
        };
        pcapng.section_header(window)?;
        pcapng.section = 0;
        Ok(Some(pcapng))
    }

    /// The interface of the packet that was handed out last.
    ///
    /// INVARIANT: there was one, and the interface that it names was there.
    pub(super) fn interface(&self) -> &Interface {
        &self.interfaces[self.current].interface
    }

    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, Fault> {
        loop {
            if window.at_end()? {
                return Ok(None);
            }
            let header = window.require(BLOCK_HEADER, "block header")?;
            if header.starts_with(&SECTION_HEADER) {
                self.section_header(window)?;
                continue;
            }
            let block_type = self.order.u32(header, 0);
            let length = self.block(window)?;
            match block_type {
                1 => self.interface_description(window, length)?,
                2 | 3 | 6 => return self.packet(window, block_type, length).map(Some),
                _ => {
                    window.take(length);
                }
            }
        }
    }

    /// Brings a whole block into memory and compares its two lengths; gives its length.
    #[inline]
    fn block(&self, window: &mut Window) -> Result<usize, Fault> {
        let offset = window.offset();
        let header = window.require(BLOCK_HEADER, "block header")?;
        let start = self.order.u32(header, 4);
        if start < BLOCK_FRAME {
            return Err(Fault::at(offset, too_short("block", start, BLOCK_FRAME)));
        }
        if start > LONGEST_EVER {
            let (claimed, limit) = (u64::from(start), u64::from(LONGEST_EVER));
            return Err(Fault::at(
                offset,
                Cause::TooLong {
                    what: "block",
                    claimed,
                    limit,
                },
            ));
        }
        let length = start as usize;
        let block = window.require(length, "block")?;
        let end = self.order.u32(block, length - 4);
        if start == end {
            return Ok(length);
        }
        // Some writers fill blocks up to words, and leave that out of both lengths.
        let filled = length.next_multiple_of(4);
        let block = window.peek(filled);
        if block.len() >= filled && self.order.u32(block, filled - 4) == start {
            return Ok(filled);
        }
        Err(Fault::at(offset, Cause::LengthsDisagree { start, end }))
    }

    /// pcapng 4.1 Section Header Block: sets the byte order and forgets the interfaces.
    fn section_header(&mut self, window: &mut Window) -> Result<(), Fault> {
        let offset = window.offset();
        let start = window.require(12, "section header")?;
        let Some(order) = byte_order(&start[8..]) else {
            return Err(Fault::at(offset, Cause::ByteOrderMagic(ByteOrder::Big.u32(start, 8))));
        };
        self.order = order;
        self.interfaces.clear();
        self.section = self.section.saturating_add(1);
        let length = self.block(window)?;
        if length < 28 {
            return Err(Fault::at(
                offset,
                Cause::TooShort {
                    what: "section header",
                    claimed: length as u64,
                    least: 28,
                },
            ));
        }
        let block = window.peek(length);
        let (major, minor) = (order.u16(block, 12), order.u16(block, 14));
        if major != 1 {
            return Err(Fault::at(
                offset,
                Cause::Version {
                    format: "pcapng",
                    major,
                    minor,
                },
            ));
        }
        window.take(length);
        Ok(())
    }

    /// pcapng 4.2 Interface Description Block.
    fn interface_description(&mut self, window: &mut Window, length: usize) -> Result<(), Fault> {
        let offset = window.offset();
        if length < 20 {
            let cause = Cause::TooShort {
                what: "interface description",
                claimed: length as u64,
                least: 20,
            };
            return Err(Fault::at(offset, cause));
        }
        if self.interfaces.len() == MOST_INTERFACES {
            return Err(Fault::at(offset, Cause::TooManyInterfaces(MOST_INTERFACES)));
        }
        let block = &window.peek(length)[..length];
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut described = Described {
            interface: Interface {
                place: (self.section, number),
                link_type: LinkType(self.order.u16(block, 8)),
                snap_length: self.order.u32(block, 12),
                name: None,
                description: None,
            },
            resolution: Resolution::Nanoseconds(1_000),
            offset_nanoseconds: 0,
        };
        described.read_options(self.order, &block[16..length - 4]);
        self.interfaces.push(described);
        window.take(length);
        Ok(())
    }

    /// pcapng 4.3 Enhanced Packet Block, 4.4 Simple Packet Block, and the obsolete Packet Block (type 2).
    #[inline]
    fn packet(&mut self, window: &mut Window, block_type: u32, length: usize) -> Result<Record, Fault> {
        let offset = window.offset();
        let fixed = if block_type == 3 { 12 } else { 28 };
        if length < fixed + 4 {
            let cause = Cause::TooShort {
                what: "packet block",
                claimed: length as u64,
                least: fixed as u64 + 4,
            };
            return Err(Fault::at(offset, cause));
        }
        let room = length - fixed - 4;
        let packet = self.fixed_fields(&window.peek(length)[..length], block_type, room);
        let Some(Described {
            interface,
            resolution,
            offset_nanoseconds,
        }) = self.interfaces.get(packet.interface as usize)
        else {
            let described = self.interfaces.len();
            return Err(Fault::at(
                offset,
                Cause::UnknownInterface {
                    interface: packet.interface,
                    described,
                },
            ));
        };
        if packet.captured as usize > room {
            return Err(Fault::at(
                offset,
                Cause::PacketOutsideBlock {
                    packet: packet.captured,
                    room,
                },
            ));
        }
        if let Some(ticks) = packet.ticks {
            self.latest = Timestamp(resolution.nanoseconds(ticks).saturating_add(*offset_nanoseconds));
        }
        let link_type = interface.link_type;
        self.current = packet.interface as usize;
        let block = window.take(length);
        let first = block.start + packet.before;
        Ok(Record {
            time: self.latest,
            link_type,
            range: first..first + packet.captured as usize,
            original_length: packet.original_length.max(packet.captured),
        })
    }

    #[inline]
    fn fixed_fields(&self, block: &[u8], block_type: u32, room: usize) -> Packet {
        let order = self.order;
        if block_type == 3 {
            // It names no captured length: that is the least of three others.
            let original_length = order.u32(block, 8);
            let snap_length = self.interfaces.first().map_or(0, |first| first.interface.snap_length);
            let limit = if snap_length == 0 { u32::MAX } else { snap_length };
            let captured = original_length.min(limit).min(u32::try_from(room).unwrap_or(u32::MAX));
            return Packet {
                interface: 0,
                ticks: None,
                captured,
                original_length,
                before: 12,
            };
        }
        let interface = if block_type == 2 {
            u32::from(order.u16(block, 8))
        } else {
            order.u32(block, 8)
        };
        Packet {
            interface,
            ticks: Some(u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16))),
            captured: order.u32(block, 20),
            original_length: order.u32(block, 24),
            before: 28,
        }
    }
}

impl Described {
    /// pcapng 3.5 Options. Damaged ones end the list: they cost a default, not the file.
    fn read_options(&mut self, order: ByteOrder, mut options: &[u8]) {
        while options.len() >= 4 {
            let code = order.u16(options, 0);
            let length = usize::from(order.u16(options, 2));
            let Some(value) = options.get(4..4 + length) else {
                return;
            };
            match (code, value) {
                (0, _) => return,
                (2, name) => self.interface.name = Some(kept(name)),
                (3, description) => self.interface.description = Some(kept(description)),
                (9, [exponent]) => self.resolution = Resolution::new(*exponent),
                (14, [_, _, _, _, _, _, _, _]) => {
                    let (first, second) = (order.u32(value, 0), order.u32(value, 4));
                    let (high, low) = if order == ByteOrder::Big {
                        (first, second)
                    } else {
                        (second, first)
                    };
                    let seconds = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                    self.offset_nanoseconds = seconds.saturating_mul(1_000_000_000);
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

impl Resolution {
    fn new(exponent: u8) -> Self {
        let power = u32::from(exponent & 0x7f);
        if exponent & 0x80 != 0 {
            Self::BinaryFraction(power)
        } else if let Some(coarser) = 9_u32.checked_sub(power) {
            Self::Nanoseconds(10_u32.pow(coarser))
        } else {
            // Ticks too fine for any number of ours are all the same instant.
            Self::FinerThanNanoseconds(10_u128.checked_pow(power - 9).unwrap_or(u128::MAX))
        }
    }

    #[inline]
    fn nanoseconds(self, ticks: u64) -> i64 {
        let nanoseconds = match self {
            Self::Nanoseconds(each) => u128::from(ticks) * u128::from(each),
            Self::FinerThanNanoseconds(ticks_each) => u128::from(ticks) / ticks_each,
            Self::BinaryFraction(power) => (u128::from(ticks) * 1_000_000_000) >> power,
        };
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    }
}

/// A text of the capture's, as far as it is kept.
fn kept(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text).chars().take(LONGEST_NAME).collect()
}

fn too_short(what: &'static str, claimed: u32, least: u32) -> Cause {
    Cause::TooShort {
        what,
        claimed: u64::from(claimed),
        least: u64::from(least),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Writer, read};
    use super::*;

    fn little() -> Writer {
        Writer::new(ByteOrder::Little).section()
    }

    #[test]
    fn interfaces_of_one_file_have_their_own_link_types() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let file = Writer::new(order).section().interface(1, 0, &[]).interface(228, 0, &[]);
            let file = file.enhanced(1, 5, b"raw").enhanced(0, 6, b"ether");
            let (seen, error) = read(&file.bytes);
            assert!(error.is_none());
            let told: Vec<_> = seen
                .iter()
                .map(|frame| (frame.link_type, frame.time, frame.bytes.as_slice()))
                .collect();
            assert_eq!(told, [(228, 5_000, b"raw".as_slice()), (1, 6_000, b"ether".as_slice())]);
        }
    }

    #[test]
    fn each_section_has_its_own_byte_order_and_interfaces() {
        let mut file = little()
            .interface(1, 0, &[])
            .interface(1, 0, &[])
            .enhanced(1, 1, b"one")
            .bytes;
        file.extend(
            Writer::new(ByteOrder::Big)
                .section()
                .interface(101, 0, &[])
                .enhanced(0, 2, b"two")
                .bytes,
        );
        let (seen, error) = read(&file);
        assert!(error.is_none());
        assert_eq!((seen[1].number, seen[1].link_type, seen[1].time), (2, 101, 2_000));

        let end = file.len();
        file.extend(Writer::new(ByteOrder::Big).enhanced(1, 3, b"three").bytes);
        let error = read(&file).1.unwrap();
        assert_eq!(
            error.to_string(),
            format!("test: offset {end}: the packet is from interface 1, the section describes 1")
        );
    }

    #[test]
    fn time_has_the_resolution_of_its_interface() {
        for (exponent, ticks, nanoseconds) in [
            (0_u8, 3, 3_000_000_000),
            (3, 1_500, 1_500_000_000),
            (6, 7, 7_000),
            (9, 7, 7),
            (12, 7_999, 7),
            (127, u64::MAX, 0),
            (0x80, 2, 2_000_000_000),
            (0x8a, 1_536, 1_500_000_000),
            (0xa0, 3 << 31, 1_500_000_000),
            (0xff, u64::MAX, 0),
            (9, u64::MAX, i64::MAX),
        ] {
            let file = little().interface(1, 0, &[(9, &[exponent])]).enhanced(0, ticks, b"");
            assert_eq!(read(&file.bytes).0[0].time, nanoseconds, "{exponent:#x} {ticks}");
        }
    }

    #[test]
    fn seconds_are_added_to_an_interface_with_an_offset() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let seconds: i64 = -2;
            let bytes = if order == ByteOrder::Big {
                seconds.to_be_bytes()
            } else {
                seconds.to_le_bytes()
            };
            let file = Writer::new(order)
                .section()
                .interface(1, 0, &[(2, b"eth0"), (14, &bytes), (0, b"")]);
            let (seen, _) = read(&file.enhanced(0, 5_000_000, b"").bytes);
            assert_eq!(seen[0].time, 3_000_000_000);
        }
    }

    #[test]
    fn a_simple_packet_has_the_first_interface_and_the_time_before_it() {
        let file = little().interface(147, 4, &[]).interface(1, 0, &[]).enhanced(1, 9, b"");
        let simple = Writer::new(ByteOrder::Little).u32(10).raw(b"abcd");
        let (seen, error) = read(&file.block(3, &simple.bytes).bytes);
        assert!(error.is_none());
        assert_eq!(
            (seen[1].link_type, seen[1].time, seen[1].original_length),
            (147, 9_000, 10)
        );
        assert_eq!(seen[1].bytes, b"abcd");
    }

    #[test]
    fn a_simple_packet_ends_where_its_padding_begins() {
        let simple = Writer::new(ByteOrder::Little).u32(3).raw(b"abc\0");
        let (seen, _) = read(&little().interface(1, 0, &[]).block(3, &simple.bytes).bytes);
        assert_eq!(seen[0].bytes, b"abc");
    }

    #[test]
    fn the_obsolete_packet_block_is_read() {
        let body = Writer::new(ByteOrder::Big)
            .u16(1)
            .u16(77)
            .ticks(8)
            .u32(2)
            .u32(60)
            .raw(b"hi\0\0");
        let file = Writer::new(ByteOrder::Big)
            .section()
            .interface(1, 0, &[])
            .interface(12, 0, &[]);
        let (seen, error) = read(&file.block(2, &body.bytes).bytes);
        assert!(error.is_none());
        assert_eq!(
            (seen[0].link_type, seen[0].time, seen[0].original_length),
            (12, 8_000, 60)
        );
        assert_eq!(seen[0].bytes, b"hi");
    }

    #[test]
    fn unknown_blocks_are_passed_over() {
        let file = little()
            .block(0x8000_1234, b"whatever")
            .interface(1, 0, &[])
            .block(5, &[0; 12]);
        let (seen, error) = read(&file.enhanced(0, 1, b"x").block(10, b"").bytes);
        assert!(error.is_none());
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn damaged_options_cost_neither_interface_nor_packet() {
        let interface = Writer::new(ByteOrder::Little)
            .u16(1)
            .u16(0)
            .u32(0)
            .u16(9)
            .u16(0xffff)
            .raw(&[9, 0, 0, 0]);
        let packet = Writer::new(ByteOrder::Little)
            .u32(0)
            .ticks(4)
            .u32(4)
            .u32(4)
            .raw(b"data")
            .u16(1)
            .u16(0xffff);
        let (seen, error) = read(&little().block(1, &interface.bytes).block(6, &packet.bytes).bytes);
        assert!(error.is_none());
        assert_eq!((seen[0].time, seen[0].bytes.as_slice()), (4_000, b"data".as_slice()));
    }

    #[test]
    fn lengths_that_disagree_are_told_at_their_block() {
        let file = little().interface(1, 0, &[]).enhanced(0, 1, b"first");
        let damaged = file.bytes.len();
        let mut file = file.enhanced(0, 1, b"second").bytes;
        let last = file.len() - 4;
        file[last] += 4;
        let (seen, error) = read(&file);
        assert_eq!(seen.len(), 1);
        let told = format!("test: offset {damaged}: the block says 40 bytes at its start, 44 at its end");
        assert_eq!(error.unwrap().to_string(), told);
    }

    #[test]
    fn blocks_may_be_filled_up_to_words_beyond_both_their_lengths() {
        let filled = |block_type: u32, fixed: &[u32], packet: &[u8]| {
            let unfilled = 12 + 4 * fixed.len() + packet.len();
            let length = u32::try_from(unfilled).unwrap();
            let mut block = Writer::new(ByteOrder::Little).u32(block_type).u32(length);
            for &number in fixed {
                block = block.u32(number);
            }
            block
                .raw(packet)
                .raw(&vec![0; (4 - packet.len() % 4) % 4])
                .u32(length)
                .bytes
        };
        let mut file = little().interface(1, 0, &[]).bytes;
        for packet in [&b"first"[..], b"the second", b"and one.", b"the end"] {
            let length = u32::try_from(packet.len()).unwrap();
            file.extend(filled(6, &[0, 0, 1, length, length], packet));
        }
        let (seen, error) = read(&file);
        assert!(error.is_none(), "{error:?}");
        let seen: Vec<_> = seen.iter().map(|frame| frame.bytes.as_slice()).collect();
        assert_eq!(seen, [&b"first"[..], b"the second", b"and one.", b"the end"]);
    }

    #[test]
    fn a_packet_beyond_its_block_is_damage() {
        let body = Writer::new(ByteOrder::Little)
            .u32(0)
            .ticks(4)
            .u32(500)
            .u32(500)
            .raw(b"data");
        let error = read(&little().interface(1, 0, &[]).block(6, &body.bytes).bytes)
            .1
            .unwrap();
        assert!(
            matches!(error.cause, Cause::PacketOutsideBlock { packet: 500, room: 4 }),
            "{error}"
        );
    }

    #[test]
    fn blocks_too_short_for_themselves_are_damage() {
        for (block_type, length) in [(7, 8), (1, 16), (3, 12), (6, 28), (2, 28)] {
            let body = vec![0; (length as usize).saturating_sub(12)];
            let bytes = little()
                .interface(1, 0, &[])
                .u32(block_type)
                .u32(length)
                .raw(&body)
                .u32(length)
                .bytes;
            let error = read(&bytes).1.unwrap();
            assert!(
                matches!(error.cause, Cause::TooShort { .. }),
                "{block_type} {length}: {error}"
            );
        }
    }

    #[test]
    fn a_block_of_four_gigabytes_is_damage() {
        let file = little().u32(6).u32(u32::MAX - 3).raw(&[0; 40]);
        let error = read(&file.bytes).1.unwrap();
        assert!(matches!(error.cause, Cause::TooLong { .. }), "{error}");
    }

    #[test]
    fn more_interfaces_than_are_kept_end_the_reading() {
        let mut file = little();
        for _ in 0..=MOST_INTERFACES {
            file = file.interface(1, 0, &[]);
        }
        let error = read(&file.bytes).1.unwrap();
        assert!(
            matches!(error.cause, Cause::TooManyInterfaces(MOST_INTERFACES)),
            "{error}"
        );
    }
}
