//! A device reads the header of any bytes or refuses them.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_agent::onnx;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = onnx::header(bytes) {
        assert!(!header.opsets.is_empty());
        let _ = header.uses("ai.onnx.ml");
    }
});
