//! What stands between a connection and its DCE/RPC: nothing (TCP), named pipes in SMB, or HTTP.

mod blocks;
mod http;
mod setups;
mod smb;

use std::sync::Arc;

pub(super) use http::VirtualConnections;

use super::{Association, Carried, Handling, RpcBounds, RpcEvent};
use crate::flow::{Connection, Consumer, Ended, NEVER, Protocol, StreamEvent};
use crate::time::Timestamp;

/// What is kept for a connection that carries DCE/RPC, or may.
#[derive(Debug)]
pub struct Carriage {
    form: Form,
    carried: Carried,
    /// No call on it was waiting too long before this.
    due: Timestamp,
}

impl Default for Carriage {
    fn default() -> Self {
        Self {
            form: Form::default(),
            carried: Carried::default(),
            due: NEVER,
        }
    }
}

impl Consumer for Carriage {
    fn due(&self) -> Timestamp {
        self.due
    }
}

/// What stands between it and its DCE/RPC.
#[derive(Debug, Default)]
enum Form {
    /// Nothing has come yet.
    #[default]
    Fresh,
    /// DCE/RPC and nothing else.
    Tcp(Box<Association>),
    /// SMB, with an association for each pipe.
    Smb(Box<smb::Session>),
    /// RPC over HTTP.
    Http(Box<http::Channel>),
}

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriageCounters {
    /// Connections on which there was DCE/RPC.
    pub connections: u64,
    /// Of these, those whose beginning was not seen.
    pub midstream: u64,
    /// SMB connections, with DCE/RPC or without.
    pub smb: u64,
    /// Pipes that carried DCE/RPC.
    pub pipes: u64,
    /// SMB messages that are encrypted.
    pub encrypted: u64,
    /// SMB messages that are compressed.
    pub compressed: u64,
    /// SMB messages that could not be read.
    pub malformed: u64,
    /// Pipes, requests, shares and messages let go because a limit was reached.
    pub over_limit: u64,
    /// RPC over HTTP connections.
    pub http: u64,
    /// Of these, those that are a channel of a virtual connection which is known by its cookie.
    pub joined: u64,
}

impl Carriage {
    /// Bytes of unfinished PDUs and of stubs.
    pub(crate) fn held(&self) -> usize {
        match &self.form {
            Form::Fresh => 0,
            Form::Tcp(association) => association.held(),
            Form::Smb(session) => session.held(),
            Form::Http(channel) => channel.held(),
        }
    }

    /// Takes in what the stream brings.
    pub fn push(
        &mut self,
        connection: &Arc<Connection>,
        event: StreamEvent<'_>,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
    ) {
        if matches!(self.form, Form::Fresh) {
            self.form = match connection.protocol {
                Protocol::Rpc => Form::Tcp(Box::default()),
                Protocol::Smb => Form::Smb(Box::default()),
                Protocol::Http => Form::Http(Box::default()),
            };
            bounds.carriage.smb += u64::from(connection.protocol == Protocol::Smb);
            bounds.carriage.http += u64::from(connection.protocol == Protocol::Http);
        }
        if let StreamEvent::Gap { side, bytes } = event {
            self.carried.lost(side, bytes);
        }
        self.run(connection, bounds, out, |form, handling| match form {
            Form::Fresh => {}
            Form::Tcp(association) => association.push(event, handling),
            Form::Smb(session) => session.push(event, handling),
            Form::Http(channel) => channel.push(event, handling),
        });
    }

    /// Time has come this far, whoever speaks.
    pub(crate) fn advance(
        &mut self,
        connection: &Arc<Connection>,
        now: Timestamp,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
    ) {
        self.due = NEVER;
        self.run(connection, bounds, out, |form, handling| match form {
            Form::Fresh => {}
            Form::Tcp(association) => association.advance(now, handling),
            Form::Smb(session) => session.advance(now, handling),
            Form::Http(channel) => channel.advance(now, handling),
        });
    }

    /// Does something to what it carries, and counts what comes of it.
    fn run(
        &mut self,
        connection: &Arc<Connection>,
        bounds: &mut RpcBounds,
        out: &mut dyn FnMut(RpcEvent),
        act: impl FnOnce(&mut Form, &mut Handling<'_>),
    ) {
        let Self { form, carried, due } = self;
        let (before, opened) = (bounds.counters, carried.opened);
        let mut out = |event: RpcEvent| {
            carried.hear(&event);
            out(event);
        };
        let mut handling = Handling {
            connection,
            bounds: &mut *bounds,
            out: &mut out,
        };
        handling.bounds.due = NEVER;
        act(form, &mut handling);
        *due = bounds.due.min(*due);
        carried.add(&before, &bounds.counters);
        let opened = carried.opened - opened;
        bounds.carriage.connections += opened;
        if !connection.syn_seen {
            bounds.carriage.midstream += opened;
        }
    }

    /// The connection is over: says so, if there was DCE/RPC on it.
    pub(crate) fn end(&self, connection: &Arc<Connection>, ended: Ended) -> Option<RpcEvent> {
        Some(RpcEvent {
            connection: Arc::clone(connection),
            body: self.carried.over(ended)?,
        })
    }
}
