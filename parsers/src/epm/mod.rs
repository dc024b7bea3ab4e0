//! The endpoint mapper: C706 appendix O (`ept` interface), appendices I and L (towers); remote management: appendix Q.

mod mgmt;
mod operations;
mod rare;
#[cfg(test)]
mod round_trips;
mod tower;

pub use mgmt::{
    InqIfIdsReply, InqPrincNameReply, InqPrincNameRequest, InqStatsReply, InqStatsRequest, IsServerListeningReply,
    StopServerListeningReply,
};
pub use operations::{Entry, EptLookupReply, EptMapReply, EptMapRequest, LookupHandle};
pub use rare::{
    EptChangeRequest, EptInqObjectReply, EptLookupHandleFreeReply, EptLookupHandleFreeRequest, EptLookupRequest,
    EptMgmtDeleteRequest, InquiryType, VersionOption, parse_status,
};
pub use tower::Tower;
