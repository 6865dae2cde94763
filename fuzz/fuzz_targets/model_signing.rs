//! A bundle of OpenSSF Model Signing that is read was signed.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::plugin::model_signing(bytes);
});
