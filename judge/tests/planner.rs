//! The planner's promises agree with what the grid measured.

use modelfleet_judge::plan::{Habits, StageShape, power_ppm, prove, smallest_margin_ppm};

fn shape(canaries: u64) -> StageShape {
    StageShape {
        fleet: 200,
        canaries,
        controls: 200 - canaries,
        windows: 60,
        reporting_ppm: 1_000_000,
        looks: 6,
    }
}

/// Sigma 1, base 0.2 errors a window in bursts of 1 and 5: shares of bad windows 15.2 % and 3.7 %.
const BURST_1: Habits =
    Habits { share_ppm: 152_000, sigma_milli: 1_000, dispersion_milli: 0, past_windows: 600 };
const BURST_5: Habits = Habits { share_ppm: 37_000, ..BURST_1 };

#[test]
fn power_is_near_the_measured() {
    let budget = 10_000_000;
    for (canaries, habits, ratio, measured) in [
        (5, BURST_1, 3_000_000, 100.0),
        (5, BURST_5, 3_000_000, 82.5),
        (5, BURST_1, 2_000_000, 91.5),
        (20, BURST_5, 3_000_000, 100.0),
    ] {
        let planned = power_ppm(&shape(canaries), &habits, budget, ratio) as f64 / 1e4;
        println!("{canaries} canaries, {ratio}: planned {planned}, measured {measured}");
        assert!((planned - measured).abs() < 8.0, "{canaries} canaries: {planned} against {measured}");
    }
}

#[test]
fn more_devices_rule_out_more() {
    let margins: Vec<u64> = [5, 20, 100].map(|k| smallest_margin_ppm(&shape(k), &BURST_5, 998_000)).into();
    assert!(margins[0] > margins[1] && margins[1] > margins[2], "{margins:?}");
}

#[test]
fn a_stage_that_proves_nothing_says_so() {
    let rare = Habits { share_ppm: 1, ..BURST_1 };
    assert!(prove(&shape(5), &rare, 10_000_000, None).warning.contains("nothing"));
    let proof = prove(&shape(5), &BURST_5, 10_000_000, Some(1_250_000));
    assert!(proof.warning.contains("cannot be ruled out"), "{proof:?}");
    assert!((455_000..465_000).contains(&proof.remaining_bound_ppm), "{proof:?}");
}
