//! What must hold of every decision, whatever the steps computed.

use std::fmt;

use modelfleet_protocol::time::Time;

use crate::decision::{Action, Decision};
use crate::intent::Intent;
use crate::policy::{Policy, RollbackPolicy};
use crate::reason::{Reason, ReasonCode};
use crate::state::{LOG_MAX, PauseCause, Phase, QUARANTINED_MAX, State};
use crate::view::plan_view;

/// A broken invariant: a defect of this crate, not of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken invariant: {}", self.0)
    }
}

/// How long a decision that broke an invariant stands still before it is tried again.
const HOLD_MS: u64 = 60_000;

/// Standing still: nothing is done, the state is as it was, and it is said aloud.
pub(crate) fn hold(state: &State, broken: Broken, now: Time) -> Decision {
    let text = format!(
        "Stopped by a defect in the controller: {broken}. Devices keep the version that they run. Please report it with the \
         status of this object."
    );
    Decision {
        state: state.clone(),
        actions: Vec::new(),
        reasons: vec![Reason::new(ReasonCode::BrokenInvariant, text)],
        wake_at: Some(now.after_ms(HOLD_MS)),
    }
}

/// The first invariant that the decision breaks.
pub(crate) fn broken(
    policy: &Policy,
    before: &State,
    intent: &Intent,
    now: Time,
    decision: &Decision,
) -> Option<Broken> {
    let rules = bounds(now, decision)
        .into_iter()
        .chain(order(before, intent, decision))
        .chain(harm(policy, before, intent, decision))
        .chain(plan(policy, decision));
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, rule)| Broken(rule))
}

type Rule = (bool, &'static str);

fn bounds(now: Time, decision: &Decision) -> Vec<Rule> {
    let state = &decision.state;
    let ended = state.phase.is_terminal();
    // At the end of time there is no later.
    let later = decision.wake_at.is_some_and(|t| t > now) || now == Time(u64::MAX);
    vec![
        (state.log.len() <= LOG_MAX, "the log is bounded"),
        (state.quarantined.len() <= QUARANTINED_MAX, "devices set aside are bounded"),
        (!decision.reasons.is_empty(), "there is always a reason"),
        (ended || later, "it is looked at again, later than now"),
        (!ended || decision.wake_at.is_none(), "what has ended sleeps"),
        (state.phase != Phase::RollingBack || state.rollback.is_some(), "a way back has a record"),
    ]
}

fn order(before: &State, intent: &Intent, decision: &Decision) -> Vec<Rule> {
    let after = &decision.state;
    let same = after.attempt == before.attempt;
    let stage_before = before.stage;
    let opened = decision.actions.iter().find_map(|a| match a {
        Action::OpenStage { index, .. } => Some(*index),
        _ => None,
    });
    let called_back = intent.abort || intent.deleted();
    let was_open = !before.phase.is_terminal();
    let to_production = decision.actions.iter().any(|a| matches!(a, Action::Promote { .. }));
    let sees = intent.facts.broker_connected && intent.facts.view_complete;
    vec![
        (after.attempt >= before.attempt, "attempts only grow"),
        (!same || after.stage >= stage_before, "the stage only grows within an attempt"),
        (opened.is_none_or(|i| i == after.stage), "the stage that is opened is the current one"),
        (opened.is_none() || after.phase.is_active(), "only an active rollout opens stages"),
        (!to_production || after.phase == Phase::Succeeded, "only success leads to production"),
        (sees || (opened.is_none() && !to_production), "nothing goes forward on what is not seen"),
        (
            !(called_back && was_open) || matches!(after.phase, Phase::RollingBack | Phase::RolledBack),
            "who calls it back is obeyed",
        ),
    ]
}

fn harm(policy: &Policy, before: &State, intent: &Intent, decision: &Decision) -> Vec<Rule> {
    let after = &decision.state;
    let same = after.attempt == before.attempt;
    let harmed = after.harm.is_some();
    let forward = decision.actions.iter().any(|a| {
        matches!(a, Action::OpenStage { .. } | Action::Promote { .. } | Action::MarkVerified { .. })
    });
    let stands = match after.phase {
        Phase::Paused(cause) => cause == PauseCause::Degraded,
        Phase::RollingBack | Phase::RolledBack => true,
        // Shown after success: only a person may go back, or there is nothing to go back to.
        Phase::Succeeded => before.phase == Phase::Succeeded,
        Phase::Queued | Phase::Refused | Phase::Progressing | Phase::AwaitingApproval => false,
    };
    // There may be no version that devices may go back to.
    let may_go_back = intent.facts.prior_forbidden.is_empty();
    let automatic = policy.parts().rollback == RollbackPolicy::Automatic && may_go_back;
    vec![
        (!same || before.harm.is_none() || harmed, "shown harm is not forgotten within an attempt"),
        (!harmed || stands, "after shown harm it stands or goes back"),
        (!harmed || !forward, "after shown harm nothing goes forward"),
        (
            !harmed || !automatic || !matches!(after.phase, Phase::Paused(_)),
            "an automatic rollback does not wait",
        ),
    ]
}

fn plan(policy: &Policy, decision: &Decision) -> Vec<Rule> {
    let view = plan_view(policy, &decision.state);
    let back = matches!(decision.state.phase, Phase::RollingBack | Phase::RolledBack);
    let held = matches!(decision.state.phase, Phase::Paused(cause) if !cause.admits());
    vec![
        (!back || !view.candidate, "what is taken back is not in the plan"),
        (!view.candidate || !view.rejected, "a candidate is not rejected in the same plan"),
        (!(held || decision.state.harm.is_some()) || !view.admit, "what stands still admits no device"),
        (!view.admit || view.candidate, "no device is admitted without a candidate"),
    ]
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::draw::{Share, Target};
    use modelfleet_protocol::selector::Selector;

    use super::*;
    use crate::state::{Cause, Harm};
    use crate::{Limits, PolicyParts, Stage};

    fn policy() -> Policy {
        let limits = Limits {
            max_failed: crate::Amount::Count(1),
            max_unreachable: crate::Amount::Count(1),
            min_devices: 1,
            min_windows: 1,
            min_reporting_ppm: 0,
        };
        let stage = Stage {
            name: "full".to_owned(),
            target: Target::Ppm(1_000_000),
            selector: Selector::default(),
            spread_by: vec![],
            watch_by: vec![],
            bake_ms: 0,
            approval: crate::Approval::Automatic,
            limits,
            rollback_deadline_ms: 1,
            max_wait_ms: 0,
            mode: modelfleet_protocol::plan::Mode::Live,
            margin_ppm: None,
            floors: vec![],
        };
        let window_ms = 1_000;
        let parts = PolicyParts {
            rollout: "r".to_owned(),
            uid: "u".to_owned(),
            version: "1.0.0".to_owned(),
            set_aside: Vec::new(),
            stages: vec![stage],
            on_undecided: crate::OnUndecided::Hold,
            rollback: RollbackPolicy::Automatic,
            holdback_ppm: 0,
            probation: modelfleet_protocol::plan::Probation {
                timeout_ms: 1,
                min_predictions: 0,
                max_errors: 0,
            },
            fetch: modelfleet_protocol::plan::Fetch::default(),
            observe: modelfleet_protocol::observe::Observe { window_ms, ..Default::default() },
            error_budget_ppm: 10_000,
            stale_after_ms: 1,
        };
        Policy::new(parts).unwrap()
    }

    fn progressing() -> State {
        State { phase: Phase::Progressing, attempt: 1, ..State::default() }
    }

    fn seeing() -> Intent {
        let facts = crate::Facts { broker_connected: true, view_complete: true, ..crate::Facts::default() };
        Intent { facts, ..Intent::default() }
    }

    fn rule_broken(change: impl FnOnce(&mut Decision), intent: &Intent) -> &'static str {
        let before = progressing();
        let mut decision = Decision {
            state: before.clone(),
            actions: vec![],
            reasons: vec![Reason::new(ReasonCode::Baking, "bakes")],
            wake_at: Some(Time(2)),
        };
        change(&mut decision);
        broken(&policy(), &before, intent, Time(1), &decision).map_or("none", |b| b.0)
    }

    fn open() -> Action {
        let share = Share {
            selector: Selector::default(),
            spread_by: vec![],
            devices: Target::Ppm(1_000_000),
            floors: vec![],
        };
        Action::OpenStage { index: 0, salt: String::new(), share }
    }

    #[test]
    fn each_defect_has_its_rule() {
        assert_eq!(rule_broken(|_| {}, &seeing()), "none");
        assert_eq!(rule_broken(|d| d.reasons.clear(), &seeing()), "there is always a reason");
        let asleep = |d: &mut Decision| d.wake_at = Some(Time(1));
        assert_eq!(rule_broken(asleep, &seeing()), "it is looked at again, later than now");
        let harm = |d: &mut Decision| {
            d.state.harm = Some(Harm {
                at: Time(1),
                cause: Cause::Degraded,
                sentence: String::new(),
                statistics: String::new(),
            });
        };
        assert_eq!(rule_broken(harm, &seeing()), "after shown harm it stands or goes back");
        let abort = Intent { abort: true, ..seeing() };
        assert_eq!(rule_broken(|_| {}, &abort), "who calls it back is obeyed");
        let opens = |d: &mut Decision| d.actions.push(open());
        assert_eq!(rule_broken(opens, &Intent::default()), "nothing goes forward on what is not seen");
        let produces =
            |d: &mut Decision| d.actions.push(Action::Promote { production: crate::Production::default() });
        assert_eq!(rule_broken(produces, &seeing()), "only success leads to production");
    }

    #[test]
    fn a_broken_decision_becomes_standing_still() {
        let decision = hold(&progressing(), Broken("a test"), Time(1));
        assert_eq!((decision.state, decision.actions), (progressing(), vec![]));
        assert_eq!(decision.reasons[0].code, ReasonCode::BrokenInvariant);
        assert!(decision.wake_at > Some(Time(1)));
    }
}
