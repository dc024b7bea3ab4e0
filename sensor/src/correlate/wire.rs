//! Connections that the wire showed, so that what a host logs of one can be put beside it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::store::ordered;
use crate::decode::Endpoint;
use crate::time::Timestamp;

/// Connections of one client to one port that are looked at.
const PER_PORT: usize = 32;

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
}
