//! The light half: what was heard is understood, and what was understood is judged. One thread holds all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::dcom::{Analyst, Calls, Record, Told};
use crate::detect;
use crate::event::anomaly::AnomalyKind;
use crate::event::{Anomaly, Body, Event, Meta};
use crate::limits::Limits;
use crate::statistics::{Counted, Tally};
use crate::time::Timestamp;
use crate::worker::{Failure, Said, Spoken};

/// Failures whose frames are handed out; of the rest the anomaly alone is told.
const MAX_FAILURES: u64 = 64;

/// All state that crosses connections and hosts, and the detections.
pub(crate) struct Analysis {
    analyst: Analyst,
    catalog: Arc<Catalog>,
    /// What the analyst has told of the event at hand.
    told: Vec<Told>,
    failures: Vec<Failure>,
    handed_out: u64,
    failed: u64,
}

impl Analysis {
    pub(crate) fn new(catalog: Catalog, limits: &Limits, calls: Calls) -> Self {
        let catalog = Arc::new(catalog);
        Self {
            analyst: Analyst::new(Arc::clone(&catalog), limits, calls),
            catalog,
            told: Vec::new(),
            failures: Vec::new(),
            handed_out: 0,
            failed: 0,
        }
    }

    pub(crate) fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.analyst.name_inputs(names);
    }

    pub(crate) fn name_interfaces(&mut self, names: Vec<Arc<str>>) {
        self.analyst.name_interfaces(names);
    }

    /// Other classes are known from now on.
    pub(crate) fn replace_catalog(&mut self, catalog: Catalog) {
        self.catalog = Arc::new(catalog);
        self.analyst.replace_catalog(Arc::clone(&self.catalog));
    }

    /// Takes in what the heavy half says, in the order of [`Spoken::order`].
    pub(crate) fn push(&mut self, spoken: &Spoken, out: &mut Vec<Event>) {
        self.guarded(out, |analyst, told| {
            analyst.advance(spoken.time, told);
            match &spoken.said {
                Said::Heard(ends, opener) => analyst.heard(*ends, *opener, told),
                Said::Rpc(event) => analyst.push(event, told),
                Said::Failed(_) => {}
            }
        });
        if let Said::Failed(failure) = &spoken.said {
            out.push(self.fault(failure));
            if self.handed_out < MAX_FAILURES {
                self.handed_out += 1;
                self.failures.push(Failure::clone(failure));
            }
        }
    }

    /// Time has come this far.
    pub(crate) fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        self.guarded(out, |analyst, told| analyst.advance(now, told));
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.guarded(out, Analyst::finish);
    }

    /// Frames on which a stage gave up since this was last asked.
    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::of(&Counted {
            dcom: *self.analyst.counters(),
            endpoints: *self.analyst.endpoint_counters(),
            interfaces_forgotten: self.analyst.interfaces_forgotten(),
            failed: self.failed,
            ..Counted::default()
        })
    }

    /// Runs one of the analyst's operations. A panic costs what it was about, and nothing else.
    fn guarded(&mut self, out: &mut Vec<Event>, operation: impl FnOnce(&mut Analyst, &mut Vec<Told>)) {
        let Self {
            analyst, told, catalog, ..
        } = self;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            operation(analyst, told);
            for told in told.drain(..) {
                match told {
                    Told::Event(event) => out.push(event),
                    Told::Record(record) => judge(*record, catalog, out),
                }
            }
        }));
        if caught.is_err() {
            self.failed += 1;
            self.told.clear();
        }
    }

    fn fault(&self, failure: &Failure) -> Event {
        let meta = Meta {
            timestamp: failure.at.time,
            client: failure.ends.map(|[source, _]| source),
            server: failure.ends.map(|[_, destination]| destination),
            ..Meta::default()
        };
        let body = Anomaly {
            kind: AnomalyKind::Applayer,
            event: "sensor_fault".into(),
            detail: Some(format!("the sensor failed on this frame: {}", failure.message)),
            ..Anomaly::default()
        };
        Event {
            meta: self.analyst.place(failure.at, meta),
            body: Body::Anomaly(Box::new(body)),
        }
    }
}

/// A finished record, and the alerts it raises.
fn judge(record: Record, catalog: &Catalog, out: &mut Vec<Event>) {
    let alerts: Vec<_> = detect::detect(&record, catalog).collect();
    let Record { meta, dcom, .. } = record;
    let body = Body::Dcom(Box::new(dcom));
    if alerts.is_empty() {
        return out.push(Event { meta, body });
    }
    out.push(Event {
        meta: meta.clone(),
        body,
    });
    out.extend(alerts.into_iter().map(|alert| Event {
        meta: meta.clone(),
        body: Body::Alert(Box::new(alert)),
    }));
}
