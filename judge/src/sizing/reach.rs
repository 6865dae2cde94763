//! What the exact test of a stage can reach at all: of few devices even the worst outcome is no rare draw.

use crate::budget::{Budget, Looks, Spending};
use crate::decide::few;
use libm::{exp, lgamma};
use modelfleet_number::rounding::from_ppb;

/// Half of a fleet: more canaries than that leave fewer controls.
const HALF_PPM: u32 = 500_000;

/// How rarely chance alone picks the worst outcome: one of all draws of so many canaries.
pub(crate) fn rarest(canaries: u64, controls: u64) -> f64 {
    let (k, m) = (canaries as f64, controls as f64);
    exp(lgamma(k + 1.0) + lgamma(m + 1.0) - lgamma(k + m + 1.0))
}

/// What one planned look may use of a share of the error budget.
fn level(share: Spending, looks: u16) -> f64 {
    let looks = looks.max(1);
    from_ppb(share.cumulative_ppb(Looks { reached: 1, planned: looks }))
}

/// Whether harm can be shown at all with so many canaries and controls, where a rule has `share_ppb` of the error budget
/// in the stage (of which a part is for harm to a few devices where there are many). Where it cannot, even canaries that are bad in every window, and controls in none, cause no rollback.
pub fn can_show(canaries: u64, controls: u64, share_ppb: u64, looks: u16) -> bool {
    canaries > 0 && controls > 0 && {
        let share = few::left_for_all(Spending { share_ppb }, canaries, controls);
        rarest(canaries, controls) <= level(share, looks)
    }
}

/// The fewest canaries of a fleet with which harm can be shown; `None`: no number of them can.
pub fn fewest_canaries(fleet: u64, share_ppb: u64, looks: u16) -> Option<u64> {
    // The more canaries up to half of the fleet, the rarer the worst draw; forty of eighty are beyond any level.
    (1..=(fleet / 2).min(40)).find(|&k| can_show(k, fleet - k, share_ppb, looks))
}

/// The smallest fleet in which harm to so many canaries can be shown; `None`: none of up to a thousand million.
pub fn fewest_fleet(canaries: u64, share_ppb: u64, looks: u16) -> Option<u64> {
    let can = |controls| can_show(canaries, controls, share_ppb, looks);
    let (mut few, mut enough) = (0, 1_000_000_000);
    if !can(enough) {
        return None;
    }
    while enough - few > 1 {
        let middle = few + (enough - few) / 2;
        if can(middle) { enough = middle } else { few = middle }
    }
    Some(canaries + enough)
}

/// What one of `weights` rules of equal weight may spend of the error budget in the stage at `index`, parts per billion, as
/// if every stage before had spent its share.
pub fn stage_share_ppb(total_ppm: u32, stages: u16, index: u16, weights: u64) -> u64 {
    let stages = stages.max(1);
    let passed = index.min(stages - 1);
    let spent_ppb = u64::from(total_ppm) * 1_000 / u64::from(stages) * u64::from(passed);
    let stage_ppb = Budget { total_ppm, spent_ppb, stages_left: stages - passed }.stage_ppb();
    Spending::of(stage_ppb, 1, weights).share_ppb
}

/// The fewest canaries with which harm can be shown where they may be at most `up_to_ppm` of a fleet: from how many devices
/// in the fleet on so many are enough, the largest fleet first.
pub fn provable_sizes(share_ppb: u64, looks: u16, up_to_ppm: u32) -> Vec<(u64, u64)> {
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    for canaries in 1..=40_u64 {
        let Some(least) = (canaries * 1_000_000).checked_div(u64::from(up_to_ppm.min(1_000_000))) else {
            break;
        };
        let least = least + u64::from(least * u64::from(up_to_ppm) < canaries * 1_000_000);
        let Some(fleet) = fewest_fleet(canaries, share_ppb, looks) else { continue };
        let fleet = fleet.max(least);
        if sizes.last().is_none_or(|(larger, _)| fleet < *larger) {
            sizes.push((fleet, canaries));
        }
    }
    sizes
}

/// Why a stage can never take anything back by this rule, and what to do; `None`: it can.
pub fn unreachable(canaries: u64, controls: u64, share_ppb: u64, looks: u16) -> Option<String> {
    if can_show(canaries, controls, share_ppb, looks) {
        return None;
    }
    let fleet = canaries.saturating_add(controls);
    let once =
        |chance: f64| if chance > 0.0 { format!("once in {:.0}", 1.0 / chance) } else { "never".to_owned() };
    let (seen, asked) = (
        once(rarest(canaries, controls)),
        once(level(few::left_for_all(Spending { share_ppb }, canaries, controls), looks)),
    );
    let cure = match fewest_canaries(fleet, share_ppb, looks) {
        Some(fewest) if canaries <= controls => format!("give this stage {fewest} devices or more"),
        Some(fewest) => format!("leave {fewest} devices or more without the version"),
        None => alone(share_ppb, looks),
    };
    Some(format!(
        "harm to {canaries} of {fleet} devices can never be proven, so statistics can never cause a rollback: by chance alone \
         these are the worst devices {seen}, and the test needs {asked}; {cure}"
    ))
}

/// What is left to a fleet in which no number of canaries is enough.
fn alone(share_ppb: u64, looks: u16) -> String {
    let from = match provable_sizes(share_ppb, looks, HALF_PPM).last() {
        Some((fleet, canaries)) => format!(" (at {fleet} devices a stage of {canaries} can show harm)"),
        None => String::new(),
    };
    format!(
        "no number of canaries is enough in so small a fleet{from}: require approval and check yourself, or set judgedBy: Plain, \
         which can roll back without a comparison, but with no limit on false rollbacks"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A share as the default rollout's first stage has it for one of its objectives.
    const SHARE_PPB: u64 = 312_500;

    #[test]
    fn the_worst_outcome_is_one_of_all_draws() {
        for (canaries, controls, want) in
            [(1, 79, 80.0), (2, 78, 3_160.0), (3, 77, 82_160.0), (5, 195, 2_535_650_040.0)]
        {
            assert!((rarest(canaries, controls) * want - 1.0).abs() < 1e-9, "{canaries} and {controls}");
        }
    }

    /// The default canary's share: an eighth of a quarter of 1 % beside four objectives.
    #[test]
    fn sizes_that_can_show_harm_are_the_fewest() {
        let share = stage_share_ppb(10_000, 4, 0, 8);
        assert_eq!(share, 312_500);
        let sizes = provable_sizes(share, 6, 200_000);
        assert!(sizes.is_sorted_by(|a, b| a.0 > b.0 && a.1 < b.1), "{sizes:?}");
        for fleet in 2..=400 {
            let wanted = (1..=fleet / 5).find(|&k| can_show(k, fleet - k, share, 6));
            let got = sizes.iter().find(|(least, _)| *least <= fleet).map(|(_, canaries)| *canaries);
            assert_eq!(got, wanted, "{fleet}");
        }
        assert_eq!(provable_sizes(share, 6, 0), []);
        assert_eq!(provable_sizes(0, 6, 200_000), []);
    }

    #[test]
    fn one_or_two_of_eighty_never_reach_the_level() {
        for fleet in 2..=80 {
            for canaries in 1..=2.min(fleet - 1) {
                assert!(!can_show(canaries, fleet - canaries, SHARE_PPB, 6), "{canaries} of {fleet}");
                let said = unreachable(canaries, fleet - canaries, SHARE_PPB, 6).unwrap_or_default();
                match fewest_canaries(fleet, SHARE_PPB, 6) {
                    Some(fewest) => {
                        assert!(can_show(fewest, fleet - fewest, SHARE_PPB, 6) && fewest > 2, "{said}")
                    }
                    None => assert!(fleet < 20 && said.contains("approval"), "{fleet}: {said}"),
                }
            }
        }
        assert_eq!(fewest_canaries(80, SHARE_PPB, 6), Some(3));
        assert!(unreachable(79, 1, SHARE_PPB, 6).is_some_and(|said| said.contains("leave 3 devices")));
        assert_eq!(unreachable(5, 195, SHARE_PPB, 6), None);
        let two = fewest_fleet(2, SHARE_PPB, 6);
        assert!(two.is_some_and(
            |fleet| can_show(2, fleet - 2, SHARE_PPB, 6) && !can_show(2, fleet - 3, SHARE_PPB, 6)
        ));
        assert_eq!(fewest_fleet(5, 0, 6), None);
    }

    /// From twenty canaries on a quarter of the share is for harm to a few devices.
    #[test]
    fn what_is_for_a_few_devices_shows_no_harm_to_all() {
        let share = 335_000_000;
        assert!(can_show(19, 1, share, 6), "one of 20 draws");
        assert!(!can_show(20, 1, share, 6), "one of 21 draws, with three quarters of the share");
        assert!(can_show(20, 1, share * 4 / 3, 6));
    }
}
