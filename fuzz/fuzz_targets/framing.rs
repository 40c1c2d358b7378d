//! libFuzzer's door to [`strowger_fuzz::framing`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::framing::run(octets));
