//! The annotations that an export keeps, and what they say after a restore: written where they differ from what is stored.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::time::Time;
use serde_json::json;

use super::versions::{keep_patched, write_status};
use super::{MANAGER, full_name, rollouts};
use crate::context::Context;
use crate::error::Error;
use crate::observe::since;
use modelfleet_model::ModelObjects;
use modelfleet_model::decide_rollouts::RolloutOutcome;
use modelfleet_model::restore::{ENDED, REJECTED, ended_mark, rejected_mark};

/// Writes the statuses of versions that came back without them. Returns what failed: it is tried again, and keeps no
/// rollout from going on.
pub async fn restore(ctx: &Context, whole: &ModelObjects, lost: &[String], now: Time) -> Vec<Error> {
    let mut errors = Vec::new();
    for object in lost.iter().filter_map(|version| whole.versions.get(version)) {
        let status = object.status.clone().unwrap_or_default();
        errors.extend(write_status(ctx, object, status, now).await.err());
    }
    errors
}

/// Brings the annotations in line with what is stored. Returns what failed.
pub async fn keep(ctx: &Context, objects: &ModelObjects, outcomes: &[(&RolloutOutcome, bool)]) -> Vec<Error> {
    let mut errors = Vec::new();
    for object in since(ctx, objects).versions.values() {
        let mark = rejected_mark(object);
        if object.annotations().get(REJECTED) != mark.as_ref() {
            errors.extend(mark_version(ctx, object, mark).await.err());
        }
    }
    for (outcome, _) in outcomes.iter().filter(|(_, stored)| *stored) {
        let Ok(decided) = &outcome.result else { continue };
        let rollout = ctx.written().rollout_since(&outcome.rollout);
        let mark = ended_mark(&rollout, &decided.memory.state);
        if rollout.metadata.deletion_timestamp.is_none() && rollout.annotations().get(ENDED) != mark.as_ref()
        {
            errors.extend(mark_rollout(ctx, &rollout, mark).await.err());
        }
    }
    errors
}

/// A plain update, because it also takes away what another manager owns by now.
fn patch(key: &str, mark: Option<String>) -> Patch<serde_json::Value> {
    Patch::Merge(json!({ "metadata": { "annotations": { key: mark } } }))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

async fn mark_version(ctx: &Context, object: &ModelVersion, mark: Option<String>) -> Result<(), Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let what = format!("annotation of model version {namespace}/{name}");
    let api: Api<ModelVersion> = Api::namespaced(ctx.client.clone(), &namespace);
    let patched = api.patch(&name, &params(), &patch(REJECTED, mark)).await;
    keep_patched(ctx, object, what, patched).await.or_else(gone)
}

async fn mark_rollout(ctx: &Context, rollout: &Rollout, mark: Option<String>) -> Result<(), Error> {
    let what = format!("annotation of rollout {}", full_name(rollout));
    let patched = rollouts(ctx, rollout).patch(&rollout.name_any(), &params(), &patch(ENDED, mark)).await;
    match patched.map_err(|e| Error::kubernetes(what, e)) {
        Ok(patched) => {
            ctx.written().keep_rollout(patched);
            Ok(())
        }
        Err(error) => gone(error),
    }
}

/// An object that is gone needs no mark.
fn gone(error: Error) -> Result<(), Error> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}
