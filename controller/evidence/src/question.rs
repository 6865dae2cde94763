//! What the judge is asked at a look.

use modelfleet_judge as judge;
use modelfleet_judge::record::Record;
use modelfleet_judge::{Assessment, HardRule, Looks, MergedWindow, SilenceRule, SloRule, StageState};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Limits, Policy, State};

use crate::recorded_places::record_places;
use crate::{Arms, LookPlan, StageWindows};

/// What the judge is asked: the stage, its rules, and both arms.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The rollout.
    pub policy: &'a Policy,
    /// How far it got.
    pub state: &'a State,
    /// What the judge carried from the look before.
    pub before: &'a StageState,
    /// The objectives as rules; each stage has a margin of its own, so none of them needs one.
    pub rules: &'a [SloRule<'a>],
    /// Hard failures.
    pub hard: HardRule,
    /// Silence.
    pub silence: SilenceRule,
    /// Both arms.
    pub arms: &'a Arms,
    /// The windows by which they were gathered.
    pub windows: &'a StageWindows,
    /// Windows merged over each arm.
    pub merged: &'a [MergedWindow],
    /// Now.
    pub now: Time,
}

/// What the judge answered.
#[derive(Debug)]
pub struct Answer<T> {
    /// Its answer.
    pub assessment: Assessment,
    /// Looks that were reached, at the objective that is judged last.
    pub looks: Looks,
    /// What was made of question and answer.
    pub told: T,
}

/// What the judge was asked and answered, as it is recorded.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Rollout, attempt and stage, for people.
    pub place: &'a str,
    /// The question.
    pub observations: &'a judge::Observations<'a>,
    /// What it carried from the look before.
    pub before: &'a StageState,
    /// The answer.
    pub assessment: &'a Assessment,
    arms: &'a Arms,
    window_ms: u64,
}

impl Asked<'_> {
    /// As a record, with where devices were if some lost their connection together.
    #[must_use]
    pub fn record(&self) -> Record {
        let mut record = Record::of(self.place, self.observations, self.before, self.assessment);
        record_places(&mut record, self.arms, self.window_ms);
        record
    }
}

impl<'a> Question<'a> {
    /// Asks the judge. `told` hears question and answer.
    pub fn ask<T>(&self, told: impl FnOnce(&Asked<'_>) -> T) -> Answer<T> {
        let (policy, state) = (self.policy, self.state);
        let (parts, stage) = (policy.parts(), policy.stage(state.stage));
        let margin_ppm = stage.margin_ppm;
        let outcomes = self.arms.outcomes();
        let plan = LookPlan::of(stage, self.windows.length_ms());
        let reported = self.arms.reported(&outcomes, self.windows, self.now);
        let looks = plan.reached(reported.compared);
        let rule = |(i, rule): (usize, &SloRule<'a>)| SloRule {
            margin_ppm,
            after_swap: self.arms.after_swap(i),
            looks: Some(plan.reached_by_objective(reported, rule.late_windows)),
            ..*rule
        };
        let rules: Vec<SloRule<'_>> = self.rules.iter().enumerate().map(rule).collect();
        let observations = judge::Observations {
            slos: &rules,
            devices: &outcomes,
            merged: self.merged,
            needs: needs(&stage.limits),
            hard: self.hard,
            silence: self.silence,
            budget: judge::Budget {
                total_ppm: parts.error_budget_ppm,
                spent_ppb: state.spent_ppb,
                stages_left: stages_left(policy, state.stage),
            },
            looks,
            seed: stage_seed(&parts.uid, state),
        };
        let assessment = judge::assess(&observations, self.before);
        let place = format!("{}, attempt {}, {}", parts.rollout, state.attempt, stage.name);
        let told = told(&Asked {
            place: &place,
            observations: &observations,
            before: self.before,
            assessment: &assessment,
            arms: self.arms,
            window_ms: self.windows.length_ms(),
        });
        // The rollout waits for the objective that is judged last.
        let gates = rules.iter().filter(|rule| rule.on_breach != judge::OnBreach::Observe);
        let slowest = gates.filter_map(|rule| rule.looks).min_by_key(|looks| looks.reached);
        Answer { assessment, looks: slowest.unwrap_or(looks), told }
    }
}

/// What a stage needs before anything but harm can be said.
fn needs(limits: &Limits) -> judge::Needs {
    judge::Needs {
        min_devices: u32::try_from(limits.min_devices).unwrap_or(u32::MAX),
        min_windows: limits.min_windows,
        min_reporting_ppm: limits.min_reporting_ppm,
    }
}

/// Stages still to be judged, the current one included.
fn stages_left(policy: &Policy, stage: u32) -> u16 {
    let passed = stage.min(policy.last_stage());
    u16::try_from(policy.stage_count() - passed).unwrap_or(u16::MAX)
}

/// The judge's number for a device with an id: the same at every look and after a restart.
#[must_use]
pub fn device_number(id: &DeviceId) -> u32 {
    let digest = Digest::of(id.as_str().as_bytes());
    digest.0.iter().take(4).fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// The judge's seed: fixed for an attempt and stage, so that a restarted controller draws the same permutations.
#[must_use]
pub fn stage_seed(uid: &str, state: &State) -> u64 {
    let digest = Digest::of(format!("{uid}/{}/{}", state.attempt, state.stage).as_bytes());
    digest.0.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}
