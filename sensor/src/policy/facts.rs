//! What entries ask of an alert.

use std::net::IpAddr;

use dcom_parsers::guid::{Clsid, Guid};

use crate::event::{Alert, HostAlert, Meta};
use crate::time::Timestamp;

/// An alert, and what its envelope and its record say of those it is about.
pub(super) struct Facts<'a> {
    pub(super) at: Timestamp,
    pub(super) source: Option<IpAddr>,
    pub(super) target: Option<IpAddr>,
    /// All of them, where it is about several.
    pub(super) targets: Vec<IpAddr>,
    pub(super) source_names: Vec<&'a str>,
    pub(super) target_names: Vec<&'a str>,
    pub(super) alert: &'a Alert,
}

impl<'a> Facts<'a> {
    pub(super) fn of(meta: &Meta, alert: &'a Alert) -> Self {
        let dcom = alert.about();
        let [source_alone, target_alone] = alert.addresses_alone();
        let names = [&dcom.server.dns, &dcom.server.netbios, &dcom.target_name];
        Self {
            at: meta.timestamp,
            source: meta.client.map(|end| end.address).or(source_alone),
            target: meta.server.map(|end| end.address).or(target_alone),
            targets: alert.metadata.targets.iter().filter_map(|it| it.parse().ok()).collect(),
            source_names: dcom.client.workstation.as_deref().into_iter().collect(),
            target_names: names
                .into_iter()
                .filter_map(|name| name.as_deref())
                .chain(alert.host_event.as_ref().and_then(|event| event.target.as_deref()))
                .collect(),
            alert,
        }
    }

    /// Does this hold for the target, and where it is about several, for each?
    pub(super) fn each_target(&self, holds: impl Fn(Option<IpAddr>, &[&str]) -> bool) -> bool {
        let holds = |target: Option<IpAddr>| {
            let names: &[&str] = if target == self.target { &self.target_names } else { &[] };
            holds(target, names)
        };
        match &*self.targets {
            [] => holds(self.target),
            targets => targets.iter().all(|&target| holds(Some(target))),
        }
    }

    /// Does this hold for the class, and where it is about several, for each?
    pub(super) fn each_class(&self, holds: impl Fn(Option<&str>, Option<Clsid>) -> bool) -> bool {
        match &*self.alert.metadata.classes {
            [] => holds(self.class(), self.clsid()),
            classes => classes
                .iter()
                .all(|class| holds(Some(class), Guid::parse(class).map(Clsid))),
        }
    }

    /// The caller, in each way in which the account is written.
    pub(super) fn users(&self) -> impl Iterator<Item = String> {
        let client = &self.alert.about().client;
        let on_the_wire = (client.domain.as_deref(), client.user.as_deref());
        let host = self.host_event();
        // As whom the process runs; of what COM complains of, who asked.
        let on_the_host = host.map(|host| match (&host.user, &host.caller) {
            (None, Some(caller)) => (caller.domain.as_deref(), caller.user.as_deref()),
            _ => (host.domain.as_deref(), host.user.as_deref()),
        });
        let (domain, user) = on_the_host.unwrap_or(on_the_wire);
        let full = domain.zip(user).map(|(domain, user)| format!("{domain}\\{user}"));
        user.map(str::to_owned).into_iter().chain(full)
    }

    fn host_event(&self) -> Option<&'a HostAlert> {
        self.alert.host_event.as_ref()
    }

    /// The computer whose log it rests on.
    pub(super) fn host(&self) -> Option<&'a str> {
        self.host_event().map(|event| &*event.host)
    }

    /// The class, whoever names it.
    pub(super) fn class(&self) -> Option<&'a str> {
        let on_the_host = || self.host_event()?.class.as_deref();
        self.alert.about().class.as_deref().or_else(on_the_host)
    }

    /// Its CLSID.
    pub(super) fn clsid(&self) -> Option<Clsid> {
        self.alert.about().clsid.or_else(|| self.host_event()?.clsid)
    }

    /// What was run.
    pub(super) fn command_line(&self) -> Option<&'a str> {
        let on_the_host = || self.host_event()?.process.as_ref()?.command_line.as_deref();
        self.alert.about().command_line.as_deref().or_else(on_the_host)
    }

    /// The process that was started, where another one is known to have started it.
    pub(super) fn child_image(&self) -> Option<&'a str> {
        self.host_event()?.process.as_ref()?.image.as_deref()
    }

    /// The process that started it.
    pub(super) fn parent_image(&self) -> Option<&'a str> {
        self.host_event()?.parent.as_ref()?.image.as_deref()
    }

    /// Its command line.
    pub(super) fn parent_command_line(&self) -> Option<&'a str> {
        self.host_event()?.parent.as_ref()?.command_line.as_deref()
    }

    /// The tool that the record names, if it names one.
    pub(super) fn tool(&self) -> Option<&str> {
        self.alert.about().tool.as_ref().map(|tool| tool.name.as_str())
    }
}
