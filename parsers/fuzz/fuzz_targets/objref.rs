//! Any bytes pass `checks::objref`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::objref(bytes));
