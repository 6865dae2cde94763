//! From devices' windows to the judge's answer, and from that to the core's evidence. No client.

mod bad_devices;
mod starts;

use std::collections::BTreeSet;

use modelfleet_judge as judge;
use modelfleet_judge::record::Record;
use modelfleet_judge::{
    Advice, Arm, DeviceOutcome, HardAction, MergedWindow, SloCounts, SloRule, StageState,
};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Coverage, Evidence, HardStop, State, Verdict};

use crate::recording::LookMark;
use modelfleet_fleet::Fleet;
use modelfleet_fleet::merged::Samples;
use modelfleet_fleet::view::{Standing, Subject};
use modelfleet_fleet::windows::Counting;
use modelfleet_spec::{Objective, Valid};
use starts::Starts;

/// What is judged.
pub struct Question<'a> {
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
    /// The two arms.
    pub subjects: &'a [Subject<'a>],
    /// Merged windows.
    pub samples: Option<&'a Samples>,
    /// Where the subjects' labels are.
    pub fleet: Option<&'a Fleet>,
    /// Whether the look is recorded.
    pub recording: Recording<'a>,
    /// Now.
    pub now: Time,
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
}

/// Asks the judge about the current stage.
#[must_use]
pub fn assess(question: &Question<'_>) -> Answer {
    let parts = question.valid.policy.parts();
    let stage = question.valid.policy.stage(question.state.stage);
    let rules: Vec<SloRule<'_>> = rules(question.valid, stage.margin_ppm);
    let seed = seed(&parts.uid, question.state);
    let starts = Starts::of(question, seed);
    let counts = starts.counts(question, rules.len());
    let outcomes = outcomes(question, &counts, rules.len());
    let looks = starts.looks(question, judge::gone_quiet(&outcomes));
    let silence = judge::SilenceRule::default();
    let spending = rules.iter().map(|rule| (rule.on_breach, rule.evidence));
    let evidence = judge::Evidence {
        slos: &rules,
        devices: &outcomes,
        merged: &merged(question, starts.stage_first),
        needs: needs(question),
        hard: judge::HardRule::beside(spending, silence),
        silence,
        budget: judge::Budget {
            total_ppm: parts.error_budget_ppm,
            spent_ppb: question.state.spent_ppb,
            stages_left: stages_left(question),
        },
        looks,
        seed,
    };
    let assessment = judge::assess(&evidence, question.before);
    let recorded = recorded(question, &evidence, &assessment);
    let shared = bad_devices::shared_labels(question, &evidence, &assessment);
    Answer { evidence: for_core(question, &assessment, looks, &shared), assessment, looks, recorded }
}

fn recorded(
    question: &Question<'_>,
    evidence: &judge::Evidence<'_>,
    assessment: &judge::Assessment,
) -> Option<Box<(LookMark, Record)>> {
    let Recording::Unless(last) = question.recording else { return None };
    let (state, policy) = (question.state, &question.valid.policy);
    let mark = LookMark {
        stage: (state.attempt, state.stage),
        looks: evidence.looks.reached,
        advice: assessment.advice,
        after: assessment.state.clone(),
    };
    if last == Some(&mark) {
        return None;
    }
    let (rollout, stage) = (&policy.parts().rollout, &policy.stage(state.stage).name);
    let place = format!("{rollout}, attempt {}, {stage}", state.attempt);
    let record = Record::of(&place, evidence, question.before, assessment);
    Some(Box::new((mark, record)))
}

fn rules(valid: &Valid, margin_ppm: Option<u64>) -> Vec<SloRule<'_>> {
    valid.objectives.iter().map(|objective| rule(objective, margin_ppm)).collect()
}

fn rule(objective: &Objective, margin_ppm: Option<u64>) -> SloRule<'_> {
    SloRule {
        name: &objective.indicator.name,
        breach: &objective.breach,
        limit: &objective.limit,
        on_breach: objective.on_breach,
        evidence: objective.evidence,
        margin_ppm,
        min_samples: objective.indicator.min_samples,
        ..SloRule::statistical("", objective.allowance_ppm)
    }
}

fn needs(question: &Question<'_>) -> judge::Needs {
    let limits = &question.valid.policy.stage(question.state.stage).limits;
    judge::Needs {
        min_devices: u32::try_from(limits.min_devices).unwrap_or(u32::MAX),
        min_windows: limits.min_windows,
        min_reporting_ppm: limits.min_reporting_ppm,
    }
}

fn stages_left(question: &Question<'_>) -> u16 {
    let passed = question.state.stage.min(question.valid.policy.last_stage());
    u16::try_from(question.valid.policy.stage_count() - passed).unwrap_or(u16::MAX)
}

/// The judge's number for a device: the same at every look and after a restart.
fn number(id: &DeviceId) -> u32 {
    let digest = Digest::of(id.as_str().as_bytes());
    digest.0.iter().take(4).fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// Fixed for an attempt and stage, so that a restarted controller draws the same permutations.
fn seed(uid: &str, state: &State) -> u64 {
    let digest = Digest::of(format!("{uid}/{}/{}", state.attempt, state.stage).as_bytes());
    digest.0.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

fn outcomes<'a>(question: &Question<'a>, counts: &'a [SloCounts], rules: usize) -> Vec<DeviceOutcome<'a>> {
    let opened = question.state.stage_opened_at.unwrap_or(Time::ZERO);
    let outcome = |(i, subject): (usize, &Subject<'a>)| {
        let standing = &subject.standing;
        let tried = !matches!(standing.phase, None | Some(Phase::Offered | Phase::Unknown));
        let active = standing.runs && !standing.set_aside;
        let seen = |at: Time| standing.online || at >= opened;
        let failed = standing.set_aside || matches!(standing.phase, Some(Phase::Failed | Phase::Reverted));
        DeviceOutcome {
            id: number(subject.id),
            stratum: subject.stratum,
            arm: subject.arm,
            // Whoever gave a sign of life since the stage opened and gives none any more, is silent; who was away before
            // and still is, or left the fleet, says nothing of this stage: the same for both arms. To activate is such a
            // sign, so that a candidate that hangs its device at once is found. Before its first report a connected
            // device counts as well: hard failures come in seconds, and it could have had one.
            attempted: match subject.arm {
                Arm::Canary if active => seen(standing.heard_at.max(subject.activated)),
                Arm::Canary => tried || standing.set_aside,
                Arm::Control => seen(standing.heard_at),
            },
            active,
            reporting: standing.heard,
            awaited: standing.online && !failed,
            hard_failure: hard_failure(standing),
            slos: &counts[i * rules..(i + 1) * rules],
        }
    };
    question.subjects.iter().enumerate().map(outcome).collect()
}

/// A failure that speaks against the model, as the judge's number. A device that was set aside stays failed, whatever
/// it says of itself since.
fn hard_failure(standing: &Standing) -> Option<u16> {
    let ended = matches!(standing.phase, Some(Phase::Failed | Phase::Reverted));
    let code = standing.code.filter(|code| ended && code.is_hard_stop());
    code.or(standing.set_aside.then_some(FailureCode::Unknown)).map(|code| code as u16)
}

fn merged(question: &Question<'_>, first: u64) -> Vec<MergedWindow> {
    let Some(samples) = question.samples else { return Vec::new() };
    let mut windows = Vec::new();
    for arm in [Arm::Canary, Arm::Control] {
        for (index, sum) in samples.merged(arm, first) {
            for (slo, objective) in question.valid.objectives.iter().enumerate() {
                let o = &objective.indicator;
                let value = sum.value(o.metric, o.feature.as_deref(), question.profile);
                let Some((value, count)) = value else { continue };
                let breached = if o.metric.bad_below() { value < o.threshold } else { value > o.threshold };
                let of = |list: &[u32]| u64::from(list.get(slo).copied().unwrap_or(0));
                windows.push(MergedWindow {
                    slo: u32::try_from(slo).unwrap_or(u32::MAX),
                    arm,
                    window: index,
                    breached,
                    value_milli: thousandths(value),
                    threshold_milli: thousandths(o.threshold),
                    devices: judge::Counts::new(of(&sum.tally.known), of(&sum.tally.bad)),
                    samples: count,
                });
            }
        }
    }
    windows
}

/// Thousandths of what a person reads: of a millisecond for latencies (kept in nanoseconds), of one for the rest
/// (kept in millionths).
fn thousandths(value: u64) -> i64 {
    i64::try_from(value / 1_000).unwrap_or(i64::MAX)
}

/// A sentence, and the labels that the bad devices share.
fn with_labels(sentence: &str, shared: &str) -> String {
    if shared.is_empty() { sentence.to_owned() } else { format!("{sentence}. {shared}") }
}

fn for_core(
    question: &Question<'_>,
    answer: &judge::Assessment,
    looks: judge::Looks,
    shared: &str,
) -> Evidence {
    let pauses = answer.advice == Advice::Pause;
    Evidence {
        attempt: question.state.attempt,
        stage: question.state.stage,
        verdict: match answer.advice {
            Advice::RollBack => Verdict::Degraded,
            Advice::Advance => Verdict::Healthy,
            Advice::Wait | Advice::Pause => Verdict::Undecided,
        },
        incident: answer.incident.as_ref().filter(|_| pauses).map(|i| i.sentence.clone()),
        pause: (pauses && answer.incident.is_none()).then(|| with_labels(&answer.sentence, shared)),
        hard_stop: answer.hard_stop.as_ref().map(|stop| hard_stop(question, stop, shared)),
        coverage: match answer.coverage.met {
            true => Coverage::Met,
            false => Coverage::Missing(answer.coverage.sentence.clone()),
        },
        final_look: looks.is_final(),
        sentence: with_labels(&answer.sentence, shared),
        statistics: answer.statistics.clone(),
        spent_ppb: answer.spent_ppb,
    }
}

fn hard_stop(question: &Question<'_>, stop: &judge::HardStop, shared: &str) -> HardStop {
    let reason = named(question, &stop.sentence);
    match &stop.action {
        HardAction::RollBackAll => HardStop::RollBackAll {
            reason: with_labels(&reason, shared),
            statistics: stop.statistics.clone(),
        },
        HardAction::Quarantine(ids) => {
            let failed = |s: &&Subject<'_>| hard_failure(&s.standing).is_some() && !s.standing.set_aside;
            let named = |s: &&Subject<'_>| s.arm == Arm::Canary && ids.contains(&number(s.id));
            let devices: Vec<DeviceId> =
                question.subjects.iter().filter(failed).filter(named).map(|s| s.id.clone()).collect();
            HardStop::Quarantine { devices, reason }
        }
    }
}

/// The judge knows failures by number; people know them by name.
fn named(question: &Question<'_>, sentence: &str) -> String {
    let codes: BTreeSet<FailureCode> = question.subjects.iter().filter_map(|s| s.standing.code).collect();
    let name = |text: String, code: &FailureCode| {
        text.replace(&format!("code {} on", *code as u16), &format!("{code:?} on"))
    };
    codes.iter().fold(sentence.to_owned(), name)
}
