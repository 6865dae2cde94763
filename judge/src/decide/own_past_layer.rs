//! A few devices and no controls: each device against its own past, and the devices as a sample of what the candidate does.
//!
//! Bad windows of a device come in spells, so that its windows are no sample: a hundred of them may say as much as five.
//! The device is the unit here too. How much one device's count differs from what its past lets expect scatters from device
//! to device by all that makes it scatter, spells included; Student's t compares the mean with that scatter. It assumes that devices do not all get worse at
//! once for a reason of their own, such as the season: what it shows pauses, and takes nothing back.

use crate::budget::{Looks, Spending};
use crate::decide::exact_layer;
use crate::exact::change::Subject;
use crate::state::SloState;
use libm::sqrt;
use modelfleet_number::beta;

/// Of fewer devices no scatter can be told.
const FEWEST_DEVICES: usize = 2;
/// Roots of counts scatter at least as those of independent windows do: devices that happen to be alike prove nothing.
const LEAST_VARIANCE: f64 = 0.25;
/// Makes the root of a count scatter alike whatever the count (Anscombe, Biometrika 1948).
const ANSCOMBE: f64 = 0.375;

/// Tests when a new planned look is reached. `true` when harm is shown now or was before.
pub fn test(subjects: &[Subject], spending: Spending, looks: Looks, state: &mut SloState) -> bool {
    let changes: Vec<f64> = subjects.iter().filter_map(change).collect();
    if state.degraded || looks.reached <= state.looks_used || changes.len() < FEWEST_DEVICES {
        return state.degraded;
    }
    exact_layer::record(spending, looks, state, |_| p_value(&changes))
}

/// How much more often a device was bad than its past lets expect at the busiest hour, as difference of the roots, whose
/// scatter does not depend on the count; `None`: it has no past.
fn change(subject: &Subject) -> Option<f64> {
    let expected = subject.at_the_busiest_hour();
    (subject.past > 0.0).then(|| sqrt(subject.bad + ANSCOMBE) - sqrt(expected + ANSCOMBE))
}

/// One-sided, that the mean change is above zero.
fn p_value(changes: &[f64]) -> f64 {
    let n = changes.len() as f64;
    let mean = changes.iter().sum::<f64>() / n;
    if mean <= 0.0 {
        return 1.0;
    }
    let scatter = changes.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    let t = mean / sqrt(scatter.max(LEAST_VARIANCE) / n);
    let freedom = n - 1.0;
    0.5 * beta::regularised(0.5 * freedom, 0.5, freedom / (freedom + t * t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::change::subjects;
    use crate::observations::{Arm, Counts, SloCounts};
    use modelfleet_number::chance::Chance;

    /// `2 * t.sf(x, v)` of scipy, halved.
    #[test]
    fn tails_of_student() {
        // Two devices at 0 and 2 sqrt(2): mean sqrt(2), scatter 4, t = 1, one degree of freedom.
        let p = p_value(&[0.0, 2.0 * sqrt(2.0)]);
        assert!((p - 0.25).abs() < 1e-9, "{p}");
        assert_eq!(p_value(&[-1.0, 0.5]), 1.0);
        assert!(p_value(&[0.25, 0.25, 0.25]) > 0.1, "alike devices prove nothing");
    }

    /// Windows of a device that is bad in spells of twenty windows: 5 % of the time half of its windows are bad, else one in a
    /// hundred; with the candidate `ratio` times as often in both.
    fn spells(chance: &mut Chance, windows: u64, ratio: f64, in_spell: &mut bool) -> Counts {
        let mut bad = 0;
        for _ in 0..windows {
            let turns = if *in_spell { 1.0 / 20.0 } else { 1.0 / 380.0 };
            *in_spell ^= chance.unit() < turns;
            let rate: f64 = if *in_spell { 0.5 } else { 0.01 };
            bad += u64::from(chance.unit() < (rate * ratio).min(1.0));
        }
        Counts::new(windows, bad)
    }

    /// How many of `runs` stages of 168 windows with six looks show harm, with a quarter of 1 % to spend.
    fn shown(devices: u64, ratio: f64, runs: u64) -> u64 {
        let spending = Spending { share_ppb: 2_500_000 };
        let harmed = |run: u64| {
            let mut chance = Chance::fork(devices, run);
            let mut state = SloState::default();
            let mut all: Vec<(SloCounts, bool)> = vec![(SloCounts::default(), false); devices as usize];
            for (counts, in_spell) in &mut all {
                counts.history = spells(&mut chance, 600, 1.0, in_spell);
            }
            for reached in 1..=6 {
                for (counts, in_spell) in &mut all {
                    counts.post = counts.post.plus(spells(&mut chance, 28, ratio, in_spell));
                }
                let list = all.iter().enumerate().map(|(i, (counts, _))| (i as u32, 0, Arm::Canary, *counts));
                test(&subjects(list), spending, Looks { reached, planned: 6 }, &mut state);
            }
            state.degraded
        };
        (0..runs).filter(|run| harmed(*run)).count() as u64
    }

    /// With a quarter of 1 % to spend, one or two of 400 are what the promise allows; six are seen once in 1 500 then.
    #[test]
    fn spells_of_bad_windows_are_no_harm() {
        for devices in [2, 3, 8, 12, 40] {
            let false_ones = shown(devices, 1.0, 400);
            assert!(false_ones <= 5, "{devices}: {false_ones} of 400");
        }
    }

    /// A rise beyond the busiest hour's twofold is found by a dozen devices, and a great one by eight.
    #[test]
    fn great_rises_are_found() {
        for (devices, ratio, least) in [(8, 20.0, 55), (12, 20.0, 85), (40, 8.0, 65)] {
            let found = shown(devices, ratio, 100);
            assert!(found >= least, "{devices} at {ratio}x: {found} of 100");
        }
    }
}
