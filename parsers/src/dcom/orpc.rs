//! What stands before the arguments and the results of every object call.

use std::fmt;

use super::error_info::ErrorInfo;
use crate::error::Result;
use crate::guid::{Causality, Guid};
use crate::names::known;
use crate::ndr::Reader;

/// More extensions than any implementation sends: [MS-DCOM] 2.2.21 defines two. What a receiver does not know it has to pass
/// over, however much there is of it; beyond this many, and beyond that length, nothing is kept.
const MAX_EXTENTS: usize = 64;
/// The longest extension kept.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrpcThis {
    /// The client's version of the protocol.
    pub version: ComVersion,
    /// 0, or 1 for a call within one machine.
    pub flags: u32,
    /// Ties the calls of one logical thread together.
    pub causality: Causality,
    /// What else the client sends along. 64 at most.
    pub extensions: Vec<OrpcExtent>,
}

impl OrpcThis {
    /// Reads it with its extensions. A version other than 5.x is refused: this is what tells an object call.
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
        Ok(Self {
            version,
            flags,
            causality,
            extensions: extensions(reader)?,
        })
    }
}

/// [MS-DCOM] 2.2.13.4 ORPCTHAT: the first, unseen result of every object call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrpcThat {
    /// As in [`OrpcThis`].
    pub flags: u32,
    /// What else the server sends along. 64 at most.
    pub extensions: Vec<OrpcExtent>,
}

impl OrpcThat {
    /// Reads it with its extensions.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ORPCTHAT");
        reader.align_pointer()?;
        let flags = reader.u32()?;
        Ok(Self {
            flags,
            extensions: extensions(reader)?,
        })
    }

    /// What the object says about its error, when it says something.
    pub fn error_info(&self) -> Option<ErrorInfo> {
        self.extensions.iter().find_map(OrpcExtent::error_info)
    }
}

/// [MS-DCOM] 2.2.13.1 `ORPC_EXTENT`: something sent along with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrpcExtent {
    /// What it is.
    pub id: Guid,
    /// Its bytes, without padding. None of one that is longer than 65,536.
    pub data: Vec<u8>,
}

impl OrpcExtent {
    /// Reads it as error information, if it is that.
    pub fn error_info(&self) -> Option<ErrorInfo> {
        if self.id != known::CLSID_ERROR_EXTENSION {
            return None;
        }
        ErrorInfo::parse(&self.data).ok()
    }
}

/// [MS-DCOM] 2.2.13.2 `ORPC_EXTENT_ARRAY`.
fn extensions(reader: &mut Reader<'_>) -> Result<Vec<OrpcExtent>> {
    if !reader.pointer()? {
        return Ok(Vec::new());
    }
    reader.enter("ORPC_EXTENT_ARRAY");
    reader.align_pointer()?;
    reader.u32()?; // size
    reader.u32()?; // reserved
    if !reader.pointer()? {
        return Ok(Vec::new());
    }
    let present = reader.array("size", 4, usize::MAX, Reader::pointer)?;
    let mut kept = Vec::new();
    for _ in present.into_iter().filter(|&there| there) {
        let extent = extent(reader)?;
        if kept.len() < MAX_EXTENTS {
            kept.push(extent);
        }
    }
    Ok(kept)
}

fn extent(reader: &mut Reader<'_>) -> Result<OrpcExtent> {
    reader.enter("ORPC_EXTENT");
    let room = reader.count("data", 1, usize::MAX)?;
    let id = reader.guid()?;
    let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    let data = reader.bytes(room)?;
    // The room is the size rounded up to eight; a size beyond the room is a lie that costs nothing.
    let data = data.get(..size).unwrap_or(data);
    let data = if room > MAX_EXTENT { Vec::new() } else { data.to_vec() };
    Ok(OrpcExtent { id, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    #[test]
    fn extensions_are_read_and_what_follows_is_found() {
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
        let [extension] = this.extensions.as_slice() else {
            panic!("one extension expected")
        };
        assert_eq!(
            (extension.id.data1, extension.data.as_slice()),
            (0xcdcd_cdcd, &[1, 2, 3, 4, 5][..])
        );
        assert_eq!(extension.error_info(), None);
        assert_eq!(reader.u32(), Ok(0x4433_2211));
    }

    #[test]
    fn however_much_is_sent_along_what_follows_is_found() {
        for (count, length) in [(1_u32, 200_000_u32), (300, 8)] {
            let mut bytes = vec![0; 4];
            let mut words = |words: &[u32]| bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            words(&[1, count, 0, 3, count]);
            words(&vec![4; usize::try_from(count).unwrap()]);
            for _ in 0..count {
                words(&[length, 0xcdcd_cdcd, 0, 0, 0, length]);
                words(&vec![0; usize::try_from(length / 4).unwrap()]);
            }
            words(&[0x4433_2211]);
            let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
            let that = OrpcThat::parse(&mut reader).unwrap();
            assert!((1..=MAX_EXTENTS).contains(&that.extensions.len()));
            let longest = that.extensions.iter().map(|extent| extent.data.len()).max();
            assert_eq!((longest < Some(9), that.extensions[0].id.data1), (true, 0xcdcd_cdcd));
            assert_eq!(reader.u32(), Ok(0x4433_2211));
        }
    }

    #[test]
    fn what_is_no_object_call_is_told_by_its_version() {
        let mut reader = Reader::new(&[4; 64], ByteOrder::Little, Encoding::Ndr20, "test");
        assert!(OrpcThis::parse(&mut reader).is_err());
    }
}
