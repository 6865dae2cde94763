//! What the tests' devices are told, and who they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_agent_core::interface::{FetchedDetails, Identity};
use modelfleet_agent_core::trust::TrustAnchor;
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::details::{Details, DetailsFile};
use modelfleet_protocol::envelope::{KeyId, Signed};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::{Fallback, FeatureProfile, Format, ModelBuild, Profile};
use modelfleet_protocol::observe::{Indicator, Observe};
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation};
use modelfleet_protocol::state::{Capabilities, EngineInfo};
use modelfleet_protocol::time::Time;

pub const START: Time = Time(1_800_000_000_000);
pub const WINDOW_MS: u64 = 60_000;

/// What the tests' one controller has signed.
pub fn signed<T>(what: T) -> Signed<T> {
    signed_by(1, what)
}

/// The name of a plan key.
pub fn key(n: u8) -> KeyId {
    format!("{n:016x}").parse().unwrap()
}

/// What this key has signed.
pub fn signed_by<T>(n: u8, what: T) -> Signed<T> {
    Signed { what, by: key(n) }
}

pub fn model() -> ModelName {
    "pump-anomaly".parse().unwrap()
}

pub fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub fn build(n: u8) -> ModelBuild {
    ModelBuild {
        model: model(),
        version: semver::Version::new(1, u64::from(n), 0),
        digest: digest(n),
        uri: format!("https://models/{n}"),
        size_bytes: 1000,
        format: Format::Onnx,
        ir_version: 0,
        opsets: BTreeMap::from([("ai.onnx".to_owned(), 17)]),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        details: None,
        self_test: Vec::new(),
        profile: None,
        decision: None,
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

/// The same, with its details in the file `file`.
pub fn build_with_file(n: u8, file: u8) -> ModelBuild {
    let uri = format!("https://models/{n}/details-{file}");
    let details = Some(DetailsFile { uri, digest: digest(file), size_bytes: 100 });
    ModelBuild { format: Format::OnnxWithDetails, details, ..build(n) }
}

/// What is in a details file: a profile with one feature that is named for the file.
pub fn fetched_details(file: &DetailsFile) -> FetchedDetails {
    let feature = FeatureProfile {
        name: file.digest.hex(),
        expected_min: 0.0,
        expected_max: 1.0,
        edges: vec![0.5],
        counts: Bins(vec![1, 1]),
    };
    let profile = Some(Profile { features: vec![feature], confidence: None });
    FetchedDetails { file: file.digest, details: Arc::new(Details { profile, ..Details::default() }) }
}

pub fn identity() -> Identity {
    let opsets = BTreeMap::from([(String::new(), 21)]);
    let engine = EngineInfo { name: "Rten".to_owned(), version: "0.27".to_owned(), opsets, ir_version: 0 };
    Identity {
        namespace: "plant-a".parse().unwrap(),
        device: "pump-001".parse().unwrap(),
        agent: "0.1.0".to_owned(),
        trust: TrustAnchor::default(),
        card: None,
        instance: 0,
        labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
        capabilities: Capabilities {
            engines: vec![engine],
            memory_bytes: 64 << 20,
            arch: "aarch64".to_owned(),
        },
    }
}

pub fn everybody() -> Membership {
    let clause = Clause { other_below: Bound::ALL, ..Clause::default() };
    Membership { salt: "s".to_owned(), clauses: vec![clause], exclude: Vec::new() }
}

pub fn candidate(n: u8, rollout: &str) -> Candidate {
    Candidate {
        rollout: rollout.to_owned(),
        build: build(n),
        membership: everybody(),
        admit: true,
        mode: Mode::Live,
        probation: Probation { timeout_ms: 600_000, min_predictions: 10, max_errors: 3 },
        fetch: Fetch::default(),
    }
}

pub fn plan(revision: u64, stable: Option<u8>, candidate: Option<Candidate>, rejected: &[u8]) -> Plan {
    let indicator = |metric, threshold| Indicator {
        name: format!("{metric:?}"),
        metric,
        feature: None,
        threshold,
        min_samples: 1,
    };
    Plan {
        namespace: "plant-a".parse().unwrap(),
        model: model(),
        order: Order { epoch: 1, revision, issued: START, expires: Time(u64::MAX) },
        stable: stable.map(build),
        stable_for: vec![],
        candidate,
        rejected: rejected.iter().copied().map(digest).collect(),
        fetch: None,
        observe: Observe {
            window_ms: WINDOW_MS,
            report_every_ms: 0,
            histogram_windows: 0,
            since: Time::ZERO,
            indicators: vec![indicator(Metric::ErrorRate, 10_000), indicator(Metric::Accuracy, 950_000)],
        },
    }
}
