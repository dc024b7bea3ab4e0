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
use crate::keys::{MAX_SESSIONS, Who};

/// The security contexts of one connection.
#[derive(Debug, Default)]
pub(super) struct Logins {
    by_context: BTreeMap<u32, Login>,
    latest: u32,
    /// The connection began without one.
    begins_with_none: bool,
    /// Some had to be forgotten: of whom a call without a verifier is may have been one of these.
    some_forgotten: bool,
    /// What is to be told of one that was forgotten.
    forgotten: Option<super::Login>,
    /// Bytes that all take, about.
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
    /// The server refused a leg of it: nothing is done in its name.
    refused: bool,
    /// What the server says of it, where it says so: that it took it, or not.
    success: Option<bool>,
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
            success: self.success,
        })
    }

    /// Bytes that it takes, about: the map leaves as much room between logins.
    fn kept(&self) -> usize {
        2 * size_of::<Self>() + size_of::<Claims>() + weight(&self.claims)
    }
}

impl Logins {
    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// May anybody have logged in, or begun to, in the security context of this verifier?
    pub(super) fn knows(&self, verifier: &SecTrailer<'_>) -> bool {
        self.some_forgotten || self.by_context.contains_key(&verifier.auth_context_id)
    }

    /// The connection begins, with a login or without one.
    pub(super) fn begin(&mut self, with_login: bool) {
        self.begins_with_none = !with_login;
    }

    /// Has the client nothing more to say in this security context?
    pub(super) fn is_over(&self, id: u32) -> bool {
        self.by_context.get(&id).is_some_and(|login| login.over)
    }

    /// Takes in one leg of a login. False when what it claims does not fit in `room` bytes, or another one was forgotten.
    pub(super) fn learn(&mut self, side: Side, at: At, verifier: &SecTrailer<'_>, room: usize) -> Result<bool> {
        let state = state(verifier);
        let id = verifier.auth_context_id;
        let new = Login {
            at: None,
            state,
            claims: Arc::default(),
            over: false,
            refused: false,
            success: None,
            told: false,
        };
        let is_new = !self.by_context.contains_key(&id);
        if is_new && new.kept() > room {
            self.some_forgotten = true;
            return Ok(false);
        }
        let is_full = is_new && self.by_context.len() >= MAX_SESSIONS;
        if is_full {
            self.forget_one();
        }
        if is_new {
            self.kept += new.kept();
        }
        let login = self.by_context.entry(id).or_insert(new);
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
        login.success = match (side, claims.neg_state, claims.kerberos_error) {
            (Side::Server, Some(NegState::REJECT), _) | (Side::Server, _, Some(_)) => Some(false),
            (Side::Server, Some(NegState::ACCEPT_COMPLETED), _) => Some(true),
            _ => None,
        };
        login.refused = login.success == Some(false);
        if weight(&claims) > room {
            return Ok(false);
        }
        self.kept -= login.kept();
        Arc::make_mut(&mut login.claims).merge(claims);
        self.kept += login.kept();
        Ok(!is_full)
    }

    /// Makes room. One that came to nothing goes first.
    fn forget_one(&mut self) {
        let unfinished = self.by_context.iter().find(|(_, login)| !login.over);
        let id = unfinished.or(self.by_context.first_key_value()).map(|(&id, _)| id);
        if let Some(mut login) = id.and_then(|id| self.by_context.remove(&id)) {
            self.kept -= login.kept();
            self.some_forgotten |= !login.refused;
            self.forgotten = login.tell();
        }
    }

    /// What is to be told of a login that was forgotten for another.
    pub(super) fn forgotten(&mut self) -> Option<super::Login> {
        self.forgotten.take()
    }

    /// The server refused the offer that this login was a leg of: nothing is done in its name.
    pub(super) fn refuse(&mut self, auth: Option<AuthState>) {
        let id = auth.and_then(|state| state.context);
        if let Some(login) = id.and_then(|id| self.by_context.get_mut(&id)) {
            (login.over, login.refused) = (false, true);
        }
    }

    /// The server took the offer that this login was a leg of, and has nothing to add: [MS-RPCE] 3.3.1.5.2.1 Building a
    /// Security Context.
    pub(super) fn accept(&mut self, auth: Option<AuthState>) {
        let id = auth.and_then(|state| state.context);
        if let Some(login) = id
            .and_then(|id| self.by_context.get_mut(&id))
            .filter(|login| login.over)
        {
            login.success = Some(true);
        }
    }

    /// What a key or the ticket's issue tells of the client, which the login itself hides.
    pub(super) fn name(&mut self, id: u32, who: Who) {
        if let Some(login) = self.by_context.get_mut(&id) {
            self.kept -= login.kept();
            let claims = Arc::make_mut(&mut login.claims);
            (claims.user, claims.domain) = (Some(who.user), Some(who.realm));
            self.kept += login.kept();
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
            None => sure(self.implied())?,
        };
        let login = self.by_context.get_mut(&id)?;
        login.over |= answered;
        let login = login.tell()?;
        Some(super::Login {
            success: if answered { Some(true) } else { login.success },
            ..login
        })
    }

    /// The login behind a call without a verifier, if it is not nobody's. Is it sure that it is of this user?
    ///
    /// [MS-RPCE] 3.3.1.5.4 Security Context Multiplexing: it is the only one's there is. A connection that began without one has
    /// none until the server took one, of which as a rule it says nothing.
    fn implied(&self) -> Option<(u32, bool)> {
        let took = |login: &Login| login.over && login.success == Some(true);
        let is_none = self.begins_with_none && !self.by_context.values().any(took);
        self.unnamed().filter(|_| !is_none)
    }

    /// The login behind a call of which none is named: the last one that came to an end. Is it sure that it is of this
    /// user? Where there were several of different ones, none of them is known to be.
    fn unnamed(&self) -> Option<(u32, bool)> {
        let over = || self.by_context.iter().filter(|(_, login)| login.over);
        let latest = self.by_context.get_key_value(&self.latest);
        let (&id, login) = latest
            .filter(|(_, login)| login.over)
            .or_else(|| over().next_back())
            .or(latest.filter(|(_, login)| !login.refused))?;
        let claims = &login.claims;
        let is_same = over()
            .all(|(_, Login { claims: other, .. })| (&other.user, &other.domain) == (&claims.user, &claims.domain));
        Some((id, is_same && !self.some_forgotten))
    }

    /// Who vouches for a call whose verifier is lost, as one without a verifier.
    pub(super) fn latest(&self) -> (Option<AuthState>, Arc<Claims>) {
        let unnamed = self.unnamed();
        let login = unnamed.and_then(|(id, _)| self.by_context.get(&id));
        (login.map(|login| login.state), self.claims_of(sure(unnamed)))
    }

    /// What was said in clear in a security context, or for a call without a verifier.
    pub(super) fn claims(&self, auth: Option<AuthState>) -> Arc<Claims> {
        let id = auth.and_then(|state| state.context);
        self.claims_of(id.or_else(|| sure(self.implied())))
    }

    fn claims_of(&self, id: Option<u32>) -> Arc<Claims> {
        let login = id.and_then(|id| self.by_context.get(&id));
        login.map(|login| Arc::clone(&login.claims)).unwrap_or_default()
    }

    /// Who vouches for a call with this verifier, or without one.
    pub(super) fn vouch(&self, verifier: Option<SecTrailer<'_>>, bind_seen: bool) -> (Option<AuthState>, Arc<Claims>) {
        let id = verifier.map(|verifier| verifier.auth_context_id);
        let id = id.or_else(|| Some(self.implied()?.0));
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

/// The login, if it is sure.
fn sure(login: Option<(u32, bool)>) -> Option<u32> {
    login.filter(|&(_, is_sure)| is_sure).map(|(id, _)| id)
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
        logins
            .learn(Side::Client, At::default(), &verifier(1, 5), 1_000)
            .unwrap();
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
        for id in 1..1_000 {
            let verifier = SecTrailer {
                auth_value: CHALLENGE,
                ..verifier(id, 2)
            };
            logins.learn(Side::Server, At::default(), &verifier, 1_000).unwrap();
        }
        assert_eq!(logins.by_context.len(), MAX_SESSIONS);
        assert_eq!(user(&logins, Some(0)).as_deref(), Some("alice"));
    }

    #[test]
    fn what_a_ticket_tells_stands_in_the_claims_of_its_context() {
        let mut logins = Logins::default();
        logins
            .learn(Side::Client, At::default(), &verifier(1, 6), 1_000)
            .unwrap();
        let empty = logins.kept();
        let who = Who {
            user: "alice".to_owned(),
            realm: "LAB.EXAMPLE".to_owned(),
        };
        logins.name(1, who);
        let (_, claims) = logins.vouch(Some(verifier(1, 6)), true);
        assert_eq!(claims.user.as_deref(), Some("alice"));
        assert_eq!(claims.domain.as_deref(), Some("LAB.EXAMPLE"));
        assert_eq!(logins.kept(), empty + 16);
    }

    #[test]
    fn on_a_connection_that_began_without_a_login_only_one_that_the_server_took_names_calls() {
        let mut logins = Logins::default();
        logins.begin(false);
        let level = |logins: &Logins| logins.vouch(None, true).0.unwrap().level;
        leg(&mut logins, Side::Client, 1, &authenticate("alice"));
        assert_eq!((user(&logins, None), level(&logins)), (None, AuthLevel::NONE));
        assert!(logins.used(None, &Reply::Unanswered).is_none());
        assert_eq!(user(&logins, Some(1)).as_deref(), Some("alice"));
        logins.accept(Some(state(&verifier(1, 2))));
        assert_eq!(
            (user(&logins, None).as_deref(), level(&logins)),
            (Some("alice"), AuthLevel::CONNECT)
        );
        leg(&mut logins, Side::Client, 2, &authenticate("bob"));
        assert_eq!(user(&logins, None), None);
        assert_eq!(logins.untold().len(), 2);
    }

    /// RFC 4178 section 4.2.2 `NegTokenResp`: `accept-completed`, by whom?
    #[test]
    fn that_a_login_was_taken_only_the_server_says() {
        const ACCEPT_COMPLETED: [u8; 9] = [0xa1, 7, 0x30, 5, 0xa0, 3, 0x0a, 1, 0];
        for (side, expected) in [(Side::Client, None), (Side::Server, Some(true))] {
            let mut logins = Logins::default();
            leg(&mut logins, Side::Client, 1, &authenticate("alice"));
            let verifier = SecTrailer {
                auth_type: 9,
                auth_value: &ACCEPT_COMPLETED,
                ..verifier(1, 2)
            };
            logins.learn(side, At::default(), &verifier, 1_000).unwrap();
            assert_eq!(logins.untold()[0].success, expected);
        }
    }

    #[test]
    fn a_refused_login_is_behind_no_call() {
        let mut logins = Logins::default();
        leg(&mut logins, Side::Client, 1, &authenticate("alice"));
        logins.refuse(Some(state(&verifier(1, 2))));
        assert_eq!(logins.vouch(None, true).0.unwrap().level, AuthLevel::NONE);
        assert_eq!(user(&logins, None), None);
    }

    #[test]
    fn security_contexts_are_bounded_and_those_forgotten_are_told_and_leave_a_doubt() {
        let mut logins = Logins::default();
        leg(&mut logins, Side::Client, 0, &authenticate("alice"));
        let most = u32::try_from(MAX_SESSIONS).unwrap();
        for id in 1..most {
            leg(&mut logins, Side::Client, id, &authenticate("alice"));
        }
        assert!(logins.forgotten().is_none());
        assert_eq!(user(&logins, None).as_deref(), Some("alice"));
        let last = SecTrailer {
            auth_value: &authenticate("alice"),
            ..verifier(most, 2)
        };
        assert_eq!(logins.learn(Side::Client, At::default(), &last, 1_000), Ok(false));
        assert!(logins.forgotten().is_some());
        assert_eq!(logins.by_context.len(), MAX_SESSIONS);
        assert_eq!(user(&logins, None), None, "may be the one that was forgotten");
        assert!(logins.knows(&verifier(0, 2)));
        assert_eq!(
            logins.kept(),
            logins.by_context.values().map(Login::kept).sum::<usize>()
        );
    }
}
