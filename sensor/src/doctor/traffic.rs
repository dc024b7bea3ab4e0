//! What the counters say of the traffic: the same questions of a sample off interfaces and of captures.

use std::fmt::Write as _;
use std::time::Duration;

use super::check::Check;
use crate::decode::Carrier;
use crate::emit::summary::{counted, rate};
use crate::statistics::Tally;

/// Where the traffic comes from: what to do about it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Interfaces,
    Captures,
}

/// What was counted.
pub(super) struct Traffic<'t> {
    pub(super) source: Source,
    pub(super) tally: &'t Tally,
    /// How long the traffic lasted.
    pub(super) lasted: Duration,
    pub(super) alerts: u64,
    /// Frames that were lost here, before they were counted.
    pub(super) dropped: u64,
}

/// What to do where frames that were cut may be why.
const SNAP_LENGTH_FIRST: &str = "see to that first: `snap_length`";

/// From so many of a hundred connections on, of which both ends are heard, the mirror shows both directions; below so many
/// it does not.
const BOTH: u64 = 90;
const ONE: u64 = 50;
/// So many of a thousand acknowledgements of data that was never seen are too many: what `live` calls doubtful.
const DOUBTFUL: u64 = 10;

impl Traffic<'_> {
    /// Every question that can be answered by it.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.frames()];
        if self.get("decoder.pkts") == 0 {
            return checks;
        }
        checks.extend(self.wrapping());
        checks.extend(self.unread());
        checks.push(self.snap_length());
        checks.extend(self.offload());
        checks.push(self.directions());
        checks.push(self.loss());
        checks.push(self.copies());
        checks.push(self.rpc());
        if self.has_rpc() {
            checks.push(self.dcom());
            checks.extend(self.ports());
            checks.push(self.sealed());
        }
        checks.extend(self.smb());
        checks.extend(self.bounds());
        checks
    }

    fn get(&self, name: &str) -> u64 {
        self.tally.get(name)
    }

    /// Advice for each of the two.
    fn either(&self, of_interfaces: &'static str, of_captures: &'static str) -> &'static str {
        match self.source {
            Source::Interfaces => of_interfaces,
            Source::Captures => of_captures,
        }
    }

    fn frames(&self) -> Check {
        const NAME: &str = "frames";
        let (frames, tcp) = (self.get("decoder.pkts"), self.get("decoder.tcp"));
        let bytes = self.get("decoder.bytes");
        let seconds = self.lasted.as_secs_f64();
        let counts = [("frames", frames), ("bytes", bytes), ("tcp", tcp)];
        if frames == 0 {
            return Check::bad(
                NAME,
                format!("nothing came in {seconds:.1} s that could be RPC"),
                self.either(
                    "is the mirror session configured and its destination this port? is the cable in? does --bpf let anything through?",
                    "was anything captured, and with which filter?",
                ),
            )
            .measured(counts);
        }
        let said = format!(
            "{} in {seconds:.1} s ({}), {}",
            counted(frames, "frame", "frames"),
            rate(bytes, self.lasted),
            counted(self.get("flow.tcp"), "TCP connection", "TCP connections")
        );
        if tcp == 0 {
            let what_to_do = "DCOM is TCP for the most part: does the filter or the mirror leave it out?";
            return Check::warn(NAME, said, what_to_do).measured(counts);
        }
        Check::ok(NAME, said).measured(counts)
    }

    /// What was taken off around packets, where there was any.
    fn wrapping(&self) -> Option<Check> {
        let found: Vec<_> = Carrier::ALL
            .iter()
            .map(|(_, name)| (name.rsplit('.').next().unwrap_or(name), self.get(name)))
            .filter(|&(_, count)| count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        (!found.is_empty()).then(|| Check::ok("wrapping", format!("taken off: {}", found.join(", "))))
    }

    /// Frames that nobody can look into.
    fn unread(&self) -> Option<Check> {
        const NAME: &str = "unread";
        let frames = self.get("decoder.pkts");
        let [encrypted, link, deep, invalid] = [
            "dcom.decode.encrypted",
            "dcom.decode.unknown_link_type",
            "decoder.too_many_layers",
            "decoder.invalid",
        ]
        .map(|name| self.get(name));
        let counts = [
            ("encrypted", encrypted),
            ("unknown_link_type", link),
            ("too_many_layers", deep),
            ("invalid", invalid),
        ];
        let worst = counts.into_iter().max_by_key(|&(_, count)| count)?;
        if worst.1 == 0 {
            return None;
        }
        let (what, what_to_do) = match worst.0 {
            "encrypted" => (
                "encrypted below TCP (ESP, MACsec, protected 802.11)",
                "mirror where it is in clear: behind the gateway that decrypts it",
            ),
            "unknown_link_type" => (
                "of a link type that is not read",
                "capture on Ethernet, or on -i any; docs/OPERATING.md lists the link types",
            ),
            "too_many_layers" => (
                "wrapped too deep to be read",
                "look for packets that go in circles through tunnels",
            ),
            _ => (
                "cut short or with headers that contradict themselves",
                "look at the snap length, and for a broken capture",
            ),
        };
        let says = format!("{what}: {}", share(worst.1, frames, "frame"));
        let check = if worst.1 * 2 > frames {
            Check::bad(NAME, says, what_to_do)
        } else if worst.1 * 100 > frames {
            Check::warn(NAME, says, what_to_do)
        } else {
            Check::ok(NAME, says)
        };
        Some(check.measured(counts))
    }

    fn is_cut(&self) -> bool {
        self.get("dcom.decode.cut_by_snap_length") > 0
    }

    fn snap_length(&self) -> Check {
        const NAME: &str = "snap_length";
        let (cut, frames) = (self.get("dcom.decode.cut_by_snap_length"), self.get("decoder.pkts"));
        if cut == 0 {
            return Check::ok(NAME, "no frame was cut");
        }
        let says = format!(
            "cut, so that what they carried cannot be read: {}",
            share(cut, frames, "frame")
        );
        let what_to_do = self.either(
            "give `live` a longer --snap-length, and look whether the mirror itself cuts frames (ERSPAN, packet brokers)",
            "capture whole packets: `tcpdump -s 0`; look whether the mirror itself cuts frames",
        );
        Check::bad(NAME, says, what_to_do).measured([("cut", cut), ("frames", frames)])
    }

    /// What only shows at one of the two ends, or behind a card that joins segments.
    fn offload(&self) -> Option<Check> {
        let (wrong, empty) = (
            self.get("tcp.invalid_checksum"),
            self.get("dcom.decode.zero_total_length"),
        );
        let checked = self.get("dcom.flow.checksums");
        (wrong * 20 > checked || empty > 0).then(|| {
            let says = format!(
                "wrong checksums in {}, {} without a length: taken at one of the two ends, before its network card \
                 finished them. They are read",
                share(wrong, checked, "segment"),
                counted(empty, "packet", "packets")
            );
            Check::ok("offload_in_traffic", says).measured([("wrong_checksums", wrong), ("without_length", empty)])
        })
    }

    fn directions(&self) -> Check {
        const NAME: &str = "directions";
        let (heard, both) = (self.get("dcom.flow.heard"), self.get("dcom.flow.heard_both_ways"));
        let counts = [("connections", heard), ("both_ways", both)];
        if heard == 0 {
            let says = "no TCP connection was answered or carried data";
            let what_to_do = self.either(
                "look again while there is traffic: --seconds 60",
                "look at a longer capture",
            );
            return Check::cannot_tell(NAME, says, what_to_do);
        }
        let what_to_do = self.either(
            "mirror both directions (rx and tx) of the port, or both lines of a tap with a second -i; where paths differ by \
             direction, mirror both paths",
            "capture where both directions pass, or read the captures of both lines together",
        );
        let says = format!(
            "both directions were seen of {both} of {}",
            counted(heard, "TCP connection", "TCP connections")
        );
        let check = if both * 100 >= heard * BOTH {
            Check::ok(NAME, says)
        } else if both * 100 < heard * ONE {
            let says = format!("{says}: what was asked or what was answered is missing");
            Check::bad(NAME, says, what_to_do)
        } else {
            Check::warn(NAME, says, what_to_do)
        };
        check.measured(counts)
    }

    /// What was lost before it came here.
    fn loss(&self) -> Check {
        const NAME: &str = "loss_before";
        let (acks, unseen) = (self.get("dcom.flow.acks"), self.get("dcom.flow.acks_of_unseen"));
        let missing = self.get("dcom.flow.bytes_missing");
        let counts = [("acks", acks), ("acks_of_unseen", unseen), ("bytes_missing", missing)];
        if self.dropped > 0 && missing > 0 {
            let says = format!(
                "{} missing, and frames were dropped here too",
                counted(missing, "byte is", "bytes are")
            );
            return Check::cannot_tell(NAME, says, "see to that first: `ring`, `interface drops`").measured(counts);
        }
        if unseen == 0 && missing > 0 && self.is_cut() {
            let says = format!(
                "{} missing, of frames that were cut",
                counted(missing, "byte is", "bytes are")
            );
            return Check::cannot_tell(NAME, says, SNAP_LENGTH_FIRST).measured(counts);
        }
        let one_way = self.get("dcom.flow.heard_both_ways") * 100 < self.get("dcom.flow.heard") * ONE;
        if acks == 0 || one_way {
            let says = "loss shows by acknowledgements of what was not seen, in RPC and SMB connections seen in both directions";
            let what_to_do = self.either(
                "look again while there is such traffic: --seconds 60",
                "compare with the counters of who captured",
            );
            return Check::cannot_tell(NAME, says, what_to_do).measured(counts);
        }
        let what_to_do = self.either(
            "the mirror port is oversubscribed, or a packet broker drops: mirror fewer ports, or to a faster one; the switch \
             counts output drops of the mirror port",
            "who captured lost packets, or the mirror did: look at its counters (tcpdump's \"dropped by kernel\")",
        );
        let says = format!(
            "{} of {} are of data that was not seen, {} missing",
            unseen,
            counted(acks, "acknowledgement", "acknowledgements"),
            counted(missing, "byte is", "bytes are"),
        );
        let check = if unseen * 1_000 >= acks * DOUBTFUL {
            Check::bad(NAME, says, what_to_do)
        } else if unseen > 0 || missing > 0 {
            Check::warn(NAME, says, what_to_do)
        } else {
            Check::ok(NAME, "nothing is missing of RPC and SMB connections")
        };
        check.measured(counts)
    }

    fn copies(&self) -> Check {
        const NAME: &str = "duplicates";
        let copies = self.get("dcom.flow.copies");
        if copies > 0 {
            let says = format!(
                "{} of RPC and SMB connections came twice; each is read once",
                counted(copies, "packet", "packets")
            );
            let what_to_do = self.either(
                "mirror one direction of each port (rx on all of them), or one side of the router: copies take room on the mirror port",
                "nothing, for the logs; the mirror shows the same traffic in two places",
            );
            return Check::warn(NAME, says, what_to_do).measured([("copies", copies)]);
        }
        if self.get("dcom.flow.acks") == 0 {
            let says = "they are looked for in RPC and SMB connections, and there were none";
            return Check::cannot_tell(NAME, says, "look again while there is such traffic");
        }
        Check::ok(NAME, "no packet came twice").measured([("copies", 0)])
    }

    fn has_rpc(&self) -> bool {
        [
            "dcom.flow.rpc_connections",
            "dcom.smb.pipes",
            "dcom.http.connections",
            "dcom.udp.conversations",
        ]
        .iter()
        .any(|name| self.get(name) > 0)
    }

    fn rpc(&self) -> Check {
        const NAME: &str = "dce_rpc";
        let (connections, pipes) = (self.get("dcom.flow.rpc_connections"), self.get("dcom.smb.pipes"));
        let (http, udp) = (self.get("dcom.http.connections"), self.get("dcom.udp.conversations"));
        let counts = [
            ("connections", connections),
            ("pipes", pipes),
            ("http", http),
            ("conversations", udp),
        ];
        if !self.has_rpc() {
            let what_to_do = self.either(
                "mirror the ports of domain controllers, servers and administrators' machines; a filter must let all TCP between \
                 them through, not port 135 alone; look again for longer: --seconds 300",
                "was it captured between Windows machines, with all TCP and not port 135 alone?",
            );
            return Check::warn(NAME, "no DCE/RPC was seen", what_to_do).measured(counts);
        }
        let mut parts = vec![counted(connections, "connection", "connections")];
        for (count, one, many) in [
            (pipes, "named pipe in SMB", "named pipes in SMB"),
            (http, "connection over HTTP", "connections over HTTP"),
            (udp, "conversation over UDP", "conversations over UDP"),
        ] {
            if count > 0 {
                parts.push(counted(count, one, many));
            }
        }
        Check::ok(NAME, parts.join(", ")).measured(counts)
    }

    fn dcom(&self) -> Check {
        const NAME: &str = "dcom";
        let [activations, resolutions, mappings, calls] = [
            "dcom.activations",
            "dcom.oxid_resolutions",
            "dcom.endpoint_mappings",
            "dcom.calls",
        ]
        .map(|name| self.get(name));
        let counts = [
            ("activations", activations),
            ("oxid_resolutions", resolutions),
            ("endpoint_mappings", mappings),
            ("object_calls", calls),
            ("alerts", self.alerts),
        ];
        let parts = [
            (activations, "activation", "activations"),
            (resolutions, "OXID resolution", "OXID resolutions"),
            (mappings, "endpoint mapping", "endpoint mappings"),
            (calls, "object call", "object calls"),
            (self.alerts, "alert", "alerts"),
        ];
        let there = parts.into_iter().filter(|&(count, ..)| count > 0);
        let there: Vec<_> = there.map(|(count, one, many)| counted(count, one, many)).collect();
        if activations + resolutions + calls == 0 && self.is_cut() {
            let says = "no DCOM was seen, and what there was may have been cut away";
            return Check::cannot_tell(NAME, says, SNAP_LENGTH_FIRST).measured(counts);
        }
        if activations + resolutions + calls == 0 {
            let what_to_do = self.either(
                "there may be none at the moment: look for longer (--seconds 300), or make some, with \
                 `Get-WmiObject -ComputerName HOST Win32_BIOS` from one Windows machine to another",
                "there is RPC and no DCOM: it may not have been used in that time",
            );
            let beside = if there.is_empty() {
                String::new()
            } else {
                format!(", only {}", there.join(", "))
            };
            return Check::warn(NAME, format!("no DCOM was seen{beside}"), what_to_do).measured(counts);
        }
        Check::ok(NAME, there.join(", ")).measured(counts)
    }

    /// Is what follows an activation there?
    fn ports(&self) -> Option<Check> {
        const NAME: &str = "dynamic_ports";
        let (expected, realized) = (self.get("dcom.endpoints.expected"), self.get("dcom.endpoints.realized"));
        if expected == 0 {
            return None;
        }
        let counts = [("expected", expected), ("realized", realized)];
        let says = format!(
            "to {realized} of {} that replies named a connection was seen",
            counted(expected, "dynamic port", "dynamic ports")
        );
        // A client may know the port already, and be connected.
        Some(if realized * 2 >= expected {
            Check::ok(NAME, says).measured(counts)
        } else {
            let what_to_do = "mirror and capture all TCP between these machines: the object's port is dynamic (49152 to 65535 as a \
                              rule), and what is done with an object is there";
            Check::warn(NAME, says, what_to_do).measured(counts)
        })
    }

    fn sealed(&self) -> Check {
        const NAME: &str = "sealed";
        let (sealed, pdus) = (self.get("dcom.rpc.sealed"), self.get("dcom.rpc.pdus"));
        let (activations, all) = (self.get("dcom.sealed_activations"), self.get("dcom.activations"));
        let opened = self.tally.keys().map_or(0, |keys| keys.opened);
        let counts = [
            ("sealed_pdus", sealed),
            ("pdus", pdus),
            ("sealed_activations", activations),
            ("activations", all),
            ("opened", opened),
        ];
        let mut says = format!("sealed (packet privacy): {}", share(sealed, pdus, "PDU"));
        if all > 0 {
            let _ = write!(says, ", {activations} of {}", counted(all, "activation", "activations"));
        }
        if opened > 0 {
            let _ = write!(says, "; keys opened {opened} of these");
        }
        let left = sealed.saturating_sub(opened);
        if left == 0 {
            return Check::ok(NAME, says).measured(counts);
        }
        let what_to_do = "of sealed calls the interface, the number of the operation and the length are seen: they are told as \
                          `inferred` or `header`. Keys open them (--keys, docs/KEYS.md), and host logs say what was run (--host-logs)";
        Check::warn(NAME, says, what_to_do).measured(counts)
    }

    /// Pipes that nobody can look into.
    fn smb(&self) -> Option<Check> {
        const NAME: &str = "smb_encryption";
        let connections = self.get("dcom.smb.connections");
        let (encrypted, compressed) = (self.get("dcom.smb.encrypted"), self.get("dcom.smb.compressed"));
        if connections == 0 {
            return None;
        }
        let counts = [
            ("connections", connections),
            ("encrypted_messages", encrypted),
            ("compressed_messages", compressed),
        ];
        let says = format!(
            "{}: {} encrypted, {} compressed",
            counted(connections, "SMB connection", "SMB connections"),
            counted(encrypted, "message is", "messages are"),
            counted(compressed, "is", "are"),
        );
        Some(if encrypted + compressed == 0 {
            Check::ok(NAME, says).measured(counts)
        } else {
            let what_to_do = "RPC in named pipes of these connections is not seen; DCOM itself does not need them. Host logs tell what \
                              was done (--host-logs)";
            Check::warn(NAME, says, what_to_do).measured(counts)
        })
    }

    /// Bounds of our own that were met.
    fn bounds(&self) -> Option<Check> {
        let [faults, evicted, followed, over] = [
            "dcom.faults",
            "dcom.flow.evicted_followed",
            "dcom.flow.rpc_over_limit",
            "dcom.flow.over_limit",
        ]
        .map(|name| self.get(name));
        let counts = [
            ("faults", faults),
            ("evicted_followed", evicted),
            ("rpc_over_limit", followed),
            ("over_limit", over),
        ];
        if faults > 0 {
            let says = format!("the sensor itself failed on {}", counted(faults, "frame", "frames"));
            let what_to_do = "this is a fault of the program: `replay -o` and `live` keep such frames in the folder faults/; send them to us";
            return Some(Check::bad("sensor_faults", says, what_to_do).measured(counts));
        }
        (evicted + followed + over > 0).then(|| {
            let says = format!(
                "{evicted} followed connections were forgotten and {followed} let go because there were too many, \
                 bytes of {over} were given up"
            );
            let what_to_do = "a flood, or more connections than one sensor holds: divide the mirror among sensors, or narrow --bpf \
                              by network";
            Check::warn("limits", says, what_to_do).measured(counts)
        })
    }
}

/// `12 of 340 frames (3 %)`.
fn share(part: u64, whole: u64, noun: &str) -> String {
    let percent = match (part * 100).checked_div(whole) {
        None => String::new(),
        Some(0) if part > 0 => " (less than 1 %)".to_owned(),
        Some(percent) => format!(" ({percent} %)"),
    };
    format!("{part} of {}{percent}", counted(whole, noun, &format!("{noun}s")))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;
    use crate::flow::FlowCounters;
    use crate::statistics::Counted;

    fn verdict_of(checks: &[Check], name: &str) -> Option<Verdict> {
        checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| check.verdict)
    }

    #[test]
    fn shares_can_be_read_aloud() {
        assert_eq!(share(1, 300, "frame"), "1 of 300 frames (less than 1 %)");
        assert_eq!(share(1, 1, "PDU"), "1 of 1 PDU (100 %)");
        assert_eq!(share(0, 0, "PDU"), "0 of 0 PDUs");
    }

    #[test]
    fn both_directions_are_told_by_their_share() {
        for (heard, both, verdict) in [
            (0, 0, Verdict::CannotTell),
            (4, 0, Verdict::Bad),
            (100, 49, Verdict::Bad),
            (100, 50, Verdict::Warn),
            (100, 89, Verdict::Warn),
            (100, 90, Verdict::Ok),
            (1, 1, Verdict::Ok),
        ] {
            let mut counted = Counted {
                flow: FlowCounters {
                    heard,
                    heard_both_ways: both,
                    ..FlowCounters::default()
                },
                ..Counted::default()
            };
            counted.decode.frames = 1_000;
            let traffic = Traffic {
                source: Source::Interfaces,
                tally: &Tally::of(&counted),
                lasted: Duration::from_secs(10),
                alerts: 0,
                dropped: 0,
            };
            let checks = traffic.checks();
            assert_eq!(verdict_of(&checks, "directions"), Some(verdict), "{both} of {heard}");
            assert!(
                verdict_of(&checks, "dcom").is_none(),
                "without RPC there is nothing to say of DCOM"
            );
        }
    }

    #[test]
    fn what_was_lost_here_is_not_put_down_to_the_mirror() {
        let mut counted = Counted::default();
        counted.decode.frames = 1_000;
        counted.flow.heard = 9;
        counted.flow.heard_both_ways = 9;
        counted.assembler.acknowledgements = 100;
        counted.assembler.acknowledged_unseen = 2;
        counted.assembler.missing = 2_920;
        let tally = Tally::of(&counted);
        let verdict = |dropped| {
            let traffic = Traffic {
                source: Source::Interfaces,
                tally: &tally,
                lasted: Duration::from_secs(10),
                alerts: 0,
                dropped,
            };
            verdict_of(&traffic.checks(), "loss_before")
        };
        assert_eq!(verdict(0), Some(Verdict::Bad));
        assert_eq!(verdict(1), Some(Verdict::CannotTell));
    }

    #[test]
    fn what_nothing_came_of_has_one_answer() {
        let traffic = Traffic {
            source: Source::Captures,
            tally: &Tally::of(&Counted::default()),
            lasted: Duration::ZERO,
            alerts: 0,
            dropped: 0,
        };
        let checks = traffic.checks();
        assert_eq!(checks.len(), 1);
        assert_eq!(verdict_of(&checks, "frames"), Some(Verdict::Bad));
    }
}
