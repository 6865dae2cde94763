//! Why an attempt does not make progress. The reason is in the state, and once in the log.

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::agent::context::StepContext;
use crate::install::attempts::AttemptLog;

/// An obstacle that may go away without notice, such as a clock that is wrong, is checked again this often, milliseconds.
pub(crate) const LOOK_AGAIN_MS: u64 = 10 * 60_000;

/// What keeps a build from being installed, or from being confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The record cannot be written.
    DiskReadOnly,
    /// The plan has expired.
    PlanExpired,
    /// The trust document has expired.
    TrustExpired,
    /// Both slots are taken until a probation ends.
    OtherProbation,
    /// The device has to reach the broker first.
    Crashes,
    /// The probation needs more requests.
    FewRequests,
}

impl Obstacle {
    fn text(self) -> &'static str {
        match self {
            Obstacle::DiskReadOnly => {
                "the disk cannot be written, so nothing new is started; free or repair the disk"
            }
            Obstacle::PlanExpired => {
                "the plan has expired by this device's clock: check the clock; if it is right, the controller must sign \
                 the plan again"
            }
            Obstacle::TrustExpired => {
                "the trust document has expired by this device's clock: check the clock; if it is right, make a new one \
                 with `kubectl modelfleet trust renew`"
            }
            Obstacle::OtherProbation => "another build is on probation; this one starts when that has ended",
            Obstacle::Crashes => {
                "the agent crashed several times in a row, so it loads a candidate only after it has reached the broker"
            }
            Obstacle::FewRequests => {
                "too few predictions were requested during probation; the build is confirmed when there are enough, \
                 and keeps answering until then"
            }
        }
    }
}

/// An attempt that waits.
pub(crate) struct Wait {
    pub rollout: String,
    pub digest: Digest,
    pub obstacle: Obstacle,
}

impl AttemptLog {
    /// Notes which attempts wait and why. What has changed is published and logged.
    pub(crate) fn note_waits(&mut self, model: &ModelName, waits: &[Wait], ctx: &mut StepContext<'_>) {
        for record in self.iter_mut() {
            let attempt = &mut record.attempt;
            let own = waits.iter().find(|w| w.rollout == attempt.rollout && w.digest == attempt.digest);
            let reason = own.map(|wait| wait.obstacle.text());
            if attempt.waits.as_deref() == reason {
                continue;
            }
            attempt.waits = reason.map(str::to_owned);
            ctx.publish();
            if let Some(reason) = reason {
                ctx.log(format!("{model} {} waits: {reason}", attempt.digest));
            }
        }
    }
}
