//! The planner's numbers.

use modelfleet_golden::*;
use modelfleet_judge::sizing::*;

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/planner.json"))
}

#[test]
fn what_is_left_of_a_fleet() {
    let v = vectors();
    for case in list(&v, "remaining") {
        let [fleet, tried, failed, confidence] =
            ["fleet", "tried", "failed", "confidence_ppm"].map(|key| whole(case, key));
        let got = remaining_bound_ppm(fleet, tried, failed, confidence as u32);
        assert_eq!(got, whole(case, "bound_ppm"), "{case}");
    }
    for case in list(&v, "for_bound") {
        let [fleet, share, confidence] = ["fleet", "share_ppm", "confidence_ppm"].map(|key| whole(case, key));
        assert_eq!(devices_for_bound(fleet, share, confidence as u32), whole(case, "devices"), "{case}");
    }
    for case in list(&v, "to_meet") {
        let got = devices_to_meet(whole(case, "share_ppm"), whole(case, "probability_ppm") as u32);
        assert_eq!(got, whole(case, "devices"), "{case}");
    }
}

#[test]
fn samples_and_events() {
    let v = vectors();
    for case in list(&v, "per_group") {
        let rise = case["rise_ppm"].as_i64().unwrap();
        let [rate, alpha, power] = ["rate_ppm", "alpha_ppm", "power_ppm"].map(|key| whole(case, key));
        assert_eq!(per_group(rate, rise, alpha as u32, power as u32), whole(case, "samples"), "{case}");
    }
    for case in list(&v, "events") {
        let [ratio, share, alpha] = ["ratio_ppm", "share_ppm", "alpha_ppm"].map(|key| whole(case, key));
        let got = events_to_decision(ratio, share as u32, alpha as u32);
        assert_eq!(got, (whole(case, "events"), whole(case, "in_canaries")), "{case}");
    }
}

/// Chance to show a rise, and the smallest rise that can be ruled out.
#[test]
fn stages() {
    for case in list(&vectors(), "stages") {
        let (s, h) = (counts(&case["shape"]), counts(&case["habit"]));
        let size = StageSize {
            fleet: s[0],
            canaries: s[1],
            controls: s[2],
            windows: s[3],
            reporting_ppm: s[4] as u32,
            looks: s[5] as u16,
            gates: 1,
        };
        let rates =
            FleetRates { share_ppm: h[0], sigma_milli: h[1], dispersion_milli: h[2], past_windows: h[3] };
        for (ratio, want) in [1_500_000, 2_000_000, 3_000_000, 10_000_000].iter().zip(floats(&case["power"]))
        {
            stored(power_ppm(&size, &rates, 10_000_000, *ratio), 1e-6, want);
        }
        let margin = smallest_margin_ppm(&size, &rates);
        let want = float(case, "margin");
        assert!((margin as f64 * 1e-6 / want - 1.0).abs() < 1e-5, "{margin}, want {want}");
    }
}
