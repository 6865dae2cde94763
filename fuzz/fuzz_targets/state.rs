//! A state that is read is its device's and within its bounds.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::state::{DeviceState, MODELS_MAX};

fuzz_target!(|bytes: &[u8]| {
    let device = "pump-001".parse().expect("a valid id");
    if let Ok(state) = DeviceState::from_json(&device, bytes) {
        assert!(state.device == device && state.models.len() <= MODELS_MAX);
    }
});
