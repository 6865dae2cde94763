use super::*;
use modelfleet_protocol::generated::Counters;

fn answers(requests: u64, errors: u64) -> WindowSummary {
    let counters = Counters {
        requests,
        errors,
        timeouts: errors,
        low_confidence: errors,
        true_positive: requests.saturating_sub(errors),
        false_positive: errors,
        false_negative: errors,
        true_negative: requests.saturating_sub(errors),
        readings: requests,
        missing: errors,
        out_of_range: errors,
        observed_ms: requests,
        value_known: requests,
        absolute_error_micros: errors,
        squared_error_micros: errors,
        percentage_known: requests,
        percentage_error_ppm: errors,
        compared: requests,
        agreed: requests.saturating_sub(errors),
        available_ms: requests.saturating_sub(errors),
        ..Counters::default()
    };
    let mut latency = LatencyHistogram::default();
    latency.add(1_000_000, requests.saturating_sub(errors));
    latency.add(1_000_000_000, errors);
    let features =
        vec![Bins(vec![0, requests.saturating_sub(errors) / 2, requests.saturating_sub(errors) / 2, errors])];
    let loud = u32::try_from(errors.saturating_mul(1_000_000) / requests.max(1)).unwrap_or(u32::MAX);
    let (cpu_ppm, memory_ppm) = (loud, loud);
    WindowSummary { span: 1, counters, latency, features, cpu_ppm, memory_ppm, ..WindowSummary::default() }
}

fn profile() -> Profile {
    let feature = serde_json::json!({"name": "f", "expectedMin": 0.0, "expectedMax": 2.0, "edges": [0.0, 1.0, 2.0], "counts": [0, 500, 500, 0]});
    serde_json::from_value(serde_json::json!({"features": [feature]})).unwrap()
}

fn of(devices: &[WindowSummary], metric: Metric) -> Option<(u64, u64)> {
    let devices: Vec<&WindowSummary> = devices.iter().collect();
    value(&devices, metric, None, Some(&profile()))
}

#[test]
fn devices_that_count_alike_are_merged_as_if_they_were_one() {
    let devices = vec![answers(1_000, 20); 8];
    let mut one = WindowSummary::default();
    devices.iter().for_each(|window| one.merge(window));
    for metric in Metric::all() {
        assert_eq!(of(&devices, metric), one.value(metric, None, Some(&profile())), "{metric:?}");
    }
    assert_eq!(of(&[], Metric::ErrorRate), None);
    assert_eq!(of(&[answers(0, 0)], Metric::ErrorRate), None);
    assert_eq!(of(&[answers(0, 0), answers(4, 1)], Metric::ErrorRate), Some((250_000, 4)));
}

/// Twenty devices, one of them a liar that says all is bad, or all is well, as loud as it can.
#[test]
fn one_device_moves_no_value_further_than_its_share_whatever_it_counts() {
    let honest = |errors| (0..19).map(|i| answers(100 + i, errors)).collect::<Vec<_>>();
    for loud in [1, 1_000, u64::from(u32::MAX), 1 << 53, u64::MAX - 1, u64::MAX] {
        for metric in
            [Metric::ErrorRate, Metric::TimeoutRate, Metric::LowConfidenceRate, Metric::MissingFeatureRate]
        {
            let (value, samples) = of(&[honest(0), vec![answers(loud, loud)]].concat(), metric).unwrap();
            assert!(value <= 53_000, "{metric:?} with {loud}: {value}");
            assert!(samples <= 20 * 118, "{metric:?} with {loud}: {samples} samples");
            let (value, _) = of(&[honest(100), vec![answers(loud, 0)]].concat(), metric).unwrap();
            assert!(value >= 850_000, "{metric:?} with {loud}: {value}");
        }
        let liar = [honest(0), vec![answers(loud, loud)]].concat();
        for metric in [
            Metric::LatencyP50,
            Metric::CpuUsage,
            Metric::MemoryUsage,
            Metric::MeanAbsoluteError,
            Metric::RootMeanSquaredError,
            Metric::MeanAbsolutePercentageError,
        ] {
            assert_eq!(
                of(&liar, metric).unwrap().0,
                of(&honest(0), metric).unwrap().0,
                "{metric:?} with {loud}"
            );
        }
        assert!(of(&liar, Metric::Accuracy).unwrap().0 >= 940_000, "{loud}");
        assert_eq!(of(&liar, Metric::FalsePositivesPerYear).unwrap().0, 0, "{loud}");
        assert!(of(&liar, Metric::Availability).unwrap().0 >= 940_000, "{loud}");
        // One in twenty in the wrong bin is some drift, and no more than that.
        let psi = of(&liar, Metric::FeaturePsi).unwrap().0;
        let like_others = of(&[honest(0), vec![answers(109, 109)]].concat(), Metric::FeaturePsi).unwrap().0;
        assert!(
            psi <= like_others * 11 / 10,
            "{loud}: {psi}, a device that counts as others do {like_others}"
        );
    }
}

#[test]
fn parts_that_are_more_than_the_whole_are_the_whole() {
    let counters =
        Counters { requests: 1, errors: u64::MAX, available_ms: 9, observed_ms: 3, ..Counters::default() };
    let liar = WindowSummary { span: 1, counters, ..WindowSummary::default() };
    let (value, _) = of(&[answers(100, 0), answers(100, 0), liar.clone()], Metric::ErrorRate).unwrap();
    assert!(value < 10_000, "{value}");
    assert_eq!(of(&[liar], Metric::Availability), Some((1_000_000, 3)));
}
