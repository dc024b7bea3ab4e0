//! A large capture made of the small ones in `pcaps/`, repeated with other addresses and times.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dcom_sensor::capture::{CaptureFile, Input, LinkType};

/// Where the sample captures stand.
pub(crate) const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pcaps");
/// How large the capture becomes.
const SIZE: usize = 64 << 20;
/// Time of the first frame, and from one repetition to the next: dozens of them are on their way at a time.
const FIRST: i64 = 1_700_000_000_000_000_000;
const STEP: i64 = 20_000_000;
/// From one sample to the next.
const APART: i64 = 500_000;

const ETHERNET: LinkType = LinkType(1);
/// The samples' addresses begin with this (192.0.2.0/24), and with this (`2001:db8::/32`).
const IPV4: [u8; 3] = [192, 0, 2];
const IPV6: [u8; 4] = [0x20, 0x01, 0x0d, 0xb8];

/// A frame, with its time since the first of its capture.
struct Frame {
    after: i64,
    bytes: Vec<u8>,
}

/// Writes the capture.
pub(crate) fn write(path: &Path) -> io::Result<()> {
    let samples: Vec<Vec<Frame>> = inputs().iter().map(frames).collect();
    let once: usize = samples.iter().flatten().map(|frame| 16 + frame.bytes.len()).sum();
    let mut all = Vec::new();
    for (repetition, start) in (0..SIZE / once).zip((FIRST..).step_by(usize::try_from(STEP).unwrap())) {
        for (sample, start) in samples.iter().zip((start..).step_by(usize::try_from(APART).unwrap())) {
            all.extend(
                sample
                    .iter()
                    .map(|frame| (start + frame.after, repetition, &frame.bytes)),
            );
        }
    }
    all.sort_by_key(|&(time, ..)| time);
    let mut file = BufWriter::new(File::create(path)?);
    for number in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1] {
        file.write_all(&u32::to_le_bytes(number))?;
    }
    for (time, repetition, bytes) in all {
        let mut bytes = bytes.clone();
        readdress(&mut bytes, repetition);
        let length = i64::try_from(bytes.len()).unwrap();
        for number in [time / 1_000_000_000, time / 1_000 % 1_000_000, length, length] {
            file.write_all(&u32::try_from(number).unwrap().to_le_bytes())?;
        }
        file.write_all(&bytes)?;
    }
    file.flush()
}

/// The sample captures, in the order of their names.
pub(crate) fn inputs() -> Vec<Input> {
    let found = dcom_sensor::capture::expand(&[SAMPLES.into()]);
    assert!(
        found.errors.is_empty() && !found.inputs.is_empty(),
        "no captures in {SAMPLES}"
    );
    found.inputs
}

fn frames(input: &Input) -> Vec<Frame> {
    let mut capture = CaptureFile::open(input).expect("a sample capture");
    let mut frames = Vec::new();
    let mut first = None;
    while let Some(frame) = capture.next_frame().expect("a whole sample capture") {
        let first = *first.get_or_insert(frame.at.time);
        if frame.link_type == ETHERNET {
            frames.push(Frame {
                after: frame.at.time.since(first),
                bytes: frame.bytes.to_vec(),
            });
        }
    }
    frames
}

/// Gives both ends addresses of this repetition alone, in headers, towers and string bindings. The new addresses have as
/// many characters as the old. Checksums are left wrong: they are counted, and nothing more.
fn readdress(frame: &mut [u8], repetition: usize) {
    let digit = |divisor: usize| u8::try_from(repetition / divisor % 10).unwrap();
    let network = [100 + 10 * digit(1_000) + digit(100), digit(10), digit(1)];
    replace(frame, &IPV4, &network);
    replace(frame, &wide(IPV4), &wide(network));
    replace(frame, &IPV6, &[0xfd, network[0], network[1], network[2]]);
}

/// An address's beginning as string bindings write it.
fn wide([a, b, c]: [u8; 3]) -> Vec<u8> {
    let text = format!("{a}.{b}.{c}.");
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for start in 0..bytes.len().saturating_sub(from.len() - 1) {
        let window = &mut bytes[start..start + from.len()];
        if window == from {
            window.copy_from_slice(to);
        }
    }
}
