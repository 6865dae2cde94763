//! A plan that is read means the same after the wire, for any device.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::plan::{Plan, to_json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = Plan::from_json(bytes) {
        let device = "pump-001".parse().expect("a valid id");
        let labels = [("age".to_owned(), "old".to_owned())].into();
        let text = to_json(&plan);
        let again = Plan::from_json(&text).expect("a plan reads what a plan writes");
        let same = format!("{:?}", plan.wanted(&device, &labels)) == format!("{:?}", again.wanted(&device, &labels));
        assert!(same);
    }
});
