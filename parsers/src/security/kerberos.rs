//! Kerberos 5 (RFC 4120) as far as it is in clear on the way to a service: the ticket's service, and what went wrong.
//!
//! The user is not: name and privileges of the client are in the ticket's sealed part.

use super::der::{self, Tag};
use super::spnego::ObjectIdentifier;
use crate::error::{ErrorKind, Result};
use crate::input::{ByteOrder, Input};

/// The most components one principal name may have. Services have two, or three.
const COMPONENTS: usize = 8;

pub(super) const AP_REQ: Tag = Tag::application(14);
pub(super) const AP_REP: Tag = Tag::application(15);
const KRB_ERROR: Tag = Tag::application(30);
pub(super) const TICKET: Tag = Tag::application(1);

/// `use-session-key`, bit 1 of RFC 4120 section 5.5.1 `APOptions`, counted from the most significant.
pub(super) const USE_SESSION_KEY: u8 = 0x40;

/// RFC 4120 section 5.2.2 Realm and `PrincipalName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `name-type` (section 6.2; Windows adds −128, a bare account name).
    pub name_type: i32,
    /// `name-string`, joined with `/`.
    pub name: String,
}

/// RFC 4120 section 5.3 Tickets: the part in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// `realm`: who issued the ticket.
    pub realm: String,
    /// `sname`: for which service.
    pub service: Principal,
    /// `etype` of the sealed part (RFC 3961 section 8: 17 and 18 AES, 23 RC4).
    pub etype: i32,
}

/// RFC 4120 section 5.5.1 `KRB_AP_REQ`: a client shows its ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApReq {
    /// `use-session-key` of the options: the ticket is sealed in the session key of the server's own ticket
    /// (user-to-user).
    pub user_to_user: bool,
    /// `ticket`.
    pub ticket: Ticket,
}

/// RFC 4120 section 5.9.1 `KRB_ERROR`. The standard wants `realm` and `sname` there; we do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrbError {
    /// `error-code` (section 7.5.9).
    pub error_code: i32,
    /// `crealm`: the client's realm.
    pub client_realm: Option<String>,
    /// `cname`: the client.
    pub client: Option<Principal>,
    /// `realm`: the service's realm.
    pub realm: Option<String>,
    /// `sname`: the service, as the sender of the error names itself.
    pub service: Option<Principal>,
}

/// `KERB-TGT-REQUEST` of the user-to-user drafts (draft-swift-win2k-krb-user2user): asks the server for its
/// ticket-granting ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TgtReq {
    /// `server-name`: the account wanted to answer.
    pub server: Option<Principal>,
    /// `realm`, in whichever form the client knows it.
    pub realm: Option<String>,
}

/// A message between a Kerberos client and a service: RFC 4120 section 5.5 Client/Server (CS) Message Specifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The client's ticket.
    ApReq(ApReq),
    /// The answer to it, or to that answer, all of it sealed (RFC 4120 section 5.5.2).
    ApRep,
    /// A refusal.
    Error(KrbError),
    /// The first token of user-to-user.
    TgtReq(TgtReq),
    /// The answer to it: the server's own ticket-granting ticket.
    TgtRep(Ticket),
}

impl Message {
    /// Does `bytes` begin like a message that [`Message::parse`] reads?
    pub fn is_one(bytes: &[u8]) -> bool {
        let mut input = Input::new(bytes, ByteOrder::Big, "Kerberos");
        match der::peek(&input) {
            Some(AP_REQ | AP_REP | KRB_ERROR) => true,
            Some(tag) if tag == Tag::application(0) => der::expect(&mut input, Tag::application(0))
                .and_then(|mut framed| der::expect(&mut framed, Tag::OID))
                .is_ok_and(|mechanism| ObjectIdentifier(mechanism.rest()).mechanism() == Some("kerberos")),
            _ => false,
        }
    }

    /// Reads a message in the frame of RFC 4121 section 4.1, or bare, as DCE style sends it.
    ///
    /// The two-byte token identifier is taken over and the message's own tag believed: they can only differ by mistake.
    /// The user-to-user messages have no tag of their own, so there it decides.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (token_id, mut input) = unframed(bytes)?;
        let start = input;
        let (tag, mut body) = der::element(&mut input)?;
        match (tag, token_id) {
            (AP_REQ, _) => {
                body.enter("KRB_AP_REQ");
                ApReq::parse(der::expect(&mut body, Tag::SEQUENCE)?).map(Self::ApReq)
            }
            (AP_REP, _) => Ok(Self::ApRep),
            (KRB_ERROR, _) => {
                body.enter("KRB_ERROR");
                KrbError::parse(der::expect(&mut body, Tag::SEQUENCE)?).map(Self::Error)
            }
            (Tag::SEQUENCE, Some(0x0400)) => {
                body.enter("KERB-TGT-REQUEST");
                TgtReq::parse(body).map(Self::TgtReq)
            }
            (Tag::SEQUENCE, Some(0x0401)) => {
                body.enter("KERB-TGT-REPLY");
                Ticket::parse(der::required(&mut body, 2)?).map(Self::TgtRep)
            }
            _ => Err(start.error(ErrorKind::Unsupported {
                field: "message",
                value: tag.0.into(),
            })),
        }
    }
}

/// The message that a token is, with the token identifier where it comes in the frame of RFC 4121 section 4.1.
pub(super) fn unframed(bytes: &[u8]) -> Result<(Option<u16>, Input<'_>)> {
    let mut input = Input::new(bytes, ByteOrder::Big, "Kerberos");
    let mut token_id = None;
    if der::peek(&input) == Some(Tag::application(0)) {
        input = der::expect(&mut input, Tag::application(0))?;
        der::expect(&mut input, Tag::OID)?;
        token_id = Some(input.u16()?);
    }
    Ok((token_id, input))
}

impl Principal {
    pub(super) fn parse(mut input: Input<'_>) -> Result<Self> {
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        let name_type = der::int32(der::required(&mut input, 0)?, Tag::INTEGER)?;
        let mut components = der::expect(&mut der::required(&mut input, 1)?, Tag::SEQUENCE)?;
        let mut name: Vec<String> = Vec::new();
        while !components.is_empty() {
            if name.len() == COMPONENTS {
                return Err(components.error(ErrorKind::Limit {
                    field: "name-string",
                    max: COMPONENTS,
                }));
            }
            name.push(der::text(&mut components)?);
        }
        Ok(Self {
            name_type,
            name: name.join("/"),
        })
    }
}

impl Ticket {
    fn parse(mut input: Input<'_>) -> Result<Self> {
        let mut input = der::expect(&mut input, TICKET)?;
        input.enter("Ticket");
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        let realm = der::text(&mut der::required(&mut input, 1)?)?;
        let service = Principal::parse(der::required(&mut input, 2)?)?;
        let mut sealed = der::expect(&mut der::required(&mut input, 3)?, Tag::SEQUENCE)?;
        let etype = der::int32(der::required(&mut sealed, 0)?, Tag::INTEGER)?;
        Ok(Self { realm, service, etype })
    }
}

impl ApReq {
    fn parse(mut input: Input<'_>) -> Result<Self> {
        let options = der::expect(&mut der::required(&mut input, 2)?, Tag::BIT_STRING)?;
        // The first byte counts the unused bits at the end.
        let user_to_user = options.rest().get(1).is_some_and(|bits| bits & USE_SESSION_KEY != 0);
        let ticket = Ticket::parse(der::required(&mut input, 3)?)?;
        Ok(Self { user_to_user, ticket })
    }
}

impl KrbError {
    fn parse(mut input: Input<'_>) -> Result<Self> {
        Ok(Self {
            error_code: der::int32(der::required(&mut input, 6)?, Tag::INTEGER)?,
            client_realm: realm(&mut input, 7)?,
            client: principal(&mut input, 8)?,
            realm: realm(&mut input, 9)?,
            service: principal(&mut input, 10)?,
        })
    }
}

impl TgtReq {
    fn parse(mut input: Input<'_>) -> Result<Self> {
        Ok(Self {
            server: principal(&mut input, 2)?,
            realm: realm(&mut input, 3)?,
        })
    }
}

fn realm(sequence: &mut Input<'_>, number: u8) -> Result<Option<String>> {
    der::field(sequence, number)?
        .map(|mut content| der::text(&mut content))
        .transpose()
}

fn principal(sequence: &mut Input<'_>, number: u8) -> Result<Option<Principal>> {
    der::field(sequence, number)?.map(Principal::parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AP_REQ_BYTES: &[u8] = include_bytes!("../../corpus/security/kerberos_ap_req.bin");
    const AP_REP_BYTES: &[u8] = include_bytes!("../../corpus/security/kerberos_ap_rep.bin");
    const ERROR_BYTES: &[u8] = include_bytes!("../../corpus/security/kerberos_error_skew.bin");

    /// An element with a short length.
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn principal_bytes(name_type: u8, components: &[&str]) -> Vec<u8> {
        let names: Vec<u8> = components.iter().flat_map(|name| tlv(0x1b, name.as_bytes())).collect();
        tlv(
            0x30,
            &[tlv(0xa0, &tlv(2, &[name_type])), tlv(0xa1, &tlv(0x30, &names))].concat(),
        )
    }

    fn framed(mechanism: ObjectIdentifier<'_>, token_id: [u8; 2], message: &[u8]) -> Vec<u8> {
        tlv(0x60, &[&tlv(6, mechanism.0), &token_id[..], message].concat())
    }

    fn ticket_bytes(realm: &str, service: &[u8]) -> Vec<u8> {
        let sealed = tlv(0x30, &[tlv(0xa0, &tlv(2, &[18])), tlv(0xa2, &tlv(4, &[0; 4]))].concat());
        let fields = [
            tlv(0xa0, &tlv(2, &[5])),
            tlv(0xa1, &tlv(0x1b, realm.as_bytes())),
            tlv(0xa2, service),
            tlv(0xa3, &sealed),
        ];
        tlv(0x61, &tlv(0x30, &fields.concat()))
    }

    #[test]
    fn a_bare_ap_req_tells_the_service() {
        let service = Principal {
            name_type: 1,
            name: "host/dc.lab.example".to_owned(),
        };
        let ticket = Ticket {
            realm: "LAB.EXAMPLE".to_owned(),
            service,
            etype: 18,
        };
        let expected = ApReq {
            user_to_user: false,
            ticket,
        };
        assert!(Message::is_one(AP_REQ_BYTES));
        assert_eq!(Message::parse(AP_REQ_BYTES), Ok(Message::ApReq(expected)));
    }

    #[test]
    fn an_ap_rep_says_only_that_it_is_one() {
        assert_eq!(Message::parse(AP_REP_BYTES), Ok(Message::ApRep));
        let small = framed(ObjectIdentifier::KERBEROS, [2, 0], &tlv(0x6f, &[]));
        assert_eq!(Message::parse(&small), Ok(Message::ApRep));
    }

    #[test]
    fn a_framed_error_tells_its_code_and_the_server() {
        let expected = KrbError {
            error_code: 37,
            client_realm: None,
            client: None,
            realm: Some("LAB.EXAMPLE".to_owned()),
            service: Some(Principal {
                name_type: 1,
                name: "DC$".to_owned(),
            }),
        };
        assert!(Message::is_one(ERROR_BYTES));
        assert_eq!(Message::parse(ERROR_BYTES), Ok(Message::Error(expected)));
    }

    #[test]
    fn an_error_may_name_the_client() {
        let fields = [
            tlv(0xa6, &tlv(2, &[41])),
            tlv(0xa7, &tlv(0x1b, b"LAB.EXAMPLE")),
            tlv(0xa8, &principal_bytes(1, &["alice"])),
        ];
        let Ok(Message::Error(error)) = Message::parse(&tlv(0x7e, &tlv(0x30, &fields.concat()))) else {
            panic!("no KRB_ERROR")
        };
        assert_eq!(
            (error.error_code, error.client_realm.as_deref()),
            (41, Some("LAB.EXAMPLE"))
        );
        assert_eq!(error.client.unwrap().name, "alice");
        assert_eq!((error.realm, error.service), (None, None));
    }

    #[test]
    fn a_user_to_user_request_names_the_account() {
        let fields = [
            tlv(0xa0, &tlv(2, &[5])),
            tlv(0xa1, &tlv(2, &[16])),
            tlv(0xa2, &principal_bytes(0x80, &["alice"])),
            tlv(0xa3, &tlv(0x1b, b"LAB")),
        ];
        let bytes = framed(ObjectIdentifier::USER_TO_USER, [4, 0], &tlv(0x30, &fields.concat()));
        let server = Some(Principal {
            name_type: -128,
            name: "alice".to_owned(),
        });
        let expected = TgtReq {
            server,
            realm: Some("LAB".to_owned()),
        };
        assert!(Message::is_one(&bytes));
        assert_eq!(Message::parse(&bytes), Ok(Message::TgtReq(expected)));
        let neither = framed(
            ObjectIdentifier::USER_TO_USER,
            [4, 0],
            &tlv(0x30, &fields[..2].concat()),
        );
        assert_eq!(Message::parse(&neither), Ok(Message::TgtReq(TgtReq::default())));
    }

    #[test]
    fn a_user_to_user_reply_holds_the_servers_own_ticket() {
        let ticket = ticket_bytes("L.EX", &principal_bytes(2, &["krbtgt", "L.EX"]));
        let fields = [tlv(0xa0, &tlv(2, &[5])), tlv(0xa1, &tlv(2, &[17])), tlv(0xa2, &ticket)];
        let bytes = framed(ObjectIdentifier::USER_TO_USER, [4, 1], &tlv(0x30, &fields.concat()));
        let Ok(Message::TgtRep(ticket)) = Message::parse(&bytes) else {
            panic!("no KERB-TGT-REPLY")
        };
        assert_eq!(
            (ticket.realm.as_str(), ticket.service.name.as_str()),
            ("L.EX", "krbtgt/L.EX")
        );
        assert_eq!((ticket.service.name_type, ticket.etype), (2, 18));
    }

    #[test]
    fn use_session_key_is_user_to_user() {
        let ticket = ticket_bytes("L.EX", &principal_bytes(0x80, &["alice"]));
        let fields = [tlv(0xa2, &tlv(3, &[0, 0x60, 0, 0, 0])), tlv(0xa3, &ticket)];
        let Ok(Message::ApReq(request)) = Message::parse(&tlv(0x6e, &tlv(0x30, &fields.concat()))) else {
            panic!("no KRB_AP_REQ")
        };
        assert!(request.user_to_user);
        assert_eq!(
            request.ticket.service,
            Principal {
                name_type: -128,
                name: "alice".to_owned()
            }
        );
    }

    #[test]
    fn an_endless_name_is_refused() {
        let ticket = ticket_bytes("L.EX", &principal_bytes(1, &["a"; 9]));
        let fields = [tlv(0xa2, &tlv(3, &[0])), tlv(0xa3, &ticket)];
        let error = Message::parse(&tlv(0x6e, &tlv(0x30, &fields.concat()))).unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Limit {
                field: "name-string",
                max: COMPONENTS
            }
        );
    }

    #[test]
    fn other_mechanisms_are_not_kerberos() {
        assert!(!Message::is_one(include_bytes!(
            "../../corpus/security/spnego_init_ntlm_negotiate.bin"
        )));
        assert!(!Message::is_one(b"NTLMSSP\0"));
        assert!(!Message::is_one(&[]));
    }
}
