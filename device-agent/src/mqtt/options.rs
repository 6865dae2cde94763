//! What the MQTT library is asked for, and what its errors say.

use std::time::Duration;

use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::report::REPORT_BYTES_MAX;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{DisconnectReasonCode, LastWill};
use rumqttc::v5::{ConnectionError, MqttOptions, StateError};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};

use super::{Credentials, LinkError, Settings};

/// Publishes that wait for the broker's acknowledgement at most.
pub(super) const IN_FLIGHT_MAX: usize = 8;
/// Requests handed to the library at most: those in flight, the subscription, the disconnect.
pub(super) const REQUESTS_MAX: usize = IN_FLIGHT_MAX + 8;
/// Largest packet that the device takes.
const PACKET_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 1024;

const _: () = assert!(REPORT_BYTES_MAX + 1024 <= PACKET_BYTES_MAX);

/// How to connect, with this last will on the presence topic.
pub(super) fn options(s: &Settings, presence: String, will: &Presence) -> MqttOptions {
    let mut options = MqttOptions::new(s.device.as_str(), &s.host, s.port);
    let payload = serde_json::to_vec(will).unwrap_or_default();
    options.set_last_will(LastWill::new(presence, payload, QoS::AtLeastOnce, true, None));
    options.set_keep_alive(s.keep_alive.max(Duration::from_secs(5)));
    // Nothing is kept by the broker: plans and overrides are retained and come again.
    options.set_clean_start(true).set_session_expiry_interval(Some(0));
    options.set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX as u16);
    options.set_connection_timeout(20);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(20);
    options.set_network_options(network);
    if let Some(Credentials { username, password }) = &s.credentials {
        options.set_credentials(username, password);
    }
    if let Some(tls) = &s.tls {
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.for_connection())));
    }
    options
}

/// The library's error without its type; a refusal of the broker in words.
pub(super) fn plain(error: ConnectionError) -> LinkError {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refused the connection: {code:?}").into()
        }
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => "the broker ended the connection, because another client has connected with this device's id; if this goes on, \
               a second device uses the id: give one of them another --device and a --dir of its own"
            .into(),
        other => other.into(),
    }
}
