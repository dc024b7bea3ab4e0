//! Marshaled contexts: what a client tells about where it runs.

use crate::error::{ErrorKind, Result};
use crate::guid::{Clsid, Guid};
use crate::input::{ByteOrder, Input};

/// More properties than any context has.
const MAX_PROPERTIES: u32 = 64;

/// [MS-DCOM] 2.2.20.1 PROPMARSHALHEADER: one property of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextProperty {
    /// The class of its data; null when the data is an OBJREF.
    pub clsid: Clsid,
    /// `policyId`: which property.
    pub policy: Guid,
    /// 1 prototype, 2 client, 4 envoy.
    pub flags: u32,
    /// `cb`: bytes of its data.
    pub length: u32,
}

/// [MS-DCOM] 2.2.20 Context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// `MajorVersion` and `MinVersion`.
    pub version: (u16, u16),
    /// `ContextId`.
    pub id: Guid,
    /// 2: marshaled by value.
    pub flags: u32,
    /// `MshlFlags`.
    pub marshal_flags: u32,
    /// `Count`: how many properties the sender says there are.
    pub count: u32,
    /// `Frozen`.
    pub frozen: u32,
    /// Those of them that are there. 64 at most.
    pub properties: Vec<ContextProperty>,
}

impl Context {
    /// Reads a context; little-endian whatever the PDU says. A property that is cut off ends the list, not the context.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "Context");
        let version = (input.u16()?, input.u16()?);
        let id = input.guid()?;
        let flags = input.u32()?;
        input.skip(12)?; // Reserved, dwNumExtents, cbExtents
        let marshal_flags = input.u32()?;
        let count = input.u32()?;
        let frozen = input.u32()?;
        if count > MAX_PROPERTIES {
            return Err(input.error(ErrorKind::Limit {
                field: "Count",
                max: usize::try_from(MAX_PROPERTIES).unwrap_or(usize::MAX),
            }));
        }
        let properties = (0..count).map_while(|_| property(&mut input).ok()).collect();
        Ok(Self {
            version,
            id,
            flags,
            marshal_flags,
            count,
            frozen,
            properties,
        })
    }
}

fn property(input: &mut Input<'_>) -> Result<ContextProperty> {
    input.enter("PROPMARSHALHEADER");
    let property = ContextProperty {
        clsid: Clsid(input.guid()?),
        policy: input.guid()?,
        flags: input.u32()?,
        length: input.u32()?,
    };
    input.skip(usize::try_from(property.length).unwrap_or(usize::MAX))?;
    Ok(property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    fn context(count: u32) -> Vec<u8> {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer
            .u16(1)
            .u16(1)
            .guid(Guid::com(7))
            .u32(2)
            .raw(&[0; 12])
            .u32(3)
            .u32(count)
            .u32(1);
        for policy in 1..=2 {
            writer
                .guid(Guid::NULL)
                .guid(Guid::com(policy))
                .u32(2)
                .u32(4)
                .raw(b"data");
        }
        writer.bytes()
    }

    #[test]
    fn a_context_names_its_properties() {
        let read = Context::parse(&context(2)).unwrap();
        assert_eq!((read.id, read.flags, read.frozen), (Guid::com(7), 2, 1));
        let policies: Vec<_> = read.properties.iter().map(|property| property.policy).collect();
        assert_eq!(policies, [Guid::com(1), Guid::com(2)]);
    }

    #[test]
    fn a_cut_context_keeps_what_is_there_and_a_huge_one_is_refused() {
        let whole = context(2);
        for length in 0..whole.len() {
            match Context::parse(&whole[..length]) {
                Ok(read) => assert!(read.properties.len() < 2, "{length} bytes"),
                Err(_) => assert!(length < 48, "{length} bytes"),
            }
        }
        assert!(Context::parse(&context(u32::MAX)).is_err());
    }
}
