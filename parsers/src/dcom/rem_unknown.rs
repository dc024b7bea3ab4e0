//! `IRemUnknown` and `IRemUnknown2`: further interfaces of an object, and how long it is needed.

use super::objref::{ObjrefOutline, StdObjref};
use super::orpc::{OrpcThat, OrpcThis};
use super::properties::MAX_INTERFACES;
use super::reply_properties::interface_pointers;
use crate::error::Result;
use crate::guid::{Iid, Ipid};
use crate::ndr::Reader;

/// The request of [MS-DCOM] 3.1.1.5.6.1.1 `IRemUnknown::RemQueryInterface` (Opnum 3) and of 3.1.1.5.7.1.1
/// `IRemUnknown2::RemQueryInterface2` (Opnum 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemQueryInterfaceRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `ripid`: an interface of the object that is asked.
    pub ipid: Ipid,
    /// `cRefs`: references wanted on each interface; only `RemQueryInterface` says.
    pub references: Option<u32>,
    /// The interfaces wanted.
    pub iids: Vec<Iid>,
}

impl RemQueryInterfaceRequest {
    /// Reads the request stub of `RemQueryInterface`.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("RemQueryInterface request");
        let ipid = Ipid(reader.guid()?);
        let references = Some(reader.u32()?);
        Ok(Self {
            orpc_this,
            ipid,
            references,
            iids: iids(reader)?,
        })
    }

    /// Reads the request stub of `RemQueryInterface2`.
    pub fn parse_2(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("RemQueryInterface2 request");
        let ipid = Ipid(reader.guid()?);
        Ok(Self {
            orpc_this,
            ipid,
            references: None,
            iids: iids(reader)?,
        })
    }
}

fn iids(reader: &mut Reader<'_>) -> Result<Vec<Iid>> {
    reader.u16()?; // cIids
    reader.array("iids", 16, MAX_INTERFACES, |reader| reader.guid().map(Iid))
}

/// [MS-DCOM] 2.2.24 REMQIRESULT: what came of one interface asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemQiResult {
    /// Its HRESULT.
    pub hresult: u32,
    /// The reference; all zeroes when there is none.
    pub std: StdObjref,
}

/// The reply of [MS-DCOM] 3.1.1.5.6.1.1 `IRemUnknown::RemQueryInterface` (Opnum 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemQueryInterfaceReply {
    /// What the server sends along.
    pub orpc_that: OrpcThat,
    /// One entry for each interface asked for, in that order.
    pub results: Vec<RemQiResult>,
    /// The return value.
    pub hresult: u32,
}

impl RemQueryInterfaceReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_that = OrpcThat::parse(reader)?;
        reader.enter("RemQueryInterface reply");
        let mut results = Vec::new();
        if reader.pointer()? {
            results = reader.array("ppQIResults", StdObjref::LENGTH, MAX_INTERFACES, |reader| {
                reader.align(8)?;
                Ok(RemQiResult {
                    hresult: reader.u32()?,
                    std: StdObjref::parse_ndr(reader)?,
                })
            })?;
        }
        Ok(Self {
            orpc_that,
            results,
            hresult: reader.u32()?,
        })
    }
}

/// What came of one interface asked for through [MS-DCOM] 3.1.1.5.7.1.1 `IRemUnknown2::RemQueryInterface2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemQi2Result {
    /// Its HRESULT.
    pub hresult: u32,
    /// The reference, when there is one that can be read.
    pub objref: Option<ObjrefOutline>,
}

/// The reply of [MS-DCOM] 3.1.1.5.7.1.1 `IRemUnknown2::RemQueryInterface2` (Opnum 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemQueryInterface2Reply {
    /// What the server sends along.
    pub orpc_that: OrpcThat,
    /// One entry for each interface asked for, in that order.
    pub results: Vec<RemQi2Result>,
    /// The return value.
    pub hresult: u32,
}

impl RemQueryInterface2Reply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_that = OrpcThat::parse(reader)?;
        reader.enter("RemQueryInterface2 reply");
        let hresults = reader.array("phr", 4, MAX_INTERFACES, Reader::u32)?;
        let objrefs = interface_pointers(reader, "ppMIF")?;
        let each = hresults.into_iter().zip(objrefs);
        let results = each
            .map(|(hresult, bytes)| RemQi2Result {
                hresult,
                objref: bytes.and_then(ObjrefOutline::of),
            })
            .collect();
        Ok(Self {
            orpc_that,
            results,
            hresult: reader.u32()?,
        })
    }
}

/// [MS-DCOM] 2.2.23 REMINTERFACEREF: references taken or given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemInterfaceRef {
    /// The interface.
    pub ipid: Ipid,
    /// `cPublicRefs`.
    pub public_refs: u32,
    /// `cPrivateRefs`.
    pub private_refs: u32,
}

/// The request of [MS-DCOM] 3.1.1.5.6.1.2 `IRemUnknown::RemAddRef` (Opnum 4) and of 3.1.1.5.6.1.3
/// `IRemUnknown::RemRelease` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemReferencesRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// How many references on which interfaces.
    pub references: Vec<RemInterfaceRef>,
}

impl RemReferencesRequest {
    /// Reads the request stub of either.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("InterfaceRefs");
        reader.u16()?; // cInterfaceRefs
        let references = reader.array("InterfaceRefs", 24, MAX_INTERFACES, |reader| {
            Ok(RemInterfaceRef {
                ipid: Ipid(reader.guid()?),
                public_refs: reader.u32()?,
                private_refs: reader.u32()?,
            })
        })?;
        Ok(Self { orpc_this, references })
    }
}

/// The reply of [MS-DCOM] 3.1.1.5.6.1.2 `IRemUnknown::RemAddRef` (Opnum 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemAddRefReply {
    /// What the server sends along.
    pub orpc_that: OrpcThat,
    /// `pResults`: one HRESULT for each interface.
    pub results: Vec<u32>,
    /// The return value.
    pub hresult: u32,
}

impl RemAddRefReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_that = OrpcThat::parse(reader)?;
        reader.enter("RemAddRef reply");
        Ok(Self {
            orpc_that,
            results: reader.array("pResults", 4, MAX_INTERFACES, Reader::u32)?,
            hresult: reader.u32()?,
        })
    }
}

/// The reply of [MS-DCOM] 3.1.1.5.6.1.3 `IRemUnknown::RemRelease` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemReleaseReply {
    /// What the server sends along.
    pub orpc_that: OrpcThat,
    /// The return value.
    pub hresult: u32,
}

impl RemReleaseReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_that = OrpcThat::parse(reader)?;
        reader.enter("RemRelease reply");
        Ok(Self {
            orpc_that,
            hresult: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::known;
    use crate::testing::whole;

    #[test]
    fn a_real_query_names_object_interface_and_new_ipid() {
        let request = whole(
            include_bytes!("../../corpus/rem_unknown/rem-query-interface-request.bin"),
            RemQueryInterfaceRequest::parse,
        );
        assert_eq!(request.ipid.to_string(), "2a85252a-0c84-0000-ec3b-b5953fa17228");
        assert_eq!(
            (request.references, request.iids),
            (Some(1), vec![Iid(known::IDISPATCH)])
        );
        let reply = whole(
            include_bytes!("../../corpus/rem_unknown/rem-query-interface-reply.bin"),
            RemQueryInterfaceReply::parse,
        );
        let [result] = reply.results.as_slice() else {
            panic!("one result expected")
        };
        assert_eq!((result.hresult, result.std.public_refs, reply.hresult), (0, 5, 0));
        assert_eq!(result.std.ipid.to_string(), "7e66c1f1-0c84-0000-d91f-8c089488ad7e");
    }

    #[test]
    fn references_are_taken_and_given_back() {
        let add = whole(
            include_bytes!("../../corpus/rem_unknown/rem-add-ref-request.bin"),
            RemReferencesRequest::parse,
        );
        assert_eq!(
            add.references[0].ipid.to_string(),
            "2a85252a-0c84-0000-ec3b-b5953fa17228"
        );
        assert_eq!((add.references[0].public_refs, add.references[0].private_refs), (1, 0));
        let added = whole(
            include_bytes!("../../corpus/rem_unknown/rem-add-ref-reply.bin"),
            RemAddRefReply::parse,
        );
        assert_eq!((added.results, added.hresult), (vec![0], 0));
        let release = whole(
            include_bytes!("../../corpus/rem_unknown/rem-release-request.bin"),
            RemReferencesRequest::parse,
        );
        assert_eq!(
            release.references[0].ipid.to_string(),
            "7c6b2c39-0c84-0000-0500-aa526c1a7716"
        );
        let released = whole(
            include_bytes!("../../corpus/rem_unknown/rem-release-reply.bin"),
            RemReleaseReply::parse,
        );
        assert_eq!(released.hresult, 0);
    }
}
