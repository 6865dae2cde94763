//! Spans that were sent to a collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Labels, label};

/// Numbers of exported spans.
#[derive(Clone, Default)]
pub struct TraceMetrics {
    spans: Family<Labels, Counter>,
    /// Whether spans are recorded at all.
    on: Arc<AtomicBool>,
}

impl TraceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Spans of traces by result: sent, or dropped because the collector takes none";
        registry.register("trace_spans", help, self.spans.clone());
    }

    /// Spans are recorded from now on.
    pub fn turn_on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// Whether spans are recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Counts spans by what became of them.
    pub fn count(&self, result: &'static str, count: usize) {
        self.spans.get_or_create(&label("result", result)).inc_by(count as u64);
    }
}
