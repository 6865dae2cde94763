//! A plan that is read means the same after the wire, for any device.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::plan(bytes);
});
