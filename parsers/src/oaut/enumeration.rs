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

/// The reply to it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oaut::encoder::{Encoder, every_way};

    #[test]
    fn an_enumeration_gives_its_elements() {
        every_way(|order, encoding| {
            let mut encoder = Encoder::new(order, encoding);
            encoder.orpc_that();
            encoder.count(5);
            encoder.count(0);
            encoder.count(2);
            encoder.pointer();
            encoder.pointer();
            encoder.variant(&Variant::I4(1));
            encoder.variant(&Variant::Dispatch(None));
            encoder.u32(2);
            encoder.u32(1);
            let reply = EnumNextReply::parse(&mut encoder.reader()).unwrap();
            assert_eq!(
                reply.elements,
                [Variant::I4(1), Variant::Dispatch(None)],
                "{order:?} {encoding:?}"
            );
            assert_eq!(reply.hresult, 1);
        });
    }

    #[test]
    fn a_request_says_how_many_it_takes() {
        every_way(|order, encoding| {
            let mut encoder = Encoder::new(order, encoding);
            encoder.orpc_this();
            encoder.u32(5);
            assert_eq!(EnumNextRequest::parse(&mut encoder.reader()).map(|it| it.count), Ok(5));
        });
    }
}
