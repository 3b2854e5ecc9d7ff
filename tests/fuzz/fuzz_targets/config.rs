#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amps_tests::targets::run("config", bytes));
