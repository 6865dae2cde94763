//! What devices measured, for Prometheus.
//!
//! Gauges show the last complete window of each model, version and arm, of a random sample of devices. Counters and the
//! histogram of latencies grow with every report that arrives, of all devices. Labels are models and versions that exist,
//! and words of ours; never a device.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use modelfleet_fleet::{Arrived, Key};
use modelfleet_judge::Arm;
use modelfleet_model::assess::ArmWindow;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::latency::{LatencyHistogram, upper_edge};
use modelfleet_protocol::metric::{Metric, TABLE, Unit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Labels, RolloutLabels};

/// Upper bounds of the histogram of latencies, nanoseconds: from a small model on a gateway to a slow one on a small board.
const LATENCY_BOUNDS_NS: [u64; 13] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// The version of a build that no ModelVersion names.
const UNKNOWN_VERSION: &str = "unknown";

type Value = Gauge<f64, AtomicU64>;

/// Numbers of models; cheap to clone.
#[derive(Clone)]
pub struct ModelMetrics {
    /// In the order of the table of metrics.
    values: Arc<Vec<(Metric, Family<Labels, Value>)>>,
    window_ended: Family<Labels, Gauge>,
    window_devices: Family<Labels, Gauge>,
    predictions: Family<Labels, Counter>,
    windows: Family<Labels, Counter>,
    latency: Arc<Latencies>,
    /// The series that each rollout is shown with.
    shown: Arc<Mutex<BTreeMap<RolloutLabels, BTreeSet<Vec<String>>>>>,
    /// The versions of each model, by digest.
    versions: Arc<Mutex<BTreeMap<Key, BTreeMap<Digest, String>>>>,
}

impl ModelMetrics {
    /// Without any number, registered.
    #[must_use]
    pub fn new(registry: &mut Registry) -> ModelMetrics {
        let metrics = ModelMetrics {
            values: Arc::new(TABLE.iter().map(|entry| (entry.metric, Family::default())).collect()),
            window_ended: Family::default(),
            window_devices: Family::default(),
            predictions: Family::default(),
            windows: Family::default(),
            latency: Arc::default(),
            shown: Arc::default(),
            versions: Arc::default(),
        };
        for (entry, (_, family)) in TABLE.iter().zip(metrics.values.iter()) {
            let name = entry.family();
            let name = name.strip_prefix("modelfleet_").unwrap_or(&name);
            let text = entry.text();
            registry.register(name, text.trim_end_matches('.'), family.clone());
        }
        let help = "When the last complete window of an arm ended";
        registry.register("window_end_timestamp_seconds", help, metrics.window_ended.clone());
        let help = "Devices of the sample that reported the last complete window of an arm, at most 512";
        registry.register("window_devices", help, metrics.window_devices.clone());
        let help = "Predictions in windows that devices reported, by outcome";
        registry.register("predictions", help, metrics.predictions.clone());
        let help = "Windows that devices reported";
        registry.register("device_windows", help, metrics.windows.clone());
        registry.register_collector(Box::new(Arc::clone(&metrics.latency)));
        metrics
    }

    /// Shows the last windows of a rollout's arms; `controls` is the version of the devices without it.
    pub fn show(&self, at: &RolloutLabels, names: ArmNames<'_>, windows: &[ArmWindow]) {
        let mut now = BTreeSet::new();
        for window in windows {
            let (version, arm) = match window.arm {
                Arm::Canary => (names.version, "canary"),
                Arm::Control => (names.controls, "control"),
            };
            let series =
                vec![at.namespace.clone(), names.model.to_owned(), version.to_owned(), arm.to_owned()];
            let labels = labels(&series);
            let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.window_ended.get_or_create(&labels).set(signed(window.ended_at_ms / 1_000));
            self.window_devices.get_or_create(&labels).set(signed(window.devices as u64));
            for (metric, family) in self.values.iter() {
                match window.values.iter().find(|(found, _)| found == metric) {
                    Some((_, value)) => {
                        family.get_or_create(&labels).set(in_base_unit(*metric, *value));
                    }
                    None => {
                        family.remove(&labels);
                    }
                }
            }
            now.insert(series);
        }
        let before = self.shown().insert(at.clone(), now.clone()).unwrap_or_default();
        before.difference(&now).for_each(|series| self.remove(series));
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&self, at: &RolloutLabels) {
        let gone = self.shown().remove(at).unwrap_or_default();
        gone.iter().for_each(|series| self.remove(series));
    }

    fn remove(&self, series: &[String]) {
        let labels = labels(series);
        self.window_ended.remove(&labels);
        self.window_devices.remove(&labels);
        for (_, family) in self.values.iter() {
            family.remove(&labels);
        }
    }

    /// Tells which versions a model has. Reports say digests.
    pub fn name_versions(&self, key: &Key, versions: impl Iterator<Item = (Digest, String)>) {
        let named: BTreeMap<Digest, String> = versions.collect();
        let mut known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if named.is_empty() {
            known.remove(key);
        } else {
            known.insert(key.clone(), named);
        }
    }

    /// Counts what a report told for the first time.
    pub fn arrived(&self, key: &Key, arrived: &Arrived) {
        let known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let version = known.get(key).and_then(|versions| versions.get(&arrived.digest));
        let version = version.map_or(UNKNOWN_VERSION, String::as_str);
        let at = vec![
            ("namespace", key.0.to_string()),
            ("model", key.1.to_string()),
            ("version", version.to_owned()),
        ];
        drop(known);
        let c = &arrived.counters;
        let answered =
            c.requests.saturating_sub(c.errors).saturating_sub(c.timeouts).saturating_sub(c.fallback);
        for (outcome, count) in [
            ("answered", answered),
            ("error", c.errors),
            ("timeout", c.timeouts),
            ("fallback", c.fallback),
            ("refused", c.refused),
        ] {
            let mut labels = at.clone();
            labels.push(("outcome", outcome.to_owned()));
            self.predictions.get_or_create(&Labels(labels)).inc_by(count);
        }
        let at = Labels(at);
        self.windows.get_or_create(&at).inc_by(arrived.windows);
        self.latency.add(&at, &arrived.latency);
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<RolloutLabels, BTreeSet<Vec<String>>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the arms of a rollout are called.
#[derive(Clone, Copy, Debug)]
pub struct ArmNames<'a> {
    /// The model.
    pub model: &'a str,
    /// The version that the rollout brings.
    pub version: &'a str,
    /// The version of the devices without it.
    pub controls: &'a str,
}

fn labels(series: &[String]) -> Labels {
    let names = ["namespace", "model", "version", "arm"];
    Labels(names.into_iter().zip(series.iter().cloned()).collect())
}

/// A value in the base unit of Prometheus: seconds, or one.
fn in_base_unit(metric: Metric, value: u64) -> f64 {
    match metric.unit() {
        Unit::Duration => value as f64 / 1e9,
        Unit::Share | Unit::Number | Unit::PerSecond | Unit::PerYear => value as f64 / 1e6,
    }
}

/// Latencies that arrived, by model and version.
#[derive(Debug, Default)]
struct Latencies(Mutex<BTreeMap<Vec<(&'static str, String)>, LatencyHistogram>>);

impl Latencies {
    fn add(&self, at: &Labels, more: &LatencyHistogram) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(at.0.clone()).or_default().merge(more);
    }
}

impl Collector for Latencies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Time of predictions in windows that devices reported";
        let name = "prediction_latency_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (at, histogram) in all.iter() {
            let mut below = 0;
            let mut buckets = Vec::with_capacity(LATENCY_BOUNDS_NS.len() + 1);
            for bound in LATENCY_BOUNDS_NS {
                let up_to = histogram.count() - histogram.count_above(bound);
                buckets.push((bound as f64 / 1e9, up_to - below));
                below = up_to;
            }
            buckets.push((f64::INFINITY, histogram.count() - below));
            let labels = Labels(at.clone());
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum_seconds(histogram), histogram.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// The sum of the counted times, each as the upper edge of its bucket: at most 4.4 % too much.
fn sum_seconds(histogram: &LatencyHistogram) -> f64 {
    histogram.buckets().map(|(index, count)| upper_edge(index) as f64 / 1e9 * count as f64).sum()
}

#[cfg(test)]
mod tests;
