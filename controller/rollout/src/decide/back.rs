//! The way back. It needs no verdict, no download, and nobody's leave.

use super::run::{MESSAGE_MAX, Next, Run};
use crate::decision::{Action, EventKind};
use crate::moves::Move;
use crate::reason::{Reason, ReasonCode};
use crate::state::{Cause, Phase, Rollback};
use crate::text::{clip, many, span};

/// Begins the way back.
pub(super) fn roll_back(run: &mut Run, cause: Cause, sentence: &str, by_person: bool) -> Next {
    let sentence = clip(sentence, MESSAGE_MAX);
    let version = run.state.version.clone();
    if run.state.phase == Phase::Succeeded {
        // First the version to go back to, so that the model is never without a stable one.
        if let Some(prior) = run.state.prior.clone() {
            run.actions.push(Action::MarkProduction { version: prior });
        }
        if !cause.rejects() {
            run.actions.push(Action::MarkVerified { version: version.clone() });
        }
    }
    if cause.rejects() {
        run.actions.push(Action::MarkRejected {
            version: version.clone(),
            reason: cause.as_str(),
            message: sentence.clone(),
            retry_token: run.state.retry_token.clone(),
        });
    }
    run.state.clock.freeze(run.now);
    run.state.figures.ended_at = None;
    let deadline = run.now.after_ms(run.stage().rollback_deadline_ms);
    let (started_at, overdue) = (run.now, false);
    let message = format!(
        "takes {version} back from {}: {sentence}",
        many(run.fleet.still_exposed, "reachable device")
    );
    run.state.rollback = Some(Rollback { cause, sentence, by_person, started_at, deadline, overdue });
    run.go(Move::RollBack, Phase::RollingBack, EventKind::RollbackStarted, &message)
}

pub(super) fn step(run: &mut Run) -> Next {
    let now = run.now;
    let Some(rollback) = &mut run.state.rollback else {
        // Unreachable: a way back has a record, the state is repaired before.
        return Next::Wait(vec![]);
    };
    let late = now >= rollback.deadline;
    let first_late = late && !rollback.overdue;
    rollback.overdue |= late;
    let (deadline, took) = (rollback.deadline, span(now.since_ms(rollback.started_at)));
    let sentence = rollback.sentence.clone();
    let blind = run.blind();
    let fleet = run.fleet;
    if blind.is_none() && fleet.still_exposed == 0 {
        return finish(run, &took);
    }
    let devices = many(fleet.still_exposed, "reachable device");
    let away = fleet.still_exposed_unreachable;
    let reason = if late {
        let text = format!(
            "still on {devices} after {took}, {away} unreachable; goes on, look at those devices: {sentence}"
        );
        if first_late {
            run.tell(EventKind::RollbackOverdue, &text);
        }
        Reason::new(ReasonCode::RollbackOverdue, clip(&text, MESSAGE_MAX))
    } else {
        let left = span(deadline.since_ms(now));
        let text = format!("still on {devices}, {away} unreachable; {left} left: {sentence}");
        Reason::until(ReasonCode::RollingBack, clip(&text, MESSAGE_MAX), Some(deadline))
    };
    Next::Wait(std::iter::once(reason).chain(blind).collect())
}

fn finish(run: &mut Run, took: &str) -> Next {
    let to_follow = run.fleet.still_exposed_unreachable;
    run.state.figures.safe_at = Some(run.now);
    run.state.figures.to_follow = to_follow;
    run.state.figures.ended_at = Some(run.now);
    let follow = match to_follow {
        0 => String::new(),
        n => format!("; {} will follow on return", many(n, "unreachable device")),
    };
    let exposed = many(run.state.figures.exposed_devices, "device");
    let message = format!("no reachable device runs it any more, after {took}; {exposed} had it{follow}");
    run.go(Move::Finish, Phase::RolledBack, EventKind::RolledBack, &message)
}
