//! Who logged in, in the words of the records: put together once for each login, since many calls are made with it.

use std::sync::Arc;

use dcom_parsers::security::Claims;

use super::exchange::{auth, client, server};
use crate::event::Dcom;
use crate::event::dcom::{Auth, ClientIdentity, ServerIdentity};
use crate::event::login::ByLogin;
use crate::rpc::AuthState;

/// Logins that are kept. Each has its place by where its claims are; the latest one there stays.
const PLACES: usize = 64;

/// The latest logins.
pub(super) struct Logins([Option<Login>; PLACES]);

/// By what was said and how calls are protected, who calls whom.
struct Login {
    claims: Arc<Claims>,
    state: Option<AuthState>,
    who: Who,
}

/// Who calls whom.
#[derive(Clone)]
pub(super) struct Who {
    pub(super) auth: ByLogin<Auth>,
    pub(super) client: ByLogin<ClientIdentity>,
    server: ByLogin<ServerIdentity>,
}

impl Logins {
    pub(super) fn new() -> Self {
        Self([const { None }; PLACES])
    }

    /// Who calls whom, with these claims.
    pub(super) fn of(&mut self, state: Option<AuthState>, claims: &Arc<Claims>) -> &Who {
        let level = state.map_or(0, |state| usize::from(state.level.0));
        // Without a login each call has claims of its own, and all say the same. Of others the lower bits of where they
        // are say nothing, since they are some hundred bytes long.
        let number = match claims.mechanism {
            Some(_) => Arc::as_ptr(claims).addr() / size_of::<Claims>(),
            None => 0,
        };
        let place = &mut self.0[(number + level) % PLACES];
        let same = |known: &Login| known.state == state && known.claims == *claims;
        if !place.as_ref().is_some_and(same) {
            *place = None;
        }
        let login = place.get_or_insert_with(|| Login {
            claims: Arc::clone(claims),
            state,
            who: Who {
                auth: auth(state, claims).into(),
                client: client(claims).into(),
                server: server(claims).into(),
            },
        });
        &login.who
    }
}

impl Who {
    /// Says in a record who calls whom. What the record's own exchange told of the server stands where the login tells
    /// nothing else.
    pub(super) fn introduce(&self, dcom: &mut Dcom) {
        dcom.auth = self.auth.clone();
        dcom.client = self.client.clone();
        let told = std::mem::replace(&mut dcom.server, self.server.clone());
        if told == ByLogin::default() {
            return;
        }
        let server = &mut *dcom.server;
        if server.netbios.is_none() {
            server.netbios.clone_from(&told.netbios);
        }
        if server.dns.is_none() {
            server.dns.clone_from(&told.dns);
        }
        server.runs_as.clone_from(&told.runs_as);
    }
}
