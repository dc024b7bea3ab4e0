//! What stands before the arguments and the results of every object call.

use std::fmt;

use crate::error::Result;
use crate::guid::Causality;
use crate::ndr::Reader;

/// More extensions than any implementation sends: [MS-DCOM] 2.2.21 defines two.
const MAX_EXTENTS: usize = 64;
/// The longest extension stepped over.
const MAX_EXTENT: usize = 65_536;

/// [MS-DCOM] 2.2.11 COMVERSION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComVersion {
    /// Always 5.
    pub major: u16,
    /// 1 to 7.
    pub minor: u16,
}

impl ComVersion {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            major: reader.u16()?,
            minor: reader.u16()?,
        })
    }
}

impl fmt::Display for ComVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// [MS-DCOM] 2.2.13.3 ORPCTHIS: the first, unseen argument of every object call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrpcThis {
    /// The client's version of the protocol.
    pub version: ComVersion,
    /// 0, or 1 for a call within one machine.
    pub flags: u32,
    /// Ties the calls of one logical thread together.
    pub causality: Causality,
}

impl OrpcThis {
    /// Reads it and steps over its extensions. A version other than 5.x is refused: this is what tells an object call.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ORPCTHIS");
        reader.align_pointer()?;
        let version = ComVersion::parse(reader)?;
        if version.major != 5 {
            return Err(reader.input().invalid("version.MajorVersion", version.major));
        }
        let flags = reader.u32()?;
        reader.u32()?;
        let causality = Causality(reader.guid()?);
        skip_extensions(reader)?;
        Ok(Self {
            version,
            flags,
            causality,
        })
    }
}

/// [MS-DCOM] 2.2.13.4 ORPCTHAT: the first, unseen result of every object call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrpcThat {
    /// As in [`OrpcThis`].
    pub flags: u32,
}

impl OrpcThat {
    /// Reads it and steps over its extensions.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ORPCTHAT");
        reader.align_pointer()?;
        let flags = reader.u32()?;
        skip_extensions(reader)?;
        Ok(Self { flags })
    }
}

/// [MS-DCOM] 2.2.13.2 `ORPC_EXTENT_ARRAY` with its [MS-DCOM] 2.2.13.1 `ORPC_EXTENT`s.
fn skip_extensions(reader: &mut Reader<'_>) -> Result<()> {
    if !reader.pointer()? {
        return Ok(());
    }
    reader.enter("ORPC_EXTENT_ARRAY");
    reader.align_pointer()?;
    reader.u32()?;
    reader.u32()?;
    if !reader.pointer()? {
        return Ok(());
    }
    let count = reader.count("size", 4, MAX_EXTENTS)?;
    let present = (0..count).map(|_| reader.pointer()).collect::<Result<Vec<_>>>()?;
    for _ in present.into_iter().filter(|&there| there) {
        reader.enter("ORPC_EXTENT");
        let length = reader.count("data", 1, MAX_EXTENT)?;
        reader.guid()?;
        reader.u32()?;
        reader.bytes(length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn extensions_are_stepped_over() {
        let mut bytes = vec![5, 0, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0xab; 16]);
        bytes.extend([1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]); // extensions: size 2, reserved, extent pointer
        bytes.extend([2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]); // two slots, the second empty
        bytes.extend([8, 0, 0, 0]);
        bytes.extend([0xcd; 16]);
        bytes.extend([5, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
        bytes.extend([0x11, 0x22, 0x33, 0x44]);
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let this = OrpcThis::parse(&mut reader).unwrap();
        assert_eq!(
            (this.version.to_string().as_str(), this.flags, this.causality.0.data1),
            ("5.7", 1, 0xabab_abab)
        );
        assert_eq!(reader.u32(), Ok(0x4433_2211));
    }

    #[test]
    fn what_is_no_object_call_is_told_by_its_version() {
        let mut reader = Reader::new(&[4; 64], ByteOrder::Little, Encoding::Ndr20, "test");
        assert!(OrpcThis::parse(&mut reader).is_err());
    }
}
