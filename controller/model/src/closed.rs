//! The closed windows of a model with the names of versions: what history keeps and remote write sends.

use modelfleet_crds::{ModelVersion, ResourceExt as _, Rollout};
use modelfleet_fleet::Fleet;
use modelfleet_fleet::closed_windows::{ClosedWindow, HandedOn, Wanted};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_spec::builds::build;

use crate::objects::ModelObjects;

/// A closed window and the version that its devices ran.
#[derive(Clone, Debug)]
pub struct NamedWindow {
    /// The version, or the digest of a build that no ModelVersion names.
    pub version: String,
    /// The window.
    pub window: ClosedWindow,
}

/// The closed windows of a model that have changed since they were handed on. Strata are those of the newest rollout.
#[must_use]
pub fn closed_windows(
    objects: &ModelObjects,
    fleet: &Fleet,
    model: &ModelName,
    ended_by_ms: u64,
    handed_on: &mut HandedOn,
) -> Vec<NamedWindow> {
    let Some(samples) = fleet.samples(model) else { return Vec::new() };
    let candidate = samples.candidate();
    let of_candidate = objects.versions.values().find(|version| digest(version) == Some(candidate));
    // A version that devices could not understand has no profile to compare with.
    let profile = of_candidate.and_then(|version| build(&version.spec).ok()?.profile);
    let spread_by = spread_by(objects);
    let wanted = Wanted { model, ended_by_ms, spread_by: &spread_by, profile: profile.as_ref() };
    let name = |of: Digest| {
        let named = objects.versions.iter().find(|(_, version)| digest(version) == Some(of));
        named.map_or_else(|| of.to_string(), |(version, _)| version.clone())
    };
    let closed = fleet.closed_windows(&wanted, handed_on).into_iter();
    closed.map(|window| NamedWindow { version: name(window.digest), window }).collect()
}

fn digest(version: &ModelVersion) -> Option<Digest> {
    version.spec.artifact.digest.parse().ok()
}

/// The labels that the newest rollout spreads a stage by: the first stage that does.
fn spread_by(objects: &ModelObjects) -> Vec<String> {
    let age = |rollout: &Rollout| {
        (rollout.metadata.creation_timestamp.as_ref().map(|created| created.0), rollout.name_any())
    };
    let newest = objects.rollouts.iter().max_by_key(|rollout| age(rollout));
    let stages = newest.into_iter().flat_map(|rollout| &rollout.spec.stages);
    stages.map(|stage| &stage.spread_by).find(|labels| !labels.is_empty()).cloned().unwrap_or_default()
}
