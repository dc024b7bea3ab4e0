//! Who reached whom, small enough to be looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::chain::{Incident, Reach};
use super::incidents::{Grade, Pair};

/// So many hosts are nodes of their own; beyond that, those that are alike are one node.
const MAX_HOSTS: usize = 24;
/// So many of them keep a node of their own even then.
const MAX_KEPT: usize = 8;
/// So many groups of alike hosts; the others are one.
const MAX_GROUPS: usize = 10;
/// Names that a node or an edge lists.
const MAX_LISTED: usize = 12;

/// A host, or several that are alike.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Node {
    pub(super) label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// How many hosts it stands for.
    pub(super) hosts: usize,
    /// The first of these, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) members: Vec<String>,
    /// How many steps from where it began.
    pub(super) column: usize,
}

/// All that one node did to another.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) severity: Grade,
    pub(super) reach: Reach,
    pub(super) concluded: bool,
    pub(super) alerts: u64,
    pub(super) classes: BTreeSet<String>,
    pub(super) commands: BTreeSet<String>,
    pub(super) verdicts: BTreeSet<String>,
    /// Indices of incidents, the gravest first.
    pub(super) incidents: Vec<usize>,
    pub(super) first: i64,
    pub(super) last: i64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// Of each incident, its edge.
    pub(super) edge_of: Vec<usize>,
    /// Hosts, before they were put together.
    pub(super) hosts: usize,
    pub(super) pairs: usize,
}

/// What is between two hosts.
#[derive(Debug)]
struct Link<'a> {
    severity: Grade,
    reach: Reach,
    concluded: bool,
    alerts: u64,
    incidents: Vec<(usize, &'a Incident)>,
    first: i64,
    last: i64,
}

/// The graph of all incidents, the gravest first.
pub(super) fn of(incidents: &[Incident]) -> Graph {
    let links = links(incidents);
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for incident in incidents {
        let own = incident.target_names.iter();
        if let Some(name) = own
            .clone()
            .find(|name| !name.contains('.'))
            .or_else(|| own.clone().next())
        {
            names.entry(&incident.span.pair.1).or_insert(name);
        }
    }
    let hosts: BTreeSet<&str> = links
        .keys()
        .flat_map(|(from, to)| [from.as_str(), to.as_str()])
        .collect();
    let group = groups(&links, &hosts);
    // Nodes stand in the order in which their first host does.
    let mut nodes: Vec<Node> = Vec::new();
    let mut node_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    for &host in &hosts {
        let key = group.get(host).map_or(host, String::as_str);
        let index = *index_of.entry(key).or_insert_with(|| {
            nodes.push(Node {
                label: String::new(),
                name: None,
                hosts: 0,
                members: Vec::new(),
                column: 0,
            });
            nodes.len() - 1
        });
        node_of.insert(host, index);
        let node = &mut nodes[index];
        node.hosts += 1;
        if node.members.len() < MAX_LISTED {
            node.members.push(if host.is_empty() {
                "unknown".to_owned()
            } else {
                host.to_owned()
            });
        }
        node.name = names
            .get(host)
            .filter(|name| **name != host)
            .map(|name| (*name).to_owned());
    }
    for node in &mut nodes {
        if let [one] = &node.members[..] {
            node.label.clone_from(one);
            node.members.clear();
        } else {
            node.label = format!("{} hosts", node.hosts);
            node.name = None;
        }
    }
    let edges = edges(&links, &node_of);
    columns(&mut nodes, &edges);
    let index_of: BTreeMap<(usize, usize), usize> = (0..)
        .zip(&edges)
        .map(|(index, edge)| ((edge.from, edge.to), index))
        .collect();
    let ends = incidents.iter().map(|incident| &incident.span.pair);
    let edge_of = ends
        .map(|(from, to)| index_of[&(node_of[from.as_str()], node_of[to.as_str()])])
        .collect();
    Graph {
        nodes,
        edges,
        edge_of,
        hosts: hosts.len(),
        pairs: links.len(),
    }
}

fn links(incidents: &[Incident]) -> BTreeMap<Pair, Link<'_>> {
    let mut links: BTreeMap<Pair, Link<'_>> = BTreeMap::new();
    for (index, incident) in incidents.iter().enumerate() {
        let span = &incident.span;
        let (reach, concluded) = incident.reach();
        let others = incident.other_targets.iter();
        let pairs = others.map(|target| ((span.pair.0.clone(), target.clone()), false));
        for (pair, own) in [(span.pair.clone(), true)].into_iter().chain(pairs) {
            // Of the other targets of an alert, it says that they were tried or asked, not how far it went.
            let (reach, concluded) = if own { (reach, concluded) } else { (Reach::Asked, false) };
            let link = links.entry(pair).or_insert_with(|| Link {
                severity: if own { span.worst } else { 5 },
                reach,
                concluded,
                alerts: 0,
                incidents: Vec::new(),
                first: span.from,
                last: span.to,
            });
            if (reach, !concluded) > (link.reach, !link.concluded) {
                (link.reach, link.concluded) = (reach, concluded);
            }
            if own {
                link.severity = link.severity.min(span.worst);
                link.alerts += incident.alerts();
            }
            link.first = link.first.min(span.from);
            link.last = link.last.max(span.to);
            link.incidents.push((index, incident));
        }
    }
    links
}

/// Of too many hosts, the name of the group that each is in. Those that matter most are in none.
fn groups(links: &BTreeMap<Pair, Link<'_>>, hosts: &BTreeSet<&str>) -> BTreeMap<String, String> {
    if hosts.len() <= MAX_HOSTS {
        return BTreeMap::new();
    }
    // The more hosts one reached, and the graver that was, the more it matters.
    let mut out: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    let mut into: BTreeMap<&str, (Grade, Reach, BTreeSet<&str>)> = BTreeMap::new();
    for ((from, to), link) in links {
        let source = out.entry(from).or_default();
        source.0 += 1;
        source.1 += link.alerts;
        let target = into.entry(to).or_insert((5, Reach::Noted, BTreeSet::new()));
        target.0 = target.0.min(link.severity);
        target.1 = target.1.max(link.reach);
        target.2.insert(from);
    }
    let mut ranked: Vec<(&str, (usize, u64))> = out.iter().map(|(&host, &rank)| (host, rank)).collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let kept: BTreeSet<&str> = ranked.iter().take(MAX_KEPT).map(|(host, _)| *host).collect();
    // Targets of the same known sources are alike when as much was done to them; other sources are alike.
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for &host in hosts.iter().filter(|&host| !kept.contains(host)) {
        let key = match into.get(host) {
            Some((severity, reach, sources)) if !out.contains_key(host) => {
                let known: Vec<&str> = sources.iter().copied().filter(|source| kept.contains(source)).collect();
                format!("t {severity} {reach:?} {}", known.join(" "))
            }
            Some(_) => "pivots".to_owned(),
            None => "sources".to_owned(),
        };
        groups.entry(key).or_default().push(host);
    }
    let mut by_size: Vec<(String, Vec<&str>)> = groups.into_iter().collect();
    by_size.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    let mut group_of = BTreeMap::new();
    for (number, (key, members)) in by_size.into_iter().enumerate() {
        let key = if number < MAX_GROUPS { key } else { "others".to_owned() };
        group_of.extend(members.into_iter().map(|host| (host.to_owned(), format!("\0{key}"))));
    }
    group_of
}

fn edges(links: &BTreeMap<Pair, Link<'_>>, node_of: &BTreeMap<&str, usize>) -> Vec<Edge> {
    let mut edges: BTreeMap<(usize, usize), Edge> = BTreeMap::new();
    for ((from, to), link) in links {
        let key = (node_of[from.as_str()], node_of[to.as_str()]);
        let edge = edges.entry(key).or_insert_with(|| Edge {
            from: key.0,
            to: key.1,
            severity: 5,
            reach: link.reach,
            concluded: link.concluded,
            alerts: 0,
            classes: BTreeSet::new(),
            commands: BTreeSet::new(),
            verdicts: BTreeSet::new(),
            incidents: Vec::new(),
            first: link.first,
            last: link.last,
        });
        if (link.reach, !link.concluded) > (edge.reach, !edge.concluded) {
            (edge.reach, edge.concluded) = (link.reach, link.concluded);
        }
        edge.severity = edge.severity.min(link.severity);
        edge.alerts += link.alerts;
        edge.first = edge.first.min(link.first);
        edge.last = edge.last.max(link.last);
        for (index, incident) in &link.incidents {
            edge.incidents.push(*index);
            let own = incident.span.pair.1 == *to;
            let classes = incident.classes.iter().filter(|_| own);
            let commands = incident
                .steps()
                .filter_map(|step| step.command_line.as_ref())
                .filter(|_| own);
            let verdicts = incident.verdicts.keys().filter(|_| own);
            for (all, some) in [
                (&mut edge.classes, classes.collect::<Vec<_>>()),
                (&mut edge.commands, commands.collect()),
                (&mut edge.verdicts, verdicts.collect()),
            ] {
                let room = MAX_LISTED.saturating_sub(all.len());
                all.extend(
                    some.into_iter()
                        .take(room)
                        .map(|text| text.chars().take(200).collect::<String>()),
                );
            }
        }
    }
    let mut edges: Vec<Edge> = edges.into_values().collect();
    for edge in &mut edges {
        edge.incidents.sort_unstable();
        edge.incidents.dedup();
        edge.incidents.truncate(MAX_LISTED);
    }
    edges
}

/// How far each node is from those that nobody reached; in a circle, from the one that acted first.
fn columns(nodes: &mut [Node], edges: &[Edge]) {
    let reached: BTreeSet<usize> = edges
        .iter()
        .filter(|edge| edge.from != edge.to)
        .map(|edge| edge.to)
        .collect();
    let mut column: Vec<Option<usize>> = vec![None; nodes.len()];
    let mut roots: VecDeque<usize> = (0..nodes.len()).filter(|node| !reached.contains(node)).collect();
    let mut by_time: Vec<&Edge> = edges.iter().collect();
    by_time.sort_by_key(|edge| (edge.first, edge.from, edge.to));
    loop {
        for &root in &roots {
            column[root] = Some(0);
        }
        while let Some(node) = roots.pop_front() {
            let next = column[node].unwrap_or_default() + 1;
            for edge in edges.iter().filter(|edge| edge.from == node) {
                if column[edge.to].is_none() {
                    column[edge.to] = Some(next);
                    roots.push_back(edge.to);
                }
            }
        }
        match by_time.iter().find(|edge| column[edge.from].is_none()) {
            Some(edge) => roots.push_back(edge.from),
            None => break,
        }
    }
    for (node, column) in nodes.iter_mut().zip(column) {
        node.column = column.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::incidents::Span;
    use crate::report::text::Texts;

    fn incident(source: &str, target: &str, first: i64) -> Incident {
        let mut incident = Incident::new(Span {
            pair: (source.to_owned(), target.to_owned()),
            from: first,
            to: first,
            worst: 2,
        });
        let event = json!({"alert": {"signature_id": 1_021_303}, "dcom": {"kind": "call", "class": "ShellWindows",
            "command_line": "calc.exe"}});
        incident.add_alert(&event, first, 2, 0, &mut Texts::default());
        incident
    }

    #[test]
    fn a_pivot_stands_between() {
        let graph = of(&[incident("a", "b", 5), incident("b", "c", 9), incident("a", "b", 99)]);
        let told: Vec<_> = graph
            .nodes
            .iter()
            .map(|node| (node.label.as_str(), node.column))
            .collect();
        assert_eq!(told, [("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(graph.edges.len(), 2);
        let edge = &graph.edges[0];
        assert_eq!(
            (edge.from, edge.to, edge.alerts, edge.first, edge.last),
            (0, 1, 2, 5, 99)
        );
        assert_eq!(edge.incidents, [0, 2]);
        assert_eq!(graph.edge_of, [0, 1, 0]);
        assert!(edge.classes.contains("ShellWindows") && edge.commands.contains("calc.exe"));
    }

    #[test]
    fn a_circle_begins_where_it_began() {
        let graph = of(&[incident("a", "b", 9), incident("b", "a", 5)]);
        let columns: Vec<usize> = graph.nodes.iter().map(|node| node.column).collect();
        assert_eq!(columns, [1, 0]);
    }

    #[test]
    fn other_targets_of_an_alert_are_on_it() {
        let mut one = incident("a", "b", 1);
        one.other_targets.insert("c".to_owned());
        let graph = of(&[one]);
        assert_eq!((graph.hosts, graph.pairs), (3, 2));
        let other = &graph.edges[1];
        assert_eq!((other.reach, other.severity, other.alerts), (Reach::Asked, 5, 0));
        assert!(other.commands.is_empty());
    }

    #[test]
    fn of_many_hosts_those_that_are_alike_are_one() {
        let incidents: Vec<Incident> = (0..500)
            .map(|number| incident(&format!("s{}", number % 40), &format!("t{number}"), number))
            .collect();
        let graph = of(&incidents);
        assert!(graph.nodes.len() <= MAX_KEPT + MAX_GROUPS + 1, "{}", graph.nodes.len());
        assert_eq!(graph.nodes.iter().map(|node| node.hosts).sum::<usize>(), 540);
        assert_eq!(graph.edges.iter().map(|edge| edge.alerts).sum::<u64>(), 500);
        assert!(graph.nodes.iter().all(|node| node.members.len() <= MAX_LISTED));
    }
}
