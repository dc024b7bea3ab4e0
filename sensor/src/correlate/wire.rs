//! Connections that the wire showed, so that what a host logs of one can be put beside it, and activations that it did not show
//! the class of.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::store::ordered;
use crate::decode::Endpoint;
use crate::time::Timestamp;

/// Connections of one client to one port that are looked at.
const PER_PORT: usize = 32;

/// Sealed activations of one client at one server that are looked at.
const PER_PAIR: usize = 16;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who opened it, as far as is known.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// When it was answered, or first heard of.
    pub at: Timestamp,
    /// Was it seen to be opened?
    pub opened: bool,
}

/// Those that were seen last.
#[derive(Debug)]
pub struct Wire {
    by_ends: HashMap<[Endpoint; 2], Seen>,
    by_server: HashMap<(IpAddr, Endpoint), VecDeque<u16>>,
    order: VecDeque<([Endpoint; 2], Timestamp)>,
    sealed: HashMap<(IpAddr, IpAddr), VecDeque<Timestamp>>,
    sealed_order: VecDeque<(IpAddr, IpAddr)>,
    most: usize,
    pub(super) forgotten: u64,
}

impl Wire {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        Self {
            by_ends: HashMap::new(),
            by_server: HashMap::new(),
            order: VecDeque::new(),
            sealed: HashMap::new(),
            sealed_order: VecDeque::new(),
            most,
            forgotten: 0,
        }
    }

    /// Takes one in.
    pub fn push(&mut self, seen: Seen) {
        let ends = ordered(seen.client, seen.server);
        self.by_ends.insert(ends, seen);
        self.order.push_back((ends, seen.at));
        let ports = self.by_server.entry((seen.client.address, seen.server)).or_default();
        ports.retain(|&port| port != seen.client.port);
        if ports.len() >= PER_PORT {
            ports.pop_front();
        }
        ports.push_back(seen.client.port);
        while self.order.len() > self.most {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some((ends, at)) = self.order.pop_front() else {
            return;
        };
        // Ports are used again: what was seen since stays.
        if self.by_ends.get(&ends).is_none_or(|seen| seen.at != at) {
            return;
        }
        let Some(seen) = self.by_ends.remove(&ends) else { return };
        self.forgotten += 1;
        let key = (seen.client.address, seen.server);
        if let Some(ports) = self.by_server.get_mut(&key) {
            ports.retain(|&port| port != seen.client.port);
            if ports.is_empty() {
                self.by_server.remove(&key);
            }
        }
    }

    /// A client asked a server for an object, and nobody could read for which.
    pub fn push_sealed(&mut self, client: IpAddr, server: IpAddr, at: Timestamp) {
        let pair = (client, server);
        let times = self.sealed.entry(pair).or_default();
        if times.len() >= PER_PAIR {
            times.pop_front();
        } else {
            self.sealed_order.push_back(pair);
        }
        times.push_back(at);
        if self.sealed_order.len() > self.most
            && let Some(oldest) = self.sealed_order.pop_front()
            && let Some(times) = self.sealed.get_mut(&oldest)
        {
            times.pop_front();
            self.forgotten += 1;
            if times.is_empty() {
                self.sealed.remove(&oldest);
            }
        }
    }

    /// The last of those before this time.
    pub fn last_sealed(&self, client: IpAddr, server: IpAddr, before: Timestamp) -> Option<Timestamp> {
        let times = self.sealed.get(&(client, server)).into_iter().flatten();
        times.copied().filter(|at| *at <= before).max()
    }

    /// The connection between two ends.
    pub fn between(&self, one: Endpoint, other: Endpoint) -> Option<Seen> {
        self.by_ends.get(&ordered(one, other)).copied()
    }

    /// Connections of a client to a port, the last first.
    pub fn to(&self, client: IpAddr, server: Endpoint) -> impl Iterator<Item = Seen> {
        let ports = self.by_server.get(&(client, server)).into_iter().flatten().rev();
        ports.filter_map(move |&port| {
            let end = Endpoint { address: client, port };
            self.between(end, server)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(port: u16, at: i64) -> Seen {
        let end = |last, port| Endpoint {
            address: IpAddr::from([10, 0, 0, last]),
            port,
        };
        Seen {
            client: end(5, port),
            server: end(6, 49_913),
            at: Timestamp(at),
            opened: true,
        }
    }

    #[test]
    fn the_oldest_goes_first_and_a_port_used_again_stays() {
        let mut wire = Wire::new(3);
        for (port, at) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            wire.push(seen(port, at));
        }
        let (client, server) = (seen(1, 0).client.address, seen(1, 0).server);
        let ports: Vec<u16> = wire.to(client, server).map(|seen| seen.client.port).collect();
        assert_eq!(ports, [3, 1, 2]);
        wire.push(seen(4, 50));
        let ports: Vec<u16> = wire.to(client, server).map(|seen| seen.client.port).collect();
        assert_eq!((ports, wire.forgotten), (vec![4, 3, 1], 1));
        let both_ways = wire.between(server, seen(1, 0).client);
        assert_eq!(both_ways.map(|seen| seen.at), Some(Timestamp(30)));
    }

    #[test]
    fn of_sealed_activations_the_last_ones_stay() {
        let mut wire = Wire::new(PER_PAIR);
        let [client, server, other] = [5, 6, 7].map(|last| IpAddr::from([10, 0, 0, last]));
        for at in 1..=30 {
            wire.push_sealed(client, server, Timestamp(at));
        }
        let last = |wire: &Wire, at| wire.last_sealed(client, server, Timestamp(at));
        assert_eq!(
            (last(&wire, 14), last(&wire, 20), last(&wire, 99)),
            (None, Some(Timestamp(20)), Some(Timestamp(30)))
        );
        assert_eq!((wire.forgotten, wire.sealed_order.len()), (0, PER_PAIR));
        for at in 31..=46 {
            wire.push_sealed(other, server, Timestamp(at));
        }
        assert_eq!((last(&wire, 99), wire.forgotten), (None, 16));
        assert_eq!((wire.sealed.len(), wire.sealed_order.len()), (1, PER_PAIR));
    }
}
