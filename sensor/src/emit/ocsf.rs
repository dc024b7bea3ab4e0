//! ocsf.json: alerts as Detection Findings of the Open Cybersecurity Schema Framework, one JSON object a line.

use super::nested::Nested;
use crate::event::Event;

/// Writes an event's line, its line feed included, to the end of `out`; nothing of what is no finding.
pub fn line(event: &Event, out: &mut Vec<u8>) {
    let start = out.len();
    let mut object = Nested::begin(out);
    let told = event.ocsf(|prefix, column, value| object.column(prefix, column, value));
    object.end();
    out.push(b'\n');
    if !told {
        out.truncate(start);
    }
}
