//! The steps of an enumeration: how a script walks over a collection of objects.

use super::variant::{Variant, variants};
use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::Result;
use crate::ndr::Reader;

/// The request of [MS-OAUT] 3.3.4.1 `IEnumVARIANT::Next` (Opnum 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnumNextRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `celt`: the most elements the client takes.
    pub count: u32,
}

impl EnumNextRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("Next request");
        Ok(Self {
            orpc_this,
            count: reader.u32()?,
        })
    }
}

/// The reply of [MS-OAUT] 3.3.4.1 `IEnumVARIANT::Next` (Opnum 3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnumNextReply<'a> {
    /// The elements; of a collection of objects, references to them.
    pub elements: Vec<Variant<'a>>,
    /// What became of the call; 1 when the collection ends here.
    pub hresult: u32,
}

impl<'a> EnumNextReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("Next reply");
        super::varying(reader)?;
        let mut elements = Vec::new();
        variants(reader, "rgVar", &mut elements)?;
        reader.enter("Next reply");
        reader.u32()?; // pCeltFetched
        Ok(Self {
            elements,
            hresult: reader.u32()?,
        })
    }
}
