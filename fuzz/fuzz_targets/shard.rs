//! libFuzzer's door to [`strowger_fuzz::shard`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| strowger_fuzz::shard::run(octets));
