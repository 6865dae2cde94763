//! An agent lives with any plan that a key signed.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::agent::signed_plan(bytes);
});
