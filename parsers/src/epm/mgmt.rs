//! Remote management, which every RPC server offers: what is here, and who are you?

use super::rare::interface_id;
use crate::error::Result;
use crate::ndr::Reader;
use crate::rpce::SyntaxId;

/// More interfaces than any server has.
const MAX_INTERFACES: usize = 4096;
/// [MS-RPCE] 2.2.1.3.2 `StatisticsCount` Type.
const MAX_STATISTICS: usize = 50;

/// C706 appendix Q, `rpc__mgmt_inq_if_ids` (Opnum 0): the reply; the request is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InqIfIdsReply {
    /// The interfaces of the server.
    pub interfaces: Vec<SyntaxId>,
    /// 0, or why not.
    pub status: u32,
}

impl InqIfIdsReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_inq_if_ids reply");
        let mut interfaces = Vec::new();
        if reader.pointer()? {
            // rpc_if_id_vector_t is a conformant structure: the conformance stands before its count.
            let conformance = reader.count("if_id", 4, MAX_INTERFACES)?;
            reader.align_pointer()?;
            reader.u32()?; // count
            let present = (0..conformance).map(|_| reader.pointer()).collect::<Result<Vec<_>>>()?;
            interfaces = present
                .into_iter()
                .filter(|&there| there)
                .map(|_| interface_id(reader))
                .collect::<Result<_>>()?;
        }
        Ok(Self {
            interfaces,
            status: reader.u32()?,
        })
    }
}

/// C706 appendix Q, [MS-RPCE] 2.2.1.3.3 `rpc_mgmt_inq_stats` Method (Opnum 1): the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InqStatsRequest {
    /// How many statistics the client takes.
    pub count: u32,
}

impl InqStatsRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_inq_stats request");
        Ok(Self { count: reader.u32()? })
    }
}

/// C706 appendix Q, [MS-RPCE] 2.2.1.3.3 `rpc_mgmt_inq_stats` Method (Opnum 1): the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InqStatsReply {
    /// Calls received, calls sent, packets received, packets sent; more when the server has more.
    pub statistics: Vec<u32>,
    /// 0, or why not.
    pub status: u32,
}

impl InqStatsReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_inq_stats reply");
        reader.u32()?; // count
        Ok(Self {
            statistics: reader.array("statistics", 4, MAX_STATISTICS, Reader::u32)?,
            status: reader.u32()?,
        })
    }
}

/// C706 appendix Q, `rpc__mgmt_is_server_listening` (Opnum 2): the reply; the request is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IsServerListeningReply {
    /// 0, or why not.
    pub status: u32,
    /// The return value: 0 when it is not.
    pub listening: u32,
}

impl IsServerListeningReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_is_server_listening reply");
        Ok(Self {
            status: reader.u32()?,
            listening: reader.u32()?,
        })
    }
}

/// C706 appendix Q, `rpc__mgmt_stop_server_listening` (Opnum 3): the reply; the request is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopServerListeningReply {
    /// 0, or why not: 5 is what a sane server says.
    pub status: u32,
}

impl StopServerListeningReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_stop_server_listening reply");
        Ok(Self { status: reader.u32()? })
    }
}

/// C706 appendix Q, [MS-RPCE] 2.2.1.3.4 `rpc_mgmt_inq_princ_name` Method (Opnum 4): the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InqPrincNameRequest {
    /// `authn_proto`: the security provider asked about.
    pub authn_service: u32,
    /// How long a name the client takes.
    pub name_size: u32,
}

impl InqPrincNameRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_inq_princ_name request");
        Ok(Self {
            authn_service: reader.u32()?,
            name_size: reader.u32()?,
        })
    }
}

/// C706 appendix Q, [MS-RPCE] 2.2.1.3.4 `rpc_mgmt_inq_princ_name` Method (Opnum 4): the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InqPrincNameReply {
    /// The account or service principal that the server runs as.
    pub name: String,
    /// 0, or why not.
    pub status: u32,
}

impl InqPrincNameReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("mgmt_inq_princ_name reply");
        Ok(Self {
            name: reader.string()?,
            status: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn a_real_server_lists_its_interfaces() {
        let bytes = include_bytes!("../../corpus/epm/mgmt-inq-if-ids-reply.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let reply = InqIfIdsReply::parse(&mut reader).unwrap();
        assert!(!reply.interfaces.is_empty() && reply.status == 0);
        assert!(reader.rest().is_empty());
        for length in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..length], ByteOrder::Little, Encoding::Ndr20, "test");
            assert!(InqIfIdsReply::parse(&mut reader).is_err(), "{length} bytes");
        }
    }
}
