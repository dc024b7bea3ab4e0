//! What hosts say of themselves: Windows event logs and what is exported of them, read as [`HostEvent`]s.

pub mod command_line;
pub mod event;

pub use event::{HostBody, HostEvent};
