//! Connection-oriented DCE/RPC PDUs: C706 chapter 12 as [MS-RPCE] 2.2.2 amends it.

mod auth;
mod bind;
mod call;
mod common_header;
mod pdu;

pub use auth::SecTrailer;
pub use bind::{Bind, BindAck, BindNak, ContextElement, ContextResult, RejectReason, SyntaxId, bind_time_features};
pub use call::{Fault, Request, Response};
pub use common_header::{CommonHeader, PfcFlags, Prefix, Ptype, recognise};
pub use pdu::{Body, Pdu};
