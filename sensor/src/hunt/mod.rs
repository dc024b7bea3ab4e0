//! `dcom-sensor hunt`: what host logs alone tell of DCOM lateral movement.
//!
//! Events come in the order of their logs, which is none: several logs, several hosts, late lines. What a detection takes
//! an interest in is held and looked at in the order of its time (`order`). What a process was, who connected to it and
//! who logged on is remembered (`memory`); a finding waits a while for what belongs to it (`pending`). All of that is
//! bounded, and what did not find room is counted.

mod children;
mod errors;
mod finding;
mod logons;
mod memory;
mod names;
mod order;
mod pending;
mod script;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::detect::Found;
use crate::host_log::event::{
    Direction, HostBody, HostEvent, Logon, LogonKind, NetworkConnect, Process, ProcessCreate,
};
pub(crate) use errors::unreached;
use finding::Finding;
use logons::Logged;
use memory::{ByProcess, Inbound, Started, Table, short};
use names::{SERVICE_HOST, Servers, is_loader, runs_scripts};
use order::Order;
use pending::Pending;
use script::{Blocks, ClassNames};

/// The port of the endpoint mapper and of activations.
const MAPPER: u16 = 135;
/// Its number in IP.
const TCP: u8 = 6;
/// Below it no dynamic port lies, on whatever Windows.
const DYNAMIC: u16 = 1024;

/// Nanoseconds between the time of a connection and that of its record, beyond which the record's is believed: after some
/// boots Sysmon's own is off by a minute or two.
const DOUBTED: i64 = 10_000_000_000;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that came.
    pub events: u64,
    /// Those that a detection takes an interest in.
    pub looked_at: u64,
    /// Those of them that came too late to be put in order.
    pub late: u64,
    /// Processes, connections and logons that were forgotten to make room for others.
    pub forgotten: u64,
    /// Findings that were told before all that may belong to them could have come.
    pub told_early: u64,
    /// Scripts that were read with parts missing.
    pub incomplete_scripts: u64,
}

impl Counters {
    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("hunt.events", self.events),
            ("hunt.looked_at", self.looked_at),
            ("hunt.late", self.late),
            ("hunt.forgotten", self.forgotten),
            ("hunt.told_early", self.told_early),
            ("hunt.incomplete_scripts", self.incomplete_scripts),
        ]
        .into_iter()
    }
}

/// The hunt: events in, alerts out.
pub struct Hunt {
    catalog: Arc<Catalog>,
    servers: Servers,
    classes: ClassNames,
    order: Order,
    blocks: Blocks,
    /// Processes that are known to be COM's own service, and by what.
    launchers: Table<(String, u32), &'static str>,
    processes: ByProcess<Started>,
    inbound: ByProcess<Inbound>,
    pending: Pending,
    events: u64,
    looked_at: u64,
}

impl Hunt {
    /// Knows the classes of `catalog`, and has seen nothing.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            servers: Servers::of(&catalog),
            classes: ClassNames::of(&catalog),
            order: Order::new(),
            blocks: Blocks::default(),
            launchers: Table::new(),
            processes: ByProcess::new(),
            inbound: ByProcess::new(),
            pending: Pending::new(),
            events: 0,
            looked_at: 0,
            catalog,
        }
    }

    /// Takes an event in; what may be told by now is added to `found`, in the order of its time.
    pub fn push(&mut self, event: HostEvent, found: &mut Vec<Found>) {
        self.events += 1;
        if matches!(event.body, HostBody::Script(_)) {
            for event in self.blocks.push(event) {
                self.hold(event, found);
            }
        } else {
            self.hold(event, found);
        }
    }

    /// Nothing more will come: what waits is told.
    pub fn finish(&mut self, found: &mut Vec<Found>) {
        while self.finish_some(found) {}
    }

    /// The same, a little at a time, so that not all has to be held: is there more?
    pub fn finish_some(&mut self, found: &mut Vec<Found>) -> bool {
        for event in self.blocks.finish() {
            self.hold(event, found);
        }
        match self.order.pop() {
            Some(event) => self.look(&event, found),
            None => return self.pending.finish_one(&self.catalog, found),
        }
        true
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            events: self.events,
            looked_at: self.looked_at,
            late: self.order.late,
            forgotten: self.launchers.forgotten
                + self.processes.forgotten()
                + self.inbound.forgotten()
                + self.pending.logons.forgotten(),
            told_early: self.pending.told_early,
            incomplete_scripts: self.blocks.incomplete,
        }
    }

    fn hold(&mut self, mut event: HostEvent, found: &mut Vec<Found>) {
        self.learn(&event);
        if !self.is_of_interest(&event) {
            return;
        }
        if let (HostBody::NetworkConnect(_), Some(logged)) = (&event.body, event.logged)
            && event.time.since(logged).abs() > DOUBTED
        {
            event.time = logged;
        }
        self.looked_at += 1;
        if let Some(event) = self.order.push(event) {
            self.look(&event, found);
        }
    }

    /// What is known from one event alone, whenever it comes: which service host is COM's, and who logged on.
    fn learn(&mut self, event: &HostEvent) {
        match &event.body {
            HostBody::ProcessCreate(create) if create.parent.name().as_deref() == Some(SERVICE_HOST) => {
                let Some(pid) = create.parent.pid else { return };
                let line = |process: &Process| process.command_line.as_deref().map(str::to_lowercase);
                let known = match (line(&create.parent), line(&create.process)) {
                    (Some(parent), _) if parent.contains("dcomlaunch") => {
                        "another event has the service's command line"
                    }
                    (None, Some(child)) if child.trim_end().ends_with("-embedding") => {
                        "the same service starts COM servers"
                    }
                    _ => return,
                };
                let key = (short(&event.host), pid);
                // The order of the logs must not matter: the better reason stays.
                if self.launchers.get(&key).is_none_or(|former| *former > known) {
                    self.launchers.insert(key, known, 0);
                }
            }
            HostBody::Logon(logon) => self.learn_logon(event, logon),
            _ => {}
        }
    }

    fn learn_logon(&mut self, event: &HostEvent, logon: &Logon) {
        /// Logons from another computer: network, and remote interactive.
        const REMOTE: [u32; 2] = [3, 10];
        let Some(address) = logon.address else { return };
        let remote = logon.logon_type.is_some_and(|kind| REMOTE.contains(&kind)) && !address.is_loopback();
        if logon.kind != LogonKind::Succeeded || !remote {
            return;
        }
        let logged = Logged::of(event, logon, address);
        self.pending.logons.add(&event.host, logged);
    }

    fn is_of_interest(&self, event: &HostEvent) -> bool {
        match &event.body {
            HostBody::ProcessCreate(create) => self.is_telling(create),
            HostBody::ProcessEnd(end) => end.process.name().is_some_and(|name| self.servers.is_parent(&name)),
            HostBody::NetworkConnect(connect) => self.is_telling_connection(connect),
            HostBody::FileCreate(file) => file.process.name().is_some_and(|name| is_loader(&name)),
            HostBody::DcomError(error) => !error.local,
            HostBody::Script(script) => self.classes.read(&script.text, &self.catalog).is_some(),
            HostBody::ImageLoad(_) | HostBody::Registry(_) | HostBody::Logon(_) => false,
        }
    }

    fn is_telling(&self, create: &ProcessCreate) -> bool {
        let child = create.process.name().unwrap_or_default();
        // Of a log that has no names of parents, all is needed to find them.
        let Some(parent) = create.parent.name() else {
            return true;
        };
        let by_service = || {
            let parent = create.parent.command_line.as_deref();
            parent.is_none_or(|line| line.to_lowercase().contains("dcomlaunch")) && is_loader(&child)
        };
        self.servers.is_parent(&parent)
            || self.servers.is_parent(&child)
            || (parent == SERVICE_HOST && by_service())
            || create.process.command_line.as_deref().is_some_and(|line| {
                children::names_dcom(line) || children::activated(line, &self.classes, &self.catalog).is_some()
            })
    }

    fn is_telling_connection(&self, connect: &NetworkConnect) -> bool {
        let Some(name) = connect.process.name() else {
            return false;
        };
        match connect.direction {
            // An object's port lies as high as the caller's, and it is TCP.
            Some(Direction::Inbound) => {
                let ports = [connect.source.port, connect.destination.port];
                self.servers.get(&name).is_some()
                    && ports.iter().all(|&port| port >= DYNAMIC)
                    && connect.protocol.is_none_or(|protocol| protocol == TCP)
            }
            Some(Direction::Outbound) => {
                let port = connect.destination.port;
                port == MAPPER || (port >= DYNAMIC && runs_scripts(&name))
            }
            None => false,
        }
    }

    /// Looks at an event, in the order of the times.
    fn look(&mut self, event: &HostEvent, found: &mut Vec<Found>) {
        self.pending.advance(event.time, &self.catalog, found);
        match &event.body {
            HostBody::ProcessCreate(create) => self.created(event, create, found),
            HostBody::ProcessEnd(end) => {
                self.processes.end(&event.host, &end.process);
                self.inbound.end(&event.host, &end.process);
            }
            HostBody::NetworkConnect(connect) => self.connected(event, connect),
            HostBody::FileCreate(file) => self.pending.file(event, file),
            HostBody::DcomError(error) => {
                if let Some(finding) = errors::finding(event, error, &self.catalog) {
                    self.pending.add(finding, &self.catalog, found);
                }
            }
            HostBody::Script(script) => {
                if let Some(finding) = children::script(event, script, &self.classes, &self.catalog) {
                    self.add(finding, found);
                }
            }
            HostBody::ImageLoad(_) | HostBody::Registry(_) | HostBody::Logon(_) => {}
        }
    }

    fn connected(&mut self, event: &HostEvent, connect: &NetworkConnect) {
        if connect.direction == Some(Direction::Outbound) {
            self.pending.outbound(event, connect);
            return;
        }
        let names_us = |name: &Option<Arc<str>>| {
            let name = name.as_deref().filter(|name| name.len() > 1);
            name.is_some_and(|name| crate::host_log::event::same_host(name, &event.host))
        };
        // Some versions of Sysmon call the local end the source, whoever began.
        let swapped = names_us(&connect.source_name) && !names_us(&connect.destination_name);
        let (remote, local) = if swapped {
            (connect.destination, connect.source)
        } else {
            (connect.source, connect.destination)
        };
        let inbound = Inbound {
            at: event.time,
            host: Arc::clone(&event.host),
            source: event.source,
            place: event.place.clone(),
            remote,
            local,
            protocol: connect.protocol,
            name: connect.process.name().unwrap_or_default(),
        };
        self.pending.inbound(&connect.process, &inbound);
        let size = inbound.name.len();
        self.inbound.insert(&event.host, &connect.process, inbound, size);
    }

    fn created(&mut self, event: &HostEvent, create: &ProcessCreate, found: &mut Vec<Found>) {
        let judged = self.judge(event, create);
        let child = create.process.name().unwrap_or_default();
        if create.parent.image.is_none() || self.servers.is_parent(&child) {
            let started = Started {
                at: event.time,
                host: Arc::clone(&event.host),
                source: event.source,
                place: event.place.clone(),
                process: create.process.clone(),
                by_com: judged.by_com,
            };
            let size = create.process.size();
            self.processes.insert(&event.host, &create.process, started, size);
        }
        if let Some(finding) = judged.finding {
            self.add(finding, found);
        }
    }

    fn add(&mut self, finding: Finding, found: &mut Vec<Found>) {
        self.pending.add(finding, &self.catalog, found);
    }
}
