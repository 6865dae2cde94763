//! A recorded look that is read is judged again or refused, and the same each time.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::plugin::judge_record(bytes);
});
