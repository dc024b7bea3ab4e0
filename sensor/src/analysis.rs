//! The light half: what was heard is understood, and what was understood is judged. One thread holds all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::baseline::Baseline;
use crate::catalog::Catalog;
use crate::correlate::Correlator;
use crate::correlate::names::By;
use crate::dcom::{Analyst, Binding, Calls, Listener, OpenFlows, Record, Told, is_read};
use crate::detect::{self, Detector, Found, Seen, Settings};
use crate::emit::unsealed::Unsealed;
use crate::event::anomaly::AnomalyKind;
use crate::event::{Anomaly, Body, Event, Meta};
use crate::keys::Keep;
use crate::limits::Limits;
use crate::policy::{Policy, Verdict};
use crate::rpc::{RpcBody, RpcEvent};
use crate::statistics::{Counted, Tally};
use crate::time::Timestamp;
use crate::worker::{Failure, Place, Said, Spoken};

/// Failures whose frames are handed out; of the rest the anomaly alone is told.
const MAX_FAILURES: u64 = 64;

/// What happens here between two things that are said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// The first frame is of this time.
    Begin(Timestamp),
    /// Time has come this far, before that frame was looked at.
    Tick(Place),
    /// What was on its way before that frame will not come.
    Settle(Place),
}

/// All state that crosses connections and hosts, and the detections.
pub(crate) struct Analysis {
    analyst: Analyst,
    judge: Judge,
    /// What the user's keys opened, if that is wanted, until it is taken.
    unsealed: Option<Vec<Unsealed>>,
    failures: Vec<Failure>,
    handed_out: u64,
    failed: u64,
    begun: bool,
}

/// What decides which alerts there are, and which of them are told.
struct Judge {
    catalog: Arc<Catalog>,
    detector: Detector,
    /// What the detections have found in what is at hand.
    found: Vec<Found>,
    flows: OpenFlows,
    policy: Policy,
    baseline: Option<Baseline>,
    /// What host logs say, where there are any.
    hosts: Option<Box<Correlator>>,
}

impl Analysis {
    pub(crate) fn new(catalog: Catalog, limits: &Limits, calls: Calls) -> Self {
        let catalog = Arc::new(catalog);
        Self {
            analyst: Analyst::new(Arc::clone(&catalog), limits, calls),
            judge: Judge {
                detector: Detector::new(Arc::clone(&catalog), &Settings::default()),
                catalog,
                found: Vec::new(),
                flows: OpenFlows::new(limits),
                policy: Policy::default(),
                baseline: None,
                hosts: None,
            },
            unsealed: None,
            failures: Vec::new(),
            handed_out: 0,
            failed: 0,
            begun: false,
        }
    }

    /// The detections look as far and as long as these say from now on; what they have seen so far counts on.
    pub(crate) fn set_detection(&mut self, settings: &Settings) {
        self.judge.detector.set(settings);
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.judge.policy = policy;
        self.begun = false;
    }

    /// Which alerts are told is as these say from now on; what was counted so far counts on.
    pub(crate) fn replace_policy(&mut self, policy: Policy) {
        self.judge.policy.replace(policy);
        self.begun = false;
    }

    pub(crate) fn policy(&mut self) -> &mut Policy {
        &mut self.judge.policy
    }

    /// What is told beside the traffic: alerts go by the policy as all others do.
    pub(crate) fn pass(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        let policy = &mut self.judge.policy;
        events.retain(|event| match &event.body {
            Body::Alert(alert) => policy.judge(&event.meta, alert) == Verdict::Pass,
            _ => true,
        });
        events
    }

    pub(crate) fn set_baseline(&mut self, baseline: Baseline) {
        self.judge.baseline = Some(baseline);
    }

    pub(crate) fn baseline(&self) -> Option<&Baseline> {
        self.judge.baseline.as_ref()
    }

    /// Alerts will say what host logs say of them.
    pub(crate) fn set_hosts(&mut self, hosts: Correlator) {
        self.judge.hosts = Some(Box::new(hosts));
    }

    /// Host logs beside the traffic, where there are any.
    pub(crate) fn hosts(&mut self) -> Option<&mut Correlator> {
        self.judge.hosts.as_deref_mut()
    }

    /// Is what keys open kept for whoever asks?
    pub(crate) fn keep_unsealed(&mut self, keep: Keep) {
        self.unsealed = (keep == Keep::Stubs).then(Vec::new);
    }

    /// What the keys opened since this was asked last, in the order in which calls ended.
    pub(crate) fn take_unsealed(&mut self) -> Vec<Unsealed> {
        self.unsealed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The traffic begins at this time: what is over by then in the settings is over.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        if !self.begun {
            self.begun = true;
            self.judge.policy.advance(now);
        }
    }

    pub(crate) fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.analyst.name_inputs(names);
    }

    pub(crate) fn name_interfaces(&mut self, names: Vec<Arc<str>>) {
        self.analyst.name_interfaces(names);
    }

    /// The classes that are known.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.judge.catalog
    }

    /// Other classes are known from now on.
    pub(crate) fn replace_catalog(&mut self, catalog: Catalog) {
        let catalog = Arc::new(catalog);
        self.analyst.replace_catalog(Arc::clone(&catalog));
        self.judge.detector.replace_catalog(Arc::clone(&catalog));
        self.judge.catalog = catalog;
    }

    /// Takes in what the heavy half says, in the order of [`Spoken::order`].
    pub(crate) fn push(&mut self, mut spoken: Spoken, out: &mut Vec<Event>) {
        if let (Some(unsealed), Said::Rpc(event)) = (&mut self.unsealed, &mut spoken.said)
            && let RpcBody::Exchange(exchange) = &mut event.body
        {
            unsealed.extend(Unsealed::of(&event.connection, exchange));
            exchange.forget_unread(is_read);
        }
        if let Some(hosts) = &mut self.judge.hosts {
            let caught = catch_unwind(AssertUnwindSafe(|| match &spoken.said {
                Said::Heard(ends, opener) => hosts.heard(*ends, *opener, spoken.time),
                Said::Named(told) => told
                    .iter()
                    .for_each(|(name, address)| hosts.named(name, *address, By::Dns)),
                _ => {}
            }));
            self.contained(caught.is_ok());
        }
        let before = *self.analyst.counters();
        if let Said::Rpc(RpcEvent { connection, body }) = &spoken.said
            && matches!(body, RpcBody::Opened | RpcBody::Bound(_))
        {
            self.judge.flows.heard(connection, spoken.time);
        }
        self.guarded(out, |analyst, told| {
            analyst.advance(spoken.steady, told);
            match &spoken.said {
                Said::Heard(ends, opener) => analyst.heard(*ends, *opener, told),
                Said::Rpc(event) => analyst.push(event, told),
                Said::Unanswered(connection, silence) => analyst.unanswered(connection, *silence, told),
                Said::Odd(connection, anomaly) => analyst.odd_stream(connection, anomaly, told),
                Said::Named(_) | Said::Failed(_) => {}
            }
        });
        if let Said::Rpc(RpcEvent { connection, body }) = &spoken.said {
            let (flows, analyst) = (&mut self.judge.flows, &self.analyst);
            if let RpcBody::Over(over) = body {
                flows.over(connection, analyst.over(connection, over, spoken.time));
            } else {
                flows.did(connection, spoken.time, &before, analyst.counters());
            }
        }
        if let Said::Failed(failure) = spoken.said {
            out.push(self.fault(&failure));
            if self.handed_out < MAX_FAILURES {
                self.handed_out += 1;
                self.failures.push(*failure);
            }
        }
    }

    /// Takes in what the heavy half says of some frames in a row, in their order, and what happens between.
    pub(crate) fn hear(&mut self, spoken: Vec<Spoken>, marks: Vec<Mark>, out: &mut Vec<Event>) {
        let mut spoken = spoken.into_iter().peekable();
        for mark in marks {
            if let Mark::Tick(place) | Mark::Settle(place) = mark {
                let is_before = |spoken: &Spoken| {
                    spoken.sequence < place.sequence || (spoken.sequence == place.sequence && spoken.due)
                };
                while let Some(spoken) = spoken.next_if(is_before) {
                    self.push(spoken, out);
                }
            }
            match mark {
                Mark::Begin(time) => self.begin(time),
                Mark::Tick(place) => self.advance(place, out),
                Mark::Settle(_) => self.finish(out),
            }
        }
        for spoken in spoken {
            self.push(spoken, out);
        }
    }

    /// Time has come this far.
    pub(crate) fn advance(&mut self, now: Place, out: &mut Vec<Event>) {
        self.guarded(out, |analyst, told| analyst.advance(now.steady, told));
        let judge = &mut self.judge;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            judge.detector.advance(now.steady, now.set_back, &mut judge.found);
            judge.tell(out);
            if let Some(hosts) = &mut judge.hosts {
                hosts.advance(now.time, &judge.catalog, out);
            }
        }));
        self.contained(caught.is_ok());
        self.judge.flows.tell(out);
    }

    /// A detection that failed costs what it was about, and nothing else.
    fn contained(&mut self, fine: bool) {
        if !fine {
            self.failed += 1;
            self.judge.found.clear();
        }
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.guarded(out, Analyst::finish);
        let judge = &mut self.judge;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            judge.detector.forget(&mut judge.found);
            judge.tell(out);
            if let Some(hosts) = &mut judge.hosts {
                hosts.finish(&judge.catalog, out);
            }
        }));
        self.contained(caught.is_ok());
        self.judge.flows.finish(out);
    }

    /// Frames on which a stage gave up since this was last asked.
    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::of(&Counted {
            dcom: *self.analyst.counters(),
            endpoints: self.analyst.endpoint_counters(),
            interfaces_forgotten: self.analyst.interfaces_forgotten(),
            manners_forgotten: self.analyst.manners_forgotten(),
            pairs_forgotten: self.judge.detector.forgotten(),
            policy: self.judge.policy.counters(),
            baseline: self.baseline().map(Baseline::counters).unwrap_or_default(),
            hosts: self.judge.hosts.as_ref().map(|hosts| hosts.counters()),
            failed: self.failed,
            ..Counted::default()
        })
    }

    /// Runs one of the analyst's operations. A panic costs what it was about, and nothing else.
    fn guarded(&mut self, out: &mut Vec<Event>, operation: impl FnOnce(&mut Analyst, &mut dyn Listener)) {
        let Self { analyst, judge, .. } = self;
        let caught = catch_unwind(AssertUnwindSafe(|| operation(analyst, &mut Bench { judge, out })));
        self.contained(caught.is_ok());
    }

    fn fault(&self, failure: &Failure) -> Event {
        let mut meta = Meta {
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
        self.analyst.place(failure.at, &mut meta);
        Event {
            meta,
            body: Body::Anomaly(Box::new(body)),
        }
    }
}

/// The judge, with a place for what comes of it.
struct Bench<'a> {
    judge: &'a mut Judge,
    out: &'a mut Vec<Event>,
}

impl Listener for Bench<'_> {
    fn hear(&mut self, told: Told) {
        self.judge.judge(told, self.out);
    }
}

impl Judge {
    /// What was told becomes an event, and the alerts that it raises.
    fn judge(&mut self, told: Told, out: &mut Vec<Event>) {
        match told {
            Told::Event(event) => return out.push(event),
            Told::Record(mut record) => {
                if let Some(hosts) = &mut self.hosts {
                    hosts.record(&mut record, &self.catalog);
                }
                self.detector.see(&Seen::Record(&record), &mut self.found);
                if let Some(baseline) = &mut self.baseline
                    && baseline.meet(&record.meta, &record.dcom)
                {
                    self.found.push(detect::first_activation(&record, &self.catalog));
                }
                let Record {
                    meta,
                    dcom,
                    dcerpc,
                    recorded,
                    ..
                } = record;
                let body = if recorded {
                    Body::Dcom(dcom)
                } else {
                    Body::Dcerpc(dcerpc)
                };
                out.push(Event { meta, body });
            }
            Told::Unanswered(unanswered) => self.detector.see(&Seen::Unanswered(&unanswered), &mut self.found),
            Told::File(file) => self.detector.see(&Seen::File(&file), &mut self.found),
            Told::Bound(binding) => {
                self.detector.see(&Seen::Bound(&binding), &mut self.found);
                let Binding { meta, dcerpc, .. } = *binding;
                let body = Body::Dcerpc(dcerpc);
                out.push(Event { meta, body });
            }
        }
        self.tell(out);
    }

    /// Tells what was found, as far as the policy says so.
    fn tell(&mut self, out: &mut Vec<Event>) {
        if self.found.is_empty() {
            return;
        }
        let Self {
            found,
            policy,
            hosts,
            catalog,
            flows,
            ..
        } = self;
        let told = found
            .drain(..)
            .filter(|found| policy.judge(&found.meta, &found.alert) == Verdict::Pass)
            .map(|mut found| {
                flows.alerted(&found.meta);
                if let Some(hosts) = hosts {
                    hosts.alert(&found.meta, &mut found.alert, catalog);
                }
                found.into_event()
            });
        out.extend(told);
    }
}
