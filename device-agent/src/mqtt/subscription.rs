//! What the device subscribes to, and when it asks for it once more: brokers send retained messages with each subscription.

use modelfleet_protocol::topic::{device_filters, trust_filter};
use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, SubscribeReasonCode};
use tracing::{debug, warn};

use super::{Link, LinkError};

/// Filters of plans and overrides in a subscription.
const ORDERS: usize = 2;

impl Link {
    /// What the device subscribes to; the trust document first, because it says which plans count.
    pub(super) fn filters(&self) -> Vec<Filter> {
        let (namespace, device) = (&self.settings.namespace, &self.settings.device);
        let trust = self.inbox.follows_trust().then(|| trust_filter(namespace));
        let paths = trust.into_iter().chain(device_filters(namespace, device));
        paths.map(|path| Filter::new(path, QoS::AtLeastOnce)).collect()
    }

    /// The broker has answered a subscription. Plans and overrides come last in each of them. A device that receives none
    /// does not count as connected; one that receives no trust document goes on with the one that it holds.
    pub(super) fn subscribed(&self, codes: &[SubscribeReasonCode]) -> Result<(), LinkError> {
        let refused = |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
        let device = &self.settings.device;
        let trust = codes.len().saturating_sub(ORDERS);
        if codes.iter().skip(trust).any(refused) {
            warn!(%device, ?codes, "the broker refused a subscription; check that the account may read plans and overrides");
            return Err("the broker refused a subscription".into());
        }
        if codes.iter().any(refused) {
            warn!(%device, ?codes, "the broker refused the subscription to the trust document, so the device follows no new one; check that the account may read it");
        }
        Ok(())
    }

    /// Asks the broker for its plans and overrides once more, if there is a reason.
    pub(super) fn ask_for_plans(&self, client: &AsyncClient) {
        if !self.outbox.take_ask_for_plans() {
            return;
        }
        let filters = device_filters(&self.settings.namespace, &self.settings.device);
        let filters = filters.map(|path| Filter::new(path, QoS::AtLeastOnce));
        if let Err(error) = client.try_subscribe_many(filters) {
            debug!(%error, "the MQTT client's queue is full");
            self.outbox.ask_for_plans();
        }
    }
}
