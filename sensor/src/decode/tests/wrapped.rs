//! Tunnels, link types and fragments.

use super::*;

const OUTER: [[u8; 4]; 2] = [[172, 16, 0, 1], [172, 16, 0, 2]];

/// An IPv4 packet between two ends of a tunnel.
fn outer(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut header = Ipv4Header::new(length, 9, IpNumber(number), OUTER[0], OUTER[1]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn outer_ipv6(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [
        &[0x60, 0, 0, 0, length[0], length[1], number, 9][..],
        &[0xfd; 32],
        payload,
    ]
    .concat()
}

fn over_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4(OUTER[0], OUTER[1], 9).udp(40_000, port);
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// Header bytes and what follows.
fn with(header: &[u8], rest: &[u8]) -> Vec<u8> {
    [header, rest].concat()
}

/// What comes out of a frame: the payload, how often each carrier was taken off, the tunnel.
fn unwrapped(link_type: u16, bytes: &[u8]) -> (Vec<u8>, Vec<Carrier>, Option<Tunnel>, VlanTags) {
    let mut decoder = Decoder::default();
    let found = decoder.push(&frame(link_type, bytes));
    let Some(Decoded::Segment(segment)) = found else {
        panic!("no segment in {bytes:02x?}: {found:?}");
    };
    assert_eq!(segment.source.port, 49_152);
    let (payload, tunnel, vlan) = (segment.payload.to_vec(), segment.tunnel.copied(), segment.vlan);
    let carriers = decoder.counters().carriers;
    let taken = Carrier::ALL.iter().filter(|(carrier, _)| carriers.count(*carrier) > 0);
    (payload, taken.map(|(carrier, _)| *carrier).collect(), tunnel, vlan)
}

#[test]
fn every_tunnel_gives_its_packet() {
    use Carrier::*;
    let (four, six) = (ipv4(), ipv6());
    let framed = ethernet(0x0800, &four);
    let gre = |header: &[u8], inner: &[u8]| outer(47, &with(header, inner));
    let erspan_3 = |tail: [u8; 2]| with(&[0x20, 5, 0, 0, 0, 0, 0, 0, 0, 0], &tail);
    for (packet, carriers, depth) in [
        (outer(4, &four), vec![Ipv4InIpv4], 1),
        (outer(41, &six), vec![Ipv6InIpv4], 1),
        (outer_ipv6(4, &four), vec![Ipv4InIpv6], 1),
        (outer_ipv6(41, &six), vec![Ipv6InIpv6], 1),
        (outer(97, &with(&[0x30, 0], &framed)), vec![EtherIp], 1),
        (gre(&[0, 0, 8, 0], &four), vec![Gre], 1),
        (gre(&[0, 0, 0x86, 0xdd], &six), vec![Gre], 1),
        // Checksum, key and sequence number.
        (
            gre(&[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], &four),
            vec![Gre],
            1,
        ),
        // A source route of one entry.
        (
            gre(&[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0], &four),
            vec![Gre],
            1,
        ),
        // WCCP, versions 1 and 2.
        (gre(&[0, 0, 0x88, 0x3e], &four), vec![Gre], 1),
        (gre(&[0, 0, 0x88, 0x3e, 1, 0, 0, 0], &four), vec![Gre], 1),
        // NVGRE: a key and Ethernet.
        (gre(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &framed), vec![Gre], 1),
        // PPTP: key, sequence number, acknowledgement; PPP with and without address and control.
        (
            gre(
                &[
                    0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21,
                ],
                &four,
            ),
            vec![Gre],
            1,
        ),
        (
            gre(&[0x30, 1, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 1, 0x21], &four),
            vec![Gre],
            1,
        ),
        (gre(&[0, 0, 0x88, 0xbe], &framed), vec![Gre, Erspan], 1),
        (
            gre(
                &with(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 7], &[0x10, 5, 0, 0, 0, 0, 0, 0]),
                &framed,
            ),
            vec![Gre, Erspan],
            1,
        ),
        (
            gre(&with(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 7], &erspan_3([0, 0])), &framed),
            vec![Gre, Erspan],
            1,
        ),
        (
            gre(
                &with(&with(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 7], &erspan_3([0, 1])), &[9; 8]),
                &framed,
            ),
            vec![Gre, Erspan],
            1,
        ),
        (
            over_udp(4_789, &with(&[8, 0, 0, 0, 0, 0, 1, 0], &framed)),
            vec![Vxlan],
            1,
        ),
        (
            over_udp(8_472, &with(&[8, 0, 0, 0, 0, 0, 1, 0], &framed)),
            vec![Vxlan],
            1,
        ),
        (
            over_udp(4_790, &with(&[0x0c, 0, 0, 1, 0, 0, 1, 0], &four)),
            vec![Vxlan],
            1,
        ),
        (
            over_udp(
                4_790,
                &with(
                    &[0x0c, 0, 0, 4, 0, 0, 1, 0, 0x0f, 0xc6, 1, 1, 0, 0, 1, 9],
                    &with(&[0; 16], &four),
                ),
            ),
            vec![Vxlan, Nsh],
            1,
        ),
        (
            over_udp(
                6_081,
                &with(&[2, 0, 0x65, 0x58, 0, 0, 1, 0, 1, 2, 3, 1, 5, 5, 5, 5], &framed),
            ),
            vec![Geneve],
            1,
        ),
        (
            over_udp(6_081, &with(&[0, 0, 0x86, 0xdd, 0, 0, 1, 0], &six)),
            vec![Geneve],
            1,
        ),
        (
            over_udp(2_152, &with(&[0x30, 255, 0, 51, 0, 0, 0, 1], &four)),
            vec![Gtp],
            1,
        ),
        // A sequence number, then two extension headers.
        (
            over_udp(
                2_152,
                &with(
                    &[0x36, 255, 0, 51, 0, 0, 0, 1, 0, 7, 0, 0x85, 1, 0, 0, 0x40, 1, 0, 0, 0],
                    &four,
                ),
            ),
            vec![Gtp],
            1,
        ),
        (over_udp(3_544, &six), vec![Teredo], 1),
        (
            over_udp(
                3_544,
                &with(
                    &[0, 1, 2, 1, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2],
                    &six,
                ),
            ),
            vec![Teredo],
            1,
        ),
        // Length and sequence number.
        (
            over_udp(
                1_701,
                &with(&[0x48, 2, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 3, 0, 0x57], &six),
            ),
            vec![L2tp],
            1,
        ),
        (outer(137, &with(&[0, 1, 0x11, 64], &four)), vec![Mpls], 1),
        // GRE in VXLAN in GRE.
        (
            gre(
                &[0, 0, 8, 0],
                &over_udp(
                    4_789,
                    &with(&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0800, &gre(&[0, 0, 8, 0], &four))),
                ),
            ),
            vec![Gre, Vxlan],
            3,
        ),
    ] {
        let (payload, taken, tunnel, _) = unwrapped(101, &packet);
        assert_eq!((payload.as_slice(), &taken), (PAYLOAD, &carriers), "{packet:02x?}");
        let tunnel = tunnel.expect("a tunnel");
        assert_eq!(tunnel.depth, depth, "{carriers:?}");
        let over_udp = packet[0] == 0x45 && packet[9] == 17;
        assert_eq!(tunnel.ports.is_some(), over_udp, "{carriers:?}");
        assert_eq!(tunnel.protocol, if packet[0] == 0x45 { packet[9] } else { packet[6] });
    }
}

#[test]
fn the_length_of_a_packet_is_with_what_is_around_it_up_to_a_tunnel() {
    let packet = ipv4();
    let ethernet_in_vxlan = ethernet(0x0800, &packet);
    let filled = with(&ethernet(0x0800, &packet), &[0; 6]);
    for (bytes, length) in [
        (ethernet(0x8100, &with(&[0, 7, 8, 0], &packet)), 18 + packet.len()),
        // What Ethernet fills up with is on the wire too.
        (filled, 14 + packet.len() + 6),
        (ethernet(0x0800, &outer(4, &packet)), packet.len()),
        (
            ethernet(
                0x0800,
                &over_udp(4_789, &with(&[8, 0, 0, 0, 0, 0, 7, 0], &ethernet_in_vxlan)),
            ),
            ethernet_in_vxlan.len(),
        ),
    ] {
        assert_eq!(segment(&frame(1, &bytes)).length as usize, length, "{bytes:02x?}");
    }
    // Of fragments, the packet that they were, behind the last one's link layer.
    let end = packet.len() - 20;
    let mut decoder = Decoder::default();
    let first = ethernet(0x0800, &ipv4_fragment(&packet, 0, 16, true));
    assert!(decoder.push(&frame(1, &first)).is_none());
    let last = with(&ethernet(0x0800, &ipv4_fragment(&packet, 16, end, false)), b"filler");
    let Some(Decoded::Segment(segment)) = decoder.push(&frame(1, &last)) else {
        panic!("no segment");
    };
    assert_eq!(segment.length as usize, 14 + packet.len());
}

#[test]
fn labels_and_sessions_are_no_tunnel_of_addresses() {
    use Carrier::*;
    let four = ipv4();
    let framed = ethernet(0x0800, &four);
    let virtual_machine = with(&[0, 0x0c, 0x29, 1, 2, 3, 0, 0x50, 0x56, 1, 2, 3, 8, 0], &four);
    let looks_like_ip = with(&[0x44, 0x0c, 0x29, 1, 2, 3, 0x60, 0x50, 0x56, 1, 2, 3, 8, 0], &four);
    let labels = [0, 1, 0, 64, 0, 2, 1, 64];
    for (ether_type, rest, carriers) in [
        (0x8847, with(&labels, &four), vec![Mpls]),
        (0x8848, with(&labels[4..], &ipv6()), vec![Mpls]),
        // Ethernet with a control word, and without: by addresses that look like one, and like IP.
        (0x8847, with(&labels, &with(&[0, 0, 0, 9], &framed)), vec![Mpls]),
        (0x8847, with(&labels, &with(&[0; 4], &virtual_machine)), vec![Mpls]),
        (0x8847, with(&labels, &virtual_machine), vec![Mpls]),
        (0x8847, with(&labels, &looks_like_ip), vec![Mpls]),
        (0x8864, with(&[0x11, 0, 0, 1, 0, 53, 0, 0x21], &four), vec![Pppoe]),
        (0x8864, with(&[0x11, 0, 0, 1, 0, 73, 0x57], &ipv6()), vec![Pppoe]),
    ] {
        let (payload, taken, tunnel, _) = unwrapped(1, &ethernet(ether_type, &rest));
        assert_eq!(
            (payload.as_slice(), taken, tunnel),
            (PAYLOAD, carriers, None),
            "{rest:02x?}"
        );
    }
}

#[test]
fn further_link_types_lead_to_the_packet() {
    let four = ipv4();
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let wireless = |control: u8, flags: u8, length: usize| {
        let mut header = vec![0; length];
        (header[0], header[1]) = (control, flags);
        with(&with(&header, &snap), &four)
    };
    let mut aggregate = wireless(0x88, 1, 26 + 14);
    aggregate[24] = 0x80;
    for (link_type, bytes) in [
        (9, with(&[0xff, 3, 0, 0x21], &four)),
        (9, with(&[0, 0x21], &four)),
        (9, with(&[0x21], &four)),
        (50, with(&[0x0f, 0, 8, 0], &four)),
        (51, with(&[0x11, 0, 0, 1, 0, 53, 0, 0x21], &four)),
        (104, with(&[0x0f, 0, 8, 0], &four)),
        (105, wireless(0x08, 1, 24)),
        (105, wireless(0x88, 2, 26)),
        (105, wireless(0x88, 0x83, 36)),
        (105, aggregate),
        (
            127,
            with(&[0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0], &wireless(0x08, 1, 24)),
        ),
        (
            192,
            with(&[0, 0, 12, 0, 105, 0, 0, 0, 1, 2, 3, 4], &wireless(0x08, 1, 24)),
        ),
        (204, with(&[0, 0xff, 3, 0, 0x21], &four)),
        (239, with(&[2, 0, 0, 0, 5, 0, 10, 0, b'x', 0, 0, 0, 55, 0, 9, 0], &four)),
        (240, with(&[0; 4], &ethernet(0x0800, &four))),
        // 802.3 with a length and SNAP, with SNAP of bridges, with IP's own number; too long for a length.
        (1, ethernet(60, &with(&snap, &four))),
        (1, ethernet(60, &with(&[0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0], &four))),
        (1, ethernet(60, &with(&[6, 6, 3], &four))),
        (1, ethernet(0x8870, &with(&snap, &four))),
        // Metadata, VN-Tag, E-TAG, R-TAG, a customer's frame.
        (1, ethernet(0x8909, &with(&[1, 1, 0, 1, 0, 5, 8, 0], &four))),
        (1, ethernet(0x8909, &with(&[1, 2, 0, 1, 0, 5, 0, 0, 0, 0, 8, 0], &four))),
        (1, ethernet(0x8926, &with(&[0, 1, 0, 2, 8, 0], &four))),
        (1, ethernet(0x893f, &with(&[0, 1, 0, 2, 0, 0, 8, 0], &four))),
        (1, ethernet(0xf1c1, &with(&[0, 0, 0, 1, 8, 0], &four))),
        (1, ethernet(0x88e7, &with(&[0, 0, 0, 5], &ethernet(0x0800, &four)))),
        // MACsec that does not encrypt, without and with the channel's name.
        (1, ethernet(0x88e5, &with(&[0, 0, 0, 0, 0, 1, 8, 0], &four))),
        (
            1,
            ethernet(
                0x88e5,
                &with(&[0x20, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0], &four),
            ),
        ),
        (100, with(&snap, &four)),
        (107, with(&[0x18, 0x41, 3, 0xcc], &four)),
        (107, with(&[0x18, 0x40, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &four)),
        (109, with(&[0; 12], &four)),
        (117, with(&[61], &with(&[0; 63], &four))),
        (119, with(&[0x44; 144], &wireless(0x08, 1, 24))),
        (
            119,
            with(&[0x80, 0x21, 0x10, 1, 0, 0, 0, 12, 0, 0, 0, 0], &wireless(0x08, 1, 24)),
        ),
        (
            163,
            with(&[0x80, 0x21, 0x10, 1, 0, 0, 0, 12, 0, 0, 0, 0], &wireless(0x08, 1, 24)),
        ),
        (122, with(&[0; 16], &with(&snap, &four))),
        (138, with(&[0; 16], &with(&[8, 0], &four))),
        (242, with(&[0; 40], &with(&[8, 0, 0, 0], &four))),
        (
            258,
            with(
                &[16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9],
                &ethernet(0x0800, &four),
            ),
        ),
        (258, with(&[12, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0], &four)),
        // The header filled up to words, as radiotap's flags say, behind a time stamp too.
        (127, with(&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &wireless(0x88, 1, 28))),
        (
            127,
            with(
                &with(&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 9, 9, 9, 9], &[0; 8]),
                &with(&[0x20], &wireless(0x88, 1, 28)),
            ),
        ),
        // Through a mesh: one address more, in the control field behind the quality of service.
        (105, {
            let mut mesh = wireless(0x88, 3, 32 + 12);
            (mesh[31], mesh[32]) = (1, 1);
            mesh
        }),
        // The same bit without a mesh.
        (105, {
            let mut quality = wireless(0x88, 1, 26);
            quality[25] = 1;
            quality
        }),
    ] {
        assert!(is_read(LinkType(link_type)));
        assert_eq!(
            unwrapped(link_type, &bytes).0,
            PAYLOAD,
            "link type {link_type}: {bytes:02x?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_counted_by_its_kind() {
    let four = ipv4();
    let esp = outer(50, &[1; 40]);
    assert_eq!(one(&frame(101, &esp)).1.encrypted, 1);
    assert_eq!(one(&frame(1, &ethernet(0x88e5, &four))).1.encrypted, 1);
    let mut protected = vec![0; 60];
    (protected[0], protected[1]) = (0x88, 0x41);
    assert_eq!(one(&frame(105, &protected)).1.encrypted, 1);
    protected[0] = 0x80;
    assert_eq!(one(&frame(105, &protected)).1.not_ip, 1, "a beacon");
    // ARP inside VXLAN; a GRE keep-alive; a version of GRE that is none.
    let arp = over_udp(4_789, &with(&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0806, &[0; 28])));
    assert_eq!(one(&frame(101, &arp)).1.not_ip, 1);
    assert_eq!(one(&frame(101, &outer(47, &[0, 0, 8, 0]))).1.not_ip, 1);
    assert_eq!(one(&frame(101, &outer(47, &[0, 2, 8, 0, 0]))).1.malformed, 1);
    // ESP in UDP, on either side of a NAT; IKE beside it is a datagram.
    let mut behind = over_udp(4_500, &[9; 40]);
    assert_eq!(one(&frame(101, &behind)).1.encrypted, 1);
    behind.copy_within(22..24, 20);
    behind[23] ^= 1;
    assert_eq!(one(&frame(101, &behind)).1.encrypted, 1);
    for payload in [&[0; 40][..], &[0xff]] {
        assert_eq!(one(&frame(101, &over_udp(4_500, payload))).1.datagrams, 1);
    }
    assert!(!is_read(LinkType(147)));
    // Whatever a link type is, nothing is made of nothing.
    for link_type in 0..300 {
        assert!(one(&frame(link_type, &[])).0.is_none() && one(&frame(link_type, &[0xff; 64])).0.is_none());
    }
    // What only uses the port of a tunnel is a datagram.
    assert_eq!(one(&frame(101, &over_udp(6_635, b"no label"))).1.datagrams, 1);
    assert_eq!(one(&frame(101, &over_udp(4_789, b"no tunnel at all"))).1.datagrams, 1);
    assert_eq!(
        one(&frame(101, &over_udp(2_152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0])))
            .1
            .datagrams,
        1
    );
}

#[test]
fn wrapping_ends_at_the_limit() {
    let mut bytes = ipv4();
    let limit = Limits::default().encapsulations;
    for _ in 0..limit {
        bytes = outer(4, &bytes);
    }
    let (payload, _, tunnel, _) = unwrapped(101, &bytes);
    assert_eq!(
        (payload.as_slice(), usize::from(tunnel.unwrap().depth)),
        (PAYLOAD, limit)
    );
    let (segment, counters) = one(&frame(101, &outer(4, &bytes)));
    assert_eq!((segment, counters.too_deep), (None, 1));
}

#[test]
fn tags_within_a_tunnel_follow_those_around_it() {
    let tag = |id: u16| with(&id.to_be_bytes(), &[8, 0]);
    let inner = ethernet(0x8100, &with(&tag(20), &ipv4()));
    let packet = over_udp(4_789, &with(&[8, 0, 0, 0, 0, 0, 1, 0], &inner));
    let (_, taken, _, vlan) = unwrapped(1, &ethernet(0x8100, &with(&tag(10), &packet)));
    assert_eq!((vlan.ids, vlan.count), ([10, 20], 2));
    assert_eq!(taken, [Carrier::Vlan, Carrier::Vxlan]);
}

#[test]
fn tunnels_that_answer_another_port_and_what_is_reserved_are_read() {
    let four = ipv4();
    let from = |port: u16, payload: &[u8]| {
        let mut bytes = over_udp(50_001, payload);
        bytes[20..22].copy_from_slice(&port.to_be_bytes());
        bytes[26..28].fill(0);
        bytes
    };
    let l2tp = with(&[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], &four);
    let labels = with(&[0, 6, 0x41, 64], &four);
    for (packet, carrier) in [
        (from(1_701, &l2tp), Carrier::L2tp),
        (from(3_544, &ipv6()), Carrier::Teredo),
        (over_udp(6_635, &labels), Carrier::Mpls),
        (
            over_udp(4_789, &with(&[8, 0, 0, 0, 0, 0, 1, 9], &ethernet(0x0800, &four))),
            Carrier::Vxlan,
        ),
    ] {
        let (payload, carriers, tunnel, _) = unwrapped(101, &packet);
        assert_eq!(
            (&payload[..], &carriers[..], tunnel.unwrap().depth),
            (PAYLOAD, &[carrier][..], 1)
        );
    }
    // Teredo that was cut is Teredo.
    let whole = from(3_544, &ipv6());
    let mut cut = frame(101, &whole[..whole.len() - 4]);
    cut.original_length += 4;
    assert_eq!(one(&cut).0, Some((PAYLOAD[..PAYLOAD.len() - 4].to_vec(), 4)));
}

#[test]
fn what_a_mirror_cut_is_missing_if_it_says_so() {
    let framed = ethernet(0x0800, &ipv4());
    for (flags, read) in [(0x04, true), (0, false)] {
        let header = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 7, 0x10, 5, flags, 0, 0, 0, 0, 0];
        let bytes = outer(47, &with(&header, &framed[..framed.len() - 4]));
        let (segment, counters) = one(&frame(101, &bytes));
        let expected = read.then(|| (PAYLOAD[..PAYLOAD.len() - 4].to_vec(), 4));
        assert_eq!((segment, counters.malformed), (expected, u64::from(!read)));
    }
}

/// Packet, from, to, more to come.
type Cut = fn(&[u8], usize, usize, bool) -> Vec<u8>;

/// The fragments of a packet's payload: offset in eights, more to come, bytes.
fn ipv4_fragment(packet: &[u8], from: usize, to: usize, more: bool) -> Vec<u8> {
    let mut header = Ipv4Header::new(0, 64, IpNumber(packet[9]), CLIENT, SERVER).unwrap();
    header.set_payload_len(to - from).unwrap();
    header.identification = 77;
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(u16::try_from(from / 8).unwrap()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    with(&header.to_bytes(), &packet[20 + from..20 + to])
}

fn ipv6_fragment(packet: &[u8], from: usize, to: usize, more: bool) -> Vec<u8> {
    let offset = (u16::try_from(from).unwrap() | u16::from(more)).to_be_bytes();
    let header = [packet[6], 0, offset[0], offset[1], 0, 0, 0, 77];
    // Hop-by-hop options before it, in every fragment.
    let options = [44, 0, 1, 4, 0, 0, 0, 0];
    let mut bytes = packet[..40].to_vec();
    bytes[6] = 0;
    let length = u16::try_from(to - from + 16).unwrap();
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
    [&bytes[..], &options, &header, &packet[40 + from..40 + to]].concat()
}

/// What comes out of packets, one after the other, each so many seconds after the one before.
fn play(packets: &[Vec<u8>], seconds: i64) -> (Vec<(Vec<u8>, Overlap)>, Decoder) {
    let mut decoder = Decoder::default();
    let mut told = Vec::new();
    for (number, packet) in (0..).zip(packets) {
        let mut frame = frame(101, packet);
        frame.at.time = Timestamp(number * seconds * 1_000_000_000);
        if let Some(Decoded::Segment(segment)) = decoder.push(&frame) {
            assert_eq!(segment.sum() == Sum::Right, segment.payload == PAYLOAD);
            told.push((segment.payload.to_vec(), segment.marks.overlap));
        }
    }
    (told, decoder)
}

#[test]
fn fragments_are_joined_in_any_order() {
    let (four, six) = (ipv4(), ipv6());
    let length = 20 + PAYLOAD.len();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 1, 0, 2], [0, 3, 0, 3]] {
        let part = |index: usize| (index * 8, (index * 8 + 8).min(length), index < 3);
        let mut indexes = order.to_vec();
        indexes.extend((0..4).filter(|index| !order.contains(index)));
        let cuts: [(Cut, &[u8]); 2] = [(ipv4_fragment, &four), (ipv6_fragment, &six)];
        for (cut, whole) in cuts {
            let packets: Vec<_> = indexes
                .iter()
                .map(|&index| part(index))
                .map(|(a, b, more)| cut(whole, a, b, more))
                .collect();
            let (told, decoder) = play(&packets, 0);
            assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::None)], "{indexes:?}");
            let counters = decoder.fragment_counters();
            assert_eq!((counters.joined, counters.differing, counters.incomplete), (1, 0, 0));
            assert_eq!(decoder.counters().waiting, packets.len() as u64 - 1);
            assert_eq!(decoder.counters().bad_ipv4_checksum, 0);
        }
    }
}

#[test]
fn the_fragment_that_came_first_stands_and_the_conflict_is_told() {
    let packet = ipv4();
    let mut other = packet.clone();
    other[20 + 24..].fill(b'x');
    let length = 20 + PAYLOAD.len();
    let packets = [
        ipv4_fragment(&packet, 24, length, false),
        ipv4_fragment(&other, 16, length, false),
        ipv4_fragment(&packet, 0, 16, true),
    ];
    let (told, decoder) = play(&packets, 0);
    assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::Differing)]);
    let counters = decoder.fragment_counters();
    assert_eq!((counters.overlapping, counters.differing), (1, 1));
}

#[test]
fn a_packet_that_is_said_to_end_twice_ends_where_it_was_first_said_to() {
    let packet = ipv4();
    let longer = with(&packet, &[b'x'; 40]);
    let length = 20 + PAYLOAD.len();
    let packets = [
        ipv4_fragment(&packet, 24, length, false),
        ipv4_fragment(&longer, 32, 64, false),
        ipv4_fragment(&packet, 0, 24, true),
    ];
    assert_eq!(play(&packets, 0).0, [(PAYLOAD.to_vec(), Overlap::Differing)]);
    // What lies behind came before the end was known.
    let packets = [
        ipv4_fragment(&longer, 24, 64, true),
        ipv4_fragment(&packet, 24, length, false),
        ipv4_fragment(&packet, 0, 24, true),
    ];
    let told = play(&packets, 0).0;
    assert_eq!((told[0].0.len(), told[0].1), (PAYLOAD.len(), Overlap::Differing));
}

#[test]
fn fragments_within_fragments_are_joined() {
    let packet = ipv4();
    let inner = [
        ipv4_fragment(&packet, 0, 24, true),
        ipv4_fragment(&packet, 24, 20 + PAYLOAD.len(), false),
    ];
    let packets: Vec<_> = inner
        .iter()
        .flat_map(|inner| {
            let wrapped = outer(4, inner);
            let length = wrapped.len() - 20;
            // Fragments of one packet are told by number: these two are of different lengths and ends.
            [
                ipv4_fragment(&wrapped, 0, 16, true),
                ipv4_fragment(&wrapped, 16, length, false),
            ]
        })
        .collect();
    let (told, decoder) = play(&packets, 0);
    assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::None)]);
    assert_eq!(decoder.fragment_counters().joined, 3);
}

#[test]
fn what_does_not_come_in_time_is_let_go() {
    let packet = ipv4();
    let packets = [
        ipv4_fragment(&packet, 0, 16, true),
        ipv4_fragment(&packet, 16, 20 + PAYLOAD.len(), false),
    ];
    let (told, decoder) = play(&packets, 61);
    assert_eq!((told.len(), decoder.fragment_counters().incomplete), (0, 2));
    assert_eq!(play(&packets, 59).0.len(), 1);
}

#[test]
fn what_an_ipv6_packet_carries_is_what_its_first_fragment_says() {
    let packet = ipv6();
    let length = 20 + PAYLOAD.len();
    let named = |from: usize, to: usize, number: u8| {
        let mut fragment = ipv6_fragment(&packet, from, to, to < length);
        fragment[48] = number;
        fragment
    };
    let [first, second, last] = [named(0, 16, 6), named(16, 24, 17), named(24, length, 59)];
    for packets in [
        [&first, &second, &last],
        [&last, &first, &second],
        [&second, &last, &first],
    ] {
        let (told, decoder) = play(&packets.map(Clone::clone), 0);
        assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::None)]);
        assert_eq!(decoder.fragment_counters().differing, 0);
    }
    // Two that both are the first.
    let (told, _) = play(&[first, named(0, 16, 17), second, last], 0);
    assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::Differing)]);
}

#[test]
fn an_authentication_header_may_stand_before_the_fragment() {
    let packet = ipv6();
    let length = 20 + PAYLOAD.len();
    let fragment = |from: usize, to: usize| {
        let mut bytes = ipv6_fragment(&packet, from, to, to < length);
        // In the place of the options: four words and a half more.
        bytes[6] = 51;
        let payload = u16::from_be_bytes([bytes[4], bytes[5]]) + 16;
        bytes[4..6].copy_from_slice(&payload.to_be_bytes());
        bytes[41] = 4;
        bytes.splice(48..48, [0; 16]);
        bytes
    };
    let (told, _) = play(&[fragment(0, 16), fragment(16, length)], 0);
    assert_eq!(told, [(PAYLOAD.to_vec(), Overlap::None)]);
}

#[test]
fn fragments_that_cannot_be_are_malformed() {
    let long = with(&ipv4(), &[0; 70]);
    let beyond = {
        let mut bytes = ipv4_fragment(&long, 0, 64, false);
        bytes[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
        bytes
    };
    let nothing = ipv4_fragment(&long, 0, 4, true);
    for packet in [beyond, nothing] {
        let (told, decoder) = play(&[packet], 0);
        assert_eq!((told.len(), decoder.counters().malformed), (0, 1));
    }
}

#[test]
fn a_last_fragment_that_the_snap_length_cut_does_not_end_the_packet() {
    let packet = ipv4();
    let mut last = ipv4_fragment(&packet, 16, 20 + PAYLOAD.len(), false);
    last.truncate(28);
    let mut cut = frame(101, &last);
    cut.original_length += 100;
    let first = ipv4_fragment(&packet, 0, 16, true);
    let mut decoder = Decoder::default();
    assert!(decoder.push(&cut).is_none() && decoder.push(&frame(101, &first)).is_none());
    assert_eq!(
        (decoder.counters().malformed, decoder.fragment_counters().incomplete),
        (0, 1)
    );
    // Where nothing was cut it is a packet that nobody takes.
    let (told, decoder) = play(&[last, first], 0);
    assert_eq!((told.len(), decoder.counters().malformed), (0, 1));
}

#[test]
fn floods_of_fragments_are_held_within_the_limits() {
    let limits = Limits {
        fragments_total: 1 << 16,
        fragmented_packets: 100,
        ..Limits::default()
    };
    let payload = vec![7; 200_000];
    let mut decoder = Decoder::new(limits);
    for number in 0..20_000_u16 {
        // Tiny ones of many packets, and pieces that never meet of few.
        let (id, offset) = if number % 2 == 0 {
            (number, 1)
        } else {
            (1, number & 0x1ffe)
        };
        let mut bytes = ipv4_fragment(&payload, 0, 8, true);
        bytes[4..6].copy_from_slice(&id.to_be_bytes());
        bytes[6..8].copy_from_slice(&(offset | 0x2000).to_be_bytes());
        assert!(decoder.push(&frame(101, &bytes)).is_none());
        assert!(decoder.fragments.held() <= limits.fragments_total);
    }
    assert!(decoder.fragment_counters().over_limit > 9_000);
    assert_eq!(decoder.counters().waiting, 20_000);
}

proptest! {
    /// The obviously right model: a map of bytes in which the first writer wins.
    #[test]
    fn joining_equals_a_bitmap(
        parts in prop::collection::vec((0..12_usize, 1..6_usize, any::<u8>()), 1..30),
        end in 9..100_usize,
    ) {
        let mut model = vec![None; end];
        let mut packets = Vec::new();
        let mut whole = vec![0; 20 + 200];
        whole[9] = 6;
        let fragment = |from: usize, to: usize, fill: u8, more: bool| {
            let mut whole = whole.clone();
            whole[20..].fill(fill);
            ipv4_fragment(&whole, from, to, more)
        };
        // The end comes first: nothing that lies behind it counts.
        let last = (end - 1) / 8 * 8;
        packets.push(fragment(last, end, 1, false));
        model[last..].fill(Some(1));
        for &(from, length, fill) in &parts {
            packets.push(fragment(from * 8, (from + length) * 8, fill, true));
            for byte in model.iter_mut().take((from + length) * 8).skip(from * 8) {
                byte.get_or_insert(fill);
            }
        }
        let mut fragments = Fragments::default();
        let mut joined = None;
        for packet in &packets {
            let fragment = ip::fragment(packet).unwrap();
            let mut bytes = Vec::new();
            if fragments.push(&fragment, Timestamp(0), &Limits::default(), &mut bytes).is_ok() {
                joined = Some(bytes);
                break;
            }
        }
        let expected: Option<Vec<u8>> = model.into_iter().collect();
        prop_assert_eq!(joined.map(|bytes| bytes[20..].to_vec()), expected);
    }
}
