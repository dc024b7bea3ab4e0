//! Any bytes pass `checks::dispatch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::dispatch(bytes));
