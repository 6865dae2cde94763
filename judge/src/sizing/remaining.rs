//! What a clean stage says about the rest of a finite fleet.

use libm::{ceil, log, log1p};
use modelfleet_number::hypergeometric::upper_tail;

/// A fleet is not larger: from here on more of it changes no bound.
const MOST_DEVICES: u64 = 1 << 40;

/// A probability is beyond the chance only by more than what its sum may be wrong by: a tie, such as 1 of 20, proves
/// the bound.
const TIE: f64 = 1e-9;

/// Whether `failing` of `fleet` could fail although at most `failed` of `tried` did: that happens with a probability
/// above 1 - `confidence_ppm`.
fn is_credible(failed: u64, fleet: u64, failing: u64, tried: u64, confidence_ppm: u32) -> bool {
    let chance = f64::from(1_000_000 - confidence_ppm.min(1_000_000)) * 1e-6;
    let fits = failing <= fleet - tried + failed;
    fits && (chance == 0.0 || 1.0 - upper_tail(failed + 1, fleet, failing, tried) > chance * (1.0 + TIE))
}

/// Upper bound on the share of the devices *not yet tried* that would fail, in parts per million, after
/// `failed` of `tried` devices failed in a fleet of `fleet`: the largest that would still show so few
/// failures with probability above 1 - `confidence_ppm`.
///
/// Exact, hypergeometric (Konijn 1973; Buonaccorsi, *The American Statistician* 1987). `5 of 200 clean`
/// allows 46 % at 95 %. Rounded up. 1 000 000 when nothing was tried, 0 when nothing is left.
pub fn remaining_bound_ppm(fleet: u64, tried: u64, failed: u64, confidence_ppm: u32) -> u64 {
    // Huge counts are cut in proportion, a huge fleet around them is cut alone.
    let tried = tried.min(fleet);
    let shift = (64 - tried.leading_zeros()).saturating_sub(MOST_DEVICES.trailing_zeros() - 1);
    let (failed, tried) = (failed.min(tried) >> shift, tried >> shift);
    let fleet = (fleet >> shift).min(MOST_DEVICES);
    let rest = fleet - tried;
    if rest == 0 {
        return 0;
    }
    if tried == 0 {
        return 1_000_000;
    }
    // The largest number of failing devices in the rest that is still credible.
    let (mut credible, mut not) = (0, rest + 1);
    while not - credible > 1 {
        let middle = credible + (not - credible) / 2;
        if is_credible(failed, fleet, failed + middle, tried, confidence_ppm) {
            credible = middle;
        } else {
            not = middle;
        }
    }
    u64::try_from((u128::from(credible) * 1_000_000).div_ceil(u128::from(rest))).unwrap_or(1_000_000)
}

/// The fewest clean devices after which at most `share_ppm` of the rest is at risk, with confidence: 777 of 1 000 for
/// 0.5 % at 95 %. One device more may prove a little less, as the rest is then smaller and failures are whole devices.
pub fn devices_for_bound(fleet: u64, share_ppm: u64, confidence_ppm: u32) -> u64 {
    let fleet = fleet.min(MOST_DEVICES);
    let mut tried = 0;
    // Fewer than `tried` are never enough: each turn asks for what the most that may then be left to fail, and one
    // more, takes to be ruled out; with more devices tried that is fewer failing ones, which take more.
    loop {
        let allowed = u128::from(fleet - tried) * u128::from(share_ppm) / 1_000_000;
        let too_many = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        let needed = devices_to_rule_out(too_many, fleet, confidence_ppm);
        if needed <= tried {
            return tried;
        }
        tried = needed;
    }
}

/// The fewest clean devices after which so many failing ones of the fleet are not credible.
fn devices_to_rule_out(failing: u64, fleet: u64, confidence_ppm: u32) -> u64 {
    if failing > fleet {
        return 0;
    }
    let (mut few, mut enough) = (0, fleet - failing + 1);
    if !is_credible(0, fleet, failing, 0, confidence_ppm) {
        return 0;
    }
    while enough - few > 1 {
        let middle = few + (enough - few) / 2;
        if is_credible(0, fleet, failing, middle, confidence_ppm) {
            few = middle;
        } else {
            enough = middle;
        }
    }
    enough
}

/// Devices needed to meet at least one failure with this probability, when this share of a large fleet
/// fails: 59 for 5 % at 95 %. `u64::MAX` when the share is 0.
pub fn devices_to_meet(share_ppm: u64, probability_ppm: u32) -> u64 {
    if share_ppm == 0 {
        return if probability_ppm == 0 { 0 } else { u64::MAX };
    }
    if share_ppm >= 1_000_000 {
        return 1;
    }
    let miss = (1.0 - f64::from(probability_ppm.min(1_000_000)) * 1e-6).max(1e-12);
    ceil(log(miss) / log1p(-(share_ppm as f64) * 1e-6) - 1e-9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of anchors/progressive-delivery 2.4.
    #[test]
    fn clean_canaries() {
        let percent = |fleet, tried| remaining_bound_ppm(fleet, tried, 0, 950_000) as f64 / 1e4;
        for (fleet, tried, want) in [
            (200, 5, 46.0),
            (200, 10, 26.0),
            (200, 20, 14.0),
            (200, 50, 6.7),
            (200, 100, 4.0),
            (2_000, 5, 45.0),
            (2_000, 300, 1.1),
            (100_000, 1_000, 0.30),
        ] {
            let got = percent(fleet, tried);
            assert!((got - want).abs() <= 0.06 * want, "{tried} of {fleet}: {got}");
        }
        assert_eq!(remaining_bound_ppm(200, 200, 0, 950_000), 0);
        assert_eq!(remaining_bound_ppm(200, 0, 0, 950_000), 1_000_000);
        assert_eq!(remaining_bound_ppm(0, 0, 0, 950_000), 0);
    }

    #[test]
    fn devices_to_meet_a_failure() {
        for (share, want) in
            [(200_000, 14), (100_000, 29), (50_000, 59), (20_000, 149), (10_000, 299), (1_000, 2995)]
        {
            assert_eq!(devices_to_meet(share, 950_000), want);
        }
    }

    /// Clean devices that prove the bound, found one by one in whole numbers: at 95 %, `k` failing ones of the fleet
    /// stay unseen in `C(fleet - k, n) / C(fleet, n)` of all draws of `n`.
    fn by_search(fleet: u64, share_ppm: u64) -> u64 {
        let unseen = |k: u64, n: u64| -> f64 {
            (0..k).map(|i| (fleet - n).saturating_sub(i) as f64 / (fleet - i) as f64).product()
        };
        let proves = |n: u64| {
            let credible = (0..=fleet - n).take_while(|k| unseen(*k, n) > 0.05 + 1e-12).last().unwrap_or(0);
            credible * 1_000_000 <= share_ppm * (fleet - n)
        };
        (0..=fleet).find(|n| proves(*n)).unwrap_or(fleet)
    }

    #[test]
    fn sizes_from_risk_are_the_fewest() {
        assert_eq!(devices_for_bound(1_000, 5_000, 950_000), 777);
        assert_eq!(devices_for_bound(100, 50_000, 950_000), 78);
        for fleet in 0..=120 {
            for share_ppm in [0, 1, 5_000, 10_000, 33_333, 50_000, 140_000, 333_333, 500_000, 1_000_000] {
                let got = devices_for_bound(fleet, share_ppm, 950_000);
                assert_eq!(got, by_search(fleet, share_ppm), "{share_ppm} ppm of {fleet}");
                assert!(remaining_bound_ppm(fleet, got, 0, 950_000) <= share_ppm, "{share_ppm} of {fleet}");
            }
        }
    }

    #[test]
    fn only_all_devices_make_certain() {
        assert_eq!(remaining_bound_ppm(200, 5, 0, 1_000_000), 1_000_000);
        assert_eq!(devices_for_bound(200, 10_000, 1_000_000), 200);
        assert_eq!(devices_for_bound(200, 10_000, 0), 0);
    }

    #[test]
    fn huge_fleets_are_answered() {
        assert_eq!(remaining_bound_ppm(u64::MAX, 0, 0, 950_000), 1_000_000);
        assert_eq!(remaining_bound_ppm(u64::MAX, u64::MAX - 1, 0, 950_000), 0);
        assert_eq!(remaining_bound_ppm(u64::MAX, 5, 0, 950_000), remaining_bound_ppm(1 << 40, 5, 0, 950_000));
        let half = remaining_bound_ppm(u64::MAX, 1 << 50, 1 << 49, 950_000);
        assert!((500_000..501_000).contains(&half), "{half}");
        // As for a fleet without end: log(0.05) / log(0.99) = 298.07.
        assert_eq!(devices_for_bound(u64::MAX, 10_000, 950_000), 299);
    }
}
