//! Interfaces as Linux tells of them, and which of them looks like the end of a mirror.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::check::Check;
use crate::document::closest;

/// Where Linux has them.
const SYSTEM: &str = "/sys/class/net";
/// `IFF_UP`, `IFF_PROMISC` of `linux/if.h`.
const UP: u32 = 0x1;
const PROMISCUOUS: u32 = 0x100;
/// `ARPHRD_LOOPBACK` of `linux/if_arp.h`.
const LOOPBACK: u32 = 772;
/// A link-layer header, and a VLAN tag or two, come on top of the MTU.
const HEADERS: u32 = 14 + 8;

/// An interface that there is.
pub(super) struct Interface {
    pub(super) name: String,
    folder: PathBuf,
    addresses: Vec<IpAddr>,
}

/// What the kernel has counted on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Frames that found no room in the card, or came damaged.
    pub(super) lost: u64,
}

impl Counts {
    /// What came since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            lost: self.lost.saturating_sub(before.lost),
        }
    }
}

/// All interfaces, by name.
pub(super) fn all() -> Vec<Interface> {
    let known = pcap::Device::list().unwrap_or_default();
    let names = match fs::read_dir(SYSTEM) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            // Some of what stands there is no interface.
            .filter(|name| Path::new(SYSTEM).join(name).join("flags").exists())
            .collect(),
        Err(_) => known.iter().map(|device| device.name.clone()).collect::<Vec<_>>(),
    };
    let mut all: Vec<_> = names
        .into_iter()
        .map(|name| Interface {
            folder: Path::new(SYSTEM).join(&name),
            addresses: known
                .iter()
                .filter(|device| device.name == name)
                .flat_map(|device| device.addresses.iter().map(|address| address.addr))
                .collect(),
            name,
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The name that was probably meant, and all there are.
pub(super) fn meant(name: &str, all: &[Interface]) -> String {
    let names: Vec<&str> = all.iter().map(|interface| &*interface.name).collect();
    let list = names.join(", ");
    match closest(name, names) {
        Some(meant) => format!("did you mean `{meant}`? There are {list}"),
        None => format!("there are {list}"),
    }
}

impl Interface {
    fn text(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.parse().ok()
    }

    fn flags(&self) -> Option<u32> {
        u32::from_str_radix(self.text("flags")?.trim_start_matches("0x"), 16).ok()
    }

    fn is_up(&self) -> bool {
        self.flags().is_some_and(|flags| flags & UP != 0)
    }

    /// Is it known to be down?
    pub(super) fn is_down(&self) -> bool {
        self.flags().is_some_and(|flags| flags & UP == 0)
    }

    fn is_loopback(&self) -> bool {
        self.number("type") == Some(LOOPBACK.into())
    }

    fn mtu(&self) -> Option<u32> {
        u32::try_from(self.number("mtu")?).ok()
    }

    /// Addresses that somebody gave it: those of the link alone every interface has.
    fn given(&self) -> Vec<String> {
        let given = self.addresses.iter().filter(|address| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        });
        given.map(ToString::to_string).collect()
    }

    /// What the kernel has counted so far.
    pub(super) fn counts(&self) -> Option<Counts> {
        let count = |name: &str| self.number(&format!("statistics/{name}"));
        Some(Counts {
            received: count("rx_packets")?,
            sent: count("tx_packets")?,
            lost: [
                "rx_missed_errors",
                "rx_fifo_errors",
                "rx_length_errors",
                "rx_crc_errors",
            ]
            .into_iter()
            .filter_map(count)
            .sum(),
        })
    }

    /// Is it up, and does something stand at the other end?
    pub(super) fn link(&self) -> Check {
        const NAME: &str = "link";
        let of = |check: Check| check.of(&self.name);
        let Some(flags) = self.flags() else {
            return of(Check::cannot_tell(
                NAME,
                "this system does not tell the state of interfaces",
                "look whether it is up",
            ));
        };
        if flags & UP == 0 {
            return of(Check::bad(NAME, "it is down", format!("ip link set {} up", self.name)));
        }
        // Of an interface that is up: is there a carrier?
        if self.number("carrier") == Some(0) {
            return of(Check::bad(
                NAME,
                "it is up, and has no carrier",
                "is the cable in, and the port at its other end on? is the destination of the mirror session this port?",
            ));
        }
        let mut says = "it is up".to_owned();
        if let Some(mtu) = self.mtu() {
            let _ = write!(says, ", MTU {mtu}");
        }
        // Virtual ones tell -1, or nothing.
        if let Some(speed) = self.number("speed").filter(|&speed| speed < u64::from(u32::MAX)) {
            let _ = write!(says, ", {speed} Mbit/s");
        }
        of(Check::ok(NAME, says))
    }

    /// The end of a mirror has none, and says nothing.
    pub(super) fn addresses(&self) -> Check {
        const NAME: &str = "addresses";
        let given = self.given();
        let check = if given.is_empty() {
            Check::ok(NAME, "none, as a mirror port should have")
        } else if self.is_loopback() {
            Check::warn(
                NAME,
                "it is the loopback: only this machine speaks on it",
                "name the interface that the mirror ends at",
            )
        } else {
            Check::warn(
                NAME,
                format!("it has {}: this machine itself speaks on it", given.join(", ")),
                "if it is the mirror's end, take them away (`ip addr flush dev …`, and in the network's settings); if it is not, \
                 name the one that is",
            )
        };
        check.of(&self.name)
    }

    /// While somebody listens on it.
    pub(super) fn promiscuous(&self) -> Option<Check> {
        const NAME: &str = "promiscuous";
        let flags = self.flags()?;
        let check = if flags & PROMISCUOUS != 0 || self.is_loopback() {
            Check::ok(NAME, "frames for others come in too")
        } else {
            Check::warn(
                NAME,
                "it does not say that it lets in frames for others",
                "a mirror is of such frames. Where this is a virtual machine, its switch has to allow it: promiscuous mode of the \
                 port group, or a mirror session of the hypervisor",
            )
        };
        Some(check.of(&self.name))
    }

    /// Does the card or the kernel join segments before they are seen?
    pub(super) fn offload(&self) -> Check {
        const NAME: &str = "offload";
        // Where it is not in the path of whoever is no administrator, it is here.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let asked = Command::new("ethtool")
            .args(["-k", &self.name])
            .env("PATH", path)
            .env("LC_ALL", "C")
            .output();
        let check = match asked {
            Ok(output) if output.status.success() => {
                Offload::of(&String::from_utf8_lossy(&output.stdout)).check(&self.name)
            }
            Ok(output) => Check::cannot_tell(
                NAME,
                format!(
                    "`ethtool -k {}`: {}",
                    self.name,
                    String::from_utf8_lossy(&output.stderr).trim()
                ),
                "what frames came tells it as well: see `joined`",
            ),
            Err(_) => Check::cannot_tell(
                NAME,
                "there is no program `ethtool` to ask",
                format!(
                    "install it (apt install ethtool) and look at `ethtool -k {}`",
                    self.name
                ),
            ),
        };
        check.of(&self.name)
    }

    /// Did frames come that are longer than any that this interface could have received?
    pub(super) fn joined(&self, longest: u32) -> Option<Check> {
        const NAME: &str = "joined";
        if longest == 0 {
            return None;
        }
        let mtu = self.mtu()?;
        let check = if longest > mtu.saturating_add(HEADERS) && !self.is_loopback() {
            Check::warn(
                NAME,
                format!(
                    "frames of up to {longest} bytes came over an MTU of {mtu}: something joined segments before they were seen"
                ),
                format!(
                    "ethtool -K {} gro off lro off; on a machine that speaks itself, tso off gso off too",
                    self.name
                ),
            )
        } else {
            Check::ok(
                NAME,
                format!("no frame was longer ({longest} bytes) than the MTU of {mtu} allows"),
            )
        };
        Some(
            check
                .of(&self.name)
                .measured([("longest", longest.into()), ("mtu", mtu.into())]),
        )
    }

    /// What a look from outside tells: how much comes in that nobody asked for.
    fn look(&self, moved: Counts) -> Look {
        Look {
            up: self.is_up() && self.number("carrier") != Some(0),
            loopback: self.is_loopback(),
            addresses: self.given(),
            moved,
        }
    }
}

/// An interface, looked at from outside for a while.
#[derive(Debug, Default)]
struct Look {
    up: bool,
    loopback: bool,
    addresses: Vec<String>,
    moved: Counts,
}

impl Look {
    /// A mirror's end has no address and sends nothing; the more comes in, the likelier it is one.
    fn is_mirror(&self) -> bool {
        self.up
            && !self.loopback
            && self.addresses.is_empty()
            && self.moved.received > 0
            && self.moved.received >= 10 * self.moved.sent
    }

    fn says(&self, lasted: Duration) -> String {
        let state = if self.up { "up" } else { "down" };
        let addresses = if self.addresses.is_empty() {
            "no address".to_owned()
        } else {
            self.addresses.join(", ")
        };
        let Counts { received, sent, lost } = self.moved;
        let mut says = format!(
            "{state}, {addresses}; in {:.0} s {received} frames came in and {sent} went out",
            lasted.as_secs_f64()
        );
        if lost > 0 {
            let _ = write!(says, ", {lost} were lost in the card");
        }
        says
    }
}

/// Looks at all of them for so long, and says which may be the end of a mirror.
pub(super) fn survey(lasted: Duration) -> Vec<Check> {
    let all = all();
    let counts = || {
        all.iter()
            .map(|one| one.counts().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let before = counts();
    std::thread::sleep(lasted);
    let looks: Vec<(&str, Look)> = all
        .iter()
        .zip(before.into_iter().zip(counts()))
        .map(|(interface, (before, after))| (&*interface.name, interface.look(after.since(before))))
        .collect();
    let mut checks: Vec<_> = looks
        .iter()
        .map(|(name, look)| {
            let Counts { received, sent, lost } = look.moved;
            Check::ok("interface", look.says(lasted)).of(name).measured([
                ("received", received),
                ("sent", sent),
                ("lost", lost),
            ])
        })
        .collect();
    let speaking = all
        .iter()
        .filter(|interface| interface.is_up() && !interface.is_loopback());
    checks.extend(speaking.map(Interface::offload));
    checks.push(suggestion(&looks));
    checks.push(Check::cannot_tell(
        "traffic",
        "nothing was listened to: both directions, ring, DCOM and what is sealed are told by frames alone",
        "name an interface (dcom-sensor doctor -i INTERFACE) or a capture",
    ));
    checks
}

fn suggestion(looks: &[(&str, Look)]) -> Check {
    const NAME: &str = "mirror";
    let mirrors = looks.iter().filter(|(_, look)| look.is_mirror());
    match mirrors.max_by_key(|(_, look)| look.moved.received) {
        Some((name, look)) => Check::ok(
            NAME,
            format!(
                "{name} looks like the end of a mirror: no address, {} frames in and {} out. Look at it: dcom-sensor doctor -i {name}",
                look.moved.received, look.moved.sent
            ),
        )
        .of(name),
        None => Check::warn(
            NAME,
            "no interface looks like the end of a mirror: up, without an address, frames that come in and none that go out",
            "bring its interface up (`ip link set … up`) and the mirror session with it; then name it with -i",
        ),
    }
}

/// What `ethtool -k` says; none where it does not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offload {
    gro: Option<bool>,
    lro: Option<bool>,
    vlan: Option<bool>,
}

impl Offload {
    fn of(text: &str) -> Self {
        let is_on = |feature: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(feature)?.strip_prefix(':'))?;
            line.split_whitespace().next().map(|word| word == "on")
        };
        Self {
            gro: is_on("generic-receive-offload"),
            lro: is_on("large-receive-offload"),
            vlan: is_on("rx-vlan-offload"),
        }
    }

    fn check(&self, interface: &str) -> Check {
        const NAME: &str = "offload";
        if self.gro.is_none() && self.lro.is_none() {
            let what_to_do = "what frames came tells it as well: see `joined`";
            return Check::cannot_tell(
                NAME,
                "`ethtool -k` does not say whether segments are joined",
                what_to_do,
            );
        }
        let on: Vec<&str> = [(self.gro, "gro"), (self.lro, "lro")]
            .into_iter()
            .filter(|(on, _)| *on == Some(true))
            .map(|(_, name)| name)
            .collect();
        // libpcap puts the tag back where the card has taken it off.
        let vlan = if self.vlan == Some(true) {
            "; VLAN tags are taken off by the card, and put back"
        } else {
            ""
        };
        if on.is_empty() {
            return Check::ok(NAME, format!("segments are seen as they came (GRO and LRO off){vlan}"));
        }
        let off: Vec<_> = on.iter().map(|name| format!("{name} off")).collect();
        Check::warn(
            NAME,
            format!(
                "{} on: segments may be joined before they are seen. They are read all the same; times, counts of frames and of \
                 copies are then not those of the wire{vlan}",
                on.join(" and ").to_uppercase().replace("AND", "and")
            ),
            format!("ethtool -K {interface} {}", off.join(" ")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_ethtool_says_is_understood() {
        let text = "Features for eth1:\nrx-checksumming: on [fixed]\ngeneric-receive-offload: on\n\
                    large-receive-offload: off [fixed]\nrx-vlan-offload: on\n\trx-vlan-filter: on [fixed]\n";
        let offload = Offload::of(text);
        assert_eq!(
            offload,
            Offload {
                gro: Some(true),
                lro: Some(false),
                vlan: Some(true)
            }
        );
        let check = offload.check("eth1");
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.says.starts_with("GRO on:"), "{}", check.says);
        let off = Offload::of(&text.replace("generic-receive-offload: on", "generic-receive-offload: off"));
        assert_eq!(off.check("eth1").verdict, Verdict::Ok);
        assert_eq!(Offload::of("").check("eth1").verdict, Verdict::CannotTell);
    }

    fn look(addresses: &[&str], received: u64, sent: u64) -> Look {
        Look {
            up: true,
            loopback: false,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            moved: Counts {
                received,
                sent,
                lost: 0,
            },
        }
    }

    #[test]
    fn the_end_of_a_mirror_has_no_address_and_says_nothing() {
        let looks = [
            ("eth0", look(&["192.0.2.2"], 90_000, 10)),
            ("eth1", look(&[], 500, 0)),
            ("eth2", look(&[], 800, 2)),
            ("eth3", look(&[], 9_000, 9_000)),
        ];
        let check = suggestion(&looks);
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.says.starts_with("eth2 looks like"), "{}", check.says);
        assert_eq!(suggestion(&looks[..1]).verdict, Verdict::Warn);
        assert_eq!(suggestion(&looks[3..]).verdict, Verdict::Warn);
        let down = Look {
            up: false,
            ..look(&[], 500, 0)
        };
        assert!(!down.is_mirror());
    }

    #[test]
    fn frames_longer_than_the_mtu_allows_were_joined() {
        let folder = std::env::temp_dir().join(format!("dcom-sensor-doctor-{}-eth1", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mtu"), "1500\n").unwrap();
        fs::write(folder.join("flags"), "0x1003\n").unwrap();
        fs::write(folder.join("carrier"), "0\n").unwrap();
        let interface = Interface {
            name: "eth1".to_owned(),
            folder: folder.clone(),
            addresses: vec!["fe80::1".parse().unwrap()],
        };
        let verdict = |longest| interface.joined(longest).map(|check| check.verdict);
        assert_eq!(verdict(0), None);
        assert_eq!(verdict(1_522), Some(Verdict::Ok));
        assert_eq!(verdict(1_523), Some(Verdict::Warn));
        // The link's own address was given by nobody.
        assert_eq!(interface.addresses().verdict, Verdict::Ok);
        let link = interface.link();
        assert_eq!(
            (link.verdict, &*link.says),
            (Verdict::Bad, "it is up, and has no carrier")
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_name_that_is_nearly_right_is_found() {
        let all: Vec<_> = ["eth0", "eth1", "lo"]
            .map(|name| Interface {
                name: name.to_owned(),
                folder: PathBuf::new(),
                addresses: Vec::new(),
            })
            .into();
        assert!(
            meant("eht1", &all).starts_with("did you mean `eth1`?"),
            "{}",
            meant("eht1", &all)
        );
        assert_eq!(meant("x", &all), "there are eth0, eth1, lo");
    }
}
