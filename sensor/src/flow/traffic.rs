//! What went by on a connection: packets, bytes and flags of each side, and how it ended.

use super::table::End;
use super::{Side, Sides};
use crate::capture::At;
use crate::decode::Segment;

/// What is counted while nobody follows the connection: as much as its entry has room for. Of what carries no RPC more than
/// 2^32 packets or 2^40 bytes of one end are not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    packets: [u32; 2],
    bytes: [u32; 2],
    /// How often `bytes` began anew.
    wraps: [u8; 2],
    flags: [u8; 2],
}

impl Seen {
    #[inline]
    pub(super) fn count(&mut self, segment: &Segment<'_>, end: End) {
        self.packets[end] = self.packets[end].saturating_add(1);
        let (bytes, wrapped) = self.bytes[end].overflowing_add(segment.length);
        self.bytes[end] = bytes;
        self.wraps[end] = self.wraps[end].saturating_add(u8::from(wrapped));
        self.flags[end] |= segment.flags;
    }

    /// One end's packets, of a connection of which nothing else was seen.
    pub(super) fn of(end: End, packets: Packets) -> Self {
        let mut seen = Self::default();
        seen.packets[end] = u32::try_from(packets.count).unwrap_or(u32::MAX);
        seen.bytes[end] = u32::try_from(packets.bytes).unwrap_or(u32::MAX);
        seen.flags[end] = packets.flags;
        seen
    }

    /// The same by sides, now that it is known who the client is.
    pub(super) fn by_sides(&self, client: End) -> Sides<Packets> {
        let of = |end: End| Packets {
            count: self.packets[end].into(),
            bytes: u64::from(self.wraps[end]) << 32 | u64::from(self.bytes[end]),
            flags: self.flags[end],
        };
        Sides {
            client: of(client),
            server: of(1 - client),
        }
    }
}

/// The packets of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// How many.
    pub count: u64,
    /// Captured bytes in them, with all headers.
    pub bytes: u64,
    /// Every flag that one of them had, as in RFC 9293 3.1 Header Format; none over UDP.
    pub flags: u8,
}

impl Packets {
    /// One more.
    pub(crate) fn count(&mut self, length: u32, flags: u8) {
        self.count += 1;
        self.bytes += u64::from(length);
        self.flags |= flags;
    }

    /// Those of another, which belong to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.flags |= other.flags;
    }
}

/// How far a connection is that is open or was: RFC 9293 3.3.2 State Machine Overview, of the server's end as Suricata tells
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpState {
    /// Both may send.
    #[default]
    Established,
    /// The server has closed.
    FinWait1,
    /// The server has closed, and the client knows.
    FinWait2,
    /// The server has closed, and the client before it knew.
    Closing,
    /// The server has closed, then the client.
    TimeWait,
    /// The client has closed.
    CloseWait,
    /// The client has closed, then the server.
    LastAck,
    /// Both have closed and know it, or one broke it off.
    Closed,
}

impl TcpState {
    /// A side has sent its FIN.
    pub(super) fn fin(self, by: Side) -> Self {
        match (self, by) {
            (Self::Established, Side::Client) => Self::CloseWait,
            (Self::Established, Side::Server) => Self::FinWait1,
            (Self::FinWait1, Side::Client) => Self::Closing,
            (Self::FinWait2, Side::Client) => Self::TimeWait,
            (Self::CloseWait, Side::Server) => Self::LastAck,
            _ => self,
        }
    }

    /// A side's FIN was acknowledged.
    pub(super) fn acknowledged(self, of: Side) -> Self {
        match (self, of) {
            (Self::FinWait1, Side::Server) => Self::FinWait2,
            (Self::Closing, Side::Server) => Self::TimeWait,
            (Self::LastAck, Side::Server) | (Self::TimeWait, Side::Client) => Self::Closed,
            _ => self,
        }
    }
}

/// Why a connection is over for the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was closed a while ago, or silent for long.
    Timeout,
    /// There were too many, or the sensor gave it up.
    Forced,
    /// The capture is over.
    Shutdown,
    /// Its ends opened another.
    Reused,
}

/// A connection at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What each side sent.
    pub packets: Sides<Packets>,
    /// The last packet.
    pub last: At,
    /// How far it came; None over UDP, which has no states.
    pub state: Option<TcpState>,
    /// Why it is over.
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_of_closing_has_its_states() {
        use Side::{Client, Server};
        let open = TcpState::default();
        let by_client = open.fin(Client);
        assert_eq!(
            (by_client, by_client.acknowledged(Client)),
            (TcpState::CloseWait, TcpState::CloseWait)
        );
        assert_eq!(by_client.fin(Server), TcpState::LastAck);
        assert_eq!(by_client.fin(Server).acknowledged(Server), TcpState::Closed);
        let by_server = open.fin(Server);
        assert_eq!(
            (by_server, by_server.acknowledged(Server)),
            (TcpState::FinWait1, TcpState::FinWait2)
        );
        assert_eq!(by_server.acknowledged(Server).fin(Client), TcpState::TimeWait);
        assert_eq!(by_server.fin(Client), TcpState::Closing);
        let both = by_server.fin(Client).acknowledged(Server);
        assert_eq!(
            (both, both.acknowledged(Client)),
            (TcpState::TimeWait, TcpState::Closed)
        );
        assert_eq!(TcpState::Closed.fin(Client).acknowledged(Server), TcpState::Closed);
    }
}
