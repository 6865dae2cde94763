//! Whole verdicts.

use crate::time;
use modelfleet_judge::*;
use modelfleet_number::chance::Chance;
use std::hint::black_box;

fn judge(devices: u32, canaries: u32, harmed: bool) -> f64 {
    let mut chance = Chance::new(1);
    let counts: Vec<[SloCounts; 1]> = (0..devices)
        .map(|i| {
            let bad = u64::from(chance.below(20)) + if harmed && i < canaries { 15 } else { 0 };
            [SloCounts {
                history: Counts::new(600, u64::from(chance.below(200))),
                post: Counts::new(60, bad),
            }]
        })
        .collect();
    let list: Vec<DeviceOutcome<'_>> = (0..devices)
        .map(|i| {
            let arm = if i < canaries { Arm::Canary } else { Arm::Control };
            DeviceOutcome::new(i, (i % 8) as u16, arm, &counts[i as usize])
        })
        .collect();
    let slos = [SloRule::statistical("slo", 0)];
    let observations = Observations {
        slos: &slos,
        devices: &list,
        merged: &[],
        needs: Needs::default(),
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 1,
    };
    time(3, 1, || {
        black_box(assess(&observations, &StageState::new()));
    }) / 1e6
}

pub fn run() {
    for (devices, canaries) in
        [(200, 5), (200, 50), (100_000, 1_000), (1_000_000, 100_000), (1_000_000, 500_000)]
    {
        let (calm, harmed) = (judge(devices, canaries, false), judge(devices, canaries, true));
        println!("assess, {canaries} of {devices}: {calm:.3} ms, with harm {harmed:.3} ms");
    }
}
