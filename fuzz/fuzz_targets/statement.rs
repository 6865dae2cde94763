//! A statement that is read is written back as it was read, and counts for itself alone.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::statement(bytes);
});
