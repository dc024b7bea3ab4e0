//! Every cap, once. Nothing that traffic can grow is without one, and each has a counter that says when it bit.

/// How much the sensor is willing to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections known at a time, of whatever protocol. Beyond it the longest idle of a few is forgotten.
    pub flows: usize,
    /// Bytes held back on one side of a connection because earlier ones are missing.
    pub reassembly_per_side: usize,
    /// Bytes held back on all connections together.
    pub reassembly_total: usize,
    /// How far ahead of what is expected a segment may lie, in bytes, to belong to the same stream.
    pub window: u32,
    /// Nanoseconds that an acknowledgement of bytes never seen is doubted: mirror ports swap packets of the two directions.
    pub doubt: i64,
    /// Bytes of the acknowledging side that are held back meanwhile.
    pub doubted: usize,
    /// Nanoseconds from a SYN to its next repetition, from which on the connection counts as unanswered.
    pub connect: i64,
    /// Nanoseconds that a closed connection is still listened to: late and reordered segments.
    pub linger: i64,
    /// Connections followed at a time because they carry DCE/RPC, or SMB or HTTP in which it may be. Beyond it a new one is taken for a foreign one.
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
    /// Calls without an answer on one connection.
    pub calls: usize,
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
    /// Nanoseconds between the last frame of one input and the first of the next, up to which the second goes on where
    /// the first ended (captures written in turn).
    pub continuation: i64,
}

const MIB: usize = 1 << 20;
const SECOND: i64 = 1_000_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 20,
            reassembly_per_side: MIB,
            reassembly_total: 64 * MIB,
            window: 16 << 20,
            doubt: SECOND / 20,
            doubted: 64 << 10,
            connect: 2 * SECOND,
            linger: 5 * SECOND,
            rpc_connections: 131_072,
            conversations: 16_384,
            conversation_calls: 65_536,
            fragments: 256,
            rpc_total: 256 * MIB,
            smb_message: MIB,
            pipes: 64,
            smb_requests: 256,
            shares: 64,
            calls: 256,
            contexts: 1024,
            stub: MIB,
            stubs_per_connection: 4 * MIB,
            answer: 120 * SECOND,
            pending: 4096,
            follow: 30 * SECOND,
            connections: 65_536,
            interfaces: 262_144,
            object_idle: 3600 * SECOND,
            object_unpinged: 360 * SECOND,
            object_released: 60 * SECOND,
            continuation: 5 * SECOND,
        }
    }
}
