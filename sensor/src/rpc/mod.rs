//! From streams and datagrams to RPC: pipes and channels told apart, PDUs cut out, contexts resolved, fragments joined,
//! answers matched to calls.

mod association;
mod carriage;
mod carried;
mod contexts;
mod datagram;
mod fragments;
mod framing;
mod logins;
mod opening;
mod shape;

use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::input::ByteOrder;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{ContextElement, ContextResult, RejectReason, SyntaxId};
use dcom_parsers::security::{AuthLevel, AuthService, Claims};

pub use association::Association;
use carriage::VirtualConnections;
pub use carriage::{Carriage, CarriageCounters};
pub use carried::{Carried, Over};
pub(crate) use datagram::recognise;
pub use datagram::{DatagramCounters, Datagrams};
pub use shape::{BindShape, NegotiateShape, Noted, ResponseShape, Shape};

use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::flow::{Connection, NEVER};
use crate::keys::{Credit, KeyCounters, KeyName, Keys, SharedTickets};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Something that RPC peers did.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcEvent {
    /// On which connection.
    pub connection: Arc<Connection>,
    /// What.
    pub body: RpcBody,
}

/// What they did.
#[derive(Clone, Debug, PartialEq)]
pub enum RpcBody {
    /// The connection was recognised as DCE/RPC. Said once, first.
    Opened,
    /// Contexts were offered, and answered or not.
    Bound(Box<Bound>),
    /// A call, with its answer if there was one.
    Exchange(Box<Exchange>),
    /// A file was opened on an administrative share.
    File(Box<FileOpened>),
    /// A user logged in by NTLM, or tried to: to RPC, told at the first call or at the end, or to SMB, told when the server answered.
    Login(Box<Login>),
    /// Something odd.
    Odd(Anomaly),
    /// A PDU as it was cut, with the frame of its last byte: said only where [`RpcBounds::tells_pdus`].
    Pdu(At, Vec<u8>),
    /// An association is over.
    Closed,
    /// The connection is over on which there was one. Said once, last.
    Over(Box<Over>),
}

/// A file that was opened on an administrative share: one that is hidden and holds no pipes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOpened {
    /// The frame of the answer.
    pub at: At,
    /// The share as the client names it, e.g. `\\\\host\\ADMIN$`.
    pub share: Arc<str>,
    /// The file's name on it.
    pub name: Arc<str>,
    /// Was it opened so that what it holds may be changed, or made?
    pub to_write: bool,
}

/// A login by NTLM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The frame of its first token.
    pub at: At,
    /// What was said in clear.
    pub claims: Arc<Claims>,
    /// Did the server accept it? None when that was not seen.
    pub success: Option<bool>,
}

/// A bind or `alter_context` and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Which of the two.
    pub kind: BindKind,
    /// The frame of the offer, if it was seen.
    pub offered: Option<At>,
    /// The frame of the answer, if it was seen.
    pub answered: Option<At>,
    /// Ties the two together.
    pub call_id: u32,
    /// What was offered, each with its answer.
    pub contexts: Vec<(ContextElement, Option<ContextResult>)>,
    /// Why the whole was refused, if it was.
    pub refused: Option<Refusal>,
    /// What was said in clear while logging in, up to here.
    pub claims: Arc<Claims>,
    /// The association group, as the server names it.
    pub group: Option<u32>,
    /// Do both sides sign headers too: [MS-RPCE] 2.2.2.3 PFC flags? Known where a bind with a
    /// login was answered, and where an `alter_context` says so too.
    pub header_signing: Option<bool>,
    /// Who logs in with it; None when nobody does, or the offer was not seen.
    pub auth: Option<AuthState>,
    /// The pipe, if it is in one and its name is known.
    pub named_pipe: Option<Arc<str>>,
}

/// How an offer is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By a `bind_nak`.
    Nak(RejectReason),
    /// By a fault: how Windows and Samba answer a failed login in an `alter_context`.
    Fault(u32),
}

/// How contexts are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindKind {
    /// With the association.
    Bind,
    /// Later.
    AlterContext,
}

/// A call and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Ties request and answer together; without a connection, the call's number in its activity.
    pub call_id: u32,
    /// The client's thread of calls, in the connectionless protocol, which alone has one.
    pub activity: Option<Guid>,
    /// The request's operation; None when only the answer was seen and does not say.
    pub opnum: Option<u16>,
    /// The presentation context.
    pub context_id: u16,
    /// Was the context only offered, and neither the offer nor the call answered?
    pub is_offered: bool,
    /// What the context stands for.
    pub interface: Named,
    /// How stubs are encoded, where that is known.
    pub encoding: Option<Encoding>,
    /// The object UUID: in DCOM the IPID.
    pub object: Option<Guid>,
    /// The request; None when only the answer was seen.
    pub request: Option<Message>,
    /// The answer.
    pub reply: Reply,
    /// Who vouches for the call; None when that was not seen.
    pub auth: Option<AuthState>,
    /// What was said in clear while logging in.
    pub claims: Arc<Claims>,
    /// How the client writes, beside what it says.
    pub shape: Arc<Shape>,
    /// The `bind_ack`'s secondary address; where it was not seen, the name by which a pipe was opened.
    pub secondary_address: Option<Arc<str>>,
    /// The same where that is a pipe's name.
    pub named_pipe: Option<Arc<str>>,
    /// Bytes of the connection that were lost so far.
    pub bytes_missing: u64,
}

impl Exchange {
    /// When the last of it was seen.
    pub fn latest(&self) -> Timestamp {
        let asked = self.request.as_ref().map(|message| message.at.steady());
        let answered = match &self.reply {
            Reply::Response(message) => Some(message.at.steady()),
            Reply::Fault { at, .. } => Some(at.steady()),
            Reply::Unanswered | Reply::NotWanted => None,
        };
        asked.max(answered).unwrap_or_default()
    }

    /// Lets go of stubs that were kept though nobody reads them, because they were opened: what follows shall be the same
    /// with and without that.
    pub(crate) fn forget_unread(&mut self, is_read: IsRead) {
        let Some(opnum) = self.opnum else { return };
        if is_read(self.interface, opnum, self.object) {
            return;
        }
        let reply = match &mut self.reply {
            Reply::Response(message) => Some(message),
            _ => None,
        };
        for message in self.request.iter_mut().chain(reply) {
            if message.readable().is_some() {
                message.stub = Stub::NotKept;
            }
        }
    }
}

/// What a presentation context stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named {
    /// A bind or `alter_context` named it.
    Interface(SyntaxId),
    /// A bind or `alter_context` offered it, and the server refused.
    Refused,
    /// Nothing was seen that names it.
    #[default]
    Unseen,
}

/// A request or a response, all fragments together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The frame that carries its last byte (of what was seen).
    pub at: At,
    /// Fragments seen.
    pub fragments: u32,
    /// Bytes of stub in them, padding and verifiers taken off.
    pub stub_length: u64,
    /// The sender's byte order.
    pub order: ByteOrder,
    /// The stub, when it can be read and is of interest.
    pub stub: Stub,
    /// By which of the user's keys it was opened, if it was sealed.
    pub key: Option<KeyName>,
}

impl Message {
    /// The stub and its byte order, when it is in clear, and whole as far as it was kept.
    pub fn readable(&self) -> Option<(&[u8], ByteOrder)> {
        match &self.stub {
            Stub::Whole(stub) | Stub::Beginning(stub) => Some((stub, self.order)),
            _ => None,
        }
    }

    /// How much of a stub was kept that is beyond the limit.
    pub fn cut(&self) -> Option<usize> {
        match &self.stub {
            Stub::Beginning(stub) => Some(stub.len()),
            _ => None,
        }
    }
}

/// What there is of a stub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stub {
    /// All of it.
    Whole(Vec<u8>),
    /// Its beginning: all of it is beyond the limit.
    Beginning(Vec<u8>),
    /// Its verifier says that it is sealed.
    Sealed,
    /// Bytes or fragments of it are missing.
    Incomplete,
    /// Nobody will read it, or it is beyond the limit.
    #[default]
    NotKept,
}

impl Stub {
    /// What is kept of one that is beyond the limit.
    fn beginning(kept: Vec<u8>) -> Self {
        if kept.is_empty() {
            Self::NotKept
        } else {
            Self::Beginning(kept)
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was answered.
    Response(Message),
    /// It failed.
    Fault {
        /// The frame that says so.
        at: At,
        /// `nca_*` or a Win32 code.
        status: u32,
    },
    /// No answer was seen.
    Unanswered,
    /// None was wanted, over UDP. On connections servers answer all the same ([MS-RPCE] 2.2.2.2 `PFC_MAYBE` Flag).
    NotWanted,
}

/// How a call was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthState {
    /// By what.
    pub service: AuthService,
    /// What of it is protected.
    pub level: AuthLevel,
    /// By which security context of the connection, where a verifier says so.
    pub context: Option<u32>,
}

/// Tells whether the stub of an operation, or of its answer, will be read: by interface, opnum and object.
pub type IsRead = fn(Named, u16, Option<Guid>) -> bool;

/// What all associations share: the caps, how much is held, what was counted, and those that stand on two connections.
#[derive(Debug)]
pub struct RpcBounds {
    /// Which stubs are kept.
    pub is_read: IsRead,
    /// Is every PDU told as well? Off unless somebody compares them; connectionless ones are not.
    pub tells_pdus: bool,
    /// The caps.
    pub limits: Limits,
    /// Bytes of unfinished PDUs and of stubs, on all connections together.
    pub held: usize,
    /// When a call that waits on the connection at hand has waited too long.
    pub(crate) due: Timestamp,
    /// What the user's keys open; None without keys.
    pub keys: Option<Arc<Keys>>,
    /// Are the stubs of all opened PDUs kept, whoever reads them?
    pub keeps_opened: bool,
    /// What was counted of sealed and signed PDUs, with keys.
    pub key_counters: KeyCounters,
    /// How many keys are tried on tickets of a service that none of them names.
    pub(crate) key_credit: Credit,
    /// Kerberos tickets that were seen when they were issued.
    pub(crate) tickets: SharedTickets,
    /// What was counted.
    pub counters: RpcCounters,
    /// What was counted of that which carries it.
    pub carriage: CarriageCounters,
    virtual_connections: VirtualConnections,
}

impl RpcBounds {
    /// Counts anew what is held: so much by connections and conversations, and what stands on two connections.
    pub(crate) fn recount(&mut self, elsewhere: usize) {
        self.held = elsewhere + self.virtual_connections.held();
    }

    /// Tickets are known to others too.
    #[must_use]
    pub(crate) fn with_tickets(self, tickets: SharedTickets) -> Self {
        Self { tickets, ..self }
    }

    /// Nothing held, nothing counted.
    pub fn new(limits: Limits, is_read: IsRead) -> Self {
        Self {
            is_read,
            tells_pdus: false,
            limits,
            held: 0,
            due: NEVER,
            keys: None,
            keeps_opened: false,
            key_counters: KeyCounters::default(),
            key_credit: Credit::default(),
            tickets: SharedTickets::new(limits.tickets),
            counters: RpcCounters::default(),
            carriage: CarriageCounters::default(),
            virtual_connections: VirtualConnections::default(),
        }
    }
}

/// What the stream of a connection is handled with, at every level.
pub struct Handling<'a> {
    /// Whose stream it is.
    pub connection: &'a Arc<Connection>,
    /// What all share.
    pub bounds: &'a mut RpcBounds,
    /// Where it is told what RPC peers did.
    pub out: &'a mut dyn FnMut(RpcEvent),
}

impl Handling<'_> {
    fn say(&mut self, body: RpcBody) {
        (self.out)(RpcEvent {
            connection: Arc::clone(self.connection),
            body,
        });
    }
}

/// So many characters of a name are kept: longer ones no pipe and no port has.
const LONGEST_NAME: usize = 256;

/// A pipe's name, or a port.
fn name(text: &str) -> Arc<str> {
    let end = text.char_indices().nth(LONGEST_NAME).map_or(text.len(), |(end, _)| end);
    text[..end].into()
}

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RpcCounters {
    /// PDUs read.
    pub pdus: u64,
    /// PDUs that could not be read.
    pub malformed: u64,
    /// PDUs of which bytes are missing.
    pub damaged: u64,
    /// Places where a PDU had to start and none did.
    pub junk: u64,
    /// Binds that the server took.
    pub associations: u64,
    /// Those by which a connection joined the association group of another one: C706 12.6.4.3
    /// The bind PDU, `assoc_group_id`.
    pub joined: u64,
    /// Calls, answered or not.
    pub calls: u64,
    /// Calls answered by a fault.
    pub faults: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// Answers without a call.
    pub unasked: u64,
    /// PDUs whose stub is sealed.
    pub sealed: u64,
    /// Stubs and PDUs not kept because a limit was reached.
    pub over_limit: u64,
}

#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
