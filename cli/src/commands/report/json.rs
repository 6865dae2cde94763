//! A report as JSON, with every metric in the base unit of Prometheus.

use modelfleet_history::counters::all;
use modelfleet_history::report::{Group, Report};
use modelfleet_protocol::metric::{Metric, Unit};
use serde_json::{Map, Value, json};

use super::{About, Saved};

/// The whole report.
pub(super) fn object(about: &About, report: &Report, saved: Option<&Saved>) -> Value {
    json!({
        "model": about.model,
        "namespace": about.namespace,
        "since": crate::units::moment(about.since),
        "until": crate::units::moment(about.until),
        "total": report.total.as_ref().map(group),
        "groups": report.groups.iter().map(group).collect::<Vec<_>>(),
        "days": report.days.iter().map(group).collect::<Vec<_>>(),
        "savings": saved.map(savings),
    })
}

fn group(group: &Group) -> Value {
    let sum = &group.sum;
    let counters: Map<String, Value> =
        all(&sum.counters).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let values: Map<String, Value> = sum
        .values
        .iter()
        .map(|(metric, value)| {
            let told = json!({"value": base(*metric, value.value()), "samples": value.samples});
            (metric.name().to_owned(), told)
        })
        .collect();
    let bounds: Vec<Value> = group
        .kept
        .iter()
        .map(|kept| {
            json!({
                "metric": kept.bound.metric.name(),
                "bound": base(kept.bound.metric, kept.bound.threshold),
                "kept": kept.is_beyond().map(|beyond| !beyond),
                "windowsBeyond": kept.windows_beyond,
                "windowsKnown": kept.windows_known,
            })
        })
        .collect();
    json!({
        "name": group.name,
        "windows": sum.windows,
        "devices": sum.devices,
        "deviceWindows": sum.device_windows,
        "truthReceived": group.truth(),
        "alarms": group.alarms(),
        "counters": counters,
        "metrics": values,
        "bounds": bounds,
    })
}

/// A value in the base unit: seconds, or one.
pub(super) fn base(metric: Metric, value: u64) -> f64 {
    match metric.unit() {
        Unit::Duration => value as f64 / 1e9,
        Unit::Share | Unit::Number | Unit::PerSecond | Unit::PerYear => value as f64 / 1e6,
    }
}

fn savings(saved: &Saved) -> Value {
    let Saved { file, devices, year, savings } = saved;
    let units = |cents: i64| cents as f64 / 100.0;
    let a_year = |milli: u64| milli as f64 / 1_000.0;
    json!({
        "currency": file.currency,
        "devices": devices,
        "foundAYear": a_year(year.found_milli),
        "missedAYear": a_year(year.missed_milli),
        "falseAlarmsAYear": a_year(year.false_alarms_milli),
        "annualCost": savings.with_cents as f64 / 100.0,
        "annualCostWithout": savings.without_cents as f64 / 100.0,
        "annualReduction": units(savings.saved_cents),
        "reductionShare": savings.saved_ppm.map(|ppm| ppm as f64 / 1e6),
        "returnOnDevelopment": savings.return_ppm.map(|ppm| ppm as f64 / 1e6),
    })
}
