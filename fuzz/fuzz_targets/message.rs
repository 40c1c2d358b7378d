//! libFuzzer's door to [`strowger_fuzz::message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::message::run(octets));
