//! A scenario whose numbers are good can be planned for.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::plugin::scenario(bytes);
});
