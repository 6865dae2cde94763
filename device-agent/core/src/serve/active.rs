//! The build that should answer, and the crashes that are held against it. Crashes are counted across restarts; if they
//! go on, the device goes back.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode};
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;
use crate::saved::{Active, ProbationProgress};

impl Active {
    /// A build that becomes active now, without an attempt and without probation.
    pub(crate) fn since(now: Time, digest: Digest) -> Active {
        Active { digest, activated: now, rollout: String::new(), probation: None, crashes: 0 }
    }

    pub(crate) fn is_on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// The process crashed while this build was active. Returns why the device must go back, if it must. `stable`: a plan
    /// has called the build stable.
    pub(crate) fn count_crash(&mut self, stable: bool, ctx: &mut StepContext<'_>) -> Option<Failure> {
        let limits = ctx.limits;
        let detail = match &mut self.probation {
            Some(probation) if !probation.outlasted => {
                probation.restarts = probation.restarts.saturating_add(1);
                (probation.restarts >= limits.restarts_max)
                    .then(|| format!("the agent crashed {} times during probation", probation.restarts))
            }
            // There is nothing better than a stable build to go back to.
            None if stable => return None,
            // Confirmed, or waiting for requests: only crashes in a row are held against it.
            _ => {
                self.crashes = self.crashes.saturating_add(1);
                (self.crashes >= limits.crashes_max).then(|| {
                    format!("the agent crashed {} times in a row, each soon after a start", self.crashes)
                })
            }
        };
        ctx.save();
        detail.map(|detail| Failure::new(FailureCode::CrashLoop, detail))
    }

    /// The machine lost power while this build was active. Returns why the device must go back, if it must. One or two
    /// power losses are chance. If a machine loses power again and again, the build may overload it; that is no proof, so
    /// the failure does not accuse the build.
    pub(crate) fn count_power_loss(&mut self, ctx: &mut StepContext<'_>) -> Option<Failure> {
        let in_time = |probation: &&mut ProbationProgress| !probation.outlasted;
        let probation = self.probation.as_mut().filter(in_time)?;
        probation.reboots = probation.reboots.saturating_add(1);
        ctx.save();
        let detail = format!("the machine lost power {} times during probation", probation.reboots);
        (probation.reboots >= ctx.limits.reboots_max).then(|| Failure::new(FailureCode::Unproven, detail))
    }
}
