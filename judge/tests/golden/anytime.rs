//! The e-process and the confidence sequence against mixtures integrated numerically.

use crate::verdicts::judged;
use modelfleet_golden::*;
use modelfleet_judge::anytime::{Contrast, half_width, log_e_value};
use modelfleet_judge::exact::change::subjects;
use modelfleet_judge::{Arm, Counts, SloCounts};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/anytime.json"))
}

#[test]
fn mixtures() {
    let v = vectors();
    for case in list(&v, "e_values") {
        let got = log_e_value(float(case, "z"), float(case, "information"));
        assert!((got - float(case, "log_e")).abs() < 1e-9, "{got}: {case}");
    }
    for case in list(&v, "half_widths") {
        near(half_width(float(case, "information"), float(case, "alpha")), &case["half"], EXACT);
    }
}

/// From counts per device and stratum to the contrast and its e-value.
#[test]
fn contrasts() {
    for case in list(&vectors(), "contrasts") {
        let mut devices = Vec::new();
        for (number, stratum) in list(case, "strata").iter().enumerate() {
            let [past, now, canaries] = ["past", "now", "canaries"].map(|key| whole(stratum, key));
            let (history, post) = (counts(&stratum["history"]), counts(&stratum["post"]));
            for (i, (h, p)) in history.into_iter().zip(post).enumerate() {
                let arm = if (i as u64) < canaries { Arm::Canary } else { Arm::Control };
                let counts = SloCounts { history: Counts::new(past, h), post: Counts::new(now, p) };
                devices.push((devices.len() as u32, number as u16, arm, counts));
            }
        }
        let contrast = Contrast::of(&subjects(devices.into_iter()));
        near(contrast.expected, &case["expected"], EXACT);
        near(contrast.excess, &case["excess"], EXACT);
        near(contrast.z(), &case["z"], EXACT);
        near(contrast.information(), &case["information"], EXACT);
        let got = log_e_value(contrast.z(), contrast.information());
        assert!((got - float(case, "log_e")).abs() < 1e-9, "{got}");
    }
}

/// A stage large enough for layer 2: what the record holds.
#[test]
fn large_stages() {
    let mut most = 0.0_f64;
    for case in list(&vectors(), "large") {
        let assessment = judged(&list(case, "strata")[0]);
        let record = &assessment.per_slo[0];
        // The record keeps the greatest so far, and starts at no evidence. Where layer 1 decides, layer 2 does not run.
        let decided = record.p_value_ppb <= record.threshold_ppb && record.log_e_milli == 0;
        let want = if decided { 0.0 } else { float(case, "log_e").max(0.0) };
        assert!((record.log_e_milli as f64 * 1e-3 - want).abs() <= 1e-3, "{}: {want}", record.log_e_milli);
        most = most.max(want);
        let always = floats(&case["always"]);
        stored(record.always_low_ppm, 1e-6, always[0]);
        stored(record.always_high_ppm, 1e-6, always[1]);
    }
    assert!(most > 0.0, "no case in which layer 2 saw anything");
}
