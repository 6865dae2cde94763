//! A stage that leaves no controls, and a fleet that is busier at some hours: not harm, and no hiding place for it.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use modelfleet_number::{chance::Chance, normal};

/// 200 canaries without controls: 600 windows of past at `base` events a window, then 8 at `times` as many.
fn judged(base: f64, times: f64, run: u64) -> Assessment {
    let mut chance = Chance::fork(4, run);
    let mut lived = |windows: u64, rate: f64| {
        let share = -libm::expm1(-rate);
        Counts::new(windows, (0..windows).filter(|_| chance.unit() < share).count() as u64)
    };
    let mut levels = Chance::fork(5, run);
    let counts: Vec<_> = (0..200)
        .map(|_| {
            let rate = base * libm::exp(normal::quantile(levels.unit()) - 0.5);
            [SloCounts { history: lived(600, rate), post: lived(8, rate * times) }]
        })
        .collect();
    let devices: Vec<_> =
        (0..).zip(&counts).map(|(id, c)| DeviceOutcome::new(id, 0, Arm::Canary, c)).collect();
    let observations = Observations {
        slos: &[SloRule::statistical("alarms", 0)],
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 6, planned: 6 },
        seed: run,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn the_busiest_hours_pass() {
    for base in [0.02, 0.2, 1.0] {
        for times in [1.0, 1.8] {
            let passed = (0..40).filter(|&run| judged(base, times, run).advice == Advice::Advance).count();
            assert!(passed >= 39, "base {base}, {times} times: {passed} of 40");
        }
    }
    let told = judged(0.2, 1.8, 1).sentence;
    println!("{told}");
    assert!(
        told.contains(
            "the rate before the new version is ruled out; a smaller rise may be due to the time of day"
        ),
        "{told}"
    );
}

#[test]
fn more_than_an_hour_explains_pauses() {
    for base in [0.02, 0.2] {
        let paused = (0..40).filter(|&run| judged(base, 5.0, run).advice == Advice::Pause).count();
        assert!(paused >= 39, "base {base}: {paused} of 40");
    }
    let passed = (0..40).filter(|&run| judged(0.2, 3.0, run).advice == Advice::Advance).count();
    assert_eq!(passed, 0, "three times the rate is not the hour of the day");
}
