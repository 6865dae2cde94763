//! Objects as the API server has them: one model with its versions and rollouts.

use modelfleet_protocol::ids::Digest;
use serde_json::{Value, json};

/// Where the server keeps an object, and the object.
pub type Kept = (String, Value);

/// A version that stands somewhere.
pub fn version(version: &str, stage: &str) -> Kept {
    let name = format!("m-{version}");
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": name, "namespace": "plant", "uid": name, "resourceVersion": "1"},
        "spec": {"model": "m", "version": version, "artifact": {
            "uri": "file:///m.onnx", "digest": Digest::of(version.as_bytes()).to_string(), "sizeBytes": 1,
        }},
        "status": {"stage": stage, "promotedAt": "2026-01-01T00:00:00Z"},
    });
    (format!("modelversions/{name}"), object)
}

/// A rollout that has begun its first stage, when `phase` names one.
pub fn rollout(version: &str, phase: Option<&str>, more: &Value) -> Kept {
    let name = format!("r-{version}");
    let mut spec = json!({"model": "m", "version": version});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let state = phase.map(|phase| {
        let memory = json!({
            "state": {
                "phase": phase, "attempt": 1, "version": version, "startedAt": 5, "stageOpenedAt": 6,
                "drawn": {"stage": 0, "target": {"Ppm": 25_000}, "at": 6}, "phaseSince": 6,
            },
            "judge": "", "judged": [1, 0],
        });
        json!({"judge": {"errorBudgetPpm": 1, "spentPpm": 0, "looks": 0, "state": format!("modelfleet2 {memory}")},
               "wayBack": json!([{"selector": {}, "version": "1.0.0"}]).to_string(),
               "membership": {"salt": format!("{name}/1")}})
    });
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
        "metadata": {
            "name": name, "namespace": "plant", "uid": name, "resourceVersion": "1",
            "finalizers": ["modelfleet.io/retained-plan"],
        },
        "spec": spec,
        "status": state,
    });
    (format!("rollouts/{name}"), object)
}

/// A version that somebody has deleted and that has our finalizer.
pub fn deleted(of: &str, stage: &str) -> Kept {
    let (path, mut object) = version(of, stage);
    object["metadata"]["finalizers"] = json!(["modelfleet.io/in-use"]);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    (path, object)
}

/// Three versions, the first in production.
pub fn versions() -> Vec<Kept> {
    vec![version("1.0.0", "Production"), version("1.1.0", "Verified"), version("1.2.0", "Verified")]
}

/// All of them.
pub fn of(mut objects: Vec<Kept>, more: Vec<Kept>) -> Vec<Kept> {
    objects.extend(more);
    objects
}
