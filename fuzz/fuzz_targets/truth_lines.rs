//! Lines of truth are booked or refused.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::agent::truth_lines(bytes);
});
