//! How long the judge and the detectors take.
//!
//! `cargo run --release -p modelfleet-judge --example speed`; `golden/speed.py` times scipy and River on the
//! same kind of data.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use modelfleet_judge::detect::*;
use modelfleet_judge::distance::*;
use modelfleet_judge::number::{chance::Chance, normal};
use modelfleet_judge::*;
use std::hint::black_box;
use std::time::Instant;

/// Median of `repeats` timings, per call in nanoseconds.
fn time(repeats: usize, calls: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[repeats / 2]
}

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
    let evidence = Evidence {
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
        black_box(assess(&evidence, &StageState::new()));
    }) / 1e6
}

fn detector(name: &str, mut detector: impl Detector, values: &[f64]) {
    let ns = time(5, values.len(), || {
        for &value in values {
            black_box(detector.update(value));
        }
    });
    println!("{name:<24} {ns:>12.1} ns / value");
}

fn main() {
    for (devices, canaries) in
        [(200, 5), (200, 50), (100_000, 1_000), (1_000_000, 100_000), (1_000_000, 500_000)]
    {
        let (calm, harmed) = (judge(devices, canaries, false), judge(devices, canaries, true));
        println!("assess, {canaries} of {devices}: {calm:.3} ms, with harm {harmed:.3} ms");
    }
    let mut chance = Chance::new(2);
    let normals: Vec<f64> = (0..100_000).map(|_| normal::quantile(chance.unit())).collect();
    let errors: Vec<f64> = (0..100_000).map(|_| f64::from(u8::from(chance.unit() < 0.1))).collect();
    detector("ADWIN", Adwin::default(), &normals);
    detector("Page-Hinkley", PageHinkley::default(), &normals);
    detector("KSWIN", Kswin::default(), &normals[..4_000]);
    detector("DDM", Ddm::default(), &errors);
    detector("EDDM", Eddm::default(), &errors);
    detector("HDDM-A", HddmA::default(), &errors);
    let other: Vec<f64> = normals.iter().map(|x| x + 0.05).collect();
    for n in [1_000, 100_000] {
        let ks = time(5, 1, || {
            black_box(ks_two_sample(&normals[..n], &other[..n]));
        });
        let wasserstein = time(5, 1, || {
            black_box(wasserstein_samples(&normals[..n], &other[..n]));
        });
        println!("{n} rows: ks {:.3} ms, wasserstein {:.3} ms", ks / 1e6, wasserstein / 1e6);
    }
    let bins: Vec<u64> = (0..20).map(|i| 1_000 + 37 * i).collect();
    let more: Vec<u64> = (0..20).map(|i| 1_050 + 35 * i).collect();
    let histogram = |name: &str, f: fn(&[u64], &[u64]) -> f64| {
        let ns = time(5, 1_000, || {
            for _ in 0..1_000 {
                black_box(f(black_box(&bins), black_box(&more)));
            }
        });
        println!("{name:<24} {ns:>12.1} ns / pair of 20 bins");
    };
    histogram("psi", psi);
    histogram("jensen-shannon", jensen_shannon);
    histogram("chi-squared", |a, b| chi_squared(a, b).p_value);
    histogram("hellinger", hellinger);
}
