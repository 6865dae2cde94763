//! The controller's log: its form, and which lines are in it, which can be changed while it runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use modelfleet_protocol::causes::with_causes;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::args::LogArgs;
use crate::clock::Clock;
use crate::metrics::traces::TraceMetrics;
use crate::traces::export::{ExportError, Exporter};
use crate::traces::layer::SpanLayer;
use crate::traces::otlp::SpanRecord;

/// What is logged when nothing says otherwise.
const DEFAULT: &str = "info,kube_runtime=warn";
/// How often the file with the filter is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest filter, bytes.
const FILTER_MAX: u64 = 4_096;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object on each line, with the trace ids of what the line belongs to.
    #[default]
    Json,
    /// Lines for people.
    Text,
}

/// Changes which lines are logged.
pub type FilterHandle = reload::Handle<EnvFilter, Registry>;

/// Why a filter is not used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is too long.
    #[error("{path} has more than {FILTER_MAX} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// It is no filter.
    #[error("{path} is no filter such as info,modelfleet_controller::telling=debug")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// What goes on with the log while the process runs.
pub struct Log {
    handle: FilterHandle,
    filter_file: Option<PathBuf>,
    exporter: Option<(Exporter, Receiver<SpanRecord>)>,
}

impl Log {
    /// Begins the log and the traces of the process with this name.
    ///
    /// # Errors
    /// When the address of the collector is none.
    pub fn begin(args: &LogArgs, instance: &str, metrics: &TraceMetrics) -> Result<Log, ExportError> {
        let traces = args.otlp_endpoint.as_deref().map(|endpoint| {
            let (spans, receiver) = SpanLayer::new(Clock::system(), metrics.clone());
            let exporter = Exporter::new(endpoint, instance.to_owned(), Clock::system(), metrics.clone())?;
            Ok((spans, (exporter, receiver)))
        });
        let (spans, exporter) = traces.transpose()?.unzip();
        Ok(Log { handle: begin(args.log_format, spans), filter_file: args.log_filter_file.clone(), exporter })
    }

    /// Follows the file with the filter and sends traces, until `stop`.
    #[must_use]
    pub fn run(self, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(path) = self.filter_file {
            tasks.spawn(follow(self.handle, path, stop.clone()));
        }
        if let Some((exporter, spans)) = self.exporter {
            tasks.spawn(exporter.run(spans, stop.clone()));
        }
        tasks
    }
}

/// Begins the log; `spans` records spans beside it, if they are exported. What `RUST_LOG` says counts until a file says
/// something else.
#[must_use]
pub fn begin(format: LogFormat, spans: Option<SpanLayer>) -> FilterHandle {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => fmt::layer().boxed(),
    };
    // Each has a filter of its own: a quiet log still has traces.
    let spans = spans.map(SpanLayer::filtered);
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
    handle
}

/// Reads the filter of a file.
///
/// # Errors
/// When it cannot be read or is none.
pub fn filter_in(path: &Path) -> Result<EnvFilter, FilterError> {
    let failed = |source| FilterError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILTER_MAX {
        return Err(FilterError::TooLong { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let text = Some(text.trim()).filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
    EnvFilter::try_new(text).map_err(|source| FilterError::Parse { path: path.to_owned(), source })
}

/// Goes by the filter in a file, from now on and whenever it changes, until `stop`. A file that is wrong changes nothing.
pub async fn follow(handle: FilterHandle, path: PathBuf, stop: CancellationToken) {
    let mut known: Option<SystemTime> = None;
    loop {
        let changed = tokio::fs::metadata(&path).await.and_then(|about| about.modified()).ok();
        if changed.is_some() && changed != known {
            known = changed;
            match filter_in(&path) {
                Ok(filter) => {
                    let text = filter.to_string();
                    let used = handle.reload(filter).is_ok();
                    tracing::info!(filter = text, used, "the log goes by another filter");
                }
                Err(error) => tracing::warn!(error = with_causes(&error), "the log's filter stays as it is"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_from_a_file_and_a_wrong_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filter");
        assert!(matches!(filter_in(&path), Err(FilterError::Read { .. })));
        for (text, is) in
            [("debug\n", "debug"), ("", "kube_runtime=warn,info"), ("warn,a::b=trace", "a::b=trace,warn")]
        {
            std::fs::write(&path, text).unwrap();
            let sorted = |text: &str| {
                let mut parts: Vec<String> = text.split(',').map(str::to_owned).collect();
                parts.sort();
                parts
            };
            assert_eq!(sorted(&filter_in(&path).unwrap().to_string()), sorted(is), "{text}");
        }
        std::fs::write(&path, "info,a=loudly").unwrap();
        assert!(matches!(filter_in(&path), Err(FilterError::Parse { .. })));
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(matches!(filter_in(&path), Err(FilterError::TooLong { .. })));
    }
}
