//! What earlier records of a log say about processes, for later ones that say less: the parent's image of an old 4688, the
//! process id that a collector dropped from Sysmon's records.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use super::event::{HostBody, HostEnd, HostEvent, NetworkConnect, Process, ProcessCreate, Source};
use super::keep::Texts;
use crate::hash::HashMap;
use crate::limits::host_log as limits;
use crate::time::{SECOND, Timestamp};

/// 4688 has whole seconds in some exports, and both are written within the same one or the next.
const START: i64 = 2 * SECOND;
/// The same of a connection: Sysmon tells it later than the filter.
const CONNECTION: i64 = 5 * SECOND;
/// Starts of one image by one parent that are kept apart.
const ALIKE: usize = 8;

const BY_START: &str = "Security 4688 of the same image, parent and second";
const BY_CONNECTION: &str = "Security 5156 of the same connection";
const BY_GUID: &str = "an earlier record of the same ProcessGuid";
const PARENT_BY_PID: &str = "an earlier record of that process id";

/// What comes last, up to a number of entries; the oldest is forgotten first.
#[derive(Debug)]
struct Recent<K, V> {
    entries: HashMap<K, (V, u64)>,
    order: VecDeque<(K, u64)>,
    next: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            next: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    fn insert(&mut self, key: K, value: V) {
        self.next += 1;
        self.order.push_back((key.clone(), self.next));
        self.entries.insert(key, (value, self.next));
        while self.order.len() > limits::PROCESSES {
            let Some((key, stamp)) = self.order.pop_front() else {
                break;
            };
            // One that was told anew since is not the oldest.
            if self.entries.get(&key).is_some_and(|(_, last)| *last == stamp) {
                self.entries.remove(&key);
            }
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }
}

type Name = Arc<str>;
/// A process id, and when it was told.
type Seen = (u32, Timestamp);

/// The processes of one log.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// The image of a process that was started and has not ended, and when it was.
    images: Recent<(Name, u32), (Option<Name>, Timestamp)>,
    guids: Recent<Guid, u32>,
    /// By computer, parent and image: which processes were started when.
    starts: Recent<(Name, Option<u32>, Name), Vec<Seen>>,
    /// By computer and both ends, in order: whose connection it is.
    connections: Recent<(Name, [HostEnd; 2]), Seen>,
    pub(super) inferred: u64,
}

/// A computer's name without its domain, which only some records have.
fn host(event: &HostEvent, texts: &mut Texts) -> Name {
    let host = event.host.split('.').next().unwrap_or_default();
    texts.name(&host.to_ascii_lowercase())
}

fn ends(connect: &NetworkConnect) -> [HostEnd; 2] {
    let (one, other) = (connect.source, connect.destination);
    // Which of them is the source depends on who writes.
    if (one.ip, one.port) <= (other.ip, other.port) {
        [one, other]
    } else {
        [other, one]
    }
}

fn process(event: &HostEvent) -> Option<&Process> {
    Some(match &event.body {
        HostBody::ProcessCreate(create) => &create.process,
        HostBody::ProcessEnd(end) => &end.process,
        HostBody::NetworkConnect(connect) => &connect.process,
        HostBody::FileCreate(file) => &file.process,
        HostBody::ImageLoad(load) => &load.process,
        HostBody::Registry(registry) => &registry.process,
        HostBody::Logon(_) | HostBody::DcomError(_) | HostBody::Script(_) => return None,
    })
}

fn process_mut(event: &mut HostEvent) -> Option<&mut Process> {
    Some(match &mut event.body {
        HostBody::ProcessCreate(create) => &mut create.process,
        HostBody::ProcessEnd(end) => &mut end.process,
        HostBody::NetworkConnect(connect) => &mut connect.process,
        HostBody::FileCreate(file) => &mut file.process,
        HostBody::ImageLoad(load) => &mut load.process,
        HostBody::Registry(registry) => &mut registry.process,
        HostBody::Logon(_) | HostBody::DcomError(_) | HostBody::Script(_) => return None,
    })
}

/// Does a record lack the id that an other one may still tell?
pub(super) fn lacks(event: &HostEvent) -> bool {
    matches!(event.source, Source::Sysmon(1 | 3)) && process(event).is_some_and(|process| process.pid.is_none())
}

impl Processes {
    /// Learns from a record, and gives it what earlier ones say of its process.
    pub(super) fn pass(&mut self, event: &mut HostEvent, texts: &mut Texts) {
        match &mut event.body {
            HostBody::ProcessCreate(_) => self.create(event, texts),
            HostBody::ProcessEnd(end) => {
                let pid = end.process.pid;
                if let Some(pid) = pid {
                    let host = host(event, texts);
                    self.images.entries.remove(&(host, pid));
                }
            }
            HostBody::NetworkConnect(connect) if event.source == Source::Security(5156) => {
                if let Some(pid) = connect.process.pid {
                    let ends = ends(connect);
                    self.connections.insert((host(event, texts), ends), (pid, event.time));
                }
            }
            _ => {}
        }
        self.fill(event, texts);
    }

    fn create(&mut self, event: &mut HostEvent, texts: &mut Texts) {
        let host = host(event, texts);
        let (time, source) = (event.time, event.source);
        let HostBody::ProcessCreate(create) = &mut event.body else {
            return;
        };
        let ProcessCreate { process, parent, .. } = &mut **create;
        if let (Some(pid), None) = (parent.pid, &parent.image)
            && let Some((Some(image), started)) = self.images.get(&(host.clone(), pid))
            // Logs that begin with the latest tell of others of that id.
            && started.since(time) <= START
        {
            parent.image = Some(image.clone());
            parent.pid_from = Some(texts.name(PARENT_BY_PID));
            self.inferred += 1;
        }
        let Some(pid) = process.pid else { return };
        // A path that is longer than any that is kept once would be kept for each.
        let image = process.image.as_ref().filter(|image| image.len() <= limits::NAME);
        self.images.insert((host.clone(), pid), (image.cloned(), time));
        if let (Source::Security(4688), Some(image)) = (source, image) {
            let key = (host, parent.pid, texts.name(&image.to_lowercase()));
            let mut alike = self.starts.get(&key).cloned().unwrap_or_default();
            if alike.len() >= ALIKE {
                alike.remove(0);
            }
            alike.push((pid, time));
            self.starts.insert(key, alike);
        }
    }

    /// Gives a Sysmon record the id of its process, if others tell it.
    pub(super) fn fill(&mut self, event: &mut HostEvent, texts: &mut Texts) {
        if !matches!(event.source, Source::Sysmon(_)) {
            return;
        }
        let Some(process) = process(event) else { return };
        if let Some(pid) = process.pid {
            // Each record of the process would tell it again: the first is enough.
            if let (Some(guid), HostBody::ProcessCreate(_)) = (process.guid, &event.body) {
                self.guids.insert(guid, pid);
            }
            return;
        }
        let guid = process.guid;
        let known = guid.and_then(|guid| self.guids.get(&guid)).map(|pid| (*pid, BY_GUID));
        let Some((pid, from)) = known.or_else(|| self.others(event, texts)) else {
            return;
        };
        if let Some(guid) = guid {
            self.guids.insert(guid, pid);
        }
        self.inferred += 1;
        let from = texts.name(from);
        if let Some(process) = process_mut(event) {
            process.pid = Some(pid);
            process.pid_from = Some(from);
        }
    }

    fn others(&self, event: &HostEvent, texts: &mut Texts) -> Option<(u32, &'static str)> {
        let near = |time: Timestamp, within: i64| {
            [Some(event.time), event.logged]
                .into_iter()
                .flatten()
                .any(|own| own.since(time).abs() <= within)
        };
        match &event.body {
            HostBody::ProcessCreate(create) => {
                let image = texts.name(&create.process.image.as_deref()?.to_lowercase());
                let alike = self.starts.get(&(host(event, texts), create.parent.pid, image))?;
                let mut fitting = alike.iter().filter(|(_, time)| near(*time, START));
                let (pid, _) = fitting.next()?;
                // Two of them, and nobody knows which.
                fitting.next().is_none().then_some((*pid, BY_START))
            }
            HostBody::NetworkConnect(connect) => {
                let (pid, time) = self.connections.get(&(host(event, texts), ends(connect)))?;
                near(*time, CONNECTION).then_some((*pid, BY_CONNECTION))
            }
            _ => None,
        }
    }
}
