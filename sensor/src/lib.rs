//! dcom-sensor: sees DCOM lateral movement on the wire.
pub mod anomaly;
pub mod capture;
pub mod catalog;
pub mod decode;
pub mod emit;
pub mod event;
pub mod flow;
pub mod limits;
pub mod severity;
pub mod time;
