//! Which process stands for which call: a process was started once, and confirms one call at most.

use std::collections::{HashMap, VecDeque};

use super::names::HostId;
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

/// Processes remembered.
const MOST: usize = 65_536;
/// Records of one process are so close in time.
const SAME: i64 = 2_000_000_000;

/// A call, among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallKey(pub(super) u64);

/// A host's process by its id; those without one in a place of their own, by their time.
type Process = (HostId, Option<u32>);

/// A process that is to stand for a call.
pub(super) struct Claim(Process, Timestamp);

impl Claim {
    /// Of its start.
    pub(super) fn of(host: HostId, event: &HostEvent) -> Option<Self> {
        match &event.body {
            HostBody::ProcessCreate(create) => Some(Self((host, create.process.pid), event.time)),
            _ => None,
        }
    }
}

/// Processes that stand for a call.
#[derive(Debug, Default)]
pub(super) struct Claims {
    taken: HashMap<Process, Vec<(Timestamp, CallKey)>>,
    order: VecDeque<Process>,
}

impl Claims {
    /// Does the process stand for another call?
    pub(super) fn is_anothers(&self, Claim(process, time): &Claim, call: CallKey) -> bool {
        let apart = if process.1.is_some() { SAME } else { 0 };
        let taken = self.taken.get(process).into_iter().flatten();
        let mut of_it = taken.filter(|(at, _)| at.since(*time).abs() <= apart);
        of_it.any(|&(_, other)| other != call)
    }

    /// It stands for this one.
    pub(super) fn take(&mut self, Claim(process, time): Claim, call: CallKey) {
        let taken = self.taken.entry(process).or_default();
        if taken.contains(&(time, call)) {
            return;
        }
        taken.push((time, call));
        self.order.push_back(process);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
            && let Some(taken) = self.taken.get_mut(&oldest)
        {
            taken.remove(0);
            if taken.is_empty() {
                self.taken.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::create;
    use super::*;

    #[test]
    fn a_process_stands_for_one_call_and_its_id_for_others_later() {
        let mut claims = Claims::default();
        let claim = |host, at| Claim::of(HostId(host), &create("WS6", at, (1, "a.exe"), (2, "b.exe"), None)).unwrap();
        let (first, second) = (CallKey(1), CallKey(2));
        claims.take(claim(0, 0), first);
        assert!(!claims.is_anothers(&claim(0, SAME), first));
        assert!(claims.is_anothers(&claim(0, SAME), second));
        assert!(!claims.is_anothers(&claim(0, SAME + 1), second));
        assert!(!claims.is_anothers(&claim(1, 0), second));
        for number in 1..=u32::try_from(MOST).unwrap() {
            claims.take(Claim((HostId(0), Some(number + 2)), Timestamp(0)), second);
        }
        assert!(!claims.is_anothers(&claim(0, 0), second), "the oldest is forgotten");
        assert_eq!(claims.order.len(), MOST);
    }
}
