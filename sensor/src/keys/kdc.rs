//! Exchanges with key distribution centres, domain controllers in an estate: who is given which ticket, and by the keys
//! of those who have any, its session key.
//!
//! Every worker reads all of them, whichever hosts are its own: the client of one exchange shows its ticket elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::security::kdc::{Asked, EncKdcRepPart, Exchange, FastResponse, Issued as Reply, Message, is_one};
use dcom_parsers::security::sealed::{Authenticator, EncryptionKey};
use secrecy::ExposeSecret;

use super::etype::{AS_REP, Etype, FAST_REP, TGS_AUTHENTICATOR, TGS_REP, TGS_REP_SUBKEY, Wiped};
use super::kerberos::{session_key_of, usable};
use super::sessions::{Learnt, Who};
use super::tickets::{Issued, SessionKey, SharedTickets};
use super::{KeyName, Keys};
use crate::decode::{Datagram, Decoded, Endpoint, Segment};
use crate::flow::{Assembler, Bounds, Piece};
use crate::limits::Limits;

/// RFC 4120 section 7.2.1: UDP and TCP.
pub(crate) const PORT: u16 = 88;

/// RFC 8062: the client of who does not say who it is.
const ANONYMOUS: &str = "WELLKNOWN/ANONYMOUS";

/// What is sent from one end to another.
type Way = (Endpoint, Endpoint);

/// What was said to key distribution centres and by them.
pub(crate) struct Kdc {
    keys: Option<Arc<Keys>>,
    tickets: SharedTickets,
    streams: Aged<Stream>,
    /// What clients have shown, until they are answered.
    asked: Aged<Shown>,
    bounds: Bounds,
    /// Bytes of messages that are not whole.
    held: usize,
    most_held: usize,
    longest: usize,
}

/// One direction of a TCP connection.
struct Stream {
    assembler: Assembler,
    /// RFC 4120 section 7.2.2 TCP/IP Transport: its length, and as much of a message as has come.
    message: Vec<u8>,
}

/// The ticket-granting ticket behind a request.
struct Shown {
    session_key: Option<SessionKey>,
    subkey: Option<(Etype, Wiped)>,
    /// Of a key that was to open it.
    unopened: Option<Learnt>,
}

impl Kdc {
    pub(crate) fn new(limits: &Limits, tickets: SharedTickets) -> Self {
        let bounds = Bounds {
            limits: Limits {
                reassembly_per_side: limits.kdc_message,
                reassembly_total: limits.kdc_total,
                remembered_per_side: 0,
                ..*limits
            },
            ..Bounds::default()
        };
        Self {
            keys: None,
            tickets,
            streams: Aged::new(limits.kdc_streams),
            asked: Aged::new(limits.kdc_streams),
            bounds,
            held: 0,
            most_held: limits.kdc_total,
            longest: limits.kdc_message,
        }
    }

    /// Session keys are opened by these from now on.
    pub(crate) fn use_keys(&mut self, keys: &Arc<Keys>) {
        self.keys = Some(Arc::clone(keys));
    }

    /// Takes in a packet from or to [`PORT`]; leaves any other.
    #[inline]
    pub(crate) fn take(&mut self, decoded: &Decoded<'_>) {
        let (source, destination) = decoded.ends();
        if source.port == PORT || destination.port == PORT {
            match decoded {
                Decoded::Segment(segment) => self.segment(segment),
                Decoded::Datagram(datagram) => self.datagram(datagram),
            }
        }
    }

    /// What was being read may be half done: it is let go.
    pub(crate) fn abandon(&mut self) {
        self.streams.clear();
        (self.held, self.bounds.held) = (0, 0);
    }

    fn datagram(&mut self, datagram: &Datagram<'_>) {
        if datagram.cut == 0 {
            self.message((datagram.source, datagram.destination), datagram.payload);
        }
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        let way = (segment.source, segment.destination);
        if segment.syn {
            self.let_go(&way);
            self.open(way, segment.sequence.wrapping_add(1));
            return;
        }
        if !segment.payload.is_empty() {
            let begins = || matches!(segment.payload, [0, _, _, _, rest @ ..] if is_one(rest));
            if self.streams.get_mut(&way).is_none() && begins() {
                self.open(way, segment.sequence);
            }
            self.payload(way, segment);
        }
        let over = |stream: &Stream| stream.assembler.held() == 0;
        if segment.rst || (segment.fin && self.streams.get_mut(&way).is_some_and(|stream| over(stream))) {
            self.let_go(&way);
        }
    }

    fn open(&mut self, way: Way, sequence: u32) {
        let stream = Stream {
            assembler: Assembler::new(sequence),
            message: Vec::new(),
        };
        if let Some(forgotten) = self.streams.insert(way, stream) {
            self.forget(forgotten);
            self.tickets.lock().counters.over_limit += 1;
        }
    }

    fn let_go(&mut self, way: &Way) {
        if let Some(stream) = self.streams.remove(way) {
            self.forget(stream);
        }
    }

    fn forget(&mut self, mut stream: Stream) {
        self.held -= stream.message.len();
        stream.assembler.finish(&mut self.bounds, |_| {});
    }

    fn payload(&mut self, way: Way, segment: &Segment<'_>) {
        let Some(stream) = self.streams.get_mut(&way) else {
            return;
        };
        let Stream { assembler, message } = stream;
        let before = message.len();
        let mut is_whole = segment.cut == 0;
        let at = segment.at;
        assembler.push(
            at,
            segment.sequence,
            segment.payload,
            &mut self.bounds,
            |piece| match piece {
                Piece::Data(_, bytes) => message.extend_from_slice(bytes),
                Piece::Gap(_) => is_whole = false,
            },
        );
        self.held = self.held + message.len() - before;
        while is_whole {
            let Some(stream) = self.streams.get_mut(&way) else {
                return;
            };
            let message = &mut stream.message;
            let Some((length, rest)) = message.split_first_chunk::<4>() else {
                break;
            };
            let length = u32::from_be_bytes(*length) as usize;
            is_whole = length <= self.longest && (rest.is_empty() || is_one(rest));
            if rest.len() < length || !is_whole {
                break;
            }
            let rest = message.split_off(4 + length);
            let whole = std::mem::replace(message, rest);
            self.held -= whole.len();
            self.message(way, &whole[4..]);
        }
        if !is_whole {
            self.let_go(&way);
        }
        while self.held > self.most_held
            && let Some(forgotten) = self.streams.pop_oldest()
        {
            self.forget(forgotten);
            self.tickets.lock().counters.over_limit += 1;
        }
    }

    fn message(&mut self, way: Way, bytes: &[u8]) {
        // What cannot be read is of no connection that is told of.
        match Message::parse(bytes) {
            Ok(Some(Message::Asked(asked))) if self.keys.is_some() => {
                if let Some(shown) = self.shown(&asked) {
                    self.asked.insert(way, shown);
                }
            }
            Ok(Some(Message::Issued(reply))) => {
                let shown = self.asked.remove(&(way.1, way.0));
                self.issue(way.0.address, &reply, shown);
            }
            _ => {}
        }
    }

    /// What is known of the ticket that a request rests on.
    fn shown(&self, asked: &Asked<'_>) -> Option<Shown> {
        let tickets = self.tickets.lock();
        let issued = tickets.get(asked.ticket.sealed.cipher);
        let session_key = issued.and_then(|issued| issued.session_key.clone());
        let mut unopened = issued.and_then(|issued| issued.unopened.clone());
        let session_key = session_key.or_else(|| match session_key_of(self.keys.as_ref()?, &asked.ticket) {
            Ok(session_key) => Some(session_key),
            Err(Learnt::Nothing) => None,
            Err(learnt) => {
                unopened.get_or_insert(learnt);
                None
            }
        });
        let subkey = session_key.as_ref().and_then(|SessionKey { etype, key, .. }| {
            let opened = etype.open(key, TGS_AUTHENTICATOR, asked.authenticator.cipher)?;
            usable(Authenticator::parse(&opened).ok()?.subkey?)
        });
        (session_key.is_some() || unopened.is_some()).then_some(Shown {
            session_key,
            subkey,
            unopened,
        })
    }

    fn issue(&mut self, from: IpAddr, reply: &Reply<'_>, shown: Option<Shown>) {
        let Opened {
            session_key,
            who,
            unopened,
        } = match (&self.keys, reply.exchange) {
            (None, _) => Opened::default(),
            (Some(keys), Exchange::AuthenticationService) => by_account(keys, reply),
            (Some(_), Exchange::TicketGranting) => by_ticket(reply, shown),
        };
        let in_clear = (reply.client.name != ANONYMOUS).then(|| Who {
            user: reply.client.name.clone(),
            realm: reply.client_realm.clone(),
        });
        let who = who.or(in_clear);
        let session_key = session_key.or_else(|| session_key_of(self.keys.as_ref()?, &reply.ticket).ok());
        if who.is_none() && session_key.is_none() && unopened.is_none() {
            return;
        }
        let issued = Issued {
            who,
            from,
            unopened: unopened.filter(|_| session_key.is_none()),
            session_key,
        };
        let grants = reply.ticket.service.name.starts_with("krbtgt/");
        self.tickets.lock().issue(reply.ticket.sealed.cipher, issued, grants);
    }
}

/// What the keys tell of a reply.
#[derive(Default)]
struct Opened {
    session_key: Option<SessionKey>,
    /// Its client, where that is sealed.
    who: Option<Who>,
    /// Of the key that was to open it.
    unopened: Option<Learnt>,
}

/// The session key in what is sealed by the client's own key, or the key that does not open it.
fn by_account(keys: &Keys, reply: &Reply<'_>) -> Opened {
    let mut unopened = None;
    let (Some(etype), None) = (Etype::of(reply.sealed.etype), reply.armoured) else {
        return Opened::default();
    };
    let client = reply.client.name.to_lowercase();
    // Of alice@lab.example it may be alice's.
    let account = client.split('@').next().unwrap_or_default();
    for key in keys.tickets.iter().filter(|key| key.etype == reply.sealed.etype) {
        let is_named = key.principal == client;
        if !is_named && key.principal != account {
            continue;
        }
        let opened = etype.open(key.key.expose_secret(), AS_REP, reply.sealed.cipher);
        if let Some(session_key) = opened.and_then(|opened| in_part(&opened, &key.name)) {
            return Opened {
                session_key: Some(session_key),
                ..Opened::default()
            };
        }
        let same_version = key.kvno.is_none() || reply.sealed.kvno.is_none() || key.kvno == reply.sealed.kvno;
        if is_named && same_version {
            unopened = Some(Learnt::Mismatch(key.name.clone()));
        }
    }
    Opened {
        unopened,
        ..Opened::default()
    }
}

/// The session key in what is sealed by that of the ticket that was shown, or by the key suggested beside it.
fn by_ticket(reply: &Reply<'_>, shown: Option<Shown>) -> Opened {
    let Some(shown) = shown else { return Opened::default() };
    let mut who = None;
    let session_key = shown.session_key.as_ref().and_then(|session_key| {
        let own = (session_key.etype, session_key.key.clone());
        let keys = match (shown.subkey.clone(), reply.armoured) {
            (Some(subkey), Some(armoured)) => {
                let response = open_armoured(&own, &subkey, armoured.cipher)?;
                let response = FastResponse::parse(&response).ok()?;
                who = response.finished.map(|finished| Who {
                    user: finished.client.name,
                    realm: finished.client_realm,
                });
                vec![(strengthened(subkey, response.strengthen)?, TGS_REP_SUBKEY)]
            }
            (Some(subkey), None) => vec![(subkey, TGS_REP_SUBKEY), (own, TGS_REP)],
            (None, _) => vec![(own, TGS_REP)],
        };
        let opened = keys
            .into_iter()
            .find_map(|((etype, key), usage)| etype.open(&key, usage, reply.sealed.cipher))?;
        in_part(&opened, &session_key.by)
    });
    Opened {
        session_key,
        who,
        unopened: shown.unopened,
    }
}

/// Opens what is in the armour of a reply: RFC 6113 section 5.4.1.1. It is made of the ticket's session key and the client's.
fn open_armoured(session_key: &(Etype, Wiped), subkey: &(Etype, Wiped), armoured: &[u8]) -> Option<Wiped> {
    let keys = [subkey, session_key].map(|(etype, key)| (*etype, &***key));
    let (armour, armour_key) = Etype::combine(keys, [b"subkeyarmor", b"ticketarmor"])?;
    armour.open(&armour_key, FAST_REP, armoured)
}

/// The key of an armoured reply: RFC 6113 section 5.4.3.
fn strengthened(subkey: (Etype, Wiped), strengthen: Option<EncryptionKey<'_>>) -> Option<(Etype, Wiped)> {
    let Some(strengthen) = strengthen else {
        return Some(subkey);
    };
    let (etype, key) = usable(strengthen)?;
    Etype::combine([(etype, &key), (subkey.0, &subkey.1)], [b"strengthenkey", b"replykey"])
}

fn in_part(opened: &[u8], by: &KeyName) -> Option<SessionKey> {
    let (etype, key) = usable(EncKdcRepPart::parse(opened).ok()?.key)?;
    let by = by.clone();
    Some(SessionKey { etype, key, by })
}

/// Something by way; beyond the bound, what was put in first is handed back.
struct Aged<T> {
    by_way: BTreeMap<Way, (u64, T)>,
    by_age: BTreeMap<u64, Way>,
    next: u64,
    most: usize,
}

impl<T> Aged<T> {
    fn new(most: usize) -> Self {
        Self {
            by_way: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next: 0,
            most: most.max(1),
        }
    }

    fn get_mut(&mut self, way: &Way) -> Option<&mut T> {
        self.by_way.get_mut(way).map(|(_, value)| value)
    }

    /// Gives what had to go.
    fn insert(&mut self, way: Way, value: T) -> Option<T> {
        let same = self.remove(&way);
        let oldest = if self.by_way.len() >= self.most {
            self.pop_oldest()
        } else {
            None
        };
        self.by_age.insert(self.next, way);
        self.by_way.insert(way, (self.next, value));
        self.next += 1;
        same.or(oldest)
    }

    fn remove(&mut self, way: &Way) -> Option<T> {
        let (age, value) = self.by_way.remove(way)?;
        self.by_age.remove(&age);
        Some(value)
    }

    fn pop_oldest(&mut self) -> Option<T> {
        let (_, way) = self.by_age.pop_first()?;
        self.by_way.remove(&way).map(|(_, value)| value)
    }

    fn clear(&mut self) {
        self.by_way.clear();
        self.by_age.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::At;
    use crate::decode::{Marks, VlanTags};
    use crate::keys::kerberos::tests::{ap_req, integer, key, keys, login_with, principal, sealed, ticket, tlv};

    const REALM: &str = "LAB.EXAMPLE";

    fn end(last: u8, port: u16) -> Endpoint {
        let address = [192, 0, 2, last].into();
        Endpoint { address, port }
    }

    const CLIENT: u16 = 50_000;

    /// What the client (or the KDC) says over UDP.
    fn datagram(kdc: &mut Kdc, by_client: bool, payload: &[u8]) {
        let (mut source, mut destination) = (end(5, PORT), end(20, CLIENT));
        if by_client {
            (source, destination) = (destination, source);
        }
        kdc.take(&Decoded::Datagram(Datagram {
            at: At::default(),
            vlan: VlanTags::default(),
            tunnel: None,
            source,
            destination,
            payload,
            cut: 0,
            length: 0,
        }));
    }

    fn segment(kdc: &mut Kdc, by_client: bool, sequence: u32, syn: bool, payload: &[u8]) {
        let (mut source, mut destination) = (end(5, PORT), end(20, CLIENT));
        if by_client {
            (source, destination) = (destination, source);
        }
        kdc.take(&Decoded::Segment(Segment {
            at: At::default(),
            vlan: VlanTags::default(),
            tunnel: None,
            source,
            destination,
            sequence,
            acknowledgement: Some(1),
            syn,
            fin: false,
            rst: false,
            flags: 0,
            length: 0,
            marks: Marks::default(),
            whole: &[],
            payload,
            cut: 0,
        }));
    }

    /// A reply with `ticket`, whose session key is sealed by `by`.
    fn reply(tag: u8, client: &str, ticket: &[u8], session_key: &[u8], by: &[u8], usage: u32) -> Vec<u8> {
        let part = tlv(0x7a, &[&tlv(0x30, &[&tlv(0xa0, &[&key(18, session_key)])])]);
        let fields = [
            tlv(0xa0, &[&integer(5)]),
            tlv(0xa1, &[&integer(tag & 0x1f)]),
            tlv(0xa3, &[&tlv(0x1b, &[REALM.as_bytes()])]),
            tlv(0xa4, &[&principal(client)]),
            tlv(0xa5, &[ticket]),
            tlv(0xa6, &[&sealed(18, by, usage, &part)]),
        ];
        tlv(tag, &[&tlv(0x30, &[&fields.concat()])])
    }

    /// A request for a service, by this ticket, with a suggested key.
    fn request(granting: &[u8], session_key: &[u8], subkey: &[u8]) -> Vec<u8> {
        let subkey = tlv(0xa6, &[&key(18, subkey)]);
        let authenticator = tlv(0x62, &[&tlv(0x30, &[&tlv(0xa0, &[&integer(5)]), &subkey])]);
        let fields = [
            tlv(0xa0, &[&integer(5)]),
            tlv(0xa1, &[&integer(14)]),
            tlv(0xa2, &[&tlv(3, &[&[0; 5]])]),
            tlv(0xa3, &[granting]),
            tlv(0xa4, &[&sealed(18, session_key, TGS_AUTHENTICATOR, &authenticator)]),
        ];
        let shown = tlv(0x6e, &[&tlv(0x30, &[&fields.concat()])]);
        let padata = tlv(0x30, &[&tlv(0xa1, &[&integer(1)]), &tlv(0xa2, &[&tlv(4, &[&shown])])]);
        let fields = [
            tlv(0xa1, &[&integer(5)]),
            tlv(0xa2, &[&integer(12)]),
            tlv(0xa3, &[&tlv(0x30, &[&padata])]),
        ];
        tlv(0x6c, &[&tlv(0x30, &[&fields.concat()])])
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }

    /// All that is said when alice logs in and asks for a service: keys by number.
    struct Story {
        granted: Vec<u8>,
        asked: Vec<u8>,
        given: Vec<u8>,
        shown: Vec<u8>,
    }

    fn story() -> Story {
        let [alice, krbtgt, first, subkey, service, second, last] = [1, 2, 3, 4, 5, 6, 7].map(|byte| vec![byte; 32]);
        let granting = ticket("krbtgt/LAB.EXAMPLE", 18, &krbtgt, &first);
        let ticket = ticket("host/dc.lab.example", 18, &service, &second);
        Story {
            granted: reply(0x6b, "alice", &granting, &first, &alice, AS_REP),
            asked: request(&granting, &first, &subkey),
            given: reply(0x6d, "alice", &ticket, &second, &subkey, TGS_REP_SUBKEY),
            shown: ap_req(&ticket, 0, 18, &second, &last),
        }
    }

    fn kdc(keys: &Arc<Keys>) -> Kdc {
        let limits = Limits::default();
        let mut kdc = Kdc::new(&limits, SharedTickets::new(limits.tickets));
        kdc.use_keys(keys);
        kdc
    }

    fn learnt(keys: &Keys, kdc: &Kdc, story: &Story) -> Learnt {
        login_with(keys, &kdc.tickets.lock(), &story.shown, None).1
    }

    fn is_alice(learnt: &Learnt) -> bool {
        matches!(learnt, Learnt::Known(Some(who)) if who.user == "alice" && who.realm == REALM)
    }

    #[test]
    fn the_clients_key_gives_the_session_key_of_the_service() {
        let story = story();
        let own = Arc::new(keys("alice", 18, &[1; 32]));
        let mut kdc = kdc(&own);
        datagram(&mut kdc, false, &story.granted);
        datagram(&mut kdc, true, &story.asked);
        assert_eq!(learnt(&own, &kdc, &story), Learnt::Nothing);
        datagram(&mut kdc, false, &story.given);
        assert!(is_alice(&learnt(&own, &kdc, &story)));
    }

    #[test]
    fn the_key_of_the_kdc_itself_does_too() {
        let story = story();
        let own = Arc::new(keys("krbtgt/LAB.EXAMPLE", 18, &[2; 32]));
        let mut kdc = kdc(&own);
        datagram(&mut kdc, true, &story.asked);
        datagram(&mut kdc, false, &story.given);
        assert!(is_alice(&learnt(&own, &kdc, &story)));
    }

    #[test]
    fn so_does_it_by_the_name_of_its_account() {
        let story = story();
        for (realm, opens) in [
            ("LAB.EXAMPLE", true),
            ("lab", true),
            ("", true),
            ("OTHER.EXAMPLE", false),
        ] {
            let mut own = Keys::default();
            crate::keys::keytab::add_key(&mut own, "krbtgt", realm, Some(2), 18, vec![2; 32].into());
            let mut kdc = kdc(&Arc::new(own));
            datagram(&mut kdc, true, &story.asked);
            datagram(&mut kdc, false, &story.given);
            let keys = kdc.keys.clone().unwrap();
            assert_eq!(is_alice(&learnt(&keys, &kdc, &story)), opens, "{realm}");
        }
    }

    #[test]
    fn another_key_of_the_kdc_or_an_older_one_is_told() {
        let story = story();
        let name = || "krbtgt@LAB.EXAMPLE".into();
        let older = Learnt::OtherVersion {
            name: name(),
            wanted: 2,
            given: 1,
        };
        for (kvno, expected) in [(None, Learnt::Mismatch(name())), (Some(1), older)] {
            let mut own = keys("krbtgt", 18, &[9; 32]);
            own.tickets[0].kvno = kvno;
            let own = Arc::new(own);
            let mut kdc = kdc(&own);
            datagram(&mut kdc, true, &story.asked);
            datagram(&mut kdc, false, &story.given);
            assert_eq!(learnt(&own, &kdc, &story), expected);
        }
    }

    #[test]
    fn a_client_under_the_name_of_its_mail_is_opened_by_its_account() {
        let mut story = story();
        let granting = ticket("krbtgt/LAB.EXAMPLE", 18, &[2; 32], &[3; 32]);
        story.granted = reply(0x6b, "alice@mail.example", &granting, &[3; 32], &[1; 32], AS_REP);
        for (key, expected) in [([1; 32], true), ([9; 32], false)] {
            let own = Arc::new(keys("Alice", 18, &key));
            let mut kdc = kdc(&own);
            datagram(&mut kdc, false, &story.granted);
            datagram(&mut kdc, true, &story.asked);
            datagram(&mut kdc, false, &story.given);
            let learnt = learnt(&own, &kdc, &story);
            assert_eq!(is_alice(&learnt), expected);
            // The alice whose key it is need not be the one of that mail.
            assert_eq!(learnt == Learnt::Nothing, !expected);
        }
    }

    /// The reply in armour: nobody is named in clear.
    #[test]
    fn a_client_that_is_hidden_is_named_by_what_the_armour_holds() {
        let mut story = story();
        let (own, subkey) = ((Etype::Aes256Sha1, vec![3_u8; 32]), (Etype::Aes256Sha1, vec![4_u8; 32]));
        let keys_of_armour = [(subkey.0, &subkey.1[..]), (own.0, &own.1[..])];
        let (_, armour) = Etype::combine(keys_of_armour, [b"subkeyarmor", b"ticketarmor"]).unwrap();
        let finished = tlv(
            0x30,
            &[
                &tlv(0xa2, &[&tlv(0x1b, &[REALM.as_bytes()])]),
                &tlv(0xa3, &[&principal("alice")]),
            ],
        );
        let response = tlv(0x30, &[&tlv(0xa2, &[&finished])]);
        let armoured = tlv(
            0xa0,
            &[&tlv(0x30, &[&tlv(0xa0, &[&sealed(18, &armour, FAST_REP, &response)])])],
        );
        let kind = tlv(0xa1, &[&tlv(2, &[&[0, 136]])]);
        let padata = tlv(
            0xa2,
            &[&tlv(
                0x30,
                &[&tlv(0x30, &[&kind, &tlv(0xa2, &[&tlv(4, &[&armoured])])])],
            )],
        );
        let ticket = ticket("host/dc.lab.example", 18, &[5; 32], &[6; 32]);
        let part = tlv(0x7a, &[&tlv(0x30, &[&tlv(0xa0, &[&key(18, &[6; 32])])])]);
        let fields = [
            tlv(0xa0, &[&integer(5)]),
            tlv(0xa1, &[&integer(13)]),
            padata,
            tlv(0xa3, &[&tlv(0x1b, &[b"WELLKNOWN:ANONYMOUS"])]),
            tlv(0xa4, &[&principal(ANONYMOUS)]),
            tlv(0xa5, &[&ticket]),
            tlv(0xa6, &[&sealed(18, &subkey.1, TGS_REP_SUBKEY, &part)]),
        ];
        story.given = tlv(0x6d, &[&tlv(0x30, &[&fields.concat()])]);
        for own in [keys("alice", 18, &[1; 32]), keys("krbtgt", 18, &[2; 32])] {
            let own = Arc::new(own);
            let mut kdc = kdc(&own);
            datagram(&mut kdc, false, &story.granted);
            datagram(&mut kdc, true, &story.asked);
            datagram(&mut kdc, false, &story.given);
            // Said again, it hides the client again.
            datagram(&mut kdc, false, &story.given);
            assert!(is_alice(&learnt(&own, &kdc, &story)));
        }
    }

    #[test]
    fn another_key_of_the_client_is_a_mismatch() {
        let story = story();
        let own = Arc::new(keys("alice", 18, &[9; 32]));
        let mut kdc = kdc(&own);
        datagram(&mut kdc, false, &story.granted);
        datagram(&mut kdc, true, &story.asked);
        datagram(&mut kdc, false, &story.given);
        assert_eq!(learnt(&own, &kdc, &story), Learnt::Mismatch("alice@LAB.EXAMPLE".into()));
    }

    #[test]
    fn messages_in_pieces_and_out_of_order_are_read() {
        let story = story();
        let own = Arc::new(keys("alice", 18, &[1; 32]));
        let (granted, asked, given) = (framed(&story.granted), framed(&story.asked), framed(&story.given));
        for size in [1, 100, 536] {
            let mut kdc = kdc(&own);
            segment(&mut kdc, true, 99, true, &[]);
            segment(&mut kdc, false, 99, true, &[]);
            let replies = [&granted[..], &given].concat();
            let mut pieces: Vec<_> = (100_u32..).step_by(size).zip(replies.chunks(size)).collect();
            // The request comes between the two.
            let first = granted.len().div_ceil(size);
            pieces[..first].reverse();
            for (number, (sequence, piece)) in pieces.into_iter().enumerate() {
                if number == first {
                    segment(&mut kdc, true, 100, false, &asked);
                }
                segment(&mut kdc, false, sequence, false, piece);
            }
            assert!(is_alice(&learnt(&own, &kdc, &story)), "pieces of {size}");
            assert_eq!((kdc.held, kdc.bounds.held), (0, 0));
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_junk_is_let_go() {
        let limits = Limits {
            kdc_streams: 4,
            kdc_total: 1_000,
            ..Limits::default()
        };
        let mut kdc = Kdc::new(&limits, SharedTickets::new(8));
        let message = framed(&story().granted);
        for port in 0..100 {
            kdc.segment(&Segment {
                at: At::default(),
                vlan: VlanTags::default(),
                tunnel: None,
                source: end(5, PORT),
                destination: end(20, port),
                sequence: 1,
                acknowledgement: None,
                syn: false,
                fin: false,
                rst: false,
                flags: 0,
                length: 0,
                marks: Marks::default(),
                whole: &[],
                payload: &message[..message.len() - 1],
                cut: 0,
            });
            assert!(kdc.held <= 1_000 && kdc.streams.by_way.len() <= 4);
        }
        assert!(kdc.tickets.counters().over_limit > 90);
        segment(&mut kdc, true, 0, true, &[]);
        segment(&mut kdc, true, 1, false, b"\x7f\xff\xff\xff\x6b junk");
        segment(&mut kdc, true, 11, false, b"GET / HTTP/1.1");
        assert!(kdc.streams.get_mut(&(end(20, CLIENT), end(5, PORT))).is_none());
    }
}
