//! Any bytes pass `checks::smb`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::smb(bytes));
