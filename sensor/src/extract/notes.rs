//! What the first reading notes, from the events as they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::words;
use crate::decode::Endpoint;
use crate::event::dcom::EndpointRecord;
use crate::event::meta::Protocol;
use crate::event::{Body, Dcom, Event, Meta};
use crate::severity::Severity;
use crate::time::Timestamp;

/// Connections that are known at a time, besides those of hosts between which there was an alert.
const MOST_CONNECTIONS: usize = 131_072;
/// What is noted of all of them.
const MOST_NOTES: usize = 131_072;
/// The same of one connection.
const MOST_OF_ONE: usize = 256;
/// Of these so many stay whatever comes: the first say how it began.
const FIRST: usize = 32;
/// Connections kept for their alerts, once they would be forgotten.
const MOST_KEPT: usize = 65_536;
/// Alerts.
const MOST_ALERTS: usize = 100_000;
/// Ports of an exporter that are remembered of one connection.
const MOST_PORTS: usize = 64;

/// What stands in a comment, and on which frame. The time tells apart equal numbers of two captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) frame: u64,
    pub(super) time: Timestamp,
    pub(super) text: String,
}

/// A connection that spoke RPC.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) flow_id: u64,
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) udp: bool,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) notes: Vec<Note>,
    /// Is it RPC over HTTP?
    pub(super) http: bool,
    /// Dynamic ports that were named in it, and when.
    pub(super) ports: Vec<(Endpoint, Timestamp)>,
}

/// An alert about a connection.
#[derive(Clone, Debug)]
pub(super) struct Alerted {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    pub(super) at: Timestamp,
    pub(super) severity: Severity,
    pub(super) signature_id: u32,
    /// Its own connection, and that of the activation which it descends from.
    pub(super) flows: Vec<u64>,
    /// All its targets, where it has several.
    pub(super) targets: Vec<IpAddr>,
    /// What is said of it at the head of the file.
    pub(super) title: String,
    /// What stands on its frame.
    pub(super) note: Option<Note>,
    /// What stands on the frames of the record that it rests on.
    pub(super) record: Vec<Note>,
}

/// The notes of one reading.
#[derive(Debug)]
pub(crate) struct Notes {
    least: Severity,
    connections: BTreeMap<u64, Connection>,
    /// The same in the order in which they were met.
    order: VecDeque<u64>,
    /// Notes in all of them.
    held: usize,
    /// Connections of hosts between which there was an alert, once they are old.
    kept: Vec<Connection>,
    /// Who attacked whom so far.
    pairs: BTreeSet<(IpAddr, IpAddr)>,
    pub(super) alerts: Vec<Alerted>,
    pub(super) left_out: u64,
}

impl Notes {
    /// Alerts of that severity and above are to be extracted.
    pub(crate) fn new(least: Severity) -> Self {
        Self {
            least,
            connections: BTreeMap::new(),
            order: VecDeque::new(),
            held: 0,
            kept: Vec::new(),
            pairs: BTreeSet::new(),
            alerts: Vec::new(),
            left_out: 0,
        }
    }

    /// Notes what matters of an event.
    pub(crate) fn take(&mut self, event: &Event) {
        let Event { meta, body } = event;
        match body {
            Body::Dcom(dcom) => {
                self.note(meta, words::of_record(meta, dcom), Some(dcom));
            }
            Body::Dcerpc(dcerpc) => {
                self.note(meta, words::of_exchange(meta, dcerpc), None);
                if dcerpc.circumstances.protocol_sequence == "ncacn_http"
                    && let Some(connection) = meta.flow_id.and_then(|flow| self.connections.get_mut(&flow))
                {
                    connection.http = true;
                }
            }
            Body::Alert(alert) if alert.severity >= self.least => {
                // Of what keeps to a host's log, or concerns no two hosts, there are no packets.
                let (Some(client), Some(server), Some(flow)) = (meta.client, meta.server, meta.flow_id) else {
                    self.left_out += 1;
                    return;
                };
                if self.alerts.len() >= MOST_ALERTS {
                    self.left_out += 1;
                    return;
                }
                self.note(meta, Vec::new(), alert.dcom.as_deref());
                let activation = alert.about().activation.as_ref().map(|activation| activation.flow_id);
                let [source, target] = [client.address, server.address];
                let targets = alert.metadata.targets.iter().filter_map(|target| target.parse().ok());
                self.pairs.insert((source.min(target), source.max(target)));
                self.alerts.push(Alerted {
                    source,
                    target,
                    at: meta.timestamp,
                    severity: alert.severity,
                    signature_id: alert.signature_id,
                    flows: [Some(flow), activation].into_iter().flatten().collect(),
                    targets: targets.collect(),
                    title: words::title(meta, alert),
                    note: words::of_alert(meta, alert),
                    record: alert
                        .dcom
                        .as_deref()
                        .map(|dcom| words::of_record(meta, dcom))
                        .unwrap_or_default(),
                });
            }
            _ => {}
        }
    }

    fn note(&mut self, meta: &Meta, notes: Vec<Note>, dcom: Option<&Dcom>) {
        let (Some(client), Some(server), Some(flow_id)) = (meta.client, meta.server, meta.flow_id) else {
            return;
        };
        let end = Timestamp(meta.timestamp.0.saturating_add(meta.rtt.map_or(0, |rtt| rtt.0)));
        let connection = self.connections.entry(flow_id).or_insert_with(|| {
            self.order.push_back(flow_id);
            Connection {
                flow_id,
                client,
                server,
                udp: meta.proto == Some(Protocol::Udp),
                first: meta.timestamp,
                last: end,
                notes: Vec::new(),
                http: false,
                ports: Vec::new(),
            }
        });
        connection.first = connection.first.min(meta.timestamp);
        connection.last = connection.last.max(end);
        for note in notes {
            if connection.notes.len() >= MOST_OF_ONE {
                connection.notes.remove(FIRST);
                self.held -= 1;
            }
            connection.notes.push(note);
            self.held += 1;
        }
        if let Some(EndpointRecord {
            ip: Some(address),
            port: Some(port),
            ..
        }) = dcom.and_then(|dcom| dcom.endpoint.as_ref())
        {
            let end = Endpoint {
                address: *address,
                port: port.0,
            };
            let known = connection.ports.iter().any(|(known, _)| *known == end);
            if !known && connection.ports.len() < MOST_PORTS {
                connection.ports.push((end, meta.timestamp));
            }
        }
        while self.connections.len() > MOST_CONNECTIONS || self.held > MOST_NOTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(connection) = self.connections.remove(&oldest) {
                self.held -= connection.notes.len();
                let [one, other] = [connection.client.address, connection.server.address];
                let attacked = self.pairs.contains(&(one.min(other), one.max(other)));
                if attacked && self.kept.len() < MOST_KEPT {
                    self.kept.push(connection);
                }
            }
        }
    }

    /// All connections that are known, in the order of their first events. What is known of one twice, since it was met
    /// again after it had been put away, is joined.
    pub(super) fn take_connections(&mut self) -> Vec<Connection> {
        let mut all = std::mem::take(&mut self.kept);
        all.extend(std::mem::take(&mut self.connections).into_values());
        all.sort_by_key(|connection| (connection.flow_id, connection.first));
        all.dedup_by(|later, earlier| {
            let same = later.flow_id == earlier.flow_id;
            if same {
                earlier.last = earlier.last.max(later.last);
                earlier.notes.append(&mut later.notes);
                earlier.ports.append(&mut later.ports);
                earlier.http |= later.http;
            }
            same
        });
        all.sort_by_key(|connection| (connection.first, connection.flow_id));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn met(notes: &mut Notes, number: u64, seconds: i64) {
        let mut meta = samples::meta();
        meta.flow_id = Some(number);
        meta.timestamp = Timestamp::new(seconds, 0);
        let note = Note {
            frame: number,
            time: meta.timestamp,
            text: "x".to_owned(),
        };
        notes.note(&meta, vec![note], None);
    }

    #[test]
    fn what_is_noted_is_bounded_and_the_first_notes_of_a_connection_stay() {
        let mut notes = Notes::new(Severity::Informational);
        for number in 0..1_000 {
            met(&mut notes, 1, number);
        }
        let seen = &notes.connections[&1].notes;
        assert_eq!((seen.len(), notes.held), (MOST_OF_ONE, MOST_OF_ONE));
        assert_eq!(seen[0].time, Timestamp::new(0, 0));
        assert_eq!(seen[FIRST - 1].time, Timestamp::new(31, 0));
        assert_eq!(seen[FIRST].time, Timestamp::new(776, 0));
        for number in 2..200_000 {
            met(&mut notes, number, 0);
        }
        assert!(notes.connections.len() <= MOST_CONNECTIONS && notes.held <= MOST_NOTES);
        assert!(notes.connections.contains_key(&199_999) && notes.kept.is_empty());
    }

    #[test]
    fn connections_of_attacked_hosts_outlive_others() {
        let mut notes = Notes::new(Severity::Informational);
        let alert = Event {
            meta: samples::meta(),
            body: Body::Alert(Box::new(samples::alert())),
        };
        notes.take(&alert);
        let flow = alert.meta.flow_id.unwrap();
        let alert_alone = notes.connections.len();
        let mut other = samples::meta();
        other.client.as_mut().unwrap().address = IpAddr::from([10, 0, 0, 1]);
        for number in 0..MOST_CONNECTIONS as u64 + 5 {
            other.flow_id = Some(1 << 50 | number);
            notes.note(&other, Vec::new(), None);
        }
        assert_eq!(alert_alone, 1);
        assert!(!notes.connections.contains_key(&flow));
        assert_eq!(notes.kept.len(), 1);
        assert!(
            notes
                .take_connections()
                .iter()
                .any(|connection| connection.flow_id == flow)
        );
    }
}
