//! Nothing opens without a trusted signature; what is signed is opened or refused.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::envelope(bytes);
});
