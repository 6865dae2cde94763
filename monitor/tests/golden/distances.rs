//! Distances on histograms and samples.

use modelfleet_golden::*;
use modelfleet_monitor::distance::*;
use modelfleet_number::chance::Chance;

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/distances.json"))
}

#[test]
fn of_histograms() {
    for case in list(&vectors(), "histograms") {
        let (reference, current) = (counts(&case["reference"]), counts(&case["current"]));
        near(psi(&reference, &current), &case["psi"], EXACT);
        if !case["kl"].is_null() {
            near(kullback_leibler(&current, &reference), &case["kl"], EXACT);
        }
        near(jensen_shannon(&reference, &current), &case["js"], EXACT);
        near(hellinger(&reference, &current), &case["hellinger"], EXACT);
        near(ks_histogram(&reference, &current), &case["ks"], EXACT);
        let chi = chi_squared(&reference, &current);
        near(chi.statistic, &case["chi2"], EXACT);
        near(chi.p_value, &case["chi2_p"], EXACT);
        assert_eq!(u64::from(chi.freedom), whole(case, "chi2_df"));
    }
}

#[test]
fn of_samples() {
    let v = vectors();
    for case in list(&v, "samples") {
        let (a, b) = (floats(&case["a"]), floats(&case["b"]));
        let (distance, p) = ks_two_sample(&a, &b);
        near(distance, &case["ks"], EXACT);
        near(p, &case["ks_p"], EXACT);
        near(wasserstein_samples(&a, &b), &case["wasserstein"], EXACT);
    }
    let rows = |v: &Value| v.as_array().unwrap().iter().map(floats).collect::<Vec<_>>();
    for case in list(&v, "mmd") {
        let got = mmd_squared(&rows(&case["a"]), &rows(&case["b"]), float(case, "gamma"));
        near(got, &case["value"], EXACT);
    }
}

/// Four 16-bit parts of a draw summed: whole numbers, close to normal.
fn drawn(seed: u64, count: u64, shift: u64) -> Vec<f64> {
    let mut chance = Chance::new(seed);
    let mut value = || {
        let bits = chance.next_u64();
        [0, 16, 32, 48].iter().map(|s| bits >> s & 0xFFFF).sum::<u64>() + shift
    };
    (0..count).map(|_| value() as f64).collect()
}

#[test]
fn of_large_samples() {
    for case in list(&vectors(), "large") {
        let (seed, sizes) = (whole(case, "seed"), counts(&case["sizes"]));
        let (a, b) = (drawn(seed, sizes[0], 0), drawn(seed + 1, sizes[1], whole(case, "shift")));
        let (distance, p) = ks_two_sample(&a, &b);
        near(distance, &case["ks"], EXACT);
        println!("{sizes:?}: p {p}, scipy {} or {}", case["p"], case["p_asymptotic"]);
        near(p, &case["p"], EXACT);
        near(wasserstein_samples(&a, &b), &case["wasserstein"], EXACT);
    }
}
