//! Any bytes pass `checks::management`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::management(bytes));
