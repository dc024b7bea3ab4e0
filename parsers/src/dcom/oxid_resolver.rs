//! `IObjectExporter`: where an exporter listens.

use super::dual_string::DualStringArray;
use super::orpc::ComVersion;
use crate::error::Result;
use crate::guid::{Ipid, Oxid};
use crate::ndr::Reader;

/// The request of [MS-DCOM] 3.1.2.5.1.1 `IObjectExporter::ResolveOxid` (Opnum 0) and of 3.1.2.5.1.5
/// `IObjectExporter::ResolveOxid2` (Opnum 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolveOxidRequest {
    /// The exporter to find.
    pub oxid: Oxid,
    /// The protocol sequences the client speaks, as tower ids.
    pub requested_protseqs: Vec<u16>,
}

impl ResolveOxidRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ResolveOxid request");
        let oxid = Oxid(reader.u64()?);
        reader.u16()?; // cRequestedProtseqs
        let count = reader.count("arRequestedProtseqs", 2, 0x8000)?;
        let requested_protseqs = (0..count).map(|_| reader.u16()).collect::<Result<_>>()?;
        Ok(Self {
            oxid,
            requested_protseqs,
        })
    }
}

/// The reply of [MS-DCOM] 3.1.2.5.1.1 `IObjectExporter::ResolveOxid` and of 3.1.2.5.1.5
/// `IObjectExporter::ResolveOxid2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolveOxidReply {
    /// Where the exporter listens; None when it is not known.
    pub bindings: Option<DualStringArray>,
    /// The exporter's `IRemUnknown`.
    pub ipid_rem_unknown: Ipid,
    /// The authentication level it wants.
    pub authn_hint: u32,
    /// Its version, which only `ResolveOxid2` tells.
    pub server_version: Option<ComVersion>,
    /// 0, or why not.
    pub status: u32,
}

impl ResolveOxidReply {
    /// Reads the reply stub of `ResolveOxid`.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let reply = Self::parse_common(reader)?;
        Ok(Self {
            status: reader.u32()?,
            ..reply
        })
    }

    /// Reads the reply stub of `ResolveOxid2`.
    pub fn parse_2(reader: &mut Reader<'_>) -> Result<Self> {
        let reply = Self::parse_common(reader)?;
        let server_version = Some(ComVersion::parse(reader)?);
        Ok(Self {
            server_version,
            status: reader.u32()?,
            ..reply
        })
    }

    fn parse_common(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ResolveOxid reply");
        let bindings = if reader.pointer()? {
            Some(DualStringArray::parse_ndr(reader)?)
        } else {
            None
        };
        reader.enter("ResolveOxid reply");
        let ipid_rem_unknown = Ipid(reader.guid()?);
        let authn_hint = reader.u32()?;
        Ok(Self {
            bindings,
            ipid_rem_unknown,
            authn_hint,
            ..Self::default()
        })
    }
}

/// The reply of [MS-DCOM] 3.1.2.5.1.6 `IObjectExporter::ServerAlive2` (Opnum 5): the server's own names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerAlive2Reply {
    /// The server's version.
    pub version: ComVersion,
    /// Where its resolver listens.
    pub bindings: Option<DualStringArray>,
    /// 0, or why not.
    pub status: u32,
}

impl ServerAlive2Reply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ServerAlive2 reply");
        let version = ComVersion::parse(reader)?;
        let bindings = if reader.pointer()? {
            Some(DualStringArray::parse_ndr(reader)?)
        } else {
            None
        };
        reader.enter("ServerAlive2 reply");
        reader.u32()?; // pReserved
        Ok(Self {
            version,
            bindings,
            status: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    fn bindings_units() -> Vec<u8> {
        let units: Vec<u16> = [7]
            .into_iter()
            .chain("a[135]".encode_utf16())
            .chain([0, 0, 10, 0xffff, 0, 0])
            .collect();
        let mut bytes = u16::try_from(units.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(9_u16.to_le_bytes());
        bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
        bytes
    }

    fn check(encoding: Encoding, bytes: &[u8]) {
        let mut reader = Reader::new(bytes, ByteOrder::Little, encoding, "test");
        let reply = ResolveOxidReply::parse_2(&mut reader).unwrap();
        assert_eq!(reply.bindings.unwrap().string_bindings[0].tcp(), Some(("a", 135)));
        assert_eq!(
            (reply.ipid_rem_unknown.0.data1, reply.authn_hint, reply.status),
            (0x0102_0304, 5, 0)
        );
        assert_eq!(reply.server_version.unwrap().to_string(), "5.7");
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn resolve_oxid_2_reads_the_same_in_both_encodings() {
        let tail = |bytes: &mut Vec<u8>| {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend([4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend([5, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0]);
        };
        let mut ndr20 = vec![1, 0, 0, 0, 13, 0, 0, 0];
        ndr20.extend(bindings_units());
        tail(&mut ndr20);
        check(Encoding::Ndr20, &ndr20);
        let mut ndr64 = vec![1, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0];
        ndr64.extend(bindings_units());
        tail(&mut ndr64);
        check(Encoding::Ndr64, &ndr64);
    }

    #[test]
    fn a_real_resolution_gives_the_exporter_asked_for_and_where_it_listens() {
        let bytes = include_bytes!("../../corpus/oxid_resolver/resolve-oxid-2-request.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = ResolveOxidRequest::parse(&mut reader).unwrap();
        assert_eq!(
            (request.oxid.to_string().as_str(), request.requested_protseqs),
            ("0xe6615a3ad866c1b9", vec![7])
        );
        let bytes = include_bytes!("../../corpus/oxid_resolver/resolve-oxid-2-reply.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let reply = ResolveOxidReply::parse_2(&mut reader).unwrap();
        assert_eq!(
            reply.bindings.unwrap().string_bindings[1].tcp(),
            Some(("127.0.0.10", 49670))
        );
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn server_alive_2_names_the_server_in_ndr64() {
        let bytes = include_bytes!("../../corpus/oxid_resolver/server-alive-2-ndr64-reply.bin");
        let mut reader = Reader::new(bytes, ByteOrder::Little, Encoding::Ndr64, "test");
        let reply = ServerAlive2Reply::parse(&mut reader).unwrap();
        assert_eq!(reply.bindings.as_ref().unwrap().string_bindings[0].host(), "DCOMSRV01");
        assert_eq!((reply.version.to_string().as_str(), reply.status), ("5.7", 0));
    }
}
