//! The endpoint mapper: C706 appendix O (`ept` interface), appendices I and L (towers).

mod operations;
mod tower;

pub use operations::{Entry, EptLookupReply, EptMapReply, EptMapRequest};
pub use tower::Tower;
