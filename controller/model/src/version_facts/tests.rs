use std::sync::Arc;

use modelfleet_crds::ModelVersionSpec;
use modelfleet_crds::model_version::{Artifact, ModelFormat, ModelVersionStatus, Rejection};
use serde_json::json;

use super::*;
use crate::status::time::to_k8s;

fn version(text: &str, status: ModelVersionStatus) -> Arc<ModelVersion> {
    let spec: ModelVersionSpec = serde_json::from_value(json!({
        "model": "m",
        "version": text,
        "artifact": Artifact {
            uri: "file:///m.onnx".into(),
            digest: Digest::of(text.as_bytes()).to_string(),
            size_bytes: 1,
            format: ModelFormat::Onnx,
            ir_version: None,
            details: None,
        },
    }))
    .unwrap();
    let mut object = ModelVersion::new(&format!("m-{text}"), spec);
    object.status = Some(status);
    Arc::new(object)
}

fn rejected_at(at: Time) -> ModelVersionStatus {
    let by = Rejection {
        rollout: "r".into(),
        reason: "Degraded".into(),
        time: to_k8s(at),
        retry_token: String::new(),
    };
    let stage = Some(VersionStage::Rejected);
    ModelVersionStatus { stage, rejected_by: Some(by), ..ModelVersionStatus::default() }
}

fn objects(versions: &[(&str, ModelVersionStatus)]) -> ModelObjects {
    let versions = versions.iter().map(|(text, status)| ((*text).to_owned(), version(text, status.clone())));
    ModelObjects { versions: versions.collect(), ..ModelObjects::default() }
}

/// A plan with 1.0.0 as the stable version.
fn held(rejected: &[&str]) -> Plan {
    let rejected: Vec<String> = rejected.iter().map(|text| Digest::of(text.as_bytes()).to_string()).collect();
    let build = json!({
        "model": "m", "version": "1.0.0", "digest": Digest::of(b"1.0.0"), "uri": "file:///m.onnx", "sizeBytes": 1,
        "format": "Onnx",
    });
    let plan = json!({
        "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": 1,
        "stable": build, "rejected": rejected,
    });
    serde_json::from_value(plan).unwrap()
}

#[test]
fn a_rejection_outlives_its_object_and_the_newest_goes_first() {
    let (old, new) = (rejected_at(Time(1_000)), rejected_at(Time(9_000)));
    let objects = objects(&[("1.2.0", old), ("1.3.0", new), ("1.4.0", ModelVersionStatus::default())]);
    let told = held(&["gone", "1.4.0", "1.2.0"]);
    let expected = ["1.3.0", "1.2.0", "gone"].map(|text| Digest::of(text.as_bytes()));
    assert_eq!(rejected(&objects, Some(&told)), expected, "1.4.0 is there, and was lifted");
    let fact = version_fact(&objects, "1.3.0");
    assert!(matches!(fact, VersionFact::Rejected { at: Time(9_000), .. }), "{fact:?}");
}

/// Three names of the same bytes.
fn twins(statuses: [ModelVersionStatus; 3]) -> ModelObjects {
    let mut objects = objects(&[]);
    for (text, status) in ["1.0.0", "1.0.1", "1.0.2"].into_iter().zip(statuses) {
        let mut object = ModelVersion::clone(&version(text, status));
        object.spec.artifact.digest = Digest::of(b"the same").to_string();
        objects.versions.insert(text.to_owned(), Arc::new(object));
    }
    objects
}

#[test]
fn a_copy_that_failed_its_own_check_blocks_no_good_version_and_a_rejection_by_a_rollout_blocks_all() {
    let verified =
        || ModelVersionStatus { stage: Some(VersionStage::Verified), ..ModelVersionStatus::default() };
    let unsigned = || ModelVersionStatus {
        stage: Some(VersionStage::Rejected),
        reason: Some("SignatureMissing".into()),
        message: Some("it has no signature".into()),
        ..ModelVersionStatus::default()
    };
    let with_copy = twins([verified(), unsigned(), verified()]);
    assert_eq!(version_fact(&with_copy, "1.0.0"), VersionFact::Verified);
    let copy = version_fact(&with_copy, "1.0.1");
    assert_eq!(copy, VersionFact::Unverifiable("it has no signature".into()));
    let harmful = twins([verified(), unsigned(), rejected_at(Time(5_000))]);
    assert!(matches!(version_fact(&harmful, "1.0.0"), VersionFact::Rejected { at: Time(5_000), .. }));
    assert_eq!(version_fact(&harmful, "1.0.1"), copy, "its own failure is what is to be mended first");
}

/// What was shown first, by which rollout, the statistics last: a sentence goes on from it.
#[test]
fn a_rejection_is_told_with_its_statistics_last() {
    let told = "5 of 5 with it failed, 0 of 7 without. Statistics: p = 0.0013 <= 0.0015.";
    let expected =
        "5 of 5 with it failed, 0 of 7 without (rollout r-1.2.0). Statistics: p = 0.0013 <= 0.0015.";
    assert_eq!(rejected_by(told, "r-1.2.0"), expected);
    assert_eq!(rejected_by("harm.", "r-1.2.0"), "harm (rollout r-1.2.0)");
    assert_eq!(rejected_by("the plan calls it rejected", RESTORED_BY), "the plan calls it rejected");
}
