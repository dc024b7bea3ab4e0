use std::net::IpAddr;

use super::*;
use crate::decode::{Marks, VlanTags};

impl Consumer for () {}

/// A `bind` of 28 bytes, a `bind_ack` of 28 and so on: enough to be recognised.
fn pdu(ptype: u8, call_id: u8) -> Vec<u8> {
    let mut bytes = vec![5, 0, ptype, 3, 0x10, 0, 0, 0, 28, 0, 0, 0, call_id, 0, 0, 0];
    bytes.extend([call_id; 12]);
    bytes
}

fn end(last: u8, port: u16) -> Endpoint {
    Endpoint {
        address: IpAddr::from([10, 0, 0, last]),
        port,
    }
}

fn client() -> Endpoint {
    end(1, 50_000)
}

fn server() -> Endpoint {
    end(2, 135)
}

/// Plays segments and writes down what comes out, a line each.
struct Rig {
    flows: Flows<()>,
    lines: Vec<String>,
    ended: Vec<Ended>,
    frame: u64,
}

impl Rig {
    fn new() -> Self {
        Self {
            flows: Flows::new(Limits::default()),
            lines: Vec::new(),
            ended: Vec::new(),
            frame: 0,
        }
    }

    fn segment<'a>(&mut self, from: Endpoint, to: Endpoint, sequence: u32, payload: &'a [u8]) -> Segment<'a> {
        self.frame += 1;
        let time = Timestamp(i64::try_from(self.frame).unwrap() * 1_000_000);
        Segment {
            at: At {
                frame: self.frame,
                time,
                ..At::default()
            },
            vlan: VlanTags::default(),
            tunnel: None,
            marks: Marks::default(),
            source: from,
            destination: to,
            sequence,
            acknowledgement: None,
            syn: false,
            fin: false,
            rst: false,
            whole: &[],
            flags: 0,
            length: 54 + u32::try_from(payload.len()).unwrap(),
            payload,
            cut: 0,
        }
    }

    fn play(&mut self, segment: &Segment<'_>) {
        let Self { lines, ended, .. } = self;
        self.flows.push(segment, &mut |output| note(&output, lines, ended));
    }

    fn send(&mut self, from: Endpoint, to: Endpoint, sequence: u32, acknowledgement: u32, payload: &[u8]) {
        let segment = self.segment(from, to, sequence, payload);
        self.play(&Segment {
            acknowledgement: Some(acknowledgement),
            ..segment
        });
    }

    fn shake_hands(&mut self, client_start: u32, server_start: u32) {
        let syn = self.segment(client(), server(), client_start, &[]);
        self.play(&Segment { syn: true, ..syn });
        let answer = self.segment(server(), client(), server_start, &[]);
        self.play(&Segment {
            syn: true,
            acknowledgement: Some(client_start.wrapping_add(1)),
            ..answer
        });
    }

    fn syn(&mut self, source: Endpoint, destination: Endpoint, start: u32) {
        let syn = self.segment(source, destination, start, &[]);
        self.play(&Segment { syn: true, ..syn });
    }

    fn finish(mut self) -> Vec<String> {
        self.end();
        self.lines
    }

    fn end(&mut self) {
        let Self { lines, ended, .. } = self;
        self.flows.finish(&mut |output| note(&output, lines, ended));
        assert_eq!(self.flows.shared.bounds.held, 0, "bytes are still held");
    }

    /// Of the connections that are over: why, and packets and bytes of the client and of the server.
    fn ended(&self) -> Vec<(Reason, [u64; 2], [u64; 2])> {
        let of =
            |Sides { client, server }: Sides<Packets>| ([client.count, server.count], [client.bytes, server.bytes]);
        let told = self.ended.iter().map(|ended| (ended.reason, of(ended.packets)));
        told.map(|(reason, (packets, bytes))| (reason, packets, bytes))
            .collect()
    }
}

fn note(output: &Output<'_, ()>, lines: &mut Vec<String>, over: &mut Vec<Ended>) {
    lines.push(match output {
        Output::Ended(_, (), ended) => {
            assert_eq!(
                lines.last().map(String::as_str),
                Some("closed"),
                "it is the last that is said"
            );
            over.push(*ended);
            return;
        }
        Output::Heard { at, ends, .. } => format!("heard {} {}->{}", at.frame, ends[0].port, ends[1].port),
        Output::Unanswered(connection, silence) => {
            let frame = connection.opened.frame;
            format!(
                "{silence:?} {frame} {}->{}",
                connection.client.port, connection.server.port
            )
        }
        Output::Stream(connection, (), StreamEvent::Data { at, side, bytes }) => {
            format!(
                "{side:?} {} {} bytes to {}",
                at.frame,
                bytes.len(),
                connection.server.port
            )
        }
        Output::Stream(_, (), StreamEvent::Gap { side, bytes }) => format!("{side:?} gap {bytes}"),
        Output::Stream(_, (), StreamEvent::Closed) => "closed".into(),
        Output::Odd(_, anomaly) => anomaly.name.into(),
        Output::Due(_, (), now) => format!("due {now:?}"),
    });
}

#[test]
fn an_entry_costs_no_more_than_128_bytes() {
    assert!(
        size_of::<Option<Flow<()>>>() + size_of::<u32>() * 2 <= 128,
        "{}",
        size_of::<Flow<()>>()
    );
}

#[test]
fn a_connection_is_followed_from_its_handshake() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    let expected = [
        "heard 2 50000->135",
        "Client 3 28 bytes to 135",
        "Server 4 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.finish(), expected);
}

#[test]
fn a_foreign_connection_is_heard_of_and_nothing_more() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, b"GET / HTTP/1.1\r\n\r\n");
    rig.send(server(), client(), 901, 119, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(rig.flows.counters().followed, 0);
    assert_eq!(rig.finish(), ["heard 2 50000->135"]);
}

#[test]
fn of_connections_that_are_heard_those_with_both_ends_are_counted() {
    let mut rig = Rig::new();
    // Nobody answers: not heard.
    rig.syn(client(), end(3, 80), 100);
    let counted = |rig: &Rig| (rig.flows.counters().heard, rig.flows.counters().heard_both_ways);
    assert_eq!(counted(&rig), (0, 0));
    rig.shake_hands(100, 900);
    assert_eq!(counted(&rig), (1, 1));
    // Of this one a single direction is seen, until the other end speaks; that is counted once.
    rig.send(client(), end(4, 80), 101, 901, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(counted(&rig), (2, 1));
    for _ in 0..2 {
        rig.send(end(4, 80), client(), 901, 119, b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(counted(&rig), (2, 2));
    }
}

#[test]
fn mid_stream_the_sender_of_a_response_is_the_server() {
    let mut rig = Rig::new();
    rig.send(server(), client(), 901, 129, &pdu(2, 1));
    rig.send(client(), server(), 129, 929, &pdu(0, 2));
    let expected = [
        "heard 1 135->50000",
        "Server 1 28 bytes to 135",
        "Client 2 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.finish(), expected);
}

#[test]
fn a_connection_picked_up_inside_a_pdu_is_recognised_at_the_next_one() {
    let mut rig = Rig::new();
    rig.send(client(), server(), 100, 900, &[0xaa; 50]);
    rig.send(client(), server(), 150, 900, &pdu(0, 2));
    assert_eq!(
        rig.finish(),
        ["heard 1 50000->135", "Client 2 28 bytes to 135", "closed"]
    );
}

#[test]
fn first_bytes_that_come_late_or_one_by_one_are_waited_for() {
    let bind = pdu(11, 1);
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 121, 901, &bind[20..]);
    for (index, byte) in bind[..20].iter().enumerate() {
        rig.send(client(), server(), 101 + u32::try_from(index).unwrap(), 901, &[*byte]);
    }
    let lines = rig.finish();
    assert_eq!(lines.len(), 1 + 20 + 1 + 1, "{lines:?}");
    assert_eq!(lines[21], "Client 3 8 bytes to 135");
}

#[test]
fn where_one_end_alone_is_heard_a_first_segment_that_was_lost_hides_nothing() {
    let expected = ["heard 2 50000->135", "Client gap 28", "Client 2 28 bytes to 135"];
    for later in [None, Some((60, false)), Some((1, true))] {
        let mut rig = Rig::new();
        rig.syn(client(), server(), 100);
        rig.send(client(), server(), 129, 901, &pdu(0, 2));
        assert_eq!(rig.lines.len(), 1, "the first bytes may come yet");
        if let Some((milliseconds, fin)) = later {
            rig.frame += milliseconds;
            let segment = rig.segment(client(), server(), 157, &[]);
            rig.play(&Segment {
                acknowledgement: Some(901),
                fin,
                ..segment
            });
            assert_eq!(rig.lines, expected, "{later:?}");
        }
        rig.end();
        assert_eq!(rig.lines[..3], expected, "{later:?}");
        assert_eq!(rig.flows.assembler_counters().missing, 28, "{later:?}");
    }
}

#[test]
fn where_the_server_is_not_heard_its_stream_begins_where_the_handshake_says() {
    let mut rig = Rig::new();
    rig.syn(client(), server(), 100);
    rig.send(client(), server(), 101, 901, &[]);
    // The bind and what the server answered were lost.
    rig.send(client(), server(), 129, 929, &pdu(0, 2));
    rig.frame += 60;
    rig.send(client(), server(), 157, 929, &[]);
    rig.end();
    assert_eq!(rig.flows.assembler_counters().missing, 28 + 28);
}

#[test]
fn what_is_lost_of_a_connection_that_carries_something_else_is_no_loss() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 400, 901, &[0x16; 40]);
    rig.send(client(), server(), 440, 901, &[0x16; 40]);
    rig.send(server(), client(), 901, 480, b"\x16\x03\x03 and so on");
    rig.send(client(), server(), 480, 920, &[0x16; 40]);
    assert_eq!(rig.flows.counters().followed, 0);
    assert_eq!(*rig.flows.assembler_counters(), AssemblerCounters::default());
    assert_eq!(rig.finish(), ["heard 2 50000->135"]);
}

#[test]
fn a_gap_is_declared_when_the_server_answers_what_was_never_seen() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(client(), server(), 157, 901, &pdu(0, 3));
    rig.send(server(), client(), 901, 185, &pdu(2, 3));
    let lines = rig.finish();
    assert_eq!(
        lines[2..5],
        ["Client gap 28", "Client 4 28 bytes to 135", "Server 5 28 bytes to 135"]
    );
}

#[test]
fn answers_that_all_come_late_stand_before_what_their_receipt_let_go() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    for number in 0..3_u8 {
        let sent = 28 * u32::from(number);
        rig.send(client(), server(), 101 + sent, 901 + sent, &pdu(0, number));
    }
    for number in 0..3_u8 {
        let sent = 28 * u32::from(number);
        rig.send(server(), client(), 901 + sent, 129 + sent, &pdu(2, number));
    }
    let lines = rig.finish();
    assert_eq!(
        lines[1..],
        [
            "Client 3 28 bytes to 135",
            "Server 6 28 bytes to 135",
            "Client 4 28 bytes to 135",
            "Server 7 28 bytes to 135",
            "Client 5 28 bytes to 135",
            "Server 8 28 bytes to 135",
            "closed"
        ]
    );
}

#[test]
fn an_answer_whose_time_is_later_than_that_of_its_late_request_stands_behind_it() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let (request, answer) = (pdu(0, 2), pdu(2, 2));
    let request = rig.segment(client(), server(), 129, &request);
    let answer = rig.segment(server(), client(), 901, &answer);
    for segment in [&answer, &request] {
        rig.play(&Segment {
            acknowledgement: Some(if segment.sequence == 901 { 157 } else { 901 }),
            ..*segment
        });
    }
    let lines = rig.finish();
    assert_eq!(lines[2..4], ["Client 4 28 bytes to 135", "Server 5 28 bytes to 135"]);
}

#[test]
fn a_clock_that_is_set_back_ends_no_doubt_and_keeps_none_for_long() {
    let mut rig = Rig::new();
    rig.frame = 10_000_000;
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 157, &pdu(2, 2));
    rig.frame = 0;
    rig.send(server(), client(), 929, 157, &[]);
    assert_eq!(rig.lines.len(), 2, "the answer waits");
    rig.frame += 60;
    rig.send(server(), client(), 929, 157, &[]);
    assert_eq!(
        rig.lines.last().map(String::as_str),
        Some("Server 10000004 28 bytes to 135")
    );
}

/// A connection with its bind, and what is acknowledged of it beyond: bytes that nobody sent.
fn acknowledged_ahead(bend: impl Fn(Segment<'static>) -> Segment<'static>) -> Rig {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    let ahead = rig.segment(server(), client(), 929, &[]);
    rig.play(&bend(Segment {
        acknowledgement: Some(10_000_000),
        ..ahead
    }));
    rig.frame += 100;
    rig
}

#[test]
fn an_acknowledgement_of_what_nobody_sent_moves_nothing_and_is_told() {
    let mut rig = acknowledged_ahead(|segment| segment);
    rig.send(client(), server(), 129, 929, &pdu(0, 2));
    rig.send(server(), client(), 929, 157, &pdu(2, 2));
    let expected = [
        "Client 106 28 bytes to 135",
        "tcp_acknowledged_unsent",
        "Server 107 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.finish()[3..], expected);
}

#[test]
fn a_request_that_acknowledges_what_nobody_sent_stands_before_its_answer() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 1_901, &pdu(11, 1));
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    rig.send(client(), server(), 129, 1_901, &[]);
    rig.send(client(), server(), 129, 929, &pdu(0, 2));
    rig.send(server(), client(), 929, 157, &pdu(2, 2));
    let expected = [
        "Client 3 28 bytes to 135",
        "Server 4 28 bytes to 135",
        "Client 6 28 bytes to 135",
        "Server 7 28 bytes to 135",
    ];
    let lines: Vec<_> = rig.finish().into_iter().filter(|line| line.contains("bytes")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_a_segment_far_away_acknowledges_is_passed_over() {
    let mut rig = acknowledged_ahead(|segment| Segment {
        sequence: 1 << 30,
        ..segment
    });
    rig.send(client(), server(), 129, 929, &pdu(0, 2));
    rig.send(client(), server(), 10_000_000, 929, &pdu(0, 3));
    assert_eq!(
        rig.lines[3..],
        ["Client 106 28 bytes to 135"],
        "the second waits for what is before it"
    );
}

#[test]
fn an_acknowledgement_is_believed_when_the_other_end_goes_on_behind_it() {
    // Nothing but its own number may tell it.
    for payload in [vec![], pdu(0, 2)] {
        let mut rig = acknowledged_ahead(|segment| segment);
        rig.send(client(), server(), 10_000_000, 929, &payload);
        assert_eq!(rig.lines[3], "Client gap 9999871");
    }
}

#[test]
fn what_was_acknowledged_and_never_seen_is_lost_at_the_latest_at_the_end() {
    let rig = acknowledged_ahead(|segment| segment);
    assert_eq!(rig.finish()[3..], ["Client gap 9999871", "closed"]);
}

#[test]
fn an_answer_waits_for_its_request_no_longer_than_it_has_to() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 157, &pdu(2, 2));
    assert_eq!(rig.lines.len(), 2);
    rig.frame += 60;
    rig.send(server(), client(), 929, 157, &pdu(2, 3));
    assert_eq!(
        rig.lines[2..],
        ["Server 4 28 bytes to 135", "Server 65 28 bytes to 135"]
    );
    // Its sender is heard again: the request was lost.
    rig.send(client(), server(), 157, 957, &pdu(0, 4));
    assert_eq!(rig.lines[4..], ["Client gap 28", "Client 66 28 bytes to 135"]);
    // And here it is after all.
    rig.send(client(), server(), 129, 901, &pdu(0, 2));
    assert_eq!(rig.lines[6..], ["tcp_late_data"]);
}

#[test]
fn where_one_direction_is_seen_what_it_acknowledges_is_lost() {
    let mut rig = Rig::new();
    rig.send(server(), client(), 901, 129, &pdu(2, 1));
    rig.send(server(), client(), 929, 157, &pdu(2, 2));
    rig.frame += 60;
    rig.send(server(), client(), 957, 185, &pdu(2, 3));
    let expected = ["Server 1 28 bytes to 135", "Client gap 28", "Server 2 28 bytes to 135"];
    assert_eq!(rig.lines[1..4], expected);
}

#[test]
fn a_fin_that_comes_late_brings_no_missing_byte() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 130, &pdu(12, 1));
    let fin = rig.segment(client(), server(), 129, &[]);
    rig.play(&Segment {
        fin: true,
        acknowledgement: Some(901),
        ..fin
    });
    assert_eq!(rig.finish()[2..], ["Server 4 28 bytes to 135", "closed"]);
}

#[test]
fn a_fin_is_no_missing_byte() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let fin = rig.segment(client(), server(), 129, &[]);
    rig.play(&Segment {
        fin: true,
        acknowledgement: Some(901),
        ..fin
    });
    rig.send(server(), client(), 901, 130, &[]);
    assert_eq!(
        rig.finish(),
        ["heard 2 50000->135", "Client 3 28 bytes to 135", "closed"]
    );
}

#[test]
fn the_same_ports_used_again_are_another_connection() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.shake_hands(7_000_000, 9_000_000);
    rig.send(client(), server(), 7_000_001, 9_000_001, &pdu(11, 1));
    let lines = rig.finish();
    assert_eq!(
        lines[1..],
        [
            "Client 3 28 bytes to 135",
            "closed",
            "heard 5 50000->135",
            "Client 6 28 bytes to 135",
            "closed"
        ]
    );
}

#[test]
fn a_syn_that_nobody_answers_does_not_end_a_connection() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let decoy = rig.segment(client(), server(), 5_555_555, &[]);
    rig.play(&Segment { syn: true, ..decoy });
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    let expected = [
        "heard 2 50000->135",
        "Client 3 28 bytes to 135",
        "Server 5 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.finish(), expected);
}

#[test]
fn what_follows_a_reset_within_the_linger_time_is_still_read() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let reset = rig.segment(client(), server(), 129, &[]);
    rig.play(&Segment { rst: true, ..reset });
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    rig.frame += 10_000;
    rig.send(end(7, 1), end(8, 2), 1, 1, b"later");
    let expected = [
        "heard 2 50000->135",
        "Client 3 28 bytes to 135",
        "Server 5 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.lines[..4], expected);
}

#[test]
fn a_reset_that_does_not_fit_ends_nothing() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    // Before anything is said, while it is not told yet what it is, and when it is followed.
    let bind = pdu(11, 1);
    for (sequence, payload) in [(101, &bind[..1]), (102, &bind[1..]), (129, &bind[..])] {
        for stray in [sequence + 1_000, sequence - 1] {
            let reset = rig.segment(client(), server(), stray, &[]);
            rig.play(&Segment { rst: true, ..reset });
        }
        rig.wait(6);
        rig.send(client(), server(), sequence, 901, payload);
    }
    assert_eq!(rig.flows.counters().stray_resets, 6);
    assert!(
        rig.lines
            .iter()
            .filter(|line| *line == "tcp_reset_out_of_window")
            .count()
            == 2
    );
    assert_eq!(rig.flows.counters().connections, 1);
    // What is lost here is not lost for the two: each may know what is expected.
    rig.send(server(), client(), 901, 257, &[]);
    let reset = rig.segment(client(), server(), 257, &[]);
    rig.play(&Segment { rst: true, ..reset });
    rig.wait(6);
    rig.flood(1);
    assert_eq!(rig.ended.len(), 1);
}

#[test]
fn a_refused_syn_to_the_mapper_is_told_and_not_heard() {
    let mut rig = Rig::new();
    rig.syn(client(), server(), 100);
    let refusal = rig.segment(server(), client(), 0, &[]);
    rig.play(&Segment {
        rst: true,
        acknowledgement: Some(101),
        ..refusal
    });
    assert_eq!(rig.finish(), ["Refused 1 50000->135"]);
}

#[test]
fn a_syn_to_the_mapper_that_is_sent_again_and_again_is_told_once() {
    let mut rig = Rig::new();
    rig.syn(client(), server(), 100);
    rig.syn(client(), server(), 100);
    assert!(rig.lines.is_empty());
    rig.frame += 10_000;
    rig.syn(client(), server(), 100);
    rig.syn(client(), server(), 100);
    assert_eq!(rig.lines, ["Ignored 1 50000->135"]);
    rig.syn(client(), end(3, 135), 100);
    assert_eq!(rig.finish()[1..], ["SoFar 10005 50000->135"]);
}

#[test]
fn syns_to_other_ports_and_those_that_are_answered_are_not_told() {
    let mut rig = Rig::new();
    rig.syn(client(), end(2, 445), 100);
    rig.frame += 10_000;
    rig.syn(client(), end(2, 445), 100);
    // Of this one only one direction is seen.
    rig.syn(client(), end(3, 135), 100);
    let acknowledgement = rig.segment(client(), end(3, 135), 101, &[]);
    rig.play(&Segment {
        acknowledgement: Some(7),
        ..acknowledgement
    });
    rig.shake_hands(100, 900);
    let reset = rig.segment(server(), client(), 901, &[]);
    rig.play(&Segment { rst: true, ..reset });
    let heard = rig.frame - 1;
    assert_eq!(rig.finish(), [format!("heard {heard} 50000->135")]);
}

#[test]
fn smb_and_rpc_over_http_are_followed_from_their_first_bytes() {
    let mut smb = b"\0\0\0\x44\xfeSMB\x40\0".to_vec();
    smb.resize(72, 0);
    let mut rig = Rig::new();
    rig.send(client(), end(2, 445), 1, 1, &smb);
    rig.send(end(2, 593), client(), 1, 1, b"ncacn_http/1.0");
    rig.send(client(), end(2, 80), 1, 1, b"GET / HTTP/1.1\r\n");
    let expected = [
        "heard 1 50000->445",
        "Client 1 72 bytes to 445",
        "heard 2 593->50000",
        "Server 2 14 bytes to 593",
        "heard 3 50000->80",
    ];
    assert_eq!(rig.lines, expected);
    assert_eq!(rig.flows.counters().followed, 2);
}

/// A rig with limits of its own.
fn rig(limits: &Limits) -> Rig {
    Rig {
        flows: Flows::new(*limits),
        ..Rig::new()
    }
}

impl Rig {
    /// A SYN of somebody, to somebody's web server.
    fn flood(&mut self, number: u16) {
        let [high, low] = number.to_be_bytes();
        let from = Endpoint {
            address: IpAddr::from([172, 16, high, low]),
            port: 1_024,
        };
        let syn = self.segment(from, end(9, 443), 1, &[]);
        self.play(&Segment { syn: true, ..syn });
    }

    fn wait(&mut self, seconds: u64) {
        self.frame += seconds * 1_000;
    }
}

#[test]
fn a_flood_of_syns_drives_no_followed_connection_out() {
    let mut rig = rig(&Limits {
        flows: 64,
        ..Limits::default()
    });
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    // A handshake that is about to say something, and one that is foreign.
    let (late, web) = (end(3, 50_000), end(4, 50_000));
    let syn = rig.segment(late, server(), 10, &[]);
    rig.play(&Segment { syn: true, ..syn });
    let answer = rig.segment(server(), late, 20, &[]);
    rig.play(&Segment {
        syn: true,
        acknowledgement: Some(11),
        ..answer
    });
    rig.send(web, end(9, 443), 1, 1, b"\x16\x03\x01\x02\x00");
    for number in 0..20_000 {
        rig.flood(number);
        assert!(rig.flows.table.len() <= 64);
    }
    let counters = *rig.flows.counters();
    assert_eq!((counters.evicted, counters.evicted_followed), (20_003 - 64, 0));
    rig.send(server(), client(), 901, 129, &pdu(12, 1));
    rig.send(late, server(), 11, 21, &pdu(11, 2));
    assert_eq!(
        rig.flows.counters().connections,
        20_003,
        "none of the three was opened anew"
    );
    let followed = rig.lines.iter().filter(|line| line.contains("28 bytes")).count();
    assert_eq!(followed, 3);
}

#[test]
fn beyond_the_limit_the_longest_silent_followed_connection_is_let_go() {
    let mut rig = rig(&Limits {
        rpc_connections: 2,
        ..Limits::default()
    });
    for port in [1, 2] {
        rig.send(end(1, 50_000 + port), server(), 1, 1, &pdu(11, 1));
    }
    // The first has something to say, so that the second is the silent one.
    rig.send(end(1, 50_001), server(), 29, 1, &pdu(11, 2));
    rig.send(end(1, 50_003), server(), 1, 1, &pdu(11, 1));
    rig.send(end(1, 50_001), server(), 57, 1, &pdu(11, 3));
    assert_eq!(rig.flows.counters().rpc_over_limit, 1);
    assert_eq!(rig.lines.iter().filter(|line| *line == "closed").count(), 1);
    assert_eq!(rig.lines.last().map(String::as_str), Some("Client 5 28 bytes to 135"));
    assert_eq!(rig.flows.counters().followed, 3, "it was not picked up anew");
}

#[test]
fn silence_ends_a_connection_after_what_its_state_is_worth() {
    let mut rig = rig(&Limits {
        idle_unanswered: 60_000_000_000,
        idle_foreign: 600_000_000_000,
        idle_followed: 3_600_000_000_000,
        ..Limits::default()
    });
    rig.send(client(), server(), 1, 1, &pdu(11, 1));
    rig.send(client(), end(9, 443), 1, 1, b"\x16\x03\x01\x02\x00");
    rig.flood(1);
    rig.wait(61);
    rig.flood(2);
    rig.flood(3);
    assert_eq!(
        (rig.flows.counters().idle, rig.flows.table.len()),
        (1, 4),
        "the half-open one"
    );
    rig.wait(600);
    rig.send(client(), end(9, 443), 6, 1, b"\x16\x03\x01\x02\x00");
    assert_eq!(
        rig.flows.counters().idle,
        4,
        "the foreign one too, and the other half-open ones"
    );
    rig.send(client(), server(), 29, 1, &pdu(11, 2));
    assert!(!rig.lines.contains(&"closed".to_owned()));
    rig.wait(3_601);
    rig.flood(4);
    assert!(rig.lines.contains(&"closed".to_owned()));
    assert_eq!((rig.flows.shared.tracked, rig.flows.shared.due.len()), (0, 0));
}

#[test]
fn a_copy_is_told_from_a_packet_sent_again() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    let bytes = pdu(11, 1);
    let marked = |identification| Marks {
        identification,
        checksum: 7,
        ..Marks::default()
    };
    let first = rig.segment(client(), server(), 101, &bytes);
    let acknowledgement = Some(901);
    let first = Segment {
        marks: marked(1),
        acknowledgement,
        ..first
    };
    rig.play(&first);
    rig.play(&first);
    assert_eq!(rig.flows.counters().copies, 1);
    let again = rig.segment(client(), server(), 101, &bytes);
    rig.play(&Segment {
        marks: marked(2),
        acknowledgement,
        ..again
    });
    assert_eq!(rig.flows.counters().copies, 1);
    rig.wait(1);
    let later = rig.segment(client(), server(), 101, &bytes);
    rig.play(&Segment {
        marks: marked(1),
        acknowledgement,
        ..later
    });
    assert_eq!(rig.flows.counters().copies, 1);
    rig.end();
    assert_eq!(rig.lines, ["heard 2 50000->135", "Client 3 28 bytes to 135", "closed"]);
    // It is one packet.
    assert_eq!(rig.ended()[0].1, [4, 1]);
}

#[test]
fn a_handshake_that_a_mirror_delivers_twice_is_counted_once() {
    let mut rig = Rig::new();
    let mut identification = 0;
    let mut twice = |rig: &mut Rig, segment: Segment<'_>| {
        identification += 1;
        let marks = Marks {
            identification,
            ..Marks::default()
        };
        rig.play(&Segment { marks, ..segment });
        rig.play(&Segment { marks, ..segment });
    };
    let syn = rig.segment(client(), server(), 100, &[]);
    twice(&mut rig, Segment { syn: true, ..syn });
    let answer = rig.segment(server(), client(), 900, &[]);
    let acknowledgement = Some(101);
    twice(
        &mut rig,
        Segment {
            syn: true,
            acknowledgement,
            ..answer
        },
    );
    let acknowledgement = Some(901);
    let last = rig.segment(client(), server(), 101, &[]);
    twice(
        &mut rig,
        Segment {
            acknowledgement,
            ..last
        },
    );
    let bind = pdu(11, 1);
    let bind = rig.segment(client(), server(), 101, &bind);
    twice(
        &mut rig,
        Segment {
            acknowledgement,
            ..bind
        },
    );
    rig.end();
    assert_eq!(rig.ended()[0].1, [3, 1]);
}

#[test]
fn what_stands_beside_a_syn_begins_behind_it_and_is_read_when_it_was_taken() {
    let bind = pdu(11, 1);
    for taken in [true, false] {
        let mut rig = Rig::new();
        let syn = rig.segment(client(), server(), 100, &bind);
        rig.play(&Segment { syn: true, ..syn });
        let answer = rig.segment(server(), client(), 900, &[]);
        rig.play(&Segment {
            syn: true,
            acknowledgement: Some(if taken { 129 } else { 101 }),
            ..answer
        });
        if !taken {
            rig.send(client(), server(), 101, 901, &bind);
        }
        rig.send(client(), server(), 129, 901, &pdu(0, 2));
        rig.send(server(), client(), 901, 157, &pdu(12, 1));
        let data: Vec<_> = rig.finish().into_iter().filter(|line| line.contains("bytes")).collect();
        assert_eq!(data.len(), 3, "{data:?}");
        assert!(
            data[0].starts_with(if taken { "Client 1 " } else { "Client 3 " }),
            "{data:?}"
        );
    }
}

/// An acknowledgement with what fills an Ethernet frame behind it, as if it were its payload.
fn pad(rig: &mut Rig, from: Endpoint, to: Endpoint, sequence: u32, acknowledgement: u32) {
    let whole = [0; 26];
    let segment = rig.segment(from, to, sequence, &whole[20..]);
    rig.play(&Segment {
        acknowledgement: Some(acknowledgement),
        whole: &whole,
        ..segment
    });
}

#[test]
fn what_fills_a_frame_behind_an_acknowledgement_is_no_part_of_the_stream() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 200);
    pad(&mut rig, client(), server(), 101, 201);
    rig.send(client(), server(), 101, 201, &pdu(11, 1));
    pad(&mut rig, server(), client(), 201, 129);
    rig.send(server(), client(), 201, 129, &pdu(12, 1));
    pad(&mut rig, client(), server(), 129, 229);
    rig.send(client(), server(), 129, 229, &pdu(0, 2));
    rig.send(server(), client(), 229, 157, &pdu(2, 2));
    pad(&mut rig, client(), server(), 157, 257);
    let fin = rig.segment(client(), server(), 157, &[0; 6]);
    rig.play(&Segment {
        fin: true,
        acknowledgement: Some(257),
        whole: &[0; 26],
        ..fin
    });
    rig.send(server(), client(), 257, 158, &[]);
    assert_eq!(
        rig.finish(),
        [
            "heard 2 50000->135",
            "Client 4 28 bytes to 135",
            "Server 6 28 bytes to 135",
            "Client 8 28 bytes to 135",
            "Server 9 28 bytes to 135",
            "closed",
        ]
    );
}

#[test]
fn zeros_in_segments_as_short_as_padding_are_read_when_their_sender_goes_on() {
    for length in [2, 6] {
        let mut rig = Rig::new();
        rig.shake_hands(100, 200);
        rig.send(client(), server(), 101, 201, &pdu(11, 1));
        let mut sequence = 129;
        for piece in [&pdu(0, 2)[..], &[0; 12]].concat().chunks(length) {
            let whole = [&[0; 20], piece].concat();
            let segment = rig.segment(client(), server(), sequence, &whole[20..]);
            rig.play(&Segment {
                acknowledgement: Some(201),
                whole: &whole,
                ..segment
            });
            sequence += u32::try_from(piece.len()).unwrap();
        }
        rig.send(server(), client(), 201, sequence, &pdu(12, 1));
        let lines = rig.finish();
        let brought = lines.iter().filter(|line| line.starts_with("Client")).count();
        assert_eq!(brought, 1 + 40_usize.div_ceil(length), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("gap")), "{lines:?}");
    }
}

#[test]
fn zeros_behind_which_their_sender_goes_on_are_no_padding_though_it_repeats_some_of_them() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 200);
    let bytes = [&pdu(11, 1)[..22], &[0; 6]].concat();
    rig.send(client(), server(), 101, 201, &bytes[..22]);
    let whole = [&[0; 20], &bytes[22..]].concat();
    let zeros = rig.segment(client(), server(), 123, &whole[20..]);
    rig.play(&Segment {
        acknowledgement: Some(201),
        whole: &whole,
        ..zeros
    });
    // What repeats all of them, and what repeats the last of the next six.
    rig.send(client(), server(), 122, 201, &[&bytes[21..], &[7, 7]].concat());
    let zeros = rig.segment(client(), server(), 131, &whole[20..]);
    rig.play(&Segment {
        acknowledgement: Some(201),
        whole: &whole,
        ..zeros
    });
    rig.send(client(), server(), 136, 201, &[0, 7]);
    let lines = rig.finish();
    let brought = lines.iter().filter(|line| line.starts_with("Client")).count();
    assert_eq!(brought, 4, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("gap")), "{lines:?}");
}

#[test]
fn six_zeros_that_overtake_the_beginning_of_a_stream_are_no_padding() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 200);
    let bytes = [&pdu(11, 1)[..22], &[0; 6]].concat();
    let whole = [&[0; 20], &bytes[22..]].concat();
    let late = rig.segment(client(), server(), 123, &whole[20..]);
    rig.play(&Segment {
        acknowledgement: Some(201),
        whole: &whole,
        ..late
    });
    rig.send(client(), server(), 101, 201, &bytes[..22]);
    rig.send(server(), client(), 201, 129, &pdu(12, 1));
    let lines = rig.finish();
    let brought: Vec<_> = lines.iter().filter(|line| line.starts_with("Client")).collect();
    assert_eq!(
        brought,
        ["Client 4 22 bytes to 135", "Client 3 6 bytes to 135"],
        "{lines:?}"
    );
}

#[test]
fn six_zeros_that_were_acknowledged_are_a_part_of_the_stream() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 200);
    rig.send(client(), server(), 101, 201, &pdu(11, 1));
    pad(&mut rig, client(), server(), 129, 201);
    rig.send(client(), server(), 135, 201, &pdu(11, 1)[6..]);
    rig.send(server(), client(), 201, 157, &pdu(12, 1));
    assert_eq!(
        rig.finish()[1..],
        [
            "Client 3 28 bytes to 135",
            "Client 4 6 bytes to 135",
            "Client 5 22 bytes to 135",
            "Server 6 28 bytes to 135",
            "closed",
        ]
    );
}

#[test]
fn what_no_host_takes_is_put_aside_within_bounds_and_read_when_it_was_taken() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let payload = pdu(0, 2);
    for number in 0..200 {
        // Without an acknowledgement.
        let segment = rig.segment(client(), server(), 129 + 28 * number, &payload);
        rig.play(&segment);
    }
    let over_limit = rig.flows.assembler_counters().over_limit;
    assert_eq!((rig.flows.counters().suspects, over_limit), (200, 136));
    assert_eq!(rig.flows.shared.bounds.held, 64 * 28);
    assert!(!rig.lines.iter().any(|line| line.starts_with("Client 4 ")));
    rig.send(server(), client(), 901, 129 + 56, &[]);
    let read = rig.lines.iter().filter(|line| line.contains("28 bytes")).count();
    assert_eq!(read, 1 + 2);
    rig.finish();
}

#[test]
fn a_closed_connection_is_listened_to_as_long_as_something_comes() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let reset = rig.segment(server(), client(), 901, &[]);
    rig.play(&Segment { rst: true, ..reset });
    for call in 0..4_u8 {
        rig.wait(4);
        rig.send(client(), server(), 129 + u32::from(call) * 28, 901, &pdu(0, call));
    }
    assert_eq!(rig.flows.counters().connections, 1);
    rig.wait(6);
    rig.flood(1);
    assert_eq!(rig.lines.last().map(String::as_str), Some("closed"));
}

#[test]
fn where_one_direction_is_seen_its_fin_ends_the_connection_and_its_syn_opens_the_next() {
    let mut rig = Rig::new();
    for start in [100, 70_000_000] {
        let syn = rig.segment(client(), server(), start, &[]);
        rig.play(&Segment { syn: true, ..syn });
        rig.send(client(), server(), start + 1, 901, &pdu(11, 1));
    }
    let expected = [
        "heard 2 50000->135",
        "Client 2 28 bytes to 135",
        "closed",
        "heard 4 50000->135",
        "Client 4 28 bytes to 135",
        "closed",
    ];
    assert_eq!(rig.finish(), expected);
}

#[test]
fn packets_are_counted_from_the_first_one_whenever_a_connection_is_recognised() {
    let mut rig = Rig::new();
    // Something else for a while, and first bytes that come in two pieces.
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, b"GET / HTTP/1.1\r\n\r\n");
    rig.send(server(), client(), 901, 119, b"no");
    rig.send(server(), client(), 903, 119, &pdu(2, 1));
    let (late, start) = (end(3, 50_000), pdu(11, 1));
    rig.syn(late, server(), 100);
    rig.send(late, server(), 103, 901, &start[2..]);
    rig.send(late, server(), 101, 901, &start[..2]);
    rig.end();
    assert_eq!(
        rig.ended(),
        [
            (Reason::Shutdown, [2, 3], [54 + 72, 3 * 54 + 30]),
            (Reason::Shutdown, [3, 0], [3 * 54 + 28, 0]),
        ]
    );
}

#[test]
fn a_syn_is_a_packet_of_the_connection_that_it_opens() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(server(), client(), 901, 129, &[]);
    // Two that nobody answers, one that opens another connection, and is sent twice.
    rig.syn(client(), server(), 7_000_000);
    rig.syn(client(), server(), 8_000_000);
    rig.syn(client(), server(), 9_000_000);
    rig.frame += 1_000;
    rig.syn(client(), server(), 9_000_000);
    let opened = rig.frame;
    let answer = rig.segment(server(), client(), 5_000_000, &[]);
    rig.play(&Segment {
        syn: true,
        acknowledgement: Some(9_000_001),
        ..answer
    });
    rig.send(client(), server(), 9_000_001, 5_000_001, &pdu(11, 1));
    rig.syn(client(), server(), 3_000_000);
    rig.end();
    let counts = rig
        .ended()
        .iter()
        .map(|(reason, counts, _)| (*reason, *counts))
        .collect::<Vec<_>>();
    assert_eq!(counts, [(Reason::Reused, [4, 2]), (Reason::Shutdown, [4, 1])]);
    assert_eq!(rig.ended[0].last.frame, opened - 1_002);
    assert_eq!(rig.ended[1].last.frame, rig.frame);
}

#[test]
fn what_is_counted_before_goes_beyond_32_bits() {
    let mut rig = Rig::new();
    rig.shake_hands(100, 900);
    rig.send(client(), server(), 101, 901, b"something else");
    let segment = rig.segment(client(), server(), 115, &[]);
    for _ in 0..3 {
        rig.play(&Segment {
            length: u32::MAX,
            ..segment
        });
    }
    rig.send(client(), server(), 115, 901, &pdu(11, 1));
    rig.end();
    let bytes = 54 + (54 + 14) + 3 * u64::from(u32::MAX) + (54 + 28);
    assert_eq!(rig.ended(), [(Reason::Shutdown, [6, 1], [bytes, 54])]);
}

#[test]
fn each_way_to_end_has_its_reason_and_its_state() {
    let closed = |rig: &mut Rig| {
        rig.shake_hands(100, 900);
        rig.send(client(), server(), 101, 901, &pdu(11, 1));
        let fin = rig.segment(client(), server(), 129, &[]);
        rig.play(&Segment {
            fin: true,
            acknowledgement: Some(901),
            ..fin
        });
        let fin = rig.segment(server(), client(), 901, &[]);
        rig.play(&Segment {
            fin: true,
            acknowledgement: Some(130),
            ..fin
        });
        rig.send(client(), server(), 130, 902, &[]);
    };
    let told = |rig: &Rig| {
        rig.ended
            .iter()
            .map(|ended| (ended.reason, ended.state))
            .collect::<Vec<_>>()
    };
    let over = |reason| (reason, Some(TcpState::Closed));
    // Let go after the linger time; opened anew before that.
    let mut rig = Rig::new();
    closed(&mut rig);
    rig.wait(6);
    rig.flood(1);
    assert_eq!(told(&rig), [over(Reason::Timeout)]);
    closed(&mut rig);
    rig.shake_hands(5_000_000, 6_000_000);
    assert_eq!(told(&rig), [over(Reason::Timeout), over(Reason::Reused)]);
    // The next one's SYN is not among its packets.
    assert_eq!(rig.ended()[1].1, [4, 2]);
    // Broken off, and silent.
    let mut rig = Rig::new();
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let reset = rig.segment(server(), client(), 901, &[]);
    rig.play(&Segment { rst: true, ..reset });
    rig.send(end(3, 50_000), server(), 101, 901, &pdu(11, 1));
    rig.wait(4 * 3_600);
    rig.flood(1);
    assert_eq!(
        told(&rig),
        [over(Reason::Timeout), (Reason::Timeout, Some(TcpState::Established))]
    );
}

#[test]
fn what_is_let_go_or_given_up_is_told_as_forced() {
    let mut rig = rig(&Limits {
        rpc_connections: 1,
        ..Limits::default()
    });
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    rig.send(end(3, 50_000), server(), 101, 901, &pdu(11, 1));
    let let_go = rig.ended[0];
    assert_eq!(
        (let_go.reason, let_go.state),
        (Reason::Forced, Some(TcpState::Established))
    );
    let given_up = rig.flows.abandon(end(3, 50_000), server()).unwrap();
    assert_eq!(
        (given_up.ended.reason, given_up.ended.packets.client.count),
        (Reason::Forced, 1)
    );
    let shared = &rig.flows.shared;
    assert_eq!(
        (shared.bounds.remembered, shared.due.len(), shared.wanted.len()),
        (0, 0, 0)
    );
    rig.end();
    assert_eq!(rig.ended.len(), 1, "nothing is told of it any more");
}

#[test]
fn what_is_given_up_takes_nothing_with_it_of_others() {
    let mut rig = Rig::new();
    rig.send(client(), server(), 101, 901, &pdu(11, 1));
    let of_one = rig.flows.shared.bounds.remembered;
    assert!(of_one > 0, "it is remembered, to be compared");
    rig.send(end(3, 50_000), server(), 101, 901, &pdu(11, 1));
    rig.flows.abandon(client(), server()).unwrap();
    let shared = &rig.flows.shared;
    assert_eq!(
        (shared.bounds.remembered, shared.tracked, shared.due.len()),
        (of_one, 1, 1)
    );
    rig.end();
    assert_eq!(rig.flows.shared.bounds.remembered, 0);
}

#[test]
fn places_of_closed_connections_are_bounded_by_the_connections() {
    let mut rig = rig(&Limits {
        flows: 100,
        ..Limits::default()
    });
    for number in 0..20_000_u32 {
        let [_, .., high, low] = number.to_be_bytes();
        let mut from = end(3, 50_000);
        from.address = IpAddr::from([10, 1, high, low]);
        let segment = rig.segment(from, server(), 101, &[]);
        // Within one instant: none of them has lingered yet.
        let at = At {
            time: Timestamp(1_000_000),
            ..segment.at
        };
        rig.play(&Segment {
            at,
            fin: true,
            ..segment
        });
        assert!(rig.flows.closing.len() <= FEW_CLOSING);
    }
    assert!(rig.flows.closing.len() >= rig.flows.table.len());
    let later = Timestamp(60_000_000_000);
    rig.flows.advance(later, &mut |_| {});
    assert_eq!((rig.flows.closing.len(), rig.flows.table.len()), (0, 0));
}

/// Wants to be looked at ten milliseconds after each piece, once.
struct Patient(Timestamp);

impl Default for Patient {
    fn default() -> Self {
        Self(NEVER)
    }
}

impl Consumer for Patient {
    fn due(&self) -> Timestamp {
        self.0
    }
}

#[test]
fn the_next_stage_looks_at_a_connection_when_it_wants_to_and_one_place_is_kept_for_it() {
    let mut rig = Rig::new();
    let mut flows = Flows::<Patient>::new(Limits::default());
    let mut looked = Vec::new();
    let mut hear = |output: Output<'_, Patient>| match output {
        Output::Stream(_, patient, StreamEvent::Data { at, .. }) => {
            patient.0 = patient.0.min(Timestamp(at.time.0 + 10_000_000));
        }
        Output::Due(connection, patient, now) => {
            looked.push((connection.client.port, now.0 / 1_000_000));
            patient.0 = NEVER;
        }
        _ => {}
    };
    let other = end(1, 50_001);
    let payload = pdu(0, 1);
    let mut sequences = [1, 1];
    // Frames one to eight, a millisecond each, of two connections in turn.
    for turn in [0, 0, 1, 0, 1, 1, 0, 1] {
        let from = if turn == 0 { client() } else { other };
        let segment = rig.segment(from, server(), sequences[turn], &payload);
        sequences[turn] += 28;
        flows.push(&segment, &mut hear);
        assert!(flows.shared.wanted.len() <= 2, "a place for each segment");
    }
    for millisecond in 9..40 {
        flows.advance(Timestamp(millisecond * 1_000_000), &mut hear);
    }
    assert!(flows.shared.wanted.is_empty());
    flows.finish(&mut hear);
    assert_eq!(looked, [(50_000, 11), (50_001, 13)]);
}
