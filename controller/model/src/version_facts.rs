//! What the objects of a model say beside the specs, and the plan that devices hold where an object is gone. No client.

use std::collections::BTreeSet;

use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::VersionStage;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{VersionFact, apart};

use crate::objects::ModelObjects;
use crate::restore::RESTORED_BY;
use crate::status::time::from_k8s;

/// Where a version stands. A digest that a rollout rejected is rejected under every name. What failed its own check (a
/// copy without a signature, a wrong size) says nothing of others with the same bytes.
#[must_use]
pub fn version_fact(objects: &ModelObjects, version: &str) -> VersionFact {
    let Some(object) = objects.versions.get(version) else { return VersionFact::Missing };
    let twins = objects.versions.values().filter(|v| v.spec.artifact.digest == object.spec.artifact.digest);
    let by_rollout = |v: &ModelVersion| v.status.as_ref().is_some_and(|status| status.rejected_by.is_some());
    let rejections = twins.filter(|v| stage(v) == VersionStage::Rejected);
    let rejections = rejections.filter(|v| v.spec.version == version || by_rollout(v));
    if let Some(rejected) = rejections.max_by_key(|v| v.spec.version == version) {
        let status = rejected.status.as_ref();
        let message = status.and_then(|s| s.message.clone()).unwrap_or_default();
        return match status.and_then(|s| s.rejected_by.as_ref()) {
            Some(by) => {
                VersionFact::Rejected { reason: rejected_by(&message, &by.rollout), at: from_k8s(&by.time) }
            }
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

/// What was shown, then by whom, the statistics last.
fn rejected_by(message: &str, rollout: &str) -> String {
    let (shown, statistics) = apart(message);
    let by = if rollout == RESTORED_BY { String::new() } else { format!(" (rollout {rollout})") };
    let statistics = if statistics.is_empty() { String::new() } else { format!(". {statistics}") };
    format!("{}{by}{statistics}", shown.trim_end_matches('.'))
}

/// The stage of a version; one without a status is Registered.
#[must_use]
pub fn stage(object: &ModelVersion) -> VersionStage {
    object.status.as_ref().and_then(|s| s.stage).unwrap_or_default()
}

/// Digests of rejected versions, the last rejected first; then those that devices were told and whose objects are gone.
#[must_use]
pub fn rejected(objects: &ModelObjects, held: Option<&Plan>) -> Vec<Digest> {
    let mut rejected: Vec<(Time, Digest)> = Vec::new();
    let digest = |version: &ModelVersion| version.spec.artifact.digest.parse::<Digest>().ok();
    for version in objects.versions.values().filter(|v| stage(v) == VersionStage::Rejected) {
        let by = version.status.as_ref().and_then(|s| s.rejected_by.as_ref());
        rejected.extend(by.zip(digest(version)).map(|(by, digest)| (from_k8s(&by.time), digest)));
    }
    rejected.sort_unstable_by_key(|(at, digest)| (std::cmp::Reverse(*at), *digest));
    let known: BTreeSet<Digest> = objects.versions.values().filter_map(|v| digest(v)).collect();
    let told = held.into_iter().flat_map(|plan| &plan.rejected).filter(|digest| !known.contains(*digest));
    rejected.into_iter().map(|(_, digest)| digest).chain(told.copied()).collect()
}

#[cfg(test)]
mod tests;
