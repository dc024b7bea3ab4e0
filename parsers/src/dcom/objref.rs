//! References to objects.

use super::dual_string::DualStringArray;
use crate::error::Result;
use crate::guid::{Clsid, Guid, Iid, Ipid, Oid, Oxid};
use crate::input::{ByteOrder, Input};
use crate::ndr::Reader;

/// `OBJREF_SIGNATURE`, "MEOW".
const SIGNATURE: u32 = 0x574f_454d;
/// `Signature1` and `Signature2` of an `OBJREF_EXTENDED`.
const EXTENDED_SIGNATURE: u32 = 0x4e53_5956;
/// The longest marshalled reference read: activation blobs with a persisted object can be large.
const MAX_OBJREF: usize = 1 << 20;

/// [MS-DCOM] 2.2.18.2 STDOBJREF (Packet Version).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StdObjref {
    /// `SORF_*`: 0x1000 means that the object is not pinged.
    pub flags: u32,
    /// References handed over.
    pub public_refs: u32,
    /// The process that exports the object.
    pub oxid: Oxid,
    /// The object.
    pub oid: Oid,
    /// The interface of the object.
    pub ipid: Ipid,
}

impl StdObjref {
    /// Bytes in it.
    pub const LENGTH: usize = 40;

    /// [MS-DCOM] 2.2.18.3 STDOBJREF (IDL Version): the same fields, aligned and in the sender's byte order.
    pub(super) fn parse_ndr(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("STDOBJREF");
        reader.align(8)?;
        Ok(Self {
            flags: reader.u32()?,
            public_refs: reader.u32()?,
            oxid: Oxid(reader.u64()?),
            oid: Oid(reader.u64()?),
            ipid: Ipid(reader.guid()?),
        })
    }

    fn parse(input: &mut Input<'_>) -> Result<Self> {
        input.enter("STDOBJREF");
        Ok(Self {
            flags: input.u32()?,
            public_refs: input.u32()?,
            oxid: Oxid(input.u64()?),
            oid: Oid(input.u64()?),
            ipid: Ipid(input.guid()?),
        })
    }
}

/// [MS-DCOM] 2.2.18 OBJREF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objref<'a> {
    /// The interface referred to.
    pub iid: Iid,
    /// How.
    pub reference: Reference<'a>,
}

/// The four forms of [MS-DCOM] 2.2.18 OBJREF, by `flags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// [MS-DCOM] 2.2.18.4 `OBJREF_STANDARD`.
    Standard {
        /// The reference.
        std: StdObjref,
        /// Where the exporter's object resolver listens.
        resolver: DualStringArray,
    },
    /// [MS-DCOM] 2.2.18.5 `OBJREF_HANDLER`.
    Handler {
        /// The reference.
        std: StdObjref,
        /// The client-side handler.
        clsid: Clsid,
        /// Where the exporter's object resolver listens.
        resolver: DualStringArray,
    },
    /// [MS-DCOM] 2.2.18.6 `OBJREF_CUSTOM`.
    Custom {
        /// The unmarshaler.
        clsid: Clsid,
        /// What it is to unmarshal.
        data: &'a [u8],
    },
    /// [MS-DCOM] 2.2.18.7 `OBJREF_EXTENDED`.
    Extended {
        /// The reference.
        std: StdObjref,
        /// Where the exporter's object resolver listens.
        resolver: DualStringArray,
        /// The envoy context, when it is there whole.
        element: Option<DataElement<'a>>,
    },
}

/// [MS-DCOM] 2.2.18.8 DATAELEMENT: an envoy context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataElement<'a> {
    /// `dataID`: the context's identifier.
    pub id: Guid,
    /// The marshaled context, for [`super::Context::parse`].
    pub data: &'a [u8],
}

impl<'a> DataElement<'a> {
    /// Reads what follows the bindings of an `OBJREF_EXTENDED`.
    fn parse(mut input: Input<'a>) -> Result<Option<Self>> {
        input.enter("OBJREF_EXTENDED");
        let count = input.u32()?;
        let signature = input.u32()?;
        if signature != EXTENDED_SIGNATURE {
            return Err(input.invalid("Signature2", signature));
        }
        if count == 0 {
            return Ok(None);
        }
        input.enter("DATAELEMENT");
        let id = input.guid()?;
        let size = input.u32()?;
        input.skip(4)?; // cbRounded
        let data = input.take(usize::try_from(size).unwrap_or(usize::MAX))?;
        Ok(Some(Self { id, data }))
    }
}

impl<'a> Objref<'a> {
    /// Reads a reference; little-endian whatever the PDU says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::parse_with(bytes, DualStringArray::parse)
    }

    /// The same, where nobody asks where the exporter's object resolver listens: it is stepped over, and says nothing.
    pub fn parse_reference(bytes: &'a [u8]) -> Result<Self> {
        Self::parse_with(bytes, DualStringArray::skip)
    }

    fn parse_with(bytes: &'a [u8], resolver: fn(&mut Input<'_>) -> Result<DualStringArray>) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "OBJREF");
        let signature = input.u32()?;
        if signature != SIGNATURE {
            return Err(input.invalid("signature", signature));
        }
        let flags = input.u32()?;
        let iid = Iid(input.guid()?);
        let reference = match flags {
            1 => Reference::Standard {
                std: StdObjref::parse(&mut input)?,
                resolver: resolver(&mut input)?,
            },
            2 => Reference::Handler {
                std: StdObjref::parse(&mut input)?,
                clsid: Clsid(input.guid()?),
                resolver: resolver(&mut input)?,
            },
            4 => {
                input.enter("OBJREF_CUSTOM");
                let clsid = Clsid(input.guid()?);
                // Neither `cbExtension` nor what follows means anything ([MS-DCOM] 2.2.18.6 OBJREF_CUSTOM): the data goes to
                // the end.
                input.skip(8)?;
                Reference::Custom {
                    clsid,
                    data: input.rest(),
                }
            }
            8 => {
                let std = StdObjref::parse(&mut input)?;
                input.enter("OBJREF_EXTENDED");
                input.skip(4)?; // Signature1
                let resolver = resolver(&mut input)?;
                // The context is read when it can be: the reference is what counts.
                let element = DataElement::parse(input).ok().flatten();
                Reference::Extended { std, resolver, element }
            }
            other => return Err(input.invalid("flags", other)),
        };
        Ok(Self { iid, reference })
    }

    /// The standard part, where there is one.
    pub fn std(&self) -> Option<&StdObjref> {
        match &self.reference {
            Reference::Standard { std, .. } | Reference::Handler { std, .. } | Reference::Extended { std, .. } => {
                Some(std)
            }
            Reference::Custom { .. } => None,
        }
    }

    /// Where the exporter's object resolver listens, where it is told.
    pub fn resolver(&self) -> Option<&DualStringArray> {
        match &self.reference {
            Reference::Standard { resolver, .. }
            | Reference::Handler { resolver, .. }
            | Reference::Extended { resolver, .. } => Some(resolver),
            Reference::Custom { .. } => None,
        }
    }

    /// The handler or the unmarshaler, where one is named.
    pub fn clsid(&self) -> Option<Clsid> {
        match self.reference {
            Reference::Handler { clsid, .. } | Reference::Custom { clsid, .. } => Some(clsid),
            Reference::Standard { .. } | Reference::Extended { .. } => None,
        }
    }
}

/// An OBJREF ([MS-DCOM] 2.2.18 OBJREF) without the bytes it carries, to be kept longer than they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjrefOutline {
    /// The interface referred to.
    pub iid: Iid,
    /// The standard part, where there is one.
    pub std: Option<StdObjref>,
    /// The handler or the unmarshaler, where one is named.
    pub clsid: Option<Clsid>,
    /// Where the exporter's object resolver listens: for an object of the client's, the client's own addresses.
    pub resolver: DualStringArray,
    /// Bytes of custom data.
    pub data_length: usize,
}

impl ObjrefOutline {
    /// Of a marshalled reference; None when it is none.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Objref::parse(bytes).ok().map(|objref| Self::from(&objref))
    }
}

impl From<&Objref<'_>> for ObjrefOutline {
    fn from(objref: &Objref<'_>) -> Self {
        Self {
            iid: objref.iid,
            std: objref.std().copied(),
            clsid: objref.clsid(),
            resolver: objref.resolver().cloned().unwrap_or_default(),
            data_length: match objref.reference {
                Reference::Custom { data, .. } => data.len(),
                _ => 0,
            },
        }
    }
}

/// [MS-DCOM] 2.2.14 `MInterfacePointer` behind its pointer: the bytes of an OBJREF.
pub(super) fn interface_pointer<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    reader.enter("MInterfacePointer");
    let length = reader.count("abData", 1, MAX_OBJREF)?;
    reader.u32()?;
    reader.bytes(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndr::Encoding;
    use crate::testing::{Writer, dual_string_packet, objref, std_objref};

    fn head(flags: u32) -> Vec<u8> {
        let mut bytes = b"MEOW".to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
        bytes
    }

    #[test]
    fn a_standard_reference_gives_its_ipid_and_resolver() {
        let mut bytes = head(1);
        bytes.extend([0, 0, 0, 0, 5, 0, 0, 0]);
        bytes.extend(0xbed0_5b18_ecb1_3abf_u64.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend([0x0b, 0xc0, 0, 0, 0xe0, 0x19, 0x84, 0x18, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend([3, 0, 3, 0, 7, 0, b'h', 0, 0, 0]);
        let objref = Objref::parse(&bytes).unwrap();
        assert_eq!(objref.iid, Iid(Guid::com(1)));
        let std = objref.std().unwrap();
        assert_eq!(
            (std.public_refs, std.oxid.to_string().as_str()),
            (5, "0xbed05b18ecb13abf")
        );
        assert_eq!(std.ipid.to_string(), "0000c00b-19e0-1884-0102-030405060708");
        let Reference::Standard { resolver, .. } = &objref.reference else {
            panic!("not standard")
        };
        assert_eq!(resolver.string_bindings[0].network_address, "h");
    }

    #[test]
    fn the_extension_of_a_custom_reference_means_nothing() {
        let mut bytes = head(4);
        bytes.extend([0x38, 3, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
        bytes.extend([2, 0, 0, 0, 99, 0, 0, 0, 1, 2, 3]);
        let objref = Objref::parse(&bytes).unwrap();
        assert_eq!(
            objref.reference,
            Reference::Custom {
                clsid: Clsid(Guid::com(0x338)),
                data: &[1, 2, 3]
            }
        );
    }

    #[test]
    fn an_extended_reference_keeps_its_context_apart() {
        let mut rest = std_objref(1, 2, Guid::com(3));
        rest.extend(b"VYSN");
        rest.extend(dual_string_packet(&[(7, "fe80::1")], &[]));
        let plain = rest.len();
        let mut tail = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        tail.u32(1)
            .raw(b"VYSN")
            .guid(Guid::com(9))
            .u32(5)
            .u32(8)
            .raw(b"envoy\0\0\0");
        rest.extend(tail.bytes());
        let bytes = objref(8, Guid::com(1), &rest);
        let read = Objref::parse(&bytes).unwrap();
        let element = DataElement {
            id: Guid::com(9),
            data: b"envoy",
        };
        assert!(matches!(read.reference, Reference::Extended { element: Some(found), .. } if found == element));
        assert_eq!(read.std().unwrap().ipid.0, Guid::com(3));
        assert_eq!(read.resolver().unwrap().string_bindings[0].host(), "fe80::1");
        let cut = objref(8, Guid::com(1), &rest[..plain]);
        assert!(matches!(
            Objref::parse(&cut).unwrap().reference,
            Reference::Extended { element: None, .. }
        ));
    }

    #[test]
    fn a_handler_reference_names_its_class() {
        let mut rest = std_objref(1, 2, Guid::com(3));
        rest.extend([7, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
        rest.extend(dual_string_packet(&[], &[]));
        let bytes = objref(2, Guid::com(1), &rest);
        let read = Objref::parse(&bytes).unwrap();
        assert_eq!(read.clsid(), Some(Clsid(Guid::com(7))));
        let outline = ObjrefOutline::of(&bytes).unwrap();
        assert_eq!((outline.std.unwrap().oxid, outline.data_length), (Oxid(1), 0));
        for length in 0..bytes.len() {
            assert!(Objref::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_wrong_signature_is_named() {
        assert_eq!(
            Objref::parse(b"WOEM________").unwrap_err().to_string(),
            "OBJREF: `signature` is 0x4d454f57, which is not valid (offset 4)"
        );
    }
}
