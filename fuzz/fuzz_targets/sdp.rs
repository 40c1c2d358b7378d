//! libFuzzer's door to [`strowger_fuzz::sdp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::sdp::run(octets));
