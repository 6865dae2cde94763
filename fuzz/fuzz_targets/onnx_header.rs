//! A model that may be registered says only what fits a ModelVersion.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::onnx;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = onnx::header(bytes) {
        let names = header.inputs.iter().chain(&header.outputs).map(|tensor| &tensor.name);
        assert!(names.chain(&header.not_tensors).all(|name| (1..=128).contains(&name.len())));
        assert!(header.inputs.len() <= 64 && header.outputs.len() + header.not_tensors.len() <= 128);
        assert!(!header.opsets.is_empty() && header.opsets.len() <= 16);
        let _ = header.unusual_operators();
    }
});
