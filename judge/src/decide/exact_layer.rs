//! Layer 1: the exact test at planned looks.

use crate::budget::{Looks, Spending};
use crate::exact::change::{Subject, change_scores};
use crate::exact::exposure;
use crate::exact::permutation::{Stratum, p_value};
use crate::exact::scores;
use crate::observations::Arm;
use crate::state::SloState;
use modelfleet_number::chance::Chance;
use modelfleet_number::rounding::{from_ppb, ppb_up};
use std::borrow::Cow;

/// Devices of the larger arm that the test uses; of more, a random part.
const MOST_OTHERS: usize = 4_000;
/// Devices in the smaller arm above which layer 2 is alone: a mean over so many needs no permutation.
pub const MOST_DEVICES: usize = 2_000;

/// Tests when a new planned look is reached and the share has something left; writes the outcome into
/// `state`. `true` when harm is shown now or was before.
pub fn test(subjects: &[Subject], spending: Spending, looks: Looks, seed: u64, state: &mut SloState) -> bool {
    if state.degraded || looks.reached <= state.looks_used {
        return state.degraded;
    }
    let strata = ranked(&exposure::matched(&thinned(subjects, seed), seed));
    if strata.is_empty() {
        return state.degraded;
    }
    record(spending, looks, state, |level| {
        let chance = Chance::fork(seed, u64::from(looks.reached));
        p_value(&strata, level, chance)
    })
}

/// Spends this look's part of the share on one test.
pub fn record(
    spending: Spending,
    looks: Looks,
    state: &mut SloState,
    p_value: impl FnOnce(f64) -> f64,
) -> bool {
    let threshold = spending.cumulative_ppb(looks).saturating_sub(state.spent_ppb);
    if threshold == 0 {
        return state.degraded;
    }
    let p = ppb_up(p_value(from_ppb(threshold)));
    state.looks_used = looks.reached;
    state.spent_ppb += threshold;
    state.p_value_ppb = p;
    state.threshold_ppb = threshold;
    state.degraded |= p <= threshold;
    state.degraded
}

/// All devices of the smaller arm, and of the larger a random part chosen by id: more add cost, not power.
fn thinned(subjects: &[Subject], seed: u64) -> Cow<'_, [Subject]> {
    let canaries = subjects.iter().filter(|s| s.arm == Arm::Canary).count();
    let controls = subjects.len() - canaries;
    let (larger, size) =
        if controls >= canaries { (Arm::Control, controls) } else { (Arm::Canary, canaries) };
    if size <= MOST_OTHERS {
        return Cow::Borrowed(subjects);
    }
    let share = (MOST_OTHERS as u64) << 32;
    let keep = |s: &Subject| (Chance::fork(seed, u64::from(s.id)).next_u64() >> 32) < share / size as u64;
    Cow::Owned(subjects.iter().filter(|s| s.arm != larger || keep(s)).copied().collect())
}

/// Change scores ranked over all strata together and cut into strata that have both canaries and controls.
fn ranked(subjects: &[Subject]) -> Vec<Stratum> {
    let worth: Vec<f64> = scores::tail_weighted(subjects.len());
    let scores = scores::of_ranks(&change_scores(subjects), &worth);
    let mut strata = Vec::new();
    let mut start = 0;
    for group in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
        let own = scores.get(start..start + group.len()).unwrap_or_default();
        start += group.len();
        let of = |arm: Arm| group.iter().zip(own).filter(move |(s, _)| s.arm == arm).map(|(_, score)| *score);
        let mut list: Vec<u64> = of(Arm::Canary).collect();
        let canaries = list.len();
        list.extend(of(Arm::Control));
        if canaries > 0 && canaries < list.len() {
            // Order within an arm must not matter, not even for the draws.
            list[..canaries].sort_unstable();
            list[canaries..].sort_unstable();
            strata.push(Stratum { scores: list, canaries });
        }
    }
    strata
}
