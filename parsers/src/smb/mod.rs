//! SMB as far as it carries named pipes: [MS-SMB2] for versions 2 and 3, [MS-CIFS] and [MS-SMB] for version 1.
//!
//! Both versions say the same things in other words, so both are read into one [`Message`]. Encrypted and compressed
//! messages are told apart and not opened.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod checks;
#[cfg(test)]
mod round_trips;
mod session;
mod smb1;
mod smb2;

pub use session::{Block, Format, Start, recognise};

use crate::error::Result;

/// Ties a request and its response together: `MessageId` of [MS-SMB2] 2.2.1 SMB2 Packet Header, or PID and MID of
/// [MS-CIFS] 2.2.3.1 The SMB Header (UID and TID may be assigned by the very response).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// An open file or pipe: [MS-SMB2] 2.2.14.1 `SMB2_FILEID`, persistent and volatile part, or SMB1's FID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u128);

/// An identifier, which the server may still have to give: [MS-SMB2] 3.3.5.2.7.2 Handling Compounded Related Requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference<T> {
    /// It is known.
    Id(T),
    /// What the answer to this request, which stands before it in the same message, will say.
    AnswerTo(RequestId),
}

/// Who sends a message, by its own flag: [MS-SMB2] 2.2.1 SMB2 Packet Header, [MS-CIFS] 2.2.3.1 The SMB Header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// It is a request.
    Client,
    /// It is a response.
    Server,
}

/// One command of a message: [MS-SMB2] 2.2 Message Syntax, [MS-CIFS] 2.2.4 SMB Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Ties request and response together.
    pub request: RequestId,
    /// `SessionId` of [MS-SMB2] 2.2.1 SMB2 Packet Header: trees and files are unique within it. Zero in SMB1, where they
    /// are unique within the connection.
    pub session: u64,
    /// The share it is about; None when the header does not say (asynchronous responses).
    pub tree: Option<Reference<u32>>,
    /// Who sends it.
    pub sender: Sender,
    /// What it says.
    pub operation: Operation<'a>,
}

/// What a command ([MS-SMB2] 2.2 Message Syntax, [MS-CIFS] 2.2.4 SMB Commands) says, as far as pipes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A share is asked for, by its path.
    Connect(String),
    /// The share was granted; the header names it.
    Connected,
    /// A file or pipe is asked for, by its name.
    Open(String, Access),
    /// It was opened.
    Opened(FileId),
    /// Bytes are written.
    Write(Reference<FileId>, Payload<'a>),
    /// They were taken.
    Written,
    /// Bytes are asked for.
    Read(Reference<FileId>),
    /// Bytes that were asked for.
    ReadDone(Payload<'a>),
    /// Bytes are written, and the answer is asked for at once.
    Transact(Reference<FileId>, Payload<'a>),
    /// More bytes of a [`Operation::Transact`] of the same request.
    TransactMore(Payload<'a>),
    /// The answer to a [`Operation::Transact`], or a part of it.
    TransactDone(Payload<'a>, Progress),
    /// The file is closed.
    Close(Reference<FileId>),
    /// It was closed.
    Closed,
    /// A user logs in: the security token, which may be one of several.
    Login(Payload<'a>),
    /// The answer to that: the server's token, and what became of the login.
    LoginAnswered(Payload<'a>, Verdict),
    /// A request failed, whichever it was.
    Failed,
    /// Anything else, an interim response among it.
    Other,
}

/// What became of a login, by the status of [MS-SMB2] 2.2.6 SMB2 `SESSION_SETUP` Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another token is asked for: `STATUS_MORE_PROCESSING_REQUIRED`.
    Continued,
    /// The user is logged in.
    Accepted,
    /// The user is not.
    Refused,
}

impl Verdict {
    fn of(status: u32) -> Self {
        match status {
            0 => Self::Accepted,
            0xc000_0016 => Self::Continued,
            _ => Self::Refused,
        }
    }
}

/// What a file is opened for: [MS-SMB2] 2.2.13.1 SMB2 Access Mask Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// What it holds may be changed by this, or the file be made.
    Write,
    /// Anything else.
    Other,
}

impl Access {
    /// [MS-SMB2] 2.2.13.1.1 `File_Pipe_Printer_Access_Mask`: `FILE_WRITE_DATA`, `FILE_APPEND_DATA`, `GENERIC_ALL`,
    /// `GENERIC_WRITE`; SMB1 has the same.
    const WRITES: u32 = 0x5000_0006;
    /// [MS-SMB2] 2.2.13 SMB2 CREATE Request, `CreateDisposition`: `FILE_OPEN`, which is the only one that never makes
    /// or empties a file; SMB1 has the same.
    const OPEN: u32 = 1;

    fn of(desired: u32, disposition: u32) -> Self {
        if desired & Self::WRITES != 0 || disposition != Self::OPEN {
            Self::Write
        } else {
            Self::Other
        }
    }
}

/// Is there more to come for the same request? [MS-CIFS] 2.2.4.33 `SMB_COM_TRANSACTION` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Yes.
    Partial,
    /// No.
    Finished,
}

/// Bytes written or read: those that there are, which may be fewer than the message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The bytes there are.
    pub bytes: &'a [u8],
    /// How many there should be.
    pub length: usize,
}

impl<'a> Payload<'a> {
    /// `length` bytes at `offset` of a message.
    fn at(message: &'a [u8], offset: usize, length: usize) -> Self {
        let rest = message.get(offset..).unwrap_or_default();
        Self {
            bytes: rest.get(..length).unwrap_or(rest),
            length,
        }
    }
}

/// The commands of a message in clear, one after another: [MS-SMB2] 3.2.4.1.4 Sending Compounded Requests, [MS-CIFS]
/// 2.2.3.4 Batched Messages ("`AndX`" Messages).
#[derive(Clone, Debug)]
pub struct Messages<'a>(Cursor<'a>);

#[derive(Clone, Debug)]
enum Cursor<'a> {
    Smb1(smb1::Chain<'a>),
    Smb2(smb2::Chain<'a>),
    End,
}

impl<'a> Messages<'a> {
    /// The commands in `bytes`, which start with a protocol identifier. The end may be missing.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(match Format::of(bytes) {
            Some(Format::Smb1) => Cursor::Smb1(smb1::Chain::new(bytes)),
            Some(Format::Smb2) => Cursor::Smb2(smb2::Chain::new(bytes)),
            _ => Cursor::End,
        })
    }

    /// Is nothing chained to what was read so far?
    pub fn is_over(&self) -> bool {
        match &self.0 {
            Cursor::Smb1(chain) => chain.is_over(),
            Cursor::Smb2(chain) => chain.is_over(),
            Cursor::End => true,
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Cursor::Smb1(chain) => chain.next(),
            Cursor::Smb2(chain) => chain.next(),
            Cursor::End => None,
        }
    }
}

/// Names are short: no more than this of one is read.
const MAX_NAME: usize = 1024;

/// A name in UTF-16, or in the client's code page; it ends before a NUL.
fn name(bytes: &[u8], encoding: Characters) -> String {
    let bytes = bytes.get(..MAX_NAME).unwrap_or(bytes);
    match encoding {
        Characters::Utf16 => {
            let units = bytes.chunks_exact(2).map(|unit| match unit {
                &[low, high] => u16::from_le_bytes([low, high]),
                _ => 0,
            });
            char::decode_utf16(units.take_while(|&unit| unit != 0))
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        Characters::Oem => bytes
            .iter()
            .take_while(|&&byte| byte != 0)
            .map(|&byte| {
                if byte.is_ascii() {
                    char::from(byte)
                } else {
                    char::REPLACEMENT_CHARACTER
                }
            })
            .collect(),
    }
}

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Characters {
    Utf16,
    Oem,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLES: [&[u8]; 4] = [
        include_bytes!("../../corpus/smb/smb2-create-request.bin"),
        include_bytes!("../../corpus/smb/smb2-transact-bind.bin"),
        include_bytes!("../../corpus/smb/smb1-create-request.bin"),
        include_bytes!("../../corpus/smb/smb1-transact-bind.bin"),
    ];

    #[test]
    fn a_message_cut_anywhere_is_an_error_or_fewer_bytes() {
        for sample in SAMPLES {
            for length in 0..sample.len() {
                for message in Messages::new(&sample[..length]).take(100).flatten() {
                    if let Operation::Write(_, payload) | Operation::Transact(_, payload) = message.operation {
                        assert!(payload.bytes.len() < payload.length);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_never_make_it_go_on_for_ever(
            sample in 0_usize..4,
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..12),
        ) {
            let mut bytes = SAMPLES[sample].to_vec();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            prop_assert!(Messages::new(&bytes).count() <= bytes.len());
        }
    }
}
