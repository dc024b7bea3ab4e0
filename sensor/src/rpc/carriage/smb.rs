//! Named pipes in SMB: each open pipe with the association that it carries.
//!
//! File transfers pass by: of a message only the head is looked at, and the rest is kept when it goes to a pipe that
//! carries DCE/RPC, or begins like DCE/RPC on a share that is not known to hold files. So a pipe that was opened before the
//! capture began is found too; then its name is not known.

mod pipe;
mod share;
mod written;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dcom_parsers::rpce;
use dcom_parsers::smb::{
    Access, FileId, Format, Message, Messages, Operation, Payload, Progress, Reference, RequestId, Sender,
};

use super::blocks::{Blocks, Piece, Verdict};
use super::setups::Setups;
use crate::capture::At;
use crate::flow::{Side, Sides, StreamEvent};
use crate::rpc::{Association, FileOpened, Handling, Login, RpcBody, name as kept_name};
use crate::time::Timestamp;
use pipe::{Pipe, feed, on_pipe};
use share::Share;
use written::{REFUSAL, Written};

/// What is kept for one SMB connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Was it said that there is DCE/RPC here?
    opened: bool,
    blocks: Sides<Blocks>,
    setups: Setups,
    /// By `SessionId` and `TreeId`: [MS-SMB2] 3.3.1.9 Per Tree Connect. With the frame that granted them.
    shares: BTreeMap<(u64, u32), (At, Share)>,
    asked: BTreeMap<RequestId, Asked>,
    pipes: BTreeMap<Handle, Pipe>,
    /// What was written to pipes and not answered, in its order: a server may refuse it.
    written: VecDeque<Written>,
    /// Bytes of that.
    unanswered: usize,
    /// Is the server there to answer?
    is_heard: bool,
}

/// What stands for an open pipe, in its session: [MS-SMB2] 3.3.1.10 Per Open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Handle {
    session: u64,
    /// None for answers to a request that was not seen.
    file: Option<Reference<FileId>>,
}

impl Handle {
    fn new(session: u64, file: Reference<FileId>) -> Self {
        let file = Some(file);
        Self { session, file }
    }
}

/// A request that waits for its response.
#[derive(Clone, Debug)]
enum Asked {
    Connect(Share),
    /// In this session, by this name.
    Open(u64, Arc<str>),
    /// On an administrative share: share, name, to write?
    File(Arc<str>, Arc<str>, bool),
    Bytes(Handle),
    Close(Handle),
}

impl Session {
    /// Bytes of unfinished messages, PDUs and of stubs.
    pub(super) fn held(&self) -> usize {
        let pipes = self.pipes.values().filter_map(|pipe| pipe.association.as_ref());
        self.blocks.client.held()
            + self.blocks.server.held()
            + self.setups.held()
            + self.unanswered
            + pipes.map(|association| association.held()).sum::<usize>()
    }

    /// Takes in what the stream brings.
    pub(super) fn push(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        match event {
            StreamEvent::Data { at, side, bytes } => {
                self.run(side, handling, |blocks, out| blocks.data(at, bytes, out));
            }
            StreamEvent::Gap { side, bytes } => self.run(side, handling, |blocks, out| blocks.gap(bytes, out)),
            StreamEvent::Closed => self.close(handling),
        }
        self.wait(handling);
    }

    /// It is said when what was written need not wait any more.
    fn wait(&self, handling: &mut Handling<'_>) {
        if let Some(first) = self.written.front() {
            let due = Timestamp(first.at.time.0.saturating_add(REFUSAL));
            handling.bounds.due = handling.bounds.due.min(due);
        }
    }

    /// Time has come this far.
    pub(super) fn advance(&mut self, now: Timestamp, handling: &mut Handling<'_>) {
        let is_old = |written: &Written| now.since(written.at.time) >= REFUSAL;
        let old = self.written.iter().take_while(|written| is_old(written)).count();
        for _ in 0..old {
            self.take_written(0, handling);
        }
        self.wait(handling);
        for pipe in self.pipes.values_mut() {
            let act = |association: &mut Association, handling: &mut Handling<'_>| association.advance(now, handling);
            on_pipe(pipe, &mut self.opened, handling, act);
        }
    }

    /// Runs one of a side's operations and handles what comes out.
    fn run(
        &mut self,
        side: Side,
        handling: &mut Handling<'_>,
        operation: impl FnOnce(&mut Blocks, &mut dyn FnMut(Piece<'_>) -> Verdict),
    ) {
        let mut blocks = std::mem::take(&mut self.blocks[side]);
        handling.bounds.held -= blocks.held();
        operation(&mut blocks, &mut |piece| self.piece(side, piece, handling));
        handling.bounds.held += blocks.held();
        if handling.bounds.held > handling.bounds.limits.rpc_total && blocks.held() > 0 {
            handling.bounds.carriage.over_limit += 1;
            handling.bounds.held -= blocks.held();
            blocks.give_up(&mut |piece| self.piece(side, piece, handling));
        }
        self.blocks[side] = blocks;
    }

    fn piece(&mut self, side: Side, piece: Piece<'_>, handling: &mut Handling<'_>) -> Verdict {
        match piece {
            Piece::Head(at, bytes, length) => return self.judge((side, at), bytes, length, handling),
            Piece::Whole(at, bytes) => {
                count_closed(bytes, handling);
                for message in Messages::new(bytes) {
                    match message {
                        Ok(message) if is_of(side, &message) => self.message(at, message, handling),
                        _ => handling.bounds.carriage.malformed += 1,
                    }
                }
            }
            Piece::Cut(at, bytes) => self.cut((side, at), bytes, handling),
            Piece::Lost(bytes) => {
                self.take_all_written(handling);
                for pipe in self.pipes.values_mut() {
                    let gap = StreamEvent::Gap { side, bytes };
                    feed(pipe, gap, &mut self.opened, handling);
                }
            }
        }
        Verdict::Skip
    }

    /// What there is of a message.
    fn cut(&mut self, (side, at): (Side, At), bytes: &[u8], handling: &mut Handling<'_>) {
        for message in Messages::new(bytes).flatten().filter(|message| is_of(side, message)) {
            self.message(at, message, handling);
        }
    }

    /// Is the rest of a message wanted that starts like this?
    fn judge(&mut self, from: (Side, At), head: &[u8], length: usize, handling: &mut Handling<'_>) -> Verdict {
        count_closed(head, handling);
        let mut messages = Messages::new(head);
        let wanted = match messages.next() {
            None => false,
            // Cut in the middle of a name, perhaps.
            Some(Err(_)) => true,
            Some(Ok(_)) if !messages.is_over() => true,
            Some(Ok(message)) => self.is_of_interest(&message),
        };
        if wanted && length > handling.bounds.limits.smb_message {
            handling.bounds.carriage.over_limit += 1;
            self.cut(from, head, handling);
            return Verdict::Skip;
        }
        if wanted { Verdict::Keep } else { Verdict::Skip }
    }

    fn is_of_interest(&self, message: &Message<'_>) -> bool {
        match &message.operation {
            Operation::Other => false,
            Operation::Failed | Operation::Written => !self.written.is_empty(),
            Operation::Open(..) | Operation::Opened(_) => self.share(message) != Some(&Share::Files),
            _ if self.holds_files(message) => false,
            Operation::Write(file, payload) | Operation::Transact(file, payload) => {
                self.may_be_rpc(Handle::new(message.session, *file), payload)
            }
            Operation::ReadDone(payload) | Operation::TransactDone(payload, _) | Operation::TransactMore(payload) => {
                self.is_rpc(self.handle_asked(message)) || begins_like_rpc(payload)
            }
            _ => true,
        }
    }

    /// Is it about a share that is known to hold no pipes?
    fn holds_files(&self, message: &Message<'_>) -> bool {
        matches!(self.share(message), Some(Share::Files | Share::Administrative(_)))
    }

    /// The share that it is about.
    fn share(&self, message: &Message<'_>) -> Option<&Share> {
        match message.tree? {
            Reference::Id(tree) => self.shares.get(&(message.session, tree)).map(|(_, share)| share),
            Reference::AnswerTo(request) => match self.asked.get(&request)? {
                Asked::Connect(share) => Some(share),
                _ => None,
            },
        }
    }

    fn is_rpc(&self, handle: Handle) -> bool {
        self.pipes.get(&handle).is_some_and(|pipe| pipe.association.is_some())
    }

    /// May this be DCE/RPC that is written? A start that is too short to tell may be one in what is known to be a pipe.
    fn may_be_rpc(&self, handle: Handle, payload: &Payload<'_>) -> bool {
        let is_known = |pipe: &Pipe| pipe.name.is_some() && rpce::recognise(payload.bytes) == rpce::Prefix::TooShort;
        let goes_on = |pipe: &Pipe| pipe.association.is_some() || !pipe.start.is_empty() || is_known(pipe);
        self.pipes.get(&handle).is_some_and(goes_on)
            || self.written.iter().any(|written| written.handle == handle)
            || begins_like_rpc(payload)
    }

    /// The handle that the request of this message was about.
    fn handle_asked(&self, message: &Message<'_>) -> Handle {
        match self.asked.get(&message.request) {
            Some(Asked::Bytes(handle)) => *handle,
            _ => Handle {
                session: message.session,
                file: None,
            },
        }
    }

    fn message(&mut self, at: At, message: Message<'_>, handling: &mut Handling<'_>) {
        self.is_heard |= message.sender == Sender::Server;
        let files = self.holds_files(&message);
        let asked = self.handle_asked(&message);
        let share = match &message.operation {
            Operation::Open(..) => self.share(&message).cloned(),
            _ => None,
        };
        let Message { request, session, .. } = message;
        match message.operation {
            Operation::Connect(path) => {
                self.ask(request, Asked::Connect(Share::of(path)), handling);
            }
            Operation::Connected => {
                let asked = self.asked.remove(&request);
                if let (Some(Asked::Connect(share)), Some(Reference::Id(tree))) = (asked, message.tree) {
                    self.connected(at, (session, tree), share, handling);
                }
            }
            Operation::Failed => {
                self.refuse_written(request, handling);
                // What was sent to it in the same message came to nothing.
                if let Some(Asked::Open(session, _)) = self.asked.remove(&request) {
                    self.close_pipe(Handle::new(session, Reference::AnswerTo(request)), handling);
                }
            }
            Operation::Other => {}
            Operation::Login(token) => {
                self.log_in(handling, |setups| setups.asked(at, (session, request), token.bytes));
            }
            Operation::LoginAnswered(token, verdict) => {
                self.log_in(handling, |setups| {
                    setups.answered((session, request), token.bytes, verdict)
                });
            }
            Operation::Open(name, access) => {
                let asked = match share {
                    Some(Share::Files) => return,
                    Some(Share::Administrative(share)) => Asked::File(share, kept_name(&name), access == Access::Write),
                    Some(Share::Pipes) | None => Asked::Open(session, kept_name(&name)),
                };
                self.ask(request, asked, handling);
            }
            Operation::Opened(file) => match self.asked.remove(&request) {
                Some(Asked::Open(session, name)) => self.open(at, (session, request), file, name, handling),
                Some(Asked::File(share, name, to_write)) => handling.say(RpcBody::File(Box::new(FileOpened {
                    at,
                    share,
                    name,
                    to_write,
                }))),
                _ => {}
            },
            _ if files => {}
            Operation::Read(file) => self.ask(request, Asked::Bytes(Handle::new(session, file)), handling),
            Operation::Write(file, payload) => {
                self.write((at, request), Handle::new(session, file), payload, handling);
            }
            Operation::Written => {
                let last = self.written.iter().rposition(|written| written.request == request);
                if let Some(last) = last {
                    let handle = self.written[last].handle;
                    self.take_written_to(handle, last + 1, handling);
                }
            }
            Operation::Transact(file, payload) => {
                let handle = Handle::new(session, file);
                self.ask(request, Asked::Bytes(handle), handling);
                self.write((at, request), handle, payload, handling);
            }
            Operation::TransactMore(payload) => self.write((at, request), asked, payload, handling),
            Operation::ReadDone(payload) | Operation::TransactDone(payload, Progress::Finished) => {
                self.asked.remove(&request);
                // What is answered was taken.
                self.take_written_to(asked, usize::MAX, handling);
                self.carry(at, asked, Side::Server, payload, handling);
            }
            Operation::TransactDone(payload, Progress::Partial) => {
                self.take_written_to(asked, usize::MAX, handling);
                self.carry(at, asked, Side::Server, payload, handling);
            }
            Operation::Close(file) => {
                let handle = Handle::new(session, file);
                if matches!(file, Reference::AnswerTo(_)) || self.pipes.contains_key(&handle) {
                    self.ask(request, Asked::Close(handle), handling);
                }
            }
            Operation::Closed => {
                if let Some(Asked::Close(handle)) = self.asked.remove(&request) {
                    self.close_pipe(handle, handling);
                }
            }
        }
    }

    /// Does something to the logins, of which one may be over.
    fn log_in(&mut self, handling: &mut Handling<'_>, act: impl FnOnce(&mut Setups) -> Option<Login>) {
        handling.bounds.held -= self.setups.held();
        let mut over: Vec<Login> = act(&mut self.setups).into_iter().collect();
        if handling.bounds.held + self.setups.held() > handling.bounds.limits.rpc_total {
            handling.bounds.carriage.over_limit += 1;
            over.extend(self.setups.finish());
        }
        handling.bounds.held += self.setups.held();
        for login in over {
            handling.say(RpcBody::Login(Box::new(login)));
        }
    }

    fn ask(&mut self, request: RequestId, asked: Asked, handling: &mut Handling<'_>) {
        self.asked.insert(request, asked);
        if self.asked.len() > handling.bounds.limits.smb_requests {
            handling.bounds.carriage.over_limit += 1;
            self.asked.pop_first();
        }
    }

    /// A share is granted; then the one that was granted first may have to go.
    fn connected(&mut self, at: At, tree: (u64, u32), share: Share, handling: &mut Handling<'_>) {
        self.shares.insert(tree, (at, share));
        if self.shares.len() > handling.bounds.limits.shares {
            handling.bounds.carriage.over_limit += 1;
            let first = self.shares.iter().min_by_key(|(_, (at, _))| (at.input, at.frame));
            if let Some(tree) = first.map(|(&tree, _)| tree) {
                self.shares.remove(&tree);
            }
        }
    }

    fn close(&mut self, handling: &mut Handling<'_>) {
        for side in [Side::Client, Side::Server] {
            let mut blocks = std::mem::take(&mut self.blocks[side]);
            handling.bounds.held -= blocks.held();
            blocks.give_up(&mut |piece| self.piece(side, piece, handling));
        }
        self.take_all_written(handling);
        handling.bounds.held -= self.setups.held();
        for login in self.setups.finish() {
            handling.say(RpcBody::Login(Box::new(login)));
        }
        for (_, mut pipe) in std::mem::take(&mut self.pipes) {
            feed(&mut pipe, StreamEvent::Closed, &mut self.opened, handling);
        }
        if self.opened {
            handling.say(RpcBody::Closed);
        }
    }
}

/// Does this side send what the message says of itself? What a client sends as the server's is no answer.
fn is_of(side: Side, message: &Message<'_>) -> bool {
    (message.sender == Sender::Client) == (side == Side::Client)
}

fn begins_like_rpc(payload: &Payload<'_>) -> bool {
    matches!(rpce::recognise(payload.bytes), rpce::Prefix::Header(_))
}

/// Counts a message that cannot be looked into.
fn count_closed(message: &[u8], handling: &mut Handling<'_>) {
    let counters = &mut handling.bounds.carriage;
    match Format::of(message) {
        Some(Format::Encrypted) => counters.encrypted += 1,
        Some(Format::Compressed) => counters.compressed += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Protocol;
    use crate::rpc::carriage::Form;
    use crate::rpc::rig::Rig;
    use crate::rpc::{Reply, Stub};

    const FILE: u8 = 7;
    const WRITE: u8 = 9;
    const READ: u8 = 8;

    impl Rig {
        fn over_smb() -> Self {
            Self::new(Protocol::Smb, 445)
        }

        /// Connects a share and opens a file on it.
        fn open(&mut self, path: &str, name: &str) {
            self.send(Side::Client, &connect(1, path));
            self.send(Side::Server, &connected(1));
            self.send(Side::Client, &create(2, name));
            self.send(Side::Server, &created(2, FILE));
        }

        /// Everything said, in a word each; the calls with frames, and the name of their pipe.
        fn told(mut self) -> Vec<String> {
            self.push(StreamEvent::Closed);
            assert_eq!(self.bounds.held, 0, "bytes are still held");
            self.events.iter().map(|event| word(&event.body)).collect()
        }
    }

    fn word(body: &RpcBody) -> String {
        match body {
            RpcBody::Opened => "opened".into(),
            RpcBody::Closed => "closed".into(),
            RpcBody::File(file) => format!("{}\\{}", file.share, file.name),
            RpcBody::Exchange(call) => {
                let asked = call.request.as_ref().map(|request| request.at.frame);
                let damaged = call
                    .request
                    .as_ref()
                    .is_some_and(|request| request.stub == Stub::Incomplete);
                let answered = match &call.reply {
                    Reply::Response(message) => Some(message.at.frame),
                    _ => None,
                };
                let damaged = if damaged { " damaged" } else { "" };
                let pipe = call.secondary_address.as_deref().unwrap_or("-");
                format!("{} {asked:?} {answered:?} {pipe}{damaged}", call.call_id)
            }
            other => format!("{other:?}"),
        }
    }

    /// A name by its offset and length, and after them, at that offset, itself.
    fn text(name: &str, offset: u16) -> Vec<u8> {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let fields = [offset.to_le_bytes(), u16::try_from(units.len()).unwrap().to_le_bytes()].concat();
        [fields, units].concat()
    }

    fn message(command: u8, flags: u8, id: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
        bytes.extend([command, 0, 1, 0, flags, 0, 0, 0, 0, 0, 0, 0, id]);
        bytes.resize(36, 0);
        bytes.push(5);
        bytes.resize(64, 0);
        bytes.extend(body);
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], &bytes].concat()
    }

    /// The same message in another session.
    fn in_session(session: u8, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes[44] = session;
        bytes
    }

    /// Commands in one message, each about what the one before it is about.
    fn related(commands: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        for (place, command) in commands.iter().enumerate() {
            let mut command = command[4..].to_vec();
            if place > 0 {
                command[16] |= 4;
                command[36..40].fill(0xff);
                command[40..48].fill(0xff);
            }
            if place + 1 < commands.len() {
                command.resize(command.len().next_multiple_of(8), 0);
                command[20] = u8::try_from(command.len()).unwrap();
            }
            bytes.extend(command);
        }
        let length = u32::try_from(bytes.len() - 4).unwrap().to_be_bytes();
        bytes[..4].copy_from_slice(&length);
        bytes
    }

    fn connect(id: u8, path: &str) -> Vec<u8> {
        message(3, 0, id, &[vec![9, 0, 0, 0], text(path, 72)].concat())
    }

    fn connected(id: u8) -> Vec<u8> {
        message(3, 1, id, &[16, 0, 2, 0, 0, 0, 0, 0])
    }

    fn create(id: u8, name: &str) -> Vec<u8> {
        message(5, 0, id, &[vec![57], vec![0; 43], text(name, 112)].concat())
    }

    fn created(id: u8, file: u8) -> Vec<u8> {
        message(5, 1, id, &[vec![89], vec![0; 63], vec![file; 16]].concat())
    }

    fn failed(command: u8, id: u8) -> Vec<u8> {
        message(command, 1, id, &[9, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn close(id: u8, file: u8) -> Vec<u8> {
        message(6, 0, id, &[vec![24, 0, 0, 0, 0, 0, 0, 0], vec![file; 16]].concat())
    }

    /// What a file is called whose handle only the answer to the command before tells.
    const THE_SAME: u8 = 0xff;

    fn write(id: u8, file: u8, bytes: &[u8]) -> Vec<u8> {
        let mut body = vec![49, 0, 112, 0];
        body.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        body.extend([0; 8]);
        body.extend([file; 16]);
        body.extend([0; 16]);
        message(WRITE, 0, id, &[&body, bytes].concat())
    }

    fn read(id: u8, file: u8) -> Vec<u8> {
        message(READ, 0, id, &[&[49; 16][..], &[file; 16], &[0; 17]].concat())
    }

    fn read_done(id: u8, bytes: &[u8]) -> Vec<u8> {
        let mut body = vec![17, 0, 80, 0];
        body.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        body.extend([0; 8]);
        message(READ, 1, id, &[&body, bytes].concat())
    }

    /// `FSCTL_PIPE_TRANSCEIVE`.
    fn transact(id: u8, file: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        let mut body = vec![57, 0, 0, 0, 0x17, 0xc0, 0x11, 0];
        body.extend([file; 16]);
        body.extend([120, 0, 0, 0, length, 0, 0, 0]);
        body.resize(56, 0);
        body.extend(bytes);
        message(11, 0, id, &body)
    }

    fn interim(id: u8) -> Vec<u8> {
        let mut bytes = message(READ, 3, id, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes[12..14].copy_from_slice(&[3, 1]);
        bytes
    }

    fn pdu(ptype: u8, call_id: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![5, 0, ptype, 3, 16, 0, 0, 0, length, 0, 0, 0, call_id, 0, 0, 0];
        bytes.resize(length.into(), 0);
        bytes
    }

    #[test]
    fn calls_in_writes_and_reads_have_the_name_of_their_pipe() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        rig.send(Side::Client, &read(4, FILE));
        rig.send(Side::Server, &interim(4));
        rig.send(Side::Server, &read_done(4, &pdu(2, 1, 40)));
        assert_eq!(rig.bounds.carriage.pipes, 1);
        assert_eq!(rig.told(), ["opened", "1 Some(5) Some(8) svcctl", "closed"]);
    }

    /// Fragments of a request without a stub.
    fn fragment(flags: u8) -> Vec<u8> {
        let mut bytes = pdu(0, 1, 40);
        bytes[3] = flags;
        bytes
    }

    #[test]
    fn a_request_is_not_joined_over_a_write_that_is_lost() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        rig.send(Side::Client, &write(3, FILE, &fragment(1)));
        rig.push(StreamEvent::Gap {
            side: Side::Client,
            bytes: write(4, FILE, &fragment(0)).len() as u64,
        });
        rig.send(Side::Client, &write(5, FILE, &fragment(2)));
        assert_eq!(rig.told(), ["opened", "1 Some(6) None svcctl damaged", "closed"]);
    }

    #[test]
    fn time_comes_to_pipes_too() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        rig.advance(rig.bounds.limits.answer + 1);
        assert_eq!(rig.bounds.counters.unanswered, 1);
        assert_eq!(rig.told(), ["opened", "1 Some(5) None svcctl", "closed"]);
    }

    #[test]
    fn an_answer_may_come_in_several_reads() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        let answer = pdu(2, 1, 60);
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        for (id, part) in [(4, &answer[..20]), (5, &answer[20..])] {
            rig.send(Side::Client, &read(id, FILE));
            rig.send(Side::Server, &read_done(id, part));
        }
        assert_eq!(rig.told(), ["opened", "1 Some(5) Some(9) svcctl", "closed"]);
    }

    #[test]
    fn what_a_transaction_wrote_stays_written_when_it_is_given_up() {
        for is_pending in [true, false] {
            let mut rig = Rig::over_smb();
            rig.open("\\\\host\\IPC$", "svcctl");
            rig.send(Side::Client, &transact(3, FILE, &pdu(0, 1, 40)));
            let ioctl = |status: u32| {
                let mut bytes = failed(11, 3);
                bytes[12..16].copy_from_slice(&status.to_le_bytes());
                bytes
            };
            if is_pending {
                rig.send(Side::Server, &ioctl(0x103));
                rig.send(Side::Server, &ioctl(0xc000_014b));
            } else {
                rig.send(Side::Server, &ioctl(0xc000_0120));
            }
            rig.send(Side::Client, &read(4, FILE));
            rig.send(Side::Server, &read_done(4, &pdu(2, 1, 40)));
            let answered = if is_pending { 9 } else { 8 };
            let call = format!("1 Some(5) Some({answered}) svcctl");
            assert_eq!(rig.told(), ["opened", &call, "closed"]);
        }
    }

    #[test]
    fn what_the_server_refuses_does_not_go_to_the_pipe() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        // As if it were the start of a long request.
        rig.send(
            Side::Client,
            &write(3, FILE, &[&pdu(0, 1, 40)[..8], &[0xff; 32]].concat()),
        );
        rig.send(Side::Server, &failed(WRITE, 3));
        rig.send(Side::Client, &close(4, FILE));
        let mut refused = failed(6, 4);
        refused[12..16].copy_from_slice(&[0xc9, 0, 0, 0xc0]);
        rig.send(Side::Server, &refused);
        // What the client says in the server's name.
        rig.send(Side::Client, &write(5, FILE, &pdu(0, 2, 40)));
        rig.send(Side::Client, &failed(WRITE, 5));
        rig.send(Side::Client, &read(6, FILE));
        rig.send(Side::Server, &read_done(6, &pdu(2, 2, 40)));
        assert_eq!(rig.bounds.carriage.malformed, 1);
        assert_eq!(rig.told(), ["opened", "2 Some(9) Some(12) svcctl", "closed"]);
    }

    #[test]
    fn what_is_not_answered_goes_to_the_pipe_in_the_end() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        assert_eq!(rig.bounds.carriage.pipes, 0);
        assert_eq!(rig.bounds.due, Timestamp(REFUSAL));
        rig.advance(REFUSAL);
        assert_eq!(rig.bounds.carriage.pipes, 1);
        assert_eq!(rig.told(), ["opened", "1 Some(5) None svcctl", "closed"]);
    }

    #[test]
    fn a_header_may_come_in_several_writes() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "svcctl");
        let request = pdu(0, 1, 40);
        for (id, part) in [(3, &request[..4]), (4, &request[4..9]), (5, &request[9..])] {
            rig.send(Side::Client, &write(id, FILE, part));
        }
        rig.send(Side::Client, &read(6, FILE));
        rig.send(Side::Server, &read_done(6, &pdu(2, 1, 40)));
        assert_eq!(rig.told(), ["opened", "1 Some(7) Some(9) svcctl", "closed"]);
        // In a pipe that carries something else it is nothing.
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\IPC$", "psexesvc");
        for (id, part) in [(3, &[5_u8, 0][..]), (4, &[0xaa; 30])] {
            rig.send(Side::Client, &write(id, FILE, part));
        }
        assert_eq!(rig.told(), [""; 0]);
    }

    #[test]
    fn a_pipe_opened_before_the_capture_is_found_without_its_name() {
        let mut rig = Rig::over_smb();
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        rig.send(Side::Client, &read(4, FILE));
        rig.send(Side::Server, &read_done(4, &pdu(2, 1, 40)));
        assert_eq!(rig.told(), ["opened", "1 Some(1) Some(3) -", "closed"]);
    }

    #[test]
    fn a_file_is_no_pipe_whatever_is_in_it() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\share", "capture.bin");
        rig.send(Side::Client, &write(3, FILE, &pdu(0, 1, 40)));
        rig.send(Side::Client, &write(4, FILE, &[7; 5000]));
        assert_eq!(rig.bounds.held, 0);
        assert_eq!(rig.told(), [""; 0]);
    }

    #[test]
    fn files_opened_on_administrative_shares_are_told_and_what_they_hold_is_not_kept() {
        let mut rig = Rig::over_smb();
        rig.open("\\\\host\\ADMIN$", "__1700000000.5");
        rig.send(Side::Client, &write(3, FILE, &[7; 5000]));
        assert_eq!(rig.bounds.held, 0);
        rig.send(Side::Client, &write(4, FILE, &pdu(0, 1, 40)));
        let opened = |to_write| FileOpened {
            at: At {
                frame: 4,
                ..At::default()
            },
            share: "\\\\host\\ADMIN$".into(),
            name: "__1700000000.5".into(),
            to_write,
        };
        let RpcBody::File(told) = &rig.events[0].body else {
            panic!("{:?}", rig.events)
        };
        assert_eq!(
            (&**told, rig.events.len()),
            (
                &FileOpened {
                    at: told.at,
                    ..opened(true)
                },
                1
            )
        );
        assert_eq!(told.at.frame, 4);
    }

    #[test]
    fn files_that_could_not_be_opened_are_not_told() {
        let mut rig = Rig::over_smb();
        rig.send(Side::Client, &connect(1, "\\\\host\\C$"));
        rig.send(Side::Server, &connected(1));
        rig.send(Side::Client, &create(2, "boot.ini"));
        rig.send(Side::Server, &failed(5, 2));
        assert_eq!(rig.told(), [""; 0]);
    }

    #[test]
    fn pipes_are_told_apart_by_their_handles() {
        let mut rig = Rig::over_smb();
        rig.send(Side::Client, &write(3, 1, &pdu(0, 1, 40)));
        rig.send(Side::Client, &write(4, 2, &pdu(0, 1, 40)));
        rig.send(Side::Client, &read(5, 2));
        rig.send(Side::Client, &read(6, 1));
        rig.send(Side::Server, &read_done(6, &pdu(2, 1, 40)));
        rig.send(Side::Server, &read_done(5, &pdu(2, 1, 40)));
        assert_eq!(
            rig.told(),
            ["opened", "1 Some(1) Some(5) -", "1 Some(2) Some(6) -", "closed"]
        );
    }

    #[test]
    fn sessions_that_number_their_trees_alike_have_shares_and_handles_of_their_own() {
        for shares in [["IPC$", "C$"], ["C$", "IPC$"], ["share", "IPC$"]] {
            let mut rig = Rig::over_smb();
            for (session, share) in (1..).zip(shares) {
                let path = format!("\\\\host\\{share}");
                rig.send(Side::Client, &in_session(session, connect(session, &path)));
                rig.send(Side::Server, &in_session(session, connected(session)));
            }
            for (session, name) in (1..).zip(shares) {
                rig.send(Side::Client, &in_session(session, create(session + 2, name)));
                rig.send(Side::Server, &in_session(session, created(session + 2, FILE)));
            }
            for session in [1, 2] {
                let request = write(session + 4, FILE, &pdu(0, session, 40));
                rig.send(Side::Client, &in_session(session, request));
            }
            let (pipe, file) = match shares {
                ["IPC$", _] => ("1 Some(9) None IPC$", Some("\\\\host\\C$\\C$")),
                ["C$", _] => ("2 Some(10) None IPC$", Some("\\\\host\\C$\\C$")),
                _ => ("2 Some(10) None IPC$", None),
            };
            let expected: Vec<&str> = file.into_iter().chain(["opened", pipe, "closed"]).collect();
            assert_eq!(rig.told(), expected, "{shares:?}");
        }
    }

    #[test]
    fn the_same_handle_in_two_sessions_is_two_pipes() {
        let mut rig = Rig::over_smb();
        for session in [1, 2] {
            rig.send(Side::Client, &in_session(session, write(session, FILE, &pdu(0, 1, 40))));
        }
        assert_eq!(rig.bounds.carriage.pipes, 2);
        // An answer whose tree is not told, for its command was handled asynchronously, is in its session.
        let mut rig = Rig::over_smb();
        for session in [1, 2] {
            let mut answer = in_session(session, read_done(9, &pdu(2, session, 40)));
            answer[20] |= 2;
            answer[36..44].fill(0x77);
            rig.send(Side::Server, &answer);
        }
        assert_eq!(rig.bounds.carriage.pipes, 2);
    }

    #[test]
    fn what_follows_an_open_in_the_same_message_goes_to_what_it_opens() {
        let mut rig = Rig::over_smb();
        rig.send(Side::Client, &connect(1, "\\\\host\\IPC$"));
        rig.send(Side::Server, &connected(1));
        for (id, name, file) in [(10, "svcctl", 7), (20, "winreg", 8)] {
            let bind = pdu(0, id, 40);
            let commands = [create(id, name), write(id + 1, THE_SAME, &bind), read(id + 2, THE_SAME)];
            rig.send(Side::Client, &related(&commands));
            // The answer to the open comes first; the other one by itself, and later.
            rig.send(Side::Server, &created(id, file));
        }
        for (id, file) in [(20, 8), (10, 7)] {
            rig.send(Side::Server, &read_done(id + 2, &pdu(2, id, 40)));
            rig.send(Side::Client, &write(id + 3, file, &pdu(0, id + 3, 40)));
        }
        assert_eq!(rig.bounds.carriage.pipes, 2);
        let mut told = rig.told();
        told.sort();
        let expected = [
            "10 Some(3) Some(9) svcctl",
            "13 Some(10) None svcctl",
            "20 Some(5) Some(7) winreg",
            "23 Some(8) None winreg",
            "closed",
            "opened",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_follows_an_open_that_fails_is_unanswered_and_over() {
        let mut rig = Rig::over_smb();
        let commands = [
            create(2, "nobody"),
            write(3, THE_SAME, &pdu(0, 1, 40)),
            read(4, THE_SAME),
        ];
        rig.send(Side::Client, &related(&commands));
        for (command, id) in [(5, 2), (WRITE, 3), (READ, 4)] {
            rig.send(Side::Server, &failed(command, id));
        }
        let Form::Smb(session) = &rig.carriage.form else {
            panic!("not SMB");
        };
        assert!(session.pipes.is_empty() && session.asked.is_empty());
        assert_eq!(rig.told(), ["opened", "1 Some(1) None nobody", "closed"]);
    }

    #[test]
    fn an_open_may_follow_its_connect_and_be_closed_in_the_same_message() {
        let mut rig = Rig::over_smb();
        let commands = [connect(1, "\\\\host\\ADMIN$"), create(2, "one.exe"), close(3, THE_SAME)];
        rig.send(Side::Client, &related(&commands));
        rig.send(Side::Server, &connected(1));
        rig.send(Side::Server, &created(2, FILE));
        // Of a share that is not known it may be a pipe, which is not kept when it is closed.
        rig.send(
            Side::Client,
            &in_session(9, related(&[create(4, "two.exe"), close(5, THE_SAME)])),
        );
        rig.send(Side::Server, &in_session(9, created(4, FILE)));
        rig.send(Side::Server, &in_session(9, message(6, 1, 5, &[60; 60])));
        let Form::Smb(session) = &rig.carriage.form else {
            panic!("not SMB");
        };
        assert!(session.pipes.is_empty(), "{:?}", session.pipes);
        assert_eq!(rig.told(), ["\\\\host\\ADMIN$\\one.exe"]);
    }

    #[test]
    fn a_request_of_which_the_end_is_lost_is_damaged_and_the_next_one_whole() {
        let mut rig = Rig::over_smb();
        let first = write(3, FILE, &pdu(0, 1, 200));
        let cut = first.len() - 30;
        rig.send(Side::Client, &first[..cut]);
        rig.push(StreamEvent::Gap {
            side: Side::Client,
            bytes: 30,
        });
        rig.send(Side::Client, &write(4, FILE, &pdu(0, 2, 40)));
        assert_eq!(
            rig.told(),
            ["opened", "1 Some(1) None - damaged", "2 Some(2) None -", "closed"]
        );
    }

    #[test]
    fn encrypted_messages_are_counted_and_stepped_over() {
        let mut rig = Rig::over_smb();
        let mut sealed = message(WRITE, 0, 3, &[0x55; 5000]);
        sealed[4] = 0xfd;
        rig.send(Side::Client, &sealed[..1400]);
        assert_eq!(rig.bounds.held, 0);
        rig.send(Side::Client, &sealed[1400..]);
        rig.send(Side::Client, &sealed);
        assert_eq!(rig.bounds.carriage.encrypted, 2);
        assert_eq!(rig.told(), [""; 0]);
    }

    #[test]
    fn what_one_connection_may_hold_is_bounded() {
        let mut rig = Rig::over_smb();
        for id in 0..=255 {
            rig.send(Side::Client, &read(id, id));
            rig.send(Side::Client, &write(id, id, &pdu(0, id, 40)));
            // Later sessions have lower numbers.
            let session = 255 - id;
            rig.send(Side::Client, &in_session(session, connect(id, "\\\\host\\share")));
            rig.send(Side::Server, &in_session(session, connected(id)));
            rig.send(
                Side::Client,
                &related(&[create(id, "x"), write(id, THE_SAME, &pdu(0, id, 40))]),
            );
        }
        let limits = rig.bounds.limits;
        let Form::Smb(session) = &rig.carriage.form else {
            panic!("not SMB");
        };
        assert_eq!(session.shares.len(), limits.shares);
        // Those that were granted last are kept.
        assert!(session.shares.contains_key(&(0, 5)) && !session.shares.contains_key(&(255, 5)));
        assert!(session.pipes.len() <= limits.pipes && session.asked.len() <= limits.smb_requests);
        assert!(rig.bounds.carriage.over_limit > 0);
    }
}
