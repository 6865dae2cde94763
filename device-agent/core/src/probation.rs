//! A build that was just activated proves itself: by its own health and by contact, in time. Otherwise the
//! device goes back by itself and says why.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Probation;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use crate::attempts;
use crate::saved::Trial;
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Why};

/// Longest that the agent waits for a probation that lasts longer, so that elapsed time is counted in bits.
const LOOK_MS: u64 = 60_000;

#[derive(Debug)]
enum Finding {
    Confirmed,
    Failed(Failure),
    Open { left_ms: u64 },
}

fn judge(trial: &Trial, serving: bool, answered: u64, errors: u64) -> Finding {
    let Probation { timeout_ms, min_predictions, max_errors } = trial.rules;
    if errors > max_errors {
        let detail = format!("{errors} errors; {max_errors} are allowed");
        return Finding::Failed(Failure::new(FailureCode::ProbationErrors, detail));
    }
    let healthy = serving && answered >= min_predictions;
    if healthy && trial.heard {
        return Finding::Confirmed;
    }
    if trial.elapsed_ms < timeout_ms {
        return Finding::Open { left_ms: timeout_ms - trial.elapsed_ms };
    }
    Finding::Failed(if healthy {
        let detail = format!("no contact within {timeout_ms} ms");
        Failure::new(FailureCode::ContactLost, detail)
    } else {
        let detail =
            format!("{answered} of {min_predictions} answers within {timeout_ms} ms, {errors} errors");
        let asked = !serving || errors > 0;
        Failure::new(if asked { FailureCode::ProbationTimeout } else { FailureCode::Unproven }, detail)
    })
}

impl Unit {
    pub fn prove(&mut self, turn: &mut Turn<'_>) {
        self.watch_shadow(turn);
        let (answered, errors, serving) = (self.work.answered, self.work.errors, self.serving);
        let serves_stable = serving.and_then(|digest| self.slot(&digest)).is_some_and(|slot| slot.stable);
        let Some(active) = &mut self.kept.active else { return };
        let serves_stable = serves_stable && serving == Some(active.digest);
        let Some(trial) = &mut active.trial else { return };
        trial.elapsed_ms = trial.elapsed_ms.saturating_add(turn.passed_ms);
        match judge(trial, serving == Some(active.digest), answered, errors) {
            Finding::Confirmed => self.confirm(turn),
            Finding::Failed(failure) if failure.code != FailureCode::ProbationErrors && serves_stable => {
                // The fleet's stable build is not left because nobody called or asked it.
                self.confirm(turn);
            }
            Finding::Failed(failure) => self.revert(failure, turn),
            Finding::Open { left_ms } => {
                turn.wake_at(turn.now.after_ms(left_ms.min(LOOK_MS)), Why::Probation);
            }
        }
    }

    fn confirm(&mut self, turn: &mut Turn<'_>) {
        let Some(active) = &mut self.kept.active else { return };
        active.trial = None;
        let (digest, rollout) = (active.digest, active.rollout.clone());
        let (record, _) = attempts::find_or_begin(&mut self.kept.attempts, &rollout, digest, turn.now);
        record.enter(Phase::Confirmed, turn.now);
        if let Some(slot) = self.slot_mut(&digest) {
            slot.proven = true;
        }
        turn.changed();
    }

    /// In shadow there is nothing to go back from: too many errors end it.
    fn watch_shadow(&mut self, turn: &mut Turn<'_>) {
        let (Some(digest), Some(goal)) = (self.work.shadow, self.aim.goal().cloned()) else { return };
        let errors = self.work.errors;
        if goal.build.digest == digest && errors > goal.probation.max_errors {
            let detail = format!("{errors} errors in shadow; {} are allowed", goal.probation.max_errors);
            self.end_shadow(Failure::new(FailureCode::ProbationErrors, detail), turn);
        }
    }

    fn end_shadow(&mut self, failure: Failure, turn: &mut Turn<'_>) {
        let Some(digest) = self.work.shadow.take() else { return };
        turn.emit(Output::Shadow { model: self.model.clone(), build: None });
        if let Some(record) = self.kept.attempts.iter_mut().rev().find(|t| t.attempt.digest == digest) {
            record.end(Phase::Failed, Some(failure), turn.now);
        }
        turn.changed();
    }

    /// The process runs again. A build on probation that takes it down time and again is left.
    pub fn restarted(&mut self, turn: &mut Turn<'_>) {
        self.kept
            .attempts
            .retain(|t| !(t.attempt.rollout.is_empty() && t.attempt.phase == Phase::Incompatible));
        let Some(trial) = self.kept.active.as_mut().and_then(|active| active.trial.as_mut()) else { return };
        trial.restarts = trial.restarts.saturating_add(1);
        turn.save = true;
        if trial.restarts >= turn.limits.restarts_max {
            let detail = format!("{} restarts on probation", trial.restarts);
            self.revert(Failure::new(FailureCode::CrashLoop, detail), turn);
        }
    }

    /// The broker answered. That counts for a build on probation once it answers, too.
    pub fn heard(&mut self, turn: &mut Turn<'_>) {
        let serving = self.serving;
        if let Some(active) = &mut self.kept.active
            && serving == Some(active.digest)
            && let Some(trial) = &mut active.trial
            && !trial.heard
        {
            trial.heard = true;
            turn.save = true;
        }
    }

    pub fn health(&mut self, digest: &Digest, answered: u64, errors: u64) {
        let shadow = self.work.shadow.as_ref() == Some(digest);
        if (self.on_trial() && self.is_active(digest)) || shadow {
            self.work.answered = answered;
            self.work.errors = errors;
        }
        let enough = self.aim.goal().is_some_and(|goal| answered >= goal.probation.min_predictions);
        if shadow && enough {
            self.kept
                .attempts
                .iter_mut()
                .filter(|t| &t.attempt.digest == digest)
                .for_each(|t| t.admissions = 0);
        }
    }

    pub fn memory_exceeded(&mut self, digest: &Digest, turn: &mut Turn<'_>) {
        let failure = Failure::new(FailureCode::MemoryExceeded, "more memory than allowed");
        if self.work.shadow.as_ref() == Some(digest) {
            self.end_shadow(failure, turn);
        } else if self.is_active(digest) {
            let stable = self.slot(digest).is_some_and(|slot| slot.stable);
            if self.on_trial() || !stable {
                self.revert(failure, turn);
            } else {
                turn.emit(Output::Note(format!(
                    "{} {digest}: more memory than allowed, but it is the stable build",
                    self.model
                )));
            }
        }
    }
}
