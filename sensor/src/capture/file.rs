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
use super::{At, Batch, Frame, Interface, LinkType, Slot};
use crate::time::Timestamp;

/// An open capture. After an error it has no more frames.
pub struct CaptureFile {
    name: String,
    window: Window,
    format: Format,
    frames: u64,
    /// Those of the frames so far, each once.
    link_types: Vec<LinkType>,
    finished: bool,
    /// A frame that was read and belongs to the next batch.
    next: Option<Slot>,
    /// Why there are no more frames, kept back until the batch before has been handed out.
    failed: Option<CaptureError>,
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
                link_types: Vec::new(),
                finished: false,
                next: None,
                failed: None,
            }),
            Err(fault) => Err(fault.of(name)),
        }
    }

    /// The next frame; `None` at the end. What is damaged gives one error, after every frame before it.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let slot = self.next_slot()?;
        Ok(slot.map(|slot| slot.frame(|range| self.window.slice(range))))
    }

    /// The same, with the interface that the frame came from.
    pub(crate) fn next_with_interface(&mut self) -> Result<Option<(Frame<'_>, &Interface)>, CaptureError> {
        let Some(slot) = self.next_slot()? else { return Ok(None) };
        let interface = match &self.format {
            Format::Pcap(pcap) => pcap.interface(),
            Format::Pcapng(pcapng) => pcapng.interface(),
        };
        Ok(Some((slot.frame(|range| self.window.slice(range)), interface)))
    }

    /// The next frames, with the memory they stand in; `None` at the end. `spare` is memory that may be used.
    pub(crate) fn next_batch(&mut self, spare: Batch) -> Result<Option<Batch>, CaptureError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.window.give_away(spare.bytes);
        let mut frames = spare.frames;
        frames.clear();
        frames.extend(self.next.take());
        loop {
            let slot = self.next_slot();
            let given = self.window.given();
            match (slot, given) {
                (Ok(Some(slot)), Some(bytes)) if !frames.is_empty() => {
                    self.next = Some(slot);
                    return Ok(Some(Batch { bytes, frames }));
                }
                (Ok(Some(slot)), _) => frames.push(slot),
                (Ok(None), _) if frames.is_empty() => return Ok(None),
                (Err(error), _) if frames.is_empty() => return Err(error),
                (ended, given) => {
                    self.failed = ended.err();
                    let bytes = given.unwrap_or_else(|| self.window.give_up());
                    return Ok(Some(Batch { bytes, frames }));
                }
            }
        }
    }

    #[inline]
    fn next_slot(&mut self) -> Result<Option<Slot>, CaptureError> {
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
                if self.link_types.last() != Some(&link_type) && !self.link_types.contains(&link_type) {
                    self.link_types.push(link_type);
                }
                let at = At {
                    frame: self.frames,
                    input: 0,
                    time,
                    set_back: 0,
                };
                Ok(Some(Slot {
                    at,
                    link_type,
                    range,
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

    /// An error, if frames came and `is_read` holds for the link type of none of them.
    pub(crate) fn unread(&self, is_read: impl Fn(LinkType) -> bool) -> Option<CaptureError> {
        let &link_type = self.link_types.first()?;
        let unread = !self.link_types.iter().any(|&link_type| is_read(link_type));
        unread.then(|| Fault::whole(Cause::LinkType(link_type.0)).of(&self.name))
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
        return Err(Fault::at(0, Cause::Empty));
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
    Err(Fault::at(0, Cause::NotACapture { first }))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;

    use super::super::ByteOrder;
    use super::super::testing::{OneByOne, Writer, read, read_from};
    use super::*;

    fn small_pcap() -> Vec<u8> {
        let file = Writer::new(ByteOrder::Big).pcap_header(0xa1b2_3c4d, 65_535, 1);
        file.record(1, 1, b"first")
            .record(1, 2, b"")
            .record(1, 3, b"the third frame")
            .bytes
    }

    fn small_pcapng() -> Vec<u8> {
        let file = Writer::new(ByteOrder::Little)
            .section()
            .interface(1, 0, &[(9, &[9])])
            .interface(101, 0, &[]);
        let mut bytes = file
            .enhanced(0, 1, b"first")
            .block(5, &[0; 8])
            .enhanced(1, 2, b"the second frame")
            .bytes;
        bytes.extend(
            Writer::new(ByteOrder::Big)
                .section()
                .interface(113, 0, &[])
                .enhanced(0, 3, b"third")
                .bytes,
        );
        bytes
    }

    #[test]
    fn a_capture_of_which_no_link_type_is_read_is_told_when_it_has_frames() {
        let told = |bytes: &[u8], read: u16| {
            let stored = Stored::new(Box::new(Cursor::new(bytes.to_vec())), None).unwrap();
            let mut file = CaptureFile::read("test".to_owned(), stored).unwrap();
            while file.next_frame().unwrap().is_some() {}
            file.unread(|link_type| link_type.0 == read)
                .map(|error| error.to_string())
        };
        for read in [1, 101, 113] {
            assert_eq!(told(&small_pcapng(), read), None);
        }
        let message = "test: its frames are of link type 1, which is not read";
        assert_eq!(told(&small_pcapng(), 7).as_deref(), Some(message));
        assert_eq!(told(&small_pcap()[..24], 7), None);
    }

    #[test]
    fn zeros_behind_a_gzip_stream_are_padding() {
        let whole = small_pcap();
        for (tail, fails) in [(vec![0], false), (vec![0; 70_000], false), (b"\0\0junk".to_vec(), true)] {
            let (seen, error) = read(&[gzip(&whole), tail].concat());
            assert_eq!((seen.len(), error.is_some()), (3, fails));
        }
        let (first, second) = whole.split_at(30);
        let (seen, error) = read(&[gzip(first), vec![0; 512], gzip(second), vec![0; 512]].concat());
        assert_eq!((seen.len(), error.is_some()), (3, false));
    }

    /// Compressible, but not to nothing, and longer than any buffer on the way.
    fn long_pcap() -> Vec<u8> {
        let mut file = Writer::new(ByteOrder::Little).pcap_header(0xa1b2_c3d4, 65_535, 1);
        let mut state = 1_u32;
        for number in 0..2_000 {
            let packet: Vec<u8> = (0..500)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_le_bytes()[3] & 0x1f
                })
                .collect();
            file = file.record(number, 0, &packet);
        }
        file.bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_frames_before_and_one_error_or_a_clean_end() {
        for whole in [small_pcap(), small_pcapng()] {
            let (frames, error) = read(&whole);
            assert!(error.is_none() && frames.len() == 3);
            let mut clean_ends = 0;
            for length in 0..whole.len() {
                let (seen, error) = read(&whole[..length]);
                assert_eq!(seen, frames[..seen.len()], "cut at {length}");
                match error {
                    None => clean_ends += 1,
                    Some(error) if length == 0 => assert!(matches!(error.cause, Cause::Empty)),
                    Some(error) if length < 12 => {
                        assert!(
                            matches!(error.cause, Cause::NotACapture { .. } | Cause::Truncated { .. }),
                            "{error}"
                        );
                    }
                    Some(error) => {
                        assert!(
                            matches!(error.cause, Cause::Truncated { .. }),
                            "cut at {length}: {error}"
                        );
                        assert!(error.offset.is_some_and(|offset| offset < length as u64));
                    }
                }
            }
            // After the pcap header and each record but the last; after each of the eight pcapng blocks but the last.
            assert_eq!(clean_ends, if whole == small_pcap() { 3 } else { 8 });
        }
    }

    #[test]
    fn bytes_that_come_one_by_one_make_no_difference() {
        for whole in [small_pcap(), small_pcapng(), gzip(&small_pcap()), zstd(&small_pcapng())] {
            let (one_by_one, error) = read_from(OneByOne(Cursor::new(whole.clone())));
            assert!(error.is_none());
            assert_eq!(one_by_one, read(&whole).0);
            assert_eq!(one_by_one.len(), 3);
        }
    }

    #[test]
    fn compressed_captures_are_told_by_content_in_any_number_of_parts() {
        let whole = long_pcap();
        let (frames, _) = read(&whole);
        assert_eq!(frames.len(), 2_000);
        let (first, second) = whole.split_at(123_457);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
        for compressed in [
            gzip(&whole),
            [gzip(first), gzip(second)].concat(),
            zstd(&whole),
            [skippable, zstd(first), zstd(second)].concat(),
        ] {
            let (seen, error) = read(&compressed);
            assert!(error.is_none());
            assert!(seen == frames);
        }
    }

    #[test]
    fn a_compressed_file_that_is_cut_gives_what_was_decompressed() {
        let whole = long_pcap();
        let (frames, _) = read(&whole);
        for (compressed, told) in [
            (gzip(&whole), "the gzip stream stops before its end"),
            (zstd(&whole), "the zstd stream stops before its end"),
        ] {
            let (seen, error) = read(&compressed[..compressed.len() / 2]);
            let error = error.unwrap();
            assert_eq!(error.cause.to_string(), told);
            assert!(error.offset.is_some_and(|offset| offset > 300_000));
            assert!(seen.len() > 500 && seen == frames[..seen.len()]);
        }
    }

    #[test]
    fn a_gzip_file_without_its_trailer_gives_every_frame_and_an_error() {
        let compressed = gzip(&small_pcap());
        let (seen, error) = read(&compressed[..compressed.len() - 3]);
        assert_eq!(seen.len(), 3);
        assert!(matches!(error.unwrap().cause, Cause::CompressedEnd { format: "gzip" }));
    }

    #[test]
    fn damage_in_a_later_part_leaves_the_earlier_part() {
        let whole = long_pcap();
        let (first, second) = whole.split_at(500_000);
        for (mut parts, damaged, format) in [
            ([gzip(first), gzip(second)], 10, "gzip"),
            ([zstd(first), zstd(second)], 12, "zstd"),
        ] {
            parts[1][damaged..damaged + 40].fill(0xff);
            let (seen, error) = read(&parts.concat());
            let error = error.unwrap();
            assert!(seen.len() >= 960, "{} frames before {error}", seen.len());
            assert!(
                matches!(error.cause, Cause::Compression { format: told, .. } if told == format),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_capture_is_told_at_once_with_its_first_bytes() {
        let (_, error) = read(b"MZ\x90\0 and so on and so forth");
        let error = error.unwrap();
        assert_eq!(
            error.to_string(),
            "test: offset 0: not a capture: it begins with 4d 5a 90 00 20 61 6e 64 20 73 6f 20"
        );
        assert!(
            error
                .hint()
                .unwrap()
                .starts_with("expected pcap or pcapng, plain, .gz or .zst")
        );
        assert!(matches!(read(b"").1.unwrap().cause, Cause::Empty));
        assert!(matches!(read(&gzip(b"")).1.unwrap().cause, Cause::Empty));
        assert!(matches!(read(&gzip(b"hello")).1.unwrap().cause, Cause::NotACapture { first } if first == b"hello"));
        assert!(matches!(
            read(b"\x1f\x8b\x08\x00").1.unwrap().cause,
            Cause::CompressedEnd { .. }
        ));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(start in 0_usize..4, rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let starts = [&[][..], &small_pcap()[..24], &small_pcapng()[..28], &[0x1f, 0x8b, 8, 0]];
            read(&[starts[start], &rest].concat());
        }

        #[test]
        fn a_flipped_byte_leaves_the_frames_before_it(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            for (whole, header) in [(small_pcap(), 24), (small_pcapng(), 28)] {
                let (frames, _) = read(&whole);
                let mut damaged = whole.clone();
                let at = header + at.index(whole.len() - header);
                damaged[at] ^= flip;
                let untouched = read(&whole[..at]).0.len();
                let (seen, _) = read(&damaged);
                prop_assert!(seen.len() >= untouched);
                prop_assert_eq!(&seen[..untouched], &frames[..untouched]);
            }
        }
    }
}
