//! Nothing opens without a trusted signature.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::envelope;

fuzz_target!(|bytes: &[u8]| {
    assert!(envelope::open(&[], envelope::PLAN_TYPE, bytes).is_err());
});
