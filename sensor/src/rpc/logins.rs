//! Who logged in on a connection, by security context, and who vouches for a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcom_parsers::error::Result;
use dcom_parsers::rpce::SecTrailer;
use dcom_parsers::security::spnego::NegState;
use dcom_parsers::security::{self, AuthLevel, AuthService, Claims};

use super::{AuthState, Reply};
use crate::capture::At;
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

    /// Takes in one leg of a login. False when what it claims does not fit in `room` bytes.
    pub(super) fn learn(&mut self, at: At, verifier: &SecTrailer<'_>, room: usize) -> Result<bool> {
        let state = state(verifier);
        let id = verifier.auth_context_id;
        if self.by_context.len() >= MAX_LOGINS && !self.by_context.contains_key(&id) {
            let forgotten = self.by_context.pop_first();
            self.kept -= forgotten.map_or(0, |(_, login)| weight(&login.claims));
        }
        let login = self.by_context.entry(id).or_insert_with(|| Login {
            at: None,
            state,
            claims: Arc::default(),
            told: false,
        });
        login.state = state;
        if login.at.is_none() && security::ntlm(verifier.auth_value).is_some() {
            login.at = Some(at);
        }
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
        let id = auth.and_then(|state| state.context).unwrap_or(self.latest);
        let login = self.by_context.get_mut(&id)?.tell()?;
        let answered = matches!(reply, Reply::Response(_));
        Some(super::Login {
            success: if answered { Some(true) } else { login.success },
            ..login
        })
    }

    /// Who vouches for a call whose verifier is lost: whoever logged in last.
    pub(super) fn latest(&self) -> (Option<AuthState>, Arc<Claims>) {
        let login = self.by_context.get(&self.latest);
        let claims = login.map(|login| Arc::clone(&login.claims)).unwrap_or_default();
        (login.map(|login| login.state), claims)
    }

    /// Who vouches for a call with this verifier, or without one.
    pub(super) fn vouch(&self, verifier: Option<SecTrailer<'_>>, bind_seen: bool) -> (Option<AuthState>, Arc<Claims>) {
        let id = verifier.map_or(self.latest, |verifier| verifier.auth_context_id);
        let login = self.by_context.get(&id);
        let claims = login.map(|login| Arc::clone(&login.claims)).unwrap_or_default();
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
        logins.learn(At::default(), &verifier(1, 5), 0).unwrap();
        assert_eq!(logins.vouch(None, true).0.unwrap().level, AuthLevel::CONNECT);
        assert_eq!(
            logins.vouch(Some(verifier(2, 6)), true).0.unwrap().level,
            AuthLevel::PKT_PRIVACY
        );
    }

    #[test]
    fn what_a_ticket_tells_stands_in_the_claims_of_its_context() {
        let mut logins = Logins::default();
        logins.learn(At::default(), &verifier(1, 6), 0).unwrap();
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
            logins.learn(At::default(), &verifier(id, 2), 0).unwrap();
        }
        assert_eq!(logins.by_context.len(), MAX_LOGINS);
    }
}
