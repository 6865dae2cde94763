//! Quality of answers against scikit-learn and formulas.

use modelfleet_golden::*;
use modelfleet_monitor::quality::{CalibratedBins, Confusion, RegressionErrors, apdex_ppm};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/quality.json"))
}

/// A share cut to whole parts per million.
#[track_caller]
fn share(got: Option<u64>, want: &Value) {
    assert_eq!(got, want.as_f64().map(|share| (share * 1e6 + 1e-6).floor() as u64), "want {want}");
}

#[test]
fn classification() {
    for case in list(&vectors(), "classification") {
        let t = counts(&case["table"]);
        let table = Confusion {
            true_positive: t[0],
            false_positive: t[1],
            true_negative: t[2],
            false_negative: t[3],
        };
        share(table.accuracy_ppm(), &case["accuracy"]);
        share(table.precision_ppm(), &case["precision"]);
        share(table.recall_ppm(), &case["recall"]);
        share(table.specificity_ppm(), &case["specificity"]);
        share(table.f1_ppm(), &case["f1"]);
    }
}

#[test]
fn regression() {
    for case in list(&vectors(), "regression") {
        let milli = |key: &str| list(case, key).iter().map(|v| v.as_i64().unwrap()).collect::<Vec<_>>();
        let (truth, predicted) = (milli("truth_milli"), milli("predicted_milli"));
        let mut errors = RegressionErrors::default();
        truth.iter().zip(predicted).for_each(|(t, p)| errors.add(*t, p));
        near(errors.mae().unwrap(), &case["mae"], EXACT);
        near(errors.rmse().unwrap(), &case["rmse"], EXACT);
        // Each relative error is cut to a millionth, so the mean is at most 0.0001 % too small.
        let short = float(case, "mape_percent") - errors.mape().unwrap();
        assert!((-1e-9..=1e-4).contains(&short), "{short}");
    }
}

#[test]
fn apdex() {
    for case in list(&vectors(), "apdex") {
        let c = counts(&case["counts"]);
        share(apdex_ppm(c[0], c[1], c[2]), &case["score"]);
    }
}

/// Accuracy without labels, and the alarm when sampled labels speak against it. The estimate is kept in whole parts
/// per million, so the p-value carries six digits.
#[test]
fn concept() {
    for case in list(&vectors(), "concept") {
        let bins = list(case, "bins").iter().map(counts).map(|b| (b[0], b[1])).collect();
        let profile = CalibratedBins { bins };
        let now = counts(&case["now"]);
        // Cut to a millionth per bin and once more in all.
        let short = float(case, "estimate") * 1e6 - profile.accuracy_ppm(&now).unwrap() as f64;
        assert!((-1e-6..2.0).contains(&short), "{short}");
        let [right, labelled, least] = ["right", "labelled", "least_ppm"].map(|key| whole(case, key));
        let alpha = float(case, "alpha");
        let got = profile.concept_alarm(&now, right, labelled, least, alpha).unwrap();
        assert_eq!(got.alarm, case["alarm"].as_bool().unwrap(), "{case}");
        assert_eq!(got.estimated_ppm, profile.accuracy_ppm(&now).unwrap());
        stored(got.labelled_ppm, 1e-6, float(case, "accuracy"));
        let (p, want) = (got.p_value_ppb as f64 * 1e-9, float(case, "p"));
        assert!((p - want).abs() <= 1e-3 * want + 2e-9, "{p}, want {want}");
        let needed = float(case, "labels_needed");
        assert!((got.labels_needed as f64 - needed).abs() <= 1.0 + 1e-4 * needed, "{case}");
    }
}
