//! Asks the judge about a rollout's current stage, by the evidence rule. No client.

mod bad_devices;
mod values;

use modelfleet_evidence::{
    Arms, Asked, LookPlan, Measured, Moment, Names, Question, StageWindows, Wording, merged_window,
    put_names, set_aside_command, stage_seed,
};
use modelfleet_judge as judge;
use modelfleet_judge::record::Record;
use modelfleet_judge::{Arm, MergedWindow, SloRule, StageState};
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Evidence, State};

use crate::recording::LookMark;
use modelfleet_fleet::Fleet;
use modelfleet_fleet::merged::Samples;
use modelfleet_fleet::view::Subject;
use modelfleet_fleet::windows::Counting;
use modelfleet_spec::{Objective, Valid};

pub use values::{ArmWindow, ObjectiveValue, Values};

/// What is judged.
pub struct Judged<'a> {
    /// The rollout.
    pub valid: &'a Valid,
    /// How far it got.
    pub state: &'a State,
    /// What the judge said at the look before.
    pub before: &'a StageState,
    /// How reports count.
    pub counting: Counting,
    /// Profile of the candidate.
    pub profile: Option<&'a Profile>,
    /// The devices of both arms.
    pub subjects: &'a [Subject<'a>],
    /// Merged windows.
    pub samples: Option<&'a Samples>,
    /// Where the subjects' labels are.
    pub fleet: Option<&'a Fleet>,
    /// Whether the look is recorded.
    pub recording: Recording<'a>,
    /// Now, and the times that silence goes by.
    pub moment: Moment,
}

/// Whether a look is recorded.
#[derive(Clone, Copy, Debug)]
pub enum Recording<'a> {
    /// No.
    Off,
    /// When it differs from the one that was recorded last.
    Unless(Option<&'a LookMark>),
}

/// The judge's answer, for the core and for the status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For the core.
    pub evidence: Evidence,
    /// For the status: verdicts with numbers, and what to hand in next time.
    pub assessment: judge::Assessment,
    /// Looks so far.
    pub looks: judge::Looks,
    /// The recording, when the look is worth one.
    pub recorded: Option<Box<(LookMark, Record)>>,
    /// What devices measured.
    pub values: Values,
}

/// Asks the judge about the current stage.
#[must_use]
pub fn assess(judged: &Judged<'_>) -> Answer {
    let (valid, state) = (judged.valid, judged.state);
    let parts = valid.policy.parts();
    let opened = state.stage_opened_at.unwrap_or(Time::ZERO);
    let window_ms = parts.observe.window_ms;
    let settling = LookPlan::of(valid.policy.stage(state.stage), window_ms).settling(valid.settling_windows);
    let windows = StageWindows::new(window_ms, valid.warmup_windows, settling, opened);
    let rules: Vec<SloRule<'_>> =
        valid.objectives.iter().map(|objective| rule(objective, window_ms)).collect();
    let devices = judged.subjects.iter().map(|subject| subject.counted(judged.counting));
    let mut arms = Arms::default();
    arms.gather(devices, rules.len(), &windows, &judged.moment, stage_seed(&parts.uid, state));
    let silence = judge::SilenceRule::default();
    let question = Question {
        policy: &valid.policy,
        state,
        before: judged.before,
        rules: &rules,
        hard: judge::HardRule::beside(rules.iter().map(|rule| (rule.on_breach, rule.judged_by)), silence),
        silence,
        arms: &arms,
        windows: &windows,
        merged: &merged(judged, &windows),
        now: judged.moment.now,
    };
    let told = |asked: &Asked<'_>| {
        let shared = bad_devices::shared_labels(judged, asked.observations, asked.assessment);
        (recorded(judged, asked), shared)
    };
    let mut answer = question.ask(told);
    let (recorded, shared) = answer.told;
    let id = |subject: &modelfleet_evidence::Subject| {
        judged.subjects.get(subject.place as usize).map(|subject| subject.id.clone())
    };
    let stage = valid.policy.stage(state.stage);
    let labels = |subject: &modelfleet_evidence::Subject| {
        let subject = judged.subjects.get(subject.place as usize)?;
        judged.fleet?.labels_numbered(subject.labels)
    };
    let names = Names { id: &id, labels: &labels };
    put_names(&mut answer.assessment, &arms, names, stage);
    let set_aside = set_aside_command(&parts.rollout, &answer.assessment, &arms, names);
    let wording = Wording { shared: &shared, set_aside, names };
    let evidence = modelfleet_evidence::evidence(state, &arms, answer.looks, &answer.assessment, &wording);
    let values = values::values(judged, &windows);
    Answer { evidence, assessment: answer.assessment, looks: answer.looks, recorded, values }
}

fn recorded(judged: &Judged<'_>, asked: &Asked<'_>) -> Option<Box<(LookMark, Record)>> {
    let Recording::Unless(last) = judged.recording else { return None };
    let mark = LookMark {
        stage: (judged.state.attempt, judged.state.stage),
        looks: asked.observations.looks.reached,
        advice: asked.assessment.advice,
        after: asked.assessment.state.clone(),
    };
    if last == Some(&mark) {
        return None;
    }
    Some(Box::new((mark, asked.record())))
}

fn rule(objective: &Objective, window_ms: u64) -> SloRule<'_> {
    SloRule {
        name: &objective.indicator.name,
        breach: &objective.breach,
        limit: &objective.limit,
        on_breach: objective.on_breach,
        judged_by: objective.judged_by,
        min_samples: objective.indicator.min_samples,
        min_exposure: objective.min_exposure,
        min_events: objective.min_events,
        late_windows: objective.late_windows(window_ms),
        ..SloRule::statistical("", objective.allowance_ppm)
    }
}

fn merged(judged: &Judged<'_>, stage: &StageWindows) -> Vec<MergedWindow> {
    let Some(samples) = judged.samples else { return Vec::new() };
    let mut windows = Vec::new();
    // In its first windows a canary pays for the change of models: neither an incident nor a plain breach.
    let first = |arm, activated| match arm {
        Arm::Canary => stage.start(activated).settled,
        Arm::Control => stage.first(),
    };
    for arm in [Arm::Canary, Arm::Control] {
        for (index, sum) in samples.merged(arm, |activated| first(arm, activated)) {
            for (slo, objective) in judged.valid.objectives.iter().enumerate() {
                let o = &objective.indicator;
                let value = sum.value(o.metric, o.feature.as_deref(), judged.profile);
                let Some((value, samples)) = value else { continue };
                let (threshold, bad_below) = (o.threshold, o.metric.bad_below());
                let measured = Measured { value, threshold, bad_below, samples };
                let of = |list: &[u32]| u64::from(list.get(slo).copied().unwrap_or(0));
                let devices = judge::Counts::new(of(&sum.tally.known), of(&sum.tally.bad));
                windows.push(merged_window(slo, arm, index, measured, devices));
            }
        }
    }
    windows
}

#[cfg(test)]
mod tests;
