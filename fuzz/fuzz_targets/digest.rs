//! libFuzzer's door to [`strowger_fuzz::digest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::digest::run(octets));
