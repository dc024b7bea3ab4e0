//! pcapng as it is written: one section, little-endian, times in nanoseconds.
//!
//! As in <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>. Three kinds of blocks are less than a crate for it
//! would ask; those there are had no release for years, or no comments.

use crate::capture::{Frame, Interface};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// Options: those of each block, and those of one kind.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION_TEXT: u16 = 3;
const TIME_RESOLUTION: u16 = 9;

/// Ten to the power of minus this is a tick.
const NANOSECONDS: u8 = 9;

/// 4.1 Section Header Block.
pub(super) fn section_header(comments: &[String], out: &mut Vec<u8>) {
    block(SECTION_HEADER, out, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // How long the section is: not said.
        out.extend(u64::MAX.to_le_bytes());
        for comment in comments {
            option(COMMENT, comment.as_bytes(), out);
        }
        option(
            USER_APPLICATION,
            concat!("dcom-sensor ", env!("CARGO_PKG_VERSION")).as_bytes(),
            out,
        );
        option(END_OF_OPTIONS, &[], out);
    });
}

/// 4.2 Interface Description Block.
pub(super) fn interface(interface: &Interface, comment: &str, out: &mut Vec<u8>) {
    block(INTERFACE_DESCRIPTION, out, |out| {
        out.extend(interface.link_type.0.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(interface.snap_length.to_le_bytes());
        option(COMMENT, comment.as_bytes(), out);
        for (code, text) in [
            (INTERFACE_NAME, &interface.name),
            (INTERFACE_DESCRIPTION_TEXT, &interface.description),
        ] {
            if let Some(text) = text {
                option(code, text.as_bytes(), out);
            }
        }
        option(TIME_RESOLUTION, &[NANOSECONDS], out);
        option(END_OF_OPTIONS, &[], out);
    });
}

/// 4.3 Enhanced Packet Block.
pub(super) fn packet<'c>(
    interface: u32,
    frame: &Frame<'_>,
    comments: impl IntoIterator<Item = &'c str>,
    out: &mut Vec<u8>,
) {
    block(ENHANCED_PACKET, out, |out| {
        // A time before 1970 has no place in the format.
        let time = u64::try_from(frame.at.time.0).unwrap_or_default();
        let [low, high] = [time, time >> 32].map(|half| u32::try_from(half & 0xffff_ffff).unwrap_or_default());
        let captured = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        for number in [interface, high, low, captured, frame.original_length] {
            out.extend(number.to_le_bytes());
        }
        padded(frame.bytes, out);
        let before = out.len();
        for comment in comments {
            option(COMMENT, comment.as_bytes(), out);
        }
        if out.len() > before {
            option(END_OF_OPTIONS, &[], out);
        }
    });
}

/// 3.1 General Block Structure: its length stands at both ends.
fn block(kind: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    // What a frame and its comments come to is far below this.
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend(length.to_le_bytes());
}

/// 3.5 Options. A text that is too long for one is cut between characters.
fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let mut value = value;
    if value.len() > usize::from(u16::MAX) {
        let end = (0..=usize::from(u16::MAX)).rev().find(|&end| value[end] & 0xc0 != 0x80);
        value = &value[..end.unwrap_or_default()];
    }
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
    padded(value, out);
}

fn padded(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes);
    out.extend(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{At, CaptureFile, Input, LinkType};
    use crate::time::Timestamp;

    #[test]
    fn what_is_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("dcom-sensor-{}-written.pcapng", std::process::id()));
        let described = |number, link, name: Option<&str>| Interface {
            place: (0, number),
            link_type: LinkType(link),
            snap_length: 96 + number,
            name: name.map(Into::into),
            description: Some("é".into()),
        };
        let interfaces = [described(0, 1, Some("eth0")), described(1, 113, None)];
        let mut bytes = Vec::new();
        section_header(&["one".to_owned(), "é".repeat(60_000)], &mut bytes);
        for known in &interfaces {
            interface(known, "from a test", &mut bytes);
        }
        let frame = |time, bytes| Frame {
            at: At {
                time: Timestamp(time),
                ..At::default()
            },
            link_type: LinkType(1),
            bytes,
            original_length: 1_514,
        };
        packet(0, &frame(1_600_000_000_123_456_789, b"first"), [], &mut bytes);
        packet(1, &frame(-5, b"the second"), ["what", "is said of it"], &mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let mut capture = CaptureFile::open(&Input::File(path.clone())).unwrap();
        let mut seen = Vec::new();
        while let Some((frame, interface)) = capture.next_with_interface().unwrap() {
            assert_eq!(frame.original_length, 1_514);
            seen.push((
                frame.at.time.0,
                frame.link_type.0,
                frame.bytes.to_vec(),
                interface.clone(),
            ));
        }
        let _ = std::fs::remove_file(&path);
        let [first, second] = interfaces;
        assert_eq!(
            seen,
            [
                (1_600_000_000_123_456_789, 1, b"first".to_vec(), first),
                (0, 113, b"the second".to_vec(), second)
            ]
        );
    }
}
