//! Which versions are kept although they were deleted: [`crate::retention`] has the rule, this is what it is asked.
//!
//! The finalizer is on before anything is stored or sent by which the version is needed, and off once nothing stored or
//! decided needs it: a version that is not needed can be deleted without the controller.

use std::sync::Arc;

use modelfleet_crds::ResourceExt;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::plan::Plan;
use modelfleet_rollout::State;

use crate::decide_rollouts::RolloutOutcome;
use crate::objects::ModelObjects;
use crate::production::production;
use crate::retention::{Claim, Held, Need, needed};
use crate::rollout_release::FINALIZER;
use crate::status::conditions::NewCondition;
use crate::status::recall;
use crate::version_facts::stage;

/// Keeps a version while it is needed.
pub const IN_USE: &str = "modelfleet.io/in-use";
/// The condition of a version that was deleted and is still needed.
pub const BLOCKED: &str = "DeletionBlocked";

/// The versions that decisions need and that have no finalizer yet.
#[must_use]
pub fn to_hold(
    objects: &ModelObjects,
    outcomes: &[RolloutOutcome],
    plan: Option<&Plan>,
) -> Vec<Arc<ModelVersion>> {
    let claims = outcomes.iter().filter_map(|one| decided(objects, &one.rollout, one));
    let claims: Vec<Claim> = claims.collect();
    let lacks = |object: &ModelVersion| !is_held(object) && object.metadata.deletion_timestamp.is_none();
    let needed = needs(objects, plan, &claims).filter(|(object, need)| need.is_some() && lacks(object));
    needed.map(|(object, _)| Arc::clone(object)).collect()
}

/// What becomes of the finalizer of a version that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It goes: nothing needs the version any more.
    Released,
    /// The version was deleted and stays; this condition says why, and is not there yet.
    Blocked(NewCondition),
}

/// Versions of which the finalizer goes, and deleted ones that stay. `objects`: as they are after all writes; `outcomes`: all
/// of the model, with whether they were stored.
#[must_use]
pub fn to_settle(
    objects: &ModelObjects,
    outcomes: &[(&RolloutOutcome, bool)],
    plan: Option<&Plan>,
) -> Vec<(Arc<ModelVersion>, Settled)> {
    let of = |(rollout, (outcome, stored)): (&Arc<Rollout>, &(&RolloutOutcome, bool))| {
        let unstored = (!stored).then(|| remembered(objects, rollout)).flatten();
        unstored.into_iter().chain(decided(objects, rollout, outcome)).collect::<Vec<_>>()
    };
    let claims: Vec<Claim> = objects.rollouts.iter().zip(outcomes).flat_map(of).collect();
    let settled = |(object, need): (&Arc<ModelVersion>, Option<Need<'_>>)| match need {
        _ if !is_held(object) => None,
        None => Some((Arc::clone(object), Settled::Released)),
        Some(need) => blocked(object, need).map(|word| (Arc::clone(object), Settled::Blocked(word))),
    };
    needs(objects, plan, &claims).filter_map(settled).collect()
}

/// Why a deleted version stays, when its status does not say so yet.
fn blocked(object: &ModelVersion, need: Need<'_>) -> Option<NewCondition> {
    object.metadata.deletion_timestamp.as_ref()?;
    let message = format!("Deleted, but still needed: {need}.");
    let word = NewCondition { kind: BLOCKED, holds: true, reason: need.as_str().to_owned(), message };
    (claim_condition(object).as_ref() != Some(&word)).then_some(word)
}

/// Every version of the model with what it is needed for.
fn needs<'a>(
    objects: &'a ModelObjects,
    plan: Option<&Plan>,
    claims: &'a [Claim],
) -> impl Iterator<Item = (&'a Arc<ModelVersion>, Option<Need<'a>>)> {
    let production = production(objects, plan);
    let need = move |object: &'a Arc<ModelVersion>| {
        let held = Held {
            version: &object.spec.version,
            digest: &object.spec.artifact.digest,
            stage: stage(object),
            by_rollout: object.status.as_ref().is_some_and(|s| s.rejected_by.is_some()),
        };
        (object, needed(&held, |version| production.names(version), claims))
    };
    objects.versions.values().map(need).chain(objects.shadowed.iter().map(|object| (object, None)))
}

/// What a rollout needs by its decision; where there is none, by what is stored of it.
fn decided(objects: &ModelObjects, rollout: &Rollout, outcome: &RolloutOutcome) -> Option<Claim> {
    match &outcome.result {
        Ok(decided) => claim(objects, rollout, &decided.memory.state),
        Err(_) => remembered(objects, rollout),
    }
}

fn remembered(objects: &ModelObjects, rollout: &Rollout) -> Option<Claim> {
    claim(objects, rollout, &recall(rollout.status.as_ref()).0.state)
}

/// `None`: we have let the rollout go, and it is there only because another owner holds it.
fn claim(objects: &ModelObjects, rollout: &Rollout, state: &State) -> Option<Claim> {
    let deleted = rollout.metadata.deletion_timestamp.is_some();
    if deleted && !rollout.finalizers().iter().any(|f| f == FINALIZER) {
        return None;
    }
    let names = rollout.spec.version.clone();
    Some(Claim {
        rollout: rollout.name_any(),
        digest: objects.versions.get(&names).map(|object| object.spec.artifact.digest.clone()),
        names,
        phase: state.phase,
        attempt: state.version.clone(),
        prior: state.prior.entries().iter().map(|entry| entry.version.clone()).collect(),
        deleted,
    })
}

fn is_held(object: &ModelVersion) -> bool {
    object.finalizers().iter().any(|f| f == IN_USE)
}

/// What a version's status says of why it is not deleted yet.
#[must_use]
pub fn claim_condition(object: &ModelVersion) -> Option<NewCondition> {
    let conditions = &object.status.as_ref()?.conditions;
    let said = conditions.iter().find(|condition| condition.type_ == BLOCKED)?;
    Some(NewCondition {
        kind: BLOCKED,
        holds: said.status == "True",
        reason: said.reason.clone(),
        message: said.message.clone(),
    })
}
