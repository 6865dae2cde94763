//! From observations to verdict.

pub mod anytime_layer;
pub mod coverage;
pub mod cure;
pub mod exact_layer;
pub mod exposed;
pub mod far_worse;
pub mod few;
pub mod few_proof;
pub mod hard_stop;
pub mod incident;
pub mod margin;
pub mod own_past_layer;
pub mod plain;
pub mod rare;
pub mod silence;
pub mod slo;
pub mod tally;
pub mod transient;

use crate::assessment::{Advice, Assessment, Coverage, HardAction, HardStop, Incident, SloVerdict, Verdict};
use crate::budget::{Budget, Looks, Spending};
use crate::observations::{JudgedBy, Observations, OnBreach, SloRule};
use crate::sentence;
use crate::state::{MAX_RULES, SloState, StageState};
use modelfleet_number::chance::Chance;
use tally::Tally;

/// Judges one look. Total: it answers for every input and never panics.
///
/// `before` is [`Assessment::state`] of the look before, or [`StageState::new`] when the stage opens.
pub fn assess(observations: &Observations<'_>, before: &StageState) -> Assessment {
    if before.unreadable {
        return without_state(observations);
    }
    let answer = assess_look(observations, before);
    cure::early(observations, answer)
}

/// Judges one look by the looks that are planned.
fn assess_look(observations: &Observations<'_>, before: &StageState) -> Assessment {
    let mut state = before.clone();
    let rules = observations.slos.len().min(MAX_RULES);
    state.arrange(observations.slos.iter().map(|rule| rule.name));
    let allotted = observations.budget.stage_ppb();
    let weights = weights(observations);
    // Rules and weights may be edited while a stage runs: no rule spends what another has spent already.
    let share = |weight, own: SloState, state: &StageState| {
        let left = allotted.saturating_sub(state.spent_ppb()).saturating_add(own.total_ppb());
        Spending { share_ppb: Spending::of(allotted, weight, weights).share_ppb.min(left) }
    };

    let spending = share(observations.hard.weight, state.hard, &state);
    let hard_stop = hard_stop::judge(observations, spending, &mut state);
    let tallies: Vec<Tally> = observations.slos[..rules]
        .iter()
        .enumerate()
        .map(|(index, rule)| Tally::of(observations, index, rule.allowance_ppm))
        .collect();
    let coverage = coverage::measure(observations, &tallies);
    let mut per_slo = Vec::with_capacity(rules);
    let (mut incident, mut cures) = (None, false);
    for (index, (rule, tally)) in observations.slos.iter().zip(&tallies).enumerate() {
        let record = match rule.judged_by {
            JudgedBy::Plain { .. } => plain::judge(observations, index, rule, tally),
            JudgedBy::Poisson(limit) => {
                rare::judge(observations, index, rule, limit, tally, &mut state.slos[index])
            }
            JudgedBy::Statistical => {
                let weight = budget_weight(rule.on_breach, rule.judged_by, rule.weight);
                let spending = share(weight, state.slos[index], &state);
                let found =
                    slo::judge(observations, index, tally, spending, coverage.met, &mut state.slos[index]);
                incident = incident.or(found.incident);
                found.record
            }
        };
        if incident.is_none() && !record.relative_harm {
            incident = incident::find(observations, index, rule, tally, &record);
        }
        cures |= cure::of(&incident::burning(observations, index, rule, tally), &record);
        per_slo.push(record);
    }
    let silence = (observations.silence.weight > 0).then(|| {
        let chance = Chance::fork(observations.seed, u64::from(observations.looks.reached));
        let rule = observations.silence;
        let weight = budget_weight(rule.on_breach, JudgedBy::Statistical, rule.weight);
        let spending = share(weight, state.silence, &state);
        silence::judge(observations, spending, chance, &mut state.silence)
    });
    let quiet = silence.as_ref().is_some_and(|found| found.suspicious);
    let silence = silence.map(|found| found.record);
    conclude(
        observations,
        allotted,
        state,
        Parts { hard_stop, coverage, per_slo, silence, quiet, incident, cures },
    )
}

/// What can be said without knowing what was shown and spent before: nothing that needs a promise.
fn without_state(observations: &Observations<'_>) -> Assessment {
    let budget = Budget { total_ppm: 0, ..observations.budget };
    let looks = Looks { reached: 0, ..observations.looks };
    let slos: Vec<SloRule<'_>> =
        observations.slos.iter().map(|rule| SloRule { looks: None, ..*rule }).collect();
    let unread = Observations { slos: &slos, budget, looks, ..*observations };
    let mut assessment = assess(&unread, &StageState::new());
    if assessment.advice == Advice::Wait {
        assessment.sentence = sentence::UNREADABLE.to_owned();
        assessment.statistics.clear();
    }
    Assessment { state: StageState::unreadable(), ..assessment }
}

/// What the layers found, before it is put together.
struct Parts {
    hard_stop: Option<HardStop>,
    coverage: Coverage,
    per_slo: Vec<SloVerdict>,
    silence: Option<SloVerdict>,
    /// The canaries' silence keeps the candidate from being Healthy.
    quiet: bool,
    incident: Option<Incident>,
    /// Controls suffer from something that canaries are spared from.
    cures: bool,
}

fn conclude(observations: &Observations<'_>, allotted: u64, state: StageState, parts: Parts) -> Assessment {
    let (verdict, advice) = combine(observations, &parts);
    let spent = state.spent_ppb();
    let told = sentence::reason(
        advice,
        parts.hard_stop.as_ref(),
        &parts.coverage,
        parts.incident.as_ref(),
        parts.quiet,
        parts.per_slo.iter().chain(&parts.silence),
    );
    Assessment {
        verdict,
        advice,
        per_slo: parts.per_slo,
        silence: parts.silence,
        incident: parts.incident,
        hard_stop: parts.hard_stop,
        coverage: parts.coverage,
        cures: parts.cures,
        early: false,
        spent_ppb: spent,
        allotted_ppb: allotted,
        state,
        sentence: told.sentence,
        statistics: told.statistics,
    }
}

/// Verdict and advice over all rules. Roll back before pause before wait before advance.
fn combine(observations: &Observations<'_>, parts: &Parts) -> (Verdict, Advice) {
    let hard = parts.hard_stop.as_ref().is_some_and(|stop| stop.action == HardAction::RollBackAll);
    let rules = observations.slos.iter().map(|rule| rule.on_breach).zip(&parts.per_slo);
    let gates: Vec<(OnBreach, Verdict)> = rules
        .map(|(on_breach, record)| (on_breach, record.verdict))
        .filter(|(on_breach, _)| *on_breach != OnBreach::Observe)
        .collect();
    let silent = parts.silence.as_ref().is_some_and(|s| s.verdict == Verdict::Degraded);
    let broken = |what: OnBreach| {
        gates.contains(&(what, Verdict::Degraded)) || (silent && observations.silence.on_breach == what)
    };
    if hard || broken(OnBreach::RollBack) {
        return (Verdict::Degraded, Advice::RollBack);
    }
    if broken(OnBreach::Pause) {
        return (Verdict::Degraded, Advice::Pause);
    }
    if parts.incident.is_some() {
        return (Verdict::Undecided, Advice::Pause);
    }
    // Rules beyond the limit were not judged: they must not pass unseen.
    let all_judged = parts.per_slo.len() == observations.slos.len();
    let passes = |verdict: &Verdict| matches!(verdict, Verdict::Healthy | Verdict::Exposed);
    let healthy = all_judged && gates.iter().all(|(_, verdict)| passes(verdict));
    let suspicious = parts.quiet || parts.hard_stop.as_ref().is_some_and(hard_stop::suspicious);
    if healthy && !suspicious && parts.coverage.met && observations.looks.is_final() {
        let exposed = gates.iter().any(|(_, verdict)| *verdict == Verdict::Exposed);
        return (if exposed { Verdict::Exposed } else { Verdict::Healthy }, Advice::Advance);
    }
    (Verdict::Undecided, Advice::Wait)
}

/// Only rules that can stop a rollout with a promise draw on the budget.
fn budget_weight(on_breach: OnBreach, judged_by: JudgedBy, weight: u32) -> u32 {
    if on_breach == OnBreach::Observe || judged_by != JudgedBy::Statistical { 0 } else { weight }
}

fn weights(observations: &Observations<'_>) -> u64 {
    let rules = observations.slos.iter().take(MAX_RULES);
    let slos: u64 = rules.map(|r| u64::from(budget_weight(r.on_breach, r.judged_by, r.weight))).sum();
    let silence =
        budget_weight(observations.silence.on_breach, JudgedBy::Statistical, observations.silence.weight);
    slos + u64::from(silence) + u64::from(observations.hard.weight)
}

/// A stream of chance of its own for each rule.
fn look_label(rule: u64) -> u64 {
    rule.wrapping_add(1).wrapping_mul(1 << 20)
}
