//! DCE/RPC, NDR and DCOM as pure functions over bytes: no I/O, no clock, no logging, no panics on wire data.
//!
//! | module | specification |
//! |---|---|
//! | [`error`], [`input`], [`guid`] | the floor: errors with offsets, byte order, GUIDs |
//! | [`rpce`] | C706 chapter 12, [MS-RPCE] 2.2.2: connection-oriented PDUs and their verifiers |
//! | [`ndr`] | C706 chapter 14, [MS-RPCE] 2.2.5 and 2.2.6: NDR20, NDR64, type serialization |
//! | [`epm`] | C706 appendices I, L, O: towers, `ept_map`, `ept_lookup` |
//! | [`dcom`] | [MS-DCOM]: ORPC, references, bindings, activation, object resolver |
//! | [`smb`] | [MS-SMB2], [MS-CIFS], [MS-SMB]: what carries named pipes
//! | [`security`] | [MS-NLMP], RFC 4178, RFC 4120: who is speaking, out of a security verifier |
//! | [`names`] | names of interfaces, operations and statuses, as data |

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::as_conversions,
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        reason = "a test that fails should say so at once"
    )
)]

pub mod dcom;
pub mod epm;
pub mod error;
pub mod guid;
pub mod input;
pub mod names;
pub mod ndr;
pub mod rpce;
pub mod security;
pub mod smb;
