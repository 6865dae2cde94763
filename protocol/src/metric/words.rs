//! Values in the words of people.

use super::{Metric, Unit};

/// A value with the interval that it lies in, where one is known, in the unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The value.
    pub value: u64,
    /// Lower and upper end of its 95 % interval.
    pub interval: Option<(u64, u64)>,
    /// Samples that it rests on: requests, readings, cases whose truth is known, or milliseconds of observation.
    pub samples: u64,
    /// Devices that it rests on.
    pub devices: u32,
}

impl Unit {
    /// What a value is divided by for people, and the name behind it.
    fn scale(self) -> (u64, &'static str) {
        match self {
            Unit::Share => (10_000, " %"),
            Unit::Number => (1_000_000, ""),
            Unit::Duration => (1_000_000, " ms"),
            Unit::PerSecond => (1_000_000, " per second"),
            Unit::PerYear => (1_000_000, " a year"),
        }
    }

    /// A value to three digits, without its unit: `97.5`.
    #[must_use]
    pub fn number(self, value: u64) -> String {
        let (one, _) = self.scale();
        let digits = match value / one {
            0 if value * 10 < one => 4,
            0 => 3,
            1..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        let text = format!("{:.digits$}", value as f64 / one as f64);
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    }

    /// A value to three digits with its unit: `97.5 %`, `612 ms`.
    #[must_use]
    pub fn text(self, value: u64) -> String {
        self.number(value) + self.scale().1
    }
}

/// What devices with a version measured, beside those without it and the limit: `P95 latency 612 ms (600 to 625), controls
/// 480 ms, at most 500 ms`.
#[must_use]
pub fn sentence(metric: Metric, canaries: &Measured, controls: Option<&Measured>, threshold: u64) -> String {
    let unit = metric.unit();
    let label = metric.entry().map_or("value", |entry| entry.label);
    let interval = |measured: &Measured| {
        let ends = measured.interval;
        ends.map_or_else(String::new, |(low, high)| {
            format!(" ({} to {})", unit.number(low), unit.number(high))
        })
    };
    let mut text = format!("{label} {}{}", unit.text(canaries.value), interval(canaries));
    if let Some(controls) = controls {
        text += &format!(", controls {}", unit.text(controls.value));
    }
    let bound = if metric.bad_below() { "at least" } else { "at most" };
    text + &format!(", {bound} {}", unit.text(threshold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_with_its_interval_the_controls_and_the_limit() {
        let measured = |value, interval| Measured { value, interval, samples: 9, devices: 3 };
        let canaries = measured(612_000_000, Some((600_000_000, 625_000_000)));
        let controls = measured(480_000_000, None);
        assert_eq!(
            sentence(Metric::LatencyP95, &canaries, Some(&controls), 500_000_000),
            "P95 latency 612 ms (600 to 625), controls 480 ms, at most 500 ms"
        );
        let accuracy = measured(975_000, Some((961_000, 984_300)));
        assert_eq!(
            sentence(Metric::Accuracy, &accuracy, None, 950_000),
            "accuracy 97.5 % (96.1 to 98.4), at least 95 %"
        );
        assert_eq!(Unit::Number.text(1_234), "0.0012");
        assert_eq!(Unit::Share.text(0), "0 %");
        assert_eq!(Unit::PerYear.text(2_102_400_000), "2102 a year");
    }
}
