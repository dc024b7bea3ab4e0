//! Who logged in on a connection, by security context, and who vouches for a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcom_parsers::error::Result;
use dcom_parsers::rpce::SecTrailer;
use dcom_parsers::security::ntlmssp::Message;
use dcom_parsers::security::spnego::NegState;
use dcom_parsers::security::{self, AuthLevel, AuthService, Claims};

use super::{AuthState, Reply};
use crate::capture::At;
use crate::flow::Side;
use crate::keys::Who;

/// Security contexts of one connection that are told apart.
const MAX_LOGINS: usize = 16;

/// The security contexts of one connection.
#[derive(Debug, Default)]
pub(super) struct Logins {
    by_context: BTreeMap<u32, Login>,
    latest: u32,
    /// Bytes of all claims.
    kept: usize,
}

/// Bytes of what was claimed.
pub(super) fn weight(claims: &Claims) -> usize {
    let texts = [
        &claims.user,
        &claims.domain,
        &claims.workstation,
        &claims.server_netbios,
        &claims.server_dns,
        &claims.server_domain,
        &claims.server_tree,
        &claims.realm,
        &claims.service,
    ];
    texts.into_iter().flatten().map(String::len).sum()
}

/// One security context.
#[derive(Debug)]
struct Login {
    /// The frame of the first leg that speaks NTLM.
    at: Option<At>,
    state: AuthState,
    claims: Arc<Claims>,
    /// Has the client said who it is, or the server its last word? What the client says then is no leg of it, unless the
    /// server asks for more.
    over: bool,
    /// Has it been told?
    told: bool,
}

impl Login {
    /// The login, if it is by NTLM, it is known who logs in, and nothing was told of it yet.
    fn tell(&mut self) -> Option<super::Login> {
        let claims = &self.claims;
        let known = claims.mechanism == Some("ntlm") && (claims.user.is_some() || claims.anonymous);
        let first = known && !self.told;
        self.told |= known;
        Some(super::Login {
            at: self.at.filter(|_| first)?,
            claims: Arc::clone(claims),
            success: match claims.neg_state {
                Some(NegState::ACCEPT_COMPLETED) => Some(true),
                Some(NegState::REJECT) => Some(false),
                _ => None,
            },
        })
    }
}

impl Logins {
    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Did anybody log in, or begin to, in the security context of this verifier?
    pub(super) fn knows(&self, verifier: &SecTrailer<'_>) -> bool {
        self.by_context.contains_key(&verifier.auth_context_id)
    }

    /// Has the client nothing more to say in this security context?
    pub(super) fn is_over(&self, id: u32) -> bool {
        self.by_context.get(&id).is_some_and(|login| login.over)
    }

    /// Takes in one leg of a login. False when what it claims does not fit in `room` bytes.
    pub(super) fn learn(&mut self, side: Side, at: At, verifier: &SecTrailer<'_>, room: usize) -> Result<bool> {
        let state = state(verifier);
        let id = verifier.auth_context_id;
        if self.by_context.len() >= MAX_LOGINS && !self.by_context.contains_key(&id) {
            // One that came to nothing makes room first.
            let unfinished = self.by_context.iter().find(|(_, login)| !login.over);
            let forgotten = unfinished.or(self.by_context.first_key_value()).map(|(&id, _)| id);
            let forgotten = forgotten.and_then(|id| self.by_context.remove(&id));
            self.kept -= forgotten.map_or(0, |login| weight(&login.claims));
        }
        let login = self.by_context.entry(id).or_insert_with(|| Login {
            at: None,
            state,
            claims: Arc::default(),
            over: false,
            told: false,
        });
        login.state = state;
        let ntlm = security::ntlm(verifier.auth_value);
        if login.at.is_none() && ntlm.is_some() {
            login.at = Some(at);
        }
        login.over = match side {
            Side::Client => matches!(ntlm, Some(Message::Authenticate(_))),
            Side::Server => security::is_last_word(verifier.auth_value),
        };
        self.latest = id;
        let claims = security::read(state.service, verifier.auth_value)?;
        if weight(&claims) > room {
            return Ok(false);
        }
        self.kept -= weight(&login.claims);
        Arc::make_mut(&mut login.claims).merge(claims);
        self.kept += weight(&login.claims);
        Ok(true)
    }

    /// The server refused the offer that this login was a leg of: nothing is done in its name.
    pub(super) fn refuse(&mut self, auth: Option<AuthState>) {
        let id = auth.and_then(|state| state.context);
        if let Some(login) = id.and_then(|id| self.by_context.get_mut(&id)) {
            login.over = false;
        }
    }

    /// What a key or the ticket's issue tells of the client, which the login itself hides.
    pub(super) fn name(&mut self, id: u32, who: Who) {
        if let Some(login) = self.by_context.get_mut(&id) {
            self.kept -= weight(&login.claims);
            let claims = Arc::make_mut(&mut login.claims);
            (claims.user, claims.domain) = (Some(who.user), Some(who.realm));
            self.kept += weight(&login.claims);
        }
    }

    /// Those by NTLM that no call followed; whether the server took them, where the tokens say.
    pub(super) fn untold(&mut self) -> Vec<super::Login> {
        self.by_context.values_mut().filter_map(Login::tell).collect()
    }

    /// The login by NTLM that a call is made with, if it is the first one. That the server answers says that it took it.
    pub(super) fn used(&mut self, auth: Option<AuthState>, reply: &Reply) -> Option<super::Login> {
        let answered = matches!(reply, Reply::Response(_));
        let id = match auth.and_then(|state| state.context) {
            Some(id) => id,
            None => self.unnamed().filter(|&(_, is_sure)| is_sure)?.0,
        };
        let login = self.by_context.get_mut(&id)?;
        login.over |= answered;
        let login = login.tell()?;
        Some(super::Login {
            success: if answered { Some(true) } else { login.success },
            ..login
        })
    }

    /// The login behind a call without a verifier: the last one that came to an end. Is it sure that it is of this
    /// user? Where there were several of different ones, none of them is known to be.
    fn unnamed(&self) -> Option<(u32, bool)> {
        let over = || self.by_context.iter().filter(|(_, login)| login.over);
        let latest = self.by_context.get_key_value(&self.latest);
        let (&id, login) = latest
            .filter(|(_, login)| login.over)
            .or_else(|| over().next_back())
            .or(latest)?;
        let claims = &login.claims;
        let is_sure = over()
            .all(|(_, Login { claims: other, .. })| (&other.user, &other.domain) == (&claims.user, &claims.domain));
        Some((id, is_sure))
    }

    /// Who vouches for a call whose verifier is lost, as one without a verifier.
    pub(super) fn latest(&self) -> (Option<AuthState>, Arc<Claims>) {
        let login = self.unnamed().and_then(|(id, _)| self.by_context.get(&id));
        (login.map(|login| login.state), self.claims(None))
    }

    /// What was said in clear in a security context, or for a call without a verifier.
    pub(super) fn claims(&self, auth: Option<AuthState>) -> Arc<Claims> {
        let id = auth.and_then(|state| state.context);
        let id = id.or_else(|| self.unnamed().filter(|&(_, is_sure)| is_sure).map(|(id, _)| id));
        let login = id.and_then(|id| self.by_context.get(&id));
        login.map(|login| Arc::clone(&login.claims)).unwrap_or_default()
    }

    /// Who vouches for a call with this verifier, or without one.
    pub(super) fn vouch(&self, verifier: Option<SecTrailer<'_>>, bind_seen: bool) -> (Option<AuthState>, Arc<Claims>) {
        let id = verifier.map(|verifier| verifier.auth_context_id);
        let id = id.or_else(|| Some(self.unnamed()?.0));
        let login = id.and_then(|id| self.by_context.get(&id));
        let claims = self.claims(verifier.as_ref().map(state));
        let none = AuthState {
            service: AuthService::NONE,
            level: AuthLevel::NONE,
            context: None,
        };
        let state = match (verifier, login) {
            (Some(verifier), _) => Some(state(&verifier)),
            // Without a verifier of its own a call has what the login gives: no more than that someone logged in.
            (None, Some(login)) => Some(AuthState {
                service: login.state.service,
                level: login.state.level.min(AuthLevel::CONNECT),
                context: None,
            }),
            (None, None) => bind_seen.then_some(none),
        };
        (state, claims)
    }
}

/// What a verifier says of itself.
pub(super) fn state(verifier: &SecTrailer<'_>) -> AuthState {
    AuthState {
        service: AuthService(verifier.auth_type),
        level: AuthLevel(verifier.auth_level),
        context: Some(verifier.auth_context_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(auth_context_id: u32, auth_level: u8) -> SecTrailer<'static> {
        SecTrailer {
            auth_type: 10,
            auth_level,
            auth_pad_length: 0,
            auth_context_id,
            auth_value: &[],
        }
    }

    #[test]
    fn a_call_without_a_verifier_is_vouched_for_by_the_login_at_most_at_connect() {
        let mut logins = Logins::default();
        assert_eq!(logins.vouch(None, false).0, None);
        assert_eq!(logins.vouch(None, true).0.unwrap().level, AuthLevel::NONE);
        logins.learn(Side::Client, At::default(), &verifier(1, 5), 0).unwrap();
        assert_eq!(logins.vouch(None, true).0.unwrap().level, AuthLevel::CONNECT);
        assert_eq!(
            logins.vouch(Some(verifier(2, 6)), true).0.unwrap().level,
            AuthLevel::PKT_PRIVACY
        );
    }

    const CHALLENGE: &[u8] = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0\x01\x02\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    /// [MS-NLMP] 2.2.1.3 `AUTHENTICATE_MESSAGE` of this user, who says nothing else.
    fn authenticate(user: &str) -> Vec<u8> {
        let mut token = b"NTLMSSP\0\x03\0\0\0".to_vec();
        let length = u8::try_from(user.len()).unwrap();
        for length in [0, 0, 0, length, 0, 0] {
            token.extend([length, 0, length, 0, 64, 0, 0, 0]);
        }
        // In OEM characters.
        token.extend([0x02, 0x02, 0, 0]);
        token.extend(user.bytes());
        token
    }

    fn leg(logins: &mut Logins, side: Side, id: u32, token: &[u8]) {
        let verifier = SecTrailer {
            auth_value: token,
            ..verifier(id, 2)
        };
        assert!(logins.learn(side, At::default(), &verifier, 1_000).unwrap());
    }

    fn user(logins: &Logins, id: Option<u32>) -> Option<String> {
        logins.vouch(id.map(|id| verifier(id, 2)), true).1.user.clone()
    }

    #[test]
    fn a_login_is_over_when_the_client_said_who_it_is_until_the_server_asks_again() {
        let mut logins = Logins::default();
        leg(&mut logins, Side::Server, 1, CHALLENGE);
        assert!(!logins.is_over(1));
        leg(&mut logins, Side::Client, 1, &authenticate("alice"));
        assert!(logins.is_over(1));
        assert_eq!(user(&logins, Some(1)).as_deref(), Some("alice"));
        leg(&mut logins, Side::Server, 1, CHALLENGE);
        assert!(!logins.is_over(1));
    }

    #[test]
    fn a_call_without_a_verifier_is_of_nobody_where_it_may_be_of_two() {
        let mut logins = Logins::default();
        leg(&mut logins, Side::Client, 1, &authenticate("alice"));
        leg(&mut logins, Side::Server, 2, CHALLENGE);
        assert_eq!(
            user(&logins, None).as_deref(),
            Some("alice"),
            "the other has not logged in"
        );
        leg(&mut logins, Side::Client, 2, &authenticate("bob"));
        assert_eq!(user(&logins, None), None);
        assert_eq!(user(&logins, Some(1)).as_deref(), Some("alice"));
        assert!(logins.used(None, &Reply::Unanswered).is_none(), "of whom?");
        logins.refuse(Some(state(&verifier(2, 2))));
        assert_eq!(user(&logins, None).as_deref(), Some("alice"));
    }

    #[test]
    fn what_came_to_nothing_is_forgotten_first() {
        let mut logins = Logins::default();
        leg(&mut logins, Side::Client, 0, &authenticate("alice"));
        for id in 1..100 {
            leg(&mut logins, Side::Server, id, CHALLENGE);
        }
        assert_eq!(user(&logins, Some(0)).as_deref(), Some("alice"));
    }

    #[test]
    fn what_a_ticket_tells_stands_in_the_claims_of_its_context() {
        let mut logins = Logins::default();
        logins.learn(Side::Client, At::default(), &verifier(1, 6), 0).unwrap();
        let who = Who {
            user: "alice".to_owned(),
            realm: "LAB.EXAMPLE".to_owned(),
        };
        logins.name(1, who);
        let (_, claims) = logins.vouch(Some(verifier(1, 6)), true);
        assert_eq!(claims.user.as_deref(), Some("alice"));
        assert_eq!(claims.domain.as_deref(), Some("LAB.EXAMPLE"));
        assert_eq!(logins.kept(), 16);
    }

    #[test]
    fn security_contexts_are_bounded() {
        let mut logins = Logins::default();
        for id in 0..100 {
            logins.learn(Side::Client, At::default(), &verifier(id, 2), 0).unwrap();
        }
        assert_eq!(logins.by_context.len(), MAX_LOGINS);
    }
}
