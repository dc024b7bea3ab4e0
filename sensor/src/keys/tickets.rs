//! Kerberos tickets that were seen when they were issued: whose they are, and the session key of those that a key opens.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dcom_parsers::security::sealed::Sealed;
use dcom_parsers::security::{self, kerberos};
use sha2::{Digest, Sha256};

use super::KeyName;
use super::etype::{Etype, Wiped};
use super::sessions::{Learnt, Who};

/// What tells a ticket from all others: a digest of its sealed part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TicketId([u8; 32]);

impl TicketId {
    fn of(cipher: &[u8]) -> Self {
        Self(Sha256::digest(cipher).into())
    }
}

/// A session key, and by whose key it is known.
#[derive(Clone)]
pub(super) struct SessionKey {
    pub(super) etype: Etype,
    pub(super) key: Wiped,
    pub(super) by: KeyName,
}

/// What is known of a ticket.
pub(super) struct Issued {
    /// The client, as the reply that brought the ticket names it, in clear or where a key opens it. None: it is hidden, or two
    /// replies differ.
    pub(super) who: Option<Who>,
    /// Who sent that reply: not the client itself, if it is to be believed.
    pub(super) from: IpAddr,
    pub(super) session_key: Option<SessionKey>,
    /// Of the key that was to open the reply, or the ticket it rests on, and did not.
    pub(super) unopened: Option<Learnt>,
}

/// What was counted of tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TicketCounters {
    /// Tickets seen when they were issued.
    pub issued: u64,
    /// Those that were forgotten to make room.
    pub forgotten: u64,
    /// Connections to domain controllers that were given up to make room.
    pub over_limit: u64,
}

/// Tickets that were issued. Beyond the bound the oldest is forgotten.
pub(super) struct Tickets {
    by_id: BTreeMap<TicketId, Issued>,
    order: VecDeque<TicketId>,
    /// Ticket-granting tickets of accounts whose key is given, by the account in lower case.
    granting: VecDeque<(String, TicketId)>,
    most: usize,
    pub(super) counters: TicketCounters,
}

/// Ticket-granting tickets that are compared, of all that a user-to-user ticket may be sealed by.
const GRANTING: usize = 1024;

impl Tickets {
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            order: VecDeque::new(),
            granting: VecDeque::new(),
            most: most.max(1),
            counters: TicketCounters::default(),
        }
    }

    /// A ticket is issued, of which this is the sealed part. `grants`: it is one by which others are asked for.
    pub(super) fn issue(&mut self, cipher: &[u8], issued: Issued, grants: bool) {
        let id = TicketId::of(cipher);
        if let Some(known) = self.by_id.get_mut(&id) {
            // Whoever names another client for the same ticket takes away what was said, and adds nothing.
            if issued.who.is_some() && known.who != issued.who {
                known.who = None;
            }
            if known.session_key.is_none() {
                known.session_key = issued.session_key;
            }
            return;
        }
        self.counters.issued += 1;
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
            self.counters.forgotten += 1;
        }
        if let Some(who) = &issued.who
            && grants
            && (issued.session_key.is_some() || issued.unopened.is_some())
        {
            if self.granting.len() >= GRANTING {
                self.granting.pop_front();
            }
            self.granting.push_back((account(&who.user), id));
        }
        self.order.push_back(id);
        self.by_id.insert(id, issued);
    }

    /// What is known of the ticket with this sealed part.
    pub(super) fn get(&self, cipher: &[u8]) -> Option<&Issued> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.get(&TicketId::of(cipher))
    }

    /// The ticket-granting tickets of an account whose key is given, the latest first.
    pub(super) fn granting<'t>(&'t self, account: &str) -> impl Iterator<Item = &'t Issued> {
        let wanted = self::account(account);
        let own = self.granting.iter().rev().filter(move |(name, _)| *name == wanted);
        own.filter_map(|(_, id)| self.by_id.get(id))
    }
}

/// The account behind a name: some say bob@lab.example.
fn account(name: &str) -> String {
    name.split('@').next().unwrap_or_default().to_lowercase()
}

/// The tickets that all shards of a worker know.
#[derive(Clone)]
pub(crate) struct SharedTickets(Arc<Mutex<Tickets>>);

impl std::fmt::Debug for SharedTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedTickets")
    }
}

impl SharedTickets {
    /// None so far, and so many at most.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Tickets::new(most))))
    }

    /// One thread has all that share them: nobody waits. After a panic, which is told, they go on as they are.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> TicketCounters {
        self.lock().counters
    }

    /// Whose ticket a login by this host shows, if it was seen when it was issued.
    pub(crate) fn client(&self, shown_by: IpAddr, auth_value: &[u8]) -> Option<Who> {
        if self.lock().by_id.is_empty() {
            return None;
        }
        let token = security::mechanism_token(auth_value).filter(|token| kerberos::Message::is_one(token))?;
        match Sealed::parse(token) {
            Ok(Some(Sealed::ApReq { ticket, .. })) => {
                let tickets = self.lock();
                let issued = tickets.get(ticket.sealed.cipher)?;
                issued.who.clone().filter(|_| issued.from != shown_by)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::kerberos::tests::{ap_req, ticket};

    fn of(user: &str) -> Issued {
        let who = Who {
            user: user.to_owned(),
            realm: "LAB.EXAMPLE".to_owned(),
        };
        Issued {
            who: Some(who),
            from: IpAddr::from([10, 0, 0, 88]),
            session_key: None,
            unopened: None,
        }
    }

    fn user(tickets: &Tickets, cipher: &[u8]) -> Option<String> {
        tickets.get(cipher)?.who.as_ref().map(|who| who.user.clone())
    }

    #[test]
    fn a_ticket_that_is_said_to_be_anothers_too_is_nobodys() {
        let mut tickets = Tickets::new(8);
        tickets.issue(b"one", of("alice"), false);
        tickets.issue(b"two", of("bob"), false);
        tickets.issue(b"one", of("alice"), false);
        assert_eq!(user(&tickets, b"one").as_deref(), Some("alice"));
        tickets.issue(b"one", of("mallory"), false);
        tickets.issue(b"one", of("alice"), false);
        assert_eq!(user(&tickets, b"one"), None);
        assert_eq!(user(&tickets, b"two").as_deref(), Some("bob"));
    }

    #[test]
    fn a_reply_that_the_client_itself_sent_names_nobody() {
        let key = [1; 32];
        let token = ap_req(&ticket("host/dc", 18, &key, &key), 0, 18, &key, &key);
        let Some(Sealed::ApReq { ticket, .. }) = Sealed::parse(&token).unwrap() else {
            panic!("no ticket");
        };
        let tickets = SharedTickets::new(8);
        tickets.lock().issue(ticket.sealed.cipher, of("alice"), false);
        let by = |last| {
            tickets
                .client(IpAddr::from([10, 0, 0, last]), &token)
                .map(|who| who.user)
        };
        assert_eq!(by(20).as_deref(), Some("alice"));
        assert_eq!(by(88), None);
    }

    #[test]
    fn tickets_are_bounded() {
        let mut tickets = Tickets::new(4);
        for number in 0..2_000_u32 {
            let issued = Issued {
                unopened: Some(Learnt::Mismatch("alice".into())),
                ..of("alice")
            };
            tickets.issue(&number.to_be_bytes(), issued, true);
        }
        assert_eq!((tickets.by_id.len(), tickets.order.len()), (4, 4));
        assert_eq!((tickets.counters.issued, tickets.counters.forgotten), (2_000, 1_996));
        assert_eq!(tickets.granting.len(), GRANTING);
        assert_eq!(tickets.granting("ALICE").count(), 4);
    }
}
