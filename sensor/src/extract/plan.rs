//! Which connections go to which file.
//!
//! A file is an incident: the alerts of one source and one target with no long silence between them, as on the report's
//! page. It has the connections of these alerts, those of the activations that they descend from, whatever else the two
//! hosts said over RPC meanwhile, in either direction, and what the source sent to dynamic ports that it was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::notes::{Alerted, Connection, Note, Notes};
use crate::decode::Endpoint;
use crate::report::incidents::{AROUND, Incidents, Pair, SILENCE, Sightings};
use crate::time::Timestamp;

/// Alerts that are named at the head of a file.
const MOST_TITLES: usize = 100;

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) files: Vec<Planned>,
    pub(super) connections: HashMap<u64, Wanted>,
    /// Connections by their ends, the lesser first.
    pub(super) by_ends: HashMap<Ends, Vec<u64>>,
    /// Who may go to which dynamic port.
    pub(super) expected: HashMap<(IpAddr, Endpoint), Vec<Expected>>,
    /// What stands on frames, by hosts, number and time. Not by connection: over HTTP a reply comes on another.
    pub(super) comments: HashMap<((IpAddr, IpAddr), u64, Timestamp), Vec<String>>,
    pub(super) alerts: u64,
    pub(super) left_out: u64,
}

/// Two ends, the lesser first, over UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    udp: bool,
    ends: [Endpoint; 2],
}

impl Ends {
    pub(super) fn new(udp: bool, one: Endpoint, other: Endpoint) -> Self {
        let ends = [one.min(other), one.max(other)];
        Self { udp, ends }
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) titles: Vec<String>,
}

/// A connection that is written.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) files: Vec<u32>,
}

/// When a connection to a port that was named is written, and where.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) file: u32,
}

/// Connections, and how they are found.
struct Known {
    all: Vec<Connection>,
    by_id: HashMap<u64, usize>,
    by_pair: BTreeMap<(IpAddr, IpAddr), Vec<usize>>,
}

impl Known {
    fn new(all: Vec<Connection>) -> Self {
        let mut by_pair: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut by_id = HashMap::new();
        for (index, connection) in all.iter().enumerate() {
            by_id.insert(connection.flow_id, index);
            let pair = (connection.client.address, connection.server.address);
            by_pair.entry(pair).or_default().push(index);
        }
        Self { all, by_id, by_pair }
    }

    fn of(&self, client: IpAddr, server: IpAddr) -> impl Iterator<Item = usize> {
        self.by_pair.get(&(client, server)).into_iter().flatten().copied()
    }
}

impl Plan {
    pub(super) fn new(mut notes: Notes) -> Self {
        let known = Known::new(notes.take_connections());
        let mut sightings = Sightings::default();
        for alert in &notes.alerts {
            sightings.add(
                names(alert.source, alert.target),
                alert.at.microseconds(),
                alert.severity.number(),
            );
        }
        let incidents = sightings.group();
        let mut plan = Self {
            left_out: notes.left_out,
            ..Self::default()
        };
        let mut of_incident: Vec<Vec<Alerted>> = vec![Vec::new(); incidents.spans.len()];
        for alert in notes.alerts {
            match incidents.find(&names(alert.source, alert.target), alert.at.microseconds()) {
                Some(index) => of_incident[index].push(alert),
                None => plan.left_out += 1,
            }
        }
        // Files are numbered by time, incidents come by how grave they are.
        let mut order: Vec<usize> = (0..of_incident.len())
            .filter(|&index| !of_incident[index].is_empty())
            .collect();
        order.sort_by_key(|&index| (incidents.spans[index].from, index));
        let digits = order.len().to_string().len().max(4);
        let mut found: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); known.all.len()];
        for (file, &index) in (0..).zip(&order) {
            let alerts = &of_incident[index];
            plan.alerts += alerts.len() as u64;
            plan.files.push(planned(file, digits, alerts));
            for connection in members(&known, &incidents, index, alerts) {
                found[connection].insert(file);
            }
        }
        plan.add_connections(known, &found, &order, &incidents);
        for alert in of_incident.into_iter().flatten() {
            let pair = pair(alert.source, alert.target);
            // Of a record that is not told by itself, the alert's frames do.
            for note in alert.record {
                let told = plan.comments.contains_key(&(pair, note.frame, note.time));
                plan.comment(pair, (!told).then_some(note));
            }
            plan.comment(pair, alert.note);
        }
        plan
    }

    fn add_connections(&mut self, known: Known, found: &[BTreeSet<u32>], order: &[usize], incidents: &Incidents) {
        for (connection, files) in known.all.into_iter().zip(found) {
            if files.is_empty() {
                continue;
            }
            let Connection {
                flow_id,
                client,
                server,
                udp,
                ..
            } = connection;
            self.by_ends
                .entry(Ends::new(udp, client, server))
                .or_default()
                .push(flow_id);
            // The other channel of RPC over HTTP is not known by itself: it leads to the same port.
            let channel = connection.http.then_some((server, before(connection.first)));
            for (end, from) in connection.ports.into_iter().chain(channel) {
                let expected = self.expected.entry((client.address, end)).or_default();
                expected.extend(files.iter().map(|&file| Expected {
                    from,
                    until: after(incidents.spans[order[file as usize]].to),
                    file,
                }));
            }
            self.comment(pair(client.address, server.address), connection.notes);
            self.connections.insert(
                flow_id,
                Wanted {
                    client,
                    server,
                    files: files.iter().copied().collect(),
                },
            );
        }
    }

    fn comment(&mut self, pair: (IpAddr, IpAddr), notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            let comments = self.comments.entry((pair, note.frame, note.time)).or_default();
            // A capture that is read twice tells everything twice.
            if !comments.contains(&note.text) {
                comments.push(note.text);
            }
        }
    }
}

/// The connections of an incident.
fn members(known: &Known, incidents: &Incidents, index: usize, alerts: &[Alerted]) -> BTreeSet<usize> {
    let mut members = BTreeSet::new();
    for alert in alerts {
        members.extend(alert.flows.iter().filter_map(|flow| known.by_id.get(flow)));
        for &target in &alert.targets {
            let before = |connection: &&usize| {
                let Connection { first, last, .. } = &known.all[**connection];
                let at = alert.at.microseconds();
                first.microseconds() <= at + AROUND && last.microseconds() >= at - SILENCE
            };
            let of_target: Vec<usize> = known.of(alert.source, target).collect();
            members.extend(of_target.iter().filter(before));
        }
    }
    let Some(alert) = alerts.first() else { return members };
    let pair = names(alert.source, alert.target);
    let both = known
        .of(alert.source, alert.target)
        .chain(known.of(alert.target, alert.source));
    members.extend(both.filter(|&connection| {
        let Connection { first, last, .. } = &known.all[connection];
        incidents
            .during(&pair, first.microseconds(), last.microseconds())
            .any(|during| during == index)
    }));
    members
}

/// An incident's file: its number, its gravest alert's signature, and between whom. Nothing in its name is a text from the
/// wire.
fn planned(file: u32, digits: usize, alerts: &[Alerted]) -> Planned {
    let mut gravest = alerts.iter().min_by_key(|alert| (alert.severity.number(), alert.at));
    let name = gravest.take().map_or_else(String::new, |alert| {
        let end = |address: IpAddr| address.to_string().replace(':', "_");
        format!(
            "{:0digits$}-{}-{}-{}.pcapng",
            file + 1,
            alert.signature_id,
            end(alert.source),
            end(alert.target)
        )
    });
    let mut titles: Vec<String> = alerts
        .iter()
        .take(MOST_TITLES)
        .map(|alert| alert.title.clone())
        .collect();
    if alerts.len() > MOST_TITLES {
        titles.push(format!("… and {} more alerts", alerts.len() - MOST_TITLES));
    }
    Planned { name, titles }
}

/// Is a file called so by this program?
pub(super) fn is_ours(name: &str) -> bool {
    let Some(parts) = name.strip_suffix(".pcapng") else {
        return false;
    };
    let parts: Vec<&str> = parts.split('-').collect();
    let [number, signature, source, target] = parts[..] else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let address = |text: &str| text.replace('_', ":").parse::<IpAddr>().is_ok();
    number.len() >= 4 && digits(number) && digits(signature) && address(source) && address(target)
}

/// Source and target, as incidents know them.
fn names(source: IpAddr, target: IpAddr) -> Pair {
    (source.to_string(), target.to_string())
}

/// Two hosts, the lesser first.
pub(super) fn pair(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    (one.min(other), one.max(other))
}

/// So long before.
fn before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(AROUND.saturating_mul(1_000)))
}

/// The end of what is shown with an incident.
fn after(microseconds: i64) -> Timestamp {
    Timestamp(microseconds.saturating_add(AROUND).saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_program_names_so_is_taken_out() {
        for name in [
            "0001-1021301-192.0.2.20-192.0.2.10.pcapng",
            "12345-1021301-fd00__20-2001_db8__1.pcapng",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "0001-1021301-192.0.2.20.pcapng",
            "0001-case-192.0.2.20-192.0.2.10.pcapng",
            "0001-1021301-a-b.pcapng",
            "capture.pcapng",
            "0001-1021301-192.0.2.20-192.0.2.10.pcap",
            "-1021301-192.0.2.20-192.0.2.10.pcapng",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
