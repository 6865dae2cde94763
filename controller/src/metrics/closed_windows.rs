//! How closed windows get to history and to a store of time series.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What waits for one sink, and what went wrong.
#[derive(Clone, Default)]
struct Queue {
    waiting: Gauge,
    dropped: Counter,
}

impl Queue {
    fn set(&self, waiting: usize, dropped: u64) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.dropped.inc_by(dropped.saturating_sub(self.dropped.get()));
    }
}

/// Writing of history.
#[derive(Clone, Default)]
pub struct HistoryMetrics {
    rows: Counter,
    queue: Queue,
    written: Gauge,
    /// Failed writes and merges.
    pub failures: Counter,
}

impl HistoryMetrics {
    /// Registered.
    #[must_use]
    pub fn new(registry: &mut Registry) -> HistoryMetrics {
        let metrics = HistoryMetrics::default();
        registry.register("history_rows", "Rows of closed windows written to history", metrics.rows.clone());
        let help = "Rows of closed windows that wait to be written to history";
        registry.register("history_waiting_rows", help, metrics.queue.waiting.clone());
        let help = "Rows that were dropped, because history could not be written for too long";
        registry.register("history_dropped_rows", help, metrics.queue.dropped.clone());
        let help = "Failed writes and merges of history";
        registry.register("history_failures", help, metrics.failures.clone());
        let help = "When rows were last written to history";
        registry.register("history_written_timestamp_seconds", help, metrics.written.clone());
        metrics
    }

    /// So many rows were written.
    pub fn wrote(&self, rows: usize, now_ms: u64) {
        self.rows.inc_by(rows as u64);
        self.written.set(i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX));
    }

    /// So many wait, and so many were dropped since the start.
    pub fn waiting(&self, (waiting, dropped): (usize, u64)) {
        self.queue.set(waiting, dropped);
    }
}

/// Sending by remote write.
#[derive(Clone, Default)]
pub struct RemoteWriteMetrics {
    /// Samples that the receiver took.
    pub samples: Counter,
    queue: Queue,
    /// Failed requests.
    pub failures: Counter,
}

impl RemoteWriteMetrics {
    /// Registered.
    #[must_use]
    pub fn new(registry: &mut Registry) -> RemoteWriteMetrics {
        let metrics = RemoteWriteMetrics::default();
        let help = "Samples that the receiver of remote write took";
        registry.register("remote_write_samples", help, metrics.samples.clone());
        let help = "Rows of closed windows that wait to be sent by remote write";
        registry.register("remote_write_waiting_rows", help, metrics.queue.waiting.clone());
        let help = "Rows that were dropped, because the receiver of remote write took none for too long";
        registry.register("remote_write_dropped_rows", help, metrics.queue.dropped.clone());
        let help = "Failed requests of remote write";
        registry.register("remote_write_failures", help, metrics.failures.clone());
        metrics
    }

    /// So many wait, and so many were dropped since the start.
    pub fn waiting(&self, (waiting, dropped): (usize, u64)) {
        self.queue.set(waiting, dropped);
    }
}
