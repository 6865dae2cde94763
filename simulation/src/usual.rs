//! Rollouts of the usual shape, for grids and tests.

use modelfleet_judge::{HardRule, SilenceRule};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::{Amount, Approval, Limits, OnUndecided, PolicyParts, RollbackPolicy, Stage};

use crate::setup::{Controls, Objective, Rule, Setup};

const HOUR_MS: u64 = 3_600_000;

impl Setup {
    /// Hourly windows, one of warm-up, an error budget of 1 %, and the API's defaults for the rest.
    #[must_use]
    pub fn hourly(stages: Vec<Stage>, objectives: Vec<Objective>) -> Setup {
        let parts = PolicyParts {
            rollout: "simulated".to_owned(),
            uid: String::new(),
            version: "1.0.0".to_owned(),
            set_aside: Vec::new(),
            stages,
            on_undecided: OnUndecided::Hold,
            rollback: RollbackPolicy::Automatic,
            holdback_ppm: 0,
            probation: Probation { timeout_ms: 600_000, min_predictions: 1, max_errors: 5 },
            fetch: Fetch::default(),
            observe: Observe { window_ms: HOUR_MS, ..Observe::default() },
            error_budget_ppm: 10_000,
            stale_after_ms: 3 * HOUR_MS,
        };
        let silence = SilenceRule::default();
        Setup {
            parts,
            hard: HardRule::beside(objectives.iter().map(|o| (o.on_breach, o.judged_by)), silence),
            objectives,
            warmup_windows: 1,
            settling_windows: None,
            silent_after_ms: 3 * HOUR_MS,
            silence,
            controls: Controls::All,
            rule: Rule::Judge,
            ask_always: false,
        }
    }

    /// Canary 2.5 % for 7 days, early adopter 10 % for 14 days, broad 50 % for 14 days, then all.
    #[must_use]
    pub fn default_stages() -> Vec<Stage> {
        vec![
            Setup::stage("canary", Target::Ppm(25_000), 7 * 24),
            Setup::stage("early-adopter", Target::Ppm(100_000), 14 * 24),
            Setup::stage("broad", Target::Ppm(500_000), 14 * 24),
            Setup::stage("full", Target::Ppm(1_000_000), 0),
        ]
    }

    /// A stage that is watched for so many hourly windows, with the API's defaults for the rest.
    #[must_use]
    pub fn stage(name: &str, target: Target, bake_windows: u64) -> Stage {
        Stage {
            name: name.to_owned(),
            target,
            selector: Selector::default(),
            spread_by: Vec::new(),
            watch_by: Vec::new(),
            bake_ms: bake_windows * HOUR_MS,
            approval: Approval::Automatic,
            limits: Limits {
                max_failed: Amount::Ppm(50_000),
                max_unreachable: Amount::Ppm(500_000),
                min_devices: 1,
                min_windows: 5,
                min_reporting_ppm: 800_000,
            },
            rollback_deadline_ms: HOUR_MS,
            max_wait_ms: bake_windows.max(24) * HOUR_MS,
            mode: Mode::Live,
            margin_ppm: None,
            floors: Vec::new(),
        }
    }

    /// One stage of `canaries` that is watched for `bake_windows`, where one objective has the whole error budget.
    #[must_use]
    pub fn one_stage(canaries: u64, bake_windows: u64, objective: Objective) -> Setup {
        let stage = Setup::stage("canary", Target::Count(canaries), bake_windows);
        let mut setup = Setup::hourly(vec![stage], vec![objective]);
        setup.hard.weight = 0;
        setup.silence.weight = 0;
        setup
    }
}
