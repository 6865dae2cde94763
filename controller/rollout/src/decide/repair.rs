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
        state.breach = None;
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
    state
}
