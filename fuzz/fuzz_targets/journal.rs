//! Any bytes as a journal: no panic, and no more memory than they are long.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rankpool::fuzz::journal(bytes));
