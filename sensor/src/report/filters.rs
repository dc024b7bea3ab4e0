//! Display filters for Wireshark.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::chain::{Connection, Incident};

/// So many frames, and connections, are named one by one.
const MAX_FRAMES: usize = 60;
const MAX_CONNECTIONS: usize = 12;
/// So many files.
const MAX_FILES: usize = 20;

/// What to type in, of one capture.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Filters {
    /// The capture; unset when there is only one, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The frames that decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<String>,
    /// All packets of the connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<String>,
}

/// Those of an incident. Hosts that are known by name alone have none.
pub(super) fn of(incident: &Incident) -> Vec<Filters> {
    let (source, target) = &incident.span.pair;
    let (Ok(source), Ok(target)) = (source.parse::<IpAddr>(), target.parse::<IpAddr>()) else {
        return Vec::new();
    };
    let mut files: BTreeMap<Option<&str>, (BTreeSet<u64>, Vec<&Connection>)> = BTreeMap::new();
    for step in incident.steps().filter(|step| step.weight() >= 2) {
        let frames = &mut files.entry(step.file.as_deref()).or_default().0;
        frames.extend(step.frame.into_iter().chain(step.reply_frame));
    }
    for connection in &incident.connections {
        let connections = &mut files.entry(connection.file.as_deref()).or_default().1;
        connections.push(connection);
    }
    files
        .into_iter()
        .take(MAX_FILES)
        .map(|(file, (frames, connections))| Filters {
            file: file.map(ToOwned::to_owned),
            frames: (!frames.is_empty()).then(|| {
                let frames: Vec<String> = frames.iter().take(MAX_FRAMES).map(u64::to_string).collect();
                format!("frame.number in {{{}}}", frames.join(", "))
            }),
            connections: (!connections.is_empty()).then(|| of_connections(source, target, &connections)),
        })
        .collect()
}

fn of_connections(source: IpAddr, target: IpAddr, connections: &[&Connection]) -> String {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("ip.addr == {ip}"),
        IpAddr::V6(ip) => format!("ipv6.addr == {ip}"),
    };
    let hosts = format!("{} && {}", address(source), address(target));
    if connections.len() > MAX_CONNECTIONS {
        return hosts;
    }
    let pairs: Vec<String> = connections
        .iter()
        .map(|connection| {
            let port = if connection.udp { "udp.port" } else { "tcp.port" };
            let (from, to) = connection.ports;
            format!("({port} == {from} && {port} == {to})")
        })
        .collect();
    if let [one] = &pairs[..] {
        return format!("{hosts} && {}", one.trim_matches(['(', ')']));
    }
    format!("{hosts} && ({})", pairs.join(" || "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_hosts_and_ports() {
        let connection = |udp, ports| Connection { file: None, udp, ports };
        let (a, b) = ("fd00::20".parse().unwrap(), "fd00::10".parse().unwrap());
        let (one, two) = (connection(false, (50_000, 135)), connection(true, (50_001, 135)));
        assert_eq!(
            of_connections(a, b, &[&one]),
            "ipv6.addr == fd00::20 && ipv6.addr == fd00::10 && tcp.port == 50000 && tcp.port == 135"
        );
        assert_eq!(
            of_connections(a, b, &[&one, &two]),
            "ipv6.addr == fd00::20 && ipv6.addr == fd00::10 && ((tcp.port == 50000 && tcp.port == 135) || \
             (udp.port == 50001 && udp.port == 135))"
        );
    }
}
