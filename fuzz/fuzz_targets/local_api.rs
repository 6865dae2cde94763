//! A request that is taken has as many elements as its shapes say.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::local_api::request(bytes);
});
