//! Kerberos 5 (RFC 4120) for those who have keys: where a message's sealed parts are, and what stands in them once they are
//! opened. Nothing is opened here.

use std::fmt;

use super::der::{self, Tag};
use super::kerberos::{AP_REP, AP_REQ, Principal, TICKET, USE_SESSION_KEY, unframed};
use crate::error::Result;
use crate::input::{ByteOrder, Input};

/// RFC 4120 section 5.2.9 `EncryptedData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedData<'a> {
    /// `etype` (RFC 3961 section 8).
    pub etype: i32,
    /// `kvno`: which of the key's versions.
    pub kvno: Option<u32>,
    /// `cipher`.
    pub cipher: &'a [u8],
}

/// RFC 4120 section 5.2.9 `EncryptionKey`. It does not show itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncryptionKey<'a> {
    /// `keytype`.
    pub etype: i32,
    /// `keyvalue`.
    pub value: &'a [u8],
}

impl fmt::Debug for EncryptionKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey(etype {})", self.etype)
    }
}

/// RFC 4120 section 5.3 Tickets: whose it is, and its sealed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTicket<'a> {
    /// `realm`.
    pub realm: String,
    /// `sname`.
    pub service: Principal,
    /// `enc-part`: an [`EncTicketPart`].
    pub sealed: EncryptedData<'a>,
}

/// A message between a Kerberos client and a service (RFC 4120 section 3.2), by what of it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed<'a> {
    /// RFC 4120 section 5.5.1 `KRB_AP_REQ`.
    ApReq {
        /// `ticket`.
        ticket: SealedTicket<'a>,
        /// `authenticator`: an [`Authenticator`], in the ticket's session key.
        authenticator: EncryptedData<'a>,
        /// Is the ticket sealed in another ticket's session key (user-to-user)?
        user_to_user: bool,
    },
    /// RFC 4120 section 5.5.2 `KRB_AP_REP`: an [`EncApRepPart`], in the ticket's session key.
    ApRep(EncryptedData<'a>),
    /// The server's own ticket-granting ticket, for user-to-user.
    TgtRep(SealedTicket<'a>),
}

impl<'a> Sealed<'a> {
    /// Reads a message in the frame of RFC 4121 section 4.1, or bare. None where nothing is sealed.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>> {
        let (token_id, mut input) = unframed(bytes)?;
        let (tag, mut body) = der::element(&mut input)?;
        Ok(match (tag, token_id) {
            (AP_REQ, _) => {
                body.enter("KRB_AP_REQ");
                let mut body = der::expect(&mut body, Tag::SEQUENCE)?;
                let options = der::expect(&mut der::required(&mut body, 2)?, Tag::BIT_STRING)?;
                let user_to_user = options.rest().get(1).is_some_and(|bits| bits & USE_SESSION_KEY != 0);
                let ticket = SealedTicket::parse(der::required(&mut body, 3)?)?;
                let authenticator = EncryptedData::parse(der::required(&mut body, 4)?)?;
                Some(Self::ApReq {
                    ticket,
                    authenticator,
                    user_to_user,
                })
            }
            (AP_REP, _) => {
                body.enter("KRB_AP_REP");
                let mut body = der::expect(&mut body, Tag::SEQUENCE)?;
                Some(Self::ApRep(EncryptedData::parse(der::required(&mut body, 2)?)?))
            }
            (Tag::SEQUENCE, Some(0x0401)) => {
                body.enter("KERB-TGT-REPLY");
                Some(Self::TgtRep(SealedTicket::parse(der::required(&mut body, 2)?)?))
            }
            _ => None,
        })
    }
}

impl<'a> SealedTicket<'a> {
    pub(super) fn parse(mut input: Input<'a>) -> Result<Self> {
        let mut input = der::expect(&mut input, TICKET)?;
        input.enter("Ticket");
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        Ok(Self {
            realm: der::text(&mut der::required(&mut input, 1)?)?,
            service: Principal::parse(der::required(&mut input, 2)?)?,
            sealed: EncryptedData::parse(der::required(&mut input, 3)?)?,
        })
    }
}

impl<'a> EncryptedData<'a> {
    pub(super) fn parse(mut input: Input<'a>) -> Result<Self> {
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        let etype = der::int32(der::required(&mut input, 0)?, Tag::INTEGER)?;
        let kvno = match der::field(&mut input, 1)? {
            // Some write a number beyond 31 bits as a negative one.
            Some(kvno) => der::int32(kvno, Tag::INTEGER).ok().map(i32::cast_unsigned),
            None => None,
        };
        let cipher = der::expect(&mut der::required(&mut input, 2)?, Tag::OCTET_STRING)?;
        Ok(Self {
            etype,
            kvno,
            cipher: cipher.rest(),
        })
    }
}

impl<'a> EncryptionKey<'a> {
    pub(super) fn parse(mut input: Input<'a>) -> Result<Self> {
        let mut input = der::expect(&mut input, Tag::SEQUENCE)?;
        Ok(Self {
            etype: der::int32(der::required(&mut input, 0)?, Tag::INTEGER)?,
            value: der::expect(&mut der::required(&mut input, 1)?, Tag::OCTET_STRING)?.rest(),
        })
    }
}

/// The SEQUENCE in an application tag, of an opened part. What the cipher's padding left behind it is no part of it.
fn sequence<'a>(bytes: &'a [u8], application: u8, structure: &'static str) -> Result<Input<'a>> {
    let mut input = Input::new(bytes, ByteOrder::Big, structure);
    let (tag, mut body) = der::element(&mut input)?;
    if tag != Tag::application(application) {
        return Err(input.invalid("tag", tag.0));
    }
    der::expect(&mut body, Tag::SEQUENCE)
}

/// RFC 4120 section 5.3 `EncTicketPart`: the session key, and whose ticket it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncTicketPart<'a> {
    /// `key`.
    pub key: EncryptionKey<'a>,
    /// `crealm`.
    pub client_realm: String,
    /// `cname`.
    pub client: Principal,
}

impl<'a> EncTicketPart<'a> {
    /// Reads an opened ticket.
    pub fn parse(opened: &'a [u8]) -> Result<Self> {
        let mut input = sequence(opened, 3, "EncTicketPart")?;
        Ok(Self {
            key: EncryptionKey::parse(der::required(&mut input, 1)?)?,
            client_realm: der::text(&mut der::required(&mut input, 2)?)?,
            client: Principal::parse(der::required(&mut input, 3)?)?,
        })
    }
}

/// RFC 4120 section 5.5.1 `Authenticator`: the key that the client suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticator<'a> {
    /// `subkey`.
    pub subkey: Option<EncryptionKey<'a>>,
}

impl<'a> Authenticator<'a> {
    /// Reads an opened authenticator.
    pub fn parse(opened: &'a [u8]) -> Result<Self> {
        let mut input = sequence(opened, 2, "Authenticator")?;
        Ok(Self {
            subkey: der::field(&mut input, 6)?.map(EncryptionKey::parse).transpose()?,
        })
    }
}

/// RFC 4120 section 5.5.2 `EncAPRepPart`: the key that the answering side chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncApRepPart<'a> {
    /// `subkey`.
    pub subkey: Option<EncryptionKey<'a>>,
}

impl<'a> EncApRepPart<'a> {
    /// Reads an opened answer.
    pub fn parse(opened: &'a [u8]) -> Result<Self> {
        let mut input = sequence(opened, 27, "EncAPRepPart")?;
        Ok(Self {
            subkey: der::field(&mut input, 2)?.map(EncryptionKey::parse).transpose()?,
        })
    }
}
