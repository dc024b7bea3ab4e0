//! Every cap, once. Nothing that traffic can grow is without one, and each has a counter that says when it bit.
//! Those on connections and bytes of all together are dealt out among pairs of hosts: see `worker.rs`.

use crate::time::SECOND;

/// How much the sensor is willing to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tunnels, label stacks and the like around one packet: what is wrapped more often is not read.
    pub encapsulations: usize,
    /// Bytes of IP fragments, with what keeping them takes, whose packets are not whole. Beyond it the oldest packet is let go.
    pub fragments_total: usize,
    /// Packets of which fragments are held. Beyond it, too, the oldest is let go.
    pub fragmented_packets: usize,
    /// Nanoseconds that a packet may take to become whole.
    pub fragment_wait: i64,
    /// TCP connections known at a time, of whatever protocol. Beyond it the least worth of a few is forgotten: half-open
    /// before foreign before just opened ones, the longest idle first; one that is followed only if there is nothing else.
    pub flows: usize,
    /// Room for bytes that are held back on one side of a connection because earlier ones are missing. Each segment takes
    /// more than its bytes.
    pub reassembly_per_side: usize,
    /// The same on all connections together.
    pub reassembly_total: usize,
    /// Bytes already read that are remembered on one side of a connection, to be compared with what is sent again.
    pub remembered_per_side: usize,
    /// Room for it on all connections together. Beyond it less is remembered, and what is sent again counts as unchecked.
    pub remembered_total: usize,
    /// Nanoseconds within which a packet that comes again unchanged is a copy that the mirror made.
    pub copy: i64,
    /// Segments that no host takes and that are put aside, on one side of a connection. Beyond it the furthest ahead is let go.
    pub suspects: usize,
    /// How far ahead of what is expected a segment may lie, in bytes, to belong to the same stream.
    pub window: u32,
    /// Nanoseconds that an acknowledgement of bytes never seen is doubted: mirror ports swap packets of the two directions.
    pub doubt: i64,
    /// Room for what the acknowledging side sends, which is held back meanwhile.
    pub doubted: usize,
    /// Nanoseconds from a SYN to its next repetition, from which on the connection counts as unanswered.
    pub connect: i64,
    /// Nanoseconds of silence after which a closed connection is let go: until then late and reordered segments belong to it.
    pub linger: i64,
    /// Nanoseconds of silence after which a connection is over of which no more than a handshake was seen.
    pub idle_unanswered: i64,
    /// The same for one that carries something else than DCE/RPC, or has not said yet what; not less.
    pub idle_foreign: i64,
    /// The same for one that is followed.
    pub idle_followed: i64,
    /// Connections followed at a time because they carry DCE/RPC, or SMB or HTTP in which it may be. Beyond it one that is long idle is
    /// let go.
    pub rpc_connections: usize,
    /// Pairs of UDP ends followed that exchange DCE/RPC. Beyond it the longest idle is let go.
    pub conversations: usize,
    /// Calls on all of these that wait for their answer. Beyond it, too, the longest idle pair is let go.
    pub conversation_calls: usize,
    /// Fragments of one message that are held because earlier ones are missing, over UDP.
    pub fragments: usize,
    /// Bytes of unfinished PDUs and of stubs waiting for their answer, on all connections together.
    pub rpc_total: usize,
    /// Bytes of one SMB message that is about a pipe.
    pub smb_message: usize,
    /// Pipes open on one SMB connection. Beyond it the longest idle is taken for closed.
    pub pipes: usize,
    /// Requests about pipes without a response on one SMB connection.
    pub smb_requests: usize,
    /// Shares known on one SMB connection.
    pub shares: usize,
    /// Virtual connections of RPC over HTTP whose channels are joined. Beyond it the longest idle is taken for closed.
    pub virtual_connections: usize,
    /// Calls without an answer on one connection.
    pub calls: usize,
    /// Kerberos tickets remembered since they were issued. Beyond it the oldest is forgotten.
    pub tickets: usize,
    /// Directions of TCP connections to key distribution centres that are read at a time, and requests that wait for
    /// their answer. Beyond it the oldest is let go.
    pub kdc_streams: usize,
    /// Bytes of one message to or from a key distribution centre.
    pub kdc_message: usize,
    /// Bytes of all of them that are not whole. Beyond it, too, the oldest is let go.
    pub kdc_total: usize,
    /// Presentation contexts on one connection.
    pub contexts: usize,
    /// Bytes of one stub, all fragments together, that are kept for reading.
    pub stub: usize,
    /// Bytes of stubs on one connection that are kept for reading.
    pub stubs_per_connection: usize,
    /// Nanoseconds after which a call without an answer is given up, and a pair of UDP ends that is silent.
    pub answer: i64,
    /// Records that wait for a connection to the port they name.
    pub pending: usize,
    /// Nanoseconds that they wait.
    pub follow: i64,
    /// Nanoseconds after which they are told all the same; that a connection came is then told later.
    pub told_within: i64,
    /// RPC connections remembered, so that one older than the activation is recognised.
    pub connections: usize,
    /// Interfaces of objects remembered by IPID, and names of their members.
    pub interfaces: usize,
    /// Nanoseconds after which an object that nobody calls is forgotten, where no pings of it are seen.
    pub object_idle: i64,
    /// The same, where pings of it were seen and ended ([MS-DCOM] 3.1.1.3: three periods of two minutes).
    pub object_unpinged: i64,
    /// Nanoseconds after which an object is forgotten whose last reference was released: calls may still be on their way.
    pub object_released: i64,
    /// RPC connections whose manner of writing is remembered, to tell the client's tool.
    pub tool_connections: usize,
    /// Nanoseconds without a call after which that may be forgotten.
    pub tool_memory: i64,
    /// Bytes of what tells alerts apart that were raised last, so that none is told twice.
    pub alerts: usize,
    /// Counts that thresholds of alerts keep at a time. Beyond it the oldest is forgotten.
    pub thresholds: usize,
    /// Sources, targets or pairs of them that each detection remembers. Beyond it the oldest is forgotten.
    pub remembered: usize,
    /// Activations that a baseline holds. Beyond it the longest unseen is forgotten.
    pub baseline: usize,
    /// Bytes of host events that are kept to be joined with traffic. Beyond it the first to come is forgotten.
    pub host_events: usize,
    /// Connections of the wire remembered, to be found again in host logs. Beyond it the oldest is forgotten.
    pub host_connections: usize,
    /// Alerts that wait for what host logs say of them. Beyond it the oldest is let go without that.
    pub host_pending: usize,
    /// Nanoseconds between the last frame of one input and the first of the next, up to which the second goes on where
    /// the first ended (captures written in turn).
    pub continuation: i64,
    /// No cap, but told to the same stages: what Community ID hashes before the ends of a connection.
    pub community_id_seed: u16,
}

impl Limits {
    /// For frames as they come: what has to be told is told soon, and nothing is of another time.
    pub(crate) fn live() -> Self {
        Self {
            told_within: SECOND / 40,
            continuation: i64::MAX,
            ..Self::default()
        }
    }
}

impl Limits {
    /// What each of so many that share them may hold.
    #[must_use]
    pub(crate) fn shared(self, by: usize) -> Self {
        let share = |limit: usize| (limit / by).max(1);
        Self {
            flows: share(self.flows),
            reassembly_total: share(self.reassembly_total),
            rpc_connections: share(self.rpc_connections),
            conversations: share(self.conversations),
            conversation_calls: share(self.conversation_calls),
            rpc_total: share(self.rpc_total),
            remembered_total: share(self.remembered_total),
            virtual_connections: share(self.virtual_connections),
            ..self
        }
    }
}

const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            encapsulations: 16,
            fragments_total: 16 * MIB,
            fragmented_packets: 65_536,
            // RFC 8200 4.5 Fragment Header, RFC 1122 3.3.2 Reassembly: hosts wait as long.
            fragment_wait: 60 * SECOND,
            flows: 1 << 20,
            reassembly_per_side: MIB,
            reassembly_total: 64 * MIB,
            remembered_per_side: 16 << 10,
            remembered_total: 32 * MIB,
            copy: SECOND / 10,
            suspects: 64,
            window: 16 << 20,
            doubt: SECOND / 20,
            doubted: 64 << 10,
            connect: 2 * SECOND,
            linger: 5 * SECOND,
            idle_unanswered: 60 * SECOND,
            idle_foreign: 600 * SECOND,
            idle_followed: 3 * 3600 * SECOND,
            rpc_connections: 131_072,
            conversations: 16_384,
            conversation_calls: 65_536,
            fragments: 256,
            rpc_total: 256 * MIB,
            smb_message: MIB,
            pipes: 64,
            smb_requests: 256,
            shares: 64,
            virtual_connections: 4096,
            calls: 4096,
            contexts: 1024,
            tickets: 16_384,
            kdc_streams: 1024,
            kdc_message: 128 << 10,
            kdc_total: 4 * MIB,
            stub: MIB,
            stubs_per_connection: 4 * MIB,
            answer: 120 * SECOND,
            pending: 4096,
            follow: 30 * SECOND,
            told_within: 30 * SECOND,
            connections: 65_536,
            interfaces: 262_144,
            object_idle: 3600 * SECOND,
            object_unpinged: 360 * SECOND,
            object_released: 60 * SECOND,
            tool_connections: 16_384,
            tool_memory: 3600 * SECOND,
            alerts: 4 * MIB,
            thresholds: 16_384,
            remembered: 16_384,
            baseline: 262_144,
            host_events: 256 * MIB,
            host_connections: 262_144,
            host_pending: 4096,
            continuation: 5 * SECOND,
            community_id_seed: 0,
        }
    }
}

/// Caps of reading host logs.
pub(crate) mod host_log {
    /// Bytes of one record as text. A longer one is passed over to its end.
    pub(crate) const RECORD: usize = 16 << 20;
    /// Bytes of a text that is kept: Windows' own limit of a command line, in the longest UTF-8.
    pub(crate) const TEXT: usize = 96 << 10;
    /// Bytes of a computer's name, as in DNS (RFC 1035 2.3.4). A longer one is cut.
    pub(crate) const HOST: usize = 255;
    /// Computers listed in a report, and whose zone is known.
    pub(crate) const HOSTS: usize = 4096;
    /// Names kept once for many events. Beyond it they are forgotten and kept anew.
    pub(crate) const NAMES: usize = 16_384;
    /// Bytes of a name to be kept so.
    pub(crate) const NAME: usize = 512;
    /// Processes of a log remembered for what later records do not say. Beyond it the oldest is forgotten.
    pub(crate) const PROCESSES: usize = 65_536;
    /// Events held back until what they lack is known.
    pub(crate) const HELD: usize = 4096;
    /// Bytes that these take.
    pub(crate) const HELD_BYTES: usize = 32 << 20;
}
