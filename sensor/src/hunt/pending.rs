//! Findings that wait for what belongs to them: the same event out of another log, a connection, a file.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::MAPPER;
use super::finding::{FAR, Finding, NEAR, Prior, Role, SAME};
use super::memory::{Inbound, Table, short};
use super::script::Where;
use crate::catalog::Catalog;
use crate::detect::Found;
use crate::detect::host_signature::{COMMAND_LINE_REF, CONFIG_TOOL, SCRIPT};
use crate::event::host_alert::RelatedEvent;
use crate::host_log::event::{FileCreate, HostEvent, Logon, NetworkConnect, Place, Process, Source, same_host};
use crate::time::Timestamp;

/// Nanoseconds that a finding waits.
const WAIT: i64 = FAR + SAME;
/// Nanoseconds that a connection may be logged behind what it led to: some logs cut their times to seconds.
const BEHIND: i64 = 1_000_000_000;
/// Nanoseconds from a script to the connection to the endpoint mapper, which another process makes for it.
const MAPPED: i64 = 10_000_000_000;
/// Findings that wait at a time, those included that have no reason to be told yet. Beyond it the first is told.
const WAITING: usize = 4_096;

/// Processes to which one finding is passed on.
const PARTS: usize = 16;

/// Someone logged on from another computer.
#[derive(Debug)]
pub(super) struct Logged {
    at: Timestamp,
    source: Source,
    place: Place,
    kind: u32,
    who: String,
    address: IpAddr,
    port: Option<u16>,
}

impl Logged {
    pub(super) fn of(event: &HostEvent, logon: &Logon, address: IpAddr) -> Self {
        let account = super::finding::as_whom(&logon.account);
        Self {
            at: event.time,
            source: event.source,
            place: event.place.clone(),
            kind: logon.logon_type.unwrap_or_default(),
            who: account.trim_start_matches(" as ").to_owned(),
            address,
            port: logon.port,
        }
    }

    /// Where it stands: of two records of one logon the first speaks.
    pub(super) fn place(&self) -> (Timestamp, &str, u64) {
        (self.at, &self.place.input, self.place.record)
    }

    fn related(&self) -> RelatedEvent {
        let from = match self.port.filter(|&port| port > 0) {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        };
        RelatedEvent {
            timestamp: self.at,
            source: self.source.to_string(),
            input: Arc::clone(&self.place.input),
            record: self.place.record,
            what: format!("logon of type {} of {} from {from}", self.kind, self.who),
        }
    }
}

/// The findings that wait, in the order of their times.
#[derive(Debug)]
pub(super) struct Pending {
    waiting: VecDeque<Finding>,
    /// Logons from other computers, by host and session.
    pub(super) logons: Table<(String, u64), Logged>,
    /// Findings that did not wait as long as they should have.
    pub(super) told_early: u64,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            logons: Table::new(),
            told_early: 0,
        }
    }

    /// It is that time: what has waited long enough is told.
    pub(super) fn advance(&mut self, now: Timestamp, catalog: &Catalog, found: &mut Vec<Found>) {
        while self.waiting.front().is_some_and(|first| now.since(first.at) > WAIT) {
            self.tell(catalog, found);
        }
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self, catalog: &Catalog, found: &mut Vec<Found>) {
        while !self.waiting.is_empty() {
            self.tell(catalog, found);
        }
    }

    fn tell(&mut self, catalog: &Catalog, found: &mut Vec<Found>) {
        let Some(mut finding) = self.waiting.pop_front() else {
            return;
        };
        let session = finding.account.logon_id.map(|id| (short(&finding.host), id));
        if let Some(logged) = session.and_then(|session| self.logons.get(&session)) {
            finding.related.insert(logged.related());
            finding.because(format!("its logon session came from {}", logged.address));
            if finding.inbound.is_none() {
                finding.event.source_ip = finding.event.source_ip.or(Some(logged.address));
            }
        }
        found.extend(finding.into_alert(catalog));
    }

    /// A finding: told later, or part of one that waits.
    pub(super) fn add(&mut self, mut finding: Finding, catalog: &Catalog, found: &mut Vec<Found>) {
        if let Some(twin) = self.waiting.iter_mut().rev().find(|waiting| waiting.is_twin(&finding)) {
            twin.merge(finding);
            return;
        }
        if let Some(whole) = self.waiting.iter_mut().rev().find(|waiting| is_part(waiting, &finding)) {
            let what = super::finding::named(&finding.process);
            let line = finding.process.command_line.as_deref().unwrap_or_default();
            let what = match &finding.sentence {
                Some(sentence) => sentence.clone(),
                None => format!("it started {what}: {line}"),
            };
            whole.related.insert(finding.as_related(what));
            if whole.parts.len() < PARTS && !whole.did(&finding.host, &finding.process) {
                whole.parts.push(finding.process);
            }
            return;
        }
        if matches!(finding.role, Role::Child | Role::OfDesktop) {
            finding.prior = self
                .waiting
                .iter()
                .rev()
                .find_map(|script| prior(script, &finding, catalog));
        }
        // Late ones stand where they belong.
        let behind = self
            .waiting
            .iter()
            .rev()
            .take_while(|waiting| waiting.at > finding.at)
            .count();
        self.waiting.insert(self.waiting.len() - behind, finding);
        if self.waiting.len() > WAITING {
            self.told_early += 1;
            self.tell(catalog, found);
        }
    }

    /// Someone connected to a process that holds objects.
    pub(super) fn inbound(&mut self, process: &Process, inbound: &Inbound) {
        for finding in self.waiting.iter_mut().filter(|finding| finding.inbound.is_none()) {
            let after = inbound.at.since(finding.at);
            let belongs = match finding.role {
                Role::Server => after <= FAR && finding.is_process(&inbound.host, process),
                Role::Child | Role::OfDesktop => after <= BEHIND && finding.is_parent(&inbound.host, process),
                Role::Other => false,
            };
            if belongs {
                finding.inbound = Some(inbound.clone());
            }
        }
    }

    /// A process of this host connected to another, or to a port that an activation needs.
    pub(super) fn outbound(&mut self, event: &HostEvent, connect: &NetworkConnect) {
        let to = SocketAddr::new(connect.destination.ip, connect.destination.port);
        let name = super::finding::named(&connect.process);
        for finding in self.waiting.iter_mut().filter(|finding| finding.activates.is_some()) {
            let after = event.time.since(finding.at);
            let own = after <= NEAR && finding.did(&event.host, &connect.process);
            let mapper = after <= MAPPED && to.port() == MAPPER && same_host(&event.host, &finding.host);
            if own || mapper {
                finding.relate(event, format!("connection of {name} to {to}"));
            }
        }
    }

    /// A process made a file.
    pub(super) fn file(&mut self, event: &HostEvent, file: &FileCreate) {
        let Some(path) = &file.path else { return };
        for finding in &mut self.waiting {
            if event.time.since(finding.at) <= NEAR && finding.did(&event.host, &file.process) {
                finding.relate(event, format!("it created {path}"));
            }
        }
    }
}

impl Finding {
    fn as_related(&self, what: String) -> RelatedEvent {
        RelatedEvent {
            timestamp: self.at,
            source: self.source.to_string(),
            input: Arc::clone(&self.event.input),
            record: self.event.record,
            what,
        }
    }
}

/// Is it part of a finding that waits: the console of the configuration tool, a command line that was passed on, the text
/// of a script whose command line was told?
fn is_part(whole: &Finding, part: &Finding) -> bool {
    let by_text = |finding: &Finding| {
        let own = [SCRIPT.id, COMMAND_LINE_REF.id];
        !finding.patterns.is_empty() && finding.patterns.iter().all(|found| own.contains(&found.signature.id))
    };
    if whole.is(&CONFIG_TOOL) && part.is(&CONFIG_TOOL) {
        return part.is_child_of(whole);
    }
    let near = part.at.since(whole.at) <= NEAR;
    let same_text = || whole.patterns.iter().any(|found| part.is(found.signature));
    if !near || !by_text(part) || !same_text() {
        return false;
    }
    if part.sentence.is_some() {
        return whole.did(&part.host, &part.process) && whole.event.clsid == part.event.clsid;
    }
    part.is_child_of(whole)
}

impl Finding {
    fn is_child_of(&self, other: &Self) -> bool {
        other.did(&self.host, &self.parent)
    }
}

/// The script that activated a class of this parent's before, on this computer.
fn prior(script: &Finding, finding: &Finding, catalog: &Catalog) -> Option<Prior> {
    let (target, servers) = script.activates.as_ref()?;
    let here = same_host(&script.host, &finding.host);
    let meant = match target {
        Where::Here | Where::Unknown => here,
        Where::There(name) => {
            let local = name.starts_with('$') || ["localhost", "127.0.0.1", "::1", "."].contains(&name.as_str());
            (here && local) || same_host(name, &finding.host)
        }
    };
    let after = finding.at.since(script.at);
    if !meant || after > NEAR || !servers.contains(&finding.parent_name()) {
        return None;
    }
    let class = script.event.clsid.and_then(|clsid| catalog.class(clsid))?;
    Some(Prior {
        at: script.at,
        event: script.as_related(format!("a script activated {}", class.name)),
        class: class.name.clone(),
    })
}
