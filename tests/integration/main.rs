//! Tests of the whole: the program as it is run, and the pipeline as one type.

mod again;
mod altered;
mod calls;
mod classes;
mod cli;
mod corpus;
#[cfg(target_os = "linux")]
mod demo;
#[cfg(target_os = "linux")]
mod doctor;
mod evasion;
mod events_doc;
mod expect;
mod extract;
mod feeds;
mod golden;
mod host_logs;
mod hunt;
mod joined;
mod kerberos;
mod keys;
#[cfg(target_os = "linux")]
mod live;
// It asks /proc.
#[cfg(target_os = "linux")]
mod memory;
mod outputs;
mod program;
mod properties;
mod quiet;
mod records;
mod report;
mod rig;
#[cfg(target_os = "linux")]
mod soak;
mod taps;
mod tools;
mod traffic;
mod tshark;
mod workers;
