//! What stands in for the policy of a spec that cannot work any more: enough to stand still and to go back.

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::SET_ASIDE_MAX;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::Selector;

use super::rules::{NAME_MAX, TIME_MAX_MS};
use super::{Amount, Approval, Limits, OnUndecided, Policy, PolicyParts, RollbackPolicy, STAGES_MAX, Stage};

/// No device was heard for this long: a rollback does not end on such a view.
const STALE_AFTER_MS: u64 = 24 * 3_600_000;
const WINDOW_MS: u64 = 3_600_000;
const PROBATION_MS: u64 = 600_000;
/// A rollback deadline where the spec has none that can be read.
const DEADLINE_MS: u64 = 15 * 60_000;

/// What can be read of a spec that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Name of the Rollout.
    pub rollout: String,
    /// Its uid.
    pub uid: String,
    /// The version that is rolled out.
    pub version: String,
    /// Name and rollback deadline (milliseconds) of each stage.
    pub stages: Vec<(String, Option<u64>)>,
    /// Devices that a user has set aside, as many as can be read.
    pub set_aside: Vec<DeviceId>,
    /// The devices that the rollout is for.
    pub scope: Selector,
    /// Stages that were begun: there are at least so many.
    pub begun: u32,
    /// What happens when harm is shown.
    pub rollback: RollbackPolicy,
}

impl Policy {
    /// A policy by which nothing goes forward, whatever is in it: decisions by it need
    /// [`unreadable`](crate::Facts::unreadable). It keeps the stages, so that progress is not lost until the spec can
    /// work again.
    #[must_use]
    pub fn stand_in(known: StandIn) -> Policy {
        let StandIn { rollout, uid, version, stages, mut set_aside, scope, begun, rollback } = known;
        set_aside.sort();
        set_aside.dedup();
        set_aside.truncate(SET_ASIDE_MAX);
        let begun = usize::try_from(begun).unwrap_or(STAGES_MAX);
        let count = stages.len().max(begun).clamp(1, STAGES_MAX);
        let mut stages = stages.into_iter();
        let stages = (0..count).map(|i| {
            let (name, deadline_ms) = stages.next().unwrap_or_default();
            let name = if (1..=NAME_MAX).contains(&name.len()) { name } else { (i + 1).to_string() };
            stage(name, deadline_ms, scope.clone())
        });
        let policy = Policy {
            parts: PolicyParts {
                rollout,
                uid,
                version,
                set_aside,
                stages: stages.collect(),
                on_undecided: OnUndecided::Hold,
                rollback,
                holdback_ppm: 0,
                probation: Probation { timeout_ms: PROBATION_MS, min_predictions: 1, max_errors: 1 },
                fetch: Fetch::default(),
                observe: Observe { window_ms: WINDOW_MS, ..Observe::default() },
                error_budget_ppm: 10_000,
                stale_after_ms: STALE_AFTER_MS,
            },
        };
        debug_assert!(super::rules::check(&unnamed(&policy.parts)).is_ok(), "a stand-in can work");
        policy
    }
}

/// Names are for people alone; two that are the same do no harm here.
fn unnamed(parts: &PolicyParts) -> PolicyParts {
    let mut parts = parts.clone();
    parts.stages.iter_mut().enumerate().for_each(|(i, stage)| stage.name = i.to_string());
    parts
}

fn stage(name: String, deadline_ms: Option<u64>, selector: Selector) -> Stage {
    Stage {
        name,
        target: Target::Ppm(1_000_000),
        selector,
        spread_by: Vec::new(),
        watch_by: Vec::new(),
        bake_ms: 0,
        approval: Approval::Automatic,
        limits: Limits {
            max_failed: Amount::Count(0),
            max_unreachable: Amount::Count(0),
            min_devices: 1,
            min_windows: 1,
            min_reporting_ppm: 0,
        },
        rollback_deadline_ms: deadline_ms.unwrap_or(DEADLINE_MS).clamp(1, TIME_MAX_MS),
        max_wait_ms: 0,
        mode: Mode::Live,
        margin_ppm: None,
        floors: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_read_the_stages_stay() {
        let name = |name: &str| (name.to_owned(), None);
        let read = [
            vec![],
            vec![name("canary"), name("full")],
            vec![name(""), (String::new(), Some(0))],
            vec![(String::from("x").repeat(200), Some(u64::MAX)); 20],
        ];
        for (stages, begun) in read.into_iter().zip([0, 1, 3, u32::MAX]) {
            let known = StandIn {
                rollout: "r".to_owned(),
                uid: "u".to_owned(),
                version: "1.0.0".to_owned(),
                stages,
                set_aside: (0..200).map(|i| format!("p{}", i / 2).parse().unwrap()).collect(),
                scope: Selector::default(),
                begun,
                rollback: RollbackPolicy::Manual,
            };
            let policy = Policy::stand_in(known);
            assert!(policy.stage_count() >= begun.min(8) && policy.stage_count() <= 8);
            assert_eq!(super::super::rules::check(&unnamed(policy.parts())), Ok(()));
            assert_eq!(policy.parts().rollback, RollbackPolicy::Manual);
        }
    }
}
