//! Orders of single devices. A device is no label: namespaces, and words of ours.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Labels, label};

/// What is counted of orders of single devices.
#[derive(Clone, Default)]
pub struct OrderMetrics {
    orders: Family<Labels, Gauge>,
    events: Family<Labels, Counter>,
}

impl OrderMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "DeviceOrder objects of a namespace by what became of them";
        registry.register("device_orders", help, self.orders.clone());
        let help = "Changes of DeviceOrder objects by reason of their Event";
        registry.register("device_order_events", help, self.events.clone());
    }

    /// Shows how many orders of a namespace stand where.
    pub fn show(&self, namespace: &str, stands: impl IntoIterator<Item = (&'static str, i64)>) {
        for (word, count) in stands {
            let labels = vec![("namespace", namespace.to_owned()), ("state", word.to_owned())];
            self.orders.get_or_create(&Labels(labels)).set(count);
        }
    }

    /// Counts an Event.
    pub fn announced(&self, reason: &str) {
        self.events.get_or_create(&label("reason", reason)).inc();
    }
}
