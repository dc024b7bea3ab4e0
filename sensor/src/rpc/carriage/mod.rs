//! What stands between a connection and its DCE/RPC: nothing (TCP), named pipes in SMB, or HTTP.

mod blocks;
mod http;
mod smb;

use std::sync::Arc;

pub(super) use http::VirtualConnections;

use super::{Association, Handling, RpcBody, RpcBounds, RpcEvent};
use crate::flow::{Connection, Protocol, StreamEvent};

/// What is kept for a connection that carries DCE/RPC, or may.
#[derive(Debug, Default)]
pub enum Carriage {
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
        match self {
            Self::Fresh => 0,
            Self::Tcp(association) => association.held(),
            Self::Smb(session) => session.held(),
            Self::Http(channel) => channel.held(),
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
        if matches!(self, Self::Fresh) {
            *self = match connection.protocol {
                Protocol::Rpc => Self::Tcp(Box::default()),
                Protocol::Smb => Self::Smb(Box::default()),
                Protocol::Http => Self::Http(Box::default()),
            };
            bounds.carriage.smb += u64::from(connection.protocol == Protocol::Smb);
            bounds.carriage.http += u64::from(connection.protocol == Protocol::Http);
        }
        let mut opened = 0;
        let mut out = |event: RpcEvent| {
            opened += u64::from(matches!(event.body, RpcBody::Opened));
            out(event);
        };
        let mut handling = Handling {
            connection,
            bounds: &mut *bounds,
            out: &mut out,
        };
        match self {
            Self::Fresh => {}
            Self::Tcp(association) => association.push(event, &mut handling),
            Self::Smb(session) => session.push(event, &mut handling),
            Self::Http(channel) => channel.push(event, &mut handling),
        }
        bounds.carriage.connections += opened;
        if !connection.syn_seen {
            bounds.carriage.midstream += opened;
        }
    }
}
