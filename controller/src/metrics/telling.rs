//! What was told to event sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Labels;

/// Which sink: one of the flag by its kind and host, or those of the rollouts of a namespace together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinkLabels {
    /// Namespace of the rollouts that name it; empty for one of the flag.
    pub namespace: String,
    /// Kind and host, or the kind alone.
    pub sink: String,
}

impl SinkLabels {
    fn with(&self, more: &[(&'static str, &str)]) -> Labels {
        let mut labels = vec![("namespace", self.namespace.clone()), ("sink", self.sink.clone())];
        labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Labels(labels)
    }
}

/// Numbers of event sinks.
#[derive(Clone)]
pub struct TellingMetrics {
    deliveries: Family<Labels, Counter>,
    dropped: Family<Labels, Counter>,
    waiting: Family<Labels, Gauge>,
    open: Family<Labels, Gauge>,
    /// What each sink adds to the gauges, which several may share: waiting, and whether it counts as dead.
    shares: Arc<Mutex<BTreeMap<String, (i64, i64)>>>,
    /// From an occurrence to its delivery.
    pub age_seconds: Histogram,
}

impl Default for TellingMetrics {
    fn default() -> TellingMetrics {
        TellingMetrics {
            deliveries: Family::default(),
            dropped: Family::default(),
            waiting: Family::default(),
            open: Family::default(),
            shares: Arc::default(),
            age_seconds: Histogram::new(exponential_buckets(0.05, 3.0, 12)),
        }
    }
}

impl TellingMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Events sent to sinks by result: delivered, failed, refused, gone";
        registry.register("event_deliveries", help, self.deliveries.clone());
        let help = "Events that were given up, because too many waited for a sink or it said that it is gone";
        registry.register("events_dropped", help, self.dropped.clone());
        registry.register("events_waiting", "Events that wait for sinks", self.waiting.clone());
        let help = "Sinks that count as dead: five failures in a row, or gone";
        registry.register("event_sinks_open", help, self.open.clone());
        let help = "Time from a transition to its delivery";
        registry.register_with_unit("event_age", help, Unit::Seconds, self.age_seconds.clone());
    }

    /// Counts a delivery by its result.
    pub fn sent(&self, at: &SinkLabels, result: &'static str) {
        self.deliveries.get_or_create(&at.with(&[("result", result)])).inc();
    }

    /// Counts events that were given up.
    pub fn dropped(&self, at: &SinkLabels, count: usize) {
        self.dropped.get_or_create(&at.with(&[])).inc_by(count as u64);
    }

    /// Shows how many wait for a sink.
    pub fn waiting(&self, id: &str, at: &SinkLabels, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let before = self.share(id, |share| std::mem::replace(&mut share.0, count));
        self.waiting.get_or_create(&at.with(&[])).inc_by(count - before);
    }

    /// Shows whether a sink counts as dead.
    pub fn open(&self, id: &str, at: &SinkLabels, open: bool) {
        let open = i64::from(open);
        let before = self.share(id, |share| std::mem::replace(&mut share.1, open));
        self.open.get_or_create(&at.with(&[])).inc_by(open - before);
    }

    fn share(&self, id: &str, change: impl FnOnce(&mut (i64, i64)) -> i64) -> i64 {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(id.to_owned()).or_default();
        let before = change(share);
        if *share == (0, 0) {
            shares.remove(id);
        }
        before
    }
}
