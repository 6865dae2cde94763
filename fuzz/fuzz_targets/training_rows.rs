//! A table that is read is whole, and makes a profile that counts each reading or says what it leaves out.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::plugin::training_rows(bytes);
});
