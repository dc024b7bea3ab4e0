//! Writes EVTX files: the records of a chunk share their templates, as Windows writes them.

/// One event to write.
pub(crate) struct Record<'a> {
    pub(crate) provider: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) id: u16,
    /// `EventRecordID`.
    pub(crate) number: u64,
    /// Milliseconds since 1970, UTC.
    pub(crate) time: u64,
    pub(crate) computer: &'a str,
    /// Names and values; a name may be empty.
    pub(crate) data: Vec<(&'a str, String)>,
}

const CHUNK: usize = 65_536;
const HEADER: usize = 512;

/// A whole file.
pub(crate) fn file(records: &[Record<'_>]) -> Vec<u8> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (chunk, taken) = chunk(rest, (records.len() - rest.len()) as u64 + 1);
        assert!(taken > 0, "a record is larger than a chunk");
        chunks.push(chunk);
        rest = &rest[taken..];
    }
    let mut file = b"ElfFile\0".to_vec();
    file.extend(0_u64.to_le_bytes());
    file.extend((chunks.len() as u64).saturating_sub(1).to_le_bytes());
    file.extend((records.len() as u64 + 1).to_le_bytes());
    file.extend(128_u32.to_le_bytes());
    file.extend([1, 0, 3, 0]);
    file.extend(4096_u16.to_le_bytes());
    file.extend(u16::try_from(chunks.len()).unwrap_or(u16::MAX).to_le_bytes());
    file.resize(120, 0);
    file.extend(0_u32.to_le_bytes());
    let sum = crc32(&file[..120]);
    file.extend(sum.to_le_bytes());
    file.resize(4096, 0);
    file.extend(chunks.into_iter().flatten());
    file
}

fn chunk(records: &[Record<'_>], first: u64) -> (Vec<u8>, usize) {
    let mut bytes = vec![0; HEADER];
    let mut templates: Vec<(String, u32)> = Vec::new();
    let (mut taken, mut last) = (0, HEADER);
    for record in records {
        let start = bytes.len();
        let known = templates.len();
        write(record, first + taken as u64, &mut bytes, &mut templates);
        if bytes.len() > CHUNK {
            bytes.truncate(start);
            templates.truncate(known);
            break;
        }
        last = start;
        taken += 1;
    }
    let free = bytes.len();
    let events = crc32(&bytes[HEADER..free]);
    let mut header = b"ElfChnk\0".to_vec();
    for number in [first, first + taken as u64 - 1, first, first + taken as u64 - 1] {
        header.extend(number.to_le_bytes());
    }
    for number in [128, u32::try_from(last).unwrap(), u32::try_from(free).unwrap(), events] {
        header.extend(number.to_le_bytes());
    }
    bytes[..header.len()].copy_from_slice(&header);
    let summed: Vec<u8> = bytes[..120].iter().chain(&bytes[128..512]).copied().collect();
    let sum = crc32(&summed);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(CHUNK, 0);
    (bytes, taken)
}

fn write(record: &Record<'_>, id: u64, out: &mut Vec<u8>, templates: &mut Vec<(String, u32)>) {
    let start = out.len();
    let filetime = (record.time + 11_644_473_600_000) * 10_000;
    out.extend([0x2a, 0x2a, 0, 0]);
    out.extend(0_u32.to_le_bytes());
    out.extend(id.to_le_bytes());
    out.extend(filetime.to_le_bytes());
    out.extend([0x0f, 1, 1, 0, 0x0c, 1]);
    let names: Vec<&str> = record.data.iter().map(|(name, _)| *name).collect();
    let key = format!("{}\0{}\0{}", record.provider, record.channel, names.join("\0"));
    out.extend(crc32(key.as_bytes()).to_le_bytes());
    if let Some((_, offset)) = templates.iter().find(|(known, _)| *known == key) {
        out.extend(offset.to_le_bytes());
    } else {
        let offset = place(out.len() + 4);
        out.extend(offset.to_le_bytes());
        template(record, &names, out);
        templates.push((key, offset));
    }
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut values: Vec<(u8, Vec<u8>)> = vec![
        (0x06, record.id.to_le_bytes().to_vec()),
        (0x11, filetime.to_le_bytes().to_vec()),
        (0x0a, record.number.to_le_bytes().to_vec()),
        (0x01, utf16(record.computer)),
        // S-1-5-18
        (0x13, vec![1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]),
    ];
    values.extend(record.data.iter().map(|(_, value)| (0x01, utf16(value))));
    out.extend(place(values.len()).to_le_bytes());
    for (kind, value) in &values {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        out.extend([*kind, 0]);
    }
    out.extend(values.into_iter().flat_map(|(_, value)| value));
    let size = place(out.len() - start + 4);
    out.extend(size.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&size.to_le_bytes());
}

fn place(offset: usize) -> u32 {
    u32::try_from(offset).unwrap()
}

/// The definition of a template: the next one's offset, its GUID, its size, its fragment.
fn template(record: &Record<'_>, names: &[&str], out: &mut Vec<u8>) {
    out.extend(0_u32.to_le_bytes());
    out.extend([7; 16]);
    let size_at = out.len();
    out.extend(0_u32.to_le_bytes());
    out.extend([0x0f, 1, 1, 0]);
    element(out, "Event", &[], |out| {
        element(out, "System", &[], |out| {
            element(out, "Provider", &[("Name", Value::Text(record.provider))], |_| {});
            element(out, "EventID", &[], |out| substitution(out, 0, 0x06));
            element(out, "TimeCreated", &[("SystemTime", Value::Slot(1, 0x11))], |_| {});
            element(out, "EventRecordID", &[], |out| substitution(out, 2, 0x0a));
            element(out, "Channel", &[], |out| text(out, record.channel));
            element(out, "Computer", &[], |out| substitution(out, 3, 0x01));
            element(out, "Security", &[("UserID", Value::Slot(4, 0x13))], |_| {});
        });
        element(out, "EventData", &[], |out| {
            for (index, name) in names.iter().enumerate() {
                let slot = u16::try_from(index + 5).unwrap();
                let named = [("Name", Value::Text(name))];
                let attributes = if name.is_empty() { &[][..] } else { &named[..] };
                element(out, "Data", attributes, |out| substitution(out, slot, 0x01));
            }
        });
    });
    out.push(0);
    let size = place(out.len() - size_at - 4);
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

enum Value<'a> {
    Text(&'a str),
    Slot(u16, u8),
}

fn element(out: &mut Vec<u8>, called: &str, attributes: &[(&str, Value<'_>)], content: impl FnOnce(&mut Vec<u8>)) {
    out.push(if attributes.is_empty() { 0x01 } else { 0x41 });
    out.extend([0xff, 0xff]);
    let size_at = out.len();
    out.extend(0_u32.to_le_bytes());
    name(out, called);
    if !attributes.is_empty() {
        let list_at = out.len();
        out.extend(0_u32.to_le_bytes());
        for (index, (called, value)) in attributes.iter().enumerate() {
            out.push(if index + 1 < attributes.len() { 0x46 } else { 0x06 });
            name(out, called);
            match value {
                Value::Text(value) => text(out, value),
                Value::Slot(slot, kind) => substitution(out, *slot, *kind),
            }
        }
        let size = place(out.len() - list_at - 4);
        out[list_at..list_at + 4].copy_from_slice(&size.to_le_bytes());
    }
    out.push(0x02);
    content(out);
    out.push(0x04);
    let size = place(out.len() - size_at - 4);
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

/// A name stands where it is first used; this writer uses none twice.
fn name(out: &mut Vec<u8>, called: &str) {
    let offset = place(out.len() + 4);
    out.extend(offset.to_le_bytes());
    out.extend([0, 0, 0, 0, 0, 0]);
    out.extend(u16::try_from(called.len()).unwrap().to_le_bytes());
    out.extend(called.encode_utf16().flat_map(u16::to_le_bytes));
    out.extend([0, 0]);
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend([0x05, 0x01]);
    out.extend(u16::try_from(value.encode_utf16().count()).unwrap().to_le_bytes());
    out.extend(value.encode_utf16().flat_map(u16::to_le_bytes));
}

fn substitution(out: &mut Vec<u8>, slot: u16, kind: u8) {
    out.push(0x0d);
    out.extend(slot.to_le_bytes());
    out.push(kind);
}

/// CRC-32 as in gzip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}
