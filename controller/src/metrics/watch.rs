//! The watch over versions in production.

use modelfleet_model::watch::Watched;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Labels, RolloutLabels};

/// The gauges of the watch.
#[derive(Clone, Default)]
pub struct WatchMetrics {
    alarm: Family<Labels, Gauge>,
    level: Family<Labels, Gauge>,
    windows: Family<Labels, Gauge>,
}

impl WatchMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "1 while the watch over the version in production has an alarm";
        registry.register("rollout_alarm", help, self.alarm.clone());
        let help = "How near an alarm of the watch is, from 0 to 100, on a logarithmic scale";
        registry.register("rollout_alarm_level_percent", help, self.level.clone());
        let help = "Windows of the fleet that the watch has read";
        registry.register("rollout_watched_windows", help, self.windows.clone());
    }

    /// Shows what the watch says of a rollout; `None`: it is not watched any more.
    pub fn show(&self, at: &RolloutLabels, watched: Option<&Watched>) {
        let Some(watched) = watched else { return self.forget(at) };
        let windows = i64::try_from(watched.memory.windows).unwrap_or(i64::MAX);
        self.alarm.get_or_create(&at.with(&[])).set(i64::from(watched.alarm.is_some()));
        self.level.get_or_create(&at.with(&[])).set(i64::from(watched.level_percent));
        self.windows.get_or_create(&at.with(&[])).set(windows);
    }

    pub(super) fn forget(&self, at: &RolloutLabels) {
        for gauge in [&self.alarm, &self.level, &self.windows] {
            gauge.remove(&at.with(&[]));
        }
    }
}
