//! What was counted, gathered from every stage.

use crate::baseline;
use crate::correlate;
use crate::dcom::{DcomCounters, EndpointCounters};
use crate::decode::{Carrier, DecodeCounters, FragmentCounters};
use crate::event::record::Interval;
use crate::event::stats::Counters;
use crate::event::{Body, Event, Meta, Stats};
use crate::flow::{AssemblerCounters, FlowCounters};
use crate::keys::{KeyCounters, TicketCounters};
use crate::policy;
use crate::rpc::{CarriageCounters, DatagramCounters, RpcCounters};
use crate::time::Timestamp;

/// What one part of the sensor counted; parts add up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Seconds between the first frame and the last; live, a record tells those since the sensor began.
    pub(crate) uptime: u64,
    pub(crate) decode: DecodeCounters,
    pub(crate) fragments: FragmentCounters,
    pub(crate) flow: FlowCounters,
    pub(crate) assembler: AssemblerCounters,
    pub(crate) rpc: RpcCounters,
    pub(crate) carriage: CarriageCounters,
    pub(crate) datagrams: DatagramCounters,
    pub(crate) dcom: DcomCounters,
    pub(crate) endpoints: EndpointCounters,
    pub(crate) interfaces_forgotten: u64,
    pub(crate) manners_forgotten: u64,
    /// Sources, targets and pairs that detections forgot to make room.
    pub(crate) pairs_forgotten: u64,
    /// Kerberos tickets that were seen when they were issued.
    pub(crate) tickets: TicketCounters,
    /// What keys opened and verified, where there are any.
    pub(crate) keys: Option<KeyCounters>,
    pub(crate) policy: policy::Counters,
    pub(crate) baseline: baseline::Counters,
    /// What host logs came to, where there are any.
    pub(crate) hosts: Option<correlate::Counters>,
    /// Panics that were caught.
    pub(crate) failed: u64,
}

/// The first of the counters that are there only with keys.
const SEALED_PDUS: &str = "dcom.sealed.pdus";

/// The first of the counters that are there only with host logs.
const HOST_EVENTS: &str = "dcom.host.events";

/// Every counter by its dotted name, always in the same order; those of keys and of host logs, which stand last, only where
/// there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    pub(crate) fn of(counted: &Counted) -> Self {
        Self(counters(counted))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (index, &(name, more)) in other.0.iter().enumerate() {
            match self.0.get_mut(index) {
                Some((same, count)) if *same == name => *count += more,
                // What only some parts count stands last, in the order in which it is heard of.
                _ => match self.0.iter_mut().find(|(same, _)| *same == name) {
                    Some((_, count)) => *count += more,
                    None => self.0.push((name, more)),
                },
            }
        }
    }

    /// A counter by its name; the names are those in [`counters`].
    pub(crate) fn get(&self, wanted: &str) -> u64 {
        let found = self.0.iter().find(|(name, _)| *name == wanted);
        debug_assert!(found.is_some(), "there is no counter {wanted}");
        found.map_or(0, |&(_, count)| count)
    }

    /// What keys opened and verified, where there are any.
    pub(crate) fn keys(&self) -> Option<KeyCounters> {
        self.iter().any(|(name, _)| name == SEALED_PDUS).then(|| KeyCounters {
            sealed: self.get(SEALED_PDUS),
            opened: self.get("dcom.sealed.opened"),
            signed: self.get("dcom.signed.pdus"),
            verified: self.get("dcom.signed.verified"),
            bad: self.get("dcom.signed.bad"),
            logins: self.get("dcom.keys.logins"),
            mismatches: self.get("dcom.keys.mismatches"),
            untried: self.get("dcom.keys.untried"),
            streams_lost: self.get("dcom.keys.streams_lost"),
        })
    }

    /// How many alerts host logs confirm, contradict and do not show, where there are any.
    pub(crate) fn hosts(&self) -> Option<[u64; 3]> {
        self.iter()
            .any(|(name, _)| name == HOST_EVENTS)
            .then(|| ["dcom.host.confirmed", "dcom.host.contradicted", "dcom.host.not_seen"].map(|name| self.get(name)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

/// The `stats` record of a whole run, from its first frame to its last.
pub(crate) fn event(tally: &Tally, (first, last): (Timestamp, Timestamp)) -> Event {
    let meta = Meta {
        timestamp: last,
        ..Meta::default()
    };
    Event {
        meta,
        body: Body::Stats(Box::new(Stats {
            counters: Counters(tally.0.clone()),
            before: Counters::default(),
            interval: Interval(last.since(first)),
            worker: None,
        })),
    }
}

/// Every counter by its dotted name: Suricata's where it has one, else under `dcom`.
fn counters(counted: &Counted) -> Vec<(&'static str, u64)> {
    let Counted {
        decode,
        fragments,
        flow,
        assembler,
        rpc,
        carriage,
        datagrams,
        dcom,
        endpoints,
        policy,
        baseline,
        ..
    } = counted;
    let carriers = |own: bool| {
        let all = Carrier::ALL
            .iter()
            .filter(move |(_, name)| name.starts_with("dcom.") == own);
        all.map(|&(carrier, name)| (name, decode.carriers.count(carrier)))
    };
    let mut counters = vec![
        ("uptime", counted.uptime),
        ("decoder.pkts", decode.frames),
        ("decoder.bytes", decode.bytes),
        ("decoder.invalid", decode.malformed),
        ("decoder.tcp", decode.segments),
        ("decoder.udp", decode.datagrams),
        ("decoder.too_many_layers", decode.too_deep),
    ];
    counters.extend(carriers(false));
    counters.extend([
        ("defrag.ipv4.fragments", fragments.ipv4),
        ("defrag.ipv6.fragments", fragments.ipv6),
        ("flow.tcp", flow.connections),
        ("tcp.sessions", flow.connections),
        ("tcp.midstream_pickups", carriage.midstream),
        ("tcp.invalid_checksum", flow.wrong_checksums),
        ("tcp.overlap", assembler.retransmitted),
        ("tcp.overlap_diff_data", assembler.conflicting),
        ("tcp.reassembly_gap", assembler.gaps),
    ]);
    counters.extend(carriers(true));
    counters.extend([
        ("dcom.decode.not_ip", decode.not_ip),
        ("dcom.decode.not_tcp_or_udp", decode.not_tcp_or_udp),
        ("dcom.decode.encrypted", decode.encrypted),
        ("dcom.decode.fragments", fragments.ipv4 + fragments.ipv6),
        ("dcom.decode.unknown_link_type", decode.unknown_link_type),
        ("dcom.decode.zero_total_length", decode.zero_total_length),
        ("dcom.decode.bad_ipv4_checksum", decode.bad_ipv4_checksum),
        ("dcom.decode.bad_tcp_checksum", flow.wrong_checksums),
        ("dcom.decode.bad_udp_checksum", decode.bad_udp_checksum),
        ("dcom.decode.cut_by_snap_length", decode.cut_by_snap_length),
        ("dcom.fragments.joined", fragments.joined),
        ("dcom.fragments.overlapping", fragments.overlapping),
        ("dcom.fragments.differing", fragments.differing),
        ("dcom.fragments.incomplete", fragments.incomplete),
        ("dcom.fragments.over_limit", fragments.over_limit),
        ("dcom.flow.rpc_connections", carriage.connections),
        ("dcom.flow.heard", flow.heard),
        ("dcom.flow.heard_both_ways", flow.heard_both_ways),
        ("dcom.flow.copies", flow.copies),
        ("dcom.flow.idle", flow.idle),
        ("dcom.flow.evicted", flow.evicted),
        ("dcom.flow.evicted_followed", flow.evicted_followed),
        ("dcom.flow.rpc_over_limit", flow.rpc_over_limit),
        ("dcom.flow.out_of_order", assembler.out_of_order),
        ("dcom.flow.out_of_window", assembler.out_of_window),
        ("dcom.flow.overlap_unchecked", assembler.unchecked),
        ("dcom.flow.checksums", flow.checksums),
        ("dcom.flow.suspects", flow.suspects),
        ("dcom.flow.stray_resets", flow.stray_resets),
        ("dcom.flow.over_limit", assembler.over_limit),
        ("dcom.flow.bytes_missing", assembler.missing + datagrams.missing),
        ("dcom.flow.acks", assembler.acknowledgements),
        ("dcom.flow.acks_of_unseen", assembler.acknowledged_unseen),
        ("dcom.smb.connections", carriage.smb),
        ("dcom.smb.pipes", carriage.pipes),
        ("dcom.smb.encrypted", carriage.encrypted),
        ("dcom.smb.compressed", carriage.compressed),
        ("dcom.smb.malformed", carriage.malformed),
        ("dcom.smb.over_limit", carriage.over_limit),
        ("dcom.http.connections", carriage.http),
        ("dcom.http.joined", carriage.joined),
        ("dcom.rpc.pdus", rpc.pdus),
        ("dcom.rpc.malformed", rpc.malformed),
        ("dcom.rpc.damaged", rpc.damaged),
        ("dcom.rpc.junk", rpc.junk),
        ("dcom.rpc.associations", rpc.associations),
        ("dcom.rpc.associations_joined", rpc.joined),
        ("dcom.rpc.calls", rpc.calls),
        ("dcom.rpc.faults", rpc.faults),
        ("dcom.rpc.unanswered", rpc.unanswered),
        ("dcom.rpc.unasked", rpc.unasked),
        ("dcom.rpc.sealed", rpc.sealed),
        ("dcom.rpc.over_limit", rpc.over_limit),
        ("dcom.udp.conversations", datagrams.conversations),
        ("dcom.udp.repeated", datagrams.repeated),
        ("dcom.udp.out_of_order", datagrams.out_of_order),
        ("dcom.udp.evicted", datagrams.evicted),
        ("dcom.activations", dcom.activations),
        ("dcom.sealed_activations", dcom.sealed_activations),
        ("dcom.oxid_resolutions", dcom.oxid_resolutions),
        ("dcom.endpoint_mappings", dcom.endpoint_mappings),
        ("dcom.calls", dcom.calls),
        ("dcom.interfaces_forgotten", counted.interfaces_forgotten),
        ("dcom.detect.forgotten", counted.pairs_forgotten),
        ("dcom.manners_forgotten", counted.manners_forgotten),
        ("dcom.endpoints.expected", endpoints.expected),
        ("dcom.endpoints.realized", endpoints.realized),
        ("dcom.endpoints.over_limit", endpoints.over_limit),
        ("dcom.alerts_suppressed", policy.suppressed),
        ("dcom.suppressed.allowed", policy.allowed),
        ("dcom.suppressed.by_suppress", policy.by_suppress),
        ("dcom.suppressed.by_threshold", policy.by_threshold),
        ("dcom.suppressed.duplicates", policy.duplicates),
        ("dcom.suppressed.thresholds_forgotten", policy.thresholds_forgotten),
        ("dcom.baseline.new", baseline.new),
        ("dcom.baseline.forgotten", baseline.forgotten),
        ("dcom.kerberos.tickets", counted.tickets.issued),
        ("dcom.kerberos.tickets_forgotten", counted.tickets.forgotten),
        ("dcom.kerberos.over_limit", counted.tickets.over_limit),
        ("dcom.faults", counted.failed),
    ]);
    if let Some(keys) = &counted.keys {
        counters.extend([
            (SEALED_PDUS, keys.sealed),
            ("dcom.sealed.opened", keys.opened),
            ("dcom.sealed.failed", keys.sealed - keys.opened),
            ("dcom.signed.pdus", keys.signed),
            ("dcom.signed.verified", keys.verified),
            ("dcom.signed.bad", keys.bad),
            ("dcom.keys.logins", keys.logins),
            ("dcom.keys.mismatches", keys.mismatches),
            ("dcom.keys.untried", keys.untried),
            ("dcom.keys.streams_lost", keys.streams_lost),
        ]);
    }
    if let Some(hosts) = &counted.hosts {
        counters.extend([
            (HOST_EVENTS, hosts.events),
            ("dcom.host.events_kept", hosts.kept),
            ("dcom.host.events_forgotten", hosts.forgotten),
            ("dcom.host.names_over_limit", hosts.names_over_limit),
            ("dcom.host.connections_forgotten", hosts.connections_forgotten),
            ("dcom.host.shared_connections", hosts.shared_connections),
            ("dcom.host.confirmed", hosts.confirmed),
            ("dcom.host.contradicted", hosts.contradicted),
            ("dcom.host.not_seen", hosts.not_seen),
            ("dcom.host.pending_over_limit", hosts.pending_over_limit),
        ]);
        if let Some(feed) = &hosts.feed {
            counters.extend([
                ("dcom.host.feed.lines", feed.lines),
                ("dcom.host.feed.too_long", feed.too_long),
                ("dcom.host.feed.files", feed.files),
                ("dcom.host.feed.rotated", feed.rotated),
                ("dcom.host.feed.truncated", feed.truncated),
                ("dcom.host.feed.unreadable", feed.unreadable),
                ("dcom.host.feed.senders", feed.senders),
                ("dcom.host.feed.senders_refused", feed.senders_refused),
                ("dcom.host.feed.slowed", feed.slowed),
            ]);
        }
    }
    counters
}
