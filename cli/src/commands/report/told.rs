//! A report for the terminal.

use modelfleet_history::report::{By, Group, Report};
use modelfleet_protocol::metric::Metric;

use super::{About, COLUMNS, Saved};
use crate::table::Table;
use crate::units;

/// The whole report.
pub(super) fn table(about: &About, report: &Report, saved: Option<&Saved>) -> String {
    let Some(total) = &report.total else { return String::new() };
    let mut text = format!(
        "Model {} in namespace {}, {} to {}\n\n",
        about.model,
        about.namespace,
        units::moment(about.since),
        units::moment(about.until)
    );
    text += &groups(about.by, report, total);
    text += "\n";
    text += &bounds(total);
    if let Some(saved) = saved {
        text += "\n";
        text += &savings(saved);
    }
    text
}

/// What the first column is called.
pub(super) fn heading(by: Option<By>) -> &'static str {
    match by {
        None => "",
        Some(By::Version) => "VERSION",
        Some(By::Stratum) => "STRATUM",
        Some(By::Day) => "DAY",
    }
}

fn groups(by: Option<By>, report: &Report, total: &Group) -> String {
    let known = |metric: &Metric| total.sum.values.contains_key(metric);
    let columns: Vec<Metric> = COLUMNS.into_iter().filter(known).collect();
    let mut header: Vec<String> =
        [heading(by), "WINDOWS", "DEVICES", "PREDICTIONS"].map(str::to_owned).into();
    header.extend(columns.iter().map(|metric| label(*metric).to_uppercase()));
    header.extend(["TRUTH".to_owned(), "ALARMS".to_owned()]);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Table::new(&header);
    for group in &report.groups {
        table.row(line(group, &group.name, &columns));
    }
    table.row(line(total, "all", &columns));
    table.render()
}

fn line(group: &Group, name: &str, columns: &[Metric]) -> Vec<String> {
    let sum = &group.sum;
    let mut cells = vec![
        name.to_owned(),
        sum.windows.to_string(),
        sum.devices.to_string(),
        sum.counters.requests.to_string(),
    ];
    cells.extend(columns.iter().map(|metric| value(group, *metric)));
    cells.extend([truth(group), group.alarms().to_string()]);
    cells
}

/// What people call a metric.
pub(super) fn label(metric: Metric) -> &'static str {
    metric.entry().map_or("", |entry| entry.label)
}

/// The value of a metric with its unit; `-`: not known.
pub(super) fn value(group: &Group, metric: Metric) -> String {
    group.value(metric).map_or_else(|| "-".to_owned(), |value| metric.unit().text(value.value()))
}

/// The share of predictions whose ground truth is known.
pub(super) fn truth(group: &Group) -> String {
    let requests = group.sum.counters.requests;
    let ppm = u128::from(group.truth()) * 1_000_000 / u128::from(requests.max(1));
    units::percent(i64::try_from(ppm / 1_000 * 1_000).unwrap_or(i64::MAX))
}

fn bounds(total: &Group) -> String {
    let mut table = Table::new(&["BOUND", "VALUE", "KEPT", "WINDOWS BEYOND"]);
    for kept in total.kept.iter().filter(|kept| kept.windows_known > 0) {
        let metric = kept.bound.metric;
        let side = if metric.bad_below() { "at least" } else { "at most" };
        table.row(vec![
            format!("{} {side} {}", label(metric), metric.unit().text(kept.bound.threshold)),
            value(total, metric),
            if kept.is_beyond() == Some(true) { "no" } else { "yes" }.to_owned(),
            format!("{} of {}", kept.windows_beyond, kept.windows_known),
        ]);
    }
    table.render()
}

/// Thousandths as a number with at most one decimal.
pub(crate) fn thousandths(milli: u64) -> String {
    let tenths = (milli + 50) / 100;
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// Millionths as a whole percentage.
pub(crate) fn whole_percent(ppm: i64) -> String {
    format!("{}%", (ppm + ppm.signum() * 5_000) / 10_000)
}

/// What the model saves, in sentences.
pub(super) fn sentences(saved: &Saved) -> Vec<String> {
    let Saved { file, devices, year, savings } = saved;
    let mut sentences = vec![
        format!(
            "A year of {devices} devices at this rate has {} events found, {} missed and {} false alarms.",
            thousandths(year.found_milli),
            thousandths(year.missed_milli),
            thousandths(year.false_alarms_milli)
        ),
        format!(
            "That costs {}; without the model it would be {}.",
            file.amount(i64::try_from(savings.with_cents).unwrap_or(i64::MAX)),
            file.amount(i64::try_from(savings.without_cents).unwrap_or(i64::MAX))
        ),
        format!(
            "Annual cost reduction: {}{}.",
            file.amount(savings.saved_cents),
            savings.saved_ppm.map_or_else(String::new, |ppm| format!(" ({} savings)", whole_percent(ppm)))
        ),
    ];
    if let Some(ppm) = savings.return_ppm {
        let cost = i64::try_from(file.costs.development_cents).unwrap_or(i64::MAX);
        sentences.push(format!("Return on {} of development: {}.", file.amount(cost), whole_percent(ppm)));
    }
    sentences
}

fn savings(saved: &Saved) -> String {
    sentences(saved).join("\n") + "\n"
}
