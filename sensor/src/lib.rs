//! dcom-sensor: sees DCOM lateral movement on the wire.
pub mod capture;
pub mod decode;
pub mod emit;
pub mod event;
pub mod severity;
pub mod time;
