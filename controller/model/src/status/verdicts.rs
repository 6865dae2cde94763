//! The judge's answer for people.

use modelfleet_crds::rollout::status::{MarginBasis, StageMargin, Verdict, VerdictJudgedBy, VerdictKind};
use modelfleet_judge::{Assessment, JudgedBy, SloVerdict, Verdict as Judged};
use modelfleet_protocol::metric;
use modelfleet_protocol::observe::Indicator;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Stage, clip};

use super::time::{cut, signed, to_k8s};
use crate::assess::ObjectiveValue;
use modelfleet_spec::Valid;

const SENTENCE_MAX: usize = 200;
const VERDICTS_MAX: usize = 16;
const MEASURED_MAX: usize = 160;
/// A ratio above this is one to next to nothing: it is left out.
const FAR_PPM: u64 = 1_000_000_000;
/// The name of the verdict on silence, which no objective can have: theirs are DNS labels.
const SILENCE: &str = "(silence)";

/// The verdict on each objective, and on silence when there is room. One that says the same as `before` keeps its
/// time, so that nothing is written for the time alone.
#[must_use]
pub fn verdicts(
    valid: &Valid,
    answer: &Assessment,
    values: &[ObjectiveValue],
    before: &[Verdict],
    now: Time,
) -> Vec<Verdict> {
    let incident = |slo: Option<u32>| answer.incident.as_ref().is_some_and(|i| Some(i.slo) == slo);
    let name = |slo: Option<u32>| match slo {
        Some(at) => valid.objectives.get(at as usize).map_or("", |o| &o.indicator.name),
        None => SILENCE,
    };
    let measured = |slo: Option<u32>| {
        let at = slo? as usize;
        measured(&valid.objectives.get(at)?.indicator, *values.get(at)?)
    };
    let all = answer.per_slo.iter().chain(&answer.silence);
    let verdict = |v: &SloVerdict| {
        let judged_by = judged_by(valid, v);
        let told =
            Verdict { measured: measured(v.slo), judged_by, ..verdict(name(v.slo), v, incident(v.slo), now) };
        let same = |old: &&Verdict| Verdict { at: old.at.clone(), ..told.clone() } == **old;
        before.iter().find(same).cloned().unwrap_or(told)
    };
    all.take(VERDICTS_MAX).map(verdict).collect()
}

fn judged_by(valid: &Valid, v: &SloVerdict) -> VerdictJudgedBy {
    match v.slo.and_then(|at| valid.objectives.get(at as usize)).map(|objective| objective.judged_by) {
        Some(JudgedBy::Poisson(_)) => VerdictJudgedBy::Poisson,
        _ if v.promised => VerdictJudgedBy::Statistical,
        _ => VerdictJudgedBy::Plain,
    }
}

fn verdict(name: &str, v: &SloVerdict, incident: bool, now: Time) -> Verdict {
    Verdict {
        slo: name.to_owned(),
        verdict: match v.verdict {
            _ if incident => VerdictKind::Incident,
            Judged::Healthy => VerdictKind::Healthy,
            Judged::Exposed => VerdictKind::Exposed,
            Judged::Degraded => VerdictKind::Degraded,
            Judged::Undecided => VerdictKind::Undecided,
        },
        judged_by: VerdictJudgedBy::default(),
        value: (v.canary.known > 0).then(|| percent(v.canary.share_ppm())),
        threshold: None,
        measured: None,
        estimate: (v.devices > 0 && v.estimate_ppm < FAR_PPM).then(|| ratio(v.estimate_ppm)),
        low: (v.devices > 0).then(|| ratio(v.low_ppm)),
        high: (v.devices > 0 && v.high_ppm < FAR_PPM).then(|| ratio(v.high_ppm)),
        devices: i64::from(v.devices),
        windows: signed(v.canary.known),
        spent_ppm: signed(v.spent_ppb.div_ceil(1_000)).min(1_000_000),
        sentence: Some(clip(&sentence(v), SENTENCE_MAX)),
        at: Some(to_k8s(now)),
    }
}

/// What was measured, and on how many devices that rests.
fn measured(asked: &Indicator, values: ObjectiveValue) -> Option<String> {
    let canaries = values.canaries?;
    let told = metric::sentence(asked.metric, &canaries, values.controls.as_ref(), asked.threshold);
    let controls = values.controls.map_or_else(String::new, |c| format!(" and {}", c.devices));
    Some(clip(&format!("{told}; {}{controls} devices", canaries.devices), MEASURED_MAX))
}

/// The conclusion, then the statistics as a sentence of their own, which goes first where room is short.
fn sentence(v: &SloVerdict) -> String {
    if v.statistics.is_empty() {
        v.sentence.clone()
    } else {
        format!("{}. Statistics: {}", v.sentence, v.statistics)
    }
}

/// The harm that each stage rules out: the user's, and for the current stage what the judge worked out.
#[must_use]
pub fn margins(
    valid: &Valid,
    current: u32,
    answer: Option<&Assessment>,
    before: &[StageMargin],
) -> Vec<StageMargin> {
    let found = answer.and_then(|a| {
        let margins = a.per_slo.iter().map(|v| v.margin_ppm).filter(|m| (1..u64::MAX).contains(m));
        margins.max()
    });
    let margin = |(at, stage): (usize, &Stage)| {
        let kept = before.iter().find(|old| old.stage == stage.name).map(|old| old.margin_ppm);
        let planner = found.filter(|_| at == current as usize).map(signed).or(kept);
        let (margin_ppm, basis) = match stage.margin_ppm {
            Some(user) => (signed(user), MarginBasis::User),
            None => (planner?, MarginBasis::Planner),
        };
        Some(StageMargin { stage: stage.name.clone(), margin_ppm, basis })
    };
    valid.policy.parts().stages.iter().enumerate().filter_map(margin).collect()
}

/// Millionths as a percent: `2.4%`.
fn percent(ppm: u64) -> String {
    trimmed(ppm, 10_000, "%")
}

/// Millionths as a ratio: `2.1`.
fn ratio(ppm: u64) -> String {
    cut(&trimmed(ppm, 1_000_000, ""), 24)
}

fn trimmed(number: u64, one: u64, unit: &str) -> String {
    let hundredths = number.saturating_mul(100) / one;
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
