//! What was seen on the wire and is looked for in host logs.

use std::hash::{DefaultHasher, Hash, Hasher};

use dcom_parsers::scmr::SVCCTL;
use dcom_parsers::tsch::ITASK_SCHEDULER_SERVICE;
use dcom_parsers::wmi::IWBEM_SERVICES;

use super::claims::CallKey;
use super::wire::Wire;
use crate::catalog::{Catalog, Class, Effect};
use crate::decode::Endpoint;
use crate::event::Meta;
use crate::event::dcom::{Dcom, EndpointRecord, Kind, LearnedFrom, Outcome};
use crate::host_log::command_line;
use crate::host_log::event::image_name;
use crate::time::Timestamp;

/// Ports behind which there is no process of the object's.
const SHARED_PORTS: [u16; 5] = [135, 139, 445, 593, 80];

/// [MS-ERREF] 2.1.1
const E_ACCESSDENIED: u32 = 0x8007_0005;

/// An activation or a call.
pub(super) struct Case<'a> {
    pub(super) dcom: &'a Dcom,
    /// When it was asked for.
    pub(super) at: Timestamp,
    /// When the object was asked for that it is called on, as far as is known.
    pub(super) since: Timestamp,
    /// The same, or the sealed activation before its connection, which may be the one: of an object whose class is concluded.
    pub(super) activated: Timestamp,
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    /// How long the answer took.
    answer: Option<i64>,
    class: Option<&'a Class>,
    /// Images that may start a child, in lower case.
    parents: Vec<&'a str>,
}

/// What should come of it on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The process that holds the object.
    Server,
    /// A process of its own.
    Child,
    /// A library in the process that holds the object.
    Library,
}

impl<'a> Case<'a> {
    /// Of a record of an activation or a call; none of what is neither.
    pub(super) fn of(meta: &Meta, dcom: &'a Dcom, catalog: &'a Catalog, wire: &Wire) -> Option<Self> {
        if !matches!(dcom.kind, Kind::Activation | Kind::Call) {
            return None;
        }
        let class = match (dcom.clsid, &dcom.class) {
            (Some(clsid), _) => catalog.class(clsid),
            (None, Some(name)) => catalog.find(name).into_iter().next(),
            (None, None) => None,
        };
        let interface = dcom.interface.as_ref().map(|interface| interface.uuid);
        let parents = match interface {
            Some(IWBEM_SERVICES) => vec!["wmiprvse.exe"],
            Some(SVCCTL) => vec!["services.exe"],
            Some(ITASK_SCHEDULER_SERVICE) => vec!["svchost.exe", "taskeng.exe", "taskhostw.exe"],
            _ => {
                let hosts = class.map_or(&[][..], |class| &class.host_processes);
                hosts.iter().map(String::as_str).collect()
            }
        };
        let (client, server) = (meta.client?, meta.server?);
        let activation = dcom.activation.as_ref().map(|activation| activation.timestamp);
        let sealed = || {
            let before = wire.between(client, server).map_or(meta.timestamp, |seen| seen.at);
            wire.last_sealed(client.address, server.address, before.min(meta.timestamp))
        };
        let is_concluded = dcom.kind == Kind::Call && dcom.clsid.is_none() && class.is_some();
        let sealed = activation.is_none().then(sealed).flatten().filter(|_| is_concluded);
        let since = activation.unwrap_or(meta.timestamp);
        Some(Self {
            dcom,
            at: meta.timestamp,
            since,
            activated: sealed.unwrap_or(since),
            client,
            server,
            answer: meta.rtt.map(|rtt| rtt.0),
            class,
            parents,
        })
    }

    /// Is it worth asking host logs about, without an alert that does?
    pub(super) fn is_of_note(dcom: &Dcom) -> bool {
        match dcom.kind {
            Kind::Activation => true,
            Kind::Call => dcom.effect.is_some() || dcom.command_line.is_some(),
            _ => false,
        }
    }

    pub(super) fn is_call(&self) -> bool {
        self.dcom.kind == Kind::Call
    }

    pub(super) fn asked(&self) -> Option<&'a str> {
        self.dcom.command_line.as_deref().filter(|line| !line.trim().is_empty())
    }

    pub(super) fn expected(&self) -> Expected {
        match self.asked() {
            Some(line) if command_line::is_library(line) => Expected::Library,
            Some(_) => Expected::Child,
            None if self.is_call() && self.is_wmi() => Expected::Child,
            None => Expected::Server,
        }
    }

    pub(super) fn is_wmi(&self) -> bool {
        self.dcom.interface.as_ref().is_some_and(|it| it.uuid == IWBEM_SERVICES)
    }

    /// Is it a child's absence that would speak against it?
    pub(super) fn is_sure_to_have_a_child(&self) -> bool {
        self.dcom.outcome == Some(Outcome::Succeeded)
            && self.expected() == Expected::Child
            && self.asked().is_some_and(command_line::names_a_program)
            && match self.dcom.effect {
                Some(Effect::Execution) => {
                    !self.is_concluded() && self.class.is_some_and(|class| !class.expected_children.is_empty())
                }
                Some(Effect::Process) => true,
                _ => false,
            }
    }

    /// Is the class concluded from calls, and by no CLSID? Then it is not sure, or several may be it.
    pub(super) fn is_concluded(&self) -> bool {
        let of_calls = |it: &EndpointRecord| it.learned_from == LearnedFrom::Calls;
        self.dcom.clsid.is_none() && (self.dcom.class.is_some() || self.dcom.endpoint.as_ref().is_some_and(of_calls))
    }

    /// Is this image one of a process that holds such objects? None where nobody can tell.
    pub(super) fn fits(&self, image: &str) -> Option<bool> {
        if self.is_go_between(image) {
            return None;
        }
        if self.knows_parents() {
            return Some(self.is_expected_parent(image));
        }
        // Of a class that is not known, any does; of one of several that are concluded, not.
        (!self.is_concluded()).then_some(true)
    }

    /// Does the catalogue know in which processes the objects live?
    pub(super) fn knows_parents(&self) -> bool {
        !self.parents.is_empty()
    }

    /// The images of those, in lower case.
    pub(super) fn parents(&self) -> impl Iterator<Item = String> {
        self.parents.iter().map(|name| name.to_lowercase())
    }

    /// Is it the called process itself that starts what is asked for? WMI and the task service have others do it.
    pub(super) fn runs_in_the_called_process(&self) -> bool {
        let interface = self.dcom.interface.as_ref().map(|it| it.uuid);
        !matches!(interface, Some(IWBEM_SERVICES | ITASK_SCHEDULER_SERVICE))
    }

    /// Is it the service through which it is called, where others do the work? WMI is called in a svchost.exe.
    pub(super) fn is_go_between(&self, image: &str) -> bool {
        self.is_wmi() && image_name(image) == "svchost.exe"
    }

    /// When at the latest the process that holds the object was there, counted from when the object was asked for: before
    /// it was called, before the answer came. None where no answer is known.
    pub(super) fn ready(&self) -> Option<i64> {
        if self.is_call() {
            return Some(self.at.since(self.activated));
        }
        self.answer
    }

    /// Did the server refuse to run it? What fails otherwise may have begun.
    pub(super) fn was_refused(&self) -> bool {
        let denied = self.dcom.hresult.is_some_and(|it| it.0 == E_ACCESSDENIED);
        self.dcom.fault.is_some() || (denied && self.dcom.outcome == Some(Outcome::Failed))
    }

    /// Tells it from others: two at the same time on one connection that ask for the same are as one.
    pub(super) fn key(&self) -> CallKey {
        let mut hasher = DefaultHasher::new();
        let Self { at, client, server, .. } = self;
        (at.0, client, server, &self.dcom.command_line).hash(&mut hasher);
        CallKey(hasher.finish())
    }

    /// Does what was asked for hold all words of this line?
    pub(super) fn says(&self, line: &str) -> bool {
        let asked = command_line::normalised(self.asked().unwrap_or_default());
        let line = command_line::normalised(line);
        line.split(' ').all(|word| asked.contains(word))
    }

    pub(super) fn is_expected_parent(&self, image: &str) -> bool {
        let name = image_name(image);
        self.parents.iter().any(|parent| parent.eq_ignore_ascii_case(&name))
    }

    pub(super) fn is_expected_child(&self, image: &str) -> bool {
        let name = image_name(image);
        let children = self.class.map_or(&[][..], |class| &class.expected_children);
        children.iter().any(|child| child.eq_ignore_ascii_case(&name))
    }

    /// Does what was asked for name this image anywhere?
    pub(super) fn names(&self, image: &str) -> bool {
        let Some(asked) = self.asked() else { return false };
        let name = image_name(image);
        let stem = name.strip_suffix(".exe").unwrap_or(&name);
        if stem.len() < 3 {
            return command_line::program(asked) == stem;
        }
        let asked = asked.to_lowercase();
        let is_word = |at: usize| {
            let before = asked.get(..at).and_then(|text| text.chars().next_back());
            let after = asked.get(at + stem.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        };
        asked.match_indices(stem).any(|(at, _)| is_word(at))
    }

    /// The dynamic port on which the object is called, where it is one process's own.
    pub(super) fn dynamic(&self) -> Option<Endpoint> {
        let end = if self.is_call() {
            self.server
        } else {
            let endpoint = self.dcom.endpoint.as_ref()?;
            Endpoint {
                address: endpoint.ip.unwrap_or(self.server.address),
                port: endpoint.port?.0,
            }
        };
        (!SHARED_PORTS.contains(&end.port)).then_some(end)
    }
}
