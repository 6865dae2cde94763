use super::*;
use modelfleet_protocol::generated::Counters;

fn device(requests: u64, errors: u64, latency_ms: u64) -> WindowSummary {
    let counters = Counters { requests, errors, observed_ms: 60_000, ..Counters::default() };
    let mut window = WindowSummary { span: 1, counters, ..WindowSummary::default() };
    window.latency.add(latency_ms * 1_000_000, requests);
    window
}

fn of(devices: Vec<WindowSummary>, metric: Metric) -> Option<Measured> {
    ArmWindows { devices }.value(Wanted { metric, feature: None, profile: None })
}

#[test]
fn nothing_is_known_of_no_devices_and_few_give_no_interval() {
    assert_eq!(of(Vec::new(), Metric::ErrorRate), None);
    assert_eq!(of(vec![device(0, 0, 1)], Metric::ErrorRate), None);
    let two = of(vec![device(100, 1, 5); 2], Metric::ErrorRate).unwrap();
    assert_eq!((two.value, two.interval, two.samples, two.devices), (10_000, None, 200, 2));
}

/// None bad of 3 000 by devices that are alike: Wilson's upper end is z2 / (n + z2).
#[test]
fn none_bad_is_not_told_as_none_at_all() {
    let none = of(vec![device(100, 0, 5); 30], Metric::ErrorRate).unwrap();
    assert_eq!((none.value, none.interval), (0, Some((0, 1_279))));
    // Wilson's formula for 30 of 3000.
    let alike = of(vec![device(100, 1, 5); 30], Metric::ErrorRate).unwrap();
    assert_eq!((alike.value, alike.interval), (10_000, Some((7_014, 14_240))));
}

/// The same share, all of it on a tenth of the devices: those few say as little as they are.
#[test]
fn devices_that_differ_widen_the_interval() {
    let spread = (0..30).map(|i| device(100, if i % 10 == 0 { 10 } else { 0 }, 5)).collect();
    let spread = of(spread, Metric::ErrorRate).unwrap();
    let (low, high) = spread.interval.unwrap();
    assert_eq!(spread.value, 10_000);
    assert!(low < 3_000 && high > 30_000, "{low} to {high}");
}

#[test]
fn a_latency_lies_in_its_interval_and_rates_do_too() {
    let devices: Vec<WindowSummary> = (0..40).map(|i| device(100, 0, 400 + 5 * (i % 20))).collect();
    let p50 = of(devices.clone(), Metric::LatencyP50).unwrap();
    let (low, high) = p50.interval.unwrap();
    assert!(low <= p50.value && p50.value <= high && high < 2 * low, "{p50:?}");
    assert_eq!((p50.samples, p50.devices), (4_000, 40));
    let rate = of(devices, Metric::Throughput).unwrap();
    assert_eq!((rate.value, rate.interval), (1_666_666, Some((1_666_666, 1_666_666))), "100 in a minute");
}
