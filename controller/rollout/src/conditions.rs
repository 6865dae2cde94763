//! The standard conditions of a Rollout.

use crate::policy::Policy;
use crate::reason::{Reason, ReasonCode};
use crate::state::{Breach, PauseCause, Phase, State};
use crate::text::{clip, sentences, statistics};

/// Longest message of a condition, in bytes.
const MESSAGE_MAX: usize = 512;

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionKind {
    /// The version is in production and no harm is known.
    Ready,
    /// The controller rolls the version out, or back, without a person.
    Progressing,
    /// A person or a rule paused the rollout.
    Paused,
    /// Harm was shown in this attempt. An abort alone is none.
    Degraded,
    /// In production, and an objective is broken; nothing shows what the cause is.
    Breached,
    /// No reachable device runs the candidate any more.
    RolledBack,
    /// A person must act, or a rollback is overdue.
    Stalled,
}

/// One condition. The shell adds the generation and the time of the last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub holds: bool,
    /// Why, as one CamelCase word.
    pub reason: &'static str,
    /// Why, with numbers.
    pub message: String,
}

impl ConditionKind {
    /// The word for the type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionKind::Ready => "Ready",
            ConditionKind::Progressing => "Progressing",
            ConditionKind::Paused => "Paused",
            ConditionKind::Degraded => "Degraded",
            ConditionKind::Breached => "Breached",
            ConditionKind::RolledBack => "RolledBack",
            ConditionKind::Stalled => "Stalled",
        }
    }
}

/// All seven conditions, always in the same order. `reasons` are those of the decision that gave `state`.
#[must_use]
pub fn conditions(policy: &Policy, state: &State, reasons: &[Reason]) -> Vec<Condition> {
    let first = reasons.first();
    let (why, text) = first.map_or(("AsWished", String::new()), |r| (r.code.as_str(), r.message.clone()));
    let condition = |kind, holds, reason, message| Condition { kind, holds, reason, message };
    let stage = &policy.stage(state.stage).name;
    let harm = state.harm.as_ref();
    let paused = match state.phase {
        Phase::Paused(cause) => Some(cause.as_str()),
        _ => None,
    };
    let back = state.rollback.as_ref().filter(|_| state.phase == Phase::RolledBack);
    let ready = state.phase == Phase::Succeeded && harm.is_none();
    let stalled = is_stalled(state) || first.is_some_and(|r| r.code == crate::ReasonCode::BrokenInvariant);
    vec![
        condition(ConditionKind::Ready, ready, why, text.clone()),
        condition(ConditionKind::Progressing, is_progressing(state.phase), why, text.clone()),
        match paused {
            Some(cause) => condition(ConditionKind::Paused, true, cause, text.clone()),
            None => condition(ConditionKind::Paused, false, "NotPaused", String::new()),
        },
        match harm {
            Some(h) => {
                let message = sentences(&[&h.sentence, &statistics(&h.statistics)]);
                condition(ConditionKind::Degraded, true, h.cause.as_str(), clip(&message, MESSAGE_MAX))
            }
            None => condition(
                ConditionKind::Degraded,
                false,
                "NoHarmShown",
                format!("No harm shown up to stage {stage}."),
            ),
        },
        match &state.breach {
            Some(b) => {
                condition(ConditionKind::Breached, true, "InProduction", breached(b, text.clone(), why))
            }
            None => condition(ConditionKind::Breached, false, "NotBreached", String::new()),
        },
        match back {
            // This message counts the devices that have not confirmed the rollback.
            Some(r) => condition(ConditionKind::RolledBack, true, r.cause.as_str(), text.clone()),
            None => condition(ConditionKind::RolledBack, false, "NotRolledBack", String::new()),
        },
        match stalled {
            true => condition(ConditionKind::Stalled, true, why, text),
            false => condition(ConditionKind::Stalled, false, "NotStalled", String::new()),
        },
    ]
}

/// The reason tells more than what was noted when the breach began; it may be about something else by now.
fn breached(breach: &Breach, text: String, why: &str) -> String {
    if why == ReasonCode::BreachInProduction.as_str() { text } else { breach.sentence.clone() }
}

fn is_progressing(phase: Phase) -> bool {
    match phase {
        Phase::Queued | Phase::Progressing | Phase::AwaitingApproval | Phase::RollingBack => true,
        // It goes on by itself once the world is well again.
        Phase::Paused(PauseCause::Incident | PauseCause::SloBreach | PauseCause::ContactLost) => true,
        Phase::Paused(_) | Phase::Refused | Phase::RolledBack | Phase::Succeeded => false,
    }
}

fn is_stalled(state: &State) -> bool {
    match state.phase {
        Phase::Refused | Phase::RolledBack => true,
        Phase::Paused(cause) => matches!(
            cause,
            PauseCause::Undecided
                | PauseCause::ApprovalTimedOut
                | PauseCause::Degraded
                | PauseCause::TooManyFailed
                | PauseCause::InvalidSpec
        ),
        Phase::RollingBack => state.is_overdue(),
        Phase::Queued | Phase::Progressing | Phase::AwaitingApproval | Phase::Succeeded => false,
    }
}
