//! DCE/RPC, NDR and DCOM as pure functions over bytes: no I/O, no clock, no logging, no panics on wire data.
//!
//! | module | specification |
//! |---|---|
//! | [`error`], [`input`], [`guid`] | the floor: errors with offsets, byte order, GUIDs |
//! | [`rpce`] | C706 chapter 12, [MS-RPCE] 2.2.2 and 2.2.3, [MS-RPCH] 2.2.3.6: PDUs of both protocols, verifiers, trailers, RTS |
//! | [`ndr`] | C706 chapter 14, [MS-RPCE] 2.2.5 to 2.2.7: NDR20, NDR64, both type serializations |
//! | [`epm`] | C706 appendices I, L, O, Q: towers, the endpoint mapper, remote management |
//! | [`dcom`] | [MS-DCOM]: ORPC and its extensions, references, bindings, activation, object resolver, `IRemUnknown` |
//! | [`oaut`] | [MS-OAUT]: late-bound calls, their arguments and results, type information |
//! | [`smb`] | [MS-SMB2], [MS-CIFS], [MS-SMB]: what carries named pipes |
//! | [`security`] | [MS-NLMP], RFC 4178, RFC 4120: who is speaking, out of a security verifier |
//! | [`wmi`] | [MS-WMI], [MS-WMIO]: logins, queries, methods, and the objects they carry |
//! | [`tsch`] | [MS-TSCH]: tasks registered and run |
//! | [`scmr`] | [MS-SCMR]: services created, changed and started |
//! | [`dns`], [`dhcp`] | RFC 1035, RFC 2131: whose an address is |
//! | [`arguments`] | the arguments of these calls as text |
//! | [`names`] | names of interfaces, operations and statuses, as data |

#![forbid(unsafe_code)]
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

pub mod arguments;
#[cfg(any(test, feature = "fuzzing"))]
pub mod checks;
pub mod dcom;
pub mod dhcp;
pub mod dns;
pub mod epm;
pub mod error;
pub mod guid;
pub mod input;
mod named;
pub mod names;
pub mod ndr;
pub mod oaut;
pub mod rpce;
pub mod scmr;
pub mod security;
pub mod smb;
#[cfg(test)]
mod testing;
pub mod tsch;
mod utf16;
pub mod wmi;
