//! How one simulated rollout went.

use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Cause, Passed, PauseCause, Phase, State};

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It reached the whole fleet.
    Succeeded,
    /// It was rolled back, with or without shown harm.
    RolledBack,
    /// It stands and waits for a person.
    Held,
    /// The time of the simulation was over.
    Unfinished,
}

/// How one simulated rollout went. Times are counted from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Index of the stage it had reached.
    pub stage: u32,
    /// When harm was shown, milliseconds.
    pub detected_ms: Option<u64>,
    /// From harm shown until no device in reach ran the candidate, milliseconds.
    pub safe_after_ms: Option<u64>,
    /// When it ended, milliseconds.
    pub duration_ms: u64,
    /// Devices that have run the candidate.
    pub exposed: u64,
    /// It was paused by itself, for an incident, a breach that pauses, or failed devices.
    pub paused: bool,
    /// It was paused for an incident.
    pub incident: bool,
    /// A stage was undecided at its deadline.
    pub undecided: bool,
    /// Stages that were passed because there were too few events to rule anything out.
    pub on_exposure: u32,
    /// Error budget spent, parts per billion.
    pub spent_ppb: u64,
    /// The most that spoke against the candidate by a method that took the judge's place, in millionths of its number.
    pub peak_millionths: Option<i64>,
    /// Why it was rolled back or waits, for people.
    pub sentence: String,
}

/// What is noted while a rollout goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes {
    /// As in [`Outcome::paused`].
    pub paused: bool,
    /// As in [`Outcome::incident`].
    pub incident: bool,
    /// As in [`Outcome::undecided`].
    pub undecided: bool,
    /// As in [`Outcome::on_exposure`].
    pub on_exposure: u32,
}

impl Notes {
    /// Takes note of a phase.
    pub fn see(&mut self, phase: Phase) {
        let Phase::Paused(cause) = phase else { return };
        match cause {
            PauseCause::Incident => (self.paused, self.incident) = (true, true),
            PauseCause::SloBreach | PauseCause::TooManyFailed | PauseCause::ContactLost => self.paused = true,
            PauseCause::Undecided => self.undecided = true,
            PauseCause::User
            | PauseCause::ApprovalTimedOut
            | PauseCause::Degraded
            | PauseCause::InvalidSpec => {}
        }
    }
}

impl Outcome {
    /// From the state at the end; `lacks`: what the last decision waited for.
    pub fn of(state: &State, notes: Notes, lacks: &str, now: Time, spent_in_stage_ppb: u64) -> Outcome {
        let started = state.started_at.unwrap_or(now);
        let figures = &state.figures;
        let end = match state.phase {
            Phase::Succeeded => End::Succeeded,
            Phase::RolledBack | Phase::RollingBack => End::RolledBack,
            Phase::Paused(_) | Phase::AwaitingApproval | Phase::Refused => End::Held,
            Phase::Queued | Phase::Progressing => End::Unfinished,
        };
        let sentence = match (&state.harm, &state.rollback, state.log.back()) {
            (Some(harm), _, _) => harm.sentence.clone(),
            (_, Some(rollback), _) => rollback.sentence.clone(),
            _ if end == End::Unfinished && !lacks.is_empty() => lacks.to_owned(),
            (_, _, Some(line)) => line.message.clone(),
            _ => String::new(),
        };
        let gave_up = state.rollback.as_ref().is_some_and(|rollback| rollback.cause == Cause::Undecided);
        let trusted = state.passed.iter().any(|stage| stage.how == Passed::OnTrust);
        let detected = state.harm.as_ref().map(|harm| harm.at);
        Outcome {
            end,
            stage: state.stage,
            detected_ms: detected.map(|at| at.since_ms(started)),
            safe_after_ms: detected.and_then(|at| Some(figures.safe_at?.since_ms(at))),
            duration_ms: figures.ended_at.unwrap_or(now).since_ms(started),
            exposed: figures.exposed_devices,
            paused: notes.paused,
            incident: notes.incident,
            undecided: notes.undecided || trusted || gave_up,
            on_exposure: notes.on_exposure,
            spent_ppb: if end == End::Succeeded {
                state.spent_ppb
            } else {
                state.spent_ppb + spent_in_stage_ppb
            },
            peak_millionths: None,
            sentence,
        }
    }
}
