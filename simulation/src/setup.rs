//! What is rolled out, and how it is judged.

use modelfleet_judge::{HardRule, JudgedBy, OnBreach, SilenceRule, SloRule};
use modelfleet_rollout::PolicyParts;

use crate::methods::Method;

/// Devices above which the judge is asked less often than every window.
const JUDGE_EVERY_WINDOW_DEVICES: u64 = 20_000;

/// Times that the judge is asked at least while a stage is watched: twice for each planned look.
const ASKED_IN_STAGE: u64 = 12;
/// Times that it is asked at least while a stage waits for its verdict.
const ASKED_IN_WAIT: u64 = 4;

/// A rollout as spec and controller settings make it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The spec, without the uid: each run has its own, and so draws other devices.
    pub parts: PolicyParts,
    /// What is watched.
    pub objectives: Vec<Objective>,
    /// Windows after activation that do not count.
    pub warmup_windows: u64,
    /// Windows after those in which a device settles, by which nothing is decided; `None`: as many as
    /// [`modelfleet_evidence::LookPlan::settling`] says.
    pub settling_windows: Option<u64>,
    /// A device that was not heard for so long is silent, milliseconds.
    pub silent_after_ms: u64,
    /// Layer 0.
    pub hard: HardRule,
    /// Silence as an indicator.
    pub silence: SilenceRule,
    /// Whom canaries are compared with.
    pub controls: Controls,
    /// Who decides what the evidence says.
    pub rule: Rule,
    /// Asks the judge in every window, also where its answer cannot change. For tests.
    pub ask_always: bool,
}

/// One objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// Its name.
    pub name: String,
    /// For people: what is wrong where it is broken; empty: told by the name.
    pub breach: String,
    /// For people: its bound with the unit; empty: not told.
    pub limit: String,
    /// What a breach does.
    pub on_breach: OnBreach,
    /// What proves one.
    pub judged_by: JudgedBy,
    /// Share of device-windows that may be bad, millionths.
    pub allowance_ppm: u32,
    /// Judged by `Plain`: a merged window is breached when more than this share of its predictions was bad, millionths.
    pub breach_share_ppm: u32,
    /// Judged by `Plain`: predictions that a merged window needs.
    pub min_samples: u64,
    /// Windows of canaries that a stage needs before it passes on exposure.
    pub min_exposure: u64,
    /// Bad windows of all devices that it needs before.
    pub min_events: u64,
    /// Windows after one until the truth about it is known, as the rollout is told; the scenario says when it really is.
    pub late_windows: u64,
}

impl Objective {
    /// A statistical objective that rolls back.
    #[must_use]
    pub fn statistical(name: &str, allowance_ppm: u32) -> Objective {
        Objective {
            name: name.to_owned(),
            breach: String::new(),
            limit: String::new(),
            on_breach: OnBreach::RollBack,
            judged_by: JudgedBy::Statistical,
            allowance_ppm,
            breach_share_ppm: 0,
            min_samples: 0,
            min_exposure: 0,
            min_events: 0,
            late_windows: 0,
        }
    }

    /// As the judge takes it.
    pub(crate) fn rule(&self) -> SloRule<'_> {
        SloRule {
            name: &self.name,
            breach: &self.breach,
            limit: &self.limit,
            on_breach: self.on_breach,
            judged_by: self.judged_by,
            min_samples: self.min_samples,
            min_exposure: self.min_exposure,
            min_events: self.min_events,
            late_windows: self.late_windows,
            ..SloRule::statistical("", self.allowance_ppm)
        }
    }
}

/// Whom canaries are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controls {
    /// As in the controller: every device that the stage could have drawn and that has not got the candidate, and that
    /// had the same chances in every draw so far: where an earlier stage drew from a part of the fleet, that part makes
    /// strata of its own.
    #[default]
    All,
    /// Of these only who was in reach when the stage was drawn, as small canaries are.
    InReachAtDraw,
    /// As [`Controls::All`], but compared within the strata of the current stage's draw, whatever earlier stages drew
    /// from.
    ThisDrawAlone,
}

/// Who decides what the evidence says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    /// The judge.
    #[default]
    Judge,
    /// A method that users would pick instead. It passes at the end of the bake time.
    Other {
        /// Which one.
        method: Method,
        /// Above this it takes the candidate back; [`Method::bar`] by its own settings.
        bar: f64,
    },
}

impl Rule {
    /// A method by its own settings.
    #[must_use]
    pub fn other(method: Method) -> Rule {
        Rule::Other { method, bar: method.bar() }
    }
}

impl Setup {
    /// Windows between two askings of the judge in a stage that is watched for so many windows and then waits for so many:
    /// 1 up to 20 000 devices, more where a look at all takes long, but never so many that planned looks are missed or
    /// the stage is at its deadline before it is asked.
    #[must_use]
    pub fn judge_every_windows(devices: u64, watched: u64, waits: u64) -> u32 {
        let every =
            (devices / JUDGE_EVERY_WINDOW_DEVICES).min(watched / ASKED_IN_STAGE).min(waits / ASKED_IN_WAIT);
        u32::try_from(every).unwrap_or(u32::MAX).max(1)
    }

    /// Windows that a run lasts at the most: half again as long as all stages with their waiting times, and 200 more.
    pub(crate) fn horizon_windows(&self) -> u32 {
        let stage_ms = |s: &modelfleet_rollout::Stage| s.bake_ms.saturating_add(s.max_wait_ms);
        let total_ms = self.parts.stages.iter().fold(0_u64, |sum, s| sum.saturating_add(stage_ms(s)));
        let windows = total_ms.saturating_mul(3) / 2 / self.window_ms() + 200;
        u32::try_from(windows).unwrap_or(u32::MAX).min(u32::MAX / 4)
    }

    /// Length of a window, milliseconds.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.parts.observe.window_ms.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_fleets_are_asked_about_less_often_and_within_every_stage() {
        let every = |devices, watched, waits| Setup::judge_every_windows(devices, watched, waits);
        assert_eq!((every(200, 168, 168), every(20_000, 168, 168)), (1, 1));
        assert_eq!((every(100_000, 168, 168), every(1_500_000, 168, 168)), (5, 14));
        assert_eq!((every(1_500_000, 336, 24), every(1_500_000, 5, 24), every(u64::MAX, 0, 0)), (6, 1, 1));
    }

    /// Asked too seldom, a stage is at its deadline before its last look is seen, and a good model ends held.
    #[test]
    fn no_stage_of_any_fleet_misses_a_planned_look_or_its_deadline() {
        let mut stages = Setup::default_stages();
        stages.push(Setup::stage("short", modelfleet_protocol::draw::Target::Count(5), 1));
        for stage in &stages {
            let plan = modelfleet_evidence::LookPlan::of(stage, 3_600_000);
            let waits = stage.max_wait_ms / 3_600_000;
            for devices in [200, 100_000, 1_500_000, 10_000_000] {
                let every = u64::from(Setup::judge_every_windows(devices, plan.windows(), waits));
                let between = plan.windows() / u64::from(plan.planned());
                assert!(every <= between, "{}: every {every} windows, a look every {between}", stage.name);
                assert!(
                    waits >= 2 * every,
                    "{}: every {every} windows, {waits} until the deadline",
                    stage.name
                );
            }
        }
    }
}
