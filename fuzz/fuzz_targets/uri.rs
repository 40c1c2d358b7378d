//! libFuzzer's door to [`strowger_fuzz::uri`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::uri::run(octets));
