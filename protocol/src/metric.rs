//! What can be watched. Every metric ends as a 0/1 per device and window: beyond the threshold or not.
//!
//! All that the system knows of a metric is its entry in [`table`]: from it follow the schema's list and rules, a device's
//! cut, the controller's value over many devices, the family of numbers for Prometheus, the column of the command line,
//! and `docs/metrics.md`.

mod table;
mod words;

use crate::bins::Bins;
use crate::generated::Counters;
use crate::window::WindowSummary;

pub use table::{Metric, TABLE};
pub use words::{Measured, sentence};

/// All that is known of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The metric.
    pub metric: Metric,
    /// Its name in objectives, plans and baselines.
    pub name: &'static str,
    /// What it is, as sentences for people.
    pub doc: &'static str,
    /// The unit of thresholds and values.
    pub unit: Unit,
    /// Which values are the bad ones.
    pub worse: Worse,
    /// How it is read from a window.
    pub reading: Reading,
    /// What a version must have so that devices can measure it.
    pub needs: Needs,
    /// What is wrong when its objective is broken: `too many errors`.
    pub breach: &'static str,
    /// What the command line and sentences call it: `P95 latency`.
    pub label: &'static str,
    /// The family of numbers for Prometheus, without the prefix `modelfleet_` and the unit at the end.
    pub prometheus: &'static str,
}

/// The unit that a metric's threshold and values are whole numbers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Millionths of the whole; people read per cent.
    Share,
    /// Millionths of a number without a unit, such as a distance.
    Number,
    /// Nanoseconds; people read milliseconds.
    Duration,
    /// Millionths of one in a second.
    PerSecond,
    /// Millionths of one in a year of 365 days.
    PerYear,
}

/// Which values of a metric are the bad ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Those above the threshold.
    Above,
    /// Those below the threshold.
    Below,
}

/// How a metric is read from a window, and with that how it merges: counters and histograms add exactly, and the metric is
/// read from the sums.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// A share: `part` of `whole`, both counted.
    Ratio {
        /// What is counted.
        part: fn(&Counters) -> u64,
        /// Of how many; the samples that it rests on.
        whole: fn(&Counters) -> u64,
    },
    /// How often something comes on one device: `count` in `per_ms` milliseconds of the time that was observed. The samples
    /// that it rests on are milliseconds.
    Rate {
        /// What is counted.
        count: fn(&Counters) -> u64,
        /// Milliseconds of the unit.
        per_ms: u64,
    },
    /// A mean: `sum` over `count`. The sum is in the metric's unit, so the mean is so as well.
    Mean {
        /// What is added up.
        sum: fn(&Counters) -> u64,
        /// Over how many; the samples that it rests on.
        count: fn(&Counters) -> u64,
    },
    /// The root of a mean of squares: `sum` is in millionths of the squared unit.
    RootMean {
        /// The squares, added up.
        sum: fn(&Counters) -> u64,
        /// Of how many; the samples that it rests on.
        count: fn(&Counters) -> u64,
    },
    /// The duration that so many millionths of the requests do not exceed, from the histogram of latencies.
    Quantile {
        /// Millionths of the requests.
        ppm: u32,
    },
    /// How far the bins of a feature are from those of the reference profile; where no feature is named, of the feature
    /// that is farthest.
    Distance(Distance),
    /// The highest value that was seen in the window. Over many devices it is the typical device's.
    Highest(fn(&WindowSummary) -> u64),
}

/// A distance between two histograms over the same bins.
#[derive(Clone, Copy, Debug)]
pub struct Distance {
    /// Its number in the past that a device keeps; never used again for another one.
    pub kept_as: u32,
    /// In millionths; `None` where a side is empty or their bins differ.
    pub between: fn(seen: &Bins, reference: &Bins) -> Option<u64>,
}

/// What a version must have so that devices can measure a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Ground truth, and with it `pipeline.decision`, which says when an answer is positive.
    Truth,
    /// A confidence among the outputs, and `baseline.confidence`.
    Confidence,
    /// Expected ranges of the features.
    Ranges,
    /// A reference profile of the features.
    Profile,
}

/// A rate over so many milliseconds of observation, in millionths; `None` where no time was observed.
#[must_use]
pub fn rate_micros(count: u64, per_ms: u64, observed_ms: u64) -> Option<u64> {
    let exact = u128::from(count) * u128::from(per_ms) * 1_000_000 / u128::from(observed_ms).max(1);
    (observed_ms > 0).then(|| u64::try_from(exact).unwrap_or(u64::MAX))
}

/// The mean of so many, in the unit of the sum.
#[must_use]
pub fn mean(sum: u64, count: u64) -> Option<u64> {
    sum.checked_div(count)
}

/// The root of the mean of squares that were added up in millionths, in millionths.
#[must_use]
pub fn root_mean_micros(sum: u64, count: u64) -> Option<u64> {
    let mean = (u128::from(sum) * 1_000_000).checked_div(u128::from(count))?;
    u64::try_from(mean.isqrt()).ok()
}

impl Metric {
    /// All that is known of it; `None` for a metric of a newer controller.
    #[must_use]
    pub fn entry(self) -> Option<&'static Entry> {
        TABLE.get(self as usize)
    }

    /// Every metric that this version knows.
    pub fn all() -> impl Iterator<Item = Metric> {
        TABLE.iter().map(|entry| entry.metric)
    }

    /// Its name, as objectives have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().map_or("Unknown", |entry| entry.name)
    }

    /// The unit of thresholds and values.
    #[must_use]
    pub fn unit(self) -> Unit {
        self.entry().map_or(Unit::Number, |entry| entry.unit)
    }

    /// Whether small values are the bad ones.
    #[must_use]
    pub fn bad_below(self) -> bool {
        self.entry().is_some_and(|entry| entry.worse == Worse::Below)
    }

    /// Whether its threshold is a duration.
    #[must_use]
    pub fn is_duration(self) -> bool {
        self.unit() == Unit::Duration
    }

    /// What a version must have so that devices can measure it.
    #[must_use]
    pub fn needs(self) -> Needs {
        self.entry().map_or(Needs::Nothing, |entry| entry.needs)
    }

    /// Whether it is read from a histogram; all others are read from counters.
    #[must_use]
    pub fn rests_on_histogram(self) -> bool {
        self.entry().is_some_and(|e| matches!(e.reading, Reading::Quantile { .. } | Reading::Distance(_)))
    }

    /// Whether it compares numbers with true numbers, for which no answer has to be read as an alarm.
    #[must_use]
    pub fn is_error_of_numbers(self) -> bool {
        self.entry().is_some_and(|e| matches!(e.reading, Reading::Mean { .. } | Reading::RootMean { .. }))
    }

    /// Whether a feature may be named with it.
    #[must_use]
    pub fn of_feature(self) -> bool {
        self.needs() == Needs::Profile
    }

    /// Whether a value lies beyond a threshold.
    #[must_use]
    pub fn is_beyond(self, value: u64, threshold: u64) -> bool {
        if self.bad_below() { value < threshold } else { value > threshold }
    }
}

impl Entry {
    /// The family of numbers for Prometheus, whole: with the prefix, and with the base unit at the end.
    #[must_use]
    pub fn family(&self) -> String {
        let unit = match self.unit {
            Unit::Share => "_ratio",
            Unit::Duration => "_seconds",
            Unit::Number => "",
            Unit::PerSecond => "_per_second",
            Unit::PerYear => "_per_year",
        };
        format!("modelfleet_{}{unit}", self.prometheus)
    }

    /// What it is, in the words of a page.
    #[must_use]
    pub fn text(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_where_its_metric_says() {
        for entry in TABLE {
            assert_eq!(entry.metric.entry().map(|found| found.name), Some(entry.name));
            let written = serde_json::to_value(entry.metric).unwrap();
            assert_eq!(written, entry.name, "the name on the wire");
        }
        assert!(Metric::Unknown.entry().is_none());
        let newer: Metric = serde_json::from_value("OfALaterVersion".into()).unwrap();
        assert_eq!(newer, Metric::Unknown);
    }

    #[test]
    fn no_two_entries_share_a_name() {
        for name in [|entry: &Entry| entry.prometheus, |entry: &Entry| entry.label] {
            let mut names: Vec<&str> = TABLE.iter().map(name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        let mut kept: Vec<u32> = TABLE
            .iter()
            .filter_map(|entry| match entry.reading {
                Reading::Distance(distance) => Some(distance.kept_as),
                _ => None,
            })
            .collect();
        let count = kept.len();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept.len(), count, "two distances are kept under one number");
    }

    /// The numbers of the fall detector in reference 000, 7.4: 45 right alarms, 20 false ones, 5 falls missed, 930 quiet.
    #[test]
    fn the_case_study_has_its_numbers() {
        let counters = Counters {
            true_positive: 45,
            false_positive: 20,
            false_negative: 5,
            true_negative: 930,
            observed_ms: 24 * 3_600_000,
            ..Counters::default()
        };
        let window = WindowSummary { span: 1, counters, ..WindowSummary::default() };
        let value = |metric| window.value(metric, None, None);
        assert_eq!(value(Metric::Precision), Some((692_307, 65)));
        assert_eq!(value(Metric::Recall), Some((900_000, 50)));
        assert_eq!(value(Metric::F1), Some((782_608, 115)));
        assert_eq!(value(Metric::Specificity), Some((978_947, 950)));
        assert_eq!(value(Metric::Accuracy), Some((975_000, 1_000)));
        let a_year = value(Metric::FalsePositivesPerYear).unwrap();
        assert_eq!(a_year, (20 * 365 * 1_000_000, 24 * 3_600_000), "20 a day");
        // 0.1 % of an event every ten seconds in 16 hours of a day: 2 102 a year, as the text says "2,100".
        let events = 5_760 * 365;
        let year = Counters {
            true_negative: events - events / 1_000,
            false_positive: events / 1_000,
            observed_ms: 365 * 24 * 3_600_000,
            ..Counters::default()
        };
        let year = WindowSummary { span: 1, counters: year, ..WindowSummary::default() };
        assert_eq!(
            year.value(Metric::FalsePositivesPerYear, None, None).map(|v| v.0 / 1_000_000),
            Some(2_102)
        );
    }
}
