//! The security contexts of one connection: who logged in, by which key, and what that key opens.

use std::collections::BTreeMap;

use dcom_parsers::rpce::SecTrailer;
use dcom_parsers::security::ntlmssp::{Message, Proof};
use dcom_parsers::security::sealed::Sealed;
use dcom_parsers::security::{self, AuthLevel, AuthService};

use super::kerberos::{Credit, Kerberos};
use super::ntlm::{self, Established, Login};
use super::tickets::SharedTickets;
use super::{KeyName, Keys};
use crate::flow::Side;

/// Security contexts of one connection that are told apart. Clients build 2,000 at most ([MS-RPCE] 3.3.1.5.4 Security Context
/// Multiplexing), and few more than one.
pub(crate) const MAX_SESSIONS: usize = 256;

/// A PDU, by what of it is protected how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected<'a> {
    /// The header, up to the stub.
    pub(super) head: &'a [u8],
    /// The stub and its padding.
    pub(super) body: &'a [u8],
    /// The `sec_trailer`.
    pub(super) trailer: &'a [u8],
    /// The `auth_value`.
    pub(super) signature: &'a [u8],
    /// Is the body sealed, and not just signed?
    pub(super) is_sealed: bool,
}

impl<'a> Protected<'a> {
    /// The parts of a PDU whose header is so long.
    pub(crate) fn of(pdu: &'a [u8], head_length: usize, verifier: &SecTrailer<'_>) -> Option<Self> {
        let signed = pdu.len().checked_sub(verifier.auth_value.len())?;
        let (signed, signature) = pdu.split_at(signed);
        let (rest, trailer) = signed.split_last_chunk::<8>()?;
        let (head, body) = rest.split_at_checked(head_length)?;
        Some(Self {
            head,
            body,
            trailer,
            signature,
            is_sealed: AuthLevel(verifier.auth_level) == AuthLevel::PKT_PRIVACY,
        })
    }

    /// Whether headers may be signed too, the likelier first.
    pub(super) fn signed_headers(known: Option<bool>) -> impl Iterator<Item = bool> + use<> {
        let both = [Some(true), Some(false)].into_iter();
        both.flatten()
            .filter(move |&signs| known.is_none_or(|known| known == signs))
    }

    /// What is signed.
    pub(super) fn signed<'b>(&self, signs_headers: bool, body: &'b [u8]) -> [&'b [u8]; 3]
    where
        'a: 'b,
    {
        if signs_headers {
            [self.head, body, self.trailer]
        } else {
            [&[], body, &[]]
        }
    }
}

/// What a signature says of a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is right. What was sealed is open.
    Right,
    /// It is wrong, and the key is right: something was changed.
    Bad,
    /// It cannot be told: too much was lost to know where in the key stream it is.
    StreamLost,
    /// The same, told for the first time.
    StreamJustLost,
    /// It cannot be told: no key is known.
    NoKey,
}

/// What of one direction was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Bytes of stubs in PDUs whose header was seen.
    pub(crate) stubs: u64,
    /// Bytes of which nothing is known, at most.
    pub(crate) bytes: u64,
}

impl Loss {
    /// So many bytes at most, of which nothing is known.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { stubs: 0, bytes }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.stubs = self.stubs.saturating_add(other.stubs);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What a leg of a login came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// Nothing yet, or nothing that is known.
    Nothing,
    /// The key fits. What it is that only the key tells: the client, by name and realm.
    Known(Option<Who>),
    /// A key of this name was to fit, and does not.
    Mismatch(KeyName),
    /// Another version of the key was wanted than the one that is given.
    OtherVersion { name: KeyName, wanted: u32, given: u32 },
}

/// A client as its ticket names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) user: String,
    pub(crate) realm: String,
}

/// The security contexts of one connection.
#[derive(Default)]
pub(crate) struct Sessions {
    by_context: BTreeMap<u32, Session>,
    /// What was opened, until it is taken.
    plain: zeroize::Zeroizing<Vec<u8>>,
    /// Bytes of `by_context`, about.
    kept: usize,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({} contexts)", self.by_context.len())
    }
}

/// One security context.
enum Session {
    /// NTLM, not as far as its third message.
    Challenged([u8; 8]),
    Ntlm {
        established: Box<Established>,
        in_spnego: bool,
    },
    Kerberos(Box<Kerberos>),
}

impl Session {
    /// Bytes that it takes, about: the map leaves as much room between contexts.
    fn kept(&self) -> usize {
        2 * size_of::<(u32, Self)>()
            + match self {
                Self::Challenged(_) => 0,
                Self::Ntlm { .. } => size_of::<Established>(),
                Self::Kerberos(session) => session.kept(),
            }
    }
}

impl Sessions {
    /// Bytes that the security contexts take, about.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Takes in one leg of a login.
    pub(crate) fn learn(
        &mut self,
        keys: (&Keys, &mut Credit),
        tickets: &SharedTickets,
        verifier: &SecTrailer<'_>,
    ) -> Learnt {
        let learnt = self.learn_leg(keys, tickets, verifier);
        self.kept = self.by_context.values().map(Session::kept).sum();
        learnt
    }

    fn learn_leg(&mut self, keys: (&Keys, &mut Credit), tickets: &SharedTickets, verifier: &SecTrailer<'_>) -> Learnt {
        let id = verifier.auth_context_id;
        let Some(token) = security::mechanism_token(verifier.auth_value) else {
            return Learnt::Nothing;
        };
        if let Some(proof) = Proof::of(token) {
            let Some(&Session::Challenged(challenge)) = self.by_context.get(&id) else {
                return Learnt::Nothing;
            };
            self.by_context.remove(&id);
            return match ntlm::login(keys.0, challenge, &proof) {
                Login::Known(established) => {
                    let in_spnego = AuthService(verifier.auth_type) == AuthService::SPNEGO;
                    self.insert(id, Session::Ntlm { established, in_spnego });
                    Learnt::Known(None)
                }
                Login::Mismatch(name) => Learnt::Mismatch(name),
                Login::Unknown => Learnt::Nothing,
            };
        }
        if let Some(message) = security::ntlm(token) {
            // What the client wants is nothing until the server answers.
            if let Message::Challenge(challenge) = message {
                self.insert(id, Session::Challenged(challenge.server_challenge));
            }
            return Learnt::Nothing;
        }
        match Sealed::parse(token) {
            Ok(Some(message)) => self.learn_kerberos(keys, tickets, id, &message),
            _ => Learnt::Nothing,
        }
    }

    fn learn_kerberos(
        &mut self,
        keys: (&Keys, &mut Credit),
        tickets: &SharedTickets,
        id: u32,
        message: &Sealed<'_>,
    ) -> Learnt {
        if let Sealed::ApRep(answer) = message {
            if let Some(Session::Kerberos(session)) = self.by_context.get_mut(&id) {
                session.answer(*answer);
            }
            return Learnt::Nothing;
        }
        // The server's own ticket, of user-to-user, is wanted when the client's comes.
        let earlier = match self.by_context.remove(&id) {
            Some(Session::Kerberos(session)) => Some(session),
            _ => None,
        };
        let (session, learnt) = Kerberos::login(keys, &tickets.lock(), message, earlier.as_deref());
        if let Some(session) = session {
            self.insert(id, Session::Kerberos(Box::new(session)));
        }
        learnt
    }

    fn insert(&mut self, id: u32, session: Session) {
        if self.by_context.len() >= MAX_SESSIONS && !self.by_context.contains_key(&id) {
            // One that came to nothing makes room first.
            let is_open = |session: &Session| matches!(session, Session::Challenged(_));
            let unfinished = self.by_context.iter().find(|(_, session)| is_open(session));
            let forgotten = unfinished.or(self.by_context.first_key_value()).map(|(&id, _)| id);
            forgotten.map(|id| self.by_context.remove(&id));
        }
        self.by_context.insert(id, session);
    }

    /// Something of this side was not seen.
    pub(crate) fn lose(&mut self, side: Side, loss: Loss) {
        for session in self.by_context.values_mut() {
            if let Session::Ntlm { established, .. } = session {
                established.directions[side].lose(loss);
            }
        }
    }

    /// Checks a PDU. With [`Verdict::Right`], what it holds is in [`Sessions::plain`] if it was sealed, and the key is named.
    pub(crate) fn open(&mut self, side: Side, context_id: u32, pdu: &Protected<'_>) -> (Verdict, Option<KeyName>) {
        match self.by_context.get_mut(&context_id) {
            Some(Session::Ntlm { established, in_spnego }) => {
                let verdict = established.directions[side].open(pdu, *in_spnego, &mut self.plain);
                (verdict, Some(established.name.clone()))
            }
            Some(Session::Kerberos(session)) => (session.open(side, pdu, &mut self.plain), Some(session.name())),
            Some(Session::Challenged(_)) | None => (Verdict::NoKey, None),
        }
    }

    /// What was opened last.
    pub(crate) fn take_plain(&mut self) -> zeroize::Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.plain)
    }
}
