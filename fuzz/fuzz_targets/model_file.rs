//! A model file that is read says only what fits a ModelVersion, the same whatever pieces it comes in.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_model_file::{Reader, read};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    let mut pieces = Reader::default();
    bytes.chunks(usize::from(bytes.first().copied().unwrap_or(1)).max(1)).for_each(|piece| pieces.take(piece));
    assert_eq!(pieces.finish(), whole);
    if let Ok(header) = whole {
        assert!(header.inputs.iter().chain(&header.outputs).all(|value| (1..=128).contains(&value.name.len())));
        assert!(header.inputs.len() <= 64 && (1..=64).contains(&header.outputs.len()));
        assert!(!header.imports.is_empty() && header.opsets.len() <= 16);
        let _ = (header.unusual_operators(), header.check_carried());
    }
});
