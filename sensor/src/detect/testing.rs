//! Hand-made records for tests of detections.

use std::net::IpAddr;

use super::managed::Managed;
use super::{Context, Detection, Found, Seen, Settings};
use crate::catalog::Catalog;
use crate::dcom::Record;
use crate::decode::Endpoint;
use crate::event::dcom::{ActivationRecord, Evidence, Kind, Outcome};
use crate::event::{Shared, samples};
use crate::severity::Severity;
use crate::time::Timestamp;

/// One detection, what it is shown, and what it finds.
pub(super) struct Rig<D> {
    pub(super) detection: D,
    catalog: Catalog,
    set_back: u32,
    managed: Managed,
    found: Vec<Found>,
}

fn context(catalog: &Catalog, now: Timestamp, set_back: u32) -> Context<'_> {
    Context {
        catalog,
        now,
        set_back,
        managed: false,
    }
}

impl<D: Detection> Rig<D> {
    pub(super) fn new(detection: D) -> Self {
        Self {
            detection,
            catalog: Catalog::built_in(),
            set_back: 0,
            managed: Managed::new(&Settings::default()),
            found: Vec::new(),
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "a record is made where it is shown")]
    pub(super) fn see(&mut self, record: Record) {
        self.show(&Seen::Record(&record), record.meta.timestamp);
    }

    pub(super) fn show(&mut self, seen: &Seen<'_>, now: Timestamp) {
        let context = Context {
            managed: self.managed.see(seen, now),
            ..context(&self.catalog, now, self.set_back)
        };
        self.detection.see(seen, &context, &mut self.found);
    }

    /// Steady time is so many seconds ahead of the records' own from now on.
    pub(super) fn set_back(&mut self, seconds: u32) {
        self.set_back = seconds;
    }

    pub(super) fn advance(&mut self, now: i64) {
        let context = context(&self.catalog, Timestamp(now), self.set_back);
        self.detection.advance(&context, &mut self.found);
    }

    pub(super) fn conclude(&mut self, now: i64) {
        let context = context(&self.catalog, Timestamp(now), self.set_back);
        self.detection.conclude(&context, &mut self.found);
    }

    pub(super) fn forget(&mut self) {
        self.detection.forget();
    }

    /// What was found since the last time.
    pub(super) fn found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// The same, by number and severity.
    pub(super) fn told(&mut self) -> Vec<(u32, Severity)> {
        let found = self.found().into_iter();
        found.map(|it| (it.alert.signature_id, it.alert.severity)).collect()
    }
}

/// An activation that succeeded, of a class by its name in the catalogue, or of none.
pub(super) fn activation(class: &str) -> Record {
    let catalog = Catalog::built_in();
    let class = catalog.find(class).first().copied();
    let mut dcom = samples::dcom();
    dcom.clsid = class.map(|class| class.clsid);
    dcom.class = class.map(|class| class.name.clone());
    dcom.outcome = Some(Outcome::Succeeded);
    let mut meta = samples::meta();
    meta.timestamp = Timestamp(0);
    meta.flow_id = Some(1);
    meta.frame = Some(1);
    Record {
        meta,
        dcom: Shared::new(dcom),
        dcerpc: Shared::default(),
        recorded: true,
        encoding: None,
    }
}

/// A call on an object of that activation.
pub(super) fn call(activation: &Record, operation: &str) -> Record {
    let mut record = activation.clone();
    record.dcom.kind = Kind::Call;
    record.dcom.operation = operation.to_owned().into();
    record.dcom.evidence = Evidence::Arguments;
    record.dcom.activation = Some(ActivationRecord {
        flow_id: activation.meta.flow_id.unwrap_or_default(),
        frame: activation.meta.frame.unwrap_or_default(),
        timestamp: activation.meta.timestamp,
        ..ActivationRecord::default()
    });
    record
}

impl Record {
    /// By the host with this last byte.
    pub(super) fn from(mut self, host: u8) -> Self {
        self.meta.client = Some(end(host, 50_000));
        self
    }

    /// On the host with this last byte.
    pub(super) fn to(mut self, host: u8) -> Self {
        self.meta.server = Some(end(host, 135));
        self
    }

    /// At this time.
    pub(super) fn at(mut self, time: i64) -> Self {
        self.meta.timestamp = Timestamp(time);
        self
    }
}

pub(super) fn end(host: u8, port: u16) -> Endpoint {
    Endpoint {
        address: IpAddr::from([10, 0, 0, host]),
        port,
    }
}
