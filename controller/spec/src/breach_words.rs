//! An objective in the words of a person: what is wrong when it is broken, and its limit.

use modelfleet_protocol::metric::Unit;
use modelfleet_protocol::observe::Indicator;

/// What is wrong when it is broken: `too many false alarms`.
pub(crate) fn breach(indicator: &Indicator) -> String {
    match indicator.metric.entry() {
        Some(entry) if entry.metric.of_feature() => {
            let of = indicator.feature.as_ref();
            let of = of.map_or_else(|| "the input values".to_owned(), |name| format!("input {name}"));
            format!("{} of {of}", entry.breach)
        }
        Some(entry) => entry.breach.to_owned(),
        None => format!("{} outside its limit", indicator.name),
    }
}

/// The limit with its unit: `25 %`, `500 ms`, `0.2`.
pub(crate) fn limit(indicator: &Indicator) -> String {
    match indicator.metric.unit() {
        Unit::Duration => format!("{} ms", decimal(indicator.threshold, 1_000_000)),
        Unit::Number => decimal(indicator.threshold, 1_000_000),
        Unit::Share => format!("{} %", decimal(indicator.threshold, 10_000)),
        Unit::PerSecond => format!("{} per second", decimal(indicator.threshold, 1_000_000)),
        Unit::PerYear => format!("{} a year", decimal(indicator.threshold, 1_000_000)),
    }
}

/// `number / one`, to four digits behind the point.
fn decimal(number: u64, one: u64) -> String {
    let parts = u128::from(number) * 10_000 / u128::from(one);
    let text = format!("{}.{:04}", parts / 10_000, parts % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::metric::Metric;

    fn told(metric: Metric, feature: Option<&str>, threshold: u64) -> String {
        let feature = feature.map(str::to_owned);
        let indicator = Indicator { name: "an-objective".into(), metric, feature, threshold, min_samples: 1 };
        format!("{} (limit {})", breach(&indicator), limit(&indicator))
    }

    #[test]
    fn each_metric_says_what_is_wrong_and_from_where_on() {
        let cases = [
            (Metric::FalsePositiveRate, None, 250_000, "too many false alarms (limit 25 %)"),
            (Metric::LatencyP95, None, 25_000_000, "slow answers (limit 25 ms)"),
            (Metric::LatencyP99, None, 1_500_000, "slow answers (limit 1.5 ms)"),
            (Metric::ErrorRate, None, 1_250, "too many errors (limit 0.125 %)"),
            (Metric::Accuracy, None, 900_000, "too few correct answers (limit 90 %)"),
            (Metric::FeaturePsi, Some("pressure"), 200_000, "drift of input pressure (limit 0.2)"),
            (Metric::FeatureKl, None, 100_000, "drift of the input values (limit 0.1)"),
        ];
        for (metric, feature, threshold, text) in cases {
            assert_eq!(told(metric, feature, threshold), text);
        }
    }
}
