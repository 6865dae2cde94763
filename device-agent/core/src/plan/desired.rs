//! The build that plan and override want of one model on this device.

use std::sync::Arc;

use modelfleet_protocol::plan::{Fetch, Mode, Plan, Probation, Wanted};
use modelfleet_protocol::time::Time;

use super::build::Build;
use crate::interface::{Identity, Limits};
use crate::saved::Directive;

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
    /// An override takes precedence over the plan, and the plan's rejections over everything. `stable_first`: the stable
    /// build is wanted before a candidate.
    pub fn from_orders(
        plan: Option<&Arc<Plan>>,
        directive: Option<&Directive>,
        identity: &Identity,
        limits: &Limits,
        stable_first: bool,
    ) -> Desired {
        match (directive, plan) {
            (Some(Directive::Hold), _) | (None, None) => Desired::Unchanged,
            (Some(Directive::Pin { build, .. }), Some(plan)) if plan.rejected.contains(&build.digest) => {
                Desired::from_plan(plan, identity, limits, stable_first)
            }
            (Some(Directive::Pin { build, attempt, expires }), _) => Desired::Run(Arc::new(Target {
                kind: TargetKind::Pin,
                attempt: attempt.clone(),
                build: build.clone(),
                fetch: limits.fetch,
                probation: limits.probation,
                admit: true,
                expires: *expires,
                mode: Mode::Live,
            })),
            (None, Some(plan)) => Desired::from_plan(plan, identity, limits, stable_first),
        }
    }

    fn from_plan(plan: &Arc<Plan>, identity: &Identity, limits: &Limits, stable_first: bool) -> Desired {
        let wanted = plan.wanted(&identity.device, &identity.labels);
        let wanted = match (wanted, plan.stable_of(&identity.labels)) {
            (Wanted::Candidate(c), Some(stable)) if stable_first && stable.digest != c.build.digest => {
                Wanted::Stable(stable)
            }
            (wanted, _) => wanted,
        };
        let target = match wanted {
            Wanted::Candidate(c) => Build::candidate(plan).map(|build| Target {
                kind: TargetKind::Candidate,
                attempt: c.rollout.clone(),
                build,
                fetch: c.fetch,
                probation: c.probation,
                admit: c.admit,
                expires: plan.order.expires,
                mode: c.mode,
            }),
            Wanted::Stable(_) => Build::stable_of(plan, &identity.labels).map(|build| Target {
                kind: TargetKind::Stable,
                attempt: String::new(),
                build,
                fetch: plan.fetch.unwrap_or(limits.fetch),
                probation: limits.probation,
                admit: true,
                expires: plan.order.expires,
                mode: Mode::Live,
            }),
            Wanted::Nothing => None,
        };
        target.map_or(Desired::Nothing, |target| Desired::Run(Arc::new(target)))
    }
}
