//! A build that was just activated proves itself: by its own health and by contact, in time. Otherwise the
//! device goes back by itself and says why.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Probation;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use crate::attempts;
use crate::saved::Trial;
use crate::turn::Turn;
use crate::unit::{Unit, Work};
use crate::words::{Output, Why};

/// Longest that the agent waits for a probation that lasts longer, so that elapsed time is counted in bits; a
/// loss of power forgets no more than that.
const LOOK_MS: u64 = 60_000;
/// The shortest probation is this part of its time, and a minute at most: one answer is no proof.
const SHORTEST_PART: u64 = 10;
const SHORTEST_MS_MAX: u64 = 60_000;

#[derive(Debug)]
enum Finding {
    Confirmed,
    Failed(Failure),
    /// It may be confirmed as soon as the broker is heard.
    Silent,
    /// Its time is over, and all that it lacks is requests. No evidence is no failure.
    Unasked,
    Open,
}

/// How long a build runs at least before it is confirmed. The fleet's stable build has been confirmed elsewhere.
fn shortest_ms(rules: &Probation, stable: bool) -> u64 {
    if stable { 0 } else { (rules.timeout_ms / SHORTEST_PART).min(SHORTEST_MS_MAX) }
}

fn judge(trial: &Trial, serving: bool, shortest_ms: u64, work: &Work) -> Finding {
    let Probation { timeout_ms, min_predictions, max_errors } = trial.rules;
    let Work { answered_before, answered, errors, run_ms, .. } = *work;
    let answered = answered_before.saturating_add(answered);
    if errors > max_errors {
        let detail = format!("{errors} errors; {max_errors} are allowed");
        return Finding::Failed(Failure::new(FailureCode::ProbationErrors, detail));
    }
    let healthy = serving && answered >= min_predictions;
    let long_enough = run_ms >= shortest_ms;
    if healthy && long_enough && trial.heard {
        return Finding::Confirmed;
    }
    if healthy && long_enough && (trial.elapsed_ms < timeout_ms || trial.outlasted) {
        return Finding::Silent;
    }
    if trial.elapsed_ms < timeout_ms {
        return Finding::Open;
    }
    // What became of the first requests counts; later ones have no time that is theirs.
    if !healthy && errors > 0 && !trial.outlasted {
        let detail =
            format!("{answered} of {min_predictions} answers within {timeout_ms} ms, {errors} errors");
        return Finding::Failed(Failure::new(FailureCode::ProbationTimeout, detail));
    }
    if trial.heard || trial.outlasted {
        return Finding::Unasked;
    }
    let detail = format!("no contact within {timeout_ms} ms");
    Finding::Failed(Failure::new(FailureCode::ContactLost, detail))
}

impl Unit {
    /// Time has passed for the build on probation, and for one in shadow.
    pub fn elapse(&mut self, turn: &mut Turn<'_>) {
        self.answers.elapse(turn.passed_ms);
        let active = self.kept.active.as_ref().map(|active| active.digest);
        let shadows = self.work.shadow.is_some() && self.work.shadow_runs;
        if shadows || (active.is_some() && self.serving == active) {
            self.work.run_ms = self.work.run_ms.saturating_add(turn.passed_ms);
        }
        if let Some(active) = &mut self.kept.active
            && let Some(trial) = &mut active.trial
            // A build that waits to be switched to is not at fault; that wait has a deadline of its own.
            && self.serving == Some(active.digest)
        {
            let before = trial.elapsed_ms;
            let passed_ms = if trial.outlasted { 0 } else { turn.passed_ms };
            trial.elapsed_ms = before.saturating_add(passed_ms);
            turn.save |= before / LOOK_MS != trial.elapsed_ms / LOOK_MS;
        }
    }

    pub fn prove(&mut self, turn: &mut Turn<'_>) {
        self.watch_shadow(turn);
        let serving = self.serving;
        let Some(active) = &self.kept.active else { return };
        let serves = serving == Some(active.digest);
        let stable = self.slot(&active.digest).is_some_and(|slot| slot.stable);
        let Some(trial) = &active.trial else { return };
        let left_ms = trial.rules.timeout_ms.saturating_sub(trial.elapsed_ms).max(1);
        let shortest_ms = shortest_ms(&trial.rules, stable);
        let short_ms = shortest_ms.saturating_sub(self.work.run_ms);
        match judge(trial, serves, shortest_ms, &self.work) {
            Finding::Confirmed => self.confirm(turn),
            Finding::Failed(failure) if failure.code != FailureCode::ProbationErrors && serves && stable => {
                // The fleet's stable build is not left because nobody called or asked it.
                self.confirm(turn);
            }
            Finding::Failed(failure) => self.revert(failure, turn),
            Finding::Unasked if stable => self.confirm(turn),
            Finding::Unasked => self.outlast(turn),
            Finding::Silent => {
                let look_ms = if trial.outlasted { LOOK_MS } else { left_ms.min(LOOK_MS) };
                self.ask_for_contact(turn);
                turn.wake_at(turn.now.after_ms(look_ms), Why::Probation);
            }
            Finding::Open => {
                let look_ms = if serves && short_ms > 0 { short_ms } else { LOOK_MS };
                turn.wake_at(turn.now.after_ms(left_ms.min(look_ms)), Why::Probation);
            }
        }
    }

    fn outlast(&mut self, turn: &mut Turn<'_>) {
        let trial = self.kept.active.as_mut().and_then(|active| active.trial.as_mut());
        if let Some(trial) = trial.filter(|trial| !trial.outlasted) {
            trial.outlasted = true;
            turn.changed();
        }
    }

    /// A state is published for its acknowledgement: where windows are long, nothing else may be said in time.
    fn ask_for_contact(&mut self, turn: &mut Turn<'_>) {
        let now_ms = self.work.run_ms;
        let due = self.work.asked_contact_ms.is_none_or(|asked_ms| now_ms - asked_ms >= LOOK_MS);
        if turn.connected && due {
            self.work.asked_contact_ms = Some(now_ms);
            turn.publish = true;
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

    /// In shadow there is nothing to go back from: too many errors end it, and it is confirmed once it has run beside
    /// long enough and has seen as many requests as a build on probation must answer. Nobody may ask for long: it waits.
    fn watch_shadow(&mut self, turn: &mut Turn<'_>) {
        self.trust_shadow(turn);
        let (Some(digest), Some(goal)) = (self.work.shadow, self.aim.goal().cloned()) else { return };
        if goal.build.digest != digest {
            return;
        }
        let Work { answered, errors, run_ms, .. } = self.work;
        if errors > goal.probation.max_errors {
            let detail = format!("{errors} errors in shadow; {} are allowed", goal.probation.max_errors);
            return self.end_shadow(Failure::new(FailureCode::ProbationErrors, detail), turn);
        }
        let rules = goal.rules(turn.limits);
        let left_ms = shortest_ms(&rules, false).saturating_sub(run_ms);
        let record = attempts::find(&mut self.kept.attempts, &goal.attempt, &digest);
        let Some(record) = record.filter(|record| record.attempt.phase == Phase::Activated) else { return };
        if left_ms > 0 {
            turn.wake_at(turn.now.after_ms(left_ms), Why::Probation);
        } else if answered >= rules.min_predictions {
            record.enter(Phase::Confirmed, turn.now);
            turn.changed();
        }
    }

    pub fn end_shadow(&mut self, failure: Failure, turn: &mut Turn<'_>) {
        let Some(digest) = self.work.shadow.take() else { return };
        turn.emit(Output::Shadow { model: self.model.clone(), build: None });
        if let Some(record) = self.kept.attempts.iter_mut().rev().find(|t| t.attempt.digest == digest) {
            record.end(Phase::Failed, Some(failure), turn.now);
        }
        turn.changed();
    }

    /// The broker answered. That counts for a build on probation once it has run long enough, too.
    pub fn heard(&mut self) {
        let (serving, run_ms) = (self.serving, self.work.run_ms);
        let stable = serving.and_then(|digest| self.slot(&digest)).is_some_and(|slot| slot.stable);
        if let Some(active) = &mut self.kept.active
            && serving == Some(active.digest)
            && let Some(trial) = &mut active.trial
        {
            trial.heard |= run_ms >= shortest_ms(&trial.rules, stable);
        }
    }

    /// The connection is gone: what was heard before says nothing about now.
    pub fn unheard(&mut self) {
        self.work.asked_contact_ms = None;
        if let Some(trial) = self.kept.active.as_mut().and_then(|active| active.trial.as_mut()) {
            trial.heard = false;
        }
    }

    pub fn health(&mut self, digest: &Digest, answered: u64, errors: u64, turn: &mut Turn<'_>) {
        let shadow = self.work.shadow.as_ref() == Some(digest);
        if (self.on_trial() && self.is_active(digest)) || shadow {
            self.work.answered = answered;
            self.work.errors = errors;
        }
        let total = self.work.answered_before.saturating_add(self.work.answered);
        let active = self.kept.active.as_mut().filter(|active| &active.digest == digest);
        if let Some(trial) = active.and_then(|active| active.trial.as_mut()) {
            // Whoever is seldom asked is not asked anew after every restart.
            turn.save |= trial.outlasted && trial.answered != total;
            trial.answered = total;
        }
    }
}
