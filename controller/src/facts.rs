//! What the objects of a model say beside the specs. No client.

use std::collections::BTreeMap;

use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::VersionStage;
use modelfleet_protocol::ids::Digest;
use modelfleet_rollout::VersionFact;

use crate::observe::World;
use crate::status::time::from_k8s;

/// Where a version stands. A digest that any version of the model was rejected with is rejected under every name.
#[must_use]
pub fn version_fact(world: &World, version: &str) -> VersionFact {
    let Some(object) = world.versions.get(version) else { return VersionFact::Missing };
    let twins = world.versions.values().filter(|v| v.spec.artifact.digest == object.spec.artifact.digest);
    let rejections = twins.filter(|v| stage(v) == VersionStage::Rejected);
    if let Some(rejected) = rejections.max_by_key(|v| v.spec.version == version) {
        let status = rejected.status.as_ref();
        let message = status.and_then(|s| s.message.clone()).unwrap_or_default();
        return match status.and_then(|s| s.rejected_by.as_ref()) {
            Some(by) => VersionFact::Rejected {
                reason: format!("{} ({}, by rollout {})", message, by.reason, by.rollout),
                retry_token: Some(by.retry_token.clone()).filter(|token| !token.is_empty()),
            },
            None => VersionFact::Unverifiable(message),
        };
    }
    match stage(object) {
        VersionStage::Registered => VersionFact::Registered,
        VersionStage::Verified => VersionFact::Verified,
        VersionStage::Production => VersionFact::Production,
        VersionStage::Archived => VersionFact::Archived,
        VersionStage::Rejected => VersionFact::Unverifiable("rejected".to_owned()),
    }
}

/// The stage of a version; one without a status is Registered.
#[must_use]
pub fn stage(object: &ModelVersion) -> VersionStage {
    object.status.as_ref().and_then(|s| s.stage).unwrap_or_default()
}

/// The version in production. Of several, which a crash between two writes leaves, the last promoted one.
#[must_use]
pub fn production(world: &World) -> Option<String> {
    let promoted = |v: &ModelVersion| v.status.as_ref()?.promoted_at.as_ref().map(from_k8s);
    let in_production = world.versions.values().filter(|v| stage(v) == VersionStage::Production);
    in_production.max_by_key(|v| promoted(v)).map(|v| v.spec.version.clone())
}

/// Digests of rejected versions, the last rejected first.
#[must_use]
pub fn rejected(world: &World) -> Vec<Digest> {
    let mut rejected = BTreeMap::new();
    for version in world.versions.values().filter(|v| stage(v) == VersionStage::Rejected) {
        let by = version.status.as_ref().and_then(|s| s.rejected_by.as_ref());
        if let (Some(by), Ok(digest)) = (by, version.spec.artifact.digest.parse::<Digest>()) {
            rejected.insert((std::cmp::Reverse(from_k8s(&by.time)), digest), digest);
        }
    }
    rejected.into_values().collect()
}
