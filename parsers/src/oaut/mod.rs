//! [MS-OAUT]: calls that name their method and bring their arguments as variants, and what answers them.

mod bstr;
mod dispatch;
mod enumeration;
mod interface_pointer;
mod invoke;
#[cfg(test)]
mod round_trips;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guid::Guid;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    /// Every parser there is, on the same bytes; what could be read.
    fn parse_all(bytes: &[u8], order: ByteOrder, encoding: Encoding) -> usize {
        let new = || Reader::new(bytes, order, encoding, "test");
        let text = |variants: &[Variant<'_>]| variants.iter().map(|it| it.to_text().len()).sum::<usize>();
        let mut read = 0;
        macro_rules! each {
            ($($type:ident)*) => { $(if let Ok(value) = $type::parse(&mut new()) {
                read += format!("{value:?}").len().min(1);
            })* };
        }
        each! {
            GetIdsOfNamesRequest GetIdsOfNamesReply GetTypeInfoCountReply GetTypeInfoRequest CreateInstanceRequest
            InterfaceReply EnumNextRequest GetTypeAttrReply GetFuncDescRequest GetFuncDescReply GetNamesRequest
            GetNamesReply GetDocumentationRequest GetDocumentationReply
        }
        if let Ok(request) = InvokeRequest::parse(&mut new()) {
            read += 1 + text(&request.arguments.iter().map(|it| it.value.clone()).collect::<Vec<_>>()).min(1);
        }
        if let Ok(reply) = InvokeReply::parse(&mut new()) {
            read += 1 + text(&[reply.result]).min(1);
        }
        if let Ok(reply) = EnumNextReply::parse(&mut new()) {
            read += 1 + text(&reply.elements).min(1);
        }
        read
    }

    #[test]
    fn real_stubs_cut_anywhere_or_full_of_great_counts_are_survived_by_every_parser() {
        let stubs: [&[u8]; 4] = [
            include_bytes!("../../corpus/oaut/get-ids-execute-shell-command-request.bin"),
            include_bytes!("../../corpus/oaut/invoke-execute-shell-command-request.bin"),
            include_bytes!("../../corpus/oaut/invoke-get-document-reply.bin"),
            include_bytes!("../../corpus/oaut/invoke-no-such-member-reply.bin"),
        ];
        for stub in stubs {
            for encoding in [Encoding::Ndr20, Encoding::Ndr64] {
                for length in 0..stub.len() {
                    parse_all(&stub[..length], ByteOrder::Little, encoding);
                }
                for at in (0..stub.len() - 4).step_by(2) {
                    let mut stub = stub.to_vec();
                    stub[at..at + 4].fill(0xff);
                    parse_all(&stub, ByteOrder::Little, encoding);
                }
            }
            assert!(parse_all(stub, ByteOrder::Little, Encoding::Ndr20) > 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_behind_a_proper_head_are_survived_by_every_parser(
            tail in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..300),
            wide in any::<bool>(),
            request in any::<bool>(),
        ) {
            let encoding = if wide { Encoding::Ndr64 } else { Encoding::Ndr20 };
            let mut writer = Writer::new(ByteOrder::Little, encoding);
            if request { writer.orpc_this(Guid::com(1)) } else { writer.orpc_that() };
            parse_all(&writer.raw(&tail).bytes(), ByteOrder::Little, encoding);
        }
    }
}
