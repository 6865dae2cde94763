//! Distances from summaries of 64 bins and from latency buckets, against the same from every single value.

use modelfleet_golden::*;
use modelfleet_monitor::distance::{ks_histogram, wasserstein_histogram};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/summaries.json"))
}

/// Cases whose distance from the summary is more than a hundredth off.
fn beyond(limit: f64, errors: &[(String, f64)]) -> Vec<&str> {
    errors.iter().filter(|(_, error)| error.abs() > limit).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn wasserstein_is_within_a_hundredth() {
    let mut errors = Vec::new();
    for case in list(&vectors(), "summaries") {
        let (a, b) = (counts(&case["a"]), counts(&case["b"]));
        let (got, want) =
            (wasserstein_histogram(&floats(&case["edges"]), &a, &b), float(case, "wasserstein"));
        println!("{}: {got:.6}, scipy {want:.6}, {:+.2} %", case["name"], 100.0 * (got / want - 1.0));
        errors.push((case["name"].as_str().unwrap().to_owned(), got / want - 1.0));
    }
    // Bins of equal share are wide at both ends, and values do not spread evenly over those.
    let missed = [0.1, 0.2, 0.5, 1.0].map(|shift| format!("normal + {shift:.1}, 64 bins of equal share"));
    assert_eq!(beyond(1e-2, &errors), missed);
    assert!(beyond(1e-1, &errors).is_empty());
}

/// Edges tell the distance within an interval: it is at least the greatest at an edge, and at most what the bins'
/// mass allows inside one. A hundredth absolutely holds always, a hundredth relatively where the distance is not small.
#[test]
fn kolmogorov_lies_in_its_interval() {
    let (v, mut errors) = (vectors(), Vec::new());
    for case in list(&v, "summaries") {
        let (a, b) = (counts(&case["a"]), counts(&case["b"]));
        let (got, want) = (ks_histogram(&a, &b), float(case, "ks"));
        let interval = floats(&case["ks_interval"]);
        near(got, &case["ks_interval"][0], EXACT);
        assert!(got <= want + 1e-12 && want <= interval[1] + 1e-12, "{want} outside {interval:?}: {case}");
        assert!(want - got < 1e-2, "{case}");
        println!("{}: {got:.6}, scipy {want:.6}, {:+.2} %", case["name"], 100.0 * (got / want - 1.0));
        errors.push((case["name"].as_str().unwrap().to_owned(), got / want - 1.0));
    }
    let missed = [
        "normal + 0.1, 64 equal bins",
        "normal + 0.2, 64 equal bins",
        "normal + 0.1, 64 bins of equal share",
        "exponential x 1.1, 64 equal bins",
        "latency x 1.05, 16 buckets an octave",
        "latency x 1.2, 16 buckets an octave",
    ];
    assert_eq!(beyond(1e-2, &errors), missed);
}
