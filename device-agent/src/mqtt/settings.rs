//! Where the broker is, who asks, and how long to wait between two tries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelfleet_protocol::ids::{DeviceId, Namespace};

/// Where the broker is and who asks.
#[derive(Clone)]
pub struct Settings {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, if the connection is encrypted.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// User and password.
    pub credentials: Option<Credentials>,
    /// The fleet.
    pub namespace: Namespace,
    /// The device; also the client id.
    pub device: DeviceId,
    /// Pause after which the broker is asked for a sign of life.
    pub keep_alive: Duration,
    /// Waits between two tries to connect.
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

/// Waits between two tries to connect: doubling, and drawn at random, so that a fleet that lost its broker
/// does not come back in one instant.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait at most.
    pub first: Duration,
    /// Any wait at most.
    pub most: Duration,
    /// The wait at most after a connection was lost that had lasted; a third of it before the first one. All
    /// devices of a broker that ends lose it in one instant, and then share this time.
    pub spread: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        let seconds = Duration::from_secs;
        Backoff { first: seconds(1), most: seconds(120), spread: seconds(30) }
    }
}

impl Backoff {
    /// The wait before the first connection of a process, given a draw from 0 to 1: a site gets its power back
    /// at once, too.
    pub(super) fn at_start(&self, draw: f64) -> Duration {
        self.after_loss(draw) / 3
    }

    /// The wait after a connection was lost that had lasted, given a draw from 0 to 1.
    pub(super) fn after_loss(&self, draw: f64) -> Duration {
        self.spread.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// The wait before try number `tries` (from 0), given a draw from 0 to 1.
    pub(super) fn wait(&self, tries: u32, draw: f64) -> Duration {
        let most = self.first.saturating_mul(1 << tries.min(20)).min(self.most);
        most.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
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
