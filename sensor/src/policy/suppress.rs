//! Suricata's `suppress`: a signature that is not told, or not of some hosts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::pattern::{AnyOf, Network};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    /// Why it is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Who numbers the signature; any when it is 0.
    #[serde(default = "super::threshold::any")]
    pub gen_id: u32,
    /// The signature; any when it is 0.
    #[serde(default = "super::threshold::any")]
    pub sig_id: u32,
    /// Which end `ip` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<End>,
    /// Whom it holds for.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub ip: AnyOf<Network>,
    #[serde(skip)]
    line: usize,
}

/// Which end of the connection an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The client.
    BySrc,
    /// The server.
    ByDst,
    /// One of the two.
    ByEither,
}

impl Suppress {
    /// The same, with its place in the file.
    #[must_use]
    pub fn in_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The line of the file that it stands in.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Does it name an end without an address, or the other way round?
    pub fn is_incomplete(&self) -> bool {
        self.track.is_none() != self.ip.is_empty()
    }

    /// Would nothing be told any more?
    pub fn is_boundless(&self) -> bool {
        self.sig_id == 0 && self.track.is_none() && self.ip.is_empty()
    }

    /// Is it about that alert?
    pub(super) fn fits(&self, facts: &Facts<'_>) -> bool {
        let alert = facts.alert;
        let wanted = |asked: u32, number: u32| asked == 0 || asked == number;
        let holds = |address: Option<IpAddr>| {
            address.is_some_and(|address| self.ip.0.iter().any(|network| network.holds(address)))
        };
        wanted(self.gen_id, alert.gid)
            && wanted(self.sig_id, alert.signature_id)
            && match self.track {
                None => true,
                Some(End::BySrc) => holds(facts.source),
                Some(End::ByDst) => facts.each_target(|target, _| holds(target)),
                Some(End::ByEither) => holds(facts.source) || facts.each_target(|target, _| holds(target)),
            }
    }
}
