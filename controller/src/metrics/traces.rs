//! Spans that were sent to a collector.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Labels, label};

/// Numbers of exported spans.
#[derive(Clone, Default)]
pub struct TraceMetrics {
    spans: Family<Labels, Counter>,
}

impl TraceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Spans of traces by result: sent, or dropped because the collector takes none";
        registry.register("trace_spans", help, self.spans.clone());
    }

    /// Counts spans by what became of them.
    pub fn count(&self, result: &'static str, count: usize) {
        self.spans.get_or_create(&label("result", result)).inc_by(count as u64);
    }
}
