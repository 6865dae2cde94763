//! Where the broker is, who we are to it, and what the MQTT library is asked for.

use std::path::PathBuf;
use std::time::Duration;

use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::v5::ConnectProperties;
use rumqttc::{TlsConfiguration, Transport};

use super::MqttError;

/// Most bytes of a message that the broker may send us; it leaves out larger ones.
const PACKET_BYTES_MAX: u32 = ENVELOPE_BYTES_MAX as u32 + 4 * 1024;
/// The answer to a ping stands in line behind what a fleet has retained: three million messages of a million devices take
/// the better part of a minute, and a connection given up meanwhile would begin anew for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How often a message to ourselves shows that the connection moves.
pub const BEAT: Duration = Duration::from_secs(30);

/// Files of a client certificate (PEM). They are read for every connection, so that a renewed one is used without a restart.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl ClientCertificate {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), MqttError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| MqttError::ReadCertificate { path: path.clone(), source })
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}

/// Where the broker is and who we are to it.
#[derive(Clone)]
pub struct BrokerSettings {
    /// `mqtt://host:1883` or `mqtts://host:8883`.
    pub url: String,
    /// User name; none: anonymous.
    pub user: Option<String>,
    /// Password, if any.
    pub password: Option<String>,
    /// Certificates to trust (PEM) for `mqtts`; none: those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// By what the broker knows us, beside or instead of a password. Only with `ca_pem`.
    pub client_certificate: Option<ClientCertificate>,
    /// Unique name of this process.
    pub identity: String,
    /// How often a message to ourselves shows that the connection moves; see [`BEAT`].
    pub beat: Duration,
}

/// How to connect. Nothing is kept by the broker: what is retained comes again.
pub(super) fn options(settings: &BrokerSettings) -> Result<MqttOptions, MqttError> {
    let address = url::Url::parse(&settings.url).map_err(|_| MqttError::ReadAddress)?;
    let host = address.host_str().ok_or(MqttError::ReadAddress)?;
    let (tls, port) = match address.scheme() {
        "mqtt" | "tcp" => (false, 1883),
        "mqtts" | "ssl" => (true, 8883),
        _ => return Err(MqttError::ReadAddress),
    };
    let id = format!("modelfleet-controller-{}", settings.identity);
    let mut options = MqttOptions::new(id, host, address.port().unwrap_or(port));
    if tls {
        let client_auth = settings.client_certificate.as_ref().map(ClientCertificate::read).transpose()?;
        let config = settings.ca_pem.clone().map_or_else(TlsConfiguration::default, |ca| {
            TlsConfiguration::Simple { ca, alpn: None, client_auth }
        });
        options.set_transport(Transport::tls_with_config(config));
    }
    if let Some(user) = &settings.user {
        options.set_credentials(user, settings.password.clone().unwrap_or_default());
    }
    let properties = ConnectProperties {
        max_packet_size: Some(PACKET_BYTES_MAX),
        receive_maximum: Some(1024),
        ..ConnectProperties::new()
    };
    options.set_connect_properties(properties).set_keep_alive(KEEP_ALIVE).set_clean_start(true);
    Ok(options)
}

/// Whether what is sent to this address can be read on the way: it is not encrypted, and it leaves the machine.
#[must_use]
pub fn is_open(url: &str) -> bool {
    let Ok(address) = url::Url::parse(url) else { return false };
    let host = address.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<std::net::IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
    matches!(address.scheme(), "mqtt" | "tcp") && !loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_open_without_tls_beyond_this_machine() {
        assert!(["mqtt://broker.example", "tcp://10.0.0.7:1883"].into_iter().all(is_open));
        assert!(
            !["mqtt://localhost", "mqtt://127.0.0.1", "mqtt://[::1]:1", "mqtts://x"].into_iter().any(is_open)
        );
    }
}
