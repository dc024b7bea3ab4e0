//! Writes each operation as both versions of SMB have it, and holds what is read equal to it. SMB is little-endian in
//! every field and has no NDR, so there is one way to write each.

use proptest::prelude::*;

use super::{Access, FileId, Message, Messages, Operation, Payload, Progress, Reference, RequestId, Sender, Verdict};
use crate::input::ByteOrder;
use crate::ndr::Encoding;
use crate::testing::Writer;

/// What an operation needs that borrows: it is made of these.
#[derive(Clone, Debug)]
struct Parts {
    kind: usize,
    file: u128,
    name: String,
    data: Vec<u8>,
}

/// What both versions have words for.
const COMMON: usize = 16;
const KINDS: usize = 19;

impl Parts {
    fn operation(&self) -> Operation<'_> {
        let (given, file) = (FileId(self.file), Reference::Id(FileId(self.file)));
        let payload = Payload {
            bytes: &self.data,
            length: self.data.len(),
        };
        let name = || self.name.clone();
        match self.kind {
            0 => Operation::Connect(name()),
            1 => Operation::Connected,
            2 => Operation::Open(name(), Access::Write),
            3 => Operation::Open(name(), Access::Other),
            4 => Operation::Opened(given),
            5 => Operation::Write(file, payload),
            6 => Operation::Read(file),
            7 => Operation::ReadDone(payload),
            8 => Operation::Transact(file, payload),
            9 => Operation::TransactDone(payload, Progress::Finished),
            10 => Operation::Close(file),
            11 => Operation::Closed,
            12 => Operation::Failed,
            13 => Operation::Login(payload),
            14 => Operation::LoginAnswered(payload, Verdict::Continued),
            15 => Operation::Written,
            // What version 2 has no word for.
            16 => Operation::TransactMore(payload),
            17 => Operation::TransactDone(payload, Progress::Partial),
            _ => Operation::Other,
        }
    }
}

fn parts(kinds: usize, name: &'static str) -> impl Strategy<Value = Parts> {
    let data = proptest::collection::vec(any::<u8>(), 1..200);
    (0..kinds, any::<u128>(), name, data).prop_map(|(kind, file, name, data)| Parts { kind, file, name, data })
}

fn sender(operation: &Operation<'_>) -> Sender {
    match operation {
        Operation::Connect(_)
        | Operation::Open(..)
        | Operation::Write(..)
        | Operation::Read(_)
        | Operation::Transact(..)
        | Operation::TransactMore(_)
        | Operation::Close(_)
        | Operation::Login(_)
        | Operation::Other => Sender::Client,
        _ => Sender::Server,
    }
}

fn writer() -> Writer {
    Writer::new(ByteOrder::Little, Encoding::Ndr20)
}

fn utf16(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn u16_of(length: usize) -> u16 {
    u16::try_from(length).unwrap()
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}

/// What a message alone always knows.
fn id<T>(reference: Reference<T>) -> T {
    match reference {
        Reference::Id(id) => id,
        Reference::AnswerTo(request) => panic!("answer to {request:?}"),
    }
}

fn tree(message: &Message<'_>) -> u32 {
    id(message.tree.unwrap())
}

/// `DesiredAccess` and `CreateDisposition`.
fn wish(access: Access) -> (u32, u32) {
    match access {
        Access::Write => (0x0000_0002, 1),
        Access::Other => (0x0000_0001, 1),
    }
}

/// [MS-SMB2] 2.2.1.2 SMB2 Packet Header - SYNC, and the command behind it.
fn smb2(message: &Message<'_>) -> Vec<u8> {
    const TRANSCEIVE: u32 = 0x0011_c017;
    let mut body = writer();
    let given = |body: &mut Writer, FileId(id): FileId| {
        let halves = [id >> 64, id & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap());
        body.u64(halves[0]).u64(halves[1]);
    };
    let file = |body: &mut Writer, file: Reference<FileId>| given(body, id(file));
    let mut status = 0;
    let command = match &message.operation {
        Operation::Connect(path) => {
            let path = utf16(path);
            body.u16(9).u16(0).u16(72).u16(u16_of(path.len())).raw(&path);
            3
        }
        Operation::Connected => {
            body.u16(16).u8(2).u8(0).u32(0).u32(0).u32(0x001f_01ff);
            3
        }
        Operation::Open(name, access) => {
            let (name, (desired, disposition)) = (utf16(name), wish(*access));
            body.u16(57).u8(0).u8(0).u32(2).u64(0).u64(0).u32(desired).u32(0).u32(3);
            body.u32(disposition)
                .u32(0)
                .u16(120)
                .u16(u16_of(name.len()))
                .u32(0)
                .u32(0)
                .raw(&name);
            5
        }
        Operation::Opened(id) => {
            body.u16(89)
                .u8(0)
                .u8(0)
                .u32(1)
                .raw(&[1; 32])
                .u64(4096)
                .u64(0)
                .u32(0x80)
                .u32(0);
            given(&mut body, *id);
            body.u32(0).u32(0);
            5
        }
        Operation::Close(id) => {
            body.u16(24).u16(0).u32(0);
            file(&mut body, *id);
            6
        }
        Operation::Closed => {
            body.u16(60).raw(&[0; 58]);
            6
        }
        Operation::Read(id) => {
            body.u16(49).u8(80).u8(0).u32(1024).u64(0);
            file(&mut body, *id);
            body.raw(&[0; 17]);
            8
        }
        Operation::ReadDone(payload) => {
            body.u16(17).u8(80).u8(0).u32(u32_of(payload.length)).u32(0).u32(0);
            body.raw(payload.bytes);
            8
        }
        Operation::Failed => {
            status = 0xc000_0022;
            body.u16(9).u16(0).u32(0).u8(0);
            8
        }
        Operation::Write(id, payload) => {
            body.u16(49).u16(112).u32(u32_of(payload.length)).u64(0);
            file(&mut body, *id);
            body.raw(&[0; 16]).raw(payload.bytes);
            9
        }
        Operation::Written => {
            body.u16(17).raw(&[0; 14]);
            9
        }
        Operation::Transact(id, payload) => {
            body.u16(57).u16(0).u32(TRANSCEIVE);
            file(&mut body, *id);
            body.u32(120).u32(u32_of(payload.length)).u32(0).u32(120).u32(0);
            body.u32(1024).u32(1).u32(0).raw(payload.bytes);
            11
        }
        Operation::TransactDone(payload, _) => {
            body.u16(49).u16(0).u32(TRANSCEIVE).raw(&[7; 16]).u32(112).u32(0);
            body.u32(112)
                .u32(u32_of(payload.length))
                .u32(0)
                .u32(0)
                .raw(payload.bytes);
            11
        }
        Operation::Login(payload) => {
            body.u16(25)
                .u8(0)
                .u8(1)
                .u32(1)
                .u32(0)
                .u16(88)
                .u16(u16_of(payload.length));
            body.u64(0).raw(payload.bytes);
            1
        }
        Operation::LoginAnswered(payload, _) => {
            status = 0xc000_0016;
            body.u16(9)
                .u16(0)
                .u16(72)
                .u16(u16_of(payload.length))
                .raw(payload.bytes);
            1
        }
        Operation::TransactMore(_) | Operation::Other => 13,
    };
    let mut whole = writer();
    whole.raw(b"\xfeSMB").u16(64).u16(1).u32(status).u16(command).u16(1);
    whole.u32(u32::from(message.sender == Sender::Server)).u32(0);
    whole
        .u64(message.request.0)
        .u32(0)
        .u32(tree(message))
        .u64(message.session);
    whole.raw(&[0; 16]).raw(&body.bytes());
    whole.bytes()
}

/// What stands behind the words of an SMB1 command.
enum Behind<'a> {
    Nothing,
    /// A name, after so many other bytes.
    Name(&'a str, usize),
    /// Bytes, whose offset the words name at this place of theirs.
    Data(&'a [u8], usize),
    /// Bytes that stand first.
    Token(&'a [u8]),
}

/// [MS-CIFS] 2.2.3 SMB Message Structure; names in UTF-16, or as they are.
fn smb1(message: &Message<'_>, unicode: bool) -> Vec<u8> {
    let mut words = writer();
    let mut status = 0;
    let given = |FileId(id): FileId| u16::try_from(id).unwrap();
    let id = |file: Reference<FileId>| given(id(file));
    let length = |payload: &Payload<'_>| u16_of(payload.length);
    // AndXCommand (none), AndXReserved, AndXOffset.
    let alone = |words: &mut Writer| _ = words.u8(0xff).u8(0).u16(0);
    let (command, behind) = match &message.operation {
        Operation::Connect(path) => {
            alone(&mut words);
            words.u16(0).u16(1);
            (0x75, Behind::Name(path, 1))
        }
        Operation::Connected => {
            alone(&mut words);
            words.u16(1);
            (0x75, Behind::Nothing)
        }
        Operation::Open(name, access) => {
            let (desired, disposition) = wish(*access);
            alone(&mut words);
            words.u8(0).u16(u16_of(name.len())).u32(0).u32(0).u32(desired).u64(0);
            words.u32(0).u32(3).u32(disposition).u32(0).u32(2).u8(0);
            (0xa2, Behind::Name(name, 0))
        }
        Operation::Opened(file) => {
            alone(&mut words);
            words.u8(0).u16(given(*file)).u32(1).raw(&[1; 32]).u32(0x80);
            words.u64(4096).u64(0).u16(2).u16(0x05ff).u8(0);
            (0xa2, Behind::Nothing)
        }
        Operation::Close(file) => {
            words.u16(id(*file)).u32(0);
            (0x04, Behind::Nothing)
        }
        Operation::Closed => (0x04, Behind::Nothing),
        Operation::Read(file) => {
            alone(&mut words);
            words.u16(id(*file)).u32(0).u16(1024).u16(0).u32(0).u16(0).u32(0);
            (0x2e, Behind::Nothing)
        }
        Operation::ReadDone(payload) => {
            alone(&mut words);
            words.u16(0).u16(0).u16(0).u16(length(payload)).u16(0).u16(0).u64(0);
            (0x2e, Behind::Data(payload.bytes, 12))
        }
        Operation::Failed => {
            status = 0xc000_0022;
            (0x2e, Behind::Nothing)
        }
        Operation::Write(file, payload) => {
            alone(&mut words);
            words.u16(id(*file)).u32(0).u32(0).u16(0).u16(0).u16(0);
            words.u16(length(payload)).u16(0).u32(0);
            (0x2f, Behind::Data(payload.bytes, 22))
        }
        Operation::Written => {
            alone(&mut words);
            words.u16(9).u32(0).u32(0);
            (0x2f, Behind::Nothing)
        }
        Operation::Transact(file, payload) => {
            words
                .u16(0)
                .u16(length(payload))
                .u16(0)
                .u16(1024)
                .u8(0)
                .u8(0)
                .u16(0)
                .u32(0);
            words.u16(0).u16(0).u16(0).u16(length(payload)).u16(0).u8(2).u8(0);
            words.u16(0x0026).u16(id(*file));
            (0x25, Behind::Data(payload.bytes, 24))
        }
        Operation::TransactMore(payload) => {
            words.u16(0).u16(500).u16(0).u16(0).u16(0);
            words.u16(length(payload)).u16(0).u16(300);
            (0x26, Behind::Data(payload.bytes, 12))
        }
        Operation::TransactDone(payload, progress) => {
            let more = u16::from(*progress == Progress::Partial);
            words.u16(0).u16(length(payload) + more).u64(0);
            words.u16(length(payload)).u16(0).u16(0).u8(0).u8(0);
            (0x25, Behind::Data(payload.bytes, 14))
        }
        Operation::Login(payload) => {
            alone(&mut words);
            words
                .u16(4356)
                .u16(10)
                .u16(0)
                .u32(0)
                .u16(length(payload))
                .u32(0)
                .u32(0x8000_0000);
            (0x73, Behind::Token(payload.bytes))
        }
        Operation::LoginAnswered(payload, _) => {
            status = 0xc000_0016;
            alone(&mut words);
            words.u16(0).u16(length(payload));
            (0x73, Behind::Token(payload.bytes))
        }
        Operation::Other => (0x72, Behind::Nothing),
    };
    // The header, WordCount, the words and ByteCount.
    let start = 32 + 1 + words.len() + 2;
    let mut bytes = Vec::new();
    match behind {
        Behind::Nothing => {}
        Behind::Name(name, before) => {
            bytes.resize(before, 0);
            if unicode {
                bytes.resize(before + (start + before) % 2, 0);
                bytes.extend(utf16(name));
                bytes.push(0);
            } else {
                bytes.extend(name.as_bytes());
            }
            bytes.push(0);
        }
        Behind::Data(data, place) => {
            bytes.extend([0xee; 3]);
            words.patch(place, &u16_of(start + bytes.len()).to_le_bytes());
            bytes.extend(data);
        }
        Behind::Token(token) => bytes.extend(token),
    }
    let [.., process_high, process_low, multiplex_high, multiplex_low] = message.request.0.to_be_bytes();
    let mut whole = writer();
    whole.raw(b"\xffSMB").u8(command).u32(status);
    whole.u8(if message.sender == Sender::Server { 0x80 } else { 0 });
    whole.u16(if unicode { 0x8000 } else { 0 }).raw(&[0; 12]);
    whole.u16(u16::try_from(tree(message)).unwrap());
    whole.u16(u16::from_be_bytes([process_high, process_low])).u16(100);
    whole.u16(u16::from_be_bytes([multiplex_high, multiplex_low]));
    whole.u8(u8::try_from(words.len() / 2).unwrap()).raw(&words.bytes());
    whole.u16(u16_of(bytes.len())).raw(&bytes);
    whole.bytes()
}

fn read(bytes: &[u8]) -> Vec<Message<'_>> {
    Messages::new(bytes).map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn version_2_is_read_as_it_was_written(
        parts in parts(COMMON, "\\PC{0,40}"),
        request: u64,
        session: u64,
        tree: u32,
    ) {
        let operation = parts.operation();
        let message = Message {
            request: RequestId(request),
            session,
            tree: Some(Reference::Id(tree)),
            sender: sender(&operation),
            operation,
        };
        let bytes = smb2(&message);
        prop_assert_eq!(read(&bytes), [message]);
    }

    #[test]
    fn version_1_is_read_as_it_was_written(
        unicode in parts(KINDS, "\\PC{0,40}"),
        oem in parts(KINDS, "[ -~]{0,40}"),
        request: u32,
        tree: u16,
    ) {
        for (mut parts, is_unicode) in [(unicode, true), (oem, false)] {
            parts.file &= 0xffff;
            let operation = parts.operation();
            let message = Message {
                request: RequestId(request.into()),
                session: 0,
                tree: Some(Reference::Id(tree.into())),
                sender: sender(&operation),
                operation,
            };
            let bytes = smb1(&message, is_unicode);
            prop_assert_eq!(read(&bytes), [message]);
        }
    }
}
