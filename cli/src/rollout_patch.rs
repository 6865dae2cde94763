//! What a person wants a rollout to do, as a merge patch of its spec: `kubectl patch` does the same.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::RolloutPhase;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, FIELD_MANAGER, send};
use crate::printing::AnswerError;

/// The fields that hold what a person wants.
const INTENT_FIELDS: [&str; 5] = ["paused", "abort", "promote", "retryToken", "setAside"];

/// Why the change was not made.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// The API server does not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The rollout has ended.
    #[error(
        "{verb} rollout {name}: it was rolled back already; to start it again: kubectl modelfleet retry {name}"
    )]
    Ended {
        /// What was wanted.
        verb: &'static str,
        /// The rollout.
        name: String,
    },
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Reads a rollout.
///
/// # Errors
/// When it is not there, or the API server does not answer.
pub async fn get(cluster: &Cluster, name: &str) -> Result<Rollout, ClusterError> {
    let doing = format!("read rollout {name} in namespace {}", cluster.namespace);
    send(&doing, "rollouts", cluster.api::<Rollout>().get(name)).await
}

/// Whether the rollout's status speaks about its present spec.
#[must_use]
pub fn is_current(rollout: &Rollout) -> bool {
    let seen = rollout.status.as_ref().and_then(|status| status.observed_generation);
    seen >= rollout.metadata.generation && seen.is_some()
}

/// Refuses a change that comes too late.
///
/// # Errors
/// When the rollout was rolled back.
pub fn not_ended(rollout: &Rollout, verb: &'static str) -> Result<(), IntentError> {
    let phase = rollout.status.as_ref().and_then(|status| status.phase);
    if phase == Some(RolloutPhase::RolledBack) && is_current(rollout) {
        let name = rollout.metadata.name.clone().unwrap_or_default();
        return Err(IntentError::Ended { verb, name });
    }
    Ok(())
}

/// Applies a merge patch and says what it changed, one line for each field; `dry_run`: asks the API server what it would do.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn apply(
    cluster: &Cluster,
    before: &Rollout,
    verb: &'static str,
    patch: Value,
    dry_run: bool,
) -> Result<(Rollout, String), IntentError> {
    let name = before.metadata.name.clone().unwrap_or_default();
    let doing = format!("{verb} rollout {name} in namespace {}", cluster.namespace);
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run, ..PatchParams::default() };
    let api = cluster.api::<Rollout>();
    let after = send(&doing, "rollouts", api.patch(&name, &parameters, &Patch::Merge(patch))).await?;
    let text = changes(before, &after);
    Ok((after, text))
}

/// The fields that differ: `rollout/x: spec.paused false -> true`.
#[must_use]
pub fn changes(before: &Rollout, after: &Rollout) -> String {
    let name = after.metadata.name.as_deref().unwrap_or_default();
    let fields = |rollout: &Rollout| serde_json::to_value(&rollout.spec).unwrap_or_default();
    let (old, new) = (fields(before), fields(after));
    let as_text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let changed = INTENT_FIELDS.iter().filter(|field| old.get(**field) != new.get(**field));
    let lines: Vec<String> = changed
        .map(|field| {
            format!(
                "rollout/{name}: spec.{field} {} -> {}\n",
                as_text(old.get(*field)),
                as_text(new.get(*field))
            )
        })
        .collect();
    if lines.is_empty() { format!("rollout/{name}: unchanged\n") } else { lines.concat() }
}

/// A token that no attempt had before.
#[must_use]
pub fn fresh_token(now: Timestamp, present: Option<&str>) -> String {
    let token = format!("retry-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    if present == Some(token.as_str()) { token + "-2" } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::RolloutSpec;

    #[test]
    fn only_what_changed_is_said() {
        let before = Rollout::new("pump", RolloutSpec::new("pump", "1.0.0"));
        let mut after = before.clone();
        assert_eq!(changes(&before, &after), "rollout/pump: unchanged\n");
        after.spec.paused = true;
        after.spec.promote = Some("broad".into());
        assert_eq!(
            changes(&before, &after),
            "rollout/pump: spec.paused false -> true\nrollout/pump: spec.promote (none) -> broad\n"
        );
    }

    #[test]
    fn two_retries_in_one_second_have_two_tokens() {
        let first = fresh_token(Timestamp::UNIX_EPOCH, None);
        assert_eq!(first, "retry-19700101T000000Z");
        assert_ne!(fresh_token(Timestamp::UNIX_EPOCH, Some(&first)), first);
    }
}
