//! Decisions become writes, in one fixed order, each safe to repeat: what becomes of versions, then the status, then
//! the events. Plans follow only after all of it is stored, so that a crash in between repeats and nothing is lost.

mod events;
mod versions;

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::{Rollout, RolloutStatus};
use modelfleet_protocol::time::Time;
use serde_json::json;

use crate::context::Context;
use crate::error::Error;
use crate::metrics::{RolloutLabels, RolloutNumbers, label};
use crate::observe::World;
use crate::status::{self, Story};
use crate::turn::{Decided, Turn};

pub use events::announce;
pub use versions::write_status as write_version_status;

/// Our name as a field manager: one for everything that this controller writes.
pub const MANAGER: &str = "modelfleet-controller";
/// Keeps a rollout until no retained plan speaks for it.
pub const FINALIZER: &str = "modelfleet.io/retained-plan";
/// Counts and sentences alone are written at most once in this time, milliseconds.
const TELL_EVERY_MS: u64 = 1_000;
/// A deleted rollout is let go after this time, whatever the broker does, milliseconds.
const LET_GO_MS: u64 = 30_000;

/// Writes what was decided for one rollout. Returns when it wants to be written again.
///
/// # Errors
/// When the API server refuses or is away; what was written stays, and the repetition skips it.
pub async fn apply(
    ctx: &Context,
    world: &World,
    turn: &Turn,
    plan: Option<(u64, u64)>,
    now: Time,
) -> Result<Option<Time>, Error> {
    let rollout = keep(ctx, &turn.rollout).await?;
    let before = rollout.status.as_ref();
    let generation = rollout.metadata.generation;
    let after = match &turn.outcome {
        Err(problem) => status::tell_problem(problem, before, generation, now),
        Ok(decided) => {
            versions::apply(ctx, world, &rollout, &decided.decision.actions, now).await?;
            status::bounded::bounded(status::tell(&story(decided, plan, generation, now), before))
        }
    };
    show(ctx, &rollout, &after);
    let (rollout, wake) = tell(ctx, rollout, after, now).await?;
    if let Ok(decided) = &turn.outcome {
        for entry in events::fresh(ctx, &rollout, decided, now) {
            announce(ctx, &events::subject(rollout.as_ref()), &entry).await?;
            ctx.metrics.decisions.get_or_create(&label("kind", entry.reason)).inc();
        }
    }
    Ok(wake)
}

fn story<'a>(
    decided: &'a Decided,
    plan: Option<(u64, u64)>,
    generation: Option<i64>,
    now: Time,
) -> Story<'a> {
    let seen = decided.seen.as_ref();
    Story {
        valid: &decided.valid,
        memory: &decided.memory,
        membership: &decided.membership,
        reasons: &decided.decision.reasons,
        seen: seen.map(|s| status::Seen { view: &s.view, online: s.online, failures: &s.failures }),
        answer: decided.answer.as_ref(),
        plan: plan.filter(|_| decided.view.speaks > modelfleet_rollout::Speaks::No),
        generation,
        now,
    }
}

/// Puts the finalizer on, before any plan can speak for the rollout.
async fn keep(ctx: &Context, rollout: &Arc<Rollout>) -> Result<Arc<Rollout>, Error> {
    let kept = rollout.finalizers().iter().any(|f| f == FINALIZER);
    if kept || rollout.metadata.deletion_timestamp.is_some() {
        return Ok(Arc::clone(rollout));
    }
    let patched = finalizers(ctx, rollout, &[FINALIZER]).await?;
    Ok(Arc::new(patched))
}

async fn finalizers(ctx: &Context, rollout: &Rollout, list: &[&str]) -> Result<Rollout, Error> {
    let what = format!("finalizer of rollout {}", full_name(rollout));
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {
            "name": rollout.name_any(),
            "resourceVersion": rollout.resource_version(),
            "finalizers": list,
        },
    });
    let params = PatchParams::apply(MANAGER).force();
    let patched = rollouts(ctx, rollout).patch(&rollout.name_any(), &params, &Patch::Apply(patch)).await;
    let patched = patched.map_err(|e| Error::kubernetes(what, e))?;
    ctx.written().keep_rollout(patched.clone());
    Ok(patched)
}

/// Writes the status when it differs in substance, or in anything and the last write is long enough ago.
async fn tell(
    ctx: &Context,
    rollout: Arc<Rollout>,
    after: RolloutStatus,
    now: Time,
) -> Result<(Arc<Rollout>, Option<Time>), Error> {
    let empty = RolloutStatus::default();
    let before = rollout.status.as_ref().unwrap_or(&empty);
    if *before == after {
        return Ok((rollout, None));
    }
    let uid = rollout.uid().unwrap_or_default();
    let told_at = ctx.written().told_at(&uid);
    if let Some(told_at) = told_at
        && now.since_ms(told_at) < TELL_EVERY_MS
        && !status::differs_in_substance(before, &after)
    {
        return Ok((rollout, Some(told_at.after_ms(TELL_EVERY_MS))));
    }
    let what = format!("status of rollout {}", full_name(&rollout));
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "Rollout",
        // The version that was read: whoever was faster makes us look again.
        "metadata": { "name": rollout.name_any(), "resourceVersion": rollout.resource_version() },
        "status": after,
    });
    let params = PatchParams::apply(MANAGER).force();
    let api = rollouts(ctx, &rollout);
    let patched = api.patch_status(&rollout.name_any(), &params, &Patch::Apply(patch)).await;
    let patched = patched.map_err(|e| Error::kubernetes(what, e))?;
    let mut written = ctx.written();
    written.keep_rollout(patched.clone());
    written.note_told(&uid, now);
    drop(written);
    Ok((Arc::new(patched), None))
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
    let stored = ctx.written().rollout(Arc::clone(&turn.rollout));
    let Some(since) = stored.metadata.deletion_timestamp.as_ref().map(status::time::from_k8s) else {
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
        let entry = events::Entry {
            reason: "LetGo",
            warning: true,
            message: format!(
                "deleted although its end was not confirmed within {} s; devices go back as soon as the broker has \
                 the plan without it",
                LET_GO_MS / 1_000
            ),
            at: since,
        };
        announce(ctx, &events::subject(stored.as_ref()), &entry).await?;
    }
    finalizers(ctx, &stored, &[]).await.map(|_| None).or_else(gone)
}

/// An object that is gone needs no write.
fn gone(error: Error) -> Result<Option<Time>, Error> {
    match &error {
        Error::Kubernetes { source, .. } => match source.as_ref() {
            kube::Error::Api(status) if status.code == 404 => Ok(None),
            _ => Err(error),
        },
        _ => Err(error),
    }
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
