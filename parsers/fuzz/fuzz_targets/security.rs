//! Any bytes pass `checks::security`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::security(bytes));
