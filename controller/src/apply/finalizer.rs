//! A rollout is kept until no retained plan is for it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use modelfleet_crds::Rollout;
use modelfleet_model::decide_rollouts::RolloutOutcome;
use modelfleet_model::rollout_release::{self, FINALIZER, Release};
use modelfleet_protocol::time::Time;
use serde_json::json;

use super::events::{announce, subject};
use super::{MANAGER, full_name, rollouts};
use crate::context::Context;
use crate::error::Error;

/// Puts the finalizer on, before any plan can be for the rollout.
pub(super) async fn keep(ctx: &Context, rollout: &Arc<Rollout>) -> Result<Arc<Rollout>, Error> {
    let kept = rollout.finalizers().iter().any(|f| f == FINALIZER);
    if kept || rollout.metadata.deletion_timestamp.is_some() {
        return Ok(Arc::clone(rollout));
    }
    let what = format!("finalizer of rollout {}", full_name(rollout));
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {
            "name": rollout.name_any(),
            "resourceVersion": rollout.resource_version(),
            "finalizers": [FINALIZER],
        },
    });
    let params = PatchParams::apply(MANAGER).force();
    let patched = rollouts(ctx, rollout).patch(&rollout.name_any(), &params, &Patch::Apply(patch)).await;
    let patched = patched.map_err(|e| Error::kubernetes(what, e))?;
    ctx.written().keep_rollout(patched.clone());
    Ok(Arc::new(patched))
}

/// Takes the finalizer off, whichever field manager owns it by now: an object that was exported and applied again has it from another
/// manager, and our own apply would leave it there for good.
async fn release(ctx: &Context, rollout: &Rollout) -> Result<Rollout, Error> {
    let what = format!("finalizer of rollout {}", full_name(rollout));
    let patch = without(rollout, FINALIZER);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = rollouts(ctx, rollout).patch(&rollout.name_any(), &params, &patch).await;
    let patched = patched.map_err(|e| Error::kubernetes(what, e))?;
    ctx.written().keep_rollout(patched.clone());
    Ok(patched)
}

/// An update that leaves all finalizers but this one, if the object is as it was read.
pub(super) fn without<K: ResourceExt>(object: &K, finalizer: &str) -> Patch<serde_json::Value> {
    let rest: Vec<&String> = object.finalizers().iter().filter(|other| *other != finalizer).collect();
    Patch::Merge(json!({
        "metadata": { "resourceVersion": object.resource_version(), "finalizers": rest },
    }))
}

/// Lets a deleted rollout go, once [`modelfleet_model::rollout_release`] says so. Returns when to look again.
///
/// # Errors
/// When the API server refuses or is away.
pub async fn let_go(
    ctx: &Context,
    outcome: &RolloutOutcome,
    plan_is_held: bool,
    now: Time,
) -> Result<Option<Time>, Error> {
    let stored = ctx.written().rollout_since(&outcome.rollout);
    let event = match rollout_release::release(&stored, outcome, plan_is_held, now) {
        Release::Keep => return Ok(None),
        Release::By(deadline) => return Ok(Some(deadline)),
        Release::Now(event) => event,
    };
    if let Some(event) = event {
        announce(ctx, &subject(stored.as_ref()), &event).await?;
    }
    release(ctx, &stored).await.map(|_| None).or_else(gone)
}

/// An object that is gone needs no write.
fn gone(error: Error) -> Result<Option<Time>, Error> {
    if error.is_not_found() { Ok(None) } else { Err(error) }
}
