//! A finding: what was found, what it rests on, and how it is told.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use super::memory::{Inbound, is_same};
use super::names::is_loader;
use super::script::Where;
use crate::catalog::{Catalog, Confidence};
use crate::decode::Endpoint;
use crate::detect::host_signature::{DCOM_LAUNCH_CHILD, EMBEDDING_START, INBOUND_THEN_CHILD, SERVER_CHILD, WMI_CHILD};
use crate::detect::{Found, Signature, build};
use crate::event::host_alert::{CallerRecord, HostAlert, ParentRecord, ProcessRecord, RelatedEvent};
use crate::event::meta::{Meta, Protocol};
use crate::host_log::command_line::{Bare, normalised};
use crate::host_log::event::{Account, Clock, HostEvent, Process, Source, image_name, text_hash};
use crate::severity::Severity;
use crate::time::{SECOND, Timestamp};

/// Nanoseconds between two records of one event: logs that cut their times to seconds are among them.
pub(super) const SAME: i64 = 2_000_000_000;
/// Nanoseconds from a connection to a child, up to which they belong together for sure, as good as.
pub(super) const CLOSE: i64 = 5_000_000_000;
/// Up to which they do probably.
pub(super) const NEAR: i64 = 60_000_000_000;
/// Up to which they may.
pub(super) const FAR: i64 = 120_000_000_000;
/// Logs that cut their times to seconds say of what happened in one that it happened at its beginning.
pub(super) const CUT: i64 = SECOND;
/// Other events that one finding tells of.
const RELATED: usize = 16;
/// Characters of a command line that stand in the sentence; all of it stands beside it.
const IN_SENTENCE: usize = 300;

/// One pattern that fits, and what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    pub(super) signature: &'static Signature,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
}

/// Shorthand for a table of patterns.
pub(super) const fn pattern(signature: &'static Signature, severity: Severity, confidence: Confidence) -> Pattern {
    Pattern {
        signature,
        severity,
        confidence,
    }
}

/// What part a process that was started has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is a COM server that COM started.
    Server,
    /// It is the child of a program that is a COM server.
    Child,
    /// It is the child of the desktop's shell, as everything is that a user starts.
    OfDesktop,
    /// None of these.
    Other,
}

/// A script that activated a class before.
#[derive(Clone, Debug)]
pub(super) struct Prior {
    pub(super) at: Timestamp,
    pub(super) event: RelatedEvent,
    pub(super) class: String,
}

/// Something that was found, or will have been when there is a reason.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) at: Timestamp,
    clock: Clock,
    pub(super) host: Arc<str>,
    pub(super) source: Source,
    /// What fits, the most telling first; nothing, as long as there is no reason to tell of it.
    pub(super) patterns: Vec<Pattern>,
    pub(super) account: Account,
    /// The process that was started, or that the event is about.
    pub(super) process: Process,
    pub(super) parent: Process,
    /// Stands for the command line of the process, in one spelling.
    pub(super) line: Option<u64>,
    /// What it was found by, where that is a text.
    pub(super) text: Option<Bare>,
    /// Processes to which it was passed on.
    pub(super) parts: Vec<Process>,
    pub(super) event: HostAlert,
    /// Records of the same event, by what wrote them.
    twins: BTreeMap<(Source, Arc<str>), RelatedEvent>,
    related: BTreeSet<RelatedEvent>,
    /// How many there were beyond those that are told.
    left_out: u64,
    /// What is concluded of the parent, and from what: not needed where another record of the event says it.
    pub(super) concluded: Vec<String>,
    /// A connection to the process that did it, or to the one that was started where that is a server.
    pub(super) inbound: Option<Inbound>,
    /// A script that activates a class of the parent's, shortly before.
    pub(super) prior: Option<Prior>,
    /// What stands for the parent of it.
    pub(super) role: Role,
    /// Where a script activates, and the programs in which its classes live.
    pub(super) activates: Option<(Where, BTreeSet<String>)>,
    /// What it says of itself, where that is not that one process started another.
    pub(super) sentence: Option<String>,
}

impl Finding {
    /// About that event; `process` and `parent` as well as they are known.
    pub(super) fn of(event: &HostEvent, account: &Account, process: &Process, parent: &Process) -> Self {
        let mut finding = Self {
            at: event.time,
            clock: event.clock,
            host: Arc::clone(&event.host),
            source: event.source,
            patterns: Vec::new(),
            account: account.clone(),
            process: process.clone(),
            parent: parent.clone(),
            line: process.command_line.as_deref().map(|line| text_hash(&normalised(line))),
            text: None,
            parts: Vec::new(),
            event: HostAlert::default(),
            twins: BTreeMap::new(),
            related: BTreeSet::new(),
            left_out: 0,
            concluded: Vec::new(),
            inbound: None,
            prior: None,
            role: Role::Other,
            activates: None,
            sentence: None,
        };
        finding.event.input = Arc::clone(&event.place.input);
        finding.event.record = event.place.record;
        finding
    }

    pub(super) fn child_name(&self) -> String {
        self.process.name().unwrap_or_default()
    }

    pub(super) fn parent_name(&self) -> String {
        self.parent.name().unwrap_or_default()
    }

    /// Is it of that signature first of all?
    pub(super) fn is(&self, signature: &'static Signature) -> bool {
        self.patterns
            .first()
            .is_some_and(|first| first.signature.id == signature.id)
    }

    /// Adds a pattern: behind those that are there, or before them.
    pub(super) fn add(&mut self, pattern: Pattern) {
        match self
            .patterns
            .iter_mut()
            .find(|known| known.signature.id == pattern.signature.id)
        {
            Some(known) => {
                known.severity = known.severity.max(pattern.severity);
                known.confidence = known.confidence.max(pattern.confidence);
            }
            None => self.patterns.push(pattern),
        }
    }

    pub(super) fn because(&mut self, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        if !self.event.because.contains(&reason) {
            self.event.because.push(reason);
        }
    }

    /// Tells of another event.
    pub(super) fn relate(&mut self, event: &HostEvent, what: String) {
        self.tell_of(related(event, what));
    }

    /// The same. Of too many the first ones are told.
    pub(super) fn tell_of(&mut self, related: RelatedEvent) {
        self.related.insert(related);
        if self.related.len() > RELATED {
            self.related.pop_last();
            self.left_out += 1;
        }
    }

    /// How far behind its time something may stand that came before it: nothing, unless its time was cut.
    pub(super) fn cut(&self) -> i64 {
        if self.at.0 % CUT == 0 { CUT } else { 1 }
    }

    /// About how many bytes it takes while it waits.
    pub(super) fn size(&self) -> usize {
        /// Without its texts, with what finds it.
        const FINDING: usize = 3 << 10;
        let twins = self.twins.values();
        let related = self.related.iter().chain(twins);
        let related: usize = related.map(|it| size_of::<RelatedEvent>() * 2 + it.what.len()).sum();
        let parts = self.parts.iter().chain([&self.process, &self.parent]);
        let processes: usize = parts.map(|it| size_of::<Process>() + it.size()).sum();
        let because = self.event.because.iter().map(|it| it.len());
        let concluded = self.concluded.iter().map(String::len);
        let said: usize = because
            .chain(concluded)
            .chain(self.sentence.as_ref().map(String::len))
            .sum();
        let named = [&self.event.target, &self.event.permission, &self.event.integrity];
        let named: usize = named.into_iter().flatten().map(|text| text.len()).sum();
        let text = self.text.as_ref().map_or(0, Bare::len);
        let script = self.event.script.as_ref().map_or(0, String::len);
        let inbound = self.inbound.as_ref().map_or(0, |inbound| inbound.name.len());
        FINDING + self.account.size() + related + processes + said + named + text + script + inbound
    }

    /// Did the process of this finding do that?
    pub(super) fn is_process(&self, host: &str, process: &Process) -> bool {
        is_one(host, process, &self.host, &self.process)
    }

    /// Did it, or one that it was passed on to?
    pub(super) fn did(&self, host: &str, process: &Process) -> bool {
        let mut parts = self.parts.iter();
        self.is_process(host, process) || parts.any(|part| is_one(host, process, &self.host, part))
    }

    /// Did the parent of this finding?
    pub(super) fn is_parent(&self, host: &str, process: &Process) -> bool {
        is_one(host, process, &self.host, &self.parent)
    }

    /// Is its process one that is started for a caller: by COM's service, by what holds objects, or by WMI?
    pub(super) fn was_called(&self) -> bool {
        self.role != Role::Other || self.is(&WMI_CHILD) || self.is(&DCOM_LAUNCH_CHILD)
    }

    fn key(&self) -> (Source, Arc<str>) {
        (self.source, Arc::clone(&self.event.input))
    }

    /// Is it the same event, out of another log?
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        let (one, two) = (&self.process, &other.process);
        if !is_same(&self.host, one.name().as_deref(), &other.host, two.name().as_deref()) {
            return false;
        }
        // One log tells of an event once, or of the very same moment again: collectors deliver at least once.
        let told = self.told_by(&other.key());
        let is_new = told.is_none();
        let is_repeated = told == Some(other.at);
        if self.sentence.is_some() || other.sentence.is_some() {
            // Of these, one event has one record; exported twice, it says the same of the same moment.
            let same = (self.source, &self.sentence) == (other.source, &other.sentence);
            let has_fraction = other.at.0 % SECOND != 0;
            return same && ((is_new && is_same_time(self.at, other.at)) || (is_repeated && has_fraction));
        }
        if one.guid.is_some() && one.guid == two.guid {
            return true;
        }
        let near = self.at.since(other.at).abs() <= SAME;
        let parents = match (self.parent.pid, other.parent.pid) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        let lines = self.line.is_none() || other.line.is_none() || self.line == other.line;
        let processes = match (one.pid, two.pid) {
            (Some(one), Some(two)) => one == two,
            _ => lines,
        };
        let same_id = one.pid.is_some() && one.pid == two.pid;
        near && parents && processes && (is_new || (is_repeated && same_id && lines))
    }

    /// When what wrote that log says it was.
    fn told_by(&self, key: &(Source, Arc<str>)) -> Option<Timestamp> {
        if *key == self.key() {
            return Some(self.at);
        }
        self.twins.get(key).map(|twin| twin.timestamp)
    }

    /// Takes the other record of the same event in: the one that says more speaks.
    pub(super) fn merge(&mut self, mut other: Self) {
        if (other.source, &other.event.input, other.event.record) < (self.source, &self.event.input, self.event.record)
        {
            std::mem::swap(self, &mut other);
        }
        let own = RelatedEvent {
            timestamp: other.at,
            source: other.source.to_string(),
            input: Arc::clone(&other.event.input),
            record: other.event.record,
            what: "the same event".to_owned(),
        };
        self.twins.insert(other.key(), own.clone());
        self.twins.append(&mut other.twins);
        self.tell_of(own);
        for related in std::mem::take(&mut other.related) {
            self.tell_of(related);
        }
        self.left_out += other.left_out;
        for pattern in other.patterns {
            self.add(pattern);
        }
        for reason in other.event.because {
            self.because(reason);
        }
        if other.concluded.is_empty() {
            self.concluded.clear();
            self.event.parent = None;
        }
        self.line = self.line.or(other.line);
        self.text = self.text.take().or(other.text);
        complete(&mut self.process, other.process);
        complete(&mut self.parent, other.parent);
        let (account, more) = (&mut self.account, other.account);
        account.user = account.user.take().or(more.user);
        account.domain = account.domain.take().or(more.domain);
        account.sid = account.sid.take().or(more.sid);
        account.logon_id = account.logon_id.or(more.logon_id);
        self.inbound = self.inbound.take().or(other.inbound);
        self.prior = self.prior.take().or(other.prior);
        self.activates = self.activates.take().or(other.activates);
        if self.role == Role::Other {
            self.role = other.role;
        }
        let event = &mut self.event;
        event.class = event.class.take().or(other.event.class);
        event.clsid = event.clsid.or(other.event.clsid);
        event.script = event.script.take().or(other.event.script);
        event.target = event.target.take().or(other.event.target);
        event.source_ip = event.source_ip.or(other.event.source_ip);
    }

    /// What came before it, or soon after, says what it is.
    pub(super) fn settle(&mut self) {
        for reason in std::mem::take(&mut self.concluded) {
            self.because(reason);
        }
        let loader = is_loader(&self.child_name());
        if let Some(inbound) = self.inbound.clone() {
            let after = self.at.since(inbound.at);
            let from = SocketAddr::new(inbound.remote.ip, inbound.remote.port);
            let close = after <= CLOSE;
            let is_told = match self.role {
                // By that alone nobody reached it.
                _ if inbound.is_own() && self.patterns.is_empty() => false,
                Role::Server => {
                    self.add(pattern(&EMBEDDING_START, Severity::Medium, Confidence::Medium));
                    self.because(format!("a connection from {from} came {} later", seconds(after)));
                    true
                }
                Role::OfDesktop if !close && !loader => false,
                _ => {
                    let confidence = if close {
                        Confidence::High
                    } else if after <= NEAR {
                        Confidence::Medium
                    } else {
                        Confidence::Low
                    };
                    let found = pattern(&INBOUND_THEN_CHILD, Severity::High, confidence);
                    if self.patterns.is_empty() || self.is(&SERVER_CHILD) {
                        self.patterns.insert(0, found);
                    } else {
                        self.add(found);
                    }
                    let place = if after < 0 { "before" } else { "after" };
                    let (time, name) = (seconds(after), &inbound.name);
                    self.because(format!("{time} {place} a connection from {from} to {name}"));
                    true
                }
            };
            if is_told {
                self.tell_of(RelatedEvent {
                    timestamp: inbound.at,
                    source: inbound.source.to_string(),
                    input: inbound.place.input,
                    record: inbound.place.record,
                    what: format!(
                        "connection from {from} to port {} of {}",
                        inbound.local.port, inbound.name
                    ),
                });
            } else {
                self.inbound = None;
            }
        }
        if let Some(prior) = self.prior.take() {
            let after = self.at.since(prior.at);
            if self.patterns.is_empty() && (after <= CLOSE || (loader && after <= NEAR)) {
                let severity = if loader { Severity::High } else { Severity::Medium };
                self.add(pattern(&SERVER_CHILD, severity, Confidence::Medium));
            }
            self.because(format!("{} after a script activated {}", seconds(after), prior.class));
            self.tell_of(prior.event);
        }
    }

    /// As an alert. None when there is no reason to tell of it.
    pub(super) fn into_alert(mut self, catalog: &Catalog) -> Option<Found> {
        let severity = self.patterns.iter().map(|pattern| pattern.severity).max()?;
        let confidence = self.patterns.iter().map(|pattern| pattern.confidence).max()?;
        let signature = self.patterns.first()?.signature;
        if let Some(class) = self.event.clsid.and_then(|clsid| catalog.class(clsid)) {
            self.event.class = Some(class.name.clone());
        }
        let message = self.message(signature);
        let mut alert = build(signature, severity, confidence.name(), message, None, None);
        let names = self.patterns.iter().map(|pattern| pattern.signature.pattern().into());
        alert.metadata.pattern = names.collect();
        let meta = self.meta();
        self.fill(signature);
        alert.host_event = Some(self.event);
        Some(Found { meta, alert })
    }

    fn meta(&self) -> Meta {
        let end = |end: crate::host_log::event::HostEnd| Endpoint {
            address: end.ip,
            port: end.port,
        };
        let inbound = self.inbound.as_ref();
        Meta {
            timestamp: self.at,
            client: inbound.map(|inbound| end(inbound.remote)),
            server: inbound.map(|inbound| end(inbound.local)),
            proto: inbound.and_then(|inbound| match inbound.protocol {
                Some(6) => Some(Protocol::Tcp),
                Some(17) => Some(Protocol::Udp),
                _ => None,
            }),
            ..Meta::default()
        }
    }

    fn fill(&mut self, signature: &'static Signature) {
        let event = &mut self.event;
        event.host = Arc::clone(&self.host);
        event.source = self.source.to_string();
        event.pattern = signature.pattern();
        event.clock = match self.clock {
            Clock::Utc => "utc",
            Clock::Zoned => "zoned",
            Clock::Inferred(_) => "inferred",
            Clock::Assumed => "assumed",
            Clock::Collected => "collected",
        };
        let account = std::mem::take(&mut self.account);
        event.logon_id = account.logon_id.map(|id| format!("{id:#x}"));
        // No process was started: the account is that of who asked.
        if self.sentence.is_some() {
            event.caller = caller(&account);
        } else {
            event.user = account.user;
            event.domain = account.domain;
            event.sid = account.sid;
        }
        let (process, parent) = (std::mem::take(&mut self.process), std::mem::take(&mut self.parent));
        if process != Process::default() {
            let decode = |line: &Arc<str>| crate::dcom::decoded_powershell(line);
            event.process = Some(ProcessRecord {
                decoded_command: process.command_line.as_ref().and_then(decode),
                pid: process.pid,
                pid_from: process.pid_from,
                guid: process.guid,
                image: process.image,
                command_line: process.command_line,
            });
        }
        if parent != Process::default() {
            let image_from = event.parent.take().and_then(|known| known.image_from);
            event.parent = Some(ParentRecord {
                pid: parent.pid,
                guid: parent.guid,
                image: parent.image,
                image_from,
                command_line: parent.command_line,
            });
        }
        event.related_left_out = (self.left_out > 0).then_some(self.left_out);
        event.related = std::mem::take(&mut self.related).into_iter().collect();
    }

    /// What happened, in a sentence.
    fn message(&self, signature: &'static Signature) -> String {
        let mut text = format!("{}: ", self.host);
        let who = as_whom(&self.account);
        match &self.sentence {
            Some(sentence) => text.push_str(sentence),
            None if signature.id == EMBEDDING_START.id => {
                let _ = write!(text, "COM started {}{who}", named(&self.process));
            }
            None => {
                let parent = named(&self.parent);
                let parent = if parent.is_empty() {
                    "a process".to_owned()
                } else {
                    parent
                };
                let _ = write!(text, "{parent} started {}{who}", named(&self.process));
            }
        }
        if let Some(line) = &self.process.command_line
            && self.sentence.is_none()
        {
            let cut: String = line.chars().take(IN_SENTENCE).collect();
            let more = if cut.len() < line.len() { "…" } else { "" };
            let _ = write!(text, ": {cut}{more}");
        }
        for reason in &self.event.because {
            let _ = write!(text, "; {reason}");
        }
        text
    }
}

/// Who called, where that account is known.
pub(super) fn caller(account: &Account) -> Option<CallerRecord> {
    let Account { user, domain, sid, .. } = account;
    (user.is_some() || sid.is_some()).then(|| CallerRecord {
        user: user.clone(),
        domain: domain.clone(),
        sid: sid.clone(),
    })
}

/// Another event in a few words.
pub(super) fn related(event: &HostEvent, what: String) -> RelatedEvent {
    RelatedEvent {
        timestamp: event.time,
        source: event.source.to_string(),
        input: Arc::clone(&event.place.input),
        record: event.place.record,
        what,
    }
}

/// Are these one time? Some exports cut it to seconds, milliseconds or microseconds.
fn is_same_time(one: Timestamp, other: Timestamp) -> bool {
    let apart = one.since(other).saturating_abs();
    let is_cut = |unit: i64| one.0 % unit == 0 || other.0 % unit == 0;
    apart == 0
        || [SECOND, SECOND / 1_000, SECOND / 1_000_000]
            .into_iter()
            .any(|unit| apart < unit && is_cut(unit))
}

/// Is it one process, by its GUID, or by its id where no GUID says otherwise?
fn is_one(host: &str, process: &Process, other_host: &str, other: &Process) -> bool {
    if let (Some(one), Some(two)) = (process.guid, other.guid) {
        return one == two;
    }
    process.pid.is_some()
        && process.pid == other.pid
        && is_same(host, process.name().as_deref(), other_host, other.name().as_deref())
}

fn complete(process: &mut Process, more: Process) {
    if process.pid.is_none() || (process.pid_from.is_some() && more.pid_from.is_none() && more.pid.is_some()) {
        process.pid_from = if process.pid == more.pid { None } else { more.pid_from };
        process.pid = more.pid.or(process.pid);
    }
    process.guid = process.guid.or(more.guid);
    process.image = process.image.take().or(more.image);
    process.command_line = process.command_line.take().or(more.command_line);
}

/// A process by its name and id.
pub(super) fn named(process: &Process) -> String {
    let name = process.image.as_deref().map(image_name).unwrap_or_default();
    match process.pid {
        Some(pid) if name.is_empty() => format!("process {pid}"),
        Some(pid) => format!("{name} ({pid})"),
        None => name,
    }
}

/// An account, as the end of a sentence.
pub(super) fn as_whom(account: &Account) -> String {
    match (&account.domain, &account.user, &account.sid) {
        (Some(domain), Some(user), _) => format!(" as {domain}\\{user}"),
        (None, Some(user), _) => format!(" as {user}"),
        (_, None, Some(sid)) => format!(" as {sid}"),
        _ => String::new(),
    }
}

/// A time between two events, in seconds.
pub(super) fn seconds(nanoseconds: i64) -> String {
    let hundredths = nanoseconds.abs() / 10_000_000;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}
