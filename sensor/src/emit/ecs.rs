//! ecs.json: one JSON object a line in the Elastic Common Schema, for Elasticsearch and `OpenSearch`.

use super::nested::Nested;
use crate::event::Event;

/// Writes an event's line, its line feed included, to the end of `out`; nothing of what has no line of its own.
pub fn line(event: &Event, out: &mut Vec<u8>) {
    if !event.body.is_in_eve() {
        return;
    }
    let mut object = Nested::begin(out);
    event.ecs(|prefix, column, value| object.column(prefix, column, value));
    object.end();
    out.push(b'\n');
}
