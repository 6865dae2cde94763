//! The build that plan and override want of one model on this device.

use std::sync::Arc;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::{Fetch, Mode, Plan, Probation, Wanted};
use modelfleet_protocol::time::Time;

use super::build::Build;
use crate::interface::{Identity, Limits};

/// What is wanted of one model on this device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Desired {
    /// No change: the build that runs goes on.
    #[default]
    Unchanged,
    /// No build is wanted. A stable build that runs may go on.
    Nothing,
    /// This build must run.
    Run(Arc<Target>),
}

/// The build that must run, and the rules for getting there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub kind: TargetKind,
    /// Name of the attempt; empty for a stable build.
    pub attempt: String,
    pub build: Build,
    pub fetch: Fetch,
    pub probation: Probation,
    /// Whether devices may start the attempt now.
    pub admit: bool,
    /// Nothing new is started after this time.
    pub expires: Time,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    Candidate,
    Stable,
    Pin,
}

impl Target {
    pub fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    /// The rules of the build's probation. If the plan gives no time, the agent's own applies.
    pub fn probation_rules(&self, limits: &Limits) -> Probation {
        let Probation { timeout_ms, .. } = self.probation;
        let timeout_ms = if timeout_ms == 0 { limits.probation.timeout_ms } else { timeout_ms };
        Probation { timeout_ms, ..self.probation }
    }
}

impl Desired {
    /// The build that an override pins.
    pub fn pinned(build: &Build, attempt: &str, expires: Time, limits: &Limits) -> Desired {
        Desired::Run(Arc::new(Target {
            kind: TargetKind::Pin,
            attempt: attempt.to_owned(),
            build: build.clone(),
            fetch: limits.fetch,
            probation: limits.probation,
            admit: true,
            expires,
            mode: Mode::Live,
        }))
    }

    /// What the plan wants. `stable`: its stable build for this device. `stable_first`: the stable build is wanted before a
    /// candidate.
    pub fn from_plan(
        plan: &Arc<Plan>,
        stable: Option<Digest>,
        identity: &Identity,
        limits: &Limits,
        stable_first: bool,
    ) -> Desired {
        let stable = stable.and_then(|stable| Build::in_plan(plan, &stable));
        let candidate = match (plan.wanted(&identity.device, &identity.labels), &stable) {
            (Wanted::Candidate(c), Some(stable)) if stable_first && stable.digest != c.build.digest => None,
            (Wanted::Candidate(c), _) => Some(c),
            (Wanted::Stable(_) | Wanted::Nothing, _) => None,
        };
        let target = match candidate {
            Some(c) => Build::candidate(plan).map(|build| Target {
                kind: TargetKind::Candidate,
                attempt: c.rollout.clone(),
                build,
                fetch: c.fetch,
                probation: c.probation,
                admit: c.admit,
                expires: plan.order.expires,
                mode: c.mode,
            }),
            None => stable.map(|build| Target {
                kind: TargetKind::Stable,
                attempt: String::new(),
                build,
                fetch: plan.fetch.unwrap_or(limits.fetch),
                probation: limits.probation,
                admit: true,
                expires: plan.order.expires,
                mode: Mode::Live,
            }),
        };
        target.map_or(Desired::Nothing, |target| Desired::Run(Arc::new(target)))
    }

    /// Nothing new is started after the time that `limit` makes of that of the message.
    pub fn limit(&mut self, limit: impl Fn(Time) -> Time) {
        if let Desired::Run(target) = self {
            let expires = limit(target.expires);
            if expires != target.expires {
                Arc::make_mut(target).expires = expires;
            }
        }
    }
}
