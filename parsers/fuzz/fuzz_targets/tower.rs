//! Any bytes pass `checks::tower`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::tower(bytes));
