//! What the recorder costs per prediction: `cargo run --release -p modelfleet-agent-core --example recorder_cost`.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{RecordingTarget, Role};
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder};
use modelfleet_agent_core::truth::Answer;
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::{ConfidenceProfile, Fallback, FeatureProfile, Format, ModelBuild, Profile};
use modelfleet_protocol::time::Time;

fn build(features: usize) -> ModelBuild {
    let edges: Vec<f64> = (1..20).map(f64::from).collect();
    let feature = |i| FeatureProfile {
        name: format!("f{i}"),
        expected_min: 0.0,
        expected_max: 20.0,
        counts: Bins::for_edges(edges.len()),
        edges: edges.clone(),
    };
    let counts = Bins::for_edges(3);
    let confidence = ConfidenceProfile { edges: vec![0.25, 0.5, 0.75], counts, low_below: 0.5 };
    ModelBuild {
        model: "pump-anomaly".parse().expect("a valid name"),
        version: semver::Version::new(1, 0, 0),
        digest: Digest([1; 32]),
        uri: String::new(),
        size_bytes: 1,
        format: Format::Onnx,
        ir_version: 0,
        opsets: BTreeMap::new(),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        details: None,
        self_test: Vec::new(),
        profile: Some(Profile {
            features: (0..features).map(feature).collect(),
            confidence: Some(confidence),
        }),
        decision: None,
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

fn main() {
    for features in [0, 4, 16, 64] {
        let mut recorder = Recorder::default();
        let model = "pump-anomaly".parse().expect("a valid name");
        let build = Some(Build::from(build(features)));
        let _ = recorder
            .record_for(Time(0), &RecordingTarget { model, build, window_ms: 60_000, role: Role::Live });
        let mut seed = 1_u64;
        let mut chance = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / 16_777_216.0
        };
        let rows: Vec<Vec<f32>> =
            (0..1024).map(|_| (0..features).map(|_| chance() * 21.0).collect()).collect();
        let rounds = 1_000_000_u64;
        let begin = Instant::now();
        for i in 1..=rounds {
            let (chance, values) = (chance(), &rows[(i % 1024) as usize]);
            recorder.record(black_box(&Prediction {
                key: i,
                latency_ns: (chance * 16_777_216.0) as u64,
                outcome: Outcome::Answered,
                confidence: Some(f64::from(chance)),
                positive: Some(chance > 0.9),
                answer: Answer::Number(f64::from(chance)),
                features: values,
            }));
        }
        let ns = begin.elapsed().as_nanos() as f64 / rounds as f64;
        println!("{features:>3} features of 20 bins: {ns:.0} ns per prediction");
        black_box(recorder.tick(Time(60_000)));
    }
}
