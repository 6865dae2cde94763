//! What must hold when a stage is left or comes to its end, compared with what the swarm knows of devices and versions.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Cause, Passed, PauseCause, Phase, State};
use serde_json::Value;

use crate::api_server::Stored;
use crate::fleet_laws::{Moment, state};

/// Failed devices of a stage, more than which pause it: 5 %, rounded up, of the largest simulated fleet.
const FAILED_MAX: i64 = 1;
/// A stage ends within this time after its deadline, milliseconds.
const ENDS_WITHIN_MS: u64 = 30 * 60_000;
/// Windows that go by before anything can be known of a device: a stage waits for so many more than its spec says.
const DELAY_WINDOWS: u64 = 6;

/// Holds the laws of a rollout's status. `calm`: no fault is on, so that nothing hinders a decision.
pub fn stored(write: &Stored, moment: &Moment<'_>, calm: bool) -> Option<String> {
    let (name, before) = (&write.place.1, write.before.as_deref()?);
    let (old, new) = (state(before)?, state(&write.after)?);
    if old.attempt != new.attempt {
        return None;
    }
    let broken = passed_untold(write, &old, &new, moment);
    let broken =
        broken.or_else(|| if calm { failures_go_on(before, &write.after, &old, &new) } else { None });
    let broken = broken.or_else(|| if calm { harm_not_heard(&write.after, &new) } else { None });
    broken.map(|broken| format!("{name} {broken}"))
}

/// A stage that passes by itself has a verdict on every objective, and a device that has confirmed the version.
fn passed_untold(write: &Stored, old: &State, new: &State, moment: &Moment<'_>) -> Option<String> {
    let passed = new.passed.last().filter(|_| new.passed.len() > old.passed.len())?;
    if matches!(passed.how, Passed::ByHand | Passed::OnTrust) {
        return None;
    }
    let stage = &passed.name;
    let verdicts = write.after["status"]["verdicts"].as_array().into_iter().flatten();
    let mut objectives = verdicts.filter(|verdict| verdict["slo"] != "(silence)");
    let open = objectives.find(|verdict| verdict["verdict"] != "Healthy" && verdict["verdict"] != "Exposed");
    if let Some(open) = open {
        return Some(format!(
            "leaves stage {stage}, and its verdict on {} is {}",
            open["slo"], open["verdict"]
        ));
    }
    let digest = digest(write)?;
    (!(moment.confirmed)(&digest))
        .then(|| format!("leaves stage {stage}, and no device has confirmed the version"))
}

/// The digest of the version that a rollout brings.
fn digest(write: &Stored) -> Option<Digest> {
    let spec = &write.after["spec"];
    Some(Digest::of(format!("{} {}", spec["model"].as_str()?, spec["version"].as_str()?).as_bytes()))
}

/// A stage in which too many devices have failed stands still.
fn failures_go_on(before: &Value, after: &Value, old: &State, new: &State) -> Option<String> {
    let goes_on = |state: &State| state.phase == Phase::Progressing;
    let failed = |object: &Value| object["status"]["counts"]["failed"].as_i64().unwrap_or(0);
    let same = old.stage == new.stage && before["status"]["membership"] == after["status"]["membership"];
    let failed = failed(before).min(failed(after));
    (goes_on(old) && goes_on(new) && same && failed > FAILED_MAX)
        .then(|| format!("continues although {failed} devices of its stage have failed"))
}

/// A rollout on which the judge has shown harm goes back, and says so.
fn harm_not_heard(after: &Value, new: &State) -> Option<String> {
    let mut verdicts = after["status"]["verdicts"].as_array()?.iter();
    let harmful = verdicts.find(|verdict| verdict["verdict"] == "Degraded")?;
    let undecided = new.rollback.as_ref().is_some_and(|rollback| rollback.cause == Cause::Undecided);
    let waits = matches!(new.phase, Phase::Progressing | Phase::Paused(PauseCause::Undecided)) || undecided;
    (waits && new.harm.is_none())
        .then(|| format!("does not go back although its verdict on {} is Degraded", harmful["slo"]))
}

/// A stage that neither passes nor fails ends at its deadline.
#[must_use]
pub fn outlasts(rollout: &Value, now: Time) -> Option<String> {
    let state = state(rollout).filter(|state| state.phase == Phase::Progressing && state.drawn.is_some())?;
    let stage = rollout["spec"]["stages"].get(state.stage as usize)?;
    let most_ms = (minutes(&stage["bake"])? + minutes(&stage["maxWait"])?) * 60_000;
    let delay_ms = minutes(&rollout["spec"]["observe"]["window"])? * 60_000 * DELAY_WINDOWS;
    let most_ms = most_ms + delay_ms;
    let over_ms = state.clock.elapsed_ms(now).saturating_sub(most_ms);
    (over_ms > ENDS_WITHIN_MS)
        .then(|| format!("is in a stage whose deadline was {} minutes ago", over_ms / 60_000))
}

fn minutes(text: &Value) -> Option<u64> {
    text.as_str()?.strip_suffix('m')?.parse().ok()
}
