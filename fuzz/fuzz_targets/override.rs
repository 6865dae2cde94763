//! An agent lives with any override that a key signed.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::agent::override_of(bytes);
});
