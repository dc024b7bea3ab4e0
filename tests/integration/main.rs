//! Tests of the whole: the program as it is run, and the pipeline as one type.

mod altered;
mod calls;
mod cli;
mod corpus;
mod events_doc;
mod expect;
mod golden;
mod keys;
// It asks /proc.
#[cfg(target_os = "linux")]
mod memory;
mod program;
mod properties;
mod records;
mod rig;
mod tools;
mod traffic;
mod tshark;
