//! Any bytes pass `checks::activation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::activation(bytes));
