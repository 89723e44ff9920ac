//! The body of a request to the server.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| untangle_serve::fuzz::request(data));
