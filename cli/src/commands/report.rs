//! `report`: what a model did, from history.

mod html;
mod json;
mod read;
mod told;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use modelfleet_crds::text::{Bound as BoundText, BoundValue, DurationText};
use modelfleet_history::costs::{Savings, Year, a_year_milli};
use modelfleet_history::report::{Asked, Bound, By, Report, USUAL_BOUNDS, counted, report};
use modelfleet_protocol::metric::{Metric, TABLE};

use crate::cluster::{ClusterError, ClusterFlags, namespace};
use crate::costs_file::{self, CostsError, CostsFile};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use read::ReadError;
pub(crate) use told::{thousandths, whole_percent};

/// The command line of `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Name of the model.
    pub model: String,

    /// Where the controller keeps history: a folder, or the address of an object store. The controller's own --history.
    #[arg(long, env = "MODELFLEET_HISTORY", value_name = "URL")]
    pub history: String,

    /// How far the report goes back.
    #[arg(long, default_value = "7d", value_parser = milliseconds, value_name = "TIME")]
    pub since: u64,

    /// When it ends. Default: now.
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<Timestamp>,

    /// What the lines are.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<Split>,

    /// A bound to hold values against, such as Accuracy=95% or LatencyP95=500ms; may be repeated. Default: accuracy 85 %,
    /// errors 1 %, P95 latency 500 ms, P99 latency 1 s, availability 99.9 %, PSI 0.2.
    #[arg(long = "bound", value_parser = bound, value_name = "METRIC=BOUND")]
    pub bounds: Vec<Bound>,

    /// File with what a missed event, a found one and a false alarm cost. The report then says what the model saves a year.
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,

    /// The form of the report.
    #[arg(long, short, value_enum)]
    pub output: Option<ReportOutput>,
}

/// What the lines of a report are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// One for each version.
    Version,
    /// One for each group of devices that the rollout is spread by.
    Stratum,
    /// One for each day, in UTC.
    Day,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportOutput {
    /// JSON, with every metric.
    Json,
    /// A page of its own for a browser or for print, with charts.
    Html,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The namespace.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// History cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There are no windows.
    #[error(
        "history has no windows of model {model} in namespace {namespace} since {since}; give another --since, or look at what \
         there is below {history}"
    )]
    Empty {
        /// The model.
        model: String,
        /// The namespace.
        namespace: String,
        /// From when on.
        since: String,
        /// Where history is.
        history: String,
    },
    /// The costs.
    #[error(transparent)]
    Costs(#[from] CostsError),
    /// The report cannot be written as text.
    #[error("write the report as text")]
    Json(#[from] serde_json::Error),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

fn milliseconds(text: &str) -> Result<u64, String> {
    DurationText::from(text).milliseconds().map_err(|error| error.to_string())
}

fn bound(text: &str) -> Result<Bound, String> {
    let (name, bound) = text.split_once('=').ok_or("must be a metric and its bound, such as Accuracy=95%")?;
    let metric = TABLE.iter().find(|entry| entry.name == name).map(|entry| entry.metric);
    let metric = metric.ok_or_else(|| format!("there is no metric {name}; docs/metrics.md lists all"))?;
    let wrong = |wanted: &str| format!("{name} must have {wanted}");
    let threshold = match BoundText::from(bound).value().map_err(|error| error.to_string())? {
        BoundValue::Milliseconds(ms) if metric.is_duration() => ms.checked_mul(1_000_000),
        BoundValue::Millionths(millionths) if !metric.is_duration() => Some(millionths),
        BoundValue::Milliseconds(_) => return Err(wrong("a percentage or a decimal number")),
        BoundValue::Millionths(_) => return Err(wrong("a duration, such as 500ms")),
    };
    let threshold = threshold.and_then(|threshold| u64::try_from(threshold).ok());
    Ok(Bound { metric, threshold: threshold.ok_or_else(|| wrong("a smaller bound"))? })
}

/// What a report is about.
pub(crate) struct About {
    pub(crate) model: String,
    pub(crate) namespace: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) by: Option<By>,
}

/// What the model saves, by a file of costs.
pub(crate) struct Saved {
    pub(crate) file: CostsFile,
    /// Devices that the year is of.
    pub(crate) devices: u64,
    pub(crate) year: Year,
    pub(crate) savings: Savings,
}

/// Reads history and prints a report.
///
/// # Errors
/// When history cannot be read or has nothing of the model.
pub async fn run(flags: &ClusterFlags, arguments: &ReportArguments) -> Result<Outcome, ReportError> {
    let costs = arguments.costs.as_deref().map(costs_file::read).transpose()?;
    let until = arguments.until.unwrap_or_else(Timestamp::now);
    let until_ms = u64::try_from(until.as_millisecond()).unwrap_or(0);
    let since_ms = until_ms.saturating_sub(arguments.since);
    let about = About {
        model: arguments.model.clone(),
        namespace: namespace(flags).await?,
        since: Timestamp::from_millisecond(i64::try_from(since_ms).unwrap_or(0)).unwrap_or(until),
        until,
        by: arguments.by.map(|by| match by {
            Split::Version => By::Version,
            Split::Stratum => By::Stratum,
            Split::Day => By::Day,
        }),
    };
    let rows = read::rows(&arguments.history, &about, since_ms, until_ms).await?;
    let bounds = if arguments.bounds.is_empty() { USUAL_BOUNDS.to_vec() } else { arguments.bounds.clone() };
    let asked = Asked { since_ms, until_ms, by: about.by, bounds };
    let report = report(&counted(rows, since_ms, until_ms), &asked);
    if report.total.is_none() {
        return Err(ReportError::Empty {
            model: about.model,
            namespace: about.namespace,
            since: crate::units::moment(about.since),
            history: arguments.history.clone(),
        });
    }
    let saved = costs.and_then(|file| saved(&report, file));
    printing::answer(&match arguments.output {
        None => told::table(&about, &report, saved.as_ref()),
        Some(ReportOutput::Json) => {
            serde_json::to_string_pretty(&json::object(&about, &report, saved.as_ref()))? + "\n"
        }
        Some(ReportOutput::Html) => html::page(&about, &report, saved.as_ref()),
    })?;
    Ok(Outcome::Done)
}

/// What the model saves a year: events and alarms of one device and year, for all devices. `None` where no time was
/// observed.
fn saved(report: &Report, file: CostsFile) -> Option<Saved> {
    let sum = &report.total.as_ref()?.sum;
    let devices = file.devices.unwrap_or(sum.devices);
    let c = &sum.counters;
    let milli = |count: u64| a_year_milli(count.saturating_mul(devices), c.observed_ms);
    let year = Year {
        found_milli: milli(c.true_positive)?,
        missed_milli: milli(c.false_negative)?,
        false_alarms_milli: milli(c.false_positive)?,
    };
    let savings = file.costs.savings(year);
    Some(Saved { file, devices, year, savings })
}

/// The metrics that have a column in a table.
pub(crate) const COLUMNS: [Metric; 8] = [
    Metric::Accuracy,
    Metric::Recall,
    Metric::ErrorRate,
    Metric::LatencyP50,
    Metric::LatencyP95,
    Metric::LatencyP99,
    Metric::FeaturePsi,
    Metric::Availability,
];

#[cfg(test)]
mod tests;
