//! Puts the finalizer on model versions that are needed, and takes it off: [`modelfleet_model::version_claims`] says which.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use modelfleet_crds::ModelVersion;
use modelfleet_model::ModelObjects;
use modelfleet_model::decide_rollouts::RolloutOutcome;
use modelfleet_model::events::Event;
use modelfleet_model::status::conditions::NewCondition;
use modelfleet_model::status::time::from_k8s;
use modelfleet_model::version_claims::{BLOCKED, IN_USE, Settled, to_hold, to_settle};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use serde_json::json;

use super::MANAGER;
use super::events::{announce, subject};
use super::finalizer::without;
use super::versions::{api, keep_patched, write_with};
use crate::context::Context;
use crate::error::Error;
use crate::observe::since;

/// Puts the finalizer on the versions that decisions need, before these are stored. Returns what failed: it is tried
/// again, and keeps no rollout from going on.
pub async fn hold(
    ctx: &Context,
    objects: &ModelObjects,
    outcomes: &[RolloutOutcome],
    plan: Option<&Plan>,
) -> Vec<Error> {
    let mut errors = Vec::new();
    for object in to_hold(objects, outcomes, plan) {
        errors.extend(keep(ctx, &object).await.err());
    }
    errors
}

/// Lets go of versions that nothing stored or decided needs any more, and says of those that were deleted why they stay.
/// `outcomes`: all of the model, with whether they were stored. Returns what failed.
pub async fn settle(
    ctx: &Context,
    objects: &ModelObjects,
    outcomes: &[(&RolloutOutcome, bool)],
    plan: Option<&Plan>,
    now: Time,
) -> Vec<Error> {
    let mut errors = Vec::new();
    for (object, settled) in to_settle(&since(ctx, objects), outcomes, plan) {
        let written = match settled {
            Settled::Released => release(ctx, &object).await.or_else(gone),
            Settled::Blocked(condition) => set_condition(ctx, &object, condition, now).await,
        };
        errors.extend(written.err());
    }
    errors
}

/// Takes the finalizer off, whichever field manager owns it by now.
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
async fn set_condition(
    ctx: &Context,
    object: &ModelVersion,
    why: NewCondition,
    now: Time,
) -> Result<(), Error> {
    let deleted = object.metadata.deletion_timestamp.as_ref().map_or(now, from_k8s);
    let event = Event { reason: BLOCKED, warning: true, message: why.message.clone(), at: deleted };
    // First the event: it is written once however often it is tried, and the condition says that all is told.
    announce(ctx, &subject(object), &event).await?;
    write_with(ctx, object, object.status.clone().unwrap_or_default(), Some(why), now).await
}
