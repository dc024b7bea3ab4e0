//! `IObjectExporter`: pings, by which a client keeps its objects alive, and `ServerAlive`.

use std::fmt;

use super::properties::MAX_INTERFACES;
use crate::error::Result;
use crate::guid::Oid;
use crate::ndr::Reader;

/// [MS-DCOM] 2.2.2 SETID: names a set of objects that one client pings together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(pub u64);

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", self.0)
    }
}

/// The request of [MS-DCOM] 3.1.2.5.1.2 `IObjectExporter::SimplePing` (Opnum 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimplePingRequest {
    /// The set to keep alive.
    pub set_id: SetId,
}

impl SimplePingRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("SimplePing request");
        Ok(Self {
            set_id: SetId(reader.u64()?),
        })
    }
}

/// The reply of [MS-DCOM] 3.1.2.5.1.2 `IObjectExporter::SimplePing` (Opnum 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimplePingReply {
    /// 0, or why not.
    pub status: u32,
}

impl SimplePingReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("SimplePing reply");
        Ok(Self { status: reader.u32()? })
    }
}

/// The request of [MS-DCOM] 3.1.2.5.1.3 `IObjectExporter::ComplexPing` (Opnum 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComplexPingRequest {
    /// The set to change; 0 asks for a new one.
    pub set_id: SetId,
    /// `SequenceNum`: puts the changes of a set in order.
    pub sequence: u16,
    /// `AddToSet`: objects to keep alive from now on.
    pub added: Vec<Oid>,
    /// `DelFromSet`: objects no longer needed.
    pub deleted: Vec<Oid>,
}

impl ComplexPingRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ComplexPing request");
        let set_id = SetId(reader.u64()?);
        let sequence = reader.u16()?;
        reader.u16()?; // cAddToSet
        reader.u16()?; // cDelFromSet
        Ok(Self {
            set_id,
            sequence,
            added: oids(reader)?,
            deleted: oids(reader)?,
        })
    }
}

fn oids(reader: &mut Reader<'_>) -> Result<Vec<Oid>> {
    if !reader.pointer()? {
        return Ok(Vec::new());
    }
    reader.array("OIDs", 8, MAX_INTERFACES, |reader| reader.u64().map(Oid))
}

/// The reply of [MS-DCOM] 3.1.2.5.1.3 `IObjectExporter::ComplexPing` (Opnum 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComplexPingReply {
    /// The set, with the name it has now.
    pub set_id: SetId,
    /// `pPingBackoffFactor`: how many ping periods may be left out, as a power of two.
    pub backoff_factor: u16,
    /// 0, or why not.
    pub status: u32,
}

impl ComplexPingReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ComplexPing reply");
        Ok(Self {
            set_id: SetId(reader.u64()?),
            backoff_factor: reader.u16()?,
            status: reader.u32()?,
        })
    }
}

/// The reply of [MS-DCOM] 3.1.2.5.1.4 `IObjectExporter::ServerAlive` (Opnum 3); the request is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerAliveReply {
    /// 0, or why not.
    pub status: u32,
}

impl ServerAliveReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ServerAlive reply");
        Ok(Self { status: reader.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::whole;

    #[test]
    fn a_real_client_founds_a_ping_set_and_pings_it() {
        let request = whole(
            include_bytes!("../../corpus/oxid_resolver/complex-ping-request.bin"),
            ComplexPingRequest::parse,
        );
        assert_eq!((request.set_id, request.sequence), (SetId(0), 0));
        assert_eq!(request.added, [Oid(0x486b_4c76_e7e1_bb40)]);
        assert!(request.deleted.is_empty());
        let reply = whole(
            include_bytes!("../../corpus/oxid_resolver/complex-ping-reply.bin"),
            ComplexPingReply::parse,
        );
        assert_eq!(
            (reply.set_id, reply.backoff_factor, reply.status),
            (SetId(0x5_e71d_0001), 0, 0)
        );
        let ping = whole(
            include_bytes!("../../corpus/oxid_resolver/simple-ping-request.bin"),
            SimplePingRequest::parse,
        );
        assert_eq!(ping.set_id, reply.set_id);
        assert_eq!(ping.set_id.to_string(), "0x00000005e71d0001");
        let reply = include_bytes!("../../corpus/oxid_resolver/simple-ping-reply.bin");
        assert_eq!(whole(reply, SimplePingReply::parse).status, 0);
        let reply = include_bytes!("../../corpus/oxid_resolver/server-alive-reply.bin");
        assert_eq!(whole(reply, ServerAliveReply::parse).status, 0);
    }
}
