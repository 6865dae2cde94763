//! A model version stays while it is needed, also when somebody deletes it: [`crate::needed`] has the rule.
//!
//! The finalizer is on before anything is stored or sent by which the version is needed, and off once nothing stored or
//! decided needs it: a version that nobody needs can be deleted without us.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::State;
use serde_json::json;

use super::events::{Entry, announce, subject};
use super::finalizer::without;
use super::versions::{api, keep_patched, write_with};
use super::{FINALIZER, MANAGER};
use crate::context::Context;
use crate::error::Error;
use crate::facts::stage;
use crate::needed::{Claim, Held, Need, needed};
use crate::observe::{World, since};
use crate::production::production;
use crate::status::conditions::Word;
use crate::status::recall;
use crate::status::time::from_k8s;
use crate::turn::Turn;

/// Keeps a version while it is needed.
pub const IN_USE: &str = "modelfleet.io/in-use";
/// The condition of a version that was deleted and is still needed.
const BLOCKED: &str = "DeletionBlocked";

/// Puts the finalizer on the versions that decisions need, before these are stored. Returns what failed: it is tried
/// again, and keeps no rollout from going on.
pub async fn hold(ctx: &Context, world: &World, turns: &[Turn], plan: Option<&Plan>) -> Vec<Error> {
    let claims: Vec<Claim> = turns.iter().filter_map(|turn| decided(world, &turn.rollout, turn)).collect();
    let mut errors = Vec::new();
    for (object, need) in needs(world, plan, &claims) {
        if need.is_some() && !is_held(object) && object.metadata.deletion_timestamp.is_none() {
            errors.extend(keep(ctx, object).await.err());
        }
    }
    errors
}

/// Lets go of versions that nothing stored or decided needs any more, and says of those that were deleted why they stay.
/// `turns`: all of the model, with whether they were stored. Returns what failed.
pub async fn settle(
    ctx: &Context,
    world: &World,
    turns: &[(&Turn, bool)],
    plan: Option<&Plan>,
    now: Time,
) -> Vec<Error> {
    let world = since(ctx, world);
    let of = |(rollout, (turn, stored)): (&Arc<Rollout>, &(&Turn, bool))| {
        let unstored = (!stored).then(|| remembered(&world, rollout)).flatten();
        unstored.into_iter().chain(decided(&world, rollout, turn)).collect::<Vec<_>>()
    };
    let claims: Vec<Claim> = world.rollouts.iter().zip(turns).flat_map(of).collect();
    let mut errors = Vec::new();
    for (object, need) in needs(&world, plan, &claims) {
        let settled = match need {
            _ if !is_held(object) => Ok(()),
            None => release(ctx, object).await.or_else(gone),
            Some(need) => tell(ctx, object, need, now).await,
        };
        errors.extend(settled.err());
    }
    errors
}

/// Every version of the model with what it is needed for.
fn needs<'a>(
    world: &'a World,
    plan: Option<&Plan>,
    claims: &'a [Claim],
) -> impl Iterator<Item = (&'a Arc<ModelVersion>, Option<Need<'a>>)> {
    let production = production(world, plan);
    let need = move |object: &'a Arc<ModelVersion>| {
        let held = Held {
            version: &object.spec.version,
            digest: &object.spec.artifact.digest,
            stage: stage(object),
            by_rollout: object.status.as_ref().is_some_and(|s| s.rejected_by.is_some()),
        };
        (object, needed(&held, |version| production.names(version), claims))
    };
    world.versions.values().map(need).chain(world.shadowed.iter().map(|object| (object, None)))
}

/// What a rollout needs by its decision; where there is none, by what is stored of it.
fn decided(world: &World, rollout: &Rollout, turn: &Turn) -> Option<Claim> {
    match &turn.outcome {
        Ok(decided) => claim(world, rollout, &decided.memory.state),
        Err(_) => remembered(world, rollout),
    }
}

fn remembered(world: &World, rollout: &Rollout) -> Option<Claim> {
    claim(world, rollout, &recall(rollout.status.as_ref()).0.state)
}

/// `None`: we have let the rollout go, and it is there only for somebody else's sake.
fn claim(world: &World, rollout: &Rollout, state: &State) -> Option<Claim> {
    let deleted = rollout.metadata.deletion_timestamp.is_some();
    if deleted && !rollout.finalizers().iter().any(|f| f == FINALIZER) {
        return None;
    }
    let names = rollout.spec.version.clone();
    Some(Claim {
        rollout: rollout.name_any(),
        digest: world.versions.get(&names).map(|object| object.spec.artifact.digest.clone()),
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

/// Takes the finalizer off, whoever owns it by now.
async fn release(ctx: &Context, object: &ModelVersion) -> Result<(), Error> {
    let name = object.name_any();
    let what = format!("finalizer of model version {}/{name}", object.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api(ctx, object).patch(&name, &params, &without(object, IN_USE)).await;
    keep_patched(ctx, object, what, patched).await
}

async fn keep(ctx: &Context, object: &ModelVersion) -> Result<(), Error> {
    let name = object.name_any();
    let what = format!("finalizer of model version {}/{name}", object.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": { "name": name, "resourceVersion": object.resource_version(), "finalizers": [IN_USE] },
    });
    let params = PatchParams::apply(MANAGER).force();
    let patched = api(ctx, object).patch(&name, &params, &Patch::Apply(patch)).await;
    keep_patched(ctx, object, what, patched).await
}

/// A version that is gone needs no write.
fn gone(error: Error) -> Result<(), Error> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}

/// Says of a version that was deleted why it stays, once for each reason.
async fn tell(ctx: &Context, object: &ModelVersion, need: Need<'_>, now: Time) -> Result<(), Error> {
    let Some(deleted) = object.metadata.deletion_timestamp.as_ref().map(from_k8s) else { return Ok(()) };
    let message = format!("deleted, and stays for now: {need}");
    let word = Word { kind: BLOCKED, holds: true, reason: need.as_str().to_owned(), message };
    if told(object).as_ref() == Some(&word) {
        return Ok(());
    }
    let entry = Entry { reason: BLOCKED, warning: true, message: word.message.clone(), at: deleted };
    // First the event: it is written once however often it is tried, and the condition says that all is told.
    announce(ctx, &subject(object), &entry).await?;
    write_with(ctx, object, object.status.clone().unwrap_or_default(), Some(word), now).await
}

/// What a version's status says of why it is not deleted yet.
pub(super) fn told(object: &ModelVersion) -> Option<Word> {
    let conditions = &object.status.as_ref()?.conditions;
    let said = conditions.iter().find(|condition| condition.type_ == BLOCKED)?;
    Some(Word {
        kind: BLOCKED,
        holds: said.status == "True",
        reason: said.reason.clone(),
        message: said.message.clone(),
    })
}
