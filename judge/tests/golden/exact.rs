//! Fisher's test, permutations within strata, and silence as a whole verdict.

use modelfleet_golden::*;
use modelfleet_judge::exact::fisher::fisher_greater;
use modelfleet_judge::exact::permutation::{Stratum, p_value};
use modelfleet_judge::*;
use modelfleet_number::chance::Chance;

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/exact.json"))
}

/// Four standard errors of a p-value sampled until thirty hits or to the end of the draws, and the step of the draws.
fn sampling_error(p: f64, draws: f64) -> f64 {
    4.0 * (p / draws.min(30.0 / p)).sqrt() + 2.0 / draws
}

#[test]
fn fisher() {
    for case in list(&vectors(), "fisher") {
        let t = counts(&case["table"]);
        near(fisher_greater(t[0], t[1], t[2], t[3]), &case["p"], EXACT);
    }
}

/// Sampled permutations against every pick counted.
#[test]
fn permutations_within_strata() {
    for case in list(&vectors(), "permutation") {
        let strata: Vec<Stratum> = list(case, "strata")
            .iter()
            .map(|s| Stratum { scores: counts(&s["scores"]), canaries: whole(s, "canaries") as usize })
            .collect();
        let want = float(case, "p");
        let level = (want / 2.0).max(1e-5);
        let got = p_value(&strata, level, Chance::new(3));
        let error = sampling_error(want, (30.0 / level).max(1000.0));
        assert!((got - want).abs() <= error, "got {got}, want {want}");
    }
}

/// Where sampling would cost too much, a Pearson curve of three moments stands in. It is smooth and counts of ones
/// are not: near one in a thousand it is up to a fifth too small.
#[test]
fn large_permutations() {
    for case in list(&vectors(), "large") {
        let t = counts(&case["table"]);
        let flags = |bad, all| (0..all).map(move |i| u64::from(i < bad));
        let scores = flags(t[0], t[1]).chain(flags(t[2], t[3])).collect();
        let stratum = Stratum { scores, canaries: t[1] as usize };
        let got = p_value(&[stratum], 1e-3, Chance::new(3));
        let want = float(case, "p");
        println!("{t:?}: got {got}, want {want}");
        assert!((got / want - 1.0).abs() < 0.2, "{t:?}: got {got}, want {want}");
    }
}

/// Canaries that stopped reporting: the record's p-value against Fisher's test, convolved over strata.
#[test]
fn silence() {
    for case in list(&vectors(), "silence") {
        let mut devices = Vec::new();
        for (stratum, t) in list(case, "silent").iter().map(counts).enumerate() {
            for (arm, silent, all) in [(Arm::Canary, t[0], t[1]), (Arm::Control, t[2], t[3])] {
                for i in 0..all {
                    let id = devices.len() as u32;
                    let device = DeviceOutcome::new(id, stratum as u16, arm, &[]);
                    devices.push(DeviceOutcome { reporting: i >= silent, ..device });
                }
            }
        }
        let observations = Observations {
            slos: &[],
            devices: &devices,
            merged: &[],
            needs: Needs::default(),
            hard: HardRule { weight: 0, ..HardRule::default() },
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached: 1, planned: 1 },
            seed: 5,
        };
        let record = assess(&observations, &StageState::new()).silence.unwrap();
        let (got, want) = (record.p_value_ppb as f64 * 1e-9, float(case, "p"));
        let threshold = record.threshold_ppb as f64 * 1e-9;
        assert!((got - want).abs() <= sampling_error(want, 30.0 / threshold), "got {got}, want {want}");
        assert_eq!(record.verdict == Verdict::Degraded, want <= threshold, "p {want}, threshold {threshold}");
    }
}
