//! Rows as series of samples, for a store of time series.

use std::collections::BTreeMap;

use modelfleet_protocol::metric::{TABLE, Unit};

use crate::row::Row;

/// The prefix of the names: other ones than those of `/metrics`, which have the last window alone.
const PREFIX: &str = "modelfleet_closed_window_";

/// Names and values of labels, in the order of names.
pub type Labels = BTreeMap<&'static str, String>;

/// One sample: when, milliseconds since 1970, and what.
pub type Sample = (u64, f64);

/// The samples of rows by series, each in the order of time. A sample's time is the end of its window.
#[must_use]
pub fn series(rows: &[Row]) -> BTreeMap<Labels, Vec<Sample>> {
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for row in rows {
        let at = row.key.start_ms.saturating_add(row.key.window_ms);
        let mut add = |name: &str, value: f64| {
            let mut labels = labels(row);
            labels.insert("__name__", format!("{PREFIX}{name}"));
            series.entry(labels).or_default().push((at, value));
        };
        add("devices", row.devices as f64);
        add("requests", row.counters.requests as f64);
        for entry in TABLE {
            if let Some(value) = row.values.get(&entry.metric) {
                let family = entry.family();
                let scale = if entry.unit == Unit::Duration { 1e9 } else { 1e6 };
                let name = family.strip_prefix("modelfleet_").unwrap_or(&family);
                add(name, value.value() as f64 / scale);
            }
        }
    }
    for samples in series.values_mut() {
        samples.sort_by_key(|(at, _)| *at);
        samples.dedup_by_key(|(at, _)| *at);
    }
    series
}

fn labels(row: &Row) -> Labels {
    let key = &row.key;
    let mut labels = Labels::from([
        ("arm", key.arm.clone()),
        ("model", key.model.clone()),
        ("namespace", key.namespace.clone()),
        ("version", key.version.clone()),
    ]);
    if !key.stratum.is_empty() {
        labels.insert("stratum", key.stratum.clone());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::row;

    #[test]
    fn a_series_has_its_samples_at_the_ends_of_windows() {
        let series = series(&[row(1, 3, 97, 5), row(0, 2, 90, 5)]);
        let of = |name: &str| {
            series
                .iter()
                .find(|(labels, _)| labels["__name__"] == name)
                .map(|(_, samples)| samples.clone())
                .unwrap()
        };
        assert_eq!(of("modelfleet_closed_window_accuracy_ratio"), [(60_000, 0.9), (120_000, 0.97)]);
        assert_eq!(of("modelfleet_closed_window_devices"), [(60_000, 2.0), (120_000, 3.0)]);
        let labels = series.keys().next().unwrap();
        let names: Vec<&str> = labels.keys().copied().collect();
        assert_eq!(names, ["__name__", "arm", "model", "namespace", "version"], "in the order of names");
    }
}
