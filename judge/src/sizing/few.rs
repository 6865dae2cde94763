//! Which harm to a few devices, or to one stratum, a stage will rule out.

use crate::assessment::FewProof;
use crate::decide::few_proof::{BEYOND, MOST, SEEN, share_ruled_out_ppm, smallest_rise, summary};
use crate::exact::change::Subject;
use crate::exact::far::fewest_bad;
use crate::exact::ratio::Ratio;
use crate::observations::{Arm, WATCHED_MAX};
use crate::sizing::fleet_rates::FleetRates;
use crate::sizing::proof::StageSize;
use libm::{exp, expm1, log1p};
use modelfleet_number::normal;
use modelfleet_number::rounding::ppm;

/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 41;

/// What the stage rules out if no canary gets far worse than before and `strata` strata of equal size are as before, with
/// 95 % confidence; the judge's own rule ([`crate::decide::few_proof`]) on the counts that are to be expected. `None`: nothing
/// of the kind.
///
/// `watched`: the share of the devices in each group of a watched label.
pub fn few_proof(size: &StageSize, rates: &FleetRates, strata: u64, watched: &[f64]) -> Option<FewProof> {
    let rise = smallest_rise(&bars(size, rates));
    let stratum_ppm = if strata < 2 { None } else { in_a_part(size, rates, 1.0 / strata as f64).map(ppm) };
    let rises: Vec<f64> = watched.iter().filter_map(|share| in_a_part(size, rates, *share)).collect();
    let watched = summary(&rises, watched.len());
    let share_ppm = rise.map_or(1_000_000, |_| share_ruled_out_ppm(size.canaries, 0));
    let rise_ppm = rise.map_or(u64::MAX, ppm);
    let any = rise.is_some() || stratum_ppm.is_some() || watched.is_some();
    any.then_some(FewProof { rise_ppm, share_ppm, stratum_ppm, watched })
}

fn known(size: &StageSize) -> f64 {
    (size.windows as f64 * f64::from(size.reporting_ppm.min(1_000_000)) * 1e-6).floor()
}

/// Canaries from the calmest to the busiest: windows, usual share of bad ones, and how many make them far worse.
fn bars(size: &StageSize, rates: &FleetRates) -> Vec<(f64, f64, f64)> {
    let (sigma, share) = (rates.sigma_milli as f64 * 1e-3, rates.share_ppm as f64 * 1e-6);
    let (known, past) = (known(size), rates.past_windows as f64);
    let bar = |i: u32| {
        let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
        let level = exp(sigma * z - 0.5 * sigma * sigma);
        // A device with so many times the events has so many more bad windows, up to all.
        let usual = -expm1(level * log1p(-share.min(0.999)));
        let of = Subject {
            id: 0,
            stratum: 0,
            watched: [0; WATCHED_MAX],
            arm: Arm::Canary,
            bad: 0.0,
            known,
            usual,
            past,
            past_bad: past * usual,
            mean: share,
        };
        (known, usual, fewest_bad(&of, 1.0))
    };
    if share > 0.0 && size.canaries > 0 { (0..POINTS).map(bar).collect() } else { Vec::new() }
}

/// The rise in a part of the devices that is ruled out with the chance [`SEEN`] when there is none.
fn in_a_part(size: &StageSize, rates: &FleetRates, part: f64) -> Option<f64> {
    let each = known(size) * rates.share_ppm as f64 * 1e-6 * part;
    let (canary, control) = (size.canaries as f64 * each, size.controls as f64 * each);
    // A group without a canary tells nothing.
    if canary <= 0.0 || control <= 0.0 || size.canaries as f64 * part < 0.5 {
        return None;
    }
    let dispersion = (rates.dispersion_milli as f64 * 1e-3).max(1.0);
    let ratio = Ratio { canary, control, exposure: canary / control, dispersion };
    let rise = ratio.smallest_margin(SEEN, BEYOND);
    (rise < MOST).then_some(rise)
}

#[cfg(test)]
mod tests {
    use super::few_proof;
    use crate::sizing::{FleetRates, StageSize};

    fn proof(canaries: u64, windows: u64, strata: u64) -> Option<crate::FewProof> {
        let size = StageSize {
            fleet: 2_000,
            canaries,
            controls: 2_000 - canaries,
            windows,
            reporting_ppm: 1_000_000,
            looks: 6,
            gates: 1,
        };
        let rates =
            FleetRates { share_ppm: 100_000, sigma_milli: 500, dispersion_milli: 1_000, past_windows: 600 };
        few_proof(&size, &rates, strata, &[])
    }

    #[test]
    fn more_canaries_rule_out_a_smaller_share_and_more_windows_a_smaller_rise() {
        let (few, many, long) =
            (proof(20, 60, 1).unwrap(), proof(200, 60, 1).unwrap(), proof(200, 336, 1).unwrap());
        // Of twenty clean devices 13.9 % may be bad in the fleet, of two hundred 1.5 %; four of five would be seen.
        assert_eq!((few.share_ppm / 10_000, many.share_ppm / 1_000), (17, 18));
        assert!(few.rise_ppm == many.rise_ppm && long.rise_ppm < many.rise_ppm, "{many:?} {long:?}");
        assert_eq!(many.stratum_ppm, None);
        let (coarse, fine) = (proof(200, 60, 20).unwrap(), proof(1_000, 336, 20).unwrap());
        assert!(fine.stratum_ppm.unwrap() < coarse.stratum_ppm.unwrap(), "{fine:?} {coarse:?}");
        assert_eq!(proof(200, 2, 1), None, "two windows show nothing of one device");
    }
}
