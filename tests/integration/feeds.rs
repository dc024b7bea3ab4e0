//! Ways in which a mirror port delivers: twice, one direction only, wrapped, in fragments.

use dcom_sensor::Sensor;
use dcom_sensor::capture::{Frame, LinkType};
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::event::dcom::{Evidence, Kind, Outcome};
use dcom_sensor::event::{Body, Dcom, Event};
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;
use etherparse::{IpFragOffset, IpNumber, Ipv4Header};

use crate::properties::{found, found_in, sense};
use crate::traffic::{RAW_IP, frame, frames};

const ETHERNET: LinkType = LinkType(1);
const HEADER: usize = 14;

/// The Ethernet frames of a sample.
fn packets(name: &str) -> Vec<Vec<u8>> {
    frames(name).into_iter().map(|(_, bytes, _)| bytes).collect()
}

fn counter(events: &[Event], name: &str) -> u64 {
    let counters = events.iter().find_map(|event| match &event.body {
        Body::Stats(stats) => Some(&stats.counters.0),
        _ => None,
    });
    let counters = counters.expect("a run ends with its counters");
    let found = counters.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no counter {name}")).1
}

/// A capture of these frames, cut at so many bytes. Does it tell how long they were?
fn cut_at(frames: &[(LinkType, Vec<u8>, Timestamp)], length: usize, told: bool) -> Vec<Event> {
    let mut sensor = Sensor::new(Catalog::built_in(), Limits::default(), Calls::All);
    let mut events = Vec::new();
    for (number, (link_type, bytes, time)) in (1..).zip(frames) {
        let cut = frame(*link_type, &bytes[..bytes.len().min(length)], number, *time);
        let original_length = if told {
            u32::try_from(bytes.len()).expect("frames are short")
        } else {
            cut.original_length
        };
        sensor.push(&Frame { original_length, ..cut }, &mut events);
    }
    sensor.finish(&mut events);
    events
}

#[test]
fn a_snap_length_that_nobody_told_is_one_all_the_same() {
    let frames = frames("many-classes.pcap");
    let [told, untold] = [true, false].map(|told| cut_at(&frames, 256, told));
    let cut = |events: &[Event]| counter(events, "dcom.decode.cut_by_snap_length");
    assert_eq!((cut(&told), counter(&told, "decoder.invalid")), (18, 0));
    // The first two may be forgeries.
    assert_eq!((cut(&untold), counter(&untold, "decoder.invalid")), (16, 2));
    let records = |events: &[Event]| {
        let records = events.iter().filter(|event| matches!(event.body, Body::Dcom(_)));
        records.map(|event| event.meta.frame).collect::<Vec<_>>()
    };
    assert_eq!(records(&told).len(), 6);
    assert_eq!(records(&told), records(&untold));
}

/// The frame as another port of the switch, or the other side of a router, shows it.
fn seen_elsewhere(frame: &[u8]) -> Vec<u8> {
    let mut packet = frame[HEADER..].to_vec();
    packet[8] -= 1;
    // RFC 1624: the checksum moves with the hop count, which is the high byte of its word.
    let sum = u32::from(u16::from_be_bytes([packet[10], packet[11]])) + 0x0100;
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [&[6; 12][..], &[0x81, 0, 0, 99, 8, 0], &packet].concat()
}

#[test]
fn a_mirror_that_delivers_twice_tells_everything_once() {
    for name in [
        "mmc20-connect.pcap",
        "mmc20-tiny-fragments.pcap",
        "two-activations.pcap",
    ] {
        let once = packets(name);
        // A copy right behind each packet; and behind every four.
        let behind = once.iter().flat_map(|frame| [frame.clone(), seen_elsewhere(frame)]);
        let later = once.chunks(4).flat_map(|four| {
            let copies: Vec<_> = four.iter().map(|frame| seen_elsewhere(frame)).collect();
            [four.to_vec(), copies].concat()
        });
        for twice in [behind.collect::<Vec<_>>(), later.collect()] {
            let events = sense(&Limits::default(), ETHERNET, &twice);
            let payloads = counter(&sense(&Limits::default(), ETHERNET, &once), "dcom.flow.copies");
            assert_eq!(
                (payloads, counter(&events, "tcp.sessions")),
                (0, counter(&events, "flow.tcp"))
            );
            let with_payload = once.iter().filter(|frame| has_payload(frame)).count();
            assert!(counter(&events, "dcom.flow.copies") >= with_payload as u64, "{name}");
            let alone = sense(&Limits::default(), ETHERNET, &once);
            assert_eq!(packets_told(&events), packets_told(&alone), "{name}");
            assert_eq!(counter(&events, "tcp.overlap_diff_data"), 0);
            assert_eq!(found(events), found_in(name), "{name}");
        }
    }
}

/// What `flow` events count, in whatever order they come.
fn packets_told(events: &[Event]) -> Vec<[u64; 2]> {
    let told = events.iter().filter_map(|event| match &event.body {
        Body::Flow(flow) => Some([flow.traffic.packets_to_server, flow.traffic.packets_to_client]),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    told
}

fn has_payload(frame: &[u8]) -> bool {
    let total = usize::from(u16::from_be_bytes([frame[HEADER + 2], frame[HEADER + 3]]));
    total > 20 + usize::from(frame[HEADER + 32] >> 4) * 4
}

#[test]
fn datagrams_delivered_twice_are_told_once() {
    for name in [
        "mmc20-datagrams.pcap",
        "ept-map-datagrams.pcap",
        "oxid-resolve-datagrams.pcap",
    ] {
        let once = packets(name);
        let twice: Vec<_> = once
            .iter()
            .flat_map(|frame| [frame.clone(), seen_elsewhere(frame)])
            .collect();
        let (once, twice) = [once, twice]
            .map(|frames| sense(&Limits::default(), ETHERNET, &frames))
            .into();
        assert!(counter(&twice, "dcom.udp.repeated") > counter(&once, "dcom.udp.repeated"));
        assert_eq!(found(twice), found(once), "{name}");
    }
}

/// What is told of the sample when only the packets to port 135 and the object's port are seen, or only those from there.
fn one_direction(name: &str, to_server: bool) -> Vec<Event> {
    let mut packets = packets(name);
    packets.retain(|frame| {
        let port = u16::from_be_bytes([frame[HEADER + 22], frame[HEADER + 23]]);
        [135, 49_670].contains(&port) == to_server
    });
    sense(&Limits::default(), ETHERNET, &packets)
}

fn told(events: &[Event], kind: Kind) -> Vec<&Dcom> {
    let told = events.iter().filter_map(|event| match &event.body {
        Body::Dcom(dcom) if dcom.kind == kind => Some(&**dcom),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_clients_direction_alone_tells_what_was_asked_for() {
    for (name, classes) in [
        ("mmc20-connect.pcap", 1),
        ("two-activations.pcap", 2),
        ("mmc20-signed.pcap", 1),
    ] {
        let events = one_direction(name, true);
        assert!(counter(&events, "dcom.flow.heard") > 0);
        assert_eq!(counter(&events, "dcom.flow.heard_both_ways"), 0);
        let activations = told(&events, Kind::Activation);
        assert_eq!(activations.len(), classes, "{name}");
        for activation in activations {
            assert!(activation.clsid.is_some() && activation.class.is_some());
            assert_eq!(
                (activation.outcome, activation.evidence),
                (Some(Outcome::Unanswered), Evidence::Class)
            );
            assert_eq!(activation.bind_seen, Some(true));
        }
        let attempt = |event: &&Event| matches!(&event.body, Body::Alert(alert) if alert.signature_id == 1_021_302);
        let alerts = events.iter().filter(attempt);
        assert_eq!(alerts.count(), classes, "{name}: an attempt, as nobody saw the answer");
        let calls = told(&events, Kind::Call);
        assert!(calls.iter().all(|call| call.outcome == Some(Outcome::Unanswered)));
        if name == "mmc20-connect.pcap" {
            assert!(
                calls
                    .iter()
                    .any(|call| call.arguments.iter().any(|text| text.contains("cmd.exe"))),
                "{calls:?}"
            );
        }
    }
}

#[test]
fn the_servers_direction_alone_tells_what_was_answered() {
    for name in ["mmc20-connect.pcap", "shellwindows-connect.pcap"] {
        let events = one_direction(name, false);
        assert!(counter(&events, "dcom.flow.heard") > 0);
        assert_eq!(counter(&events, "dcom.flow.heard_both_ways"), 0);
        let activations = told(&events, Kind::Activation);
        assert_eq!(activations.len(), 1, "{name}: {events:#?}");
        let activation = activations[0];
        assert!(activation.oxid.is_some() && !activation.ipids.is_empty());
        assert!(activation.bindings.iter().any(|binding| binding.contains("[49670]")));
        assert_eq!((activation.clsid, activation.opnum), (None, None));
        assert!(activation.evidence == Evidence::Inferred && !activation.because.is_empty());
    }
}

fn outer(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut header = Ipv4Header::new(length, 9, IpNumber(number), [172, 16, 0, 1], [172, 16, 0, 2]).expect("short");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn over_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("short");
    let header = [40_000, port, length, 0].map(u16::to_be_bytes);
    outer(17, &[header.as_flattened(), payload].concat())
}

#[test]
fn what_is_in_a_tunnel_is_found_and_the_tunnel_is_told() {
    type Wrap = fn(&[u8]) -> Vec<u8>;
    let tunnels: [(&str, Wrap, &str, Option<u16>); 6] = [
        (
            "gre",
            |frame| outer(47, &[&[0, 0, 8, 0], &frame[HEADER..]].concat()),
            "GRE",
            None,
        ),
        (
            "erspan",
            |frame| {
                outer(
                    47,
                    &[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 7, 0x10, 0, 0, 0, 0, 0, 0, 0], frame].concat(),
                )
            },
            "GRE",
            None,
        ),
        ("ip in ip", |frame| outer(4, &frame[HEADER..]), "IP-ENCAP", None),
        (
            "vxlan",
            |frame| over_udp(4_789, &[&[8, 0, 0, 0, 0, 0, 5, 0], frame].concat()),
            "UDP",
            Some(4_789),
        ),
        (
            "geneve",
            |frame| over_udp(6_081, &[&[0, 0, 0x65, 0x58, 0, 0, 5, 0], frame].concat()),
            "UDP",
            Some(6_081),
        ),
        (
            "gtp",
            |frame| over_udp(2_152, &[&[0x30, 255, 0, 0, 0, 0, 0, 1], &frame[HEADER..]].concat()),
            "UDP",
            Some(2_152),
        ),
    ];
    for (name, wrap, proto, port) in tunnels {
        let wrapped: Vec<_> = packets("mmc20-connect.pcap").iter().map(|frame| wrap(frame)).collect();
        let events = sense(&Limits::default(), RAW_IP, &wrapped);
        for event in &events {
            if matches!(event.body, Body::Stats(_)) {
                continue;
            }
            let tunnel = event
                .meta
                .tunnel
                .as_ref()
                .unwrap_or_else(|| panic!("{name}: {event:?}"));
            assert_eq!((tunnel.proto.as_ref(), tunnel.depth), (proto, 1), "{name}");
            assert_eq!(tunnel.source.to_string(), "172.16.0.1");
            assert_eq!(tunnel.destination_port.map(|port| port.0), port);
        }
        assert_eq!(found(events), found_in("mmc20-connect.pcap"), "{name}");
    }
}

#[test]
fn what_comes_in_ip_fragments_is_found() {
    let mut fragments = Vec::new();
    for (id, frame) in (1..).zip(packets("mmc20-connect.pcap")) {
        let payload = &frame[HEADER + 20..];
        let parts: Vec<_> = payload.chunks(104).collect();
        for (index, part) in parts.iter().enumerate().rev() {
            let length = u16::try_from(part.len()).expect("short");
            let ends = [12, 16].map(|at| frame[HEADER + at..].first_chunk().copied().expect("an address"));
            let mut header = Ipv4Header::new(length, 64, IpNumber::TCP, ends[0], ends[1]).expect("short");
            header.identification = id;
            header.more_fragments = index + 1 < parts.len();
            header.fragment_offset = IpFragOffset::try_new(u16::try_from(index * 13).expect("short")).expect("short");
            header.header_checksum = header.calc_header_checksum();
            fragments.push([&header.to_bytes()[..], part].concat());
        }
    }
    let events = sense(&Limits::default(), RAW_IP, &fragments);
    assert!(counter(&events, "dcom.fragments.joined") > 10);
    assert_eq!(counter(&events, "dcom.fragments.incomplete"), 0);
    assert_eq!(found(events), found_in("mmc20-connect.pcap"));
}

#[test]
fn a_login_is_told_once_whether_a_call_follows_or_not() {
    let all = packets("mmc20-connect.pcap");
    // Up to the login's last message, up to the first call, and up to its answer.
    for (count, success) in [(8, None), (11, None), (12, Some(true))] {
        let events = sense(&Limits::default(), ETHERNET, &all[..count]);
        let logins: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Login(login) => Some((event.meta.frame, login.username.as_deref(), login.success)),
                _ => None,
            })
            .collect();
        assert_eq!(logins, [(Some(4), Some("alice"), success)]);
    }
}
