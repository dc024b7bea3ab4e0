//! RPC over HTTP: PDUs behind the banner that servers send a proxy ([MS-RPCH] 2.1.1.2.1 and 2.1.2.2.1 Legacy Server
//! Response), or behind the HTTP heads of version 2 ([MS-RPCH] 2.1.2.1 Client to Inbound or Outbound Proxy).
//!
//! In version 2 requests go over one connection and answers come over another, and either may be replaced by a new one.
//! Each of these channels begins with an RTS PDU that names the virtual connection it is of; so they are joined.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::Guid;
use dcom_parsers::rpce::{self, CommonHeader, Pdu, Ptype, RtsValue};

use crate::capture::At;
use crate::decode::Endpoint;
use crate::flow::{BANNER, Connection, Side, Sides, StreamEvent};
use crate::rpc::{Association, Handling};
use crate::time::Timestamp;

/// What is kept for one connection.
#[derive(Debug, Default)]
pub(super) struct Channel {
    sides: Sides<Text>,
    carries: Carries,
}

/// What a channel is of.
#[derive(Debug)]
enum Carries {
    /// It is not known yet: what there is of the client's first PDU, with the frame that brought the last of it.
    Unknown(At, Vec<u8>),
    /// An association of its own: version 1, or a channel of which the beginning was not seen.
    Own(Box<Association>),
    /// A virtual connection.
    Virtual(Key),
}

impl Default for Carries {
    fn default() -> Self {
        Self::Unknown(At::default(), Vec::new())
    }
}

/// Client, server or proxy, and the cookie that the client has chosen: [MS-RPCH] 2.2.3.1 RTS Cookie.
type Key = (IpAddr, Endpoint, Guid);

/// Longer than this no first PDU of a channel is.
const LONGEST_FIRST: u16 = 256;

/// What the client's first PDU says.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// Not all of it is here.
    Incomplete,
    /// It begins a channel of a virtual connection.
    Begins {
        cookie: Guid,
        /// Is it the channel of the requests?
        inbound: bool,
    },
    /// Anything else.
    Other,
}

impl First {
    /// [MS-RPCH] 2.2.4.2 CONN/A1, 2.2.4.5 CONN/B1, and the first of a channel that replaces another: after the version
    /// comes the virtual connection's cookie. Only who receives over a channel tells its window.
    fn read(bytes: &[u8]) -> Self {
        let header = match rpce::recognise_next(bytes) {
            rpce::Prefix::Header(header) => header,
            rpce::Prefix::TooShort => return Self::Incomplete,
            rpce::Prefix::Foreign => return Self::Other,
        };
        if header.ptype != Ptype::RTS || header.frag_length > LONGEST_FIRST {
            return Self::Other;
        }
        let Some(pdu) = bytes.get(..header.frag_length.into()) else {
            return Self::Incomplete;
        };
        let Some(Ok(rts)) = Pdu::parse(pdu).ok().and_then(|pdu| pdu.rts()) else {
            return Self::Other;
        };
        let cookie = rts.commands.iter().find_map(|command| match command.value {
            RtsValue::Cookie(cookie) => Some(cookie),
            _ => None,
        });
        let inbound = !rts
            .commands
            .iter()
            .any(|command| command.kind.name() == Some("ReceiveWindowSize"));
        cookie.map_or(Self::Other, |cookie| Self::Begins { cookie, inbound })
    }
}

/// Connections over several channels, by their cookies.
#[derive(Debug, Default)]
pub(in crate::rpc) struct VirtualConnections(BTreeMap<Key, VirtualConnection>);

/// One of them.
#[derive(Debug)]
struct VirtualConnection {
    association: Box<Association>,
    /// The channel of the requests, once it was seen: what is told is told of it.
    connection: Arc<Connection>,
    /// Channels that are open.
    channels: u32,
    /// The last frame that was about it.
    used: At,
}

impl VirtualConnections {
    /// Bytes of unfinished PDUs and of stubs.
    pub(in crate::rpc) fn held(&self) -> usize {
        self.0
            .values()
            .map(|virtual_connection| virtual_connection.association.held())
            .sum()
    }
}

impl VirtualConnection {
    fn push(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        self.run(handling, |association, handling| association.push(event, handling));
    }

    fn run(&mut self, handling: &mut Handling<'_>, act: impl FnOnce(&mut Association, &mut Handling<'_>)) {
        let mut handling = Handling {
            connection: &self.connection,
            bounds: &mut *handling.bounds,
            out: &mut *handling.out,
        };
        act(&mut self.association, &mut handling);
    }
}

/// One more channel of a virtual connection; a new one, if it was not known. Then the one that was idle longest may have
/// to go.
fn join(key: Key, inbound: bool, at: At, handling: &mut Handling<'_>) {
    handling.bounds.carriage.joined += 1;
    let limit = handling.bounds.limits.virtual_connections.max(1);
    let known = &mut handling.bounds.virtual_connections.0;
    if let Some(known) = known.get_mut(&key) {
        known.channels += 1;
        if inbound {
            known.connection = Arc::clone(handling.connection);
        }
        return;
    }
    if known.len() >= limit {
        let used = |one: &VirtualConnection| (one.used.input, one.used.frame);
        let idle = known.iter().min_by_key(|(_, one)| used(one)).map(|(&key, _)| key);
        if let Some(mut idle) = idle.and_then(|idle| known.remove(&idle)) {
            handling.bounds.carriage.over_limit += 1;
            idle.push(StreamEvent::Closed, handling);
        }
    }
    let one = VirtualConnection {
        association: Box::default(),
        connection: Arc::clone(handling.connection),
        channels: 1,
        used: at,
    };
    handling.bounds.virtual_connections.0.insert(key, one);
}

/// Hands on what a channel brings. False when its virtual connection had to go.
fn feed(key: Key, event: StreamEvent<'_>, handling: &mut Handling<'_>) -> bool {
    let Some(mut one) = handling.bounds.virtual_connections.0.remove(&key) else {
        return false;
    };
    match event {
        StreamEvent::Closed if one.channels > 1 => one.channels -= 1,
        StreamEvent::Closed => {
            one.push(event, handling);
            return true;
        }
        StreamEvent::Data { at, .. } => {
            one.used = at;
            one.push(event, handling);
        }
        StreamEvent::Gap { .. } => one.push(event, handling),
    }
    handling.bounds.virtual_connections.0.insert(key, one);
    true
}

/// What stands before the PDUs of one side.
#[derive(Debug)]
enum Text {
    /// PDUs, a banner or an HTTP head may start here; too few bytes of it to tell.
    Start(Vec<u8>),
    /// In an HTTP head, or in a body that is none of ours, with so many bytes of an empty line seen.
    Head(usize),
    /// Only PDUs from here on.
    Over,
}

impl Default for Text {
    fn default() -> Self {
        Self::Start(Vec::new())
    }
}

impl Channel {
    /// Bytes of unfinished PDUs and of stubs.
    pub(super) fn held(&self) -> usize {
        match &self.carries {
            Carries::Own(association) => association.held(),
            // The association of a virtual connection is not the channel's.
            Carries::Unknown(..) | Carries::Virtual(_) => 0,
        }
    }
}

/// What ends an HTTP head.
const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";

/// [MS-RPCH] 2.1.2.1.6 Echo Response: text, too, though a PDU stands in it. Another HTTP head follows.
enum Echo<'a> {
    /// Not all of it is here.
    Incomplete,
    /// One, and what stands behind it.
    Behind(&'a [u8]),
    /// None.
    None,
}

impl<'a> Echo<'a> {
    fn read(header: CommonHeader, bytes: &'a [u8]) -> Self {
        let Some((pdu, behind)) = bytes.split_at_checked(header.frag_length.into()) else {
            return match header.frag_length {
                ..=LONGEST_FIRST => Self::Incomplete,
                _ => Self::None,
            };
        };
        let rts = Pdu::parse(pdu).ok().and_then(|pdu| pdu.rts()?.ok());
        // A ping has no commands either, and says nothing to pass over.
        if rts.is_some_and(|rts| rts.number_of_commands == 0) {
            Self::Behind(behind)
        } else {
            Self::None
        }
    }
}

impl Text {
    /// Steps over text; gives the PDUs behind it.
    fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut pending = match self {
            Self::Start(held) => std::mem::take(held),
            Self::Head(_) | Self::Over => Vec::new(),
        };
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        loop {
            match self {
                Self::Start(_) => match rpce::recognise_next(rest) {
                    rpce::Prefix::Header(header) if header.ptype == Ptype::RTS => match Echo::read(header, rest) {
                        Echo::Incomplete => {
                            *self = Self::Start(rest.to_vec());
                            return Vec::new();
                        }
                        Echo::Behind(behind) => rest = behind,
                        Echo::None => *self = Self::Over,
                    },
                    rpce::Prefix::Header(_) => *self = Self::Over,
                    _ if rest.starts_with(BANNER) => {
                        rest = &rest[BANNER.len()..];
                        *self = Self::Over;
                    }
                    rpce::Prefix::TooShort => {
                        *self = Self::Start(rest.to_vec());
                        return Vec::new();
                    }
                    rpce::Prefix::Foreign if BANNER.starts_with(rest) => {
                        *self = Self::Start(rest.to_vec());
                        return Vec::new();
                    }
                    rpce::Prefix::Foreign => *self = Self::Head(0),
                },
                Self::Head(seen) => {
                    let Some((&byte, behind)) = rest.split_first() else {
                        return Vec::new();
                    };
                    rest = behind;
                    *seen = match (byte == EMPTY_LINE[*seen], byte) {
                        (true, _) => *seen + 1,
                        (false, b'\r') => 1,
                        (false, _) => 0,
                    };
                    if *seen == EMPTY_LINE.len() {
                        *self = Self::Start(Vec::new());
                    }
                }
                Self::Over => return rest.to_vec(),
            }
        }
    }
}

impl Channel {
    /// Takes in what the stream brings.
    pub(super) fn push(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        match event {
            StreamEvent::Data { at, side, bytes } if !matches!(self.sides[side], Text::Over) => {
                let stripped = self.sides[side].strip(bytes);
                if !stripped.is_empty() {
                    let bytes = &stripped;
                    self.carry(StreamEvent::Data { at, side, bytes }, handling);
                }
            }
            StreamEvent::Gap { side, .. } => {
                // Text may be lost, and its end: from here on PDUs are looked for.
                self.sides[side] = Text::Over;
                self.carry(event, handling);
            }
            other => self.carry(other, handling),
        }
    }

    /// Time has come this far.
    pub(super) fn advance(&mut self, now: Timestamp, handling: &mut Handling<'_>) {
        match &mut self.carries {
            Carries::Unknown(..) => {}
            Carries::Own(association) => association.advance(now, handling),
            &mut Carries::Virtual(key) => {
                if let Some(mut one) = handling.bounds.virtual_connections.0.remove(&key) {
                    one.run(handling, |association, handling| association.advance(now, handling));
                    handling.bounds.virtual_connections.0.insert(key, one);
                }
            }
        }
    }

    /// Hands on what is no text.
    fn carry(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        match &mut self.carries {
            Carries::Unknown(..) => self.begin(event, handling),
            Carries::Own(association) => association.push(event, handling),
            Carries::Virtual(key) => {
                if !feed(*key, event, handling) {
                    self.own(event, handling);
                }
            }
        }
    }

    /// Looks at the client's first PDU: what is the channel of?
    fn begin(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        let Carries::Unknown(latest, mut held) = std::mem::take(&mut self.carries) else {
            return;
        };
        let side = Side::Client;
        match event {
            StreamEvent::Data { at, side, bytes } if side == Side::Client => {
                held.extend_from_slice(bytes);
                let bytes = &held;
                let whole = StreamEvent::Data { at, side, bytes };
                match First::read(bytes) {
                    First::Incomplete => self.carries = Carries::Unknown(at, held),
                    First::Other => self.own(whole, handling),
                    First::Begins { cookie, inbound } => {
                        let Connection { client, server, .. } = **handling.connection;
                        let key = (client.address, server, cookie);
                        join(key, inbound, at, handling);
                        self.carries = Carries::Virtual(key);
                        feed(key, whole, handling);
                    }
                }
            }
            // There never was a PDU.
            StreamEvent::Closed if held.is_empty() => {}
            other => {
                if !held.is_empty() {
                    let (at, bytes) = (latest, &held[..]);
                    self.own(StreamEvent::Data { at, side, bytes }, handling);
                    return self.carry(other, handling);
                }
                self.own(other, handling);
            }
        }
    }

    /// It has an association of its own, and that goes on with this.
    fn own(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        let mut association: Box<Association> = Box::default();
        association.push(event, handling);
        self.carries = Carries::Own(association);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Protocol;
    use crate::rpc::carriage::Carriage;
    use crate::rpc::rig::Rig;
    use crate::rpc::{Reply, RpcBody, Stub};

    const PDU: &[u8; 24] = &[
        5, 0, 20, 3, 16, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, 0, 0, 0,
    ];

    /// The PDUs behind some text, which comes in pieces of every size.
    fn stripped(stream: &[u8]) -> Vec<u8> {
        let whole = Text::default().strip(stream);
        for size in 1..stream.len() {
            let mut text = Text::default();
            let pieces: Vec<u8> = stream.chunks(size).flat_map(|piece| text.strip(piece)).collect();
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_banner_is_stepped_over() {
        assert_eq!(stripped(&[&BANNER[..], PDU, PDU].concat()), [&PDU[..], PDU].concat());
    }

    #[test]
    fn heads_and_the_bodies_of_refusals_are_stepped_over() {
        let refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\n<p>no</p>";
        let success = b"HTTP/1.1 200 Success\r\nContent-Length: 1073741824\r\n\r\n";
        assert_eq!(stripped(&[&refusal[..], success, PDU].concat()), PDU);
        let asked = b"RPC_IN_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            stripped(&[&asked[..], asked, PDU, PDU].concat()),
            [&PDU[..], PDU].concat()
        );
    }

    /// [MS-RPCH] 2.1.2.1.5 Echo Request, 2.1.2.1.6 Echo Response: a client sees what stands between it and the server, and goes on.
    #[test]
    fn an_echo_before_a_channel_is_stepped_over() {
        let asked = b"RPC_IN_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\nContent-Length: 4\r\n\r\nechoRPC_IN_DATA / HTTP/1.1\r\n\r\n";
        assert_eq!(stripped(&[&asked[..], &request(1)].concat()), request(1));
        let head = b"HTTP/1.1 200 Success\r\nContent-Length: 20\r\n\r\n";
        for flags in [0x40, 0] {
            let echo = pdu(20, 0, &[flags, 0, 0, 0]);
            assert_eq!(
                stripped(&[&head[..], &echo, ACCEPTED, &request(1)].concat()),
                request(1)
            );
        }
    }

    const OUT: &[u8] = b"RPC_OUT_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\nContent-Length: 76\r\n\r\n";
    const IN: &[u8] = b"RPC_IN_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n";
    const ACCEPTED: &[u8] = b"HTTP/1.1 200 Success\r\nContent-Length: 1073741824\r\n\r\n";

    fn pdu(ptype: u8, call_id: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(16 + body.len()).unwrap();
        let head = [5, 0, ptype, 3, 16, 0, 0, 0, length, 0, 0, 0, call_id, 0, 0, 0];
        [&head[..], body].concat()
    }

    /// CONN/A1 and the first PDU of another OUT channel begin like this; without a window, CONN/B1.
    fn begins(cookie: u8, window: bool) -> Vec<u8> {
        let command = |kind: u32, value: &[u8]| [&kind.to_le_bytes()[..], value].concat();
        let mut commands = vec![command(6, &[1, 0, 0, 0]), command(3, &[cookie; 16])];
        commands.push(if window {
            command(0, &[0, 0, 1, 0])
        } else {
            command(5, &[0, 0, 1, 0])
        });
        pdu(20, 0, &[&[0, 0, 3, 0][..], &commands.concat()].concat())
    }

    fn request(call_id: u8) -> Vec<u8> {
        pdu(0, call_id, &[0, 0, 0, 0, 0, 0, 7, 0])
    }

    fn response(call_id: u8) -> Vec<u8> {
        pdu(2, call_id, &[0; 8])
    }

    /// Channels to one proxy, numbered from 0.
    struct Channels {
        rig: Rig,
        carriages: Vec<(Carriage, Arc<Connection>)>,
    }

    impl Channels {
        fn new(count: usize) -> Self {
            let rig = Rig::new(Protocol::Http, 80);
            let carriages = (0..count).map(|number| {
                let flow_id = number as u64;
                let connection = Connection {
                    flow_id,
                    ..Connection::clone(&rig.connection)
                };
                (Carriage::default(), Arc::new(connection))
            });
            let carriages = carriages.collect();
            Self { rig, carriages }
        }

        fn on<T>(&mut self, channel: usize, act: impl FnOnce(&mut Rig) -> T) -> T {
            let Self { rig, carriages } = self;
            let (carriage, connection) = &mut carriages[channel];
            std::mem::swap(&mut rig.carriage, carriage);
            std::mem::swap(&mut rig.connection, connection);
            let done = act(rig);
            std::mem::swap(&mut rig.carriage, carriage);
            std::mem::swap(&mut rig.connection, connection);
            done
        }

        fn up(&mut self, channel: usize, bytes: &[u8]) {
            self.on(channel, |rig| rig.send(Side::Client, bytes));
        }

        fn down(&mut self, channel: usize, bytes: &[u8]) {
            self.on(channel, |rig| rig.send(Side::Server, bytes));
        }

        fn close(&mut self, channel: usize) {
            self.on(channel, |rig| rig.push(StreamEvent::Closed));
        }

        /// Calls by the channel they are told of, and whether they were answered.
        fn calls(&self) -> Vec<(u64, u32, bool)> {
            let calls = self.rig.events.iter().filter_map(|event| match &event.body {
                RpcBody::Exchange(call) => {
                    let answered = call.request.is_some() && matches!(call.reply, Reply::Response(_));
                    Some((event.connection.flow_id, call.call_id, answered))
                }
                _ => None,
            });
            calls.collect()
        }

        fn count(&self, wanted: &RpcBody) -> usize {
            self.rig.events.iter().filter(|event| event.body == *wanted).count()
        }
    }

    #[test]
    fn a_request_is_not_joined_over_a_gap_of_its_channel_and_time_comes_to_it() {
        let mut channels = Channels::new(2);
        let fragment = |flags: u8| {
            let mut bytes = request(1);
            bytes[3] = flags;
            bytes
        };
        channels.up(0, &[OUT, &begins(1, true)].concat());
        channels.up(1, &[IN, &begins(1, false), &fragment(1)].concat());
        let bytes = fragment(0).len() as u64;
        channels.on(1, |rig| {
            rig.push(StreamEvent::Gap {
                side: Side::Client,
                bytes,
            });
        });
        channels.up(1, &fragment(2));
        channels.on(1, |rig| rig.advance(rig.bounds.limits.answer + 1));
        assert_eq!(channels.calls(), [(1, 1, false)]);
        let damaged = channels.rig.events.iter().any(|event| match &event.body {
            RpcBody::Exchange(call) => call.request.as_ref().is_some_and(|it| it.stub == Stub::Incomplete),
            _ => false,
        });
        assert!(damaged, "{:?}", channels.rig.events);
    }

    #[test]
    fn the_channels_of_a_virtual_connection_are_joined_by_their_cookie() {
        let mut channels = Channels::new(2);
        channels.up(0, &[OUT, &begins(1, true)].concat());
        channels.up(1, &[IN, &begins(1, false), &request(1)].concat());
        channels.down(0, &[ACCEPTED, &response(1)].concat());
        channels.up(1, &request(2));
        channels.close(1);
        assert_eq!(channels.calls(), [(1, 1, true)]);
        channels.close(0);
        assert_eq!(channels.calls(), [(1, 1, true), (1, 2, false)]);
        let (opened, closed) = (channels.count(&RpcBody::Opened), channels.count(&RpcBody::Closed));
        assert_eq!((opened, closed), (1, 1));
        assert_eq!((channels.rig.bounds.carriage.joined, channels.rig.bounds.held), (2, 0));
        assert!(channels.rig.bounds.virtual_connections.0.is_empty());
    }

    #[test]
    fn how_the_bytes_of_a_channel_are_cut_does_not_matter() {
        for size in 1..80 {
            let mut channels = Channels::new(2);
            let first = [OUT, &begins(1, true)].concat();
            let second = [IN, &begins(1, false), &request(1)].concat();
            first.chunks(size).for_each(|piece| channels.up(0, piece));
            second.chunks(size).for_each(|piece| channels.up(1, piece));
            let answer = [ACCEPTED, &response(1)].concat();
            answer.chunks(size).for_each(|piece| channels.down(0, piece));
            assert_eq!(channels.calls(), [(1, 1, true)], "in pieces of {size}");
        }
    }

    #[test]
    fn a_channel_may_be_replaced_and_other_connections_stand_beside() {
        let mut channels = Channels::new(5);
        channels.up(0, &[OUT, &begins(1, true)].concat());
        channels.up(1, &[IN, &begins(1, false), &request(1)].concat());
        channels.up(2, &[OUT, &begins(2, true)].concat());
        channels.up(3, &[IN, &begins(2, false), &request(1)].concat());
        channels.up(4, &[OUT, &begins(1, true)].concat());
        channels.close(0);
        channels.down(4, &[ACCEPTED, &response(1)].concat());
        channels.down(2, &[ACCEPTED, &response(1)].concat());
        assert_eq!(channels.calls(), [(1, 1, true), (3, 1, true)]);
    }

    #[test]
    fn behind_a_gap_in_a_head_pdus_are_found_again() {
        let mut channels = Channels::new(1);
        let side = Side::Client;
        channels.up(0, &IN[..20]);
        channels.on(0, |rig| rig.push(StreamEvent::Gap { side, bytes: 9 }));
        channels.up(0, &[&IN[29..], &begins(1, false), &request(1)].concat());
        channels.close(0);
        assert_eq!(channels.calls(), [(0, 1, false)]);
    }

    #[test]
    fn virtual_connections_are_bounded_and_one_that_had_to_go_is_read_on() {
        let mut channels = Channels::new(2);
        channels.rig.bounds.limits.virtual_connections = 1;
        channels.up(0, &[IN, &begins(1, false), &request(1)].concat());
        channels.up(1, &[IN, &begins(2, false), &request(1)].concat());
        assert_eq!(channels.rig.bounds.carriage.over_limit, 1);
        channels.up(0, &request(2));
        (0..2).for_each(|channel| channels.close(channel));
        assert_eq!(channels.calls(), [(0, 1, false), (0, 2, false), (1, 1, false)]);
        assert_eq!(channels.rig.bounds.held, 0);
    }
}
