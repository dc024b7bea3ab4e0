//! DCE/RPC PDUs: C706 chapter 12 as [MS-RPCE] 2.2.2 and 2.2.3 amend it, and the RTS PDU of [MS-RPCH].

mod auth;
mod bind;
mod call;
mod character_set;
mod common_header;
mod connectionless;
mod pdu;
#[cfg(test)]
mod round_trips;
mod rts;
mod verification;

pub use auth::SecTrailer;
pub use bind::{
    Bind, BindAck, BindNak, BindTimeFeatures, ContextElement, ContextResult, RejectReason, SyntaxId, bind_time_features,
};
pub use call::{Fault, FaultFlags, Request, Response};
pub use character_set::CharacterSet;
pub use common_header::{CommonHeader, PfcFlags, Prefix, Ptype, has_usual_representation, recognise, recognise_next};
pub use connectionless::{
    DgBody, DgFack, DgFlags, DgFlags2, DgHeader, DgPdu, DgPtype, recognise_cut_datagram, recognise_datagram,
};
pub use pdu::{Body, Pdu};
pub use rts::{Rts, RtsCommand, RtsCommandType, RtsFlags, RtsValue};
pub use verification::{VerificationBits, VerificationContext, VerificationHeader, VerificationTrailer};
