//! What an object says about its error.

use super::objref::{Objref, Reference};
use crate::error::{ErrorKind, Result};
use crate::guid::Iid;
use crate::input::{ByteOrder, Input};
use crate::names::known;
use crate::utf16;

/// The longest text read, in characters.
const MAX_TEXT: usize = 32_768;

/// [MS-DCOM] 2.2.21.2 Custom-Marshaled Error Information Format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorInfo {
    /// `dwVersion`.
    pub version: u32,
    /// `dwHelpContext`.
    pub help_context: u32,
    /// The interface that failed.
    pub iid: Iid,
    /// Who failed, often the class by its name.
    pub source: Option<String>,
    /// How.
    pub description: Option<String>,
    /// Where help is to be found.
    pub help_file: Option<String>,
}

impl ErrorInfo {
    /// Reads the data of an error extension: [MS-DCOM] 2.2.21.1 Error Information ORPC Extension. Little-endian whatever
    /// the PDU says.
    pub fn parse(extent: &[u8]) -> Result<Self> {
        // The specification puts the OBJREF at the start; its length, as of an MInterfacePointer, may stand before it.
        let start = [0_usize, 4, 8]
            .into_iter()
            .filter_map(|start| extent.get(start..))
            .find(|rest| rest.starts_with(b"MEOW"));
        let objref = Objref::parse(start.unwrap_or(extent))?;
        let nothing = Input::new(&[], ByteOrder::Little, "error information");
        match objref.reference {
            Reference::Custom { clsid, data } if clsid.0 == known::CLSID_ERROR_OBJECT => Self::parse_object(data),
            Reference::Custom { clsid, .. } => Err(nothing.error(ErrorKind::Unsupported {
                field: "clsid",
                value: clsid.0.data1.into(),
            })),
            _ => Err(nothing.invalid("flags", 1_u32)),
        }
    }

    fn parse_object(data: &[u8]) -> Result<Self> {
        let mut input = Input::new(data, ByteOrder::Little, "error information");
        Ok(Self {
            version: input.u32()?,
            help_context: input.u32()?,
            iid: Iid(input.guid()?),
            source: text(&mut input)?,
            description: text(&mut input)?,
            help_file: text(&mut input)?,
        })
    }
}

/// [MS-DCOM] 2.2.21.3 `ErrorInfoString` behind the signature that says whether there is one.
fn text(input: &mut Input<'_>) -> Result<Option<String>> {
    if input.u32()? == 0 {
        return Ok(None);
    }
    input.enter("ErrorInfoString");
    input.skip(8)?; // dwMax, dwOffSet
    let count = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
    if count > MAX_TEXT {
        return Err(input.error(ErrorKind::Limit {
            field: "dwActual",
            max: MAX_TEXT,
        }));
    }
    let units = input.units(count)?;
    let units = units.split(|&unit| unit == 0).next().unwrap_or_default();
    Ok(Some(utf16::text(units)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcom::OrpcThat;
    use crate::guid::Guid;
    use crate::ndr::{Encoding, Reader};
    use crate::testing::{WAYS, Writer, custom_objref};

    fn extent() -> Vec<u8> {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.u32(0).u32(1000).guid(known::IDISPATCH);
        writer.u32(u32::MAX).wide_string("Excel.Application");
        writer.align(1).u32(u32::MAX).wide_string("Cannot open");
        writer.u32(0);
        custom_objref(Guid::com(0x1cf), known::CLSID_ERROR_OBJECT, &writer.bytes())
    }

    #[test]
    fn a_failing_object_says_who_and_how() {
        let data = extent();
        for (order, encoding) in WAYS {
            let mut writer = Writer::new(order, encoding);
            writer.align_pointer().u32(0).pointer();
            writer.align_pointer().u32(1).u32(0).pointer();
            writer.wide(2).pointer().null();
            writer
                .wide(data.len().next_multiple_of(8))
                .guid(known::CLSID_ERROR_EXTENSION);
            writer.u32(u32::try_from(data.len()).unwrap()).raw(&data);
            writer
                .raw(&vec![0; data.len().next_multiple_of(8) - data.len()])
                .ndr_u32(0x8002_0009);
            let bytes = writer.bytes();
            let mut reader = Reader::new(&bytes, order, encoding, "test");
            let that = OrpcThat::parse(&mut reader).unwrap();
            let info = that.error_info().unwrap();
            assert_eq!(info.source.as_deref(), Some("Excel.Application"));
            assert_eq!(info.description.as_deref(), Some("Cannot open"));
            assert_eq!(
                (info.help_file, info.help_context, info.iid),
                (None, 1000, Iid(known::IDISPATCH))
            );
            assert_eq!(reader.u32(), Ok(0x8002_0009));
        }
        for length in 0..data.len() {
            assert!(ErrorInfo::parse(&data[..length]).is_err(), "{length} bytes");
        }
    }
}
