//! Who is speaking: what the `auth_value` of a DCE/RPC security verifier ([MS-RPCE] 2.2.2.11 `sec_trailer`) says in
//! clear.
//!
//! | module | specification |
//! |---|---|
//! | [`ntlmssp`] | [MS-NLMP] 2.2.1: user, both computers, their domains |
//! | [`spnego`] | RFC 4178: which mechanism, and its token inside |
//! | [`kerberos`] | RFC 4120 section 5, RFC 4121 section 4.1: the service, and refusals |
//! | [`sealed`] | RFC 4120 sections 5.3, 5.5: what Kerberos seals, for those who have the keys |
//! | [`kdc`] | RFC 4120 section 5.4: who is given which ticket |
//! | [`netlogon`] | [MS-NRPC] 2.2.1.3.1: the computer that opens a secure channel, and its domain |
//! | `der` | X.690: the encoding under the last two |

use std::fmt;

use crate::error::Result;

mod der;
pub mod kdc;
pub mod kerberos;
pub mod netlogon;
pub mod ntlmssp;
#[cfg(test)]
mod round_trips;
pub mod sealed;
pub mod spnego;

/// The most bytes of one name on the wire that are kept: a token can hold 64 KiB, and what is kept lives as long as its
/// connection. No account or host name comes near it.
const NAME_BYTES: usize = 1024;

/// [MS-RPCE] 2.2.1.1.7 Security Providers: `auth_type` of a verifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthService(pub u8);

impl AuthService {
    /// `RPC_C_AUTHN_NONE`.
    pub const NONE: Self = Self(0x00);
    /// `RPC_C_AUTHN_GSS_NEGOTIATE`.
    pub const SPNEGO: Self = Self(0x09);
    /// `RPC_C_AUTHN_WINNT`.
    pub const NTLM: Self = Self(0x0a);
    /// `RPC_C_AUTHN_GSS_SCHANNEL`.
    pub const SCHANNEL: Self = Self(0x0e);
    /// `RPC_C_AUTHN_GSS_KERBEROS`.
    pub const KERBEROS: Self = Self(0x10);
    /// `RPC_C_AUTHN_NETLOGON`.
    pub const NETLOGON: Self = Self(0x44);
    /// `RPC_C_AUTHN_DEFAULT`: a client is to send [`AuthService::NTLM`] in its place.
    pub const DEFAULT: Self = Self(0xff);

    /// The word that logs use.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::NONE => Some("none"),
            Self::SPNEGO => Some("spnego"),
            Self::NTLM => Some("ntlm"),
            Self::SCHANNEL => Some("schannel"),
            Self::KERBEROS => Some("kerberos"),
            Self::NETLOGON => Some("netlogon"),
            _ => None,
        }
    }
}

/// [MS-RPCE] 2.2.1.1.8 Authentication Levels: `auth_level` of a verifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthLevel(pub u8);

impl AuthLevel {
    /// `RPC_C_AUTHN_LEVEL_DEFAULT`.
    pub const DEFAULT: Self = Self(0);
    /// `RPC_C_AUTHN_LEVEL_NONE`.
    pub const NONE: Self = Self(1);
    /// `RPC_C_AUTHN_LEVEL_CONNECT`: only the login is authenticated.
    pub const CONNECT: Self = Self(2);
    /// `RPC_C_AUTHN_LEVEL_CALL`.
    pub const CALL: Self = Self(3);
    /// `RPC_C_AUTHN_LEVEL_PKT`.
    pub const PKT: Self = Self(4);
    /// `RPC_C_AUTHN_LEVEL_PKT_INTEGRITY`: every PDU is signed, and can be read.
    pub const PKT_INTEGRITY: Self = Self(5);
    /// `RPC_C_AUTHN_LEVEL_PKT_PRIVACY`: every stub is sealed.
    pub const PKT_PRIVACY: Self = Self(6);

    /// The word that logs use.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::DEFAULT => Some("default"),
            Self::NONE => Some("none"),
            Self::CONNECT => Some("connect"),
            Self::CALL => Some("call"),
            Self::PKT => Some("pkt"),
            Self::PKT_INTEGRITY => Some("pkt_integrity"),
            Self::PKT_PRIVACY => Some("pkt_privacy"),
            _ => None,
        }
    }
}

macro_rules! name_or_hexadecimal {
    ($($type:ty)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "0x{:02x}", self.0),
                }
            }
        }
    )*};
}

name_or_hexadecimal! { AuthService AuthLevel }

/// What the tokens of one security context say about its two ends. Said, not proven: none of it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `ntlm` or `kerberos`: the mechanism of the token, else the one agreed on.
    pub mechanism: Option<&'static str>,
    /// The client's account. A Kerberos ticket hides it; only a refusal can name it.
    pub user: Option<String>,
    /// The account's domain, or before that is known the domain of the client's computer.
    pub domain: Option<String>,
    /// The client's computer.
    pub workstation: Option<String>,
    /// An anonymous NTLM login: there is no user to know.
    pub anonymous: bool,
    /// The server's `NetBIOS` name.
    pub server_netbios: Option<String>,
    /// The server's DNS name.
    pub server_dns: Option<String>,
    /// The server's domain, by its `NetBIOS` name.
    pub server_domain: Option<String>,
    /// The server's forest.
    pub server_tree: Option<String>,
    /// The Kerberos realm of the service.
    pub realm: Option<String>,
    /// The service asked for: a ticket's `sname`, or the target name in an `NTLMv2` response. In user-to-user it is the
    /// account that runs the server.
    pub service: Option<String>,
    /// Kerberos' type of `service`: 2 service and instance, −128 an account.
    pub name_type: Option<i32>,
    /// What the ticket is sealed with (18 and 17 AES, 23 RC4).
    pub ticket_etype: Option<i32>,
    /// Kerberos user-to-user: the server is a user's process, without a key of its own.
    pub user_to_user: bool,
    /// The code of a Kerberos refusal (RFC 4120 section 7.5.9; 37 clock skew).
    pub kerberos_error: Option<i32>,
    /// How far SPNEGO is, as the sender of the last token that told it says.
    pub neg_state: Option<spnego::NegState>,
}

impl Claims {
    /// Takes over what a later token of the same security context says.
    ///
    /// What an offer said that was not taken stays: user-to-user offered to a server that wants NTLM still tells which
    /// account runs that server. `mechanism` says which of the two it came to.
    pub fn merge(&mut self, later: Self) {
        // A refusing server calls itself by its account (`DC$`). What the client asked for says more, if it is known.
        let keep_service = later.kerberos_error.is_some() && self.service.is_some();
        if !keep_service {
            replace(&mut self.service, later.service);
            replace(&mut self.name_type, later.name_type);
        }
        replace(&mut self.mechanism, later.mechanism);
        // Who names the account names all of it: a domain that is left out is none, not that of the client's computer.
        if later.user.is_some() || later.anonymous {
            (self.user, self.domain, self.anonymous) = (later.user, later.domain, later.anonymous);
        } else {
            replace(&mut self.domain, later.domain);
        }
        replace(&mut self.workstation, later.workstation);
        replace(&mut self.server_netbios, later.server_netbios);
        replace(&mut self.server_dns, later.server_dns);
        replace(&mut self.server_domain, later.server_domain);
        replace(&mut self.server_tree, later.server_tree);
        replace(&mut self.realm, later.realm);
        replace(&mut self.ticket_etype, later.ticket_etype);
        replace(&mut self.kerberos_error, later.kerberos_error);
        replace(&mut self.neg_state, later.neg_state);
        self.user_to_user |= later.user_to_user;
    }
}

fn replace<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

/// Reads one verifier's token by what it is, whatever `service` says: an NTLM or Kerberos token may stand bare under
/// any.
///
/// An empty token and TLS say nothing that is read here, which is no error.
pub fn read(service: AuthService, token: &[u8]) -> Result<Claims> {
    if let Some(claims) = mechanism(token)? {
        return Ok(claims);
    }
    if matches!(service, AuthService::NONE | AuthService::SCHANNEL) {
        return Ok(Claims::default());
    }
    if service == AuthService::NETLOGON {
        return Ok(netlogon::NlAuthMessage::parse(token)
            .map(Claims::from)
            .unwrap_or_default());
    }
    let (mut claims, inner) = match spnego::Token::parse(token)? {
        spnego::Token::Init(init) => {
            // Before an answer only an offer of one is an agreement.
            let agreed = match *init.mech_types {
                [only] => only.mechanism(),
                _ => None,
            };
            (
                Claims {
                    mechanism: agreed,
                    ..Claims::default()
                },
                init.mech_token,
            )
        }
        spnego::Token::Resp(resp) => {
            let agreed = resp.supported_mech.and_then(spnego::ObjectIdentifier::mechanism);
            (
                Claims {
                    mechanism: agreed,
                    neg_state: resp.neg_state,
                    ..Claims::default()
                },
                resp.response_token,
            )
        }
    };
    // SPNEGO within SPNEGO does not exist, so this does not call itself. Other mechanisms' tokens are left alone.
    if let Some(said) = inner.map(mechanism).transpose()?.flatten() {
        claims.merge(said);
    }
    Ok(claims)
}

/// The token of NTLM or Kerberos: the whole of it, or what SPNEGO carries in it.
pub fn mechanism_token(token: &[u8]) -> Option<&[u8]> {
    let is_one = |token: &[u8]| ntlmssp::Message::is_one(token) || kerberos::Message::is_one(token);
    if is_one(token) {
        return Some(token);
    }
    let inner = match spnego::Token::parse(token).ok()? {
        spnego::Token::Init(init) => init.mech_token,
        spnego::Token::Resp(resp) => resp.response_token,
    };
    inner.filter(|inner| is_one(inner))
}

/// The NTLM message that a token is, or that SPNEGO carries in it.
pub fn ntlm(token: &[u8]) -> Option<ntlmssp::Message> {
    mechanism_token(token).and_then(|token| ntlmssp::Message::parse(token).ok())
}

/// Is it Kerberos' answer to a ticket, or in three legs the answer to that answer?
pub fn is_kerberos_answer(token: &[u8]) -> bool {
    let message = mechanism_token(token).and_then(|token| kerberos::Message::parse(token).ok());
    matches!(message, Some(kerberos::Message::ApRep))
}

/// Does a server that says this end a login with it? A challenge, its own ticket and a refusal are for the client to answer,
/// and so is what SPNEGO does not call complete.
pub fn is_last_word(token: &[u8]) -> bool {
    match mechanism_token(token) {
        Some(token) if ntlmssp::Message::is_one(token) => false,
        Some(token) => matches!(kerberos::Message::parse(token), Ok(kerberos::Message::ApRep)),
        None => match spnego::Token::parse(token) {
            Ok(spnego::Token::Resp(resp)) => resp.neg_state == Some(spnego::NegState::ACCEPT_COMPLETED),
            _ => true,
        },
    }
}

/// What a mechanism's own token says; `None` if it is neither NTLM's nor Kerberos'.
fn mechanism(token: &[u8]) -> Result<Option<Claims>> {
    if token.is_empty() {
        Ok(Some(Claims::default()))
    } else if ntlmssp::Message::is_one(token) {
        ntlmssp::Message::parse(token).map(|message| Some(Claims::from(message)))
    } else if kerberos::Message::is_one(token) {
        kerberos::Message::parse(token).map(|message| Some(Claims::from(message)))
    } else {
        Ok(None)
    }
}

impl From<netlogon::NlAuthMessage> for Claims {
    fn from(message: netlogon::NlAuthMessage) -> Self {
        Self {
            domain: message.netbios_domain.or(message.dns_domain),
            workstation: message
                .netbios_computer
                .or(message.netbios_computer_utf8)
                .or(message.dns_host),
            ..Self::default()
        }
    }
}

impl From<ntlmssp::Message> for Claims {
    fn from(message: ntlmssp::Message) -> Self {
        let mechanism = Some("ntlm");
        let server = |pairs: ntlmssp::AvPairs| Self {
            mechanism,
            server_netbios: pairs.netbios_computer,
            server_dns: pairs.dns_computer,
            server_domain: pairs.netbios_domain,
            server_tree: pairs.dns_tree,
            service: pairs.target_name,
            ..Self::default()
        };
        match message {
            ntlmssp::Message::Negotiate(negotiate) => Self {
                mechanism,
                domain: negotiate.domain,
                workstation: negotiate.workstation,
                ..Self::default()
            },
            ntlmssp::Message::Challenge(challenge) => server(challenge.av_pairs),
            ntlmssp::Message::Authenticate(authenticate) => Self {
                user: authenticate.user,
                domain: authenticate.domain,
                workstation: authenticate.workstation,
                anonymous: authenticate.anonymous,
                ..server(authenticate.av_pairs)
            },
        }
    }
}

impl From<kerberos::Message> for Claims {
    fn from(message: kerberos::Message) -> Self {
        let mechanism = Some("kerberos");
        let of = |service: Option<kerberos::Principal>, realm: Option<String>| {
            let (service, name_type) = service.map(|principal| (principal.name, principal.name_type)).unzip();
            Self {
                mechanism,
                realm,
                service,
                name_type,
                ..Self::default()
            }
        };
        match message {
            kerberos::Message::ApReq(request) => Self {
                user_to_user: request.user_to_user,
                ticket_etype: Some(request.ticket.etype),
                ..of(Some(request.ticket.service), Some(request.ticket.realm))
            },
            kerberos::Message::ApRep => of(None, None),
            kerberos::Message::Error(error) => Self {
                kerberos_error: Some(error.error_code),
                user: error.client.map(|principal| principal.name),
                domain: error.client_realm,
                ..of(error.service, error.realm)
            },
            kerberos::Message::TgtReq(request) => Self {
                user_to_user: true,
                ..of(request.server, request.realm)
            },
            // The ticket in it is the server's own, for the ticket-granting service: only its realm says something new.
            kerberos::Message::TgtRep(ticket) => Self {
                user_to_user: true,
                ..of(None, Some(ticket.realm))
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! corpus {
        ($($name:ident = $file:literal;)*) => {
            $(const $name: &[u8] = include_bytes!(concat!("../../corpus/security/", $file, ".bin"));)*
            const CORPUS: &[&[u8]] = &[$($name),*];
        };
    }

    corpus! {
        NTLM_NEGOTIATE_IMPACKET = "ntlm_negotiate_impacket";
        NTLM_NEGOTIATE_SAMBA = "ntlm_negotiate_samba";
        NTLM_CHALLENGE = "ntlm_challenge_emulated_server";
        NTLM_AUTHENTICATE_IMPACKET = "ntlm_authenticate_impacket";
        NTLM_AUTHENTICATE_SAMBA = "ntlm_authenticate_samba";
        SPNEGO_NEGOTIATE = "spnego_init_ntlm_negotiate";
        SPNEGO_CHALLENGE = "spnego_resp_ntlm_challenge";
        SPNEGO_AUTHENTICATE = "spnego_resp_ntlm_authenticate";
        SPNEGO_COMPLETED = "spnego_resp_completed";
        SPNEGO_FRAMED_AP_REQ = "spnego_init_kerberos_framed_ap_req";
        SPNEGO_BARE_AP_REQ = "spnego_init_kerberos_bare_ap_req";
        SPNEGO_AP_REP = "spnego_resp_ap_rep";
        KERBEROS_AP_REQ = "kerberos_ap_req";
        KERBEROS_AP_REP = "kerberos_ap_rep";
        KERBEROS_ERROR = "kerberos_error_skew";
    }

    #[allow(clippy::unnecessary_wraps, reason = "short for what the fields hold")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn merged(service: AuthService, tokens: &[&[u8]]) -> Claims {
        let mut claims = Claims::default();
        for token in tokens {
            claims.merge(read(service, token).unwrap());
        }
        claims
    }

    fn ntlm_login(service: &str, workstation: Option<String>) -> Claims {
        Claims {
            mechanism: Some("ntlm"),
            user: some("alice"),
            domain: some("LAB"),
            workstation,
            server_netbios: some("DCOMSRV01"),
            server_dns: some("dcomsrv01.lab.example"),
            server_domain: some("LAB"),
            server_tree: some("lab.example"),
            service: some(service),
            ..Claims::default()
        }
    }

    fn ap_req() -> Claims {
        Claims {
            mechanism: Some("kerberos"),
            realm: some("LAB.EXAMPLE"),
            service: some("host/dc.lab.example"),
            name_type: Some(1),
            ticket_etype: Some(18),
            ..Claims::default()
        }
    }

    #[test]
    fn three_legs_of_bare_ntlm_name_both_ends() {
        let tokens = [NTLM_NEGOTIATE_IMPACKET, NTLM_CHALLENGE, NTLM_AUTHENTICATE_IMPACKET];
        assert_eq!(
            merged(AuthService::NTLM, &tokens),
            ntlm_login("cifs/dcomsrv01.lab.example", None)
        );
    }

    #[test]
    fn the_last_leg_of_ntlm_alone_names_both_ends() {
        assert_eq!(
            read(AuthService::NTLM, NTLM_AUTHENTICATE_SAMBA),
            Ok(ntlm_login("host/127.0.0.10", some("VM")))
        );
    }

    #[test]
    fn four_legs_of_ntlm_in_spnego_name_both_ends() {
        let tokens = [
            SPNEGO_NEGOTIATE,
            SPNEGO_CHALLENGE,
            SPNEGO_AUTHENTICATE,
            SPNEGO_COMPLETED,
        ];
        let expected = Claims {
            neg_state: Some(spnego::NegState::ACCEPT_COMPLETED),
            ..ntlm_login("host/127.0.0.10", some("VM"))
        };
        assert_eq!(merged(AuthService::SPNEGO, &tokens), expected);
    }

    #[test]
    fn an_account_without_a_domain_has_none_though_the_computer_has() {
        let began = Claims {
            mechanism: Some("ntlm"),
            domain: some("WORKGROUP"),
            workstation: some("PC1"),
            ..Claims::default()
        };
        let named = Claims {
            mechanism: Some("ntlm"),
            user: some("alice@corp.example"),
            ..Claims::default()
        };
        let nobody = Claims {
            mechanism: Some("ntlm"),
            anonymous: true,
            ..Claims::default()
        };
        let mut claims = began.clone();
        claims.merge(Claims::default());
        assert_eq!(claims, began);
        for account in [&named, &nobody, &named] {
            claims.merge(account.clone());
            let expected = Claims {
                workstation: some("PC1"),
                ..account.clone()
            };
            assert_eq!(claims, expected);
        }
    }

    #[test]
    fn kerberos_names_the_service_bare_and_in_spnego() {
        assert_eq!(read(AuthService::KERBEROS, KERBEROS_AP_REQ), Ok(ap_req()));
        assert_eq!(read(AuthService::SPNEGO, SPNEGO_BARE_AP_REQ), Ok(ap_req()));
        assert_eq!(read(AuthService::SPNEGO, SPNEGO_FRAMED_AP_REQ), Ok(ap_req()));
        let reply = read(AuthService::SPNEGO, SPNEGO_AP_REP).unwrap();
        assert_eq!(
            (reply.mechanism, reply.neg_state),
            (Some("kerberos"), Some(spnego::NegState::ACCEPT_INCOMPLETE))
        );
        assert_eq!(
            read(AuthService::KERBEROS, KERBEROS_AP_REP).unwrap().mechanism,
            Some("kerberos")
        );
    }

    #[test]
    fn a_mechanisms_token_is_read_under_any_service() {
        for service in [0, 9, 10, 16, 0x44, 0x77, 0xff].map(AuthService) {
            assert_eq!(read(service, KERBEROS_AP_REQ), Ok(ap_req()));
            assert!(read(service, NTLM_NEGOTIATE_SAMBA).is_ok());
        }
    }

    #[test]
    fn a_kerberos_refusal_keeps_the_service_that_was_asked_for() {
        let alone = read(AuthService::KERBEROS, KERBEROS_ERROR).unwrap();
        assert_eq!(
            (alone.service.as_deref(), alone.kerberos_error),
            (Some("DC$"), Some(37))
        );
        let both = merged(AuthService::KERBEROS, &[KERBEROS_AP_REQ, KERBEROS_ERROR]);
        assert_eq!(
            both,
            Claims {
                kerberos_error: Some(37),
                ..ap_req()
            }
        );
    }

    #[test]
    fn the_mechanism_agreed_on_replaces_the_one_hoped_for() {
        // A negTokenResp that takes NTLM and holds no token: Windows' answer to an offer of user-to-user that it does
        // not take.
        let take_ntlm = [0xa1, 0x15, 0x30, 0x13, 0xa0, 3, 0x0a, 1, 3, 0xa1, 0x0c, 6, 0x0a];
        let take_ntlm = [&take_ntlm[..], spnego::ObjectIdentifier::NTLM.0].concat();
        let claims = merged(AuthService::SPNEGO, &[SPNEGO_BARE_AP_REQ, &take_ntlm]);
        assert_eq!(
            (claims.mechanism, claims.neg_state),
            (Some("ntlm"), Some(spnego::NegState::REQUEST_MIC))
        );
    }

    #[test]
    fn rejection_is_told() {
        let reject = [0xa1, 7, 0x30, 5, 0xa0, 3, 0x0a, 1, 2];
        let claims = read(AuthService::SPNEGO, &reject).unwrap();
        assert_eq!(claims.neg_state.unwrap().to_string(), "reject");
        assert_eq!(claims.neg_state, Some(spnego::NegState::REJECT));
    }

    #[test]
    fn tls_and_netlogon_say_nothing_and_rubbish_is_an_error() {
        let tls = [0x16, 3, 3, 0, 4, 1, 0, 0, 0];
        assert_eq!(read(AuthService::SCHANNEL, &tls), Ok(Claims::default()));
        assert_eq!(read(AuthService::NETLOGON, &[0; 12]), Ok(Claims::default()));
        assert_eq!(read(AuthService::SPNEGO, &[]), Ok(Claims::default()));
        assert!(read(AuthService::NTLM, &tls).is_err());
    }

    #[test]
    fn a_cut_token_says_less_or_fails() {
        for token in CORPUS {
            let whole = read(AuthService::SPNEGO, token).unwrap();
            for length in 1..token.len() {
                let Ok(cut) = read(AuthService::SPNEGO, &token[..length]) else {
                    continue;
                };
                // What is left says nothing but what the whole says, so merging either into the other is the whole.
                let mut both = [cut.clone(), whole.clone()];
                both[0].merge(whole.clone());
                both[1].merge(cut);
                assert!(
                    both.iter().all(|either| *either == whole),
                    "{length} of {} bytes: {both:?}",
                    token.len()
                );
            }
        }
    }

    #[test]
    fn an_ntlm_message_is_found_bare_and_in_spnego_and_shows_how_its_sender_writes() {
        let authenticate = |token| match ntlm(token) {
            Some(ntlmssp::Message::Authenticate(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(authenticate(NTLM_AUTHENTICATE_IMPACKET).lm_response);
        assert!(!authenticate(SPNEGO_AUTHENTICATE).lm_response);
        assert!(matches!(ntlm(SPNEGO_NEGOTIATE), Some(ntlmssp::Message::Negotiate(_))));
        assert_eq!(ntlm(KERBEROS_AP_REQ), None);
        assert_eq!(ntlm(&[]), None);
    }

    #[test]
    fn nesting_is_not_followed() {
        for tag in [0x60, 0x30, 0xa0, 0xa1, 0x6e] {
            let mut nested = Vec::new();
            for _ in 0..15_000 {
                nested.extend([tag, 0x84, 0, 0, 0xff, 0xff]);
            }
            assert!(read(AuthService::SPNEGO, &nested).is_err());
            nested.iter_mut().skip(2).step_by(6).for_each(|byte| *byte = 0xff);
            assert!(read(AuthService::SPNEGO, &nested).is_err());
        }
        // SPNEGO in SPNEGO is not unwrapped twice.
        let inner = [0xa1, 7, 0x30, 5, 0xa0, 3, 0x0a, 1, 2];
        let outer = [&[0xa1, 15, 0x30, 13, 0xa2, 11, 4, 9][..], &inner].concat();
        assert_eq!(read(AuthService::SPNEGO, &outer), Ok(Claims::default()));
    }

    #[test]
    fn services_and_levels_have_the_words_of_the_logs() {
        let words: Vec<String> = [0, 9, 10, 14, 16, 0x44, 0x7b]
            .map(|n| AuthService(n).to_string())
            .into();
        assert_eq!(
            words,
            ["none", "spnego", "ntlm", "schannel", "kerberos", "netlogon", "0x7b"]
        );
        let words: Vec<String> = [0, 1, 2, 3, 4, 5, 6, 7].map(|n| AuthLevel(n).to_string()).into();
        assert_eq!(
            words,
            [
                "default",
                "none",
                "connect",
                "call",
                "pkt",
                "pkt_integrity",
                "pkt_privacy",
                "0x07"
            ]
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(service: u8, token in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(AuthService(service), &token);
            let _ = spnego::Token::parse(&token);
            let _ = kerberos::Message::parse(&token);
            let mut ntlm = b"NTLMSSP\0".to_vec();
            ntlm.extend([service % 4, 0, 0, 0]);
            ntlm.extend(&token);
            let _ = read(AuthService::NTLM, &ntlm);
        }

        #[test]
        fn a_mutated_token_never_panics_and_never_says_more_than_its_caps(
            which in 0..CORPUS.len(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut token = CORPUS[which].to_vec();
            for (at, byte) in changes {
                // Most decisions are made in the first bytes: half of the changes go there.
                let within = if byte & 1 == 0 { token.len() } else { token.len().min(96) };
                token[at.index(within)] = byte;
            }
            if let Ok(claims) = read(AuthService::SPNEGO, &token) {
                for text in [claims.user, claims.domain, claims.workstation, claims.server_dns].into_iter().flatten() {
                    prop_assert!(text.chars().count() <= NAME_BYTES);
                }
            }
        }
    }
}
