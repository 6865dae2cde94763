//! Ends of the process in which an engine runs a build. The agent outlives them, so the build is loaded again at once; one
//! that keeps ending it is left.

use modelfleet_protocol::state::{Failure, FailureCode};

use crate::interface::Limits;
use crate::saved::ProbationProgress;

/// Ends in a row: between two of them the build has run for less than [`Limits::steady_ms`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EngineEnds {
    count: u32,
    /// How long the build has run since the last one.
    ran_ms: u64,
}

impl EngineEnds {
    /// The build has run on.
    pub fn elapse(&mut self, passed_ms: u64, limits: &Limits) {
        self.ran_ms = self.ran_ms.saturating_add(passed_ms);
        if self.ran_ms >= limits.steady_ms {
            *self = EngineEnds::default();
        }
    }

    /// After how long the ends so far do not count any more, if there were any.
    pub fn forgotten_in_ms(&self, limits: &Limits) -> Option<u64> {
        (self.count > 0).then(|| limits.steady_ms.saturating_sub(self.ran_ms))
    }

    /// The process has ended. Returns why the build must be left, if it must.
    pub fn count(&mut self, detail: &str, limits: &Limits) -> Option<Failure> {
        *self = EngineEnds { count: self.count.saturating_add(1), ran_ms: 0 };
        let ends = self.count;
        let minutes = limits.steady_ms / 60_000;
        (ends >= limits.engine_ends_max).then(|| {
            let text = format!(
                "the engine ended {ends} times, each within {minutes} minutes; the last time {detail}"
            );
            Failure::new(FailureCode::CrashLoop, text)
        })
    }
}

impl ProbationProgress {
    /// The engine's process has ended on probation. Returns why the device must go back, if it must: ends of the agent and
    /// of the engine count together.
    pub(crate) fn count_engine_end(&mut self, detail: &str, limits: &Limits) -> Option<Failure> {
        self.restarts = self.restarts.saturating_add(1);
        let crashes = self.restarts;
        (crashes >= limits.restarts_max).then(|| {
            let text = format!(
                "the agent or the engine crashed {crashes} times during probation; the last time {detail}"
            );
            Failure::new(FailureCode::CrashLoop, text)
        })
    }
}
