//! Segments that no host takes, as far as can be seen from beside the wire. They are put aside: read only when the other
//! end acknowledges their bytes and no others came.

use crate::capture::At;
use crate::decode::Segment;

/// A segment put aside.
pub(super) struct Suspect {
    pub(super) at: At,
    pub(super) sequence: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) flaw: Flaw,
}

impl Suspect {
    /// The sequence number behind it.
    pub(super) fn behind(&self) -> u32 {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.sequence.wrapping_add(length)
    }
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Its checksum, or that of its IPv4 header, is wrong, and right otherwise on this side.
    Checksum,
    /// RFC 9293 3.10.7.4, fifth: no ACK flag.
    Unacknowledging,
    /// The same: it acknowledges what cannot have been sent.
    Acknowledgement,
    /// RFC 7323 5.3 Basic PAWS Algorithm: its time stamp is older than that of what came before it.
    Stamp,
    /// RFC 7413: bytes beside a SYN are taken where both ends agreed on that before.
    Syn,
    /// What it carries is what fills the shortest frame of Ethernet.
    Padding,
    /// The other end said that it has no room. RFC 9293 3.8.6.1 Zero-Window Probing: one byte may be sent all the same.
    NoRoom,
}

impl Flaw {
    /// How that is told. Some of it honest hosts do too.
    pub(super) fn told(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Checksum => (
                "tcp_checksum_wrong",
                "a checksum is wrong, its own or that of its IP header, and right otherwise on this side: read only if \
                 the other side acknowledges these bytes and no others came",
            ),
            Self::Unacknowledging => (
                "tcp_unacceptable_segment",
                "it has no ACK flag: read only if the other side acknowledges these bytes and no others came",
            ),
            Self::Acknowledgement => (
                "tcp_unacceptable_segment",
                "it acknowledges what cannot have been sent: read only if the other side acknowledges these bytes and \
                 no others came",
            ),
            Self::Stamp => (
                "tcp_unacceptable_segment",
                "its time stamp is older than that of what came before it: read only if the other side acknowledges \
                 these bytes and no others came",
            ),
            Self::Syn | Self::Padding | Self::NoRoom => return None,
        })
    }
}

/// Does it carry what some hosts leave behind an acknowledgement, and count within its IP packet: the zeros that fill the
/// shortest frame of Ethernet? IEEE 802.3 3.2.8 Pad field: 46 bytes, or 42 behind a VLAN tag; the two headers take 40.
pub(super) fn is_padding(segment: &Segment<'_>) -> bool {
    const PSH: u8 = 0x08;
    (segment.whole.len() == 26 || (segment.whole.len() == 22 && segment.vlan.count > 0))
        && segment.source.address.is_ipv4()
        && segment.flags & PSH == 0
        && segment.payload.iter().all(|&byte| byte == 0)
}

/// The time stamps of one end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps(Option<(u32, u32)>);

impl Stamps {
    /// Is the segment older than one that stands before it in the stream? Takes note of it if not.
    pub(super) fn is_old(&mut self, segment: &Segment<'_>) -> bool {
        let Some(stamp) = stamp(segment.whole) else {
            return false;
        };
        if let Some((sequence, newest)) = self.0 {
            if segment.sequence.wrapping_sub(sequence).cast_signed() < 0 {
                return false;
            }
            if stamp.wrapping_sub(newest).cast_signed() < 0 {
                return true;
            }
        }
        self.0 = Some((segment.sequence, stamp));
        false
    }
}

/// RFC 7323 3.2 Timestamps Option: its `TSval`.
fn stamp(header: &[u8]) -> Option<u32> {
    let length = usize::from(header.get(12)? >> 4) * 4;
    let mut options = header.get(20..length)?;
    // RFC 9293 3.2 Specific Option Definitions: end of the list, no operation, all others with their length.
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => return None,
            (1, _) => rest,
            (8, [10, a, b, c, d, ..]) => return Some(u32::from_be_bytes([*a, *b, *c, *d])),
            (_, [length, ..]) => options.get(usize::from(*length).max(2)..)?,
            _ => return None,
        };
    }
    None
}

/// The two bytes that stand in its header there.
fn field(segment: &Segment<'_>, at: usize) -> Option<u16> {
    let bytes = segment.whole.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

/// Does who sent it say that it has no room? RFC 9293 3.1 Header Format, Window.
pub(super) fn has_no_room(segment: &Segment<'_>) -> bool {
    field(segment, 14) == Some(0)
}

/// The sequence number of the byte that it marks as urgent. RFC 6093 3.1: the pointer points behind it.
pub(super) fn urgent(segment: &Segment<'_>) -> Option<u32> {
    const URG: u8 = 0x20;
    let pointer = field(segment, 18).filter(|&pointer| segment.flags & URG != 0 && pointer > 0)?;
    Some(segment.sequence.wrapping_add(u32::from(pointer) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(options: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 20];
        header.extend(options);
        header[12] = u8::try_from(header.len() / 4).unwrap() << 4;
        header.extend(b"payload");
        header
    }

    #[test]
    fn a_time_stamp_is_found_among_options_and_nowhere_else() {
        let aligned = header(&[1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0]);
        assert_eq!(stamp(&aligned), Some(0x102));
        let behind = header(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0]);
        assert_eq!(stamp(&behind), Some(7));
        for none in [
            header(&[]),
            header(&[0, 0, 8, 10]),
            header(&[1, 1, 1, 8]),
            header(&[3, 0, 3, 0]),
            header(&[8, 10, 0, 0]),
            vec![0xff; 20],
            Vec::new(),
        ] {
            assert_eq!(stamp(&none), None, "{none:?}");
        }
    }
}
