//! The planner's promises agree with what the grid measured.

use modelfleet_judge::sizing::{
    FleetRates, StageSize, default_margin_ppm, power_ppm, prove, smallest_margin_ppm,
};
use modelfleet_judge::*;

fn size(canaries: u64) -> StageSize {
    StageSize {
        fleet: 200,
        canaries,
        controls: 200 - canaries,
        windows: 60,
        reporting_ppm: 1_000_000,
        looks: 6,
        gates: 1,
    }
}

/// Sigma 1, base 0.2 errors a window in bursts of 1 and 5: shares of bad windows 15.2 % and 3.7 %.
const BURST_1: FleetRates =
    FleetRates { share_ppm: 152_000, sigma_milli: 1_000, dispersion_milli: 0, past_windows: 600 };
const BURST_5: FleetRates = FleetRates { share_ppm: 37_000, ..BURST_1 };

#[test]
fn power_is_near_the_measured() {
    let budget = 10_000_000;
    for (canaries, rates, ratio, measured) in [
        (5, BURST_1, 3_000_000, 100.0),
        (5, BURST_5, 3_000_000, 82.5),
        (5, BURST_1, 2_000_000, 91.5),
        (20, BURST_5, 3_000_000, 100.0),
    ] {
        let planned = power_ppm(&size(canaries), &rates, budget, ratio) as f64 / 1e4;
        println!("{canaries} canaries, {ratio}: planned {planned}, measured {measured}");
        assert!((planned - measured).abs() < 8.0, "{canaries} canaries: {planned} against {measured}");
    }
}

#[test]
fn more_devices_rule_out_more() {
    let margins: Vec<u64> = [5, 20, 100].map(|k| smallest_margin_ppm(&size(k), &BURST_5)).into();
    assert!(margins[0] > margins[1] && margins[1] > margins[2], "{margins:?}");
}

#[test]
fn a_stage_that_proves_nothing_says_so() {
    let rare = FleetRates { share_ppm: 1, ..BURST_1 };
    assert!(prove(&size(5), &rare, 10_000_000, 0, None).warning.contains("cannot prove anything"));
    let proof = prove(&size(5), &BURST_5, 10_000_000, 0, Some(1_250_000));
    assert!(proof.warning.contains("cannot be ruled out"), "{proof:?}");
    assert!((455_000..465_000).contains(&proof.remaining_bound_ppm), "{proof:?}");
}

/// What is worse than controls and within the allowance is not taken back: the plan does not claim to find it.
#[test]
fn a_rise_within_the_allowance_is_not_claimed() {
    let found = |allowance_ppm| prove(&size(20), &BURST_5, 10_000_000, allowance_ppm, None).smallest_harm_ppm;
    assert!(found(0) < 2_500_000 && found(10_000) == found(0), "{} {}", found(0), found(10_000));
    // One canary in ten beyond the allowance breaks it too, and devices differ.
    assert!((2_700_000..3_500_000).contains(&found(200_000)), "{}", found(200_000));
    assert!(found(500_000) > 6_000_000, "{}", found(500_000));
    assert_eq!(found(1_000_000), u64::MAX);
}

#[test]
fn a_stage_that_can_never_reach_its_level_says_so_and_proposes_a_size() {
    let small = StageSize { fleet: 80, canaries: 2, controls: 78, ..size(2) };
    let proof = prove(&small, &BURST_1, 312_500, 0, None);
    assert_eq!(proof.smallest_harm_ppm, u64::MAX);
    for words in ["2 of 80 devices can never be proven", "once in 3160", "give this stage 3 devices or more"]
    {
        assert!(proof.warning.contains(words), "{}", proof.warning);
    }
    let larger = StageSize { canaries: 3, controls: 77, ..small };
    assert_eq!(prove(&larger, &BURST_1, 312_500, 0, None).warning, "");
}

/// The margin that the judge writes at the last planned look of devices that are all alike: 600 windows of past and 60
/// since, one in `one_in` bad.
fn judged_margin(canaries: u64, controls: u64, one_in: u64, gates: u16) -> u64 {
    let counts = SloCounts { history: Counts::new(600, 600 / one_in), post: Counts::new(60, 60 / one_in) };
    let all = vec![counts; usize::from(gates)];
    let arm = |i| if i < canaries { Arm::Canary } else { Arm::Control };
    let devices: Vec<_> =
        (0..canaries + controls).map(|i| DeviceOutcome::new(i as u32, 0, arm(i), &all)).collect();
    let rules: Vec<_> = (0..gates).map(|_| SloRule::statistical("alarms", 0)).collect();
    let observations = Observations {
        slos: &rules,
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 0 },
        hard: HardRule { weight: 0, ..HardRule::default() },
        silence: SilenceRule { weight: 0, ..SilenceRule::default() },
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 1,
    };
    assess(&observations, &StageState::new()).per_slo[0].margin_ppm
}

/// Devices that are all alike scatter as little as the judge takes any to: variance a quarter of the mean.
#[test]
fn the_planned_margin_is_the_judges() {
    for (canaries, controls) in [(5, 195), (20, 180), (100, 100), (180, 20), (200, 0), (5, 0), (5_000, 5_000)]
    {
        for one_in in [4, 10, 20] {
            for gates in [1, 4] {
                let judged = judged_margin(canaries, controls, one_in, gates);
                let planned = default_margin_ppm(
                    &StageSize { fleet: canaries + controls, canaries, controls, gates, ..size(5) },
                    &FleetRates {
                        share_ppm: 1_000_000 / one_in,
                        sigma_milli: 0,
                        dispersion_milli: 250,
                        past_windows: 600,
                    },
                );
                let off = (planned as f64 / judged as f64 - 1.0).abs();
                assert!(
                    off < 0.002,
                    "{canaries} and {controls}, one in {one_in}, {gates}: planned {planned}, judged {judged}"
                );
            }
        }
    }
    assert_eq!(judged_margin(5, 195, 1_000, 1), u64::MAX);
    let rare = FleetRates { share_ppm: 1, sigma_milli: 0, dispersion_milli: 250, past_windows: 600 };
    assert_eq!(default_margin_ppm(&size(5), &rare), u64::MAX);
}
