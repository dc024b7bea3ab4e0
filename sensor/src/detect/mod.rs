//! Detections: one file each, one list here. Every one is described under `docs/detections`.
//!
//! A detection sees records and binds as they are told, one after the other, and the time that goes by. What it keeps in
//! between is bounded, and nothing in it reads a clock.

mod beside;
mod enumeration;
mod execution;
mod fan_out;
mod first_activation;
pub(crate) mod host_signature;
mod loss;
mod managed;
mod no_call;
mod odd_activation;
mod refused;
mod remembered;
mod remote_activation;
mod sealed;
mod sealed_process;
mod settings;
mod signature;
#[cfg(test)]
mod testing;
mod unanswered;
mod weak_level;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) use first_activation::first_activation;
pub use host_signature::HOST_SIGNATURES;
pub use settings::Settings;
pub use signature::{SIGNATURES, Signature};

pub(crate) use loss::doubtful;
pub(crate) use sealed::is_sealed_activation;

/// The alert of a connection that stayed without an answer, which has no record to rest on.
pub(crate) const UNANSWERED_CONNECTION_ID: u32 = signature::UNANSWERED_CONNECTION.id;

use self::managed::Managed;
use crate::attack::Tactic;
use crate::catalog::Catalog;
use crate::dcom::{Binding, File, Record, Unanswered};
use crate::decode::Endpoint;
use crate::event::alert::{Action, Metadata};
use crate::event::dcom::{ClientIdentity, Hresult, Outcome};
use crate::event::{Alert, Body, Dcerpc, Dcom, Event, Meta, Shared};
use crate::severity::Severity;
use crate::time::Timestamp;

/// Is it the number of a signature?
pub(crate) fn is_signature(id: u32) -> bool {
    let mut known = SIGNATURES.iter().chain(HOST_SIGNATURES).map(|signature| signature.id);
    id == loss::FRAMES_LOST_ID || known.any(|known| known == id)
}

/// What detections look at.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A record, finished.
    Record(&'a Record),
    /// Interfaces were offered.
    Bound(&'a Binding),
    /// A connection to the endpoint mapper's port stayed without an answer.
    Unanswered(&'a Unanswered),
    /// A file was opened on an administrative share.
    File(&'a File),
}

impl Seen<'_> {
    /// Client and server.
    fn pair(&self) -> Option<(IpAddr, IpAddr)> {
        let meta = match self {
            Self::Record(record) => &record.meta,
            Self::Bound(binding) => &binding.meta,
            Self::File(file) => &file.meta,
            Self::Unanswered(_) => return None,
        };
        Some((meta.client?.address, meta.server?.address))
    }
}

/// What detections know beside what they see.
pub struct Context<'a> {
    /// The classes.
    pub catalog: &'a Catalog,
    /// How far the traffic has come: a time that does not go back.
    pub now: Timestamp,
    /// By how many seconds it is ahead of the frames' own time.
    pub set_back: u32,
    /// Did the client of what is seen call WMI of the server within the last hour? A sealed activation between them is not
    /// worth a word by itself then.
    pub managed: bool,
}

impl Context<'_> {
    /// When something happened that has just been told, as a time that does not go back.
    fn when(&self, meta: &Meta) -> Timestamp {
        match self.set_back {
            0 => meta.timestamp,
            // It may have happened before the clock was set back.
            set_back => meta.timestamp.later(set_back).min(self.now),
        }
    }
}

/// An alert, and when, where and between whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// When, where, between whom.
    pub meta: Meta,
    /// What.
    pub alert: Alert,
}

impl Found {
    /// As an event.
    pub fn into_event(self) -> Event {
        Event {
            meta: self.meta,
            body: Body::Alert(Box::new(self.alert)),
        }
    }
}

/// One detection.
trait Detection: Send {
    /// Something was seen.
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>);

    /// Time has come this far: what waits for something not to happen may be told.
    fn advance(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        let _ = (context, found);
    }

    /// It looks as far and as long as these say from now on. What was seen so far counts on.
    fn set(&mut self, settings: &Settings) {
        let _ = settings;
    }

    /// The capture is over: what was concluded from that which came, and waited for better, is told.
    fn conclude(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        let _ = (context, found);
    }

    /// The capture is over: nothing more will come, and what waits is not told any more.
    fn forget(&mut self) {}

    /// How many sources, targets or pairs were forgotten to make room for others.
    fn forgotten(&self) -> u64 {
        0
    }
}

/// All detections.
pub struct Detector {
    catalog: Arc<Catalog>,
    detections: Vec<Box<dyn Detection>>,
    managed: Managed,
    now: Timestamp,
    set_back: u32,
    /// When time is told next.
    next: Timestamp,
}

/// Nanoseconds between two times at which detections are told the time: packets come faster than anything here needs.
const TICK: i64 = 100_000_000;

impl Detector {
    /// Knows the classes of `catalog`, and has seen nothing.
    pub fn new(catalog: Arc<Catalog>, settings: &Settings) -> Self {
        Self {
            catalog,
            detections: vec![
                Box::new(remote_activation::RemoteActivation),
                Box::new(execution::Execution),
                Box::new(refused::Refused::new(settings)),
                Box::new(odd_activation::OddActivation),
                Box::new(no_call::NoCall::new(settings)),
                Box::new(beside::BesideActivation::new(settings)),
                Box::new(fan_out::FanOut::new(*settings)),
                Box::new(enumeration::Enumeration::new(*settings)),
                Box::new(weak_level::WeakLevel::new(settings)),
                Box::new(unanswered::UnansweredConnection::new(settings)),
                Box::new(sealed::SealedActivation::new(settings)),
                Box::new(sealed_process::SealedProcess::new(settings)),
            ],
            managed: Managed::new(settings),
            now: Timestamp::default(),
            set_back: 0,
            next: Timestamp::default(),
        }
    }

    /// Knows other classes from now on.
    pub(crate) fn replace_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
    }

    /// Looks as far and as long as these say from now on, with all that was seen so far.
    pub(crate) fn set(&mut self, settings: &Settings) {
        for detection in &mut self.detections {
            detection.set(settings);
        }
        self.managed.set(settings);
    }

    /// Something was seen: everything that fires.
    pub fn see(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        let context = Context {
            catalog: &self.catalog,
            now: self.now,
            set_back: self.set_back,
            managed: self.managed.see(seen, self.now),
        };
        for detection in &mut self.detections {
            detection.see(seen, &context, found);
        }
    }

    /// Time has come this far, and by so many seconds it is ahead of the frames' own.
    pub fn advance(&mut self, now: Timestamp, set_back: u32, found: &mut Vec<Found>) {
        self.now = now;
        self.set_back = set_back;
        if now < self.next && self.next.since(now) <= TICK {
            return;
        }
        self.next = Timestamp(now.0.saturating_add(TICK));
        let context = Context {
            catalog: &self.catalog,
            now,
            set_back,
            managed: false,
        };
        for detection in &mut self.detections {
            detection.advance(&context, found);
        }
    }

    /// How many sources, targets or pairs were forgotten to make room for others.
    pub fn forgotten(&self) -> u64 {
        self.detections
            .iter()
            .map(|detection| detection.forgotten())
            .sum::<u64>()
            + self.managed.forgotten()
    }

    /// The capture is over.
    pub fn forget(&mut self, found: &mut Vec<Found>) {
        let context = Context {
            catalog: &self.catalog,
            now: self.now,
            set_back: self.set_back,
            managed: false,
        };
        for detection in &mut self.detections {
            detection.conclude(&context, found);
        }
        for detection in &mut self.detections {
            detection.forget();
        }
        self.managed.forget();
    }
}

/// What an alert of a record says.
fn alert(
    signature: &'static Signature,
    severity: Severity,
    confidence: &'static str,
    message: String,
    record: &Record,
) -> Found {
    Found {
        meta: record.meta.clone(),
        alert: build(
            signature,
            severity,
            confidence,
            message,
            Some(record.dcom.clone()),
            Some(record.dcerpc.clone()),
        ),
    }
}

pub(crate) fn build(
    signature: &'static Signature,
    severity: Severity,
    confidence: &'static str,
    message: String,
    dcom: Option<Shared<Dcom>>,
    dcerpc: Option<Shared<Dcerpc>>,
) -> Alert {
    let techniques = signature.techniques.iter();
    let mut tactics: Vec<&Tactic> = Vec::new();
    for technique in techniques.clone() {
        if !tactics.contains(&technique.tactic) {
            tactics.push(technique.tactic);
        }
    }
    Alert {
        action: Action::Allowed,
        gid: 1,
        signature_id: signature.id,
        rev: signature.rev,
        signature: signature.text.into(),
        category: signature.category.into(),
        severity,
        metadata: Metadata {
            confidence: vec![confidence.into()],
            mitre_tactic_id: tactics.iter().map(|tactic| tactic.id.into()).collect(),
            mitre_tactic_name: tactics.iter().map(|tactic| tactic.name.into()).collect(),
            mitre_technique_id: techniques.clone().map(|technique| technique.id.into()).collect(),
            mitre_technique_name: techniques.map(|technique| technique.name.into()).collect(),
            ..Metadata::default()
        },
        note: signature.note.into(),
        message,
        dcom,
        dcerpc,
        host_event: None,
    }
}

/// As whom the client called, when that was read.
fn as_whom(client: &ClientIdentity) -> String {
    match (&client.domain, &client.user) {
        (Some(domain), Some(user)) => format!(" as {domain}\\{user}"),
        (None, Some(user)) => format!(" as {user}"),
        _ => String::new(),
    }
}

/// The class in words, seen or not.
fn class(dcom: &Dcom) -> Cow<'_, str> {
    dcom.class_name().unwrap_or("a class that was not seen".into())
}

fn address(end: Option<Endpoint>) -> String {
    end.map_or_else(String::new, |end| end.address.to_string())
}

/// What came of a call, as the end of a sentence.
fn result(dcom: &Dcom) -> Cow<'static, str> {
    match (dcom.outcome, &dcom.hresult_name, dcom.hresult, &dcom.fault) {
        (Some(Outcome::Succeeded), ..) => "it succeeded".into(),
        (Some(Outcome::Unanswered), ..) => "no answer was seen".into(),
        (_, _, _, Some(fault)) => format!("it failed with RPC fault {fault}").into(),
        // The call itself did not fail: what it returned says that it came to nothing.
        (_, _, Some(Hresult(0)), _) => match &dcom.result {
            Some(result) => format!("it failed and returned {result}").into(),
            None => "it failed".into(),
        },
        (_, Some(name), ..) => format!("it failed with {name}").into(),
        (_, None, Some(hresult), _) => format!("it failed with {hresult}").into(),
        (..) => "its answer could not be read".into(),
    }
}
