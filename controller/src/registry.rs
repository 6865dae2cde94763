//! Model versions: Registered until their bytes were checked, then Verified, or Rejected with what to do.

pub mod check_queue;
mod check_schedule;

use modelfleet_protocol::causes::with_causes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use minisign_verify::PublicKey;
use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::{ModelVersionStatus, VersionStage};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::apply::write_version_status;
use crate::context::Context;
use crate::error::Error;
use crate::metrics::label;
use crate::traces;
use crate::verify_artifact::{CheckError, Trust, check};
use check_queue::CheckQueue;
use check_schedule::CheckSchedule;
use modelfleet_model::status::time::{cut, to_k8s};
use modelfleet_model::version_facts::stage;
use modelfleet_protocol::trust::ArtifactKey;

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A file that was wrong is looked at again after this time, since the right one may have been put back; and each
/// time later, because it is fetched whole.
const RECHECK_MIN: Duration = Duration::from_secs(600);
const RECHECK_MAX: Duration = Duration::from_secs(24 * 3600);

/// A version by namespace, name and uid: one that is registered anew under an old name is another one.
pub type Name = (String, String, String);

/// Checks versions as they are named in `asks`, until `stop`.
pub async fn run(ctx: Arc<Context>, trust: Arc<Trust>, asks: CheckQueue, stop: CancellationToken) {
    let mut desk = CheckSchedule::default();
    let mut checks: JoinSet<Option<Duration>> = JoinSet::new();
    let mut running: HashMap<Id, Name> = HashMap::new();
    loop {
        while let Some((name, attempts)) = desk.take(Instant::now()) {
            let (ctx, trust, of) = (Arc::clone(&ctx), Arc::clone(&trust), name.clone());
            let task = checks.spawn(async move { examine(&ctx, &trust, &of, attempts).await });
            running.insert(task.id(), name);
        }
        let wake = desk.next().unwrap_or_else(|| Instant::now() + BACKOFF_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            names = asks.next() => names.into_iter().for_each(|name| desk.ask(name, Instant::now())),
            Some(ended) = checks.join_next_with_id() => {
                let (id, again) = ended.unwrap_or_else(|panicked| {
                    tracing::error!(error = %panicked, "the check of an artifact panicked");
                    (panicked.id(), Some(RECHECK_MIN))
                });
                if let Some(name) = running.remove(&id) {
                    desk.done(name, again, Instant::now());
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// Examines one version. Returns when to look again; `None`: it needs no check.
async fn examine(ctx: &Context, trust: &Trust, name: &Name, attempts: u32) -> Option<Duration> {
    let reference = ObjectRef::new(&name.1).within(&name.0);
    let object = ctx.versions.get(&reference).filter(|object| object.uid().as_ref() == Some(&name.2))?;
    let object = ctx.written().version(object);
    if !needs_check(&object) {
        return None;
    }
    let trust = &by_document(ctx, trust, &name.0);
    let span = tracing::error_span!(
        target: traces::TARGET,
        "check artifact",
        trace_id = traces::new_trace_id(),
        namespace = name.0,
        version = name.1,
        bytes = object.spec.artifact.size_bytes,
        error = Empty,
    );
    let result = check(trust, &object.spec).instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("error", with_causes(error));
    }
    drop(span);
    let word = match &result {
        Ok(()) => "Verified",
        Err(CheckError::Refuse { reason, .. }) => reason,
        Err(CheckError::Fetch { .. } | CheckError::Silence { .. } | CheckError::Slow { .. }) => {
            "StoreUnavailable"
        }
    };
    ctx.metrics.artifact_checks.get_or_create(&label("result", word)).inc();
    let again = match &result {
        Ok(()) => None,
        Err(CheckError::Refuse { .. }) => Some(recheck(attempts)),
        Err(_) => Some(backoff(attempts)),
    };
    match write(ctx, trust, &object, result, again).await {
        Ok(()) => again,
        Err(error) => {
            tracing::warn!(
                version = name.1,
                namespace = name.0,
                error = with_causes(&error),
                "the result of a check was not written"
            );
            Some(BACKOFF_MIN)
        }
    }
}

/// The publishers' keys of the trust document, where there is one for the fleet, in the place of those of the flags.
fn by_document(ctx: &Context, trust: &Trust, namespace: &str) -> Trust {
    let document = namespace.parse().ok().and_then(|fleet| ctx.fleets.trust_of(&fleet));
    let Some(document) = document else { return trust.clone() };
    let read = |key: &ArtifactKey| {
        PublicKey::from_base64(key.as_str())
            .expect("the reader of the document holds the form of minisign's keys")
    };
    Trust { keys: document.artifact_keys.iter().map(read).collect(), ..trust.clone() }
}

fn recheck(attempts: u32) -> Duration {
    RECHECK_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RECHECK_MAX)
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX)
}

/// Registered ones, and those that a check has rejected before; never one that a rollout has rejected.
fn needs_check(object: &ModelVersion) -> bool {
    let by_rollout = object.status.as_ref().is_some_and(|s| s.rejected_by.is_some());
    match stage(object) {
        VersionStage::Registered => true,
        VersionStage::Rejected => !by_rollout,
        VersionStage::Verified | VersionStage::Production | VersionStage::Archived => false,
    }
}

async fn write(
    ctx: &Context,
    trust: &Trust,
    object: &ModelVersion,
    result: Result<(), CheckError>,
    again: Option<Duration>,
) -> Result<(), Error> {
    let before = object.status.clone().unwrap_or_default();
    let (stage, reason, message) = match &result {
        Ok(()) => {
            let bytes = object.spec.artifact.size_bytes;
            // Without a key no signature was checked.
            let message = match trust.keys.is_empty() {
                true => format!(
                    "Size ({bytes} bytes) and digest are right. Signatures are not checked, because neither the trust document nor --artifact-key \
                     names a publisher's key."
                ),
                false => format!("Size ({bytes} bytes), digest and signature are right."),
            };
            (VersionStage::Verified, "Verified", message)
        }
        Err(CheckError::Refuse { reason, message }) => (VersionStage::Rejected, *reason, message.clone()),
        Err(error) => {
            let wait = again.map_or(0, |wait| wait.as_secs());
            let message = format!(
                "The file could not be checked: {}. The controller tries again within {wait} seconds.",
                with_causes(error)
            );
            (VersionStage::Registered, "StoreUnavailable", message)
        }
    };
    let after = ModelVersionStatus {
        stage: Some(stage),
        reason: Some(reason.to_owned()),
        message: Some(cut(&message, 512)),
        verified_at: (stage == VersionStage::Verified).then(|| to_k8s(ctx.now())),
        ..before.clone()
    };
    let same = (before.stage, &before.reason) == (after.stage, &after.reason);
    if same && before.message == after.message {
        return Ok(());
    }
    write_version_status(ctx, object, after, ctx.now()).await
}

/// The name of a version.
#[must_use]
pub fn name_of(object: &ModelVersion) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any(), object.uid().unwrap_or_default())
}

/// The name of a version that the watch shows, when it wants to be checked.
#[must_use]
pub fn wants_check(object: &ModelVersion) -> Option<Name> {
    needs_check(object).then(|| name_of(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_day_and_to_minutes() {
        assert_eq!(recheck(1), RECHECK_MIN);
        assert_eq!(recheck(2), 2 * RECHECK_MIN);
        assert_eq!([recheck(9), recheck(u32::MAX)], [RECHECK_MAX; 2]);
        assert_eq!([backoff(9), backoff(u32::MAX)], [BACKOFF_MAX; 2]);
    }
}
