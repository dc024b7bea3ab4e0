//! Types of parameters and results: read to find what stands behind them.

use super::MAX_DEPTH;
use super::var_type::VarType;
use super::variant::Variant;
use crate::error::{ErrorKind, Result};
use crate::ndr::Reader;

/// More dimensions than any language offers.
const MAX_DIMENSIONS: usize = 64;

/// [MS-OAUT] 2.2.37 TYPEDESC, and what its pointer leads to, which stands behind the construct.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeDesc {
    pub(super) var_type: VarType,
    referent: Option<Referent>,
}

#[derive(Clone, Copy, Debug)]
enum Referent {
    Type,
    Array,
}

impl TypeDesc {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("TYPEDESC");
        reader.align_pointer()?;
        let selector = VarType(reader.u16()?);
        reader.align_ndr64(8)?;
        let referent = match selector {
            VarType::PTR | VarType::SAFEARRAY => Some(Referent::Type),
            VarType::CARRAY => Some(Referent::Array),
            VarType::USERDEFINED => {
                reader.u32()?; // hreftype
                None
            }
            _ => None,
        };
        let referent = match referent {
            Some(referent) if reader.pointer()? => Some(referent),
            _ => None,
        };
        let var_type = VarType(reader.u16()?);
        reader.align_ndr64(8)?;
        Ok(Self { var_type, referent })
    }

    /// Steps over what the pointer leads to.
    pub(super) fn skip_referents(self, reader: &mut Reader<'_>) -> Result<()> {
        let mut desc = self;
        for _ in 0..=MAX_DEPTH {
            desc = match desc.referent {
                None => return Ok(()),
                Some(Referent::Type) => Self::parse(reader)?,
                Some(Referent::Array) => array_desc(reader)?,
            };
        }
        Err(reader.input().error(ErrorKind::Limit {
            field: "lptdesc",
            max: MAX_DEPTH,
        }))
    }
}

/// [MS-OAUT] 2.2.38 ARRAYDESC: gives the type of the elements.
fn array_desc(reader: &mut Reader<'_>) -> Result<TypeDesc> {
    reader.enter("ARRAYDESC");
    let dimensions = reader.count("cDims", 8, MAX_DIMENSIONS)?;
    let element = TypeDesc::parse(reader)?;
    reader.u16()?;
    for _ in 0..dimensions {
        reader.u32()?;
        reader.u32()?;
    }
    reader.align_ndr64(8)?;
    Ok(element)
}

/// [MS-OAUT] 2.2.41 ELEMDESC: a parameter, or what a method returns.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElemDesc {
    pub(super) type_desc: TypeDesc,
    has_default: bool,
}

impl ElemDesc {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.align_pointer()?;
        let type_desc = TypeDesc::parse(reader)?;
        reader.enter("PARAMDESC");
        let has_default = reader.pointer()?;
        reader.u16()?; // wParamFlags
        reader.align_ndr64(8)?;
        Ok(Self { type_desc, has_default })
    }

    /// Steps over what its pointers lead to.
    pub(super) fn skip_referents(self, reader: &mut Reader<'_>) -> Result<()> {
        self.type_desc.skip_referents(reader)?;
        if self.has_default {
            reader.enter("PARAMDESCEX");
            reader.align_pointer()?;
            reader.u32()?;
            Variant::parse(reader)?;
        }
        Ok(())
    }
}
