//! What becomes of model versions.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::model_version::{ModelVersionStatus, ProductionScope, Rejection, VersionStage};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Action, Production, clip};
use serde_json::json;

use super::{MANAGER, in_use};
use crate::context::Context;
use crate::error::Error;
use crate::observe::{World, since};
use crate::production;
use crate::restore::{LIFTED, RESTORED};
use crate::status::conditions::{Word, to_fields};
use crate::status::time::{cut, from_k8s, to_k8s};

/// Carries out the actions that are about versions, in their order.
pub(super) async fn apply(
    ctx: &Context,
    world: &World,
    rollout: &Rollout,
    actions: &[Action],
    now: Time,
) -> Result<(), Error> {
    for action in actions {
        match action {
            Action::Promote { production } => {
                let by = format!("brought to production by rollout {}", rollout.name_any());
                produce(ctx, world, production, &Change { by, then: VersionStage::Archived, rollout, now })
                    .await?;
            }
            Action::GiveBack { production } => {
                let by = format!("in production again, rollout {} was taken back", rollout.name_any());
                produce(ctx, world, production, &Change { by, then: VersionStage::Verified, rollout, now })
                    .await?;
            }
            Action::MarkRejected { version, reason, message, retry_token } => {
                let by = Rejection {
                    rollout: rollout.name_any(),
                    reason: (*reason).to_owned(),
                    time: to_k8s(now),
                    retry_token: cut(retry_token.as_deref().unwrap_or_default(), 64),
                };
                change(ctx, world, version, now, |s| reject(s, by.clone(), message)).await?;
            }
            Action::MarkVerified { version } => change(ctx, world, version, now, verify).await?,
            Action::OpenStage { .. } | Action::Event { .. } => {}
        }
    }
    Ok(())
}

/// Writes the status of a version if `edit` changes it. A version whose object is gone needs no write.
async fn change(
    ctx: &Context,
    world: &World,
    version: &str,
    now: Time,
    edit: impl Fn(&mut ModelVersionStatus),
) -> Result<(), Error> {
    let Some(object) = world.versions.get(version) else { return Ok(()) };
    let object = ctx.written().version_since(object);
    let before = object.status.clone().unwrap_or_default();
    let mut after = before.clone();
    edit(&mut after);
    if after == before {
        return Ok(());
    }
    write_status(ctx, &object, after, now).await
}

/// What is said of versions that come to production or leave it.
struct Change<'a> {
    /// Why it is in production now.
    by: String,
    /// What becomes of a version that no device has in production any more.
    then: VersionStage,
    rollout: &'a Rollout,
    now: Time,
}

/// Writes what is in production. First what is new, so that no device is without a stable version for a moment.
async fn produce(
    ctx: &Context,
    world: &World,
    production: &Production,
    said: &Change<'_>,
) -> Result<(), Error> {
    let world = since(ctx, world);
    let scopes = production::scopes(&world, production);
    let names = |version: &String| scopes.iter().any(|(kept, _)| kept == version);
    for (version, scopes) in &scopes {
        let own = *version == said.rollout.spec.version;
        change(ctx, &world, version, said.now, |s| promote(s, scopes, own, said)).await?;
    }
    for (version, scopes) in &scopes {
        change(ctx, &world, version, said.now, |s| production::put(s, scopes.clone())).await?;
    }
    for version in world.versions.keys().filter(|version| !names(version)) {
        change(ctx, &world, version, said.now, |s| retire(s, production, said)).await?;
    }
    Ok(())
}

fn promote(status: &mut ModelVersionStatus, scopes: &[ProductionScope], own: bool, said: &Change<'_>) {
    let for_all = [ProductionScope { selector: Selector::default().to_json(), order: 0 }];
    // Written before there were entries.
    let before = match &status.production_for[..] {
        [] if status.stage == Some(VersionStage::Production) => &for_all[..],
        listed => listed,
    };
    let gains = scopes.iter().any(|scope| !before.contains(scope));
    if !gains {
        return;
    }
    production::put(status, production::joined(scopes, before));
    // One that harmed others stays rejected, and in production where it was proven.
    if own || status.stage != Some(VersionStage::Rejected) {
        status.stage = Some(VersionStage::Production);
        status.reason = Some("Promoted".to_owned());
        status.message = Some(said.by.clone());
        status.rejected_by = None;
    }
    status.promoted_at = Some(to_k8s(said.now));
    status.promoted_by = Some(said.rollout.name_any());
}

fn retire(status: &mut ModelVersionStatus, production: &Production, said: &Change<'_>) {
    production::put(status, Vec::new());
    if status.stage != Some(VersionStage::Production) {
        return;
    }
    status.stage = Some(said.then);
    let (reason, message) = match said.then {
        VersionStage::Archived => ("Replaced", format!("Was in production; replaced, now {production}.")),
        _ => (
            "Verified",
            format!(
                "Rollout {} was taken back; the version may be rolled out again.",
                said.rollout.name_any()
            ),
        ),
    };
    (status.reason, status.message) = (Some(reason.to_owned()), Some(clip(&message, 512)));
}

fn reject(status: &mut ModelVersionStatus, by: Rejection, message: &str) {
    // The first rejection of an attempt stays, with its time.
    let same = |old: &Rejection| old.rollout == by.rollout && old.retry_token == by.retry_token;
    // What failed its check stays so: no retry token makes it Verified.
    let failed_check = status.rejected_by.is_none();
    if status.stage == Some(VersionStage::Rejected)
        && (failed_check || status.rejected_by.as_ref().is_some_and(same))
    {
        return;
    }
    status.stage = Some(VersionStage::Rejected);
    status.reason = Some(by.reason.clone());
    let keeps = |devices: &String| format!("{message} It stays in production for {devices}.");
    status.message = Some(clip(&status.devices.as_ref().map_or_else(|| message.to_owned(), keeps), 512));
    status.rejected_by = Some(by);
}

fn verify(status: &mut ModelVersionStatus) {
    if status.stage == Some(VersionStage::Rejected) && status.rejected_by.is_some() {
        let produced = !status.production_for.is_empty();
        status.stage = Some(if produced { VersionStage::Production } else { VersionStage::Verified });
        status.reason = Some(LIFTED.to_owned());
        status.message =
            Some("A new retryToken lifted its rejection; it may be rolled out again.".to_owned());
        status.rejected_by = None;
    }
}

/// Writes a version's status, its conditions worked out from the rest.
///
/// # Errors
/// When the API server refuses or is away, or somebody was faster.
pub async fn write_status(
    ctx: &Context,
    object: &ModelVersion,
    status: ModelVersionStatus,
    now: Time,
) -> Result<(), Error> {
    let blocked = in_use::told(object);
    write_with(ctx, object, status, blocked, now).await
}

/// The same, and why the version is not deleted yet.
pub(super) async fn write_with(
    ctx: &Context,
    object: &ModelVersion,
    mut status: ModelVersionStatus,
    blocked: Option<Word>,
    now: Time,
) -> Result<(), Error> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let what = format!("status of model version {namespace}/{name}");
    let old = object.status.as_ref().map_or(&[][..], |s| &s.conditions);
    status.observed_generation = object.metadata.generation;
    let words = words(&status).into_iter().chain(blocked).collect();
    status.conditions = to_fields(words, old, object.metadata.generation, now);
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

/// Remembers what a write made of a version. A conflict means that somebody was faster: it is read anew for the next try.
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

fn words(status: &ModelVersionStatus) -> Vec<Word> {
    let stage = status.stage.unwrap_or_default();
    let reason = status.reason.clone().unwrap_or_else(|| "Registered".to_owned());
    let message = status.message.clone().unwrap_or_default();
    let word = |kind, holds| Word { kind, holds, reason: reason.clone(), message: message.clone() };
    let restored = (reason == RESTORED).then(|| word(RESTORED, true));
    let checked = status.verified_at.as_ref().map(from_k8s).is_some();
    let usable = matches!(stage, VersionStage::Verified | VersionStage::Production | VersionStage::Archived);
    [
        word("Ready", usable),
        match checked {
            true => Word {
                kind: "Verified",
                holds: true,
                reason: "Checked".to_owned(),
                message: "The file has the size and the digest that were registered.".to_owned(),
            },
            false => word("Verified", false),
        },
        word("Stalled", stage == VersionStage::Rejected),
    ]
    .into_iter()
    .chain(restored)
    .collect()
}
