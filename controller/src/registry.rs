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
use modelfleet_protocol::trust::{ArtifactKey, TrustDocument};

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
            // Other keys of publishers may count now.
            () = ctx.fleets.trust_moved() => {
                let named = ctx.versions.state().into_iter().filter_map(|version| wants_check(&ctx, &version));
                named.for_each(|name| desk.ask(name, Instant::now()));
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
    let document = document_of(ctx, &name.0);
    if !needs_check(&object, document.as_deref()) {
        return None;
    }
    let trust = &by_document(document.as_deref(), trust);
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
        Ok(_) => "Verified",
        Err(CheckError::Refuse { reason, .. }) => reason,
        Err(CheckError::Fetch { .. } | CheckError::Silence { .. } | CheckError::Slow { .. }) => {
            "StoreUnavailable"
        }
    };
    ctx.metrics.artifact_checks.get_or_create(&label("result", word)).inc();
    let again = match &result {
        Ok(_) => None,
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
fn by_document(document: Option<&TrustDocument>, trust: &Trust) -> Trust {
    let Some(document) = document else { return trust.clone() };
    let read = |key: &ArtifactKey| {
        PublicKey::from_base64(key.as_str())
            .expect("the reader of the document holds the form of minisign's keys")
    };
    Trust {
        keys: document.artifact_keys.iter().map(read).collect(),
        statement_keys: document.artifact_keys.clone(),
        ..trust.clone()
    }
}

fn recheck(attempts: u32) -> Duration {
    RECHECK_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RECHECK_MAX)
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX)
}

/// The trust document that counts for a fleet.
fn document_of(ctx: &Context, namespace: &str) -> Option<Arc<TrustDocument>> {
    namespace.parse().ok().and_then(|fleet| ctx.fleets.trust_of(&fleet))
}

/// Registered ones, and those that a check has rejected before; never one that a rollout has rejected. One that was verified by a
/// key that the trust document does not name any more is checked again. What devices run they check themselves.
fn needs_check(object: &ModelVersion, document: Option<&TrustDocument>) -> bool {
    let status = object.status.as_ref();
    match stage(object) {
        VersionStage::Registered => true,
        VersionStage::Rejected => status.is_none_or(|status| status.rejected_by.is_none()),
        VersionStage::Verified => {
            let keys = document.map_or(&[][..], |document| &document.artifact_keys);
            let signed_by = status.and_then(|status| status.signed_by.as_deref());
            !keys.is_empty() && !keys.iter().any(|key| Some(key.number().as_str()) == signed_by)
        }
        VersionStage::Production | VersionStage::Archived => false,
    }
}

async fn write(
    ctx: &Context,
    trust: &Trust,
    object: &ModelVersion,
    result: Result<Option<String>, CheckError>,
    again: Option<Duration>,
) -> Result<(), Error> {
    let before = object.status.clone().unwrap_or_default();
    let signed_by = result.as_ref().ok().cloned().flatten();
    let (stage, reason, message) = match &result {
        Ok(_) => {
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
        signed_by,
        verified_at: (stage == VersionStage::Verified).then(|| to_k8s(ctx.now())),
        ..before.clone()
    };
    let same =
        (before.stage, &before.reason, &before.signed_by) == (after.stage, &after.reason, &after.signed_by);
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
pub fn wants_check(ctx: &Context, object: &ModelVersion) -> Option<Name> {
    let document = document_of(ctx, &object.namespace().unwrap_or_default());
    needs_check(object, document.as_deref()).then(|| name_of(object))
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::floor::SecurityFloors;
    use modelfleet_protocol::time::Time;
    use modelfleet_protocol::trust::Roots;
    use serde_json::json;

    use super::*;

    /// A stolen artifact key is removed: what it alone had signed is checked again, and what another key signed is not.
    #[test]
    fn a_version_is_checked_again_when_the_key_that_signed_it_is_removed() {
        let (kept, removed) =
            ("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "1A2B3C4D5E6F7081");
        let kept: ArtifactKey = kept.parse().unwrap();
        let of = |stage: &str, signed_by: Option<&str>| -> ModelVersion {
            let object = json!({
                "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "m"},
                "spec": {"model": "m", "version": "1.0.0",
                    "artifact": {"uri": "file:///m", "digest": "sha256:0", "sizeBytes": 1}},
                "status": {"stage": stage, "signedBy": signed_by},
            });
            serde_json::from_value(object).unwrap()
        };
        let document = |keys: &[&ArtifactKey]| TrustDocument {
            version: 1,
            namespace: None,
            issued: Time(0),
            expires: Time(1),
            roots: Roots { keys: vec![], threshold: 1 },
            plan_keys: vec![],
            artifact_keys: keys.iter().map(|&key| key.clone()).collect(),
            enrolment_keys: vec![],
            revoked: vec![],
            floors: SecurityFloors::default(),
        };
        let (one, none) = (document(&[&kept]), document(&[]));
        for (object, again) in [
            (of("Verified", Some(&kept.number())), false),
            (of("Verified", Some(removed)), true),
            (of("Verified", None), true),
            (of("Registered", None), true),
            (of("Production", Some(removed)), false),
        ] {
            assert_eq!(needs_check(&object, Some(&one)), again, "{:?}", object.status);
        }
        assert!(!needs_check(&of("Verified", Some(removed)), Some(&none)), "no signature is asked for");
        assert!(!needs_check(&of("Verified", Some(removed)), None));
    }

    #[test]
    fn waits_grow_to_a_day_and_to_minutes() {
        assert_eq!(recheck(1), RECHECK_MIN);
        assert_eq!(recheck(2), 2 * RECHECK_MIN);
        assert_eq!([recheck(9), recheck(u32::MAX)], [RECHECK_MAX; 2]);
        assert_eq!([backoff(9), backoff(u32::MAX)], [BACKOFF_MAX; 2]);
    }
}
