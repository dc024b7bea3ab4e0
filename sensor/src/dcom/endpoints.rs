//! Dynamic ports that replies named, and the connections that go there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::decode::Endpoint;
use crate::hash::HashMap;
use crate::limits::Limits;
use crate::time::Timestamp;

/// What a reply tells of a dynamic port: everywhere it can be reached, the likeliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    pub(super) endpoints: Vec<Endpoint>,
}

/// Places of one reply that are waited for: a machine with more addresses is called at one of the first.
const MOST_PLACES: usize = 64;

impl Learned {
    /// One more place, where it is not known yet.
    pub(super) fn add(&mut self, place: Endpoint) {
        if self.endpoints.len() < MOST_PLACES && !self.endpoints.contains(&place) {
            self.endpoints.push(place);
        }
    }
}

/// How many dynamic ports were named, and reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    /// Replies that named a dynamic port.
    pub expected: u64,
    /// Of these, those to whose port a connection by the same client was seen.
    pub realized: u64,
    /// Records let go early because too many were waiting.
    pub over_limit: u64,
}

/// A client and where it is expected.
type Expected = (IpAddr, Endpoint);

/// One that waits.
struct Waiting<T> {
    item: T,
    expected: Vec<Expected>,
    /// When it is let go.
    until: Timestamp,
}

/// What waits for a connection, and which connections there are.
pub(super) struct Endpoints<T> {
    /// What waits, by number: the lesser the earlier.
    waiting: BTreeMap<u64, Waiting<T>>,
    /// Who waits where.
    expected: HashMap<Expected, Vec<u64>>,
    next: u64,
    /// RPC connections that are open, so that one older than the reply is recognised. Each by its own number: one that found
    /// no room is not the one that closes.
    open: HashMap<Expected, Vec<u64>>,
    /// How many there are.
    count: usize,
    counters: EndpointCounters,
    most_waiting: usize,
    most_open: usize,
    patience: i64,
}

impl<T> Endpoints<T> {
    pub(super) fn new(limits: &Limits, patience: i64) -> Self {
        Self {
            waiting: BTreeMap::new(),
            expected: HashMap::default(),
            next: 0,
            open: HashMap::default(),
            count: 0,
            counters: EndpointCounters::default(),
            most_waiting: limits.pending,
            most_open: limits.connections,
            patience,
        }
    }

    pub(super) fn counters(&self) -> &EndpointCounters {
        &self.counters
    }

    /// An RPC connection by this client was recognised.
    pub(super) fn opened(&mut self, client: IpAddr, server: Endpoint, connection: u64) {
        if self.count < self.most_open {
            self.open.entry((client, server)).or_default().push(connection);
            self.count += 1;
        }
    }

    /// It is over.
    pub(super) fn closed(&mut self, client: IpAddr, server: Endpoint, connection: u64) {
        if let Some(open) = self.open.get_mut(&(client, server))
            && let Some(index) = open.iter().position(|&other| other == connection)
        {
            open.swap_remove(index);
            self.count -= 1;
            if open.is_empty() {
                self.open.remove(&(client, server));
            }
        }
    }

    /// Lets `item` wait for a connection by `client` to one of the learned endpoints. Gives back what need not wait:
    /// the item itself when there is nothing to wait for, the oldest when too many wait.
    pub(super) fn expect(&mut self, item: T, learned: Option<Learned>, client: IpAddr, now: Timestamp) -> Option<T> {
        let Some(learned) = learned.filter(|learned| !learned.endpoints.is_empty()) else {
            return Some(item);
        };
        self.counters.expected += 1;
        let expected: Vec<Expected> = learned
            .endpoints
            .into_iter()
            .map(|endpoint| (client, endpoint))
            .collect();
        self.wait(item, expected, now);
        if self.waiting.len() > self.most_waiting {
            self.counters.over_limit += 1;
            return self.first();
        }
        None
    }

    /// Lets `item` wait for a connection to one of these places.
    pub(super) fn wait(&mut self, item: T, expected: Vec<Expected>, now: Timestamp) {
        let number = self.next;
        self.next += 1;
        for place in &expected {
            self.expected.entry(*place).or_default().push(number);
        }
        let until = Timestamp(now.0.saturating_add(self.patience));
        self.waiting.insert(number, Waiting { item, expected, until });
        if self.waiting.len() > 2 * self.most_waiting {
            self.counters.over_limit += 1;
            self.first();
        }
    }

    /// Is a connection by this client to one of the endpoints open already?
    pub(super) fn is_open(&self, client: IpAddr, endpoint: Endpoint) -> bool {
        self.open.contains_key(&(client, endpoint))
    }

    /// `client` has reached `server`: the earliest of what waits for that.
    pub(super) fn follow(&mut self, client: IpAddr, server: Endpoint) -> Option<T> {
        let number = *self.expected.get(&(client, server))?.first()?;
        self.counters.realized += 1;
        self.take(number).map(|(item, _)| item)
    }

    /// The earliest of what has waited long enough, and where for.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<(T, Vec<Expected>)> {
        let (&number, waiting) = self.waiting.first_key_value()?;
        if waiting.until > now {
            return None;
        }
        self.take(number)
    }

    /// The earliest of what waits.
    pub(super) fn first(&mut self) -> Option<T> {
        let (&number, _) = self.waiting.first_key_value()?;
        self.take(number).map(|(item, _)| item)
    }

    /// The capture is over.
    pub(super) fn forget_connections(&mut self) {
        self.open.clear();
        self.count = 0;
    }

    fn take(&mut self, number: u64) -> Option<(T, Vec<Expected>)> {
        let Waiting { item, expected, .. } = self.waiting.remove(&number)?;
        for place in &expected {
            if let Some(numbers) = self.expected.get_mut(place) {
                numbers.retain(|&other| other != number);
                if numbers.is_empty() {
                    self.expected.remove(place);
                }
            }
        }
        Some((item, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(last: u8, port: u16) -> Endpoint {
        Endpoint {
            address: IpAddr::from([10, 0, 0, last]),
            port,
        }
    }

    #[test]
    fn of_one_reply_a_few_places_are_waited_for_each_once() {
        let mut learned = Learned::default();
        for port in (1..=100).chain(1..=100) {
            learned.add(end(2, port));
        }
        assert_eq!(learned.endpoints, (1..=64).map(|port| end(2, port)).collect::<Vec<_>>());
    }

    fn learned(ports: &[u16]) -> Learned {
        Learned {
            endpoints: ports.iter().map(|&port| end(2, port)).collect(),
        }
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn a_connection_to_any_of_the_endpoints_is_the_one_waited_for() {
        let mut endpoints = Endpoints::new(&Limits::default(), Limits::default().follow);
        assert!(
            endpoints
                .expect("activation", Some(learned(&[50_000, 50_001])), CLIENT, Timestamp(0))
                .is_none()
        );
        assert_eq!(
            endpoints.follow(end(9, 1).address, end(2, 50_001)),
            None,
            "another client"
        );
        assert_eq!(endpoints.follow(CLIENT, end(2, 50_001)), Some("activation"));
        assert_eq!(endpoints.follow(CLIENT, end(2, 50_000)), None);
        assert_eq!((endpoints.counters.expected, endpoints.counters.realized), (1, 1));
        assert!(endpoints.expected.is_empty());
    }

    #[test]
    fn what_names_no_port_does_not_wait() {
        let mut endpoints = Endpoints::new(&Limits::default(), Limits::default().follow);
        assert_eq!(endpoints.expect("failed", None, CLIENT, Timestamp(0)), Some("failed"));
        assert_eq!(endpoints.counters.expected, 0);
    }

    #[test]
    fn patience_ends() {
        let limits = Limits {
            follow: 100,
            ..Limits::default()
        };
        let mut endpoints = Endpoints::new(&limits, limits.follow);
        endpoints.expect("first", Some(learned(&[1])), CLIENT, Timestamp(0));
        endpoints.expect("second", Some(learned(&[1])), CLIENT, Timestamp(50));
        assert_eq!(endpoints.overdue(Timestamp(99)), None);
        assert_eq!(endpoints.overdue(Timestamp(149)).map(|(item, _)| item), Some("first"));
        assert_eq!(endpoints.overdue(Timestamp(149)), None);
        assert_eq!(endpoints.follow(CLIENT, end(2, 1)), Some("second"));
        assert_eq!(endpoints.counters.realized, 1);
    }

    #[test]
    fn too_many_waiting_lets_the_oldest_go() {
        let limits = Limits {
            pending: 2,
            ..Limits::default()
        };
        let mut endpoints = Endpoints::new(&limits, limits.follow);
        assert!(endpoints.expect(1, Some(learned(&[1])), CLIENT, Timestamp(0)).is_none());
        assert!(endpoints.expect(2, Some(learned(&[2])), CLIENT, Timestamp(0)).is_none());
        assert_eq!(endpoints.expect(3, Some(learned(&[3])), CLIENT, Timestamp(0)), Some(1));
        assert_eq!(endpoints.counters.over_limit, 1);
    }

    #[test]
    fn an_open_connection_is_known_until_the_last_of_its_kind_closes() {
        let mut endpoints = Endpoints::<()>::new(&Limits::default(), 0);
        endpoints.opened(CLIENT, end(2, 5), 1);
        endpoints.opened(CLIENT, end(2, 5), 2);
        endpoints.closed(CLIENT, end(2, 5), 1);
        assert!(endpoints.is_open(CLIENT, end(2, 5)));
        endpoints.closed(CLIENT, end(2, 5), 2);
        assert!(!endpoints.is_open(CLIENT, end(2, 5)));
    }

    #[test]
    fn a_connection_that_found_no_room_closes_no_other() {
        let limits = Limits {
            connections: 1,
            ..Limits::default()
        };
        let mut endpoints = Endpoints::<()>::new(&limits, 0);
        endpoints.opened(CLIENT, end(2, 5), 1);
        endpoints.opened(CLIENT, end(2, 6), 2);
        endpoints.closed(CLIENT, end(2, 5), 1);
        endpoints.opened(CLIENT, end(2, 6), 3);
        endpoints.closed(CLIENT, end(2, 6), 2);
        assert!(endpoints.is_open(CLIENT, end(2, 6)));
        endpoints.closed(CLIENT, end(2, 6), 3);
        assert_eq!((endpoints.open.len(), endpoints.count), (0, 0));
    }
}
