//! What must hold when a stage is left or comes to its end, compared with what the swarm knows of devices and versions.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Cause, Passed, PauseCause, Phase, State};
use serde_json::Value;

use crate::api_server::Stored;
use crate::fleet_laws::{Moment, state};
use crate::nature::Nature;

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
    let broken = broken.or_else(|| if calm { harm_not_found(write, &old, &new, moment) } else { None });
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

/// Harm that devices have suffered for most of a stage, beside devices that have not, is found.
fn harm_not_found(write: &Stored, old: &State, new: &State, moment: &Moment<'_>) -> Option<String> {
    let minor = semver::Version::parse(&new.version).map_or(0, |version| version.minor);
    let undecided = |state: &State| {
        let back = state.rollback.as_ref().is_some_and(|rollback| rollback.cause == Cause::Undecided);
        back || state.phase == Phase::Paused(PauseCause::Undecided)
    };
    if Nature::of_minor(minor) != Nature::Harmful || undecided(old) || !undecided(new) {
        return None;
    }
    let stage = write.after["spec"]["stages"].get(new.stage as usize)?;
    let most_ms = (minutes(&stage["bake"])? + minutes(&stage["maxWait"])?) * 60_000;
    let suffered_ms = (moment.suffered_ms)(&digest(write)?);
    (suffered_ms > most_ms / 3 * 2).then(|| {
        let minutes = suffered_ms / 60_000;
        format!(
            "ends a stage as undecided, and devices have suffered from {} for {minutes} minutes",
            new.version
        )
    })
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
