//! An agent lives with any control record that it can read.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::agent::control_record(bytes);
});
