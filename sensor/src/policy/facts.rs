//! What entries ask of an alert.

use std::net::IpAddr;

use crate::event::{Alert, Meta};
use crate::time::Timestamp;

/// An alert, and what its envelope and its record say of those it is about.
pub(super) struct Facts<'a> {
    pub(super) at: Timestamp,
    pub(super) source: Option<IpAddr>,
    pub(super) target: Option<IpAddr>,
    pub(super) source_names: Vec<&'a str>,
    pub(super) target_names: Vec<&'a str>,
    pub(super) alert: &'a Alert,
}

impl<'a> Facts<'a> {
    pub(super) fn of(meta: &Meta, alert: &'a Alert) -> Self {
        let dcom = alert.about();
        let names = [&dcom.server.dns, &dcom.server.netbios, &dcom.target_name];
        Self {
            at: meta.timestamp,
            source: meta.client.map(|end| end.address),
            target: meta.server.map(|end| end.address),
            source_names: dcom.client.workstation.as_deref().into_iter().collect(),
            target_names: names.into_iter().filter_map(|name| name.as_deref()).collect(),
            alert,
        }
    }

    /// The caller, in each way in which the account is written.
    pub(super) fn users(&self) -> impl Iterator<Item = String> {
        let client = &self.alert.about().client;
        let both = client.domain.as_ref().zip(client.user.as_ref());
        let full = both.map(|(domain, user)| format!("{domain}\\{user}"));
        client.user.clone().into_iter().chain(full)
    }

    /// The tool that the record names, if it names one.
    pub(super) fn tool(&self) -> Option<&str> {
        self.alert.about().tool.as_ref().map(|tool| tool.name.as_str())
    }
}
