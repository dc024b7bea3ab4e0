//! Tests of the whole: the program as it is run, and the pipeline as one type.

mod altered;
mod calls;
mod classes;
mod cli;
mod corpus;
mod events_doc;
mod expect;
mod golden;
// It asks /proc.
#[cfg(target_os = "linux")]
mod memory;
mod program;
mod properties;
mod quiet;
mod records;
mod rig;
mod traffic;
mod tshark;
