//! Any bytes as a journal segment: the reader ends, does not panic, and sequence numbers rise (it asserts that itself).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let records = fingerpost::journal::read_hostile_segment(bytes);
    assert!(records <= bytes.len() as u64, "a record has at least one byte");
});
