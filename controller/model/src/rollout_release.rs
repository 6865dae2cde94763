//! When a deleted rollout may go: once no retained plan is for it any more.

use modelfleet_crds::ResourceExt;
use modelfleet_crds::Rollout;
use modelfleet_protocol::time::Time;

use crate::decide_rollouts::RolloutOutcome;
use crate::events::Event;
use crate::status::time::from_k8s;

/// Keeps a rollout until no retained plan is for it any more.
pub const FINALIZER: &str = "modelfleet.io/retained-plan";
/// A deleted rollout goes after this time, whatever the broker does, milliseconds.
const RELEASE_MS: u64 = 30_000;

/// What becomes of the finalizer of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// It stays.
    Keep,
    /// It stays until then at the latest.
    By(Time),
    /// It goes; before that, the event is to be announced.
    Now(Option<Event>),
}

/// Whether a deleted rollout goes: when it has ended and the broker holds the plan without it, or after half a minute,
/// because a broker that is away must not keep objects for ever. `stored`: the object after all writes.
#[must_use]
pub fn release(stored: &Rollout, outcome: &RolloutOutcome, plan_is_held: bool, now: Time) -> Release {
    let Some(since) = stored.metadata.deletion_timestamp.as_ref().map(from_k8s) else {
        return Release::Keep;
    };
    if !stored.finalizers().iter().any(|f| f == FINALIZER) {
        return Release::Keep;
    }
    // One whose spec cannot work has no way back to go, if no device has anything of it.
    let ended = match &outcome.result {
        Ok(decided) => decided.memory.state.phase.is_terminal(),
        Err(_) => !outcome.phase_before.is_active(),
    };
    let deadline = since.after_ms(RELEASE_MS);
    match ended && plan_is_held {
        true => Release::Now(None),
        false if now < deadline => Release::By(deadline),
        false => Release::Now(Some(Event {
            reason: "LetGo",
            warning: true,
            message: format!(
                "Deleted before the end of the rollout was confirmed, because {} s are over. Devices go back as soon as the \
                 broker has the plan without it.",
                RELEASE_MS / 1_000
            ),
            at: since,
        })),
    }
}
