//! dcom-sensor: sees DCOM lateral movement on the wire.
pub mod capture;
pub mod decode;
pub mod flow;
pub mod limits;
pub mod time;
