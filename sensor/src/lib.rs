//! dcom-sensor: sees DCOM lateral movement on the wire.
pub mod anomaly;
pub mod capture;
pub mod catalog;
pub mod decode;
pub mod flow;
pub mod limits;
pub mod rpc;
pub mod severity;
pub mod time;
