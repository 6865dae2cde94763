//! A rollout is kept until no retained plan speaks for it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use modelfleet_crds::Rollout;
use modelfleet_protocol::time::Time;
use serde_json::json;

use super::events::{Entry, announce, subject};
use super::{MANAGER, full_name, rollouts};
use crate::context::Context;
use crate::error::Error;
use crate::status::time::from_k8s;
use crate::turn::Turn;

/// Keeps a rollout until no retained plan speaks for it.
pub const FINALIZER: &str = "modelfleet.io/retained-plan";
/// A deleted rollout is let go after this time, whatever the broker does, milliseconds.
const LET_GO_MS: u64 = 30_000;

/// Puts the finalizer on, before any plan can speak for the rollout.
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

/// Takes the finalizer off, whoever owns it by now: an object that was exported and applied again has it from another
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

/// Lets a deleted rollout go: when it has ended and the broker holds the plan without it, or after half a minute,
/// because a broker that is away must not keep objects for ever. Returns when to look again.
///
/// # Errors
/// When the API server refuses or is away.
pub async fn let_go(
    ctx: &Context,
    turn: &Turn,
    plan_is_held: bool,
    now: Time,
) -> Result<Option<Time>, Error> {
    let stored = ctx.written().rollout_since(&turn.rollout);
    let Some(since) = stored.metadata.deletion_timestamp.as_ref().map(from_k8s) else {
        return Ok(None);
    };
    if !stored.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(None);
    }
    // One whose spec cannot work has no way back to go, if no device has anything of it.
    let ended = match &turn.outcome {
        Ok(decided) => decided.memory.state.phase.is_terminal(),
        Err(_) => !turn.phase_before.is_active(),
    };
    let deadline = since.after_ms(LET_GO_MS);
    if !(ended && plan_is_held) && now < deadline {
        return Ok(Some(deadline));
    }
    if !(ended && plan_is_held) {
        let entry = Entry {
            reason: "LetGo",
            warning: true,
            message: format!(
                "deleted although its end was not confirmed within {} s; devices go back as soon as the broker has \
                 the plan without it",
                LET_GO_MS / 1_000
            ),
            at: since,
        };
        announce(ctx, &subject(stored.as_ref()), &entry).await?;
    }
    release(ctx, &stored).await.map(|_| None).or_else(gone)
}

/// An object that is gone needs no write.
fn gone(error: Error) -> Result<Option<Time>, Error> {
    if error.is_not_found() { Ok(None) } else { Err(error) }
}
