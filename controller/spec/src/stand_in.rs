//! What stands in for a spec that cannot work any more: the parts that can be read, and no judgement.

use modelfleet_crds::rollout::RollbackPolicy;
use modelfleet_crds::{Rollout, RolloutSpec};
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::{Policy, RollbackPolicy as CoreRollbackPolicy, StandIn};

use crate::{Valid, selector, silent_after_ms};

/// Windows of a spec whose own cannot be read, milliseconds.
const WINDOW_MS: u64 = 3_600_000;

/// What stands in for the spec of a rollout that has begun `stages` stages: by it nothing goes forward, and what is
/// under way can go back.
#[must_use]
pub fn stand_in(rollout: &Rollout, stages: u32) -> Valid {
    let spec = &rollout.spec;
    let deadline = |stage: &modelfleet_crds::rollout::Stage| stage.rollback_deadline.milliseconds().ok();
    let last = spec.stages.last().and_then(|stage| stage.selector.as_ref());
    let policy = Policy::stand_in(StandIn {
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        uid: rollout.metadata.uid.clone().unwrap_or_default(),
        version: spec.version.clone(),
        set_aside: spec.set_aside.iter().filter_map(|id| id.parse().ok()).collect(),
        stages: spec.stages.iter().map(|stage| (stage.name.clone(), deadline(stage))).collect(),
        scope: selector([Some(&spec.selector), last]),
        begun: stages,
        rollback: match spec.rollback.policy {
            RollbackPolicy::Automatic => CoreRollbackPolicy::Automatic,
            RollbackPolicy::Manual => CoreRollbackPolicy::Manual,
        },
    });
    let scope: Selector = selector([Some(&spec.selector), None]);
    Valid {
        policy,
        scope,
        objectives: Vec::new(),
        warmup_windows: 0,
        settling_windows: None,
        silent_after_ms: silent(spec),
        watch: None,
    }
}

fn silent(spec: &RolloutSpec) -> u64 {
    let window_ms = spec.observe.window.milliseconds().unwrap_or(WINDOW_MS);
    let report_every = spec.observe.report_every.as_ref().and_then(|text| text.milliseconds().ok());
    silent_after_ms(window_ms, report_every.unwrap_or(0))
}
