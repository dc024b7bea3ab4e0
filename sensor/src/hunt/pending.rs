//! Findings that wait for what belongs to them: the same event out of another log, a connection, a file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use super::MAPPER;
use super::finding::{CUT, FAR, Finding, NEAR, Prior, Role, SAME};
use super::logons::Logons;
use super::memory::{Inbound, short};
use super::script::Where;
use crate::catalog::Catalog;
use crate::detect::Found;
use crate::detect::host_signature::{COMMAND_LINE_REF, CONFIG_TOOL, SCRIPT};
use crate::event::host_alert::RelatedEvent;
use crate::host_log::event::{FileCreate, HostEvent, NetworkConnect, Process, same_host, text_hash};
use crate::time::Timestamp;

/// Nanoseconds that a finding waits.
const WAIT: i64 = FAR + SAME;
/// Nanoseconds from a script to the connection to the endpoint mapper, which another process makes for it.
const MAPPED: i64 = 10_000_000_000;
/// Findings that wait at a time, those included that have no reason to be told yet. Beyond it the first is told.
const WAITING: usize = 4_096;
/// Bytes that they take. Beyond it, too.
const HELD: usize = 64 << 20;

/// Processes to which one finding is passed on.
const PARTS: usize = 16;
/// Findings that are looked at for one event, the last first.
const LOOKED_AT: usize = 256;

/// A finding that waits: by its time, then as it came.
type Key = (Timestamp, u64);

/// By what findings are found among those that wait. Names of computers are hashed: whoever finds one compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lookup {
    /// What a process did, by its GUID.
    Guid(Guid),
    /// By its id.
    Pid(u64, u32),
    /// Of a process whose id is not known, or of none, by the computer.
    Nameless(u64),
    /// By a command line of the computer's; those without one in a place of their own.
    Line(u64, u64),
    /// What a process led to, by its GUID.
    ParentGuid(Guid),
    /// By its id.
    ParentPid(u64, u32),
    /// Scripts that activate something.
    Activates,
}

/// By what the doings of that process are found.
fn done_by(host: &str, process: &Process) -> impl Iterator<Item = Lookup> {
    let host = text_hash(&short(host));
    let by_pid = process.pid.map(|pid| Lookup::Pid(host, pid));
    process.guid.map(Lookup::Guid).into_iter().chain(by_pid)
}

/// By what that is found to which the process led.
fn led_to_by(host: &str, process: &Process) -> impl Iterator<Item = Lookup> {
    let host = text_hash(&short(host));
    let by_pid = process.pid.map(|pid| Lookup::ParentPid(host, pid));
    process.guid.map(Lookup::ParentGuid).into_iter().chain(by_pid)
}

impl Finding {
    fn by_line(&self) -> Lookup {
        Lookup::Line(text_hash(&short(&self.host)), self.line.unwrap_or_default())
    }

    /// By what it is found.
    fn lookups(&self) -> BTreeSet<Lookup> {
        let mut all: BTreeSet<Lookup> = done_by(&self.host, &self.process).collect();
        all.extend(self.parts.iter().flat_map(|part| done_by(&self.host, part)));
        all.extend(led_to_by(&self.host, &self.parent));
        all.extend(self.activates.is_some().then_some(Lookup::Activates));
        if self.process.pid.is_none() {
            all.insert(Lookup::Nameless(text_hash(&short(&self.host))));
        }
        all.insert(self.by_line());
        all
    }

    /// By what another record of the same event is found.
    fn twins(&self) -> Vec<Lookup> {
        let host = text_hash(&short(&self.host));
        let mut all: Vec<Lookup> = done_by(&self.host, &self.process).collect();
        all.push(Lookup::Nameless(host));
        if self.process.pid.is_none() {
            all.push(self.by_line());
            all.push(Lookup::Line(host, 0));
            all.extend(led_to_by(&self.host, &self.parent));
        }
        all
    }
}

/// The findings that wait, in the order of their times.
#[derive(Debug)]
pub(super) struct Pending {
    /// Each with what it takes.
    waiting: BTreeMap<Key, (Finding, usize)>,
    bytes: usize,
    index: BTreeSet<(Lookup, Key)>,
    next: u64,
    /// Who logged on from other computers.
    pub(super) logons: Logons,
    /// Findings that did not wait as long as they should have.
    pub(super) told_early: u64,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            bytes: 0,
            index: BTreeSet::new(),
            next: 0,
            logons: Logons::new(),
            told_early: 0,
        }
    }

    /// It is that time: what has waited long enough is told.
    pub(super) fn advance(&mut self, now: Timestamp, catalog: &Catalog, found: &mut Vec<Found>) {
        while self
            .waiting
            .first_key_value()
            .is_some_and(|((at, _), _)| now.since(*at) > WAIT)
        {
            self.tell(catalog, found);
        }
        self.make_room(catalog, found);
    }

    fn make_room(&mut self, catalog: &Catalog, found: &mut Vec<Found>) {
        while self.waiting.len() > WAITING || self.bytes > HELD {
            self.told_early += 1;
            self.tell(catalog, found);
        }
    }

    /// Nothing more will come: the first is told. Are there more?
    pub(super) fn finish_one(&mut self, catalog: &Catalog, found: &mut Vec<Found>) -> bool {
        self.tell(catalog, found);
        !self.waiting.is_empty()
    }

    fn tell(&mut self, catalog: &Catalog, found: &mut Vec<Found>) {
        let Some(first) = self.waiting.first_key_value().map(|(key, _)| *key) else {
            return;
        };
        let Some(mut finding) = self.take(first) else { return };
        finding.settle();
        self.logons.tell_of(&mut finding);
        found.extend(finding.into_alert(catalog));
    }

    fn put(&mut self, key: Key, finding: Finding) {
        self.index
            .extend(finding.lookups().into_iter().map(|lookup| (lookup, key)));
        let size = finding.size();
        self.bytes += size;
        self.waiting.insert(key, (finding, size));
    }

    fn take(&mut self, key: Key) -> Option<Finding> {
        let (finding, size) = self.waiting.remove(&key)?;
        self.bytes -= size;
        for lookup in finding.lookups() {
            self.index.remove(&(lookup, key));
        }
        Some(finding)
    }

    /// Findings that are found so, not earlier than that, the last first.
    fn of(&self, lookups: impl IntoIterator<Item = Lookup>, from: Timestamp) -> impl Iterator<Item = (Key, &Finding)> {
        let mut keys = BTreeSet::new();
        for lookup in lookups {
            let range = (lookup, (from, 0))..=(lookup, (Timestamp(i64::MAX), u64::MAX));
            keys.extend(self.index.range(range).rev().take(LOOKED_AT).map(|(_, key)| *key));
        }
        let finding = |key| Some((key, &self.waiting.get(&key)?.0));
        keys.into_iter().rev().filter_map(finding)
    }

    /// A finding: told later, or part of one that waits.
    pub(super) fn add(&mut self, mut finding: Finding, catalog: &Catalog, found: &mut Vec<Found>) {
        let ever = Timestamp(i64::MIN);
        let twin = self
            .of(finding.twins(), ever)
            .find(|(_, waiting)| waiting.is_twin(&finding));
        if let Some((key, _)) = twin
            && let Some(mut twin) = self.take(key)
        {
            twin.merge(finding);
            self.put((twin.at, key.1), twin);
            return;
        }
        let doers = done_by(&finding.host, &finding.process).chain(done_by(&finding.host, &finding.parent));
        let whole = self.of(doers, ever).find(|(_, waiting)| is_part(waiting, &finding));
        if let Some((key, _)) = whole
            && let Some(mut whole) = self.take(key)
        {
            let what = super::finding::named(&finding.process);
            let line = finding.process.command_line.as_deref().unwrap_or_default();
            let what = match &finding.sentence {
                Some(sentence) => sentence.clone(),
                None => format!("it started {what}: {line}"),
            };
            whole.tell_of(finding.as_related(what));
            finding.patterns.iter().for_each(|&pattern| whole.add(pattern));
            if whole.parts.len() < PARTS && !whole.did(&finding.host, &finding.process) {
                whole.parts.push(finding.process);
            }
            self.put(key, whole);
            return;
        }
        if matches!(finding.role, Role::Child | Role::OfDesktop) {
            let mut scripts = self.of([Lookup::Activates], Timestamp(finding.at.0.saturating_sub(NEAR)));
            finding.prior = scripts.find_map(|(_, script)| prior(script, &finding, catalog));
        }
        self.next += 1;
        self.put((finding.at, self.next), finding);
        self.make_room(catalog, found);
    }

    /// Findings that are found so and that this is told of.
    fn each(&mut self, keys: Vec<Key>, mut tell: impl FnMut(&mut Finding)) {
        for key in keys {
            let Some((finding, size)) = self.waiting.get_mut(&key) else {
                continue;
            };
            tell(finding);
            self.bytes -= *size;
            *size = finding.size();
            self.bytes += *size;
        }
    }

    /// Someone connected to a process that holds objects.
    pub(super) fn inbound(&mut self, process: &Process, inbound: &Inbound) {
        let belongs = |finding: &Finding| match finding.role {
            Role::Server => inbound.at.since(finding.at) <= FAR && finding.is_process(&inbound.host, process),
            Role::Child | Role::OfDesktop => {
                // What is told behind it came before it only where the child's time was cut.
                inbound.at.since(finding.at) < finding.cut() && finding.is_parent(&inbound.host, process)
            }
            Role::Other => false,
        };
        let server = self.of(
            done_by(&inbound.host, process),
            Timestamp(inbound.at.0.saturating_sub(FAR)),
        );
        let child = self.of(
            led_to_by(&inbound.host, process),
            Timestamp(inbound.at.0.saturating_sub(CUT)),
        );
        let all = server
            .chain(child)
            .filter(|(_, it)| it.inbound.is_none() && belongs(it));
        let keys = all.map(|(key, _)| key).collect();
        self.each(keys, |finding| finding.inbound = Some(inbound.clone()));
    }

    /// A process of this host connected to another, or to a port that an activation needs.
    pub(super) fn outbound(&mut self, event: &HostEvent, connect: &NetworkConnect) {
        let to = SocketAddr::new(connect.destination.ip, connect.destination.port);
        let name = super::finding::named(&connect.process);
        let belongs = |finding: &Finding| {
            let after = event.time.since(finding.at);
            let own = after <= NEAR && finding.did(&event.host, &connect.process);
            let mapper = after <= MAPPED && to.port() == MAPPER && same_host(&event.host, &finding.host);
            own || mapper
        };
        let scripts = self.of([Lookup::Activates], Timestamp(event.time.0.saturating_sub(NEAR)));
        let keys = scripts.filter(|(_, it)| belongs(it)).map(|(key, _)| key).collect();
        self.each(keys, |finding| {
            finding.relate(event, format!("connection of {name} to {to}"));
        });
    }

    /// A process made a file.
    pub(super) fn file(&mut self, event: &HostEvent, file: &FileCreate) {
        let Some(path) = &file.path else { return };
        let from = Timestamp(event.time.0.saturating_sub(NEAR));
        let all = self.of(done_by(&event.host, &file.process), from);
        let all = all.filter(|(_, it)| it.did(&event.host, &file.process));
        let keys = all.map(|(key, _)| key).collect();
        self.each(keys, |finding| finding.relate(event, format!("it created {path}")));
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
/// of a script whose command line was told? What says anything that the other does not say is a finding of its own.
fn is_part(whole: &Finding, part: &Finding) -> bool {
    let by_text = |finding: &Finding| {
        let own = [SCRIPT.id, COMMAND_LINE_REF.id];
        !finding.patterns.is_empty() && finding.patterns.iter().all(|found| own.contains(&found.signature.id))
    };
    if whole.is(&CONFIG_TOOL) && part.is(&CONFIG_TOOL) {
        return part.is_child_of(whole);
    }
    let near = part.at.since(whole.at) <= NEAR;
    let same_patterns = || {
        let mut all = part.patterns.iter();
        all.all(|found| {
            whole
                .patterns
                .iter()
                .any(|known| known.signature.id == found.signature.id)
        })
    };
    if !near || !by_text(part) || !same_patterns() {
        return false;
    }
    if part.sentence.is_some() {
        let same_target = part.event.target.is_none() || part.event.target == whole.event.target;
        return whole.did(&part.host, &part.process) && whole.event.clsid == part.event.clsid && same_target;
    }
    let texts = || part.text.as_ref().zip(whole.text.as_ref());
    part.is_child_of(whole) && texts().is_some_and(|(own, text)| own.is_passed_on_from(text))
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
