//! [MS-SMB2]: versions 2 and 3.

use super::{Access, Characters, FileId, Message, Operation, Payload, Progress, RequestId, Sender, Verdict, name};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

const HEADER: usize = 64;
/// [MS-SMB2] 2.2.31 SMB2 IOCTL Request: `FSCTL_PIPE_TRANSCEIVE`.
const PIPE_TRANSCEIVE: u32 = 0x0011_c017;
const STATUS_PENDING: u32 = 0x0000_0103;

const SESSION_SETUP: u16 = 0x0001;
const TREE_CONNECT: u16 = 0x0003;
const CREATE: u16 = 0x0005;
const CLOSE: u16 = 0x0006;
const READ: u16 = 0x0008;
const WRITE: u16 = 0x0009;
const IOCTL: u16 = 0x000b;

const SERVER_TO_REDIR: u32 = 0x0000_0001;
const ASYNC_COMMAND: u32 = 0x0000_0002;

/// Compounded commands: [MS-SMB2] 3.2.4.1.4 Sending Compounded Requests.
#[derive(Clone, Debug)]
pub(super) struct Chain<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Some(bytes) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.rest.is_none()
    }

    pub(super) fn next(&mut self) -> Option<Result<Message<'a>>> {
        let bytes = self.rest.take().filter(|bytes| !bytes.is_empty())?;
        let header = match Header::parse(bytes) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let mut own = bytes;
        if header.next_command >= HEADER {
            let (first, rest) = bytes.split_at_checked(header.next_command).unwrap_or((bytes, &[]));
            own = first;
            self.rest = Some(rest);
        }
        Some(header.operation(own).map(|operation| Message {
            request: header.message_id,
            tree: header.tree,
            sender: header.sender,
            operation,
        }))
    }
}

/// [MS-SMB2] 2.2.1 SMB2 Packet Header.
struct Header {
    status: u32,
    command: u16,
    sender: Sender,
    next_command: usize,
    message_id: RequestId,
    tree: Option<u32>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "SMB2 header");
        input.skip(4)?;
        let size = input.u16()?;
        if size != 64 {
            return Err(input.invalid("StructureSize", size));
        }
        input.skip(2)?;
        let status = input.u32()?;
        let command = input.u16()?;
        input.skip(2)?;
        let flags = input.u32()?;
        let next_command = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
        let message_id = RequestId(input.u64()?);
        input.skip(4)?;
        let tree = input.u32()?;
        input.skip(24)?;
        Ok(Self {
            status,
            command,
            sender: if flags & SERVER_TO_REDIR == 0 {
                Sender::Client
            } else {
                Sender::Server
            },
            next_command,
            message_id,
            tree: (flags & ASYNC_COMMAND == 0).then_some(tree),
        })
    }

    fn operation<'a>(&self, message: &'a [u8]) -> Result<Operation<'a>> {
        let mut input = Input::new(message, ByteOrder::Little, "SMB2 body");
        input.skip(HEADER)?;
        match (self.sender, self.command) {
            (Sender::Client, command) => request(command, message, input),
            (Sender::Server, _) if self.status == STATUS_PENDING => Ok(Operation::Other),
            (Sender::Server, TREE_CONNECT) if self.status == 0 => Ok(Operation::Connected),
            (Sender::Server, CLOSE) => Ok(Operation::Closed),
            (Sender::Server, SESSION_SETUP) => login_answered(Verdict::of(self.status), message, input),
            (Sender::Server, command) => response(command, message, input),
        }
    }
}

fn request<'a>(command: u16, message: &'a [u8], mut input: Input<'a>) -> Result<Operation<'a>> {
    Ok(match command {
        SESSION_SETUP => {
            input.enter("SMB2 SESSION_SETUP request");
            input.skip(12)?;
            Operation::Login(token(message, &mut input)?)
        }
        TREE_CONNECT => {
            input.enter("SMB2 TREE_CONNECT request");
            input.skip(4)?;
            Operation::Connect(string(message, &mut input)?)
        }
        CREATE => {
            input.enter("SMB2 CREATE request");
            input.skip(24)?;
            let desired = input.u32()?;
            input.skip(8)?;
            let access = Access::of(desired, input.u32()?);
            input.skip(4)?;
            Operation::Open(string(message, &mut input)?, access)
        }
        CLOSE => {
            input.enter("SMB2 CLOSE request");
            input.skip(8)?;
            Operation::Close(file_id(&mut input)?)
        }
        READ => {
            input.enter("SMB2 READ request");
            input.skip(16)?;
            Operation::Read(file_id(&mut input)?)
        }
        WRITE => {
            input.enter("SMB2 WRITE request");
            input.skip(2)?;
            let offset = input.u16()?;
            let length = input.u32()?;
            input.skip(8)?;
            let file = file_id(&mut input)?;
            Operation::Write(file, payload(message, offset.into(), length, &input)?)
        }
        IOCTL => {
            input.enter("SMB2 IOCTL request");
            input.skip(4)?;
            if input.u32()? != PIPE_TRANSCEIVE {
                return Ok(Operation::Other);
            }
            let file = file_id(&mut input)?;
            let offset = input.u32()?;
            let length = input.u32()?;
            Operation::Transact(file, payload(message, offset, length, &input)?)
        }
        _ => Operation::Other,
    })
}

/// [MS-SMB2] 2.2.6 SMB2 `SESSION_SETUP` Response. Its `StructureSize` is that of an error response, so the status alone
/// says which of the two it is.
fn login_answered<'a>(verdict: Verdict, message: &'a [u8], mut input: Input<'a>) -> Result<Operation<'a>> {
    if verdict == Verdict::Refused {
        return Ok(Operation::LoginAnswered(Payload::default(), verdict));
    }
    input.enter("SMB2 SESSION_SETUP response");
    input.skip(4)?;
    Ok(Operation::LoginAnswered(token(message, &mut input)?, verdict))
}

/// A security token, by its offset and length.
fn token<'a>(message: &'a [u8], input: &mut Input<'a>) -> Result<Payload<'a>> {
    let offset = input.u16()?;
    let length = input.u16()?;
    payload(message, offset.into(), length.into(), input)
}

/// A failed request is answered by [MS-SMB2] 2.2.2 SMB2 ERROR Response, told by its `StructureSize` of 9: a status
/// alone does not say, for more than one comes with bytes.
fn response<'a>(command: u16, message: &'a [u8], mut input: Input<'a>) -> Result<Operation<'a>> {
    Ok(match (command, input.u16()?) {
        (TREE_CONNECT | CREATE | READ | IOCTL, 9) => Operation::Failed,
        (CREATE, _) => {
            input.enter("SMB2 CREATE response");
            input.skip(62)?;
            Operation::Opened(file_id(&mut input)?)
        }
        (READ, _) => {
            input.enter("SMB2 READ response");
            let offset = input.u8()?;
            input.skip(1)?;
            let length = input.u32()?;
            Operation::ReadDone(payload(message, offset.into(), length, &input)?)
        }
        (IOCTL, _) => {
            input.enter("SMB2 IOCTL response");
            input.skip(2)?;
            if input.u32()? != PIPE_TRANSCEIVE {
                return Ok(Operation::Other);
            }
            input.skip(24)?;
            let offset = input.u32()?;
            let length = input.u32()?;
            Operation::TransactDone(payload(message, offset, length, &input)?, Progress::Finished)
        }
        _ => Operation::Other,
    })
}

fn file_id(input: &mut Input<'_>) -> Result<FileId> {
    let persistent = input.u64()?;
    let volatile = input.u64()?;
    Ok(FileId(u128::from(persistent) << 64 | u128::from(volatile)))
}

/// A name by its offset from the header, and its length.
fn string(message: &[u8], input: &mut Input<'_>) -> Result<String> {
    let offset = input.u16()?;
    let length = input.u16()?;
    let payload = payload(message, offset.into(), length.into(), input)?;
    if payload.bytes.len() < payload.length {
        // It may lie beyond the end altogether, so where the fields end says nothing.
        let mut missing = Input::new(message, ByteOrder::Little, "SMB2 name");
        missing.skip(offset.into())?;
        missing.skip(payload.length)?;
    }
    Ok(name(payload.bytes, Characters::Utf16))
}

/// Bytes by their offset from the header, and their length.
fn payload<'a>(message: &'a [u8], offset: u32, length: u32, input: &Input<'_>) -> Result<Payload<'a>> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if start < HEADER && length > 0 {
        return Err(input.invalid("Offset", offset));
    }
    Ok(Payload::at(
        message,
        start,
        usize::try_from(length).unwrap_or(usize::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smb::Messages;

    /// A header, with the command's own bytes behind it.
    fn message(command: u16, flags: u32, status: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xfeSMB\x40\0\0\0".to_vec();
        bytes.extend(status.to_le_bytes());
        bytes.extend(command.to_le_bytes());
        bytes.extend([1, 0]);
        bytes.extend(flags.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(5_u32.to_le_bytes());
        bytes.extend([0; 24]);
        bytes.extend(body);
        bytes
    }

    fn only(bytes: &[u8]) -> Message<'_> {
        let mut messages = Messages::new(bytes);
        let message = messages.next().unwrap().unwrap();
        assert!(messages.is_over());
        message
    }

    #[test]
    fn samba_opens_a_pipe_by_its_name() {
        let message = only(include_bytes!("../../corpus/smb/smb2-create-request.bin"));
        assert_eq!(message.sender, Sender::Client);
        assert_eq!(message.operation, Operation::Open("samr".into(), Access::Write));
    }

    #[test]
    fn samba_transacts_a_bind() {
        let message = only(include_bytes!("../../corpus/smb/smb2-transact-bind.bin"));
        let (Operation::Write(_, payload) | Operation::Transact(_, payload)) = message.operation else {
            panic!("{message:?}")
        };
        assert_eq!(payload.bytes.len(), payload.length);
        assert_eq!(payload.bytes[..3], [5, 0, 11]);
    }

    #[test]
    fn bytes_read_come_with_more_than_one_status_and_errors_with_none() {
        let overflow = message(
            READ,
            1,
            0x8000_0005,
            &[17, 0, 80, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2],
        );
        let payload = Payload {
            bytes: &[5, 0, 2],
            length: 3,
        };
        assert_eq!(only(&overflow).operation, Operation::ReadDone(payload));
        let failed = message(READ, 1, 0xc000_014b, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(only(&failed).operation, Operation::Failed);
        let pending = message(READ, 3, STATUS_PENDING, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            (only(&pending).operation, only(&pending).tree),
            (Operation::Other, None)
        );
    }

    #[test]
    fn compounded_commands_are_read_one_by_one() {
        let mut body = vec![0; 24];
        body[8..24].copy_from_slice(&[3; 16]);
        let mut first = message(CLOSE, 0, 0, &body);
        first[20] = 88;
        let both = [first, message(CLOSE, 0, 0, &body)].concat();
        let messages: Vec<_> = Messages::new(&both).map(|message| message.unwrap().operation).collect();
        let file = FileId(u128::from_be_bytes([3; 16]));
        assert_eq!(messages, [Operation::Close(file), Operation::Close(file)]);
    }

    #[test]
    fn a_name_beyond_the_message_is_an_error() {
        let mut body = vec![9, 0, 0, 0, 200, 0, 4, 0];
        body.extend(b"a\0b\0c\0");
        let short = message(TREE_CONNECT, 0, 0, &body);
        let error = Messages::new(&short).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("SMB2 name"), "{error}");
        body.resize(200 - HEADER, 0);
        body.extend(b"d\0e\0");
        let whole = message(TREE_CONNECT, 0, 0, &body);
        assert_eq!(only(&whole).operation, Operation::Connect("de".into()));
    }

    #[test]
    fn an_offset_into_the_header_is_refused() {
        let bad = message(READ, 1, 0, &[17, 0, 4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
        let error = Messages::new(&bad).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("`Offset` is 0x4"), "{error}");
    }
}
