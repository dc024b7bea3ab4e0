//! Which computer has which address: from a map, from host logs, from what hosts say of themselves on the wire.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::host_log::event::same_host;

/// Computers known at a time.
const MOST_HOSTS: usize = 65_536;
/// Of these, those that the wire may name: the others are left for the map and for hosts that log.
const MOST_OF_THE_WIRE: usize = MOST_HOSTS / 2;
/// Names of one address.
const MOST_PER_ADDRESS: usize = 8;
/// Addresses known at a time.
const MOST_ADDRESSES: usize = 4 * MOST_HOSTS;
/// Conflicts that are told.
const MOST_CONFLICTS: usize = 100;

/// A computer, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// Who says that a name and an address belong together, the most trusted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// The user.
    Map,
    /// The host's log: an end of a connection that the host opened, or of one that the wire saw, too.
    Log,
    /// The server on the wire: NTLMSSP's challenge, string bindings, DHCP.
    Server,
    /// The host's log: the end of a connection from outside that should be its own. What another host logs of whoever logged
    /// on to it.
    LogGuess,
    /// A name server's answer on the wire.
    Dns,
    /// The client on the wire, of itself or of whom it called: NTLMSSP, Kerberos, `COSERVERINFO`.
    Client,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "the host map",
            Self::Log | Self::LogGuess => "host logs",
            Self::Server => "the server's own word",
            Self::Dns => "DNS",
            Self::Client => "the client's word",
        })
    }
}

/// Names and addresses.
#[derive(Debug, Default)]
pub struct Names {
    hosts: Vec<Arc<str>>,
    /// By the name without its domain, in lower case: the first of those that have it. One without a domain is alone, since
    /// it may be any of them.
    by_name: HashMap<String, HostId>,
    /// By the name with its domain, in lower case.
    by_full_name: HashMap<String, HostId>,
    by_address: HashMap<IpAddr, Vec<(By, HostId)>>,
    conflicts: BTreeMap<IpAddr, String>,
    /// Conflicts that nobody was told of.
    news: Vec<String>,
    /// Names and pairs that found no room.
    pub(super) over_limit: u64,
}

impl Names {
    /// The computer of that name, as new if it is not known; none when there is no room.
    pub fn host(&mut self, name: &str) -> Option<HostId> {
        self.host_of(name, MOST_HOSTS)
    }

    /// The same, as new where there are fewer than so many.
    fn host_of(&mut self, name: &str, most: usize) -> Option<HostId> {
        if let Some(id) = self.find(name) {
            // The longer name says more.
            if name.len() > self.hosts.get(id.0).map_or(0, |known| known.len()) {
                self.hosts[id.0] = name.trim_end_matches('.').into();
                self.by_full_name.insert(full(name), id);
            }
            return Some(id);
        }
        if self.hosts.len() >= most {
            self.over_limit += 1;
            return None;
        }
        let id = HostId(self.hosts.len());
        self.hosts.push(name.trim_end_matches('.').into());
        self.by_name.entry(short(name)).or_insert(id);
        self.by_full_name.insert(full(name), id);
        Some(id)
    }

    /// The computer of that name, if it is known.
    pub fn find(&self, name: &str) -> Option<HostId> {
        let first = *self.by_name.get(&short(name))?;
        if same_host(&self.hosts[first.0], name) {
            return Some(first);
        }
        self.by_full_name.get(&full(name)).copied()
    }

    /// Its name, as it was spelled at length.
    pub fn name(&self, host: HostId) -> Arc<str> {
        self.hosts.get(host.0).cloned().unwrap_or_else(|| "?".into())
    }

    /// Is there room for one more name of that address? The least trusted makes room for one that is trusted more.
    fn has_room(&self, address: IpAddr, by: By) -> bool {
        match self.by_address.get(&address) {
            Some(known) => known.len() < MOST_PER_ADDRESS || known.last().is_some_and(|&(least, _)| by < least),
            None => self.by_address.len() < MOST_ADDRESSES,
        }
    }

    /// A name and an address belong together.
    pub fn learn(&mut self, name: &str, address: IpAddr, by: By) {
        if is_worthless(name) || is_everybodys(address) {
            return;
        }
        let known = self.find(name);
        let is_here = known.is_some_and(|host| self.of(address).any(|(_, other)| other == host));
        if !is_here && !self.has_room(address, by) {
            // No computer is made of a name that nobody keeps.
            self.over_limit += 1;
            return;
        }
        let most = if by <= By::Log { MOST_HOSTS } else { MOST_OF_THE_WIRE };
        let is_short = !name.trim_end_matches('.').contains('.');
        // Two domains may have a computer of this name each: a name without its domain is that of whoever is known there.
        let here = self
            .of(address)
            .find(|(_, known)| short(&self.hosts[known.0]) == short(name));
        let host = match here {
            Some((_, known)) if is_short => Some(known),
            // The domain that the more trusted tells is the right one.
            Some((former, known)) if !same_host(&self.hosts[known.0], name) => {
                if former < by {
                    return;
                }
                if by < former
                    && let Some(list) = self.by_address.get_mut(&address)
                {
                    list.retain(|&(_, other)| other != known);
                }
                self.host_of(name, most)
            }
            _ => self.host_of(name, most),
        };
        let Some(host) = host else { return };
        let known = self.by_address.entry(address).or_default();
        if let Some(known) = known.iter_mut().find(|(_, known)| *known == host) {
            known.0 = known.0.min(by);
        } else {
            if known.len() >= MOST_PER_ADDRESS {
                self.over_limit += 1;
                known.pop();
            }
            known.push((by, host));
        }
        known.sort_by_key(|&(by, host)| (by, host));
        // Clients may call a host whatever they like; of those who know, two must not differ.
        if let [(first_by, first), (second_by, second), ..] = known[..]
            && second_by <= By::Server
            && (first_by != By::Map || second_by == By::Map)
            && self.conflicts.len() < MOST_CONFLICTS
            && !self.conflicts.contains_key(&address)
        {
            let told = format!(
                "{address} is {} by {first_by} and {} by {second_by}",
                self.hosts[first.0], self.hosts[second.0]
            );
            self.news.push(told.clone());
            self.conflicts.insert(address, told);
        }
    }

    /// Who may have that address, the most trusted first.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = (By, HostId)> {
        self.by_address.get(&address).into_iter().flatten().copied()
    }

    /// Does the computer have that address, by anybody who knows?
    pub fn has(&self, host: HostId, address: IpAddr) -> bool {
        self.of(address).any(|(by, known)| known == host && by < By::Client)
    }

    /// What is in conflict about an address.
    pub fn conflict(&self, address: IpAddr) -> Option<&str> {
        self.conflicts.get(&address).map(String::as_str)
    }

    /// Conflicts that were not asked for yet.
    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Learns `name = address` pairs (TOML; also `name = ["address", …]`).
    pub fn learn_map(&mut self, text: &str) -> Result<()> {
        self.map(&toml::from_str(text)?, "")
    }

    fn map(&mut self, table: &toml::Table, domain: &str) -> Result<()> {
        for (key, value) in table {
            // A name with dots and no quotes around it is a table in a table.
            let name = if domain.is_empty() {
                key.clone()
            } else {
                format!("{domain}.{key}")
            };
            let addresses = match value {
                toml::Value::Table(inner) => {
                    self.map(inner, &name)?;
                    continue;
                }
                toml::Value::String(address) => vec![address.as_str()],
                toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect(),
                _ => Vec::new(),
            };
            if addresses.is_empty() {
                bail!("`{name}` wants an address, or a list of them, in quotes");
            }
            for address in addresses {
                let address: IpAddr = address
                    .parse()
                    .with_context(|| format!("`{name}`: {address} is no address"))?;
                self.learn(&name, address.to_canonical(), By::Map);
            }
        }
        Ok(())
    }
}

fn full(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

/// The name without its domain, in lower case.
pub(super) fn short(name: &str) -> String {
    let name = name.trim_end_matches('.');
    name.split('.').next().unwrap_or(name).to_lowercase()
}

/// No name of a computer.
fn is_worthless(name: &str) -> bool {
    name.is_empty()
        || name == "-"
        || name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.len() > 255
        || name.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// An address that every host has.
pub(super) fn is_everybodys(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_trusted_most_stands_first() {
        let mut names = Names::default();
        names.learn("anything", ip("10.0.0.6"), By::Client);
        names.learn("WS6", ip("10.0.0.6"), By::Server);
        names.learn("ws6.corp.example", ip("10.0.0.6"), By::Log);
        let known: Vec<_> = names.of(ip("10.0.0.6")).collect();
        assert_eq!(known.len(), 2);
        assert_eq!((known[0].0, &*names.name(known[0].1)), (By::Log, "ws6.corp.example"));
        assert!(names.take_news().is_empty(), "a client may call it what it likes");
        assert!(names.has(known[0].1, ip("10.0.0.6")) && !names.has(known[1].1, ip("10.0.0.6")));
    }

    #[test]
    fn a_conflict_is_told_once() {
        let mut names = Names::default();
        for _ in 0..3 {
            names.learn("WS5", ip("10.0.0.6"), By::Log);
            names.learn("WS6", ip("10.0.0.6"), By::Server);
        }
        assert_eq!(
            names.take_news(),
            ["10.0.0.6 is WS5 by host logs and WS6 by the server's own word"]
        );
        assert!(names.conflict(ip("10.0.0.6")).is_some());
        assert!(names.take_news().is_empty());
    }

    #[test]
    fn a_computer_is_not_taken_for_its_namesake_in_another_domain() {
        for by in [By::Server, By::Client] {
            let mut names = Names::default();
            let other = names.host("ws6.other.example").unwrap();
            if by == By::Client {
                // Who was called so by a client alone is known better later.
                names.learn("WS6", ip("10.0.0.6"), by);
                assert_eq!(names.of(ip("10.0.0.6")).next(), Some((by, other)));
            }
            names.learn("ws6.lab.example", ip("10.0.0.6"), By::Server);
            names.learn("WS6", ip("10.0.0.6"), By::Server);
            names.learn("ws6.other.example", ip("10.0.0.6"), By::Dns);
            let known: Vec<_> = names.of(ip("10.0.0.6")).map(|(_, host)| names.name(host)).collect();
            assert_eq!(known.len(), 1, "{known:?}");
            assert_eq!(&*known[0], "ws6.lab.example");
        }
    }

    #[test]
    fn what_is_no_name_or_nobodys_address_is_not_learned() {
        let mut names = Names::default();
        for (name, address) in [
            ("-", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("WS1", "127.0.0.1"),
            ("WS1", "fe80::1"),
            ("WS1", "169.254.3.4"),
            ("a b", "10.0.0.1"),
        ] {
            names.learn(name, ip(address), By::Log);
            assert_eq!(names.of(ip(address)).count(), 0, "{name} {address}");
        }
    }

    #[test]
    fn a_map_has_names_with_and_without_dots_and_lists() {
        let mut names = Names::default();
        let read = Names::learn_map;
        read(
            &mut names,
            "WS6 = \"10.0.0.6\"\nws7.corp.example = [\"10.0.0.7\", \"2001:db8::7\"]\n\"ws8.corp.example\" = \"10.0.0.8\"",
        )
        .unwrap();
        let of = |address| names.of(ip(address)).map(|(_, host)| names.name(host)).next();
        assert_eq!(of("10.0.0.6").as_deref(), Some("WS6"));
        assert_eq!(of("2001:db8::7").as_deref(), Some("ws7.corp.example"));
        assert_eq!(of("10.0.0.8").as_deref(), Some("ws8.corp.example"));
        let error = read(&mut names, "WS6 = 6").unwrap_err();
        assert!(error.to_string().contains("WS6"), "{error}");
        assert!(read(&mut names, "WS6 = \"10.0.0\"").is_err());
    }

    #[test]
    fn a_name_without_its_domain_is_the_first_that_has_it() {
        let mut names = Names::default();
        let first = names.host("ws6").unwrap();
        assert_eq!(names.host("WS6.one.example."), Some(first));
        let second = names.host("ws6.two.example").unwrap();
        assert_ne!(first, second);
        for (name, id) in [
            ("ws6", Some(first)),
            ("ws6.ONE.example", Some(first)),
            ("WS6.two.example.", Some(second)),
            ("ws6.three.example", None),
        ] {
            assert_eq!(names.find(name), id, "{name}");
        }
        assert_eq!((&*names.name(first), names.hosts.len()), ("WS6.one.example", 2));
    }

    #[test]
    fn one_name_in_many_domains_finds_no_more_room_than_many_names() {
        let mut names = Names::default();
        for (by, most) in [(By::Server, MOST_OF_THE_WIRE), (By::Log, MOST_HOSTS)] {
            for number in 0..u32::from(u16::MAX) + 5 {
                let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
                names.learn(&format!("a.d{number}.example"), address, by);
            }
            assert_eq!(names.hosts.len(), most);
        }
    }

    #[test]
    fn names_that_the_wire_makes_up_leave_room_for_hosts_that_log() {
        let mut names = Names::default();
        for number in 0..u32::from(u16::MAX) + 5 {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            names.learn(&format!("made-up-{number}"), address, By::Client);
        }
        assert!(names.over_limit > 0);
        assert!(names.host("ws6").is_some());
        names.learn("ws7", ip("192.0.2.7"), By::Map);
        assert_eq!(names.of(ip("192.0.2.7")).count(), 1);
        for number in 0..100 {
            names.learn(&format!("alias-{number}"), ip("192.0.2.7"), By::Map);
        }
        let hosts = names.hosts.len();
        for number in 100..200 {
            names.learn(&format!("alias-{number}"), ip("192.0.2.7"), By::Map);
        }
        assert_eq!(
            names.hosts.len(),
            hosts,
            "what finds no room at its address takes none elsewhere"
        );
    }

    #[test]
    fn of_a_full_address_the_least_trusted_makes_room() {
        for by in [By::Dns, By::Client] {
            let mut names = Names::default();
            for number in 0..MOST_PER_ADDRESS + 3 {
                names.learn(&format!("app{number}.lab.example"), ip("192.0.2.10"), by);
            }
            names.learn("app99.lab.example", ip("192.0.2.10"), by);
            assert_eq!(
                (names.of(ip("192.0.2.10")).count(), names.over_limit),
                (MOST_PER_ADDRESS, 4)
            );
            names.learn("DCOMSRV01", ip("192.0.2.10"), By::Server);
            names.learn("srv.lab.example", ip("192.0.2.10"), By::Log);
            let known: Vec<_> = names.of(ip("192.0.2.10")).map(|(_, host)| names.name(host)).collect();
            assert_eq!(
                (known.len(), &*known[0], &*known[1]),
                (MOST_PER_ADDRESS, "srv.lab.example", "DCOMSRV01")
            );
        }
    }

    #[test]
    fn addresses_of_one_name_are_bounded() {
        let mut names = Names::default();
        for number in 0..=u32::try_from(MOST_ADDRESSES).unwrap() {
            names.learn("ws6", IpAddr::from((0x0a00_0000 + number).to_be_bytes()), By::Dns);
        }
        assert_eq!((names.by_address.len(), names.over_limit), (MOST_ADDRESSES, 1));
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        for number in 0..=u32::from(u16::MAX) + 5 {
            names.learn(
                &format!("h{number}"),
                IpAddr::from((0x0a00_0000 + number).to_be_bytes()),
                By::Log,
            );
        }
        assert_eq!(names.hosts.len(), MOST_HOSTS);
        assert!(names.over_limit > 0);
        for number in 0..20 {
            names.learn(&format!("h{number}"), ip("192.0.2.1"), By::Client);
        }
        assert_eq!(names.of(ip("192.0.2.1")).count(), MOST_PER_ADDRESS);
    }
}
