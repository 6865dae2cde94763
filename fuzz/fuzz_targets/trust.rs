//! A trust file of a stranger is not followed; one that a root key signed is bounded and reads back.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::trust(bytes);
});
