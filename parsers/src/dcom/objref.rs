//! References to objects.

use super::dual_string::DualStringArray;
use crate::error::Result;
use crate::guid::{Clsid, Iid, Ipid, Oid, Oxid};
use crate::input::{ByteOrder, Input};
use crate::ndr::Reader;

/// `OBJREF_SIGNATURE`, "MEOW".
const SIGNATURE: u32 = 0x574f_454d;
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

/// The four forms of a reference, by `flags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// [MS-DCOM] 2.2.18.4 `OBJREF_STANDARD`; also 2.2.18.7 `OBJREF_EXTENDED`, whose context we leave.
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
}

impl<'a> Objref<'a> {
    /// Reads a reference; little-endian whatever the PDU says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
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
                resolver: DualStringArray::parse(&mut input)?,
            },
            2 => Reference::Handler {
                std: StdObjref::parse(&mut input)?,
                clsid: Clsid(input.guid()?),
                resolver: DualStringArray::parse(&mut input)?,
            },
            4 => {
                input.enter("OBJREF_CUSTOM");
                let clsid = Clsid(input.guid()?);
                let extension = input.u32()?;
                // The size that follows is not to be relied on ([MS-DCOM] 2.2.18.6); the data goes to the end.
                input.skip(4)?;
                input.skip(usize::try_from(extension).unwrap_or(usize::MAX))?;
                Reference::Custom {
                    clsid,
                    data: input.rest(),
                }
            }
            8 => {
                let std = StdObjref::parse(&mut input)?;
                input.enter("OBJREF_EXTENDED");
                input.skip(4)?;
                Reference::Standard {
                    std,
                    resolver: DualStringArray::parse(&mut input)?,
                }
            }
            other => return Err(input.invalid("flags", other)),
        };
        Ok(Self { iid, reference })
    }

    /// The standard part, where there is one.
    pub fn std(&self) -> Option<&StdObjref> {
        match &self.reference {
            Reference::Standard { std, .. } | Reference::Handler { std, .. } => Some(std),
            Reference::Custom { .. } => None,
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
    use crate::guid::Guid;

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
    fn a_custom_reference_steps_over_its_extension() {
        let mut bytes = head(4);
        bytes.extend([0x38, 3, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
        bytes.extend([2, 0, 0, 0, 99, 0, 0, 0, 0xee, 0xee, 1, 2, 3]);
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
    fn a_wrong_signature_is_named() {
        assert_eq!(
            Objref::parse(b"WOEM________").unwrap_err().to_string(),
            "OBJREF: `signature` is 0x4d454f57, which is not valid (offset 4)"
        );
    }
}
