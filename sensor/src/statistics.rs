//! What was counted, gathered from every stage.

use crate::dcom::{DcomCounters, EndpointCounters};
use crate::decode::DecodeCounters;
use crate::event::stats::Counters;
use crate::event::{Body, Event, Meta, Stats};
use crate::flow::{AssemblerCounters, FlowCounters};
use crate::rpc::{CarriageCounters, DatagramCounters, RpcCounters};
use crate::time::Timestamp;

/// What one part of the sensor counted; parts add up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Seconds between the first frame and the last.
    pub(crate) uptime: u64,
    pub(crate) decode: DecodeCounters,
    pub(crate) flow: FlowCounters,
    pub(crate) assembler: AssemblerCounters,
    pub(crate) rpc: RpcCounters,
    pub(crate) carriage: CarriageCounters,
    pub(crate) datagrams: DatagramCounters,
    pub(crate) dcom: DcomCounters,
    pub(crate) endpoints: EndpointCounters,
    pub(crate) interfaces_forgotten: u64,
    /// Panics that were caught.
    pub(crate) failed: u64,
}

/// Every counter by its dotted name, always the same ones in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    pub(crate) fn of(counted: &Counted) -> Self {
        Self(counters(counted))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for ((name, count), (same, more)) in self.0.iter_mut().zip(&other.0) {
            debug_assert_eq!(name, same, "tallies have the same names");
            *count += more;
        }
    }

    /// A counter by its name; the names are those in [`counters`].
    pub(crate) fn get(&self, wanted: &str) -> u64 {
        let found = self.0.iter().find(|(name, _)| *name == wanted);
        debug_assert!(found.is_some(), "there is no counter {wanted}");
        found.map_or(0, |&(_, count)| count)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

/// The `stats` record of this moment.
pub(crate) fn event(tally: &Tally, now: Timestamp) -> Event {
    let meta = Meta {
        timestamp: now,
        ..Meta::default()
    };
    Event {
        meta,
        body: Body::Stats(Box::new(Stats {
            counters: Counters(tally.0.clone()),
        })),
    }
}

/// Every counter by its dotted name: Suricata's where it has one, else under `dcom`.
fn counters(counted: &Counted) -> Vec<(&'static str, u64)> {
    let Counted {
        decode,
        flow,
        assembler,
        rpc,
        carriage,
        datagrams,
        dcom,
        endpoints,
        ..
    } = counted;
    vec![
        ("uptime", counted.uptime),
        ("decoder.pkts", decode.frames),
        ("decoder.bytes", decode.bytes),
        ("decoder.invalid", decode.malformed),
        ("decoder.tcp", decode.segments),
        ("decoder.udp", decode.datagrams),
        ("flow.tcp", flow.connections),
        ("tcp.sessions", flow.connections),
        ("tcp.midstream_pickups", carriage.midstream),
        ("tcp.invalid_checksum", decode.bad_tcp_checksum),
        ("tcp.overlap", assembler.retransmitted),
        ("tcp.overlap_diff_data", assembler.conflicting),
        ("tcp.reassembly_gap", assembler.gaps),
        ("dcom.decode.not_ip", decode.not_ip),
        ("dcom.decode.not_tcp_or_udp", decode.not_tcp_or_udp),
        ("dcom.decode.fragments", decode.fragments),
        ("dcom.decode.unknown_link_type", decode.unknown_link_type),
        ("dcom.decode.zero_total_length", decode.zero_total_length),
        ("dcom.decode.bad_ipv4_checksum", decode.bad_ipv4_checksum),
        ("dcom.decode.bad_tcp_checksum", decode.bad_tcp_checksum),
        ("dcom.decode.bad_udp_checksum", decode.bad_udp_checksum),
        ("dcom.decode.cut_by_snap_length", decode.cut_by_snap_length),
        ("dcom.flow.rpc_connections", carriage.connections),
        ("dcom.flow.evicted", flow.evicted),
        ("dcom.flow.rpc_over_limit", flow.rpc_over_limit),
        ("dcom.flow.out_of_order", assembler.out_of_order),
        ("dcom.flow.out_of_window", assembler.out_of_window),
        ("dcom.flow.over_limit", assembler.over_limit),
        ("dcom.flow.bytes_missing", assembler.missing),
        ("dcom.smb.connections", carriage.smb),
        ("dcom.smb.pipes", carriage.pipes),
        ("dcom.smb.encrypted", carriage.encrypted),
        ("dcom.smb.compressed", carriage.compressed),
        ("dcom.smb.malformed", carriage.malformed),
        ("dcom.smb.over_limit", carriage.over_limit),
        ("dcom.http.connections", carriage.http),
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
        ("dcom.endpoints.expected", endpoints.expected),
        ("dcom.endpoints.realized", endpoints.realized),
        ("dcom.endpoints.over_limit", endpoints.over_limit),
        ("dcom.faults", counted.failed),
    ]
}
