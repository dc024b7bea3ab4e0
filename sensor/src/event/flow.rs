//! A connection that carried RPC, told at its end.

use super::record::{names, record};
use crate::flow::{Packets, Reason, Sides, TcpState};
use crate::time::Timestamp;

names! {
    /// How far a connection came, in Suricata's words.
    #[derive(Default)]
    pub enum FlowState {
        /// One side spoke.
        New => "new",
        /// Both did.
        #[default]
        Established => "established",
        /// Both sides closed it, or one broke it off.
        Closed => "closed",
    }

    /// Why a connection is told, in Suricata's words.
    #[derive(Default)]
    pub enum EndReason {
        /// It was closed, or silent for too long.
        #[default]
        Timeout => "timeout",
        /// Let go because there were too many, or because the sensor failed on it.
        Forced => "forced",
        /// The capture is over, or the sensor ends.
        Shutdown => "shutdown",
        /// Its ends opened another one.
        Reused => "tcp_reuse",
    }

    /// RFC 9293 3.3.2 State Machine Overview, in Suricata's words.
    #[derive(Default)]
    pub enum TcpStateName {
        /// Both may send.
        #[default]
        Established => "established",
        /// The server has closed.
        FinWait1 => "fin_wait1",
        /// The client knows.
        FinWait2 => "fin_wait2",
        /// Both have closed at a time.
        Closing => "closing",
        /// The server has closed, then the client.
        TimeWait => "time_wait",
        /// The client has closed.
        CloseWait => "close_wait",
        /// The client has closed, then the server.
        LastAck => "last_ack",
        /// It is over.
        Closed => "closed",
    }
}

record! {
    /// A connection that carried RPC, told when it is over: closed, silent for too long, let go, or when the capture ends.
    /// `timestamp` is when that was found, `flow.end` the last packet, and `pcap_cnt` that packet's frame.
    #[derive(Default)]
    pub struct Flow {
        /// What it was recognised as: `dcerpc`; `smb` where RPC went through pipes, `http` where through a proxy.
        app_proto: &'static str => eve;
        /// Packets and times.
        traffic: Traffic => group;
        /// Flags and states; unset over UDP.
        tcp: Option<Tcp> => group;
        /// What the sensor saw on it.
        seen: SeenOnFlow => group;
    }
}

record! {
    /// Packets and times of a connection, counted from its first packet whenever it was recognised. Over UDP datagrams that are
    /// no RPC are not among them.
    #[derive(Default)]
    pub struct Traffic in "flow" {
        /// Packets that the client sent, each of them once where a mirror delivers it twice.
        packets_to_server: u64 => eve "pkts_toserver";
        /// Packets that the server sent.
        packets_to_client: u64 => eve "pkts_toclient";
        /// Bytes that were captured of the client's packets, with all headers: of what came in a tunnel, inside it.
        bytes_to_server: u64 => eve "bytes_toserver";
        /// The same of the server's packets.
        bytes_to_client: u64 => eve "bytes_toclient";
        /// Time of the first packet.
        start: Timestamp => eve;
        /// Time of the last packet.
        end: Timestamp => eve;
        /// From one to the other, as the clock shows whole seconds.
        age: i64 => eve;
        /// How far it came: `new`, `established` or `closed`.
        state: FlowState => eve;
        /// Why it is told: `timeout`, `forced`, `shutdown` or `tcp_reuse`.
        reason: EndReason => eve;
        /// Was an alert told of it by then?
        alerted: bool => eve;
    }
}

record! {
    /// Flags and state of a TCP connection.
    #[derive(Default)]
    pub struct Tcp in "tcp" {
        /// Every flag that any packet had: two hexadecimal digits, as in the header.
        flags: String => eve "tcp_flags";
        /// The same of the client's packets.
        flags_to_server: String => eve "tcp_flags_ts";
        /// The same of the server's packets.
        flags_to_client: String => eve "tcp_flags_tc";
        /// Was there a SYN? Unset is no, here and with the other flags.
        syn: Option<bool> => eve;
        /// Was there a FIN?
        fin: Option<bool> => eve;
        /// Was there a RST?
        rst: Option<bool> => eve;
        /// Was there a PSH?
        psh: Option<bool> => eve;
        /// Was there an ACK?
        ack: Option<bool> => eve;
        /// Was there an URG?
        urg: Option<bool> => eve;
        /// Was there an ECE?
        ecn: Option<bool> => eve;
        /// Was there a CWR?
        cwr: Option<bool> => eve;
        /// The server's state.
        state: TcpStateName => eve;
        /// Is something of what the client sent lost? Unset is no.
        gap_to_server: Option<bool> => eve "ts_gap";
        /// Is something of what the server sent lost? Unset is no.
        gap_to_client: Option<bool> => eve "tc_gap";
    }
}

record! {
    /// What the sensor saw on a connection. The counters are those of `stats` events, of this connection alone; those that
    /// are 0 are left out, but for PDUs and calls.
    #[derive(Default)]
    pub struct SeenOnFlow in "dcom" {
        /// What it ran on: `ncacn_ip_tcp`, `ncacn_np`, `ncacn_http` or `ncadg_ip_udp`.
        protocol_sequence: &'static str => eve;
        /// Was the beginning of the connection seen? If not, packets before the first one are not counted. Unset over UDP.
        syn_seen: Option<bool> => eve;
        /// RPC.
        rpc: RpcOnFlow => group;
        /// Activations asked for.
        activations: Option<u64> => eve;
        /// OXID resolutions.
        oxid_resolutions: Option<u64> => eve;
        /// Endpoint mappings.
        endpoint_mappings: Option<u64> => eve;
        /// Object calls recorded.
        calls: Option<u64> => eve;
        /// Alerts told of it by then.
        alerts: Option<u64> => eve;
        /// Holes in its streams.
        gaps: Option<u64> => eve;
        /// Bytes in them; over UDP, bytes that the snap length cut off, and as many for each fragment that was not seen as the longest of its message has.
        bytes_missing: Option<u64> => eve;
    }
}

record! {
    /// What RPC was seen on a connection. Over HTTP each of the two channels tells what its own bytes brought: answers, the one;
    /// activations and alerts stand with the other, as in their own events.
    #[derive(Default)]
    pub struct RpcOnFlow in "dcom.rpc" {
        /// PDUs read.
        pdus: u64 => eve;
        /// Calls, answered or not.
        calls: u64 => eve;
        /// Calls answered by a fault.
        faults: Option<u64> => eve;
        /// Calls without an answer.
        unanswered: Option<u64> => eve;
        /// PDUs whose stub is sealed.
        sealed: Option<u64> => eve;
    }
}

impl From<Reason> for EndReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Timeout => Self::Timeout,
            Reason::Forced => Self::Forced,
            Reason::Shutdown => Self::Shutdown,
            Reason::Reused => Self::Reused,
        }
    }
}

impl From<TcpState> for TcpStateName {
    fn from(state: TcpState) -> Self {
        match state {
            TcpState::Established => Self::Established,
            TcpState::FinWait1 => Self::FinWait1,
            TcpState::FinWait2 => Self::FinWait2,
            TcpState::Closing => Self::Closing,
            TcpState::TimeWait => Self::TimeWait,
            TcpState::CloseWait => Self::CloseWait,
            TcpState::LastAck => Self::LastAck,
            TcpState::Closed => Self::Closed,
        }
    }
}

impl FlowState {
    /// As Suricata sees it: over TCP by the state there, else by who spoke.
    pub(crate) fn of(state: Option<TcpState>, packets: &Sides<Packets>) -> Self {
        match state {
            Some(TcpState::LastAck | TcpState::TimeWait | TcpState::Closed) => Self::Closed,
            None if packets.client.count == 0 || packets.server.count == 0 => Self::New,
            _ => Self::Established,
        }
    }
}

impl Tcp {
    /// RFC 9293 3.1 Header Format, and RFC 3168 6.1: what the bits stand for.
    pub(crate) fn of(state: TcpState, packets: &Sides<Packets>, gaps: &Sides<u64>) -> Self {
        let flags = packets.client.flags | packets.server.flags;
        let text = |flags: u8| format!("{flags:02x}");
        let is = |bit: u8| (flags & bit != 0).then_some(true);
        let lost = |gaps: u64| (gaps > 0).then_some(true);
        Self {
            flags: text(flags),
            flags_to_server: text(packets.client.flags),
            flags_to_client: text(packets.server.flags),
            fin: is(0x01),
            syn: is(0x02),
            rst: is(0x04),
            psh: is(0x08),
            ack: is(0x10),
            urg: is(0x20),
            ecn: is(0x40),
            cwr: is(0x80),
            state: state.into(),
            gap_to_server: lost(gaps.client),
            gap_to_client: lost(gaps.server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(client: u8, server: u8) -> Sides<Packets> {
        let of = |flags| Packets {
            count: u64::from(flags != 0),
            bytes: 60,
            flags,
        };
        Sides {
            client: of(client),
            server: of(server),
        }
    }

    #[test]
    fn flags_are_told_in_hexadecimal_and_by_name() {
        let tcp = Tcp::of(TcpState::Closed, &sides(0x1e, 0x5a), &Sides { client: 0, server: 2 });
        assert_eq!(
            (
                tcp.flags.as_str(),
                tcp.flags_to_server.as_str(),
                tcp.flags_to_client.as_str()
            ),
            ("5e", "1e", "5a")
        );
        let named = [tcp.syn, tcp.rst, tcp.psh, tcp.ack, tcp.ecn];
        assert_eq!(named, [Some(true); 5]);
        assert_eq!([tcp.fin, tcp.urg, tcp.cwr, tcp.gap_to_server], [None; 4]);
        assert_eq!((tcp.gap_to_client, tcp.state.name()), (Some(true), "closed"));
        assert_eq!(
            Tcp::of(TcpState::Closed, &sides(2, 0), &Sides::default()).flags_to_client,
            "00"
        );
    }

    #[test]
    fn a_flow_is_closed_once_both_ends_have_closed() {
        let of = |state| FlowState::of(state, &sides(0x12, 0)).name();
        assert_eq!(of(Some(TcpState::LastAck)), "closed");
        assert_eq!(of(Some(TcpState::CloseWait)), "established");
        assert_eq!(
            (of(None), FlowState::of(None, &sides(1, 1)).name()),
            ("new", "established")
        );
    }
}
