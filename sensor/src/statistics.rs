//! What was counted, gathered from every stage.

use crate::Sensor;
use crate::event::stats::Counters;
use crate::event::{Body, Event, Meta, Stats};

/// The `stats` record at the end of a run.
pub(crate) fn event(sensor: &Sensor) -> Event {
    let meta = Meta {
        timestamp: sensor.last.time,
        ..Meta::default()
    };
    Event {
        meta,
        body: Body::Stats(Box::new(Stats {
            counters: Counters(counters(sensor)),
        })),
    }
}

/// Every counter by its dotted name: Suricata's where it has one, else under `dcom`.
pub(crate) fn counters(sensor: &Sensor) -> Vec<(&'static str, u64)> {
    let decode = sensor.decoder.counters();
    let flow = sensor.flows.counters();
    let assembler = sensor.flows.assembler_counters();
    let rpc = &sensor.rpc.counters;
    let datagrams = sensor.datagrams.counters();
    let carriage = &sensor.rpc.carriage;
    let dcom = sensor.analyst.counters();
    let endpoints = sensor.analyst.endpoint_counters();
    let uptime = u64::try_from(sensor.last.time.since(sensor.span().0) / 1_000_000_000).unwrap_or_default();
    let mut counters = vec![
        ("uptime", uptime),
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
        ("dcom.interfaces_forgotten", sensor.analyst.interfaces_forgotten()),
        ("dcom.detect.forgotten", sensor.detector.forgotten()),
        ("dcom.manners_forgotten", sensor.analyst.manners_forgotten()),
        ("dcom.endpoints.expected", endpoints.expected),
        ("dcom.endpoints.realized", endpoints.realized),
        ("dcom.endpoints.over_limit", endpoints.over_limit),
    ];
    if sensor.rpc.keys.is_some() {
        let keys = &sensor.rpc.key_counters;
        counters.extend([
            ("dcom.sealed.pdus", keys.sealed),
            ("dcom.sealed.opened", keys.opened),
            ("dcom.sealed.failed", keys.sealed - keys.opened),
            ("dcom.signed.pdus", keys.signed),
            ("dcom.signed.verified", keys.verified),
            ("dcom.signed.bad", keys.bad),
            ("dcom.keys.logins", keys.logins),
            ("dcom.keys.mismatches", keys.mismatches),
            ("dcom.keys.streams_lost", keys.streams_lost),
        ]);
    }
    counters
}
