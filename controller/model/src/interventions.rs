//! What people ask of a rollout that needs no look at its devices: to take it back, or to hold it.

use modelfleet_crds::{Rollout, RolloutSpec};
use modelfleet_rollout::{PauseCause, Phase, State};

use crate::status::recall;

/// Whether a person asks to take a rollout back or to hold it, and where it stands does not show it yet.
#[must_use]
pub fn intervenes(spec: &RolloutSpec, deleted: bool, state: &State) -> bool {
    let back = deleted || spec.abort || spec.version != state.version;
    match state.phase {
        Phase::Progressing | Phase::AwaitingApproval => back || spec.paused,
        Phase::Paused(cause) => back || (spec.paused && cause != PauseCause::User),
        Phase::Succeeded => spec.abort,
        Phase::Queued | Phase::Refused | Phase::RollingBack | Phase::RolledBack => false,
    }
}

/// The same of an object, by its own status: its reconcile is not to wait for a look.
#[must_use]
pub fn is_urgent(rollout: &Rollout) -> bool {
    let (memory, _) = recall(rollout.status.as_ref());
    intervenes(&rollout.spec, rollout.metadata.deletion_timestamp.is_some(), &memory.state)
}
