//! While devices may have the candidate: what stops it, in order of weight, before the stage may go on.

use super::run::{KEPT_MAX, MESSAGE_MAX, Next, Run, STATISTICS_MAX};
use super::{back, stage};
use crate::decision::EventKind;
use crate::evidence::{Evidence, HardStop, Verdict};
use crate::intent::VersionFact;
use crate::moves::Move;
use crate::policy::RollbackPolicy;
use crate::reason::Reason;
use crate::state::{Cause, Harm, Passed, PauseCause, Phase};
use crate::text::{clip, many, sentences, statistics};

pub(super) fn step(run: &mut Run) -> Next {
    // People first, then harm, then what forbids to decide at all, then what pauses; only then the stage.
    let order = [called_back, forbidden, harmed, unreadable, paused_by_user, blind, promoted, breached];
    for gate in order {
        if let Some(next) = gate(run) {
            return next;
        }
    }
    stage::step(run)
}

fn called_back(run: &mut Run) -> Option<Next> {
    let wanted = &run.policy.parts().version;
    let (cause, sentence) = if run.intent.deleted() {
        (Cause::Deleted, "the Rollout was deleted".to_owned())
    } else if run.intent.abort {
        (Cause::Aborted, "spec.abort was set".to_owned())
    } else if *wanted != run.state.version {
        (Cause::Superseded, format!("the spec names version {wanted} now"))
    } else {
        return None;
    };
    // Harm that was shown before still rejects the version, also when a person orders the rollback.
    let shown = run.state.harm.as_ref();
    let (cause, sentence) = shown.map_or((cause, sentence), |h| (h.cause, h.sentence.clone()));
    Some(back::roll_back(run, cause, &sentence, true))
}

/// Devices refuse the version themselves, so that nothing is won by waiting for a person.
fn forbidden(run: &mut Run) -> Option<Next> {
    let VersionFact::Forbidden(_) = run.intent.facts.version else { return None };
    let why = run.version_refused()?;
    // Harm that was shown before still rejects the version.
    let shown = run.state.harm.as_ref().map(|harm| (harm.cause, harm.sentence.clone()));
    let (cause, sentence) = shown.unwrap_or((Cause::VersionForbidden, why));
    Some(back::roll_back(run, cause, &sentence, false))
}

/// Harm that the evidence or the version's record shows now.
pub(super) fn harm_shown(run: &Run) -> Option<(Cause, String, String)> {
    if run.is_of_attempt() && run.blind().is_none() {
        if let Some(HardStop::RollBackAll { reason, statistics }) = &run.evidence.hard_stop {
            return Some((Cause::HardStop, reason.clone(), statistics.clone()));
        }
        if run.evidence.verdict == Verdict::Degraded {
            let Evidence { sentence, statistics, .. } = run.evidence;
            return Some((Cause::Degraded, sentence.clone(), statistics.clone()));
        }
    }
    // After the evidence: the rejection may be our own, whose status was not stored.
    let VersionFact::Rejected { .. } = run.intent.facts.version else { return None };
    run.version_refused().map(|why| (Cause::VersionRejected, why, String::new()))
}

/// Keeps harm in the state: from then on the attempt never goes forward.
pub(super) fn note_harm(run: &mut Run) {
    if run.state.harm.is_some() {
        return;
    }
    if let Some((cause, sentence, behind)) = harm_shown(run) {
        run.state.figures.detected_at = Some(run.now);
        let (sentence, statistics) = (clip(&sentence, KEPT_MAX), clip(&behind, STATISTICS_MAX));
        run.state.harm = Some(Harm { at: run.now, cause, sentence, statistics });
    }
}

fn harmed(run: &mut Run) -> Option<Next> {
    note_harm(run);
    let harm = run.state.harm.clone()?;
    let forbidden = run.intent.facts.prior_forbidden.clone();
    if run.policy.parts().rollback == RollbackPolicy::Automatic {
        if forbidden.is_empty() {
            return Some(back::roll_back(run, harm.cause, &harm.sentence, false));
        }
        let message = sentences(&[
            &format!("version {} does harm: {}", run.state.version, harm.sentence),
            &format!("it is not rolled back, because {forbidden}"),
            &keep(run),
            "set abort: true to stop the model on them, then roll out a version that may run",
            &statistics(&harm.statistics),
        ]);
        return Some(pause(run, PauseCause::Degraded, &message));
    }
    let message = sentences(&[
        &format!("version {} does harm: {}", run.state.version, harm.sentence),
        &keep(run),
        "set abort: true to roll it back",
        &statistics(&harm.statistics),
    ]);
    Some(pause(run, PauseCause::Degraded, &message))
}

/// A spec that cannot work says neither what a stage needs nor what would be harm: no other device gets the candidate.
fn unreadable(run: &mut Run) -> Option<Next> {
    if let Some(problem) = &run.intent.facts.unreadable {
        let message = sentences(&[
            &format!("paused because the spec cannot work: {problem}"),
            &keep(run),
            "correct the spec to continue, or set abort: true to roll back",
        ]);
        return Some(pause(run, PauseCause::InvalidSpec, &message));
    }
    (run.state.phase == Phase::Paused(PauseCause::InvalidSpec))
        .then(|| resume(run, "The rollout continues: the spec works again."))
}

fn paused_by_user(run: &mut Run) -> Option<Next> {
    if run.intent.paused {
        // The time to agree starts anew after the pause.
        run.state.approval_asked_at = None;
        let message =
            sentences(&["paused because spec.paused is true", &keep(run), "set paused: false to continue"]);
        let mut next = pause(run, PauseCause::User, &message);
        if let Next::Wait(reasons) = &mut next {
            reasons.extend(run.blind());
        }
        return Some(next);
    }
    (run.state.phase == Phase::Paused(PauseCause::User))
        .then(|| resume(run, "The rollout continues: spec.paused was cleared."))
}

fn blind(run: &mut Run) -> Option<Next> {
    let reason = run.blind()?;
    // Time without a view of the fleet does not count as watched.
    run.state.clock.freeze(run.now);
    let facts = &run.intent.facts;
    if facts.broker_connected && facts.view_complete && !facts.counts_are_old {
        // The devices that run the candidate may be silent because of it: no other device gets it meanwhile.
        if let Some(message) = contact_lost(run) {
            let stands = run.state.phase == Phase::Paused(PauseCause::ContactLost);
            let next = pause(run, PauseCause::ContactLost, &message);
            return Some(if stands { with(next, reason) } else { next });
        }
    }
    let paused = run.state.log.iter().rfind(|l| l.kind == EventKind::Paused);
    let also = match (run.state.phase, paused) {
        (Phase::Paused(cause), Some(line)) => Some(Reason::new(cause.code(), line.message.clone())),
        _ => None,
    };
    Some(Next::Wait(std::iter::once(reason).chain(also).collect()))
}

/// Waits for one more reason.
fn with(next: Next, reason: Reason) -> Next {
    match next {
        Next::Wait(mut reasons) => {
            reasons.push(reason);
            Next::Wait(reasons)
        }
        Next::Again => Next::Again,
    }
}

/// Contact is lost with most of the devices that run the candidate, and with more of them than may be unreachable.
fn contact_lost(run: &Run) -> Option<String> {
    let fleet = run.fleet;
    let allowed = run.stage().limits.max_unreachable.of(fleet.activated);
    let lost = run.view_is_current() && fleet.out_of_contact() > allowed && fleet.has_lost_most();
    if !lost || run.state.breach_waived {
        return None;
    }
    let others = match (fleet.others, fleet.others_lost) {
        (0, _) => String::new(),
        (others, lost) => format!(", and with {lost} of {}", many(others, "other device")),
    };
    let text = sentences(&[
        &format!(
            "paused because contact is lost with {} of {} that run version {}{others}",
            fleet.out_of_contact(),
            many(fleet.activated, "device"),
            run.state.version
        ),
        "no other device gets it",
        "the rollout continues by itself when they report again; check them, or set abort: true to roll back",
    ]);
    Some(text)
}

fn promoted(run: &mut Run) -> Option<Next> {
    // A promote does not pass over evidence that is not heard yet: that counts from the next moment on.
    if run.state.promote_stale.is_some() || run.has_just_begun() {
        return None;
    }
    let index = run.policy.stage_named(run.intent.promote.as_ref()?)?;
    if index < run.state.next_stage() {
        return None;
    }
    let asks =
        matches!(run.state.phase, Phase::AwaitingApproval | Phase::Paused(PauseCause::ApprovalTimedOut));
    let asked = asks && index == run.state.next_stage();
    let how = if asked && stage::missing(run).is_empty() { Passed::Approved } else { Passed::ByHand };
    if breach(run).is_some_and(|(cause, _)| cause != PauseCause::TooManyFailed) {
        run.state.breach_waived = true;
    }
    Some(stage::open(run, index, how))
}

/// What pauses now: an incident, an SLO that pauses, lost contact, too many failed devices.
fn breach(run: &Run) -> Option<(PauseCause, String)> {
    let evidence = run.evidence;
    let heard = run.is_current() && !run.state.breach_waived;
    if let Some(sentence) = evidence.incident.as_ref().filter(|_| heard) {
        let text = sentences(&[
            "paused because of an incident",
            sentence,
            "the rollout continues by itself when the incident is over",
        ]);
        return Some((PauseCause::Incident, text));
    }
    if let Some(sentence) = evidence.pause.as_ref().filter(|_| heard) {
        let text = sentences(&[
            &format!("paused because an objective is broken: {sentence}"),
            "the rollout continues by itself when the objective is met again",
            &statistics(&evidence.statistics),
        ]);
        return Some((PauseCause::SloBreach, text));
    }
    if let Some(message) = contact_lost(run) {
        return Some((PauseCause::ContactLost, message));
    }
    let (failed, drawn) = (stage::failed(run), stage::drawn(run));
    let most = run.stage().limits.max_failed.of_rounded_up(drawn);
    (run.view_is_current() && failed > most).then(|| {
        let text = sentences(&[
            &format!("paused because {failed} of {} failed, and at most {most} may", many(drawn, "device")),
            "see status.failures, then repair the devices, set them aside (kubectl modelfleet set-aside), raise maxFailed, or set abort: true to roll back",
        ]);
        (PauseCause::TooManyFailed, text)
    })
}

fn breached(run: &mut Run) -> Option<Next> {
    let evidence = run.evidence;
    let lost = run.fleet.has_lost_most();
    if run.is_current() && evidence.incident.is_none() && evidence.pause.is_none() && !lost {
        run.state.breach_waived = false;
    }
    if let Some((cause, message)) = breach(run) {
        return Some(pause(run, cause, &message));
    }
    let Phase::Paused(cause) = run.state.phase else { return None };
    // A pause ends because its cause is gone, never because it was not looked for.
    let seen = match cause {
        PauseCause::Incident | PauseCause::SloBreach => run.is_current(),
        PauseCause::TooManyFailed | PauseCause::ContactLost => run.view_is_current(),
        // Harm is gone from a state that was edited: nothing else leads here.
        PauseCause::Degraded | PauseCause::User | PauseCause::InvalidSpec => true,
        PauseCause::Undecided | PauseCause::ApprovalTimedOut => return None,
    };
    if seen {
        return Some(resume(run, &format!("The rollout continues: {}.", over(cause))));
    }
    let text = format!("Still paused ({}): the next reports show whether the cause is gone.", cause.as_str());
    Some(Next::wait(Reason::new(cause.code(), text)))
}

/// How many devices keep the version while no other device gets it.
fn keep(run: &Run) -> String {
    let on = many(run.fleet.activated, "device");
    let keep = if run.fleet.activated == 1 { "keeps" } else { "keep" };
    format!("{on} {keep} version {} and no other device gets it", run.state.version)
}

/// What has ended when a pause ends by itself.
fn over(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Incident => "the incident is over",
        PauseCause::SloBreach => "the objective is met again",
        PauseCause::ContactLost => "most of the devices that run it report again",
        PauseCause::TooManyFailed => "the number of failed devices is within the limit again",
        PauseCause::Degraded => "no harm is on record any more",
        PauseCause::User => "spec.paused was cleared",
        PauseCause::InvalidSpec => "the spec can work again",
        PauseCause::Undecided => "the stage has a verdict now",
        PauseCause::ApprovalTimedOut => "there is more time to approve",
    }
}

/// Stands still for `cause`, with a frozen clock.
pub(super) fn pause(run: &mut Run, cause: PauseCause, message: &str) -> Next {
    run.state.clock.freeze(run.now);
    if run.state.phase != Phase::Paused(cause) {
        return run.go(Move::Pause, Phase::Paused(cause), EventKind::Paused, message);
    }
    Next::wait(Reason::new(cause.code(), clip(message, MESSAGE_MAX)))
}

/// Goes on.
pub(super) fn resume(run: &mut Run, message: &str) -> Next {
    run.go(Move::Resume, Phase::Progressing, EventKind::Resumed, message)
}
