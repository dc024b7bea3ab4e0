//! A file as it is stored: opened, counted and, when its first bytes say so, decompressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::error::Cause;

/// Room between the file and its decompressor.
const COMPRESSED_BUFFER: usize = 64 * 1024;
/// How much a gzip stream is asked for at a time. What the decoder has written when it meets damage is lost
/// with that call, so the calls are small enough to lose little and large enough to cost nothing.
const GZIP_STEP: usize = 16 * 1024;

/// The uncompressed bytes of an input.
pub(crate) struct Stored {
    encoding: Encoding,
    size: Option<u64>,
}

enum Encoding {
    Plain(Counted),
    Gzip(Gzip),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted>>>),
}

/// RFC 1952 2.2 File format: members one after the other. Zeros between and behind them are padding, as gzip takes them.
enum Gzip {
    Member(Box<GzDecoder<BufReader<Counted>>>),
    /// After so many bytes.
    Ended(u64),
}

impl Gzip {
    fn count(&self) -> u64 {
        match self {
            Self::Member(decoder) => decoder.get_ref().get_ref().count,
            Self::Ended(count) => *count,
        }
    }

    /// What comes behind a member.
    fn behind(mut reader: BufReader<Counted>) -> io::Result<Self> {
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(Self::Ended(reader.get_ref().count));
            }
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let more = zeros < bytes.len();
            reader.consume(zeros);
            if more {
                return Ok(Self::Member(Box::new(GzDecoder::new(reader))));
            }
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Self::Member(decoder) = self {
            let read = decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let ended = Self::Ended(self.count());
            if let Self::Member(decoder) = std::mem::replace(self, ended) {
                *self = Self::behind(decoder.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// The bytes that were looked at to tell the encoding, then the rest; counted as they go.
struct Counted {
    reader: io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

impl Stored {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        // A pipe or device has a length of zero that means nothing.
        let size = metadata.is_file().then_some(metadata.len());
        Self::new(Box::new(file), size)
    }

    pub(crate) fn stdin() -> io::Result<Self> {
        Self::new(Box::new(io::stdin()), None)
    }

    pub(super) fn new(mut reader: Box<dyn Read + Send>, size: Option<u64>) -> io::Result<Self> {
        let mut first = Vec::with_capacity(4);
        reader.by_ref().take(4).read_to_end(&mut first)?;
        let magic: Option<[u8; 4]> = first.as_slice().try_into().ok();
        let counted = Counted {
            reader: Cursor::new(first).chain(reader),
            count: 0,
        };
        let encoding = match magic {
            Some([0x1f, 0x8b, ..]) => Encoding::Gzip(Gzip::Member(Box::new(GzDecoder::new(buffered(counted))))),
            // A frame, or a skippable frame as parallel compressors put first.
            Some([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
                Encoding::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(buffered(counted))?))
            }
            _ => Encoding::Plain(counted),
        };
        Ok(Self { encoding, size })
    }

    /// Bytes taken from the file as stored.
    pub(super) fn bytes_read(&self) -> u64 {
        match &self.encoding {
            Encoding::Plain(counted) => counted.count,
            Encoding::Gzip(gzip) => gzip.count(),
            Encoding::Zstd(decoder) => decoder.get_ref().get_ref().count,
        }
    }

    /// Size of the file as stored.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// What a failed read means for this encoding.
    pub(crate) fn cause(&self, error: io::Error) -> Cause {
        let format = match &self.encoding {
            Encoding::Plain(_) => return Cause::Read(error),
            Encoding::Gzip(_) => "gzip",
            Encoding::Zstd(_) => "zstd",
        };
        // The library has no other word for it than this text.
        if format == "zstd" && error.to_string().contains("requires too much memory") {
            return Cause::Window;
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Cause::CompressedEnd { format }
        } else {
            Cause::Compression { format, error }
        }
    }

    /// The same where nothing could be read that tells what the file is.
    pub(crate) fn undecided(&self, error: io::Error) -> Cause {
        match self.cause(error) {
            cause @ Cause::Read(_) => cause,
            cause => Cause::Undecided(Box::new(cause)),
        }
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.encoding {
            Encoding::Plain(counted) => counted.read(buffer),
            Encoding::Gzip(decoder) => {
                let step = buffer.len().min(GZIP_STEP);
                decoder.read(&mut buffer[..step])
            }
            Encoding::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

fn buffered(counted: Counted) -> BufReader<Counted> {
    BufReader::with_capacity(COMPRESSED_BUFFER, counted)
}
