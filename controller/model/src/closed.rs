//! The closed windows of a model with the names of versions: what history keeps and remote write sends.

use std::sync::Arc;

use modelfleet_crds::{ModelVersion, ResourceExt as _, Rollout};
use modelfleet_fleet::Fleet;
use modelfleet_fleet::closed_windows::{ClosedWindow, HandedOn, Wanted};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;
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

/// The closed windows of a model at a moment that have changed since they were handed on. A window is closed when it has been
/// over for `lateness_ms`. Strata are those of the newest rollout.
#[must_use]
pub fn closed_windows(
    objects: &ModelObjects,
    fleet: &Fleet,
    model: &ModelName,
    (now, lateness_ms): (Time, u64),
    handed_on: &mut HandedOn,
) -> Vec<NamedWindow> {
    let Some(samples) = fleet.samples(model) else { return Vec::new() };
    let candidate = samples.candidate();
    let of_candidate = objects.versions.values().find(|version| digest(version) == Some(candidate));
    // A version that devices could not understand has no profile to compare with.
    let profile = of_candidate.and_then(|version| build(&version.spec).ok()?.profile);
    let spread_by = spread_by(objects);
    let since = of_candidate.map_or(0, |version| sampled_since(objects, &version.spec.version));
    let wanted = Wanted {
        model,
        ended_after_ms: since.saturating_sub(lateness_ms),
        ended_by_ms: now.0.saturating_sub(lateness_ms),
        spread_by: &spread_by,
        profile: profile.as_ref(),
    };
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

/// Since when devices count as those with and without this version, milliseconds since 1970: since its rollout has begun, and
/// those of other versions have ended. Devices report windows of before as well, and these were handed on with other arms.
fn sampled_since(objects: &ModelObjects, version: &str) -> u64 {
    let moment = |rollout: &Arc<Rollout>| {
        let status = rollout.status.as_ref()?;
        let at = if rollout.spec.version == version { &status.started_at } else { &status.finished_at };
        u64::try_from(at.as_ref()?.0.as_millisecond()).ok()
    };
    objects.rollouts.iter().filter_map(moment).max().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(version: &str, started: &str, finished: Option<&str>) -> Arc<Rollout> {
        let object = json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout", "metadata": {"name": format!("r-{version}")},
            "spec": {"model": "m", "version": version},
            "status": {"startedAt": started, "finishedAt": finished},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    /// No window may be handed on under two arms: a report by version would count it twice.
    #[test]
    fn devices_count_as_they_do_since_the_last_rollout_that_began_or_ended() {
        let hour = |hour: u64| 1_796_083_200_000 + hour * 3_600_000;
        let first = rollout("1.0.0", "2026-12-01T00:00:00Z", Some("2026-12-01T02:00:00Z"));
        let begun = rollout("1.1.0", "2026-12-01T05:00:00Z", None);
        let ended = rollout("1.1.0", "2026-12-01T05:00:00Z", Some("2026-12-01T07:00:00Z"));
        let since = |rollouts: &[&Arc<Rollout>], version| {
            let rollouts = rollouts.iter().map(|one| Arc::clone(one)).collect();
            sampled_since(&ModelObjects::new(rollouts, Vec::new()), version)
        };
        assert_eq!(since(&[], "1.0.0"), 0);
        assert_eq!(since(&[&first], "1.0.0"), hour(0));
        assert_eq!(since(&[&first, &begun], "1.1.0"), hour(5));
        assert_eq!(since(&[&first, &ended], "1.1.0"), hour(5), "it has succeeded");
        assert_eq!(since(&[&first, &ended], "1.0.0"), hour(7), "it was rolled back");
    }
}
