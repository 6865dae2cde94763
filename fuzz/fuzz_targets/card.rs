//! A card that is read is one that could be signed again; without a trusted key none opens.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::card(bytes);
});
