//! Captures built in memory, for the tests of this room.

use std::io::{Cursor, Read};

use super::file::CaptureFile;
use super::stored::Stored;
use super::{ByteOrder, CaptureError};

/// A frame as it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) time: i64,
    pub(super) link_type: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) original_length: u32,
}

/// Every frame of a capture, and the error that ended it.
pub(super) fn read(bytes: &[u8]) -> (Vec<Seen>, Option<CaptureError>) {
    read_from(Cursor::new(bytes.to_vec()))
}

pub(super) fn read_from(reader: impl Read + Send + 'static) -> (Vec<Seen>, Option<CaptureError>) {
    let mut seen = Vec::new();
    let stored = Stored::new(Box::new(reader), None).unwrap();
    let mut file = match CaptureFile::read("test".to_owned(), stored) {
        Ok(file) => file,
        Err(error) => return (seen, Some(error)),
    };
    loop {
        match file.next_frame() {
            Ok(Some(frame)) => seen.push(Seen {
                number: frame.at.frame,
                time: frame.at.time.0,
                link_type: frame.link_type.0,
                bytes: frame.bytes.to_vec(),
                original_length: frame.original_length,
            }),
            Ok(None) => return (seen, None),
            Err(error) => {
                assert!(matches!(file.next_frame(), Ok(None)), "nothing comes after an error");
                return (seen, Some(error));
            }
        }
    }
}

/// Gives one byte at a time, as a slow pipe would.
pub(super) struct OneByOne<R>(pub(super) R);

impl<R: Read> Read for OneByOne<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

/// Writes numbers in one byte order.
pub(super) struct Writer {
    pub(super) order: ByteOrder,
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(order: ByteOrder) -> Self {
        Self {
            order,
            bytes: Vec::new(),
        }
    }

    pub(super) fn u16(mut self, number: u16) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        });
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        });
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn pcap_header(self, magic: u32, snap_length: u32, link_type: u32) -> Self {
        self.u32(magic)
            .u16(2)
            .u16(4)
            .u32(0)
            .u32(0)
            .u32(snap_length)
            .u32(link_type)
    }

    pub(super) fn record(self, seconds: u32, ticks: u32, packet: &[u8]) -> Self {
        let length = u32::try_from(packet.len()).unwrap();
        self.u32(seconds).u32(ticks).u32(length).u32(length).raw(packet)
    }

    pub(super) fn block(self, block_type: u32, body: &[u8]) -> Self {
        let length = u32::try_from(12 + body.len()).unwrap();
        self.u32(block_type).u32(length).raw(body).u32(length)
    }

    pub(super) fn section(self) -> Self {
        let body = Self::new(self.order)
            .u32(0x1a2b_3c4d)
            .u16(1)
            .u16(0)
            .u32(u32::MAX)
            .u32(u32::MAX);
        self.block(0x0a0d_0d0a, &body.bytes)
    }

    pub(super) fn interface(self, link_type: u16, snap_length: u32, options: &[(u16, &[u8])]) -> Self {
        let mut body = Self::new(self.order).u16(link_type).u16(0).u32(snap_length);
        for (code, value) in options {
            body = body.u16(*code).u16(u16::try_from(value.len()).unwrap()).padded(value);
        }
        self.block(1, &body.bytes)
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, packet: &[u8]) -> Self {
        let length = u32::try_from(packet.len()).unwrap();
        let body = Self::new(self.order)
            .u32(interface)
            .ticks(ticks)
            .u32(length)
            .u32(length)
            .padded(packet);
        self.block(6, &body.bytes)
    }

    pub(super) fn ticks(self, ticks: u64) -> Self {
        self.u32(u32::try_from(ticks >> 32).unwrap())
            .u32(u32::try_from(ticks & 0xffff_ffff).unwrap())
    }
}
