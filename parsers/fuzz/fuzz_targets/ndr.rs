//! Any bytes pass `checks::ndr`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::ndr(bytes));
