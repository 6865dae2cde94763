//! After the end: a retry, or the watch after success.

use super::active::{harm_shown, note_harm};
use super::alarm::{goes_back, in_production, note_alarm};
use super::back;
use super::run::{MESSAGE_MAX, Next, Run};
use crate::decision::EventKind;
use crate::intent::VersionFact;
use crate::moves::Move;
use crate::policy::RollbackPolicy;
use crate::reason::{Reason, ReasonCode};
use crate::rejection::Rejection;
use crate::state::{Breach, Cause, LOG_MESSAGE_MAX, Phase, State};
use crate::text::{clip, sentences, statistics};

pub(super) fn rolled_back(run: &mut Run) -> Next {
    let token = &run.intent.retry_token;
    let asked = token.is_some() && *token != run.state.retry_token;
    let other = run.policy.parts().version != run.state.version;
    if (asked || other) && !run.intent.deleted() {
        if !run.intent.abort {
            return retry(run, asked);
        }
        let text = "Waiting for abort: false before the new attempt begins.";
        return Next::wait(Reason::new(ReasonCode::AbortStillSet, text));
    }
    note_all_back(run);
    let silent = match run.fleet.still_exposed {
        0 => String::new(),
        n => back::unconfirmed(run, n),
    };
    let left = [silent, back::follows(run.fleet.out_of_reach(run.state.figures.exposed_devices))].join(". ");
    let cause = run.state.rollback.as_ref().map(|rollback| rollback.cause);
    let retry = match (run.intent.deleted(), cause.is_some_and(Cause::rejects)) {
        (true, _) => "",
        _ if cause == Some(Cause::VersionForbidden) => "",
        (_, true) => "if the measurement was wrong, set a new retryToken to try this version again",
        _ if run.intent.abort => "to try again, set abort: false and a new retryToken",
        _ => "to try again, set a new retryToken",
    };
    let code = match cause {
        Some(Cause::NobodyCanRun) => ReasonCode::NobodyCanRun,
        _ => ReasonCode::RolledBack,
    };
    let text = back::concluded(run, &back::took_back(run), left.trim_matches([' ', '.']), retry);
    Next::wait(Reason::new(code, clip(&text, MESSAGE_MAX)))
}

/// The last device that had it is back.
fn note_all_back(run: &mut Run) {
    let had = run.state.figures.exposed_devices;
    let left = run.fleet.still_exposed.saturating_add(run.fleet.out_of_reach(had));
    if had > 0 && left == 0 && run.state.figures.safe_at.is_none() && run.blind().is_none() {
        run.state.figures.safe_at = Some(run.now);
        run.state.figures.to_follow = 0;
    }
}

/// A new attempt: nothing but the log, the count of attempts and what is known of a rejection is carried over.
fn retry(run: &mut Run, asked: bool) -> Next {
    let old = std::mem::take(&mut run.state);
    // Who asks anew after harm means that harm; what another rollout rejected meanwhile is told first.
    let own = asked && old.rollback.as_ref().is_some_and(|rollback| rollback.cause.rejects());
    let rejection = old.rejection.map(|seen| Rejection { lifted: own, ..seen });
    run.state = State {
        phase: old.phase,
        attempt: old.attempt.saturating_add(1),
        version: run.policy.parts().version.clone(),
        promote_stale: run.intent.promote.clone(),
        retry_token: run.intent.retry_token.clone().or(old.retry_token),
        rejection,
        log: old.log,
        ..State::default()
    };
    let message = format!("Attempt {} of version {} begins.", run.state.attempt, run.state.version);
    run.go(Move::Retry, Phase::Queued, EventKind::Retried, &message)
}

pub(super) fn succeeded(run: &mut Run) -> Next {
    let facts = &run.intent.facts;
    if run.policy.parts().version != run.state.version && !run.intent.abort && !facts.deleted {
        return retry(run, false);
    }
    if let Some(next) = watched(run) {
        return next;
    }
    if let Some(reason) = replaced(run).or_else(|| forbidden(run)) {
        return Next::wait(reason);
    }
    note_breach(run);
    note_alarm(run);
    let text = match (&run.state.harm, &run.state.breach) {
        (Some(harm), _) => sentences(&[
            &format!("version {} is in production and does harm: {}", run.state.version, harm.sentence),
            "set abort: true to roll it back",
            &statistics(&harm.statistics),
        ]),
        (None, Some(breach)) => broken(run, &breach.sentence),
        (None, None) => in_production(run),
    };
    let text = match run.way_back().filter(|_| run.intent.facts.prior_gone) {
        Some(prior) => {
            format!(
                "{text} It cannot be rolled back, because version {prior} is gone: register {prior} again."
            )
        }
        None if !run.intent.facts.prior_forbidden.is_empty() => {
            format!("{text} It cannot be rolled back, because {}.", run.intent.facts.prior_forbidden)
        }
        None => text,
    };
    let code = match (&run.state.harm, &run.state.breach) {
        (Some(_), _) => ReasonCode::Degraded,
        (None, Some(_)) => ReasonCode::BreachInProduction,
        (None, None) if run.state.alarm.is_some() => ReasonCode::AlarmInProduction,
        (None, None) => ReasonCode::Succeeded,
    };
    Next::wait(Reason::new(code, clip(&text, MESSAGE_MAX)))
}

/// What a rollout says whose version was brought into production and was forbidden later.
fn forbidden(run: &Run) -> Option<Reason> {
    let VersionFact::Forbidden(_) = run.intent.facts.version else { return None };
    let text = sentences(&[&run.version_refused()?, "devices stop running it"]);
    Some(Reason::new(ReasonCode::VersionRefused, clip(&text, MESSAGE_MAX)))
}

/// What a rollout says whose version is not in production any more.
fn replaced(run: &Run) -> Option<Reason> {
    let facts = &run.intent.facts;
    let version = &run.state.version;
    let gone = match facts.version {
        VersionFact::Archived => true,
        // Its status says nothing: it was lost, or another rollout rolled the version back.
        VersionFact::Verified => !facts.production.names(version),
        _ => false,
    };
    if !gone {
        return None;
    }
    let mut others = facts.production.entries().iter().map(|entry| &entry.version);
    let by = match others.rfind(|other| *other != version) {
        Some(other) => format!("version {version} was in production; version {other} has replaced it"),
        None if facts.version == VersionFact::Archived => format!("version {version} was in production"),
        None => format!(
            "this rollout brought version {version} into production, but no ModelVersion is in production now. Devices keep \
             the version that they run until the next rollout succeeds"
        ),
    };
    let harm = run.state.harm.as_ref().map_or(String::new(), |h| format!("harm was shown: {}", h.sentence));
    let text = sentences(&[&by, &harm]);
    Some(Reason::new(ReasonCode::Replaced, clip(&text, MESSAGE_MAX)))
}

/// Tells once that an objective is broken, and once that it is kept again. Where every device has the version there is
/// nothing to compare with: it may be its fault or the world's, and only a person can say.
fn note_breach(run: &mut Run) {
    let ours = run.intent.facts.production.is_whole(run.policy.scope(), &run.state.version);
    if !ours {
        run.state.breach = None; // Another version is in production by now.
    }
    if !ours || !run.is_current() || run.blind().is_some() {
        return;
    }
    let evidence = run.evidence;
    let said = evidence.incident.as_ref().or(evidence.pause.as_ref()).filter(|_| run.state.harm.is_none());
    match (said, run.state.breach.is_some()) {
        (Some(sentence), false) => {
            run.state.breach = Some(Breach { at: run.now, sentence: clip(sentence, LOG_MESSAGE_MAX) });
            let text = broken(run, sentence);
            run.tell(EventKind::BreachInProduction, &text);
        }
        (None, true) => {
            run.state.breach = None;
            let text =
                format!("Version {} is in production and meets its objectives again.", run.state.version);
            run.tell(EventKind::BreachOver, &text);
        }
        (Some(_), true) | (None, false) => {}
    }
}

/// What people are told of a breach after success, and what to do.
fn broken(run: &Run, sentence: &str) -> String {
    let may_go_back = !run.intent.facts.prior_gone && run.intent.facts.prior_forbidden.is_empty();
    let next = match run.way_back().filter(|_| may_go_back) {
        Some(prior) => format!("check these devices, or set abort: true to go back to {prior}"),
        None => "check these devices, or roll out another version".to_owned(),
    };
    let version = &run.state.version;
    let breaks = format!("version {version} is in production and breaks an objective: {sentence}");
    sentences(&[&breaks, "it stays in production unless you act", &next])
}

/// The watch after success: as long as this version is the stable one, no other rollout of the model is under way, and
/// there is a version to go back to. Without its build devices would be told to run nothing.
fn watched(run: &mut Run) -> Option<Next> {
    let facts = &run.intent.facts;
    let others = facts.queue.as_ref().is_some_and(|queue| queue.active);
    if facts.deleted
        || others
        || run.way_back().is_none()
        || facts.prior_gone
        || !facts.prior_forbidden.is_empty()
    {
        return None;
    }
    // The version before is back and this one is not archived: only a way back whose end was not stored leaves that.
    let half_back = facts.production == run.state.prior
        && matches!(facts.version, VersionFact::Verified | VersionFact::Rejected { .. });
    // The object of a version may be gone while devices run it.
    let stable = run.is_stable()
        || (facts.version == VersionFact::Missing
            && facts.production.is_whole(run.policy.scope(), &run.state.version));
    if !stable && !half_back {
        return None;
    }
    if run.intent.abort {
        let harm = run.state.harm.clone();
        let (cause, sentence) = harm
            .map_or((Cause::Aborted, "spec.abort was set after success".to_owned()), |h| {
                (h.cause, h.sentence)
            });
        return Some(back::roll_back(run, cause, &sentence, true));
    }
    if run.state.harm.is_none()
        && let Some((_, sentence, behind)) = harm_shown(run)
    {
        note_harm(run);
        if run.policy.parts().rollback == RollbackPolicy::Manual {
            let does = format!("version {} does harm after success: {sentence}", run.state.version);
            let text = sentences(&[&does, "set abort: true to roll it back", &statistics(&behind)]);
            run.tell(EventKind::HarmShown, &text);
        }
    }
    if run.state.harm.is_none()
        && let Some(next) = goes_back(run)
    {
        return Some(next);
    }
    let harm = run.state.harm.clone()?;
    let automatic = run.policy.parts().rollback == RollbackPolicy::Automatic;
    automatic.then(|| back::roll_back(run, harm.cause, &harm.sentence, false))
}
