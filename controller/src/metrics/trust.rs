//! How far a change of keys is, for each fleet that has a trust document.

use modelfleet_fleet::trust_held::{Counts, TrustHeld};
use modelfleet_protocol::trust::TrustDocument;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;

/// The gauges of trust documents. Labels: the fleet, whether devices are connected, and what they hold in five words.
#[derive(Clone, Default)]
pub struct TrustMetrics {
    version: Family<Labels, Gauge>,
    expires: Family<Labels, Gauge>,
    devices: Family<Labels, Gauge>,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl TrustMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let version = self.version.clone();
        registry.register("trust_document_version", "Version of the trust document that counts", version);
        let help = "When the trust document expires, in seconds since 1970";
        registry.register("trust_document_expires_timestamp_seconds", help, self.expires.clone());
        let help = "Devices of a fleet by the trust document that they hold";
        registry.register("trust_devices", help, self.devices.clone());
    }

    /// Shows the document of a fleet, and how many devices hold it.
    pub fn show(&self, namespace: &str, document: &TrustDocument, held: &TrustHeld) {
        let fleet = || vec![("namespace", namespace.to_owned())];
        self.version.get_or_create(&Labels(fleet())).set(signed(document.version));
        self.expires.get_or_create(&Labels(fleet())).set(signed(document.expires.0 / 1_000));
        for (connection, counts) in [("connected", &held.connected), ("away", &held.away)] {
            let Counts { current, earlier, later, none, without_roots } = *counts;
            for (word, count) in [
                ("current", current),
                ("earlier", earlier),
                ("later", later),
                ("none", none),
                ("without_root_keys", without_roots),
            ] {
                let mut labels = fleet();
                labels.extend([("connection", connection.to_owned()), ("held", word.to_owned())]);
                self.devices.get_or_create(&Labels(labels)).set(signed(count));
            }
        }
    }
}
