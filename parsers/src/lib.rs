//! DCE/RPC, NDR and DCOM as pure functions over bytes: no I/O, no clock, no logging, no panics on wire data.
//!
//! | module | specification |
//! |---|---|
//! | [`error`], [`input`], [`guid`] | the floor: errors with offsets, byte order, GUIDs |
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

pub mod error;
pub mod guid;
pub mod input;
pub mod names;
