//! Windows' own event logs: a header, then chunks of 64 KiB, each complete in itself. Damaged ones are counted and passed over.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use evtx::{EvtxChunkData, ParserSettings};
use memchr::memmem;

use super::clock::Written;
use super::fields::Fields;
use super::reader::{Reader, Sink};
use super::report::Reason;
use super::{clock, inserts, interpret, json, names};

/// How an EVTX file begins.
pub(super) const SIGNATURE: &[u8] = b"ElfFile\0";
/// And how its chunks do: a carved file may begin with one.
pub(super) const CHUNK_SIGNATURE: &[u8] = b"ElfChnk\0";
const FILE_HEADER: usize = 4096;
const CHUNK: usize = 65_536;
/// A chunk's header, without which nothing of it can be read.
const CHUNK_HEADER: usize = 512;
/// Where the beginning of a file is nothing that is known, its first chunk is looked for in so many bytes.
pub(super) const BEGINNING: usize = CHUNK;

/// Reads chunk after chunk; what is between them is looked through for the next one.
pub(super) fn read(mut input: impl Read, reader: &mut Reader, sink: Sink<'_>) -> io::Result<()> {
    let settings = Arc::new(ParserSettings::default().num_threads(1));
    let mut buffer = Vec::with_capacity(2 * CHUNK);
    fill(&mut input, &mut buffer, CHUNK_SIGNATURE.len())?;
    let mut to_come = 0;
    if buffer.starts_with(SIGNATURE) {
        fill(&mut input, &mut buffer, FILE_HEADER)?;
        if buffer.len() < FILE_HEADER {
            // Cut within its header: whatever it had, is gone.
            reader.skip(Reason::BrokenChunk);
        }
        to_come = chunks(&buffer);
        buffer.clear();
    }
    let mut at = 0;
    loop {
        if buffer.len() - at < CHUNK {
            buffer.drain(..at);
            at = 0;
            fill(&mut input, &mut buffer, 4 * CHUNK)?;
        }
        let rest = &buffer[at..buffer.len().min(at + CHUNK)];
        if rest.len() < CHUNK_SIGNATURE.len() {
            reader.report.lost_bytes += rest.len() as u64;
            for _ in 0..to_come {
                reader.skip(Reason::MissingChunk);
            }
            return Ok(());
        }
        if rest.starts_with(CHUNK_SIGNATURE) {
            to_come = to_come.saturating_sub(1);
            at += chunk(rest, &settings, reader, sink);
            continue;
        }
        // Zeroes are room for chunks to come.
        let found = memmem::find(rest, CHUNK_SIGNATURE);
        let passed = found.unwrap_or(rest.len() - (CHUNK_SIGNATURE.len() - 1));
        if rest[..passed].iter().any(|byte| *byte != 0) {
            reader.report.lost_bytes += passed as u64;
            if rest.len() == CHUNK && passed == rest.len() - (CHUNK_SIGNATURE.len() - 1) {
                reader.skip(Reason::BrokenChunk);
                to_come = to_come.saturating_sub(1);
            }
        }
        at += passed;
    }
}

/// How many chunks a file has by its header, if that is whole: its checksum, of the first 120 bytes, stands behind two flags.
/// A log that was copied while it was written to has more of them, and never fewer.
fn chunks(header: &[u8]) -> u16 {
    let mut checksum = flate2::Crc::new();
    checksum.update(header.get(..120).unwrap_or_default());
    match (header.get(42..44), header.get(124..128)) {
        (Some(&[low, high]), Some(told)) if told == checksum.sum().to_le_bytes() => u16::from_le_bytes([low, high]),
        _ => 0,
    }
}

/// Fills up to `size`, or to the end of the input.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<()> {
    let missing = size.saturating_sub(buffer.len()) as u64;
    input.by_ref().take(missing).read_to_end(buffer)?;
    Ok(())
}

/// Reads one chunk, or what is left of one, and says how many bytes that was.
fn chunk(bytes: &[u8], settings: &Arc<ParserSettings>, reader: &mut Reader, sink: Sink<'_>) -> usize {
    // One that was cut short ends where the next begins.
    let next = memmem::find(&bytes[CHUNK_SIGNATURE.len()..], CHUNK_SIGNATURE);
    let bytes = &bytes[..next.map_or(bytes.len(), |next| next + CHUNK_SIGNATURE.len())];
    if bytes.len() < CHUNK_HEADER {
        reader.skip(Reason::BrokenChunk);
        return bytes.len();
    }
    let mut data = match catch_unwind(|| EvtxChunkData::new(bytes.to_vec(), false)) {
        Ok(Ok(data)) => data,
        Ok(Err(_)) => {
            reader.skip(Reason::BrokenChunk);
            return CHUNK_SIGNATURE.len();
        }
        Err(_) => {
            reader.skip(Reason::Fault);
            return CHUNK_SIGNATURE.len();
        }
    };
    // A chunk that was cut says how many records it had.
    let before = reader.report.records;
    let had = if bytes.len() < CHUNK { records(bytes) } else { 0 };
    // A panic in the library costs the rest of this chunk. What the reader knows is whole at any time: it is changed only
    // between records.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let Ok(mut chunk) = data.parse(settings.clone()) else {
            reader.skip(Reason::BrokenChunk);
            return;
        };
        for record in chunk.iter() {
            match record.map(|record| (record.event_record_id, record.into_json())) {
                Ok((number, Ok(rendered))) => one(&rendered.data, number, reader, sink),
                Ok((_, Err(_))) | Err(_) => reader.skip(Reason::BrokenRecord),
            }
        }
    }));
    if outcome.is_err() {
        reader.skip(Reason::Fault);
    }
    for _ in (reader.report.records - before)..had {
        reader.skip(Reason::BrokenRecord);
    }
    bytes.len()
}

/// How many records a chunk has by its header: the numbers of the first and the last, from 1.
fn records(chunk: &[u8]) -> u64 {
    let number = |at: usize| {
        let bytes = chunk.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let (first, last) = (number(8), number(16));
    // None is shorter than its head and its size, which stands at its end, too.
    let most = (CHUNK / 28) as u64;
    last.checked_sub(first)
        .map_or(0, |more| more.saturating_add(1))
        .min(most)
}

/// Reads one record, which the library has made JSON of.
fn one(json: &str, number: u64, reader: &mut Reader, sink: Sink<'_>) {
    if let Some(id) = id(json).filter(|id| !interpret::any_wants(*id))
        && let Some(system) = System::of(json)
    {
        let reason = interpret::unwanted(system.provider, id);
        return reader.passed_over(system.computer, clock::written(system.time).map(Written::utc), reason);
    }
    let mut fields = Fields::default();
    match json::read(json, names::ROOT, &mut fields) {
        Ok(()) => {
            inserts::name(&mut fields);
            reader.record(&fields, number, sink);
        }
        Err(_) => reader.skip(Reason::BrokenRecord),
    }
}

/// What every event has, found without reading all of it: most records of a log are not of interest.
///
/// `System` comes first, and within a text no name can be quoted: what looks like a key is one.
struct System<'j> {
    provider: &'j str,
    computer: &'j str,
    time: &'j str,
}

/// Looks for a key, and gives what stands behind it.
struct Behind(LazyLock<memmem::Finder<'static>>);

impl Behind {
    fn of<'j>(&self, json: &'j str) -> Option<&'j str> {
        let found = self.0.find(json.as_bytes())?;
        json.get(found + self.0.needle().len()..)
    }

    /// A text there. One with escapes is left to who can read them.
    fn text<'j>(&self, json: &'j str) -> Option<&'j str> {
        let rest = self.of(json)?;
        let text = &rest[..memchr::memchr(b'"', rest.as_bytes())?];
        (!text.contains('\\')).then_some(text)
    }
}

static EVENT_ID: Behind = Behind(LazyLock::new(|| memmem::Finder::new("\"EventID\":")));
static NAME: Behind = Behind(LazyLock::new(|| memmem::Finder::new("\"Name\":\"")));
static COMPUTER: Behind = Behind(LazyLock::new(|| memmem::Finder::new("\"Computer\":\"")));
static SYSTEM_TIME: Behind = Behind(LazyLock::new(|| memmem::Finder::new("\"SystemTime\":\"")));

/// The number of an event, found without reading all of it.
fn id(json: &str) -> Option<u16> {
    let id = EVENT_ID.of(json)?;
    let id = match id.strip_prefix('{') {
        // With attributes, the number stands behind them.
        Some(object) => object.split_once("\"#text\":")?.1,
        None => id,
    };
    let digits = id.bytes().take_while(u8::is_ascii_digit).count();
    id[..digits].parse().ok()
}

impl<'j> System<'j> {
    fn of(json: &'j str) -> Option<Self> {
        Some(Self {
            provider: NAME.text(json)?,
            computer: COMPUTER.text(json)?,
            time: SYSTEM_TIME.text(json)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Kind;
    use super::*;

    #[test]
    fn what_was_cut_is_counted() {
        let read_all = |bytes: &[u8]| {
            let mut reader = Reader::new("cut.evtx".into(), Kind::Evtx);
            read(bytes, &mut reader, &mut |_| {}).unwrap();
            reader.report
        };
        // Within the file's header.
        let mut file = SIGNATURE.to_vec();
        file.resize(3000, 1);
        let report = read_all(&file);
        assert_eq!(report.skipped.get(&Reason::BrokenChunk), Some(&1));
        assert!(report.is_damaged() && report.complaint().is_some());
        // A header alone is an empty log.
        file.resize(FILE_HEADER, 0);
        assert!(!read_all(&file).is_damaged());
        // Unless it says that there is more.
        file[40..44].copy_from_slice(&[0, 16, 3, 0]);
        assert_eq!(
            read_all(&file).skipped.get(&Reason::MissingChunk),
            None,
            "its checksum is another"
        );
        let mut checksum = flate2::Crc::new();
        checksum.update(&file[..120]);
        file[124..128].copy_from_slice(&checksum.sum().to_le_bytes());
        let report = read_all(&file);
        assert_eq!(report.skipped.get(&Reason::MissingChunk), Some(&3));
        assert_eq!(
            report.complaint().as_deref(),
            Some("of 3 records none is of use: 3 missing chunks")
        );
        file.resize(FILE_HEADER + 5 * CHUNK, 0);
        file[FILE_HEADER..][..8].copy_from_slice(CHUNK_SIGNATURE);
        assert_eq!(read_all(&file).skipped.get(&Reason::MissingChunk), Some(&2));
        // Signatures with nothing behind them are broken chunks, each.
        let report = read_all(&CHUNK_SIGNATURE.repeat(100_000));
        assert_eq!(report.skipped.get(&Reason::BrokenChunk), Some(&100_000));
        // Records 7 to 15, by the chunk's header.
        let mut chunk = CHUNK_SIGNATURE.to_vec();
        chunk.extend(7_u64.to_le_bytes().into_iter().chain(15_u64.to_le_bytes()));
        assert_eq!(records(&chunk), 9);
        chunk[16..24].fill(0xff);
        assert_eq!(records(&chunk), (CHUNK / 28) as u64);
        assert_eq!(records(&chunk[..20]), 0);
    }
}
