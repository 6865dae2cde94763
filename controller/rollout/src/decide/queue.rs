//! Before anything begins: the turn, and the version.

use super::run::{Next, Run};
use super::stage;
use crate::decision::{Action, EventKind};
use crate::intent::VersionFact;
use crate::moves::Move;
use crate::reason::{Reason, ReasonCode};
use crate::state::{Cause, Phase, Rollback};
use crate::text::{apart, clip, sentences};

pub(super) fn step(run: &mut Run) -> Next {
    if run.intent.deleted() || run.intent.abort {
        return cancel(run);
    }
    run.state.version.clone_from(&run.policy.parts().version);
    let refused = run.refused();
    match (run.state.phase, refused) {
        (Phase::Refused, None) => {
            return run.go(
                Move::Reconsider,
                Phase::Queued,
                EventKind::Resumed,
                "The rollout continues: its version may be rolled out now.",
            );
        }
        (Phase::Refused, Some((code, why))) => {
            let text = clip(&refusal(run, code, &why), super::run::MESSAGE_MAX);
            return Next::wait(Reason::new(code, text));
        }
        (_, Some((code, why))) => {
            let text = refusal(run, code, &why);
            return run.go(Move::Refuse, Phase::Refused, EventKind::Refused, &text);
        }
        (_, None) => {}
    }
    // A rejection of our own that its record does not show yet: what it says of production is of before.
    let outdated = run.state.rejection.is_some_and(|rejection| rejection.at.is_none());
    if run.is_stable() && !outdated {
        run.state.figures.ended_at = Some(run.now);
        let (version, whom) = (&run.state.version, run.whom());
        let message = format!("Version {version} is in production{whom} already; nothing to do.");
        return run.go(Move::Adopt, Phase::Succeeded, EventKind::Succeeded, &message);
    }
    if let Some(reason) = waits(run) {
        return Next::wait(reason);
    }
    // Seen before anything is offered: no device is selected, and no other rollout waits for this one.
    let fleet = run.fleet;
    if fleet.matching > 0 && fleet.unable >= fleet.matching {
        let sentence = stage::nobody_can_run(run, fleet.matching);
        return end(run, Cause::NobodyCanRun, sentence, false);
    }
    start(run)
}

/// Why the version is not taken, and what to do.
fn refusal(run: &Run, code: ReasonCode, why: &str) -> String {
    let next = match run.intent.facts.version {
        _ if code != ReasonCode::VersionRefused => "",
        VersionFact::Rejected { .. } => {
            "name another version, or set a new retryToken if the measurement was wrong"
        }
        // It says itself what to do.
        VersionFact::Forbidden(_) => "",
        // The check's own advice, if it has some, comes first.
        VersionFact::Unverifiable(_) if why.contains("; register ") => {
            "then name the new version in spec.version"
        }
        VersionFact::Unverifiable(_) if why.contains("register ") => "",
        _ => "delete that ModelVersion, correct it, and register it again",
    };
    let (why, behind) = apart(why);
    sentences(&[why, next, behind])
}

/// Why it cannot start yet.
fn waits(run: &Run) -> Option<Reason> {
    let version = &run.state.version;
    if let Some(problem) = &run.intent.facts.unreadable {
        let text =
            sentences(&[&format!("the spec cannot work: {problem}"), "correct it, and this rollout starts"]);
        return Some(Reason::new(ReasonCode::InvalidSpec, clip(&text, super::run::MESSAGE_MAX)));
    }
    if let Some(queue) = &run.intent.facts.queue {
        let text = format!(
            "Waiting for rollout {} of the same model to end (place {} in the queue). To go first, abort that rollout.",
            queue.behind, queue.position
        );
        return Some(Reason::new(ReasonCode::AwaitingTurn, clip(&text, super::run::MESSAGE_MAX)));
    }
    if let Some(other) = &run.intent.facts.alarm_holds {
        let text = format!(
            "Waiting until the alarm of rollout {other} has cleared, because it has watch.onAlarm: Pause. To start now, set \
             watch.onAlarm: Notify on {other}."
        );
        return Some(Reason::new(ReasonCode::AlarmHolds, clip(&text, super::run::MESSAGE_MAX)));
    }
    match run.intent.facts.version {
        VersionFact::Missing => {
            let text = format!("Version {version} is not registered. Register it, and this rollout starts.");
            return Some(Reason::new(ReasonCode::AwaitingVersion, text));
        }
        VersionFact::Registered => {
            let text = format!(
                "Waiting until the controller has downloaded and checked the file of version {version}."
            );
            return Some(Reason::new(ReasonCode::AwaitingVersion, text));
        }
        _ => {}
    }
    if run.intent.paused {
        let text = "Paused before the start. Set paused: false to start.";
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
        Some(prior) => format!("devices can go back to {prior}"),
        None => "there is no earlier version to go back to".to_owned(),
    };
    let attempt = match run.state.attempt {
        1 => String::new(),
        n => format!(" (attempt {n})"),
    };
    let message = sentences(&[&format!("rollout of version {version} started{attempt}"), &back]);
    run.go(Move::Start, Phase::Progressing, EventKind::Started, &message)
}

fn cancel(run: &mut Run) -> Next {
    let (cause, how) =
        if run.intent.deleted() { (Cause::Deleted, "deleted") } else { (Cause::Aborted, "aborted") };
    let sentence = format!("the rollout was {how} before it began");
    end(run, cause, sentence, true)
}

/// Ends before anything began.
fn end(run: &mut Run, cause: Cause, sentence: String, by_person: bool) -> Next {
    let sentence = clip(&sentence, super::run::KEPT_MAX);
    run.state.rollback = Some(Rollback {
        cause,
        sentence: sentence.clone(),
        by_person,
        started_at: run.now,
        deadline: run.now,
        overdue: false,
    });
    run.state.figures.ended_at = Some(run.now);
    let message = format!("Version {} reached no device: {sentence}.", run.state.version);
    run.go(Move::Cancel, Phase::RolledBack, EventKind::RolledBack, &message)
}
