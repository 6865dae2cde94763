//! A row: what the sampled devices of one model, version, arm and stratum counted in one window.

use std::collections::BTreeMap;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::metric::{Metric, Reading};
use modelfleet_protocol::window::add_counters;

use crate::place::{Place, Tier};

/// The resolution of a window as devices counted it.
pub const RAW: &str = "raw";

/// What a row is of. No two rows of a file have the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Namespace of the fleet.
    pub namespace: String,
    /// Model.
    pub model: String,
    /// When the window began, milliseconds since 1970.
    pub start_ms: u64,
    /// How long it is, milliseconds.
    pub window_ms: u64,
    /// `raw`: as devices counted. Otherwise the folder of the rows that finer ones were merged to.
    pub resolution: String,
    /// Version, or the digest of a build that no ModelVersion names.
    pub version: String,
    /// `canary` or `control`.
    pub arm: String,
    /// Empty: all devices of the arm. Otherwise those with these labels, such as `age=old`.
    pub stratum: String,
}

/// The value of a metric in its unit, and on how many samples it rests: as the sum over the samples, so that means of means
/// are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value times the samples, in the metric's unit.
    pub weighted: u128,
    /// On how many samples it rests.
    pub samples: u64,
}

impl Value {
    /// A value that rests on so many samples.
    #[must_use]
    pub fn new(value: u64, samples: u64) -> Value {
        Value { weighted: u128::from(value) * u128::from(samples), samples }
    }

    /// The value in the metric's unit, to the nearest.
    #[must_use]
    pub fn value(self) -> u64 {
        let samples = u128::from(self.samples.max(1));
        u64::try_from((self.weighted + samples / 2) / samples).unwrap_or(u64::MAX)
    }

    fn plus(self, other: Value) -> Value {
        Value {
            weighted: self.weighted.saturating_add(other.weighted),
            samples: self.samples.saturating_add(other.samples),
        }
    }
}

/// What devices counted in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is of.
    pub key: Key,
    /// Windows that are merged here.
    pub windows: u64,
    /// Devices of the sample that reported it; of several windows the most.
    pub devices: u64,
    /// The sum of the devices of each window.
    pub device_windows: u64,
    /// When the row was made, milliseconds since 1970: of rows that know as much the latest counts.
    pub revision: u64,
    /// Sums over the devices, exact.
    pub counters: Counters,
    /// How long predictions took. No device has more weight in it than the typical one.
    pub latency: LatencyHistogram,
    /// What the controller shows of each metric.
    pub values: BTreeMap<Metric, Value>,
}

impl Row {
    /// Whether it is as devices counted.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.key.resolution == RAW
    }

    /// The resolution that it lies with.
    #[must_use]
    pub fn tier(&self) -> Tier {
        Tier::of_window(self.key.window_ms)
    }

    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::of(&self.key.namespace, &self.key.model, self.tier(), self.key.start_ms)
    }

    /// Of two rows of one key the one that knows more counts, and of those that know as much the one that was made later: a
    /// device that was offline adds to a window, and ground truth changes one that all have reported.
    fn rank(&self) -> (u64, u64, u64) {
        (self.windows, self.device_windows, self.revision)
    }

    /// Whether it counts more than another row of its key.
    #[must_use]
    pub fn counts_more_than(&self, other: &Row) -> bool {
        self.rank() > other.rank()
    }

    /// Whether another row says the same, whenever it was made.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Row) -> bool {
        let Row { key, windows, devices, device_windows, revision: _, counters, latency, values } = self;
        (key, windows, devices, device_windows)
            == (&other.key, &other.windows, &other.devices, &other.device_windows)
            && (counters, latency) == (&other.counters, &other.latency)
            && rounded(values).eq(rounded(&other.values))
    }

    /// Adds what a row of another window counted. Values are means by their samples, but for quantiles, which are read from
    /// the merged histogram.
    pub fn merge(&mut self, other: &Row) {
        self.windows = self.windows.saturating_add(other.windows);
        self.devices = self.devices.max(other.devices);
        self.device_windows = self.device_windows.saturating_add(other.device_windows);
        self.revision = self.revision.max(other.revision);
        add_counters(&mut self.counters, &other.counters);
        self.latency.merge(&other.latency);
        for (metric, more) in &other.values {
            let sum = self.values.get(metric).map_or(*more, |own| own.plus(*more));
            self.values.insert(*metric, sum);
        }
        for (metric, value) in &mut self.values {
            if let Some(Reading::Quantile { ppm }) = metric.entry().map(|entry| entry.reading) {
                let read = self.latency.quantile(ppm).unwrap_or_else(|| value.value());
                *value = Value::new(read, value.samples);
            }
        }
    }
}

fn rounded(values: &BTreeMap<Metric, Value>) -> impl Iterator<Item = (Metric, u64, u64)> {
    values.iter().map(|(metric, value)| (*metric, value.value(), value.samples))
}

/// The rows that count: of each key the best, in the order of keys.
#[must_use]
pub fn best(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let mut kept: BTreeMap<Key, Row> = BTreeMap::new();
    for row in rows {
        match kept.get(&row.key) {
            Some(known) if !row.counts_more_than(known) => {}
            _ => {
                kept.insert(row.key.clone(), row);
            }
        }
    }
    kept.into_values().collect()
}

/// Rows merged to a coarser resolution: one for each version, arm, stratum and step of it. Rows that are as coarse already
/// are not in it.
#[must_use]
pub fn merged_to(tier: Tier, rows: &[Row]) -> Vec<Row> {
    let mut merged: BTreeMap<Key, Row> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.tier() < tier) {
        let step = tier.step_ms();
        let key = Key {
            start_ms: row.key.start_ms / step * step,
            window_ms: step,
            resolution: tier.name().to_owned(),
            ..row.key.clone()
        };
        match merged.get_mut(&key) {
            Some(sum) => sum.merge(row),
            None => {
                merged.insert(key.clone(), Row { key, ..row.clone() });
            }
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of one window of a minute with so many right answers of a hundred, and a latency.
    pub(crate) fn row(minute: u64, devices: u64, right: u64, latency_ms: u64) -> Row {
        let key = Key {
            namespace: "plant".into(),
            model: "m".into(),
            start_ms: minute * 60_000,
            window_ms: 60_000,
            resolution: RAW.into(),
            version: "1.1.0".into(),
            arm: "canary".into(),
            stratum: String::new(),
        };
        let counters = Counters {
            requests: 100,
            true_positive: right,
            false_positive: 100 - right,
            observed_ms: 60_000 * devices,
            ..Counters::default()
        };
        let mut latency = LatencyHistogram::default();
        latency.add(latency_ms * 1_000_000, 100);
        let values = [
            (Metric::Accuracy, Value::new(right * 10_000, 100)),
            (Metric::LatencyP95, Value::new(latency.quantile(950_000).unwrap(), 100)),
            (Metric::FeaturePsi, Value::new(10_000 * devices, 700)),
        ];
        Row {
            key,
            windows: 1,
            devices,
            device_windows: devices,
            revision: 7,
            counters,
            latency,
            values: values.into(),
        }
    }

    #[test]
    fn the_row_that_knows_more_counts_and_then_the_later_one() {
        let (few, many) = (row(0, 3, 90, 5), row(0, 4, 91, 5));
        let later = Row { revision: 9, ..row(0, 3, 89, 5) };
        assert_eq!(best([few.clone(), many.clone(), later.clone()]), std::slice::from_ref(&many));
        assert_eq!(best([many.clone(), few.clone()]), [many]);
        assert_eq!(best([few.clone(), later.clone()]), std::slice::from_ref(&later), "ground truth came");
        assert_eq!(best([later.clone(), few.clone()]), std::slice::from_ref(&later));
        assert!(!later.says_the_same_as(&few) && few.says_the_same_as(&Row { revision: 8, ..few.clone() }));
    }

    #[test]
    fn an_hour_has_the_sums_of_its_minutes() {
        let rows: Vec<Row> =
            (0..120).map(|minute| row(minute, 1 + minute % 4, 90 + minute / 60, 10)).collect();
        let hours = merged_to(Tier::Hours, &rows);
        assert_eq!(hours.len(), 2);
        let first = &hours[0];
        assert_eq!((first.windows, first.devices, first.device_windows), (60, 4, 150));
        assert_eq!((first.counters.requests, first.counters.true_positive), (6_000, 5_400));
        assert_eq!(first.values[&Metric::Accuracy], Value::new(900_000, 6_000));
        assert_eq!(first.values[&Metric::FeaturePsi], Value::new(25_000, 42_000));
        assert_eq!(first.values[&Metric::LatencyP95].value(), first.latency.quantile(950_000).unwrap());
        assert_eq!((hours[1].key.start_ms, hours[1].key.window_ms), (3_600_000, 3_600_000));
        let day = merged_to(Tier::Days, &hours);
        assert_eq!(merged_to(Tier::Days, &rows), day, "by way of hours or at once");
        assert!(merged_to(Tier::Days, &day).is_empty());
    }
}
