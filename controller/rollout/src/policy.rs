//! A validated spec: an invalid [`Policy`] cannot be built.

mod rules;
mod stand_in;

use modelfleet_protocol::draw::{Floor, Share, Target};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::CLAUSES_MAX;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::Selector;

use crate::state::State;

pub use stand_in::StandIn;

/// Most stages of a rollout: each may need a clause of its own in the membership.
pub const STAGES_MAX: usize = CLAUSES_MAX;

/// Most labels that a stage watches.
pub const WATCH_MAX: usize = 4;

/// Windows after its warm-up in which a device settles after a change of models, where a spec does not say how many.
pub const SETTLING_WINDOWS: u64 = 5;

/// Why a spec cannot work: the field, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyError {
    /// Path of the field, for example `spec.stages[1].devices`.
    pub field: String,
    /// What is there and what is allowed, lower case, without full stop.
    pub problem: String,
}

/// A spec that can work. Built by [`Policy::new`] alone; read through its methods.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    parts: PolicyParts,
}

/// What a [`Policy`] is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyParts {
    /// Name of the Rollout; devices see it as the attempt's name.
    pub rollout: String,
    /// Its uid: with the attempt's number the salt of the draw, so that a Rollout of the same name draws anew.
    pub uid: String,
    /// The version that is rolled out, for people and for telling that it was changed.
    pub version: String,
    /// Devices that a user has set aside, ordered, at most
    /// [`SET_ASIDE_MAX`](modelfleet_protocol::membership::SET_ASIDE_MAX): they run what they ran before, and count in
    /// nothing that a stage has or lacks.
    pub set_aside: Vec<DeviceId>,
    /// One to [`STAGES_MAX`], growing.
    pub stages: Vec<Stage>,
    /// What happens to a stage that is still undecided at its deadline.
    pub on_undecided: OnUndecided,
    /// What happens when harm is shown.
    pub rollback: RollbackPolicy,
    /// Share of the devices that keep the version before as a control group, millionths: the last stage leaves
    /// them out, and success does not change that while no other rollout of the model begins.
    pub holdback_ppm: u32,
    /// How a device proves itself after activation.
    pub probation: Probation,
    /// How the bytes are fetched.
    pub fetch: Fetch,
    /// What devices count; `since` is set from the state.
    pub observe: Observe,
    /// Chance of a false rollback that the judge may spend over the whole rollout, millionths.
    pub error_budget_ppm: u32,
    /// Nothing is decided when no device has been heard for this long, milliseconds.
    pub stale_after_ms: u64,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name, unique in the rollout; `promote` names the stage that may begin.
    pub name: String,
    /// How many devices have the candidate in this stage, those of earlier stages included.
    pub target: Target,
    /// Which devices it draws from: the rollout's selector and the stage's own, both.
    pub selector: Selector,
    /// Labels over whose values it spreads.
    pub spread_by: Vec<String>,
    /// Labels in whose values harm is looked for, whatever it spreads over.
    pub watch_by: Vec<String>,
    /// Time it is watched at least, milliseconds; pauses and times without contact do not count.
    pub bake_ms: u64,
    /// Whether a person must agree before the stage begins.
    pub approval: Approval,
    /// What stops it and what it needs.
    pub limits: Limits,
    /// A rollback out of this stage is overdue after this time, milliseconds.
    pub rollback_deadline_ms: u64,
    /// How long after its bake time an undecided stage waits, milliseconds: the time before evidence can be known is part of
    /// it.
    pub max_wait_ms: u64,
    /// Whether the candidate answers or runs beside the stable model.
    pub mode: Mode,
    /// The harm it must rule out, as ratio of rates in millionths, for the judge; `None`: what it can prove.
    pub margin_ppm: Option<u64>,
    /// What it takes at least in fleets so small that fewer devices could never show harm; empty: nothing is raised.
    pub floors: Vec<Floor>,
}

/// Whether a person must agree before a stage begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// No.
    #[default]
    Automatic,
    /// Yes: once the stage before is Healthy, `promote: <this stage>` is waited for.
    Required {
        /// For this long, milliseconds, then the rollout is Paused and Stalled; `None`: as long as it takes.
        timeout_ms: Option<u64>,
    },
}

/// A number of devices, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// This many.
    Count(u64),
    /// This share in millionths.
    Ppm(u32),
}

/// What stops a stage and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// More failed devices than this (quarantined ones included, share of the stage's members rounded up) pause the
    /// rollout, even where the judge sees no difference to the controls. Rounded up, because one failed device of a
    /// small canary must not end what a second one would prove.
    pub max_failed: Amount,
    /// With more unreachable devices (share of the eligible members) the stage waits.
    pub max_unreachable: Amount,
    /// Devices that must have confirmed before the stage is left.
    pub min_devices: u64,
    /// Known windows that make a device count, for the judge.
    pub min_windows: u32,
    /// Share of the activated devices that must report, for the judge, millionths.
    pub min_reporting_ppm: u32,
}

/// What happens to a stage that is still undecided at its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUndecided {
    /// Wait for a person.
    #[default]
    Hold,
    /// Go on; recorded as taken on trust, never as proven.
    Promote,
    /// Go back; the version is not rejected, because no harm was shown.
    RollBack,
}

/// What happens when harm is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollbackPolicy {
    /// Go back at once.
    #[default]
    Automatic,
    /// Stop and wait for a person; the only way out is `abort`.
    Manual,
}

impl Policy {
    /// Checks the parts.
    ///
    /// # Errors
    /// Names the first field that cannot work, and what is allowed there.
    pub fn new(parts: PolicyParts) -> Result<Policy, PolicyError> {
        rules::check(&parts)?;
        Ok(Policy { parts })
    }

    /// Everything in it, to read.
    #[must_use]
    pub fn parts(&self) -> &PolicyParts {
        &self.parts
    }

    /// Index of the stage of this name.
    #[must_use]
    pub fn stage_named(&self, name: &str) -> Option<u32> {
        let at = self.parts.stages.iter().position(|s| s.name == name)?;
        u32::try_from(at).ok()
    }

    /// Number of stages, at least one.
    #[must_use]
    pub fn stage_count(&self) -> u32 {
        u32::try_from(self.parts.stages.len()).unwrap_or(u32::MAX)
    }

    /// Index of the last stage.
    #[must_use]
    pub fn last_stage(&self) -> u32 {
        self.stage_count().saturating_sub(1)
    }

    /// The stage at `index`; the last one for an index beyond it, as after stages were edited away.
    #[must_use]
    pub fn stage(&self, index: u32) -> &Stage {
        let last = self.parts.stages.len() - 1;
        &self.parts.stages[(index as usize).min(last)]
    }

    /// Whether a user has set the device aside.
    #[must_use]
    pub fn sets_aside(&self, device: &DeviceId) -> bool {
        self.parts.set_aside.binary_search(device).is_ok()
    }

    /// A hash of the devices that a user has set aside; 0 for none.
    #[must_use]
    pub fn set_aside_hash(&self) -> u32 {
        let bytes = self.parts.set_aside.iter().flat_map(|id| id.as_str().bytes().chain([0]));
        bytes.fold(0, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193).wrapping_add(1))
    }

    /// Devices that the plan leaves out whatever was drawn, ordered: those that this attempt has quarantined, and those that
    /// a user has set aside.
    #[must_use]
    pub fn excluded(&self, state: &State) -> Vec<DeviceId> {
        let mut all: Vec<DeviceId> = state.quarantined.iter().chain(&self.parts.set_aside).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The devices that have the version after the last stage: those that it is proven for, and no others.
    #[must_use]
    pub fn scope(&self) -> &Selector {
        &self.stage(self.last_stage()).selector
    }

    /// How many devices the stage takes, the hold-back of the last one considered.
    #[must_use]
    pub fn target(&self, index: u32) -> Target {
        let target = self.stage(index).target;
        let whole = matches!(target, Target::Ppm(1_000_000..));
        if index >= self.last_stage() && whole && self.parts.holdback_ppm > 0 {
            return Target::AllBut(self.parts.holdback_ppm);
        }
        target
    }

    /// What [`modelfleet_protocol::draw::open_stage`] is asked for.
    #[must_use]
    pub fn share(&self, index: u32) -> Share {
        let stage = self.stage(index);
        Share {
            selector: stage.selector.clone(),
            spread_by: stage.spread_by.clone(),
            devices: self.target(index),
            floors: stage.floors.clone(),
        }
    }
}

impl Amount {
    /// The number of devices out of `pool`, a share rounded down.
    #[must_use]
    pub fn of(self, pool: u64) -> u64 {
        self.share(pool, |millionths| millionths / 1_000_000)
    }

    /// The number of devices out of `pool`, a share rounded up.
    #[must_use]
    pub fn of_rounded_up(self, pool: u64) -> u64 {
        self.share(pool, |millionths| millionths.div_ceil(1_000_000))
    }

    fn share(self, pool: u64, whole: impl Fn(u128) -> u128) -> u64 {
        match self {
            Amount::Count(count) => count,
            Amount::Ppm(ppm) => {
                u64::try_from(whole(u128::from(pool) * u128::from(ppm.min(1_000_000)))).unwrap_or(pool)
            }
        }
    }
}
