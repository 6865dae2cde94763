//! What a report says: rows of a time added up, by version, stratum or day, and which bounds they keep.

use std::collections::BTreeMap;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::metric::Metric;

use crate::compact::Listing;
use crate::day::{DAY_MS, Date};
use crate::place::Place;
use crate::row::{Row, Value, best};

/// What a report is split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Version.
    Version,
    /// Devices with the same values of the labels that the rollout is spread by.
    Stratum,
    /// Day, in UTC.
    Day,
}

/// What a report is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// From when on, milliseconds since 1970.
    pub since_ms: u64,
    /// Up to when.
    pub until_ms: u64,
    /// What it is split by; `None`: it is not.
    pub by: Option<By>,
    /// What values are held against.
    pub bounds: Vec<Bound>,
}

/// A value that a metric should keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The metric.
    pub metric: Metric,
    /// In its unit.
    pub threshold: u64,
}

/// The bounds that a service is held to where none are given: P95 latency 500 ms, P99 latency one second, 1 % errors,
/// 99.9 % availability, 85 % accuracy, and a drift of 0.2 by the population stability index.
pub const USUAL_BOUNDS: [Bound; 6] = [
    Bound { metric: Metric::Accuracy, threshold: 850_000 },
    Bound { metric: Metric::ErrorRate, threshold: 10_000 },
    Bound { metric: Metric::LatencyP95, threshold: 500_000_000 },
    Bound { metric: Metric::LatencyP99, threshold: 1_000_000_000 },
    Bound { metric: Metric::Availability, threshold: 999_000 },
    Bound { metric: Metric::FeaturePsi, threshold: 200_000 },
];

/// How a bound was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The bound.
    pub bound: Bound,
    /// The value over the whole time.
    pub value: Option<Value>,
    /// Windows whose value was beyond it.
    pub windows_beyond: u64,
    /// Windows whose value is known.
    pub windows_known: u64,
}

impl Kept {
    /// Whether the value over the whole time is beyond the bound; `None`: not known.
    #[must_use]
    pub fn is_beyond(&self) -> Option<bool> {
        self.value.map(|value| self.bound.metric.is_beyond(value.value(), self.bound.threshold))
    }
}

/// Rows that were added up.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common; empty: all.
    pub name: String,
    /// Their sum.
    pub sum: Row,
    /// How the bounds were kept.
    pub kept: Vec<Kept>,
}

impl Group {
    /// Cases whose ground truth is known.
    #[must_use]
    pub fn truth(&self) -> u64 {
        let Counters { true_positive, false_positive, true_negative, false_negative, .. } = self.sum.counters;
        [true_positive, false_positive, true_negative, false_negative]
            .iter()
            .fold(0, |s, c| s.saturating_add(*c))
    }

    /// The value of a metric over the whole time.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<Value> {
        self.sum.values.get(&metric).copied()
    }

    /// Windows whose value was beyond a bound, over all bounds.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.kept.iter().map(|kept| kept.windows_beyond).sum()
    }
}

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// All rows; `None`: there are none.
    pub total: Option<Group>,
    /// By what was asked for, in the order of names.
    pub groups: Vec<Group>,
    /// By day, in their order.
    pub days: Vec<Group>,
}

/// The files that a report of a model reads, of these files.
#[must_use]
pub fn files(listing: &Listing, namespace: &str, model: &str, since_ms: u64, until_ms: u64) -> Vec<String> {
    let of_model = |place: &Place| place.namespace == namespace && place.model == model;
    let of_time = |place: &Place| place.to_ms() > since_ms && place.from_ms < until_ms;
    let places = listing.iter().filter(|(place, _)| of_model(place) && of_time(place));
    places.flat_map(|(place, names)| names.keys().map(|name| place.file(name))).collect()
}

/// The rows that a report counts: of each day those as devices counted, and where they are kept no more, those of the finest
/// resolution.
#[must_use]
pub fn counted(rows: impl IntoIterator<Item = Row>, since_ms: u64, until_ms: u64) -> Vec<Row> {
    let of_time = |row: &Row| row.key.start_ms >= since_ms && row.key.start_ms < until_ms;
    let mut by_day: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    for row in best(rows.into_iter().filter(of_time)) {
        by_day.entry(row.key.start_ms / DAY_MS).or_default().push(row);
    }
    for rows in by_day.values_mut() {
        if rows.iter().any(Row::is_raw) {
            rows.retain(Row::is_raw);
        } else if let Some(finest) = rows.iter().map(Row::tier).min() {
            rows.retain(|row| row.tier() == finest);
        }
    }
    by_day.into_values().flatten().collect()
}

/// Adds rows up that [`counted`] has chosen.
#[must_use]
pub fn report(rows: &[Row], asked: &Asked) -> Report {
    let whole: Vec<&Row> = rows.iter().filter(|row| row.key.stratum.is_empty()).collect();
    let day = |row: &Row| {
        let Date { year, month, day } = Date::of(row.key.start_ms);
        format!("{year:04}-{month:02}-{day:02}")
    };
    let groups = match asked.by {
        None => Vec::new(),
        Some(By::Version) => grouped(&whole, &asked.bounds, |row| row.key.version.clone()),
        Some(By::Day) => grouped(&whole, &asked.bounds, day),
        Some(By::Stratum) => {
            let strata: Vec<&Row> = rows.iter().filter(|row| !row.key.stratum.is_empty()).collect();
            grouped(&strata, &asked.bounds, |row| row.key.stratum.clone())
        }
    };
    let total = grouped(&whole, &asked.bounds, |_| String::new()).pop();
    Report { total, groups, days: grouped(&whole, &asked.bounds, day) }
}

fn grouped(rows: &[&Row], bounds: &[Bound], name: impl Fn(&Row) -> String) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for row in rows {
        let name = name(row);
        match groups.get_mut(&name) {
            Some(group) => group.sum.merge(row),
            None => {
                let unknown =
                    |bound: &Bound| Kept { bound: *bound, value: None, windows_beyond: 0, windows_known: 0 };
                let kept = bounds.iter().map(unknown).collect();
                groups.insert(name.clone(), Group { name: name.clone(), sum: (*row).clone(), kept });
            }
        }
        let kept = groups.get_mut(&name).map(|group| &mut group.kept).into_iter().flatten();
        for kept in kept {
            if let Some(value) = row.values.get(&kept.bound.metric) {
                kept.windows_known += 1;
                kept.windows_beyond +=
                    u64::from(kept.bound.metric.is_beyond(value.value(), kept.bound.threshold));
            }
        }
    }
    for group in groups.values_mut() {
        for kept in &mut group.kept {
            kept.value = group.sum.values.get(&kept.bound.metric).copied();
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Tier;
    use crate::row::merged_to;
    use crate::row::tests::row;

    fn asked(by: Option<By>) -> Asked {
        Asked { since_ms: 0, until_ms: u64::MAX, by, bounds: USUAL_BOUNDS.to_vec() }
    }

    fn named(mut row: Row, version: &str, stratum: &str) -> Row {
        row.key.version = version.to_owned();
        row.key.stratum = stratum.to_owned();
        row
    }

    #[test]
    fn rows_are_added_up_by_what_was_asked_for() {
        let rows = [
            named(row(0, 3, 90, 5), "1.0.0", ""),
            named(row(0, 1, 92, 5), "1.0.0", "age=old"),
            named(row(0, 2, 89, 5), "1.0.0", "age=new"),
            named(row(1, 3, 70, 900), "1.1.0", ""),
            named(row(1_440, 3, 80, 5), "1.1.0", ""),
        ];
        let by = |by| report(&rows, &asked(Some(by)));
        let told = |groups: &[Group]| -> Vec<(String, u64, u64)> {
            groups
                .iter()
                .map(|g| (g.name.clone(), g.sum.windows, g.value(Metric::Accuracy).unwrap().value()))
                .collect()
        };
        let line = |name: &str, windows, accuracy| (name.to_owned(), windows, accuracy);
        assert_eq!(told(&by(By::Version).groups), [line("1.0.0", 1, 900_000), line("1.1.0", 2, 750_000)]);
        assert_eq!(told(&by(By::Stratum).groups), [line("age=new", 1, 890_000), line("age=old", 1, 920_000)]);
        let days = by(By::Day);
        assert_eq!(told(&days.groups), [line("1970-01-01", 2, 800_000), line("1970-01-02", 1, 800_000)]);
        assert_eq!(told(&days.days), told(&days.groups));
        let total = days.total.unwrap();
        assert_eq!((total.sum.windows, total.sum.counters.requests, total.truth()), (3, 300, 300));
        let accuracy = total.kept[0];
        assert_eq!((accuracy.windows_beyond, accuracy.windows_known), (2, 3));
        assert_eq!((accuracy.is_beyond(), total.kept[1].is_beyond()), (Some(true), None));
        assert_eq!(total.alarms(), 3, "two of accuracy and one of the 95th percentile");
    }

    #[test]
    fn of_each_day_the_finest_rows_count_and_once() {
        let minutes: Vec<Row> = (0..1_440).map(|minute| row(minute, 3, 90, 5)).collect();
        let second: Vec<Row> = (1_440..2_880).map(|minute| row(minute, 3, 80, 5)).collect();
        let hours = merged_to(Tier::Hours, &[minutes.clone(), second.clone()].concat());
        let days = merged_to(Tier::Days, &hours);
        // The minutes of the first day are kept no more.
        let rows = [second, hours, days].concat();
        let counted = counted(rows, 0, u64::MAX);
        assert_eq!(counted.len(), 24 + 1_440);
        let report = report(&counted, &asked(Some(By::Day)));
        assert_eq!(report.total.unwrap().sum.windows, 2_880);
        assert_eq!(report.groups[0].value(Metric::Accuracy).map(Value::value), Some(900_000));
    }
}
