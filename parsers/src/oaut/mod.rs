//! [MS-OAUT]: calls that name their method and bring their arguments as variants, and what answers them.

mod bstr;
mod dispatch;
#[cfg(test)]
mod encoder;
mod enumeration;
mod interface_pointer;
mod invoke;
mod safe_array;
mod text;
mod type_desc;
mod type_info;
mod var_type;
mod variant;

pub use bstr::Bstr;
pub use dispatch::{
    Dispid, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetTypeInfoCountReply, GetTypeInfoRequest, InvokeFlags,
};
pub use enumeration::{EnumNextReply, EnumNextRequest};
pub use interface_pointer::{CreateInstanceRequest, InterfacePointer, InterfaceReply};
pub use invoke::{Argument, ExcepInfo, InvokeReply, InvokeRequest};
pub use safe_array::{Elements, SafeArray, SafeArrayBound};
pub use text::MAX_TEXT;
pub use type_info::{
    FuncDesc, GetDocumentationReply, GetDocumentationRequest, GetFuncDescReply, GetFuncDescRequest, GetNamesReply,
    GetNamesRequest, GetTypeAttrReply, InvokeKind, TypeAttr, TypeKind,
};
pub use var_type::VarType;
pub use variant::{Decimal, Record, Variant};

use crate::error::Result;
use crate::ndr::Reader;

/// How deep variants may hold variants before we stop following: nobody nests three.
const MAX_DEPTH: usize = 8;
/// The most elements of an array that are not plain numbers, and the most arguments of a call.
const MAX_VALUES: usize = 16_384;

/// The referents of an array of `count` pointers (C706 14.3.12.3 Algorithm for Deferral of Referents): the pointers stand
/// first, what they point to behind them. `None` for a null pointer. What was read stays in `out` when reading fails.
fn referents<'a, T>(
    reader: &mut Reader<'a>,
    count: usize,
    out: &mut Vec<Option<T>>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<()> {
    let mut pointers = *reader;
    for _ in 0..count {
        reader.pointer()?;
    }
    out.reserve(count);
    for _ in 0..count {
        let referent = if pointers.pointer()? { Some(read(reader)?) } else { None };
        out.push(referent);
    }
    Ok(())
}

/// What a conformant varying array has in front of a conformant one's count (C706 14.3.3.4 Conformant and Varying Arrays).
fn varying(reader: &mut Reader<'_>) -> Result<()> {
    reader.maximum_count()?;
    reader.maximum_count()?;
    Ok(())
}
