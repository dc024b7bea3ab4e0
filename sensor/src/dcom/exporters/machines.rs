//! Which addresses are one machine's.

use std::net::IpAddr;

use super::super::generations::Generations;
use super::MAX_ALIKE;
use crate::time::Timestamp;

/// Further addresses of machines, as they say themselves.
#[derive(Debug)]
pub(super) struct Machines(Generations<IpAddr, Vec<IpAddr>>);

impl Machines {
    pub(super) fn new(most: usize) -> Self {
        Self(Generations::new(most, i64::MAX))
    }

    /// The machine at `server` says that it has these addresses too.
    pub(super) fn say(&mut self, server: IpAddr, addresses: impl Iterator<Item = IpAddr>, now: Timestamp) {
        for address in addresses.filter(|address| *address != server && !address.is_loopback()) {
            let others = self.0.touch(server, now);
            if !others.contains(&address) && others.len() < MAX_ALIKE {
                others.push(address);
            }
        }
    }

    /// The addresses that it said it has, too.
    pub(super) fn others(&self, server: IpAddr) -> &[IpAddr] {
        self.0.get(&server).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_same(&self, one: IpAddr, other: IpAddr) -> bool {
        let says = |one, other| self.0.get(&one).is_some_and(|others| others.contains(&other));
        one == other || says(one, other) || says(other, one)
    }
}
