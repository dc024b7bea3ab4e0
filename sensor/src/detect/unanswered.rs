//! Connections to the endpoint mapper's port that nobody answered: all that an attempt leaves that a firewall stopped.

use std::net::IpAddr;

use super::remembered::Remembered;
use super::signature::UNANSWERED_CONNECTION;
use super::{Context, Detection, Found, Seen, Settings, build};
use crate::dcom::Unanswered;
use crate::flow::Silence;
use crate::hash::HashSet;
use crate::severity::Severity;
use crate::time::Timestamp;

/// Less time than this after a SYN, an answer may still be on its way.
const PATIENCE: i64 = 2_000_000_000;
/// Targets of one source that are counted.
const COUNTED: usize = 1_000;
/// Targets that an alert names.
const NAMED: usize = 20;

/// Waits a little before it tells of a source's attempts: many at once are one thing, not many.
pub(super) struct UnansweredConnection {
    /// By source, for a window from the first.
    waiting: Remembered<IpAddr, Attempts>,
    /// Pairs that were told.
    told: Remembered<(IpAddr, IpAddr), ()>,
    /// Sources that were told to reach for many targets.
    scanning: Remembered<IpAddr, ()>,
    many: usize,
}

/// Of one source.
#[derive(Default)]
struct Attempts {
    /// The first to each target, as long as they may be told one by one.
    first: Vec<Unanswered>,
    last: Option<Unanswered>,
    targets: HashSet<IpAddr>,
}

impl UnansweredConnection {
    pub(super) fn new(settings: &Settings) -> Self {
        let most = settings.remembered;
        Self {
            // Each may hold many targets.
            waiting: Remembered::new(most / 16, settings.sweep_window),
            told: Remembered::new(most, settings.quiet),
            scanning: Remembered::new(most, settings.quiet),
            many: settings.sweep_targets,
        }
    }

    fn unanswered(&mut self, unanswered: &Unanswered, context: &Context<'_>) {
        let (Some(client), Some(server)) = (unanswered.meta.client, unanswered.meta.server) else {
            return;
        };
        let (source, target) = (client.address, server.address);
        let at = context.when(&unanswered.meta);
        if unanswered.silence == Silence::SoFar && context.now.since(at) < PATIENCE {
            return;
        }
        if self.scanning.get(&source, at).is_some() || self.told.get(&(source, target), at).is_some() {
            return;
        }
        // From the first on, not from the last: so a source is heard of in time.
        if self.waiting.get(&source, at).is_none() {
            self.waiting.entry(source, at, Attempts::default);
        }
        let Some(waiting) = self.waiting.get(&source, at) else {
            return;
        };
        if waiting.targets.len() < COUNTED && waiting.targets.insert(target) {
            if waiting.first.len() < self.many.max(NAMED) {
                waiting.first.push(unanswered.clone());
            }
            waiting.last = Some(unanswered.clone());
        }
    }

    fn tell(&mut self, source: IpAddr, waiting: &Attempts, context: &Context<'_>, found: &mut Vec<Found>) {
        let targets = waiting.first.iter().filter_map(|it| Some(it.meta.server?.address));
        let count = waiting.targets.len();
        if count < self.many && count == waiting.first.len() {
            for (unanswered, target) in waiting.first.iter().zip(targets) {
                self.told.entry((source, target), context.when(&unanswered.meta), || ());
                found.push(one(unanswered, source, target));
            }
            return;
        }
        let Some(last) = &waiting.last else { return };
        self.scanning.entry(source, context.when(&last.meta), || ());
        let least = if count < COUNTED { "" } else { "at least " };
        let message = format!("{source} tried to reach port 135 of {least}{count} hosts, and none of them answered");
        let mut many = alert(last, message);
        many.alert.metadata.count = vec![count.to_string()];
        many.alert.metadata.targets = targets.take(NAMED).map(|target| target.to_string()).collect();
        found.push(many);
    }

    fn overdue(&mut self, now: Timestamp, context: &Context<'_>, found: &mut Vec<Found>) {
        while let Some((source, waiting)) = self.waiting.overdue(now) {
            self.tell(source, &waiting, context, found);
        }
    }
}

impl Detection for UnansweredConnection {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        if let Seen::Unanswered(unanswered) = seen {
            self.overdue(context.when(&unanswered.meta), context, found);
            self.unanswered(unanswered, context);
        }
    }

    fn advance(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        self.overdue(context.now, context, found);
    }

    fn conclude(&mut self, context: &Context<'_>, found: &mut Vec<Found>) {
        self.overdue(Timestamp(i64::MAX), context, found);
    }

    fn set(&mut self, settings: &Settings) {
        self.many = settings.sweep_targets;
        self.waiting.keep_for(settings.sweep_window);
        self.told.keep_for(settings.quiet);
        self.scanning.keep_for(settings.quiet);
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.told.clear();
        self.scanning.clear();
    }

    fn forgotten(&self) -> u64 {
        self.waiting.forgotten() + self.told.forgotten() + self.scanning.forgotten()
    }
}

fn one(unanswered: &Unanswered, source: IpAddr, target: IpAddr) -> Found {
    let how = match unanswered.silence {
        Silence::Refused => "it was refused by a reset",
        Silence::Ignored => "nothing came back, though it asked again",
        Silence::SoFar => "no answer was seen",
    };
    let message =
        format!("{source} tried to reach port 135 of {target}, where DCOM objects are asked for, among others; {how}");
    alert(unanswered, message)
}

fn alert(unanswered: &Unanswered, message: String) -> Found {
    Found {
        meta: unanswered.meta.clone(),
        alert: build(
            &UNANSWERED_CONNECTION,
            Severity::Informational,
            "low",
            message,
            None,
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, activation};
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rig() -> Rig<UnansweredConnection> {
        Rig::new(UnansweredConnection::new(&Settings::default()))
    }

    fn show(rig: &mut Rig<UnansweredConnection>, source: u8, target: u8, at: i64, silence: Silence) {
        let record = activation("").from(source).to(target).at(at);
        let unanswered = Unanswered {
            meta: record.meta,
            silence,
        };
        rig.show(&Seen::Unanswered(&unanswered), Timestamp(at + SECOND));
    }

    #[test]
    fn a_pair_is_told_once_an_hour_and_after_a_while() {
        let mut rig = rig();
        show(&mut rig, 9, 1, 0, Silence::Ignored);
        show(&mut rig, 9, 1, SECOND, Silence::Refused);
        rig.advance(59 * SECOND);
        assert!(rig.found().is_empty(), "more may come");
        rig.advance(60 * SECOND);
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].alert.signature_id, UNANSWERED_CONNECTION.id);
        assert_eq!(
            (found[0].alert.severity, &found[0].alert.dcom),
            (Severity::Informational, &None)
        );
        show(&mut rig, 9, 1, 100 * SECOND, Silence::Ignored);
        rig.advance(200 * SECOND);
        assert!(rig.found().is_empty());
        show(&mut rig, 9, 1, 3601 * SECOND, Silence::Ignored);
        rig.conclude(3602 * SECOND);
        assert_eq!(rig.found().len(), 1, "the end of the capture ends the wait");
    }

    #[test]
    fn many_targets_are_told_once_with_their_count() {
        let mut rig = rig();
        for target in 1..=200 {
            show(&mut rig, 9, target, i64::from(target) * SECOND / 10, Silence::Refused);
        }
        rig.advance(99 * SECOND);
        show(&mut rig, 9, 201, 300 * SECOND, Silence::Refused);
        rig.advance(999 * SECOND);
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].alert.metadata.count, ["200"]);
        assert_eq!(found[0].alert.metadata.targets.len(), NAMED);
    }

    #[test]
    fn what_ends_with_the_capture_was_not_given_time() {
        let mut rig = rig();
        show(&mut rig, 9, 1, 0, Silence::SoFar);
        rig.conclude(SECOND);
        assert!(rig.found().is_empty());
        let record = activation("").from(9).to(1).at(0);
        let unanswered = Unanswered {
            meta: record.meta,
            silence: Silence::SoFar,
        };
        rig.show(&Seen::Unanswered(&unanswered), Timestamp(PATIENCE));
        rig.conclude(PATIENCE);
        assert_eq!(rig.found().len(), 1);
    }
}
