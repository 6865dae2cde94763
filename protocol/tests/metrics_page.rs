//! docs/metrics.md is what the table of metrics says.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may read and write files")]

use std::fmt::Write as _;
use std::path::Path;

use modelfleet_protocol::metric::{Entry, Needs, Reading, TABLE, Unit, Worse};

/// Set to write the page instead of comparing it.
const UPDATE: &str = "MODELFLEET_UPDATE_GENERATED";

const HEAD: &str = "\
# Metrics

Generated from `protocol/src/metric/table.rs`; do not edit. `cargo test -p modelfleet-protocol --test metrics_page` compares it,
and writes it with `MODELFLEET_UPDATE_GENERATED=1`.

Devices count in windows. A metric is read from the counters and histograms of a window, and cut to good or bad by the
threshold of the objective that names it. Counters and histograms of several windows or devices add up exactly, and the metric
is read from the sum: so a value over a fleet is not a mean of means. Over devices, one that counted more than the typical
device weighs as much as the typical one, so that a device which forges its counts moves the value no further than one of them
can.

The family of numbers for Prometheus is the last complete window of each model, version and arm; `manifests/README.md` says
which labels it has.
";

fn unit(entry: &Entry) -> &'static str {
    match entry.unit {
        Unit::Share => "share of the whole; a threshold is a percentage or a decimal number",
        Unit::Number => "number without a unit; a threshold is a decimal number",
        Unit::PerSecond => "per second, on one device; a threshold is a decimal number",
        Unit::PerYear => "per year of 365 days, on one device; a threshold is a decimal number",
        Unit::Duration => "duration; a threshold is a duration such as `500ms`",
    }
}

fn merges(entry: &Entry) -> String {
    match entry.reading {
        Reading::Ratio { .. } => "both counts of the ratio add up".to_owned(),
        Reading::Rate { .. } => {
            "counts and observed times add up; over devices the mean, in which the highest counts as the \
                                 second highest"
                .to_owned()
        }
        Reading::Mean { .. } => {
            "sums and counts add up; over devices the mean, in which the highest counts as the second highest".to_owned()
        }
        Reading::RootMean { .. } => {
            "the squares and counts of a device add up; over devices the mean of their roots, in which the highest counts \
                                     as the second highest"
                .to_owned()
        }
        Reading::Quantile { ppm } => {
            format!(
                "the histograms of latencies add up, and the value that {} % of the requests do not exceed is read from the sum",
                ppm / 10_000
            )
        }
        Reading::Distance(_) => {
            "the bins of a feature add up, and their distance from the profile is computed; the farthest \
                                 feature counts where none is named"
                .to_owned()
        }
        Reading::Highest(_) => {
            "windows of one device: the highest; devices: the typical one, which is the median".to_owned()
        }
    }
}

fn needs(entry: &Entry) -> &'static str {
    match entry.needs {
        Needs::Nothing => "nothing",
        Needs::Truth => "`pipeline.decision`, and ground truth reported to the device",
        Needs::Confidence => "`baseline.confidence` and `pipeline.decision.confidence`",
        Needs::Ranges => "`baseline.features` with `expectedMin` or `expectedMax`",
        Needs::Profile => "`baseline.features` with `edges` and `counts`",
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for entry in TABLE {
        let worse = match entry.worse {
            Worse::Above => "lower is better",
            Worse::Below => "higher is better",
        };
        write!(
            page,
            "\n## {}\n\n{}\n\n- {worse}; unit: {}\n- merged: {}\n- needs: {}\n- shown as: {}\n- Prometheus: `{}`\n",
            entry.name,
            entry.text(),
            unit(entry),
            merges(entry),
            needs(entry),
            entry.label,
            entry.family(),
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_follows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let fresh = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "docs/metrics.md is stale: run this test once with {UPDATE}=1");
}
