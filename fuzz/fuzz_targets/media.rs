//! libFuzzer's door to [`strowger_fuzz::media`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::media::run(octets));
