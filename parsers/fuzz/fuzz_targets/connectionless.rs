//! Any bytes pass `checks::connectionless`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::connectionless(bytes));
