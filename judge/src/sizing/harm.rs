//! The smallest harm that a stage can show, and the smallest that it can rule out.

use crate::budget::Spending;
use crate::decide::{few, margin};
use crate::exact::ratio::{LEAST_DISPERSION, MOST_DISPERSION_ALONE, Ratio};
use crate::sizing::breaks::Breaks;
use crate::sizing::fleet_rates::FleetRates;
use crate::sizing::proof::StageSize;
use crate::sizing::reach::can_show;
use libm::{ceil, exp, log, sqrt};
use modelfleet_number::normal;
use modelfleet_number::rounding::{from_ppb, ppm};

/// Points at which the spread of the canaries' own rates is averaged over.
const POINTS: u32 = 21;
/// The rank test on so few devices, over looks, costs this much of the signal; set so that the planner agrees
/// with the measured grid (`tests/planner.rs` holds it there).
const EFFICIENCY: f64 = 0.8;

/// Bad windows that canaries and controls will have by the stage's last look.
fn events(size: &StageSize, rates: &FleetRates) -> (f64, f64) {
    let share = rates.share_ppm as f64 * 1e-6;
    let windows = size.windows as f64 * f64::from(size.reporting_ppm.min(1_000_000)) * 1e-6;
    (size.canaries as f64 * windows * share, size.controls as f64 * windows * share)
}

/// Variance over mean of a count that is compared with the device's own past.
fn dispersion(size: &StageSize, rates: &FleetRates) -> f64 {
    let past = if rates.past_windows == 0 { 4.0 } else { rates.past_windows as f64 };
    let own = rates.dispersion_milli as f64 * 1e-3;
    // Measured dispersion holds its own past's noise; without a measurement the past's noise is added.
    if own > 0.0 { own } else { 1.0 + size.windows as f64 / past }
}

/// Chance, in parts per million, that a stage with `share_ppb` of error budget for this test shows a rise of
/// all canaries to `ratio_ppm` by its last look.
pub fn power_ppm(size: &StageSize, rates: &FleetRates, share_ppb: u64, ratio_ppm: u64) -> u64 {
    let (canary, control) = events(size, rates);
    let looks = f64::from(size.looks.max(1));
    let level = from_ppb(share_ppb) / looks;
    if level <= 0.0 || canary <= 0.0 || control <= 0.0 {
        return 0;
    }
    let bar = -normal::quantile(level);
    let ratio = ratio_ppm as f64 * 1e-6;
    let scatter = dispersion(size, rates) * (1.0 + canary / control);
    // The canaries' own level is a mean over few devices that differ.
    let sigma = rates.sigma_milli as f64 * 1e-3;
    let spread = sqrt(libm::log1p((exp(sigma * sigma) - 1.0) / (size.canaries as f64).max(1.0)));
    let mut sum = 0.0;
    for i in 0..POINTS {
        let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
        let expected = canary * exp(spread * z - 0.5 * spread * spread);
        let excess = EFFICIENCY * (ratio - 1.0) * expected;
        sum += normal::cdf((excess - bar * sqrt(scatter * expected)) / sqrt(scatter * ratio * expected));
    }
    ppm(sum / f64::from(POINTS))
}

/// The smallest rise that a stage with `share_ppb` of error budget for this SLO shows with this power and that breaks the allowance as surely, as ratio in parts per
/// million; `u64::MAX` when not even a hundredfold rise is seen, or so few devices can show none at all.
pub fn smallest_harm_ppm(
    size: &StageSize,
    rates: &FleetRates,
    share_ppb: u64,
    allowance_ppm: u32,
    with_power_ppm: u64,
) -> u64 {
    let (mut low, mut high) = (1_000_000_u64, 100_000_000_u64);
    // Both have to hold at one look: early ones show less, but a device is beyond the allowance sooner by chance.
    let looks = u64::from(size.looks.max(1));
    let at = |look: u64| StageSize { windows: (size.windows * look / looks).max(1), ..*size };
    let looks: Vec<(StageSize, Breaks)> =
        (1..=looks).rev().map(|look| (at(look), Breaks::new(&at(look), rates, allowance_ppm))).collect();
    let for_all_ppb = few::left_for_all(Spending { share_ppb }, size.canaries, size.controls).share_ppb;
    let enough = |ratio: u64| {
        looks.iter().any(|(size, breaks)| {
            power_ppm(size, rates, for_all_ppb, ratio) >= with_power_ppm
                && ppm(breaks.chance(ratio as f64 * 1e-6)) >= with_power_ppm
        })
    };
    if !can_show(size.canaries, size.controls, share_ppb, size.looks) || !enough(high) {
        return u64::MAX;
    }
    while high - low > 1_000 {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// What the judge will have counted at the last planned look of a harmless candidate, and what the hour of the day may
/// make of it. Without controls it is held against its own past.
fn expected(size: &StageSize, rates: &FleetRates) -> Option<(Ratio, f64)> {
    let (canary, control) = events(size, rates);
    let dispersion = dispersion(size, rates).max(LEAST_DISPERSION);
    if control > 0.0 {
        return Some((Ratio { canary, control, exposure: canary / control, dispersion }, 1.0));
    }
    let share = rates.share_ppm as f64 * 1e-6;
    let past = size.canaries as f64 * rates.past_windows as f64 * share;
    let sigma = rates.sigma_milli as f64 * 1e-3;
    // Devices that are often bad weigh more, and have less room above their mean.
    let rhythm = 2.0 - (share * exp(sigma * sigma)).min(1.0);
    let dispersion = dispersion.min(MOST_DISPERSION_ALONE);
    let alone = size.controls == 0 && past > 0.0;
    alone.then(|| (Ratio { canary, control: past, exposure: canary / past, dispersion }, rhythm))
}

/// The smallest rise that this stage can rule out at its last planned look while a harmless candidate passes nearly
/// always; `u64::MAX` when there will be too few events for any.
///
/// The judge's own rule ([`crate::decide::margin`]) on the counts that are to be expected.
pub fn smallest_margin_ppm(size: &StageSize, rates: &FleetRates) -> u64 {
    let beyond = from_ppb(margin::MISSED_PPB);
    let smallest = |(ratio, _)| margin::smallest_ppm(&ratio, usize::from(size.gates), 1.0, beyond);
    expected(size, rates).map_or(u64::MAX, smallest)
}

/// The margin that the judge gives this stage when the user gave none; `u64::MAX`: too few events for any, it passes on
/// exposure.
pub fn default_margin_ppm(size: &StageSize, rates: &FleetRates) -> u64 {
    let beyond = from_ppb(margin::MISSED_PPB);
    let default = |(ratio, rhythm)| {
        let smallest = margin::smallest_ppm(&ratio, usize::from(size.gates), rhythm, beyond);
        margin::default_ppm(&ratio, smallest)
    };
    expected(size, rates).map_or(u64::MAX, default)
}

/// Bad windows (all devices together; of which in canaries) until harm of this ratio is shown at
/// `alpha_ppm`, when canaries have `canary_share_ppm` of all exposure.
///
/// Wald's approximation for a sequential test: log(1/alpha) over the Kullback-Leibler distance per event, with
/// a tenth on top for not knowing the ratio.
pub fn events_to_decision(ratio_ppm: u64, canary_share_ppm: u32, alpha_ppm: u32) -> (u64, u64) {
    let ratio = ratio_ppm as f64 * 1e-6;
    let null = f64::from(canary_share_ppm.min(1_000_000)) * 1e-6;
    let share = ratio * null / (ratio * null + 1.0 - null);
    if ratio <= 1.0 || null <= 0.0 || null >= 1.0 {
        return (u64::MAX, u64::MAX);
    }
    let distance = share * log(share / null) + (1.0 - share) * log((1.0 - share) / (1.0 - null));
    let needed = 1.1 * -log((f64::from(alpha_ppm) * 1e-6).max(1e-12)) / distance;
    (ceil(needed) as u64, ceil(needed * share) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of anchors/progressive-delivery 2.5, within a quarter.
    #[test]
    fn events_table() {
        for (ratio, share, want) in
            [(2, 25_000, 560), (3, 25_000, 168), (5, 100_000, 21), (10, 25_000, 19), (2, 250_000, 90)]
        {
            let (got, _) = events_to_decision(ratio * 1_000_000, share, 10_000);
            assert!(
                (got as f64 / f64::from(want) - 1.0).abs() < 0.25,
                "{ratio}x at {share}: {got}, want {want}"
            );
        }
        assert_eq!(events_to_decision(1_000_000, 25_000, 10_000).0, u64::MAX);
    }
}
