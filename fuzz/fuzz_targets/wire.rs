//! Any bytes as a frame from the network: no panic, and no more memory than the codec's limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rankpool::fuzz::wire(bytes));
