//! Kerberos: RFC 4120, from the ticket that a client shows to the keys by which the two ends seal.

use dcom_parsers::security::sealed::{
    Authenticator, EncApRepPart, EncTicketPart, EncryptedData, EncryptionKey, Sealed, SealedTicket,
};
use secrecy::ExposeSecret;

use super::etype::{AP_REP, AUTHENTICATOR, Etype, TICKET, Wiped};
use super::gss::Protection;
use super::sessions::{Learnt, Protected, Verdict, Who};
use super::tickets::{Issued, SessionKey, Tickets};
use super::{KeyName, Keys, TicketKey, is_same_domain};
use crate::flow::Side;

/// Keys of other names that are tried on each ticket: a service is known by many names, and its key only by one. More are
/// while there is credit for it.
const STRANGERS: usize = 1024;

/// How many keys may still be tried on tickets beyond that. A shard's own: what it says depends on its packets alone.
#[derive(Debug)]
pub(crate) struct Credit {
    left: usize,
    /// Tickets on which not all keys were tried.
    pub(crate) untried: u64,
}

/// What is spent on tickets that no key opens, whoever makes them up: seconds.
const CREDIT: usize = 1 << 22;

impl Default for Credit {
    fn default() -> Self {
        Self {
            left: CREDIT,
            untried: 0,
        }
    }
}

impl Credit {
    /// So many keys are to be tried; gives how many may be.
    fn spend(&mut self, wanted: usize) -> usize {
        let granted = wanted.min(self.left);
        self.left -= granted;
        self.untried += u64::from(granted < wanted);
        granted
    }

    /// That so many were tried was worth it.
    fn earn(&mut self, granted: usize) {
        self.left = self.left.saturating_add(granted).min(CREDIT);
    }
}

/// One security context whose ticket was opened.
pub(super) struct Kerberos {
    /// Whose key it was.
    name: KeyName,
    /// The client, as its ticket names it.
    who: Option<Who>,
    session_key: (Etype, Wiped),
    /// By which the two may seal, the likeliest first: the acceptor's, the initiator's, the ticket's.
    protections: Vec<Protection>,
    /// Which it is. Known once a signature was right.
    chosen: Option<usize>,
}

impl Kerberos {
    /// What a client's ticket, or the server's own, comes to.
    pub(super) fn login(
        (keys, credit): (&Keys, &mut Credit),
        tickets: &Tickets,
        message: &Sealed<'_>,
        earlier: Option<&Self>,
    ) -> (Option<Self>, Learnt) {
        let (ticket, authenticator, user_to_user) = match message {
            Sealed::ApReq {
                ticket,
                authenticator,
                user_to_user,
            } => (ticket, *authenticator, *user_to_user),
            Sealed::TgtRep(ticket) => return Self::servers_own((keys, credit), tickets, ticket),
            Sealed::ApRep(_) => return (None, Learnt::Nothing),
        };
        let opened = if user_to_user {
            Self::user_to_user(tickets, ticket, earlier)
        } else {
            open_ticket(keys, credit, ticket)
        };
        let unopened = match opened {
            Ok((opened, name)) => match Self::of_ticket(&opened, name) {
                Some(mut session) => {
                    session.suggested(authenticator);
                    let who = session.who.clone();
                    return (Some(session), Learnt::Known(who));
                }
                None => Learnt::Nothing,
            },
            Err(learnt) => learnt,
        };
        // Of whoever was given the ticket the key may be known too: then its session key is.
        let issued = tickets.get(ticket.sealed.cipher);
        if let Some(mut session) = issued.and_then(Self::of_issued)
            && session.suggested(authenticator).is_some()
        {
            let who = session.who.clone();
            return (Some(session), Learnt::Known(who));
        }
        let mismatch = issued.and_then(|issued| issued.unopened.clone());
        let mismatch = mismatch.filter(|_| unopened == Learnt::Nothing);
        (None, mismatch.unwrap_or(unopened))
    }

    /// The ticket by which a user-to-user ticket will be sealed.
    fn servers_own(
        (keys, credit): (&Keys, &mut Credit),
        tickets: &Tickets,
        ticket: &SealedTicket<'_>,
    ) -> (Option<Self>, Learnt) {
        let opened = open_ticket(keys, credit, ticket);
        let session = match &opened {
            Ok((opened, name)) => Self::of_ticket(opened, name.clone()),
            Err(_) => tickets.get(ticket.sealed.cipher).and_then(Self::of_issued),
        };
        match (session, opened) {
            (None, Err(learnt)) => (None, learnt),
            (session, _) => (session, Learnt::Nothing),
        }
    }

    /// A ticket that is sealed in the session key of the server's own, which was shown before, or was seen when the server
    /// was given it.
    fn user_to_user(
        tickets: &Tickets,
        ticket: &SealedTicket<'_>,
        earlier: Option<&Self>,
    ) -> Result<(Wiped, KeyName), Learnt> {
        let open = |etype: Etype, key: &[u8], name: &KeyName| {
            Some((etype.open(key, TICKET, ticket.sealed.cipher)?, name.clone()))
        };
        let own = earlier.and_then(|own| {
            let (etype, key) = &own.session_key;
            open(*etype, key, &own.name)
        });
        let given = || tickets.granting(&ticket.service.name);
        let known = || given().filter_map(|own| own.session_key.as_ref());
        let opened = own.or_else(|| known().find_map(|known| open(known.etype, &known.key, &known.by)));
        opened.ok_or_else(|| given().find_map(|own| own.unopened.clone()).unwrap_or(Learnt::Nothing))
    }

    fn of_ticket(opened: &[u8], name: KeyName) -> Option<Self> {
        let part = EncTicketPart::parse(opened).ok()?;
        let who = Who {
            user: part.client.name,
            realm: part.client_realm,
        };
        Some(Self::new(usable(part.key)?, name, Some(who)))
    }

    fn of_issued(issued: &Issued) -> Option<Self> {
        let SessionKey { etype, key, by } = issued.session_key.clone()?;
        Some(Self::new((etype, key), by, issued.who.clone()))
    }

    fn new(session_key: (Etype, Wiped), name: KeyName, who: Option<Who>) -> Self {
        Self {
            protections: Protection::new(session_key.0, &session_key.1).into_iter().collect(),
            name,
            who,
            session_key,
            chosen: None,
        }
    }

    /// The key that the client suggests, if there is one. None: its authenticator does not open.
    fn suggested(&mut self, authenticator: EncryptedData<'_>) -> Option<()> {
        let opened = self.open_with_session_key(AUTHENTICATOR, authenticator)?;
        if let Ok(Authenticator { subkey: Some(subkey) }) = Authenticator::parse(&opened) {
            self.prefer(subkey);
        }
        Some(())
    }

    /// The answer to the ticket, or in DCE's three legs the answer to that.
    pub(super) fn answer(&mut self, answer: EncryptedData<'_>) {
        if let Some(opened) = self.open_with_session_key(AP_REP, answer)
            && let Ok(EncApRepPart { subkey: Some(subkey) }) = EncApRepPart::parse(&opened)
        {
            self.prefer(subkey);
        }
    }

    fn open_with_session_key(&self, usage: u32, sealed: EncryptedData<'_>) -> Option<Wiped> {
        let (etype, key) = &self.session_key;
        etype.open(key, usage, sealed.cipher)
    }

    fn prefer(&mut self, key: EncryptionKey<'_>) {
        let protection = usable(key).and_then(|(etype, key)| Protection::new(etype, &key));
        if let Some(protection) = protection.filter(|_| self.protections.len() < 4) {
            self.protections.insert(0, protection);
            self.chosen = None;
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn kept(&self) -> usize {
        size_of::<Self>() + self.protections.iter().map(Protection::kept).sum::<usize>()
    }

    pub(super) fn name(&self) -> KeyName {
        self.name.clone()
    }

    /// Checks a PDU, and puts what it holds into `plain` if it was sealed.
    pub(super) fn open(&mut self, side: Side, pdu: &Protected<'_>, plain: &mut Vec<u8>) -> Verdict {
        let keys = match self.chosen {
            Some(chosen) => chosen..chosen + 1,
            None => 0..self.protections.len(),
        };
        for index in keys {
            if self.protections[index].open(side, pdu, plain) {
                self.chosen = Some(index);
                return Verdict::Right;
            }
        }
        Verdict::Bad
    }
}

/// A key of a type that is known.
pub(super) fn usable(key: EncryptionKey<'_>) -> Option<(Etype, Wiped)> {
    let etype = Etype::of(key.etype)?;
    (key.value.len() == etype.key_length()).then(|| (etype, Wiped::new(key.value.to_vec())))
}

/// Opens a ticket by whichever key it is sealed in.
fn open_ticket(keys: &Keys, credit: &mut Credit, ticket: &SealedTicket<'_>) -> Result<(Wiped, KeyName), Learnt> {
    open_by_name(keys, ticket).or_else(|learnt| {
        let sealed = ticket.sealed;
        let etype = Etype::of(sealed.etype).ok_or(Learnt::Nothing)?;
        let owner = Owner::of(ticket);
        let strangers: Vec<_> = keys
            .tickets
            .iter()
            .filter(|key| key.etype == sealed.etype && !owner.has(key))
            .collect();
        let more = credit.spend(strangers.len().saturating_sub(STRANGERS));
        // RFC 4120 section 5.3 Tickets: EncTicketPart is [APPLICATION 3].
        let may_open =
            |key: &&TicketKey| etype.begins(key.key.expose_secret(), TICKET, sealed.cipher, 0x63) != Some(false);
        let may_open = strangers.into_iter().take(STRANGERS + more).filter(may_open);
        let opened = first_that_opens(etype, may_open, ticket);
        if opened.is_some() {
            credit.earn(more);
        }
        opened.ok_or(learnt)
    })
}

/// Opens a ticket by a key of its service by name.
fn open_by_name(keys: &Keys, ticket: &SealedTicket<'_>) -> Result<(Wiped, KeyName), Learnt> {
    let sealed = ticket.sealed;
    let etype = Etype::of(sealed.etype).ok_or(Learnt::Nothing)?;
    let owner = Owner::of(ticket);
    let of_type = keys.tickets.iter().filter(|key| key.etype == sealed.etype);
    let named: Vec<_> = of_type.filter(|key| owner.has(key)).collect();
    first_that_opens(etype, named.iter().copied(), ticket).ok_or_else(|| {
        // Another version of the key is another key, which is worth knowing too.
        let version = |key: &TicketKey| key.kvno.filter(|_| sealed.kvno.is_some());
        let same_version = |key: &&&TicketKey| version(key).is_none() || key.kvno == sealed.kvno;
        match (named.iter().find(same_version), named.last()) {
            (Some(key), _) => Learnt::Mismatch(key.name.clone()),
            (None, Some(key)) => Learnt::OtherVersion {
                name: key.name.clone(),
                wanted: sealed.kvno.unwrap_or_default(),
                given: key.kvno.unwrap_or_default(),
            },
            (None, None) => Learnt::Nothing,
        }
    })
}

fn first_that_opens<'k>(
    etype: Etype,
    mut keys: impl Iterator<Item = &'k TicketKey>,
    ticket: &SealedTicket<'_>,
) -> Option<(Wiped, KeyName)> {
    keys.find_map(|key| {
        let opened = etype.open(key.key.expose_secret(), TICKET, ticket.sealed.cipher)?;
        Some((opened, key.name.clone()))
    })
}

/// The session key in a ticket, if there is a key of its service by name.
pub(super) fn session_key_of(keys: &Keys, ticket: &SealedTicket<'_>) -> Result<SessionKey, Learnt> {
    let (opened, by) = open_by_name(keys, ticket)?;
    let key = EncTicketPart::parse(&opened).ok().and_then(|part| usable(part.key));
    let (etype, key) = key.ok_or(Learnt::Nothing)?;
    Ok(SessionKey { etype, key, by })
}

/// Whose key a ticket is sealed in, as its service's name says: the service's own, or that of an account behind it.
struct Owner<'a> {
    service: String,
    /// The computer account.
    computer: String,
    /// The account of the key distribution centre, where it is a domain's own ticket-granting ticket. What a domain gives its
    /// users for another one is sealed in a key that the two share.
    kdc: Option<String>,
    realm: &'a str,
}

impl<'a> Owner<'a> {
    fn of(ticket: &'a SealedTicket<'_>) -> Self {
        let service = ticket.service.name.to_lowercase();
        let (class, instance) = service.split_once('/').unwrap_or_default();
        let host = instance.split(['.', '/']).next().unwrap_or_default();
        let realm = ticket.realm.to_lowercase();
        let is_own = class == "krbtgt" && (instance == realm || realm.split('.').next() == Some(instance));
        // A read-only domain controller has an account of its own, whose number is the upper half of its key's version.
        let kdc = match ticket.sealed.kvno.unwrap_or_default() >> 16 {
            0 => "krbtgt".to_owned(),
            number => format!("krbtgt_{number}"),
        };
        Self {
            computer: format!("{host}$"),
            kdc: Some(kdc).filter(|_| is_own),
            service,
            realm: &ticket.realm,
        }
    }

    fn has(&self, key: &TicketKey) -> bool {
        let is_of_kdc = self.kdc.as_ref() == Some(&key.principal)
            && key.realm.as_ref().is_none_or(|realm| is_same_domain(realm, self.realm));
        key.principal == self.service || key.principal == self.computer || is_of_kdc
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::keys::etype::tests::seal;

    pub(in crate::keys) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], &content[..]].concat()
    }

    pub(in crate::keys) fn integer(number: u8) -> Vec<u8> {
        tlv(2, &[&[number]])
    }

    pub(in crate::keys) fn principal(name: &str) -> Vec<u8> {
        let names = tlv(0x30, &[&tlv(0x1b, &[name.as_bytes()])]);
        tlv(0x30, &[&tlv(0xa0, &[&integer(1)]), &tlv(0xa1, &[&names])])
    }

    pub(in crate::keys) fn key(etype: u8, value: &[u8]) -> Vec<u8> {
        tlv(
            0x30,
            &[&tlv(0xa0, &[&integer(etype)]), &tlv(0xa1, &[&tlv(4, &[value])])],
        )
    }

    /// An `EncryptedData` of that.
    pub(in crate::keys) fn sealed(number: u8, key: &[u8], usage: u32, plain: &[u8]) -> Vec<u8> {
        let etype = Etype::of(number.into()).unwrap();
        let plain = [&[0x5a; 16], plain].concat();
        let cipher = seal(etype, key, usage, &plain, 16..16, &[], &[]);
        tlv(
            0x30,
            &[
                &tlv(0xa0, &[&integer(number)]),
                &tlv(0xa1, &[&integer(2)]),
                &tlv(0xa2, &[&tlv(4, &[&cipher])]),
            ],
        )
    }

    /// A ticket for `service`, sealed in `by`, that holds `session_key`.
    pub(in crate::keys) fn ticket(service: &str, etype: u8, by: &[u8], session_key: &[u8]) -> Vec<u8> {
        let realm = tlv(0x1b, &[b"LAB.EXAMPLE"]);
        let part = [
            tlv(0xa0, &[&tlv(3, &[&[0; 5]])]),
            tlv(0xa1, &[&key(etype, session_key)]),
            tlv(0xa2, &[&realm]),
            tlv(0xa3, &[&principal("alice")]),
        ];
        let part = tlv(0x63, &[&tlv(0x30, &[&part.concat()])]);
        let fields = [
            tlv(0xa0, &[&integer(5)]),
            tlv(0xa1, &[&realm]),
            tlv(0xa2, &[&principal(service)]),
            tlv(0xa3, &[&sealed(etype, by, TICKET, &part)]),
        ];
        tlv(0x61, &[&tlv(0x30, &[&fields.concat()])])
    }

    /// A client that shows this ticket, and suggests a key.
    pub(in crate::keys) fn ap_req(ticket: &[u8], options: u8, etype: u8, session_key: &[u8], subkey: &[u8]) -> Vec<u8> {
        let authenticator = tlv(
            0x62,
            &[&tlv(
                0x30,
                &[&tlv(0xa0, &[&integer(5)]), &tlv(0xa6, &[&key(etype, subkey)])],
            )],
        );
        let fields = [
            tlv(0xa0, &[&integer(5)]),
            tlv(0xa1, &[&integer(14)]),
            tlv(0xa2, &[&tlv(3, &[&[0, options, 0, 0, 0]])]),
            tlv(0xa3, &[ticket]),
            tlv(0xa4, &[&sealed(etype, session_key, AUTHENTICATOR, &authenticator)]),
        ];
        tlv(0x6e, &[&tlv(0x30, &[&fields.concat()])])
    }

    pub(in crate::keys) fn keys(principal: &str, etype: i32, key: &[u8]) -> Keys {
        let mut keys = Keys::default();
        crate::keys::keytab::add_key(&mut keys, principal, "LAB.EXAMPLE", Some(2), etype, key.to_vec().into());
        keys
    }

    fn login(keys: &Keys, token: &[u8], earlier: Option<&Kerberos>) -> (Option<Kerberos>, Learnt) {
        login_with(keys, &Tickets::new(8), token, earlier)
    }

    pub(in crate::keys) fn login_with(
        keys: &Keys,
        tickets: &Tickets,
        token: &[u8],
        earlier: Option<&Kerberos>,
    ) -> (Option<Kerberos>, Learnt) {
        let message = Sealed::parse(token).unwrap().unwrap();
        Kerberos::login((keys, &mut Credit::default()), tickets, &message, earlier)
    }

    #[test]
    fn tickets_of_every_aes_type_give_their_keys_and_their_client() {
        for (etype, length) in [(17, 16), (18, 32), (19, 16), (20, 32)] {
            let [long, session_key, subkey] = [1, 2, 3].map(|byte| vec![byte; length]);
            let ticket = ticket("host/dc.lab.example", etype, &long, &session_key);
            let token = ap_req(&ticket, 0, etype, &session_key, &subkey);
            let (session, learnt) = login(&keys("DC$", etype.into(), &long), &token, None);
            let session = session.unwrap();
            assert_eq!(session.protections.len(), 2, "{etype}");
            assert_eq!(&*session.name(), "DC$@LAB.EXAMPLE");
            assert!(matches!(learnt, Learnt::Known(Some(who)) if who.user == "alice" && who.realm == "LAB.EXAMPLE"));
            let (session, learnt) = login(&keys("DC$", etype.into(), &session_key), &token, None);
            assert!(session.is_none());
            assert_eq!(learnt, Learnt::Mismatch("DC$@LAB.EXAMPLE".into()), "{etype}");
            let mut older = keys("DC$", etype.into(), &session_key);
            older.tickets[0].kvno = Some(1);
            let expected = Learnt::OtherVersion {
                name: "DC$@LAB.EXAMPLE".into(),
                wanted: 2,
                given: 1,
            };
            assert_eq!(login(&older, &token, None).1, expected, "{etype}");
            let (session, learnt) = login(&keys("OTHER$", etype.into(), &session_key), &token, None);
            assert!(session.is_none());
            assert_eq!(learnt, Learnt::Nothing, "{etype}");
        }
    }

    #[test]
    fn any_key_is_tried_on_a_service_of_another_name_as_long_as_there_is_credit() {
        let mut keys = keys("user0", 18, &[9; 32]);
        for number in 1..2_000 {
            keys_add(&mut keys, &format!("user{number}"), [8; 32]);
        }
        keys_add(&mut keys, "DC$", [1; 32]);
        let ticket_of = |by: [u8; 32]| ticket("host/files.lab.example", 18, &by, &[2; 32]);
        let opens = |credit: &mut Credit, by| {
            let token = ap_req(&ticket_of(by), 0, 18, &[2; 32], &[3; 32]);
            let message = Sealed::parse(&token).unwrap().unwrap();
            let opened = Kerberos::login((&keys, credit), &Tickets::new(8), &message, None).0;
            opened.is_some()
        };
        // Two that none of them opens cost more than there is; one that is opened costs nothing.
        let mut credit = Credit {
            left: 1_500,
            ..Credit::default()
        };
        assert!(opens(&mut credit, [1; 32]));
        assert!(!opens(&mut credit, [7; 32]));
        assert_eq!(credit.untried, 0);
        assert!(!opens(&mut credit, [1; 32]));
        assert_eq!(credit.untried, 1);
    }

    fn keys_add(keys: &mut Keys, principal: &str, key: [u8; 32]) {
        crate::keys::keytab::add_key(keys, principal, "", None, 18, key.to_vec().into());
    }

    #[test]
    fn user_to_user_is_opened_by_the_servers_own_ticket() {
        let [krbtgt, of_server, session_key, subkey] = [1, 2, 3, 4].map(|byte| vec![byte; 32]);
        let keys = keys("krbtgt/LAB.EXAMPLE", 18, &krbtgt);
        let own = ticket("krbtgt/LAB.EXAMPLE", 18, &krbtgt, &of_server);
        let reply = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&integer(5)]),
                &tlv(0xa1, &[&integer(17)]),
                &tlv(0xa2, &[&own]),
            ],
        );
        let mechanism = tlv(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 3]]);
        let (earlier, learnt) = login(&keys, &tlv(0x60, &[&mechanism, &[4, 1], &reply]), None);
        assert_eq!(learnt, Learnt::Nothing);
        let ticket = ticket("bob", 18, &of_server, &session_key);
        let token = ap_req(&ticket, 0x40, 18, &session_key, &subkey);
        assert!(login(&keys, &token, None).0.is_none());
        let (session, learnt) = login(&keys, &token, earlier.as_ref());
        assert_eq!(session.unwrap().protections.len(), 2);
        assert!(matches!(learnt, Learnt::Known(Some(_))));
    }
}
