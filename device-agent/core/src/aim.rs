//! What the newest plan and override want of one model on this device.

use std::sync::Arc;

use modelfleet_protocol::plan::{Fetch, Mode, Plan, Probation, Wanted};
use modelfleet_protocol::time::Time;

use crate::build::Build;
use crate::saved::{Directive, Kept};
use crate::words::{Identity, Limits};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Aim {
    /// Whatever runs goes on.
    #[default]
    Keep,
    /// Nothing is wanted; a stable build that runs may go on.
    Nothing,
    /// This build shall run.
    Install(Arc<Goal>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    pub kind: Kind,
    /// Name of the attempt; empty for a stable build.
    pub attempt: String,
    pub build: Build,
    pub fetch: Fetch,
    pub probation: Probation,
    /// Whether devices may start now.
    pub admit: bool,
    /// From then on nothing new is started.
    pub expires: Time,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Candidate,
    Stable,
    Pin,
}

impl Aim {
    /// An override stands above the plan, and the plan's rejections above everything. `stable_first`: the stable build is
    /// wanted before a candidate.
    pub fn of(kept: &Kept, identity: &Identity, limits: &Limits, stable_first: bool) -> Aim {
        match (&kept.directive, &kept.plan) {
            (Some(Directive::Hold), _) | (None, None) => Aim::Keep,
            (Some(Directive::Pin { build, .. }), Some(plan)) if plan.rejected.contains(&build.digest) => {
                Aim::of_plan(plan, identity, limits, stable_first)
            }
            (Some(Directive::Pin { build, attempt, expires }), _) => Aim::Install(Arc::new(Goal {
                kind: Kind::Pin,
                attempt: attempt.clone(),
                build: build.clone(),
                fetch: limits.fetch,
                probation: limits.probation,
                admit: true,
                expires: *expires,
                mode: Mode::Live,
            })),
            (None, Some(plan)) => Aim::of_plan(plan, identity, limits, stable_first),
        }
    }

    fn of_plan(plan: &Arc<Plan>, identity: &Identity, limits: &Limits, stable_first: bool) -> Aim {
        let wanted = plan.wanted(&identity.device, &identity.labels);
        let wanted = match (wanted, plan.stable_of(&identity.labels)) {
            (Wanted::Candidate(c), Some(stable)) if stable_first && stable.digest != c.build.digest => {
                Wanted::Stable(stable)
            }
            (wanted, _) => wanted,
        };
        let goal = match wanted {
            Wanted::Candidate(c) => Build::candidate(plan).map(|build| Goal {
                kind: Kind::Candidate,
                attempt: c.rollout.clone(),
                build,
                fetch: c.fetch,
                probation: c.probation,
                admit: c.admit,
                expires: plan.order.expires,
                mode: c.mode,
            }),
            Wanted::Stable(_) => Build::stable_of(plan, &identity.labels).map(|build| Goal {
                kind: Kind::Stable,
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
        goal.map_or(Aim::Nothing, |goal| Aim::Install(Arc::new(goal)))
    }

    pub fn goal(&self) -> Option<&Arc<Goal>> {
        if let Aim::Install(goal) = self { Some(goal) } else { None }
    }
}
