//! An agent lives with any journal of predictions and truth.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::agent::truth_journal(bytes);
});
