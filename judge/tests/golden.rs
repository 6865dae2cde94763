//! Numbers and whole verdicts against scipy and River: vectors made by `golden/make.py`.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::detect::{Adwin, Ddm, Detector, Eddm, HddmA, Kswin, PageHinkley, Signal};
use modelfleet_judge::distance::*;
use modelfleet_judge::exact::fisher::fisher_greater;
use modelfleet_judge::exact::permutation::{Stratum, p_value};
use modelfleet_judge::number::{beta, chance::Chance, gamma, normal};
use modelfleet_judge::quality::{clopper_pearson, two_proportions, wilson};
use modelfleet_judge::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../golden/vectors.json")).unwrap()
}

fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn counts(v: &Value) -> Vec<u64> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect()
}

#[track_caller]
fn near(got: f64, want: &Value, relative: f64) {
    let want = want.as_f64().unwrap();
    let scale = want.abs().max(1e-300);
    assert!((got - want).abs() <= relative * scale || (got - want).abs() < 1e-15, "got {got}, want {want}");
}

#[test]
fn distributions() {
    let v = vectors();
    for case in list(&v, "fisher") {
        let t = counts(&case["table"]);
        near(fisher_greater(t[0], t[1], t[2], t[3]), &case["p"], 1e-9);
    }
    for case in list(&v, "normal") {
        near(normal::quantile(case["p"].as_f64().unwrap()), &case["z"], 1e-9);
    }
    for case in list(&v, "chi2_tail") {
        near(
            gamma::chi_squared_tail(case["x"].as_f64().unwrap(), case["df"].as_f64().unwrap()),
            &case["p"],
            1e-9,
        );
    }
    for case in list(&v, "gamma_inverse") {
        near(
            gamma::lower_inverse(case["a"].as_f64().unwrap(), case["p"].as_f64().unwrap()),
            &case["x"],
            1e-9,
        );
    }
    for case in list(&v, "beta_inverse") {
        let [a, b, p] = ["a", "b", "p"].map(|k| case[k].as_f64().unwrap());
        near(beta::inverse(a, b, p), &case["x"], 1e-9);
    }
}

#[test]
fn intervals_and_tests() {
    let v = vectors();
    for case in list(&v, "clopper_pearson") {
        let (low, high) = clopper_pearson(case["k"].as_u64().unwrap(), case["n"].as_u64().unwrap(), 0.95);
        near(low, &case["low"], 1e-9);
        near(high, &case["high"], 1e-9);
    }
    for case in list(&v, "wilson") {
        let (low, high) = wilson(case["k"].as_u64().unwrap(), case["n"].as_u64().unwrap(), 0.95);
        near(low, &case["low"], 1e-9);
        near(high, &case["high"], 1e-9);
    }
    for case in list(&v, "two_proportions") {
        let t = counts(&case["table"]);
        let test = two_proportions(t[0], t[1], t[2], t[3], 0.05).unwrap();
        near(test.z, &case["z"], 1e-9);
        near(test.p_value, &case["p"], 1e-9);
        near(test.interval.0, &case["low"], 1e-9);
        near(test.interval.1, &case["high"], 1e-9);
    }
}

/// Sampled permutations against full enumeration: within four standard errors of the sample.
#[test]
fn permutations() {
    for case in list(&vectors(), "permutation") {
        let scores = counts(&case["scores"]);
        let canaries = case["canaries"].as_u64().unwrap() as usize;
        let want = case["p"].as_f64().unwrap();
        let stratum = Stratum { scores, canaries };
        let got = p_value(&[stratum], want / 2.0, Chance::new(3));
        assert!((got / want - 1.0).abs() < 4.0 / 30_f64.sqrt(), "got {got}, want {want}");
    }
}

/// A verdict's numbers against the same worked out in Python with scipy.
#[test]
fn verdicts() {
    for case in list(&vectors(), "verdicts") {
        let [past, now, canaries] = ["past", "now", "canaries"].map(|k| case[k].as_u64().unwrap());
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
        let evidence = Evidence {
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
        let assessment = assess(&evidence, &StageState::new());
        let record = &assessment.per_slo[0];
        let want = |key: &str| case[key].as_f64().unwrap();
        let close = |got: u64, unit: f64, key: &str| {
            assert!((got as f64 * unit - want(key)).abs() <= 1.5 * unit, "{key}: {got}, want {}", want(key));
        };
        close(record.estimate_ppm, 1e-6, "estimate");
        close(record.low_ppm, 1e-6, "low");
        close(record.high_ppm, 1e-6, "high");
        close(record.dispersion_milli, 1e-3, "dispersion");
        // The p-value is sampled: thirty hits, or a run to the end.
        let p = record.p_value_ppb as f64 * 1e-9;
        let resolution = 1.0 / 3_000.0;
        assert!((p - want("p")).abs() < 0.75 * want("p") + 2.0 * resolution, "p {p}, want {}", want("p"));
        assert_eq!(assessment.advice == Advice::RollBack, p <= 0.009_375);
    }
}

#[test]
fn distances_of_histograms() {
    let v = vectors();
    for case in list(&v, "histograms") {
        let (reference, current) = (counts(&case["reference"]), counts(&case["current"]));
        near(psi(&reference, &current), &case["psi"], 1e-9);
        if !case["kl"].is_null() {
            near(kullback_leibler(&current, &reference), &case["kl"], 1e-9);
        }
        near(jensen_shannon(&reference, &current), &case["js"], 1e-9);
        near(hellinger(&reference, &current), &case["hellinger"], 1e-9);
        near(ks_histogram(&reference, &current), &case["ks"], 1e-9);
        let chi = chi_squared(&reference, &current);
        near(chi.statistic, &case["chi2"], 1e-9);
        near(chi.p_value, &case["chi2_p"], 1e-9);
        assert_eq!(u64::from(chi.freedom), case["chi2_df"].as_u64().unwrap());
    }
    for case in list(&v, "coarse") {
        let (a, b) = (counts(&case["a"]), counts(&case["b"]));
        near(wasserstein_histogram(&floats(&case["edges"]), &a, &b), &case["wasserstein"], 1e-2);
        // The greatest distance lies between two edges: up to a part of one bin's mass is lost.
        assert!((ks_histogram(&a, &b) - case["ks"].as_f64().unwrap()).abs() < 1e-2);
    }
}

#[test]
fn distances_of_samples() {
    let v = vectors();
    for case in list(&v, "samples") {
        let (a, b) = (floats(&case["a"]), floats(&case["b"]));
        let (distance, p) = ks_two_sample(&a, &b);
        near(distance, &case["ks"], 1e-9);
        if !case["ks_p"].is_null() {
            near(p, &case["ks_p"], 1e-9);
        }
        near(wasserstein_samples(&a, &b), &case["wasserstein"], 1e-9);
    }
    let rows = |v: &Value| v.as_array().unwrap().iter().map(floats).collect::<Vec<_>>();
    let case = &v["mmd"];
    let got = mmd_squared(&rows(&case["a"]), &rows(&case["b"]), case["gamma"].as_f64().unwrap());
    near(got, &case["value"], 1e-9);
}

fn alarms(mut detector: impl Detector, values: &[f64]) -> Vec<u64> {
    let found = values.iter().enumerate().filter(|(_, v)| detector.update(**v) == Signal::Drift);
    found.map(|(i, _)| i as u64).collect()
}

#[test]
fn detectors_alarm_where_river_does() {
    for (number, stream) in list(&vectors(), "streams").iter().enumerate() {
        let values = floats(&stream["values"]);
        let want = |key: &str| counts(&stream["alarms"][key]);
        assert_eq!(alarms(Adwin::default(), &values), want("adwin"), "stream {number}");
        assert_eq!(alarms(Adwin::new(0.01, 1), &values), want("adwin_clock_1"), "stream {number}");
        assert_eq!(alarms(PageHinkley::default(), &values), want("page_hinkley"), "stream {number}");
        assert_eq!(alarms(Kswin::default(), &values[..1200]), want("kswin"), "stream {number}");
        if number < 3 {
            assert_eq!(alarms(Ddm::default(), &values), want("ddm"), "stream {number}");
            assert_eq!(alarms(Eddm::default(), &values), want("eddm"), "stream {number}");
            assert_eq!(alarms(HddmA::default(), &values), want("hddm_a"), "stream {number}");
        }
    }
}
