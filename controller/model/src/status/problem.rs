//! What a status says where the whole of it cannot be said: a spec that cannot work, an API server that refuses.

use modelfleet_crds::conditions::ALARM;
use modelfleet_crds::rollout::{RolloutStatus, status as field};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::clip;
use modelfleet_spec::Problem;

use super::MESSAGE_MAX;
use super::conditions::{self, NewCondition};
use super::fleet_conditions;
use crate::restore::RESTORED;

/// The status of a rollout that a problem keeps from everything: all stays as it is, and says why.
#[must_use]
pub fn tell_problem(
    problem: &Problem,
    before: Option<&RolloutStatus>,
    generation: Option<i64>,
    now: Time,
) -> RolloutStatus {
    let mut status = before.cloned().unwrap_or_default();
    let kinds = ["Ready", "Progressing", "Paused", "Degraded", "RolledBack", "Breached", "Stalled"];
    let known = |kind: &'static str| match status.conditions.iter().find(|c| c.type_ == kind) {
        Some(c) => NewCondition {
            kind,
            holds: c.status == "True",
            reason: c.reason.clone(),
            message: c.message.clone(),
        },
        None => NewCondition { kind, holds: false, reason: "NotStarted".to_owned(), message: String::new() },
    };
    let mut words: Vec<NewCondition> = kinds.into_iter().map(known).collect();
    conditions::report_problem(&mut words, problem);
    words.extend(fleet_conditions::kept(&status.conditions, fleet_conditions::KINDS));
    words.extend(fleet_conditions::kept(&status.conditions, &[RESTORED, ALARM]));
    status.conditions = conditions::to_fields(words, &status.conditions, generation, now);
    status.observed_generation = generation;
    status.phase = Some(field::RolloutPhase::Stalled);
    status.message = Some(clip(&problem.to_string(), MESSAGE_MAX));
    status
}

/// A status that was told by a stand-in for the spec: what only the spec says stays as it was.
#[must_use]
pub fn beside_stand_in(told: RolloutStatus, before: Option<&RolloutStatus>) -> RolloutStatus {
    let Some(before) = before else { return told };
    let judge = told.judge.map(|judge| match &before.judge {
        Some(old) => field::JudgeState { error_budget_ppm: old.error_budget_ppm, ..judge },
        None => judge,
    });
    RolloutStatus { judge, margins: before.margins.clone(), ..told }
}

/// The status where the API server takes nothing of what was decided, not even [`minimal`]: what the object has, which
/// was taken once, and why nothing goes on.
#[must_use]
pub fn tell_refused(
    why: &str,
    before: Option<&RolloutStatus>,
    generation: Option<i64>,
    now: Time,
) -> RolloutStatus {
    let what = format!(
        "the API server refuses the status of this rollout, so no stage starts: {why}; install the CustomResourceDefinitions \
         of this version of the controller"
    );
    let problem = Problem { reason: "StatusRefused", field: String::new(), what };
    tell_problem(&problem, before, generation, now)
}

/// What a status cannot do without: what decides after a restart, and what people wait for.
#[must_use]
pub fn minimal(status: RolloutStatus) -> RolloutStatus {
    RolloutStatus {
        observed_generation: status.observed_generation,
        phase: status.phase,
        message: status.message,
        membership: status.membership,
        judge: status.judge,
        way_back: status.way_back,
        plan_revision: status.plan_revision,
        epoch: status.epoch,
        conditions: status.conditions,
        ..RolloutStatus::default()
    }
}
