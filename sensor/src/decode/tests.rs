mod wrapped;

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder, SingleVlanHeader, TcpHeader, VlanHeader, VlanId};
use proptest::prelude::*;

use super::*;
use crate::capture::LinkType;
use crate::time::Timestamp;

const PAYLOAD: &[u8] = b"odd payload";
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

fn frame(link_type: u16, bytes: &[u8]) -> Frame<'_> {
    let at = At {
        frame: 9,
        time: Timestamp(7),
        ..At::default()
    };
    Frame {
        at,
        link_type: LinkType(link_type),
        bytes,
        original_length: u32::try_from(bytes.len()).unwrap(),
    }
}

fn tcp() -> TcpHeader {
    let mut header = TcpHeader::new(49_152, 135, 0xfedc_ba98, 1_024);
    (header.ack, header.acknowledgment_number) = (true, 77);
    header
}

fn ipv4() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .tcp_header(tcp())
        .write(&mut bytes, PAYLOAD)
        .unwrap();
    bytes
}

fn ipv6() -> Vec<u8> {
    let mut bytes = Vec::new();
    let (source, destination) = (Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::from(2).octets());
    PacketBuilder::ipv6(source, destination, 64)
        .tcp_header(tcp())
        .write(&mut bytes, PAYLOAD)
        .unwrap();
    bytes
}

fn ethernet(ether_type: u16, packet: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), packet].concat()
}

/// Payload and missing bytes of a frame's segment, and the counters after it.
fn one(frame: &Frame<'_>) -> (Option<(Vec<u8>, u32)>, DecodeCounters) {
    let mut decoder = Decoder::default();
    let segment = decoder.push(frame).map(|decoded| match decoded {
        Decoded::Segment(segment) => (segment.payload.to_vec(), segment.cut),
        Decoded::Datagram(datagram) => (datagram.payload.to_vec(), datagram.cut),
    });
    (segment, *decoder.counters())
}

/// The frame's segment, which it must have.
fn segment<'a>(frame: &Frame<'a>) -> Segment<'a> {
    // It may refer to the decoder, which a test has no name for.
    match Box::leak(Box::<Decoder>::default()).push(frame) {
        Some(Decoded::Segment(segment)) => segment,
        other => panic!("no segment: {other:?}"),
    }
}

/// The counters after a frame with a segment and nothing odd.
fn ordinary(frame: &Frame<'_>) -> DecodeCounters {
    DecodeCounters {
        frames: 1,
        bytes: frame.bytes.len() as u64,
        segments: 1,
        ..DecodeCounters::default()
    }
}

/// The frame's payload is whole and nothing about it is odd.
fn assert_plain(link_type: u16, bytes: &[u8]) {
    let frame = frame(link_type, bytes);
    assert_eq!(
        one(&frame),
        (Some((PAYLOAD.to_vec(), 0)), ordinary(&frame)),
        "link type {link_type}"
    );
}

#[test]
fn every_field_of_a_segment_is_read() {
    let bytes = ethernet(0x0800, &ipv4());
    let segment = segment(&frame(1, &bytes));
    assert_eq!(
        segment.at,
        At {
            frame: 9,
            time: Timestamp(7),
            ..At::default()
        }
    );
    assert_eq!(
        segment.source,
        Endpoint {
            address: Ipv4Addr::from(CLIENT).into(),
            port: 49_152
        }
    );
    assert_eq!(
        segment.destination,
        Endpoint {
            address: Ipv4Addr::from(SERVER).into(),
            port: 135
        }
    );
    assert_eq!((segment.sequence, segment.acknowledgement), (0xfedc_ba98, Some(77)));
    assert_eq!((segment.syn, segment.fin, segment.rst), (false, false, false));
    assert_eq!((segment.payload, segment.cut), (PAYLOAD, 0));
    assert_eq!((segment.flags & 0x10, segment.length as usize), (0x10, bytes.len()));
    assert_eq!(segment.vlan, VlanTags::default());
}

#[test]
fn ipv6_addresses_are_read() {
    let bytes = ipv6();
    let segment = segment(&frame(229, &bytes));
    assert_eq!(
        segment.source,
        Endpoint {
            address: Ipv6Addr::LOCALHOST.into(),
            port: 49_152
        }
    );
    assert_eq!(
        segment.destination,
        Endpoint {
            address: Ipv6Addr::from(2).into(),
            port: 135
        }
    );
}

#[test]
fn flags_stand_for_themselves() {
    let told = |bytes: &[u8]| {
        let s = segment(&frame(101, bytes));
        (s.syn, s.fin, s.rst, s.acknowledgement)
    };
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .tcp(1, 2, 3, 4)
        .syn()
        .write(&mut bytes, b"")
        .unwrap();
    assert_eq!(told(&bytes), (true, false, false, None));
    bytes.clear();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .tcp(1, 2, 3, 4)
        .fin()
        .ack(5)
        .write(&mut bytes, b"")
        .unwrap();
    assert_eq!(told(&bytes), (false, true, false, Some(5)));
    bytes.clear();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .tcp(1, 2, 3, 4)
        .rst()
        .write(&mut bytes, b"")
        .unwrap();
    assert_eq!(told(&bytes), (false, false, true, None));
}

#[test]
fn every_link_type_leads_to_the_packet() {
    for (ether_type, packet) in [(0x0800_u16, ipv4()), (0x86dd, ipv6())] {
        assert_plain(1, &ethernet(ether_type, &packet));
        for raw in [12, 14, 101, 228, 229] {
            assert_plain(raw, &packet);
        }
        let protocol = ether_type.to_be_bytes();
        assert_plain(
            113,
            &[&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &protocol, &packet].concat(),
        );
        assert_plain(276, &[&protocol[..], &[0; 18], &packet].concat());
        for family in [2_u32, 10, 24, 28, 30] {
            for link_type in [0, 108] {
                assert_plain(link_type, &[&family.to_le_bytes()[..], &packet].concat());
                assert_plain(link_type, &[&family.to_be_bytes()[..], &packet].concat());
            }
            let short = u16::try_from(family).unwrap().to_be_bytes();
            assert_plain(0, &[&short[..], &[0, 0], &packet].concat());
        }
        for link_type in [0, 108] {
            assert_plain(link_type, &[&[0, 0], &protocol[..], &packet].concat());
        }
        let ppp = if ether_type == 0x0800 { 0x21 } else { 0x57 };
        assert_plain(0, &[&[0xff, 0x03, 0, ppp][..], &packet].concat());
    }
    let unknown = [&[0, 0x20, 0, 0][..], &ipv4()].concat();
    assert_eq!(one(&frame(0, &unknown)).1.not_ip, 1);
}

#[test]
fn what_switches_put_around_a_frame_is_taken_off() {
    let mut header = [
        1, 0, 0x0c, 0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 90, 0xaa, 0xaa, 3, 2, 2, 2, 0, 0x15, 0, 0, 0, 0,
    ];
    let inner = ethernet(0x0800, &ipv4());
    let bytes = [&header[..], &inner, &[0; 4]].concat();
    let (vlan, payload) = {
        let segment = segment(&frame(1, &bytes));
        (segment.vlan, segment.payload.to_vec())
    };
    let (ids, count) = ([10, 0], 1);
    assert_eq!((vlan, payload), (VlanTags { ids, count }, PAYLOAD.to_vec()));
    // A frame of Token Ring is within.
    header[5] = 0x10;
    let bytes = [&header[..], &inner].concat();
    assert_eq!(one(&frame(1, &bytes)).0, None);
}

#[test]
fn the_outer_two_of_any_number_of_tags_are_kept() {
    let tag = |id: u16, next: u16| [(id | 0xe000).to_be_bytes(), next.to_be_bytes()].concat();
    for (first, tags, ids, count) in [
        (0x8100, tag(5, 0x0800), [5, 0], 1),
        (0x88a8, [tag(100, 0x8100), tag(4_094, 0x0800)].concat(), [100, 4_094], 2),
        (
            0x9100,
            [tag(1, 0x9100), tag(2, 0x88a8), tag(3, 0x8100), tag(4, 0x0800)].concat(),
            [1, 2],
            2,
        ),
    ] {
        let bytes = ethernet(first, &[tags, ipv4()].concat());
        let segment = segment(&frame(1, &bytes));
        assert_eq!((segment.vlan, segment.payload), (VlanTags { ids, count }, PAYLOAD));
    }
}

#[test]
fn tags_are_where_etherparse_writes_them() {
    let mut bytes = Vec::new();
    let vlan = SingleVlanHeader {
        vlan_id: VlanId::try_new(300).unwrap(),
        ..Default::default()
    };
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).vlan(VlanHeader::Single(vlan));
    builder
        .ipv4(CLIENT, SERVER, 9)
        .tcp_header(tcp())
        .write(&mut bytes, PAYLOAD)
        .unwrap();
    let segment = segment(&frame(1, &bytes));
    assert_eq!(
        (segment.vlan, segment.payload),
        (
            VlanTags {
                ids: [300, 0],
                count: 1
            },
            PAYLOAD
        )
    );
}

#[test]
fn padding_and_check_sequence_are_no_payload() {
    assert_plain(1, &[ethernet(0x0800, &ipv4()), vec![0x55; 23]].concat());
    assert_plain(1, &[ethernet(0x86dd, &ipv6()), vec![0x55; 4]].concat());
}

#[test]
fn offloaded_packets_without_a_length_are_read_to_the_captured_end() {
    let mut packet = ipv4();
    packet[2..4].fill(0);
    let bytes = ethernet(0x0800, &packet);
    let (segment, counters) = one(&frame(1, &bytes));
    assert_eq!(segment, Some((PAYLOAD.to_vec(), 0)));
    assert_eq!((counters.zero_total_length, counters.bad_ipv4_checksum), (1, 1));

    let mut packet = ipv6();
    packet[4..6].fill(0);
    let (segment, counters) = one(&frame(229, &packet));
    assert_eq!(segment, Some((PAYLOAD.to_vec(), 0)));
    assert_eq!(counters.zero_total_length, 1);
}

#[test]
fn an_offloaded_packet_that_the_snap_length_cut_says_what_is_missing() {
    let mut packet = ipv4();
    packet[2..4].fill(0);
    let mut frame = frame(101, &packet);
    frame.original_length += 4_000;
    let (segment, counters) = one(&frame);
    assert_eq!(segment, Some((PAYLOAD.to_vec(), 4_000)));
    assert_eq!(counters.cut_by_snap_length, 1);
}

#[test]
fn wrong_checksums_are_counted_and_read_all_the_same() {
    let mut packet = ipv4();
    packet[10] ^= 1;
    packet[36] ^= 1;
    let four = frame(101, &packet);
    let expected = DecodeCounters {
        bad_ipv4_checksum: 1,
        ..ordinary(&four)
    };
    assert_eq!(one(&four), (Some((PAYLOAD.to_vec(), 0)), expected));
    assert_eq!(segment(&four).sum(), Sum::Wrong);

    let mut packet = ipv6();
    packet[56] ^= 1;
    let six = frame(101, &packet);
    assert_eq!(one(&six), (Some((PAYLOAD.to_vec(), 0)), ordinary(&six)));
    assert_eq!(segment(&six).sum(), Sum::Wrong);
}

#[test]
fn what_the_snap_length_cut_is_measured_by_the_ip_length() {
    for (ether_type, packet) in [(0x0800, ipv4()), (0x86dd, ipv6())] {
        let whole = ethernet(ether_type, &packet);
        let mut cut = frame(1, &whole[..whole.len() - 4]);
        cut.original_length += 64;
        let expected = DecodeCounters {
            cut_by_snap_length: 1,
            ..ordinary(&cut)
        };
        assert_eq!(one(&cut), (Some((PAYLOAD[..PAYLOAD.len() - 4].to_vec(), 4)), expected));

        let mut headers = frame(1, &whole[..whole.len() - PAYLOAD.len() - 1]);
        headers.original_length += 12;
        let (segment, counters) = one(&headers);
        assert_eq!((segment, counters.malformed, counters.cut_by_snap_length), (None, 1, 1));
    }
}

#[test]
fn a_packet_that_ends_behind_its_frame_is_none() {
    for (at, packet) in [(2, ipv4()), (4, ipv6())] {
        for (more, missing, read) in [(1_u16, 0, false), (100, 99, false), (100, 100, true), (0, 0, true)] {
            let mut packet = packet.clone();
            let length = u16::from_be_bytes([packet[at], packet[at + 1]]) + more;
            packet[at..at + 2].copy_from_slice(&length.to_be_bytes());
            let mut frame = frame(101, &packet);
            frame.original_length += missing;
            let (segment, counters) = one(&frame);
            assert_eq!((segment.is_some(), counters.malformed), (read, u64::from(!read)));
        }
    }
    // Shorter than its own header; of length zero it may be offloaded.
    let mut packet = ipv4();
    packet[3] = 19;
    assert_eq!(one(&frame(101, &packet)).1.malformed, 1);
}

#[test]
fn extension_headers_lie_between_ipv6_and_tcp() {
    let mut packet = ipv6();
    let tcp = packet.split_off(40);
    // Hop-by-hop options, then an atomic fragment: one that is the whole packet.
    packet[6] = 0;
    packet[4..6].copy_from_slice(&u16::try_from(tcp.len() + 16).unwrap().to_be_bytes());
    let options = [44, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |offset_and_more: u8| [6, 0, 0, offset_and_more, 0, 0, 0, 9];
    assert_plain(101, &[&packet[..], &options, &fragment(0), &tcp].concat());

    let (segment, counters) = one(&frame(101, &[&packet[..], &options, &fragment(1), &tcp].concat()));
    assert_eq!((segment, counters.waiting), (None, 1));
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .udp(49_152, 135)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// The counters after a frame with a datagram and nothing odd.
fn ordinary_datagram(frame: &Frame<'_>) -> DecodeCounters {
    DecodeCounters {
        segments: 0,
        datagrams: 1,
        ..ordinary(frame)
    }
}

#[test]
fn every_field_of_a_datagram_is_read() {
    let bytes = ethernet(0x0800, &udp(PAYLOAD));
    let mut decoder = Decoder::default();
    let Some(Decoded::Datagram(datagram)) = decoder.push(&frame(1, &bytes)) else {
        panic!("no datagram");
    };
    let ends = [(CLIENT, 49_152), (SERVER, 135)].map(|(address, port)| Endpoint {
        address: address.into(),
        port,
    });
    assert_eq!([datagram.source, datagram.destination], ends);
    assert_eq!((datagram.payload, datagram.cut, datagram.at.frame), (PAYLOAD, 0, 9));
    assert_eq!(datagram.length as usize, bytes.len());
    assert_eq!(Transport::Udp.number(), 17);
}

#[test]
fn a_datagram_ends_where_its_length_says() {
    // Behind it stands what Ethernet or somebody else filled up with.
    let mut bytes = udp(PAYLOAD);
    bytes.extend(b"filler");
    let total = u16::try_from(bytes.len()).unwrap();
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    let (told, counters) = one(&frame(101, &bytes));
    assert_eq!((told, counters.bad_udp_checksum), (Some((PAYLOAD.to_vec(), 0)), 0));
    // Longer than its packet, or shorter than its own header.
    for length in [200, 7_u16] {
        bytes[24..26].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            (one(&frame(101, &bytes)).0, one(&frame(101, &bytes)).1.malformed),
            (None, 1)
        );
    }
    let short = udp(PAYLOAD);
    assert_eq!(one(&frame(101, &short[..27])).1.malformed, 1);
}

#[test]
fn a_datagram_cut_short_says_by_how_much() {
    let whole = udp(PAYLOAD);
    let mut frame = frame(101, &whole[..whole.len() - 4]);
    frame.original_length += 4;
    let expected = DecodeCounters {
        cut_by_snap_length: 1,
        ..ordinary_datagram(&frame)
    };
    assert_eq!(
        one(&frame),
        (Some((PAYLOAD[..PAYLOAD.len() - 4].to_vec(), 4)), expected)
    );
}

#[test]
fn a_wrong_udp_checksum_is_counted_and_none_is_right_over_ipv4_alone() {
    let mut bytes = udp(PAYLOAD);
    bytes[26] ^= 0x55;
    assert_eq!(one(&frame(101, &bytes)).1.bad_udp_checksum, 1);
    bytes[26..28].fill(0);
    let without = frame(101, &bytes);
    assert_eq!(one(&without).1, ordinary_datagram(&without));
    let mut six = Vec::new();
    PacketBuilder::ipv6([3; 16], [4; 16], 1)
        .udp(1, 2)
        .write(&mut six, PAYLOAD)
        .unwrap();
    assert_eq!(one(&frame(101, &six)).1, ordinary_datagram(&frame(101, &six)));
    six[46..48].fill(0);
    assert_eq!(one(&frame(101, &six)).1.bad_udp_checksum, 1);
}

#[test]
fn what_is_neither_tcp_nor_udp_is_counted_by_its_reason() {
    let mut icmp = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut icmp, PAYLOAD)
        .unwrap();
    assert_eq!(one(&frame(101, &icmp)).1.not_tcp_or_udp, 1);
    assert_eq!(one(&frame(1, &ethernet(0x0806, &[0; 28]))).1.not_ip, 1);
    assert_eq!(one(&frame(0, &[7, 0, 0, 0, 1, 2, 3, 4])).1.not_ip, 1);
    assert_eq!(one(&frame(147, &ipv4())).1.unknown_link_type, 1);
    assert_eq!(one(&frame(101, &[0x75; 60])).1.malformed, 1);
    assert_eq!(one(&frame(1, b"short")).1.malformed, 1);
    assert_eq!(one(&frame(1, &ethernet(0x8100, &[0]))).1.malformed, 1);
}

proptest! {
    #[test]
    fn each_frame_is_counted_once_whatever_it_is(
        link_type in prop::sample::select(vec![0_u16, 1, 12, 101, 108, 113, 147, 228, 276]),
        start in prop::sample::select(vec![
            vec![], ethernet(0x0800, &ipv4()), ethernet(0x86dd, &ipv6()), ipv4(), ipv6(), udp(PAYLOAD),
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in prop::collection::vec(any::<u8>(), 0..80),
        longer in 0_u32..3,
    ) {
        let mut bytes = [start, end].concat();
        for (at, value) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        let mut frame = frame(link_type, &bytes);
        frame.original_length += longer;
        let (segment, told) = one(&frame);
        let dropped = [
            told.unknown_link_type, told.not_ip, told.waiting, told.not_tcp_or_udp, told.encrypted, told.too_deep,
                told.malformed,
        ];
        let handed_on = told.segments + told.datagrams;
        prop_assert_eq!(handed_on + dropped.iter().sum::<u64>(), 1);
        prop_assert_eq!(segment.is_some(), handed_on == 1);
    }

    #[test]
    fn checksums_agree_with_those_etherparse_writes(payload in prop::collection::vec(any::<u8>(), 0..70)) {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        PacketBuilder::ipv4(CLIENT, SERVER, 1).tcp_header(tcp()).write(&mut four, &payload).unwrap();
        PacketBuilder::ipv6([3; 16], [4; 16], 1).tcp_header(tcp()).write(&mut six, &payload).unwrap();
        for bytes in [four, six] {
            let frame = frame(101, &bytes);
            prop_assert_eq!(one(&frame).1, ordinary(&frame));
            prop_assert_eq!(segment(&frame).sum(), Sum::Right);
        }
        let bytes = udp(&payload);
        let frame = frame(101, &bytes);
        prop_assert_eq!(one(&frame).1, ordinary_datagram(&frame));
    }
}
