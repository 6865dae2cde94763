use super::*;
use modelfleet_protocol::generated::Counters;
use prometheus_client::encoding::text::encode;

fn shown(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

fn window(arm: Arm, values: Vec<(Metric, u64)>) -> ArmWindow {
    ArmWindow { arm, ended_at_ms: 3_600_000, devices: 7, values }
}

#[test]
fn the_last_window_is_shown_in_base_units_and_what_is_gone_goes() {
    let mut registry = Registry::with_prefix("modelfleet");
    let metrics = ModelMetrics::new(&mut registry);
    let at = RolloutLabels { namespace: "plant".into(), rollout: "r".into() };
    let names = ArmNames { model: "m", version: "1.1.0", controls: "1.0.0" };
    let values = vec![(Metric::LatencyP95, 612_000_000), (Metric::Accuracy, 975_000)];
    metrics.show(
        &at,
        names,
        &[window(Arm::Canary, values), window(Arm::Control, vec![(Metric::Accuracy, 990_000)])],
    );
    let text = shown(&registry);
    let canary = r#"{namespace="plant",model="m",version="1.1.0",arm="canary"}"#;
    let control = r#"{namespace="plant",model="m",version="1.0.0",arm="control"}"#;
    for line in [
        format!("modelfleet_latency_p95_seconds{canary} 0.612"),
        format!("modelfleet_accuracy_ratio{canary} 0.975"),
        format!("modelfleet_accuracy_ratio{control} 0.99"),
        format!("modelfleet_window_end_timestamp_seconds{canary} 3600"),
        format!("modelfleet_window_devices{control} 7"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    metrics.show(&at, names, &[window(Arm::Canary, vec![(Metric::Accuracy, 1)])]);
    let text = shown(&registry);
    assert!(!text.contains(&control) && !text.contains("modelfleet_latency_p95_seconds{"), "{text}");
    metrics.forget(&at);
    assert!(!shown(&registry).contains("plant"));
}

#[test]
fn what_arrives_is_counted_by_version_and_outcome() {
    let mut registry = Registry::with_prefix("modelfleet");
    let metrics = ModelMetrics::new(&mut registry);
    let key: Key = ("plant".parse().unwrap(), "m".parse().unwrap());
    let digest = Digest::of(b"1.1.0");
    metrics.name_versions(&key, std::iter::once((digest, "1.1.0".to_owned())));
    let counters =
        Counters { requests: 100, errors: 3, timeouts: 2, fallback: 5, refused: 4, ..Counters::default() };
    let mut latency = LatencyHistogram::default();
    latency.add(7_000_000, 90);
    latency.add(20_000_000_000, 5);
    let arrived = Arrived { digest, windows: 2, counters, latency };
    metrics.arrived(&key, &arrived);
    metrics.arrived(&key, &arrived);
    metrics.arrived(&key, &Arrived { digest: Digest::of(b"?"), ..arrived });
    let text = shown(&registry);
    let at = r#"namespace="plant",model="m",version="1.1.0""#;
    for line in [
        format!(r#"modelfleet_predictions_total{{{at},outcome="answered"}} 180"#),
        format!(r#"modelfleet_predictions_total{{{at},outcome="error"}} 6"#),
        format!(r#"modelfleet_predictions_total{{{at},outcome="refused"}} 8"#),
        format!("modelfleet_device_windows_total{{{at}}} 4"),
        format!(r#"modelfleet_prediction_latency_seconds_bucket{{le="0.005",{at}}} 0"#),
        format!(r#"modelfleet_prediction_latency_seconds_bucket{{le="0.01",{at}}} 180"#),
        format!(r#"modelfleet_prediction_latency_seconds_bucket{{le="10.0",{at}}} 180"#),
        format!(r#"modelfleet_prediction_latency_seconds_bucket{{le="+Inf",{at}}} 190"#),
        format!("modelfleet_prediction_latency_seconds_count{{{at}}} 190"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains(r#"version="unknown""#), "a build that no object names");
}
