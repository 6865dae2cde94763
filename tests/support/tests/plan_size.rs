//! How large a plan is for a model with many features. Hosted brokers take messages of 64 to 128 KiB.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::model::{FeatureProfile, ModelBuild, Profile, SelfTest, Values};
use modelfleet_test_support::pump_plan::{candidate, plan, pump_build, sealed};

/// As many as `register` takes for the reference profile.
const FEATURES: usize = 128;
/// As many bins as it makes.
const BINS: usize = 10;

/// A build with a reference profile of 128 features and so many cases of self-test.
fn build(version: &str, cases: usize) -> ModelBuild {
    let value = |number: usize| (number as f64 * 1.234_567).sin() * 1000.0;
    let feature = |number: usize| FeatureProfile {
        name: format!("sensor-{number:03}-vibration"),
        expected_min: value(number),
        expected_max: value(number + 1),
        edges: (1..BINS).map(|edge| value(number + edge)).collect(),
        counts: Bins((0..BINS).map(|bin| 4_000 + bin as u64).collect()),
    };
    let case = |case: usize| SelfTest {
        inputs: vec![Values {
            name: "features".into(),
            // The elements of an input are 32-bit floats, and are written as such.
            values: (0..FEATURES).map(|number| f64::from(value(number + case) as f32)).collect(),
            texts: Vec::new(),
        }],
        outputs: vec![Values { name: "score".into(), values: vec![value(case)], texts: Vec::new() }],
        tolerance: 1e-4,
    };
    ModelBuild {
        profile: Some(Profile { features: (0..FEATURES).map(feature).collect(), confidence: None }),
        self_test: (0..cases).map(case).collect(),
        ..pump_build(version, b"model", "https://models.example/m".into())
    }
}

#[test]
fn a_plan_with_two_builds_of_128_features_is_above_64_kib_and_within_what_a_device_takes() {
    let bytes = |cases| {
        let (stable, next) = (build("1.0.0", cases), build("1.1.0", cases));
        sealed(&plan(1, Some(stable), Some(candidate("r", next)))).len()
    };
    let (none, sixteen) = (bytes(0), bytes(16));
    println!("signed plan: {none} bytes without self-test, {sixteen} with 16 cases for each of two builds");
    assert!(none > 64 * 1024 && sixteen > none && sixteen <= ENVELOPE_BYTES_MAX, "{none} {sixteen}");
}
