//! Decisions become writes, in one fixed order, each safe to repeat: what becomes of versions, then the status. The plan
//! follows only after both are stored, so that a crash in between repeats and nothing is lost; events come last.

mod events;
mod finalizer;
pub mod in_use;
pub mod marks;
mod versions;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::{ModelVersion, Rollout, RolloutStatus};
use modelfleet_model::ModelObjects;
use modelfleet_model::decide_rollouts::{Decided, RolloutOutcome};
use modelfleet_model::objects::key_of;
use modelfleet_model::rollout_status::rollout_status;
use modelfleet_model::status;
use modelfleet_model::status::event_sinks::with_event_sinks;
use modelfleet_model::status::problem::{minimal, tell_refused};
use modelfleet_model::version_status::version_edits;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::Phase;
use serde_json::json;

use crate::context::Context;
use crate::error::Error;
use crate::metrics::{RolloutLabels, RolloutNumbers};
use crate::model_metrics::ArmNames;

pub use events::{announce, subject, tell_events, tell_sinks};
pub use finalizer::let_go;
pub use versions::{tell_floors, write_status as write_version_status};

/// Our name as a field manager: one for everything that this controller writes.
pub const MANAGER: &str = "modelfleet-controller";
/// Counts and sentences alone are written at most once in this time, milliseconds.
const STATUS_EVERY_MS: u64 = 1_000;

/// Writes what was decided for one rollout; `plan` is the order of the plan that goes out on its behalf. Returns when it
/// wants to be written again.
///
/// # Errors
/// When the API server refuses or is away; what was written stays, and the repetition skips it.
pub async fn apply(
    ctx: &Context,
    objects: &ModelObjects,
    outcome: &RolloutOutcome,
    plan: Option<(u64, u64)>,
    now: Time,
) -> Result<Option<Time>, Error> {
    let rollout = finalizer::keep(ctx, &outcome.rollout).await?;
    if let Ok(decided) = &outcome.result {
        let edits = version_edits(objects, &rollout, &decided.decision.actions, now);
        versions::edit(ctx, objects, &edits, now).await?;
    }
    let generation = rollout.metadata.generation;
    let after = rollout_status(outcome, rollout.status.as_ref(), plan, generation, now);
    // With the decisions that are not told yet: a process that ends now leaves both.
    let (progress, troubles) = (ctx.telling.progress(&rollout), ctx.telling.troubles(&rollout));
    let after = with_event_sinks(after, progress, &troubles, rollout.status.as_ref(), now);
    show(ctx, &rollout, &after);
    let seen = outcome.result.as_ref().ok().and_then(|decided| decided.seen.as_ref());
    if let Some(seen) = seen.filter(|seen| seen.whole) {
        let (left_out, other_plan) = (seen.omitted.count, seen.other_plan.count);
        ctx.metrics.show_fleet(&rollout_labels(&rollout), left_out, other_plan, seen.wrong_clocks.count);
        if let Some(document) = &seen.trust.document {
            let namespace = rollout.namespace().unwrap_or_default();
            ctx.metrics.trust.show(&namespace, document, &seen.trust.held);
        }
    }
    if let Ok(decided) = &outcome.result {
        show_values(ctx, objects, &rollout, decided);
        // Between two looks what was shown stays.
        if decided.watched.is_some() || decided.memory.state.phase != Phase::Succeeded {
            ctx.metrics.watch.show(&rollout_labels(&rollout), decided.watched.as_ref());
        }
    }
    send_status(ctx, &rollout, after, now).await
}

/// Writes the status when it differs in substance, or in anything and the last write is long enough ago. What the API
/// server refuses is written without all that does not decide: a sentence must not keep a rollback from being stored.
async fn send_status(
    ctx: &Context,
    rollout: &Rollout,
    after: RolloutStatus,
    now: Time,
) -> Result<Option<Time>, Error> {
    let empty = RolloutStatus::default();
    let before = rollout.status.as_ref().unwrap_or(&empty);
    if *before == after {
        return Ok(None);
    }
    let uid = rollout.uid().unwrap_or_default();
    let sent_at = ctx.written().status_sent_at(&uid);
    if let Some(sent_at) = sent_at
        // One that was sent in the future was sent before the clock was set right.
        && (sent_at..sent_at.after_ms(STATUS_EVERY_MS)).contains(&now)
        && !status::differs_in_substance(before, &after)
    {
        return Ok(Some(sent_at.after_ms(STATUS_EVERY_MS)));
    }
    let patched = match write_status(ctx, rollout, &after).await {
        Err(error) if error.is_refusal() => {
            tracing::error!(
                rollout = full_name(rollout),
                error = with_causes(&error),
                "status refused; writes less"
            );
            match write_status(ctx, rollout, &minimal(after)).await {
                Err(error) if error.is_refusal() => return tell_refusal(ctx, rollout, error, now).await,
                other => other?,
            }
        }
        other => other?,
    };
    let mut written = ctx.written();
    written.keep_rollout(patched);
    written.note_status_sent(&uid, now);
    Ok(None)
}

/// Says on the object that nothing of what was decided can be stored. The error stays one: no plan goes out before what
/// was decided is stored.
async fn tell_refusal(
    ctx: &Context,
    rollout: &Rollout,
    refusal: Error,
    now: Time,
) -> Result<Option<Time>, Error> {
    let before = rollout.status.as_ref();
    let told = tell_refused(&with_causes(&refusal), before, rollout.metadata.generation, now);
    if before != Some(&told) {
        let patched = write_status(ctx, rollout, &told).await?;
        ctx.written().keep_rollout(patched);
    }
    Err(refusal)
}

async fn write_status(ctx: &Context, rollout: &Rollout, status: &RolloutStatus) -> Result<Rollout, Error> {
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "Rollout",
        // The version that was read: if another write was faster, we look again.
        "metadata": { "name": rollout.name_any(), "resourceVersion": rollout.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let patched =
        rollouts(ctx, rollout).patch_status(&rollout.name_any(), &params, &Patch::Apply(patch)).await;
    patched.map_err(|e| Error::kubernetes(format!("status of rollout {}", full_name(rollout)), e))
}

/// Shows what devices measured, and tells which versions there are.
fn show_values(ctx: &Context, objects: &ModelObjects, rollout: &Rollout, decided: &Decided) {
    if let Some(key) = key_of(rollout.namespace(), &rollout.spec.model) {
        let digest = |version: &ModelVersion| version.spec.artifact.digest.parse().ok();
        let versions = objects.versions.iter();
        let named = versions.filter_map(|(version, object)| Some((digest(object)?, version.clone())));
        ctx.metrics.models.name_versions(&key, named);
    }
    let Some(answer) = &decided.answer else { return };
    let state = &decided.memory.state;
    let mut prior = state.prior.entries().iter().map(|one| one.version.as_str());
    let first = prior.next().unwrap_or("none");
    let names = ArmNames {
        model: &rollout.spec.model,
        version: &state.version,
        controls: if prior.all(|version| version == first) { first } else { "several" },
    };
    ctx.metrics.models.show(&rollout_labels(rollout), names, &answer.values.last_windows);
}

fn show(ctx: &Context, rollout: &Rollout, status: &RolloutStatus) {
    let counts = status.counts.unwrap_or_default();
    let numbers = RolloutNumbers {
        model: &rollout.spec.model,
        version: &rollout.spec.version,
        phase: &status.phase.map(|p| format!("{p:?}")).unwrap_or_default(),
        stage: status.stage.as_ref().map_or(0, |stage| stage.index),
        devices: [
            ("eligible", counts.eligible),
            ("reachable", counts.reachable),
            ("offered", counts.offered),
            ("downloaded", counts.downloaded),
            ("activated", counts.activated),
            ("confirmed", counts.confirmed),
            ("failed", counts.failed),
            ("incompatible", counts.incompatible),
            ("own_trouble", counts.own_trouble),
            ("silent", counts.silent_after_activation),
            ("unreachable", counts.unreachable),
        ],
        spent_ppm: status.judge.as_ref().map_or(0, |judge| judge.spent_ppm),
    };
    ctx.metrics.show(&rollout_labels(rollout), &numbers);
}

/// The labels of a rollout's metrics.
#[must_use]
pub fn rollout_labels(rollout: &Rollout) -> RolloutLabels {
    RolloutLabels { namespace: rollout.namespace().unwrap_or_default(), rollout: rollout.name_any() }
}

/// Reads a rollout anew, after a conflict.
///
/// # Errors
/// When the API server is away.
pub async fn reread(ctx: &Context, rollout: &Rollout) -> Result<(), Error> {
    let what = format!("read rollout {}", full_name(rollout));
    let fresh = rollouts(ctx, rollout).get_opt(&rollout.name_any()).await;
    if let Some(fresh) = fresh.map_err(|e| Error::kubernetes(what, e))? {
        ctx.written().keep_rollout(fresh);
    }
    Ok(())
}

fn rollouts(ctx: &Context, rollout: &Rollout) -> Api<Rollout> {
    Api::namespaced(ctx.client.clone(), &rollout.namespace().unwrap_or_default())
}

fn full_name(rollout: &Rollout) -> String {
    format!("{}/{}", rollout.namespace().unwrap_or_default(), rollout.name_any())
}
