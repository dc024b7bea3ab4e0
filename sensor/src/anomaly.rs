//! What was odd on the wire, as data: never a reason to stop.

use crate::capture::At;

/// Something that a correct pair of hosts does not do, or that we could not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The frame that showed it.
    pub at: At,
    /// Its name: stable, in snake case.
    pub name: &'static str,
    /// What exactly.
    pub detail: String,
}
