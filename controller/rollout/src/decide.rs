//! The ordered steps. This file holds the order; the files below it compute.

mod active;
mod alarm;
mod back;
mod ended;
mod queue;
mod repair;
mod run;
mod stage;

use modelfleet_protocol::time::Time;

use crate::check;
use crate::decision::Decision;
use crate::evidence::Evidence;
use crate::fleet::FleetView;
use crate::intent::Intent;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::state::{Phase, State};
use run::{Next, Run};

/// More moves than one decision can need; a chain that is longer goes in circles.
const MOVES_MAX: usize = 16;

/// Decides. Total, pure and deterministic: any input gets an answer, the same input the same answer, and deciding
/// again on the stored state in an unchanged world does nothing.
///
/// # Panics
/// Never in a release build: a decision that breaks an invariant is replaced by standing still, with the reason
/// `BrokenInvariant`. With debug assertions it panics, so that tests and the simulated world find the defect.
pub fn decide(
    policy: &Policy,
    state: &State,
    fleet: &FleetView,
    evidence: &Evidence,
    intent: &Intent,
    now: Time,
) -> Decision {
    let before = repair::repaired(policy, state, intent, now);
    let state_now = before.clone();
    let run = Run {
        policy,
        fleet,
        evidence,
        intent: intent.clone(),
        now,
        state: state_now,
        actions: vec![],
        illegal: None,
        set_aside_now: 0,
    };
    let (decision, illegal) = work(run);
    let broken = illegal.or_else(|| check::broken(policy, &before, intent, now, &decision));
    let Some(broken) = broken else { return decision };
    debug_assert!(false, "{broken}: {decision:?}");
    check::hold(state, broken, now)
}

fn work(mut run: Run) -> (Decision, Option<check::Broken>) {
    run.prepare();
    let mut reasons = None;
    for _ in 0..MOVES_MAX {
        match step(&mut run) {
            Next::Again => {}
            Next::Wait(wait) => {
                reasons = Some(wait);
                break;
            }
        }
        if run.illegal.is_some() {
            break;
        }
    }
    let illegal = run.illegal.or_else(|| reasons.is_none().then_some(check::Broken("moves go in circles")));
    (finish(run, reasons.unwrap_or_default()), illegal)
}

fn step(run: &mut Run) -> Next {
    match run.state.phase {
        Phase::Queued | Phase::Refused => queue::step(run),
        Phase::Progressing | Phase::AwaitingApproval | Phase::Paused(_) => active::step(run),
        Phase::RollingBack => back::step(run),
        Phase::RolledBack => ended::rolled_back(run),
        Phase::Succeeded => ended::succeeded(run),
    }
}

fn finish(run: Run, mut reasons: Vec<Reason>) -> Decision {
    reasons.extend(run.promote_ignored());
    let wake_at = run.wake_at(&reasons);
    let Run { state, actions, .. } = run;
    Decision { state, actions, reasons, wake_at }
}
