//! The broker's address, the device's account, and the waits between two attempts to connect.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelfleet_protocol::ids::{DeviceId, Namespace};

use crate::tls::BrokerTls;

/// The broker's address and the device's account.
#[derive(Clone)]
pub struct Settings {
    /// Host name or IP address of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// TLS, if the connection is encrypted.
    pub tls: Option<Arc<BrokerTls>>,
    /// User and password.
    pub credentials: Option<Credentials>,
    /// The fleet.
    pub namespace: Namespace,
    /// The device; also the client id.
    pub device: DeviceId,
    /// Interval of MQTT keep-alive messages.
    pub keep_alive: Duration,
    /// Waits between two attempts to connect.
    pub backoff: Backoff,
}

/// User and password. Not shown by `Debug`.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Waits between two attempts to connect. They double and have jitter, so that a fleet that lost its broker does not
/// reconnect at one moment.
///
/// Written by hand, because backoff crates give only the doubling, which is one line here. `backon`, for example, adds its
/// jitter on top of the longest wait, which `--reconnect-max-s` promises to keep, and has no random first wait. The waits
/// between downloads are not here: the pure core decides them.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Longest first wait.
    pub first: Duration,
    /// Longest wait.
    pub most: Duration,
    /// Longest wait after an established connection was lost; at start, a third of it. All devices of a broker that stops
    /// lose their connections at one moment, and spread their reconnects over this time.
    pub spread: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        let seconds = Duration::from_secs;
        Backoff { first: seconds(1), most: seconds(120), spread: seconds(30) }
    }
}

impl Backoff {
    /// The wait before the first connection of a process. `random`: from 0 to 1. After a power cut, all devices of a site
    /// start at one moment, too.
    pub(super) fn at_start(&self, random: f64) -> Duration {
        self.after_loss(random) / 3
    }

    /// The wait after an established connection was lost. `random`: from 0 to 1.
    pub(super) fn after_loss(&self, random: f64) -> Duration {
        self.spread.mul_f64(random.clamp(0.0, 1.0))
    }

    /// The wait after so many failed attempts. `random`: from 0 to 1.
    pub(super) fn wait(&self, tries: u32, random: f64) -> Duration {
        let most = self.first.saturating_mul(1 << tries.min(20)).min(self.most);
        most.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// Reads a password file: its first line.
///
/// # Errors
/// When it cannot be read.
pub fn read_password(path: &Path) -> std::io::Result<String> {
    let text = crate::config::read_file(path)?;
    Ok(text.lines().next().unwrap_or_default().trim_end_matches('\r').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(0, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.wait(3, 1.0), Duration::from_secs(8));
        assert_eq!(backoff.wait(3, 0.0), Duration::from_secs(4));
        assert_eq!(backoff.wait(u32::MAX, 1.0), Duration::from_secs(120));
    }

    #[test]
    fn a_fleet_that_lost_its_broker_shares_the_spread() {
        let backoff = Backoff { spread: Duration::from_secs(30), ..Backoff::default() };
        assert_eq!(backoff.after_loss(0.0), Duration::ZERO);
        assert_eq!(backoff.after_loss(0.5), Duration::from_secs(15));
        assert_eq!(backoff.after_loss(7.0), Duration::from_secs(30));
        assert_eq!(backoff.at_start(1.0), Duration::from_secs(10));
    }

    #[test]
    fn a_password_is_not_shown() {
        let secret = Credentials { username: "pump-001".into(), password: "s3cret".into() };
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
