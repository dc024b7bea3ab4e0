//! `ept_map` and `ept_lookup`: what clients ask the mapper all day.

use std::collections::{BTreeMap, BTreeSet};

use super::tower::{Tower, object};
use crate::error::{ErrorKind, Result};
use crate::guid::Guid;
use crate::ndr::Reader;

/// The most entries one reply may bring: C706 gives no bound, Windows stops at 500.
pub(super) const MAX_ENTRIES: usize = 4096;
/// The longest tower octet string read.
const MAX_TOWER: usize = 2048;

/// C706 appendix O, `ept_lookup_handle_t`: a place in a search that takes several calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LookupHandle {
    /// `context_handle_attributes`.
    pub attributes: u32,
    /// `context_handle_uuid`.
    pub uuid: Guid,
}

impl LookupHandle {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            attributes: reader.u32()?,
            uuid: reader.guid()?,
        })
    }

    /// Is it the handle of a search that has not begun or is over?
    pub fn is_null(self) -> bool {
        self == Self::default()
    }
}

/// C706 appendix O, `ept_map`: the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptMapRequest {
    /// The object asked for, if one was.
    pub object: Option<Guid>,
    /// The interface, encoding and protocol asked for.
    pub map_tower: Option<Tower>,
    /// Where the search stands.
    pub handle: LookupHandle,
    /// The most towers the client takes.
    pub max_towers: u32,
}

impl EptMapRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_map request");
        let asked = if reader.pointer()? {
            object(reader.guid()?)
        } else {
            None
        };
        let map_tower = if reader.pointer()? { Some(tower(reader)?) } else { None };
        Ok(Self {
            object: asked,
            map_tower,
            handle: LookupHandle::parse(reader)?,
            max_towers: reader.u32()?,
        })
    }
}

/// C706 appendix O, `ept_map`: the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptMapReply {
    /// Where the search stands; null when it is over.
    pub handle: LookupHandle,
    /// Where the interface can be reached.
    pub towers: Vec<Tower>,
    /// 0, or why there is none (0x16c9a0d6: not registered).
    pub status: u32,
}

impl EptMapReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_map reply");
        let handle = LookupHandle::parse(reader)?;
        reader.u32()?; // num_towers
        let referents = array(reader, Reader::referent)?;
        let towers = towers(reader, &referents)?;
        Ok(Self {
            handle,
            towers: towers.into_iter().flatten().collect(),
            status: reader.u32()?,
        })
    }
}

/// C706 appendix O, `ept_entry_t`: one registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The object registered, if any.
    pub object: Option<Guid>,
    /// How to reach it.
    pub tower: Option<Tower>,
    /// What the server calls itself, 63 characters at most.
    pub annotation: String,
}

/// C706 appendix O, `ept_lookup`: the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EptLookupReply {
    /// Where the search stands; null when it is over.
    pub handle: LookupHandle,
    /// What is registered.
    pub entries: Vec<Entry>,
    /// 0, or `0x16c9a0d6` when there is nothing more.
    pub status: u32,
}

impl EptLookupReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("ept_lookup reply");
        let handle = LookupHandle::parse(reader)?;
        reader.u32()?; // num_ents
        let heads = array(reader, EntryHead::parse)?;
        let entries = with_towers(reader, heads)?;
        Ok(Self {
            handle,
            entries,
            status: reader.u32()?,
        })
    }
}

/// An [`Entry`] whose tower is still to come.
pub(super) struct EntryHead {
    object: Option<Guid>,
    tower: u64,
    annotation: String,
}

impl EntryHead {
    /// The fewest bytes in one.
    pub(super) const LEAST: usize = 28;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.align_pointer()?;
        Ok(Self {
            object: object(reader.guid()?),
            tower: reader.referent()?,
            annotation: annotation(reader)?,
        })
    }
}

/// A varying string of 64 characters at most.
fn annotation(reader: &mut Reader<'_>) -> Result<String> {
    reader.maximum_count()?;
    let length = reader.count("annotation", 1, 64)?;
    let text = reader.bytes(length)?;
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Reads the towers that `heads` point to, which stand behind them all.
pub(super) fn with_towers(reader: &mut Reader<'_>, heads: Vec<EntryHead>) -> Result<Vec<Entry>> {
    let referents: Vec<u64> = heads.iter().map(|head| head.tower).collect();
    let each = heads.into_iter().zip(towers(reader, &referents)?);
    Ok(each
        .map(|(head, tower)| Entry {
            object: head.object,
            tower,
            annotation: head.annotation,
        })
        .collect())
}

/// Reads what full pointers lead to (C706 14.3.12.1 Embedded Full Pointers): an identifier that came before stands for
/// the same tower, which is not sent again. Some servers give several towers one identifier and send them all, which is
/// told by a tower too many behind those.
fn towers(reader: &mut Reader<'_>, referents: &[u64]) -> Result<Vec<Option<Tower>>> {
    let distinct: BTreeSet<_> = referents.iter().filter(|&&id| id != 0).collect();
    if distinct.len() < referents.iter().filter(|&&id| id != 0).count() {
        let mut shared = *reader;
        let read = read_towers(&mut shared, referents, true);
        if read.is_ok() && !stands_there(shared) {
            *reader = shared;
            return read;
        }
    }
    read_towers(reader, referents, false)
}

/// What a copy of a tower takes, beside its texts.
const COPY: usize = size_of::<Tower>();

fn read_towers(reader: &mut Reader<'_>, referents: &[u64], shared: bool) -> Result<Vec<Option<Tower>>> {
    let mut known = BTreeMap::new();
    let mut all: Vec<Option<Tower>> = Vec::new();
    // Copies, too, are paid for by what was sent. Those that are known are of a few towers.
    let mut room = reader.rest().len().saturating_add(COPY.saturating_mul(64));
    for &id in referents {
        let earlier = known
            .get(&id)
            .filter(|_| shared)
            .and_then(|&at| all.get::<usize>(at)?.clone());
        all.push(match earlier {
            _ if id == 0 => None,
            Some(tower) => {
                let Some(left) = room.checked_sub(COPY.saturating_add(tower.text_length())) else {
                    return Err(reader.input().error(ErrorKind::Limit {
                        field: "tower",
                        max: room,
                    }));
                };
                room = left;
                Some(tower)
            }
            None => {
                known.insert(id, all.len());
                Some(tower(reader)?)
            }
        });
    }
    Ok(all)
}

/// Does a whole tower come next?
fn stands_there(mut reader: Reader<'_>) -> bool {
    let mut read = || {
        let count = reader.count("tower_octet_string", 1, MAX_TOWER)?;
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        Tower::parse(reader.bytes(count)?).map(|tower| count == length && tower != Tower::default())
    };
    read().unwrap_or(false)
}

/// A conformant varying array: maximum count, offset, actual count, elements.
fn array<'a, T>(reader: &mut Reader<'a>, element: impl Fn(&mut Reader<'a>) -> Result<T>) -> Result<Vec<T>> {
    reader.maximum_count()?;
    reader.maximum_count()?;
    reader.array("actual_count", 4, MAX_ENTRIES, element)
}

/// A `twr_t`: a conformant structure, so the conformance comes first.
pub(super) fn tower(reader: &mut Reader<'_>) -> Result<Tower> {
    let count = reader.count("tower_octet_string", 1, MAX_TOWER)?;
    reader.u32()?;
    Tower::parse(reader.bytes(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test")
    }

    #[test]
    fn ept_map_asks_for_an_interface_and_gets_a_port() {
        let request = include_bytes!("../../corpus/epm/ept-map-request.bin");
        let mut request = reader(request);
        let asked = EptMapRequest::parse(&mut request).unwrap();
        let lsarpc = "12345778-1234-abcd-ef00-0123456789ab";
        assert_eq!(asked.map_tower.unwrap().interface.unwrap().uuid.to_string(), lsarpc);
        assert!(request.rest().is_empty());
        let mut reply = reader(include_bytes!("../../corpus/epm/ept-map-reply.bin"));
        let answer = EptMapReply::parse(&mut reply).unwrap();
        assert_eq!((answer.status, answer.towers.len()), (0, 1));
        assert_eq!(answer.towers[0].interface.unwrap().uuid.to_string(), lsarpc);
        assert!(answer.towers[0].tcp_port.is_some());
        assert!(reply.rest().is_empty());
    }

    #[test]
    fn ept_lookup_gives_every_entry_with_its_annotation() {
        let mut bytes = reader(include_bytes!("../../corpus/epm/ept-lookup-reply.bin"));
        let reply = EptLookupReply::parse(&mut bytes).unwrap();
        assert!(reply.entries.len() > 3);
        assert!(reply.entries.iter().all(|entry| entry.tower.is_some()));
        assert!(bytes.rest().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn damaged_replies_never_panic(position in 0..1144_usize, value: u8) {
            let mut bytes = include_bytes!("../../corpus/epm/ept-lookup-reply.bin").to_vec();
            bytes[position] = value;
            let _ = EptLookupReply::parse(&mut reader(&bytes));
            let _ = EptMapReply::parse(&mut reader(&bytes));
        }
    }
}
