//! The status of a rollout after a decision.

use modelfleet_crds::RolloutStatus;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::Phase;

use crate::decide_rollouts::{Decided, RolloutOutcome};
use crate::status::problem::{beside_stand_in, tell_problem};
use crate::status::{self, StatusInputs};

/// The status that says what was decided about a rollout, in place of `before`; `plan` is epoch and revision of the plan
/// that goes out on its behalf.
#[must_use]
pub fn rollout_status(
    outcome: &RolloutOutcome,
    before: Option<&RolloutStatus>,
    plan: Option<(u64, u64)>,
    generation: Option<i64>,
    now: Time,
) -> RolloutStatus {
    match &outcome.result {
        Err(problem) => tell_problem(problem, before, generation, now),
        Ok(decided) => decided_status(decided, before, plan, generation, now),
    }
}

pub(crate) fn decided_status(
    decided: &Decided,
    before: Option<&RolloutStatus>,
    plan: Option<(u64, u64)>,
    generation: Option<i64>,
    now: Time,
) -> RolloutStatus {
    let told = status::status_from(&inputs(decided, plan, generation, now), before);
    let told = match &decided.problem {
        None => told,
        // What is under way says so itself; what has ended well would look well.
        Some(problem) if decided.memory.state.phase == Phase::Succeeded => {
            tell_problem(problem, Some(&beside_stand_in(told, before)), generation, now)
        }
        Some(_) => beside_stand_in(told, before),
    };
    status::bounded::bounded(told)
}

fn inputs<'a>(
    decided: &'a Decided,
    plan: Option<(u64, u64)>,
    generation: Option<i64>,
    now: Time,
) -> StatusInputs<'a> {
    let seen = decided.seen.as_ref().filter(|seen| seen.whole);
    StatusInputs {
        valid: &decided.valid,
        memory: &decided.memory,
        membership: &decided.membership,
        reasons: &decided.decision.reasons,
        fleet: seen.map(|s| status::FleetNumbers {
            view: &s.view,
            eligible: s.eligible,
            online: s.online,
            failures: &s.failures,
            omitted: &s.omitted,
            wrong_clocks: &s.wrong_clocks,
            plan_order: s.plan_order,
            other_plan: &s.other_plan,
            trust: &s.trust,
        }),
        answer: decided.answer.as_ref(),
        watched: decided.watched.as_ref(),
        plan,
        restored: decided.restored,
        generation,
        now,
    }
}
