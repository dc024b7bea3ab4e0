//! Live: alerts that went out, and wait for what hosts say of them.

use super::{Correlator, Mode, confirmed, may_rise};
use crate::catalog::Catalog;
use crate::event::dcom;
use crate::event::host::{AboutAlert, Matched, Role, Verdict};
use crate::event::{Alert, Body, Dcom, Event, Meta, Shared};
use crate::severity::Severity;
use crate::time::Timestamp;

/// Live: what was confirmed may become more certain for so long.
const SETTLE: i64 = 2_000_000_000;
/// Live: hosts may say much; what waits looks at it so often.
const AGAIN: i64 = 500_000_000;

/// An alert that waits for what hosts say.
pub(super) struct Pending {
    meta: Meta,
    dcom: Option<Shared<Dcom>>,
    signature_id: u32,
    severity: Severity,
    may_rise: bool,
    told: Timestamp,
    /// What had come of its hosts when it was looked at last, and when that was.
    changes: u64,
    asked: Timestamp,
    confirmed: Option<(Timestamp, Box<Dcom>)>,
}

impl Pending {
    fn set_back(&mut self, back: i64) {
        let since = self.confirmed.as_mut().map(|(since, _)| since);
        for time in [&mut self.told, &mut self.asked].into_iter().chain(since) {
            time.0 = time.0.saturating_sub(back);
        }
    }
}

impl Correlator {
    pub(super) fn wait(&mut self, meta: &Meta, alert: &Alert) {
        if self.pending.len() >= self.most_pending {
            self.pending.pop_front();
            self.counters.pending_over_limit += 1;
        }
        self.pending.push_back(Pending {
            meta: meta.clone(),
            dcom: alert.dcom.clone(),
            signature_id: alert.signature_id,
            severity: alert.severity,
            may_rise: may_rise(alert),
            told: self.now.max(meta.timestamp),
            changes: 0,
            asked: Timestamp::default(),
            confirmed: None,
        });
    }

    /// It is that time: live, alerts that hosts say something of, or had time to.
    pub fn advance(&mut self, now: Timestamp, catalog: &Catalog, out: &mut Vec<Event>) {
        // A clock was set back: what waits goes by the new time.
        let back = self.now.since(now).max(0);
        self.now = now;
        if self.mode == Mode::Replay {
            return;
        }
        for pending in self.pending.iter_mut().filter(|_| back > 0) {
            pending.set_back(back);
        }
        let keep = self.margin().saturating_mul(2);
        self.store.forget_before(Timestamp(now.0.saturating_sub(keep)));
        let mut waiting = std::mem::take(&mut self.pending);
        waiting.retain_mut(|pending| self.ask(pending, catalog, out));
        // What was told meanwhile stands behind.
        waiting.append(&mut self.pending);
        self.pending = waiting;
    }

    /// Nothing more will come: what waits is told as far as it is known.
    pub fn finish(&mut self, catalog: &Catalog, out: &mut Vec<Event>) {
        for mut pending in std::mem::take(&mut self.pending) {
            pending.told = Timestamp(i64::MIN / 2);
            self.ask(&mut pending, catalog, out);
        }
    }

    /// Does the alert wait on?
    fn ask(&mut self, pending: &mut Pending, catalog: &Catalog, out: &mut Vec<Event>) -> bool {
        let over = self.now.since(pending.told) >= self.window;
        let due = over || self.now.since(pending.asked) >= AGAIN;
        let changes = if due {
            self.changes(&pending.meta)
        } else {
            pending.changes
        };
        if changes != pending.changes {
            pending.changes = changes;
            pending.asked = self.now;
            let judged = self.judge_alert(&pending.meta, pending.dcom.as_deref(), catalog);
            let confirmed = judged.filter(|dcom| verdict(dcom) == Some(Verdict::Confirmed));
            if let Some(dcom) = confirmed {
                let since = pending.confirmed.take().map_or(self.now, |(since, _)| since);
                pending.confirmed = Some((since, Box::new(dcom)));
            }
        }
        let settled = pending.confirmed.as_ref().is_some_and(|(since, dcom)| {
            let host = dcom.host.as_deref();
            let all = host.is_some_and(|host| host.matched_on.contains(&Matched::CommandLine));
            all || self.now.since(*since) >= SETTLE
        });
        if !settled && !over {
            return true;
        }
        let told = match pending.confirmed.take() {
            Some((_, dcom)) => Some(*dcom),
            None => self
                .judge_alert(&pending.meta, pending.dcom.as_deref(), catalog)
                .filter(|dcom| {
                    dcom.host
                        .as_ref()
                        .is_some_and(|host| self.has_log(&pending.meta, host.role))
                }),
        };
        if let Some(dcom) = told {
            out.extend(self.confirmation(pending, dcom, catalog));
        }
        false
    }

    /// How often something came of the hosts of a connection.
    fn changes(&self, meta: &Meta) -> u64 {
        let ends = [meta.client, meta.server].into_iter().flatten();
        let known: Vec<_> = ends.map(|end| self.known().logged(end.address)).collect();
        // A host that is not known yet may be the one that something just came of.
        if known.iter().any(Option::is_none) {
            return self.counters.kept;
        }
        known.into_iter().flatten().map(|host| self.store.changes(host)).sum()
    }

    fn has_log(&self, meta: &Meta, role: Role) -> bool {
        let end = match role {
            Role::Server => meta.server,
            Role::Client => meta.client,
        };
        end.is_some_and(|end| self.known().logged(end.address).is_some())
    }

    fn confirmation(&mut self, pending: &Pending, mut dcom: Dcom, catalog: &Catalog) -> Option<Event> {
        let clsid = dcom.clsid;
        let host = dcom.host.as_deref_mut()?;
        self.counters.count(host);
        let now = match host.verdict {
            Verdict::Confirmed if pending.may_rise => confirmed(pending.severity, host, clsid, catalog),
            _ => pending.severity,
        };
        host.alert = Some(AboutAlert {
            signature_id: pending.signature_id,
            severity: pending.severity.name(),
            severity_now: now.name(),
        });
        dcom.kind = dcom::Kind::HostConfirmation;
        Some(Event {
            meta: pending.meta.clone(),
            body: Body::Dcom(Shared::new(dcom)),
        })
    }
}

fn verdict(dcom: &Dcom) -> Option<Verdict> {
    dcom.host.as_ref().map(|host| host.verdict)
}
