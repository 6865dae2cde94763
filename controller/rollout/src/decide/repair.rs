//! A state that was read back from a status may have been edited or cut: it is repaired first.

use modelfleet_protocol::time::Time;

use crate::intent::Intent;
use crate::policy::{Policy, STAGES_MAX};
use crate::state::{Cause, LOG_MAX, Phase, QUARANTINED_MAX, Rollback, State};

/// A state that the steps can trust; a state that they wrote themselves stays as it is.
pub(super) fn repaired(policy: &Policy, state: &State, intent: &Intent, now: Time) -> State {
    let mut state = state.clone();
    let surplus = state.log.len().saturating_sub(LOG_MAX);
    state.log.drain(..surplus);
    state.quarantined.truncate(QUARANTINED_MAX);
    state.passed.truncate(STAGES_MAX);
    state.stage = state.stage.min(policy.last_stage());
    if state.attempt == 0 {
        state = State {
            attempt: 1,
            version: policy.parts().version.clone(),
            retry_token: intent.retry_token.clone(),
            phase_since: now,
            log: state.log,
            ..State::default()
        };
    }
    if state.phase != Phase::Succeeded {
        (state.breach, state.alarm) = (None, None);
    }
    match state.phase {
        // Nothing of an attempt exists before it has begun.
        Phase::Queued | Phase::Refused => {
            (state.harm, state.rollback, state.drawn) = (None, None, None);
            (state.stage, state.stage_opened_at, state.started_at) = (0, None, None);
        }
        // A way back that lost its record is still gone to its end; shown harm still rejects.
        Phase::RollingBack if state.rollback.is_none() => {
            state.rollback = Some(Rollback {
                cause: state.harm.as_ref().map_or(Cause::Aborted, |h| h.cause),
                sentence: "the record of the rollback was lost".to_owned(),
                by_person: false,
                started_at: now,
                deadline: now.after_ms(policy.stage(state.stage).rollback_deadline_ms),
                overdue: false,
            });
        }
        // A stage beyond the first, or one that was drawn, was opened at some time.
        Phase::Progressing | Phase::AwaitingApproval | Phase::Paused(_)
            if state.stage > 0 || state.drawn.is_some() =>
        {
            state.stage_opened_at = state.stage_opened_at.or(Some(state.phase_since));
        }
        _ => {}
    }
    not_after(&mut state, policy, now);
    state
}

/// A wall clock that was ahead and has been set right leaves moments of the future: no wait that is counted from one of them
/// would end before it has come.
fn not_after(state: &mut State, policy: &Policy, now: Time) {
    let rollback_ms = policy.stage(state.stage).rollback_deadline_ms;
    let past = |at: &mut Time| *at = (*at).min(now);
    past(&mut state.phase_since);
    state.drawn.iter_mut().for_each(|drawn| past(&mut drawn.at));
    let moments = [
        &mut state.started_at,
        &mut state.stage_opened_at,
        &mut state.approval_asked_at,
        &mut state.clock.running_since,
    ];
    moments.into_iter().flatten().for_each(past);
    if let Some(back) = &mut state.rollback {
        past(&mut back.started_at);
        back.deadline = back.deadline.min(now.after_ms(rollback_ms));
    }
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::draw::Target;
    use modelfleet_protocol::selector::Selector;

    use super::*;
    use crate::policy::StandIn;
    use crate::{Drawn, RollbackPolicy};

    /// A canary was drawn while the controller's clock was 133 days ahead, and was not drawn again before these were over.
    #[test]
    fn a_clock_that_was_set_back_leaves_no_wait_until_then() {
        let policy = Policy::stand_in(StandIn {
            rollout: "r".to_owned(),
            uid: "u".to_owned(),
            version: "1.0.0".to_owned(),
            stages: vec![("canary".to_owned(), Some(60_000))],
            set_aside: vec![],
            scope: Selector::default(),
            begun: 1,
            rollback: RollbackPolicy::Automatic,
        });
        let (now, wrong) = (Time(1_000_000), Time(99_000_000_000));
        let mut state = State {
            phase: Phase::Progressing,
            attempt: 1,
            phase_since: wrong,
            started_at: Some(wrong),
            stage_opened_at: Some(wrong),
            drawn: Some(Drawn { stage: 0, target: Target::Count(1), at: wrong, set_aside: 0 }),
            rollback: Some(Rollback {
                cause: Cause::Aborted,
                sentence: String::new(),
                by_person: true,
                started_at: wrong,
                deadline: wrong.after_ms(60_000),
                overdue: false,
            }),
            ..State::default()
        };
        state.clock.running_since = Some(wrong);
        let state = repaired(&policy, &state, &Intent::default(), now);
        assert_eq!((state.phase_since, state.drawn.map(|drawn| drawn.at)), (now, Some(now)));
        assert_eq!(
            (state.started_at, state.stage_opened_at, state.clock.running_since),
            (Some(now), Some(now), Some(now))
        );
        let back = state.rollback.unwrap();
        assert_eq!((back.started_at, back.deadline), (now, now.after_ms(60_000)));
    }
}
