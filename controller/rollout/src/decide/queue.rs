//! Before anything begins: the turn, and the version.

use super::run::{Next, Run};
use super::stage;
use crate::decision::{Action, EventKind};
use crate::intent::VersionFact;
use crate::moves::Move;
use crate::reason::{Reason, ReasonCode};
use crate::state::{Cause, Phase, Rollback};
use crate::text::clip;

pub(super) fn step(run: &mut Run) -> Next {
    if run.intent.deleted() || run.intent.abort {
        return cancel(run);
    }
    run.state.version.clone_from(&run.policy.parts().version);
    let refused = run.refused();
    match (run.state.phase, refused) {
        (Phase::Refused, None) => {
            return run.go(Move::Reconsider, Phase::Queued, EventKind::Resumed, "it may be rolled out now");
        }
        (Phase::Refused, Some((code, why))) => {
            return Next::wait(Reason::new(code, clip(&why, super::run::MESSAGE_MAX)));
        }
        (_, Some((_, why))) => return run.go(Move::Refuse, Phase::Refused, EventKind::Refused, &why),
        (_, None) => {}
    }
    // A rejection of our own that its record does not show yet: what it says of production is of before.
    let outdated = run.state.rejection.is_some_and(|rejection| rejection.at.is_none());
    if run.is_stable() && !outdated {
        run.state.figures.ended_at = Some(run.now);
        let (version, whom) = (&run.state.version, run.whom());
        let message = format!("version {version} is in production{whom} already; nothing to do");
        return run.go(Move::Adopt, Phase::Succeeded, EventKind::Succeeded, &message);
    }
    if let Some(reason) = waits(run) {
        return Next::wait(reason);
    }
    // Seen before anything is offered: nobody is drawn, and no other rollout waits for this one.
    let fleet = run.fleet;
    if fleet.matching > 0 && fleet.unable >= fleet.matching {
        let sentence = stage::nobody_can_run(run, fleet.matching);
        return end(run, Cause::NobodyCanRun, sentence, false);
    }
    start(run)
}

/// Why it cannot start yet.
fn waits(run: &Run) -> Option<Reason> {
    let version = &run.state.version;
    if let Some(problem) = &run.intent.facts.unreadable {
        let text = format!("{problem}; edit the spec, and this rollout starts");
        return Some(Reason::new(ReasonCode::InvalidSpec, clip(&text, super::run::MESSAGE_MAX)));
    }
    if let Some(queue) = &run.intent.facts.queue {
        let text = format!(
            "waits for rollout {} of the same model to end (place {} in the queue); abort that one to go first",
            queue.behind, queue.position
        );
        return Some(Reason::new(ReasonCode::AwaitingTurn, clip(&text, super::run::MESSAGE_MAX)));
    }
    match run.intent.facts.version {
        VersionFact::Missing => {
            let text = format!("version {version} is not registered; register it, and this rollout starts");
            return Some(Reason::new(ReasonCode::AwaitingVersion, text));
        }
        VersionFact::Registered => {
            let text = format!("waits until digest and signature of version {version} are checked");
            return Some(Reason::new(ReasonCode::AwaitingVersion, text));
        }
        _ => {}
    }
    if run.intent.paused {
        let text = "paused before it began; set paused: false to start";
        return Some(Reason::new(ReasonCode::PausedByUser, text));
    }
    run.blind()
}

fn start(run: &mut Run) -> Next {
    if matches!(run.intent.facts.version, VersionFact::Rejected { .. }) {
        run.change(Action::MarkVerified { version: run.state.version.clone() });
    }
    let version = &run.state.version;
    run.state.prior = run.intent.facts.production.clone();
    run.state.started_at = Some(run.now);
    let back = match run.way_back() {
        Some(prior) => format!("{prior} is the way back"),
        None => "no earlier version to go back to".to_owned(),
    };
    let message = format!("version {version} starts, attempt {}; {back}", run.state.attempt);
    run.go(Move::Start, Phase::Progressing, EventKind::Started, &message)
}

fn cancel(run: &mut Run) -> Next {
    let (cause, how) =
        if run.intent.deleted() { (Cause::Deleted, "deleted") } else { (Cause::Aborted, "aborted") };
    let sentence = format!("{how} before it began; no device had version {}", run.state.version);
    end(run, cause, sentence, true)
}

/// Ends before anything began.
fn end(run: &mut Run, cause: Cause, sentence: String, by_person: bool) -> Next {
    let sentence = clip(&sentence, super::run::MESSAGE_MAX);
    run.state.rollback = Some(Rollback {
        cause,
        sentence: sentence.clone(),
        by_person,
        started_at: run.now,
        deadline: run.now,
        overdue: false,
    });
    run.state.figures.ended_at = Some(run.now);
    run.go(Move::Cancel, Phase::RolledBack, EventKind::RolledBack, &sentence)
}
