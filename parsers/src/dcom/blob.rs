//! The blob that holds activation properties.

use super::objref::{Objref, Reference, interface_pointer};
use crate::error::{ErrorKind, Result};
use crate::guid::{Clsid, Guid};
use crate::input::{ByteOrder, Input};
use crate::ndr::{Reader, type_serialization_1};

/// `MAX_ACTPROP_LIMIT` of [MS-DCOM] 2.2.28.1 is 10; twice that is still a request.
const MAX_PROPERTIES: usize = 20;

/// [MS-DCOM] 2.2.22.1 `CustomHeader`: what the blob is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomHeader {
    /// `totalSize`: bytes of header and properties together.
    pub total_size: u32,
    /// `headerSize`: bytes of the header.
    pub header_size: u32,
    /// `destCtx`: where the blob is meant to go (2: another machine).
    pub destination_context: u32,
    /// `classInfoClsid`.
    pub class_info: Clsid,
    /// `pclsid` and `pSizes`: each property's name and length, in their order. 20 at most.
    pub properties: Vec<(Guid, u32)>,
}

impl CustomHeader {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = type_serialization_1(bytes, "CustomHeader")?;
        let total_size = reader.u32()?;
        let header_size = reader.u32()?;
        reader.u32()?; // dwReserved
        let destination_context = reader.u32()?;
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > MAX_PROPERTIES {
            return Err(reader.input().error(ErrorKind::Limit {
                field: "cIfs",
                max: MAX_PROPERTIES,
            }));
        }
        let class_info = Clsid(reader.guid()?);
        let (has_clsids, has_sizes) = (reader.pointer()?, reader.pointer()?);
        reader.pointer()?; // pdwReserved
        if !has_clsids || !has_sizes {
            return Err(reader.input().invalid("pclsid", 0_u32));
        }
        reader.count("pclsid", 16, MAX_PROPERTIES)?;
        let clsids = (0..count).map(|_| reader.guid()).collect::<Result<Vec<_>>>()?;
        reader.count("pSizes", 4, MAX_PROPERTIES)?;
        let properties = clsids
            .into_iter()
            .map(|clsid| Ok((clsid, reader.u32()?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            total_size,
            header_size,
            destination_context,
            class_info,
            properties,
        })
    }
}

/// [MS-DCOM] 2.2.22 Activation Properties BLOB, cut into its properties.
pub(super) struct Blob<'a> {
    /// Its header.
    pub(super) header: CustomHeader,
    /// The serialized properties, in the header's order.
    properties: Vec<&'a [u8]>,
}

impl<'a> Blob<'a> {
    /// [MS-DCOM] 2.2.15 `PMInterfacePointerInternal` as a parameter: the blob it points to, when it points to one.
    pub(super) fn behind_pointer(reader: &mut Reader<'a>, unmarshaler: Guid) -> Result<Option<Self>> {
        if !reader.pointer()? {
            return Ok(None);
        }
        Self::parse(interface_pointer(reader)?, unmarshaler).map(Some)
    }

    /// Reads the blob out of the OBJREF that carries it; `unmarshaler` tells a request's from a reply's.
    pub(super) fn parse(objref: &'a [u8], unmarshaler: Guid) -> Result<Self> {
        let objref = Objref::parse(objref)?;
        let nothing = Input::new(&[], ByteOrder::Little, "activation properties");
        let Reference::Custom { clsid, data } = objref.reference else {
            return Err(nothing.invalid("flags", 1_u32));
        };
        if clsid.0 != unmarshaler {
            return Err(nothing.invalid("clsid", clsid.0.data1));
        }
        let mut input = Input::new(data, ByteOrder::Little, "activation properties");
        input.skip(8)?; // dwSize, dwReserved
        let header = CustomHeader::parse(input.rest())?;
        let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        input.skip(size(header.header_size))?;
        input.enter("activation properties");
        let properties = header
            .properties
            .iter()
            .map(|&(_, length)| input.take(size(length)))
            .collect::<Result<_>>()?;
        Ok(Self { header, properties })
    }

    /// The properties by name.
    pub(super) fn properties(&self) -> impl Iterator<Item = (Guid, &'a [u8])> {
        self.header
            .properties
            .iter()
            .zip(&self.properties)
            .map(|(&(id, _), &bytes)| (id, bytes))
    }

    /// The serialized property called `id`.
    pub(super) fn property(&self, id: Guid) -> Option<&'a [u8]> {
        self.properties().find(|&(name, _)| name == id).map(|(_, bytes)| bytes)
    }
}
