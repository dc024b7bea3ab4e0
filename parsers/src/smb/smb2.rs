//! [MS-SMB2]: versions 2 and 3.

use super::{
    Access, Characters, FileId, Message, Operation, Payload, Progress, Reference, RequestId, Sender, Verdict, name,
};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

const HEADER: usize = 64;
/// [MS-SMB2] 2.2.31 SMB2 IOCTL Request: `FSCTL_PIPE_TRANSCEIVE`.
const PIPE_TRANSCEIVE: u32 = 0x0011_c017;
const STATUS_PENDING: u32 = 0x0000_0103;
/// The client took its request back.
const STATUS_CANCELLED: u32 = 0xc000_0120;

const SESSION_SETUP: u16 = 0x0001;
const TREE_CONNECT: u16 = 0x0003;
const CREATE: u16 = 0x0005;
const CLOSE: u16 = 0x0006;
const FLUSH: u16 = 0x0007;
const READ: u16 = 0x0008;
const WRITE: u16 = 0x0009;
const LOCK: u16 = 0x000a;
const IOCTL: u16 = 0x000b;
const QUERY_DIRECTORY: u16 = 0x000e;
const CHANGE_NOTIFY: u16 = 0x000f;
const QUERY_INFO: u16 = 0x0010;
const SET_INFO: u16 = 0x0011;

const SERVER_TO_REDIR: u32 = 0x0000_0001;
const ASYNC_COMMAND: u32 = 0x0000_0002;
const RELATED_OPERATIONS: u32 = 0x0000_0004;

/// Compounded commands: [MS-SMB2] 3.2.4.1.4 Sending Compounded Requests.
#[derive(Clone, Debug)]
pub(super) struct Chain<'a> {
    rest: Option<&'a [u8]>,
    /// What the request read last was about.
    before: Option<About>,
}

/// What a related request takes from the one before it.
#[derive(Clone, Copy, Debug)]
struct About {
    session: u64,
    tree: Option<Reference<u32>>,
    file: Option<Reference<FileId>>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: Some(bytes),
            before: None,
        }
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
        let about = self.about(&header, own);
        Some(header.operation(own, about.file).map(|operation| Message {
            request: header.message_id,
            session: about.session,
            tree: about.tree,
            sender: header.sender,
            operation,
        }))
    }

    /// What a command is about: a related request has that from the one before it, whatever it says itself. A response
    /// is taken as it is, for servers put together what they like.
    fn about(&mut self, header: &Header, message: &[u8]) -> About {
        let mut about = About {
            session: header.session,
            tree: header.tree.map(Reference::Id),
            file: None,
        };
        if header.sender == Sender::Server {
            return about;
        }
        about.file = own_file(header.command, message).map(Reference::Id);
        if let Some(before) = self.before.filter(|_| header.related) {
            about = About {
                file: before.file.or(about.file),
                ..before
            };
        }
        let mut next = about;
        match header.command {
            TREE_CONNECT => next.tree = Some(Reference::AnswerTo(header.message_id)),
            CREATE => next.file = Some(Reference::AnswerTo(header.message_id)),
            _ => {}
        }
        self.before = Some(next);
        about
    }
}

/// [MS-SMB2] 2.2.1 SMB2 Packet Header.
struct Header {
    status: u32,
    command: u16,
    sender: Sender,
    next_command: usize,
    message_id: RequestId,
    session: u64,
    tree: Option<u32>,
    related: bool,
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
        let session = input.u64()?;
        input.skip(16)?;
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
            session,
            // Its place is taken by half of an `AsyncId`.
            tree: (flags & ASYNC_COMMAND == 0).then_some(tree),
            related: flags & RELATED_OPERATIONS != 0,
        })
    }

    fn operation<'a>(&self, message: &'a [u8], file: Option<Reference<FileId>>) -> Result<Operation<'a>> {
        let mut input = Input::new(message, ByteOrder::Little, "SMB2 body");
        input.skip(HEADER)?;
        match (self.sender, self.command) {
            (Sender::Client, command) => request(command, message, input, file),
            // A transaction writes, and then waits for the answer: [MS-SMB2] 3.3.5.15.3 Handling a Pipe Transaction Request.
            // When that is given up, its bytes stay written.
            (Sender::Server, IOCTL) if matches!(self.status, STATUS_PENDING | STATUS_CANCELLED) => {
                Ok(Operation::Written)
            }
            (Sender::Server, _) if self.status == STATUS_PENDING => Ok(Operation::Other),
            (Sender::Server, TREE_CONNECT) if self.status == 0 => Ok(Operation::Connected),
            (Sender::Server, CLOSE) if self.status == 0 => Ok(Operation::Closed),
            (Sender::Server, CLOSE) => Ok(Operation::Failed),
            (Sender::Server, SESSION_SETUP) => login_answered(Verdict::of(self.status), message, input),
            (Sender::Server, command) => response(command, message, input),
        }
    }
}

/// `file` is what the command is about, where it is a file.
fn request<'a>(
    command: u16,
    message: &'a [u8],
    mut input: Input<'a>,
    file: Option<Reference<FileId>>,
) -> Result<Operation<'a>> {
    let file = |input: &mut Input<'_>| file_id(input).map(|own| file.unwrap_or(Reference::Id(own)));
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
            Operation::Close(file(&mut input)?)
        }
        READ => {
            input.enter("SMB2 READ request");
            input.skip(16)?;
            Operation::Read(file(&mut input)?)
        }
        WRITE => {
            input.enter("SMB2 WRITE request");
            input.skip(2)?;
            let offset = input.u16()?;
            let length = input.u32()?;
            input.skip(8)?;
            let file = file(&mut input)?;
            Operation::Write(file, payload(message, offset.into(), length, &input)?)
        }
        IOCTL => {
            input.enter("SMB2 IOCTL request");
            input.skip(4)?;
            if input.u32()? != PIPE_TRANSCEIVE {
                return Ok(Operation::Other);
            }
            let file = file(&mut input)?;
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
        (TREE_CONNECT | CREATE | READ | WRITE | IOCTL, 9) => Operation::Failed,
        (WRITE, _) => Operation::Written,
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

/// The file that a request names: `FileId` of [MS-SMB2] 2.2.15 SMB2 CLOSE Request and of the others that have one.
fn own_file(command: u16, message: &[u8]) -> Option<FileId> {
    let offset = match command {
        CLOSE | FLUSH | LOCK | IOCTL | QUERY_DIRECTORY | CHANGE_NOTIFY => 8,
        READ | WRITE | SET_INFO => 16,
        QUERY_INFO => 24,
        _ => return None,
    };
    let mut input = Input::new(message, ByteOrder::Little, "SMB2 body");
    input.skip(HEADER).and_then(|()| input.skip(offset)).ok()?;
    file_id(&mut input).ok()
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
        let file = Reference::Id(FileId(u128::from_be_bytes([3; 16])));
        assert_eq!(messages, [Operation::Close(file), Operation::Close(file)]);
    }

    /// Commands in one message, all but the first marked as related, with all ones for what they are about.
    fn related(commands: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (place, command) in commands.iter().enumerate() {
            let mut command = command.clone();
            command[24] = u8::try_from(place).unwrap();
            if place > 0 {
                command[16] |= 4;
                command[36..48].fill(0xff);
            }
            if place + 1 < commands.len() {
                command.resize(command.len().next_multiple_of(8), 0);
                command[20] = u8::try_from(command.len()).unwrap();
            }
            bytes.extend(command);
        }
        bytes
    }

    #[test]
    fn related_requests_are_about_what_the_one_before_is_about() {
        let path = [&[9, 0, 0, 0, 72, 0, 2, 0][..], b"S\0"].concat();
        let name = [&[57; 44][..], &[120, 0, 2, 0], &[0; 8], b"N\0"].concat();
        let file = |offset: usize, id: u8| [vec![0; offset], vec![id; 16], vec![0; 32]].concat();
        let mut begun = message(TREE_CONNECT, 0, 0, &path);
        begun[40] = 9;
        let chain = [
            begun,
            message(CREATE, 0, 0, &name),
            message(QUERY_INFO, 0, 0, &file(24, 0xff)),
            message(READ, 0, 0, &file(16, 0xff)),
            message(CLOSE, 0, 0, &file(8, 0xff)),
        ];
        let read = |bytes: &[u8]| -> Vec<(u64, Option<Reference<u32>>, Operation<'static>)> {
            let messages = Messages::new(bytes).map(Result::unwrap);
            let told = messages.map(|message| {
                let operation = match message.operation {
                    Operation::Connect(path) => Operation::Connect(path),
                    Operation::Open(name, access) => Operation::Open(name, access),
                    Operation::Read(file) => Operation::Read(file),
                    Operation::Close(file) => Operation::Close(file),
                    _ => Operation::Other,
                };
                (message.session, message.tree, operation)
            });
            told.collect()
        };
        let (tree, opened) = (
            Some(Reference::AnswerTo(RequestId(0))),
            Reference::AnswerTo(RequestId(1)),
        );
        let expected = [
            (9, Some(Reference::Id(5)), Operation::Connect("S".into())),
            (9, tree, Operation::Open("N".into(), Access::Write)),
            (9, tree, Operation::Other),
            (9, tree, Operation::Read(opened)),
            (9, tree, Operation::Close(opened)),
        ];
        assert_eq!(read(&related(&chain)), expected);
        // A file that is named by the first of them, and other numbers than all ones, which mean nothing.
        let chain = [
            message(QUERY_INFO, 0, 0, &file(24, 3)),
            message(READ, 0, 0, &file(16, 4)),
        ];
        let named = Reference::Id(FileId(u128::from_be_bytes([3; 16])));
        let expected = [
            (0, Some(Reference::Id(5)), Operation::Other),
            (0, Some(Reference::Id(5)), Operation::Read(named)),
        ];
        assert_eq!(read(&related(&chain)), expected);
        // A response is what it says it is.
        let responses = [message(CLOSE, 1, 0, &[]), message(CLOSE, 1, 0, &[])];
        let trees = [Some(Reference::Id(5)), Some(Reference::Id(u32::MAX))];
        let bytes = related(&responses);
        assert_eq!(
            read(&bytes).into_iter().map(|(_, tree, _)| tree).collect::<Vec<_>>(),
            trees
        );
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
