//! A verdict's numbers against the same worked out in Python with scipy.

use modelfleet_golden::*;
use modelfleet_judge::*;

/// One stage with one look, and the whole budget on one SLO.
pub(crate) fn judged(case: &Value) -> Assessment {
    let [past, now, canaries] = ["past", "now", "canaries"].map(|key| whole(case, key));
    let counts: Vec<[SloCounts; 1]> = counts(&case["history"])
        .into_iter()
        .zip(counts(&case["post"]))
        .map(|(h, p)| [SloCounts { history: Counts::new(past, h), post: Counts::new(now, p) }])
        .collect();
    let device = |(i, c)| {
        let arm = if (i as u64) < canaries { Arm::Canary } else { Arm::Control };
        DeviceOutcome::new(i as u32, 0, arm, c as &[SloCounts])
    };
    let devices: Vec<DeviceOutcome<'_>> = counts.iter().enumerate().map(device).collect();
    let observations = Observations {
        slos: &[SloRule::statistical("slo", 0)],
        devices: &devices,
        merged: &[],
        needs: Needs::default(),
        hard: HardRule { weight: 0, ..HardRule::default() },
        silence: SilenceRule { weight: 0, ..SilenceRule::default() },
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 1, planned: 1 },
        seed: 5,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn small_stages() {
    for case in list(&parsed(include_str!("../../golden/vectors/verdicts.json")), "verdicts") {
        let assessment = judged(case);
        let record = &assessment.per_slo[0];
        stored(record.estimate_ppm, 1e-6, float(case, "estimate"));
        stored(record.low_ppm, 1e-6, float(case, "low"));
        stored(record.high_ppm, 1e-6, float(case, "high"));
        stored(record.dispersion_milli, 1e-3, float(case, "dispersion"));
        // The p-value is sampled: thirty hits, or a run to the end.
        let (p, want) = (record.p_value_ppb as f64 * 1e-9, float(case, "p"));
        let resolution = 1.0 / 3_000.0;
        assert!((p - want).abs() < 0.75 * want + 2.0 * resolution, "p {p}, want {want}");
        assert_eq!(assessment.advice == Advice::RollBack, p <= 0.009_375);
    }
}
