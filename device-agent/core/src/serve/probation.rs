//! Probation: a build that was just activated proves itself in time, by its own health and by contact with the broker.
//! Otherwise the device goes back by itself and reports why.

use modelfleet_protocol::plan::Probation;
use modelfleet_protocol::state::{Failure, FailureCode};

use crate::saved::ProbationProgress;

/// Longest wait between two looks at a probation. Elapsed time is saved in steps of this length, so a power loss forgets
/// no more than that.
pub(crate) const LOOK_MS: u64 = 60_000;
/// The shortest probation is this part of its time, and a minute at most: one answer is no proof.
const SHORTEST_PART: u64 = 10;
const SHORTEST_MS_MAX: u64 = 60_000;

/// What can be said about a build on probation now.
#[derive(Debug)]
pub(crate) enum Finding {
    Confirmed,
    Failed(Failure),
    /// It is healthy, and is confirmed as soon as the broker answers.
    NeedsContact,
    /// Its time is over, and it lacks only requests. A lack of evidence is no failure.
    NeedsRequests,
    /// Too early to tell.
    Open,
}

/// How long a build must run before it is confirmed. The fleet's stable build was confirmed on other devices.
pub(crate) fn shortest_ms(rules: &Probation, stable: bool) -> u64 {
    if stable { 0 } else { (rules.timeout_ms / SHORTEST_PART).min(SHORTEST_MS_MAX) }
}

/// Running totals of the build that is proving itself, on probation or in shadow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProvingTotals {
    /// Answers in earlier runs of the process.
    answered_before: u64,
    answered: u64,
    errors: u64,
    /// How long it has run without a break.
    run_ms: u64,
    /// The value of `run_ms` when contact was last asked for.
    contact_asked_ms: Option<u64>,
}

impl ProvingTotals {
    /// Answers without an error, those of earlier runs of the process included.
    pub fn answered_in_all(&self) -> u64 {
        self.answered_before.saturating_add(self.answered)
    }

    /// Answers without an error in this run of the process.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    pub fn errors(&self) -> u64 {
        self.errors
    }

    pub fn run_ms(&self) -> u64 {
        self.run_ms
    }

    /// Another build runs, or is about to.
    pub fn reset(&mut self) {
        *self = ProvingTotals::default();
    }

    /// The process has started again.
    pub fn resume(&mut self, answered_before: u64) {
        self.answered_before = answered_before;
    }

    pub fn elapse(&mut self, passed_ms: u64) {
        self.run_ms = self.run_ms.saturating_add(passed_ms);
    }

    pub fn update(&mut self, answered: u64, errors: u64) {
        (self.answered, self.errors) = (answered, errors);
    }

    /// Whether the broker should be contacted now, to hear it answer. True once in [`LOOK_MS`].
    pub fn ask_for_contact(&mut self) -> bool {
        let due = self.contact_asked_ms.is_none_or(|asked_ms| self.run_ms - asked_ms >= LOOK_MS);
        if due {
            self.contact_asked_ms = Some(self.run_ms);
        }
        due
    }

    pub fn connection_lost(&mut self) {
        self.contact_asked_ms = None;
    }
}

impl ProbationProgress {
    /// A probation that begins.
    #[must_use]
    pub fn under(rules: Probation) -> ProbationProgress {
        let (restarts, reboots) = (0, 0);
        let (heard, outlasted) = (false, false);
        ProbationProgress { rules, elapsed_ms: 0, restarts, reboots, heard, answered: 0, outlasted }
    }

    /// Time has passed in which the build answered. Returns whether the record must be written.
    pub(crate) fn elapse(&mut self, passed_ms: u64) -> bool {
        let before = self.elapsed_ms;
        let passed_ms = if self.outlasted { 0 } else { passed_ms };
        self.elapsed_ms = before.saturating_add(passed_ms);
        before / LOOK_MS != self.elapsed_ms / LOOK_MS
    }

    /// What can be said now. `answers`: the build answers, as the shell reports it.
    pub(crate) fn finding(&self, answers: bool, shortest_ms: u64, totals: &ProvingTotals) -> Finding {
        let Probation { timeout_ms, min_predictions, max_errors } = self.rules;
        let (answered, errors) = (totals.answered_in_all(), totals.errors());
        if errors > max_errors {
            let detail = format!("{errors} errors, at most {max_errors} are allowed");
            return Finding::Failed(Failure::new(FailureCode::ProbationErrors, detail));
        }
        let healthy = answers && answered >= min_predictions;
        let long_enough = totals.run_ms() >= shortest_ms;
        if healthy && long_enough && self.heard {
            return Finding::Confirmed;
        }
        if healthy && long_enough && (self.elapsed_ms < timeout_ms || self.outlasted) {
            return Finding::NeedsContact;
        }
        if self.elapsed_ms < timeout_ms {
            return Finding::Open;
        }
        // Only the requests within the probation's time are held against the build.
        if !healthy && errors > 0 && !self.outlasted {
            let seconds = timeout_ms / 1_000;
            let detail = format!(
                "{answered} answers and {errors} errors within {seconds} s, {min_predictions} answers are required"
            );
            return Finding::Failed(Failure::new(FailureCode::ProbationTimeout, detail));
        }
        if self.heard || self.outlasted {
            return Finding::NeedsRequests;
        }
        let detail = format!("no contact with the broker for {} s", timeout_ms / 1_000);
        Finding::Failed(Failure::new(FailureCode::ContactLost, detail))
    }
}
