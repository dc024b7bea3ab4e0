//! The activations that calls may be of, and what is told of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dcom_parsers::guid::Ipid;

use super::super::signature::SEALED_ACTIVATION;
use super::super::{Found, address, alert, as_whom};
use super::shape::{Fit, Verdict};
use crate::catalog::{Catalog, Class};
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::event::dcom::{EndpointRecord, Evidence, LearnedFrom};
use crate::event::record::Port;
use crate::severity::Severity;

/// An activation, and when it was seen among all records.
#[derive(Clone)]
pub(super) struct Waiting(Arc<Activated>);

struct Activated {
    seen: u64,
    record: Record,
    /// Was its object called first on a connection that began with it, or was it told?
    found: AtomicBool,
}

impl Waiting {
    pub(super) fn new(seen: u64, record: Record) -> Self {
        Self(Arc::new(Activated {
            seen,
            record,
            found: AtomicBool::new(false),
        }))
    }

    pub(super) fn seen(&self) -> u64 {
        self.0.seen
    }

    pub(super) fn is_found(&self) -> bool {
        self.0.found.load(Ordering::Relaxed)
    }

    pub(super) fn set_found(&self) {
        self.0.found.store(true, Ordering::Relaxed);
    }
}

/// An activation whose object may be among those of a conversation.
pub(super) struct Candidate {
    waiting: Waiting,
    /// Did the conversation begin with it?
    own: bool,
    /// The first object that may be of it.
    pub(super) since: u64,
    /// The object among these whose members were asked for first.
    pub(super) asked: Option<Ipid>,
    /// How many calls there were on these.
    pub(super) calls: usize,
    /// Were they seen with nothing missing?
    pub(super) whole: bool,
    /// Nothing more is to be told of it.
    pub(super) told: bool,
}

impl Candidate {
    pub(super) fn new(waiting: Waiting, own: bool, since: u64) -> Self {
        Self {
            waiting,
            own,
            since,
            asked: None,
            calls: 0,
            whole: true,
            told: false,
        }
    }

    /// An activation whose object was called first on a connection of its own is hardly here as well.
    pub(super) fn is_here(&self) -> bool {
        self.own || self.told || !self.waiting.is_found()
    }

    /// The activation, of which something is concluded from calls on this port.
    fn called_at(&self, port: Option<Endpoint>) -> Record {
        let mut record = self.waiting.0.record.clone();
        record.dcom.evidence = Evidence::Inferred;
        record.dcom.endpoint = port.map(|port| EndpointRecord {
            ip: Some(port.address),
            port: Some(Port(port.port)),
            learned_from: LearnedFrom::Calls,
            followed: true,
        });
        // Hosts were asked before that was known.
        record.dcom.host = None;
        record
    }

    pub(super) fn tell<'a>(
        &mut self,
        verdict: Verdict<'a>,
        port: Option<Endpoint>,
        catalog: &'a Catalog,
        found: &mut Vec<Found>,
    ) {
        self.told = true;
        self.waiting.set_found();
        let Verdict {
            fit,
            mut classes,
            path,
            mut because,
            rare,
            texts,
            close,
            ..
        } = verdict;
        if !self.whole {
            // Calls may have come before these: other classes may lead to them.
            let others = catalog.with_members(path).map(|(class, _)| class);
            for class in others.filter(|class| class.benign.is_none()) {
                if !classes.iter().any(|known| known.clsid == class.clsid) {
                    classes.push(class);
                }
            }
        }
        let only = match classes.as_slice() {
            [class] => Some(class),
            _ => None,
        };
        let certain = close && rare && only.is_some() && self.whole;
        let (severity, confidence) = weigh(fit, texts, certain, close || rare);
        let mut record = self.called_at(port);
        record.dcom.class = only.map(|class| class.name.clone());
        let how = match fit {
            Fit::Whole(1) => format!("one call has the lengths of {path}"),
            Fit::Whole(_) => format!("its calls have the lengths of {path}"),
            Fit::Part => format!("its first calls have the lengths of those of {path}"),
            Fit::Unnamed => {
                format!("its calls follow one another like those of {path}, their names were not asked for")
            }
        };
        because.insert(0, how.clone());
        if only.is_none() {
            because.push("other classes are called like this too".to_owned());
        }
        record.dcom.because.extend(because.into_iter().map(Into::into));
        let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
        let message = format!(
            "{} got an object from {}{} by a sealed activation, perhaps {}: {how}",
            address(record.meta.client),
            address(record.meta.server),
            as_whom(&record.dcom.client),
            names.join(" or "),
        );
        let mut alert = alert(&SEALED_ACTIVATION, severity, confidence, message, &record);
        if names.len() > 1 {
            alert.alert.metadata.classes = names;
        }
        found.push(alert);
    }

    /// The object's calls are not sealed, and their names have told the class, or which it may be.
    pub(super) fn read(&mut self, classes: &[&Class], call: &Record, found: &mut Vec<Found>) {
        self.told = true;
        self.waiting.set_found();
        // Whoever uses one of them to administer may have done so.
        let severities = classes
            .iter()
            .map(|class| class.benign.is_none().then_some(class.severity));
        let Some(severity) = severities.min().flatten() else {
            return;
        };
        let mut record = self.called_at(call.meta.server);
        let place = call.meta.place();
        let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
        let mut because: Vec<String> = call.dcom.because.iter().map(|why| format!("{place}: {why}")).collect();
        if let [name] = names.as_slice() {
            record.dcom.class = Some(name.clone());
        } else {
            let method = call.dcom.method.as_deref().unwrap_or(&call.dcom.operation);
            let path = call.dcom.object_path.as_deref().unwrap_or_default();
            because.push(format!(
                "{place}: {path}.{method} was called, other calls may have come before"
            ));
        }
        if call.dcom.bytes_missing > 0 {
            let missing = call.dcom.bytes_missing;
            because.push(format!("{place}: {missing} bytes of that connection are missing"));
        }
        record.dcom.because.extend(because.into_iter().map(Into::into));
        let message = format!(
            "{} got an object from {}{} by a sealed activation: {}, by the members that were called on it",
            address(record.meta.client),
            address(record.meta.server),
            as_whom(&record.dcom.client),
            names.join(" or "),
        );
        let confidence = if self.whole { "high" } else { "medium" };
        let mut alert = alert(
            &SEALED_ACTIVATION,
            severity.min(Severity::High),
            confidence,
            message,
            &record,
        );
        if names.len() > 1 {
            alert.alert.metadata.classes = names;
        }
        found.push(alert);
    }
}

/// How bad, and how sure: docs/detections/sealed-activation.md says how often each is wrong.
fn weigh(fit: Fit, texts: u32, certain: bool, strong: bool) -> (Severity, &'static str) {
    match fit {
        Fit::Whole(2..) if certain => (Severity::High, "high"),
        Fit::Whole(2..) if strong => (Severity::High, "medium"),
        Fit::Whole(1) if texts < 2 => (Severity::Low, "low"),
        _ => (Severity::Medium, "low"),
    }
}
