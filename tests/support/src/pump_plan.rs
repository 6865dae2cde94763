//! Plans of the example's pumps, as a controller would publish them: signed, with short windows.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(
    clippy::missing_panics_doc,
    reason = "what is fixed here parses, and the example's files are in the tree"
)]

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::model::{Decision, Fallback, Format, ModelBuild, PositiveWhen, Tensor};
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{PublicKey, Roots, TRUST_TYPE, TrustDocument};

use crate::place::root;

/// The fleet of these plans.
pub const NAMESPACE: &str = "plant";
/// Their model.
pub const MODEL: &str = "pump-anomaly";

/// The example stories' folder.
#[must_use]
pub fn examples() -> PathBuf {
    root().join("examples")
}

/// Where the bytes of one of the pumps' models are.
#[must_use]
pub fn pump_model_path(version: &str) -> PathBuf {
    examples().join(format!("pumps/models/{MODEL}-{version}.onnx"))
}

/// The bytes of one of the pumps' models.
#[must_use]
pub fn pump_model(version: &str) -> Vec<u8> {
    std::fs::read(pump_model_path(version)).unwrap()
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Tensor {
    Tensor { name: name.into(), datatype: datatype.into(), shape: shape.to_vec() }
}

/// A build of the pumps' model whose bytes are at `uri`.
#[must_use]
pub fn pump_build(version: &str, bytes: &[u8], uri: String) -> ModelBuild {
    ModelBuild {
        model: MODEL.parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(bytes),
        uri,
        size_bytes: bytes.len() as u64,
        format: Format::Onnx,
        ir_version: 0,
        opsets: [("ai.onnx".to_owned(), 17), ("ai.onnx.ml".to_owned(), 3)].into(),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: Default::default(),
        inputs: vec![tensor("features", "FP32", &[-1, 7])],
        outputs: vec![tensor("label", "INT64", &[-1, 1])],
        details: None,
        self_test: Vec::new(),
        profile: None,
        decision: Some(Decision {
            output: "label".into(),
            positive_when: PositiveWhen::Label(-1),
            confidence: None,
        }),
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

/// The build of one of the pumps' models, fetched from the example's folder.
#[must_use]
pub fn local_build(version: &str) -> ModelBuild {
    let path = pump_model_path(version).canonicalize().unwrap();
    pump_build(version, &pump_model(version), format!("file://{}", path.display()))
}

/// The controller's key.
#[must_use]
pub fn signer() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// Writes the public half of [`signer`] as devices take it.
pub fn write_plan_key(path: &Path) {
    std::fs::write(path, hex::encode(signer().verifying_key().as_bytes())).unwrap();
}

/// The time, for plans that must not have expired.
#[must_use]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(since.as_millis() as u64)
}

/// A plan with windows of a second.
#[must_use]
pub fn plan(revision: u64, stable: Option<ModelBuild>, candidate: Option<Candidate>) -> Plan {
    let issued = now();
    Plan {
        namespace: NAMESPACE.parse().unwrap(),
        model: MODEL.parse().unwrap(),
        order: Order { epoch: 1, revision, issued, expires: issued.after_ms(3_600_000) },
        stable,
        stable_for: vec![],
        candidate,
        rejected: Vec::new(),
        fetch: None,
        observe: Observe { window_ms: 1_000, ..Observe::default() },
    }
}

/// All devices get this build, and are confirmed after three answers.
#[must_use]
pub fn candidate(rollout: &str, build: ModelBuild) -> Candidate {
    let clause = Clause { other_below: Bound::ALL, ..Clause::default() };
    Candidate {
        rollout: rollout.into(),
        build,
        membership: Membership { clauses: vec![clause], ..Membership::default() },
        admit: true,
        mode: Mode::Live,
        probation: Probation { timeout_ms: 60_000, min_predictions: 3, max_errors: 5 },
        fetch: Fetch::default(),
    }
}

/// The plan in its signed envelope.
#[must_use]
pub fn sealed(plan: &Plan) -> Vec<u8> {
    sealed_by(&signer(), plan)
}

/// The plan in an envelope that this key has signed.
#[must_use]
pub fn sealed_by(key: &SigningKey, plan: &Plan) -> Vec<u8> {
    seal(key, PLAN_TYPE, &serde_json::to_vec(plan).unwrap())
}

/// A trust file of one document of this fleet that names plan keys and revoked ones, and a floor for the pumps' model; `root`
/// signs it.
#[must_use]
pub fn trust_file(
    root: &SigningKey,
    version: u64,
    plan_keys: &[&SigningKey],
    revoked: &[&SigningKey],
    floor: Option<&str>,
) -> Vec<u8> {
    let public = |key: &SigningKey| PublicKey::from(key.verifying_key());
    let document = TrustDocument {
        version,
        namespace: Some(NAMESPACE.parse().unwrap()),
        issued: now(),
        expires: now().after_ms(3_600_000),
        roots: roots(root),
        plan_keys: plan_keys.iter().map(|key| public(key)).collect(),
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: revoked.iter().map(|key| public(key).id()).collect(),
        floors: SecurityFloors::of(floor.map(|floor| (MODEL.parse().unwrap(), floor.parse().unwrap()))),
    };
    seal(root, TRUST_TYPE, &serde_json::to_vec(&document).unwrap())
}

/// This key as the one root key.
#[must_use]
pub fn roots(root: &SigningKey) -> Roots {
    Roots { keys: vec![root.verifying_key().into()], threshold: 1 }
}

/// A question to the pumps' model, as the local API takes it.
#[must_use]
pub fn infer_body() -> String {
    let row = "0.111092,0.390019,3.51076,-0.062161,58782.1,13805.7,339.849";
    format!(r#"{{"inputs":[{{"name":"features","shape":[1,7],"datatype":"FP32","data":[{row}]}}]}}"#)
}
