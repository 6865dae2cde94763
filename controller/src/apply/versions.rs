//! Writes the statuses of model versions.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::ModelVersionStatus;
use modelfleet_model::ModelObjects;
use modelfleet_model::status::conditions::NewCondition;
use modelfleet_model::version_status::{VersionEdit, version_conditions};
use modelfleet_model::{security_floor, version_claims};
use modelfleet_protocol::time::Time;
use serde_json::json;

use super::MANAGER;
use crate::context::Context;
use crate::error::Error;

/// Writes the changes in their order, each to the status as it is by then. A version whose object is gone needs no write.
pub(super) async fn edit(
    ctx: &Context,
    objects: &ModelObjects,
    edits: &[VersionEdit],
    now: Time,
) -> Result<(), Error> {
    for edit in edits {
        let Some(object) = objects.versions.get(&edit.version) else { continue };
        let object = ctx.written().version_since(object);
        if let Some(status) = edit.apply(object.status.as_ref()) {
            write_status(ctx, &object, status, now).await?;
        }
    }
    Ok(())
}

/// Writes a version's status, its conditions worked out from the rest.
///
/// # Errors
/// When the API server refuses or is away, or another write was faster.
pub async fn write_status(
    ctx: &Context,
    object: &ModelVersion,
    status: ModelVersionStatus,
    now: Time,
) -> Result<(), Error> {
    let blocked = version_claims::claim_condition(object);
    write_with(ctx, object, status, blocked, now).await
}

/// Says of versions whether the trust document forbids them. Returns what failed: it is tried again.
pub async fn tell_floors(ctx: &Context, told: &[(Arc<ModelVersion>, NewCondition)], now: Time) -> Vec<Error> {
    let mut errors = Vec::new();
    for (object, condition) in told {
        let object = ctx.written().version_since(object);
        let status = object.status.clone().unwrap_or_default();
        let conditions = version_claims::claim_condition(&object).into_iter().chain([condition.clone()]);
        errors.extend(write_all(ctx, &object, status, conditions.collect(), now).await.err());
    }
    errors
}

/// The same, and why the version is not deleted yet.
pub(super) async fn write_with(
    ctx: &Context,
    object: &ModelVersion,
    status: ModelVersionStatus,
    blocked: Option<NewCondition>,
    now: Time,
) -> Result<(), Error> {
    let kept = blocked.into_iter().chain(security_floor::floor_condition(object));
    write_all(ctx, object, status, kept.collect(), now).await
}

/// Writes a status with these conditions beside those that are worked out from it.
async fn write_all(
    ctx: &Context,
    object: &ModelVersion,
    mut status: ModelVersionStatus,
    beside: Vec<NewCondition>,
    now: Time,
) -> Result<(), Error> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let what = format!("status of model version {namespace}/{name}");
    status.observed_generation = object.metadata.generation;
    status.conditions = version_conditions(object, &status, beside, now);
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": { "name": name, "resourceVersion": object.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let patched = api(ctx, object).patch_status(&name, &params, &Patch::Apply(patch)).await;
    keep_patched(ctx, object, what, patched).await?;
    tracing::info!(namespace, version = name, stage = ?status.stage, reason = status.reason, "model version");
    Ok(())
}

/// Remembers what a write made of a version. A conflict means that another write was faster: it is read anew for the next try.
pub(super) async fn keep_patched(
    ctx: &Context,
    object: &ModelVersion,
    what: String,
    patched: kube::Result<ModelVersion>,
) -> Result<(), Error> {
    let error = match patched {
        Ok(patched) => {
            ctx.written().keep_version(patched);
            return Ok(());
        }
        Err(error) => Error::kubernetes(what.clone(), error),
    };
    if let Error::Conflict { .. } = error {
        let fresh = api(ctx, object).get_opt(&object.name_any()).await;
        if let Some(fresh) = fresh.map_err(|e| Error::kubernetes(what, e))? {
            ctx.written().keep_version(fresh);
        }
    }
    Err(error)
}

pub(super) fn api(ctx: &Context, object: &ModelVersion) -> Api<ModelVersion> {
    Api::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default())
}
