//! The metrics that an objective or a baseline can name: those of the protocol's table.

use kube::core::Rule;
use modelfleet_protocol::metric::{Entry, Needs, TABLE, Unit};
use schemars::{Schema, SchemaGenerator, json_schema};

pub use modelfleet_protocol::metric::Metric;

/// The schema of a metric's name: every one of the table.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// A limit of a duration is a duration, and a limit of anything else is a number.
pub(crate) fn bound_fits_metric() -> Rule {
    let durations = literals(&names(|entry| entry.metric.is_duration()));
    Rule::new(format!(
        "(self.metric in {durations} && self.relativeTo == 'None') == self.threshold.endsWith('s')"
    ))
    .message(
        "threshold must be a duration such as 500ms for a latency, and a percentage or decimal number such as 1% \
         or 0.01 for every other metric and with relativeTo Baseline",
    )
}

/// A feature is named where the metric is about one.
pub(crate) fn feature_fits_metric() -> Rule {
    only_with("feature", &names(|entry| entry.metric.of_feature()))
}

/// Labels come late where the metric needs them.
pub(crate) fn labels_fit_metric() -> Rule {
    only_with("labelDelay", &names(|entry| entry.needs == Needs::Truth))
}

/// A test of events by year where the metric is so many a year.
pub(crate) fn poisson_fits_metric() -> Rule {
    let metrics = names(|entry| entry.unit == Unit::PerYear);
    Rule::new(format!("self.judgedBy != 'Poisson' || self.metric in {}", literals(&metrics)))
        .message(format!("judgedBy: Poisson is only allowed with metric {}", metrics.join(" or ")).as_str())
}

fn only_with(field: &str, names: &[&str]) -> Rule {
    let (last, before) = names.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
    let message = format!("{field} is only allowed with metric {} or {last}", before.join(", "));
    Rule::new(format!("!has(self.{field}) || self.metric in {}", literals(names))).message(message.as_str())
}

fn names(wanted: impl Fn(&Entry) -> bool) -> Vec<&'static str> {
    TABLE.iter().filter(|entry| wanted(entry)).map(|entry| entry.name).collect()
}

/// A list of texts as CEL writes it.
fn literals(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(", "))
}
