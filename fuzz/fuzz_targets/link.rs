//! libFuzzer's door to [`strowger_fuzz::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::link::run(octets));
