//! A Rollout that the API server would take is planned or refused.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::plugin::rollout(bytes);
});
