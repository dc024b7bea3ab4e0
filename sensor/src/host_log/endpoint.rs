//! Events of Elastic Defend, as documents of Elastic's common schema: its data streams `endpoint.events.process`, `.network` and
//! `.file`.

use super::event::{Direction, Source};
use super::fields::{Field as F, Fields};
use super::report::Reason;

/// What happened. Since 8.18 a short life is one event, with its beginning and its end, and the time of the end
/// (elastic/endpoint-package #549).
fn actions<'f>(fields: &'f Fields<'_>) -> impl Iterator<Item = &'f str> {
    let all = fields.text(F::EcsAction).unwrap_or_default();
    all.split(',').map(str::trim)
}

fn has(fields: &Fields<'_>, wanted: &[&str]) -> bool {
    actions(fields).any(|action| wanted.contains(&action))
}

const STARTS: &[&str] = &["start", "exec"];
const CONNECTS: &[&str] = &["connection_attempted", "connection_accepted"];
const ENDS: &[&str] = &["end", "disconnect_received"];

/// Which of its events this is, if any. A selection of fields may lack the data stream: then module and category tell.
pub(super) fn source(fields: &Fields<'_>) -> Option<Result<Source, Reason>> {
    let kind = match fields.text(F::EcsDataset) {
        Some(dataset) => dataset.strip_prefix("endpoint.")?.strip_prefix("events."),
        None => (fields.text(F::EcsModule)? == "endpoint").then(|| fields.text(F::EcsCategory))?,
    };
    Some(match kind {
        Some("process") if has(fields, STARTS) || has_ended(fields) => Ok(Source::EndpointProcess),
        Some("network") if has(fields, CONNECTS) => Ok(Source::EndpointNetwork),
        Some("file") if has(fields, &["creation", "overwrite"]) => Ok(Source::EndpointFile),
        _ => Err(Reason::NotOfInterest),
    })
}

/// Is it an end, and no beginning?
pub(super) fn has_ended(fields: &Fields<'_>) -> bool {
    has(fields, &["end"]) && !has(fields, STARTS)
}

/// Did it begin before the time that the event has?
pub(super) fn began_earlier(fields: &Fields<'_>) -> bool {
    has(fields, ENDS) && (has(fields, STARTS) || has(fields, CONNECTS))
}

/// Who began a connection, where `network.direction` is not there to say it.
pub(super) fn direction(fields: &Fields<'_>) -> Direction {
    if has(fields, &["connection_accepted"]) {
        Direction::Inbound
    } else {
        Direction::Outbound
    }
}
