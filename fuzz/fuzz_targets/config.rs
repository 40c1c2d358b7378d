//! libFuzzer's door to [`strowger_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::config::run(octets));
