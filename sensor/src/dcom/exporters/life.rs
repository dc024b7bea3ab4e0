//! How long an object is there: while somebody holds it, pings it or calls it.

use std::net::IpAddr;

use dcom_parsers::dcom::SetId;
use dcom_parsers::guid::Oid;

use super::super::generations::Generations;
use super::MAX_ALIKE;
use super::known::Known;
use crate::limits::Limits;
use crate::time::Timestamp;

/// What keeps objects alive beside their calls, and the time at which that is asked.
#[derive(Debug)]
pub(super) struct Life {
    /// The ping sets of each object: every client has its own, and each keeps the object alive by itself ([MS-DCOM] 3.1.2.6
    /// Timer Events).
    pinged: Generations<(IpAddr, Oid), Vec<SetId>>,
    /// When each set was pinged.
    sets: Generations<(IpAddr, SetId), Timestamp>,
    limits: Limits,
    /// When the call at hand was made: it may have waited long for its answer.
    pub(super) as_of: Timestamp,
}

impl Life {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            // Said once, when a set begins; the set is said again and again.
            pinged: Generations::new(limits.interfaces, i64::MAX),
            sets: Generations::new(limits.interfaces, limits.object_idle),
            limits: *limits,
            as_of: Timestamp::default(),
        }
    }

    /// A client keeps objects alive.
    pub(super) fn ping(&mut self, server: IpAddr, set: SetId, added: &[Oid], deleted: &[Oid], now: Timestamp) {
        *self.sets.touch((server, set), now) = now;
        for &oid in added {
            let sets = self.pinged.touch((server, oid), now);
            if !sets.contains(&set) {
                if sets.len() >= MAX_ALIKE {
                    sets.remove(0);
                }
                sets.push(set);
            }
        }
        for oid in deleted {
            if let Some(sets) = self.pinged.get_mut(&(server, *oid)) {
                sets.retain(|other| *other != set);
            }
        }
    }

    pub(super) fn is_alive(&self, known: &Known) -> bool {
        if known.released.is_some() {
            return !known.is_over(self.as_of, self.limits.object_released);
        }
        let since = self.as_of.since(known.used);
        let server = known.pair.server;
        let sets = known.oid.and_then(|oid| self.pinged.get(&(server, oid)));
        let pinged = sets
            .into_iter()
            .flatten()
            .filter_map(|&set| self.sets.get(&(server, set)));
        match pinged.max() {
            Some(&pinged) => since.min(self.as_of.since(pinged)) <= self.limits.object_unpinged,
            None => since <= self.limits.object_idle,
        }
    }

    /// Was it so lately that an object of then may be there, with nobody heard to ping it?
    pub(super) fn is_recent(&self, at: Timestamp) -> bool {
        self.as_of.since(at) <= self.limits.object_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pinged_is_bounded() {
        let mut life = Life::new(&Limits {
            interfaces: 100,
            ..Limits::default()
        });
        let (server, now) = (IpAddr::from([10, 0, 0, 1]), Timestamp::default());
        let oids: Vec<_> = (1_000..20_000).map(Oid).collect();
        life.ping(server, SetId(1), &oids, &[], now);
        for set in 0..1_000 {
            life.ping(server, SetId(set), &[Oid(5)], &[], now);
        }
        assert!(life.pinged.get(&(server, Oid(1_000))).is_none());
        assert_eq!(life.pinged.get(&(server, Oid(5))).unwrap().len(), MAX_ALIKE);
    }
}
