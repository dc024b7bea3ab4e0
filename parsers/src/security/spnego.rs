//! SPNEGO (RFC 4178, [MS-SPNG]): what is offered, what is agreed, and the mechanism's token inside.

use std::fmt;

use super::der::{self, Tag};
use crate::error::{ErrorKind, Result};
use crate::input::{ByteOrder, Input};

/// The most mechanisms that one offer may name. Windows offers five.
const MECHANISMS: usize = 32;

/// An ASN.1 OBJECT IDENTIFIER by its content octets (X.690 section 8.19). Printed dotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectIdentifier<'a>(pub &'a [u8]);

impl ObjectIdentifier<'static> {
    /// `1.3.6.1.5.5.2`: SPNEGO itself.
    pub const SPNEGO: Self = Self(&[0x2b, 6, 1, 5, 5, 2]);
    /// `1.2.840.113554.1.2.2`: Kerberos 5.
    pub const KERBEROS: Self = Self(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2]);
    /// `1.2.840.48018.1.2.2`: Kerberos 5 as Windows 2000 misspelt it, and everyone since offers first.
    pub const MICROSOFT_KERBEROS: Self = Self(&[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2]);
    /// `1.2.840.113554.1.2.2.3`: Kerberos 5 user-to-user.
    pub const USER_TO_USER: Self = Self(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 3]);
    /// `1.3.6.1.4.1.311.2.2.10`: NTLM.
    pub const NTLM: Self = Self(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0a]);
    /// `1.3.6.1.4.1.311.2.2.30`: SPNEGO extended negotiation ([MS-NEGOEX]), whose tokens are not read.
    pub const NEGOEX: Self = Self(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x1e]);
}

impl ObjectIdentifier<'_> {
    /// `kerberos` or `ntlm`.
    pub fn mechanism(self) -> Option<&'static str> {
        let kerberos = [
            ObjectIdentifier::KERBEROS,
            ObjectIdentifier::MICROSOFT_KERBEROS,
            ObjectIdentifier::USER_TO_USER,
        ];
        if self == ObjectIdentifier::NTLM {
            Some("ntlm")
        } else if kerberos.contains(&self) {
            Some("kerberos")
        } else {
            None
        }
    }
}

impl fmt::Display for ObjectIdentifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut arc: u64 = 0;
        for byte in self.0 {
            // Saturating: no registered arc comes near 64 bits.
            arc = arc.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
            if byte & 0x80 != 0 {
                continue;
            }
            if first {
                // The first two arcs travel as one number: 40 × first + second.
                let root = arc.min(119) / 40;
                write!(f, "{root}.{}", arc.saturating_sub(root.saturating_mul(40)))?;
                first = false;
            } else {
                write!(f, ".{arc}")?;
            }
            arc = 0;
        }
        Ok(())
    }
}

/// RFC 4178 section 4.2.2 `negState`: how far the negotiation is, as its receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NegState(pub i32);

impl NegState {
    /// The security context is established.
    pub const ACCEPT_COMPLETED: Self = Self(0);
    /// More tokens are needed.
    pub const ACCEPT_INCOMPLETE: Self = Self(1);
    /// No mechanism suits.
    pub const REJECT: Self = Self(2);
    /// Go on, and prove afterwards that the offer was not tampered with.
    pub const REQUEST_MIC: Self = Self(3);

    /// The specification's word for it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::ACCEPT_COMPLETED => Some("accept-completed"),
            Self::ACCEPT_INCOMPLETE => Some("accept-incomplete"),
            Self::REJECT => Some("reject"),
            Self::REQUEST_MIC => Some("request-mic"),
            _ => None,
        }
    }
}

impl fmt::Display for NegState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:x}", self.0),
        }
    }
}

/// RFC 4178 section 4.2.1 negTokenInit; also [MS-SPNG] 2.2.1 `NegTokenInit2`, whose hints are stepped over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Init<'a> {
    /// `mechTypes`, preferred first.
    pub mech_types: Vec<ObjectIdentifier<'a>>,
    /// `mechToken`: the first token of the preferred mechanism.
    pub mech_token: Option<&'a [u8]>,
    /// Is there a `mechListMIC`?
    pub mech_list_mic: bool,
}

/// RFC 4178 section 4.2.2 negTokenResp: all but the first token, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resp<'a> {
    /// `negState`.
    pub neg_state: Option<NegState>,
    /// `supportedMech`: what the acceptor chose.
    pub supported_mech: Option<ObjectIdentifier<'a>>,
    /// `responseToken`: the mechanism's token.
    pub response_token: Option<&'a [u8]>,
    /// Is there a `mechListMIC`?
    pub mech_list_mic: bool,
}

/// RFC 4178 section 4.2 `NegotiationToken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `negTokenInit`.
    Init(Init<'a>),
    /// `negTokenResp`.
    Resp(Resp<'a>),
}

impl<'a> Token<'a> {
    /// Reads a token, with or without the header of RFC 2743 section 3.1 (mechanism-independent token format).
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Big, "SPNEGO");
        if der::peek(&input) == Some(Tag::application(0)) {
            input = der::expect(&mut input, Tag::application(0))?;
            let start = input;
            let mechanism = ObjectIdentifier(der::expect(&mut input, Tag::OID)?.rest());
            if mechanism != ObjectIdentifier::SPNEGO {
                return Err(start.error(ErrorKind::Unsupported {
                    field: "thisMech",
                    value: mechanism.0.last().copied().unwrap_or_default().into(),
                }));
            }
        }
        let start = input;
        let (tag, mut body) = der::element(&mut input)?;
        let sequence = |body: &mut Input<'a>, structure| {
            body.enter(structure);
            der::expect(body, Tag::SEQUENCE)
        };
        if tag == Tag::context(0) {
            Init::parse(sequence(&mut body, "negTokenInit")?).map(Self::Init)
        } else if tag == Tag::context(1) {
            Resp::parse(sequence(&mut body, "negTokenResp")?).map(Self::Resp)
        } else {
            Err(start.invalid("NegotiationToken", tag.0))
        }
    }
}

impl<'a> Init<'a> {
    fn parse(mut input: Input<'a>) -> Result<Self> {
        let mut mech_types = Vec::new();
        if let Some(mut list) = der::field(&mut input, 0)? {
            let mut list = der::expect(&mut list, Tag::SEQUENCE)?;
            while !list.is_empty() {
                if mech_types.len() == MECHANISMS {
                    return Err(list.error(ErrorKind::Limit {
                        field: "mechTypes",
                        max: MECHANISMS,
                    }));
                }
                mech_types.push(ObjectIdentifier(der::expect(&mut list, Tag::OID)?.rest()));
            }
        }
        let mech_token = octets(&mut input, 2)?;
        // Field 3 is the integrity code, or in NegTokenInit2 the hints, with the code moved to 4.
        let third_is_mic = der::field(&mut input, 3)?.is_some_and(|third| der::peek(&third) == Some(Tag::OCTET_STRING));
        let mech_list_mic = third_is_mic || der::field(&mut input, 4)?.is_some();
        Ok(Self {
            mech_types,
            mech_token,
            mech_list_mic,
        })
    }
}

impl<'a> Resp<'a> {
    fn parse(mut input: Input<'a>) -> Result<Self> {
        let neg_state = match der::field(&mut input, 0)? {
            Some(state) => Some(NegState(der::int32(state, Tag::ENUMERATED)?)),
            None => None,
        };
        let supported_mech = match der::field(&mut input, 1)? {
            Some(mut mech) => Some(ObjectIdentifier(der::expect(&mut mech, Tag::OID)?.rest())),
            None => None,
        };
        let response_token = octets(&mut input, 2)?;
        let mech_list_mic = der::field(&mut input, 3)?.is_some();
        Ok(Self {
            neg_state,
            supported_mech,
            response_token,
            mech_list_mic,
        })
    }
}

fn octets<'a>(sequence: &mut Input<'a>, number: u8) -> Result<Option<&'a [u8]>> {
    match der::field(sequence, number)? {
        Some(mut content) => Ok(Some(der::expect(&mut content, Tag::OCTET_STRING)?.rest())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT_NTLM: &[u8] = include_bytes!("../../corpus/security/spnego_init_ntlm_negotiate.bin");
    const INIT_KERBEROS: &[u8] = include_bytes!("../../corpus/security/spnego_init_kerberos_bare_ap_req.bin");
    const RESP_CHALLENGE: &[u8] = include_bytes!("../../corpus/security/spnego_resp_ntlm_challenge.bin");
    const RESP_AUTHENTICATE: &[u8] = include_bytes!("../../corpus/security/spnego_resp_ntlm_authenticate.bin");
    const RESP_COMPLETED: &[u8] = include_bytes!("../../corpus/security/spnego_resp_completed.bin");

    #[test]
    fn an_offer_is_unwrapped_from_its_gss_header() {
        let Ok(Token::Init(init)) = Token::parse(INIT_NTLM) else {
            panic!("no negTokenInit")
        };
        assert_eq!(init.mech_types, [ObjectIdentifier::NTLM]);
        assert!(init.mech_token.unwrap().starts_with(b"NTLMSSP\0\x01"));
        assert!(!init.mech_list_mic);
    }

    #[test]
    fn an_offer_may_stand_without_its_gss_header() {
        assert_eq!(Token::parse(&INIT_NTLM[10..]), Token::parse(INIT_NTLM));
    }

    #[test]
    fn mechanisms_are_kept_in_their_order() {
        let Ok(Token::Init(init)) = Token::parse(INIT_KERBEROS) else {
            panic!("no negTokenInit")
        };
        assert_eq!(
            init.mech_types,
            [ObjectIdentifier::MICROSOFT_KERBEROS, ObjectIdentifier::KERBEROS]
        );
        let dotted: Vec<String> = init.mech_types.iter().map(ToString::to_string).collect();
        assert_eq!(dotted, ["1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2"]);
        assert_eq!(init.mech_token.unwrap()[0], 0x6e);
    }

    #[test]
    fn identifiers_print_dotted() {
        for (identifier, dotted) in [
            (ObjectIdentifier::SPNEGO, "1.3.6.1.5.5.2"),
            (ObjectIdentifier::NTLM, "1.3.6.1.4.1.311.2.2.10"),
            (ObjectIdentifier::NEGOEX, "1.3.6.1.4.1.311.2.2.30"),
            (ObjectIdentifier::USER_TO_USER, "1.2.840.113554.1.2.2.3"),
            (ObjectIdentifier(&[0x88, 0x37]), "2.999"),
            (ObjectIdentifier(&[39]), "0.39"),
        ] {
            assert_eq!(identifier.to_string(), dotted);
        }
    }

    #[test]
    fn a_response_tells_state_choice_and_token() {
        let Ok(Token::Resp(resp)) = Token::parse(RESP_CHALLENGE) else {
            panic!("no negTokenResp")
        };
        assert_eq!(resp.neg_state, Some(NegState::ACCEPT_INCOMPLETE));
        assert_eq!(resp.supported_mech, Some(ObjectIdentifier::NTLM));
        assert!(resp.response_token.unwrap().starts_with(b"NTLMSSP\0\x02"));
        assert!(!resp.mech_list_mic);
    }

    #[test]
    fn a_response_without_state_has_token_and_integrity_code() {
        let Ok(Token::Resp(resp)) = Token::parse(RESP_AUTHENTICATE) else {
            panic!("no negTokenResp")
        };
        assert_eq!((resp.neg_state, resp.supported_mech), (None, None));
        assert_eq!(resp.response_token.unwrap().len(), 452);
        assert!(resp.mech_list_mic);
    }

    #[test]
    fn a_response_may_hold_nothing_but_its_state() {
        let expected = Resp {
            neg_state: Some(NegState::ACCEPT_COMPLETED),
            ..Resp::default()
        };
        assert_eq!(Token::parse(RESP_COMPLETED), Ok(Token::Resp(expected)));
        let mut odd = RESP_COMPLETED.to_vec();
        *odd.last_mut().unwrap() = 9;
        let Ok(Token::Resp(resp)) = Token::parse(&odd) else {
            panic!("no negTokenResp")
        };
        assert_eq!(resp.neg_state.unwrap().to_string(), "0x9");
    }

    #[test]
    fn hints_of_a_second_init_are_no_integrity_code() {
        let hints = [0xa0, 8, 0x30, 6, 0xa3, 4, 0x30, 2, 0x80, 0];
        assert_eq!(Token::parse(&hints), Ok(Token::Init(Init::default())));
        let mic = [0xa0, 8, 0x30, 6, 0xa3, 4, 0x04, 2, 0x80, 0];
        assert_eq!(
            Token::parse(&mic),
            Ok(Token::Init(Init {
                mech_list_mic: true,
                ..Init::default()
            }))
        );
    }

    #[test]
    fn an_endless_offer_is_refused() {
        let mut bytes = vec![0xa0, 0x81, 140, 0x30, 0x81, 137, 0xa0, 0x81, 134, 0x30, 0x81, 131];
        bytes.extend([6, 1, 0x2a].repeat(43));
        bytes.extend([6, 0]);
        assert_eq!(bytes.len(), 143);
        let error = Token::parse(&bytes).unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Limit {
                field: "mechTypes",
                max: MECHANISMS
            }
        );
    }
}
