//! What comes back when objects are applied again without their statuses, from an export, a backup or a rebuilt cluster:
//! what is in production and what is rejected by the plan that devices hold, and how rollouts ended by marks that an export
//! keeps. So nothing that has ended runs again, and no device moves. No client.
//!
//! Every user who may write an object may write its annotations. So a mark only ever says what starts nothing: that a rollout
//! has ended, or that a version is rejected. What is in production comes from the signed plan alone.

use std::sync::Arc;

use modelfleet_crds::ResourceExt;
use modelfleet_crds::model_version::{ModelVersionStatus, Rejection, VersionStage};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Cause, Figures, Phase, Rollback, State, VersionFact};
use serde::{Deserialize, Serialize};

use crate::objects::ModelObjects;
use crate::production::{self, says};
use crate::status::memory;
use crate::status::time::{cut, from_k8s, to_k8s};
use crate::version_facts::version_fact;

/// The annotation of a Rollout that has ended.
pub const ENDED: &str = "modelfleet.io/ended";
/// The annotation of a version that a rollout has rejected.
pub const REJECTED: &str = "modelfleet.io/rejected";
/// The reason in the status of a version that came back, and the condition of a rollout that did.
pub const RESTORED: &str = "Restored";
/// The reason in the status of a version whose rejection was lifted: the plan may still call it rejected.
pub const LIFTED: &str = "RejectionLifted";
/// Stands for the rollout that rejected a version, where only the plan that devices hold says that one did.
pub const RESTORED_BY: &str = "unknown";
/// Longest sentence in a mark, in bytes.
const SENTENCE_MAX: usize = 200;

/// How a rollout ended, as its annotation says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    /// Its name and version: a mark that was copied to another object counts for nothing.
    rollout: String,
    version: String,
    phase: String,
    attempt: u32,
    ended_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sentence: String,
}

/// A rejection, as a version's annotation says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rejected {
    digest: String,
    #[serde(flatten)]
    by: Rejection,
    message: String,
}

/// What the annotation of a rollout in this state shall say; `None`: there is none.
#[must_use]
pub fn ended_mark(rollout: &Rollout, state: &State) -> Option<String> {
    let rollback = state.rollback.as_ref().filter(|_| state.phase == Phase::RolledBack);
    let mark = Ended {
        rollout: rollout.name_any(),
        version: state.version.clone(),
        phase: match state.phase {
            Phase::Succeeded => "Succeeded",
            Phase::RolledBack => "RolledBack",
            _ => return None,
        }
        .to_owned(),
        attempt: state.attempt,
        ended_at_ms: state.figures.ended_at.unwrap_or(state.phase_since).0,
        retry_token: state.retry_token.clone(),
        cause: rollback.map(|rollback| rollback.cause.as_str().to_owned()),
        sentence: rollback.map_or_else(String::new, |rollback| cut(&rollback.sentence, SENTENCE_MAX)),
    };
    serde_json::to_string(&mark).ok()
}

/// What the annotation of a version shall say; `None`: there is none.
#[must_use]
pub fn rejected_mark(object: &ModelVersion) -> Option<String> {
    let status = object.status.as_ref().filter(|s| s.stage == Some(VersionStage::Rejected))?;
    let mark = Rejected {
        digest: object.spec.artifact.digest.clone(),
        by: status.rejected_by.clone()?,
        message: cut(status.message.as_deref().unwrap_or_default(), SENTENCE_MAX),
    };
    serde_json::to_string(&mark).ok()
}

/// The state of a rollout that has ended and has lost its status; `None`: nothing says that it has.
#[must_use]
pub fn ended(rollout: &Rollout, state: &State) -> Option<State> {
    let mark: Ended = serde_json::from_str(rollout.annotations().get(ENDED)?).ok()?;
    let begun = !matches!(state.phase, Phase::Queued | Phase::Refused) || state.attempt > mark.attempt;
    if begun || mark.rollout != rollout.name_any() || mark.version != rollout.spec.version {
        return None;
    }
    let at = Time(mark.ended_at_ms);
    let (phase, rollback) = match mark.phase.as_str() {
        "Succeeded" => (Phase::Succeeded, None),
        "RolledBack" => {
            let cause = mark.cause.as_deref().and_then(memory::cause).unwrap_or(Cause::Aborted);
            let sentence = cut(&mark.sentence, SENTENCE_MAX);
            let by_person = !cause.rejects();
            let (started_at, deadline, overdue) = (at, at, false);
            (Phase::RolledBack, Some(Rollback { cause, sentence, by_person, started_at, deadline, overdue }))
        }
        _ => return None,
    };
    Some(State {
        phase,
        attempt: mark.attempt,
        version: mark.version,
        retry_token: mark.retry_token,
        phase_since: at,
        rollback,
        figures: Figures { ended_at: Some(at), ..Figures::default() },
        ..State::default()
    })
}

/// The objects with what their statuses have lost, and the versions whose statuses are to be written so.
#[must_use]
pub fn restored(objects: &ModelObjects, held: Option<&Plan>) -> (ModelObjects, Vec<String>) {
    let lost = production::lost(objects, held);
    let list = production::production(objects, held);
    let mut whole = objects.clone();
    for (version, object) in &mut whole.versions {
        if let Some(status) = rejection(object, held).filter(|_| !lost.contains(version)) {
            Arc::make_mut(object).status = Some(status);
        }
    }
    let scopes = if lost.is_empty() { Vec::new() } else { production::scopes(objects, &list) };
    for (version, scopes) in scopes {
        let Some(object) = whole.versions.get_mut(&version) else { continue };
        let mut status = object.status.clone().unwrap_or_default();
        production::put(&mut status, scopes);
        if lost.contains(&version) {
            let devices = status.devices.clone().unwrap_or_default();
            status.stage = Some(VersionStage::Production);
            status.reason = Some(RESTORED.to_owned());
            status.message = Some(cut(
                &format!(
                    "In production for {devices}. Restored from the plan at the broker, because the status was lost."
                ),
                512,
            ));
            status.promoted_at = held.map(|plan| to_k8s(plan.order.issued));
        }
        Arc::make_mut(object).status = Some(status);
    }
    let differs = |(version, object): (&String, &Arc<ModelVersion>)| {
        (objects.versions.get(version).map(|old| &old.status) != Some(&object.status))
            .then(|| version.clone())
    };
    let changed = whole.versions.iter().filter_map(differs).collect();
    (whole, changed)
}

/// The status of a version that was rejected and has lost the word of it.
fn rejection(object: &ModelVersion, held: Option<&Plan>) -> Option<ModelVersionStatus> {
    let before = object.status.clone().unwrap_or_default();
    if says(object) || before.reason.as_deref() == Some(LIFTED) {
        return None;
    }
    let digest: Digest = object.spec.artifact.digest.parse().ok()?;
    let marked = || {
        let mark: Rejected = serde_json::from_str(object.annotations().get(REJECTED)?).ok()?;
        (mark.digest == object.spec.artifact.digest).then_some((mark.by, mark.message))
    };
    let told = || {
        let plan = held.filter(|plan| plan.rejected.contains(&digest))?;
        let (reason, time) = (RESTORED.to_owned(), to_k8s(plan.order.issued));
        let by = Rejection { rollout: RESTORED_BY.to_owned(), reason, time, retry_token: String::new() };
        Some((by, "The plan at the broker says that this version was rejected. Restored, because the status was lost.".to_owned()))
    };
    let (by, message) = marked().or_else(told)?;
    Some(ModelVersionStatus {
        stage: Some(VersionStage::Rejected),
        reason: Some(by.reason.clone()),
        message: Some(cut(&message, 512)),
        rejected_by: Some(by),
        ..before
    })
}

/// Where the version of a rollout stands for that rollout. One that nothing is known of, and that names an older version than
/// the one that came back from the plan, may have ended long ago: a person says whether it shall run.
#[must_use]
pub fn fact(objects: &ModelObjects, rollout: &Rollout, state: &State, version: &str) -> VersionFact {
    let fact = version_fact(objects, version);
    let waits = matches!(state.phase, Phase::Queued | Phase::Refused) && state.attempt <= 1;
    let runs = matches!(fact, VersionFact::Verified | VersionFact::Archived);
    if !waits || !runs {
        return fact;
    }
    let of = |text: &str| semver::Version::parse(text).ok();
    let newer = objects.versions.values().filter(|object| {
        let status = object.status.as_ref();
        let restored =
            status.is_some_and(|s| s.reason.as_deref() == Some(RESTORED) && s.promoted_at.is_some());
        restored && of(&object.spec.version) > of(version)
    });
    let Some(newer) = newer.max_by_key(|object| of(&object.spec.version)) else { return fact };
    let promoted = newer.status.as_ref().and_then(|s| s.promoted_at.as_ref()).map_or(Time::ZERO, from_k8s);
    VersionFact::Doubtful {
        why: format!(
            "rollout {} may have ended already: its version {version} is older than {}, which was restored from the plan at \
             the broker",
            rollout.name_any(),
            newer.spec.version
        ),
        at: promoted,
    }
}

#[cfg(test)]
mod tests;
