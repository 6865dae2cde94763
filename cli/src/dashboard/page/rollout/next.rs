//! What decides next about a rollout, and when.

use jiff::Timestamp;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::RolloutPhase;
use modelfleet_crds::rollout::{Approval, UndecidedPolicy};

use super::Looks;
use crate::units::{counted, moment, span};

/// Sentences, the first thing first; none when the rollout has ended.
pub(super) fn next(rollout: &Rollout, looks: Option<&Looks>, now: Timestamp) -> Vec<String> {
    let Some(status) = &rollout.status else { return Vec::new() };
    let mut told = Vec::new();
    match status.phase {
        Some(RolloutPhase::Paused) => told.push("Nothing moves until a person resumes it.".to_owned()),
        Some(RolloutPhase::Stalled) => told.push("It continues when an operator acts.".to_owned()),
        Some(RolloutPhase::Queued) => told.push("It starts by itself.".to_owned()),
        Some(RolloutPhase::AwaitingApproval) => told.push(approval(rollout)),
        Some(RolloutPhase::RollingBack) => told.extend(rollback(rollout)),
        Some(RolloutPhase::Progressing) => told.extend(progress(rollout, looks, now)),
        Some(RolloutPhase::Succeeded | RolloutPhase::RolledBack) | None => {}
    }
    told
}

fn following(rollout: &Rollout) -> Option<&modelfleet_crds::rollout::Stage> {
    let index = rollout.status.as_ref()?.stage.as_ref()?.index;
    rollout.spec.stages.get(usize::try_from(index).ok()? + 1)
}

fn approval(rollout: &Rollout) -> String {
    let stage = following(rollout).or(rollout.spec.stages.first());
    let name = stage.map_or("the next one", |stage| stage.name.as_str());
    match stage.and_then(|stage| stage.approval_timeout.as_ref()) {
        Some(timeout) => {
            format!(
                "A person approves stage {name}; after {} without it the rollout is stalled.",
                timeout.as_str()
            )
        }
        None => format!("A person approves stage {name}; it waits without a limit."),
    }
}

fn rollback(rollout: &Rollout) -> Option<String> {
    let rollback = rollout.status.as_ref()?.rollback.as_ref()?;
    let devices = counted(rollback.remaining, "device");
    Some(match &rollback.deadline_at {
        Some(deadline) => {
            format!("{devices} still have to go back, those that are reachable by {}.", moment(deadline.0))
        }
        None => format!("{devices} still have to go back."),
    })
}

/// How long until a moment; `None`: it is over.
fn until(at: Timestamp, now: Timestamp) -> Option<String> {
    let left = at.as_millisecond().saturating_sub(now.as_millisecond());
    (left > 0).then(|| format!("at {} (in {})", moment(at), span(left)))
}

fn progress(rollout: &Rollout, looks: Option<&Looks>, now: Timestamp) -> Vec<String> {
    let Some(status) = &rollout.status else { return Vec::new() };
    let Some(stage) = &status.stage else { return Vec::new() };
    let mut told = Vec::new();
    let reached = status.judge.as_ref().map_or(0, |judge| u16::try_from(judge.looks).unwrap_or(u16::MAX));
    if let (Some(looks), Some(began)) = (looks, &stage.started_at) {
        if reached < looks.planned {
            let (look, planned) = (reached + 1, looks.planned);
            let at = looks.earliest(began.0, look);
            told.push(match until(at, now) {
                Some(due) => {
                    format!("Look {look} of {planned} decides next: due {due}, and later if devices report late.")
                }
                None => format!(
                    "Look {look} of {planned} decides next: it was due at {} and waits for reports of devices.",
                    moment(at)
                ),
            });
        } else {
            told.push(format!("All {} planned looks of the stage are over.", looks.planned));
        }
    }
    if let Some(end) = &stage.bake_ends_at {
        let then = match following(rollout) {
            Some(next) if next.approval == Approval::Required => {
                format!("a Healthy verdict and the approval of a person start stage {}", next.name)
            }
            Some(next) => format!("a Healthy verdict starts stage {}", next.name),
            None => "a Healthy verdict ends the rollout".to_owned(),
        };
        told.push(match until(end.0, now) {
            Some(end) => format!("The bake time is over {end}; then {then}."),
            None => format!("The bake time was over at {}; {then}.", moment(end.0)),
        });
    }
    if let Some(deadline) = &stage.deadline_at {
        let then = match rollout.spec.on_undecided {
            UndecidedPolicy::Hold => "pauses until a person decides",
            UndecidedPolicy::Promote => "goes on without a verdict",
            UndecidedPolicy::RollBack => "takes the version back",
        };
        told.push(match until(deadline.0, now) {
            Some(deadline) => format!("Without a verdict it {then} {deadline}."),
            None => format!("The deadline was at {}: without a verdict it {then}.", moment(deadline.0)),
        });
    }
    told
}
