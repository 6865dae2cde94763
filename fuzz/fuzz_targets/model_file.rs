//! A model file that is read says only what fits a ModelVersion, the same whatever pieces it comes in.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = modelfleet_untrusted::protocol::model_file(bytes);
});
