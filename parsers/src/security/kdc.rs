//! Kerberos 5 (RFC 4120) between a client and its key distribution centre: who was given which ticket, and where the key
//! of it is sealed. Nothing is opened here.

use super::der::{self, Tag};
use super::kerberos::Principal;
use super::sealed::{EncryptedData, EncryptionKey, Sealed, SealedTicket};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

const AS_REQ: Tag = Tag::application(10);
const AS_REP: Tag = Tag::application(11);
const TGS_REQ: Tag = Tag::application(12);
const TGS_REP: Tag = Tag::application(13);
const ERROR: Tag = Tag::application(30);

/// RFC 4120 section 7.5.2 `PA-TGS-REQ`: the ticket-granting ticket that is shown.
const PA_TGS_REQ: i32 = 1;
/// RFC 6113 section 7.1 `PA-FX-FAST`.
const PA_FX_FAST: i32 = 136;

/// Entries of `padata` that are looked at. Clients send a handful.
const PADATA: usize = 32;

/// RFC 4120 section 5.4 Specifications for the AS and TGS Exchanges: a message that tells of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A client shows the one to get the other.
    Asked(Asked<'a>),
    /// It is given a ticket.
    Issued(Issued<'a>),
}

/// RFC 4120 section 5.4.1 `KRB_KDC_REQ` for a service: the ticket-granting ticket it rests on, `PA-TGS-REQ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `ticket`.
    pub ticket: SealedTicket<'a>,
    /// `authenticator`, in that ticket's session key: a [`super::sealed::Authenticator`].
    pub authenticator: EncryptedData<'a>,
}

/// RFC 4120 section 5.4.2 `KRB_KDC_REP`: a ticket on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued<'a> {
    /// Which exchange it ends.
    pub exchange: Exchange,
    /// `crealm`.
    pub client_realm: String,
    /// `cname`.
    pub client: Principal,
    /// `ticket`.
    pub ticket: SealedTicket<'a>,
    /// `enc-part`: an [`EncKdcRepPart`].
    pub sealed: EncryptedData<'a>,
    /// RFC 6113 section 5.4.3 `PA-FX-FAST-REPLY`, `enc-fast-rep`, where the exchange is armoured: a [`FastResponse`]. Its
    /// key goes into the one that seals `sealed`.
    pub armoured: Option<EncryptedData<'a>>,
}

/// RFC 4120 sections 3.1 and 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The Authentication Service Exchange: by the client's own key.
    AuthenticationService,
    /// The Ticket-Granting Service Exchange: by a ticket's session key.
    TicketGranting,
}

/// Does it begin like a message between a client and a key distribution centre?
pub fn is_one(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().map(Tag);
    first.is_some_and(|tag| [AS_REQ, AS_REP, TGS_REQ, TGS_REP, ERROR].contains(&tag))
}

impl<'a> Message<'a> {
    /// Reads a message. None where it tells of no ticket.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>> {
        let mut input = Input::new(bytes, ByteOrder::Big, "KRB_KDC");
        let (tag, mut body) = der::element(&mut input)?;
        let exchange = match tag {
            TGS_REQ => return Asked::parse(body).map(|asked| asked.map(Self::Asked)),
            AS_REP => Exchange::AuthenticationService,
            TGS_REP => Exchange::TicketGranting,
            _ => return Ok(None),
        };
        body.enter("KRB_KDC_REP");
        let mut body = der::expect(&mut body, Tag::SEQUENCE)?;
        let fast = match der::field(&mut body, 2)? {
            Some(padata) => padata_of(padata, PA_FX_FAST)?.filter(|fast| !fast.is_empty()),
            None => None,
        };
        let armoured = fast.map(armoured).transpose()?;
        Ok(Some(Self::Issued(Issued {
            exchange,
            client_realm: der::text(&mut der::required(&mut body, 3)?)?,
            client: Principal::parse(der::required(&mut body, 4)?)?,
            ticket: SealedTicket::parse(der::required(&mut body, 5)?)?,
            sealed: EncryptedData::parse(der::required(&mut body, 6)?)?,
            armoured,
        })))
    }
}

impl<'a> Asked<'a> {
    fn parse(mut body: Input<'a>) -> Result<Option<Self>> {
        body.enter("KRB_KDC_REQ");
        let mut body = der::expect(&mut body, Tag::SEQUENCE)?;
        let shown = padata_of(der::required(&mut body, 3)?, PA_TGS_REQ)?;
        Ok(match shown.map(Sealed::parse).transpose()?.flatten() {
            Some(Sealed::ApReq {
                ticket, authenticator, ..
            }) => Some(Self { ticket, authenticator }),
            _ => None,
        })
    }
}

/// The value of the first `PA-DATA` of this type.
fn padata_of(mut input: Input<'_>, wanted: i32) -> Result<Option<&[u8]>> {
    let mut entries = der::expect(&mut input, Tag::SEQUENCE)?;
    for _ in 0..PADATA {
        if entries.is_empty() {
            break;
        }
        let mut entry = der::expect(&mut entries, Tag::SEQUENCE)?;
        let kind = der::int32(der::required(&mut entry, 1)?, Tag::INTEGER)?;
        if kind == wanted {
            let value = der::expect(&mut der::required(&mut entry, 2)?, Tag::OCTET_STRING)?;
            return Ok(Some(value.rest()));
        }
    }
    Ok(None)
}

/// The one choice there is so far, `armored-data`.
fn armoured(fast: &[u8]) -> Result<EncryptedData<'_>> {
    let mut input = Input::new(fast, ByteOrder::Big, "PA-FX-FAST-REPLY");
    let mut choice = der::expect(&mut input, Tag::context(0))?;
    EncryptedData::parse(der::required(&mut der::expect(&mut choice, Tag::SEQUENCE)?, 0)?)
}

/// RFC 6113 section 5.4.3 `KrbFastResponse`: the key that goes into the reply's, and who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastResponse<'a> {
    /// `strengthen-key`.
    pub strengthen: Option<EncryptionKey<'a>>,
    /// `finished`, where it ends the exchange.
    pub finished: Option<FastFinished>,
}

/// RFC 6113 section 5.4.3 `KrbFastFinished`: the client, whom the reply may hide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastFinished {
    /// `crealm`.
    pub client_realm: String,
    /// `cname`.
    pub client: Principal,
}

impl<'a> FastResponse<'a> {
    /// Reads an opened response.
    pub fn parse(opened: &'a [u8]) -> Result<Self> {
        let mut input = Input::new(opened, ByteOrder::Big, "KrbFastResponse");
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        Ok(Self {
            strengthen: der::field(&mut input, 1)?.map(EncryptionKey::parse).transpose()?,
            finished: der::field(&mut input, 2)?.map(FastFinished::parse).transpose()?,
        })
    }
}

impl FastFinished {
    fn parse(mut input: Input<'_>) -> Result<Self> {
        input.enter("KrbFastFinished");
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        Ok(Self {
            client_realm: der::text(&mut der::required(&mut input, 2)?)?,
            client: Principal::parse(der::required(&mut input, 3)?)?,
        })
    }
}

/// RFC 4120 section 5.4.2 `EncKDCRepPart`: the session key of the ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncKdcRepPart<'a> {
    /// `key`.
    pub key: EncryptionKey<'a>,
}

impl<'a> EncKdcRepPart<'a> {
    /// Reads an opened part of either exchange: some send the one's tag in the other.
    pub fn parse(opened: &'a [u8]) -> Result<Self> {
        let mut input = Input::new(opened, ByteOrder::Big, "EncKDCRepPart");
        let (tag, mut body) = der::element(&mut input)?;
        if ![Tag::application(25), Tag::application(26)].contains(&tag) {
            return Err(input.invalid("tag", tag.0));
        }
        let mut body = der::expect(&mut body, Tag::SEQUENCE)?;
        Ok(Self {
            key: EncryptionKey::parse(der::required(&mut body, 0)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], &content[..]].concat()
    }

    fn principal(name: &str) -> Vec<u8> {
        let names = tlv(0x30, &[&tlv(0x1b, &[name.as_bytes()])]);
        tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 1]]), &tlv(0xa1, &[&names])])
    }

    fn sealed(cipher: &[u8]) -> Vec<u8> {
        tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 18]]), &tlv(0xa2, &[&tlv(4, &[cipher])])])
    }

    fn ticket() -> Vec<u8> {
        let fields = [
            tlv(0xa0, &[&[2, 1, 5]]),
            tlv(0xa1, &[&tlv(0x1b, &[b"LAB"])]),
            tlv(0xa2, &[&principal("krbtgt")]),
            tlv(0xa3, &[&sealed(b"ticket")]),
        ];
        tlv(0x61, &[&tlv(0x30, &[&fields.concat()])])
    }

    fn padata(kind: u8, value: &[u8]) -> Vec<u8> {
        let kind = tlv(0xa1, &[&[2, 2, 0, kind]]);
        tlv(0x30, &[&tlv(0x30, &[&kind, &tlv(0xa2, &[&tlv(4, &[value])])])])
    }

    fn reply(tag: u8, kind: u8) -> Vec<u8> {
        let fields = [
            tlv(0xa0, &[&[2, 1, 5]]),
            tlv(0xa1, &[&[2, 1, 11]]),
            tlv(
                0xa2,
                &[&padata(
                    kind,
                    &tlv(0xa0, &[&tlv(0x30, &[&tlv(0xa0, &[&sealed(b"fast")])])]),
                )],
            ),
            tlv(0xa3, &[&tlv(0x1b, &[b"LAB.EXAMPLE"])]),
            tlv(0xa4, &[&principal("alice")]),
            tlv(0xa5, &[&ticket()]),
            tlv(0xa6, &[&sealed(b"part")]),
        ];
        tlv(tag, &[&tlv(0x30, &[&fields.concat()])])
    }

    #[test]
    fn a_reply_tells_whose_ticket_it_brings_and_whether_it_is_armoured() {
        for (tag, kind, exchange) in [
            (0x6b, 19, Exchange::AuthenticationService),
            (0x6d, 136, Exchange::TicketGranting),
        ] {
            let bytes = reply(tag, kind);
            assert!(is_one(&bytes));
            let Ok(Some(Message::Issued(issued))) = Message::parse(&bytes) else {
                panic!("no reply")
            };
            assert_eq!(issued.exchange, exchange);
            let armoured = issued.armoured.map(|sealed| sealed.cipher);
            assert_eq!(armoured, Some(&b"fast"[..]).filter(|_| kind == 136));
            assert_eq!((&*issued.client.name, &*issued.client_realm), ("alice", "LAB.EXAMPLE"));
            assert_eq!(
                (issued.ticket.sealed.cipher, issued.sealed.cipher),
                (&b"ticket"[..], &b"part"[..])
            );
        }
    }

    #[test]
    fn a_request_for_a_service_shows_the_ticket_it_rests_on() {
        let fields = [
            tlv(0xa0, &[&[2, 1, 5]]),
            tlv(0xa1, &[&[2, 1, 14]]),
            tlv(0xa2, &[&tlv(3, &[&[0; 5]])]),
            tlv(0xa3, &[&ticket()]),
            tlv(0xa4, &[&sealed(b"authenticator")]),
        ];
        let ap_req = tlv(0x6e, &[&tlv(0x30, &[&fields.concat()])]);
        let request = |kind| {
            let fields = [
                tlv(0xa1, &[&[2, 1, 5]]),
                tlv(0xa2, &[&[2, 1, 12]]),
                tlv(0xa3, &[&padata(kind, &ap_req)]),
            ];
            tlv(0x6c, &[&tlv(0x30, &[&fields.concat()])])
        };
        let bytes = request(1);
        let Ok(Some(Message::Asked(asked))) = Message::parse(&bytes) else {
            panic!("no request")
        };
        assert_eq!(asked.ticket.service.name, "krbtgt");
        assert_eq!(asked.authenticator.cipher, b"authenticator");
        assert_eq!(Message::parse(&request(2)), Ok(None));
    }

    #[test]
    fn a_part_of_either_exchange_gives_its_key() {
        let key = tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 18]]), &tlv(0xa1, &[&tlv(4, &[b"key"])])]);
        for tag in [0x79, 0x7a] {
            let part = tlv(tag, &[&tlv(0x30, &[&tlv(0xa0, &[&key])])]);
            assert_eq!(EncKdcRepPart::parse(&part).unwrap().key.value, b"key");
        }
        assert!(EncKdcRepPart::parse(&tlv(0x78, &[&tlv(0x30, &[&tlv(0xa0, &[&key])])])).is_err());
    }

    #[test]
    fn a_fast_response_may_give_a_key_and_the_client() {
        let key = tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 18]]), &tlv(0xa1, &[&tlv(4, &[b"key"])])]);
        let finished = tlv(
            0x30,
            &[
                &tlv(0xa1, &[&[2, 1, 0]]),
                &tlv(0xa2, &[&tlv(0x1b, &[b"LAB.EXAMPLE"])]),
                &tlv(0xa3, &[&principal("alice")]),
            ],
        );
        let padata = tlv(0xa0, &[&tlv(0x30, &[])]);
        let response = tlv(0x30, &[&padata, &tlv(0xa1, &[&key]), &tlv(0xa2, &[&finished])]);
        let response = FastResponse::parse(&response).unwrap();
        assert_eq!(response.strengthen.unwrap().value, b"key");
        let finished = response.finished.unwrap();
        assert_eq!(
            (&*finished.client.name, &*finished.client_realm),
            ("alice", "LAB.EXAMPLE")
        );
        let without = tlv(0x30, &[&tlv(0xa3, &[&[2, 1, 7]])]);
        let none = FastResponse {
            strengthen: None,
            finished: None,
        };
        assert_eq!(FastResponse::parse(&without), Ok(none));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_panic(at in 0_usize..400, byte: u8, end in 0_usize..400) {
            for bytes in [reply(0x6b, 136), reply(0x6d, 2)] {
                let mut bytes = bytes;
                if let Some(damaged) = bytes.get_mut(at) {
                    *damaged = byte;
                }
                bytes.truncate(end);
                let _ = Message::parse(&bytes);
            }
        }
    }
}
