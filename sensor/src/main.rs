//! `dcom-sensor`: see `dcom-sensor --help`.
fn main() {}
