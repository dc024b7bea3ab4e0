//! [MS-CIFS] and [MS-SMB]: version 1.

use super::{
    Access, Characters, FileId, MAX_NAME, Message, Operation, Payload, Progress, Reference, RequestId, Sender, Verdict,
    name,
};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

const HEADER: usize = 32;

const CLOSE: u8 = 0x04;
const TRANSACTION: u8 = 0x25;
const TRANSACTION_SECONDARY: u8 = 0x26;
const OPEN_ANDX: u8 = 0x2d;
const READ_ANDX: u8 = 0x2e;
const WRITE_ANDX: u8 = 0x2f;
const SESSION_SETUP_ANDX: u8 = 0x73;
const LOGOFF_ANDX: u8 = 0x74;
const TREE_CONNECT_ANDX: u8 = 0x75;
const NT_CREATE_ANDX: u8 = 0xa2;
/// `AndXCommand` when nothing follows.
const NO_ANDX: u8 = 0xff;
/// [MS-SMB] 2.2.4.6.1 Client Request Extensions (`SMB_COM_SESSION_SETUP_ANDX`): bytes of parameters, where a token is sent.
const LOGIN_WORDS: usize = 24;
/// The same of the response.
const ANSWER_WORDS: usize = 8;

/// [MS-CIFS] 2.2.5.6 `TRANS_TRANSACT_NMPIPE` (0x0026).
const TRANSACT_NMPIPE: u16 = 0x0026;

const REPLY: u8 = 0x80;
const UNICODE: u16 = 0x8000;
/// [MS-CIFS] 2.2.4.43.1 Request (`SMB_COM_WRITE_ANDX`), `WriteMode`: raw bytes to a pipe, the first of a message; two
/// bytes of length stand before them.
const RAW_START: u16 = 0x000c;
const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;

/// Commands chained by `AndX`: [MS-CIFS] 2.2.3.4 Batched Messages ("`AndX`" Messages).
#[derive(Clone, Debug)]
pub(super) struct Chain<'a> {
    message: &'a [u8],
    next: Option<(u8, usize)>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        let command = message.get(4).copied();
        Self {
            message,
            next: command.map(|command| (command, HEADER)),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    pub(super) fn next(&mut self) -> Option<Result<Message<'a>>> {
        let (command, offset) = self.next.take()?;
        Some(self.read(command, offset))
    }

    fn read(&mut self, command: u8, offset: usize) -> Result<Message<'a>> {
        let message = self.message;
        let header = Header::parse(message)?;
        let mut input = Input::new(message, ByteOrder::Little, "SMB parameters");
        input.skip(offset)?;
        let count = usize::from(input.u8()?);
        let words = input.sub(count.saturating_mul(2))?;
        input.enter("SMB data");
        if has_andx(command) && !words.is_empty() {
            let mut andx = words;
            let next = andx.u8()?;
            andx.skip(1)?;
            let next_offset = usize::from(andx.u16()?);
            // Only ever further on: a chain cannot come back to itself.
            self.next = (next != NO_ANDX && next_offset > offset).then_some((next, next_offset));
        }
        let body = Body {
            message,
            words,
            data: input,
            characters: header.characters,
        };
        let operation = match header.sender {
            Sender::Client => body.request(command)?,
            Sender::Server => body.response(command, header.status)?,
        };
        Ok(Message {
            request: header.request,
            session: 0,
            tree: Some(Reference::Id(header.tree.into())),
            sender: header.sender,
            operation,
        })
    }
}

fn has_andx(command: u8) -> bool {
    matches!(
        command,
        OPEN_ANDX | READ_ANDX | WRITE_ANDX | SESSION_SETUP_ANDX | LOGOFF_ANDX | TREE_CONNECT_ANDX | NT_CREATE_ANDX
    )
}

/// [MS-CIFS] 2.2.3.1 The SMB Header.
struct Header {
    status: u32,
    sender: Sender,
    characters: Characters,
    tree: u16,
    request: RequestId,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "SMB header");
        input.skip(5)?;
        let status = input.u32()?;
        let flags = input.u8()?;
        let flags2 = input.u16()?;
        input.skip(12)?;
        let tree = input.u16()?;
        let process = input.u16()?;
        input.skip(2)?;
        let multiplex = input.u16()?;
        Ok(Self {
            status,
            sender: if flags & REPLY == 0 {
                Sender::Client
            } else {
                Sender::Server
            },
            characters: if flags2 & UNICODE == 0 {
                Characters::Oem
            } else {
                Characters::Utf16
            },
            tree,
            request: RequestId(u64::from(process) << 16 | u64::from(multiplex)),
        })
    }
}

/// One command's parameters, with what stands behind them.
struct Body<'a> {
    message: &'a [u8],
    words: Input<'a>,
    /// `ByteCount` and the bytes.
    data: Input<'a>,
    characters: Characters,
}

impl<'a> Body<'a> {
    fn request(mut self, command: u8) -> Result<Operation<'a>> {
        let words = &mut self.words;
        Ok(match command {
            // Without a token there are passwords' answers, in a form of their own.
            SESSION_SETUP_ANDX if words.remaining() == LOGIN_WORDS => {
                words.enter("SMB_COM_SESSION_SETUP_ANDX request");
                words.skip(14)?;
                let length = words.u16()?;
                Operation::Login(self.token(length)?)
            }
            TREE_CONNECT_ANDX => {
                words.enter("SMB_COM_TREE_CONNECT_ANDX request");
                words.skip(6)?;
                let password = words.u16()?;
                self.data.skip(2)?;
                self.data.skip(password.into())?;
                Operation::Connect(self.string()?)
            }
            NT_CREATE_ANDX => {
                words.enter("SMB_COM_NT_CREATE_ANDX request");
                words.skip(15)?;
                let desired = words.u32()?;
                words.skip(16)?;
                let access = Access::of(desired, words.u32()?);
                self.data.skip(2)?;
                Operation::Open(self.string()?, access)
            }
            OPEN_ANDX => {
                // A pipe's name is worth reading where parameters are missing, too.
                let mode = words.skip(6).and_then(|()| words.u16()).unwrap_or_default();
                self.data.skip(2)?;
                Operation::Open(self.string()?, old_access(mode))
            }
            CLOSE => {
                words.enter("SMB_COM_CLOSE request");
                Operation::Close(Reference::Id(file_id(words)?))
            }
            READ_ANDX => {
                words.enter("SMB_COM_READ_ANDX request");
                words.skip(4)?;
                Operation::Read(Reference::Id(file_id(words)?))
            }
            WRITE_ANDX => self.write()?,
            TRANSACTION => self.transact()?,
            TRANSACTION_SECONDARY => {
                words.enter("SMB_COM_TRANSACTION_SECONDARY request");
                words.skip(10)?;
                let length = words.u16()?;
                let offset = words.u16()?;
                Operation::TransactMore(Payload::at(self.message, offset.into(), length.into()))
            }
            _ => Operation::Other,
        })
    }

    /// [MS-SMB] 2.2.4.3.1 Client Request Extensions (`SMB_COM_WRITE_ANDX`).
    fn write(mut self) -> Result<Operation<'a>> {
        let words = &mut self.words;
        words.enter("SMB_COM_WRITE_ANDX request");
        words.skip(4)?;
        let file = file_id(words)?;
        words.skip(8)?;
        let mode = words.u16()?;
        words.skip(2)?;
        let high = words.u16()?;
        let low = words.u16()?;
        let offset = words.u16()?;
        let mut payload = Payload::at(self.message, offset.into(), long(high, low));
        if mode & RAW_START == RAW_START {
            payload.bytes = payload.bytes.get(2..).unwrap_or_default();
            payload.length = payload.length.saturating_sub(2);
        }
        Ok(Operation::Write(Reference::Id(file), payload))
    }

    /// [MS-CIFS] 2.2.4.33.1 Request (`SMB_COM_TRANSACTION`).
    fn transact(mut self) -> Result<Operation<'a>> {
        let words = &mut self.words;
        words.enter("SMB_COM_TRANSACTION request");
        words.skip(22)?;
        let length = words.u16()?;
        let offset = words.u16()?;
        let setup = words.u8()?;
        words.skip(1)?;
        if setup < 2 || words.u16()? != TRANSACT_NMPIPE {
            return Ok(Operation::Other);
        }
        let payload = Payload::at(self.message, offset.into(), length.into());
        Ok(Operation::Transact(Reference::Id(file_id(words)?), payload))
    }

    fn response(mut self, command: u8, status: u32) -> Result<Operation<'a>> {
        let words = &mut self.words;
        if command == CLOSE && status == 0 {
            return Ok(Operation::Closed);
        }
        if command == SESSION_SETUP_ANDX {
            return self.login_answered(Verdict::of(status));
        }
        if words.is_empty() && status != 0 && status != STATUS_BUFFER_OVERFLOW {
            return Ok(Operation::Failed);
        }
        Ok(match command {
            TREE_CONNECT_ANDX => Operation::Connected,
            WRITE_ANDX => Operation::Written,
            NT_CREATE_ANDX => {
                words.enter("SMB_COM_NT_CREATE_ANDX response");
                words.skip(5)?;
                Operation::Opened(file_id(words)?)
            }
            OPEN_ANDX => {
                words.enter("SMB_COM_OPEN_ANDX response");
                words.skip(4)?;
                Operation::Opened(file_id(words)?)
            }
            READ_ANDX => {
                words.enter("SMB_COM_READ_ANDX response");
                words.skip(10)?;
                let low = words.u16()?;
                let offset = words.u16()?;
                let high = words.u16()?;
                Operation::ReadDone(Payload::at(self.message, offset.into(), long(high, low)))
            }
            // An interim response, which only asks for more, has no words.
            TRANSACTION if !words.is_empty() => {
                words.enter("SMB_COM_TRANSACTION response");
                words.skip(2)?;
                let total = words.u16()?;
                words.skip(8)?;
                let length = words.u16()?;
                let offset = words.u16()?;
                let displacement = words.u16()?;
                let progress = if u32::from(displacement).saturating_add(length.into()) < total.into() {
                    Progress::Partial
                } else {
                    Progress::Finished
                };
                Operation::TransactDone(Payload::at(self.message, offset.into(), length.into()), progress)
            }
            _ => Operation::Other,
        })
    }

    /// [MS-SMB] 2.2.4.6.2 Server Response Extensions (`SMB_COM_SESSION_SETUP_ANDX`).
    fn login_answered(mut self, verdict: Verdict) -> Result<Operation<'a>> {
        let words = &mut self.words;
        let mut token = Payload::default();
        if words.remaining() == ANSWER_WORDS {
            words.enter("SMB_COM_SESSION_SETUP_ANDX response");
            words.skip(6)?;
            let length = words.u16()?;
            token = self.token(length)?;
        }
        Ok(Operation::LoginAnswered(token, verdict))
    }

    /// The security token, which stands first in the data. The end may be missing.
    fn token(mut self, length: u16) -> Result<Payload<'a>> {
        self.data.skip(2)?;
        Ok(Payload::at(self.data.rest(), 0, length.into()))
    }

    /// A name that ends with a NUL, or is longer than names are read. In UTF-16 it starts at an even offset from the
    /// header.
    fn string(mut self) -> Result<String> {
        if self.characters == Characters::Utf16 {
            self.data.align(0, 2)?;
        }
        let rest = self.data.rest();
        // No more than is read of it: every command of a chain may look for an end, and messages may be long.
        let rest = rest.get(..MAX_NAME).unwrap_or(rest);
        let ended = match self.characters {
            Characters::Utf16 => rest.chunks_exact(2).any(|unit| unit == [0, 0]),
            Characters::Oem => rest.contains(&0),
        };
        if !ended && rest.len() < MAX_NAME {
            self.data.skip(rest.len().saturating_add(1))?;
        }
        Ok(name(rest, self.characters))
    }
}

/// [MS-CIFS] 2.2.4.41.1 Request (`SMB_COM_OPEN_ANDX`), `AccessMode`: 1 to write, 2 to read and write.
fn old_access(mode: u16) -> Access {
    match mode & 7 {
        1 | 2 => Access::Write,
        _ => Access::Other,
    }
}

fn file_id(words: &mut Input<'_>) -> Result<FileId> {
    Ok(FileId(words.u16()?.into()))
}

fn long(high: u16, low: u16) -> usize {
    usize::try_from(u32::from(high) << 16 | u32::from(low)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smb::Messages;

    /// A header, with commands behind it.
    fn message(command: u8, flags: u8, commands: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xffSMB".to_vec();
        bytes.extend([command, 0, 0, 0, 0, flags, 0, 0]);
        bytes.extend([0; 12]);
        bytes.extend([1, 0, 2, 0, 3, 0, 4, 0]);
        bytes.extend(commands);
        bytes
    }

    fn operations(bytes: &[u8]) -> Vec<Operation<'_>> {
        Messages::new(bytes).map(|message| message.unwrap().operation).collect()
    }

    #[test]
    fn samba_opens_a_pipe_by_its_name() {
        let bytes = include_bytes!("../../corpus/smb/smb1-create-request.bin");
        let [Operation::Open(name, _)] = &operations(bytes)[..] else {
            panic!("{:?}", operations(bytes))
        };
        assert_eq!(name.trim_start_matches('\\'), "srvsvc");
    }

    #[test]
    fn samba_transacts_a_bind() {
        let bytes = include_bytes!("../../corpus/smb/smb1-transact-bind.bin");
        let [Operation::Transact(_, payload) | Operation::Write(_, payload)] = &operations(bytes)[..] else {
            panic!("{:?}", operations(bytes))
        };
        assert_eq!(payload.bytes.len(), payload.length);
        assert_eq!(payload.bytes[..3], [5, 0, 11]);
    }

    #[test]
    fn chained_commands_are_read_one_by_one() {
        let mut chain = vec![3, TREE_CONNECT_ANDX, 0, 41, 0, 0, 0, 0, 0];
        chain.extend([4, NO_ANDX, 0, 0, 0, 0, 0, 1, 0, 12, 0, 0]);
        chain.extend(b"\\\\a\\IPC$\0?????\0");
        let bytes = message(SESSION_SETUP_ANDX, 0, &chain);
        assert_eq!(
            operations(&bytes),
            [Operation::Other, Operation::Connect("\\\\a\\IPC$".into())]
        );
    }

    #[test]
    fn a_chain_that_points_back_ends() {
        let bytes = message(
            READ_ANDX,
            0,
            &[
                10, READ_ANDX, 0, 32, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        );
        assert_eq!(operations(&bytes), [Operation::Read(Reference::Id(FileId(7)))]);
    }

    /// A command every five bytes, each of which opens a name without an end.
    #[test]
    fn a_long_chain_of_names_without_end_costs_little() {
        const SECOND: u16 = 0x0101;
        let mut bytes = message(OPEN_ANDX, 0, &[2, OPEN_ANDX, 1, 1, 1]);
        bytes[11] = 0x80;
        bytes.resize(SECOND.into(), b'a');
        for offset in (SECOND..0xfff0).step_by(5) {
            let [low, high] = (offset + 5).to_le_bytes();
            bytes.extend([2, OPEN_ANDX, 1, low, high]);
        }
        bytes.resize(1 << 20, b'a');
        let started = std::time::Instant::now();
        let mut count = 0;
        for message in Messages::new(&bytes) {
            if let Operation::Open(name, _) = message.unwrap().operation {
                assert_eq!(name.encode_utf16().count(), MAX_NAME / 2);
                count += 1;
            }
        }
        assert!(count > 13_000, "{count}");
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn raw_writes_lose_the_length_before_their_bytes() {
        let mut write = vec![
            12, NO_ANDX, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0, 5, 0, 59, 0, 5, 0,
        ];
        write.extend([3, 0, 5, 0, 11]);
        let bytes = message(WRITE_ANDX, 0, &write);
        let payload = Payload {
            bytes: &[5, 0, 11],
            length: 3,
        };
        assert_eq!(
            operations(&bytes),
            [Operation::Write(Reference::Id(FileId(7)), payload)]
        );
    }
}
