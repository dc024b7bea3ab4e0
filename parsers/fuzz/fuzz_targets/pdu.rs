//! Any bytes pass `checks::pdu`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dcom_parsers::checks::pdu(bytes));
